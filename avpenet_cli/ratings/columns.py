"""Columns of the tables that `avpenet ratings` writes: ratings, and sheets for raters to fill in."""

from __future__ import annotations

from collections.abc import Collection

from avpenet_cli.tables import Column

RECORDING = Column("recording", "text", "as in the score table")
TIMES = (
    Column("start_s", "float", "where the segment starts, seconds after the recording's start"),
    Column("end_s", "float", "where it ends"),
)
SCALE = Column("scale", "text", "of the rating")
RATER = Column("rater", "text", "name of the rater")
ORDER = Column("order", "integer", "place in the rater's order, from 1")
PACK = Column("pack", "text", "start of the digest of pack.json, by which a report recognises the sample")

SHEET_COLUMNS = (
    ORDER,
    RECORDING,
    *TIMES,
    Column("value", "text", "the rating, on the scale of the next column: for the rater to fill in"),
    SCALE,
    RATER,
    Column("rated_at", "text", "when it was rated, ISO 8601: for the rater to fill in, or to leave empty"),
    Column("comment", "text", "for the rater"),
    PACK,
)
"""Of a rating sheet, in CSV and as REDCap's records."""

_TIME = Column("time_s", "float", "when the rating was given, seconds after the recording's start")
_ITEM = Column("item", "text", "item of the scale; empty for the whole scale")
_VALUE = Column("value", "float", "the rating, on its scale")
_RATED_AT = Column("rated_at", "text", "when it was rated")
_OPTIONAL = (_ITEM, _RATED_AT, ORDER, PACK)


def rating_columns(stated: Collection[str], *, at_once: bool) -> tuple[Column, ...]:
    """Columns of a table of ratings, which `avpenet report --reference` reads.

    Args:
        stated: names among `item`, `rated_at`, `order` and `pack` of what at least one rating states.
        at_once: whether the ratings have one time; otherwise they have a start and an end.
    """
    columns = (RECORDING, *((_TIME,) if at_once else TIMES), _ITEM, _VALUE, RATER, SCALE, _RATED_AT, ORDER, PACK)
    return tuple(column for column in columns if column not in _OPTIONAL or column.name in stated)
