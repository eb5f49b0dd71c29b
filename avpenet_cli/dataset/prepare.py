"""Recordings -> shards of a segment store, by the front end that scoring has; what is done is kept."""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import os
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Annotated, Any, Self

import cv2
import numpy as np
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from avpenet_cli.audio.segments import SegmentAudio
from avpenet_cli.dataset.shards import (
    DESCRIPTION,
    SCORABLE,
    STORE_VERSION,
    Payload,
    ShardHeader,
    ShardWriter,
    shard_descriptions,
    shard_header,
)
from avpenet_cli.dataset.splits import check_shares
from avpenet_cli.errors import AvpenetError, RecordingError
from avpenet_cli.inputs import Recording
from avpenet_cli.media.probe import check_file
from avpenet_cli.model.architecture import MODALITIES
from avpenet_cli.pipeline.evidence import FrontEnd, RecordingEvidence, SegmentAssessment
from avpenet_cli.pipeline.timer import StageTimer
from avpenet_cli.records import Status
from avpenet_cli.runs.callbacks import NO_CALLBACKS, RunCallbacks
from avpenet_cli.runs.device import choose_device
from avpenet_cli.settings import (
    WINDOW_S,
    AudioSettings,
    DecodingSettings,
    FaceSettings,
    Preprocessing,
    QualitySettings,
    RunSettings,
    digest_of,
    flatten,
    from_dict,
    result_settings,
    to_dict,
)
from avpenet_cli.storage import atomic_write, storage_fault
from avpenet_cli.study.pairing import HOLD_S
from avpenet_cli.tables import row

_SHARD_NAME_DIGITS = 24
_READ_BYTES = 1 << 20
_OF_SCORING_ONLY = {"mc_samples", "seed", "precision"}


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class PrepareSettings:
    """What a store is made by; the shape of `--config`. Command-line options go on top."""

    stride_s: Annotated[float, Field(gt=0.0, le=WINDOW_S)] = WINDOW_S
    """Seconds from one segment start to the next, a multiple of 0.1 s."""
    hold_s: Annotated[float, Field(ge=0.0, le=3600.0)] = HOLD_S
    """For how long a rating of one moment holds."""
    jpeg_quality: Annotated[int, Field(ge=50, le=100)] = 95
    """Chosen: 43 to 46 dB from the crop at 14 KiB a face, measured on two real clips; 80 halves that at 40 to 42 dB."""
    split: tuple[float, float, float] = (0.7, 0.15, 0.15)
    """Shares of subjects for train, validation and test. Chosen: the article does not state its own."""
    seed: Annotated[int, Field(ge=0)] = 42
    """Of the splits."""
    device: str = "auto"
    """`auto`, `cpu`, `cuda` or `cuda:N`; of the face detection."""
    audio: AudioSettings = Field(default_factory=AudioSettings)
    face: FaceSettings = Field(default_factory=FaceSettings)
    quality: QualitySettings = Field(default_factory=QualitySettings)
    decoding: DecodingSettings = Field(default_factory=DecodingSettings)

    def __post_init__(self) -> None:
        check_shares(self.split)
        self._as_run()

    @property
    def preprocessing(self) -> Preprocessing:
        """What networks trained on the store will have been trained to see."""
        return Preprocessing(self.audio, self.face)

    @property
    def run(self) -> RunSettings:
        """The same as scoring has them."""
        return self._as_run()

    def _as_run(self) -> RunSettings:
        run = from_dict(RunSettings, {"stride_s": self.stride_s, "device": self.device}, "settings")
        return dataclasses.replace(run, quality=self.quality, decoding=self.decoding)

    @property
    def shard_fingerprint_fields(self) -> dict[str, Any]:
        """The flat settings that change what is in a shard."""
        run = {name: value for name, value in result_settings(self.run).items() if name not in _OF_SCORING_ONLY}
        preprocessing = flatten({"preprocessing": to_dict(self.preprocessing)})
        return run | preprocessing | {"jpeg_quality": self.jpeg_quality}

    @property
    def store_fingerprint_fields(self) -> dict[str, Any]:
        """All flat settings that change what a store gives; two runs must agree on them to share one."""
        return self.shard_fingerprint_fields | {"hold_s": self.hold_s, "split": list(self.split), "seed": self.seed}


