"""Let the program read the example phantoms without ffmpeg, from what `tests.gpu.prepare` wrote."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

import avpenet_cli.pipeline.evidence as evidence_module
import avpenet_cli.runs.versions as versions_module
import avpenet_cli.scoring.scorer as scorer_module
from avpenet_cli.media.audio import WaveformStream
from avpenet_cli.media.channels import Mixdown
from avpenet_cli.media.frame_image import RgbImage
from avpenet_cli.media.probe import Probe
from avpenet_cli.media.video import FrameStream, TimedFrame
from avpenet_cli.settings import FRAME_STEP_S, from_dict
from tests.gpu.prepare import EXAMPLES, INDEX_FILE, frames_by_opencv, unpack_audio

_BLOCK_SAMPLES = 1 << 16


class PreparedRecordings:
    """The prepared phantoms.

    Args:
        folder: from `tests.gpu.prepare`.
        seconds: use only this much of each.
    """

    def __init__(self, folder: Path, seconds: float) -> None:
        index: dict[str, Any] = json.loads((folder / INDEX_FILE).read_text(encoding="utf-8"))
        self._folder, self._entries, self._seconds = folder, index["recordings"], seconds
        self.commit: str = index["commit"]

    @property
    def paths(self) -> list[Path]:
        """The recordings."""
        return [EXAMPLES / name for name in self._entries]

    def facts(self, path: Path) -> Probe:
        """The header, with the audio at the rate at which it was written."""
        facts = from_dict(Probe, self._entries[path.name]["facts"], "prepared recordings")
        return replace(facts, nominal_s=min(facts.nominal_s, self._seconds))

    def frames(self, path: Path) -> Iterator[TimedFrame]:
        """The frames of the grid."""
        source = enumerate(frames_by_opencv(path))
        number, pixels = next(source)
        for slot, wanted in self._entries[path.name]["frames"]:
            if slot * FRAME_STEP_S >= self._seconds:
                return
            while number < wanted:
                number, pixels = next(source)
            yield TimedFrame(slot, RgbImage(pixels))

    def audio(self, path: Path, rate_hz: int) -> np.ndarray:
        """(samples,) float32, full scale 1."""
        waveform = unpack_audio((self._folder / f"{path.stem}.s16.xz").read_bytes())
        return waveform[: round(self._seconds * rate_hz)]

    def replace_decoders(self) -> None:
        """Make the program read these recordings, and only these, for the rest of this process."""
        prepared = self

        class PreparedFrames(FrameStream):
            def __iter__(self) -> Iterator[TimedFrame]:
                for frame in prepared.frames(self._path):
                    self.slots_end = frame.slot + 1
                    yield frame

        class PreparedWaveform(WaveformStream):
            def survey_channels(self) -> Mixdown:
                return Mixdown()  # prepared audio is mixed

            def __iter__(self) -> Iterator[np.ndarray]:
                waveform = prepared.audio(self._path, self.rate_hz)
                self.present = [(0.0, len(waveform) / self.rate_hz)]
                yield from np.split(waveform, range(_BLOCK_SAMPLES, len(waveform), _BLOCK_SAMPLES))

        def no_ffmpeg() -> tuple[int, int]:
            return (0, 0)

        for module, name, replacement in (
            (evidence_module, "probe", lambda path, _: self.facts(path)),
            (evidence_module, "FrameStream", PreparedFrames),
            (evidence_module, "WaveformStream", PreparedWaveform),
            (scorer_module, "ffmpeg_version", no_ffmpeg),
            (versions_module, "ffmpeg_version", no_ffmpeg),
        ):
            assert hasattr(module, name), f"{module.__name__} has no {name} any more"
            setattr(module, name, replacement)
