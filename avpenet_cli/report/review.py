"""Which segments a person should look at."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd

from avpenet_cli.records import Flag
from avpenet_cli.stats.classes import class_of
from avpenet_cli.storage import atomic_write

COLUMNS = ["recording", "start_s", "end_s", "score", "reference", "difference", "flags", "why"]

RATED = (
    "Scored segments that lie outside the limits of agreement, beyond the accepted difference where one was given, or "
    "low on one side and high on the other; the largest differences first."
)
UNRATED = "Segments without a score, and scored segments flagged for thin evidence; the highest scores first."

_THIN = {
    Flag.VIDEO_GAP,
    Flag.LOW_FACE_RATE,
    Flag.LOW_CONFIDENCE,
    Flag.SMALL_FACE,
    Flag.SEVERAL_FACES,
    Flag.OTHER_FACE,
    Flag.AUDIO_GAP,
    Flag.SILENT,
    Flag.CLIPPED,
    Flag.LOW_SNR,
    Flag.DAMAGED,
}


def disagreements(
    table: pd.DataFrame,
    loa: tuple[float, float],
    cut_points: tuple[float, float],
    limit_points: float | None,
) -> pd.DataFrame:
    """With ratings: what lies outside the limits (NaN: unknown) or the acceptance limit, or jumps two classes.

    Args:
        table: rated and scored segments with score, reference and the score table's columns.
    """
    d = table["score"].to_numpy() - table["reference"].to_numpy()
    jump = np.abs(class_of(table["score"].to_numpy(), cut_points) - class_of(table["reference"].to_numpy(), cut_points))
    outside = (d < loa[0]) | (d > loa[1])
    beyond = np.abs(d) > (np.inf if limit_points is None else limit_points)
    reasons = (
        (outside, "outside the limits of agreement"),
        (beyond, "beyond the accepted difference"),
        (jump == 2, "two classes apart"),
    )
    why = np.full(len(table), "", dtype=object)
    for applies, words in reasons:
        why[applies] = why[applies] + np.where(why[applies] == "", "", "; ") + words
    found = table.assign(difference=d, why=why)[why != ""]
    order = np.lexsort((found["start_s"], found["recording"].astype(str), -found["difference"].abs()))
    rows: pd.DataFrame = found.iloc[order].reindex(columns=COLUMNS)
    return rows


def thin_evidence(segments: pd.DataFrame) -> pd.DataFrame:
    """Without ratings."""
    flags = segments["flags"].fillna("").astype(str)
    reasons = {text: _thin(text.split()) for text in flags.unique()}
    unscorable = segments["status"] != "scored"
    why = np.where(unscorable, "no score: " + segments["reason"].fillna("").astype(str), flags.map(reasons))
    found = segments.assign(why=why, difference=np.nan)
    if "reference" not in found:
        found = found.assign(reference=np.nan)
    found = found[found["why"] != ""]
    order = np.lexsort((found["start_s"], found["recording"].astype(str), -found["score"].fillna(-1)))
    return found.iloc[order].reindex(columns=COLUMNS)


def _thin(flags: Iterable[str]) -> str:
    return ", ".join(flag for flag in flags if flag in _THIN)


def write_review(path: Path, rows: pd.DataFrame) -> None:
    """As CSV, whole or not at all, readable by its owner only."""
    text = [name for name in rows.columns if name in ("recording", "flags", "why")]
    # A spreadsheet takes a text that begins so for a formula.
    harmless = {name: rows[name].astype(str).str.replace(r"^(?=[=+@\t\r-])", "'", regex=True) for name in text}
    csv = rows.assign(**harmless).to_csv(index=False, float_format="%.3f", lineterminator="\n")
    with atomic_write(path) as file:
        file.write(csv.encode("utf-8", "surrogateescape"))
