"""Lower part of the figure: which modality moved the score, deletion curves, facts and sanity checks."""

from __future__ import annotations

import math

import numpy as np
from matplotlib.axes import Axes

from avpenet_cli.explanation.explained import DeletionCurve, ExplainedSegment
from avpenet_cli.explanation.figure_layout import AXIS_IN, Block, text_block
from avpenet_cli.explanation.maps import LOWERS, RAISES
from avpenet_cli.explanation.wording import (
    check_line,
    fact_sentences,
    share_rows,
    shares_known,
)
from avpenet_cli.report.figures.style import BLUE, DASHED, GREY, INK, PALE_GREY, SMALL_PT, legend_above
from avpenet_cli.report.figures.wording import number, signed, text_width_in

_PANEL_IN = 1.05
_LEGEND_IN = 0.42
_BARS_IN = 1.35
_SCALE = (0.0, 10.0)


def shares_block(segment: ExplainedSegment, width_in: float) -> Block:
    """Bars from the score of quiet segments to that of the segment."""
    title = "What moved the score (points)"
    if not shares_known(segment.shares):
        return text_block(title, [f"Not computed: {segment.shares.reason or 'no reason was recorded'}."], width_in)
    labels = [name for name, _ in share_rows(segment)]
    left = 0.12 + max(text_width_in(label, SMALL_PT) for label in labels)
    inset = (left, 0.5)
    return Block(title, _BARS_IN, lambda axes: _draw_shares(axes, segment), above_in=0.1, below_in=AXIS_IN, inset=inset)


def _draw_shares(axes: Axes, segment: ExplainedSegment) -> None:
    rows = share_rows(segment)
    reached = lowest = highest = 0.0
    for place, (_, value) in enumerate(rows):
        if not math.isfinite(value):
            axes.text(reached, place, " not computed", va="center", fontsize=SMALL_PT, color=GREY)
            continue
        whole = place in (0, len(rows) - 1)
        start = 0.0 if whole else reached
        colour = (GREY if place == 0 else INK) if whole else RAISES if value >= 0 else LOWERS
        # Hatched where it lowers the score, so that the direction shows in black and white too.
        hatch = "////" if not whole and value < 0 else None
        axes.barh(place, value, left=start, height=0.62, color=colour, hatch=hatch, edgecolor="white", linewidth=0)
        end = start + value
        text = number(value) if whole else signed(value)
        axes.text(max(start, end) + 0.12, place, text, va="center", fontsize=SMALL_PT)
        if place < len(rows) - 1:
            axes.plot([end, end], [place + 0.31, place + 0.69], color=GREY, linewidth=0.8)
        reached, lowest, highest = end, min(lowest, start, end), max(highest, start, end)
    axes.set(ylim=(len(rows) - 0.5, -0.5), xlim=(min(_SCALE[0], lowest), max(_SCALE[1], highest)))
    axes.set_yticks(range(len(rows)), [name for name, _ in rows])
    axes.grid(axis="y", visible=False)
    axes.set_xlabel("score, 0 to 10", fontsize=SMALL_PT)


def curve_block(curve: DeletionCurve, frame: str) -> Block:
    """The score as parts are blanked: the most salient first, and in random order.

    Args:
        curve: of the audio, or of the one frame whose map was checked.
        frame: what this frame is called in the figure.
    """
    title = "Score as the audio is blanked"
    if curve.modality == "face":
        title = f"Score as the face of {frame} is blurred"
    return Block(
        title,
        _PANEL_IN,
        lambda axes: _draw_curve(axes, curve),
        above_in=_LEGEND_IN,
        below_in=AXIS_IN,
        inset=(0.45, 0.12),
    )


def _draw_curve(axes: Axes, curve: DeletionCurve) -> None:
    share = 100 * np.array(curve.share)
    spread = axes.fill_between(share, curve.random_low, curve.random_high, color=PALE_GREY, linewidth=0)
    (random,) = axes.plot(share, curve.random, color=GREY, linestyle=DASHED, linewidth=1.4)
    (salient,) = axes.plot(share, curve.score, color=BLUE, linewidth=1.8)
    values = [*curve.score, *curve.random_low, *curve.random_high]
    middle, half = (max(values) + min(values)) / 2, max(0.56 * (max(values) - min(values)), 0.25)
    axes.set(xlim=(0, share[-1]), ylim=(middle - half, middle + half))
    axes.locator_params(axis="both", nbins=4)
    axes.set_xlabel("share blanked (%)", fontsize=SMALL_PT)
    legend_above(axes, [salient, (spread, random)], ["most salient first", "random, and range"])


def facts_block(segment: ExplainedSegment, width_in: float) -> Block:
    """What was measured without the network."""
    return text_block("Measured without the network", fact_sentences(segment.facts), width_in)


def checks_block(segment: ExplainedSegment, width_in: float, frame: str) -> Block:
    """Outcome of the sanity checks; those of the face are made on `frame` alone."""
    sentences = [check_line(check, frame) for check in segment.checks] or ["No check was made."]
    return text_block("Sanity checks of the maps", [*sentences, "Attention is not checked."], width_in)
