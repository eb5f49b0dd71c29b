"""One recording -> its segments' scores, with the evidence behind each."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from avpenet_cli import __version__
from avpenet_cli.audio.noise import survey
from avpenet_cli.audio.segments import SegmentAudio, segments
from avpenet_cli.errors import Interrupted, RecordingError
from avpenet_cli.face.detect import CHUNK_FRAMES, FaceDetector, TurningDetector
from avpenet_cli.face.landmarks import ShapePredictor
from avpenet_cli.media.prefetch import prefetch
from avpenet_cli.media.probe import Probe, probe
from avpenet_cli.media.sound import SoundStream
from avpenet_cli.media.tools import ffmpeg_version
from avpenet_cli.media.video import FrameStream, TimedFrame
from avpenet_cli.records import Balance, Flag, Quality, Reason, RecordingOutcome, SegmentScore, Status
from avpenet_cli.scoring.faces import EmbeddingPool, FaceCollector, FaceEvidence, ImagePool
from avpenet_cli.scoring.network import Network
from avpenet_cli.scoring.stopwatch import Stopwatch
from avpenet_cli.scoring.windows import Window, balance, windows
from avpenet_cli.settings import FRAME_STEP_S, WINDOW_S, RunSettings

_PROMISE_SLACK_S = 0.15
"""Header and last frame may differ by about one step of the frame grid without anything being lost."""
_TRUNCATED_S = 0.5
_NEARLY_ALL = 1 - 1.01 * FRAME_STEP_S / WINDOW_S
"""Of a segment covered by a stream: a step of the frame grid at an end is rounding, more is a gap."""
_QUEUE_BYTES = 256 << 20
_SOUND_BATCH = 16

Progress = Callable[[float, float], None]
"""Called with (seconds read, seconds promised) while a recording is scored."""


@dataclass(frozen=True)
class _Sound:
    """What the audio stream gave. `per_window` is empty where there is no stream or nothing of it decodes."""

    stream: SoundStream | None
    per_window: Sequence[SegmentAudio]
    tokens: np.ndarray | None


class Scorer:
    """Scores recordings one at a time; holds the networks between them.

    Args:
        network: encoders and fusion.
        run: stride, thresholds, decoding.
        stop: asked between batches; True ends the run with `Interrupted`.
    """

    def __init__(self, network: Network, run: RunSettings, stop: Callable[[], bool] = lambda: False) -> None:
        self._network, self._run, self._stop = network, run, stop
        self._preprocessing = network.description.preprocessing
        face = self._preprocessing.face
        self._detector = FaceDetector(face, network.device)
        self._landmarks = ShapePredictor(face) if face.landmarks == "dlib68" else None

    def score(self, path: Path, progress: Progress = lambda done_s, promised_s: None) -> RecordingOutcome:
        """Score one recording.

        Args:
            path: a regular file.
            progress: told how far the recording has been read.

        Returns:
            One segment per window; `status` is scored when any segment is, else unscorable.

        Raises:
            RecordingError: it cannot be read, or nothing of it decodes.
            Interrupted: `stop` said so.
        """
        watch = Stopwatch()
        with watch.stage("probe"):
            facts = probe(path, self._run.decoding)
        frames, faces = self._watch_video(path, facts, watch, progress)
        sound_stream = SoundStream(path, facts, self._run.decoding, self._check_stop) if facts.audio else None
        profile = None
        if sound_stream is not None:
            with watch.stage("sound"):
                profile = survey(self._checked(sound_stream), sound_stream.rate_hz, self._preprocessing.audio)
        video_end_s = frames.slots_end * FRAME_STEP_S if frames else 0.0
        decoded_s = max(video_end_s, sound_stream.end_s if sound_stream else 0.0)
        if decoded_s <= 0:
            raise _nothing_decodes(facts, frames, sound_stream)
        near = abs(facts.nominal_s - decoded_s) <= _PROMISE_SLACK_S
        length_s = facts.nominal_s if near else decoded_s
        nominal_s = max(facts.nominal_s, length_s)
        plan = windows(length_s, self._run.stride_s, self._run.quality.short_tail_share)
        sound = _Sound(sound_stream, [], None)
        if sound_stream is not None and profile is not None and sound_stream.present:
            places = [(window.start_s, WINDOW_S) for window in plan]
            with watch.stage("sound"):
                # A second stream object: what the first found out about the recording stays as it was.
                again = SoundStream(path, facts, self._run.decoding, self._check_stop)
                blocks = self._checked(again)
                full_scale = self._run.quality.full_scale
                audio = self._preprocessing.audio
                cut = segments(blocks, sound_stream.rate_hz, places, profile, audio, full_scale)
                sound = self._encode_sound(sound_stream, cut, watch)
            if again.trouble and not sound_stream.trouble:
                raise RecordingError("decoder", f"could not be read twice alike: {again.trouble}", "score it again")
        recording_flags = _recording_flags(nominal_s - length_s, frames, sound_stream)
        scored = tuple(self._segment(window, faces, sound, recording_flags, watch) for window in plan)
        return RecordingOutcome(
            status=Status.SCORED if any(s.status is Status.SCORED for s in scored) else Status.UNSCORABLE,
            segments=scored,
            balance=balance(nominal_s, length_s, scored),
            message="; ".join(_troubles(frames, sound_stream)),
            orientation_deg=faces.orientation_deg if faces else None,
            facts=_facts(facts, frames, sound_stream, str(self._network.device))
            | {"patient_tracks": faces.patient_tracks if faces else 0},
            stage_s=watch.rounded(),
        )

    def _watch_video(
        self, path: Path, facts: Probe, watch: Stopwatch, progress: Progress
    ) -> tuple[FrameStream | None, FaceCollector | None]:
        """Decode, detect, track, crop and encode; every frame once."""
        if facts.video is None:
            return None, None
        stream = FrameStream(path, facts, self._run.decoding, self._check_stop)
        face = self._preprocessing.face
        architecture = self._network.description.architecture
        pool: EmbeddingPool | ImagePool
        if architecture.pooling == "image":
            pool = ImagePool(self._network, self._run.batch_size, self._run.stride_frames)
        else:
            pool = EmbeddingPool(self._network, self._run.batch_size)
        collector = FaceCollector(TurningDetector(self._detector, face), self._landmarks, face, pool, watch)
        frame_bytes = 3 * facts.video.width_px * facts.video.height_px
        depth = max(1, min(self._run.decoding.queue_frames, _QUEUE_BYTES // frame_bytes))
        frames = prefetch(stream, depth)
        try:
            for chunk in _chunks(watch.waiting("wait_for_frames", frames)):
                self._check_stop()
                collector.add(chunk)
                progress(min(chunk[-1].slot * FRAME_STEP_S, facts.nominal_s), facts.nominal_s)
        finally:
            frames.close()  # ends the decoder
        collector.finish()
        return stream, collector

    def _encode_sound(self, stream: SoundStream, cut: Iterator[SegmentAudio], watch: Stopwatch) -> _Sound:
        per_window: list[SegmentAudio] = []
        tokens: list[np.ndarray] = []
        waiting: list[np.ndarray] = []

        def encode() -> None:
            if waiting:
                with watch.stage("encode_sound"):
                    tokens.append(self._network.encode_sound(waiting))
                waiting.clear()

        for one in cut:
            # The spectrogram is needed once; its numbers are kept without it.
            waiting.append(one.mel)
            per_window.append(dataclasses.replace(one, mel=np.empty(0, np.float32)))
            if len(waiting) >= _SOUND_BATCH:
                encode()
        encode()
        watch.seconds["sound"] -= watch.seconds["encode_sound"]
        return _Sound(stream, per_window, np.concatenate(tokens) if tokens else None)

    def _segment(
        self,
        window: Window,
        faces: FaceCollector | None,
        sound: _Sound,
        recording_flags: tuple[Flag, ...],
        watch: Stopwatch,
    ) -> SegmentScore:
        """Weigh one segment's evidence and, where there is enough, score it."""
        limits = self._run.quality
        seen = faces.evidence(window.slots) if faces else None
        heard = sound.per_window[window.index] if sound.per_window else None
        present = sound.stream.present_share(window.start_s, window.end_s) if sound.stream else 0.0
        has_face = seen is not None and seen.tokens is not None and seen.rate >= limits.min_face_rate
        has_sound = heard is not None and present >= limits.min_audio_rate
        needed = self._network.description.modalities_needed
        reason = ""
        if not has_face and ("face" in needed or not has_sound):
            reason = Reason.NO_FACE if seen is not None and seen.shown > 0 else Reason.NO_VIDEO
        elif not has_sound and ("audio" in needed or not has_face):
            reason = Reason.NO_AUDIO
        flags = {*recording_flags, *self._face_flags(seen), *self._sound_flags(heard, present)}
        if window.short:
            flags.add(Flag.SHORT_TAIL)
        result = SegmentScore(
            segment=window.index,
            start_s=window.start_s,
            end_s=window.end_s,
            status=Status.UNSCORABLE if reason else Status.SCORED,
            reason=str(reason),
            quality=_quality(seen if seen and seen.shown > 0 else None, heard if present > 0 else None),
            flags=tuple(flag for flag in Flag if flag in flags),
        )
        if reason:
            return result
        self._check_stop()
        with watch.stage("fuse"):
            score, samples = self._network.score(
                sound.tokens[window.index] if has_sound and sound.tokens is not None else None,
                seen.tokens if has_face and seen is not None else None,
                window.first_slot,
            )
        score = round(score, 3)
        result = dataclasses.replace(result, score=score, label=self._network.description.label(score))
        if samples.size:
            low, high = np.percentile(samples, [2.5, 97.5])
            spread = float(np.std(samples, ddof=1)) if samples.size > 1 else None
            result = dataclasses.replace(result, score_sd=spread, score_lo=float(low), score_hi=float(high))
        return result

    def _face_flags(self, seen: FaceEvidence | None) -> set[Flag]:
        if seen is None or seen.shown == 0:
            return {Flag.NO_VIDEO}
        limits = self._run.quality
        flags = set()
        if seen.shown < _NEARLY_ALL:
            flags.add(Flag.VIDEO_GAP)
        if seen.rate == 0:
            flags.add(Flag.NO_FACE)
        elif seen.rate < limits.low_face_rate:
            flags.add(Flag.LOW_FACE_RATE)
        if seen.confidence is not None and seen.confidence < limits.low_confidence:
            flags.add(Flag.LOW_CONFIDENCE)
        if seen.width_px is not None and seen.width_px < limits.small_face_px:
            flags.add(Flag.SMALL_FACE)
        if seen.most > 1:
            flags.add(Flag.SEVERAL_FACES)
        if seen.stranger:
            flags.add(Flag.OTHER_FACE)
        if seen.turned:
            flags.add(Flag.ROTATED)
        return flags

    def _sound_flags(self, heard: SegmentAudio | None, present: float) -> set[Flag]:
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

    def _checked(self, blocks: SoundStream) -> Iterator[np.ndarray]:
        for block in blocks:
            self._check_stop()
            yield block

    def _check_stop(self) -> None:
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


