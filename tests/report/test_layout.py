"""The page's layout: its first screen, boxes that scroll, colours for light and dark, and print."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from avpenet_cli.report.analysis import ReportSettings, analyse_tables
from avpenet_cli.report.document import ReportDocument
from avpenet_cli.report.document.review import Level, Notice
from avpenet_cli.report.drawing import draw
from avpenet_cli.report.figures import style
from avpenet_cli.report.page import breakable, reasons_once, render
from avpenet_cli.stats.bootstrap import Resampling
from avpenet_cli.study.ratings import read_ratings
from avpenet_cli.study.score_tables import read_scores
from avpenet_cli.study.tables import Inputs
from tests.support.reports import twelve_recordings, write_ratings, write_scores

_VOID = {"meta", "link", "wbr", "br", "hr", "img", "input"}


@pytest.fixture(scope="module")
def rated_page(tmp_path_factory: pytest.TempPathFactory) -> tuple[ReportDocument, str]:
    """A report with ratings, an accepted difference and figures."""
    folder = tmp_path_factory.mktemp("rated")
    rows = twelve_recordings()
    scores = write_scores(folder / "scores.csv", rows)
    ratings = write_ratings(
        folder / "ratings.csv",
        [(name, start_s, float(round(score or 0.0) % 10)) for name, start_s, score in rows],
    )
    inputs = Inputs(read_scores([scores]), read_ratings(ratings))
    settings = ReportSettings(limit_points=2.0, limit_source="protocol", resampling=Resampling(200))
    analysis = analyse_tables(inputs, settings)
    figures, trajectories = draw(analysis, ())
    document = replace(analysis.document, trajectories=trajectories)
    return document, render(document, figures)


@pytest.fixture(scope="module")
def unrated_page(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A report on scores alone."""
    scores = write_scores(tmp_path_factory.mktemp("unrated") / "scores.csv", twelve_recordings())
    analysis = analyse_tables(Inputs(read_scores([scores])), ReportSettings(resampling=Resampling(200)))
    return render(analysis.document, {})


@pytest.mark.parametrize("rated", [True, False])
def test_the_first_screen_has_verdict_sentence_and_six_cards(
    rated: bool, rated_page: tuple[ReportDocument, str], unrated_page: str
) -> None:
    page = rated_page[1] if rated else unrated_page
    parts = ('class="notices', "<h1>", 'class="verdict', 'class="sentence"', 'class="cards"', 'class="facts"')
    places = [page.index(part) for part in parts]
    assert places == sorted(places)
    assert page.count('class="card"') == 6
    assert places[-1] < page.index('class="contents"')


def test_without_ratings_every_recording_has_a_row_with_the_highest_score_first(unrated_page: str) -> None:
    section = unrated_page[unrated_page.index('<section id="recordings"') :]
    rows = re.findall(r'<th scope="row"><bdi class="name">(.*?)</bdi></th><td class="n">(\d+) of (\d+)</td>', section)
    assert {name for name, *_ in rows} == {f"rec{place}.mp4" for place in range(12)}
    assert {(scored, segments) for _, scored, segments in rows} == {("5", "5")}
    peaks = [float(peak) for peak in re.findall(r"of 5</td><td class=\"n\">([\d.]+)</td>", section)]
    assert len(peaks) == 12 and peaks == sorted(peaks, reverse=True)


def test_the_same_danger_in_both_tables_is_one_notice(tmp_path: Path) -> None:
    tables = []
    for name in ("scores.csv", "new.csv"):
        tables.append(write_scores(tmp_path / name, twelve_recordings(), weights="w@0123456789ab demonstration"))
    inputs = Inputs(read_scores(tables[:1]), other=read_scores(tables[1:]))
    document = analyse_tables(inputs, ReportSettings(resampling=Resampling(200))).document
    dangers = [notice.text for notice in document.notices if notice.level == "danger"]
    assert len(dangers) == 1 and dangers[0].startswith("Both score tables: DEMONSTRATION WEIGHTS")


def test_every_danger_stands_in_the_line_that_opens_the_other_notices(
    rated_page: tuple[ReportDocument, str],
) -> None:
    levels: tuple[Level, ...] = ("danger", "warning", "danger", "note")
    notices = tuple(Notice(level, f"notice {place}") for place, level in enumerate(levels))
    page = render(replace(rated_page[0], notices=notices), {})
    line, others = re.search(r"<summary>(.*?)</summary></details>\s*<ul>(.*?)</ul>", page, re.DOTALL).groups()  # type: ignore[union-attr]
    assert "notice 0" in line and "notice 2" in line and "2 more notices" in line
    assert "notice 1" in others and "notice 3" in others
    assert ".notices ul, .notices details[open] + ul { display: block; }" in page[page.index("@media print") :]


def test_a_lone_notice_does_not_open(rated_page: tuple[ReportDocument, str]) -> None:
    page = render(replace(rated_page[0], notices=(Notice("note", "alone"),)), {})
    assert "alone" in page and "<details" not in page


