"""What the ratings of all files together may not have, and what a person should know about them."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path

from avpenet_cli.errors import SettingsError
from avpenet_cli.keys import shown
from avpenet_cli.phrasing import plural
from avpenet_cli.ratings.importing.ratings import LATE_S, TOLERANCE_S, ImportedRating
from avpenet_cli.ratings.importing.recordings import Recordings, may_be_one_file
from avpenet_cli.study.ratings import DEFAULT_RATER

_SHOWN = 3


def check_same_files(ratings: Sequence[ImportedRating]) -> None:
    """Check that a rater's ratings of a recording are not of two files of one name in different folders.

    Copies on the machines of two raters have different folders, too; one rater has one copy.

    Raises:
        SettingsError: they are; names both files.
    """
    names: dict[tuple[str, str], dict[str, ImportedRating]] = {}
    for rating in ratings:
        names.setdefault((rating.rater, rating.recording), {}).setdefault(rating.media, rating)
    for (rater, recording), files in names.items():
        for first, second in itertools.combinations(files, 2):
            if not may_be_one_file(first, second):
                raise SettingsError(
                    f"{shown(rater)} rated {shown(first)} ({files[first].place}) and {shown(second)} "
                    f"({files[second].place}), which would both be the recording {shown(recording)}",
                    "give a table of recordings whose names have these folders (--recordings), or import one at a time",
                )


def check_overlaps(ratings: Sequence[ImportedRating]) -> None:
    """Check that no rater rated a recording twice at a time.

    Segments of a sample may overlap, as those of scores with a stride below their length do, and each has its rating.

    Raises:
        SettingsError: one did; names both rows.
    """
    ordered = sorted(ratings, key=lambda rating: (rating.recording, rating.rater, rating.start_s))
    for rating, other in itertools.pairwise(ordered):
        if (rating.recording, rating.rater) != (other.recording, other.rater):
            continue
        point = rating.end_s is None
        until_s = rating.start_s + TOLERANCE_S if rating.end_s is None else rating.end_s - TOLERANCE_S
        if other.start_s >= until_s:
            continue
        if rating.pack and rating.pack == other.pack and _times(rating) != _times(other):
            continue
        first, second = f"{_times(rating)} ({rating.place})", f"{_times(other)} ({other.place})"
        remedy = "keep one of them, or name the raters in a map"
        if rating.scale != other.scale:
            remedy = "import one scale at a time, since a table has one rating for each rater and time"
        what = "twice at the same time" if point else "twice at times that overlap"
        raise SettingsError(
            f"{shown(rating.rater)} rated {shown(rating.recording)} {what}: {first} and {second}", remedy
        )


def _times(rating: ImportedRating) -> str:
    return f"{rating.start_s:g} s" if rating.end_s is None else f"{rating.start_s:g} to {rating.end_s:g} s"


def notices_of(ratings: Sequence[ImportedRating], recordings: Recordings, files: Sequence[Path]) -> tuple[str, ...]:
    """What a person should know: names that do not fit in full, ratings without a rater, and ends that are too late.

    Args:
        files: that the ratings are from.
    """
    notices = [
        *_matched("without their suffixes", recordings.without_suffix),
        *_matched("in spite of other folders", recordings.in_other_folders),
    ]
    unnamed = sum(rating.rater == DEFAULT_RATER for rating in ratings)
    remedy = "name raters in a map: rater, rater_column or rater_from_file"
    if unnamed == len(ratings) and len(files) > 1:
        notices.append(f"no file says who rated: all ratings count as one rater's; {remedy}")
    elif 0 < unnamed < len(ratings):
        notices.append(f"{plural(unnamed, 'rating')} without a rater, who counts as {DEFAULT_RATER!r}; {remedy}")
    lengths = recordings.ends_s
    late = [
        rating.end_s - lengths[rating.recording]
        for rating in ratings
        if rating.end_s is not None and rating.end_s > lengths.get(rating.recording, rating.end_s) + LATE_S
    ]
    if late:
        notices.append(
            f"{plural(len(late), 'rating')} ending after the recording's end, by up to {max(late):.1f} s: check the "
            "times and their unit"
        )
    where = files[0].name if len(files) == 1 else "the files"
    return tuple(f"{where}: {notice}" for notice in notices)


def _matched(how: str, names: Mapping[str, str]) -> list[str]:
    listed = ", ".join(f"{shown(name)} as {shown(recording)}" for name, recording in list(names.items())[:_SHOWN])
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return [f"matched {how}: {listed}{more}"] if names else []
