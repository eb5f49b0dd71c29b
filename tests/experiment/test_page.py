"""An experiment's page and JSON: every section, data never become code, the paper's figures stand apart."""

from __future__ import annotations

import html.parser
import itertools
import json
import re
import stat
import xml.etree.ElementTree as ET
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from avpenet_cli import schemas
from avpenet_cli.experiment.descriptions import Choice, DatasetSummary, ViewDescription
from avpenet_cli.experiment.drawing import draw
from avpenet_cli.experiment.figures import MOST_ROWS, Row, split_rows
from avpenet_cli.experiment.page import render, write_page
from avpenet_cli.experiment.page_content import arrange, from_reference
from avpenet_cli.experiment.predictions import PredictionKey
from avpenet_cli.experiment.results import ExperimentResult
from avpenet_cli.experiment.summary import summary_lines
from avpenet_cli.phrasing import MINUS, number
from avpenet_cli.report.document.review import Notice
from avpenet_cli.report.figures import Figure
from avpenet_cli.stats.estimate import to_json
from tests.experiment.experiments import SEEDS, Experiment, make_index, system
from tests.support.browser import render_in_browser
from tests.support.figures import boxes_of_text

SCHEMA = json.loads((Path(schemas.__file__).parent / "experiment.schema.json").read_text(encoding="utf-8"))
HOSTILE = "<script>alert('1')</script>&amp;\"><img src=x onerror=alert(2)>"
SECTIONS = "systems claims ablations pairs groups robustness sites seeds failed methods provenance"
VIEWS = [
    *(
        ViewDescription(f"noise_{db}_{place[:6]}", f"white {db} dB", "noise", "white", f"{db} dB", place)
        for place in ("after denoising", "before denoising")
        for db in (30, 5)
    ),
    ViewDescription("cover_upper_after", "Upper half", "cover", "upper", place="after detection"),
    ViewDescription("cover_upper_before", "Upper half", "cover", "upper", place="before detection", note=HOSTILE),
]


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
        if tag in {"style", "svg"}:
            self.within.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if self.within and self.within[-1] == tag:
            self.within.pop()

    def handle_data(self, data: str) -> None:
        if not self.within:
            self.texts.append(data)


def read(page: str) -> Reader:
    reader = Reader()
    reader.feed(page)
    return reader


def text(page: str) -> str:
    return " ".join(" ".join(read(page).texts).split())


def squeezed(words: str) -> str:
    """Without blanks, because long names may break anywhere."""
    return "".join(words.split())


_RENDERED: dict[int, tuple[ExperimentResult, dict[str, Figure], str]] = {}


def page_and_figures(result: ExperimentResult) -> tuple[str, dict[str, Figure]]:
    """Rendered once for each result."""
    if id(result) not in _RENDERED:
        figures = draw(arrange(result))
        _RENDERED[id(result)] = (result, figures, render(result, figures))
    _, figures, page = _RENDERED[id(result)]
    return page, figures


def page_of(result: ExperimentResult) -> str:
    return page_and_figures(result)[0]


def figures_of(result: ExperimentResult) -> dict[str, Figure]:
    return page_and_figures(result)[1]


def section_of(page: str, name: str) -> str:
    return page[page.index(f'<section id="{name}"') :].split("</section>", maxsplit=1)[0]


