"""Algorithm 1 of the article: a recording's audio -> cleaned 16 kHz waveform -> (128, 300) log-mel per segment.

Two passes over the native-rate blocks, both in bounded memory:

- `noise.survey` learns the noise of the whole recording,
- `segments.segments` cleans (`cleaning`), cuts, and measures (`mel`, `voice`, `levels`).

This room knows arrays only: no files, no decoders, no networks.
"""