def test_tables_lie_in_boxes_that_scroll_and_can_be_reached_by_keyboard(
    rated_page: tuple[ReportDocument, str],
) -> None:
    page = rated_page[1]
    opening = r'<div class="scroll[^"]*" role="group" tabindex="0" aria-label="([^"]+)">'
    boxes = re.findall(opening + r"\s*<table>\s*<caption>(.*?)</caption>", page)
    assert len(boxes) == page.count("<table") > 10
    assert all(label == caption for label, caption in boxes)


def test_figures_scale_with_the_page_or_scroll_with_a_cue(rated_page: tuple[ReportDocument, str]) -> None:
    page = rated_page[1]
    opening = re.findall(r"<svg [^>]*>", page)
    assert opening
    assert all('viewBox="0 0 ' in svg and 'width="100%"' in svg and " height=" not in svg for svg in opening)
    whole = page.count('<figure id="') - page.count('class="half"')
    assert whole == page.count('<p class="cue">') > 0
    assert ".drawing { overflow-x: auto; }" in page


def test_elements_are_closed_in_the_order_in_which_they_were_opened(
    rated_page: tuple[ReportDocument, str], unrated_page: str
) -> None:
    for page in (rated_page[1], unrated_page):
        open_elements: list[str] = []
        for closes, name, itself in re.findall(r"<(/?)([a-zA-Z][\w-]*)[^<>]*?(/?)>", page):
            if closes:
                assert open_elements.pop() == name
            elif not itself and name not in _VOID:
                open_elements.append(name)
        assert not open_elements


def test_a_reason_that_occurs_several_times_in_a_table_is_set_once() -> None:
    cell = '<td><span class="missing">not computable: <span class="why">{}</span></span></td>'
    rows, reasons = reasons_once(cell.format("one subject") * 3 + cell.format("no pairs"))
    assert rows.count("not computable\N{NO-BREAK SPACE}<sup>a</sup>") == 3
    assert reasons == [("a", "one subject")]
    assert "one subject" not in rows and "no pairs" in rows


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("rec-0001.mp4", "rec-0001.mp4"),
        ("ward-3/2026_heel<lance>.left.mp4", "ward-<wbr>3/<wbr>2026_<wbr>heel&lt;lance&gt;.<wbr>left.mp4"),
        ("a name with no separators at all", "a name with no separators at all"),
    ],
)
def test_long_names_break_at_their_separators(name: str, expected: str) -> None:
    assert str(breakable(name)) == expected


def _variables(rule: str) -> dict[str, str]:
    return dict(re.findall(r"--(\w+): (#[0-9a-f]+)", rule))


def _rgb(color: str) -> list[float]:
    digits = color[1:] if len(color) == 7 else "".join(2 * digit for digit in color[1:])
    return [int(digits[place : place + 2], 16) / 255 for place in (0, 2, 4)]


def _contrast(first: list[float], second: list[float]) -> float:
    """Contrast ratio of two sRGB colours, 1 to 21 (WCAG 2.1)."""

    def luminance(color: list[float]) -> float:
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in color]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    darker, lighter = sorted((luminance(first) + 0.05, luminance(second) + 0.05))
    return lighter / darker


def _in_the_dark(color: str) -> list[float]:
    """A figure's colour after `invert(.92) hue-rotate(180deg)` (Filter Effects Module, section 9)."""
    red, green, blue = (0.92 - 0.84 * part for part in _rgb(color))
    gray = 2 * (0.213 * red + 0.715 * green + 0.072 * blue)
    return [min(max(gray - part, 0.0), 1.0) for part in (red, green, blue)]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_has_enough_contrast_in_light_and_dark(scheme: str) -> None:
    css = (Path(style.__file__).parents[1] / "templates" / "style.css").read_text()
    light, dark = re.findall(r":root \{([^}]*)\}", css)
    colors = _variables(light) | (_variables(dark) if scheme == "dark" else {})
    assert len(_variables(dark)) == len(_variables(light))
    for ground in ("paper", "pale"):
        for text in ("ink", "quiet", "accent", "danger", "warning", "good"):
            assert _contrast(_rgb(colors[text]), _rgb(colors[ground])) >= 4.5, (text, ground)
    assert _contrast(_rgb("#ffffff"), _rgb("#8a0f14")) >= 4.5
    drawn = _rgb if scheme == "light" else _in_the_dark
    assert "filter: invert(.92) hue-rotate(180deg)" in css
    for mark, least in ((style.INK, 4.5), (style.GREY, 4.5), (style.BLUE, 3.0), (style.ORANGE, 3.0)):
        assert _contrast(drawn(mark), _rgb(colors["paper"])) >= least, mark


def test_dark_colours_are_for_screens_and_print_stays_light(unrated_page: str) -> None:
    assert "@media screen and (prefers-color-scheme: dark)" in unrated_page
    printed = unrated_page[unrated_page.index("@media print") :]
    assert "thead { display: table-header-group; }" in printed
    assert "footer { display: none; }" in printed and ".printed { display: block;" in printed
    sheet_to_sign = unrated_page[unrated_page.index('<div class="signature">') :].split("</div>\n<p", maxsplit=1)[0]
    assert '<p class="printed">Made by avpenet' in sheet_to_sign
    assert "prefers-color-scheme" not in printed
