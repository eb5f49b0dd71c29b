"""The legend of a chart: what occurs in it, in rows above it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from avpenet_cli.report.figures.style import BLUE, GREY, INK, ORANGE, PALE_GREY
from avpenet_cli.trajectory.chart_style import (
    BAND,
    DOT,
    GAP_PATTERNS,
    LEVEL_BAND,
    MOST_RATERS_NAMED,
    RATER_DASHES,
    ROW_PX,
    STATE_FILLS,
    TEXT_PX,
    WIDTH_PX,
    fitted,
    gap_name,
    text_width,
)
from avpenet_cli.trajectory.marks import Fixed, FixedBox, FixedDot, FixedLine, FixedSymbol, Pattern, Shape, Stroke, Text

_SIGN_PX = 26.0
_SPACE_PX = 20.0
_RATER_PX = 170.0


@dataclass(frozen=True)
class Entry:
    """An entry: a line, dot, box or symbol with its text."""

    text: str
    line: Stroke | None = None
    dot: str = ""
    box: tuple[str, Pattern, str] | None = None
    symbol: Shape | None = None
    colour: str = INK


@dataclass(frozen=True)
class Contents:
    """What occurs in a chart.

    Attributes:
        scores, band, level, peaks, changes, events, moments: whether there are any; moments are ratings of one moment.
        raters: names.
        gaps, states: kinds.
    """

    scores: bool
    band: bool
    level: bool
    peaks: bool
    changes: bool
    events: bool
    moments: bool
    raters: Sequence[str]
    gaps: Sequence[str]
    states: Sequence[str]


def entries(contents: Contents) -> list[Entry]:
    """The entries of a legend."""
    candidates = [
        (contents.scores, Entry("score of a segment", dot=DOT)),
        (contents.band, Entry("its Monte Carlo samples, 95 %", box=(BAND, "", ""))),
        (contents.level, Entry("smoothed level", line=Stroke(BLUE, 2.2))),
        (contents.level, Entry("its 95 % interval", box=(LEVEL_BAND, "", ""))),
        (contents.peaks, Entry("peak of the level", symbol="peak")),
        (contents.changes, Entry("change of the level", symbol="diamond")),
        (contents.changes, Entry("its 95 % interval", box=(LEVEL_BAND, "", GREY))),
        (contents.events, Entry("event", line=Stroke(INK, 1.1, (3, 2)))),
    ]
    found = [entry for present, entry in candidates if present]
    if len(contents.raters) <= MOST_RATERS_NAMED:
        for rater, dashes in zip(contents.raters, RATER_DASHES, strict=False):
            name = fitted(rater, _RATER_PX)
            text = f"rating: {name}" if name else "rating"
            found.append(Entry(text, line=Stroke(ORANGE, 2.0, dashes)))
    else:
        found.append(Entry(f"{len(contents.raters)} raters", line=Stroke(ORANGE, 2.0)))
    if contents.moments:
        found.append(Entry("rating of one moment", symbol="cross", colour=ORANGE))
    found += [Entry(gap_name(kind), box=(PALE_GREY, GAP_PATTERNS.get(kind, ""), "")) for kind in contents.gaps]
    for kind in contents.states:
        fill, pattern = STATE_FILLS[kind]
        found.append(Entry(kind, box=(fill, pattern, GREY)))
    return found


def _placed(found: Sequence[Entry]) -> list[tuple[float, int, Entry]]:
    """Left edge and row of each entry."""
    x, row, placed = 2.0, 0, []
    for entry in found:
        width = _SIGN_PX + 6 + text_width(entry.text)
        if x > 2 and x + width > WIDTH_PX - 2:
            x, row = 2.0, row + 1
        placed.append((x, row, entry))
        x += width + _SPACE_PX
    return placed


def legend_height(found: Sequence[Entry]) -> float:
    """Height of a legend, px."""
    return (max((row for _, row, _ in _placed(found)), default=-1) + 1) * (ROW_PX + 2)


def draw_legend(found: Sequence[Entry]) -> list[Fixed]:
    """The marks of a legend at the top of a chart."""
    marks: list[Fixed] = []
    for x, row, entry in _placed(found):
        y = row * (ROW_PX + 2) + 9
        if entry.line is not None:
            marks.append(FixedLine(x, y, x + _SIGN_PX, y, entry.line))
        if entry.dot:
            marks += [FixedDot(x + at, y + up, 4.0, entry.dot) for at, up in ((5, 2), (13, -3), (21, 1))]
        if entry.box is not None:
            marks.append(FixedBox(x, y - 6, _SIGN_PX, 12, *entry.box))
        if entry.symbol is not None:
            marks.append(
                FixedSymbol(x + _SIGN_PX / 2, y + (5 if entry.symbol == "peak" else 0), entry.symbol, entry.colour)
            )
        marks.append(Text(x + _SIGN_PX + 6, y + 4.4, entry.text, INK, TEXT_PX))
    return marks
