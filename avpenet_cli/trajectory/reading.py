"""Score tables, ratings, events and subjects as series: one for each recording, or for each patient on a clock time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import numpy.typing as npt
import pandas as pd

from avpenet_cli.errors import SettingsError
from avpenet_cli.keys import match_names, normalise_key, shown
from avpenet_cli.phrasing import plural
from avpenet_cli.records import Status
from avpenet_cli.scoring.recorded_at import iso
from avpenet_cli.study.pairing import nothing_in_common, subjects_of
from avpenet_cli.study.ratings import Events, Ratings
from avpenet_cli.study.subjects import Subjects
from avpenet_cli.study.tables import Inputs
from avpenet_cli.trajectory.clock import TOLERANCE_S, Axis, TimedRecording, axes, started_at
from avpenet_cli.trajectory.quality import qualities
from avpenet_cli.trajectory.series import Event, Part, RatedSpan, Series

Floats = npt.NDArray[np.float64]
Indices = npt.NDArray[np.int64]

UNSTATED = "unscorable"
"""Reason of a segment without a score where the table states none."""
_NAMED = 5
_ROUNDING_S = 1e-3
"""Times in tables have three decimals."""
_MOST_HOLES = 0.2
"""Share of the steps; with more of them, the stride is not what the table was scored with."""


@dataclass(frozen=True)
class Selection:
    """Names of the recordings and of the subjects to choose; all where both are empty, else those of either."""

    recordings: tuple[str, ...] = ()
    subjects: tuple[str, ...] = ()


class SeriesReader:
    """The series of score tables, made one at a time.

    Args:
        inputs: the tables, from `match_tables`; with subjects, a series for each patient, else for each recording.
        selection: which of them.

    Attributes:
        names: of the series, in the order of the tables.
        notices: what was matched in spite of its spelling, or not at all.

    Raises:
        SettingsError: a table has no recording in common with the scores; nothing of that name to choose; a time in
            `recorded_at` that is none.
    """

    def __init__(self, inputs: Inputs, selection: Selection | None = None) -> None:
        self._scores = inputs.scores
        segments = inputs.scores.segments
        self._recordings = [str(name) for name in segments["recording"].cat.categories]
        codes = segments["recording"].cat.codes.to_numpy()
        self._bounds = np.searchsorted(codes, np.arange(len(self._recordings) + 1))
        ends_s = np.maximum.reduceat(segments["end_s"].to_numpy(), self._bounds[:-1])
        self._ratings = _rows_of(inputs.ratings)
        self._events = _rows_of(inputs.events)
        self._rating_file = "" if inputs.ratings is None else inputs.ratings.file.name
        self._event_file = "" if inputs.events is None else inputs.events.file.name
        self._axes: list[Axis] = []
        selection = selection or Selection()
        owners = subjects_of(self._recordings, inputs.subjects)
        self._refuse_foreign(inputs)
        chosen = self._chosen(owners, selection, with_subjects=inputs.subjects is not None)
        length_of = {self._recordings[code]: float(ends_s[code]) for code in chosen.tolist()}
        if selection.recordings or selection.subjects:
            # Names of other patients have no place on the page of one.
            self.notices = (
                *_without_names(inputs),
                *self._about_chosen(inputs, length_of),
                *self._failed({owners[code] for code in chosen.tolist()}, inputs.subjects),
            )
        else:
            self.notices = (*inputs.notices, *self._unmatched(inputs, length_of), *self._failed())
        if inputs.subjects is not None:
            alone = [name for name in length_of if name not in inputs.subjects.subject_of]
            self.notices += _listed(f"{inputs.subjects.file.name}: without a row, and so a series each", alone)
        of_owner: dict[str, list[TimedRecording]] = {}
        contradictory = []
        for code in chosen.tolist():
            name = self._recordings[code]
            start, contradicts = self._start(code)
            contradictory += [name] if contradicts else []
            recording = TimedRecording(name, code, start, length_of[name], self._stride(code))
            of_owner.setdefault(owners[code], []).append(recording)
        self.notices += _listed(
            f"recorded_at does not agree with start_s within {TOLERANCE_S:g} s, so when it was recorded counts as not "
            "known",
            contradictory,
        )
        for owner, recordings in of_owner.items():
            self._axes += axes(owner, recordings)
        named: dict[str, list[str]] = {}
        for axis in self._axes:
            for notice in axis.notices:
                named.setdefault(notice, []).append(axis.name)
        self.notices += tuple(f"{_first(names)}: {notice}" for notice, names in named.items())

    @property
    def names(self) -> tuple[str, ...]:
        """Of the series, in order."""
        return tuple(axis.name for axis in self._axes)

    @property
    def recordings(self) -> tuple[str, ...]:
        """Of all series, in their order."""
        return tuple(recording.name for axis in self._axes for recording in axis.recordings)

    def __len__(self) -> int:
        """Number of series."""
        return len(self._axes)

    def __iter__(self) -> Iterator[Series]:
        """Make one series after the other."""
        return map(self._series, self._axes)

    def _start(self, code: int) -> tuple[datetime | None, bool]:
        """When a recording started, and whether the times of its segments contradict each other."""
        rows = self._scores.segments.iloc[self._bounds[code] : self._bounds[code + 1]]
        times = rows["recorded_at"].fillna("").tolist()
        start = started_at(times, rows["start_s"].tolist(), self._recordings[code])
        return start, start is None and any(map(str.strip, times))

    def _chosen(self, owners: Sequence[str], selection: Selection, *, with_subjects: bool) -> Indices:
        """(n,) codes of the recordings that were chosen."""
        if not selection.recordings and not selection.subjects:
            return np.arange(len(self._recordings))
        if selection.subjects and not with_subjects:
            raise SettingsError("--subject without --subjects", "give the table of subjects, or use --recording")
        recordings = _matched(selection.recordings, self._recordings, "--recording")
        subjects = _matched(selection.subjects, list(dict.fromkeys(owners)), "--subject")
        pairs = zip(self._recordings, owners, strict=True)
        return np.array([n for n, (name, owner) in enumerate(pairs) if name in recordings or owner in subjects])

    def _stride(self, code: int) -> float:
        """Stride of a recording, s; 0 where there is a single segment."""
        start_s = self._scores.segments["start_s"].to_numpy()[self._bounds[code] : self._bounds[code + 1]]
        return float(np.median(np.diff(start_s))) if start_s.size > 1 else 0.0

    def _tables(self, inputs: Inputs) -> Iterator[tuple[Ratings | Events, dict[str, pd.DataFrame]]]:
        for table, rows in ((inputs.ratings, self._ratings), (inputs.events, self._events)):
            if table is not None:
                yield table, rows

    def _refuse_foreign(self, inputs: Inputs) -> None:
        known = set(self._recordings)
        for table, rows in self._tables(inputs):
            if known.isdisjoint(rows):
                raise nothing_in_common(table.file.name, rows, self._recordings)

    def _unmatched(self, inputs: Inputs, length_of: dict[str, float]) -> Iterator[str]:
        """Rows of ratings and events that belong to no recording, or to no time of it."""
        for table, rows in self._tables(inputs):
            yield from _listed(
                f"{table.file.name}: not in the scores", [name for name in rows if name not in length_of]
            )
            yield from self._late(table, rows, length_of)

    def _about_chosen(self, inputs: Inputs, length_of: dict[str, float]) -> Iterator[str]:
        """What ratings and events lack for the recordings that were chosen."""
        for table, rows in self._tables(inputs):
            if rows.keys().isdisjoint(length_of):
                yield f"{table.file.name}: nothing for the recordings that were chosen"
            yield from self._late(table, rows, length_of)

    def _late(
        self, table: Ratings | Events, rows: dict[str, pd.DataFrame], length_of: dict[str, float]
    ) -> tuple[str, ...]:
        time = "time_s" if "time_s" in table.rows else "start_s"
        late = [name for name, own in rows.items() if (own[time].to_numpy() > length_of.get(name, np.inf)).any()]
        return _listed(f"{table.file.name}: times after the last segment", late)

    def _failed(self, owners: set[str] | None = None, subjects: Subjects | None = None) -> Iterator[str]:
        """Recordings that only the manifests know; with `owners`, those of these subjects."""
        known = set(self._recordings)
        entries = [entry for source in self._scores.sources for entry in (source.manifest or {}).get("recordings", ())]
        names = [str(entry["recording"]) for entry in entries if str(entry["recording"]) not in known]
        if owners is not None:
            subject_of = {} if subjects is None else subjects.subject_of
            names = [name for name in names if subject_of.get(name) in owners]
        yield from _listed("not scored, as the manifest says, and so without a series", names)

    def _own_rows(
        self, part: Part, parts: Sequence[Part], table: dict[str, pd.DataFrame], time: str, notices: list[str]
    ) -> pd.DataFrame | None:
        """A recording's rows but for those that would land in another one, which a notice counts; None without rows."""
        rows = table.get(part.recording)
        if rows is None:
            return None
        astray = _within_others(rows[time].to_numpy(dtype=np.float64), part, parts)
        if astray.any():
            file = self._event_file if table is self._events else self._rating_file
            notices.append(
                f"{file}: {plural(int(astray.sum()), 'row')} of {shown(part.recording)} left out: the time lies after "
                "that recording's end and within another one"
            )
        return rows[~astray]

    def _series(self, axis: Axis) -> Series:
        first = axis.recordings[0].start
        notices = list(axis.notices)
        parts: list[Part] = []
        rows: list[pd.DataFrame] = []
        for recording in axis.recordings:
            # Only recordings with a time share an axis.
            between = recording.start - first if recording.start is not None and first is not None else None
            offset_s = between.total_seconds() if between is not None else 0.0
            parts.append(Part(recording.name, offset_s, recording.length_s))
            own = self._scores.segments.iloc[self._bounds[recording.code] : self._bounds[recording.code + 1]]
            rows.append(own)
        events: list[Event] = []
        ratings: list[RatedSpan] = []
        for placed in parts:
            if (found := self._own_rows(placed, parts, self._events, "time_s", notices)) is not None:
                events += _events(found, placed.offset_s)
            if (found := self._own_rows(placed, parts, self._ratings, "start_s", notices)) is not None:
                ratings += _ratings(found, placed, parts)
        segments = rows[0] if len(rows) == 1 else pd.concat(rows)
        part = np.repeat(np.arange(len(parts)), [len(own) for own in rows]).astype(np.int64)
        offsets_s = np.array([own.offset_s for own in parts])[part]
        start_s, end_s = (segments[name].to_numpy(dtype=np.float64) + offsets_s for name in ("start_s", "end_s"))
        stride_s, window_s, regular = _grid(start_s, end_s, part)
        if not regular:
            notices.append(
                f"segments start at irregular times; the stride is taken as {stride_s:g} s, the median difference"
            )
        scored = (segments["status"] == Status.SCORED.value).to_numpy(dtype=bool)
        reasons = segments["reason"].fillna("").to_numpy(dtype=object)
        reason = np.where(scored, "", np.where(reasons == "", UNSTATED, reasons))
        values: dict[str, Floats] = {
            name: segments[column].to_numpy(dtype=np.float64)
            for name, column in (("score", "score"), ("sd", "score_sd"), ("low", "score_lo"), ("high", "score_hi"))
        }
        values |= {"start_s": start_s, "end_s": end_s, "quality": qualities(segments)}
        order = np.lexsort((end_s, start_s))
        return Series(
            name=axis.name,
            parts=tuple(parts),
            clock=iso(first),
            part=part[order],
            **{name: array[order] for name, array in values.items()},
            reason=tuple(map(str, reason[order])),
            stride_s=stride_s,
            window_s=window_s,
            events=tuple(sorted(events, key=lambda event: event.time_s)),
            ratings=tuple(sorted(ratings, key=lambda rating: (rating.start_s, rating.rater))),
            cut_points=self._scores.cut_points,
            notices=tuple(notices),
        )


