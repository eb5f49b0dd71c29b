"""Scores of a split's segments under every condition: clean, noise, covered faces, one modality alone."""

from __future__ import annotations

import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import numpy as np
import pandas as pd

from avpenet_cli.audio.mel import log_mel
from avpenet_cli.dataset.segment_files import SCORABLE
from avpenet_cli.dataset.store import Segment, SegmentStore
from avpenet_cli.errors import AvpenetError, Interrupted, RecordingError, SettingsError
from avpenet_cli.evaluation.conditions import CLEAN, Condition, cover_faces, reason_not_computable
from avpenet_cli.evaluation.split import EvaluationSplit
from avpenet_cli.phrasing import plural
from avpenet_cli.runs.callbacks import NO_CALLBACKS, RunCallbacks
from avpenet_cli.scoring.network import Network, SegmentTokens
from avpenet_cli.settings import FRAME_STEP_S
from avpenet_cli.stats.pairs import Pairs
from avpenet_cli.training.augmentation import add_noise
from avpenet_cli.training.data import make_rng

T = TypeVar("T")

RATED = "(rated)"
"""Column of segments; `prepare` refuses a table of subjects that has a column of this name."""
_SCORE_DECIMALS = 3
"""As in the score table, so that the report gives the same statistics."""


@dataclass(frozen=True, eq=False)
class Evaluation:
    """Scores of segments under several conditions.

    Attributes:
        segments: rows of the store's index with `RATED`: every segment of the recordings that have a rated one, so that
            the score table accounts for all of their seconds. Unrated ones are scored clean only.
        scores: one row per segment, one column per condition that could be computed, by its name: float64 in [0, 10],
            NaN where there is no score.
        not_computable: reasons, by the name of each of the other conditions.
        seconds: wall-clock time of the scoring.
    """

    segments: pd.DataFrame
    scores: pd.DataFrame
    not_computable: dict[str, str]
    seconds: float = 0.0

    def pairs(self, name: str) -> tuple[Pairs, Pairs]:
        """Scores under a condition, clean scores and references of the rated segments that have both scores."""
        column, clean = self.scores[name].to_numpy(), self.scores[CLEAN.name].to_numpy()
        use = self.segments[RATED].to_numpy(dtype=bool) & np.isfinite(column) & np.isfinite(clean)
        reference = self.segments["reference"].to_numpy(dtype=np.float64)[use]
        subject = self.segments["subject"].to_numpy(dtype=object)[use]
        return Pairs.of(column[use], reference, subject), Pairs.of(clean[use], reference, subject)


def select_segments(store: SegmentStore, split: EvaluationSplit) -> pd.DataFrame:
    """The segments to score, as in `Evaluation`.

    Raises:
        SettingsError: the split has no rated segment.
    """
    # Rated segments that cannot be scored count as well, as missing scores.
    rated = store.rated(split.split, split.left_out_site, unscorable=True)
    if not len(rated):
        raise SettingsError(
            f"the store {store.path} has no rated segment in {split.split}",
            "choose another --split, or prepare with other shares (avpenet prepare --split)",
        )
    index = store.index.assign(**{RATED: False})
    index.loc[rated, RATED] = True
    selected: pd.DataFrame = index[index["recording"].isin(index.loc[rated, "recording"])]
    return selected


def evaluate(
    store: SegmentStore,
    split: EvaluationSplit,
    network: Network,
    conditions: Sequence[Condition],
    seed: int,
    callbacks: RunCallbacks = NO_CALLBACKS,
) -> Evaluation:
    """Score the segments of a split under every condition, one segment at a time.

    Args:
        conditions: from `parse_conditions`, the clean one first.
        seed: of noise and of covered cells. Each segment has a generator of its own under each condition, independent
            of what else is computed and in which order.

    Raises:
        SettingsError: no rated segment in the split, or none that these weights can score.
        AvpenetError: a score that is not finite; names the segment.
        Interrupted: the callbacks asked for it.
    """
    started = time.monotonic()
    segments = select_segments(store, split)
    description = network.description
    optional = description.architecture.may_be_missing
    reasons = {item.name: reason_not_computable(item, description.modalities, optional) for item in conditions}
    not_computable = {name: reason for name, reason in reasons.items() if reason}
    computable = [condition for condition in conditions if condition.name not in not_computable]
    scorer = _RecordingScorer(store, network, computable, seed, callbacks)
    scores = pd.DataFrame(np.nan, index=segments.index, columns=[condition.name for condition in computable])
    recordings = 0
    try:
        for name, rows in segments.groupby("recording", sort=False):
            scores.loc[rows.index] = scorer.scores(rows)
            scored = int(scores.loc[rows.index, CLEAN.name].notna().sum())
            callbacks.info(f"{name}: {plural(len(rows), 'segment')}, {scored} scored")
            callbacks.item_done()
            recordings += 1
    except Interrupted:
        message = f"interrupted after {plural(recordings, 'recording')}; nothing is kept"
        raise Interrupted(message, "run the same command again to start over") from None
    seconds = time.monotonic() - started
    evaluation = Evaluation(segments.reset_index(drop=True), scores.reset_index(drop=True), not_computable, seconds)
    if not evaluation.pairs(CLEAN.name)[0].n:
        raise SettingsError(
            f"the weights {description.name} can score none of the rated segments in {split.split}",
            f"they need {' and '.join(description.modalities_needed)}; a store keeps segments with face and audio",
        )
    return evaluation


