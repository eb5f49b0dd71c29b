"""The commissioning protocol as a page of text: installation, operation, constancy."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from avpenet_cli.cli.reporter import printable

_SHOWN_VERSIONS = ("avpenet", "python", "torch", "ffmpeg")


def print_protocol(document: dict[str, Any]) -> None:
    """Print what `avpenet phantom check` found, on standard output; plain text in a pipe.

    Args:
        document: as `--out` writes it.
    """
    # Lines in a pipe are not folded.
    console = Console() if Console().is_terminal else Console(width=10_000)
    weights, constancy = document["installation"]["weights"], document["constancy"]
    _line(console, f"avpenet phantom check, {document['made']}", "bold")
    for heading, table in (
        ("Installation", _installation(document["installation"])),
        ("Operation", _operation(document["operation"])),
        ("Constancy", _constancy(constancy)),
    ):
        console.print()
        _line(console, heading, "bold")
        console.print(table)
    if weights["status"] == "untrained":
        _line(console, "The distance from the truth means nothing: these weights are untrained.")
    else:
        _line(console, "The distance from the truth is for information; phantoms are no evidence.")
    console.print()


def _line(console: Console, text: str, style: str = "") -> None:
    console.print(Text(printable(text), style=style))


def _installation(found: dict[str, Any]) -> Table:
    weights, phantoms = found["weights"], found["phantoms"]
    altered = phantoms["altered"]
    files = f"{len(phantoms['files_sha256'])} files in {phantoms['folder']}"
    state = "not listed anywhere" if not phantoms["listed"] else "; ".join(altered) or "as listed, by SHA-256"
    rows = {name: found["software"][name] for name in _SHOWN_VERSIONS}
    rows |= {
        "device": found["device"],
        "weights": f"{weights['name']}@{weights['digest'][:12]}, {weights['verified']}, {weights['status']}",
        "notice": weights["notice"],
        "phantoms": f"{files}: {state}",
    }
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column()
    table.add_column(overflow="fold")
    for name, value in rows.items():
        if value:
            style = "red" if name == "phantoms" and altered else "yellow" if name == "notice" else ""
            table.add_row(name, Text(printable(value), style=style))
    return table


def _operation(recordings: list[dict[str, Any]]) -> Table:
    table = _numbers("seconds", "segments", "scored", "unscorable", "faces", "s per s")
    for one in recordings:
        table.add_row(
            Text(printable(one["recording"])),
            f"{one['seconds']:.1f}",
            str(one["segments"]),
            str(one["scored"]),
            str(one["unscorable"]),
            "-" if one["face_rate"] is None else f"{100 * one['face_rate']:.0f} %",
            _points(one["wall_s_per_s"]),
            Text(printable(one["message"]), style="red" if one["status"] == "failed" else "yellow"),
        )
    return table


def _constancy(found: dict[str, Any]) -> Table:
    table = _numbers("moved by", "at most", "MAE", "bias")
    for one in found["recordings"]:
        result = one["problem"] or ("as before" if found["compared_with"] else "nothing to compare with")
        table.add_row(
            Text(printable(one["recording"])),
            _points(one["largest_movement"], 3),
            f"{found['tolerance_points']:g}",
            _points(one["mae"]),
            _points(one["bias"], sign="+"),
            Text(printable(result), style="red" if one["problem"] else ""),
        )
    return table


def _numbers(*columns: str) -> Table:
    """A table with a recording's name, columns of numbers, and what there is to say."""
    table = Table(box=None, pad_edge=False)
    table.add_column("recording", overflow="fold")
    for name in columns:
        table.add_column(name, justify="right")
    table.add_column("", overflow="fold")
    return table


def _points(value: float | None, decimals: int = 2, sign: str = "") -> str:
    return "-" if value is None else f"{value:{sign}.{decimals}f}"
