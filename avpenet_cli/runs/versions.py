"""Versions of everything that the results depend on."""

from __future__ import annotations

import importlib.metadata
import platform

from avpenet_cli.errors import EnvironmentUnavailableError
from avpenet_cli.media.tools import ffmpeg_version
from avpenet_cli.version import __version__

_LIBRARIES = [
    "torch",
    "torchvision",
    "facenet-pytorch",
    "numpy",
    "scipy",
    "librosa",
    "soxr",
    "noisereduce",
    "opencv-python-headless",
    "decord",
    "safetensors",
]


def software_versions() -> dict[str, str]:
    """Version of avpenet, Python, the platform, ffmpeg and each library, by name; `absent` where not installed."""
    return {
        "avpenet": __version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "ffmpeg": _ffmpeg_version(),
        **{name: _version(name) for name in _LIBRARIES},
    }


def _ffmpeg_version() -> str:
    # A store is trained on without it: hours of training must not end with this.
    try:
        return ".".join(map(str, ffmpeg_version()))
    except EnvironmentUnavailableError:
        return "absent"


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "absent"
