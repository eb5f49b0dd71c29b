"""From one recording to the evidence behind each of its segments: frames, faces, audio, quality."""
