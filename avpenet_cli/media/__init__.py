"""A file -> probe facts, timed frames, waveform. Knows files and ffmpeg; knows nothing of faces or networks."""
