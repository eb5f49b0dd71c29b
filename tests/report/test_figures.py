"""Figures: valid and self-contained SVG, legible, and defined for degenerate data and any name."""

from __future__ import annotations

import itertools
import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from collections.abc import Callable
from typing import Literal

import matplotlib
import numpy as np
import pytest

from avpenet_cli.report.figures import (
    AgreementLines,
    Figure,
    Rating,
    Track,
    balance,
    bland_altman,
    calibration,
    confusion,
    distributions,
    drift,
    error_by_intensity,
    error_histogram,
    qq,
    risk_coverage,
    scatter,
    strata,
    subject_strip,
    trajectory,
)
from avpenet_cli.report.figures.pair_cloud import moved_apart
from avpenet_cli.report.figures.timeline import broken_line, in_columns, steps, timeline_of, unscorable_spans
from avpenet_cli.report.figures.wording import percent, shorten, single_line, text_width_in
from tests.support.figures import (
    CLASSES,
    HOSTILE,
    LINES,
    NAN,
    NOTHING,
    SVG,
    UNKNOWN,
    boxes_of_text,
    gallery,
    pairs,
    track,
)


@pytest.fixture(scope="module")
def figures() -> list[Figure]:
    return gallery()


def test_the_same_input_gives_the_same_svg(figures: list[Figure]) -> None:
    assert gallery() == figures


def test_ids_are_unique_on_a_page_and_references_have_targets(figures: list[Figure]) -> None:
    ids: list[str] = []
    for figure in figures:
        root = ET.fromstring(figure.svg)
        own = [element.attrib["id"] for element in root.iter() if "id" in element.attrib]
        assert all(identity.startswith(f"{figure.name}-") for identity in own)
        targets = re.findall(r'url\(#([^)]+)\)|href="#([^"]+)"', figure.svg)
        assert {url or href for url, href in targets} <= set(own)
        assert set(root.attrib["aria-labelledby"].split()) <= set(own)
        ids += own
    assert len(ids) == len(set(ids))


def test_figures_load_nothing_and_do_not_style_the_page(figures: list[Figure]) -> None:
    for figure in figures:
        assert not re.search(r"<(script|style|image|foreignObject|metadata|!DOCTYPE|\?xml)", figure.svg)
        assert "://" not in figure.svg.replace("http://www.w3.org/2000/svg", "")
        assert figure.svg.startswith("<svg ") and 'width="100%" role="img"' in figure.svg


def test_figures_are_small(figures: list[Figure]) -> None:
    sizes = {figure.name: len(figure.svg) for figure in figures}
    assert max(sizes.values()) < 150_000
    assert 200 * len(trajectory("one.mp4", track(60)).svg) < 5_000_000


def test_text_is_neither_clipped_nor_overlapping(figures: list[Figure]) -> None:
    for figure in figures:
        _, _, width, height = map(float, ET.fromstring(figure.svg).attrib["viewBox"].split())
        boxes = boxes_of_text(figure)
        for index, (left, top, right, bottom, text) in enumerate(boxes):
            assert left >= -0.5 and top >= -0.5 and right <= width + 0.5 and bottom <= height + 0.5, (figure.name, text)
            for other_left, other_top, other_right, other_bottom, other in boxes[index + 1 :]:
                across = min(right, other_right) - max(left, other_left)
                down = min(bottom, other_bottom) - max(top, other_top)
                assert across < 0.5 or down < 0.5, (figure.name, text, other)


def test_text_is_large_enough_for_print(figures: list[Figure]) -> None:
    for figure in figures:
        sizes = [float(size) for size in re.findall(r"font-size:([\d.]+)px", figure.svg)]
        view = float(ET.fromstring(figure.svg).attrib["viewBox"].split()[2])
        smallest = min(sizes) * (figure.width_px / 96 * 72 / view)
        assert smallest >= 9 or figure.name == "class-changes"  # seven digits in a cell shrink to fit


