"""The page of trajectories: its only script is its own, text never becomes code, and zoom and read-off work."""

from __future__ import annotations

import base64
import hashlib
import html.parser
import json
import math
import re
import stat
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest

from avpenet_cli.report.document.review import Notice
from avpenet_cli.stats.estimate import Estimate, absent
from avpenet_cli.trajectory.alert_accuracy import AlertAccuracy
from avpenet_cli.trajectory.chart_style import SPAN_PX
from avpenet_cli.trajectory.page import PageContext, SourceFile, render, with_unit, write_page
from avpenet_cli.trajectory.time_axis import time_axis
from tests.support.browser import render_in_browser, run_in_browser
from tests.trajectory.test_drawing import empty
from tests.trajectory.trajectories import HOSTILE, series, trajectory

ACCURACY = AlertAccuracy(
    "score-above-6",
    4,
    3,
    6,
    2,
    1.5,
    Estimate(0.75, (0.3, 0.95), 4),
    Estimate(1.33, (0.16, 4.8), 2, "interval as if false alerts were independent"),
    absent("none"),
    (2, 9),
    1,
    Estimate(2.5, (1.0, 4.0), 6),
)
CONTEXT = PageContext(
    notices=(Notice("danger", "DEMONSTRATION WEIGHTS: not trained on patients, and not to be used for them."),),
    weights=f"avpenet-phantom {HOSTILE}",
    sources=(SourceFile(HOSTILE, "scores", "ab" * 32, 300),),
    accuracy=(ACCURACY,),
    command=f"avpenet trajectory {HOSTILE}",
    software={"avpenet": "1"},
)
SEVERAL = [
    trajectory(series((300, 200), (4000.0,), name=HOSTILE)),
    trajectory(series((40,), clock="", name="second.mp4")),
    empty(trajectory(series((30,), name="third.mp4"))),
]


@dataclass
class Reader(html.parser.HTMLParser):
    """Elements with their attributes, the content of scripts, and the visible text."""

    elements: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    scripts: list[tuple[dict[str, str], str]] = field(default_factory=list)
    text: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = {name: value or "" for name, value in attrs}
        self.elements.append((tag, attributes))
        if tag == "script":
            self.scripts.append((attributes, ""))

    def handle_data(self, data: str) -> None:
        if self.elements and self.elements[-1][0] == "script" and not self.scripts[-1][1]:
            self.scripts[-1] = (self.scripts[-1][0], data)
        elif self.elements and self.elements[-1][0] != "style":
            self.text.append(data)


def read(page: str) -> Reader:
    reader = Reader()
    reader.feed(page)
    return reader


@pytest.fixture(scope="module")
def page() -> str:
    return render(SEVERAL, CONTEXT)


