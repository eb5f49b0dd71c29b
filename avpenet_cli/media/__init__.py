"""Read recordings: header facts, timed frames and audio, with ffmpeg or decord. Knows no faces and no networks."""
