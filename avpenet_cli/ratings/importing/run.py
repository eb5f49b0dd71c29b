"""Reading files of ratings, checking them together, and writing the table of ratings."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal, get_args

from avpenet_cli.errors import SettingsError
from avpenet_cli.keys import find_look_alikes, look_alike_error, merge_spellings, nearly_alike
from avpenet_cli.phrasing import plural
from avpenet_cli.ratings.columns import rating_columns
from avpenet_cli.ratings.importing.boris import read_boris_source
from avpenet_cli.ratings.importing.checks import check_overlaps, check_same_files, notices_of
from avpenet_cli.ratings.importing.csv_source import read_csv_source, read_redcap_source
from avpenet_cli.ratings.importing.elan import read_elan_source
from avpenet_cli.ratings.importing.rating_map import RatingMap, read_map
from avpenet_cli.ratings.importing.ratings import (
    NOT_ASKED,
    SEVERAL_RECORDINGS,
    UNKNOWN_RECORDING,
    ImportedRating,
    LeftOut,
    interpret,
)
from avpenet_cli.ratings.importing.recordings import Recordings, read_recordings, refuse_unmatched
from avpenet_cli.ratings.importing.source import Source
from avpenet_cli.ratings.outputs import check_outputs
from avpenet_cli.runs.history import locked_history, read_file
from avpenet_cli.study.readers import refuse_missing
from avpenet_cli.study.score_tables import digest_of_table
from avpenet_cli.tables import Column, Row, check_format, write_table

Format = Literal["boris", "elan", "redcap", "csv"]
FORMATS: tuple[Format, ...] = get_args(Format)

_STATED = ("rated_at", "order", "pack")
"""Columns that are present where a file states what they have."""
LEFT_OUT_COLUMNS: tuple[Column, ...] = (
    Column("file", "text", "name of the file"),
    Column("place", "text", "the row's place in it"),
    Column("recording", "text", "what the file names as the row's recording"),
    Column("reason", "text", "why the row is no rating"),
)
"""Of the table of what was left out (`--left-out`)."""


@dataclass(frozen=True)
class ImportRequest:
    """What `avpenet ratings import` was asked for.

    Attributes:
        files: to import, all of one format.
        format: of them.
        map: says where the ratings are; None for the format's own way.
        recordings: tables that name the recordings; none if names are taken as they are.
        recorded_at: table of recording times; None for none.
        out: the table of ratings: .csv, .parquet or .jsonl.
        left_out: table of the rows that are no ratings; None for none.
        csv_bom: begin CSV files with a byte order mark.
        overwrite: replace `out` and `left_out`.
        command: that was given, for the history; without folders.
    """

    files: tuple[Path, ...]
    format: Format
    out: Path
    map: Path | None = None
    recordings: tuple[Path, ...] = ()
    recorded_at: Path | None = None
    left_out: Path | None = None
    csv_bom: bool = False
    overwrite: bool = False
    command: str = ""

    @property
    def outputs(self) -> tuple[Path, ...]:
        """What is written."""
        return (self.out,) if self.left_out is None else (self.out, self.left_out)


@dataclass(frozen=True)
class FileCount:
    """What became of the rows of a file; rows = imported + the sum of `left_out`.

    Attributes:
        name: of the file.
        rows: events, annotations or rows that it has.
        imported: of these, the ones that a rating was made of.
        ratings: made of them: fewer where a state's begin and end are two rows, more where a row has several values.
        left_out: rows by reason.
    """

    name: str
    rows: int
    imported: int
    ratings: int
    left_out: dict[str, int]


@dataclass(frozen=True)
class ImportSummary:
    """What was imported.

    Attributes:
        files: each file's account.
        ratings, recordings, raters, scales: of the table.
        unmatched: recordings that files name and that are not among the recordings, with their rows; or whose name fits
            several.
        unrated: number of the recordings without a rating; None where they are not known.
        notices: what a person should know.
        written: the files that were written.
    """

    files: tuple[FileCount, ...]
    ratings: int
    recordings: tuple[str, ...]
    raters: tuple[str, ...]
    scales: tuple[str, ...]
    unmatched: dict[str, int]
    unrated: int | None
    notices: tuple[str, ...]
    written: tuple[Path, ...]


def import_ratings(request: ImportRequest) -> ImportSummary:
    """Import ratings and write their table.

    Raises:
        SettingsError: a file that cannot be read as its format, a row that is neither a rating nor can be left out, one
            rater's ratings of a recording that overlap, no rating at all, none of whose recordings is known, or an
            output that would replace an input.
        OutputError: an output exists or cannot be written.
    """
    started = datetime.now(UTC)
    _check_outputs(request)
    chosen = read_map(request.map) if request.map is not None else None
    recordings = read_recordings(request.recordings, request.recorded_at)
    sources = [_read(request.format, path, chosen) for path in request.files]
    results = [list(interpret(source, recordings)) for source in sources]
    ratings = [item for items in results for item in items if isinstance(item, ImportedRating)]
    left_out = [item for items in results for item in items if isinstance(item, LeftOut)]
    unmatched = Counter[str]()
    for item in left_out:
        if item.reason in (UNKNOWN_RECORDING, SEVERAL_RECORDINGS):
            unmatched[item.recording] += item.row.size
    counts = tuple(_count(source, items) for source, items in zip(sources, results, strict=True))
    if not ratings:
        raise _nothing(request, recordings, counts, unmatched)
    ratings, notices = _one_spelling(ratings, request, recordings)
    check_same_files(ratings)
    ratings = _one_form(ratings, chosen)
    check_overlaps(ratings)
    notices += notices_of(ratings, recordings, request.files)
    stated = [name for name in _STATED if any(getattr(rating, name) not in ("", None) for rating in ratings)]
    columns = rating_columns(stated, at_once=ratings[0].end_s is None)
    read = [("map", request.map), ("recording times", request.recorded_at)]
    files = [read_file("ratings", path) for path in request.files]
    files += [read_file(content, path) for content, path in read if path is not None]
    files += [replace(read_file("scores", path), scores_digest=digest_of_table(path)) for path in request.recordings]
    with locked_history(request.out) as history:
        write_table(request.out, map(_row, ratings), columns, byte_order_mark=request.csv_bom)
        if request.left_out is not None:
            rows = map(_left_out_row, left_out)
            write_table(request.left_out, rows, LEFT_OUT_COLUMNS, byte_order_mark=request.csv_bom)
        history.append("ratings import", written=request.outputs, read=files, command=request.command, started=started)
    rated = dict.fromkeys(rating.recording for rating in ratings)
    return ImportSummary(
        files=counts,
        ratings=len(ratings),
        recordings=tuple(rated),
        raters=tuple(dict.fromkeys(rating.rater for rating in ratings)),
        scales=tuple(dict.fromkeys(rating.scale for rating in ratings)),
        unmatched=dict(unmatched),
        unrated=sum(name not in rated for name in recordings.names) if recordings.names else None,
        notices=(*recordings.notices, *(notice for source in sources for notice in source.notices), *notices),
        written=request.outputs,
    )


def _check_outputs(request: ImportRequest) -> None:
    for output in request.outputs:
        check_format(output)
    inputs = (*request.files, request.map, *request.recordings, request.recorded_at)
    check_outputs(request.outputs, inputs, overwrite=request.overwrite)
    if request.left_out is not None and request.left_out.resolve() == request.out.resolve():
        raise SettingsError(f"--left-out {request.left_out}: is the same file as --out", "give another name")


def _read(kind: Format, path: Path, chosen: RatingMap | None) -> Source:
    readers: dict[Format, Callable[[Path, RatingMap | None], Source]] = {
        "boris": read_boris_source,
        "elan": read_elan_source,
        "redcap": read_redcap_source,
        "csv": read_csv_source,
    }
    refuse_missing(path, "file of ratings")
    return readers[kind](path, chosen)


def _count(source: Source, items: Sequence[ImportedRating | LeftOut]) -> FileCount:
    imported = {id(item.row): item.row.size for item in items if isinstance(item, ImportedRating)}
    left_out = Counter[str]()
    seen = set(imported)
    for item in items:
        # A row with several values, of which some are ratings, counts as imported; else its first reason counts.
        if isinstance(item, LeftOut) and id(item.row) not in seen:
            seen.add(id(item.row))
            left_out[item.reason] += item.row.size
    rows = sum(row.size for row in source.rows)
    count = sum(isinstance(item, ImportedRating) for item in items)
    return FileCount(source.path.name, rows, sum(imported.values()), count, dict(left_out))


def _nothing(
    request: ImportRequest, recordings: Recordings, counts: Sequence[FileCount], unmatched: Counter[str]
) -> SettingsError:
    where = request.files[0] if len(request.files) == 1 else f"{len(request.files)} files"
    if unmatched and sum(unmatched.values()) == sum(
        number for count in counts for why, number in count.left_out.items() if why != NOT_ASKED
    ):
        return refuse_unmatched(recordings, list(unmatched), str(where))
    reasons = Counter[str]()
    for count in counts:
        reasons.update(count.left_out)
    listed = ", ".join(f"{number} {reason}" for reason, number in reasons.most_common(4))
    rows = plural(sum(count.rows for count in counts), "row")
    return SettingsError(
        f"{where}: no rating in {rows}{f' ({listed})' if listed else ''}", "check --from, or describe the file in a map"
    )


def _one_spelling(
    ratings: list[ImportedRating], request: ImportRequest, recordings: Recordings
) -> tuple[list[ImportedRating], tuple[str, ...]]:
    """The ratings with one spelling of each rater and recording, and what was merged or matched.

    Raises:
        SettingsError: two raters' or recordings' names look the same but have other characters.
    """
    where = request.files[0].name if len(request.files) == 1 else "the files"
    raters = merge_spellings(rating.rater for rating in ratings)
    names = merge_spellings(rating.recording for rating in ratings)
    for noun, spellings in (("rater", raters), ("recording", names)):
        known = recordings.names and noun == "recording"
        if not known and (pair := find_look_alikes(dict.fromkeys(spellings.names.values()))) is not None:
            raise look_alike_error(where, noun, pair)
    # Recordings that are known have their own spelling already.
    if recordings.names:
        names = replace(names, names={name: name for name in names.names}, merged={})
    merged = [
        replace(rating, rater=raters.names[rating.rater], recording=names.names[rating.recording]) for rating in ratings
    ]
    notices = raters.notice(where, "rater") + names.notice(where, "recording")
    notices += nearly_alike(dict.fromkeys(raters.names.values()), where, "rater")
    return merged, notices


def _one_form(ratings: list[ImportedRating], chosen: RatingMap | None) -> list[ImportedRating]:
    """The ratings, all with an end or all without.

    Raises:
        SettingsError: some have an end and the others have none, and the map does not say how long those hold.
    """
    points = sum(rating.end_s is None for rating in ratings)
    hold_s = chosen.hold_s if chosen is not None else None
    if points and hold_s is not None:
        return [
            rating if rating.end_s is not None else replace(rating, end_s=rating.start_s + hold_s) for rating in ratings
        ]
    if 0 < points < len(ratings):
        point = next(rating for rating in ratings if rating.end_s is None)
        raise SettingsError(
            f"{point.place}: a rating at one time, but {plural(len(ratings) - points, 'rating')} of {len(ratings)} "
            "have a start and an end",
            "say in a map how long ratings at one time hold: hold_s = 10.0",
        )
    return ratings


def _row(rating: ImportedRating) -> Row:
    return {
        "recording": rating.recording,
        "start_s": rating.start_s,
        "end_s": rating.end_s,
        "time_s": rating.start_s,
        "value": rating.value,
        "rater": rating.rater,
        "scale": rating.scale,
        "rated_at": rating.rated_at or None,
        "order": rating.order,
        "pack": rating.pack or None,
    }


def _left_out_row(item: LeftOut) -> Row:
    return {
        "file": item.source.path.name,
        "place": item.row.place,
        "recording": item.recording,
        "reason": item.reason,
    }
