"""The page: data never become code, missing numbers have reasons, and it fits every width."""

from __future__ import annotations

import functools
import html.parser
import itertools
import re
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from avpenet_cli import phrasing
from avpenet_cli.report.analysis import ReportSettings, analyse_tables
from avpenet_cli.report.document import ReportDocument
from avpenet_cli.report.document.review import Level, Notice
from avpenet_cli.report.drawing import draw
from avpenet_cli.report.figures import Figure
from avpenet_cli.report.page import render
from avpenet_cli.stats.bootstrap import Resampling
from avpenet_cli.stats.verdict import Result
from avpenet_cli.study.ratings import read_events, read_ratings
from avpenet_cli.study.score_tables import read_scores
from avpenet_cli.study.subjects import read_subjects
from avpenet_cli.study.tables import Inputs
from examples.make_study import make_study

GUIDELINES = ("GRRAS 2011", "Gerke 2020", "STARD-AI 2025", "TRIPOD+AI 2024")
HOSTILE = "north/<script>alert('1')</script>&amp;\"><img src=x onerror=alert(2)>.mp4"


@dataclass(frozen=True)
class Report:
    """A page with its document and figures."""

    document: ReportDocument
    figures: dict[str, Figure]

    @functools.cached_property
    def page(self) -> str:
        """Its HTML."""
        return render(self.document, self.figures)

    def changed(self, **parts: Any) -> Report:
        """The same with other parts of the document."""
        return replace(self, document=replace(self.document, **parts))


@dataclass
class Reader(html.parser.HTMLParser):
    """Collects elements with their attributes, and text outside of <style> and <svg>."""

    elements: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    within: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))
        self.within.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        while self.within and self.within.pop() != tag:
            pass

    def handle_data(self, data: str) -> None:
        if "style" not in self.within and "svg" not in self.within:
            self.texts.append(data)


def read(page: str) -> Reader:
    reader = Reader()
    reader.feed(page)
    return reader


def text(page: str) -> str:
    return " ".join(" ".join(read(page).texts).split())


