"""Weights held against the ratings of a segment store: clean, in noise, with covered faces, by one modality alone."""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd

from avpenet_cli.audio.mel import log_mel
from avpenet_cli.dataset.shards import SCORABLE
from avpenet_cli.dataset.splits import Split
from avpenet_cli.dataset.store import Segment, SegmentStore
from avpenet_cli.errors import AvpenetError, Interrupted, RecordingError, SettingsError
from avpenet_cli.evaluation.conditions import CLEAN, Condition, why_not_computable, with_cover
from avpenet_cli.scoring.network import Network
from avpenet_cli.settings import FRAME_STEP_S, flatten, to_dict
from avpenet_cli.stats.bootstrap import Resampling, SubjectBootstrap
from avpenet_cli.stats.estimate import Estimate, absent, flat
from avpenet_cli.stats.pairs import Pairs
from avpenet_cli.training.augmentation import with_noise
from avpenet_cli.training.data import make_rng
from avpenet_cli.training.training_record import RANDOM_INIT, estimates, splits_digest
from avpenet_cli.weights import WeightsDescription

Familiarity = Literal["unseen", "seen", "unknown"]

FIGURES = ("mae", "rmse", "bias", "icc_a1", "pearson", "mae_minus_clean")
"""Of each condition, each with its 95 % interval."""
RATED = "(rated)"
"""A column of segments; `prepare` lets no table of subjects have one of this name."""
_NAMED = 3
_SCORE_DECIMALS = 3
"""As the score table has them, so that the report's figures are these."""


@dataclass(frozen=True)
class EvaluationSplit:
    """Whom the weights are held against, and whether they know them.

    Attributes:
        left_out_site: where the weights were trained without one, its split is the one that counts.
        familiarity: whether these subjects were trained on, or stopped by.
        words: the same in a sentence.
    """

    split: Split
    left_out_site: str | None
    familiarity: Familiarity
    words: str

    @property
    def warning(self) -> str:
        """What every output must say; empty for unseen subjects."""
        return self.words if self.familiarity == "seen" else ""


def identify_split(
    store: SegmentStore, split: Split, training_data: str, created_with: str = RANDOM_INIT
) -> EvaluationSplit:
    """Read in a weights' description whether it was trained on this store, and by which division of its subjects.

    Args:
        training_data: of the description; `avpenet train` names there the digests of store and splits.
        created_with: of the description; `avpenet train` names there what the weights started from.
    """
    sites = store.about["splits"]["leave_one_site_out"]
    more = "" if RANDOM_INIT in created_with else "; what the file they started from had seen is not checked"
    if f"store sha256 {store.digest}" not in training_data:
        words = "unknown whether the subjects are unseen: the weights do not say that they were trained on this store"
        return EvaluationSplit(split, None, "unknown", words)
    for site in (None, *sites):
        if f"splits sha256 {splits_digest(store, site)}" in training_data:
            where = "" if site is None else f" of the splits without site {site}"
            if split == "test":
                words = f"unseen subjects: the weights were trained on another split of this store{where}{more}"
                return EvaluationSplit(split, site, "unseen", words)
            use = "the weights were trained on them" if split == "train" else "the best epoch was chosen by them"
            words = f"SEEN SUBJECTS: {use}; this says nothing about others"
            return EvaluationSplit(split, site, "seen", words)
    words = "unknown whether the subjects are unseen: the weights were trained on this store, divided otherwise"
    return EvaluationSplit(split, None, "unknown", words)


def check_preprocessing(store: SegmentStore, description: WeightsDescription) -> None:
    """Was the store prepared as the weights were trained to see?

    Raises:
        SettingsError: it was not; names the settings that differ.
    """
    stored, wanted = (flatten(to_dict(one)) for one in (store.preprocessing, description.preprocessing))
    differing = [name for name in stored if stored[name] != wanted[name]]
    if differing:
        named = "; ".join(f"{name} is {stored[name]}, the weights need {wanted[name]}" for name in differing[:_NAMED])
        more = f" and {len(differing) - _NAMED} more" if len(differing) > _NAMED else ""
        raise SettingsError(
            f"the store {store.path} was not prepared for the weights {description.name}: {named}{more}",
            "prepare the recordings again with these settings (--config), or give other weights",
        )


