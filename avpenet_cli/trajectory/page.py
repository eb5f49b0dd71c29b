"""The page of trajectories: a single HTML file of the report's kind, whose only script is its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from markupsafe import Markup

from avpenet_cli import phrasing
from avpenet_cli.report.document.review import Notice
from avpenet_cli.report.figures.style import Figure
from avpenet_cli.report.page import PAGE_TEMPLATE, Section, missing, page_environment
from avpenet_cli.report.provenance import created_now, software
from avpenet_cli.stats.bootstrap import LEVEL
from avpenet_cli.stats.estimate import Estimate
from avpenet_cli.storage import atomic_write
from avpenet_cli.trajectory.alert_accuracy import AlertAccuracy
from avpenet_cli.trajectory.analysed import Trajectory
from avpenet_cli.trajectory.chart_style import SPAN_PX, STATE_FILLS, gap_name
from avpenet_cli.trajectory.chart_svg import figure
from avpenet_cli.trajectory.drawing import draw
from avpenet_cli.trajectory.page_data import data_block
from avpenet_cli.trajectory.page_methods import SOURCES, methods
from avpenet_cli.trajectory.page_script import page_script
from avpenet_cli.trajectory.time_axis import TimeAxis, time_axis

KIND = "trajectory"
"""Of the page, in its head; `trajectory.css` is its style beside the report's."""
ARCHIVE = (
    "This page looks back at recordings that are over. It is no monitor, and no treatment may be given or withheld"
    " because of it."
)
MOST_ROWS = 12
"""Longer tables are folded."""


@dataclass(frozen=True)
class SourceFile:
    """A file that was read: its name without its folder, content in words, SHA-256, and rows below its header.

    Of a score table also `score_tables.scores_digest`.
    """

    name: str
    content: str
    sha256: str = ""
    rows: int | None = None
    scores_digest: str = ""


@dataclass(frozen=True)
class PageContext:
    """What the page says besides the trajectories.

    Attributes:
        notices: what a reader must know before any number, such as that of the weights.
        weights: in words: name, status, start of the digest.
        sources: files that were read.
        accuracy: of the rules of alerts, against the ratings.
        rules: of alerts, in words, by name.
        seed: of the draws from which intervals come; None where it is not known.
        command: that was given.
        software: versions by name.
        created: ISO 8601.
    """

    notices: tuple[Notice, ...] = ()
    weights: str = ""
    sources: tuple[SourceFile, ...] = ()
    accuracy: tuple[AlertAccuracy, ...] = ()
    rules: Mapping[str, str] = field(default_factory=dict)
    seed: int | None = None
    command: str = ""
    software: Mapping[str, str] = field(default_factory=software)
    created: str = field(default_factory=created_now)


@dataclass(frozen=True)
class _Document:
    """What the report's frame of a page reads."""

    title: str
    notices: tuple[Notice, ...]
    software: Mapping[str, str]
    created: str


@dataclass(frozen=True)
class SeriesView:
    """A series as the page shows it.

    Attributes:
        anchor: its place on the page.
        trajectory: of it.
        axis: of its chart, which words its times.
        drawing: its chart, and `data` the numbers for the script.
        n_scored: segments with a score.
        state_seconds: of each state that occurs, s.
        gap_seconds: of each reason that occurs, s, and in how many gaps.
    """

    anchor: str
    trajectory: Trajectory
    axis: TimeAxis
    drawing: Figure
    data: Markup
    n_scored: int
    state_seconds: dict[str, float]
    gap_seconds: dict[str, tuple[float, int]]


def write_page(path: Path, trajectories: Sequence[Trajectory], context: PageContext | None = None) -> None:
    """Draw the charts and write the page, readable by its owner only.

    Args:
        path: of the HTML file, which is replaced.
        trajectories: in the page's order.
        context: what the page says besides them.

    Raises:
        EnvironmentUnavailableError, OutputError: the file cannot be written.
    """
    page = render(trajectories, context)
    with atomic_write(path) as file:
        file.write(page.encode("utf-8", "backslashreplace"))


