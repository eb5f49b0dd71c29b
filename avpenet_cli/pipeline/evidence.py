"""One recording -> the evidence for each of its segments: what is seen, what is heard, whether that is enough.

Everything that comes before the networks, and the same for whoever asks: scoring encodes what it gets, a segment store
keeps it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
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
from avpenet_cli.model.architecture import Modality
from avpenet_cli.pipeline.faces import FaceCollector, FaceEvidence, Pool
from avpenet_cli.pipeline.timer import StageTimer
from avpenet_cli.pipeline.windows import Window, windows
from avpenet_cli.records import Flag, Quality, Reason, SegmentScore, Status
from avpenet_cli.settings import FRAME_STEP_S, WINDOW_S, Preprocessing, RunSettings

_PROMISE_SLACK_S = 0.15
"""Header and last frame may differ by about one step of the frame grid without anything being lost."""
_TRUNCATED_S = 0.5
_NEARLY_ALL = 1 - 1.01 * FRAME_STEP_S / WINDOW_S
"""Of a segment covered by a stream: a step of the frame grid at an end is rounding, more is a gap."""
_QUEUE_BYTES = 256 << 20

T = TypeVar("T")
Progress = Callable[[float, float], None]
"""Called with (seconds read, seconds promised) while a recording is read."""


@dataclass(frozen=True)
class RecordingEvidence(Generic[T]):
    """What one pass over the picture and one over the audio have found.

    Attributes:
        path, facts: the recording and what its header says.
        frames, audio: the streams that were read; None where the recording has none.
        faces: answers for any segment; None without a video stream.
        profile: the recording's noise; None without an audio stream.
        nominal_s: length that the header promises, or what decodes where that is more.
        length_s: how much of it decodes.
        plan: its segments.
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
        """What the decoders broke off with."""
        return tuple(_troubles(self.frames, self.audio))

    @property
    def orientation_deg(self) -> int | None:
        """The turn under which the patient's face was found most often; None without a patient."""
        return self.faces.orientation_deg if self.faces else None

    @property
    def patient_tracks(self) -> int:
        """How many tracks were joined as the patient's."""
        return self.faces.patient_tracks if self.faces else 0


@dataclass(frozen=True)
class SegmentAssessment(Generic[T]):
    """One segment's evidence, weighed.

    Attributes:
        record: without a score yet; its status says whether there is enough evidence for one.
        faces: what the pool made of the patient's faces; None where there are too few to go by.
        has_audio: whether there is enough audio to go by.
    """

    record: SegmentScore
    faces: T | None
    has_audio: bool