# --- scores ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Evaluation:
    """What a network says of the segments.

    Attributes:
        segments: rows of the store's index with `RATED`, n of them: every segment of the recordings that have a rated
            one, so that the score table accounts for all of their seconds. Unrated ones are scored clean only.
        scores: (n rows), a column for each condition that could be computed, by its name: float64 in [0, 10], NaN where
            there is no score.
        why_not: by the name of each of the other conditions.
    """

    segments: pd.DataFrame
    scores: pd.DataFrame
    why_not: dict[str, str]

    def pairs(self, name: str) -> tuple[Pairs, Pairs]:
        """Scores under a condition, and clean, of the rated segments that have both; against the reference."""
        column, clean = self.scores[name].to_numpy(), self.scores[CLEAN.name].to_numpy()
        use = self.segments[RATED].to_numpy(dtype=bool) & np.isfinite(column) & np.isfinite(clean)
        reference = self.segments["reference"].to_numpy(dtype=np.float64)[use]
        subject = self.segments["subject"].to_numpy(dtype=object)[use]
        return Pairs.of(column[use], reference, subject), Pairs.of(clean[use], reference, subject)


@dataclass(frozen=True)
class EvaluationTold:
    """Whom an evaluation tells how it goes, and who may stop it.

    Attributes:
        recording: called after each, with its name, its number of segments and of those that were scored.
        segment: called after each, with how many of the recording are done and how many it has.
        stop: asked between batches; True ends the run with `Interrupted`.
    """

    recording: Callable[[str, int, int], None] = lambda name, segments, scored: None
    segment: Callable[[int, int], None] = lambda done, total: None
    stop: Callable[[], bool] = lambda: False


def segments_of(store: SegmentStore, division: EvaluationSplit) -> pd.DataFrame:
    """The segments to score, as in `Evaluation`.

    Raises:
        SettingsError: the split has no rated segment.
    """
    # A patient who was rated but cannot be scored is part of what these weights make of the split.
    rated = store.rated(division.split, division.left_out_site, unscorable=True)
    if not len(rated):
        raise SettingsError(
            f"the store {store.path} has no rated segment of anybody in {division.split}",
            "choose another --split, or prepare with other shares (avpenet prepare --split)",
        )
    index = store.index.assign(**{RATED: False})
    index.loc[rated, RATED] = True
    chosen: pd.DataFrame = index[index["recording"].isin(index.loc[rated, "recording"])]
    return chosen


def evaluate(
    store: SegmentStore,
    division: EvaluationSplit,
    network: Network,
    conditions: Sequence[Condition],
    seed: int,
    told: EvaluationTold = EvaluationTold(),
) -> Evaluation:
    """Score the segments of a split under every condition, one segment at a time.

    Args:
        conditions: from `chosen_conditions`, the clean one first.
        seed: of noise and of covered cells. Each segment has its own chance under each condition, whatever else is
            computed and in which order.

    Raises:
        SettingsError: nobody in the split, or not one segment that these weights can score.
        AvpenetError: the network gives no number; names the segment.
        Interrupted: `told.stop` said so.
    """
    segments = segments_of(store, division)
    description = network.description
    missing = description.architecture.may_be_missing
    why_not = {one.name: why for one in conditions if (why := why_not_computable(one, description.modalities, missing))}
    computable = [one for one in conditions if one.name not in why_not]
    scorer = _SegmentScorer(store, network, computable, seed, told.stop)
    scores = pd.DataFrame(np.nan, index=segments.index, columns=[one.name for one in computable])
    for name, part in segments.groupby("recording", sort=False):
        for done, row in enumerate(part.index, start=1):
            scorer.check_stop()
            if part.at[row, "status"] == SCORABLE:
                scores.loc[row] = pd.Series(scorer.scores(int(row), bool(part.at[row, RATED])), dtype=np.float64)
            told.segment(done, len(part))
        told.recording(str(name), len(part), int(scores.loc[part.index, CLEAN.name].notna().sum()))
    found = Evaluation(segments.reset_index(drop=True), scores.reset_index(drop=True), why_not)
    if not found.pairs(CLEAN.name)[0].n:
        raise SettingsError(
            f"the weights {description.name} can score none of the rated segments in {division.split}",
            f"they need {' and '.join(description.modalities_needed)}; a store keeps segments with face and audio",
        )
    return found


