"""Ways to damage a file: its bytes, or what it says in its own format.

All choices come from one `random.Random`, so that a trial's number gives its files again.
"""

from __future__ import annotations

import csv
import io
import json
import random
import sqlite3
import struct
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path
from typing import Any


class Rng(random.Random):
    """All choices of one trial.

    Args:
        target: name of what is fuzzed.
        seed: of the campaign.
        number: of the trial.
    """

    def __init__(self, target: str, seed: int, number: int) -> None:
        self.number = number
        super().__init__(f"{target}/{seed}/{number}")

    def __new__(cls, *arguments: object) -> Rng:
        return super().__new__(cls)


NUMBERS = (
    *("0", "-0", "-1", "1e400", "-1e400", "1e308", "1e-320", "nan", "NaN", "inf", "-Infinity", "Infinity"),
    *("9223372036854775808", "-9223372036854775809", "18446744073709551616", "1" + "0" * 400, "0x10", "1_000", "１２"),
    *("1,5", "1.5.2", "+7", ".5", "5.", "٣", "true", "1e5", "4294967296", "2147483648", "99999999999999999999.5"),
)
TEXTS = (
    *("", " ", "\t", "\u00a0", "\ufeff", "\u200b", "\0", "\n", "\r", '"', "'", ";", ",", "=1+1", "../../etc/passwd"),
    *("é", "e\u0301", "İ", "ß", "\u202e", "\ud800", "\U0001f476", "x" * 5000, "null", "None", "NA", "-", "/", "a/b"),
    *("2026-02-30", "2026-13-01T25:61:61", "0000-00-00", "9999-12-31T23:59:59.999999+14:00", "10:00", "24:00:00"),
    *("0001-01-01T00:00:00+14:00", "-1:-1:-1", "99999999:00:00", "%s", "{}", "{0}", "$(id)", "<b>", "]]>", "&x;"),
    *("0-0", "0-1e9", "NRS", "NRS:0-0", "VAS 0-100", "[", "(", "(?P<x>", "*", "a" * 300, "con", "rec-0001.mp4"),
)
_EDGES = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, (1 << 63) - 1, 1 << 63)
_DEPTHS = (200, 400, 900, 980, 100_000)
_DEEP_SHARE = 0.01


def damage_bytes(rng: Rng, data: bytes) -> bytes:
    """One to eight changes anywhere: bits, numbers at the edge of their range, blocks cut or copied, the end lost."""
    content = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 4, 8))):
        _damage_once(rng, content)
    return bytes(content)


def _damage_once(rng: Rng, content: bytearray) -> None:
    if not content:
        content += rng.randbytes(rng.randint(1, 64))
        return
    # Headers are at the start, indices at the end.
    edge = min(len(content), 256)
    place = rng.choice((rng.randrange(len(content)), rng.randrange(edge), len(content) - 1 - rng.randrange(edge)))
    length = min(rng.choice((1, 2, 4, 8, 16, 64, 512, 4096)), len(content) - place)
    match rng.randrange(9):
        case 0:
            content[place] ^= 1 << rng.randrange(8)
        case 1:
            content[place] = rng.choice((0, 1, 0x7F, 0x80, 0xFF, rng.randrange(256)))
        case 2:
            size = rng.choice((2, 4, 8))
            number = rng.choice(_EDGES) & ((1 << 8 * size) - 1)
            content[place : place + size] = number.to_bytes(size, rng.choice(("big", "little")))
        case 3:
            content[place : place + length] = rng.randbytes(length)
        case 4:
            del content[place : place + length]
        case 5:
            content[place:place] = content[place : place + length] * rng.choice((1, 2, 50))
        case 6:
            del content[place:]
        case 7:
            other = rng.randrange(len(content))
            block = bytes(content[other : other + length])
            content[place : place + len(block)] = block
        case 8:
            content[place : place + length] = bytes(length)


def splice(rng: Rng, first: bytes, second: bytes) -> bytes:
    """The start of one file and the end of another, or a piece of the second within the first."""
    at, other = rng.randrange(len(first) + 1), rng.randrange(len(second) + 1)
    if rng.random() < 0.5:
        return first[:at] + second[other:]
    return first[:at] + second[other : other + rng.choice((16, 512, 8192))] + first[at:]


