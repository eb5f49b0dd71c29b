"""The page: nothing of the data runs or loads, nothing missing looks like a number, and it reads on any width."""

from __future__ import annotations

import copy
import functools
import html.parser
import http.server
import itertools
import json
import re
import shutil
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from avpenet_cli import phrasing
from avpenet_cli.report.analysis import Analysis, ReportSettings, analyse
from avpenet_cli.report.checklist import checklist
from avpenet_cli.report.drawing import draw
from avpenet_cli.report.figures import Figure
from avpenet_cli.report.page import render
from avpenet_cli.stats.bootstrap import Resampling
from avpenet_cli.study.ratings import read_events, read_ratings, read_subjects
from avpenet_cli.study.score_tables import read_scores
from avpenet_cli.study.tables import Inputs
from examples.make_study import make_study

REPOSITORY = Path(__file__).resolve().parents[2]
HOSTILE = "north/<script>alert('1')</script>&amp;\"><img src=x onerror=alert(2)>.mp4"


@dataclass(frozen=True)
class Report:
    """A page with what it was made from."""

    document: dict[str, Any]
    figures: dict[str, Figure]

    @functools.cached_property
    def page(self) -> str:
        """Its HTML."""
        return render(self.document, self.figures)

    def changed(self, **parts: Any) -> Report:
        """The same with other parts of the document."""
        return replace(self, document=copy.deepcopy(self.document) | parts)


@dataclass
class Reader(html.parser.HTMLParser):
    """Elements with their attributes, text outside of <style>, and where the text stood."""

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
    found: Analysis = analyse(inputs, ReportSettings(resampling=Resampling(200), **settings))
    figures, trajectories = draw(found, ())
    return Report(found.document | {"trajectories": trajectories}, figures)


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A simulated study in which one recording's name is an attack; its tables no longer fit their manifests."""
    folder = tmp_path_factory.mktemp("study")
    make_study(folder, recordings=30, segments=10.0)
    quoted = '"' + HOSTILE.replace('"', '""') + '"'
    for table in folder.glob("*.csv"):
        table.write_text(re.sub(r"^\w+/rec-0005\.mp4", lambda _: quoted, table.read_text(), flags=re.MULTILINE))
    return folder


@pytest.fixture(scope="module")
def whole(study: Path) -> Report:
    """With everything a report can have."""
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
    """Scores alone."""
    return _report(Inputs(read_scores([study / "scores.csv"])))


@pytest.fixture(scope="module")
def meagre(tmp_path_factory: pytest.TempPathFactory) -> Report:
    """One subject whose scores and ratings never change: next to nothing can be computed."""
    folder = tmp_path_factory.mktemp("meagre")
    rows = "".join(f"a.mp4,{3 * n},{3 * n + 3},2.5,scored\n" for n in range(4))
    (folder / "scores.csv").write_text(f"recording,start_s,end_s,score,status\n{rows}")
    (folder / "ratings.csv").write_text("recording,start_s,end_s,value\na.mp4,0,12,3\n")
    return _report(
        Inputs(read_scores([folder / "scores.csv"]), read_ratings(folder / "ratings.csv")),
        limit_points=1.0,
        limit_source="test",
    )


@pytest.fixture(params=["whole", "unrated", "meagre"])
def report(request: pytest.FixtureRequest) -> Report:
    found: Report = request.getfixturevalue(request.param)
    return found


def test_markup_in_names_is_shown_and_never_run(whole: Report) -> None:
    page = whole.page
    assert HOSTILE in text(page)
    assert "<script" not in page.lower()
    assert "QA plan <4.2>" in text(page)
    found = read(page).elements
    assert not [tag for tag, _ in found if tag in {"script", "img", "iframe", "object", "embed", "base", "form"}]
    assert not [name for _, attributes in found for name in attributes if name.startswith("on")]


def test_control_characters_and_half_surrogates_do_not_break_the_page(unrated: Report) -> None:
    changed = unrated.changed(title="a\x00b\ud800c\u202ed\x1b[31m")
    assert "a b\N{REPLACEMENT CHARACTER}cd [31m" in text(changed.page)
    changed.page.encode("utf-8")


