"""No spelling puts a patient into two splits, and names on disk match tables in any Unicode form."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import pandas as pd
import pytest

from avpenet_cli.dataset.annotations import Annotations, read_annotations
from avpenet_cli.dataset.splits import check_no_leak
from avpenet_cli.errors import SettingsError
from avpenet_cli.inputs import Recording

SPELLINGS = ("P{}", "P{} ", "P{}\u00a0", "\tP{}", "p{}", "P{}\u200b")
SHARES = (0.6, 0.2, 0.2)


def annotations_of(folder: Path, names: list[str], subjects: str, ratings: str = "") -> Annotations:
    rated = ratings or "".join(f"{name},0,5\n" for name in names)
    for table, text in (("subjects", "recording,subject" + subjects), ("ratings", "recording,time_s,value\n" + rated)):
        (folder / f"{table}.csv").write_text(text, encoding="utf-8")
    recordings = [Recording(folder / name, name, name) for name in names]
    return read_annotations(folder / "ratings.csv", folder / "subjects.csv", recordings, SHARES, seed=1)


def test_every_spelling_of_a_patient_is_in_the_same_split(tmp_path: Path) -> None:
    rows = [
        (f"{person}-{place}.mp4", name.format(person)) for person in range(10) for place, name in enumerate(SPELLINGS)
    ]
    names = [name for name, _ in rows]
    annotations = annotations_of(tmp_path, names, "\n" + "".join(f"{name},{subject}\n" for name, subject in rows))
    assert sorted(annotations.splits) == [f"P{person}" for person in range(10)]
    assert set(annotations.splits.values()) == {"train", "validation", "test"}
    assert annotations.table.groupby(annotations.table.index.str[0])["subject"].nunique().eq(1).all()
    assert len(annotations.notices) == 1 and "are read as one patient: P0" in annotations.notices[0]
    assert annotations.notices[0].endswith("and 5 more")


def test_names_in_another_unicode_form_have_their_ratings_and_subject(tmp_path: Path) -> None:
    on_disk, written = (unicodedata.normalize(form, "Zoë.mp4") for form in ("NFD", "NFC"))
    annotations = annotations_of(tmp_path, [on_disk], f"\n{written},P1\n", f"{written},0,5\n")
    assert annotations.table.index.to_list() == [on_disk]
    assert annotations.ratings.rows["recording"].to_list() == [on_disk]
    assert [notice.split(":")[0] for notice in annotations.notices] == ["ratings.csv", "subjects.csv"]
    assert "1 recording is written differently in the inputs (Unicode form)" in annotations.notices[0]


def test_recordings_that_differ_in_letter_case_need_rows_of_their_own(tmp_path: Path) -> None:
    names = ["a.mp4", "A.mp4"]
    exact = annotations_of(tmp_path, names, "\na.mp4,P1\nA.mp4,P2\n")
    assert exact.subjects.subject_of == {"a.mp4": "P1", "A.mp4": "P2"} and exact.notices == ()
    with pytest.raises(SettingsError, match=r"recording A\.MP4 may be a\.mp4 or A\.mp4"):
        annotations_of(tmp_path, names, "\na.mp4,P1\nA.MP4,P2\n")
    with pytest.raises(SettingsError, match=r"has no subject for 'A\.mp4'"):
        annotations_of(tmp_path, names, "\na.mp4,P1\n")


def test_a_site_in_two_spellings_is_left_out_as_one(tmp_path: Path) -> None:
    names = [f"{place}.mp4" for place in range(6)]
    sites = ("North", "north ", "South", "South\u00a0", "South", "North")
    rows = [f"{name},P{name[0]},{site}\n" for name, site in zip(names, sites, strict=True)]
    annotations = annotations_of(tmp_path, names, ",Site\n" + "".join(rows))
    assert sorted(annotations.site_splits) == ["North", "South"]


def test_a_leak_through_spelling_is_found_in_an_index(tmp_path: Path) -> None:
    index = pd.DataFrame({"subject": ["P1", "p1 ", "P2"], "recording": list("abc"), "split": ["train", "test", "test"]})
    with pytest.raises(SettingsError, match=r"subject P1, 'p1 ' is in train and test"):
        check_no_leak(index)
    files = pd.DataFrame({"subject": ["P1", "P2"], "recording": ["a", "A"], "split": ["train", "test"]})
    check_no_leak(files)
