"""Score tables, ratings, events and subjects as series: one for each recording, or for each patient on a clock time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby

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
        self._axes: list[Axis] = []
        self.notices = (
            *inputs.notices,
            *self._unmatched(inputs, dict(zip(self._recordings, ends_s.tolist(), strict=True))),
            *self._failed(),
        )
        with_subjects = inputs.subjects is not None
        owners = subjects_of(self._recordings, inputs.subjects)
        if inputs.subjects is not None:
            alone = [name for name in self._recordings if name not in inputs.subjects.subject_of]
            self.notices += _listed(f"{inputs.subjects.file.name}: without a row, and so a series each", alone)
        chosen = self._chosen(owners, selection or Selection(), with_subjects=with_subjects)
        of_owner: dict[str, list[TimedRecording]] = {}
        contradictory = []
        for code in chosen.tolist():
            name = self._recordings[code]
            start, contradicts = self._start(code)
            contradictory += [name] if contradicts else []
            recording = TimedRecording(name, code, start, float(ends_s[code]))
            of_owner.setdefault(owners[code], []).append(recording)
        self.notices += _listed(
            f"recorded_at does not agree with start_s within {TOLERANCE_S:g} s, so when it was recorded counts as not "
            "known",
            contradictory,
        )
        for owner, recordings in of_owner.items():
            self._axes += axes(owner, recordings)
        for notice, placed in groupby(sorted(filter(_notice, self._axes), key=_notice), key=_notice):
            self.notices += (f"{_first([axis.name for axis in placed])}: {notice}",)

    @property
    def names(self) -> tuple[str, ...]:
        """Of the series, in order."""
        return tuple(axis.name for axis in self._axes)

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

    def _unmatched(self, inputs: Inputs, ends_s: dict[str, float]) -> Iterator[str]:
        """Rows of ratings and events that belong to no recording, or to no time of it."""
        for table, rows in ((inputs.ratings, self._ratings), (inputs.events, self._events)):
            if table is None:
                continue
            if not any(name in ends_s for name in rows):
                raise nothing_in_common(table.file.name, rows, self._recordings)
            unknown = [name for name in rows if name not in ends_s]
            yield from _listed(f"{table.file.name}: not in the scores", unknown)
            time = "time_s" if "time_s" in table.rows else "start_s"
            late = [name for name, own in rows.items() if (own[time].to_numpy() > ends_s.get(name, np.inf)).any()]
            yield from _listed(f"{table.file.name}: times after the last segment", late)

    def _failed(self) -> Iterator[str]:
        """Recordings that only the manifests know."""
        known = set(self._recordings)
        entries = [entry for source in self._scores.sources for entry in (source.manifest or {}).get("recordings", ())]
        names = [str(entry["recording"]) for entry in entries if str(entry["recording"]) not in known]
        yield from _listed("not scored, as the manifest says, and so without a series", names)

    def _series(self, axis: Axis) -> Series:
        first = axis.recordings[0].start
        notices = [axis.notice] if axis.notice else []
        parts: list[Part] = []
        rows: list[pd.DataFrame] = []
        events: list[Event] = []
        ratings: list[RatedSpan] = []
        for recording in axis.recordings:
            # Only recordings with a time share an axis.
            between = recording.start - first if recording.start is not None and first is not None else None
            offset_s = between.total_seconds() if between is not None else 0.0
            parts.append(Part(recording.name, offset_s, recording.length_s))
            own = self._scores.segments.iloc[self._bounds[recording.code] : self._bounds[recording.code + 1]]
            rows.append(own)
            events += _events(self._events.get(recording.name), offset_s)
            ratings += _ratings(self._ratings.get(recording.name), offset_s)
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


def _notice(axis: Axis) -> str:
    return axis.notice


def _rows_of(table: Ratings | Events | None) -> dict[str, pd.DataFrame]:
    """The rows of each recording."""
    return {} if table is None else {str(name): own for name, own in table.rows.groupby("recording", sort=False)}


def _events(rows: pd.DataFrame | None, offset_s: float) -> list[Event]:
    if rows is None:
        return []
    return [
        Event(float(time_s) + offset_s, str(label)) for time_s, label in zip(rows["time_s"], rows["label"], strict=True)
    ]


def _ratings(rows: pd.DataFrame | None, offset_s: float) -> list[RatedSpan]:
    if rows is None:
        return []
    ends_s = rows["end_s"].fillna(rows["start_s"])
    columns = (rows["start_s"], ends_s, rows["value"], rows["rater"])
    return [
        RatedSpan(float(start_s) + offset_s, float(end_s) + offset_s, float(value), str(rater))
        for start_s, end_s, value, rater in zip(*columns, strict=True)
    ]


def _grid(start_s: Floats, end_s: Floats, part: Indices) -> tuple[float, float, bool]:
    """Stride and window, s, and whether all segments start at multiples of the stride after the first of their part."""
    window_s = round(float(np.median(end_s - start_s)), 3)
    steps = np.diff(start_s)[part[1:] == part[:-1]]
    if not steps.size:
        return window_s, window_s, True
    stride_s = round(float(np.median(steps)), 3)
    if stride_s <= 0.0:
        return window_s, window_s, False
    firsts = start_s[np.searchsorted(part, part)]
    places = (start_s - firsts) / stride_s
    return stride_s, window_s, bool((np.abs(places - np.round(places)) * stride_s <= 2 * _ROUNDING_S).all())


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
