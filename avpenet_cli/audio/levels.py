"""Compute levels in dB relative to full scale: a square wave of magnitude 1 has 0 dBFS."""

from __future__ import annotations

import math

import numpy as np

DIGITAL_SILENCE_DBFS = -90.0
"""RMS level below which there is no audio: a zero-filled gap, or 16-bit dither, whose last bit is at -90.3 dBFS."""

DIGITAL_SILENCE_POWER = 10 ** (DIGITAL_SILENCE_DBFS / 10)
"""`DIGITAL_SILENCE_DBFS` as a mean square."""


def mean_square(samples: np.ndarray) -> float:
    """Mean power of an audio excerpt.

    Args:
        samples: (samples,) float, full scale 1, at least one.
    """
    wide = samples.astype(np.float64)
    return float(np.dot(wide, wide) / wide.size)


def power_dbfs(power: float) -> float | None:
    """A mean square in dBFS; None for digital silence, which has no meaningful level."""
    return 10 * math.log10(power) if power >= DIGITAL_SILENCE_POWER else None
