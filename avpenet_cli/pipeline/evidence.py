"""Collect the evidence for each segment of a recording: its faces, its audio, and whether they are enough for a score.

This covers everything before the networks. Scoring passes a pool that encodes the face crops, the segment store passes
one that keeps them as JPEG, so both get the same input.
"""

from __future__ import annotations

import dataclasses
import math
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

import numpy as np
import torch

from avpenet_cli.audio.noise import NoiseProfile, survey
from avpenet_cli.audio.segments import SegmentAudio, segments
from avpenet_cli.errors import Interrupted, RecordingError
from avpenet_cli.face.detect import CHUNK_FRAMES, FaceDetector, RotatingDetector
from avpenet_cli.face.landmarks import ShapePredictor
from avpenet_cli.media.audio import WaveformStream
from avpenet_cli.media.prefetch import prefetch
from avpenet_cli.media.probe import Probe, probe
from avpenet_cli.media.video import FrameStream, TimedFrame
from avpenet_cli.media.wholeness import is_whole
from avpenet_cli.model.architecture import Modality
from avpenet_cli.pipeline.alteration import Alteration
from avpenet_cli.pipeline.faces import FaceCollector, NoPool, Pool
from avpenet_cli.pipeline.flags import FULL_COVERAGE, audio_flags, face_flags, quality
from avpenet_cli.pipeline.timer import StageTimer
from avpenet_cli.pipeline.windows import Window, windows
from avpenet_cli.records import Flag, Reason, SegmentScore, Status
from avpenet_cli.runs.callbacks import NO_CALLBACKS, RunCallbacks
from avpenet_cli.settings import FRAME_STEP_S, WINDOW_S, Preprocessing, RunSettings

_HEADER_TOLERANCE_S = 0.15
"""Header and last frame may differ by about one step of the frame grid without any loss."""
_TRUNCATED_S = 0.5
_QUEUE_BYTES = 256 << 20

T = TypeVar("T")


@dataclass(frozen=True)
class RecordingEvidence(Generic[T]):
    """Evidence from one pass over the frames and two over the audio.

    Attributes:
        path, facts: the recording and what its header says.
        frames, audio: the streams that were read; None for a stream that the recording lacks.
        faces: gives the face evidence of any segment; None without a video stream.
        profile: the recording's noise; None without an audio stream.
        nominal_s: length that the header states, or that decodes, whichever is longer, s.
        length_s: length that decodes, s.
        plan: the windows to score.
        flags: of the whole recording.
    """

    path: Path
    facts: Probe
    frames: FrameStream | None
    audio: WaveformStream | None
    faces: FaceCollector[T] | None
    profile: NoiseProfile | None
    nominal_s: float
    length_s: float
    plan: tuple[Window, ...]
    flags: tuple[Flag, ...]

    @property
    def decode_errors(self) -> tuple[str, ...]:
        """Why each decoder that stopped early did so."""
        return tuple(_decode_errors(self.frames, self.audio))

    @property
    def audio_notes(self) -> tuple[str, ...]:
        """What had to be corrected in the audio, one phrase each."""
        return self.audio.notes if self.audio else ()

    @property
    def problems(self) -> tuple[str, ...]:
        """What could not be read of the recording, how much of it is missing, and why decoders stopped early."""
        missing_s = self.nominal_s - self.length_s
        missing = f"the last {missing_s:.1f} of {self.nominal_s:.1f} s are missing; copy it again from its source"
        return (*self.facts.problems, *([missing] if missing_s > _TRUNCATED_S else []), *self.decode_errors)

    @property
    def suspected_read_error(self) -> str:
        """Why the file may hold something else than what was read of it; empty where nothing says so."""
        errors = [stream.suspected_read_error for stream in (self.frames, self.audio) if stream is not None]
        return next(filter(None, errors), "")

    def agrees_with(self, other: RecordingEvidence[T]) -> bool:
        """Whether two reads of a file gave the same, as far as its lengths and what its decoders said tell."""
        return self._read_facts() == other._read_facts()

    def _read_facts(self) -> tuple[object, ...]:
        slots_end = self.frames.slots_end if self.frames else None
        audio = (self.audio.present, self.audio.mixdown) if self.audio else None
        return self.facts, self.length_s, self.problems, self.flags, slots_end, audio

    @property
    def orientation_deg(self) -> int | None:
        """Clockwise rotation under which the patient's face was found most often; None without a patient."""
        return self.faces.orientation_deg if self.faces else None

    @property
    def patient_tracks(self) -> int:
        """Number of tracks that were joined as the patient's."""
        return self.faces.patient_tracks if self.faces else 0


