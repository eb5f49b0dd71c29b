"""A page in headless Chromium: its messages, its requests, and whether it is wider than the window."""

from __future__ import annotations

import functools
import http.server
import re
import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

_HARNESS = """<!DOCTYPE html><link rel="icon" href="data:,"><body style="margin:0"><p id="widths"></p><script>
const widths = [360, 1280];
for (const width of widths) {
  const frame = document.createElement("iframe");
  frame.style.cssText = `width:${width}px;height:800px;border:0`;
  frame.onload = () => {
    document.getElementById("widths").append(`${width}:${frame.contentDocument.documentElement.scrollWidth};`);
  };
  frame.src = "PAGE"; document.body.append(frame);
}
</script>"""


@dataclass(frozen=True)
class Rendering:
    """What the browser said.

    Attributes:
        messages: of its console.
        widths: of the page, px, by the width of the window: 360 and 1280.
        requested: paths, the harness's among them.
    """

    messages: list[str]
    widths: dict[int, int]
    requested: set[str]


def render_in_browser(page: Path) -> Rendering:
    """Show a page at the width of a phone and of a desk; skips the test without Chromium."""
    (page.parent / "harness.html").write_text(_HARNESS.replace("PAGE", page.name))
    dom, messages, requested = run_in_browser(page.parent / "harness.html")
    measured = re.search(r'id="widths">([^<]*)<', dom)
    assert measured, dom[:500]
    parts = (part.split(":") for part in measured[1].strip(";").split(";"))
    return Rendering(messages, {int(available): int(used) for available, used in parts}, requested)


def run_in_browser(page: Path) -> tuple[str, list[str], set[str]]:
    """A page after its scripts ran, messages of the console, and paths that were requested; its folder is served."""
    browser = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if browser is None:
        pytest.skip("needs Chromium on the PATH (apt-get install chromium); machines of the CI have none")
    with _server(page.parent) as (address, requested):
        done = subprocess.run(
            [
                browser,
                *("--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"),
                *("--disable-background-networking", "--enable-logging=stderr"),
                "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
                *(f"--user-data-dir={page.parent / 'profile'}", "--virtual-time-budget=8000", "--dump-dom"),
                f"{address}/{page.name}",
            ],
            capture_output=True,
            text=True,
            timeout=60,
        )
    return done.stdout, [line for line in done.stderr.splitlines() if "CONSOLE" in line], set(requested)


class _Handler(http.server.SimpleHTTPRequestHandler):
    def __init__(self, requested: list[str], *arguments: Any, directory: Path) -> None:
        self.requested = requested
        super().__init__(*arguments, directory=str(directory))

    def do_GET(self) -> None:
        self.requested.append(self.path)
        super().do_GET()

    def log_message(self, format: str, *args: object) -> None:
        pass


@contextmanager
def _server(folder: Path) -> Iterator[tuple[str, list[str]]]:
    requested: list[str] = []
    handler = functools.partial(_Handler, requested, directory=folder)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as running:
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{running.server_port}", requested
        finally:
            running.shutdown()
            thread.join()