def damage_text(rng: Rng, data: bytes) -> bytes:
    """Words replaced, lines lost, doubled or swapped, another encoding, nesting without an end."""
    text = data.decode("utf-8", "replace")
    for _ in range(rng.choice((1, 1, 2, 4))):
        lines = text.split("\n")
        place = rng.randrange(len(lines))
        match rng.randrange(7):
            case 0 | 1 | 2:
                words = _words(lines[place])
                word = rng.randrange(len(words))
                words[word] = rng.choice((*NUMBERS, *TEXTS))
                lines[place] = "".join(words)
            case 3:
                del lines[place]
            case 4:
                lines.insert(place, lines[rng.randrange(len(lines))])
            case 5:
                other = rng.randrange(len(lines))
                lines[place], lines[other] = lines[other], lines[place]
            case 6:
                lines[place] = lines[place][: rng.randrange(len(lines[place]) + 1)]
        text = "\n".join(lines)
    if rng.random() < _DEEP_SHARE:
        at = rng.randrange(len(text) + 1)
        text = text[:at] + rng.choice("[{(<\"'") * rng.choice(_DEPTHS) + text[at:]
    encoding = rng.choice(("utf-8",) * 12 + ("utf-16", "utf-16-le", "latin-1", "utf-32", "utf-8-sig"))
    return text.encode(encoding, "surrogatepass" if encoding.startswith("utf") else "replace")


def _words(line: str) -> list[str]:
    """A line in pieces of letters and digits, and what is between them."""
    pieces: list[str] = [""]
    for letter in line:
        if pieces[-1] and (letter.isalnum() or letter in "._-") != (
            pieces[-1][-1].isalnum() or pieces[-1][-1] in "._-"
        ):
            pieces.append("")
        pieces[-1] += letter
    return pieces


def _is_of_word(letter: str) -> bool:
    return letter.isalnum() or letter in "._-"


