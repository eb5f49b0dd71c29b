"""The time axis of a chart: long breaks between recordings cut out, ticks at round times, of day where known."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise
from typing import overload

import numpy as np
import numpy.typing as npt

from avpenet_cli import phrasing
from avpenet_cli.trajectory.series import Series

Floats = npt.NDArray[np.float64]

TICK_PX = 86.0
"""Labels of the axis are this far apart at least."""
STEPS_S = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400)
"""Steps between labels, s."""
_DAY_S = 86400
# A break between recordings is cut out where it is longer than this, s, and than this share of the recorded time.
_LONG_BREAK_S = 60.0
_LONG_BREAK_SHARE = 0.1
# What a cut break takes of the axis, px, and the most that all of them may take, as a share of the axis.
_BREAK_PX = 26.0
_MOST_BREAKS = 0.3


@dataclass(frozen=True)
class Piece:
    """A stretch of time on the axis, from `start_s` to `end_s`; it starts at `drawn_s` of the axis.

    Attributes:
        length_s: of it on the axis: that of the stretch, or less where it is a break that is cut out.
        cut: whether it is.
    """

    start_s: float
    end_s: float
    drawn_s: float
    length_s: float
    cut: bool


@dataclass(frozen=True)
class Tick:
    """A labelled time: s on the series' axis, its text, and the date below it where that begins or changes."""

    time_s: float
    text: str
    date: str = ""


@dataclass(frozen=True)
class TimeAxis:
    """The axis of a series.

    Attributes:
        pieces: in time order, without overlap.
        clock: time of 0 s, in the time zone that the series states; None where times are not clock times.
    """

    pieces: tuple[Piece, ...]
    clock: datetime | None

    @property
    def span(self) -> tuple[float, float]:
        """First and last time of the axis, s."""
        return self.pieces[0].start_s, self.pieces[-1].end_s

    @property
    def length_s(self) -> float:
        """Length of the axis, s of drawn time."""
        return self.pieces[-1].drawn_s + self.pieces[-1].length_s

    @overload
    def drawn(self, time_s: float) -> float: ...
    @overload
    def drawn(self, time_s: Floats) -> Floats: ...
    def drawn(self, time_s: float | Floats) -> float | Floats:
        """Where a time lies on the axis, s of drawn time; times beyond its ends lie at them."""
        times = [piece.start_s for piece in self.pieces] + [self.span[1]]
        places = [piece.drawn_s for piece in self.pieces] + [self.length_s]
        at = np.interp(time_s, times, places)
        return at if isinstance(time_s, np.ndarray) else float(at)

    def when(self, time_s: float) -> str:
        """A time in words: time of day with its date where that is not the first day's, else time after the start."""
        if not math.isfinite(time_s):
            return phrasing.NOT_COMPUTABLE
        if self.clock is None:
            return phrasing.clock(time_s)
        moment = self.clock + timedelta(seconds=round(time_s))
        return moment.strftime("%H:%M:%S") if not self.several_days else moment.strftime("%Y-%m-%d %H:%M:%S")

    @property
    def several_days(self) -> bool:
        """Whether the axis reaches from one date to another."""
        if self.clock is None:
            return False
        first, last = (self.clock + timedelta(seconds=end) for end in self.span)
        return first.date() != last.date()

    @property
    def title(self) -> str:
        """What the axis shows."""
        if self.clock is None:
            return (
                "time after the start (hours:minutes:seconds)"
                if self.span[1] >= 3600
                else "time after the start (minutes:seconds)"
            )
        offset = self.clock.strftime("%z")
        zone = f"UTC{offset[:3]}:{offset[3:5]}" if offset else "time zone not stated"
        first = self.clock + timedelta(seconds=self.span[0])
        return f"time of day ({zone})" if self.several_days else f"time of day on {first:%Y-%m-%d} ({zone})"

    def ticks(self, width_px: float) -> list[Tick]:
        """Ticks at round times, on an axis of `width_px`; one in each recording with room."""
        per_s = width_px / self.length_s
        step = next((step for step in STEPS_S if step * per_s >= TICK_PX), _DAY_S)
        # Times of day are round, not those after the recording's start.
        base = 0.0
        if self.clock is not None:
            midnight = self.clock.replace(hour=0, minute=0, second=0, microsecond=0)
            base = (self.clock - midnight).total_seconds()
        times: list[float] = []
        for piece in self.pieces:
            if piece.cut:
                continue
            first, last = (
                math.ceil((piece.start_s + base) / step - 1e-9),
                math.floor((piece.end_s + base) / step + 1e-9),
            )
            inside = [n * step - base for n in range(first, last + 1)]
            # Without a round time inside, where it starts.
            for time in inside or [piece.start_s]:
                if not times or (self.drawn(time) - self.drawn(times[-1])) * per_s >= TICK_PX:
                    times.append(time)
        return self._texts(times, seconds=step < 60)

    def _texts(self, times: list[float], *, seconds: bool) -> list[Tick]:
        ticks: list[Tick] = []
        date = ""
        for time in times:
            if self.clock is None:
                ticks.append(Tick(time, _elapsed(time, hours=self.span[1] >= 3600)))
                continue
            moment = self.clock + timedelta(seconds=round(time))
            exact = seconds or moment.second
            today = moment.strftime("%Y-%m-%d") if self.several_days else ""
            ticks.append(Tick(time, moment.strftime("%H:%M:%S" if exact else "%H:%M"), today if today != date else ""))
            date = today
        return ticks


def _elapsed(time_s: float, *, hours: bool) -> str:
    whole = round(abs(time_s))
    text = f"{whole // 3600}:{whole // 60 % 60:02d}:{whole % 60:02d}" if hours else f"{whole // 60}:{whole % 60:02d}"
    return phrasing.MINUS + text if time_s < 0 and whole else text


def time_axis(series: Series, width_px: float) -> TimeAxis:
    """The axis of a series that is drawn `width_px` wide: all its recordings, events between them included."""
    spans = _recorded(series)
    recorded = sum(end - start for start, end in spans)
    breaks = [later[0] - earlier[1] for earlier, later in pairwise(spans)]
    cut = [length > max(_LONG_BREAK_S, _LONG_BREAK_SHARE * recorded) for length in breaks]
    shown = recorded + sum(length for length, short in zip(breaks, cut, strict=True) if not short)
    each_px = min(_BREAK_PX, _MOST_BREAKS * width_px / max(sum(cut), 1))
    each_s = each_px * shown / (width_px - sum(cut) * each_px)
    pieces: list[Piece] = []
    drawn = 0.0
    for index, (start, end) in enumerate(spans):
        pieces.append(Piece(start, end, drawn, end - start, cut=False))
        drawn += end - start
        if index < len(breaks):
            length = each_s if cut[index] else breaks[index]
            pieces.append(Piece(end, spans[index + 1][0], drawn, length, cut=cut[index]))
            drawn += length
    return TimeAxis(tuple(pieces), _moment(series.clock))


def _recorded(series: Series) -> list[tuple[float, float]]:
    """Stretches with a recording, s, in time order, without overlap; one second where nothing was recorded."""
    spans: list[tuple[float, float]] = []
    for part in sorted(series.parts, key=lambda part: part.offset_s):
        start, end = part.offset_s, part.offset_s + max(part.length_s, 1.0)
        if spans and start <= spans[-1][1]:
            spans[-1] = (spans[-1][0], max(spans[-1][1], end))
        else:
            spans.append((start, end))
    return spans or [(0.0, 1.0)]


def _moment(clock: str) -> datetime | None:
    try:
        return datetime.fromisoformat(clock) if clock else None
    except ValueError:
        return None
