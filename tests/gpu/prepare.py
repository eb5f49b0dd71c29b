"""Make the input of `make gpu-check`, which runs where there is no ffmpeg: `python -m tests.gpu.prepare FOLDER`.

OpenCV decodes the example phantoms to the same frames as ffmpeg, which is checked here frame by frame; so the videos
themselves serve as the frames' lossless form, and only the frames' numbers are written. OpenCV reads no audio: it is
written as 16-bit samples at 16 kHz, compressed without loss.
"""

from __future__ import annotations

import json
import lzma
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import soxr

from avpenet_cli.media.audio import WaveformStream
from avpenet_cli.media.frame_image import whole
from avpenet_cli.media.probe import probe
from avpenet_cli.media.video import FrameStream
from avpenet_cli.settings import DecodingSettings, to_dict

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "examples" / "phantoms"
INDEX_FILE = "recordings.json"
AUDIO_RATE_HZ = 16_000
FULL_SCALE = 32_768


def frames_by_opencv(path: Path) -> Iterator[np.ndarray]:
    """All frames of a video as (height, width, 3) uint8 RGB, in order."""
    video = cv2.VideoCapture(str(path))
    try:
        while (frame := video.read()[1]) is not None:
            yield cv2.cvtColor(frame, cv2.COLOR_BGR2RGB)
    finally:
        video.release()


def frame_numbers(path: Path) -> list[tuple[int, int]]:
    """The slots of the frame grid, each with the number of OpenCV's frame that has the same pixels.

    Raises:
        SystemExit: a frame that OpenCV decodes differently.
    """
    decoding = DecodingSettings()
    source = enumerate(frames_by_opencv(path))
    numbers, (number, pixels) = [], next(source)
    facts = probe(path, decoding)
    assert facts.video is not None
    # As OpenCV, ffmpeg is to convert the frames to RGB.
    facts = replace(facts, video=replace(facts.video, pixel_format="rgb24"))
    for frame in FrameStream(path, facts, decoding):
        wanted = whole(frame.image)
        while not np.array_equal(pixels, wanted):
            try:
                number, pixels = next(source)
            except StopIteration:
                raise SystemExit(f"{path}: OpenCV has no frame equal to slot {frame.slot} of ffmpeg's") from None
        numbers.append((frame.slot, number))
    return numbers


def pack_audio(waveform: np.ndarray) -> bytes:
    """Compress (samples,) float32, full scale 1, rounded to 16 bits; low bytes first, then all high bytes."""
    samples = np.rint(waveform * FULL_SCALE).clip(-FULL_SCALE, FULL_SCALE - 1).astype("<i2")
    return lzma.compress(samples.view(np.uint8).reshape(-1, 2).T.tobytes(), preset=9)


def unpack_audio(content: bytes) -> np.ndarray:
    """(samples,) float32 from `pack_audio`."""
    halves = np.frombuffer(lzma.decompress(content), np.uint8).reshape(2, -1)
    samples = np.ascontiguousarray(halves.T).view("<i2").ravel()
    return samples.astype(np.float32) / FULL_SCALE


def prepare(folder: Path) -> None:
    """Write the index and the audio of every example phantom."""
    folder.mkdir(parents=True, exist_ok=True)
    decoding, recordings = DecodingSettings(), {}
    for path in sorted(EXAMPLES.glob("*.mp4")):
        facts = probe(path, decoding)
        assert facts.audio is not None
        blocks = WaveformStream(path, facts, decoding)
        waveform = soxr.resample(np.concatenate(list(blocks)), blocks.rate_hz, AUDIO_RATE_HZ)
        (folder / f"{path.stem}.s16.xz").write_bytes(pack_audio(waveform))
        facts = replace(facts, audio=replace(facts.audio, sample_rate_hz=AUDIO_RATE_HZ))
        recordings[path.name] = {"facts": to_dict(facts), "frames": frame_numbers(path)}
    (folder / INDEX_FILE).write_text(json.dumps({"commit": _commit(), "recordings": recordings}), encoding="utf-8")


def _commit() -> str:
    described = subprocess.run(
        ["git", "describe", "--always", "--dirty"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    return described.stdout.strip() or "unknown"


if __name__ == "__main__":
    prepare(Path(sys.argv[1]))