@pytest.mark.parametrize("name", HOSTILE)
def test_figures_are_valid_with_any_name(name: str) -> None:
    model, reference = pairs(30)
    drawn = [
        trajectory(name, track(30), ratings=[Rating(name, 0, 30, 4.0)], events=[(20.0, name), (21.0, name)]),
        subject_strip([name] * 3, [0.1, 0.2, 0.3], [1, 1, 1], [2, 2, 2], bias=0.2, loa=(-1, 1)),
        strata([(name, name, 0.1, 0.0, 0.2, 0.5, 12.0)]),
        drift([(name, 0.1, 0.0, 0.2, 0.9, 10.0)] * 12),
        balance([(name, 3.0)]),
        confusion(np.eye(3), [name, "moderate", "high"]),
        error_by_intensity([(name, 1.0, 0.5, 1.5, 0.1, 3.0)]),
        bland_altman(model, reference, against="mean", limits=LINES, sides=(name, "other")),
        scatter(model, reference, sides=(name, name)),
        distributions(model, reference, sides=(name, name)),
    ]
    for figure in drawn:
        figure.svg.encode()
        figure.caption.encode()
        assert not list(ET.fromstring(figure.svg).iter(f"{SVG}script"))
        for left, _, right, _, _ in boxes_of_text(figure):
            assert left > -1 and right < figure.width_px * 0.72 + 1
    assert drawn[0].name == trajectory(name, track(3)).name


def test_dollar_signs_are_ordinary_text() -> None:
    strip = subject_strip(["cost $5 or $6"], [0.1], [NAN], [1], bias=0.1, loa=UNKNOWN)
    assert "cost $5 or $6" in [text for *_, text in boxes_of_text(strip)]


EMPTY: tuple[list[float], list[float]] = ([], [])
DEGENERATE: dict[str, Callable[[], Figure]] = {
    "no pairs": lambda: bland_altman(*EMPTY, against="mean", limits=NOTHING),
    "one pair": lambda: bland_altman([3.0], [2.0], against="reference", limits=NOTHING, delta=1.0),
    "constant": lambda: bland_altman(
        [4.0] * 9, [4.0] * 9, against="mean", limits=AgreementLines(0, (0, 0), 0, 0, (0, 0), (0, 0), UNKNOWN)
    ),
    "constant and many": lambda: bland_altman([4.0] * 2001, [4.0] * 2001, against="mean", limits=NOTHING),
    "only NaN": lambda: bland_altman([NAN, 1.0], [1.0, NAN], against="mean", limits=NOTHING, delta=NAN),
    "wide intervals": lambda: bland_altman(
        [1.0, 2.0, 4.0], [1.0, 2.5, 3.0], against="mean", limits=AgreementLines(0, (-9, 9), -1, 1, (-400, 3), (-3, 400))
    ),
    "scatter of none": lambda: scatter(*EMPTY),
    "scatter of one": lambda: scatter([12.0], [-1.0]),
    "histogram of none": lambda: error_histogram([NAN]),
    "histogram of one": lambda: error_histogram([2.0]),
    "histogram of alike": lambda: error_histogram([2.0] * 5),
    "quantiles of none": lambda: qq([]),
    "quantiles of one": lambda: qq([1.0]),
    "quantiles of alike": lambda: qq([0.0] * 5),
    "no bins": lambda: error_by_intensity([]),
    "bin of NaN": lambda: error_by_intensity([("0 to 2", NAN, NAN, NAN, NAN, 3.0)]),
    "nothing to set aside by": lambda: risk_coverage([], NAN),
    "empty classes": lambda: confusion(np.zeros((3, 3)), CLASSES),
    "no calibration": lambda: calibration([], intercept=NAN, slope=NAN),
    "calibration of one": lambda: calibration([(3.0, 4.0, NAN, NAN, 1.0)], intercept=NAN, slope=NAN),
    "no subjects": lambda: subject_strip([], [], [], [], bias=NAN, loa=UNKNOWN),
    "one subject": lambda: subject_strip(["a"], [0.2], [NAN], [1], bias=0.2, loa=UNKNOWN),
    "subject without pairs": lambda: subject_strip(["a", "b"], [0.2, NAN], [NAN, NAN], [1, 0], bias=0.2, loa=UNKNOWN),
    "no segments": lambda: trajectory("a", Track([], [], [])),
    "nothing scored": lambda: trajectory("a", Track([0, 3], [3, 6], [NAN, NAN])),
    "one segment": lambda: trajectory("a", Track([0], [3], [4.0]), events=[(NAN, "x"), (900.0, "late")]),
    "instant ratings": lambda: trajectory("a", track(9), ratings=[Rating("b", 4, 4, 3.0), Rating("b", 900, 910, 3.0)]),
    "no seconds": lambda: balance([]),
    "zero seconds": lambda: balance([("scored", 0.0), ("no face", NAN)]),
    "no scores": lambda: distributions([], None),
    "one score": lambda: distributions([NAN, 3.0], [11.0]),
    "no groups": lambda: strata([]),
    "no batches": lambda: drift([]),
    "batch of NaN": lambda: drift([("2026-01", NAN, NAN, NAN, NAN, 0.0)]),
}