def test_the_page_loads_nothing_from_anywhere(report: Report) -> None:
    for tag, attributes in read(report.page).elements:
        for name, value in attributes.items():
            if name in {"src", "href", "xlink:href", "srcset", "poster", "data", "action", "background"}:
                assert value.startswith("#") or value == "data:,", (tag, name, value)
            elif not name.startswith("xmlns"):
                assert "://" not in value, (tag, name, value)
    assert not re.search(r"@import|url\(\s*['\"]?(?!#)", report.page)
    assert "default-src 'none'; style-src 'unsafe-inline'; img-src data:" in report.page


def test_every_id_is_unique_and_every_reference_has_its_target(report: Report) -> None:
    found = read(report.page).elements
    ids = [attributes["id"] for _, attributes in found if "id" in attributes]
    assert len(ids) == len(set(ids))
    wanted = {attributes["href"][1:] for _, attributes in found if attributes.get("href", "").startswith("#")}
    for _, attributes in found:
        wanted |= set(attributes.get("aria-labelledby", "").split())
    assert wanted <= set(ids)


def test_a_missing_number_is_said_in_words(report: Report) -> None:
    assert not re.search(r"\b(None|nan|NaN|inf|Undefined|null)\b", text(report.page))


def test_a_setting_left_empty_is_said_in_words(unrated: Report) -> None:
    said = text(unrated.changed(settings=unrated.document["settings"] | {"truth": None, "seed": float("nan")}).page)
    assert "true value within a subject not stated" in said
    assert "seed not computable" in said


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
        (phrasing.moment("2026-10-01T10:00:00+02:00"), "2026-10-01 08:00 UTC"),
    ],
)
def test_numbers_at_the_edges_are_written_right(written: str, expected: str) -> None:
    assert written == expected


def test_what_cannot_be_computed_gives_its_reason(meagre: Report) -> None:
    said = text(meagre.page)
    assert "one subject: its segments say nothing about other subjects" in said
    assert "one of the two is constant" in said
    assert re.search(r"Lower limit of agreement not computable: one subject", said)
    assert "Verdict INCONCLUSIVE" in said
    assert "the reference is never high" in said


def test_tables_and_figures_can_be_read_aloud(report: Report) -> None:
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


def test_warnings_stand_before_everything_else_and_in_print(whole: Report) -> None:
    page = whole.page
    dangers = [one["text"] for one in whole.document["notices"] if one["level"] == "danger"]
    assert any("DEMONSTRATION WEIGHTS" in one for one in dangers)
    assert any("was changed after the run" in one for one in dangers)
    said = text(page[page.index("<body") :])
    assert all(said.index(one) < said.index(whole.document["title"]) for one in dangers)
    assert "READ THE WARNING ON PAGE 1" in page
    assert "NOT FOR USE ON PATIENTS" in page[page.index("<title>") : page.index("</title>")]


def test_every_level_of_notice_is_shown(unrated: Report) -> None:
    notices = [{"level": level, "text": f"this is a {level}"} for level in ("danger", "warning", "note")]
    said = text(unrated.changed(notices=notices).page)
    assert all(one["text"] in said for one in notices)
    quiet = unrated.changed(notices=[]).page
    assert "READ THE WARNING" not in quiet and 'class="notice' not in quiet


def test_without_ratings_the_first_screen_says_so_and_no_accuracy_follows(unrated: Report) -> None:
    page = unrated.page
    first = text(page[: page.index('class="contents"')])
    assert "Nothing on this page says how right or wrong the scores are" in first
    ids = {attributes.get("id", "") for _, attributes in read(page).elements}
    assert not ids & {"agreement", "error", "classes", "calibration", "groups", "raters", "acceptance", "comparison"}
    assert {"scored", "distributions", "trajectories", "review", "methods", "provenance", "signature"} <= ids
    assert "Bias" not in text(page[: page.index('id="checklist"')])


def test_every_section_is_there_with_its_figures(whole: Report) -> None:
    found = read(whole.page).elements
    sections = [attributes["id"] for tag, attributes in found if tag == "section"]
    assert " ".join(sections) == (
        "scored pairing distributions agreement trend error classes calibration groups comparison raters "
        "trajectories review drift acceptance checklist methods provenance signature"
    )
    shown = {attributes["id"] for tag, attributes in found if tag == "figure"}
    assert shown == {"figure-" + name.replace("_", "-") for name in whole.figures}


def test_absent_figures_leave_no_gap(whole: Report) -> None:
    bare = render(whole.document, {})
    assert "<figure" not in bare and "<svg" not in bare