def _report(inputs: Inputs, **settings: Any) -> Report:
    analysis = analyse_tables(inputs, ReportSettings(resampling=Resampling(200), **settings))
    figures, trajectories = draw(analysis, ())
    return Report(replace(analysis.document, trajectories=trajectories), figures)


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A simulated study with a hostile recording name, whose tables no longer match their manifests."""
    folder = tmp_path_factory.mktemp("study")
    make_study(folder, recordings=30, segments=10.0)
    quoted = '"' + HOSTILE.replace('"', '""') + '"'
    for table in folder.glob("*.csv"):
        table.write_text(re.sub(r"^\w+/rec-0005\.mp4", lambda _: quoted, table.read_text(), flags=re.MULTILINE))
    return folder


@pytest.fixture(scope="module")
def complete(study: Path) -> Report:
    """A report with every section."""
    return _report(
        Inputs(
            read_scores([study / "scores.csv"]),
            read_ratings(study / "ratings.csv"),
            read_subjects(study / "subjects.csv"),
            read_events(study / "events.csv"),
            read_scores([study / "scores-new.csv"]),
        ),
        limit_points=2.0,
        limit_source="QA plan <4.2>",
        command="avpenet report scores.csv --out report.html",
    )


@pytest.fixture(scope="module")
def unrated(study: Path) -> Report:
    """A report on scores alone."""
    return _report(Inputs(read_scores([study / "scores.csv"])))


@pytest.fixture(scope="module")
def degenerate(tmp_path_factory: pytest.TempPathFactory) -> Report:
    """A subject with constant scores and ratings: almost nothing can be computed."""
    folder = tmp_path_factory.mktemp("degenerate")
    rows = "".join(f"a.mp4,{3 * n},{3 * n + 3},2.5,scored\n" for n in range(4))
    (folder / "scores.csv").write_text(f"recording,start_s,end_s,score,status\n{rows}")
    (folder / "ratings.csv").write_text("recording,start_s,end_s,value\na.mp4,0,12,3\n")
    return _report(
        Inputs(read_scores([folder / "scores.csv"]), read_ratings(folder / "ratings.csv")),
        limit_points=1.0,
        limit_source="test",
    )


@pytest.fixture(params=["complete", "unrated", "degenerate"])
def report(request: pytest.FixtureRequest) -> Report:
    requested: Report = request.getfixturevalue(request.param)
    return requested


def test_markup_in_names_is_shown_as_text(complete: Report) -> None:
    page = complete.page
    assert HOSTILE in text(page)
    assert "<script" not in page.lower()
    assert "QA plan <4.2>" in text(page)
    found = read(page).elements
    assert not [tag for tag, _ in found if tag in {"script", "img", "iframe", "object", "embed", "base", "form"}]
    assert not [name for _, attributes in found for name in attributes if name.startswith("on")]


def test_control_characters_and_unpaired_surrogates_are_replaced(unrated: Report) -> None:
    changed = unrated.changed(title="a\x00b\ud800c\u202ed\x1b[31m")
    assert "a b\N{REPLACEMENT CHARACTER}cd [31m" in text(changed.page)
    changed.page.encode("utf-8")


def test_the_page_loads_nothing(report: Report) -> None:
    for tag, attributes in read(report.page).elements:
        for name, value in attributes.items():
            if name in {"src", "href", "xlink:href", "srcset", "poster", "data", "action", "background"}:
                assert value.startswith("#") or value == "data:,", (tag, name, value)
            elif not name.startswith("xmlns"):
                assert "://" not in value, (tag, name, value)
    assert not re.search(r"@import|url\(\s*['\"]?(?!#)", report.page)
    assert "default-src 'none'; style-src 'unsafe-inline'; img-src data:" in report.page


def test_ids_are_unique_and_references_have_targets(report: Report) -> None:
    found = read(report.page).elements
    ids = [attributes["id"] for _, attributes in found if "id" in attributes]
    assert len(ids) == len(set(ids))
    wanted = {attributes["href"][1:] for _, attributes in found if attributes.get("href", "").startswith("#")}
    for _, attributes in found:
        wanted |= set(attributes.get("aria-labelledby", "").split())
    assert wanted <= set(ids)


def test_missing_numbers_are_described_in_words(report: Report) -> None:
    assert not re.search(r"\b(None|nan|NaN|inf|Undefined|null)\b", text(report.page))


def test_missing_settings_are_described_in_words(unrated: Report) -> None:
    missing: dict[str, Any] = {"truth": None, "seed": float("nan")}
    settings = replace(unrated.document.settings, **missing)
    page_text = text(unrated.changed(settings=settings).page)
    assert "true value within a subject not stated" in page_text
    assert "seed not computable" in page_text


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        (phrasing.number(-0.001), "0.00"),
        (phrasing.number(-0.001, signed=True), "0.00"),
        (phrasing.number(-12345.678, 1), "\N{MINUS SIGN}12\N{NARROW NO-BREAK SPACE}345.7"),
        (phrasing.number(0.25, signed=True), "+0.25"),
        (phrasing.number(float("inf")), "not computable"),
        (phrasing.percent(0.0004), "< 0.1\N{NARROW NO-BREAK SPACE}%"),
        (phrasing.percent(0.99999), "> 99.9\N{NARROW NO-BREAK SPACE}%"),
        (phrasing.percent(1.0), "100.0\N{NARROW NO-BREAK SPACE}%"),
        (phrasing.duration(59.96).replace("\N{NO-BREAK SPACE}", " "), "1 min 0 s"),
        (phrasing.duration(3725.4).replace("\N{NO-BREAK SPACE}", " "), "1 h 2 min 5 s"),
        (phrasing.clock(59.96), "1:00.0"),
        (phrasing.clock(3600), "1:00:00.0"),
        (phrasing.p_value(0.0004, named=True), "p < 0.001"),
        (phrasing.p_value(None), "not computable"),
        (phrasing.utc_time("2026-10-01T10:00:00+02:00"), "2026-10-01 08:00 UTC"),
    ],
)
def test_numbers_are_formatted(written: str, expected: str) -> None:
    assert written == expected


def test_statistics_that_cannot_be_computed_have_a_reason(degenerate: Report) -> None:
    page_text = text(degenerate.page)
    assert "one subject: its segments say nothing about other subjects" in page_text
    assert "one of the two is constant" in page_text
    assert "Lower limit of agreement not computable: one subject" in page_text
    assert "Verdict INCONCLUSIVE" in page_text
    assert "the reference is never high" in page_text


def test_tables_and_figures_have_captions_and_roles(report: Report) -> None:
    found = read(report.page).elements
    tags = [tag for tag, _ in found]
    assert tags.count("table") == tags.count("caption") > 3
    assert all(attributes.get("scope") in {"row", "col"} for tag, attributes in found if tag == "th")
    figures = [attributes for tag, attributes in found if tag == "svg"]
    assert len(figures) == len(report.figures) == tags.count("figcaption")
    assert all(attributes["role"] == "img" for attributes in figures)
    assert dict(found)["html"] == {"lang": "en"}
    headings = [int(tag[1]) for tag in tags if re.fullmatch(r"h[1-6]", tag)]
    assert headings.count(1) == 1
    assert all(after <= before + 1 for before, after in itertools.pairwise(headings))


def test_danger_notices_come_first_and_are_printed(complete: Report) -> None:
    page = complete.page
    dangers = [notice.text for notice in complete.document.notices if notice.level == "danger"]
    assert any("DEMONSTRATION WEIGHTS" in danger for danger in dangers)
    assert any("was changed after the run" in danger for danger in dangers)
    page_text = text(page[page.index("<body") :])
    assert all(page_text.index(danger) < page_text.index(complete.document.title) for danger in dangers)
    assert "READ THE WARNING ON PAGE 1" in page
    assert "NOT FOR USE ON PATIENTS" in page[page.index("<title>") : page.index("</title>")]


def test_notices_of_every_level_are_shown(unrated: Report) -> None:
    levels: tuple[Level, ...] = ("danger", "warning", "note")
    notices = tuple(Notice(level, f"this is a {level}") for level in levels)
    page_text = text(unrated.changed(notices=notices).page)
    assert all(notice.text in page_text for notice in notices)
    without_notices = unrated.changed(notices=()).page
    assert "READ THE WARNING" not in without_notices and 'class="notice' not in without_notices


def test_without_ratings_the_page_has_nothing_about_accuracy(unrated: Report) -> None:
    page = unrated.page
    first = text(page[: page.index('class="contents"')])
    assert "Nothing on this page says how right or wrong the scores are" in first
    ids = {attributes.get("id", "") for _, attributes in read(page).elements}
    assert not ids & {
        "agreement",
        "error",
        "classes",
        "calibration",
        "detection",
        "set_aside",
        "groups",
        "raters",
        "acceptance",
        "comparison",
    }
    assert {"scored", "distributions", "trajectories", "review", "methods", "provenance", "signature"} <= ids
    assert "Bias" not in text(page[: page.index('id="checklist"')])


def test_every_section_and_figure_is_on_the_complete_page(complete: Report) -> None:
    found = read(complete.page).elements
    sections = [attributes["id"] for tag, attributes in found if tag == "section"]
    assert " ".join(sections) == (
        "scored pairing distributions agreement trend error classes calibration detection set_aside groups comparison "
        "raters trajectories review drift acceptance checklist methods provenance signature"
    )
    shown = {attributes["id"] for tag, attributes in found if tag == "figure"}
    assert shown == {"figure-" + name.replace("_", "-") for name in complete.figures}


def test_missing_figures_are_left_out(complete: Report) -> None:
    page = render(complete.document, {})
    assert "<figure" not in page and "<svg" not in page


def test_the_headline_has_verdict_bias_limits_kappa_and_coverage(complete: Report) -> None:
    first = text(complete.page[: complete.page.index('class="contents"')]).replace("\N{MINUS SIGN}", "-")
    document = complete.document
    assert document.agreement is not None and document.classes is not None
    limits = document.agreement.limits
    for estimate in (limits.bias, limits.lower, limits.upper):
        low, high = estimate.ci
        assert f"{estimate.value:+.2f} points 95\N{NO-BREAK SPACE}%" in first.replace("95 %", "95\N{NO-BREAK SPACE}%")
        assert f"[{low:+.2f}, {high:+.2f}]" in first
    assert f"{document.classes.kappa_quadratic.value:.3f}" in first
    assert f"Verdict {document.verdict.result}" in first
    assert "±2.00 points on the 0-10 scale. Its source: QA plan <4.2>" in first
    assert document.coverage.share_scored is not None
    assert f"{100 * document.coverage.share_scored:.1f}" in first


@pytest.mark.parametrize("result", ["PASS", "FAIL", "INCONCLUSIVE"])
def test_the_warning_outweighs_a_pass_on_demonstration_weights(complete: Report, result: Result) -> None:
    page_text = text(complete.changed(verdict=replace(complete.document.verdict, result=result)).page)
    assert ("outweighs this verdict" in page_text) == (result == "PASS")


def test_every_checklist_item_is_answered_or_needs_a_person(report: Report) -> None:
    items = report.document.checklist
    numbers = {source: [item.number for item in items if item.source == source] for source in GUIDELINES}
    assert list(dict.fromkeys(item.source for item in items)) == list(GUIDELINES)
    assert numbers["GRRAS 2011"] == [str(number) for number in range(1, 16)]
    assert numbers["Gerke 2020"] == [str(number) for number in range(1, 14)]
    assert set(numbers["STARD-AI 2025"]) == {""}
    tripod = numbers["TRIPOD+AI 2024"]
    assert len(tripod) == len(set(tripod)) and all(re.fullmatch(r"\d+[a-g]?", number) for number in tripod)
    assert {item.status for item in items} == {"from data", "from configuration", "needs a person"}
    assert not [item for item in items if re.search(r"\bNone\b|\bnan\b|\{", item.answer)]
    page_text = text(report.page)
    assert all(" ".join(item.answer.split()) in page_text for item in items)
