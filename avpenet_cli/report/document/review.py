"""What people do with a report: notices to read, segments to review, checklist items to answer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from avpenet_cli.stats.estimate import Estimate

AnswerStatus = Literal["from data", "from configuration", "needs a person"]
Level = Literal["danger", "warning", "note"]
Verdict = Literal["agree", "too high", "too low", "cannot tell"]
"""A reviewer's, on a score."""


@dataclass(frozen=True)
class Notice:
    """What a reader must know before any number."""

    level: Level
    text: str


@dataclass(frozen=True)
class ReviewRow:
    """A segment that a person should look at.

    Attributes:
        recording: as in the score table.
        start_s: seconds after the recording's start.
        end_s: seconds after the recording's start.
        score: points; null without one.
        reference: points; null without one.
        difference: score minus reference, points; null without both.
        modalities: audio+face, audio or face; empty without a score, and where the table does not say.
        flags: quality flags, separated by blanks.
        why: reasons for the review.
        sample: targeted, or both where it was drawn into the control sample too; .review.csv then hides its score.
    """

    recording: str
    start_s: float
    end_s: float
    score: float | None
    reference: float | None
    difference: float | None
    modalities: str
    flags: str
    why: str
    sample: Literal["targeted", "both"]


@dataclass(frozen=True)
class ControlSegment:
    """A segment of the control sample.

    Attributes:
        recording: as in the score table.
        start_s: seconds after the recording's start.
        end_s: seconds after the recording's start.
        sample: control, or both where it is also among the targeted segments.
    """

    recording: str
    start_s: float
    end_s: float
    sample: Literal["control", "both"]


@dataclass(frozen=True)
class ControlSample:
    """Scored segments drawn at random in two stages, subjects by size and then their segments.

    Attributes:
        population: scored segments from which they were drawn.
        inclusion_probability: of every scored segment, 0 to 1.
        n_subjects: subjects of the drawn segments.
        seed: of the draw.
        segments: the drawn ones, in the random order of .review.csv.
    """

    population: int
    inclusion_probability: float
    n_subjects: int
    seed: int
    segments: tuple[ControlSegment, ...]


@dataclass(frozen=True)
class ReviewCounts:
    """Answers to one part of the list.

    Attributes:
        listed: segments in the list.
        answered: with a verdict or a value.
        missing: with neither.
        agree: answers by which the score is right.
        too_high: answers by which it is too high.
        too_low: answers by which it is too low.
        cannot_tell: answers that say neither.
        values: answers with a value.
        without_score: answers on segments that have no score; they are not among too_high and too_low.
    """

    listed: int
    answered: int
    missing: int
    agree: int
    too_high: int
    too_low: int
    cannot_tell: int
    values: int
    without_score: int


@dataclass(frozen=True)
class ReviewedSegment:
    """An answer from the filled-in list.

    Attributes:
        recording: as in the score table.
        start_s: seconds after the recording's start.
        end_s: seconds after the recording's start.
        score: points; null without one.
        sample: targeted, control, or both: a control segment that is also among the targeted ones.
        verdict: on the score; null where there is only a comment, or a value for a segment without a score.
        verdict_from: reviewer, or value: from the distance of score and value.
        value: the reviewer's, points of the 0-10 scale; null without one.
        difference: score minus value, points; null without both.
        comment: the reviewer's.
    """

    recording: str
    start_s: float
    end_s: float
    score: float | None
    sample: Literal["targeted", "control", "both"]
    verdict: Verdict | None
    verdict_from: Literal["reviewer", "value"]
    value: float | None
    difference: float | None
    comment: str


@dataclass(frozen=True)
class FilledReview:
    """The filled-in list, counted. It is no rating: no other section of this report uses it.

    Attributes:
        tolerance_points: a score farther than this from the reviewer's value counts as wrong.
        tolerance_source: why.
        targeted: answers to the targeted segments that are not in the control sample; they were chosen because their
            scores are likely to be wrong and represent nothing else.
        targeted_mean_difference: mean of score minus value among these, points; null without a value.
        control: answers to the control sample, given without sight of the scores.
        n_control_subjects: subjects of the control segments with a value.
        wrong_share: of all scores, 0 to 1, estimated from the control sample; n counts segments.
        bias: mean of score minus value over all scores, points, estimated from the control sample.
        mae: mean absolute difference of score and value, points, estimated in the same way.
        segments: every row with an answer or a comment, in the list's order: the control sample first.
    """

    tolerance_points: float
    tolerance_source: str
    targeted: ReviewCounts
    targeted_mean_difference: float | None
    control: ReviewCounts
    n_control_subjects: int
    wrong_share: Estimate
    bias: Estimate
    mae: Estimate
    segments: tuple[ReviewedSegment, ...]


@dataclass(frozen=True)
class ReviewSection:
    """Segments that a person should look at, and what people said of them.

    Attributes:
        criterion: how the targeted ones were selected.
        total: all targeted ones; the file .review.csv lists every one, and .review.m3u8 plays them.
        rows: the first 25 of these.
        control: the control sample, which both files begin with.
        filled: the filled-in list; null without one.
    """

    criterion: str
    total: int
    rows: tuple[ReviewRow, ...]
    control: ControlSample
    filled: FilledReview | None


@dataclass(frozen=True)
class ChecklistItem:
    """One item of a reporting guideline.

    Attributes:
        source: the guideline.
        number: in the guideline; empty where it is not given here.
        item: in our words.
        status: where the answer comes from; `needs a person` where the program cannot know all of it.
        answer: full sentences, including what a person has to add.
    """

    source: str
    number: str
    item: str
    status: AnswerStatus
    answer: str


@dataclass(frozen=True)
class Trajectory:
    """A recording drawn over time, and the name of its figure."""

    recording: str
    figure: str
