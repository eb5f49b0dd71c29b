"""Load head models from files."""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path

from avpenet_cli.errors import SettingsError, reason
from avpenet_cli.phantom.head.ict import IctHead
from avpenet_cli.phantom.head.makehuman import MakeHumanHead
from avpenet_cli.phantom.head.model import HeadModel

_REMEDY = (
    "give ict_facekit_light.npz, a MakeHuman folder with 3dobjs/base.obj and targets/, or a folder of photographs with "
    "points.csv"
)


def load_head(path: Path) -> HeadModel:
    """Load a head model: the ICT-FaceKit light model (.npz), or a folder with MakeHuman's base mesh and targets.

    Raises:
        SettingsError: the path does not exist or is neither of the two.
    """
    if path.is_dir():
        if not (path / "3dobjs" / "base.obj").is_file():
            raise SettingsError(f"{path} has no head model", _REMEDY)
        return MakeHumanHead(path)
    if not path.is_file():
        raise SettingsError(f"there is no head model at {path}", _REMEDY)
    if not zipfile.is_zipfile(path):
        raise SettingsError(f"{path} is no head model", _REMEDY)
    try:
        return IctHead(path)
    except (OSError, EOFError, ValueError, KeyError, IndexError, zipfile.BadZipFile, zlib.error) as error:
        raise SettingsError(f"{path} cannot be read as a head model ({reason(error)})", _REMEDY) from error
