"""The segments to review as a playlist: extended M3U, whose entries start and stop where the segments do."""

from __future__ import annotations

import math
from pathlib import Path

import pandas as pd

from avpenet_cli.phrasing import clock
from avpenet_cli.study.playlist import PlaylistEntry, write_entries

_HEAD = (
    "Segments to review, in the order of the .review.csv beside this file; it has the reasons and the numbers.",
    "Put this file into the folder that the recordings' names start from (the common folder of the scored inputs),",
    "and open it in VLC, which plays each segment from its start to its end. Players that ignore #EXTVLCOPT, such as",
    "mpv, open whole recordings. A pseudonym is not the name of a file: `avpenet score --dry-run` with the key lists",
    "the recording of each.",
)


def write_playlist(path: Path, rows: pd.DataFrame) -> None:
    """Write a playlist atomically, readable by its owner only; paths are the recordings' names in the score table.

    Args:
        path: ends in .m3u8, which stands for UTF-8.
        rows: recording, start_s, end_s, score and why, in the order to play.
    """
    columns = (rows[name] for name in ("recording", "start_s", "end_s", "score", "why"))
    write_entries(
        path,
        _HEAD,
        (
            _entry(str(recording), float(start_s), float(end_s), float(score), str(why))
            for recording, start_s, end_s, score, why in zip(*columns, strict=True)
        ),
    )


def _entry(recording: str, start_s: float, end_s: float, score: float, why: str) -> PlaylistEntry:
    # Without a score, `why` says so.
    shown = "" if math.isnan(score) else f"score {score:.1f}; "
    title = f"{recording} {clock(start_s)} to {clock(end_s)}: {shown}{why.replace('_', ' ')}"
    return PlaylistEntry(recording, start_s, end_s, title)