@dataclass(frozen=True)
class SegmentAssessment(Generic[T]):
    """One segment's evidence and whether it is enough.

    Attributes:
        record: the segment, without a score as yet; its status says whether there is enough evidence for one.
        faces: the pool's features of the patient's faces; None where there are too few.
        face_places: index of each of those faces among the segment's 30 frames.
        has_audio: whether there is enough audio.
    """

    record: SegmentScore
    faces: T | None
    face_places: tuple[int, ...]
    has_audio: bool


class FrontEnd:
    """Decodes, detects, tracks, aligns and cleans, one recording at a time.

    Args:
        preprocessing: how to prepare frames and audio, from the weights' description.
        run: stride, thresholds, decoding.
        needed: the modalities without which a segment is unscorable.
        device: runs the face detector.
        callbacks: told how many seconds of a recording have been read; may stop the run between batches. Asked from a
            second thread too, where the audio is read beside the video.
        detector: finds the faces; by default one of its own.
        audio_beside_video: survey the audio in a thread beside the video instead of after it, which takes as much
            processor time and less waiting; None for where torch has more than one thread.
        alteration: changes every recording, for experiments; None for recordings as they are.
    """

    def __init__(
        self,
        preprocessing: Preprocessing,
        run: RunSettings,
        needed: tuple[Modality, ...],
        device: torch.device,
        callbacks: RunCallbacks = NO_CALLBACKS,
        detector: FaceDetector | None = None,
        *,
        audio_beside_video: bool | None = None,
        alteration: Alteration | None = None,
    ) -> None:
        self._alteration = alteration
        self._beside = torch.get_num_threads() > 1 if audio_beside_video is None else audio_beside_video
        self._preprocessing, self._run, self._needed, self._callbacks = preprocessing, run, needed, callbacks
        face = preprocessing.face
        self._detector = detector or FaceDetector(face, device)
        self._landmarks = ShapePredictor(face) if face.landmarks == "dlib68" else None

    def read(self, path: Path, pool: Pool[T], timer: StageTimer) -> RecordingEvidence[T]:
        """Decode all frames once, and the audio twice: for its channels, and for its noise.

        Args:
            path: a regular file.
            pool: receives the face crops.
            timer: adds up the stages `probe`, `wait_for_frames`, `detect`, `crop` and `audio`; the last
                may overlap with the others.

        Raises:
            RecordingError: it cannot be read, or nothing of it decodes.
            Interrupted: the callbacks asked for it.
        """
        with timer.stage("probe"):
            facts = probe(path, self._run.decoding)
        abandoned = threading.Event()
        with ThreadPoolExecutor(1, thread_name_prefix="audio") as beside:
            audio, survey_audio = self._audio_survey(path, facts, timer, abandoned)
            running = beside.submit(survey_audio) if self._beside else None
            try:
                frames, faces = self._read_video(path, facts, pool, timer)
                profile = running.result() if running else survey_audio()
            except BaseException:
                abandoned.set()  # the thread ends at its next block
                raise
        video_end_s = frames.slots_end * FRAME_STEP_S if frames else 0.0
        decoded_s = max(video_end_s, audio.end_s if audio else 0.0)
        if decoded_s <= 0:
            raise _nothing_decodes(facts, frames, audio)
        matches_header = abs(facts.nominal_s - decoded_s) <= _HEADER_TOLERANCE_S
        length_s = facts.nominal_s if matches_header else decoded_s
        nominal_s = max(facts.nominal_s, length_s)
        if nominal_s > length_s and not _recording_flags(0.0, frames, audio):
            # A header may state more than there ever was. Of a file that is whole and intact, nothing is missing.
            nominal_s = length_s if facts.is_estimate or is_whole(path, facts.container) else nominal_s
        plan = tuple(windows(length_s, self._run.stride_s, self._run.quality.short_tail_share))
        flags = (*facts.flags, *_recording_flags(nominal_s - length_s, frames, audio))
        return RecordingEvidence(path, facts, frames, audio, faces, profile, nominal_s, length_s, plan, flags)

    def iter_segment_audio(self, evidence: RecordingEvidence[T]) -> Iterator[SegmentAudio]:
        """The audio of each planned segment, in another read; nothing where there is no audio.

        Raises:
            RecordingError: at the end, if this read stopped early and the one before it did not.
            Interrupted: the callbacks asked for it.
        """
        audio, profile = evidence.audio, evidence.profile
        if audio is None or profile is None or not audio.present:
            return
        places = [(window.start_s, WINDOW_S) for window in evidence.plan]
        # A second stream object: what the first found out about the recording stays as it was.
        again = WaveformStream(
            evidence.path, evidence.facts, self._run.decoding, self._callbacks.check_stop, audio.mixdown
        )
        full_scale = self._run.quality.full_scale
        settings = self._preprocessing.audio
        blocks = self._audio_blocks(evidence.path, again, self._callbacks.check_stop)
        yield from segments(blocks, audio.rate_hz, places, profile, settings, full_scale)
        error = again.decode_error or again.suspected_read_error
        if error and not (audio.decode_error or audio.suspected_read_error):
            raise RecordingError("decoder", f"the second read of the audio failed: {error}", "try it again")

    def assess_segment(
        self, evidence: RecordingEvidence[T], window: Window, segment_audio: SegmentAudio | None
    ) -> SegmentAssessment[T]:
        """Collect one segment's evidence and decide whether it is enough for a score.

        Args:
            segment_audio: from `iter_segment_audio`; None where the recording has no audio.
        """
        limits = self._run.quality
        face_evidence = evidence.faces.evidence(window.slots) if evidence.faces else None
        present = evidence.audio.present_share(window.start_s, window.end_s) if evidence.audio else 0.0
        has_face = (
            face_evidence is not None
            and face_evidence.features is not None
            and face_evidence.rate >= limits.min_face_rate
        )
        has_audio = segment_audio is not None and present >= limits.min_audio_rate
        if segment_audio is not None and evidence.audio is not None and 0 < present < FULL_COVERAGE:
            segment_audio = _over_present_audio(segment_audio, evidence.audio, window)
        reason = ""
        if not has_face and ("face" in self._needed or not has_audio):
            reason = (
                Reason.NO_FACE if face_evidence is not None and face_evidence.video_coverage > 0 else Reason.NO_VIDEO
            )
        elif not has_audio and ("audio" in self._needed or not has_face):
            reason = Reason.NO_AUDIO
        flags = {*evidence.flags, *face_flags(face_evidence, limits), *audio_flags(segment_audio, present, limits)}
        if window.short:
            flags.add(Flag.SHORT_TAIL)
        record = SegmentScore(
            segment=window.index,
            start_s=window.start_s,
            end_s=window.end_s,
            status=Status.UNSCORABLE if reason else Status.SCORED,
            reason=str(reason),
            quality=quality(
                face_evidence if face_evidence and face_evidence.video_coverage > 0 else None,
                segment_audio if present > 0 else None,
            ),
            flags=tuple(flag for flag in Flag if flag in flags),
        )
        faces = face_evidence if has_face else None
        return SegmentAssessment(record, faces.features if faces else None, faces.places if faces else (), has_audio)

    def _read_video(
        self, path: Path, facts: Probe, pool: Pool[T], timer: StageTimer
    ) -> tuple[FrameStream | None, FaceCollector[T] | None]:
        """Decode, detect, track, crop and pass to the pool, every frame once; twice where frames are altered."""
        alteration = self._alteration
        if alteration is None or not alteration.alters_frames:
            return self._collect_faces(path, facts, pool, timer)
        nothing: Pool[None] = NoPool()
        _, unaltered = self._collect_faces(path, facts, nothing, timer)
        faces = unaltered.patient_faces if unaltered else {}
        return self._collect_faces(
            path, facts, pool, timer, lambda frames: alteration.alter_frames(path, frames, faces)
        )

    def _collect_faces(
        self,
        path: Path,
        facts: Probe,
        pool: Pool[T],
        timer: StageTimer,
        alter: Callable[[list[TimedFrame]], list[TimedFrame]] | None = None,
    ) -> tuple[FrameStream | None, FaceCollector[T] | None]:
        if facts.video is None:
            return None, None
        stream = FrameStream(path, facts, self._run.decoding, self._callbacks.check_stop)
        face = self._preprocessing.face
        detector = RotatingDetector(self._detector, face)
        largest = self._alteration is not None and self._alteration.takes_largest_face
        collector = FaceCollector(
            detector, self._landmarks, face, pool, timer, facts.video.reduction, takes_largest=largest
        )
        frame_bytes = 3 * facts.video.width_px * facts.video.height_px
        depth = max(1, min(self._run.decoding.queue_frames, _QUEUE_BYTES // frame_bytes))
        frames = prefetch(stream, depth)
        try:
            for chunk in _chunks(timer.waiting("wait_for_frames", frames)):
                self._callbacks.check_stop()
                collector.add(alter(chunk) if alter else chunk)
                read_s = chunk[-1].slot * FRAME_STEP_S
                self._callbacks.progress(min(read_s, facts.nominal_s), facts.nominal_s)
        finally:
            frames.close()  # ends the decoder
        collector.finish()
        return stream, collector

    def _audio_survey(
        self, path: Path, facts: Probe, timer: StageTimer, abandoned: threading.Event
    ) -> tuple[WaveformStream | None, Callable[[], NoiseProfile | None]]:
        """The audio, and what decodes it once for the way its channels are mixed and once for its noise."""

        def check() -> None:
            self._callbacks.check_stop()
            if abandoned.is_set():
                raise Interrupted("the video failed")

        audio = WaveformStream(path, facts, self._run.decoding, check) if facts.audio else None

        def survey_audio() -> NoiseProfile | None:
            if audio is None:
                return None
            with timer.stage("audio"):
                mixdown = audio.survey_channels()
                blocks = self._audio_blocks(path, audio, check)
                return survey(blocks, audio.rate_hz, self._preprocessing.audio, has_offset=mixdown.has_offset)

        return audio, survey_audio

    def _audio_blocks(self, path: Path, audio: WaveformStream, check: Callable[[], None]) -> Iterable[np.ndarray]:
        def read() -> Iterator[np.ndarray]:
            return _checked(audio, check)

        return read() if self._alteration is None else self._alteration.alter_audio(path, read, audio.rate_hz)


def _checked(blocks: Iterable[np.ndarray], check: Callable[[], None]) -> Iterator[np.ndarray]:
    for block in blocks:
        check()
        yield block


def _chunks(frames: Iterator[TimedFrame]) -> Iterator[list[TimedFrame]]:
    """Frames grouped by their position on the grid, so that a missing frame does not shift the groups after it."""
    chunk: list[TimedFrame] = []
    for frame in frames:
        if chunk and frame.slot // CHUNK_FRAMES != chunk[0].slot // CHUNK_FRAMES:
            yield chunk
            chunk = []
        chunk.append(frame)
    if chunk:
        yield chunk


def _over_present_audio(segment_audio: SegmentAudio, audio: WaveformStream, window: Window) -> SegmentAudio:
    """Levels over the part of the window in which there is audio: absent audio must not pass for a quiet patient."""
    share = audio.present_share(window.start_s, min(window.end_s, audio.end_s))
    if segment_audio.level_dbfs is None or share <= 0:
        return segment_audio
    gain_db = -10 * math.log10(share)
    snr_db = None if segment_audio.snr_db is None else segment_audio.snr_db + gain_db
    return dataclasses.replace(segment_audio, level_dbfs=segment_audio.level_dbfs + gain_db, snr_db=snr_db)


def _decode_errors(frames: FrameStream | None, audio: WaveformStream | None) -> list[str]:
    return [stream.decode_error for stream in (frames, audio) if stream is not None and stream.decode_error]


def _recording_flags(missing_s: float, frames: FrameStream | None, audio: WaveformStream | None) -> tuple[Flag, ...]:
    flags = []
    if missing_s > _TRUNCATED_S or _decode_errors(frames, audio):
        flags.append(Flag.TRUNCATED)
    if any(stream is not None and stream.decoder_warning for stream in (frames, audio)):
        flags.append(Flag.DAMAGED)
    if audio is not None and audio.notes:
        flags.append(Flag.AUDIO_CORRECTED)
    return tuple(flags)


def _nothing_decodes(facts: Probe, frames: FrameStream | None, audio: WaveformStream | None) -> RecordingError:
    detail = "; ".join(_decode_errors(frames, audio))
    problem = (
        f"its header states {facts.nominal_s:.1f} s, but nothing decodes" if facts.nominal_s else "nothing decodes"
    )
    return RecordingError(
        "nothing_decodes", f"{problem}{f' ({detail})' if detail else ''}", "copy it again from its source"
    )
