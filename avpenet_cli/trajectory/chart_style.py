"""What a chart's marks look like: sizes, colours and patterns, and the width of its text.

Lightness falls from bands to dots to the level, and states and gaps have patterns, so that all differ in greyscale.
"""

from __future__ import annotations

from avpenet_cli.report.figures.style import PALE_BLUE
from avpenet_cli.report.figures.wording import shorten, single_line, text_width_in
from avpenet_cli.trajectory.marks import Pattern

WIDTH_PX = 880.0
LEFT_PX = 84.0
RIGHT_PX = 84.0
TEXT_PX = 12.5
ROW_PX = 17.0
"""Height of a line of text."""
SPAN_PX = WIDTH_PX - LEFT_PX - RIGHT_PX
_PX_PER_IN = 96.0
_PT_PER_IN = 72.0

BAND = PALE_BLUE
LEVEL_BAND = "#a6c5e3"
DOT = "#37618f"
QUALITY = "#c9ced4"
RATER_DASHES: tuple[tuple[float, ...], ...] = ((), (8, 3), (2, 2.5), (9, 3, 2, 3), (4, 3))
MOST_RATERS_NAMED = len(RATER_DASHES)

GAP_NAMES = {
    "no_face": "no face",
    "no_audio": "no audio",
    "no_video": "no video",
}
"""Reasons of gaps in words."""
GAP_PATTERNS: dict[str, Pattern] = {
    "no_face": "rising",
    "no_audio": "falling",
    "no_video": "crossed",
    "between recordings": "dotted",
    "not recorded": "level",
}
STATE_FILLS: dict[str, tuple[str, Pattern]] = {
    "stable": ("#d3d8dd", ""),
    "rising": ("#f2b98a", "rising"),
    "falling": ("#b9d3ec", "falling"),
    "unstable": ("#f5e6a8", "crossed"),
    "indeterminate": ("none", ""),
}
"""Fill and pattern of each state."""


def gap_name(kind: str) -> str:
    """The reason of a gap in words."""
    return GAP_NAMES.get(kind, single_line(kind).replace("_", " "))


def text_width(text: str, size_px: float = TEXT_PX) -> float:
    """Width of a line of text, px."""
    return text_width_in(text, size_px * _PT_PER_IN / _PX_PER_IN) * _PX_PER_IN


def fitted(text: str, width_px: float, size_px: float = TEXT_PX) -> str:
    """A name on one line, shortened to `width_px`."""
    return shorten(text, width_px / _PX_PER_IN, size_px * _PT_PER_IN / _PX_PER_IN)
