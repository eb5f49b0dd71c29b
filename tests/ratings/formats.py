"""Files of ratings as BORIS, ELAN, REDCap, CARMA and DARMA write them, made from the formats' documentation.

BORIS: user guide, "Export events" and "Export aggregated events", and the fields of a project file, versions 7 to 9.
ELAN: ELAN Annotation Format, EAF 3.0. REDCap: flat export of raw data with repeating instruments. CARMA and DARMA:
lines above the header, then `Second`, the rating, a line of `%%%%%%`, and a row for each bin, named by its end.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from avpenet_cli.errors import SettingsError
from avpenet_cli.ratings.importing.run import Format, ImportRequest, import_ratings
from avpenet_cli.study.ratings import read_ratings
from tests.conftest import Answer

Avpenet = Callable[..., Answer]
Event = Sequence[object]
Tier = tuple[str, str, Sequence[tuple[int | None, int | None, str]]]


def write_rows(path: Path, rows: Iterable[Sequence[object]], delimiter: str = ",") -> Path:
    """A CSV file."""
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, delimiter=delimiter).writerows(rows)
    return path


def boris_observation(
    events: Sequence[Event],
    media: Sequence[str] = ("/videos/anna/rec-1.mp4",),
    lengths: Sequence[float] = (60.0,),
    offset_s: float = 0.0,
    **variables: str,
) -> dict[str, Any]:
    """An observation of a project: each event is time, subject, behaviour, modifiers, comment."""
    return {
        "file": {"1": list(media), "2": []},
        "type": "MEDIA",
        "date": "2026-03-04T10:15:00",
        "description": "",
        "time offset": offset_s,
        "events": [list(event) for event in events],
        "independent_variables": variables,
        "media_info": {"length": dict(zip(media, lengths, strict=True)), "fps": {}, "hasVideo": {}, "hasAudio": {}},
    }


def write_boris(path: Path, observations: Mapping[str, Any], states: Sequence[str] = ("NRS",)) -> Path:
    """A project whose behaviours are `states` and the point events NIPS and cry."""
    behaviors = {
        str(number): {"type": kind, "key": str(number), "code": code, "description": "", "modifiers": {}}
        for number, (code, kind) in enumerate(
            [*((code, "State event") for code in states), ("NIPS", "Point event"), ("cry", "Point event")]
        )
    }
    project = {
        "time_format": "hh:mm:ss",
        "project_name": "study",
        "project_format_version": "7.0",
        "subjects_conf": {},
        "behaviors_conf": behaviors,
        "observations": dict(observations),
    }
    path.write_text(json.dumps(project, ensure_ascii=False, indent=1), encoding="utf-8")
    return path


AGGREGATED = (
    *("Observation id", "Observation date", "Description", "Observation type", "Source", "Time offset (s)"),
    *("Coding duration", "Media duration (s)", "FPS", "observer", "Subject"),
    *("Observation duration by subject by observation", "Behavior", "Behavioral category", "Modifier #1"),
    *("Behavior type", "Start (s)", "Stop (s)", "Duration (s)", "Media file name", "Image index start"),
    *("Image index stop", "Image file path start", "Image file path stop", "Comment start", "Comment stop"),
)
TABULAR = (
    *("Observation id", "Observation date", "Description", "Observation duration", "Observation type", "Source"),
    *("Time offset (s)", "Media duration (s)", "FPS", "observer", "Subject", "Behavior", "Behavioral category"),
    *("Modifier #1", "Behavior type", "Time", "Media file name", "Image index", "Image file path", "Comment"),
)


def boris_export_row(columns: Sequence[str], **cells: object) -> list[object]:
    """A row of an export; names of cells have `_` for blanks, and no unit or `#`."""
    by_name = {name.lower().replace(" (s)", "").replace("#", "").replace(" ", "_"): name for name in columns}
    by_column = {by_name[name]: cell for name, cell in cells.items()}
    usual = {
        "Observation id": "one",
        "Observation type": "Media file",
        "Time offset (s)": "0",
        "Subject": "No focal subject",
    }
    return [by_column.get(name, usual.get(name, "")) for name in columns]


def eaf(
    tiers: Sequence[Tier],
    media: Sequence[tuple[str, int]] = (("file:///D:/videos/rec-1.mp4", 0),),
    head: str = "",
    units: str = "milliseconds",
) -> str:
    """An annotation document: for each tier its name, annotator and annotations (start and end in ms, text)."""
    slots: list[str] = []
    body: list[str] = []
    number = 0
    for name, annotator, items in tiers:
        body.append(f'  <TIER TIER_ID="{name}" ANNOTATOR="{annotator}" LINGUISTIC_TYPE_REF="default-lt">')
        for start_ms, end_ms, text in items:
            number += 1
            names = (f"ts{2 * number - 1}", f"ts{2 * number}")
            for slot, time_ms in zip(names, (start_ms, end_ms), strict=True):
                value = "" if time_ms is None else f' TIME_VALUE="{time_ms}"'
                slots.append(f'    <TIME_SLOT TIME_SLOT_ID="{slot}"{value}/>')
            body += [
                "    <ANNOTATION>",
                f'      <ALIGNABLE_ANNOTATION ANNOTATION_ID="a{number}" TIME_SLOT_REF1="{names[0]}" '
                f'TIME_SLOT_REF2="{names[1]}">',
                f"        <ANNOTATION_VALUE>{text}</ANNOTATION_VALUE>",
                "      </ALIGNABLE_ANNOTATION>",
                "    </ANNOTATION>",
            ]
        body.append("  </TIER>")
    descriptors = [
        f'    <MEDIA_DESCRIPTOR MEDIA_URL="{url}" MIME_TYPE="video/mp4"'
        + (f' TIME_ORIGIN="{origin_ms}"/>' if origin_ms else "/>")
        for url, origin_ms in media
    ]
    return "\n".join(
        [
            '<?xml version="1.0" encoding="UTF-8"?>',
            *([head] if head else []),
            '<ANNOTATION_DOCUMENT AUTHOR="" DATE="2026-03-04T10:15:00+01:00" FORMAT="3.0" VERSION="3.0">',
            f'  <HEADER MEDIA_FILE="" TIME_UNITS="{units}">',
            *descriptors,
            '    <PROPERTY NAME="lastUsedAnnotationId">9</PROPERTY>',
            "  </HEADER>",
            "  <TIME_ORDER>",
            *slots,
            "  </TIME_ORDER>",
            *body,
            '  <LINGUISTIC_TYPE GRAPHIC_REFERENCES="false" LINGUISTIC_TYPE_ID="default-lt" TIME_ALIGNABLE="true"/>',
            "</ANNOTATION_DOCUMENT>",
            "",
        ]
    )


def carma(media: str, values: Sequence[object], bin_s: float = 1.0, lowest: float = 0, highest: float = 10) -> str:
    """CARMA's output: the mean of each bin in the row that names the bin's end; NaN for an empty bin."""
    head = [
        ("Time of Rating", "04-Mar-2026 10:15:00"),
        ("Multimedia File", media),
        ("Lower Label", "no pain"),
        ("Upper Label", "worst pain"),
        ("Minimum Value", f"{lowest:g}"),
        ("Maximum Value", f"{highest:g}"),
        ("Number of Steps", "9"),
        ("Second", "Rating"),
        ("%%%%%%", "%%%%%%"),
    ]
    rows = [(f"{bin_s * place:g}", str(value)) for place, value in enumerate(values, 1)]
    return "".join(f"{first},{second}\n" for first, second in [*head, *rows])


CARMA_MAP = """
recording = "Multimedia File"
end = "Second"
length_s = 1.0
rater_from_file = '_([^_]+)$'

