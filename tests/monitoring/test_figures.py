"""The control charts as drawn."""

from __future__ import annotations

import re

import pytest

from avpenet_cli.monitoring.document import Chart, ChartPoint
from avpenet_cli.monitoring.figures import control_chart


@pytest.mark.parametrize(("share", "drawn"), [(0.0, "0"), (1.0, "100")])
def test_no_tick_stands_where_a_share_cannot_be(share: float, drawn: str) -> None:
    points = tuple(ChartPoint(f"2026-0{month}", 5, share, 0.0, -1.0, 1.0, False) for month in range(1, 6))
    chart = Chart("without_audio", "no audio", "%", "", "", "all", 40, share, share, share, False, points)
    texts = re.findall(r">([^<>\n]+)</text>", control_chart(chart, "month", name="chart").svg)
    ticks = texts[: texts.index("%")]
    assert drawn in ticks
    assert all(0.0 <= float(tick.replace("\N{MINUS SIGN}", "-")) <= 100.0 for tick in ticks)
