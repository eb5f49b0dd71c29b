"""Read photographs and textures, and refuse what is cut off."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from avpenet_cli.errors import SettingsError


def read_image(path: Path, with_alpha: bool, remedy: str) -> npt.NDArray[np.uint8]:
    """Read an 8-bit colour image.

    Args:
        path: JPEG, PNG or another format of OpenCV.
        with_alpha: whether to return the opacity, too, 255 where the file has none.
        remedy: of the errors.

    Returns:
        (height, width, 3) RGB, or (height, width, 4) RGB and opacity.

    Raises:
        SettingsError: the file cannot be read, is cut off, or is no 8-bit colour image.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise SettingsError(f"{path} cannot be read: {error.strerror}", remedy) from error
    if _is_cut_off(data):
        raise SettingsError(f"{path} is cut off", remedy)
    flags = cv2.IMREAD_UNCHANGED if with_alpha else cv2.IMREAD_COLOR
    image = cv2.imdecode(np.frombuffer(data, np.uint8), flags) if data else None
    if image is None or image.dtype != np.uint8 or image.ndim != 3:
        raise SettingsError(f"{path} is no 8-bit colour image", remedy)
    if not with_alpha:
        return np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), np.uint8)
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGBA if image.shape[2] == 3 else cv2.COLOR_BGRA2RGBA), np.uint8)


def _is_cut_off(data: bytes) -> bool:
    """Whether the end of a JPEG or PNG is absent; OpenCV shows the rest of such an image in grey.

    Within the compressed data of a JPEG neither of its markers can occur, but a preview before them has both.
    """
    if data.startswith(b"\xff\xd8"):
        return data.rfind(b"\xff\xd9") < data.rfind(b"\xff\xda")
    return data.startswith(b"\x89PNG") and b"IEND" not in data[-64:]