@pytest.mark.parametrize("case", DEGENERATE)
def test_degenerate_data_give_a_figure_without_nan(case: str) -> None:
    figure = DEGENERATE[case]()
    ET.fromstring(figure.svg)
    for text in (figure.caption, figure.alternative, *(text for *_, text in boxes_of_text(figure))):
        assert not re.search(r"\b(nan|inf|None)\b", text)
    assert figure.caption and figure.alternative


def test_missing_limits_are_noted_in_the_plot() -> None:
    lines = AgreementLines(0.5, UNKNOWN, NAN, NAN, UNKNOWN, UNKNOWN)
    assert "too few pairs to draw limits" in bland_altman([3.0], [2.5], against="mean", limits=lines).svg


def marks_outside(figure: Figure) -> int:
    """How many marks lie outside the rectangle that clips them."""
    root = ET.fromstring(figure.svg)
    rooms = {
        clip.attrib["id"]: [float(clip[0].attrib[key]) for key in ("x", "y", "width", "height")]
        for clip in root.iter(f"{SVG}clipPath")
    }
    middles = {}
    for path in root.iter(f"{SVG}path"):
        if "id" in path.attrib:
            corners = np.array(re.findall(r"[ML]([-\d.]+) ([-\d.]+)", path.attrib["d"]), dtype=np.float64)
            middles[path.attrib["id"]] = (corners.min(axis=0) + corners.max(axis=0)) / 2 if len(corners) > 1 else (0, 0)
    outside = 0
    for group in root.iter(f"{SVG}g"):
        clip = re.search(r"url\(#([^)]+)\)", group.get("clip-path", ""))
        if clip is None:
            continue
        left, top, width, height = rooms[clip[1]]
        for mark in group.iter(f"{SVG}use"):
            own_x, own_y = middles[mark.attrib["href"][1:]]
            x, y = float(mark.get("x", "0")) + own_x, float(mark.get("y", "0")) + own_y
            outside += not (left <= x <= left + width and top <= y <= top + height)
    return outside


@pytest.mark.parametrize("size", [50, 4000])
def test_the_axes_include_outliers(size: int) -> None:
    model, reference = pairs(size)
    model[0], reference[0], model[1], reference[1] = 0.0, 30.0, 25.0, 0.0
    sides: tuple[Literal["mean", "reference"], ...] = ("mean", "reference")
    for against in sides:
        figure = bland_altman(model, reference, against=against, limits=LINES)
        assert marks_outside(figure) == 0
        low, high = extent_of_ticks(figure)
        assert low <= -25 and high >= 20
    assert marks_outside(scatter(model, reference)) == 0
    assert marks_outside(qq(model - reference)) == 0


def extent_of_ticks(figure: Figure) -> tuple[float, float]:
    numbers = [text.replace("\N{MINUS SIGN}", "-") for *_, text in boxes_of_text(figure)]
    values = [float(text) for text in numbers if re.fullmatch(r"-?\d+(\.\d)?", text)]
    return min(values), max(values)


def test_a_large_quantile_plot_keeps_its_extremes() -> None:
    d = np.random.default_rng(1).normal(0, 1, 100_000)
    d[:3] = 40.0, 41.0, -39.0
    figure = qq(d)
    dots = [float(mark.attrib["y"]) for mark in ET.fromstring(figure.svg).iter(f"{SVG}use")]
    assert len(dots) < 560
    assert sum(abs(dot - np.median(dots)) > 60 for dot in dots) >= 3
    assert "smallest \N{MINUS SIGN}39.00" in figure.alternative


