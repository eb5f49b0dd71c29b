"""Read what the network was given of chosen segments: a second read, which keeps nothing of the others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from avpenet_cli.audio.segments import SegmentAudio
from avpenet_cli.errors import RecordingError
from avpenet_cli.explanation.explained import Float32, SegmentInputs
from avpenet_cli.pipeline.evidence import FrontEnd, RecordingEvidence
from avpenet_cli.pipeline.timer import StageTimer
from avpenet_cli.records import SegmentScore
from avpenet_cli.runs.callbacks import NO_CALLBACKS, RunCallbacks
from avpenet_cli.scoring.network import Network
from avpenet_cli.settings import FRAME_STEP_S, FRAMES_PER_WINDOW, RunSettings


@dataclass(frozen=True, eq=False)
class Crops:
    """The patient's face in one segment: images, and counts as in `SegmentInputs`."""

    images: npt.NDArray[np.uint8] | Float32
    counts: npt.NDArray[np.int64] | None = None


class CropPool:
    """Keeps the crops of some segments, and nothing of the frames of others: 4.5 MB a segment and candidate face.

    Args:
        first_slots: of the segments, positions of their first frames on the frame grid.
    """

    def __init__(self, first_slots: Sequence[int]) -> None:
        self._wanted = {slot for first in first_slots for slot in range(first, first + FRAMES_PER_WINDOW)}
        self._crops: dict[tuple[int, int], np.ndarray] = {}

    def add(self, slot: int, track: int, crop: np.ndarray) -> None:
        """Keep one crop, (crop_px, crop_px, 3) uint8 RGB, of a wanted frame."""
        if slot in self._wanted:
            self._crops[slot, track] = crop

    def flush_before(self, slot: int) -> None:
        """Do nothing: crops do not depend on each other."""

    def finish(self) -> None:
        """Do nothing: every wanted crop is kept already."""

    def features(self, slots: range, tracks: Sequence[int]) -> Crops | None:
        """The crops of `tracks` in `slots`, in time order; None without any."""
        images = [self._crops[slot, track] for slot in slots for track in tracks if (slot, track) in self._crops]
        return Crops(np.stack(images)) if images else None


class MeanCropPool(CropPool):
    """As `CropPool`, for pooling by image: gives the mean crop of each track, as `scoring.pools.ImagePool` encodes."""

    def features(self, slots: range, tracks: Sequence[int]) -> Crops | None:
        """The mean crop of each of `tracks` over the whole window that begins with `slots`; None without any."""
        window = range(slots.start, slots.start + FRAMES_PER_WINDOW)
        means, counts = [], []
        for track in tracks:
            own = [self._crops[slot, track] for slot in window if (slot, track) in self._crops]
            if own:
                means.append(np.mean(own, axis=0, dtype=np.float32))
                counts.append(len(own))
        return Crops(np.stack(means), np.array(counts, np.int64)) if means else None


def read_inputs(
    path: Path,
    network: Network,
    run: RunSettings,
    records: Sequence[SegmentScore],
    callbacks: RunCallbacks = NO_CALLBACKS,
) -> list[SegmentInputs]:
    """Read a recording again, for what the network was given of some segments.

    Args:
        path: the file that was scored.
        network: that scored it; says how to prepare frames and audio, and finds the faces.
        run: as it was scored with.
        records: segments that have a score; only what made it is kept.
        callbacks: told how many seconds have been read; may stop it.

    Returns:
        The inputs of each of `records`, in their order.

    Raises:
        RecordingError: it cannot be read, or not as it was read before.
        Interrupted: the callbacks asked for it.
    """
    description = network.description
    detector = network.face_detector()
    front_end = FrontEnd(description.preprocessing, run, (), network.device, callbacks, detector)
    first_slots = [round(record.start_s / FRAME_STEP_S) for record in records]
    pool = MeanCropPool(first_slots) if description.architecture.pools_images else CropPool(first_slots)
    evidence = front_end.read(path, pool, StageTimer())
    wanted = {record.segment for record in records}
    if wanted and max(wanted) >= len(evidence.plan):
        raise _changed()
    audio: dict[int, SegmentAudio] = {}
    for number, segment_audio in enumerate(front_end.iter_segment_audio(evidence)):
        if number in wanted:
            audio[number] = segment_audio
        if len(audio) == len(wanted):
            break
    return [_inputs(front_end, evidence, record, audio.get(record.segment)) for record in records]


def _inputs(
    front_end: FrontEnd, evidence: RecordingEvidence[Crops], record: SegmentScore, audio: SegmentAudio | None
) -> SegmentInputs:
    assessment = front_end.assess_segment(evidence, evidence.plan[record.segment], audio)
    used = record.modalities.split("+")
    crops = assessment.faces if "face" in used else None
    heard = audio if "audio" in used else None
    if (crops is None) == ("face" in used) or (heard is None) == ("audio" in used):
        raise _changed()
    if crops is None:
        crops, places = Crops(np.empty((0, 0, 0, 3), np.uint8)), []
    elif crops.counts is None:
        places = list(assessment.face_places)
    else:
        places = [FRAMES_PER_WINDOW // 2] * len(crops.images)
    return SegmentInputs(
        record=record,
        mel=heard.mel if heard else None,
        waveform=heard.cleaned if heard else None,
        crops=crops.images,
        places=np.array(places, np.int64),
        counts=crops.counts,
    )


def _changed() -> RecordingError:
    return RecordingError(
        "changed", "the second read of the recording gave other segments than the first", "try it again"
    )
