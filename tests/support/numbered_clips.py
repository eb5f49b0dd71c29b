"""Clips whose frames show their own number, and the numbers expected on the 0.1-s grid."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np

from avpenet_cli.media.frame_image import whole
from avpenet_cli.media.probe import Probe, probe
from avpenet_cli.media.video import FrameStream, TimedFrame
from avpenet_cli.settings import MAX_HOLD_S, DecodingSettings

FFMPEG = DecodingSettings()
DECORD = DecodingSettings(backend="decord")
BITS = 10
"""A numbered frame shows its number as this many bars, white for 1 and black for 0, lowest bit at the left."""
NUMBERED = "format=gray,geq=lum='255*mod(floor(N/pow(2,floor(10*X/W))),2)'"


def numbered(fps: str, seconds: float, size: str = "160x48") -> list[str]:
    """ffmpeg's input options for a video whose frames show their own number."""
    return ["-f", "lavfi", "-i", f"color=c=black:s={size}:r={fps}:d={seconds},{NUMBERED}"]


def number_on(rgb: np.ndarray) -> int:
    height, width = rgb.shape[:2]
    bar = width // BITS
    middle = rgb[height // 2 - 2 : height // 2 + 2]
    return sum(int(middle[:, i * bar + bar // 4 : i * bar + 3 * bar // 4].mean() > 128) << i for i in range(BITS))


def read(path: Path, decoding: DecodingSettings = FFMPEG) -> tuple[Probe, FrameStream, list[TimedFrame]]:
    facts = probe(path, decoding)
    stream = FrameStream(path, facts, decoding)
    return facts, stream, list(stream)


def slots_of(path: Path, decoding: DecodingSettings = FFMPEG) -> dict[int, int]:
    """The number shown in each slot, of a recording that decodes without an error or a warning."""
    _, stream, frames = read(path, decoding)
    assert (stream.decode_error, stream.decoder_warning) == ("", "")
    assert all(a.slot < b.slot for a, b in pairwise(frames))
    assert stream.slots_end == frames[-1].slot + 1
    return {frame.slot: number_on(whole(frame.image)) for frame in frames}


def on_screen(starts_s: Sequence[float], end_s: float) -> dict[int, int]:
    """Expected result of `slots_of` for frames that come on screen at `starts_s`, the last until `end_s`."""
    result = {}
    for slot in range(math.ceil(end_s / 0.1)):
        at_s = (slot + 0.5) * 0.1
        number = int(np.searchsorted(starts_s, at_s + 1e-6, side="right")) - 1
        if number >= 0 and at_s < end_s and at_s - starts_s[number] <= MAX_HOLD_S:
            result[slot] = number
    return result


def steady(fps: float, seconds: float, start_s: float = 0.0) -> list[float]:
    return [start_s + number / fps for number in range(round(seconds * fps))]
