"""The page in a browser: no errors, no requests, no overflow."""

from __future__ import annotations

from pathlib import Path

from avpenet_cli.report.analysis import ReportSettings
from avpenet_cli.report.run import ReportRequest, run_report
from avpenet_cli.stats.bootstrap import Resampling
from examples.make_study import make_study
from tests.support.browser import render_in_browser


def test_a_browser_renders_it_without_errors_requests_or_overflow(tmp_path: Path) -> None:
    make_study(tmp_path, recordings=30, segments=10.0)
    tables = {name: tmp_path / f"{name}.csv" for name in ("scores", "scores-new", "ratings", "subjects", "events")}
    run_report(
        ReportRequest(
            scores=(tables["scores"],),
            out=tmp_path / "report.html",
            reference=tables["ratings"],
            subjects=tables["subjects"],
            events=tables["events"],
            compare=(tables["scores-new"],),
            settings=ReportSettings(resampling=Resampling(200)),
        )
    )
    rendering = render_in_browser(tmp_path / "report.html")
    assert not rendering.messages
    assert set(rendering.widths) == {360, 1280}
    assert all(used <= available for available, used in rendering.widths.items()), rendering.widths
    assert rendering.requested == {"/harness.html", "/report.html"}
