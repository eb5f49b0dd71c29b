"""A series over time as a chart: scores, level, ratings, events, gaps, states, quality and alerts."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from avpenet_cli import phrasing
from avpenet_cli.report.figures.style import BLUE, GREY, GRID, INK, ORANGE, PALE_GREY
from avpenet_cli.report.figures.wording import identifier, in_sentence
from avpenet_cli.trajectory.analysed import Trajectory
from avpenet_cli.trajectory.chart_lines import raters_of, runs_of, steps
from avpenet_cli.trajectory.chart_style import (
    BAND,
    DOT,
    GAP_PATTERNS,
    LEFT_PX,
    LEVEL_BAND,
    QUALITY,
    RATER_DASHES,
    ROW_PX,
    SPAN_PX,
    STATE_FILLS,
    TEXT_PX,
    WIDTH_PX,
    fitted,
    gap_name,
    text_width,
)
from avpenet_cli.trajectory.chart_text import alternative, caption
from avpenet_cli.trajectory.label_rows import in_rows
from avpenet_cli.trajectory.legend import Contents, draw_legend, entries, legend_height
from avpenet_cli.trajectory.marks import (
    Area,
    Box,
    Chart,
    Dots,
    Fixed,
    FixedLine,
    Label,
    LabelGroup,
    Line,
    Rule,
    Stroke,
    Symbol,
    Text,
    Timed,
)
from avpenet_cli.trajectory.time_axis import TimeAxis, time_axis

Floats = npt.NDArray[np.float64]

MOST_RULES_DRAWN = 6
_PLOT_PX = 270.0
_STRIP_PX = 18.0
_QUALITY_PX = 40.0
_SPACE_PX = 9.0
_EVENT_ROWS = 3
_CHANGE = "#8f969e"
# From so many segments on, their line is thin.
_MANY = 800
_EVENT_LABEL_PX = 210.0
# From the middle of a line of text to its base line, px.
_HALF_TEXT_PX = 4.4


def draw(trajectory: Trajectory, axis: TimeAxis | None = None, name: str = "") -> Chart:
    """The chart of a series.

    Args:
        trajectory: of it.
        axis: of the chart; made here where None.
        name: start of its ids; of the series' name where empty.
    """
    axis = axis or time_axis(trajectory.series, SPAN_PX)
    return _Drawing(trajectory, axis).chart(name or identifier("series", trajectory.series.name))


class _Drawing:
    """Collects the marks of a chart from its top to its bottom."""

    def __init__(self, trajectory: Trajectory, axis: TimeAxis) -> None:
        self.trajectory, self.series, self.axis = trajectory, trajectory.series, axis
        self.timed: list[Timed] = []
        self.fixed: list[Fixed] = []
        self.groups: list[LabelGroup] = []
        self.per_s = (SPAN_PX) / axis.length_s
        self.right = LEFT_PX + SPAN_PX
        self.raters = raters_of(self.series, axis)
        self.numbered = False

    def chart(self, name: str) -> Chart:
        legend = entries(self._contents())
        self.fixed += draw_legend(legend)
        y = legend_height(legend) + 4
        events = self._event_labels(y)
        top = y
        y += max((label.row + 1 for label in events), default=0) * ROW_PX + 6
        plot = (y, y + _PLOT_PX)
        y = self._draw_plot(plot) + _SPACE_PX
        y = self._draw_changes(y)
        y = self._draw_states(y)
        y = self._draw_quality(y)
        y = self._draw_alerts(y)
        y = self._draw_parts(y)
        self._draw_events(events, plot, y)
        ticks = self._draw_axis(y, plot)
        self._draw_breaks(plot, y)
        return Chart(
            name=name,
            title=f"Scores over time: {in_sentence(self.series.name)}" if self.series.name else "Scores over time",
            caption=caption(self.trajectory, self.axis, numbered=self.numbered),
            alternative=alternative(self.trajectory, self.axis),
            width=WIDTH_PX,
            height=y + 4 + 2 * ROW_PX + (ROW_PX if self.axis.several_days else 0) + 6,
            left=LEFT_PX,
            right=self.right,
            length_s=self.axis.length_s,
            top=top,
            bottom=y,
            timed=tuple(self.timed),
            labels=tuple(self.groups),
            ticks=ticks,
            fixed=tuple(self.fixed),
        )

    def _contents(self) -> Contents:
        trajectory, series = self.trajectory, self.series
        return Contents(
            scores=bool(np.isfinite(series.score).any()),
            band=bool(np.isfinite(series.low).any()),
            level=bool(np.isfinite(trajectory.level.mean).any()),
            peaks=bool(trajectory.peaks),
            changes=bool(trajectory.changes),
            events=bool(series.events),
            moments=any(rating.end_s <= rating.start_s for rating in series.ratings),
            raters=[rater for rater, (start, end, _) in self.raters.items() if (end > start).any()],
            gaps=list(dict.fromkeys(gap.kind for gap in trajectory.gaps)),
            states=[kind for kind in STATE_FILLS if any(state.kind == kind for state in trajectory.states)],
        )

    def _box(self, start_s: float, end_s: float) -> tuple[float, float]:
        return self.axis.drawn(start_s), self.axis.drawn(end_s)

    def _runs(self, value: Floats, low: Floats, high: Floats) -> tuple[Floats, Floats, Floats, Floats]:
        """Times and values of lines that break at gaps; each run reaches half a stride beyond its middles, so that a
        single segment is visible."""
        middle, part, half = self.series.middle_s, self.series.part, self.series.stride_s / 2
        runs = []
        for run in runs_of(np.isfinite(value), middle, part, 2.5 * half):
            time = np.concatenate([[middle[run][0] - half], middle[run], [middle[run][-1] + half]])
            ends = np.concatenate([run[:1], run, run[-1:]])
            runs.append(np.vstack([self.axis.drawn(time), value[ends], low[ends], high[ends]]))
            runs.append(np.array([[runs[-1][0, -1]], [np.nan], [np.nan], [np.nan]]))
        together = np.hstack(runs) if runs else np.empty((4, 0))
        return together[0], together[1], together[2], together[3]

    def _span_label(self, start: float, end: float, y: float, text: str) -> Label:
        width = text_width(text)
        row = 0 if (end - start) * self.per_s >= width + 4 else -1
        return Label((start + end) / 2, y, text, width, row, end - start)

    def _add_group(self, labels: Sequence[Label], colour: str, rows: int = 1, row_height: float = 0.0) -> None:
        if labels:
            self.groups.append(LabelGroup(tuple(labels), rows, row_height, colour, TEXT_PX))

    # The panel of the scores

    def _value_limits(self) -> tuple[float, float]:
        series, level = self.series, self.trajectory.level
        values = [series.score, series.low, series.high, level.mean, [rating.value for rating in series.ratings]]
        known = np.concatenate([np.asarray(part, dtype=np.float64) for part in values])
        known = known[np.isfinite(known)]
        return min(0.0, *known) - 0.4 if known.size else -0.4, max(10.0, *known) + 0.4 if known.size else 10.4

    def _draw_plot(self, plot: tuple[float, float]) -> float:
        top, bottom = plot
        low, high = self._value_limits()

        def y(value: Floats) -> Floats:
            return top + (high - value) / (high - low) * (bottom - top)

        series, level = self.series, self.trajectory.level
        for value in range(0, 11, 2):
            at = float(y(np.array(float(value))))
            self.fixed.append(FixedLine(LEFT_PX, at, self.right, at, Stroke(GRID, 0.8)))
            self.fixed.append(Text(LEFT_PX - 8, at + _HALF_TEXT_PX, str(value), INK, TEXT_PX, "end"))
        self.fixed.append(
            Text(LEFT_PX - 44, (top + bottom) / 2, "points, 0-10 scale", INK, TEXT_PX, "middle", turned=True)
        )
        self._draw_classes(lambda value: float(y(np.array(value))), low, high)
        self._draw_gaps(top, bottom)
        # Under everything else: an hour has many.
        strip = bottom + _SPACE_PX + _STRIP_PX / 2
        for change in self.trajectory.changes:
            self.timed.append(Rule(self.axis.drawn(change.time_s), top, strip, Stroke(_CHANGE, 0.9, (6, 3))))
        time, _, band_low, band_high = self._runs(series.score, series.low, series.high)
        self.timed.append(Area(time, y(band_high), y(band_low), BAND))
        # Inside short gaps there is a level as well: the gaps are left open all the same.
        open_level = np.where(np.isfinite(series.score), level.mean, np.nan)
        time, mean, mean_low, mean_high = self._runs(open_level, level.low, level.high)
        self.timed.append(Area(time, y(mean_high), y(mean_low), LEVEL_BAND))
        n_scored = int(np.isfinite(series.score).sum())
        diameter = 5.0 if n_scored <= 100 else 3.6 if n_scored <= 400 else 2.4
        self.timed.append(Dots(self.axis.drawn(series.middle_s), y(series.score), DOT, diameter))
        self._draw_ratings(y)
        self.timed.append(Line(time, y(mean), Stroke(BLUE, 2.2)))
        self._draw_peaks(y, top)
        if not n_scored:
            text = "no segment could be scored" if series.score.size else "no segments"
            self.fixed.append(Text((LEFT_PX + self.right) / 2, top + 20, text, INK, TEXT_PX, "middle", outlined=True))
        self.fixed.append(FixedLine(LEFT_PX, top, LEFT_PX, bottom, Stroke(GREY)))
        self.fixed.append(FixedLine(LEFT_PX, bottom, self.right, bottom, Stroke(GREY)))
        return bottom

    def _draw_classes(self, y: Callable[[float], float], low: float, high: float) -> None:
        cuts = self.series.cut_points
        for cut in cuts:
            self.fixed.append(FixedLine(LEFT_PX, y(cut), self.right, y(cut), Stroke(GREY, 1.2, (1.5, 3))))
            self.fixed.append(Text(self.right + 6, y(cut) + _HALF_TEXT_PX, f"cut {cut:g}", GREY, TEXT_PX))
        edges = (max(low, 0.0), *cuts, min(high, 10.0))
        for below, above, name in zip(edges, edges[1:], ("low", "moderate", "high"), strict=False):
            if y(below) - y(above) > 3.2 * TEXT_PX:
                self.fixed.append(Text(self.right + 6, y((below + above) / 2) + _HALF_TEXT_PX, name, GREY, TEXT_PX))

    def _draw_gaps(self, top: float, bottom: float) -> None:
        labels = []
        for gap in self.trajectory.gaps:
            start, end = self._box(gap.start_s, gap.end_s)
            if end > start:
                self.timed.append(Box(start, end, top, bottom, PALE_GREY, GAP_PATTERNS.get(gap.kind, "")))
                labels.append(self._span_label(start, end, bottom - 6, gap_name(gap.kind)))
        self._add_group(labels, INK)

    def _draw_ratings(self, y: Callable[[Floats], Floats]) -> None:
        for index, (start, end, value) in enumerate(self.raters.values()):
            lasting = end > start
            time, height = steps(start[lasting], end[lasting], value[lasting])
            stroke = Stroke(ORANGE, 2.0, RATER_DASHES[index % len(RATER_DASHES)])
            self.timed.append(Line(self.axis.drawn(time), y(height), stroke))
            for at, above in zip(start[~lasting], y(value[~lasting]), strict=True):
                self.timed.append(Symbol(self.axis.drawn(float(at)), float(above), "cross", ORANGE))

    def _draw_peaks(self, y: Callable[[Floats], Floats], top: float) -> None:
        labels = []
        for peak in self.trajectory.peaks:
            at, height = self.axis.drawn(peak.time_s), float(y(np.array(peak.level))) - 5
            self.timed.append(Symbol(at, height, "peak", INK))
            text = phrasing.number(peak.level, 1)
            labels.append(Label(at, max(height - 10, top + 10), text, text_width(text)))
        self._add_group(in_rows(labels, 1, self.per_s), INK)

    # Strips under it

    def _strip(self, y: float, name: str, height: float = _STRIP_PX) -> tuple[float, float]:
        self.fixed.append(Text(LEFT_PX - 8, y + height / 2 + _HALF_TEXT_PX, name, INK, TEXT_PX, "end"))
        return y, y + height

    def _draw_changes(self, y: float) -> float:
        if not self.trajectory.changes:
            return y
        top, bottom = self._strip(y, "changes")
        middle = (top + bottom) / 2
        for change in self.trajectory.changes:
            at = self.axis.drawn(change.time_s)
            start, end = self._box(change.low_s, change.high_s)
            if end > start:
                self.timed.append(Box(start, end, middle - 3, middle + 3, LEVEL_BAND, edge=GREY))
            self.timed.append(Symbol(at, middle, "diamond", INK))
        return bottom + _SPACE_PX

    def _draw_states(self, y: float) -> float:
        top, bottom = self._strip(y, "states")
        labels = []
        for state in self.trajectory.states:
            start, end = self._box(state.start_s, state.end_s)
            if end > start:
                fill, pattern = STATE_FILLS[state.kind]
                self.timed.append(Box(start, end, top, bottom, fill, pattern, GREY))
                labels.append(self._span_label(start, end, bottom - 5, state.kind))
        self._add_group(labels, INK)
        if not self.trajectory.states:
            text = "none: no level" if self.trajectory.level.reason else "none"
            self.fixed.append(Text(LEFT_PX + 4, bottom - 5, text, GREY, TEXT_PX, outlined=True))
        return bottom + _SPACE_PX

    def _draw_quality(self, y: float) -> float:
        top, bottom = self._strip(y, "quality", _QUALITY_PX)
        for value, at in ((1, top), (0, bottom)):
            self.fixed.append(FixedLine(LEFT_PX, at, self.right, at, Stroke(GRID, 0.8)))
            self.fixed.append(Text(self.right + 6, at + _HALF_TEXT_PX, str(value), INK, TEXT_PX))
        time, quality, _, _ = self._runs(self.series.quality, self.series.quality, self.series.quality)
        height = bottom - quality * (bottom - top)
        self.timed.append(Area(time, height, np.where(np.isnan(height), np.nan, bottom), QUALITY))
        self.timed.append(Line(time, height, Stroke(GREY, 1.2 if time.size <= _MANY else 0.6)))
        if not np.isfinite(quality).any():
            text = "not stated in the table"
            self.fixed.append(Text(LEFT_PX + 4, (top + bottom) / 2 + _HALF_TEXT_PX, text, GREY, TEXT_PX, outlined=True))
        return bottom + _SPACE_PX

    def _draw_alerts(self, y: float) -> float:
        rules = list(dict.fromkeys(alert.rule for alert in self.trajectory.alerts))
        for rule in rules[:MOST_RULES_DRAWN]:
            self.fixed.append(
                Text(LEFT_PX + 2, y + 12, fitted(rule, self.right - LEFT_PX - 4), INK, TEXT_PX, outlined=True)
            )
            top, bottom = self._strip(y + ROW_PX, "alerts" if rule == rules[0] else "", 10)
            self.fixed.append(FixedLine(LEFT_PX, bottom, self.right, bottom, Stroke(GRID, 0.8)))
            for alert in self.trajectory.alerts:
                if alert.rule == rule:
                    start, end = self._box(alert.start_s, alert.end_s)
                    self.timed.append(Box(start, end, top + 2.5, bottom - 2.5, ORANGE))
                    raised, end = self._box(alert.raised_s, alert.end_s)
                    self.timed.append(Box(raised, max(end, raised + 2 / self.per_s), top, bottom, ORANGE))
            y = bottom + 5
        if len(rules) > MOST_RULES_DRAWN:
            text = f"{phrasing.counted(len(rules) - MOST_RULES_DRAWN, 'more rule')}: see the table of alerts"
            self.fixed.append(Text(LEFT_PX + 2, y + 12, text, INK, TEXT_PX, outlined=True))
            y += ROW_PX
        return y + (_SPACE_PX if rules else 0)

    def _draw_parts(self, y: float) -> float:
        if len(self.series.parts) < 2:
            return y
        top, bottom = self._strip(y, "recordings")
        spans = [self._box(part.offset_s, part.offset_s + part.length_s) for part in self.series.parts]
        names = [
            fitted(part.recording, max((end - start) * self.per_s - 6, 0))
            for part, (start, end) in zip(self.series.parts, spans, strict=True)
        ]
        # Where one name does not fit, or is hardly left, all are numbers, which the table of recordings explains.
        short = any(
            len(name) < min(8, len(part.recording)) for name, part in zip(names, self.series.parts, strict=True)
        )
        labels = []
        for index, (start, end) in enumerate(spans):
            self.timed.append(Box(start, end, top, bottom, "none", edge=GREY))
            labels.append(self._span_label(start, end, bottom - 5, str(index + 1) if short else names[index]))
        self._add_group(labels, INK)
        return bottom + _SPACE_PX

    # Over everything

    def _event_labels(self, y: float) -> list[Label]:
        """Labels where all fit, else numbers, which the table of events explains."""
        first, last = self.axis.span
        inside = [(n, event) for n, event in enumerate(self.series.events, 1) if first <= event.time_s <= last]
        times = [event.time_s for _, event in inside]
        labels = self._labels_of(times, [fitted(event.label, _EVENT_LABEL_PX) or "event" for _, event in inside], y)
        self.numbered = any(label.row < 0 for label in labels)
        if self.numbered:
            labels = self._labels_of(times, [str(n) for n, _ in inside], y)
        used = max((label.row + 1 for label in labels), default=1)
        base = y + used * ROW_PX - 4
        return [Label(label.time, base, label.text, label.width, label.row) for label in labels]

    def _labels_of(self, times: Sequence[float], texts: Sequence[str], y: float) -> list[Label]:
        labels = [
            Label(self.axis.drawn(time), y, text, text_width(text)) for time, text in zip(times, texts, strict=True)
        ]
        return in_rows(labels, _EVENT_ROWS, self.per_s)

    def _draw_events(self, labels: Sequence[Label], plot: tuple[float, float], bottom: float) -> None:
        for label in labels:
            top = plot[0] - 6 - max(label.row, 0) * ROW_PX
            self.timed.append(Rule(label.time, top, bottom, Stroke(INK, 1.1, (3, 2))))
        self._add_group(labels, INK, rows=_EVENT_ROWS, row_height=ROW_PX)

    def _draw_breaks(self, plot: tuple[float, float], bottom: float) -> None:
        labels = []
        for piece in self.axis.pieces:
            if piece.cut:
                start, end = piece.drawn_s, piece.drawn_s + piece.length_s
                for at in (start, end):
                    self.timed.append(Rule(at, plot[0], bottom, Stroke(INK, 2.0, (1.5, 3.5))))
                text = f"{phrasing.duration(float(round(piece.end_s - piece.start_s)))} cut out"
                # Turned, a line takes its height.
                row = 0 if piece.length_s * self.per_s >= TEXT_PX + 4 else -1
                middle = (plot[0] + plot[1]) / 2
                labels.append(Label((start + end) / 2, middle, text, TEXT_PX, row, piece.length_s))
        self._add_group(labels, INK, rows=0)

    def _draw_axis(self, y: float, plot: tuple[float, float]) -> LabelGroup:
        self.fixed.append(FixedLine(LEFT_PX, y, self.right, y, Stroke(GREY)))
        labels = []
        for tick in self.axis.ticks(self.right - LEFT_PX):
            at = self.axis.drawn(tick.time_s)
            labels.append(Label(at, y + 4 + ROW_PX - 3, tick.text, text_width(tick.text)))
            if tick.date:
                labels.append(Label(at, y + 4 + ROW_PX - 3, tick.date, text_width(tick.date), 1))
        below = y + 4 + (3 if self.axis.several_days else 2) * ROW_PX
        self.fixed.append(Text((LEFT_PX + self.right) / 2, below, self.axis.title, INK, TEXT_PX, "middle"))
        return LabelGroup(tuple(labels), 1, -ROW_PX, INK, TEXT_PX)
