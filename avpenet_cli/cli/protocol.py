"""The commissioning protocol as text: installation, operation, constancy."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table
from rich.text import Text

from avpenet_cli.cli.run_log import printable
from avpenet_cli.phrasing import plural

if TYPE_CHECKING:
    from avpenet_cli.commissioning.protocol import Constancy, Installation, Operation, Protocol

_SHOWN_VERSIONS = ("avpenet", "python", "torch", "ffmpeg")


def print_protocol(protocol: Protocol) -> None:
    """Print the protocol on standard output; plain text in a pipe."""
    # Lines in a pipe are not folded.
    console = Console() if Console().is_terminal else Console(width=10_000)
    _line(console, f"avpenet phantom check, {protocol.made}", "bold")
    for heading, table in (
        ("Installation", _installation(protocol.installation)),
        ("Operation", _operation(protocol.operation)),
        ("Constancy", _constancy(protocol.constancy)),
    ):
        console.print()
        _line(console, heading, "bold")
        console.print(table)
    if protocol.installation.weights.status == "untrained":
        _line(console, "MAE and bias mean nothing: these weights are untrained.")
    else:
        _line(console, "MAE and bias against the simulated pain are for information; phantoms are no evidence.")
    console.print()


def _line(console: Console, text: str, style: str = "") -> None:
    console.print(Text(printable(text), style=style))


def _installation(installation: Installation) -> Table:
    weights, phantoms = installation.weights, installation.phantoms
    altered = phantoms.altered
    files = f"{plural(len(phantoms.files_sha256), 'file')} in {phantoms.folder}"
    state = "not listed anywhere" if not phantoms.listed else "; ".join(altered) or "as listed, by SHA-256"
    rows = {name: installation.software[name] for name in _SHOWN_VERSIONS}
    rows |= {
        "device": installation.device,
        "weights": f"{weights.name}@{weights.digest[:12]}, {weights.verified}, {weights.status}",
        "notice": weights.notice,
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


def _operation(recordings: list[Operation]) -> Table:
    table = _table("seconds", "segments", "scored", "unscorable", "faces", "s per s")
    for recording in recordings:
        table.add_row(
            Text(printable(recording.recording)),
            f"{recording.seconds:.1f}",
            str(recording.segments),
            str(recording.scored),
            str(recording.unscorable),
            "-" if recording.face_rate is None else f"{100 * recording.face_rate:.0f} %",
            _number(recording.wall_s_per_s),
            Text(printable(recording.message), style="red" if recording.status == "failed" else "yellow"),
        )
    return table


def _constancy(constancy: Constancy) -> Table:
    table = _table("change", "at most", "MAE", "bias")
    for recording in constancy.recordings:
        result = recording.problem or ("as before" if constancy.baseline else "nothing to compare with")
        table.add_row(
            Text(printable(recording.recording)),
            _number(recording.largest_change, 3),
            f"{constancy.tolerance_points:g}",
            _number(recording.mae),
            _number(recording.bias, sign="+"),
            Text(printable(result), style="red" if recording.problem else ""),
        )
    return table


def _table(*columns: str) -> Table:
    """A table with a recording's name, columns of numbers, and a column of text."""
    table = Table(box=None, pad_edge=False)
    table.add_column("recording", overflow="fold")
    for name in columns:
        table.add_column(name, justify="right")
    table.add_column("", overflow="fold")
    return table


def _number(value: float | None, decimals: int = 2, sign: str = "") -> str:
    return "-" if value is None else f"{value:{sign}.{decimals}f}"