@dataclasses.dataclass(frozen=True)
class Crops:
    """Pictures of the patient's face in one segment.

    Attributes:
        jpegs: in time order.
        places: which of the segment's 30 frames each is, 0 to 29.
    """

    jpegs: tuple[bytes, ...]
    places: tuple[int, ...]


class CropSpool:
    """Where the crops of one recording wait, on disk, until it is known who the patient is.

    Args:
        folder: of the file, which has no name and is gone with the process.
        jpeg_quality: 50 to 100.
    """

    def __init__(self, folder: Path, jpeg_quality: int) -> None:
        self._folder, self._quality = folder, jpeg_quality
        self._places: dict[tuple[int, int], tuple[int, int]] = {}
        self._end = 0

    def __enter__(self) -> Self:
        try:
            self._file = tempfile.TemporaryFile(dir=self._folder)
        except OSError as error:
            raise storage_fault(self._folder, error) from None
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def add(self, slot: int, track: int, crop: np.ndarray) -> None:
        """Keep one crop, (crop_px, crop_px, 3) uint8 RGB."""
        done, jpeg = cv2.imencode(
            ".jpg", cv2.cvtColor(crop, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, self._quality]
        )
        if not done:
            raise RuntimeError("a crop could not be made a JPEG")
        try:
            self._file.seek(self._end)
            self._file.write(jpeg.tobytes())
        except OSError as error:
            raise storage_fault(self._folder, error) from None
        self._places[slot, track] = self._end, jpeg.size
        self._end += jpeg.size

    def flush_before(self, slot: int) -> None:
        """Nothing here depends on windows."""

    def finish(self) -> None:
        """Nothing waits."""

    def features(self, slots: range, tracks: Sequence[int]) -> Crops | None:
        """The crops of `tracks` in `slots`, in time order; None without any."""
        jpegs, places = [], []
        for slot in slots:
            for track in tracks:
                if (slot, track) in self._places:
                    start, size = self._places[slot, track]
                    self._file.seek(start)
                    jpegs.append(self._file.read(size))
                    places.append(slot - slots.start)
        return Crops(tuple(jpegs), tuple(places)) if jpegs else None


@dataclasses.dataclass(frozen=True)
class Prepared:
    """One recording dealt with.

    Attributes:
        shard: its file in the store; None when it failed.
        header: of the shard.
        segments, unscorable: how many there are, and of how many nothing is stored.
        seconds_spent: on it, now.
        reused: an earlier run had done it.
        failure: why it failed.
        error: what --debug shows.
    """

    recording: Recording
    shard: Path | None = None
    header: ShardHeader | None = None
    segments: int = 0
    unscorable: int = 0
    seconds_spent: float = 0.0
    reused: bool = False
    failure: RecordingError | None = None
    error: Exception | None = None


