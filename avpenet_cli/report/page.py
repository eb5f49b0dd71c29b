"""The page: a single HTML file from the report's document and figures, which loads nothing from elsewhere."""

from __future__ import annotations

import base64
import hashlib
import math
import re
import string
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from avpenet_cli import phrasing
from avpenet_cli.report.document import ReportDocument
from avpenet_cli.report.estimates import Style, format_estimate
from avpenet_cli.report.figures.style import Figure
from avpenet_cli.report.summary import summary
from avpenet_cli.stats.estimate import Estimate, Interval

# Made by `missing`, which escapes the reason.
_REASON = re.compile(r': <span class="why">(.*?)</span>')
_MARKS = string.ascii_lowercase
# After a separator that is followed by a letter or a digit, but not before a file's extension.
_SEPARATED = re.compile(r"(?<=[/\\_.\-])(?=\w)(?!(?<=\.)\w{1,4}$)")
# Shorter names fit into every column.
LONG_NAME = 20
PAGE_TEMPLATE = "page.html.j2"
"""The frame of a page: it includes `headline.html.j2` and, for each of its `sections`, `sections/NAME.html.j2`."""


@dataclass(frozen=True)
class PageScript:
    """A page's only script, which its browser runs for its hash: text from recordings can never become code.

    Attributes:
        text: JavaScript in one line or more, without `</`.
    """

    text: str

    @property
    def source(self) -> str:
        """The source expression of the page's content security policy."""
        digest = hashlib.sha256(self.text.encode("utf-8")).digest()
        return f"'sha256-{base64.b64encode(digest).decode('ascii')}'"


@dataclass(frozen=True)
class Section:
    """A section of the page: `name` is its id and the name of its template."""

    name: str
    title: str


def render(document: ReportDocument, figures: Mapping[str, Figure]) -> str:
    """The whole page.

    Args:
        document: complete.
        figures: by their name on the page (`bland_altman_mean`, ...); a missing one is left out. Their `svg` is
            inserted unescaped.

    Returns:
        HTML without scripts and without fonts or images from elsewhere; text of the document is escaped.
    """
    page = page_environment("report", document.settings.confidence, __package__).get_template(PAGE_TEMPLATE)
    return page.render(doc=document, figures=figures, sections=sections(document, figures), sentence=summary(document))


def sections(document: ReportDocument, figures: Mapping[str, Figure]) -> list[Section]:
    """The sections that have content, in their order on the page."""
    rated = document.agreement is not None
    candidates = (
        ("scored", "What was scored", True),
        ("recordings", "Scores of each recording", not rated and bool(document.recordings)),
        ("pairing", "How ratings and scores were matched", document.pairing is not None),
        ("sample", "Sample fixed beforehand", document.sample is not None),
        ("distributions", "Range and spread of the scores", True),
        ("agreement", "Agreement: bias and limits of agreement", rated),
        ("trend", "Does the difference depend on the amount of pain?", rated),
        ("error", "Size of the error, and reliability", document.error is not None),
        ("classes", "Agreement on low, moderate and high", document.classes is not None),
        ("calibration", "Calibration", document.calibration is not None),
        ("detection", "Telling moderate and high pain from less", document.detection is not None),
        ("set_aside", "Does setting aside poor segments lower the error?", document.risk_coverage is not None),
        ("groups", "Subjects and groups", bool(document.strata) or "subject_strip" in figures),
        ("comparison", "Comparison with the other score table", document.comparison is not None),
        ("raters", "Agreement among the human raters", document.raters is not None),
        ("trajectories", "Selected recordings over time", bool(document.trajectories)),
        ("review", "Segments to review", True),
        ("drift", "Drift", document.drift is not None),
        ("acceptance", "Acceptance", rated or document.verdict.result != "NOT ASKED"),
        ("checklist", "Reporting checklist", bool(document.checklist)),
        ("methods", "Methods and sources", True),
        ("provenance", "Provenance", True),
        ("signature", "Review and signature", True),
    )
    return [Section(name, title) for name, title, present in candidates if present]


