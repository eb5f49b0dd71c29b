"""Text files that may be damaged: the encoding of those that people bring, and parsers of JSON and TOML."""

from __future__ import annotations

import codecs
import json
import tomllib
from dataclasses import dataclass
from typing import Any, Literal

from avpenet_cli.errors import SettingsError

Encoding = Literal["utf-8", "utf-16-le", "utf-16-be", "utf-32"]

_MARKS: tuple[tuple[bytes, Encoding], ...] = (
    # The mark of UTF-32 LE begins with that of UTF-16 LE.
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_NAMES: dict[Encoding, str] = {
    "utf-8": "UTF-8",
    "utf-16-le": "UTF-16 LE",
    "utf-16-be": "UTF-16 BE",
    "utf-32": "UTF-32",
}
_PEEK_BYTES = 1 << 16
# Of a text's high bytes, in UTF-16 without a mark: every ASCII letter has a zero there. A list of paths separated by
# zero bytes stays far below, and its zeros are in even and odd places.
_LEAST_HIGH_ZEROS = 0.5
_MOST_LOW_ZEROS = 0.1
_QUOTED_CHARACTERS = 20
_REMEDY = "save it as UTF-8 (in Excel: file type `CSV UTF-8`)"


@dataclass(frozen=True)
class DecodedText:
    """A file's text without its byte order mark.

    Attributes:
        encoding: for messages: `UTF-8`, `UTF-16 LE` or `UTF-16 BE`.
    """

    text: str
    encoding: str


def detect_encoding(raw: bytes) -> tuple[Encoding, int]:
    """The encoding by the byte order mark or, without one, by where zero bytes are; UTF-8 if nothing else is seen.

    Returns:
        The encoding, and the length of the byte order mark: 0 where there is none.
    """
    for mark, encoding in _MARKS:
        if raw.startswith(mark):
            return encoding, len(mark)
    peek = raw[:_PEEK_BYTES]
    start = peek[: len(peek) - len(peek) % 4] or peek
    # Zeros by the place in groups of four bytes.
    zeros = [start[place::4].count(0) for place in range(4)]
    groups = max(1, len(start) // 4)
    if sum(count >= groups * (1 - _MOST_LOW_ZEROS) for count in zeros) == 3:
        return "utf-32", 0
    even, odd = zeros[0] + zeros[2], zeros[1] + zeros[3]
    for low, high, line_end, encoding in (
        (even, odd, b"\n\0", "utf-16-le"),
        (odd, even, b"\0\n", "utf-16-be"),
    ):
        pairs = max(1, len(start) // 2)
        is_utf16 = high >= pairs * _LEAST_HIGH_ZEROS or (high and _has_pair(peek, line_end))
        if is_utf16 and low <= pairs * _MOST_LOW_ZEROS:
            return encoding, 0
    return "utf-8", 0


def _has_pair(raw: bytes, pair: bytes) -> bool:
    """Whether these two bytes stand together at an even place."""
    place = raw.find(pair)
    while place >= 0 and place % 2:
        place = raw.find(pair, place + 1)
    return place >= 0


def decode_text(raw: bytes, where: str) -> DecodedText:
    """Decode UTF-8 or UTF-16, each with or without a byte order mark.

    Older 8-bit encodings are refused: which of them it is cannot be told, and a wrong guess changes names.

    Args:
        raw: the whole file.
        where: what it is, for messages.

    Raises:
        SettingsError: UTF-32, an 8-bit encoding, a file that is cut off or damaged, which names the line, or no text.
    """
    encoding, mark = detect_encoding(raw)
    name = _NAMES[encoding]
    if encoding == "utf-32":
        raise SettingsError(f"{where} is in UTF-32", _REMEDY)
    try:
        return DecodedText(raw[mark:].decode(encoding), name)
    except UnicodeDecodeError as error:
        # Without a mark, zero bytes are UTF-16's only where all but a cut end decodes.
        is_cut = encoding != "utf-8" and error.end >= len(raw)
        if not mark and b"\0" in raw and not is_cut:
            raise SettingsError(f"{where} is not a text file", "give a file of text, saved as UTF-8") from None
        before = raw[mark : mark + error.start].decode(encoding)
        line = len(before.replace("\r\n", "\n").replace("\r", "\n").split("\n"))
        problem = f"is in {name}, but cut off or damaged"
        if encoding == "utf-8":
            problem = f"is not in UTF-8{_windows_reading(raw[mark:], error.start)}"
        raise SettingsError(f"{where}: line {line} {problem}", _REMEDY) from None


def _windows_reading(raw: bytes, place: int) -> str:
    """What the word at `place` would be in Windows-1252, so that a person can tell whether that is its encoding."""
    first = max(raw.rfind(mark, 0, place) for mark in b'\n\r,;\t"') + 1
    rest = raw[first : first + _QUOTED_CHARACTERS]
    end = min((rest.find(mark) for mark in b'\n\r,;\t"' if mark in rest), default=len(rest))
    try:
        return f": in Windows-1252 it would be {rest[:end].decode('cp1252')!r}"
    except UnicodeDecodeError:
        return ""


def parse_json(content: str | bytes) -> Any:
    """The value of a JSON text that may be damaged.

    Raises:
        ValueError: it is no JSON, or is nested too deeply to be read.
    """
    try:
        return json.loads(content)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def parse_toml(text: str) -> dict[str, Any]:
    """The tables of a TOML text that may be damaged.

    Raises:
        ValueError: it is no TOML, or is nested too deeply to be read.
    """
    try:
        return tomllib.loads(text)
    except RecursionError:
        raise ValueError("nested too deeply") from None