@pytest.fixture(scope="module")
def complete(tmp_path_factory: pytest.TempPathFactory) -> ExperimentResult:
    """Every section, with a system that failed, one that was not run, one with missing scores, and hostile names."""
    folder = tmp_path_factory.mktemp("predictions")
    index = make_index()
    index.loc[index["site"] == "B", "site"] = HOSTILE
    made = Experiment(folder, index)
    made.views = VIEWS
    made.add(
        system("avpenet", "ours", title="AVPENet", parameters=57_032_775, ms_per_segment=12.34),
        0.8,
        [view.name for view in VIEWS],
        lost=0.3,
    )
    made.add(system("concatenation", title=HOSTILE), 1.6, [VIEWS[0].name])
    made.add(system("audio-only", modalities=("audio",)), 1.3, [VIEWS[2].name], validation_spread=0.3)
    made.add(system("gate", "fusion", differs={"fusion": HOSTILE}, seeds=(1,), reason="seed 2: out of memory"), 0.9)
    made.add(system("window-1", "window"), 1.2)
    made.systems.append(system("early-fusion", status="failed", reason=HOSTILE, seeds=()))
    made.systems.append(system("bilstm", status="not run", reason="not asked for", seeds=()))
    for seed in SEEDS:
        made.write(PredictionKey("avpenet", seed, "A"), made.rows("test", "clean", 1.4, (seed,), site="A"))
    return replace(
        made.analyse(),
        title=f"Experiment {HOSTILE}",
        dataset=DatasetSummary("ab" * 32, HOSTILE, {"test": 144}, {"test": 24}, ("A", HOSTILE)),
        choices=(Choice("best system", "validation", HOSTILE), Choice("settings", "fixed beforehand")),
        software={"torch": HOSTILE},
    )


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> ExperimentResult:
    """One system that failed: nothing can be computed."""
    made = Experiment(tmp_path_factory.mktemp("bare"))
    made.systems.append(system("avpenet", status="failed", reason="out of memory", seeds=()))
    return made.analyse(columns=())


@pytest.fixture(scope="module")
def degenerate(tmp_path_factory: pytest.TempPathFactory) -> ExperimentResult:
    """One seed, one test subject, a constant reference, and no reference system."""
    index = make_index()
    index.loc[index["split"] == "test", "subject"] = "s0"
    index["reference"] = 5.0
    made = Experiment(tmp_path_factory.mktemp("degenerate"), index)
    made.views = VIEWS[:1]
    made.add(system("gate", "fusion", seeds=(1,)), 0.5, [VIEWS[0].name], lost=1.0)
    made.add(system("addition", "fusion", seeds=(1,)), 0.5)
    return made.analyse()


@pytest.fixture(params=["complete", "bare", "degenerate"])
def result(request: pytest.FixtureRequest) -> ExperimentResult:
    requested: ExperimentResult = request.getfixturevalue(request.param)
    return requested


def test_every_section_is_on_the_page_once(complete: ExperimentResult) -> None:
    found = read(page_of(complete)).elements
    assert [attributes["id"] for tag, attributes in found if tag == "section"] == SECTIONS.split()
    shown = {attributes["id"] for tag, attributes in found if tag == "figure"}
    assert shown == {"figure-" + name.replace("_", "-") for name in figures_of(complete)}
    assert len(shown) == 7


def test_sections_without_content_are_named_and_left_out(bare: ExperimentResult) -> None:
    page = page_of(bare)
    ids = {attributes.get("id", "") for _, attributes in read(page).elements}
    assert not ids & {"ablations", "pairs", "groups", "robustness", "sites", "seeds"}
    head = text(page[: page.index('class="contents"')])
    assert "Not part of it" in head and "Error by group" in head and "No system could be chosen" in head
    assert "out of memory" in text(section_of(page, "failed"))


def test_ids_are_unique_and_references_have_targets(result: ExperimentResult) -> None:
    found = read(page_of(result)).elements
    ids = [attributes["id"] for _, attributes in found if "id" in attributes]
    assert len(ids) == len(set(ids))
    wanted = {attributes["href"][1:] for _, attributes in found if attributes.get("href", "").startswith("#")}
    for _, attributes in found:
        wanted |= set(attributes.get("aria-labelledby", "").split())
    assert wanted <= set(ids)


def test_the_page_loads_nothing_and_runs_nothing(result: ExperimentResult) -> None:
    page = page_of(result)
    for tag, attributes in read(page).elements:
        assert tag not in {"script", "img", "iframe", "object", "embed", "base", "form"}
        for name, value in attributes.items():
            assert not name.startswith("on")
            if name in {"src", "href", "xlink:href", "srcset", "poster", "data", "action", "background"}:
                assert value.startswith("#") or value == "data:,", (tag, name, value)
            elif not name.startswith("xmlns"):
                assert "://" not in value, (tag, name, value)
    assert not re.search(r"@import|url\(\s*['\"]?(?!#)", page)
    assert "default-src 'none'; style-src 'unsafe-inline'; img-src data:" in page