def with_interval(estimate: Estimate, style: Style = "points") -> Markup:
    """An estimate with its interval as `format_estimate` writes it, on one line unless a reason is part of it."""
    both = Markup("{} {}").format(value(estimate, style), interval(estimate, style)).rstrip()
    return Markup('<span class="n">{}</span>').format(both) if format_estimate(estimate, style).bounded else both


def value(estimate: Estimate, style: Style = "points") -> Markup:
    """An estimate without its interval."""
    text = format_estimate(estimate, style)
    return Markup('<span class="n">{}</span>').format(text.value) if text.computable else missing(text.value)


def interval(estimate: Estimate, style: Style = "points") -> Markup:
    """The interval of an estimate alone; empty without a value."""
    text = format_estimate(estimate, style)
    if not text.interval:
        return Markup("")
    if text.bounded:
        return Markup('<span class="ci">{}</span>').format(text.interval)
    return missing(text.interval.strip("[]"))


def missing(text: str) -> Markup:
    """ "not computable: one subject" as a part of the page that `reasons_once` recognises."""
    what, _, reason = text.partition(": ")
    because = Markup(': <span class="why">{}</span>').format(reason) if reason else ""
    return Markup('<span class="missing">{}{}</span>').format(what, because)


def reasons_once(rows: str) -> tuple[Markup, list[tuple[str, Markup]]]:
    """A table's rows with reasons that occur several times replaced by a mark, and the marks with their reasons."""
    counts = Counter(_REASON.findall(rows))
    marks = dict(zip((reason for reason, n in counts.items() if n > 1), _MARKS, strict=False))

    def marked(match: re.Match[str]) -> str:
        return f"{phrasing.NO_BREAK_SPACE}<sup>{marks[match[1]]}</sup>" if match[1] in marks else match[0]

    return Markup(_REASON.sub(marked, rows)), [(mark, Markup(reason)) for reason, mark in marks.items()]


def breakable(text: str) -> Markup:
    """A name that breaks at its separators: browsers break only at hyphens and some slashes."""
    parts = _SEPARATED.split(phrasing.printable(text))
    return Markup("<wbr>").join(parts) if len(text) > LONG_NAME else Markup.escape("".join(parts))


def _with_ci(estimate: Estimate, ci: Interval) -> Estimate:
    """The same value with the interval of another method."""
    return replace(estimate, ci=ci)


def page_environment(kind: str, confidence: float, *packages: str) -> Environment:
    """Templates with the number formats of this module, which never show `None` or `nan` and escape all text.

    Args:
        kind: of the page, in words, such as `report`.
        confidence: level of its intervals, 0 to 1.
        packages: whose templates are found; the first that has a name gives it.
    """
    environment = Environment(
        loader=ChoiceLoader([PackageLoader(package) for package in packages]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_finalize,
    )
    environment.tests["finite"] = math.isfinite
    environment.globals.update(
        with_interval=with_interval,
        value=value,
        missing=missing,
        reasons_once=reasons_once,
        breakable=breakable,
        long_name=LONG_NAME,
        interval=interval,
        with_ci=_with_ci,
        number=phrasing.number,
        percent=phrasing.percent,
        count=phrasing.count,
        counted=phrasing.counted,
        p_value=phrasing.p_value,
        duration=phrasing.duration,
        clock=phrasing.clock,
        utc_time=phrasing.utc_time,
        kind=kind,
        script=None,
        ci_name=f"{100 * confidence:g} % CI".replace(" ", phrasing.NO_BREAK_SPACE),
        # Made by this package, which escapes the names in it.
        svg=lambda figure: Markup(figure.svg),
    )
    return environment


def _finalize(output: object) -> object:
    """What the page shows for a value: no `None`, no `nan`, no character that HTML cannot contain."""
    if isinstance(output, Markup):
        return output
    if output is None:
        return "not stated"
    if isinstance(output, bool):
        return "yes" if output else "no"
    if isinstance(output, float):
        return f"{output:g}".replace("-", phrasing.MINUS) if math.isfinite(output) else phrasing.NOT_COMPUTABLE
    return phrasing.printable(output) if isinstance(output, str) else output
