"""From the rows of a source to ratings: recording, times, value, rater and scale, or why a row is none."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass

from avpenet_cli.errors import SettingsError
from avpenet_cli.keys import shown, tidy
from avpenet_cli.ratings.importing.rating_map import RatingColumns
from avpenet_cli.ratings.importing.recordings import Recordings
from avpenet_cli.ratings.importing.source import Media, Source, SourceRow, column_key
from avpenet_cli.ratings.importing.times import TimeError, parse_clock, parse_number, parse_offset
from avpenet_cli.study.ratings import DEFAULT_RATER
from avpenet_cli.study.scales import DEFAULT_SCALE, Scale, ScaleError, parse_scale, scale_cell
from avpenet_cli.study.sheets import quoted

TOLERANCE_S = 0.001
"""Times are written to a millisecond; ratings that overlap by less follow one another."""
LATE_S = 1.0
"""A time may be this much after the end that its media file states, s, because lengths are measured in several ways."""

NOT_ASKED = "of another kind than the ratings"
NO_VALUE = "without a value"
NO_RECORDING = "without a recording"
UNKNOWN_RECORDING = "of a recording that is not among the recordings"
SEVERAL_RECORDINGS = "of a recording whose name fits several"
NO_TIME = "without a time"
NO_START = "with a clock time, of a recording whose start is not known"
BEFORE_START = "before the recording starts"
AFTER_END = "after the recording's end"


@dataclass(frozen=True)
class ImportedRating:
    """A rating.

    Attributes:
        source, row: where it comes from.
        recording: as the recordings are named.
        start_s: when it begins to hold, or the time that it was given at.
        end_s: until when it holds; None for a rating at one time.
        value: on its own scale.
        rater: who rated.
        scale: as the table names it, see `study.scales.scale_cell`.
        media: what the file names as its recording.
        rated_at: when it was rated, as the file states it; empty where it does not.
        order: place in the rater's order of rating; None where the file states none.
        pack: of the sample that was rated (`study.pack`); empty where the file names none.
    """

    source: Source
    row: SourceRow
    recording: str
    start_s: float
    end_s: float | None
    value: float
    rater: str
    scale: str
    media: str
    rated_at: str = ""
    order: int | None = None
    pack: str = ""

    @property
    def place(self) -> str:
        """File and place in it, for messages."""
        return f"{self.source.path.name} {self.row.place}"


@dataclass(frozen=True)
class LeftOut:
    """A row, or a part of it, that is no rating.

    Attributes:
        source, row: which.
        reason: one of this module's reasons, or one that the format gave.
        recording: what the file names as its recording; empty where it names none.
    """

    source: Source
    row: SourceRow
    reason: str
    recording: str = ""


def interpret(source: Source, recordings: Recordings) -> Iterator[ImportedRating | LeftOut]:
    """Each row's ratings, or the reason why it is none.

    Raises:
        SettingsError: a value that is no number or outside its scale, an unknown scale, a time that is none or
            negative, an end that is not after its start. Names the row.
    """
    scales: dict[tuple[str, str, str], Scale] = {}
    rater_of_file = _rater_of_file(source)
    for row in source.rows:
        blocks = [block for block in source.chosen.ratings if _asked(source, row, block)]
        if not blocks or row.left_out:
            yield LeftOut(source, row, row.left_out if blocks else NOT_ASKED, row.media[0].name if row.media else "")
            continue
        for block in blocks:
            yield _interpreted(source, row, block, recordings, scales, rater_of_file)


def _asked(source: Source, row: SourceRow, block: RatingColumns) -> bool:
    for name, wanted in block.where.items():
        texts = {column_key(text) for text in ((wanted,) if isinstance(wanted, str) else wanted)}
        if column_key(source.text(row, name)) not in texts:
            return False
    return True


def _interpreted(
    source: Source,
    row: SourceRow,
    block: RatingColumns,
    recordings: Recordings,
    scales: dict[tuple[str, str, str], Scale],
    rater_of_file: str,
) -> ImportedRating | LeftOut:
    text = source.text(row, block.value)
    media = row.media or _named_media(source, row)
    written = media[0].name if media else ""
    if not text or column_key(text) in {column_key(word) for word in source.chosen.missing}:
        return LeftOut(source, row, NO_VALUE, written)
    value = _value(source, row, block, text)
    scale = _scale(source, row, block, scales)
    if not scale.lowest <= value <= scale.highest:
        problem = f"value {value:g} is outside its scale, {scale.label} from {scale.lowest:g} to {scale.highest:g}"
        raise source.fault(row, problem, "fix the value, or name its scale in the map")
    if not media:
        return LeftOut(source, row, NO_RECORDING)
    matches = [(item, match) for item in media if (match := recordings.match(item.name)).recording]
    # Of a video and its audio track, the one that was scored has the times.
    matches.sort(key=lambda pair: pair[1].without_suffix)
    matched = [(item, match.recording) for item, match in matches]
    if not matched:
        several = any(recordings.match(item.name).candidates for item in media)
        return LeftOut(source, row, SEVERAL_RECORDINGS if several else UNKNOWN_RECORDING, written)
    item, recording = matched[0]
    other = next((name for _, name in matched if name != recording), None)
    if other is not None:
        problem = f"it is of {shown(recording)} and of {shown(other)} at the same time"
        raise source.fault(row, problem, "give only one of the cameras in --recordings, or recording_name in a map")
    times = _times(source, row, item, recordings, recording)
    if isinstance(times, str):
        return LeftOut(source, row, times, written)
    rater = _rater(source, row, block, rater_of_file)
    chosen = source.chosen
    rated_at, pack = (source.text(row, column) if column else "" for column in (chosen.rated_at, chosen.pack))
    return ImportedRating(
        source,
        row,
        recording,
        *times,
        value,
        rater=rater,
        scale=scale_cell(scale),
        media=item.name,
        rated_at=rated_at,
        order=_order(source, row),
        pack=pack,
    )


def _order(source: Source, row: SourceRow) -> int | None:
    text = source.text(row, source.chosen.order) if source.chosen.order else ""
    number = parse_number(text, decimal_comma=source.decimal_comma) if text else None
    if text and (number is None or not number.is_integer()):
        problem = f"{source.chosen.order} is {quoted(text)}, not a whole number"
        raise source.fault(row, problem, "give the place in the rater's order, from 1")
    return None if number is None else int(number)


def _named_media(source: Source, row: SourceRow) -> tuple[Media, ...]:
    chosen = source.chosen
    name = chosen.recording_name or (source.text(row, chosen.recording) if chosen.recording else "")
    return (Media(name),) if name else ()


def _value(source: Source, row: SourceRow, block: RatingColumns, text: str) -> float:
    by_text = {column_key(word): number for word, number in block.values.items()}
    key = column_key(text)
    number = by_text[key] if key in by_text else parse_number(text, decimal_comma=source.decimal_comma)
    if number is None:
        remedy = "write a number, or give its number under `values` or the text under `missing` in the map"
        raise source.fault(row, f"{block.value} is {quoted(text)}, not a number", remedy)
    return number


def _scale(source: Source, row: SourceRow, block: RatingColumns, scales: dict[tuple[str, str, str], Scale]) -> Scale:
    name = block.scale or (source.text(row, block.scale_column) if block.scale_column else "")
    lowest, highest = (source.text(row, column) if column else "" for column in (block.lowest, block.highest))
    key = (name, lowest, highest)
    if key not in scales:
        try:
            scale = parse_scale(tidy(name))
        except ScaleError as error:
            raise source.fault(row, error.problem, error.remedy) from None
        for stated, limit, column in ((lowest, scale.lowest, block.lowest), (highest, scale.highest, block.highest)):
            if stated and parse_number(stated, decimal_comma=source.decimal_comma) != limit:
                problem = f"{column} is {quoted(stated)}, but the scale {name or DEFAULT_SCALE} has {limit:g} there"
                raise source.fault(row, problem, "name the scale with its range in the map, as name:min:max")
        scales[key] = scale
    return scales[key]


def _rater_of_file(source: Source) -> str:
    chosen = source.chosen
    if chosen.rater_from_file is None:
        return chosen.rater or ""
    match = re.search(chosen.rater_from_file, source.path.stem)
    if match is None or not match[1]:
        raise SettingsError(
            f"{source.path}: rater_from_file, {chosen.rater_from_file!r}, finds no rater in the file's name",
            "change it in the map, or the file's name",
        )
    return match[1]


def _rater(source: Source, row: SourceRow, block: RatingColumns, rater_of_file: str) -> str:
    if block.rater:
        return tidy(block.rater)
    column = block.rater_column or source.chosen.rater_column
    return tidy(source.text(row, column) if column else rater_of_file) or DEFAULT_RATER


def _times(
    source: Source, row: SourceRow, media: Media, recordings: Recordings, recording: str
) -> tuple[float, float | None] | str:
    """Start and end after the recording's start, s, or why there are none."""
    if row.times is None:
        stated = _stated_times(source, row, recordings, recording)
        if isinstance(stated, str):
            return stated
        start_s, end_s = stated
    else:
        start_s, end_s = row.times
    start_s += media.shift_s
    end_s = end_s if end_s is None else end_s + media.shift_s
    # What is shorter than a written time can show has one time.
    if end_s is not None and end_s - start_s < TOLERANCE_S:
        if end_s < start_s or row.times is None:
            raise source.fault(row, f"end {end_s:g} s is not after start {start_s:g} s", "fix the times")
        end_s = None
    length_s = min(media.length_s or math.inf, recordings.ends_s.get(recording, math.inf))
    if start_s < 0.0:
        if row.times is None and source.chosen.unit != "clock":
            raise source.fault(row, f"time {start_s:g} s is negative", "seconds after the recording's start")
        return BEFORE_START
    if start_s > length_s + LATE_S:
        return AFTER_END
    return start_s, end_s


def _stated_times(
    source: Source, row: SourceRow, recordings: Recordings, recording: str
) -> tuple[float, float | None] | str:
    chosen = source.chosen
    columns = (chosen.time,) if chosen.time else tuple(name for name in (chosen.start, chosen.end) if name)
    texts = [source.text(row, name) for name in columns]
    if not all(texts):
        return NO_TIME
    began = recordings.starts.get(recording)
    if chosen.unit == "clock" and began is None:
        return NO_START
    day = source.text(row, chosen.date) if chosen.date else ""
    seconds: list[float] = []
    for text in texts:
        try:
            if chosen.unit != "clock":
                seconds.append(parse_offset(text, chosen.unit, decimal_comma=source.decimal_comma))
            elif began is not None:
                seconds.append(parse_clock(text, day, began, chosen.zone))
        except TimeError as error:
            raise source.fault(row, error.problem, error.remedy) from None
    if chosen.time:
        return seconds[0], None
    if chosen.length_s is None:
        return seconds[0], seconds[1]
    return (seconds[0], seconds[0] + chosen.length_s) if chosen.start else (seconds[0] - chosen.length_s, seconds[0])
