"""Spellings of a patient or a recording are one, and what the tables cannot decide is refused."""

from __future__ import annotations

import hashlib
import json
import unicodedata
from pathlib import Path

import pytest

from avpenet_cli.errors import SettingsError
from avpenet_cli.study.pairing import pair
from avpenet_cli.study.ratings import read_events, read_ratings
from avpenet_cli.study.score_tables import Scores, read_scores
from avpenet_cli.study.subjects import read_subjects
from avpenet_cli.study.tables import match_tables

COMPOSED, DECOMPOSED = (unicodedata.normalize(form, "Zoë.mp4") for form in ("NFC", "NFD"))


def written(folder: Path, text: str, name: str = "subjects.csv") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def scores_of(folder: Path, *recordings: str) -> Scores:
    rows = [f'"{name}",0,3,5,scored\n' for name in recordings]
    return read_scores([written(folder, "recording,start_s,end_s,score,status\n" + "".join(rows), "scores.csv")])


def test_spellings_of_a_patient_and_of_a_site_are_one_with_a_notice(tmp_path: Path) -> None:
    text = "recording,subject,site\na,P1,North\nb,P1 ,north\nc,P1\u00a0,North \nd,p1,\ne,\tP2,South\n"
    subjects = read_subjects(written(tmp_path, text))
    assert subjects.subject_of == {"a": "P1", "b": "P1", "c": "P1", "d": "P1", "e": "P2"}
    assert subjects.table["site"].to_list() == ["North", "North", "North", "(not stated)", "South"]
    assert subjects.notices == (
        r"subjects.csv: P1, 'P1 ', 'P1\xa0', p1 are read as one patient: P1",
        "subjects.csv: North, north, 'North ' are read as one site: North",
    )


@pytest.mark.parametrize("column", ["sex", "Age", "site"])
def test_spellings_that_may_be_two_people_are_refused_with_what_differs(tmp_path: Path, column: str) -> None:
    text = f"recording,subject,{column}\na,P1,x\nb,P2,x\nc,p1,y\n"
    with pytest.raises(SettingsError) as caught:
        read_subjects(written(tmp_path, text))
    message = (
        f"lines 2 and 4: subject P1 has {column.lower()} x and p1 has {column.lower()} y: it may be one person or two"
    )
    assert message in str(caught.value)
    same = read_subjects(written(tmp_path, text.replace("c,p1,y", "c,P1,y")))
    assert same.subject_of["c"] == "P1"


def test_patients_that_look_the_same_in_other_characters_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"patients P1 and P１ look the same.*\('P1' and 'P\\uff11'\)"):
        read_subjects(written(tmp_path, "recording,subject\na,P1\nb,P\uff11\n"))


def test_months_are_in_one_form_and_what_is_none_is_refused_with_its_lines(tmp_path: Path) -> None:
    text = "recording,subject,Month\na,1,Jan 2026\nb,2,2/2026\nc,3,\n"
    subjects = read_subjects(written(tmp_path, text))
    assert subjects.table["month"].to_list() == ["2026-01", "2026-02", "(not stated)"]
    with pytest.raises(SettingsError, match=r"line 3: month is 'spring', .*; write months as 2026-01"):
        read_subjects(written(tmp_path, text.replace("2/2026", "spring")))


def test_tables_take_the_spelling_of_the_scores_in_any_unicode_form(tmp_path: Path) -> None:
    scores = scores_of(tmp_path, COMPOSED, "b.mp4")
    ratings = read_ratings(written(tmp_path, f"recording,time_s,value\n{DECOMPOSED},0,4\nB.MP4 ,0,6\n", "r.csv"))
    subjects = read_subjects(written(tmp_path, f"recording,subject\n{DECOMPOSED},P1\nb.mp4,P2\n"))
    events = read_events(written(tmp_path, f"recording,time_s,label\n {DECOMPOSED},1,lance\n", "e.csv"))
    inputs = match_tables(scores, ratings, subjects, events, scores_of(tmp_path, DECOMPOSED, "b.mp4"))
    pairing = pair(scores, inputs.ratings, inputs.subjects)
    assert pairing.segments["reference"].to_list() == [4.0, 6.0]
    assert pairing.segments["subject"].to_list() == ["P1", "P2"]
    assert pairing.unmatched_ratings.empty and pairing.recordings_without_subject == ()
    assert inputs.events is not None and inputs.events.rows["recording"].to_list() == [COMPOSED]
    assert inputs.other is not None
    assert list(inputs.other.segments["recording"].cat.categories) == [COMPOSED, "b.mp4"]
    assert [notice.split(":")[0] for notice in inputs.notices] == ["r.csv", "subjects.csv", "e.csv", "scores.csv"]
    assert r"'Zoe\u0308.mp4' as Zoë.mp4" in inputs.notices[0] and "Unicode form" in inputs.notices[1]