def test_hostile_names_are_shown_as_text(complete: ExperimentResult) -> None:
    page = page_of(complete)
    assert "<script" not in page.lower()
    for name in ("summary", "systems", "groups", "robustness", "failed", "ablations", "methods", "provenance"):
        part = section_of(page, name) if name != "summary" else page[: page.index('class="contents"')]
        assert (squeezed(HOSTILE) in squeezed(text(part))) == (name != "methods"), name
    for figure in figures_of(complete).values():
        assert not [element for element in ET.fromstring(figure.svg).iter() if element.tag.endswith("script")]


def test_missing_numbers_are_described_in_words(result: ExperimentResult) -> None:
    page = text(page_of(result))
    assert not re.search(r"\b(None|nan|NaN|inf|Undefined|null)\b", page)


def test_the_paper_stands_in_columns_of_its_own(complete: ExperimentResult) -> None:
    page = page_of(complete)
    own = {number(item.test.mae.mean.value) for item in complete.systems if item.test.n_segments}
    marked = re.findall(r'<td class="paper">(.*?)</td>', page)
    published = [re.findall(r'<span class="n">([^<]*)</span>', cell)[0] for cell in marked if "aria-hidden" in cell]
    assert {"0.89", "1.09", "1.47"} <= set(published) and not own & set(published)
    assert "paper, on its own data: MAE [95" in page
    systems = section_of(page, "systems")
    outside = re.sub(
        r'<td class="paper">.*?</td>|<figure.*?</figure>|<p class="caution">.*?</p>', "", systems, flags=re.DOTALL
    )
    assert "1.47" not in outside and "[0.82, 0.96]" not in outside
    hollow = figures_of(complete)["systems"]
    assert "paper, on its own data" in hollow.svg and "not a result of this experiment" in hollow.caption


def test_differences_are_system_minus_reference_whichever_stands_first(complete: ExperimentResult) -> None:
    mae = {item.system.name: item.test.mae.mean.value for item in complete.systems}
    for name in ("gate", "window-1", "concatenation"):
        against = from_reference(complete, name)
        pair = next(pair for pair in complete.pairs if {pair.first, pair.second} == {"avpenet", name})
        assert pair.first == "avpenet" and against.difference.value == -pair.mae_difference.value
        assert against.difference.ci == pytest.approx((-pair.mae_difference.ci[1], -pair.mae_difference.ci[0]))
        assert against.cohens_d == -pair.test.cohens_d and against.p_holm == pair.p_holm
        if name != "gate":
            assert against.difference.value == pytest.approx(mae[name] - mae["avpenet"])
            assert against.percent == pytest.approx(100 * (mae[name] / mae["avpenet"] - 1))
    assert from_reference(complete, "early-fusion").difference.reason == f"failed: {HOSTILE}"


def test_kinder_and_harder_changes_stand_next_to_each_other(complete: ExperimentResult) -> None:
    content = arrange(complete)
    places = [(table.kind, table.place, table.kinder) for table in content.conditions]
    assert places == [
        ("white noise", "after denoising", True),
        ("white noise", "before denoising", False),
        ("covered faces", "after detection", True),
        ("covered faces", "before detection", False),
    ]
    robustness = text(section_of(page_of(complete), "robustness"))
    lost = next(item for item in complete.conditions if item.system == "avpenet" and item.n_lost)
    assert f"{100 * lost.lost.value:.1f}" in robustness and "it does not read the face" in robustness


def test_equality_is_not_claimed_where_no_difference_is_found(complete: ExperimentResult) -> None:
    assert "No difference found is not equality" in text(section_of(page_of(complete), "groups"))


def test_notices_come_before_the_title(complete: ExperimentResult) -> None:
    notices = (Notice("danger", "Phantoms are no evidence."), *complete.notices)
    page = text(render(replace(complete, notices=notices)))
    page = page[page.index("Skip to the result") :]
    assert page.index("Phantoms are no evidence.") < page.index("Best on validation")


def test_tables_have_captions_and_scopes_and_headings_do_not_skip(result: ExperimentResult) -> None:
    page = page_of(result)
    found = read(page).elements
    tags = [tag for tag, _ in found]
    assert tags.count("table") == tags.count("caption") >= 1
    assert tags.count("table") == len(re.findall(r'<div class="scroll', page))
    assert all(attributes.get("scope") in {"row", "col"} for tag, attributes in found if tag == "th")
    assert tags.count("svg") == tags.count("figcaption")
    headings = [int(tag[1]) for tag in tags if re.fullmatch(r"h[1-6]", tag)]
    assert headings.count(1) == 1 and all(after <= before + 1 for before, after in itertools.pairwise(headings))


