"""The report's files: the page, its numbers, and the segments to review as a table and as a playlist."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd

from avpenet_cli.report.analysis import ReportSettings, analyse_tables
from avpenet_cli.report.document import ReportDocument
from avpenet_cli.report.document.provenance import SignedBy
from avpenet_cli.report.drawing import draw
from avpenet_cli.report.figures.style import Figure
from avpenet_cli.report.page import render
from avpenet_cli.report.playlist import write_playlist
from avpenet_cli.report.provenance import read_files
from avpenet_cli.report.review import write_review
from avpenet_cli.report.review_answers import ReviewAnswers
from avpenet_cli.report.signing import sign
from avpenet_cli.runs.history import ReadFile, locked_history
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
    with_history: bool = True,
    sign_off: SignedBy | None = None,
) -> ReportDocument:
    """Analyse tables, draw the figures and write the files of `output_paths`, readable by their owner only.

    Args:
        inputs: all tables.
        settings: what the numbers depend on besides the tables.
        out: the page, ending in .html.
        show: recordings whose trajectories are drawn in addition to those the program chooses.
        csv_bom: begin the table with a byte order mark.
        answers: to the list of segments to review.
        with_history: append to the page's history; not where the report is part of another output that has one.
        sign_off: who signs the report, on the page and in its history.

    Returns:
        The document, as written to the JSON file.

    Raises:
        SettingsError: the tables do not belong together, or a recording to show is not among them.
        EnvironmentUnavailableError, OutputError: a file cannot be written.
        OutputLockedError: another run writes the report.
    """
    started = datetime.now(UTC)
    analysis = analyse_tables(inputs, settings, answers)
    figures, trajectories = draw(analysis, show)
    document = replace(analysis.document, trajectories=trajectories)
    with locked_history(out) if with_history else contextlib.nullcontext() as history:
        head = None if history is None else history.head
        origin = replace(document.provenance, history=head, sign_off=sign_off)
        document = replace(document, provenance=origin)
        _write_files(document, figures, analysis.review, out, csv_bom)
        if history is not None:
            read = read_files(document.inputs)
            if answers is not None:
                read.append(ReadFile("review", answers.sheet.path.name, answers.sheet.sha256))
            written = output_paths(out)
            history.append("report", written=written, read=read, command=settings.command, started=started)
            if sign_off is not None:
                sign(history, out, sign_off)
    return document


def _write_files(
    document: ReportDocument, figures: Mapping[str, Figure], segments: pd.DataFrame, out: Path, csv_bom: bool
) -> None:
    page = render(document, figures)
    page_path, json_path, review_path, playlist_path = output_paths(out)
    write_review(review_path, segments, byte_order_mark=csv_bom)
    write_playlist(playlist_path, segments)
    write_json(json_path, to_json(document))
    with atomic_write(page_path) as file:
        file.write(page.encode("utf-8", "backslashreplace"))
