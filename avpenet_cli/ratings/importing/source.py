"""What the reader of each format gives: rows with named cells, their place in the file, and the media they are of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

from avpenet_cli.errors import SettingsError
from avpenet_cli.keys import normalise_key
from avpenet_cli.ratings.importing.rating_map import RatingMap

_KEYS = 1 << 16
"""Names and words whose keys are remembered: each is looked up once for every row."""


@dataclass(frozen=True)
class Media:
    """A media file that a row may be of.

    Attributes:
        name: as the file writes it, with folders and suffix.
        shift_s: what to add to the row's times to have seconds after this file's start.
        length_s: of the media file; None where it is not stated.
    """

    name: str
    shift_s: float = 0.0
    length_s: float | None = None


@dataclass(frozen=True)
class SourceRow:
    """A row of a table, an event of a BORIS project, an annotation of an ELAN file.

    Attributes:
        place: where it is, for messages: `line 12`.
        cells: text by `column_key`.
        size: rows of the file that it was made from: 2 for a state that begins in one row and ends in another.
        times: start and end, s, where the format states them itself; the end is None for a row at one time.
        media: what it may be of, where the format states that itself.
        left_out: why it cannot be a rating; empty if it can.
    """

    place: str
    cells: Mapping[str, str]
    size: int = 1
    times: tuple[float, float | None] | None = None
    media: tuple[Media, ...] = ()
    left_out: str = ""


@dataclass(frozen=True)
class Source:
    """A file as its reader read it.

    Attributes:
        path: of the file.
        rows: in the file's order.
        columns: names of its columns, as written.
        chosen: the map, with what the format fills in.
        stated: by `column_key`, what lines above the header state.
        decimal_comma: whether a comma may be the decimal mark.
        notices: what a person should know about the file.
    """

    path: Path
    rows: tuple[SourceRow, ...]
    columns: tuple[str, ...]
    chosen: RatingMap
    stated: Mapping[str, str] = field(default_factory=dict)
    decimal_comma: bool = False
    notices: tuple[str, ...] = ()

    def text(self, row: SourceRow, name: str) -> str:
        """A cell, or what a line above the header states, without white space around it; empty where there is none."""
        key = column_key(name)
        return (row.cells[key] if key in row.cells else self.stated.get(key, "")).strip()

    def require_columns(self) -> None:
        """Check that the columns of the map exist, or lines above the header with that label; raises as `require`."""
        self.require(self.chosen.rater_column, self.chosen.rated_at, self.chosen.order, self.chosen.pack)
        for block in self.chosen.ratings:
            names = (block.value, block.scale_column, block.rater_column, block.lowest, block.highest)
            self.require(*names, *block.where)

    def fault(self, row: SourceRow, problem: str, remedy: str) -> SettingsError:
        """An error about a row."""
        return SettingsError(f"{self.path}: {row.place}: {problem}", remedy)

    def require(self, *names: str | None) -> None:
        """Check that columns exist, or lines above the header with that label.

        Raises:
            SettingsError: one does not; names the columns that do.
        """
        known = {column_key(name) for name in self.columns} | set(self.stated)
        missing = [name for name in names if name and column_key(name) not in known]
        if missing:
            there = ", ".join(map(repr, self.columns[:12])) + (", ..." if len(self.columns) > 12 else "")
            raise SettingsError(
                f"{self.path}: no column {', '.join(map(repr, missing))} (its columns: {there})",
                "name the columns in a map (--map)",
            )


def refuse_media_and_times(path: Path, chosen: RatingMap, *names: str) -> None:
    """Refuse a map that says where times or media are, for a format that states them itself.

    Args:
        names: further settings that the format has no use for.

    Raises:
        SettingsError: it does.
    """
    settings = ("recording", "start", "end", "time", "length_s", "date", "zone", *names)
    contradicting = [name for name in settings if getattr(chosen, name)] + ["unit"] * (chosen.unit != "s")
    if contradicting:
        problem = f"the map gives {contradicting[0]}, but files of this format state times and media themselves"
        raise SettingsError(f"{path}: {problem}", "leave it out")


@lru_cache(maxsize=_KEYS)
def column_key(name: str) -> str:
    """What two spellings of a column's name, or of a word in a cell, share."""
    return normalise_key(name)