class _SegmentScorer:
    """All conditions of one segment; encodes only what a condition changes."""

    def __init__(
        self,
        store: SegmentStore,
        network: Network,
        conditions: Sequence[Condition],
        seed: int,
        stop: Callable[[], bool],
    ) -> None:
        self._store, self._network, self._seed, self._stop = store, network, seed, stop
        self._changed = tuple(one for one in conditions if one is not CLEAN)
        self._preprocessing = store.preprocessing

    def check_stop(self) -> None:
        """Raise `Interrupted` when an end has been asked for."""
        if self._stop():
            raise Interrupted("")

    def scores(self, row: int, rated: bool) -> dict[str, float]:
        """By the name of each condition; NaN where too little is left to score. Unrated: the clean one only."""
        segment = self._store.segment(row)
        if not len(segment.faces) and "face" in self._network.description.modalities_needed:
            return {}
        changed = self._changed if rated else ()
        noisy = [one for one in changed if one.snr_db is not None]
        mels = [segment.spectrogram, *(self._noisy(segment, one, row) for one in noisy)]
        tokens = self._network.encode_audio(mels)
        audio_of = dict(zip([CLEAN.name, *(one.name for one in noisy)], tokens, strict=True))
        faces = self._encoded(segment.faces)
        audio: np.ndarray = audio_of[CLEAN.name]
        found = {CLEAN.name: self._score(segment, row, audio, faces)}
        for one in changed:
            self.check_stop()
            if one.snr_db is not None:
                found[one.name] = self._score(segment, row, audio_of[one.name], faces)
            elif one.kept == "audio":
                found[one.name] = self._score(segment, row, audio, None)
            elif faces is None:
                found[one.name] = math.nan
            elif one.cover is not None:
                margin = self._preprocessing.face.box_margin
                covered = with_cover(segment.faces, one.cover, margin, self._chance(one, row))
                found[one.name] = self._score(segment, row, audio, self._encoded(covered))
            else:
                found[one.name] = self._score(segment, row, None, faces)
        return found

    def _chance(self, condition: Condition, row: int) -> np.random.Generator:
        return make_rng(self._seed, zlib.crc32(condition.name.encode()), row)

    def _noisy(self, segment: Segment, condition: Condition, row: int) -> np.ndarray:
        assert condition.snr_db is not None
        if not segment.waveform.any():
            return segment.spectrogram
        white = self._chance(condition, row).standard_normal(len(segment.waveform), np.float32)
        audio = with_noise(segment.waveform, condition.snr_db, white)
        return log_mel(audio, self._preprocessing.audio)

    def _encoded(self, faces: np.ndarray) -> np.ndarray | None:
        """(n, 512) embeddings, or one of the mean picture where the weights were trained so; None without a face."""
        if not len(faces):
            return None
        if self._network.description.architecture.pooling == "image":
            return self._network.encode_faces([faces.mean(axis=0, dtype=np.float32)])
        return self._network.encode_faces(list(faces))

    def _score(self, segment: Segment, row: int, audio: np.ndarray | None, faces: np.ndarray | None) -> float:
        first_slot = round(float(self._store.index["start_s"].iloc[row]) / FRAME_STEP_S)
        try:
            score, _ = self._network.score(audio, faces, first_slot)
        except RecordingError as error:
            raise AvpenetError(
                f"segment {segment.segment} of {segment.recording}: {error.message}", error.remedy
            ) from None
        return round(score, _SCORE_DECIMALS)


# --- statistics ------------------------------------------------------------------------------------------------------


def figures_of(evaluation: Evaluation, conditions: Sequence[Condition], resampling: Resampling) -> list[dict[str, Any]]:
    """Every figure of every condition, by the report's own functions, with 95 % intervals by the subject bootstrap.

    Returns:
        For each condition `condition`, `family`, `level`, `n` segments, `n_subjects`, `why_not`, and for each of
        `FIGURES` its value, `NAME_ci` and, under `reasons`, why it has none; JSON-ready. `mae_minus_clean`: the mean
        over segments of |error| under the condition less |error| clean, points; over 0 is worse than clean.
    """
    found = []
    for one in conditions:
        row: dict[str, Any] = {"condition": one.name, "family": one.family, "level": one.level}
        why_not = evaluation.why_not.get(one.name, "")
        if why_not:
            none = flat(**dict.fromkeys(FIGURES, absent(why_not)))
            found.append(row | {"n": 0, "n_subjects": 0, "why_not": why_not} | none)
            continue
        pairs, clean = evaluation.pairs(one.name)
        bootstrap = resampling.of(pairs.n_subjects)
        worse = absent("it is the clean condition") if one is CLEAN else paired_difference(pairs, clean, bootstrap)
        counts = {"n": pairs.n, "n_subjects": pairs.n_subjects, "why_not": ""}
        found.append(row | counts | flat(**estimates(pairs, bootstrap), mae_minus_clean=worse))
    return found


def paired_difference(pairs: Pairs, clean: Pairs, bootstrap: SubjectBootstrap) -> Estimate:
    """Mean over segments of |error| less |error| of the same segments clean, points, by the paired subject bootstrap.

    Args:
        pairs, clean: the same segments in the same order.
    """
    if pairs.n < 1:
        return absent("no pairs")
    worse = np.abs(pairs.difference) - np.abs(clean.difference)
    sums = pairs.per_subject(np.ones(pairs.n), worse)
    return bootstrap.estimate(lambda total: total[..., 1:] / total[..., :1], sums, ("identity",), pairs.n)[0]
