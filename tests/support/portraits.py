"""Frames of a still portrait under a slowly moving camera, and a synthetic voice, for test clips.

The portrait is the astronaut Eileen Collins, as it comes with scikit-image (NASA, public domain, no known copyright
restrictions). There are no recordings of patients and no human voices here.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
from skimage import data

from avpenet_cli.phantom import encode

Frame = npt.NDArray[np.uint8]
Waveform = npt.NDArray[np.float64]

SAMPLE_RATE_HZ = 48_000
FACE_CENTRE_PX = (224.0, 150.0)
"""Centre of the portrait's face and neck, x and y in its 512x512 pixels."""
CHEST_Y_PX = 320.0
"""Centred here at `VIEW_PX`, the whole face is above the frame's upper edge."""
VIEW_PX = 240.0
"""Height of the part of the portrait that fills the frame's height."""
BACKGROUND_DBFS = -58.0


@dataclass(frozen=True)
class Voice:
    """A source-filter voice: a gliding pulse train shaped by resonances, in bursts with pauses.

    Attributes:
        f0_hz: fundamental frequency at the start, the peak and the end of a burst.
        formants_hz: centre and half bandwidth of each resonance.
        burst_s, pause_s: shortest and longest.
        vibrato_hz: rate of the tremor; its depth is `vibrato` as a share of the fundamental.
        peak: largest magnitude of the waveform, re full scale.
    """

    f0_hz: tuple[float, float, float]
    formants_hz: tuple[tuple[float, float], ...]
    burst_s: tuple[float, float]
    pause_s: tuple[float, float]
    vibrato_hz: float
    vibrato: float
    peak: float


CRY = Voice(
    f0_hz=(380.0, 520.0, 340.0),
    formants_hz=((1_100.0, 220.0), (3_100.0, 400.0), (5_200.0, 600.0)),
    burst_s=(0.7, 1.2),
    pause_s=(0.25, 0.45),
    vibrato_hz=7.0,
    vibrato=0.02,
    peak=0.6,
)
"""Like a newborn's: high, rising and falling, with short pauses."""

MOAN = Voice(
    f0_hz=(135.0, 165.0, 105.0),
    formants_hz=((620.0, 110.0), (1_050.0, 150.0), (2_500.0, 250.0)),
    burst_s=(1.1, 1.8),
    pause_s=(0.8, 1.4),
    vibrato_hz=5.0,
    vibrato=0.01,
    peak=0.35,
)
"""Like an adult's: low, falling, with long pauses."""


def _burst(voice: Voice, burst_s: float, rng: np.random.Generator) -> Waveform:
    t = np.arange(round(burst_s * SAMPLE_RATE_HZ)) / SAMPLE_RATE_HZ
    glide = np.interp(t / burst_s, (0.0, 0.35, 1.0), voice.f0_hz) * rng.uniform(0.94, 1.06)
    f0_hz = glide * (1.0 + voice.vibrato * np.sin(2 * np.pi * voice.vibrato_hz * t))
    phase = 2 * np.pi * np.cumsum(f0_hz) / SAMPLE_RATE_HZ
    audio = np.zeros_like(t)
    for harmonic in range(1, int(9_000.0 / min(voice.f0_hz))):
        at_hz = harmonic * f0_hz
        gain = sum(1.0 / (1.0 + ((at_hz - centre) / width) ** 2) for centre, width in voice.formants_hz)
        audio += np.where(at_hz < 9_000.0, (0.05 + gain) / harmonic, 0.0) * np.sin(harmonic * phase)
    breath = rng.normal(0.0, 0.02 * np.abs(audio).max(), t.size)
    return (audio + breath) * np.minimum(np.minimum(t / 0.06, (burst_s - t) / 0.15), 1.0)


def background(seconds: float, seed: int) -> Waveform:
    """Noise of a quiet room. Returns (samples,) float64 white noise at `BACKGROUND_DBFS` RMS re full scale, 48 kHz."""
    rng = np.random.default_rng(seed)
    return rng.normal(0.0, 10 ** (BACKGROUND_DBFS / 20), round(seconds * SAMPLE_RATE_HZ))


def utter(voice: Voice, seconds: float, seed: int) -> Waveform:
    """Bursts of `voice` with pauses, over `background`. Returns (samples,) float64 in [-1, 1], 48 kHz."""
    rng = np.random.default_rng(seed)
    audio = np.zeros(round(seconds * SAMPLE_RATE_HZ))
    start_s = 0.3
    while start_s < seconds:
        burst = _burst(voice, rng.uniform(*voice.burst_s), rng)
        start = round(start_s * SAMPLE_RATE_HZ)
        part = burst[: audio.size - start]
        audio[start : start + part.size] += part
        start_s += burst.size / SAMPLE_RATE_HZ + rng.uniform(*voice.pause_s)
    peak = float(np.abs(audio).max(initial=0.0))
    if peak > 0.0:
        audio *= voice.peak / peak
    return np.clip(audio + background(seconds, seed), -1.0, 1.0)


def portrait_frames(
    seconds: float, width_px: int, height_px: int, fps: float, away_s: tuple[float, float] | None = None
) -> Iterator[Frame]:
    """Render the portrait under a camera that slightly moves, zooms and rolls.

    Args:
        seconds: length.
        width_px, height_px: size of the frames.
        fps: frames per second.
        away_s: interval in which the camera shows the chest and no face is in view.

    Yields:
        (height_px, width_px, 3) uint8 RGB in [0, 255], `seconds` x `fps` of them.
    """
    portrait = data.astronaut()
    for index in range(round(seconds * fps)):
        t = index / fps
        zoom = height_px / VIEW_PX * (1.06 + 0.06 * np.sin(2 * np.pi * t / 8.0))
        x = FACE_CENTRE_PX[0] + 6.0 * np.sin(2 * np.pi * t / 5.0)
        y = FACE_CENTRE_PX[1] + 4.0 * np.sin(2 * np.pi * t / 3.3)
        if away_s is not None:
            share = np.interp(t, (away_s[0] - 0.4, away_s[0], away_s[1], away_s[1] + 0.4), (0.0, 1.0, 1.0, 0.0))
            y += float(share) * (CHEST_Y_PX - y)
        warp = cv2.getRotationMatrix2D((x, y), 4.0 * np.sin(2 * np.pi * t / 6.1), zoom)
        warp[:, 2] += (width_px / 2 - x, height_px / 2 - y)
        frame = cv2.warpAffine(
            portrait, warp, (width_px, height_px), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
        )
        yield np.ascontiguousarray(frame, dtype=np.uint8)


def write_recording(
    path: Path, frames: Iterator[Frame], fps: float, audio: Waveform | None, ffmpeg_options: Sequence[str] = ()
) -> None:
    """Encode with `avpenet_cli.phantom.encode`, taking the size from the first frame."""
    first = next(frames)
    height_px, width_px = first.shape[:2]
    encode.write_recording(path, chain([first], frames), (width_px, height_px), fps, audio, ffmpeg_options)
