"""The page: one HTML file from the report's document and its figures, with nothing loaded from anywhere."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from avpenet_cli import phrasing
from avpenet_cli.report.figures.style import Figure

Document = Mapping[str, Any]

# Parts of the document that are None or left out where they do not apply.
_OPTIONAL = (
    "pairing",
    "agreement",
    "error",
    "reliability",
    "classes",
    "calibration",
    "strata",
    "raters",
    "comparison",
    "drift",
    "drift_by",
    "review",
    "trajectories",
    "quality",
)


@dataclass(frozen=True)
class Section:
    """One section of the page: `name` is its id and its template's name."""

    name: str
    title: str


def render(document: Document, figures: Mapping[str, Figure]) -> str:
    """The whole page.

    Args:
        document: what report.json holds; a number that cannot be computed is None, its reason under `reasons`.
        figures: by the name of their place on the page (`bland_altman_mean`, ...); one that is absent is left out.
            Their `svg` is put in as it is.

    Returns:
        HTML without scripts, and without fonts or pictures from elsewhere; text of the document is escaped.

    Raises:
        KeyError, jinja2.UndefinedError: the document lacks a part that every report has.
    """
    whole = dict.fromkeys(_OPTIONAL) | dict(document)
    page = _environment(float(document["settings"]["confidence"])).get_template("report.html.j2")
    return page.render(doc=whole, figures=figures, sections=sections(whole, figures))


def sections(document: Document, figures: Mapping[str, Figure]) -> list[Section]:
    """The sections that have something to say, in their order on the page."""

    def given(name: str) -> bool:
        return bool(document.get(name))

    rated = given("agreement")
    candidates = (
        ("scored", "What was scored", True),
        ("pairing", "How ratings and scores were brought together", given("pairing")),
        ("distributions", "Range and spread of the scores", True),
        ("agreement", "Agreement: bias and limits of agreement", rated),
        ("trend", "Does the difference change with the amount of pain?", rated),
        ("error", "Size of the error, and reliability", given("error")),
        ("classes", "Agreement on low, moderate and high", given("classes")),
        ("calibration", "Calibration", given("calibration")),
        ("groups", "Subjects and groups", given("strata") or "subject_strip" in figures),
        ("comparison", "Comparison with the other score table", given("comparison")),
        ("raters", "The human raters among themselves", given("raters")),
        ("trajectories", "Selected recordings over time", given("trajectories")),
        ("review", "Segments to look at", given("review")),
        ("drift", "Drift", given("drift")),
        ("acceptance", "Acceptance", rated or document["verdict"]["result"] != "NOT ASKED"),
        ("checklist", "Reporting checklist", given("checklist")),
        ("methods", "Methods and sources", True),
        ("provenance", "Provenance", True),
        ("signature", "Review and signature", True),
    )
    return [Section(name, title) for name, title, present in candidates if present]


def estimate(block: Document, name: str, form: str = "points") -> Markup:
    """One statistic with its interval as `phrasing.worded` says it, each kept on one line unless it is a reason."""
    both = Markup("{} {}").format(value(block, name, form), interval(block, name, form)).rstrip()
    return Markup('<span class="n">{}</span>').format(both) if phrasing.worded(block, name, form).bounded else both


def value(block: Document, name: str, form: str = "points") -> Markup:
    """The same without its interval."""
    said = phrasing.worded(block, name, form)
    return Markup('<span class="{}">{}</span>').format("n" if said.computable else "missing", said.value)


def interval(block: Document, name: str, form: str = "points") -> Markup:
    """Its interval alone; empty where the document has none for it."""
    said = phrasing.worded(block, name, form)
    if not said.interval:
        return Markup("")
    return Markup('<span class="{}">{}</span>').format("ci" if said.bounded else "missing", said.interval)


def _environment(confidence: float) -> Environment:
    environment = Environment(
        loader=PackageLoader("avpenet_cli.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_shown,
    )
    environment.globals.update(
        estimate=estimate,
        value=value,
        interval=interval,
        number=phrasing.number,
        percent=phrasing.percent,
        count=phrasing.count,
        counted=phrasing.counted,
        p_value=phrasing.p_value,
        duration=phrasing.duration,
        clock=phrasing.clock,
        moment=phrasing.moment,
        ci_name=f"{100 * confidence:g} % CI".replace(" ", phrasing.NO_BREAK_SPACE),
        # Made by this package; the names in it are escaped there.
        svg=lambda figure: Markup(figure.svg),
    )
    return environment


def _shown(given: object) -> object:
    """What stands for a value on the page: no `None`, no `nan`, no character that HTML cannot hold."""
    if isinstance(given, Markup):
        return given
    if given is None:
        return "not stated"
    if isinstance(given, bool):
        return "yes" if given else "no"
    if isinstance(given, float):
        return f"{given:g}".replace("-", phrasing.MINUS) if math.isfinite(given) else phrasing.NOT_COMPUTABLE
    return phrasing.printable(given) if isinstance(given, str) else given
