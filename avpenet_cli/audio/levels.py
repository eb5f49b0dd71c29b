"""Levels in dB relative to full scale, where a square wave of magnitude 1 has 0 dBFS."""

from __future__ import annotations

import math

import numpy as np

DIGITAL_SILENCE_DBFS = -90.0
"""RMS below this is no audio: a gap filled with zeros, or the dither of 16 bits, whose last bit is at -90.3 dBFS."""

DIGITAL_SILENCE_POWER = 10 ** (DIGITAL_SILENCE_DBFS / 10)
"""The same as a mean square."""


def mean_square(samples: np.ndarray) -> float:
    """Power of a stretch of audio.

    Args:
        samples: (samples,) float, full scale 1, at least one.
    """
    wide = samples.astype(np.float64)
    return float(np.dot(wide, wide) / wide.size)


def power_dbfs(power: float) -> float | None:
    """A mean square as dBFS; None when it is digital silence, which has no meaningful level."""
    return 10 * math.log10(power) if power >= DIGITAL_SILENCE_POWER else None
