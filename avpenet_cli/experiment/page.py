"""The page of an experiment: a single HTML file of the report's kind, which loads nothing from elsewhere."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from markupsafe import Markup

from avpenet_cli.experiment.drawing import condition_figure_of, draw, figure_names
from avpenet_cli.experiment.figures import PAPER_MARK
from avpenet_cli.experiment.page_content import (
    MOST_GROUP_COMPARISONS,
    PageContent,
    arrange,
    group_title,
    spread_of_seeds,
)
from avpenet_cli.experiment.results import ExperimentResult
from avpenet_cli.experiment.summary import best_sentence, verdict_counts
from avpenet_cli.report.figures.style import Figure
from avpenet_cli.report.page import PAGE_TEMPLATE, Section, page_environment
from avpenet_cli.stats.bootstrap import LEVEL
from avpenet_cli.storage import atomic_write
from avpenet_cli.version import __version__

KIND = "experiment"
"""Of the page, in its head; `experiment.css` is its style beside the report's."""


def write_page(path: Path, result: ExperimentResult) -> None:
    """Draw the figures and write the page, readable by its owner only.

    Args:
        path: of the HTML file, which is replaced.
        result: of the analysis.

    Raises:
        EnvironmentUnavailableError, OutputError: the file cannot be written.
    """
    page = render(result)
    with atomic_write(path) as file:
        file.write(page.encode("utf-8", "backslashreplace"))


def render(result: ExperimentResult, figures: Mapping[str, Figure] | None = None) -> str:
    """The whole page.

    Args:
        result: of the analysis.
        figures: by name, as `draw` gives them; drawn here where None. One that is missing is left out.

    Returns:
        HTML without scripts and without fonts or images from elsewhere; names and other text are escaped.
    """
    content = arrange(replace(result, software={"avpenet": __version__} | result.software))
    drawn = draw(content) if figures is None else dict(figures)
    shown, absent_sections = _sections(content)
    environment = page_environment(KIND, LEVEL, "avpenet_cli.experiment", "avpenet_cli.report")
    environment.globals.update(
        figure_names=lambda start: figure_names(drawn, start),
        condition_figure_of=condition_figure_of(content),
        group_title=group_title,
        spread_of_seeds=spread_of_seeds,
        most_group_comparisons=MOST_GROUP_COMPARISONS,
        verdict_counts=verdict_counts,
        paper_mark=Markup('<span aria-hidden="true">{}</span>').format(PAPER_MARK),
    )
    return environment.get_template(PAGE_TEMPLATE).render(
        doc=content.result,
        content=content,
        figures=drawn,
        sections=shown,
        not_tested=[section.title for section in absent_sections],
        sentence=best_sentence(content.result),
    )


def _sections(content: PageContent) -> tuple[list[Section], list[Section]]:
    """Sections with content in their order on the page, and those of a complete experiment that this one lacks."""
    result = content.result
    candidates = (
        ("systems", "Comparison systems", bool(content.main)),
        ("claims", "The paper's claims, checked on these data", bool(result.claims)),
        ("ablations", "Ablations: one thing changed at a time", bool(content.ablations)),
        ("pairs", "Every two systems compared", bool(content.families or content.n_across)),
        ("groups", "Error by group", bool(content.columns)),
        ("robustness", "Noise, covers and other changes of the input", bool(content.conditions)),
        ("sites", "Tested on a site that training left out", bool(content.sites)),
        ("seeds", "Spread between seeds", bool(result.seeds)),
    )
    shown = [Section(name, title) for name, title, present in candidates if present]
    lacking = [Section(name, title) for name, title, present in candidates if not present]
    if content.without_results:
        shown.append(Section("failed", "Systems without results, or with some missing"))
    shown += [Section("methods", "Methods and sources"), Section("provenance", "Provenance")]
    return shown, lacking