def render(trajectories: Sequence[Trajectory], context: PageContext | None = None) -> str:
    """The whole page; arguments as of `write_page`.

    Returns:
        HTML with one script, allowed by its hash, and without fonts or images from elsewhere; all text is escaped.
    """
    context = context or PageContext()
    views = [_view(trajectory, place) for place, trajectory in enumerate(trajectories, 1)]
    title = "Scores over time"
    if len(trajectories) == 1 and trajectories[0].series.name:
        title += f": {phrasing.printable(trajectories[0].series.name)}"
    notices = (*context.notices, Notice("warning", ARCHIVE))
    environment = page_environment(KIND, LEVEL, "avpenet_cli.trajectory", "avpenet_cli.report")
    environment.globals.update(
        script=page_script(),
        with_unit=with_unit,
        gap_name=gap_name,
        state_names=tuple(STATE_FILLS),
        most_rows=MOST_ROWS,
        methods=methods(),
        method_sources=SOURCES,
    )
    return environment.get_template(PAGE_TEMPLATE).render(
        doc=_Document(title, notices, context.software, context.created),
        context=context,
        views=views,
        sections=_sections(views, context),
        totals=_totals(trajectories),
    )


def with_unit(estimate: Estimate, unit: str, decimals: int = 1) -> Markup:
    """An estimate with its unit and interval, or the reason where there is none: "12.0 s [10.5, 14.0]"."""
    if not estimate.computable:
        return missing(f"{phrasing.NOT_COMPUTABLE}: {estimate.reason}" if estimate.reason else phrasing.NOT_COMPUTABLE)
    value = f"{phrasing.number(estimate.value, decimals)}{phrasing.NO_BREAK_SPACE}{unit}"
    text = Markup('<span class="n">{}</span>').format(value)
    if estimate.has_interval:
        low, high = (phrasing.number(end, decimals) for end in estimate.ci)
        return text + Markup(' <span class="ci">[{}, {}]</span>').format(low, high)
    return text + (Markup(" ") + missing(f"no interval: {estimate.reason}") if estimate.reason else Markup(""))


def _sections(views: Sequence[SeriesView], context: PageContext) -> list[Section]:
    candidates = (
        ("overview", "All series", len(views) > 1),
        ("series", "Each series over time" if len(views) > 1 else "Over time", bool(views)),
        ("accuracy", "How well the alerts agree with the ratings", bool(context.accuracy)),
        ("methods", "Methods and sources", True),
        ("provenance", "Provenance", True),
    )
    return [Section(name, title) for name, title, present in candidates if present]


def _view(trajectory: Trajectory, place: int) -> SeriesView:
    series = trajectory.series
    axis = time_axis(series, SPAN_PX)
    chart = draw(trajectory, axis, name=f"series-{place}-chart")
    states: dict[str, float] = {}
    for state in trajectory.states:
        states[state.kind] = states.get(state.kind, 0.0) + state.end_s - state.start_s
    gaps: dict[str, tuple[float, int]] = {}
    for gap in trajectory.gaps:
        seconds, number = gaps.get(gap.kind, (0.0, 0))
        gaps[gap.kind] = (seconds + gap.end_s - gap.start_s, number + 1)
    return SeriesView(
        anchor=f"series-{place}",
        trajectory=trajectory,
        axis=axis,
        drawing=figure(chart),
        data=data_block(trajectory, axis, chart),
        n_scored=int(np.isfinite(series.score).sum()),
        state_seconds=states,
        gap_seconds=gaps,
    )


def _totals(trajectories: Sequence[Trajectory]) -> dict[str, float]:
    """Numbers over all series."""
    return {
        "recordings": sum(len(trajectory.series.parts) for trajectory in trajectories),
        "segments": sum(trajectory.series.score.size for trajectory in trajectories),
        "scored": sum(int(np.isfinite(trajectory.series.score).sum()) for trajectory in trajectories),
        "scored_s": float(np.nansum([trajectory.scored_s for trajectory in trajectories])),
        "events": sum(len(trajectory.series.events) for trajectory in trajectories),
        "ratings": sum(len(trajectory.series.ratings) for trajectory in trajectories),
        "alerts": sum(len(trajectory.alerts) for trajectory in trajectories),
    }
