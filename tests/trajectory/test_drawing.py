"""A chart: what it shows lies where it belongs, text never overlaps, long recordings stay small."""

from __future__ import annotations

import io
import math
import re
import xml.etree.ElementTree as ET
from dataclasses import replace
from itertools import combinations

import matplotlib.image
import numpy as np
import pytest

from avpenet_cli.trajectory.analysed import Alert, Level, Span, Trajectory
from avpenet_cli.trajectory.chart_png import png
from avpenet_cli.trajectory.chart_style import SPAN_PX, WIDTH_PX, text_width
from avpenet_cli.trajectory.chart_svg import svg
from avpenet_cli.trajectory.drawing import MOST_RULES_DRAWN, draw
from avpenet_cli.trajectory.marks import Box, Chart, Dots, Line
from avpenet_cli.trajectory.page_data import data_block
from avpenet_cli.trajectory.series import Event, Part, RatedSpan
from avpenet_cli.trajectory.time_axis import time_axis
from tests.trajectory.trajectories import HOSTILE, NAN, series, trajectory

SVG = "{http://www.w3.org/2000/svg}"
CROWDED = replace(
    series((120,)),
    name=HOSTILE,
    events=tuple(Event(3.0 * index, f"event {index} {HOSTILE}") for index in range(40)),
    ratings=tuple(RatedSpan(10.0 * n, 10.0 * n + 10, n % 10, f"nurse {n % 9} {HOSTILE}") for n in range(12)),
)
NIGHTS = series((900,) * 4, (90_000.0, 5000.0, 40_000.0), clock="2026-03-04T22:15:00+01:00")


def empty(of: Trajectory, reason: str = "fewer than 10 segments have a score") -> Trajectory:
    """The same recording without a single score."""
    n = of.series.score.size
    nothing = np.full(n, NAN)
    missing = replace(
        of.series, score=nothing, sd=nothing, low=nothing, high=nothing, quality=nothing, reason=("no_face",) * n
    )
    gaps = (Span(0.0, float(missing.end_s[-1]), "no_face"),) if n else ()
    level = Level(nothing, nothing, nothing, reason)
    return replace(of, series=missing, level=level, changes=(), peaks=(), states=(), gaps=gaps, alerts=())


def charts() -> dict[str, Trajectory]:
    many = trajectory(CROWDED)
    alerts = tuple(Alert(f"rule-{n}", 10.0 * n, 10.0 * n + 5, 10.0 * n + 4, "text") for n in range(12))
    return {
        "one": trajectory(),
        "several": trajectory(series((300, 200, 400), (4000.0, 20.0))),
        "nights": trajectory(NIGHTS),
        "many short": trajectory(series((40,) * 25, (600.0,) * 24, name="patient")),
        "short, no clock": trajectory(series((12,), clock="")),
        "crowded": replace(many, alerts=alerts),
        "empty": empty(trajectory()),
    }


def texts(chart: Chart) -> list[tuple[float, float, float, float, str]]:
    """Left, top, right, bottom of every visible line of level text, px."""
    boxes = []
    parents = {child: parent for parent in ET.fromstring(svg(chart)).iter() for child in parent}
    for element, parent in parents.items():
        if element.tag != f"{SVG}text" or element.get("visibility") == "hidden" or "transform" in element.attrib:
            continue
        size = float(element.get("font-size") or parent.attrib["font-size"])
        anchor = element.get("text-anchor") or parent.get("text-anchor") or "start"
        width = text_width(element.text or "", size)
        x, y = float(element.attrib["x"]), float(element.attrib["y"])
        left = x - {"start": 0.0, "middle": 0.5, "end": 1.0}[anchor] * width
        boxes.append((left, y - 0.72 * size, left + width, y, element.text or ""))
    return boxes


@pytest.mark.parametrize("name", charts())
def test_no_text_is_cut_or_lies_on_another(name: str) -> None:
    chart = draw(charts()[name])
    boxes = texts(chart)
    assert len(boxes) > 15
    for left, top, right, bottom, text in boxes:
        assert left >= 0 and right <= WIDTH_PX and top >= 0 and bottom <= chart.height, text
    for (left, top, right, bottom, text), other in combinations(boxes, 2):
        apart = right <= other[0] or other[2] <= left or bottom <= other[1] or other[3] <= top
        # A peak's value may lie on a gap's name in the plot: both have an outline.
        peak = chart.top < top < chart.top + 330 and re.fullmatch(r"[\d.]+", text + other[4])
        assert apart or peak, (text, other[4])


def test_lines_are_open_in_gaps_and_gaps_are_named() -> None:
    of = trajectory()
    chart = draw(of)
    level = max((mark for mark in chart.timed if isinstance(mark, Line)), key=lambda mark: mark.stroke.width)
    for gap in of.gaps:
        # Half a window is the way from a segment's beginning, which bounds this gap, to its middle.
        inside = (level.time > gap.start_s + 2.1) & (level.time < gap.end_s - 2.1)
        assert not np.isfinite(level.y[inside]).any()
    assert np.isnan(level.y).sum() == 3
    words = {text for *_, text in texts(chart)}
    assert {"no face", "no audio"} <= words
    dots = next(mark for mark in chart.timed if isinstance(mark, Dots))
    assert np.isfinite(dots.y).sum() == np.isfinite(of.series.score).sum()


