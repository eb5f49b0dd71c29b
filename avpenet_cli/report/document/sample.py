"""The sample that a pack fixed before anyone rated, and what the ratings make of it."""

from __future__ import annotations

from dataclasses import dataclass

from avpenet_cli.stats.estimate import Estimate


@dataclass(frozen=True)
class SampleStratum:
    """A stratum of the sample.

    Attributes:
        levels: level of each column that the sample is stratified by.
        segments: that could be drawn.
        sampled: that were drawn.
        fraction: of the stratum that was drawn, 0 to 1.
        rated: sampled segments with at least one rating.
    """

    levels: dict[str, str]
    segments: int
    sampled: int
    fraction: float
    rated: int


@dataclass(frozen=True)
class MissingRating:
    """A sampled segment with fewer raters than the pack gave it.

    Attributes:
        recording: as in the score table.
        start_s: seconds after the recording's start.
        planned: raters that the pack gave it.
        found: raters who rated it.
    """

    recording: str
    start_s: float
    planned: int
    found: int


@dataclass(frozen=True)
class SampleSection:
    """A sample that was fixed before the ratings: the pack is intact, and all ratings are of its segments.

    Attributes:
        digest: of the pack's content, hexadecimal.
        drawn_from: names of the score tables, whose scores are those of this report; empty where the sample was drawn
            from recordings before they had scores.
        same_files: whether the tables are the same files, byte by byte; not where they got further columns since.
        named_by_ratings: whether all ratings name the pack, which they can only if their sheets were made from it.
        seed: of the sample.
        stratify: columns that it is stratified by.
        allocation: of the sample to strata and patients.
        limit_points: acceptance limit that the pack fixed, points; null without one.
        limit_source: where it comes from.
        subjects: patients of the segments that could be drawn.
        most_of_one_subject: the most sampled segments of one patient.
        strata: all of them.
        planned: ratings that the pack asked for, each of one rater and segment.
        found: those that are there.
        unrated_segments: sampled segments without any rating.
        missing_segments: sampled segments with fewer raters than planned.
        missing: the first 20 of those.
        equal_fractions: whether every segment had the same chance to be drawn.
        weighted_bias: mean of score minus rating, each pair weighted by the inverse of its segment's chance, points;
            rated segments stand for the unrated ones of their stratum too.
        weighted_mae: mean absolute difference, weighted likewise, points.
    """

    digest: str
    drawn_from: tuple[str, ...]
    same_files: bool
    named_by_ratings: bool
    seed: int
    stratify: tuple[str, ...]
    allocation: str
    limit_points: float | None
    limit_source: str
    subjects: int
    most_of_one_subject: int
    strata: tuple[SampleStratum, ...]
    planned: int
    found: int
    unrated_segments: int
    missing_segments: int
    missing: tuple[MissingRating, ...]
    equal_fractions: bool
    weighted_bias: Estimate
    weighted_mae: Estimate
