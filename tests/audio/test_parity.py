"""Parity of the audio front end with the published one on the same 3-s waveform."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pytest

from avpenet_cli.audio.noise import survey
from avpenet_cli.audio.segments import segments
from avpenet_cli.settings import AudioSettings
from tests.golden import seeded
from tests.support.networks import GOLDEN

Denoise = Literal["quietest-frames", "first-frames", "noisereduce", "none"]


@pytest.mark.parametrize(
    ("golden", "rate_hz", "denoise"),
    [("mel48k", 48_000, "first-frames"), ("mel48k_nodenoise", 48_000, "none"), ("mel16k_nodenoise", 16_000, "none")],
)
def test_front_end_equals_the_published_one(golden: str, rate_hz: int, denoise: Denoise) -> None:
    with np.load(GOLDEN / "front-seed1.npz") as published:
        expected = published[golden][0].astype(np.float32)
    settings = AudioSettings(denoise=denoise)
    waveform = seeded.waveform(1, rate_hz)
    profile = survey([waveform], rate_hz, settings)
    (segment,) = segments([waveform], rate_hz, [(0.0, 3.0)], profile, settings, 0.999)
    assert segment.mel.shape == (128, 300)
    assert segment.mel.dtype == np.float32
    np.testing.assert_allclose(segment.mel, expected, rtol=0, atol=2e-3)
