"""avpenet: offline scoring of recorded clinical procedures for pain, from face and voice together.

The names below are the public interface for notebooks and scripts; everything else may change between versions.
Importing the package loads no heavy library; the first use of a name does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from avpenet_cli.version import __version__

if TYPE_CHECKING:
    from avpenet_cli.api import score_file
    from avpenet_cli.errors import AvpenetError, RecordingError
    from avpenet_cli.report.analysis import ReportSettings
    from avpenet_cli.report.document import ReportDocument
    from avpenet_cli.report.run import analyse
    from avpenet_cli.settings import RunSettings

__all__ = [
    "AvpenetError",
    "RecordingError",
    "ReportDocument",
    "ReportSettings",
    "RunSettings",
    "__version__",
    "analyse",
    "score_file",
]

_MODULES = {
    "analyse": "avpenet_cli.report.run",
    "score_file": "avpenet_cli.api",
    "AvpenetError": "avpenet_cli.errors",
    "RecordingError": "avpenet_cli.errors",
    "ReportDocument": "avpenet_cli.report.document",
    "ReportSettings": "avpenet_cli.report.analysis",
    "RunSettings": "avpenet_cli.settings",
}


def __getattr__(name: str) -> object:
    """Import a public name on first use."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_MODULES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
