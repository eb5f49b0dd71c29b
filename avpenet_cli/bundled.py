"""Data that comes with the program: the default weights and the example phantoms."""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent
_INSTALLED = _PACKAGE / "data"
_REPOSITORY = _PACKAGE.parent


def weights_directory() -> Path:
    """The folder with the default weights; it need not exist."""
    return _choose("weights", _REPOSITORY / "weights")


def phantoms_directory() -> Path:
    """The folder with the example phantoms, their truth and their expected scores; it need not exist."""
    return _choose("phantoms", _REPOSITORY / "examples" / "phantoms")


def _choose(name: str, in_repository: Path) -> Path:
    # An installed copy never reads what happens to lie beside site-packages.
    return _INSTALLED / name if _INSTALLED.is_dir() else in_repository
