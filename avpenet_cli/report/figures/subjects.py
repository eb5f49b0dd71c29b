"""Mean error of each subject."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes

from avpenet_cli.report.figures.style import (
    BLUE,
    BOTTOM_IN,
    DASHED,
    FULL_IN,
    GREY,
    INK,
    LEFT_IN,
    ORANGE,
    PALE_BLUE,
    SMALL_PT,
    Figure,
    FloatArray,
    Interval,
    Sheet,
    drawn,
    finish,
    name_y,
    note,
    numbers,
    padded,
    panel,
    sheet,
)
from avpenet_cli.report.figures.wording import (
    count,
    counted,
    in_sentence,
    interval,
    joined,
    number,
    shorten,
    signed,
)

MOST_NAMED = 60
NAMED_PER_PANEL = 30
MOST_WHISKERS = 600


@drawn
def subject_strip(
    subject_names: Sequence[str],
    mean_d: npt.ArrayLike,
    sd_d: npt.ArrayLike,
    n: npt.ArrayLike,
    *,
    bias: float,
    loa: Interval,
    name: str = "subject-strip",
) -> Figure:
    """Mean error of each subject with its SD, sorted by mean; names up to 60 subjects, ranks beyond.

    Args:
        subject_names: (subjects,).
        mean_d: (subjects,) mean of d, points; subjects with NaN are omitted and counted in the caption.
        sd_d: (subjects,) SD of d within the subject, points; NaN (one pair) draws no whisker.
        n: (subjects,) number of pairs.
        bias: mean of d, points; NaN where not computed.
        loa: limits of agreement, points; NaN where not computed.
        name: start of the figure's ids.

    Raises:
        ValueError: arrays of different lengths.
    """
    mean, sd, pairs = numbers(mean_d), numbers(sd_d), numbers(n)
    if not len(subject_names) == mean.size == sd.size == pairs.size:
        raise ValueError("names, means, SDs and numbers of pairs differ in length")
    order = np.argsort(mean, kind="stable")
    order = order[np.isfinite(mean[order])]
    missing = mean.size - order.size
    names, mean, sd, pairs = [subject_names[index] for index in order], mean[order], sd[order], pairs[order]
    span = padded(np.concatenate([mean - np.nan_to_num(sd), mean + np.nan_to_num(sd), [0.0, bias, *loa]]))
    few = len(names) <= MOST_NAMED
    canvas = _named_strip(names, mean, sd, span, bias, loa) if few else _ranked_strip(mean, sd, span, bias, loa)
    return finish(
        canvas,
        name,
        title="Mean error of each subject",
        caption=_caption(names, mean, bias, loa)
        + (f" {counted(missing, 'subject')} without a pair not drawn." if missing else ""),
        alternative=_alternative(names, mean, sd, pairs),
    )


def _caption(names: Sequence[str], mean: FloatArray, bias: float, loa: Interval) -> str:
    if not names:
        return "There are no subjects with pairs."
    few = len(names) <= MOST_NAMED
    whiskers = (
        "Light area: ± one standard deviation, the widest where several subjects share a column."
        if len(names) > MOST_WHISKERS
        else "Whiskers: ± one standard deviation of the subject's errors."
    )
    text = (
        f"{'Each dot is' if few else 'From left to right:'} a subject's mean of score minus rating, sorted."
        f" {whiskers} Solid line: mean difference of all ({signed(bias)} points); dashed: limits of agreement"
        f" ({interval(*loa)})."
    )
    if np.isfinite(loa).all():
        outside = int(((mean < loa[0] - 1e-9) | (mean > loa[1] + 1e-9)).sum())
        text += f" Beyond a limit of agreement: {count(outside)} of {counted(len(names), 'subject')}."
    if not few:
        ends = [f"{in_sentence(name)} {signed(value)}" for name, value in zip(names, mean, strict=True)]
        text += f" Lowest: {', '.join(ends[:3])}; highest: {', '.join(ends[:-4:-1])}."
    return text


def _alternative(names: Sequence[str], mean: FloatArray, sd: FloatArray, pairs: FloatArray) -> str:
    if not names:
        return "Empty plot: there are no subjects with pairs."
    text = (
        f"{counted(len(names), 'subject')}; mean errors from {signed(mean[0])} to {signed(mean[-1])} points, median"
        f" {signed(float(np.median(mean)))}."
    )
    if len(names) > MOST_NAMED:
        return text
    each = [
        f"{in_sentence(name)} {signed(value)} (SD {number(spread)}, n = {count(size)})"
        for name, value, spread, size in zip(names, mean, sd, pairs, strict=True)
    ]
    return f"{text} {joined(each, MOST_NAMED)}."


def _named_strip(
    names: Sequence[str], mean: FloatArray, sd: FloatArray, span: Interval, bias: float, loa: Interval
) -> Sheet:
    """A row for each subject, in two panels where one would be taller than half a page."""
    panels = 1 if len(names) <= NAMED_PER_PANEL else 2
    rows = max(-(-len(names) // panels), 3)
    height = rows * 0.19 + 0.2
    canvas = sheet(FULL_IN, height + 0.66)
    width = FULL_IN / panels
    name_in = min(2.2, width * 0.42)
    for index in range(panels):
        here = slice(index * rows, (index + 1) * rows)
        left = index * width
        axes = panel(canvas, left=left + name_in, right=FULL_IN - left - width + 0.16, bottom=BOTTOM_IN, top=0.12)
        place = np.arange(rows)[: len(names[here])]
        _reference_lines(axes, bias, loa, upright=True)
        axes.hlines(place, (mean - sd)[here], (mean + sd)[here], color=GREY, linewidth=1.3)
        axes.plot(mean[here], place, "o", color=INK, markersize=5)
        axes.set(xlim=span, ylim=(rows - 0.4, -0.6))
        axes.set_yticks(place, [shorten(name, name_in - 0.16, SMALL_PT) for name in names[here]])
        axes.tick_params(axis="y", length=0)
        axes.set_xlabel("score minus rating (points)" if panels == 1 else "mean error (points)")
        if not names:
            note(axes, "no subjects with pairs")
    return canvas


def _ranked_strip(mean: FloatArray, sd: FloatArray, span: Interval, bias: float, loa: Interval) -> Sheet:
    canvas = sheet(FULL_IN, 3.6)
    axes = panel(canvas, left=LEFT_IN, right=0.2, bottom=BOTTOM_IN, top=0.14)
    rank = np.arange(1, mean.size + 1, dtype=np.float64)
    _reference_lines(axes, bias, loa, upright=False)
    if mean.size <= MOST_WHISKERS:
        axes.vlines(rank, mean - sd, mean + sd, color=GREY, linewidth=0.8)
        axes.plot(rank, mean, "o", color=INK, markersize=2.6, markeredgewidth=0)
    else:
        # Thousands of whiskers would be megabytes of solid colour; the extremes per column keep every outlier.
        starts = np.unique(np.linspace(0, mean.size, MOST_WHISKERS, endpoint=False).astype(np.intp))
        spread = np.nan_to_num(sd)
        low, high = np.minimum.reduceat(mean - spread, starts), np.maximum.reduceat(mean + spread, starts)
        left, low, high = np.append(rank[starts], rank[-1]), np.append(low, low[-1]), np.append(high, high[-1])
        axes.fill_between(left, low, high, step="post", facecolor=PALE_BLUE, edgecolor=BLUE, linewidth=0.4)
        axes.plot(rank, mean, color=INK, linewidth=2.0)
    axes.set(xlim=(1 - 0.01 * mean.size, 1.01 * mean.size), ylim=span)
    axes.set_xlabel("subjects, by their mean error (rank)")
    name_y(axes, "score minus rating (points)")
    return canvas


def _reference_lines(axes: Axes, bias: float, loa: Interval, *, upright: bool) -> None:
    draw = axes.axvline if upright else axes.axhline
    draw(0.0, color=GREY, linewidth=0.9, zorder=1)
    for value, color, dashes in ((bias, BLUE, "-"), (loa[0], ORANGE, DASHED), (loa[1], ORANGE, DASHED)):
        if math.isfinite(value):
            draw(value, color=color, linestyle=dashes, linewidth=1.5, zorder=2)
