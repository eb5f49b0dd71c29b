"""Error against the share of segments set aside."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from avpenet_cli.report.figures.style import (
    BLUE,
    BOTTOM_IN,
    DASH_DOT,
    DASHED,
    DOTTED,
    FULL_IN,
    GREY,
    INK,
    LEFT_IN,
    ORANGE,
    SOLID,
    Figure,
    drawn,
    finish,
    legend_above,
    name_y,
    note,
    numbers,
    padded,
    panel,
    sheet,
)
from avpenet_cli.report.figures.wording import joined, number, percent

_LOOKS = (
    (INK, SOLID, "o"),
    (BLUE, DASHED, "s"),
    (ORANGE, DASH_DOT, "^"),
    (BLUE, DOTTED, "D"),
    (INK, DASHED, "v"),
    (ORANGE, SOLID, "x"),
)
_MOST_IN_ALTERNATIVE = 12


@drawn
def risk_coverage(
    curves: Sequence[tuple[str, Sequence[tuple[float, float]]]], all_pairs: float, *, name: str = "risk-coverage"
) -> Figure:
    """Mean absolute error of the segments that remain, one line for each measure of quality.

    Args:
        curves: (measure, its points: share set aside [0, 1], mean absolute error in points); at most six are drawn.
        all_pairs: mean absolute error with nothing set aside, points; NaN where not computed.
        name: start of the figure's ids.
    """
    canvas = sheet(FULL_IN, 3.9)
    axes = panel(canvas, left=LEFT_IN, right=0.2, bottom=BOTTOM_IN, top=0.66)
    handles, labels = [], []
    shown = list(curves[: len(_LOOKS)])
    for (measure, points), (color, dash, marker) in zip(shown, _LOOKS, strict=False):
        share, error = numbers(list(points)).reshape(-1, 2).T
        line = axes.plot(
            100 * share, error, color=color, linestyle=dash, marker=marker, markersize=4.5, markevery=2, linewidth=1.5
        )[0]
        handles.append(line)
        labels.append(measure)
    handles.append(axes.axhline(all_pairs, color=GREY, linewidth=1.0))
    labels.append("nothing, or by chance")
    errors = numbers([error for _, points in shown for _, error in points] + [all_pairs])
    axes.set(xlim=(-2, 92), ylim=padded(errors, least=0.1))
    axes.set_xlabel("segments set aside (%)")
    name_y(axes, "mean absolute error (points)")
    legend_above(axes, handles, labels)
    if not shown or not np.isfinite(errors).any():
        note(axes, "no measure of quality varies")
    return finish(
        canvas,
        name,
        title="Error when segments of low quality are set aside",
        caption=(
            "Mean absolute error of the remaining segments when those of lowest quality are set aside, by each measure"
            " of quality. A line that falls: the measure finds segments with large errors. The thin line is the error"
            " of all segments; setting aside by chance would stay on it."
        ),
        alternative="; ".join(
            f"by {measure}: "
            + joined(
                [f"{percent(share)} set aside {number(error)}" for share, error in points[::4]], _MOST_IN_ALTERNATIVE
            )
            for measure, points in shown
        )
        or "Empty plot: no measure of quality varies.",
    )
