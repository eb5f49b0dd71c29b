"""Tables that people provide: human ratings on any scale, and events."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from avpenet_cli.errors import SettingsError
from avpenet_cli.keys import match_names, merge_spellings, shown, tidy
from avpenet_cli.phrasing import plural
from avpenet_cli.study.readers import read_sheet
from avpenet_cli.study.scales import HIGHEST_POINTS, Scale, ScaleError, parse_scale
from avpenet_cli.study.sheets import Floats, Sheet, SourceFile, Table

DEFAULT_RATER = "rater"
"""Name of the rater where the file does not give one."""

_IDENTITY = ["recording", "rater", "start_s", "end_s"]
REQUIRED_CELLS = ("recording", "time_s", "start_s", "end_s", "value")
RATING_COLUMNS = (*REQUIRED_CELLS, "scale", "rater", "pack")


@dataclass(frozen=True)
class Ratings:
    """Human ratings, rescaled to 0 to 10 points.

    Attributes:
        file: where they come from.
        rows: one per rating, in the file's order: `line` (of the file; for Parquet the row), `recording`, `start_s`,
            `end_s` (NaN for a rating at one time), `value` (0 to 10), `rater`, `scale`.
        scales: in order of appearance, labels as in `Scale`.
        raters: in order of appearance.
        notices: what was merged or matched in spite of its spelling.
        packs: samples that the rows name in a column `pack`, see `study.pack`.
        all_name_packs: whether every row names one.
    """

    file: SourceFile
    rows: pd.DataFrame
    scales: tuple[str, ...]
    raters: tuple[str, ...]
    notices: tuple[str, ...] = ()
    packs: tuple[str, ...] = ()
    all_name_packs: bool = False

    def matched_to(self, recordings: Sequence[str], source: str = "the scores") -> Ratings:
        """These ratings with the recordings' own spelling of their names; `source` is where that is, for notices.

        Raises:
            SettingsError: several recordings could be meant; with its own spelling a row repeats an earlier one.
        """
        matches = match_names(map(str, self.rows["recording"].unique()), recordings, self.file.name)
        if not matches.respelt:
            return self
        rows = self.rows.assign(recording=self.rows["recording"].map(matches.names).astype("str"))
        repeated = rows[rows.duplicated(_IDENTITY)]
        if len(repeated):
            row = repeated.iloc[0]
            raise SettingsError(
                f"{self.file.name}: the rating in line {row['line']} repeats one of {shown(row['recording'])} by the "
                "same rater at the same time, in which the recording's name is written differently",
                "keep one of them",
            )
        return replace(self, rows=rows, notices=self.notices + matches.notice(self.file.name, source))


@dataclass(frozen=True)
class Events:
    """Events in the recordings.

    Attributes:
        file: where they come from.
        rows: `recording`, `time_s`, `label`, in the file's order.
        notices: what was matched in spite of its spelling.
    """

    file: SourceFile
    rows: pd.DataFrame
    notices: tuple[str, ...] = ()

    def matched_to(self, recordings: Sequence[str]) -> Events:
        """These events with the recordings' own spelling of their names.

        Raises:
            SettingsError: several recordings could be meant.
        """
        matches = match_names(map(str, self.rows["recording"].unique()), recordings, self.file.name)
        rows = self.rows.assign(recording=self.rows["recording"].map(matches.names).astype("str"))
        return replace(self, rows=rows, notices=self.notices + matches.notice(self.file.name, "the scores"))


def read_ratings(source: Table) -> Ratings:
    """Read ratings and rescale each linearly from its scale to 0 to 10 points (NIPS: x 10/7; BPS: (x - 3) 10/9).

    Args:
        source: .csv, .parquet or .jsonl, or a DataFrame, with `recording`, then `time_s` or `start_s` and `end_s`,
            `value`, and optionally `scale` (default NRS) and `rater` (default: a single rater).

    Raises:
        SettingsError: a table that cannot be read, lacks columns or has both forms of time; a row with a missing
            value, text for a number, an unknown scale, a value outside its scale, a negative time or an end not after
            its start; two rows of a rater for the same time.
    """
    return ratings_in(read_sheet(source, RATING_COLUMNS, "table of ratings", REQUIRED_CELLS))


def ratings_in(sheet: Sheet) -> Ratings:
    """The ratings of a sheet with the columns that `read_ratings` reads; raises as that."""
    sheet.require(
        ("recording", "value"),
        "table of ratings",
        "it needs recording, time_s or start_s and end_s, and value",
    )
    recording = sheet.filled("recording").to_pandas()
    start_s, end_s = _times(sheet)
    scales = _scales(sheet)
    lowest, highest = np.array([(scale.lowest, scale.highest) for scale in scales], dtype=np.float64).T
    value = sheet.numbers("value")
    if np.isnan(value).any():
        raise sheet.fault(np.isnan(value), "value is empty", "fill it in or remove the row")
    wrong = ~((value >= lowest) & (value <= highest))
    if wrong.any():
        row = int(np.flatnonzero(wrong)[0])
        scale = scales[row]
        problem = f"value {value[row]:g} is outside its scale, {scale.label} from {scale.lowest:g} to {scale.highest:g}"
        raise sheet.fault(wrong, problem, "fix the value, or name its scale in a column `scale`")
    rater, notices = _raters(sheet)
    rows = pd.DataFrame(
        {
            "line": sheet.lines,
            "recording": recording,
            "start_s": start_s,
            "end_s": end_s,
            # Multiplied first, so that the highest value of a scale becomes exactly 10.
            "value": (value - lowest) * HIGHEST_POINTS / (highest - lowest),
            "rater": rater,
            "scale": pd.Series([scale.label for scale in scales], dtype="str"),
        }
    )
    repeated = rows.duplicated(_IDENTITY).to_numpy()
    if repeated.any():
        raise sheet.fault(
            repeated,
            "the same recording, rater and time as an earlier row",
            "keep one of them, or name the raters in a column `rater`",
        )
    scale_labels, raters = (tuple(map(str, rows[name].unique())) for name in ("scale", "rater"))
    pack = sheet.strings("pack") if "pack" in sheet.columns else pd.Series(dtype="str")
    packs = tuple(map(str, pack.dropna().unique()))
    return Ratings(sheet.file, rows, scale_labels, raters, notices, packs, bool(packs) and bool(pack.notna().all()))


def _raters(sheet: Sheet) -> tuple[pd.Series[str], tuple[str, ...]]:
    """The rater of each row, and what was merged."""
    if "rater" not in sheet.columns:
        return pd.Series([DEFAULT_RATER] * sheet.rows, dtype="str"), ()
    written = sheet.strings("rater").fillna(DEFAULT_RATER)
    spellings = merge_spellings(written)
    notices = spellings.notice(sheet.path.name, "rater")
    unnamed = int(sheet.strings("rater").isna().sum())
    if 0 < unnamed < sheet.rows:
        notices += (f"{sheet.path.name}: {plural(unnamed, 'row')} without a rater, who counts as {DEFAULT_RATER!r}",)
    return written.map(spellings.names).astype("str"), notices


def _times(sheet: Sheet) -> tuple[Floats, Floats]:
    """Start and end of each rating in seconds; the end is NaN where ratings are given at one time."""
    point = "time_s" in sheet.columns
    interval: list[str] = [name for name in ("start_s", "end_s") if name in sheet.columns]
    if point == bool(interval) or len(interval) == 1:
        present = ", ".join(["time_s"] * point + interval) or "neither"
        raise SettingsError(
            f"{sheet.path}: ratings have either time_s or both start_s and end_s; found {present}",
            "give one form of time; a rating at one time may be written with start_s and end_s around it",
        )
    start_s = sheet.numbers("time_s" if point else "start_s")
    name = "time_s" if point else "start_s"
    if not (start_s >= 0.0).all():
        raise sheet.fault(~(start_s >= 0.0), f"{name} is empty or negative", "seconds after the recording's start")
    if point:
        return start_s, np.full(sheet.rows, np.nan)
    end_s = sheet.numbers("end_s")
    if not (end_s > start_s).all():
        raise sheet.fault(~(end_s > start_s), "end_s is empty or not after start_s", "fix the times")
    return start_s, end_s


def _scales(sheet: Sheet) -> list[Scale]:
    """The scale of each row."""
    names = sheet.strings("scale").fillna("") if "scale" in sheet.columns else pd.Series([""] * sheet.rows, dtype="str")
    known: dict[str, Scale] = {}
    for name in map(str, names.unique()):
        try:
            known[name] = parse_scale(tidy(name))
        except ScaleError as error:
            raise sheet.fault((names == name).to_numpy(), error.problem, error.remedy) from None
    return [known[name] for name in names]


def read_events(source: Table) -> Events:
    """Read events.

    Args:
        source: .csv, .parquet or .jsonl, or a DataFrame, with `recording`, `time_s` and `label`.

    Raises:
        SettingsError: a table that cannot be read or lacks columns, an empty cell, or a time that is negative or not a
            number.
    """
    sheet = read_sheet(source, ("recording", "time_s", "label"), "table of events")
    sheet.require(("recording", "time_s", "label"), "table of events", "it needs recording, time_s and label")
    recording, label = (sheet.filled(name).to_pandas() for name in ("recording", "label"))
    time_s = sheet.numbers("time_s")
    if not (time_s >= 0.0).all():
        raise sheet.fault(~(time_s >= 0.0), "time_s is empty or negative", "seconds after the recording's start")
    return Events(sheet.file, pd.DataFrame({"recording": recording, "time_s": time_s, "label": label}))