def test_a_long_trajectory_keeps_its_extremes_and_states_its_columns() -> None:
    long_track = track(30_000)
    score = np.asarray(long_track.score, dtype=np.float64)
    score[777] = 9.99
    thinned = in_columns(timeline_of(long_track).middle_s, score, (0.0, 90_000.0))
    assert np.nanmax(thinned.high) == 9.99
    assert np.nanmin(thinned.low) == np.nanmin(score)
    figure = trajectory("long.mp4", long_track)
    assert len(figure.svg) < 150_000
    assert "500 columns" in figure.caption


def test_lines_break_where_nothing_was_scored() -> None:
    course = timeline_of(Track([0, 3, 6, 9, 30, 33], [3, 6, 9, 12, 33, 36], [1, 2, NAN, 4, 5, 6]))
    x, y = broken_line(course, course.score)
    assert x.tolist() == [1.5, 4.5, 7.5, 10.5, 31.5, 31.5, 34.5]
    np.testing.assert_equal(y, [1, 2, NAN, 4, NAN, 5, 6])
    assert unscorable_spans(course) == [(6.0, 9.0)]


def test_overlapping_segments_are_drawn_forwards() -> None:
    x, y = steps(np.array([0.0, 1.0, 5.0]), np.array([3.0, 4.0, 6.0]), np.array([1.0, 2.0, 3.0]))
    np.testing.assert_equal(x, [0, 1, 1, 4, 4, 5, 6, 6])
    np.testing.assert_equal(y, [1, 1, 2, 2, NAN, 3, 3, NAN])
    overlapping = timeline_of(Track([0, 1, 2], [3, 4, 5], [1.0, NAN, 2.0]))
    assert unscorable_spans(overlapping) == [(1.0, 2.0)]


def test_labels_in_the_margin_are_apart_and_in_order() -> None:
    places = moved_apart([0.0, 0.01, 0.02, 3.0], [0.3, 0.3, 0.3, 0.3])
    assert all(above - below >= 0.3 - 1e-9 for below, above in itertools.pairwise(places))
    assert places[3] == 3.0
    assert places[1] == pytest.approx(0.01)


def test_tiny_shares_are_not_rounded_to_zero() -> None:
    assert [percent(share).replace("\N{NO-BREAK SPACE}", "") for share in (0.0, 1e-6, 0.9999)] == ["0%", "<1%", ">99%"]


def test_shortened_names_keep_both_ends() -> None:
    first, second = (shorten(f"neonatal ward recording {end}.mp4", 1.2, 9.0) for end in ("001", "002"))
    assert first != second
    assert text_width_in(first, 9.0) <= 1.2
    assert single_line("a\ud800\x00\nb\uffff") == "a\N{REPLACEMENT CHARACTER}  b\N{REPLACEMENT CHARACTER}"


def test_arrays_of_the_wrong_size_are_refused() -> None:
    with pytest.raises(ValueError, match="3 classes"):
        confusion([[1, 2], [3, 4]], CLASSES)
    with pytest.raises(ValueError, match="paired"):
        scatter([1.0], [1.0, 2.0])


def test_matplotlib_settings_of_others_are_neither_used_nor_changed() -> None:
    before = dict(matplotlib.rcParams)
    with matplotlib.rc_context({"font.size": 40, "text.parse_math": True, "axes.grid": False}):
        figure = error_histogram([1.0, 2.0, 3.0])
        assert matplotlib.rcParams["font.size"] == 40
    assert figure == error_histogram([1.0, 2.0, 3.0])
    assert dict(matplotlib.rcParams) == before


def test_figures_import_neither_torch_nor_a_window_system() -> None:
    code = (
        "import sys, avpenet_cli.report.figures as f; f.qq([1., 2., 3.]);"
        "sys.exit(' '.join({'torch', 'matplotlib.pyplot', 'tkinter'} & set(sys.modules)) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
