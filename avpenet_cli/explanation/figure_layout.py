"""Columns of blocks for the figure of a segment: panels with a title, or text in their place, one below the other."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes

from avpenet_cli.report.figures.style import GREY, INK, SMALL_PT, Sheet, panel
from avpenet_cli.report.figures.wording import single_line, text_width_in

TITLE_IN = 0.25
LINE_IN = 0.175
GAP_IN = 0.14
AXIS_IN = 0.42
"""Room for tick labels and the name of a horizontal axis."""


@dataclass(frozen=True)
class Block:
    """A part of a column.

    Attributes:
        title: of what is drawn, one line.
        height_in: of the panel, without its title; of the lines where there are some.
        draw: draws into the panel's axes; None where lines stand in its place.
        lines: text, already wrapped.
        above_in: room between the title and the panel, for a legend.
        below_in: room below the panel, for a horizontal axis of its own.
        inset: left and right margins of the panel within the column, inches.
    """

    title: str
    height_in: float
    draw: Callable[[Axes], None] | None = None
    lines: tuple[str, ...] = ()
    above_in: float = 0.0
    below_in: float = 0.0
    inset: tuple[float, float] = (0.0, 0.0)

    @property
    def total_in(self) -> float:
        """Height with title, axis and the gap that follows."""
        return TITLE_IN * bool(self.title) + self.above_in + self.height_in + self.below_in + GAP_IN


def text_block(title: str, paragraphs: Sequence[str], width_in: float) -> Block:
    """Paragraphs of text, wrapped to the width of the column."""
    lines = tuple(line for text in paragraphs for line in wrapped(text, width_in))
    return Block(title, LINE_IN * len(lines), lines=lines)


def wrapped(text: str, width_in: float, size_pt: float = SMALL_PT) -> list[str]:
    """Lines of at most `width_in` inches; longer words are cut."""
    lines: list[str] = []
    for word in single_line(text).split(" "):
        rest = word
        if lines and text_width_in(f"{lines[-1]} {rest}", size_pt) <= width_in:
            lines[-1] += f" {rest}"
            continue
        while text_width_in(rest, size_pt) > width_in and len(rest) > 1:
            fits = next(n for n in range(len(rest), 0, -1) if n == 1 or text_width_in(rest[:n], size_pt) <= width_in)
            lines.append(rest[:fits])
            rest = rest[fits:]
        lines.append(rest)
    return lines


def height_of(blocks: Sequence[Block]) -> float:
    """Height of a column, inches."""
    return sum(block.total_in for block in blocks)


def write(canvas: Sheet, text: str, left_in: float, top_in: float, *, bold: bool = False, color: str = INK) -> None:
    """One line of small text; its upper left corner is given in inches from that of the sheet."""
    width, height = canvas.get_size_inches()
    weight = "bold" if bold else "normal"
    canvas.text(left_in / width, 1 - top_in / height, text, va="top", fontsize=SMALL_PT, fontweight=weight, color=color)


def place(canvas: Sheet, blocks: Sequence[Block], left_in: float, top_in: float, width_in: float) -> None:
    """Draw a column.

    Args:
        canvas: the sheet.
        blocks: from top to bottom.
        left_in, top_in: of the column's upper left corner, inches from that of the sheet.
        width_in: of the column.
    """
    sheet_width, sheet_height = (float(side) for side in canvas.get_size_inches())
    for block in blocks:
        if block.title:
            write(canvas, block.title, left_in, top_in, bold=True)
        top = top_in + TITLE_IN * bool(block.title) + block.above_in
        if block.draw is not None:
            axes = panel(
                canvas,
                left=left_in + block.inset[0],
                right=sheet_width - left_in - width_in + block.inset[1],
                top=top,
                bottom=sheet_height - top - block.height_in,
            )
            block.draw(axes)
        for number, line in enumerate(block.lines):
            write(canvas, line, left_in, top + LINE_IN * number, color=INK if block.title else GREY)
        top_in += block.total_in
