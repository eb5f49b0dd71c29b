"""The report's files: the page, its numbers, the segments to review."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from avpenet_cli.report.analysis import ReportSettings, analyse
from avpenet_cli.report.drawing import draw
from avpenet_cli.report.page import render
from avpenet_cli.report.review import write_review
from avpenet_cli.storage import atomic_write, write_json
from avpenet_cli.study.tables import Inputs


def write_report(inputs: Inputs, settings: ReportSettings, out: Path, show: tuple[str, ...] = ()) -> dict[str, Any]:
    """Analyse, draw and write `out`, `out` with .json and with .review.csv, readable by their owner only.

    Args:
        out: the page, ending in .html.
        show: recordings whose trajectories are drawn whatever they look like.

    Returns:
        the document, as written to the JSON file.

    Raises:
        SettingsError: the tables do not belong together, or a recording to show is not among them.
    """
    found = analyse(inputs, settings)
    figures, trajectories = draw(found, show)
    document = found.document | {"trajectories": trajectories}
    page = render(document, figures)
    write_review(out.with_suffix(".review.csv"), found.review)
    write_json(out.with_suffix(".json"), document)
    with atomic_write(out) as file:
        file.write(page.encode("utf-8", "backslashreplace"))
    return document
