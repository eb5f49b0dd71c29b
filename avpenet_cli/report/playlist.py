"""The segments to review as a playlist: extended M3U, whose entries start and stop where the segments do."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from avpenet_cli.phrasing import clock, plural, printable
from avpenet_cli.storage import atomic_write

_HEAD = (
    "Segments to review, in the order of the .review.csv beside this file; it has the reasons and the numbers.",
    "Put this file into the folder that the recordings' names start from (the common folder of the scored inputs),",
    "and open it in VLC, which plays each segment from its start to its end. Players that ignore #EXTVLCOPT, such as",
    "mpv, open whole recordings. A pseudonym is not the name of a file: `avpenet score --dry-run` with the key lists",
    "the recording of each.",
)


# VLC reads an entry as a reference, in which these three mean something else than themselves.
_ESCAPED = str.maketrans({"%": "%25", "#": "%23", "?": "%3F"})


def write_playlist(path: Path, rows: pd.DataFrame) -> None:
    """Write a playlist atomically, readable by its owner only; paths are the recordings' names in the score table.

    Args:
        path: ends in .m3u8, which stands for UTF-8.
        rows: recording, start_s, end_s, score and why, in the order to play.
    """
    lines = ["#EXTM3U", *(f"# {line}" for line in _HEAD)]
    playable = rows["recording"].astype(str).map(_playable).astype(bool)
    left_out = int((~playable).sum())
    if left_out:
        lines.append(
            f"# Left out, because a playlist cannot hold their recordings' names: {plural(left_out, 'segment')}."
        )
    shown = rows[playable]
    columns = (shown[name] for name in ("recording", "start_s", "end_s", "score", "why"))
    for recording, start_s, end_s, score, why in zip(*columns, strict=True):
        lines += _entry(str(recording), float(start_s), float(end_s), float(score), str(why))
    with atomic_write(path) as file:
        # File names that are not UTF-8 keep their bytes.
        file.write(("\n".join(lines) + "\n").encode("utf-8", "surrogateescape"))


def _entry(recording: str, start_s: float, end_s: float, score: float, why: str) -> Iterator[str]:
    # Without a score, `why` says so.
    shown = "" if math.isnan(score) else f"score {score:.1f}; "
    title = f"{recording} {clock(start_s)} to {clock(end_s)}: {shown}{why.replace('_', ' ')}"
    # VLC takes what stands before a comma or a spaced hyphen for the artist.
    yield f"#EXTINF:{end_s - start_s:.3f},{printable(title).replace(',', ';').replace(' - ', ' ')}"
    yield f"#EXTVLCOPT:start-time={start_s:.3f}"
    yield f"#EXTVLCOPT:stop-time={end_s:.3f}"
    # A name that starts with # would be a comment, one with a colon an address.
    yield (recording if recording.startswith("/") else f"./{recording}").translate(_ESCAPED)


def _playable(name: str) -> bool:
    """Whether a line can hold the name, and a player takes it for a file of this machine."""
    if any(unicodedata.category(character) in {"Cc", "Zl", "Zp"} for character in name):
        return False
    return name == name.rstrip() and "://" not in name and not name.startswith("//")
