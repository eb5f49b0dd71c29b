"""The report as a library: files in, files out; tables in, document out."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pandas as pd
import pytest

from avpenet_cli.errors import SettingsError
from avpenet_cli.report.analysis import ReportSettings
from avpenet_cli.report.document import ReportDocument
from avpenet_cli.report.run import ReportRequest, analyse, run_report
from avpenet_cli.stats.bootstrap import Resampling
from avpenet_cli.stats.estimate import to_json
from examples.make_study import make_study

SETTINGS = ReportSettings(resampling=Resampling(200))
VOLATILE = {"created", "inputs", "trajectories", "notices", "coverage", "provenance"}


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("study")
    make_study(folder, recordings=30, segments=10.0)
    return folder


def numbers(document: ReportDocument) -> dict[str, object]:
    """The sections that do not depend on where the tables came from."""
    return {name: section for name, section in to_json(document).items() if name not in VOLATILE}


def test_a_report_from_files_returns_what_it_writes(
    study: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    request = ReportRequest(
        scores=(study / "scores.csv",),
        out=tmp_path / "r.html",
        reference=study / "ratings.csv",
        subjects=study / "subjects.csv",
        settings=SETTINGS,
    )
    document = run_report(request)
    assert all(path.exists() for path in request.outputs)
    assert json.loads((tmp_path / "r.json").read_text()) == to_json(document)
    assert capsys.readouterr() == ("", "")


def test_analyse_gives_the_same_numbers_for_paths_and_data_frames(study: Path) -> None:
    names = ("scores", "ratings", "subjects")
    paths = [study / f"{name}.csv" for name in names]
    from_paths = analyse(paths[0], str(paths[1]), paths[2], settings=SETTINGS)
    from_frames = analyse(*(pd.read_csv(path, dtype={"flags": str}) for path in paths), settings=SETTINGS)
    assert from_frames.coverage.source == "table" and from_paths.coverage.source == "manifest"
    assert from_frames.agreement == from_paths.agreement
    assert from_frames.raters == from_paths.raters
    assert from_paths.agreement is not None and from_paths.agreement.limits.bias.has_interval


def test_analyse_without_ratings_describes_the_scores(study: Path) -> None:
    document = analyse([study / "scores.csv"])
    assert document.agreement is None and document.verdict.result == "NOT ASKED"
    assert document.distribution.model.n == document.headline.n_scored > 0


def test_analyse_and_the_written_report_agree(study: Path, tmp_path: Path) -> None:
    written = run_report(
        ReportRequest((study / "scores.csv",), tmp_path / "r.html", study / "ratings.csv", settings=SETTINGS)
    )
    assert numbers(analyse(study / "scores.csv", study / "ratings.csv", settings=SETTINGS)) == numbers(written)


def test_the_document_cannot_be_changed(study: Path) -> None:
    document = analyse(study / "scores.csv")
    with pytest.raises(dataclasses.FrozenInstanceError):
        document.headline.n_pairs = 5  # type: ignore[misc]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"hold_s": -1.0}, "out of range"),
        ({"limit_points": 11.0, "limit_source": "x"}, "not a distance on the 0-10 scale"),
        ({"limit_points": 2.0}, "without --limit-source"),
    ],
)
def test_settings_out_of_range_are_refused(values: dict[str, float | str], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        ReportSettings(**values)  # type: ignore[arg-type]


def test_a_limit_without_ratings_is_refused(study: Path) -> None:
    limit = ReportSettings(limit_points=2.0, limit_source="protocol 7")
    with pytest.raises(SettingsError, match="--limit without --reference"):
        analyse(study / "scores.csv", settings=limit)
    with pytest.raises(SettingsError, match="--limit without --reference"):
        ReportRequest((study / "scores.csv",), Path("r.html"), settings=limit)