class _RecordingScorer:
    """Scores a recording's segments under all conditions; encodes again only what a condition changes."""

    def __init__(
        self,
        store: SegmentStore,
        network: Network,
        conditions: Sequence[Condition],
        seed: int,
        callbacks: RunCallbacks,
    ) -> None:
        self._store, self._network, self._seed, self._callbacks = store, network, seed, callbacks
        self._conditions = tuple(conditions)
        self._preprocessing = store.preprocessing

    def scores(self, rows: pd.DataFrame) -> pd.DataFrame:
        """Scores of one recording's segments.

        Args:
            rows: of the recording, from `select_segments`.

        Returns:
            One column per condition; NaN where too little is left to score. Unrated segments are scored clean only.
        """
        names = [condition.name for condition in self._conditions]
        scores = pd.DataFrame(np.nan, index=rows.index, columns=names)
        features: dict[str, dict[int, np.ndarray]] = {name: {} for name in names}
        for done, row in enumerate(rows.index, start=1):
            self._callbacks.check_stop()
            if rows.at[row, "status"] == SCORABLE:
                # A network that looks at the whole recording needs all of its segments under every condition.
                everywhere = bool(rows.at[row, RATED]) or self._network.by_recording
                for name, tokens in self._tokens(int(row), everywhere):
                    if self._network.by_recording:
                        features[name][row] = self._network.embed([tokens])[0]
                    else:
                        score = self._checked(row, partial(self._network.score, *tokens)).score
                        scores.at[row, name] = round(score, _SCORE_DECIMALS)
            self._callbacks.progress(done, len(rows))
        for name, by_row in features.items():
            if by_row:
                starts_s = rows.loc[list(by_row), "start_s"].astype(float).tolist()
                together = np.stack(list(by_row.values()))
                results = self._checked(next(iter(by_row)), partial(self._network.score_recording, together, starts_s))
                scores.loc[list(by_row), name] = [round(score, _SCORE_DECIMALS) for score in results]
        unrated = ~rows[RATED].to_numpy(dtype=bool)
        scores.loc[unrated, names[1:]] = np.nan
        return scores

    def _tokens(self, row: int, everywhere: bool) -> Iterator[tuple[str, SegmentTokens]]:
        """Encoder outputs of one segment by the name of each condition under which something is left to score."""
        segment = self._store.segment(row)
        if not len(segment.faces) and "face" in self._network.description.modalities_needed:
            return
        changed = [condition for condition in self._conditions if condition is not CLEAN] if everywhere else []
        noisy = [condition for condition in changed if condition.snr_db is not None]
        inputs = [
            self._network.audio_input(segment.spectrogram, segment.waveform),
            *(self._add_noise(segment, condition, row) for condition in noisy),
        ]
        names = [CLEAN.name, *(condition.name for condition in noisy)]
        audio_of = dict(zip(names, self._network.encode_audio(inputs), strict=True))
        audio: np.ndarray = audio_of[CLEAN.name]
        faces = self._encode(segment.faces)
        first_slot = round(float(self._store.index["start_s"].iloc[row]) / FRAME_STEP_S)
        pools_images = self._network.description.architecture.pools_images
        clean = SegmentTokens(audio, faces, first_slot, None if pools_images else segment.frame_indices)
        yield CLEAN.name, clean
        for condition in changed:
            self._callbacks.check_stop()
            if condition.snr_db is not None:
                yield condition.name, clean._replace(audio=audio_of[condition.name])
            elif condition.kept == "audio":
                yield condition.name, clean._replace(faces=None, places=None)
            elif faces is not None and condition.cover is not None:
                margin = self._preprocessing.face.box_margin
                covered = cover_faces(segment.faces, condition.cover, margin, self._rng(condition, row))
                yield condition.name, clean._replace(faces=self._encode(covered))
            elif faces is not None:
                yield condition.name, clean._replace(audio=None)

    def _rng(self, condition: Condition, row: int) -> np.random.Generator:
        return make_rng(self._seed, zlib.crc32(condition.name.encode()), row)

    def _add_noise(self, segment: Segment, condition: Condition, row: int) -> np.ndarray:
        """What the network takes of the segment's audio with noise."""
        assert condition.snr_db is not None
        if not segment.waveform.any():
            return self._network.audio_input(segment.spectrogram, segment.waveform)
        white = self._rng(condition, row).standard_normal(len(segment.waveform), np.float32)
        audio = add_noise(segment.waveform, condition.snr_db, white)
        return self._network.audio_input(log_mel(audio, self._preprocessing.audio), audio)

    def _encode(self, faces: np.ndarray) -> np.ndarray | None:
        """(n, 512) embeddings, (1, 512) of the mean image for weights that pool images; None without a face."""
        if not len(faces):
            return None
        if self._network.description.architecture.pools_images:
            return self._network.encode_faces([faces.mean(axis=0, dtype=np.float32)])
        return self._network.encode_faces(list(faces))

    def _checked(self, row: int, score: Callable[[], T]) -> T:
        """What `score` returns; its error names the segment."""
        try:
            return score()
        except RecordingError as error:
            index = self._store.index
            name = f"segment {index['segment'].iloc[row]} of {index['recording'].iloc[row]}"
            raise AvpenetError(f"{name}: {error.message}", error.remedy) from None
