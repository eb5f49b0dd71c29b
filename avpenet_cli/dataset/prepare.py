"""Recordings -> segment files of a store, by the same front end as scoring."""

from __future__ import annotations

import contextlib
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
import pandas as pd
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from avpenet_cli.audio.segments import SegmentAudio
from avpenet_cli.dataset.segment_files import (
    DESCRIPTION,
    SCORABLE,
    SEGMENT_FILE_SUFFIX,
    STORE_VERSION,
    Payload,
    SegmentFileHeader,
    SegmentFileWriter,
    segment_descriptions,
    segment_file_header,
)
from avpenet_cli.dataset.splits import check_shares
from avpenet_cli.errors import AvpenetError, RecordingError, SettingsError
from avpenet_cli.inputs import Recording
from avpenet_cli.media.probe import check_file
from avpenet_cli.model.architecture import MODALITIES
from avpenet_cli.pipeline.alteration import Alteration
from avpenet_cli.pipeline.evidence import FrontEnd, RecordingEvidence, SegmentAssessment
from avpenet_cli.pipeline.reading import read_reliably
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

_FILE_NAME_DIGITS = 24
_READ_BYTES = 1 << 20
_SCORING_ONLY = {"mc_samples", "seed", "precision"}


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class PrepareSettings:
    """How a store is prepared; the shape of `--config`."""

    stride_s: Annotated[float, Field(gt=0.0, le=WINDOW_S)] = WINDOW_S
    """Seconds from one segment start to the next, a multiple of 0.1 s."""
    hold_s: Annotated[float, Field(ge=0.0, le=3600.0)] = HOLD_S
    """How long a rating given at one time applies."""
    jpeg_quality: Annotated[int, Field(ge=50, le=100)] = 95
    """Chosen: PSNR of 43 to 46 dB at 14 KiB a face, measured on two real clips; 80 halves the size at 40 to 42 dB."""
    split: tuple[float, float, float] = (0.7, 0.15, 0.15)
    """Shares of subjects for train, validation and test. Chosen: the paper does not state its own."""
    seed: Annotated[int, Field(ge=0)] = 42
    """Seed of the splits."""
    device: str = "auto"
    """Device of the face detection: `auto`, `cpu`, `cuda` or `cuda:N`."""
    audio: AudioSettings = Field(default_factory=AudioSettings)
    face: FaceSettings = Field(default_factory=FaceSettings)
    quality: QualitySettings = Field(default_factory=QualitySettings)
    decoding: DecodingSettings = Field(default_factory=DecodingSettings)

    def __post_init__(self) -> None:
        check_shares(self.split)
        self._as_run()

    @property
    def preprocessing(self) -> Preprocessing:
        """Preprocessing that weights trained on the store require."""
        return Preprocessing(self.audio, self.face)

    @property
    def run(self) -> RunSettings:
        """The settings of `avpenet score` that match."""
        return self._as_run()

    def _as_run(self) -> RunSettings:
        run = from_dict(RunSettings, {"stride_s": self.stride_s, "device": self.device}, "settings")
        return dataclasses.replace(run, quality=self.quality, decoding=self.decoding)

    @property
    def segment_fingerprint_fields(self) -> dict[str, Any]:
        """The flat settings that change the content of a segment file."""
        run = {name: value for name, value in result_settings(self.run).items() if name not in _SCORING_ONLY}
        preprocessing = flatten({"preprocessing": to_dict(self.preprocessing)})
        return run | preprocessing | {"jpeg_quality": self.jpeg_quality}

    @property
    def store_fingerprint_fields(self) -> dict[str, Any]:
        """All flat settings that change a store; two runs must agree on them to share one."""
        return self.segment_fingerprint_fields | {"hold_s": self.hold_s, "split": list(self.split), "seed": self.seed}


@dataclasses.dataclass(frozen=True)
class Crops:
    """Crops of the patient's face in one segment.

    Attributes:
        jpegs: in time order.
        frame_indices: index of each crop among the segment's 30 frames, 0 to 29.
    """

    jpegs: tuple[bytes, ...]
    frame_indices: tuple[int, ...]