def odd_value(rng: Rng, value: Any) -> Any:
    """A JSON value in place of another: of another type, at the edge of its range, empty, or nested deeply."""
    choices: list[Any] = [None, True, -1, 0, 1 << 63, -(1 << 64), 1e308, float("nan"), float("inf"), [], {}, "", "x"]
    choices += [rng.choice(TEXTS), rng.choice(NUMBERS), [value], {"a": value}, [value, value], 10**400, 2.5, [[[]]]]
    if isinstance(value, int | float) and not isinstance(value, bool):
        choices += [-value, value + 1, value * 1_000_000, str(value), value // 3]
    if isinstance(value, str):
        choices += [value.upper(), value + " ", value[: len(value) // 2], value[::-1]]
    return rng.choice(choices)


def damage_document(rng: Rng, document: Any) -> Any:
    """A JSON value with one to four changes anywhere in it."""
    for _ in range(rng.choice((1, 1, 2, 4))):
        places = list(_places(document))
        if not places:
            return odd_value(rng, document)
        parent, key = rng.choice(places)
        match rng.randrange(6):
            case 0 | 1 | 2:
                parent[key] = odd_value(rng, parent[key])
            case 3:
                del parent[key]
            case 4 if isinstance(parent, list):
                parent.insert(key, parent[rng.randrange(len(parent))])
            case 4:
                parent[rng.choice((key.upper(), key + "x", "", rng.choice(TEXTS)))] = parent.pop(key)
            case 5:
                other, place = rng.choice(places)
                with suppress(KeyError, IndexError):
                    parent[key] = json.loads(json.dumps(other[place]))
    return document


def _places(document: Any) -> list[tuple[Any, Any]]:
    """(container, key or index) of every value within a document."""
    found: list[tuple[Any, Any]] = []
    left = [document]
    while left:
        node = left.pop()
        keys = list(node) if isinstance(node, dict) else range(len(node)) if isinstance(node, list) else ()
        for key in keys:
            found.append((node, key))
            left.append(node[key])
    return found


def damage_json(rng: Rng, data: bytes, reseal: Callable[[Any], Any] | None = None) -> bytes:
    """A JSON file with other values, or damaged as text or bytes.

    Args:
        reseal: gives a document its digests again, so that more than those is tried.
    """
    way = rng.random()
    if way < 0.15:
        return damage_bytes(rng, data)
    if way < 0.3:
        return damage_text(rng, data)
    if way < 0.3 + _DEEP_SHARE:
        return _nested(rng, data)
    document = damage_document(rng, json.loads(data))
    if reseal is not None and rng.random() < 0.8:
        with suppress(Exception):
            document = reseal(document)
    return json.dumps(document, indent=1, ensure_ascii=rng.random() < 0.5).encode("utf-8", "surrogatepass")


def _nested(rng: Rng, data: bytes) -> bytes:
    """A JSON file in which one value stands in many brackets, closed or not."""
    marks = [place for place, letter in enumerate(data) if letter == ord(":")]
    at = rng.choice(marks) + 1 if marks else 0
    depth = rng.choice(_DEPTHS)
    return data[:at] + b"[" * depth + (b"1" + b"]" * depth + b"," if rng.random() < 0.7 else b"") + data[at:]


def damage_json_lines(rng: Rng, data: bytes) -> bytes:
    """One of a file's JSON lines with other values, or the file damaged as text or bytes."""
    lines = data.splitlines()
    if rng.random() < 0.3 or not lines:
        return damage_text(rng, data) if rng.random() < 0.5 else damage_bytes(rng, data)
    for _ in range(rng.choice((1, 2, len(lines)))):
        place = rng.randrange(len(lines))
        with suppress(ValueError):
            document = damage_document(rng, json.loads(lines[place]))
            lines[place] = json.dumps(document).encode()
    return b"\n".join(lines) + b"\n"


def damage_csv(rng: Rng, data: bytes) -> bytes:
    """A table with other cells, rows or columns, or damaged as text or bytes."""
    way = rng.random()
    if way < 0.15:
        return damage_bytes(rng, data)
    if way < 0.3:
        return damage_text(rng, data)
    rows = list(csv.reader(io.StringIO(data.decode("utf-8", "replace"), newline="")))
    for _ in range(rng.choice((1, 1, 2, 5))):
        if not rows:
            break
        row = rng.randrange(len(rows))
        column = rng.randrange(max(1, len(rows[row])))
        match rng.randrange(9):
            case 0 | 1 | 2 | 3 if rows[row]:
                rows[row][column] = rng.choice((*NUMBERS, *TEXTS))
            case 4 if rows[row]:
                value = rng.choice((*NUMBERS, *TEXTS))
                for other in rows[1:]:
                    other[column : column + 1] = [value]
            case 5:
                for other in rows:
                    del other[column : column + 1]
            case 6:
                rows.insert(rng.randrange(len(rows)), list(rows[row]))
            case 7:
                del rows[row]
            case 8:
                source = rng.choice(rows)
                rows[row][column : column + 1] = source[column : column + 1]
            case _:
                rows[row].append(rng.choice(TEXTS))
    text = io.StringIO(newline="")
    csv.writer(text, delimiter=rng.choice(",,,,;\t"), lineterminator=rng.choice(("\n", "\r\n", "\r"))).writerows(rows)
    return text.getvalue().encode("utf-8", "surrogatepass")


def damage_database(rng: Rng, path: Path) -> None:
    """An SQLite file with other values, rows or tables, or damaged as bytes, in place."""
    if rng.random() < 0.4:
        path.write_bytes(damage_bytes(rng, path.read_bytes()))
        return
    values: tuple[Any, ...] = (None, "", "x", b"\xff\x00", -1, 0, 1 << 62, 1e308, *TEXTS[:8], "{", "[]", "null", '"a"')
    with closing(sqlite3.connect(path, isolation_level=None)) as database:
        tables = [name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        for _ in range(rng.choice((1, 1, 3))):
            table = rng.choice(tables)
            columns = [row[1] for row in database.execute(f'PRAGMA table_info("{table}")')]
            if not columns:
                continue
            column = rng.choice(columns)
            with suppress(sqlite3.Error):
                match rng.randrange(7):
                    case 0 | 1:
                        database.execute(f'UPDATE "{table}" SET "{column}" = ?', (rng.choice(values),))
                    case 2 | 3:
                        _damage_cell(rng, database, table, column)
                    case 4:
                        database.execute(f'DROP TABLE "{table}"')
                        tables.remove(table)
                    case 5:
                        database.execute(f'ALTER TABLE "{table}" RENAME COLUMN "{column}" TO "other"')
                    case 6:
                        database.execute(f'DELETE FROM "{table}"')
            if not tables:
                return


def _damage_cell(rng: Rng, database: sqlite3.Connection, table: str, column: str) -> None:
    """A JSON value in a cell gets other values; any other cell is replaced."""
    rows = database.execute(f'SELECT rowid, "{column}" FROM "{table}"').fetchall()
    if not rows:
        return
    row, value = rng.choice(rows)
    try:
        changed: Any = json.dumps(damage_document(rng, json.loads(value)))
    except (TypeError, ValueError):
        changed = rng.choice((None, b"\xff", rng.choice(TEXTS[:12]), -1, 1 << 62))
    database.execute(f'UPDATE "{table}" SET "{column}" = ? WHERE rowid = ?', (changed, row))


def damage_safetensors(rng: Rng, data: bytes) -> bytes:
    """A safetensors file with another header or other bytes."""
    if rng.random() < 0.4:
        return damage_bytes(rng, data)
    (length,) = struct.unpack("<Q", data[:8])
    header = damage_json(rng, data[8 : 8 + length])
    stated = len(header) if rng.random() < 0.8 else rng.choice(_EDGES) & ((1 << 64) - 1)
    return struct.pack("<Q", stated) + header + data[8 + length :]


def damage_media(rng: Rng, data: bytes, others: list[bytes]) -> bytes:
    """A recording with damaged boxes, elements, chunks or packets, cut off, or spliced with another."""
    way = rng.random()
    if way < 0.12:
        return splice(rng, data, rng.choice(others))
    if way < 0.22:
        return data[: rng.randrange(len(data) + 1)]
    if way < 0.6:
        content = bytearray(data)
        for _ in range(rng.choice((1, 1, 2, 3))):
            _damage_field(rng, content)
        return bytes(content)
    return damage_bytes(rng, data)


_NAMES = (
    *(b"ftyp", b"moov", b"trak", b"tkhd", b"mdhd", b"mvhd", b"stsd", b"stts", b"stsz", b"stco", b"stsc", b"elst"),
    *(b"ctts", b"avc1", b"avcC", b"mp4a", b"esds", b"mdat", b"moof", b"trun", b"tfhd", b"tfdt", b"hdlr", b"udta"),
    *(b"RIFF", b"fmt ", b"data", b"hdrl", b"avih", b"strh", b"strf", b"movi", b"idx1", b"LIST", b"OggS", b"ID3"),
    *(b"\x1a\x45\xdf\xa3", b"\x16\x54\xae\x6b", b"\x15\x49\xa9\x66", b"\x1f\x43\xb6\x75", b"\x1c\x53\xbb\x6b"),
    *(b"\x2a\xd7\xb1", b"\x44\x89", b"\xe0", b"\xb0", b"\xba", b"\xe1", b"\xb5", b"vorbis", b"OpusHead", b"G@"),
)
"""Codes before which ISO media have a size, and after which RIFF, Matroska, Ogg and MP3 have their fields."""


def _damage_field(rng: Rng, content: bytearray) -> None:
    """Change the size before a box's code, a number soon after it, the code itself, or the whole box."""
    present = [name for name in _NAMES if name in content]
    if not present:
        _damage_once(rng, content)
        return
    name = rng.choice(present)
    place = content.find(name, rng.randrange(len(content)))
    place = content.find(name) if place < 0 else place
    match rng.randrange(5):
        case 0:
            content[max(0, place - 4) : place] = struct.pack(">I", rng.choice(_EDGES) & 0xFFFFFFFF)
        case 1 | 2:
            at = place + len(name) + rng.randrange(0, 96)
            size = rng.choice((1, 2, 4, 8))
            number = rng.choice((*_EDGES, rng.randrange(1 << 32))) & ((1 << 8 * size) - 1)
            content[at : at + size] = number.to_bytes(size, rng.choice(("big", "little")))
        case 3:
            content[place : place + len(name)] = rng.choice(_NAMES)[: len(name)].ljust(len(name), b"\0")
        case 4:
            length = rng.choice((8, 64, 1024))
            if rng.random() < 0.5:
                del content[place : place + length]
            else:
                content[place:place] = content[max(0, place - 4) : place + length]
