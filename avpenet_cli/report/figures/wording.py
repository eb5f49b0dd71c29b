"""Numbers and names for figures: safe in SVG, with known widths."""

from __future__ import annotations

import functools
import hashlib
import math
import unicodedata
from collections.abc import Sequence

from matplotlib.font_manager import findfont
from matplotlib.ft2font import FT2Font

from avpenet_cli.phrasing import MINUS, printable

PT_PER_IN = 72.0
ELLIPSIS = "\N{HORIZONTAL ELLIPSIS}"
THIN_SPACE = "\N{THIN SPACE}"
PERCENT = "\N{NO-BREAK SPACE}%"
UNKNOWN = "not computed"

# Line and paragraph separators, and characters that XML does not allow.
_NOT_IN_SVG = str.maketrans("\u2028\u2029\ufffe\uffff", "  \N{REPLACEMENT CHARACTER}\N{REPLACEMENT CHARACTER}")


def single_line(text: str) -> str:
    """A name on a single line that is valid in XML: no control characters, no unpaired surrogates."""
    return printable(text).translate(_NOT_IN_SVG)


@functools.cache
def _font() -> FT2Font:
    font = FT2Font(findfont("DejaVu Sans"))
    font.set_size(PT_PER_IN, PT_PER_IN)
    return font


@functools.lru_cache(maxsize=4096)
def _advance_em(character: str) -> float:
    if unicodedata.combining(character) or unicodedata.category(character) == "Cf":
        return 0.0
    font = _font()
    if not font.get_char_index(ord(character)):
        return 1.0  # drawn with another font; ideographs and emoji are an em wide
    return float(font.load_char(ord(character)).linearHoriAdvance) / 65536 / PT_PER_IN


def text_width_in(text: str, size_pt: float) -> float:
    """Width of a line in DejaVu Sans, inches; its replacement fonts are not wider."""
    return sum(map(_advance_em, text)) * size_pt / PT_PER_IN


def shorten(text: str, width_in: float, size_pt: float) -> str:
    """A name as `single_line` gives it, shortened in the middle to `width_in` inches: names differ at their ends."""
    text = single_line(text)
    if text_width_in(text, size_pt) <= width_in:
        return text
    keep = len(text) - 1
    while keep > 2:
        head = (keep + 1) // 2
        candidate = text[:head].rstrip() + ELLIPSIS + text[len(text) - (keep - head) :].lstrip()
        if text_width_in(candidate, size_pt) <= width_in:
            return candidate
        keep -= 1
    return text[:1] + ELLIPSIS


def identifier(kind: str, text: str) -> str:
    """A name for a figure of `kind` that is unique for `text` and valid as an id."""
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
    return f"{kind}-{digest[:12]}"


def number(value: float, decimals: int = 2) -> str:
    """`-2.1` as "−2.10"; NaN as "not computed"."""
    if not math.isfinite(value):
        return UNKNOWN
    return f"{round(value, decimals) + 0.0:.{decimals}f}".replace("-", MINUS)


def signed(value: float, decimals: int = 2) -> str:
    """A number with its sign: "+0.25"."""
    text = number(value, decimals)
    return f"+{text}" if math.isfinite(value) and round(value, decimals) > 0 else text


def in_sentence(name: str) -> str:
    """A name for a sentence; text written from right to left is isolated, or it would reorder the numbers after it."""
    name = single_line(name)
    turns = any(unicodedata.bidirectional(character) in {"R", "AL"} for character in name)
    return f"\N{FIRST STRONG ISOLATE}{name}\N{POP DIRECTIONAL ISOLATE}" if turns else name


def side_names(sides: tuple[str, str]) -> tuple[str, str]:
    """Names of model and reference, short enough for an axis label with both."""
    return (shorten(sides[0], 1.4, 10.0) or "first", shorten(sides[1], 1.4, 10.0) or "second")


def interval(low: float, high: float, decimals: int = 2) -> str:
    """ "−2.14 to +3.59"."""
    if not (math.isfinite(low) and math.isfinite(high)):
        return UNKNOWN
    return f"{signed(low, decimals)} to {signed(high, decimals)}"


def count(value: float) -> str:
    """ "12 345", with a thin space between thousands."""
    return f"{value:,.0f}".replace(",", THIN_SPACE) if math.isfinite(value) else UNKNOWN


def counted(value: float, noun: str) -> str:
    """ "1 pair", "12 pairs"."""
    return f"{count(value)} {noun}" if value == 1 else f"{count(value)} {noun}s"


def percent(share: float, decimals: int = 0) -> str:
    """Share [0, 1] as "45 %"; "<1 %" and ">99 %" where rounding would give 0 or 100."""
    if not math.isfinite(share):
        return UNKNOWN
    step = 10.0**-decimals
    value = 100.0 * share
    if 0 < value < step / 2:
        return f"<{step:.{decimals}f}{PERCENT}"
    if 100 - step / 2 < value < 100:
        return f">{100 - step:.{decimals}f}{PERCENT}"
    return f"{value:.{decimals}f}{PERCENT}"


def clock(time_s: float) -> str:
    """95 as "1:35"; 3725 as "1:02:05"."""
    whole = round(time_s)
    hours, minutes, seconds = whole // 3600, whole // 60 % 60, whole % 60
    return f"{hours}:{minutes:02d}:{seconds:02d}" if hours else f"{minutes}:{seconds:02d}"


def left_out(omitted: int, noun: str = "pair") -> str:
    """A sentence about values that cannot be drawn; empty where there are none."""
    if not omitted:
        return ""
    verb = "is" if omitted == 1 else "are"
    return f" {counted(omitted, noun).capitalize()} without both values {verb} not drawn."


def joined(parts: Sequence[str], most: int) -> str:
    """The first `most` parts as a list, and the number of the others."""
    text = "; ".join(parts[:most])
    return text if len(parts) <= most else f"{text}; and {count(len(parts) - most)} more"
