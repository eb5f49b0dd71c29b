"""Write a table of ratings in the forms of BORIS, ELAN, REDCap and CARMA, to try `avpenet ratings import` with.

`python -m examples.make_rating_files RATINGS --out FOLDER`. The files have what those programs write of a rating, and
nothing else that their projects have.
"""

from __future__ import annotations

import argparse
import csv
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from xml.sax.saxutils import escape, quoteattr

from avpenet_cli.errors import SettingsError
from avpenet_cli.study.ratings import read_ratings
from avpenet_cli.study.scales import SCALES

BIN_S = 1.0
"""Bins that CARMA averages, s; recordings with other ratings have no file."""
EVENT, INSTRUMENT = "ward_arm_1", "pain_rating"
Row = Mapping[str, str]


def make_rating_files(table: Path, folder: Path) -> None:
    """Write `study.boris`, `elan/`, `redcap.csv` and `carma/`.

    Args:
        table: of ratings with start_s, end_s, rater and scale, each a known scale.
        folder: created; its files are replaced.

    Raises:
        SettingsError: the table cannot be read or has other ratings.
    """
    read_ratings(table)
    with table.open(encoding="utf-8", newline="") as file:
        rows: list[Row] = list(csv.DictReader(file))
    needed = {"recording", "start_s", "end_s", "value", "rater", "scale"}
    if not rows or not needed <= rows[0].keys() or not {row["scale"] for row in rows} <= set(SCALES):
        raise SettingsError(f"{table} has no start_s, end_s, rater and scale, or another scale", "give another table")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "study.boris").write_text(json.dumps(boris_project(rows), indent=1), encoding="utf-8")
    (folder / "elan").mkdir(exist_ok=True)
    for number, (recording, group) in enumerate(_groups(rows, "recording"), 1):
        (folder / "elan" / f"{number:03}.eaf").write_text(_elan(recording[0], group), encoding="utf-8")
    with (folder / "redcap.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows(_redcap(rows))
    (folder / "carma").mkdir(exist_ok=True)
    for number, ((recording_name, rater), group) in enumerate(_groups(rows, "recording", "rater"), 1):
        if _has_bins(group):
            text = _carma(recording_name, group)
            (folder / "carma" / f"{number:03}_{rater}.csv").write_text(text, encoding="utf-8")


def _groups(rows: Sequence[Row], *names: str) -> Iterator[tuple[tuple[str, ...], list[Row]]]:
    groups: dict[tuple[str, ...], list[Row]] = {}
    for row in rows:
        groups.setdefault(tuple(row[name] for name in names), []).append(row)
    yield from groups.items()


def boris_project(rows: Sequence[Row]) -> dict[str, object]:
    """A project: an observation for each recording and rater, a state for each rating, its modifier the value.

    Args:
        rows: of a table of ratings: recording, start_s, end_s, value, rater, scale.
    """
    observations: dict[str, object] = {}
    for (recording, rater), group in _groups(rows, "recording", "rater"):
        events = [
            [float(row[time]), "", row["scale"], row["value"], ""] for row in group for time in ("start_s", "end_s")
        ]
        longest_s = max(float(row["end_s"]) for row in group)
        media = f"/videos/{rater}/{recording}"
        observations[f"{recording} {rater}"] = {
            "file": {"1": [media]},
            "type": "MEDIA",
            "date": "2026-10-01T08:00:00",
            "description": "",
            "time offset": 0.0,
            "events": events,
            "independent_variables": {"observer": rater},
            "media_info": {"length": {media: longest_s}},
        }
    behaviors = {
        str(number): {"type": "State event", "key": str(number), "code": scale, "modifiers": {}}
        for number, scale in enumerate(dict.fromkeys(row["scale"] for row in rows))
    }
    return {"project_format_version": "7.0", "behaviors_conf": behaviors, "observations": observations}


def _elan(recording: str, rows: Sequence[Row]) -> str:
    """A document: a tier for each scale and rater."""
    slots, tiers, number = [], [], 0
    for (scale, rater), group in _groups(rows, "scale", "rater"):
        lines = [f'  <TIER TIER_ID={quoteattr(f"{scale}@{rater}")} LINGUISTIC_TYPE_REF="rating">']
        for row in group:
            number += 1
            names = (f"ts{2 * number - 1}", f"ts{2 * number}")
            for name, time in zip(names, ("start_s", "end_s"), strict=True):
                slots.append(f'    <TIME_SLOT TIME_SLOT_ID="{name}" TIME_VALUE="{round(1000 * float(row[time]))}"/>')
            lines += [
                f'    <ANNOTATION><ALIGNABLE_ANNOTATION ANNOTATION_ID="a{number}" TIME_SLOT_REF1="{names[0]}" '
                f'TIME_SLOT_REF2="{names[1]}">',
                f"      <ANNOTATION_VALUE>{escape(row['value'])}</ANNOTATION_VALUE>",
                "    </ALIGNABLE_ANNOTATION></ANNOTATION>",
            ]
        tiers += [*lines, "  </TIER>"]
    url = quoteattr(f"file:///videos/{recording}")
    lines = [
        '<?xml version="1.0" encoding="UTF-8"?>',
        '<ANNOTATION_DOCUMENT AUTHOR="" DATE="2026-10-01T08:00:00+00:00" FORMAT="3.0" VERSION="3.0">',
        '  <HEADER MEDIA_FILE="" TIME_UNITS="milliseconds">',
        f'    <MEDIA_DESCRIPTOR MEDIA_URL={url} MIME_TYPE="video/mp4"/>',
        "  </HEADER>",
        *("  <TIME_ORDER>", *slots, "  </TIME_ORDER>"),
        *tiers,
        '  <LINGUISTIC_TYPE GRAPHIC_REFERENCES="false" LINGUISTIC_TYPE_ID="rating" TIME_ALIGNABLE="true"/>',
        "</ANNOTATION_DOCUMENT>",
    ]
    return "\n".join(lines) + "\n"


def _redcap(rows: Sequence[Row]) -> Iterator[tuple[str, ...]]:
    """A flat export: a record for each recording, and its ratings as instances of a repeating instrument."""
    keys = ("record_id", "redcap_event_name", "redcap_repeat_instrument", "redcap_repeat_instance")
    yield (*keys, "video", "rated_from", "rated_to", "pain", "pain_scale", "rater")
    for number, ((recording,), group) in enumerate(_groups(rows, "recording"), 1):
        yield (str(number), EVENT, "", "", recording, "", "", "", "", "")
        for instance, row in enumerate(group, 1):
            cells = (row["start_s"], row["end_s"], row["value"], row["scale"], row["rater"])
            yield (str(number), EVENT, INSTRUMENT, str(instance), "", *cells)


def _has_bins(rows: Sequence[Row]) -> bool:
    """Whether ratings are of the bins one after the other, from 0 on."""
    times = [(float(row["start_s"]), float(row["end_s"])) for row in rows]
    return times == [(BIN_S * place, BIN_S * (place + 1)) for place in range(len(rows))]


def _carma(recording: str, rows: Sequence[Row]) -> str:
    scale = SCALES[rows[0]["scale"]]
    head = [
        ("Time of Rating", "01-Oct-2026 08:00:00"),
        ("Multimedia File", recording),
        ("Lower Label", "no pain"),
        ("Upper Label", "worst pain"),
        ("Minimum Value", f"{scale.lowest:g}"),
        ("Maximum Value", f"{scale.highest:g}"),
        ("Number of Steps", "9"),
        ("Second", "Rating"),
        ("%%%%%%", "%%%%%%"),
    ]
    bins = [(f"{float(row['end_s']):g}", row["value"]) for row in rows]
    return "".join(f"{first},{second}\n" for first, second in [*head, *bins])


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description="Write ratings as BORIS, ELAN, REDCap and CARMA write them.")
    parser.add_argument("ratings", type=Path, help="table of ratings (.csv)")
    parser.add_argument("--out", type=Path, required=True, help="folder for the files")
    arguments = parser.parse_args()
    try:
        make_rating_files(arguments.ratings, arguments.out)
    except SettingsError as error:
        parser.error(str(error))


if __name__ == "__main__":
    main()
