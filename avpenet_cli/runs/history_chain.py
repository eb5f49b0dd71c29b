"""Reads a history back and checks its chain."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from avpenet_cli.errors import OutputError, reason
from avpenet_cli.runs.history import (
    HISTORY_VERSION,
    HistoryHead,
    HistoryLine,
    WrittenFile,
    digest_of_line,
    history_path,
    states_own_digest,
)
from avpenet_cli.textfiles import parse_json

_LINE = TypeAdapter(HistoryLine)
_FIELDS = {field.name for field in fields(HistoryLine)}


@dataclass(frozen=True)
class Chain:
    """A history as it lies on the disk.

    Attributes:
        path: of the history.
        exists: whether it is there.
        lines: those that can be read.
        heads: number and digest of every line of the file, also of those that cannot be read.
        problems: what shows that lines were edited, removed, moved or torn, a sentence each, in the order of the lines.
        notes: what a reader should know and is no sign of tampering.
    """

    path: Path
    exists: bool
    lines: tuple[HistoryLine, ...] = ()
    heads: tuple[HistoryHead, ...] = ()
    problems: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def latest(self) -> dict[str, tuple[WrittenFile, int]]:
        """Each file that the history states, as it was written last, with the number of that line."""
        return {file.file: (file, line.line) for line in self.lines for file in line.written}


def read_chain(output: Path) -> Chain:
    """Read the history of an output and check every line's number and the digest of the line before it.

    Raises:
        OutputError: it cannot be read.
    """
    return chain_at(history_path(output))


def chain_at(path: Path) -> Chain:
    """As `read_chain`, by the path of the history itself."""
    content = _content(path)
    if isinstance(content, Chain):
        return content
    if not content:
        return Chain(path, exists=True)
    is_open = not content.endswith(b"\n")
    raw = content.split(b"\n") if is_open else content[:-1].split(b"\n")
    problems, notes = [], []
    if any(line.endswith(b"\r") for line in raw):
        problems.append("a program changed its line ends to those of Windows")
        raw = [line.removesuffix(b"\r") for line in raw]
    heads = tuple(HistoryHead(number, digest_of_line(line)) for number, line in enumerate(raw, 1))
    parsed = [_parsed(line) for line in raw]
    for place, line in enumerate(parsed):
        number = place + 1
        if line is None:
            why = _why_unreadable(raw[place])
            attesting = _next_readable(parsed, raw, place)
            after = parsed[attesting]
            if not why and attesting and after is not None and after.previous == heads[attesting - 1].sha256:
                notes.append(
                    f"line {number} is torn: a run was killed while it wrote it; line {attesting + 1} attests it"
                )
            elif not why and number == len(parsed) and is_open:
                problems.append(f"line {number} is torn: a run was killed while it wrote it, or its end was removed")
            else:
                problems.append(f"line {number} cannot be read: {why or 'it was edited'}")
            continue
        before = heads[place - 1].sha256 if place else ""
        if line.previous != before:
            problems.append(_broken_link(number, line.line))
        elif line.line != number:
            problems.append(f"line {number} states the number {line.line}: it was edited")
        if not states_own_digest(raw[place]):
            problems.append(f"line {number} was edited: it does not have the digest that it states")
    return Chain(path, True, tuple(line for line in parsed if line), heads, tuple(problems), tuple(notes))


def _content(path: Path) -> bytes | Chain:
    """The bytes of a history, or what it is where it is no regular file; a pipe would be waited for."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return Chain(path, exists=False)
    except OSError as error:
        if path.is_symlink():
            return Chain(path, exists=True, problems=("it is a link, and no run follows or makes one",))
        raise OutputError(f"{path} cannot be read: {reason(error)}", "check its permissions") from None
    try:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            return Chain(path, exists=True, problems=("it is not a regular file",))
        with os.fdopen(os.dup(handle), "rb") as file:
            return file.read()
    except OSError as error:
        raise OutputError(f"{path} cannot be read: {reason(error)}", "check the disk") from None
    finally:
        os.close(handle)


def _broken_link(number: int, stated: int) -> str:
    if number == 1:
        return f"line 1 states the number {stated} and a line before it: lines were removed from the beginning"
    if stated > number:
        return f"line {number} states the number {stated}: lines before it were removed"
    if stated < number:
        return f"line {number} states the number {stated}: lines were moved, repeated or added"
    return (
        f"line {number} does not have the digest of line {number - 1}: line {number - 1} was edited, or both were moved"
    )


def _parsed(line: bytes) -> HistoryLine | None:
    content = _json(line)
    if not isinstance(content, dict) or not content.keys() <= _FIELDS:
        return None
    try:
        return _LINE.validate_python(content)
    except ValidationError:
        return None


def _why_unreadable(line: bytes) -> str:
    """Why a line that cannot be read is not the beginning of one that a killed run left; empty where it may be."""
    content = _json(line)
    if content is None and line.startswith(b"{"):
        return ""
    version = content.get("history_version") if isinstance(content, dict) else None
    if isinstance(version, int) and version > HISTORY_VERSION:
        return "it is of a newer version of avpenet, or was edited"
    return "it was edited"


def _next_readable(parsed: list[HistoryLine | None], raw: list[bytes], place: int) -> int:
    """The place of the line that a run wrote after torn lines; 0 if there is none, or another one between."""
    for later in range(place + 1, len(raw)):
        if parsed[later] is not None:
            return later
        if _why_unreadable(raw[later]):
            break
    return 0


def _json(line: bytes) -> Any:
    """The content of a line; None where it is no JSON."""
    try:
        return parse_json(line)
    except ValueError:
        return None
