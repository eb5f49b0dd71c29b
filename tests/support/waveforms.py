"""What holds of every simulated waveform."""

from __future__ import annotations

import numpy as np

from avpenet_cli.phantom.voice.pain_voice import SAMPLE_RATE_HZ


def level_dbfs(audio: np.ndarray) -> float:
    """Root mean square level of samples in [-1, 1], dB relative to full scale."""
    return float(10.0 * np.log10(np.mean(np.square(audio, dtype=np.float64)) + 1e-20))


def assert_waveform(audio: np.ndarray, seconds: float, overdriven: bool = False) -> None:
    """Fail unless samples are float32 in (-1, 1), `seconds` long and, if not overdriven, without an offset."""
    assert audio.dtype == np.float32
    assert audio.shape == (round(seconds * SAMPLE_RATE_HZ),)
    assert np.isfinite(audio).all()
    assert np.abs(audio).max(initial=0.0) < 1.0
    # A limiter that cuts one side of a voice causes an offset.
    assert overdriven or abs(float(audio.mean(dtype=np.float64))) < 1e-4
