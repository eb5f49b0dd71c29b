"""`avpenet ratings import` from ELAN files."""

from __future__ import annotations

from pathlib import Path

import pytest

from avpenet_cli.ratings.importing.run import import_ratings
from avpenet_cli.ratings.sheet_elan import write_elan
from avpenet_cli.study.scales import parse_scale
from tests.ratings.formats import Avpenet, Tier, eaf, imported, refusal, request, run


def written(tmp_path: Path, text: str) -> Path:
    file = tmp_path / "a.eaf"
    file.write_text(text, encoding="utf-8")
    return file


def test_tiers_named_by_a_scale_are_ratings(avpenet_here: Avpenet, tmp_path: Path) -> None:
    tiers: list[Tier] = [
        ("NRS@anna", "", [(0, 10_000, "3"), (10_000, 20_500, " 7 "), (30_000, 40_000, "")]),
        ("NRS@b", "Ben", [(0, 10_000, "4"), (None, 12_000, "5")]),
        ("words", "", [(0, 1_000, "ouch &amp; more")]),
    ]
    answer, out = run(avpenet_here, written(tmp_path, eaf(tiers)), "elan")
    assert answer.code == 0, answer.err
    assert out.read_text() == (
        "recording,start_s,end_s,value,rater,scale\n"
        "rec-1.mp4,0.000,10.000,3.000,anna,NRS\n"
        "rec-1.mp4,10.000,20.500,7.000,anna,NRS\n"
        "rec-1.mp4,0.000,10.000,4.000,Ben,NRS\n"
    )
    assert answer.out.splitlines()[:4] == [
        "a.eaf: 6 rows, 3 imported, 3 left out",
        "  1 without a value",
        "  1 an annotation that is not aligned with time",
        "  1 of another kind than the ratings",
    ]


def test_the_recording_among_several_cameras_and_its_offset(tmp_path: Path) -> None:
    text = eaf(
        [("NIPS", "anna", [(1_000, 3_000, "3")])],
        [("file:///D:/x/left.mp4", 0), ("file:///D:/x/two%20right.mp4", 2_500)],
    )
    known = tmp_path / "scores.csv"
    known.write_text("recording\nward/two right.mp4\n")
    table = imported(written(tmp_path, text), "elan", recordings=(known,))
    assert table.to_numpy().tolist() == [["ward/two right.mp4", 3.5, 5.5, 3.0, "anna", "NIPS"]]
    (tmp_path / "out.csv").unlink()
    known.write_text("recording\nward/two right.mp4\nward/left.mp4\n")
    line = refusal(written(tmp_path, text), "elan", recordings=(known,))
    assert "it is of ward/left.mp4 and of ward/two right.mp4 at the same time" in line
    table = imported(written(tmp_path, text), "elan", 'recording_name = "ward/left.mp4"\n', recordings=(known,))
    assert table["start_s"].tolist() == [1.0]


def test_words_of_a_controlled_vocabulary_and_annotations_that_refer_to_others(tmp_path: Path) -> None:
    reference = (
        '  <TIER TIER_ID="level" PARENT_REF="phase" PARTICIPANT="anna" LINGUISTIC_TYPE_REF="cv">\n    <ANNOTATION>\n'
        '      <REF_ANNOTATION ANNOTATION_ID="a9" ANNOTATION_REF="a1">\n'
        "        <ANNOTATION_VALUE>moderate</ANNOTATION_VALUE>\n      </REF_ANNOTATION>\n    </ANNOTATION>\n  </TIER>\n"
    )
    text = eaf([("phase", "", [(2_000, 5_000, "heel lance")])]).replace("  <LINGUISTIC", reference + "  <LINGUISTIC")
    settings = '[[ratings]]\nwhere = { Tier = "level" }\nvalue = "Value"\nvalues = { moderate = 5.0 }\n'
    table = imported(written(tmp_path, text), "elan", settings)
    assert table.to_numpy().tolist() == [["rec-1.mp4", 2.0, 5.0, 5.0, "anna", "NRS"]]