class Preparer:
    """Makes the shard of one recording after the other; holds the detector between them.

    Args:
        folder: of the shards.
        stop: asked between batches; True ends the run with `Interrupted`.
    """

    def __init__(self, settings: PrepareSettings, folder: Path, callbacks: RunCallbacks = NO_CALLBACKS) -> None:
        self._settings, self._folder, self._callbacks = settings, folder, callbacks
        self._fingerprint = digest_of(settings.shard_fingerprint_fields)
        device = choose_device(settings.device)
        self._front_end = FrontEnd(settings.preprocessing, settings.run, MODALITIES, device, callbacks)

    def shard_path(self, recording: Recording, facts: os.stat_result) -> Path:
        """Where the shard of this state of the recording's file belongs. The name says nothing of the recording: only
        who has the file, with its path and its time, can tell."""
        state = f"{recording.key} {facts.st_size} {facts.st_mtime_ns} {self._fingerprint}"
        return self._folder / f"{hashlib.sha256(state.encode()).hexdigest()[:_SHARD_NAME_DIGITS]}.arrow"

    def prepare(self, recording: Recording) -> Prepared:
        """See to it that the recording's shard is there.

        Raises:
            RecordingError: it cannot be read, or nothing of it decodes.
            Interrupted: `stop` said so.
            EnvironmentUnavailableError, OutputError: the shard cannot be written.
        """
        if recording.problem:
            raise RecordingError("no_recordings", recording.problem, "")
        facts = check_file(recording.path)
        shard = self.shard_path(recording, facts)
        timer = StageTimer()
        header = shard_header(shard)
        reused = header is not None and header.fingerprint == self._fingerprint
        if header is None or not reused:
            header = self._make(recording.path, facts, shard, timer)
        status = shard_descriptions(shard)["status"]
        return Prepared(
            recording,
            shard,
            header,
            len(status),
            int((status != SCORABLE).sum()),
            sum(timer.seconds.values()),
            reused,
        )

    def _make(self, path: Path, facts: os.stat_result, shard: Path, timer: StageTimer) -> ShardHeader:
        with timer.stage("digest"):
            digest = self._digest(path)
        with CropSpool(self._folder, self._settings.jpeg_quality) as spool:
            evidence = self._front_end.read(path, spool, timer)
            header = ShardHeader(
                version=STORE_VERSION,
                fingerprint=self._fingerprint,
                size_bytes=facts.st_size,
                mtime_ns=facts.st_mtime_ns,
                sha256=digest,
                nominal_s=round(evidence.nominal_s, 3),
                length_s=round(evidence.length_s, 3),
                orientation_deg=evidence.orientation_deg,
                message="; ".join(evidence.decode_errors),
            )
            with timer.stage("audio"), atomic_write(shard) as file:
                writer = ShardWriter(file, header)
                self._write(evidence, writer)
                writer.close()
        return header

    def _write(self, evidence: RecordingEvidence[Crops], writer: ShardWriter) -> None:
        # Nothing is heard where there is no audio.
        for window, heard in itertools.zip_longest(evidence.plan, self._front_end.iter_segment_audio(evidence)):
            weighed = self._front_end.assess_segment(evidence, window, heard)
            writer.write(_description(weighed), _payload(weighed, heard))

    def _digest(self, path: Path) -> str:
        digest = hashlib.sha256()
        try:
            with path.open("rb") as file:
                while block := file.read(_READ_BYTES):
                    self._callbacks.check_stop()
                    digest.update(block)
        except OSError as error:
            raise RecordingError("unreadable", f"{error.strerror or error}", "check the path and the disk") from None
        return digest.hexdigest()


def _description(weighed: SegmentAssessment[Crops]) -> dict[str, Any]:
    plain: dict[str, Any] = row("", weighed.record, "")
    plain["status"] = SCORABLE if weighed.record.status is Status.SCORED else weighed.record.status.value
    return {name: plain[name] for name in DESCRIPTION.names if name in plain}


def _payload(weighed: SegmentAssessment[Crops], heard: SegmentAudio | None) -> Payload | None:
    if weighed.record.status is not Status.SCORED or weighed.faces is None or heard is None:
        return None
    return Payload(heard.mel, heard.cleaned, weighed.faces.jpegs, weighed.faces.places)


def prepare_all(recordings: Sequence[Recording], preparer: Preparer) -> Iterator[Prepared]:
    """Deal with every recording, in order; the shard of each is on disk before it is yielded.

    Raises:
        Interrupted: on request; what was yielded before is safe.
        AvpenetError: a shard cannot be written, or settings contradict each other.
    """
    for recording in recordings:
        try:
            prepared = preparer.prepare(recording)
        except RecordingError as error:
            prepared = Prepared(recording, failure=error, error=error)
        except AvpenetError:
            raise
        except Exception as error:  # one recording must not end a night's run; --debug shows the traceback
            prepared = Prepared(recording, failure=RecordingError.from_unexpected(error, "prepared"), error=error)
        yield prepared
