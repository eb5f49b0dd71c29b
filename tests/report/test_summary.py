"""The page's first sentence."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from avpenet_cli.report.document import ReportDocument
from avpenet_cli.report.document.provenance import RatingsFile
from avpenet_cli.report.run import analyse
from avpenet_cli.report.summary import rating_in_words, summary
from tests.support.reports import twelve_recordings, write_ratings, write_scores


def _ratings(*raters: str) -> RatingsFile:
    return RatingsFile("ratings.csv", "", 1, ("NRS",), raters)


@pytest.mark.parametrize(
    ("raters", "expected"),
    [
        (("nurse-1", "Nurse 2"), "the nurses' rating"),
        (("nurse A",), "the nurse's rating"),
        (("self",), "the patients' own rating"),
        (("self-report",), "the patients' own rating"),
        (("truth",), "the known true value"),
        (("nurse", "self"), "the human rating"),
        (("rater",), "the human rating"),
        (("selfridge",), "the human rating"),
    ],
)
def test_the_rating_is_named_after_who_rated(raters: tuple[str, ...], expected: str) -> None:
    assert rating_in_words(_ratings(*raters)) == expected


@pytest.fixture(scope="module")
def rated(tmp_path_factory: pytest.TempPathFactory) -> ReportDocument:
    """A report on twelve subjects."""
    folder = tmp_path_factory.mktemp("rated")
    rows = twelve_recordings()
    write_scores(folder / "scores.csv", rows)
    write_ratings(folder / "ratings.csv", [(name, start_s, 5.0) for name, start_s, _ in rows])
    return analyse(folder / "scores.csv", folder / "ratings.csv")


def _with_limits(document: ReportDocument, lower: float, upper: float) -> str:
    assert document.agreement is not None
    limits = document.agreement.limits
    changed = replace(limits, lower=replace(limits.lower, value=lower), upper=replace(limits.upper, value=upper))
    return summary(replace(document, agreement=replace(document.agreement, limits=changed)))


@pytest.mark.parametrize(
    ("lower", "upper", "expected"),
    [
        (-3.14, 2.86, "the score may lie up to 2.9 points above or 3.1 below the human rating."),
        (0.52, 2.0, "the score lies between 0.5 and 2.0 points above the human rating."),
        (-2.0, -0.5, "the score lies between 0.5 and 2.0 points below the human rating."),
    ],
)
def test_the_sentence_follows_the_limits_of_agreement(
    rated: ReportDocument, lower: float, upper: float, expected: str
) -> None:
    sentence = _with_limits(rated, lower, upper)
    assert sentence == f"For a single 3-second segment, {expected} This holds for about 95 of 100 segments."


def test_the_sentence_names_the_length_of_the_segments(rated: ReportDocument) -> None:
    longer = replace(rated, headline=replace(rated.headline, segment_s=12.04))
    assert summary(longer).startswith("For a single 12-second segment, the score ")


def test_one_subject_says_nothing_about_others(tmp_path: Path) -> None:
    write_scores(tmp_path / "scores.csv", [("a.mp4", 3.0 * n, 2.0 + n) for n in range(5)])
    write_ratings(tmp_path / "ratings.csv", [("a.mp4", 3.0 * n, 3.0) for n in range(5)])
    sentence = summary(analyse(tmp_path / "scores.csv", tmp_path / "ratings.csv"))
    assert sentence.startswith(
        "Only one subject was rated. There, the score differs from the human rating by 1.4 points"
    )


def test_one_segment_has_no_error_on_average(tmp_path: Path) -> None:
    write_scores(tmp_path / "scores.csv", [("a.mp4", 0.0, 2.0)])
    write_ratings(tmp_path / "ratings.csv", [("a.mp4", 0.0, 3.0)])
    sentence = summary(analyse(tmp_path / "scores.csv", tmp_path / "ratings.csv"))
    assert sentence.endswith("is not known: only one segment was rated.")


def test_limits_that_cannot_be_computed_have_their_reason(tmp_path: Path) -> None:
    rows = twelve_recordings(score=4.0)
    write_scores(tmp_path / "scores.csv", rows)
    write_ratings(tmp_path / "ratings.csv", [(name, start_s, 5.0) for name, start_s, _ in rows])
    document = analyse(tmp_path / "scores.csv", tmp_path / "ratings.csv")
    assert document.agreement is not None
    limits = replace(document.agreement.limits, lower=replace(document.agreement.limits.lower, value=float("nan")))
    document = replace(document, agreement=replace(document.agreement, limits=limits))
    assert summary(document).startswith("How far a single score may lie from the human rating is not known: ")


def test_two_tables_without_ratings_are_compared_with_each_other(tmp_path: Path) -> None:
    write_scores(tmp_path / "scores.csv", twelve_recordings())
    write_scores(tmp_path / "new.csv", [(name, at_s, (score or 0) / 2) for name, at_s, score in twelve_recordings()])
    sentence = summary(analyse(tmp_path / "scores.csv", compare=tmp_path / "new.csv"))
    assert "the other table's score" in sentence and "this table's" in sentence
    assert "how right or wrong either is" in sentence


def test_scores_alone_say_nothing_about_accuracy(tmp_path: Path) -> None:
    write_scores(tmp_path / "scores.csv", twelve_recordings())
    assert summary(analyse(tmp_path / "scores.csv")).startswith("There are no human ratings in this report.")
