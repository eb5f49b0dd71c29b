"""What a rater is given: a playlist and empty rating sheets, in the rater's own order, without a word on scores."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from avpenet_cli.phrasing import clock
from avpenet_cli.ratings.columns import SHEET_COLUMNS
from avpenet_cli.ratings.sheet_elan import write_elan
from avpenet_cli.ratings.sheet_redcap import write_redcap
from avpenet_cli.storage import make_private_folder
from avpenet_cli.study.playlist import PlaylistEntry, write_entries
from avpenet_cli.study.scales import Scale, scale_cell
from avpenet_cli.tables import Row, write_table

SHEET_FILE = "ratings.csv"
PLAYLIST_FILE = "playlist.m3u8"


@dataclass(frozen=True)
class SheetRow:
    """A segment to rate.

    Attributes:
        order: place in the rater's order, from 1.
        recording: as in the score table.
        start_s, end_s: seconds after the recording's start.
    """

    order: int
    recording: str
    start_s: float
    end_s: float


def write_rater_folder(folder: Path, rater: str, rows: Sequence[SheetRow], scale: Scale, pack_id: str) -> None:
    """Write a rater's folder: playlist, CSV sheet, REDCap files and ELAN documents.

    Args:
        folder: created.
        rater: name in the sheets.
        rows: in the order in which the rater rates.
        scale: that the rater uses.
        pack_id: start of the pack's digest.

    Raises:
        OutputError, EnvironmentUnavailableError: a file cannot be written.
    """
    make_private_folder(folder)
    filled: list[Row] = [
        {
            "order": row.order,
            "recording": row.recording,
            "start_s": row.start_s,
            "end_s": row.end_s,
            "value": None,
            "scale": scale_cell(scale),
            "rater": rater,
            "rated_at": None,
            "comment": None,
            "pack": pack_id,
        }
        for row in rows
    ]
    write_table(folder / SHEET_FILE, filled, SHEET_COLUMNS)
    head = (
        f"Segments to rate: {rater}, in this order; the order is that of {SHEET_FILE} beside this file.",
        "Put this file into the folder that the recordings' names start from, and open it in VLC, which plays each",
        "segment from its start to its end. Players that ignore #EXTVLCOPT, such as mpv, open whole recordings.",
    )
    entries = (
        PlaylistEntry(
            row.recording,
            row.start_s,
            row.end_s,
            f"{row.order} of {len(rows)}: {row.recording} {clock(row.start_s)} to {clock(row.end_s)}",
        )
        for row in rows
    )
    write_entries(folder / PLAYLIST_FILE, head, entries)
    write_redcap(folder, rater, filled, scale)
    places = [(row.recording, row.start_s, row.end_s) for row in rows]
    write_elan(folder / "elan", rater, places, scale, pack_id)