[[ratings]]
value = "Rating"
scale = "NRS"
lowest = "Minimum Value"
highest = "Maximum Value"
"""


def run(avpenet: Avpenet, file: Path, kind: str, map_text: str = "", *options: str | Path) -> tuple[Answer, Path]:
    """`avpenet ratings import` of a file, by a map where one is given, into out.csv beside it."""
    out = file.parent / "out.csv"
    if map_text:
        (file.parent / "map.toml").write_text(map_text, encoding="utf-8")
        options = ("--map", file.parent / "map.toml", *options)
    return avpenet("ratings", "import", file, "--from", kind, "--out", out, *options), out


def request(file: Path, kind: Format, map_text: str = "", **more: Any) -> ImportRequest:
    """The same without the command line."""
    path = file.parent / "map.toml"
    if map_text:
        path.write_text(map_text, encoding="utf-8")
    return ImportRequest((file,), kind, file.parent / "out.csv", path if map_text else None, **more)


def refusal(file: Path, kind: Format, map_text: str = "", **more: Any) -> str:
    """The one line that refuses the file; nothing was written."""
    asked = request(file, kind, map_text, **more)
    with pytest.raises(SettingsError) as refused:
        import_ratings(asked)
    assert "\n" not in str(refused.value)
    assert not asked.out.exists()
    return str(refused.value)


def imported(file: Path, kind: Format, map_text: str = "", **more: Any) -> pd.DataFrame:
    """The table that a file becomes, which `report --reference` can read."""
    asked = request(file, kind, map_text, **more)
    import_ratings(asked)
    assert asked.out.stat().st_mode & 0o777 == 0o600
    read_ratings(asked.out)
    return pd.read_csv(asked.out)