def test_rows_of_two_spellings_of_a_recording_must_agree(tmp_path: Path) -> None:
    scores = scores_of(tmp_path, "a.mp4")
    text = "recording,subject\na.mp4,P1\nA.mp4,P1\n"
    inputs = match_tables(scores, None, read_subjects(written(tmp_path, text)))
    assert inputs.subjects is not None and inputs.subjects.subject_of == {"a.mp4": "P1"}
    subjects = read_subjects(written(tmp_path, text.replace("A.mp4,P1", "A.mp4,P2")))
    with pytest.raises(SettingsError, match=r"a\.mp4 has subject P1 and A\.mp4 has subject P2, .* only in letter case"):
        match_tables(scores, None, subjects)
    ratings = read_ratings(written(tmp_path, "recording,time_s,value\na.mp4,0,4\na.mp4 ,0,5\n", "r.csv"))
    with pytest.raises(SettingsError, match=r"r\.csv: the rating in line 3 repeats one of a\.mp4"):
        match_tables(scores, ratings)


def test_recordings_that_differ_in_letter_case_are_told_apart_to_the_letter_only(tmp_path: Path) -> None:
    rows = "recording,start_s,end_s,score,status\na.mp4,0,3,5,scored\nA.mp4,0,3,5,scored\n"
    path = written(tmp_path, rows, "scores.csv")
    with pytest.raises(SettingsError, match=r"a\.mp4 and A\.mp4 differ only in letter case; keep one"):
        read_scores([path])
    entries = [{"recording": name, "status": "scored", "balance_s": None} for name in ("a.mp4", "A.mp4")]
    manifest = {
        "table": {"file": "scores.csv", "sha256": hashlib.sha256(path.read_bytes()).hexdigest()},
        "weights": {"name": "w", "digest": "0", "cut_points": [3, 6]},
        "software": {},
        "timing": {"finished": ""},
        "recordings": entries,
    }
    path.with_suffix(".run.json").write_text(json.dumps(manifest))
    scores = read_scores([path])
    text = "recording,subject\nA.mp4,P1\na.mp4,P2\n"
    inputs = match_tables(scores, None, read_subjects(written(tmp_path, text)))
    assert pair(scores, None, inputs.subjects).segments["subject"].to_list() == ["P2", "P1"]
    with pytest.raises(SettingsError, match=r"recording 'A\.mp4 ' may be a\.mp4 or A\.mp4"):
        match_tables(scores, None, read_subjects(written(tmp_path, text.replace("A.mp4", "A.mp4 "))))


def test_a_recording_in_two_tables_under_two_spellings_is_refused(tmp_path: Path) -> None:
    header, row = "recording,start_s,end_s,score,status\n", ",0,3,5,scored\n"
    paths = [
        written(tmp_path, header + name + row, f"{place}.csv") for place, name in enumerate((COMPOSED, DECOMPOSED))
    ]
    with pytest.raises(SettingsError, match=r"0\.csv and .*1\.csv: Zoë\.mp4 and 'Zoe\\u0308\.mp4' .* in Unicode form"):
        read_scores(paths)


def test_raters_are_merged_like_patients(tmp_path: Path) -> None:
    text = "recording,time_s,value,rater\na,0,4,Nurse A\na,3,5,nurse a \na,3,6,B\n"
    ratings = read_ratings(written(tmp_path, text, "r.csv"))
    assert ratings.raters == ("Nurse A", "B")
    assert ratings.notices == ("r.csv: Nurse A, 'nurse a ' are read as one rater: Nurse A",)
    with pytest.raises(SettingsError, match="line 3: the same recording, rater and time"):
        read_ratings(written(tmp_path, text.replace("a,3,5,nurse a ", "a,0,5,nurse a "), "r.csv"))
