"""Signing a report: a line in its history that names who attests which bytes."""

from __future__ import annotations

from pathlib import Path

from avpenet_cli.errors import SettingsError
from avpenet_cli.report.document.provenance import SignedBy
from avpenet_cli.runs.history import History, SignOff, WrittenFile, locked_history, written_file
from avpenet_cli.runs.history_chain import read_chain

SIGN_OFF = "sign-off"
"""The event of its line."""


def sign(history: History, page: Path, by: SignedBy, command: str = "") -> SignOff:
    """Append a line that says who signed a page and its numbers, as they lie on the disk.

    Args:
        history: of the page, open.
        command: that signs, if it does nothing else.
    """
    signed = SignOff(by.name, by.role, tuple(written_file(path) for path in (page, page.with_suffix(".json"))))
    history.append(SIGN_OFF, written=(), command=command, sign_off=signed)
    return signed


def sign_existing(page: Path, by: SignedBy, command: str = "") -> SignOff:
    """Sign a report that an earlier command made; its files do not change.

    Args:
        page: the page, with its JSON file and its history beside it.
        command: for the history.

    Raises:
        SettingsError: there is no such report, it has no history, or its history or its files are not as the run left
            them.
        OutputError, OutputLockedError, EnvironmentUnavailableError: the history cannot be written.
    """
    numbers = page.with_suffix(".json")
    for path in (page, numbers):
        if not path.is_file():
            raise SettingsError(
                f"{path}: no such file", "name the page of a report with --out, its JSON file beside it"
            )
    remedy = "see avpenet verify, and make the report again"
    with locked_history(page) as history:
        chain = read_chain(page)
        if chain.problems:
            raise SettingsError(f"{page.name}: its history is not intact: {chain.problems[0]}", remedy)
        written: dict[str, WrittenFile] = {}
        for line in chain.lines:
            written |= {file.file: file for file in line.written}
        for path in (page, numbers):
            if written.get(path.name) != written_file(path):
                raise SettingsError(f"{path.name} is not as the last line of its history states it", remedy)
        return sign(history, page, by, command)