class CropSpool:
    """Keeps the crops of one recording on disk until it is known which track is the patient's.

    Args:
        folder: where to keep the file, which has no name and disappears with the process.
        jpeg_quality: 50 to 100.
    """

    def __init__(self, folder: Path, jpeg_quality: int) -> None:
        self._folder, self._quality = folder, jpeg_quality
        self._offsets: dict[tuple[int, int], tuple[int, int]] = {}
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
        encoded, jpeg = cv2.imencode(
            ".jpg", cv2.cvtColor(crop, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, self._quality]
        )
        if not encoded:
            raise RuntimeError("a crop could not be encoded as JPEG")
        try:
            self._file.seek(self._end)
            self._file.write(jpeg.tobytes())
        except OSError as error:
            raise storage_fault(self._folder, error) from None
        self._offsets[slot, track] = self._end, jpeg.size
        self._end += jpeg.size

    def flush_before(self, slot: int) -> None:
        """Do nothing: crops do not depend on windows."""

    def finish(self) -> None:
        """Do nothing: every crop is on disk already."""

    def features(self, slots: range, tracks: Sequence[int]) -> Crops | None:
        """The crops of `tracks` in `slots`, in time order; None without any."""
        jpegs, frame_indices = [], []
        for slot in slots:
            for track in tracks:
                if (slot, track) in self._offsets:
                    start, size = self._offsets[slot, track]
                    self._file.seek(start)
                    jpegs.append(self._file.read(size))
                    frame_indices.append(slot - slots.start)
        return Crops(tuple(jpegs), tuple(frame_indices)) if jpegs else None


@dataclasses.dataclass(frozen=True)
class PreparedRecording:
    """The outcome of one recording.

    Attributes:
        file: its segment file in the store; None if it failed.
        header: of its segment file.
        segments, unscorable: number of segments, and number of those without a payload.
        seconds_spent: time spent on it in this run.
        reused: whether an earlier run prepared it.
        failure: why it failed.
        error: the exception behind the failure, for tracebacks.
    """

    recording: Recording
    file: Path | None = None
    header: SegmentFileHeader | None = None
    segments: int = 0
    unscorable: int = 0
    seconds_spent: float = 0.0
    reused: bool = False
    failure: RecordingError | None = None
    error: Exception | None = None


