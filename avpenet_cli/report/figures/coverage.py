"""How much of the recorded time was scored, and why the rest was not."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from avpenet_cli.report.figures.style import (
    BLUE,
    BOTTOM_IN,
    FULL_IN,
    INK,
    PALE_ORANGE,
    SMALL_PT,
    Figure,
    drawn,
    finish,
    note,
    numbers,
    panel,
    sheet,
)
from avpenet_cli.report.figures.wording import UNKNOWN, in_sentence, number, percent, shorten


@drawn
def balance(parts: Sequence[tuple[str, float]], *, recorded: bool = True, name: str = "balance") -> Figure:
    """A bar for each part of the recorded seconds: scored first, then lost by reason.

    Args:
        parts: (label, seconds >= 0), "scored" first; NaN is written "not computed".
        recorded: whether they are all of the recorded time, otherwise the time of the tables' segments.
        name: start of the figure's ids.
    """
    labels = [in_sentence(label) for label, _ in parts]
    seconds = numbers([value for _, value in parts])
    whole = float(np.nansum(seconds))
    shares = [value / whole if whole > 0 else math.nan for value in seconds.tolist()]
    beside = [f"{duration(value)} ({percent(share, 1)})" for value, share in zip(seconds, shares, strict=True)]
    rows = max(len(parts), 2)
    canvas = sheet(FULL_IN, rows * 0.34 + 0.68)
    axes = panel(canvas, left=2.0, right=1.75, bottom=BOTTOM_IN, top=0.1)
    place = np.arange(len(parts))
    widths = 100 * np.nan_to_num(np.array(shares))
    colors = [BLUE, *[PALE_ORANGE] * (len(parts) - 1)][: len(parts)]
    # The edge keeps even a few seconds of a thousand hours visible.
    axes.barh(place, widths, height=0.66, color=colors, edgecolor=INK, linewidth=0.9)
    axes.set(xlim=(0, 100), ylim=(rows - 0.4, -0.6))
    axes.set_yticks(place, [shorten(label, 1.82, SMALL_PT) for label, _ in parts])
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="y", visible=False)
    axes.set_xlabel(f"share of the {'recorded seconds' if recorded else 'seconds in the tables'} (%)")
    for row, text in enumerate(beside):
        axes.annotate(
            text,
            xy=(1.0, row),
            xycoords=("axes fraction", "data"),
            xytext=(8, 0),
            textcoords="offset points",
            va="center",
            fontsize=SMALL_PT,
            annotation_clip=False,
        )
    if not whole > 0:
        note(axes, "no seconds recorded")
    made = f"{duration(whole)} {'were recorded' if recorded else 'are in the tables'}"
    listed = "; ".join(f"{label} {text}" for label, text in zip(labels, beside, strict=True))
    return finish(
        canvas,
        name,
        title="Balance of seconds",
        caption=(
            f"{made}. First bar: time with a score; other bars: time without one, by reason."
            if parts
            else "No seconds were recorded."
        ),
        alternative=f"{made}: {listed}." if parts else "Empty plot: no seconds were recorded.",
    )


def duration(seconds: float) -> str:
    """42 as "42.0 s"; 600 as "10.0 min"; 7200 as "2.0 h"; NaN as "not computed"."""
    if not math.isfinite(seconds):
        return UNKNOWN
    if seconds < 120:
        return f"{number(seconds, 1)} s"
    return f"{number(seconds / 60, 1)} min" if seconds < 7200 else f"{seconds / 3600:,.1f} h"