def _rows_of(table: Ratings | Events | None) -> dict[str, pd.DataFrame]:
    """The rows of each recording."""
    return {} if table is None else {str(name): own for name, own in table.rows.groupby("recording", sort=False)}


def _without_names(inputs: Inputs) -> tuple[str, ...]:
    """That names were matched or merged, without the names."""
    tables = (inputs.ratings, inputs.subjects, inputs.events)
    files = [table.file.name for table in tables if table is not None and table.notices]
    if not files:
        return ()
    return (
        f"{', '.join(files)}: names were matched in spite of their spelling; without --recording and --subject, "
        "notices say which",
    )


def _within_others(time_s: Floats, part: Part, parts: Sequence[Part]) -> npt.NDArray[np.bool_]:
    """Which times of a recording, s after its start, are after its end and within another recording."""
    astray = np.zeros(time_s.shape, dtype=np.bool_)
    for other in parts:
        if other is not part:
            placed = time_s + part.offset_s - other.offset_s
            astray |= (placed >= 0.0) & (placed <= other.length_s)
    return astray & (time_s > part.length_s)


def _events(rows: pd.DataFrame, offset_s: float) -> list[Event]:
    return [
        Event(float(time_s) + offset_s, str(label)) for time_s, label in zip(rows["time_s"], rows["label"], strict=True)
    ]