def test_a_single_scored_segment_between_gaps_can_be_seen() -> None:
    one = trajectory(series((30,)))
    mean = np.full(30, NAN)
    mean[10] = 5.0
    chart = draw(replace(one, level=Level(mean, mean - 1, mean + 1)))
    level = [mark for mark in chart.timed if isinstance(mark, Line) and mark.stroke.width == 2.2]
    known = level[0].time[np.isfinite(level[0].y)]
    assert np.ptp(known) == pytest.approx(1.0)


def test_long_breaks_are_cut_out_of_the_axis_and_short_ones_are_not() -> None:
    of = series((300, 200, 400), (4000.0, 20.0))
    axis = time_axis(of, SPAN_PX)
    assert [piece.cut for piece in axis.pieces] == [False, True, False, False, False]
    per_s = SPAN_PX / axis.length_s
    assert axis.pieces[1].length_s * per_s == pytest.approx(26.0)
    assert axis.pieces[3].length_s == pytest.approx(20.0)
    second = of.parts[1].offset_s
    assert axis.drawn(second + 100.0) - axis.drawn(second) == pytest.approx(100.0)
    for tick in axis.ticks(SPAN_PX):
        assert not of.parts[0].length_s < tick.time_s < second
    assert [tick.text for tick in axis.ticks(SPAN_PX)][:2] == ["10:16", "10:18"]
    assert "1\N{NO-BREAK SPACE}h 6\N{NO-BREAK SPACE}min 40\N{NO-BREAK SPACE}s cut out" in svg(draw(trajectory(of)))


def test_times_are_those_of_the_recordings_own_clock() -> None:
    axis = time_axis(NIGHTS, SPAN_PX)
    assert axis.when(0.0) == "2026-03-04 22:15:00"
    assert axis.title == "time of day (UTC+01:00)"
    dates = [tick.date for tick in axis.ticks(SPAN_PX) if tick.date]
    assert dates == ["2026-03-04", "2026-03-05", "2026-03-06"]
    without = time_axis(series((3700,), clock=""), SPAN_PX)
    assert without.when(3725.0) == "1:02:05.0"
    assert without.title == "time after the start (hours:minutes:seconds)"
    assert {tick.text for tick in without.ticks(SPAN_PX)} >= {"0:00:00", "0:30:00", "1:00:00"}


def test_alerts_are_thin_until_they_could_be_known() -> None:
    of = trajectory()
    boxes = [mark for mark in draw(of).timed if isinstance(mark, Box) and mark.fill == "#c8620a"]
    met, known = boxes[:2]
    assert (met.start, met.end) == (of.alerts[0].start_s, of.alerts[0].end_s)
    assert known.start == of.alerts[0].raised_s
    assert known.bottom - known.top > met.bottom - met.top
    crowded = charts()["crowded"]
    assert f"{12 - MOST_RULES_DRAWN} more rules: see the table of alerts" in svg(draw(crowded))


def test_an_hour_at_a_stride_of_one_second_stays_small() -> None:
    hour = trajectory(series((3600,)))
    chart = draw(hour)
    size = len(svg(chart)) + len(data_block(hour, time_axis(hour.series, SPAN_PX), chart))
    # 40 of them make a page of less than 15 MB.
    assert size < 15e6 / 40 - 15_000


def test_ids_are_unique_to_the_chart_and_text_cannot_leave_it() -> None:
    text = svg(draw(trajectory(CROWDED), name="chart-1"))
    root = ET.fromstring(text)
    ids = [element.attrib["id"] for element in root.iter() if "id" in element.attrib]
    assert len(ids) == len(set(ids)) and all(name.startswith("chart-1-") for name in ids)
    assert {element.tag for element in root.iter()} <= {
        SVG + tag
        for tag in ("svg", "title", "desc", "defs", "clipPath", "pattern", "g", "path", "rect", "circle", "text")
    }
    used = set(re.findall(r"url\(#([^)]+)\)", text))
    assert used <= set(ids)


def test_a_series_without_segments_is_drawn_with_the_reason() -> None:
    nothing = np.empty(0)
    none = replace(
        series((10,)),
        part=np.empty(0, dtype=np.int64),
        reason=(),
        events=(),
        ratings=(),
        parts=(Part("a.mp4", 0.0, 0.0),),
    )
    fields = dict.fromkeys(("start_s", "end_s", "score", "sd", "low", "high", "quality"), nothing)
    chart = draw(empty(replace(trajectory(), series=replace(none, **fields)), "no segments"))  # type: ignore[arg-type]
    assert "no segments" in svg(chart)
    assert "No smoothed level: no segments." in chart.caption


@pytest.mark.parametrize("name", ["several", "empty"])
def test_the_image_has_the_charts_size_and_is_not_blank(name: str) -> None:
    chart = draw(charts()[name])
    image = matplotlib.image.imread(io.BytesIO(png(chart, scale=1.0)))
    assert image.shape[:2] == (math.floor(chart.height), WIDTH_PX)
    assert 0.6 < image.mean() < 0.999


def test_numbers_of_events_are_those_of_the_table_even_if_some_are_outside() -> None:
    crowded = trajectory(replace(CROWDED, events=(Event(-50.0, "before"), *CROWDED.events)))
    chart = draw(crowded)
    shown = {label.text: label.time for group in chart.labels for label in group.labels if group.rows == 3}
    assert "1" not in shown
    assert shown["4"] == crowded.series.events[3].time_s
    assert "1 event outside the recorded time not drawn." in chart.caption