def test_filled_documents_of_a_sample_keep_scale_rater_and_pack(tmp_path: Path) -> None:
    write_elan(
        tmp_path / "elan", "anna", [("north/a.mp4", 3.0, 6.0), ("north/a.mp4", 9.0, 12.0)], parse_scale("NIPS"), "ab12"
    )
    file = tmp_path / "elan" / "001.eaf"
    text = file.read_text().replace("<ANNOTATION_VALUE />", "<ANNOTATION_VALUE>5</ANNOTATION_VALUE>", 1)
    file.write_text(text)
    table = imported(file, "elan")
    assert table.to_numpy().tolist() == [["north/a.mp4", 3.0, 6.0, 5.0, "anna", "NIPS", 1, "ab12"]]


ONE: list[Tier] = [("NRS", "anna", [(0, 10_000, "3")])]
BOMB = '<!DOCTYPE a [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]>'
OUTSIDE = '<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]>'


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (eaf(ONE, head=BOMB), "line 2 declares a document type, which ELAN never does"),
        (eaf([("NRS", "anna", [(0, 10_000, "&x;")])], head=OUTSIDE), "line 2 declares a document type"),
        (eaf(ONE, head='<!DOCTYPE a SYSTEM "http://example.org/a.dtd">'), "line 2 declares a document type"),
        (eaf(ONE)[:700], "is no ELAN file, or half of one: line "),
        ("", "is no ELAN file, or half of one: line 1: no element found"),
        ("recording,value\na,1\n", "is no ELAN file, or half of one: line 1: syntax error"),
        ("<?xml version='1.0'?><TEI/>", "is no ELAN file: it is XML of another kind (TEI)"),
        (eaf(ONE, units="PAL-frames"), "its times are in PAL-frames; save it with times in milliseconds"),
        (eaf(ONE).replace('TIME_SLOT_REF2="ts2"', 'TIME_SLOT_REF2="ts9"'), "line 13: it refers to time slot ts9"),
        (
            eaf(ONE).replace('TIME_VALUE="10000"', 'TIME_VALUE="10 s"'),
            "is not as ELAN writes it: line 9: invalid liter",
        ),
        (
            eaf(ONE).replace(' TIME_SLOT_REF2="ts2"', ""),
            "is not as ELAN writes it: line 13: no attribute TIME_SLOT_REF2",
        ),
        (eaf(ONE).replace('TIME_VALUE="10000"', f'TIME_VALUE="{10**400}"'), "line 9: a time of over 30 years"),
        (eaf([("words", "", [(0, 1_000, "3")])]), "no tier has the name of a scale ('words')"),
        (eaf([("NRS", "", [])]), "it has no annotation"),
        (eaf([("NRS", "", [(0, 1_000, "11")])]), "line 13: value 11 is outside its scale, NRS from 0 to 10"),
        (eaf([("NRS", "", [(0, 1_000, "strong")])]), "line 13: Value is 'strong', not a number"),
        (eaf([("NRS", "a", [(0, 9, "1"), (5, 12, "2")])]), "a rated rec-1.mp4 twice at times that overlap"),
        (eaf([("NRS", "a", [(9, 5, "1")])]), "line 13: end 0.005 s is not after start 0.009 s"),
        (eaf(ONE, media=[]), "no rating in 1 row (1 without a recording)"),
    ],
)
def test_bad_files_are_refused_in_one_line(tmp_path: Path, text: str, message: str) -> None:
    assert message in refusal(written(tmp_path, text), "elan")


def test_other_encodings_are_read_as_xml_declares_them_or_refused(tmp_path: Path) -> None:
    text = eaf([("NRS", "Zoë", [(0, 10_000, "3")])])
    file = tmp_path / "a.eaf"
    file.write_bytes(text.replace("UTF-8", "ISO-8859-1", 1).encode("latin-1"))
    assert import_ratings(request(file, "elan")).raters == ("Zoë",)
    (tmp_path / "out.csv").unlink()
    file.write_bytes(text.encode("latin-1"))
    assert "half of one: line 11: not well-formed (invalid token)" in refusal(file, "elan")
    file.write_bytes(text.replace("UTF-8", "x-unknown", 1).encode("latin-1"))
    assert "line 1: unknown encoding" in refusal(file, "elan")
