"""Charts of series as one PNG, one above the other, with what a reader must know first and how to read each."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import matplotlib.image
import numpy as np

from avpenet_cli.report.figures.style import INK, PX_PER_IN, Sheet, drawn, sheet
from avpenet_cli.report.figures.wording import in_sentence, joined, single_line
from avpenet_cli.storage import atomic_write
from avpenet_cli.trajectory.analysed import Trajectory
from avpenet_cli.trajectory.chart_png import png
from avpenet_cli.trajectory.chart_style import ROW_PX, SPAN_PX, TEXT_PX, WIDTH_PX, fitted, text_width
from avpenet_cli.trajectory.drawing import draw
from avpenet_cli.trajectory.marks import Chart
from avpenet_cli.trajectory.time_axis import time_axis

ARCHIVE = "Alerts are for reviewing archives, not for watching a patient."
SCALE = 2
"""Pixels of the file for one of a chart."""
_MARGIN_PX = 16.0
_TITLE_PX = 16.0
_TITLE_ROW_PX = 28.0
_MOST_LISTED = 30
_BOLD = 1.2
"""Bold text is at most so many times wider."""
_PT = 72 / PX_PER_IN


def write_picture(path: Path, trajectories: Sequence[Trajectory], notices: Sequence[str] = ()) -> None:
    """Write a PNG, readable by its owner only.

    Args:
        trajectories: in order; at most `run.MOST_SERIES`.
        notices: what a reader must know first; those of the series stand below their charts.

    Raises:
        EnvironmentUnavailableError, OutputError: it cannot be written.
    """
    canvas = picture(trajectories, notices)
    with atomic_write(path) as file:
        canvas.savefig(file, format="png", dpi=canvas.dpi, metadata={"Software": None})


@drawn
def picture(trajectories: Sequence[Trajectory], notices: Sequence[str] = ()) -> Sheet:
    """The charts on one sheet of `SCALE` pixels to a px; arguments as of `write_picture`."""
    charts = [draw(trajectory) for trajectory in trajectories]
    if any(trajectory.alerts for trajectory in trajectories):
        notices = [*notices, ARCHIVE]
    head = [line for notice in notices for line in wrapped(notice)]
    below = [_below(chart, trajectory) for chart, trajectory in zip(charts, trajectories, strict=True)]
    heights = [
        _TITLE_ROW_PX + chart.height + (len(lines) + 1.5) * ROW_PX for chart, lines in zip(charts, below, strict=True)
    ]
    width = WIDTH_PX + 2 * _MARGIN_PX
    height = float(np.ceil(sum(heights) + (len(head) + 0.5) * ROW_PX + 2 * _MARGIN_PX))
    canvas = sheet(width / PX_PER_IN, height / PX_PER_IN)
    canvas.set_dpi(PX_PER_IN * SCALE)
    canvas.set_facecolor("white")
    y = _write_lines(canvas, head, _MARGIN_PX) + 0.5 * ROW_PX
    for trajectory, chart, lines, taken in zip(trajectories, charts, below, heights, strict=True):
        title = fitted(trajectory.series.name, WIDTH_PX / _BOLD, _TITLE_PX) or "Scores over time"
        _write(canvas, title, y + _TITLE_PX, _TITLE_PX, bold=True)
        image = matplotlib.image.imread(io.BytesIO(png(chart, SCALE)))
        bottom = round((height - y - _TITLE_ROW_PX) * SCALE) - image.shape[0]
        canvas.figimage(image, round(_MARGIN_PX * SCALE), bottom, origin="upper")
        _write_lines(canvas, lines, y + _TITLE_ROW_PX + chart.height + 0.3 * ROW_PX)
        y += taken
    return canvas


def wrapped(text: str) -> list[str]:
    """Text in lines as wide as a chart at most; a longer word is shortened."""
    lines = [""]
    for word in (fitted(word, WIDTH_PX) for word in single_line(text).split()):
        longer = f"{lines[-1]} {word}".strip()
        if lines[-1] and text_width(longer) > WIDTH_PX:
            lines.append(word)
        else:
            lines[-1] = longer
    return lines


def _below(chart: Chart, trajectory: Trajectory) -> list[str]:
    """The lines below a chart: how to read it, what its numbers stand for, notices."""
    series, axis = trajectory.series, time_axis(trajectory.series, SPAN_PX)
    texts = [chart.caption]
    if series.events:
        events = enumerate(series.events, 1)
        listed = [f"{place} {in_sentence(event.label)} ({axis.when(event.time_s)})" for place, event in events]
        texts.append(f"Events: {joined(listed, _MOST_LISTED)}.")
    if len(series.parts) > 1:
        listed = [f"{place} {in_sentence(part.recording)}" for place, part in enumerate(series.parts, 1)]
        texts.append(f"Recordings: {joined(listed, _MOST_LISTED)}.")
    # The caption says why there is no level.
    notices = [notice for notice in trajectory.notices if notice != f"no level: {trajectory.level.reason}"]
    texts += [f"{notice[:1].upper()}{notice[1:]}." for notice in notices]
    return [line for text in texts for line in wrapped(text)]


def _write_lines(canvas: Sheet, lines: Sequence[str], y: float) -> float:
    """Write lines of text from `y` px down; returns where they end."""
    for line in lines:
        _write(canvas, line, y + 0.75 * ROW_PX, TEXT_PX)
        y += ROW_PX
    return y


def _write(canvas: Sheet, text: str, baseline: float, size: float, *, bold: bool = False) -> None:
    width, height = canvas.get_size_inches() * PX_PER_IN
    weight = "bold" if bold else "normal"
    x, y = _MARGIN_PX / width, 1 - baseline / height
    canvas.text(x, y, text, fontsize=size * _PT, color=INK, fontweight=weight, va="baseline")