class Preparer:
    """Makes the segment files of recordings, one after the other; keeps the detector loaded between them.

    Args:
        folder: of the segment files.
        callbacks: told how far a recording has been read; may end the run between batches.
        alteration: changes the recordings while they are read, for experiments; not by default.
    """

    def __init__(
        self,
        settings: PrepareSettings,
        folder: Path,
        callbacks: RunCallbacks = NO_CALLBACKS,
        alteration: Alteration | None = None,
    ) -> None:
        self._settings, self._folder, self.callbacks = settings, folder, callbacks
        altered = alteration.fingerprint_fields if alteration else {}
        self.fingerprint = digest_of(settings.segment_fingerprint_fields | altered)
        device = choose_device(settings.device)
        self._front_end = FrontEnd(
            settings.preprocessing, settings.run, MODALITIES, device, callbacks, alteration=alteration
        )

    def segment_file_path(self, recording: Recording, facts: os.stat_result) -> Path:
        """Path of the segment file for this state of the recording's file. Its name reveals nothing of the recording:
        only somebody who has the file, with its path and modification time, can tell."""
        state = f"{recording.key} {facts.st_size} {facts.st_mtime_ns} {self.fingerprint}"
        return self._folder / f"{hashlib.sha256(state.encode()).hexdigest()[:_FILE_NAME_DIGITS]}{SEGMENT_FILE_SUFFIX}"

    def prepare(self, recording: Recording) -> PreparedRecording:
        """Make the recording's segment file, unless an earlier run has made it.

        Raises:
            RecordingError: it cannot be read, or nothing of it decodes.
            Interrupted: the callbacks asked for it.
            EnvironmentUnavailableError, OutputError: the segment file cannot be written.
        """
        if recording.problem:
            raise RecordingError("no_recordings", recording.problem, "")
        facts = check_file(recording.path)
        file = self.segment_file_path(recording, facts)
        timer = StageTimer()
        kept = self._kept(file)
        header, status = kept or (self._make(recording.path, facts, file, timer), segment_descriptions(file)["status"])
        return PreparedRecording(
            recording,
            file,
            header,
            len(status),
            int((status != SCORABLE).sum()),
            sum(timer.seconds.values()),
            reused=kept is not None,
        )

    def _kept(self, file: Path) -> tuple[SegmentFileHeader, pd.Series[str]] | None:
        """Header and segments' status of the file that an earlier run made; None without one that can be used."""
        header = segment_file_header(file)
        if header is None or header.fingerprint != self.fingerprint:
            return None
        try:
            return header, segment_descriptions(file)["status"]
        except SettingsError:  # damaged
            return None

    def _make(self, path: Path, facts: os.stat_result, target: Path, timer: StageTimer) -> SegmentFileHeader:
        with timer.stage("digest"):
            digest = self._digest(path)
        with contextlib.ExitStack() as spools:

            def read() -> RecordingEvidence[Crops]:
                spool = spools.enter_context(CropSpool(self._folder, self._settings.jpeg_quality))
                return self._front_end.read(path, spool, timer)

            evidence = read_reliably(path, read)
            if evidence.problems:
                self.callbacks.check_stop_of_decoder()
            header = SegmentFileHeader(
                version=STORE_VERSION,
                fingerprint=self.fingerprint,
                size_bytes=facts.st_size,
                mtime_ns=facts.st_mtime_ns,
                sha256=digest,
                nominal_s=round(evidence.nominal_s, 3),
                length_s=round(evidence.length_s, 3),
                orientation_deg=evidence.orientation_deg,
                message="; ".join([*evidence.problems, *(f"audio: {note}" for note in evidence.audio_notes)]),
            )
            with timer.stage("audio"), atomic_write(target) as file:
                writer = SegmentFileWriter(file, header)
                self._write(evidence, writer)
                writer.close()
        return header

    def _write(self, evidence: RecordingEvidence[Crops], writer: SegmentFileWriter) -> None:
        # A recording without audio yields no segment audio.
        for window, audio in itertools.zip_longest(evidence.plan, self._front_end.iter_segment_audio(evidence)):
            assessment = self._front_end.assess_segment(evidence, window, audio)
            writer.write(_description(assessment), _payload(assessment, audio))

    def _digest(self, path: Path) -> str:
        digest = hashlib.sha256()
        try:
            with path.open("rb") as file:
                while block := file.read(_READ_BYTES):
                    self.callbacks.check_stop()
                    digest.update(block)
        except OSError as error:
            raise RecordingError("unreadable", f"{error.strerror or error}", "check the path and the disk") from None
        return digest.hexdigest()


def _description(assessment: SegmentAssessment[Crops]) -> dict[str, Any]:
    record = assessment.record
    values: dict[str, Any] = row("", record, "")
    values["status"] = SCORABLE if record.status is Status.SCORED else record.status.value
    return {name: values[name] for name in DESCRIPTION.names if name in values}


def _payload(assessment: SegmentAssessment[Crops], audio: SegmentAudio | None) -> Payload | None:
    if assessment.record.status is not Status.SCORED or assessment.faces is None or audio is None:
        return None
    return Payload(audio.mel, audio.cleaned, assessment.faces.jpegs, assessment.faces.frame_indices)


def prepare_all(recordings: Sequence[Recording], preparer: Preparer) -> Iterator[PreparedRecording]:
    """Prepare every recording, in order; the segment file of each is on disk before it is yielded.

    Raises:
        Interrupted: the callbacks asked for it; what was yielded before is kept.
        AvpenetError: a segment file cannot be written, or settings contradict each other.
    """
    for recording in recordings:
        preparer.callbacks.check_stop()
        preparer.callbacks.item_started(recording.name)
        try:
            prepared = preparer.prepare(recording)
        except RecordingError as error:
            preparer.callbacks.check_stop_of_decoder()
            prepared = PreparedRecording(recording, failure=error, error=error)
        except AvpenetError:
            raise
        except Exception as error:  # one recording must not end a whole run; --debug shows the traceback
            prepared = PreparedRecording(
                recording, failure=RecordingError.from_unexpected(error, "prepared"), error=error
            )
        yield prepared