def _ratings(rows: pd.DataFrame, part: Part, parts: Sequence[Part]) -> list[RatedSpan]:
    """Ratings on the axis; one that reaches into the next recording ends where that begins."""
    ends_s = rows["end_s"].fillna(rows["start_s"])
    columns = (rows["start_s"], ends_s, rows["value"], rows["rater"])
    later_s = [other.offset_s for other in parts if other.offset_s > part.offset_s]
    spans = []
    for start, end, value, rater in zip(*columns, strict=True):
        start_s, end_s = float(start) + part.offset_s, float(end) + part.offset_s
        if end_s > start_s:
            end_s = min([end_s, *(next_s for next_s in later_s if next_s > start_s)])
        spans.append(RatedSpan(start_s, end_s, float(value), str(rater)))
    return spans


def _grid(start_s: Floats, end_s: Floats, part: Indices) -> tuple[float, float, bool]:
    """Stride and window, s, and whether segments are a stride apart, but for a few holes of whole strides."""
    window_s = round(float(np.median(end_s - start_s)), 3)
    steps = np.diff(start_s)[part[1:] == part[:-1]]
    if not steps.size:
        return window_s, window_s, True
    stride_s = round(float(np.median(steps)), 3)
    if stride_s <= 0.0:
        return window_s, window_s, False
    firsts = start_s[np.searchsorted(part, part)]
    places = (start_s - firsts) / stride_s
    whole = bool((np.abs(places - np.round(places)) * stride_s <= 2 * _ROUNDING_S).all())
    holes = float(np.mean(np.abs(steps - stride_s) > 2 * _ROUNDING_S))
    return stride_s, window_s, whole and holes <= _MOST_HOLES


def _matched(names: Sequence[str], known: Sequence[str], option: str) -> set[str]:
    """The names as the tables write them.

    Raises:
        SettingsError: one of them is not there.
    """
    matches = match_names(names, known, option)
    for written, name in matches.names.items():
        if name not in known:
            part = normalise_key(written)
            alike = [other for other in known if part in normalise_key(other)] or list(known)
            raise SettingsError(f"{option} {shown(written)}: not in the scores", f"there are {_first(alike)}")
    return set(matches.names.values())


def _listed(what: str, names: Sequence[str]) -> tuple[str, ...]:
    """At most one sentence: `events.csv: not in the scores: 2 recordings, a.mp4, b.mp4`."""
    return (f"{what}: {plural(len(names), 'recording')}, {_first(names)}",) if names else ()


def _first(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(map(shown, names[:_NAMED])) + more
