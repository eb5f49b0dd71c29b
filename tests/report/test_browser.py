"""The page in a browser: no errors, no requests, no overflow."""

from __future__ import annotations

import functools
import http.server
import re
import shutil
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from avpenet_cli.report.analysis import ReportSettings
from avpenet_cli.report.run import ReportRequest, run_report
from avpenet_cli.stats.bootstrap import Resampling
from examples.make_study import make_study


class _Handler(http.server.SimpleHTTPRequestHandler):
    def __init__(self, requested: list[str], *arguments: Any, directory: Path) -> None:
        self.requested = requested
        super().__init__(*arguments, directory=str(directory))

    def do_GET(self) -> None:
        self.requested.append(self.path)
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
    requested: list[str] = []
    handler = functools.partial(_Handler, requested, directory=tmp_path)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as running:
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{running.server_port}", requested
        running.shutdown()
        thread.join()


def test_a_browser_renders_it_without_errors_requests_or_overflow(
    server: tuple[str, list[str]], tmp_path: Path
) -> None:
    browser = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if browser is None:
        pytest.skip("needs Chromium on the PATH (apt-get install chromium); machines of the CI have none")
    address, requested = server
    make_study(tmp_path, recordings=30, segments=10.0)
    tables = {name: tmp_path / f"{name}.csv" for name in ("scores", "scores-new", "ratings", "subjects", "events")}
    run_report(
        ReportRequest(
            scores=(tables["scores"],),
            out=tmp_path / "report.html",
            reference=tables["ratings"],
            subjects=tables["subjects"],
            events=tables["events"],
            compare=(tables["scores-new"],),
            settings=ReportSettings(resampling=Resampling(200)),
        )
    )
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
    assert all(int(used) <= int(available) for available, used in widths.items()), widths
    assert set(requested) == {"/harness.html", "/report.html"}
