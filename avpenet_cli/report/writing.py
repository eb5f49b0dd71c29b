"""The report's files: the page, its numbers, and the segments to review as a table and as a playlist."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from avpenet_cli.report.analysis import ReportSettings, analyse_tables
from avpenet_cli.report.document import ReportDocument
from avpenet_cli.report.drawing import draw
from avpenet_cli.report.page import render
from avpenet_cli.report.playlist import write_playlist
from avpenet_cli.report.review import write_review
from avpenet_cli.report.review_answers import ReviewAnswers
from avpenet_cli.stats.estimate import to_json
from avpenet_cli.storage import atomic_write, write_json
from avpenet_cli.study.tables import Inputs


def output_paths(out: Path) -> tuple[Path, Path, Path, Path]:
    """The page, its numbers, and the segments to review as a table and as a playlist, for a page `out`."""
    return out, out.with_suffix(".json"), out.with_suffix(".review.csv"), out.with_suffix(".review.m3u8")


def write_report(
    inputs: Inputs,
    settings: ReportSettings,
    out: Path,
    show: tuple[str, ...] = (),
    *,
    csv_bom: bool = False,
    answers: ReviewAnswers | None = None,
) -> ReportDocument:
    """Analyse tables, draw the figures and write the files of `output_paths`, readable by their owner only.

    Args:
        inputs: all tables.
        settings: what the numbers depend on besides the tables.
        out: the page, ending in .html.
        show: recordings whose trajectories are drawn in addition to those the program chooses.
        csv_bom: begin the table with a byte order mark.
        answers: to the list of segments to review.

    Returns:
        The document, as written to the JSON file.

    Raises:
        SettingsError: the tables do not belong together, or a recording to show is not among them.
        EnvironmentUnavailableError, OutputError: a file cannot be written.
    """
    analysis = analyse_tables(inputs, settings, answers)
    figures, trajectories = draw(analysis, show)
    document = replace(analysis.document, trajectories=trajectories)
    page = render(document, figures)
    page_path, json_path, review_path, playlist_path = output_paths(out)
    write_review(review_path, analysis.review, byte_order_mark=csv_bom)
    write_playlist(playlist_path, analysis.review)
    write_json(json_path, to_json(document))
    with atomic_write(page_path) as file:
        file.write(page.encode("utf-8", "backslashreplace"))
    return document
