"""The page of the monitor: a single HTML file of the report's kind, without a script."""

from __future__ import annotations

from collections.abc import Mapping

from avpenet_cli.monitoring.document import Chart, MonitorDocument
from avpenet_cli.monitoring.figures import control_chart
from avpenet_cli.monitoring.measures import INDEX, MEASURES
from avpenet_cli.monitoring.periods import PLURALS
from avpenet_cli.phrasing import NO_BREAK_SPACE, number, percent
from avpenet_cli.report.figures.style import Figure
from avpenet_cli.report.page import PAGE_TEMPLATE, Section, page_environment
from avpenet_cli.stats.bootstrap import LEVEL

KIND = "monitor"
MOST_FIGURES = 60
"""More are left out; all points are in the JSON file."""

SOURCES = (
    "Lucas JM, Saccucci MS (1990). Technometrics 32:1. Exponentially weighted moving averages.",
    "Li SY, Tang LC, Ng SH (2010). J Qual Technol 42:209. Charts of ranks.",
    "Shen X, Zou C, Jiang W, Tsung F (2013). Nav Res Logist 60:625. Limits for varying numbers of patients.",
    "Jensen WA, Jones-Farmer LA, Champ CW, Woodall WH (2006). J Qual Technol 38:349. Estimated parameters.",
    "Samuel TR, Pignatiello JJ, Calvin JA (1998). Qual Eng 10:521. Time of a change.",
    "Hansen BE (2000). Econometrica 68:575. Interval of that time.",
    "Newcombe RG (1998). Stat Med 17:873. Difference of shares.",
)


def render(document: MonitorDocument) -> str:
    """The whole page.

    Returns:
        HTML without scripts and without fonts or images from elsewhere; text of the document is escaped.
    """
    figures, overall, by_level = _figures(document)
    environment = page_environment(KIND, LEVEL, "avpenet_cli.monitoring", "avpenet_cli.report")
    environment.globals.update(
        method_sources=SOURCES,
        amount=_amount,
        measures=[MEASURES[INDEX[name]] for name in dict.fromkeys(chart.measure for chart in document.charts)],
        label_of={measure.name: measure.label for measure in MEASURES},
        overall=overall,
        by_level=by_level,
        plural_kind=PLURALS[document.period],
    )
    return environment.get_template(PAGE_TEMPLATE).render(doc=document, figures=figures, sections=_sections(document))


def _sections(document: MonitorDocument) -> list[Section]:
    candidates = (
        ("alarms", "Alarms", bool(document.alarms)),
        ("charts", "Control charts", True),
        ("accuracy", "Agreement with ratings", bool(document.accuracy)),
        ("patients", f"Patients in each {document.period}", True),
        ("methods", "Methods and sources", True),
        ("provenance", "Provenance", True),
    )
    return [Section(name, title) for name, title, present in candidates if present]


def _figures(
    document: MonitorDocument,
) -> tuple[Mapping[str, Figure], list[tuple[str, Chart]], list[tuple[str, Chart]]]:
    """Figures by name; names and charts of all patients; those of levels with a signal."""
    figures: dict[str, Figure] = {}
    overall: list[tuple[str, Chart]] = []
    by_level: list[tuple[str, Chart]] = []
    for place, chart in enumerate(document.charts):
        if (chart.level and not chart.signal) or len(figures) >= MOST_FIGURES:
            continue
        name = f"chart-{place}"
        figures[name] = control_chart(chart, document.period, name=name)
        (by_level if chart.level else overall).append((name, chart))
    return figures, overall, by_level


def _amount(value: float, unit: str) -> str:
    """A mean with its unit; shares in percent."""
    if unit == "%":
        return percent(value)
    return number(value, 2 if unit in ("points", "") else 1) + (f"{NO_BREAK_SPACE}{unit}" if unit else "")
