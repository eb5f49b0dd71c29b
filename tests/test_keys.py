"""Spellings of a name are one name, what cannot be decided is refused, and the difference can be seen."""

from __future__ import annotations

import unicodedata

import pytest

from avpenet_cli.errors import SettingsError
from avpenet_cli.keys import (
    describe_difference,
    find_look_alikes,
    look_alike_error,
    match_names,
    merge_spellings,
    nearly_alike,
    normalise_key,
    shown,
    tidy,
)

DECOMPOSED = unicodedata.normalize("NFD", "José Müller")


@pytest.mark.parametrize(
    "spelling",
    [
        "P 1",
        " P 1",
        "P 1 ",
        "P\u00a01",
        "P\t1",
        "P  1",
        "p 1",
        "P\u200b 1",
        "\ufeffP 1",
        "P\u3000\u00ad1",
        "P\u31641\n",
    ],
)
def test_white_space_invisible_characters_and_letter_case_do_not_make_another_name(spelling: str) -> None:
    assert normalise_key(spelling) == normalise_key("P 1")
    assert tidy(spelling).upper() == "P 1"


def test_unicode_forms_and_capitals_with_other_letters_are_the_same_name() -> None:
    assert normalise_key(DECOMPOSED) == normalise_key("JOSÉ MÜLLER")
    assert normalise_key("WEISS") == normalise_key("Weiß")
    assert normalise_key("P 1") != normalise_key("P1") != normalise_key("P2")
    assert normalise_key("\u200b \t") == ""


def test_merged_names_keep_the_most_frequent_spelling_and_are_said_with_what_is_invisible() -> None:
    spellings = merge_spellings(["P1 ", "P1", "p1", "P1", "P2 ", "P2\u00a0"])
    assert spellings.names == {"P1 ": "P1", "P1": "P1", "p1": "P1", "P2 ": "P2", "P2\u00a0": "P2"}
    (notice,) = spellings.notice("subjects.csv", "patient")
    assert notice == (
        r"subjects.csv: 'P1 ', P1, p1 are read as one patient: P1; 'P2 ', 'P2\xa0' are read as one patient: P2"
    )
    assert merge_spellings([" P1", " P1"]).notice("t.csv", "patient") == ()
    many = merge_spellings([name for number in range(9) for name in (f"p{number}", f"P{number}")])
    assert "and 4 more" in many.notice("t.csv", "patient")[0]


def test_differences_are_shown_and_named() -> None:
    assert shown("clip 1.mp4") == "clip 1.mp4" and shown("José") == "José"
    assert shown(unicodedata.normalize("NFD", "José")) == r"'Jose\u0301'"
    assert shown("P1\u200b") == r"'P1\u200b'" and shown("") == "''"
    assert shown("folder/" * 40 + "clip ").endswith("clip '")
    assert describe_difference("P1", "p1") == "letter case"
    assert describe_difference("José", DECOMPOSED[:5]) == "Unicode form"
    assert describe_difference("P1 ", "p1") == "white space or invisible characters and letter case"


@pytest.mark.parametrize("other", ["\u04201", "P\uff11", "\u03a11"])
def test_names_that_look_the_same_are_found_and_refused_with_their_characters(other: str) -> None:
    pair = find_look_alikes(["P2", "P1", other])
    assert pair == ("P1", other)
    assert ascii(other) in str(look_alike_error("subjects.csv", "patient", pair))
    assert find_look_alikes(["a-1", "a\u20111"]) is not None
    assert find_look_alikes(["P1", "p1", "P2", "Р2-б"]) is None


def test_names_that_are_nearly_the_same_stay_apart_and_are_said() -> None:
    (notice,) = nearly_alike(["P1", "P01", "P-1", "P.1", "P1.", "7", "007", "1-11", "11-1"], "t.csv", "patient")
    assert notice.endswith("the names are nearly the same: P1 and P01 and P-1 and P.1 and P1.; 7 and 007")
    assert nearly_alike(["P1", "P2", "1-11", "11-1"], "t.csv", "patient") == ()


def test_names_match_to_the_letter_first_and_by_spelling_where_only_one_is_meant() -> None:
    matches = match_names(["A.mp4", "a.mp4", "B.mp4 ", "x.mp4"], ["a.mp4", "A.mp4", "b.mp4"], "r.csv")
    assert matches.names == {"A.mp4": "A.mp4", "a.mp4": "a.mp4", "B.mp4 ": "b.mp4", "x.mp4": "x.mp4"}
    (notice,) = matches.notice("r.csv", "the scores")
    assert notice == (
        "r.csv: 1 recording is written differently in the scores (white space or invisible characters and letter case) "
        "and matched: 'B.mp4 ' as b.mp4"
    )
    with pytest.raises(SettingsError, match=r"r\.csv: recording a\.MP4 may be a\.mp4 or A\.mp4, .* letter case"):
        match_names(["a.MP4"], ["a.mp4", "A.mp4"], "r.csv")


@pytest.mark.parametrize(
    ("name", "other"),
    [
        ("IŞIK", "ışık"),
        ("İREM", "irem"),
        ("Irem", "ırem"),
        ("O'Brien", "O\u2019Brien"),
        ("D\u00b4Or", "D'Or"),
        ("Η1", "h1"),
    ],
)
def test_turkish_capitals_apostrophes_and_greek_capitals_cannot_be_decided(name: str, other: str) -> None:
    assert find_look_alikes([name, other]) == (name, other)


@pytest.mark.parametrize(("name", "other"), [("1", "1.0"), ("P.1", "P1"), ("P-01", "P1")])
def test_names_that_a_spreadsheet_may_have_changed_are_said_and_kept_apart(name: str, other: str) -> None:
    assert find_look_alikes([name, other]) is None
    assert nearly_alike([name, other], "subjects.csv", "patient")
    assert len(set(merge_spellings([name, other]).names.values())) == 2
