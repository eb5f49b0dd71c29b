"""Audio front end (Algorithm 1 of the paper): denoise, resample to 16 kHz, one (128, 300) log-mel per segment.

Two passes over the native-rate blocks, both in bounded memory:

- `noise.survey` estimates the noise of the whole recording,
- `segments.segments` cleans (`cleaning`), cuts into segments, and measures them (`mel`, `voice`, `levels`).

The package works on arrays only: no files, no decoders, no networks.
"""