def _quality(seen: FaceEvidence | None, heard: SegmentAudio | None) -> Quality:
    return Quality(
        face_rate=seen.rate if seen else None,
        face_confidence=seen.confidence if seen else None,
        face_px=seen.width_px if seen else None,
        faces=seen.most if seen else None,
        voiced=heard.voiced if heard else None,
        snr_db=heard.snr_db if heard else None,
        level_dbfs=heard.level_dbfs if heard else None,
    )


def _troubles(frames: FrameStream | None, sound: SoundStream | None) -> list[str]:
    return [stream.trouble for stream in (frames, sound) if stream is not None and stream.trouble]


def _recording_flags(missing_s: float, frames: FrameStream | None, sound: SoundStream | None) -> tuple[Flag, ...]:
    flags = []
    if missing_s > _TRUNCATED_S or _troubles(frames, sound):
        flags.append(Flag.TRUNCATED)
    if any(stream is not None and stream.complaint for stream in (frames, sound)):
        flags.append(Flag.DAMAGED)
    return tuple(flags)


def _nothing_decodes(facts: Probe, frames: FrameStream | None, sound: SoundStream | None) -> RecordingError:
    detail = "; ".join(_troubles(frames, sound))
    promise = (
        f"its header promises {facts.nominal_s:.1f} s, but nothing decodes" if facts.nominal_s else "nothing decodes"
    )
    return RecordingError(
        "nothing_decodes", f"{promise}{f' ({detail})' if detail else ''}", "copy it again from its source"
    )


def failed(error: RecordingError, nominal_s: float = 0.0) -> RecordingOutcome:
    """The outcome of a recording that could not be read."""
    return RecordingOutcome(
        status=Status.FAILED,
        reason=error.code,
        message=str(error),
        balance=Balance(round(nominal_s, 3), 0.0, {}, round(nominal_s, 3)),
    )


def _facts(facts: Probe, frames: FrameStream | None, sound: SoundStream | None, device: str) -> dict[str, object]:
    """What the manifest says of a recording's streams."""
    plain: dict[str, object] = {
        "container": facts.container,
        "audio_tracks": facts.audio_tracks,
        # A table may be finished on another machine or by a newer version than began it.
        "scored_with": {"avpenet": __version__, "ffmpeg": ".".join(map(str, ffmpeg_version())), "device": device},
    }
    if facts.video is not None and frames is not None:
        plain["video"] = dataclasses.asdict(facts.video) | {"decoder": frames.backend, "complaint": frames.complaint}
    if facts.audio is not None and sound is not None:
        present = [[round(a, 3), round(b, 3)] for a, b in sound.present[:100]]
        plain["audio"] = dataclasses.asdict(facts.audio) | {"present_s": present, "complaint": sound.complaint}
    return plain
