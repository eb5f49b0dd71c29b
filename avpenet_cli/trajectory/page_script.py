"""The page's own script: zoom and read-off of the charts, allowed by its hash and nothing else."""

from __future__ import annotations

from importlib import resources

from avpenet_cli.report.page import PageScript

_FILE = "trajectory.js"


def page_script() -> PageScript:
    """The script, as it stands in the page."""
    text = resources.files(__package__).joinpath("templates", _FILE).read_text(encoding="utf-8")
    return PageScript(text)
