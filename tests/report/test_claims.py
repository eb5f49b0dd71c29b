"""The page and the checklist claim only what the tables and manifests say."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from avpenet_cli.errors import SettingsError
from avpenet_cli.report.analysis import ReportSettings
from avpenet_cli.report.document import ReportDocument
from avpenet_cli.report.page import render
from avpenet_cli.report.run import analyse
from avpenet_cli.report.summary import summary
from avpenet_cli.stats.bootstrap import Resampling
from tests.support.reports import (
    manifest_entry,
    twelve_recordings,
    write_manifest,
    write_ratings,
    write_scores,
)


def _analyse(scores: Path | Sequence[Path], *tables: Path) -> ReportDocument:
    return analyse(scores, *tables, settings=ReportSettings(resampling=Resampling(200)))


def _answer(document: ReportDocument, item: str) -> tuple[str, str]:
    return next((row.status, row.answer) for row in document.checklist if row.item == item)


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Path]:
    """Scores, ratings that are all equal, and subjects of one site."""
    folder, rows = tmp_path_factory.mktemp("claims"), twelve_recordings()
    subjects = folder / "subjects.csv"
    subjects.write_text("recording,subject,site\n" + "".join(f"rec{i}.mp4,P{i},A\n" for i in range(12)))
    ratings = write_ratings(folder / "ratings.csv", [(name, start_s, 5.0) for name, start_s, _ in rows])
    return write_scores(folder / "scores.csv", rows), ratings, subjects


@pytest.fixture(scope="module")
def without_subjects(tables: tuple[Path, Path, Path]) -> ReportDocument:
    """A report without manifest and table of subjects."""
    return _analyse(*tables[:2])


@pytest.fixture(scope="module")
def with_subjects(tables: tuple[Path, Path, Path]) -> ReportDocument:
    """The same with a table of subjects."""
    return _analyse(*tables)


def test_without_a_table_of_subjects_it_is_said_that_each_recording_counts_as_one(
    without_subjects: ReportDocument, with_subjects: ReportDocument
) -> None:
    for document, expected in ((without_subjects, True), (with_subjects, False)):
        assert any("each is counted as a separate subject" in notice.text for notice in document.notices) is expected
        assert ("one for each recording" in _answer(document, "Flow of participants")[1]) is expected
        assert ("(one for each recording)" in render(document, {})) is expected


def test_without_manifests_nothing_is_said_about_recordings_that_could_not_be_read(
    without_subjects: ReportDocument,
) -> None:
    _, text = _answer(without_subjects, "Missing data")
    assert "how many recordings could not be read is not known" in text
    assert "segments' time" in text
    page = render(without_subjects, {})
    assert "0 that could not be read" not in page
    assert ">not decodable<" not in page
    assert "the sum is checked" not in page


def test_centres_are_answered_by_columns_of_the_subjects_only(
    without_subjects: ReportDocument, with_subjects: ReportDocument
) -> None:
    item = "Differences between clusters such as centres"
    assert _answer(without_subjects, item)[0] == "needs a person"
    status, text = _answer(with_subjects, item)
    assert status == "from data"
    assert "by site;" in text


@pytest.mark.parametrize(("n_tables", "expected"), [(1, "from configuration"), (2, "needs a person")])
def test_settings_are_the_same_only_within_a_run(tmp_path: Path, n_tables: int, expected: str) -> None:
    scores = []
    for place in range(n_tables):
        scores.append(write_scores(tmp_path / f"s{place}.csv", [(f"r{place}.mp4", 0, 4.0)]))
        write_manifest(scores[-1], [manifest_entry(f"r{place}.mp4", 3, 3)])
    assert _answer(_analyse(scores), "Preparation of the data and checks of their quality")[0] == expected


def test_ratings_of_segments_without_a_score_are_refused_with_that_reason(tmp_path: Path) -> None:
    scores = write_scores(tmp_path / "scores.csv", [("a.mp4", 0.0, None)])
    with pytest.raises(SettingsError, match="no segment has a score"):
        _analyse(scores, write_ratings(tmp_path / "ratings.csv", [("a.mp4", 0.0, 3.0)]))


def test_rounding_errors_are_no_spread(without_subjects: ReportDocument) -> None:
    assert without_subjects.agreement is not None
    slope = without_subjects.agreement.heteroscedasticity.slope
    assert not slope.computable
    assert "no spread around it" in slope.reason


def test_rounding_errors_are_nothing_to_review(tmp_path: Path) -> None:
    rows = [(name, start_s, 0.1 * place) for place, (name, start_s, _) in enumerate(twelve_recordings())]
    scores = write_scores(tmp_path / "scores.csv", rows)
    ratings = write_ratings(tmp_path / "ratings.csv", [(name, start_s, score + 0.42) for name, start_s, score in rows])
    document = _analyse(scores, ratings)
    assert document.review.total == 0
    assert "lies 0.4 points below" in summary(document)


@pytest.mark.parametrize(("length_s", "overlapping"), [(3.0, True), (2.0, False)])
def test_segments_overlap_by_their_own_length(tmp_path: Path, length_s: float, overlapping: bool) -> None:
    scores = tmp_path / "scores.csv"
    cells = [f"a.mp4,{2 * i},{2 * i + length_s},4,scored" for i in range(4)]
    scores.write_text("\n".join(["recording,start_s,end_s,score,status", *cells]) + "\n")
    document = _analyse(scores, write_ratings(tmp_path / "ratings.csv", [("a.mp4", 0.0, 4.0)]))
    assert document.pairing is not None
    assert document.pairing.overlapping_segments is overlapping
    assert f"segments of {length_s:g} s" in _answer(document, "Input of the system, and what it cannot use")[1]
