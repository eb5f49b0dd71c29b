"""Which segments of a recording to explain."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from avpenet_cli.errors import SettingsError
from avpenet_cli.phrasing import clock, counted
from avpenet_cli.records import Reason, SegmentScore

DEFAULT_TOP = 5
MAX_SEGMENTS = 30
"""Segments of one explanation. The crops of all are in memory at a time, 4.5 MB each."""

_TIME = re.compile(r"(?:(?:(\d{1,9}):)?(\d{1,2}):)?(\d{1,9}(?:\.\d{1,9})?)", re.ASCII)
_RANGE = re.compile(r"\s*(\d{1,9})\s*(?:-\s*(\d{1,9})\s*)?", re.ASCII)
_SIXTY = 60.0


@dataclass(frozen=True)
class Selection:
    """What was asked for; at most one of the three.

    Attributes:
        segments: numbers of segments, from `parse_segments`.
        top: so many segments with the highest scores that do not overlap one another.
        around_s: the segments that contain this time, and those before and after them, s.
    """

    segments: tuple[int, ...] = ()
    top: int | None = None
    around_s: float | None = None

    def __post_init__(self) -> None:
        asked = (bool(self.segments), self.top is not None, self.around_s is not None)
        if sum(asked) > 1:
            raise SettingsError("--segments, --top and --around exclude each other", "give one of them")
        if self.top is not None and not 1 <= self.top <= MAX_SEGMENTS:
            raise SettingsError(f"--top {self.top}: must be from 1 to {MAX_SEGMENTS}", "give another number")


@dataclass(frozen=True)
class Chosen:
    """Segments that were chosen.

    Attributes:
        records: those with a score, in time order.
        unexplained: (segment, reason) of those without.
        description: how they were chosen, in words.
    """

    records: tuple[SegmentScore, ...]
    unexplained: tuple[tuple[int, str], ...]
    description: str


_WHY = {
    Reason.NO_VIDEO: "it has no video",
    Reason.NO_FACE: "the patient's face is in too few of its frames",
    Reason.NO_AUDIO: "too little of it has audio",
}


def why_unscored(record: SegmentScore) -> str:
    """Why a segment has no score, in words."""
    return next((words for reason, words in _WHY.items() if reason == record.reason), record.reason)


def parse_segments(text: str) -> tuple[int, ...]:
    """`3,7-9` -> 3, 7, 8, 9, ascending, each once.

    Raises:
        SettingsError: it does not have this form, or names too many segments.
    """
    numbers: set[int] = set()
    for part in text.split(","):
        match = _RANGE.fullmatch(part)
        first, last = (int(match[1]), int(match[2] or match[1])) if match else (1, 0)
        if last < first:
            raise SettingsError(f"--segments {text}: {part.strip() or 'nothing'} is no segment", "write it like 3,7-9")
        if last - first >= MAX_SEGMENTS or len(numbers | set(range(first, last + 1))) > MAX_SEGMENTS:
            raise SettingsError(f"--segments {text}: more than {MAX_SEGMENTS} segments", "explain fewer at a time")
        numbers |= set(range(first, last + 1))
    return tuple(sorted(numbers))


def parse_time(text: str) -> float:
    """`2:31`, `1:02:31.5` or `151` -> seconds.

    Raises:
        SettingsError: it does not have one of these forms.
    """
    match = _TIME.fullmatch(text.strip())
    if match:
        hours, minutes, seconds = float(match[1] or 0), float(match[2] or 0), float(match[3])
        if not (match[2] and seconds >= _SIXTY) and not (match[1] and minutes >= _SIXTY):
            return (hours * _SIXTY + minutes) * _SIXTY + seconds
    raise SettingsError(f"--around {text}: not a time", "write it like 2:31, or in seconds like 151")


def choose(records: Sequence[SegmentScore], selection: Selection) -> Chosen:
    """Choose segments of a scored recording.

    Args:
        records: all its segments, in time order.
        selection: empty for the `DEFAULT_TOP` highest scores.

    Raises:
        SettingsError: a segment or time that the recording does not have.
    """
    if selection.segments:
        missing = [number for number in selection.segments if number >= len(records)]
        if missing:
            has = f"has segments 0 to {len(records) - 1}" if records else "has no segments"
            raise SettingsError(f"there is no segment {missing[0]}: the recording {has}", "name others")
        return _split([records[number] for number in selection.segments], "the segments that were named")
    if selection.around_s is not None:
        return _split(_around(records, selection.around_s), f"the segments around {clock(selection.around_s)}")
    return _top(records, DEFAULT_TOP if selection.top is None else selection.top)


def _around(records: Sequence[SegmentScore], time_s: float) -> Sequence[SegmentScore]:
    inside = [number for number, record in enumerate(records) if record.start_s <= time_s < record.end_s]
    if not inside:
        end = max((record.end_s for record in records), default=0.0)
        raise SettingsError(
            f"--around {clock(time_s)}: no segment contains this time; the segments end at {clock(end)}", "give another"
        )
    nearest = sorted(
        range(max(0, inside[0] - 1), min(len(records), inside[-1] + 2)),
        key=lambda number: abs((records[number].start_s + records[number].end_s) / 2 - time_s),
    )
    return [records[number] for number in sorted(nearest[:MAX_SEGMENTS])]


def _top(records: Sequence[SegmentScore], count: int) -> Chosen:
    scored = [(record.score, record) for record in records if record.score is not None]
    taken: list[SegmentScore] = []
    for _, record in sorted(scored, key=lambda pair: (-pair[0], pair[1].segment)):
        if len(taken) < count and all(
            record.end_s <= other.start_s or record.start_s >= other.end_s for other in taken
        ):
            taken.append(record)
    taken.sort(key=lambda record: record.segment)
    what = (
        "the segment with the highest score"
        if len(taken) == 1
        else (f"{counted(len(taken), 'segment')} with the highest scores that do not overlap")
    )
    return Chosen(tuple(taken), (), what)


def _split(chosen: Sequence[SegmentScore], description: str) -> Chosen:
    scored = tuple(record for record in chosen if record.score is not None)
    without = tuple((record.segment, why_unscored(record)) for record in chosen if record.score is None)
    return Chosen(scored, without, description)