def test_the_first_screen_holds_verdict_bias_limits_kappa_and_coverage(whole: Report) -> None:
    first = text(whole.page[: whole.page.index('class="contents"')]).replace("\N{MINUS SIGN}", "-")
    agreement = whole.document["agreement"]
    for name in ("bias", "loa_lower", "loa_upper"):
        low, high = agreement[f"{name}_ci"]
        assert f"{agreement[name]:+.2f} points 95\N{NO-BREAK SPACE}%" in first.replace("95 %", "95\N{NO-BREAK SPACE}%")
        assert f"[{low:+.2f}, {high:+.2f}]" in first
    assert f"{whole.document['classes']['kappa_quadratic']:.3f}" in first
    assert f"Verdict {whole.document['verdict']['result']}" in first
    assert "±2.00 points on the 0-10 scale. Its source: QA plan <4.2>" in first
    assert f"{100 * whole.document['coverage']['share_scored']:.1f}" in first


@pytest.mark.parametrize("result", ["PASS", "FAIL", "INCONCLUSIVE"])
def test_a_pass_on_demonstration_weights_is_not_left_unsaid(whole: Report, result: str) -> None:
    said = text(whole.changed(verdict=whole.document["verdict"] | {"result": result}).page)
    assert ("outweighs this verdict" in said) == (result == "PASS")


def test_each_checklist_item_is_answered_or_given_to_a_person(report: Report) -> None:
    items = checklist(report.document)
    assert [one["source"] for one in items] == ["GRRAS 2011"] * 15 + ["Gerke 2020"] * 13
    assert [one["number"] for one in items] == [*range(1, 16), *range(1, 14)]
    assert {one["status"] for one in items} == {"from data", "from configuration", "needs a person"}
    assert not [one for one in items if re.search(r"None|nan|\{", one["answer"])]
    json.dumps(items, allow_nan=False)
    said = text(report.page)
    assert all(" ".join(one["answer"].split()) in said for one in items)


class _Handler(http.server.SimpleHTTPRequestHandler):
    def __init__(self, asked: list[str], *arguments: Any, directory: Path) -> None:
        self.asked = asked
        super().__init__(*arguments, directory=str(directory))

    def do_GET(self) -> None:
        self.asked.append(self.path)
        super().do_GET()

    def log_message(self, format: str, *args: object) -> None:
        pass


_HARNESS = """<!DOCTYPE html><link rel="icon" href="data:,"><body style="margin:0"><p id="widths"></p><script>
const widths = [360, 1280]; let left = widths.length;
for (const width of widths) {
  const frame = document.createElement("iframe");
  frame.style.cssText = `width:${width}px;height:800px;border:0`;
  frame.onload = () => {
    document.getElementById("widths").append(`${width}:${frame.contentDocument.documentElement.scrollWidth};`);
  };
  frame.src = "report.html"; document.body.append(frame);
}
</script>"""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[str, list[str]]]:
    asked: list[str] = []
    handler = functools.partial(_Handler, asked, directory=tmp_path)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as found:
        thread = threading.Thread(target=found.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{found.server_port}", asked
        found.shutdown()
        thread.join()


def test_a_browser_shows_it_without_errors_requests_or_overflow(
    whole: Report, server: tuple[str, list[str]], tmp_path: Path
) -> None:
    browser = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if browser is None:
        pytest.skip("needs Chromium on the PATH (apt-get install chromium); machines of the CI have none")
    address, asked = server
    (tmp_path / "report.html").write_text(whole.page, encoding="utf-8")
    (tmp_path / "harness.html").write_text(_HARNESS)
    done = subprocess.run(
        [
            browser,
            *(
                "--headless",
                "--no-sandbox",
                "--disable-gpu",
                "--disable-dev-shm-usage",
                "--disable-background-networking",
            ),
            *("--enable-logging=stderr", "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"),
            *(f"--user-data-dir={tmp_path / 'profile'}", "--virtual-time-budget=8000", "--dump-dom"),
            f"{address}/harness.html",
        ],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert not [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    measured = re.search(r'id="widths">([^<]*)<', done.stdout)
    assert measured, done.stdout[:500]
    widths = dict(part.split(":") for part in measured[1].strip(";").split(";"))
    assert set(widths) == {"360", "1280"}
    assert all(int(taken) <= int(given) for given, taken in widths.items()), widths
    assert set(asked) == {"/harness.html", "/report.html"}
