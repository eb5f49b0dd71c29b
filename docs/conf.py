"""Sphinx's settings. The reference pages are filled from the code when the site is built."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from avpenet_cli import __version__
from docs import generate

project = "avpenet"
author = "the avpenet authors"
version = release = __version__
copyright = "the avpenet authors, MIT licence"

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
source_suffix = {".md": "markdown"}
myst_enable_extensions = ["deflist"]
myst_heading_anchors = 4
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
html_theme = "furo"
html_title = "avpenet"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_sphinx = False
html_theme_options = {"navigation_with_keys": True}

_GENERATED = re.compile(r"^<!-- generated: (\S+) -->$", re.MULTILINE)


def _fill(_app: Any, _name: str, source: list[str]) -> None:
    """Replace each line `<!-- generated: NAME -->` of a page by the Markdown of `generate.PARTS[NAME]`."""
    source[0] = _GENERATED.sub(lambda line: generate.PARTS[line[1]](), source[0])


def _mark_code(_app: Any, _what: str, _name: str, _value: Any, _options: Any, lines: list[str]) -> None:
    """Single backticks of a docstring become code; before napoleon, for which a colon outside code ends a type."""
    lines[:] = [re.sub(r"(?<!`)`([^`]+)`(?!`)", r"``\1``", line) for line in lines]


def setup(app: Any) -> None:
    """Called by Sphinx."""
    app.connect("source-read", _fill)
    app.connect("autodoc-process-docstring", _mark_code, priority=100)
