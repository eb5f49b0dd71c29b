"""Which recordings of a patient share a time axis: those with a known time that follow each other.

Two recordings of the same time, as of two cameras, are two views of the same pain, which would count twice on one axis.
A recording without a time could be before or after the others. Recordings with different strides have no common unit in
which to smooth, to count time and to look for gaps. All of them get axes of their own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from avpenet_cli.errors import SettingsError
from avpenet_cli.keys import shown
from avpenet_cli.study.sheets import quoted

TOLERANCE_S = 1.0
"""Creation times are whole seconds: recordings that follow each other may overlap by that much."""
SAME_STRIDE = 1.1
"""Strides that differ by at most this factor are the same: those of irregular segments are medians."""
LONGEST_PAUSE_S = 12 * 3600.0
"""After a longer time without any recording, a new series begins."""


@dataclass(frozen=True)
class TimedRecording:
    """A recording, its place among those of the tables, when it started, its length and its stride, s.

    The stride is 0 where there is a single segment, which has none.
    """

    name: str
    code: int
    start: datetime | None
    length_s: float
    stride_s: float

    @property
    def end(self) -> datetime:
        """When it ended; only where the start is known."""
        assert self.start is not None
        return self.start + timedelta(seconds=self.length_s)


@dataclass(frozen=True)
class Axis:
    """Recordings on one time axis, in time order; `notices` say why others of the patient are not on it."""

    name: str
    recordings: tuple[TimedRecording, ...]
    notices: tuple[str, ...] = ()


def started_at(times: Sequence[str], start_s: Sequence[float], recording: str) -> datetime | None:
    """When a recording started, from the times of its segments: the first that is stated, less its `start_s`.

    Args:
        times: `recorded_at` of each segment; empty where it is not stated.
        start_s: where each segment starts, s after the recording's start.
        recording: its name, for errors.

    Returns:
        None where the segments' times do not agree on it within `TOLERANCE_S`, and where none is stated.

    Raises:
        SettingsError: one of them is not a date with time.
    """
    starts = [
        _time(text, recording) - timedelta(seconds=after_s)
        for text, after_s in zip(times, start_s, strict=True)
        if text.strip()
    ]
    tolerance = timedelta(seconds=TOLERANCE_S)
    for start in starts:
        # Times with and without an offset from UTC cannot be compared.
        if (start.tzinfo is None) != (starts[0].tzinfo is None) or abs(start - starts[0]) > tolerance:
            return None
    return starts[0] if starts else None


def _time(text: str, recording: str) -> datetime:
    try:
        time = datetime.fromisoformat(text.strip())
        if not _is_date(text.strip()):
            return time
    except ValueError:
        pass
    raise SettingsError(
        f"recorded_at of {shown(recording)} is {quoted(text)}, not a date with time in ISO 8601",
        "write it like 2026-03-04T10:15:00.000+01:00, or empty the column",
    )


def _is_date(text: str) -> bool:
    """Whether it is a date alone, which `datetime.fromisoformat` takes for midnight."""
    try:
        date.fromisoformat(text)
    except ValueError:
        return False
    return True


def axes(patient: str, recordings: Sequence[TimedRecording]) -> list[Axis]:
    """The time axes of a patient's recordings, in time order, then those of recordings without a time.

    Where times with and without offset from UTC are mixed, the fewer ones count as not known.
    """
    if len(recordings) == 1:
        return [Axis(patient, tuple(recordings))]
    timed, untimed = _comparable(recordings)
    groups = _by_stride(timed)
    strides = [f"{group[-1].stride_s:g} s" for group in groups]
    notices: tuple[str, ...] = ()
    if len(groups) > 1:
        notices = (
            f"recordings with a score every {' and every '.join(strides)} are on axes of their own: score all of them "
            "with the same --stride",
        )
    result: list[Axis] = []
    for place, (group, stride) in enumerate(zip(groups, strides, strict=True)):
        # The largest group has the patient's name alone.
        result += _timed_axes(patient if place == 0 else f"{patient}, every {stride}", _in_order(group), notices)
    notice = "when it was recorded is not known, so it has an axis of its own (column recorded_at)"
    result += [Axis(f"{patient}: {recording.name}", (recording,), (notice,)) for recording in untimed]
    return result


def _timed_axes(name: str, timed: Sequence[TimedRecording], notices: tuple[str, ...]) -> list[Axis]:
    """The axes of recordings with comparable times and one stride, in time order."""
    result: list[Axis] = []
    sessions = _sessions(timed)
    for session in sessions:
        own_name = name if len(sessions) == 1 else f"{name}, {_start(session[0]):%Y-%m-%d %H:%M}"
        lanes, overlaps = _lanes(session)
        overlap = f"recordings at the same time are on axes of their own: {overlaps}"
        result += [
            Axis(
                own_name if place == 0 else f"{own_name} ({place + 1})",
                tuple(lane),
                (*notices, overlap) if overlaps else notices,
            )
            for place, lane in enumerate(lanes)
        ]
    return result


def _by_stride(timed: Sequence[TimedRecording]) -> list[list[TimedRecording]]:
    """Groups of one stride, by rising stride in each, the largest first; those without a stride belong to that."""
    groups: list[list[TimedRecording]] = []
    for recording in sorted((own for own in timed if own.stride_s > 0), key=lambda own: own.stride_s):
        if groups and recording.stride_s <= SAME_STRIDE * groups[-1][0].stride_s:
            groups[-1].append(recording)
        else:
            groups.append([recording])
    groups.sort(key=len, reverse=True)
    alone = [recording for recording in timed if recording.stride_s <= 0]
    return [alone + groups[0], *groups[1:]] if groups else [alone] if alone else []


def _comparable(recordings: Sequence[TimedRecording]) -> tuple[list[TimedRecording], list[TimedRecording]]:
    """Recordings whose times can be compared, and the others."""
    kinds: tuple[list[TimedRecording], list[TimedRecording]] = ([], [])
    for recording in recordings:
        if recording.start is not None:
            kinds[recording.start.tzinfo is None].append(recording)
    timed = max(kinds, key=len)
    codes = {recording.code for recording in timed}
    untimed = [recording for recording in recordings if recording.code not in codes]
    return timed, untimed


def _in_order(timed: Sequence[TimedRecording]) -> list[TimedRecording]:
    return sorted(timed, key=_start)


def _start(recording: TimedRecording) -> datetime:
    assert recording.start is not None
    return recording.start


def _sessions(timed: Sequence[TimedRecording]) -> list[list[TimedRecording]]:
    """Recordings between which there is no long pause."""
    sessions: list[list[TimedRecording]] = []
    for recording in timed:
        if sessions:
            pause = _start(recording) - max(earlier.end for earlier in sessions[-1])
            if pause.total_seconds() <= LONGEST_PAUSE_S:
                sessions[-1].append(recording)
                continue
        sessions.append([recording])
    return sessions


def _lanes(session: Sequence[TimedRecording]) -> tuple[list[list[TimedRecording]], str]:
    """Recordings that follow each other, and which overlap, in words.

    Among several lanes that are free, the one whose last recording has the most similar name is taken: cameras are told
    apart by the beginning of the name.
    """
    lanes: list[list[TimedRecording]] = []
    pairs = []
    for recording in session:
        latest = _start(recording) + timedelta(seconds=TOLERANCE_S)
        busy = [lane[-1] for lane in lanes if lane[-1].end > latest]
        free = [lane for lane in lanes if lane[-1].end <= latest]
        pairs += [f"{shown(other.name)} and {shown(recording.name)}" for other in busy]
        if free:
            max(free, key=lambda lane: _shared(lane[-1].name, recording.name)).append(recording)
        else:
            lanes.append([recording])
    more = f"; and {len(pairs) - 5} more" if len(pairs) > 5 else ""
    return lanes, "; ".join(pairs[:5]) + more


def _shared(first: str, second: str) -> int:
    """Number of characters with which both names begin."""
    pairs = zip(first, second, strict=False)
    return next((place for place, (ours, theirs) in enumerate(pairs) if ours != theirs), min(len(first), len(second)))
