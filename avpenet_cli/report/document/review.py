"""What people do with a report: notices to read, segments to review, checklist items to answer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

AnswerStatus = Literal["from data", "from configuration", "needs a person"]
Level = Literal["danger", "warning", "note"]


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


@dataclass(frozen=True)
class ReviewSection:
    """Segments that a person should look at.

    Attributes:
        criterion: how they were selected.
        total: all of them; the file .review.csv lists every one, and .review.m3u8 plays them.
        rows: the first 25.
    """

    criterion: str
    total: int
    rows: tuple[ReviewRow, ...]


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
