"""What was scored and rated: counts, seconds, quality flags, distributions, unmatched rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from avpenet_cli.stats.distribution import Distribution


@dataclass(frozen=True)
class Headline:
    """Counts.

    Attributes:
        n_subjects: in the score tables.
        n_recordings: in the score tables and their manifests, those that could not be read included.
        n_segments: rows of the score tables.
        n_scored: segments with a score.
        n_pairs: segments with a score and a rating.
        n_pair_subjects: subjects of the pairs.
        n_recordings_scored: recordings with at least one score.
        n_raters: in the table of ratings.
        segment_s: median length of the segments, seconds; null without one.
    """

    n_subjects: int
    n_recordings: int
    n_segments: int
    n_scored: int
    n_pairs: int
    n_pair_subjects: int
    n_recordings_scored: int
    n_raters: int
    segment_s: float | None


@dataclass(frozen=True)
class FailedRecording:
    """A recording that could not be read."""

    recording: str
    reason: str
    message: str


@dataclass(frozen=True)
class ModalityCount:
    """How many scores rest on the same modalities.

    Attributes:
        modalities: audio+face, audio or face; empty where the table does not say.
        segments: scored segments.
        share: of all scored segments, 0 to 1.
    """

    modalities: str
    segments: int
    share: float


@dataclass(frozen=True)
class CoverageSection:
    """How much of the recorded time has a score: nominal = scored + unscorable + undecodable, seconds.

    Attributes:
        source: manifest where every table has a verified one; otherwise table, which knows segments only.
        nominal_s: recorded seconds.
        scored_s: seconds with a score.
        unscorable_s: seconds without a score, by reason.
        undecodable_s: seconds that could not be decoded.
        failed_recordings: known from manifests only.
        unaccounted_s: by how much the sum is short.
        balanced: whether the sum holds within rounding.
        share_scored: scored / nominal, 0 to 1; null where no time is known.
        recordings_without_score: readable recordings without a scored segment.
        modalities: scored segments by the modalities that made their scores; empty where no segment is scored.
    """

    source: Literal["manifest", "table"]
    nominal_s: float
    scored_s: float
    unscorable_s: dict[str, float]
    undecodable_s: float
    failed_recordings: tuple[FailedRecording, ...]
    unaccounted_s: float
    balanced: bool
    share_scored: float | None
    recordings_without_score: tuple[str, ...]
    modalities: tuple[ModalityCount, ...]


@dataclass(frozen=True)
class RecordingSummary:
    """The scores of one recording; shares from 0 to 1, null without a scored segment.

    Attributes:
        recording: as in the score table, or in the manifest where it could not be read.
        segments: rows of the score table.
        scored: those with a score.
        mean: of the scores, points; null without one.
        peak: highest score, points; null without one.
        share_above_low: share of the scored segments that are moderate or high.
        share_high: share of the scored segments that are high.
        low_quality_share: share of the scored segments with a flag for thin evidence.
        failure: why it could not be read; empty where it was read.
    """

    recording: str
    segments: int
    scored: int
    mean: float | None
    peak: float | None
    share_above_low: float | None
    share_high: float | None
    low_quality_share: float | None
    failure: str


@dataclass(frozen=True)
class FlagCount:
    """How many segments have a quality flag.

    Attributes:
        flag: as in the score table.
        meaning: in words.
        segments: with the flag.
        share: of all segments, 0 to 1.
    """

    flag: str
    meaning: str
    segments: int
    share: float


@dataclass(frozen=True)
class QualitySection:
    """Quality flags that occur."""

    flags: tuple[FlagCount, ...]


@dataclass(frozen=True)
class DistributionSection:
    """Distribution of scores and references.

    Attributes:
        model: of the scores.
        reference: of the segments' references; null without ratings.
        range_note: warns where the reference covers a small part of the scale; else empty.
    """

    model: Distribution
    reference: Distribution | None
    range_note: str


@dataclass(frozen=True)
class UnmatchedRating:
    """A rating that belongs to no segment.

    Attributes:
        line: of the file, from 1; of a Parquet file, the row.
        recording: as the rating names it.
        start_s: seconds after the recording's start.
        reason: why it has no segment.
    """

    line: int
    recording: str
    start_s: float
    reason: str


@dataclass(frozen=True)
class UnmatchedRatings:
    """Ratings that belong to no segment.

    Attributes:
        count: all of them.
        by_reason: their numbers.
        listed: the first 10,000.
    """

    count: int
    by_reason: dict[str, int]
    listed: tuple[UnmatchedRating, ...]


@dataclass(frozen=True)
class PairingSection:
    """How ratings, subjects and segments were matched.

    Attributes:
        hold_s: how long a rating given at one time holds, seconds.
        rated_segments: segments with a reference.
        unrated_segments: segments without one; null without ratings.
        unrated_recordings: recordings without any rating.
        unmatched_ratings: ratings without a segment.
        recordings_without_subject: recordings that the table of subjects does not name.
        subjects_without_recording: subjects without a recording in the scores.
        subject_rows_without_scores: recordings of the table of subjects that are not in the scores.
        overlapping_segments: whether segments share seconds.
    """

    hold_s: float
    rated_segments: int
    unrated_segments: int | None
    unrated_recordings: tuple[str, ...]
    unmatched_ratings: UnmatchedRatings
    recordings_without_subject: tuple[str, ...]
    subjects_without_recording: tuple[str, ...]
    subject_rows_without_scores: tuple[str, ...]
    overlapping_segments: bool