def test_the_policy_allows_the_pages_own_script_and_nothing_else(page: str) -> None:
    reader = read(page)
    policy = next(a["content"] for tag, a in reader.elements if a.get("http-equiv") == "Content-Security-Policy")
    executable = [text for attributes, text in reader.scripts if attributes.get("type") != "application/json"]
    assert len(executable) == 1
    digest = base64.b64encode(hashlib.sha256(executable[0].encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}';" in policy
    assert policy.startswith("default-src 'none';")
    assert "unsafe" not in policy.replace("style-src 'unsafe-inline'", "")
    # What the browser hashes is what stands between the tags: the file, without a change.
    assert executable[0].startswith('"use strict"') and "</" not in executable[0]


def test_the_accuracy_of_alerts_has_its_caveats(page: str) -> None:
    text = " ".join("".join(read(page).text).split())
    assert "interval as if false alerts were independent" in text
    assert "to 9.0, 1 before the episode began" in text
    assert "min per hour of alerts outside episodes" in text


def test_text_from_files_never_becomes_markup_or_code(page: str) -> None:
    reader = read(page)
    assert not [a for _, a in reader.elements if any(name.startswith("on") for name in a)]
    assert not [a for _, a in reader.elements if any(a.get(name, "#").startswith("http") for name in ("src", "href"))]
    blocks = [json.loads(text) for attributes, text in reader.scripts if attributes.get("type") == "application/json"]
    assert len(blocks) == len(SEVERAL) == len(reader.scripts) - 1
    labels = [label for _, label in blocks[0]["events"]]
    assert labels[1].startswith("</script><script>alert('1')</script>&amp;\"><!-- \U0001f600 ]]>")
    assert "alert('1')" not in re.sub(r"&lt;/script&gt;&lt;script&gt;alert\(&#39;1&#39;\)", "", page).replace(
        "&lt;script&gt;alert('1')", ""
    ).replace("\\u003cscript\\u003ealert('1')", "")


def test_the_numbers_for_the_script_are_those_of_the_series(page: str) -> None:
    block = next(json.loads(text) for attributes, text in read(page).scripts if attributes)
    own = SEVERAL[0].series
    assert np.cumsum(block["middle"]) / 10 == pytest.approx(own.middle_s)
    for place in (0, 70, own.score.size - 1):
        score = block["score"][place]
        if math.isnan(own.score[place]):
            assert score is None and block["scoreLow"][place] is None
        else:
            assert score / 100 == pytest.approx(own.score[place], abs=0.006)
            assert (score - block["scoreLow"][place]) / 100 == pytest.approx(own.low[place], abs=0.011)


def test_the_head_says_what_was_read_and_that_this_is_no_monitor(page: str) -> None:
    text = " ".join(" ".join(read(page).text).split())
    assert "DEMONSTRATION WEIGHTS" in text
    assert "3 series of 4 recordings" in text
    assert text.count("It is no monitor") == 1
    assert "For reviewing archives" in text
    for section in ("overview", "series", "accuracy", "methods", "provenance"):
        assert f'<section id="{section}"' in page
    assert "75.0" in text and "not computable: none" in text


def test_what_is_missing_has_a_reason_and_is_never_shown_as_a_number() -> None:
    page = render([empty(trajectory(series((30,), name="dark.mp4")))])
    text = " ".join(" ".join(read(page).text).split())
    assert "No smoothed level: fewer than 10 segments have a score." in text
    assert not re.search(r"\b(nan|None|NaN|inf)\b", text.replace("none", ""))
    assert (
        with_unit(absent("too short"), "s")
        == '<span class="missing">not computable: <span class="why">too short</span></span>'
    )
    assert "no interval" in with_unit(Estimate(3.0, n=2, reason="too few"), "s")


def test_events_have_the_numbers_of_the_chart() -> None:
    page = render([SEVERAL[0]])
    when = time_axis(SEVERAL[0].series, SPAN_PX).when(SEVERAL[0].after_events[2].time_s)
    assert re.search(rf'<td class="n">3</td><td class="n">{when}</td><th scope="row"><bdi class="name">analgesic', page)


def test_the_file_is_readable_by_its_owner_only(tmp_path: Path) -> None:
    write_page(tmp_path / "page.html", [trajectory(series((40,), name=HOSTILE))], CONTEXT)
    assert stat.S_IMODE((tmp_path / "page.html").stat().st_mode) == 0o600


def test_a_browser_renders_it_without_errors_requests_or_overflow(tmp_path: Path) -> None:
    write_page(tmp_path / "page.html", SEVERAL, CONTEXT)
    rendering = render_in_browser(tmp_path / "page.html")
    assert not rendering.messages
    assert all(used <= available for available, used in rendering.widths.items()), rendering.widths
    assert rendering.requested == {"/harness.html", "/page.html"}


_USE = """<!DOCTYPE html><link rel="icon" href="data:,"><body><pre id="said"></pre><script>
const frame = document.createElement("iframe"), said = [];
frame.style.cssText = "width:1280px;height:900px;border:0";
frame.onload = () => {
  const page = frame.contentDocument, view = frame.contentWindow;
  // Only pointers that exist can be captured.
  view.Element.prototype.setPointerCapture = () => {};
  const figure = page.querySelector("figure.series"), svg = figure.querySelector("svg");
  const drawing = figure.querySelector(".drawing"), readout = figure.querySelector(".readout");
  const at = (share) => {
    const box = svg.getBoundingClientRect();
    const place = { clientX: box.left + box.width * (84 + 712 * share) / 880, clientY: box.top + 200 };
    return { ...place, pointerId: 1, pointerType: "mouse", bubbles: true, cancelable: true };
  };
  const pointer = (type, share) => svg.dispatchEvent(new view.PointerEvent(type, at(share)));
  const key = (name) => drawing.dispatchEvent(new view.KeyboardEvent("keydown", { key: name, bubbles: true }));
  const wheel = (share) => !svg.dispatchEvent(new view.WheelEvent("wheel", { ...at(share), deltaY: -100 }));
  const ticks = () => [...svg.querySelectorAll(".ticks text")].map((text) => text.textContent).join(" ");
  const read = () => [...readout.children].map((entry) => entry.textContent).join("; ");
  const say = (what, ...words) => said.push(`${what}: ${words.join(" ")}`);
  say("shown", !readout.hidden, ticks());
  pointer("pointermove", 0.1); say("score", read());
  pointer("pointermove", 0.22); say("gap", read());
  say("page scrolls", !wheel(0.5), ticks());
  pointer("pointerdown", 0.4); pointer("pointermove", 0.6); pointer("pointerup", 0.6); say("dragged", ticks());
  say("wheel", wheel(0.5), ticks());
  key("ArrowRight"); say("next", read());
  key("Home"); say("home", read(), "|", ticks());
  svg.dispatchEvent(new view.MouseEvent("dblclick", { bubbles: true, cancelable: true })); say("reset", ticks());
  figure.querySelector("button[data-do=in]").click(); say("button", ticks());
  view.dispatchEvent(new view.Event("beforeprint")); say("print", ticks());
  view.dispatchEvent(new view.Event("afterprint")); say("after print", ticks());
  document.getElementById("said").textContent = said.join("\\n");
};
frame.src = "page.html"; document.body.append(frame);
</script>"""


def test_a_reader_can_zoom_and_read_off(tmp_path: Path) -> None:
    own = trajectory(series((300,)))
    write_page(tmp_path / "page.html", [own], replace(CONTEXT, accuracy=()))
    (tmp_path / "use.html").write_text(_USE, encoding="utf-8")
    dom, messages, _ = run_in_browser(tmp_path / "use.html")
    assert not messages
    found = re.search(r'id="said">([^<]*)<', dom)
    assert found, dom[:500]
    said = dict(line.split(": ", 1) for line in html.unescape(found[1]).splitlines())
    whole = "10:15 10:16 10:17 10:18 10:19 10:20"
    assert said["shown"] == f"true {whole}"
    place = int(np.argmin(np.abs(own.series.middle_s - 30.2)))
    score, low, high = (values[place] for values in (own.series.score, own.series.low, own.series.high))
    assert said["score"].startswith(f"10:15:30; score {score:.2f} ({low:.2f} to {high:.2f}); level ")
    assert "; rating, nurse A 5; state stable; quality 0." in said["score"]
    assert said["gap"].startswith("10:16:06; no score: no face; rating, nurse A 7")
    assert said["page scrolls"] == f"true {whole}"
    assert said["dragged"] == "10:17:10 10:17:20 10:17:30 10:17:40 10:17:50 10:18:00"
    assert said["wheel"] == "true 10:17:10 10:17:20 10:17:30 10:17:40 10:17:50"
    assert re.match(r"10:18:0[23]; ", said["next"])
    assert said["home"].startswith("10:15:02; score ") and said["home"].endswith("10:15:40")
    assert said["reset"] == whole
    assert said["button"].startswith("10:15:30") and said["button"] == said["after print"]
    assert said["print"] == whole
