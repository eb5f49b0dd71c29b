"""Rating sheets of `avpenet ratings sample`, filled in and imported in each of their three forms."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from avpenet_cli.ratings.importing.run import Format
from avpenet_cli.ratings.sheet_files import SheetRow, write_rater_folder
from avpenet_cli.study.ratings import read_ratings
from avpenet_cli.study.scales import parse_scale
from tests.ratings.formats import imported

ROWS = (SheetRow(1, "north/b.mp4", 6.0, 9.0), SheetRow(2, "=a.mp4", 0.0, 3.0), SheetRow(3, "north/b.mp4", 0.0, 3.0))
VALUES = {("north/b.mp4", 0.0): "4.5", ("=a.mp4", 0.0): "7"}


def fill_in(sheet: Path) -> None:
    with sheet.open(encoding="utf-8", newline="") as file:
        reader = csv.DictReader(file)
        rows = list(reader)
    for row in rows:
        row["value"] = VALUES.get((row["recording"].removeprefix("'"), float(row["start_s"])), "")
    with sheet.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, reader.fieldnames or [])
        writer.writeheader()
        writer.writerows(rows)


@pytest.mark.parametrize("scale", ["NRS", "VAS:0:10", "COMFORT:8:40"])
@pytest.mark.parametrize(("kind", "sheet"), [("csv", "ratings.csv"), ("redcap", "redcap-import.csv")])
def test_filled_sheets_need_no_map(tmp_path: Path, scale: str, kind: Format, sheet: str) -> None:
    rows = [row for row in ROWS if scale != "COMFORT:8:40" or row.recording != "=a.mp4"]
    write_rater_folder(tmp_path / "pack", "anna", rows, parse_scale(scale), "ab12")
    fill_in(tmp_path / "pack" / sheet)
    if scale == "COMFORT:8:40":
        text = (tmp_path / "pack" / sheet).read_text().replace("4.5", "24")
        (tmp_path / "pack" / sheet).write_text(text)
    imported(tmp_path / "pack" / sheet, kind)
    ratings = read_ratings(tmp_path / "pack" / "out.csv")
    points = {"NRS": [7.0, 4.5], "VAS:0:10": [7.0, 4.5], "COMFORT:8:40": [5.0]}
    assert ratings.rows["value"].tolist() == points[scale]
    assert ratings.raters == ("anna",)
    assert ratings.packs == ("ab12",)


def test_filled_elan_documents_need_no_map(tmp_path: Path) -> None:
    write_rater_folder(tmp_path / "pack", "anna", ROWS, parse_scale("VAS:0:10"), "ab12")
    for file in sorted((tmp_path / "pack" / "elan").glob("*.eaf")):
        text = file.read_text(encoding="utf-8")
        file.write_text(text.replace("<ANNOTATION_VALUE />", "<ANNOTATION_VALUE>3</ANNOTATION_VALUE>"))
    imported(tmp_path / "pack" / "elan" / "001.eaf", "elan")
    ratings = read_ratings(tmp_path / "pack" / "elan" / "out.csv")
    assert ratings.rows[["recording", "start_s", "end_s", "value"]].to_numpy().tolist() == [
        ["north/b.mp4", 0.0, 3.0, 3.0],
        ["north/b.mp4", 6.0, 9.0, 3.0],
    ]
    assert ratings.packs == ("ab12",)


OVERLAPPING = (SheetRow(1, "b.mp4", 1.0, 4.0), SheetRow(2, "b.mp4", 2.0, 5.0), SheetRow(3, "b.mp4", 0.0, 3.0))


def test_segments_of_a_sample_that_overlap_are_rated_in_each_form(tmp_path: Path) -> None:
    """Scores of a stride of 1 s have such segments; a tier of ELAN cannot."""
    folder = tmp_path / "pack"
    write_rater_folder(folder, "anna", OVERLAPPING, parse_scale("NRS"), "ab12")
    document = folder / "elan" / "001.eaf"
    text = document.read_text(encoding="utf-8")
    assert [text.count(f'TIER_ID="{name}"') for name in ("rating", "rating-2", "rating-3")] == [1, 1, 1]
    document.write_text(text.replace("<ANNOTATION_VALUE />", "<ANNOTATION_VALUE>3</ANNOTATION_VALUE>"))
    sheet = folder / "ratings.csv"
    sheet.write_text(sheet.read_text().replace(",,NRS", ",3,NRS"))
    for file, kind in ((document, "elan"), (sheet, "csv"), (sheet, "redcap")):
        table = imported(file, kind)  # type: ignore[arg-type]
        assert sorted(table["start_s"]) == [0.0, 1.0, 2.0]
        (file.parent / "out.csv").unlink()