class FrontEnd:
    """Decoding, detection, tracking, alignment and cleaning, one recording at a time.

    Args:
        preprocessing: of the picture and the audio.
        run: stride, thresholds, decoding.
        needed: the modalities without which a segment is unscorable.
        device: where faces are looked for.
        stop: asked between batches; True ends the run with `Interrupted`.
    """

    def __init__(
        self,
        preprocessing: Preprocessing,
        run: RunSettings,
        needed: tuple[Modality, ...],
        device: torch.device,
        stop: Callable[[], bool] = lambda: False,
    ) -> None:
        self._preprocessing, self._run, self._needed, self._stop = preprocessing, run, needed, stop
        face = preprocessing.face
        self._detector = FaceDetector(face, device)
        self._landmarks = ShapePredictor(face) if face.landmarks == "dlib68" else None

    def read(self, path: Path, pool: Pool[T], timer: StageTimer, progress: Progress) -> RecordingEvidence[T]:
        """Watch all of the picture and iter_segment_audio all of the audio once.

        Args:
            path: a regular file.
            pool: gets the crops.
            progress: told how far the recording has been read.

        Raises:
            RecordingError: it cannot be read, or nothing of it decodes.
            Interrupted: `stop` said so.
        """
        with timer.stage("probe"):
            facts = probe(path, self._run.decoding)
        frames, faces = self._watch_video(path, facts, pool, timer, progress)
        audio = WaveformStream(path, facts, self._run.decoding, self.check_stop) if facts.audio else None
        profile = None
        if audio is not None:
            with timer.stage("audio"):
                profile = survey(self._checked(audio), audio.rate_hz, self._preprocessing.audio)
        video_end_s = frames.slots_end * FRAME_STEP_S if frames else 0.0
        decoded_s = max(video_end_s, audio.end_s if audio else 0.0)
        if decoded_s <= 0:
            raise _nothing_decodes(facts, frames, audio)
        near = abs(facts.nominal_s - decoded_s) <= _PROMISE_SLACK_S
        length_s = facts.nominal_s if near else decoded_s
        nominal_s = max(facts.nominal_s, length_s)
        plan = tuple(windows(length_s, self._run.stride_s, self._run.quality.short_tail_share))
        flags = _recording_flags(nominal_s - length_s, frames, audio)
        return RecordingEvidence(path, facts, frames, audio, faces, profile, nominal_s, length_s, plan, flags)

    def iter_segment_audio(self, evidence: RecordingEvidence[T]) -> Iterator[SegmentAudio]:
        """The audio of each planned segment, in a second read; nothing where there is no audio.

        Raises:
            RecordingError: at the end, where the second read broke off and the first did not.
            Interrupted: `stop` said so.
        """
        audio, profile = evidence.audio, evidence.profile
        if audio is None or profile is None or not audio.present:
            return
        places = [(window.start_s, WINDOW_S) for window in evidence.plan]
        # A second stream object: what the first found out about the recording stays as it was.
        again = WaveformStream(evidence.path, evidence.facts, self._run.decoding, self.check_stop)
        full_scale = self._run.quality.full_scale
        settings = self._preprocessing.audio
        yield from segments(self._checked(again), audio.rate_hz, places, profile, settings, full_scale)
        if again.decode_error and not audio.decode_error:
            raise RecordingError("decoder", f"could not be read twice alike: {again.decode_error}", "try it again")

    def assess_segment(
        self, evidence: RecordingEvidence[T], window: Window, heard: SegmentAudio | None
    ) -> SegmentAssessment[T]:
        """Say what one segment shows and whether that is enough.

        Args:
            heard: its audio from `iter_segment_audio`; None where there is none.
        """
        limits = self._run.quality
        seen = evidence.faces.evidence(window.slots) if evidence.faces else None
        present = evidence.audio.present_share(window.start_s, window.end_s) if evidence.audio else 0.0
        has_face = seen is not None and seen.features is not None and seen.rate >= limits.min_face_rate
        has_audio = heard is not None and present >= limits.min_audio_rate
        reason = ""
        if not has_face and ("face" in self._needed or not has_audio):
            reason = Reason.NO_FACE if seen is not None and seen.video_coverage > 0 else Reason.NO_VIDEO
        elif not has_audio and ("audio" in self._needed or not has_face):
            reason = Reason.NO_AUDIO
        flags = {*evidence.flags, *self._face_flags(seen), *self._audio_flags(heard, present)}
        if window.short:
            flags.add(Flag.SHORT_TAIL)
        record = SegmentScore(
            segment=window.index,
            start_s=window.start_s,
            end_s=window.end_s,
            status=Status.UNSCORABLE if reason else Status.SCORED,
            reason=str(reason),
            quality=_quality(seen if seen and seen.video_coverage > 0 else None, heard if present > 0 else None),
            flags=tuple(flag for flag in Flag if flag in flags),
        )
        return SegmentAssessment(record, seen.features if has_face and seen is not None else None, has_audio)

    def _watch_video(
        self, path: Path, facts: Probe, pool: Pool[T], timer: StageTimer, progress: Progress
    ) -> tuple[FrameStream | None, FaceCollector[T] | None]:
        """Decode, detect, track, crop and hand to the pool; every frame once."""
        if facts.video is None:
            return None, None
        stream = FrameStream(path, facts, self._run.decoding, self.check_stop)
        face = self._preprocessing.face
        collector = FaceCollector(RotatingDetector(self._detector, face), self._landmarks, face, pool, timer)
        frame_bytes = 3 * facts.video.width_px * facts.video.height_px
        depth = max(1, min(self._run.decoding.queue_frames, _QUEUE_BYTES // frame_bytes))
        frames = prefetch(stream, depth)
        try:
            for chunk in _chunks(timer.waiting("wait_for_frames", frames)):
                self.check_stop()
                collector.add(chunk)
                progress(min(chunk[-1].slot * FRAME_STEP_S, facts.nominal_s), facts.nominal_s)
        finally:
            frames.close()  # ends the decoder
        collector.finish()
        return stream, collector

    def _face_flags(self, seen: FaceEvidence[T] | None) -> set[Flag]:
        if seen is None or seen.video_coverage == 0:
            return {Flag.NO_VIDEO}
        limits = self._run.quality
        flags = set()
        if seen.video_coverage < _NEARLY_ALL:
            flags.add(Flag.VIDEO_GAP)
        if seen.rate == 0:
            flags.add(Flag.NO_FACE)
        elif seen.rate < limits.low_face_rate:
            flags.add(Flag.LOW_FACE_RATE)
        if seen.confidence is not None and seen.confidence < limits.low_confidence:
            flags.add(Flag.LOW_CONFIDENCE)
        if seen.width_px is not None and seen.width_px < limits.small_face_px:
            flags.add(Flag.SMALL_FACE)
        if seen.max_faces > 1:
            flags.add(Flag.SEVERAL_FACES)
        if seen.non_patient_visible:
            flags.add(Flag.OTHER_FACE)
        if seen.rotated:
            flags.add(Flag.ROTATED)
        return flags

    def _audio_flags(self, heard: SegmentAudio | None, present: float) -> set[Flag]:
        if heard is None or present == 0:
            return {Flag.NO_AUDIO}
        limits = self._run.quality
        flags = set()
        if present < _NEARLY_ALL:
            flags.add(Flag.AUDIO_GAP)
        if heard.level_dbfs is None or heard.level_dbfs < limits.silent_dbfs:
            flags.add(Flag.SILENT)
        if heard.clipped_share > limits.clipped_share:
            flags.add(Flag.CLIPPED)
        if heard.snr_db is not None and heard.snr_db < limits.low_snr_db:
            flags.add(Flag.LOW_SNR)
        return flags

    def _checked(self, blocks: WaveformStream) -> Iterator[np.ndarray]:
        for block in blocks:
            self.check_stop()
            yield block

    def check_stop(self) -> None:
        """Raise `Interrupted` when an end has been asked for."""
        if self._stop():
            raise Interrupted("stopped on request", "run the same command again to go on")


def _chunks(frames: Iterator[TimedFrame]) -> Iterator[list[TimedFrame]]:
    """Frames grouped by their place on the grid, so that a missing frame does not shift the groups after it."""
    chunk: list[TimedFrame] = []
    for frame in frames:
        if chunk and frame.slot // CHUNK_FRAMES != chunk[0].slot // CHUNK_FRAMES:
            yield chunk
            chunk = []
        chunk.append(frame)
    if chunk:
        yield chunk


def _quality(seen: FaceEvidence[T] | None, heard: SegmentAudio | None) -> Quality:
    return Quality(
        face_rate=seen.rate if seen else None,
        face_confidence=seen.confidence if seen else None,
        face_px=seen.width_px if seen else None,
        faces=seen.max_faces if seen else None,
        voiced=heard.voiced if heard else None,
        snr_db=heard.snr_db if heard else None,
        level_dbfs=heard.level_dbfs if heard else None,
    )


def _troubles(frames: FrameStream | None, audio: WaveformStream | None) -> list[str]:
    return [stream.decode_error for stream in (frames, audio) if stream is not None and stream.decode_error]


def _recording_flags(missing_s: float, frames: FrameStream | None, audio: WaveformStream | None) -> tuple[Flag, ...]:
    flags = []
    if missing_s > _TRUNCATED_S or _troubles(frames, audio):
        flags.append(Flag.TRUNCATED)
    if any(stream is not None and stream.decoder_warning for stream in (frames, audio)):
        flags.append(Flag.DAMAGED)
    return tuple(flags)


def _nothing_decodes(facts: Probe, frames: FrameStream | None, audio: WaveformStream | None) -> RecordingError:
    detail = "; ".join(_troubles(frames, audio))
    promise = (
        f"its header promises {facts.nominal_s:.1f} s, but nothing decodes" if facts.nominal_s else "nothing decodes"
    )
    return RecordingError(
        "nothing_decodes", f"{promise}{f' ({detail})' if detail else ''}", "copy it again from its source"
    )
