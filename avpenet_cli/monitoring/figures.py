"""Drawn control charts: the patients' means above, the moving average with its limits below."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes

from avpenet_cli.monitoring.document import Chart, PeriodKind
from avpenet_cli.monitoring.measures import INDEX, MEASURES
from avpenet_cli.monitoring.periods import PLURALS
from avpenet_cli.phrasing import counted
from avpenet_cli.report.figures.style import (
    BLUE,
    DASHED,
    GREY,
    HALF_IN,
    INK,
    ORANGE,
    PALE_BLUE,
    SMALL_PT,
    Figure,
    FloatArray,
    drawn,
    finish,
    padded,
    panel,
    sheet,
)

_HEIGHT_IN = 3.1
_MOST_LABELS, _SHORT = 3, 7
"""Labels of an axis: so many of at most so many characters, otherwise two."""
_MARGIN = 0.05
"""Of the axis, beyond what is possible."""
_SIGNAL = {"marker": "D", "color": ORANGE, "markersize": 5.0, "linestyle": "none", "zorder": 5}


@drawn
def control_chart(chart: Chart, kind: PeriodKind, *, name: str) -> Figure:
    """One chart.

    Args:
        chart: to draw; shares are drawn in percent.
        kind: of its periods.
        name: start of the figure's ids.
    """
    scale = 100.0 if chart.unit == "%" else 1.0
    places = np.arange(len(chart.points), dtype=np.float64)
    mean, statistic, lower, upper = (
        np.array([getattr(point, part) for point in chart.points], dtype=np.float64)
        for part in ("mean", "statistic", "lower", "upper")
    )
    signal = np.array([point.signal for point in chart.points])
    canvas = sheet(HALF_IN, _HEIGHT_IN)
    values = panel(canvas, left=0.72, right=0.12, bottom=1.92, top=0.1)
    averages = panel(canvas, left=0.72, right=0.12, bottom=0.42, top=1.4)
    _draw_means(values, places, scale * mean, signal, chart, scale)
    _draw_average(averages, places, statistic, lower, upper, signal)
    for axes in (values, averages):
        axes.set_xlim(-0.6, max(len(places) - 0.4, 0.6))
        most = _MOST_LABELS if all(len(point.period) <= _SHORT for point in chart.points) else 2
        shown = np.unique(np.linspace(0, len(places) - 1, min(len(places), most)).round().astype(int))
        axes.set_xticks(shown, [chart.points[place].period[:12] for place in shown] if axes is averages else [])
        labels = axes.get_xticklabels()
        # The outer ones would reach into the neighbouring figure.
        if len(labels) > 1:
            labels[0].set_horizontalalignment("left")
            labels[-1].set_horizontalalignment("right")
    where = f", {chart.column} {chart.level}" if chart.level else ""
    patients = sum(point.patients for point in chart.points)
    beyond = [point.period for point in chart.points if point.signal]
    outcome = (
        f"Beyond a limit in {counted(len(beyond), kind, PLURALS[kind])}, first {beyond[0]}."
        if beyond
        else "Never beyond a limit."
    )
    against = "all baseline patients" if chart.compared_with == "all" else "those of the baseline"
    caption = (
        f"Above: patients' means in each {kind}. Below: moving average of their ranks among "
        f"{counted(chart.baseline_patients, 'baseline patient')}. {outcome}"
    )
    return finish(
        canvas,
        name,
        title=f"{chart.label[0].upper()}{chart.label[1:]}{where}",
        caption=caption,
        alternative=f"{chart.label}{where}: {counted(patients, 'patient')} compared with {against}. {outcome}",
    )


def _draw_means(
    axes: Axes,
    places: FloatArray,
    mean: FloatArray,
    signal: npt.NDArray[np.bool_],
    chart: Chart,
    scale: float,
) -> None:
    low, high = scale * chart.baseline_low, scale * chart.baseline_high
    axes.axhspan(low, high, facecolor=PALE_BLUE, zorder=1)
    axes.axhline(scale * chart.baseline_mean, color=GREY, linewidth=0.9, zorder=2)
    axes.plot(places, mean, color=BLUE, marker="o", markersize=3.5, linewidth=0.9, zorder=3)
    axes.plot(places[signal], mean[signal], **_SIGNAL)  # type: ignore[arg-type]
    least = {"%": 2.0, "points": 0.3, "dB": 1.0, "dBFS": 1.0, "px": 2.0}.get(chart.unit, 0.02)
    bottom, top = padded(np.concatenate([mean, [low, high]]), least=least)
    # A marker's breadth beyond what is possible, so that no tick stands there.
    smallest, largest = (scale * end for end in MEASURES[INDEX[chart.measure]].bounds)
    margin = _MARGIN * (top - bottom)
    axes.set_ylim(max(bottom, smallest - margin), min(top, largest + margin))
    axes.set_ylabel(chart.unit or "value", fontsize=SMALL_PT)
    axes.yaxis.set_label_coords(-0.18, 0.5)


def _draw_average(
    axes: Axes,
    places: FloatArray,
    statistic: FloatArray,
    lower: FloatArray,
    upper: FloatArray,
    signal: npt.NDArray[np.bool_],
) -> None:
    axes.axhline(0.0, color=GREY, linewidth=0.9, zorder=1)
    known = np.isfinite(lower)
    for limit in (lower, upper):
        axes.plot(places[known], limit[known], color=INK, linestyle=DASHED, linewidth=0.9, zorder=2)
    axes.plot(places, statistic, color=BLUE, marker="o", markersize=3.5, linewidth=0.9, zorder=3)
    axes.plot(places[signal], statistic[signal], **_SIGNAL)  # type: ignore[arg-type]
    axes.set_ylim(*padded(np.concatenate([statistic, lower, upper]), least=0.1))
    axes.set_ylabel("average rank", fontsize=SMALL_PT)
    axes.yaxis.set_label_coords(-0.18, 0.5)
