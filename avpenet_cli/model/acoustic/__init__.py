"""Acoustic features of a segment's waveform: pitch, periods, bursts, timbre. Arrays in, arrays out; imports no torch.

It lies in `model`, since a network takes its input from here and `model` is below `audio`.
"""
