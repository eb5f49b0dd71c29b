"""Score one recording: its segments' scores, with the evidence behind each."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch

from avpenet_cli.audio.segments import SegmentAudio
from avpenet_cli.errors import RecordingError, SettingsError
from avpenet_cli.media.probe import AudioStream, VideoStream
from avpenet_cli.media.tools import ffmpeg_version
from avpenet_cli.pipeline.evidence import FrontEnd, RecordingEvidence, SegmentAssessment
from avpenet_cli.pipeline.reading import read_reliably
from avpenet_cli.pipeline.timer import StageTimer
from avpenet_cli.pipeline.windows import Window, balance
from avpenet_cli.records import CREATION_TIME, Balance, Modalities, RecordingOutcome, SegmentScore, Status
from avpenet_cli.runs.callbacks import NO_CALLBACKS, RunCallbacks
from avpenet_cli.scoring.encoder_threads import EncoderThreads
from avpenet_cli.scoring.network import Network, SegmentResult, SegmentTokens
from avpenet_cli.scoring.pools import EmbeddingPool, ImagePool
from avpenet_cli.settings import FRAME_STEP_S, RunSettings
from avpenet_cli.version import __version__

_AUDIO_BATCH = 16
_SEGMENTS_AT_ONCE = 32
"""Segments whose features are held in memory and given to the network together."""

T = TypeVar("T")


@dataclass(frozen=True)
class _EncodedAudio:
    """Encoded audio of the segments. Empty if there is no audio stream or none of it decodes."""

    per_window: Sequence[SegmentAudio]
    tokens: np.ndarray | None


@dataclass(frozen=True)
class _Assessed:
    """One segment before it is scored."""

    assessment: SegmentAssessment[np.ndarray]
    tokens: SegmentTokens

    def without_tokens(self) -> _Assessed:
        """A copy that takes no memory to speak of."""
        faces = None if self.assessment.faces is None else self.assessment.faces[:0]
        return _Assessed(
            dataclasses.replace(self.assessment, faces=faces), SegmentTokens(None, None, self.tokens.first_slot)
        )


def _scorable(segments: Sequence[_Assessed]) -> Iterator[SegmentTokens]:
    return (segment.tokens for segment in segments if segment.assessment.record.status is not Status.UNSCORABLE)


class Scorer:
    """Scores recordings one at a time; keeps the networks loaded between them.

    Args:
        network: encoders and fusion.
        run: stride, thresholds, decoding.
        callbacks: told how many seconds of a recording have been read; may stop the run between batches.
        with_times: keep the container's creation time among the facts; times can identify a patient.

    Raises:
        SettingsError: `run.require` names a modality that the network does not take.
    """

    def __init__(
        self, network: Network, run: RunSettings, callbacks: RunCallbacks = NO_CALLBACKS, *, with_times: bool = True
    ) -> None:
        self._network, self._run, self._callbacks, self._with_times = network, run, callbacks, with_times
        description = network.description
        for modality in run.require:
            if modality not in description.modalities:
                raise SettingsError(
                    f"require: the weights {description.name} do not take {modality}",
                    f"require only {' or '.join(description.modalities)}",
                )
        needed = tuple(m for m in description.modalities if m in (*description.modalities_needed, *run.require))
        detector = network.face_detector()
        self._front_end = FrontEnd(description.preprocessing, run, needed, network.device, callbacks, detector)

    @property
    def device(self) -> torch.device:
        """The device that computes."""
        return self._network.device

    def score(self, path: Path, timer: StageTimer | None = None) -> RecordingOutcome:
        """Score one recording.

        Args:
            path: a regular file.
            timer: adds up the stages; one of its own by default.

        Returns:
            One segment per window; `status` is scored when any segment is, else unscorable.

        Raises:
            RecordingError: it cannot be read, or nothing of it decodes.
            Interrupted: the callbacks asked for it.
        """
        return self.score_and_embed(path, timer)[0]

    def score_and_embed(
        self, path: Path, timer: StageTimer | None = None
    ) -> tuple[RecordingOutcome, np.ndarray | None]:
        """As `score`, with the embeddings of the scored segments, (n, E) float32, in their order.

        They are None where the network was not asked for them; (0, 0) where no segment is scored.
        """
        embeddings: list[np.ndarray] = []
        outcome, _ = self._score(path, timer, embeddings)
        if not self._network.with_embeddings:
            return outcome, None
        return outcome, np.concatenate(embeddings) if embeddings else np.empty((0, 0), np.float32)

    def score_with_tokens(
        self, path: Path, timer: StageTimer | None = None
    ) -> tuple[RecordingOutcome, Callable[[int], SegmentTokens]]:
        """As `score`, with a function that gives the tokens of a segment by its number.

        It holds on to the encoder outputs of the recording, as scoring does, and makes no copy until it is called.
        """
        return self._score(path, timer, [])

    def _score(
        self, path: Path, timer: StageTimer | None, embeddings: list[np.ndarray]
    ) -> tuple[RecordingOutcome, Callable[[int], SegmentTokens]]:
        """As `score_with_tokens`; adds embeddings, (n, E) each, where the network was asked for them."""
        timer = timer or StageTimer()
        evidence = read_reliably(path, lambda: self._read(path, timer))
        with timer.stage("audio"):
            audio = self._encode_audio(evidence, timer)
        scored = tuple(self._segments(evidence, audio, timer, embeddings))
        facts = _facts(evidence, str(self._network.device)) | {"patient_tracks": evidence.patient_tracks}
        if not self._with_times:
            del facts[CREATION_TIME]
        outcome = RecordingOutcome(
            status=Status.SCORED if any(s.status is Status.SCORED for s in scored) else Status.UNSCORABLE,
            segments=scored,
            balance=balance(evidence.nominal_s, evidence.length_s, scored),
            message="; ".join(evidence.problems),
            orientation_deg=evidence.orientation_deg,
            facts=facts,
            stage_s=timer.rounded(),
        )
        return outcome, lambda segment: self._assess(evidence, audio, evidence.plan[segment]).tokens

    def _read(self, path: Path, timer: StageTimer) -> RecordingEvidence[np.ndarray]:
        with EncoderThreads(self._network, timer) as encoder:
            return self._front_end.read(path, self._pool(encoder), timer)

    def _pool(self, encoder: EncoderThreads) -> EmbeddingPool | ImagePool:
        if self._network.description.architecture.pools_images:
            return ImagePool(encoder, self._run.batch_size, self._run.stride_frames)
        return EmbeddingPool(encoder, self._run.batch_size)

    def _encode_audio(self, evidence: RecordingEvidence[np.ndarray], timer: StageTimer) -> _EncodedAudio:
        per_window: list[SegmentAudio] = []
        tokens: list[np.ndarray] = []
        waiting: list[np.ndarray] = []

        def encode() -> None:
            if waiting:
                with timer.stage("encode_audio"):
                    tokens.append(self._network.encode_audio(waiting))
                waiting.clear()

        empty = np.empty(0, np.float32)
        for segment_audio in self._front_end.iter_segment_audio(evidence):
            # The input is needed once; its numbers are kept without it.
            waiting.append(self._network.audio_input(segment_audio.mel, segment_audio.cleaned))
            per_window.append(dataclasses.replace(segment_audio, mel=empty, cleaned=empty))
            if len(waiting) >= _AUDIO_BATCH:
                encode()
        encode()
        for seconds in (timer.seconds, timer.cpu_seconds):
            seconds["audio"] -= seconds["encode_audio"]
        return _EncodedAudio(per_window, np.concatenate(tokens) if tokens else None)

    def _segments(
        self,
        evidence: RecordingEvidence[np.ndarray],
        audio: _EncodedAudio,
        timer: StageTimer,
        embeddings: list[np.ndarray],
    ) -> Iterator[SegmentScore]:
        """Assess the evidence for each segment and, where there is enough, score it."""
        chunks = (self._assessed(evidence, audio, first) for first in range(0, len(evidence.plan), _SEGMENTS_AT_ONCE))
        if self._network.by_recording:
            yield from self._scored_together(chunks, timer, embeddings)
            return
        for segments in chunks:
            with timer.stage("fuse"):
                results = self._network.score_many(self._until_stopped(_scorable(segments)))
            embeddings += [result.embedding[None] for result in results if result.embedding is not None]
            yield from self._with_scores(segments, iter(results))

    def _assessed(self, evidence: RecordingEvidence[np.ndarray], audio: _EncodedAudio, first: int) -> list[_Assessed]:
        planned = evidence.plan[first : first + _SEGMENTS_AT_ONCE]
        return [self._assess(evidence, audio, window) for window in planned]

    def _assess(self, evidence: RecordingEvidence[np.ndarray], audio: _EncodedAudio, window: Window) -> _Assessed:
        segment_audio = audio.per_window[window.index] if audio.per_window else None
        assessment = self._front_end.assess_segment(evidence, window, segment_audio)
        pools_images = self._network.description.architecture.pools_images
        tokens = SegmentTokens(
            audio.tokens[window.index] if assessment.has_audio and audio.tokens is not None else None,
            assessment.faces,
            window.first_slot,
            None if pools_images else np.array(assessment.face_places, np.int64),
        )
        return _Assessed(assessment, tokens)

    def _scored_together(
        self, chunks: Iterator[list[_Assessed]], timer: StageTimer, embeddings: list[np.ndarray]
    ) -> Iterator[SegmentScore]:
        """Scores of a network that looks at the whole recording: embeds all segments first."""
        kept: list[_Assessed] = []
        features = []
        for segments in chunks:
            with timer.stage("fuse"):
                features.append(self._network.embed(self._until_stopped(_scorable(segments))))
            # Only whether there was a face is needed later.
            kept += [segment.without_tokens() for segment in segments]
        starts_s = [tokens.first_slot * FRAME_STEP_S for tokens in _scorable(kept)]
        with timer.stage("fuse"):
            rows = [part for part in features if len(part)]
            scores = self._network.score_recording(np.concatenate(rows), starts_s) if rows else []
        embeddings += rows
        yield from self._with_scores(kept, (SegmentResult(score, np.empty(0, np.float32)) for score in scores))

    def _with_scores(self, segments: Sequence[_Assessed], results: Iterator[SegmentResult]) -> Iterator[SegmentScore]:
        for segment in segments:
            record = segment.assessment.record
            if record.status is Status.UNSCORABLE:
                yield record
            else:
                result = next(results)
                yield self._scored(segment.assessment, result.score, result.samples)

    def _until_stopped(self, items: Iterable[T]) -> Iterator[T]:
        for item in items:
            self._callbacks.check_stop()
            yield item

    def _scored(self, assessment: SegmentAssessment[np.ndarray], score: float, samples: np.ndarray) -> SegmentScore:
        """A segment with its score and its Monte Carlo samples (mc_samples,), which may be none."""
        description = self._network.description
        score = round(score, 3)
        result = dataclasses.replace(
            assessment.record,
            score=score,
            label=description.label(score),
            modalities=Modalities.of(
                audio=assessment.has_audio and "audio" in description.modalities,
                face=assessment.faces is not None and "face" in description.modalities,
            ).value,
        )
        if samples.size:
            low, high = np.percentile(samples, [2.5, 97.5])
            spread = float(np.std(samples, ddof=1)) if samples.size > 1 else None
            result = dataclasses.replace(result, score_sd=spread, score_lo=float(low), score_hi=float(high))
        return result


def failed_outcome(error: RecordingError, nominal_s: float = 0.0) -> RecordingOutcome:
    """The outcome of a recording that could not be read."""
    return RecordingOutcome(
        status=Status.FAILED,
        reason=error.code,
        message=str(error),
        balance=Balance(round(nominal_s, 3), 0.0, {}, round(nominal_s, 3)),
    )


def _facts(evidence: RecordingEvidence[np.ndarray], device: str) -> dict[str, object]:
    """Properties of the recording's streams for the manifest."""
    facts, frames, audio = evidence.facts, evidence.frames, evidence.audio
    entry: dict[str, object] = {
        "container": facts.container,
        CREATION_TIME: facts.creation_time,
        "video_tracks": facts.video_tracks,
        "audio_tracks": facts.audio_tracks,
        "notes": list(facts.notes),
        # A table may be finished on another machine or by a newer version than began it.
        "scored_with": {"avpenet": __version__, "ffmpeg": ".".join(map(str, ffmpeg_version())), "device": device},
    }
    if facts.video is not None and frames is not None:
        entry["video"] = _stream_facts(facts.video) | {
            "decoder": frames.backend,
            "decoder_warning": frames.decoder_warning,
        }
    if facts.audio is not None and audio is not None:
        present = [[round(a, 3), round(b, 3)] for a, b in audio.present[:100]]
        entry["audio"] = _stream_facts(facts.audio) | {
            "present_s": present,
            "corrections": list(audio.notes),
            "decoder_warning": audio.decoder_warning,
        }
    return entry


def _stream_facts(stream: VideoStream | AudioStream) -> dict[str, object]:
    facts: dict[str, object] = dataclasses.asdict(stream)
    del facts["access"]
    return facts