def test_rows_of_tables_have_as_many_cells_as_their_heads(result: ExperimentResult) -> None:
    for table in re.findall(r"<table>.*?</table>", page_of(result), re.DOTALL):
        head, *rows = re.findall(r"<tr[^>]*>(.*?)</tr>", table, re.DOTALL)
        widths = [
            sum(int(span or 1) for span in re.findall(r'<t[hd](?=[ >])(?:[^>]*?colspan="(\d+)")?', row))
            for row in (head, *rows)
        ]
        assert len(set(widths)) == 1, (widths, head)


def test_text_of_figures_is_neither_clipped_nor_overlapping(complete: ExperimentResult) -> None:
    for figure in figures_of(complete).values():
        _, _, width, height = map(float, ET.fromstring(figure.svg).attrib["viewBox"].split())
        boxes = boxes_of_text(figure)
        assert boxes
        for place, (left, top, right, bottom, words) in enumerate(boxes):
            assert left >= -0.5 and top >= -0.5 and right <= width + 0.5 and bottom <= height + 0.5, (
                figure.name,
                words,
            )
            for other_left, other_top, other_right, other_bottom, other in boxes[place + 1 :]:
                across = min(right, other_right) - max(left, other_left)
                down = min(bottom, other_bottom) - max(top, other_top)
                assert across < 0.5 or down < 0.5, (figure.name, words, other)


def test_long_plots_are_divided_before_headings() -> None:
    rows = [row for group in range(8) for row in (Row(f"group {group}", heading=True), *[Row("system", 1.0)] * 7)]
    parts = split_rows(rows)
    assert [len(part) for part in parts] == [32, 32] and all(part[0].heading for part in parts)
    assert [len(part) for part in split_rows([Row("a")] * (MOST_ROWS + 3))] == [MOST_ROWS, 3]


def test_the_summary_names_what_matters_in_plain_text(complete: ExperimentResult, bare: ExperimentResult) -> None:
    lines = summary_lines(complete)
    assert lines[0] == "7 systems: 5 trained, 1 failed, 1 not run"
    best = next(item for item in complete.systems if item.system.name == "audio-only")
    assert lines[1].startswith("best on validation: audio-only,")
    assert f"test MAE {best.test.mae.mean.value:.3f} [" in lines[1]
    assert any(line.startswith("the paper's claims: ") and "not tested" in line for line in lines)
    assert f"failed: early-fusion: {HOSTILE}" in lines and "incomplete: gate: seed 2: out of memory" in lines
    assert not [line for line in lines if "\n" in line or "nan" in line or MINUS in line]
    assert "failed: avpenet: out of memory" in summary_lines(bare)


def test_the_page_is_written_for_its_owner_only(tmp_path: Path, bare: ExperimentResult) -> None:
    path = tmp_path / "experiment.html"
    write_page(path, bare)
    assert path.read_text(encoding="utf-8") == page_of(bare)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_browser_shows_it_without_errors_requests_or_overflow(tmp_path: Path, complete: ExperimentResult) -> None:
    path = tmp_path / "experiment.html"
    path.write_text(page_of(complete), encoding="utf-8")
    rendering = render_in_browser(path)
    assert not rendering.messages
    assert all(used <= available for available, used in rendering.widths.items()), rendering.widths
    assert rendering.requested == {"/harness.html", "/experiment.html"}


def test_the_json_satisfies_the_published_schema(result: ExperimentResult) -> None:
    document: dict[str, Any] = json.loads(json.dumps(to_json(result), allow_nan=False))
    jsonschema.validate(document, SCHEMA)
    with pytest.raises(jsonschema.ValidationError, match="surprise"):
        jsonschema.validate(document | {"surprise": 1}, SCHEMA)


def test_every_field_of_the_schema_is_described() -> None:
    assert schemas.schemas()["experiment.schema.json"] == SCHEMA
    for name, definition in SCHEMA["$defs"].items():
        assert definition["description"], name
        if name != "Notice":
            assert all("description" in part for part in definition["properties"].values()), name
