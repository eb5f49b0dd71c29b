"""A frame kept as the decoder gives it, planar YUV with halved chroma: only the parts asked for are converted to RGB.

The RGB values are those of ffmpeg's own conversion to within rounding, with the same matrix and range, and with each
chroma value for its two by two pixels.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from avpenet_cli.media.frame_image import averaged
from avpenet_cli.media.probe import VideoStream

PIXEL_FORMATS = ("yuv420p", "yuvj420p")
"""What ffmpeg calls such frames; the second has the full range."""
_WEIGHTS = {
    "bt709": (0.2126, 0.0722),
    "smpte170m": (0.299, 0.114),
    "bt470bg": (0.299, 0.114),
    "fcc": (0.30, 0.11),
    "smpte240m": (0.212, 0.087),
    "bt2020nc": (0.2627, 0.0593),
}
"""Weights of red and blue in luma (ITU-T H.273, table 4), by ffmpeg's names of the matrices."""
_UNSPECIFIED = "smpte170m"
"""What ffmpeg assumes where a stream does not state its matrix, whatever its size."""
_UNSTATED = frozenset({"", "unknown", "unspecified"})


@dataclass(frozen=True)
class YuvFormat:
    """Size and colour of a stream's frames.

    Attributes:
        width_px, height_px: of a frame, even numbers.
        matrix: (3, 4) float64, (Y, U, V, 1) in codes to red, green and blue in codes.
    """

    width_px: int
    height_px: int
    matrix: np.ndarray

    @property
    def frame_bytes(self) -> int:
        """Bytes of a frame: three planes one after the other."""
        return self.width_px * self.height_px * 3 // 2


def yuv_format(video: VideoStream) -> YuvFormat | None:
    """How the frames of a stream can be kept as YUV.

    None where they have another layout, depth or matrix, or state the full range in a layout of the limited one, and
    where ffmpeg has to interpolate chroma with care for where it is sited: in frames with odd sides and in frames that
    are scaled.
    """
    space = _UNSPECIFIED if video.color_space in _UNSTATED else video.color_space
    scaled = video.pixel_aspect != 1 or video.reduction != 1
    odd = video.width_px % 2 or video.height_px % 2
    full_range = video.pixel_format == "yuvj420p"
    # With the full range in yuv420p, ffmpeg changes the range where the size of frames changes midway.
    ambiguous = video.color_range == "pc" and not full_range
    if video.pixel_format not in PIXEL_FORMATS or space not in _WEIGHTS or ambiguous or scaled or odd:
        return None
    return YuvFormat(video.width_px, video.height_px, _to_rgb(*_WEIGHTS[space], full_range=full_range))


def _to_rgb(red: float, blue: float, *, full_range: bool) -> np.ndarray:
    green = 1 - red - blue
    chroma = np.array(
        [
            [0, 2 * (1 - red)],
            [-2 * blue * (1 - blue) / green, -2 * red * (1 - red) / green],
            [2 * (1 - blue), 0],
        ]
    )
    # Codes of luma and chroma over those of RGB, and the code of black.
    luma_scale, chroma_scale, black = (1.0, 1.0, 0.0) if full_range else (255 / 219, 255 / 224, 16.0)
    linear = np.column_stack([np.full(3, luma_scale), chroma * chroma_scale])
    return np.column_stack([linear, -linear @ np.array([black, 128.0, 128.0])])


class YuvImage:
    """A frame kept as YUV.

    Args:
        planes: (frame_bytes,) uint8: Y, then U and V with half as many columns and rows.
        layout: of the stream.
    """

    def __init__(self, planes: np.ndarray, layout: YuvFormat) -> None:
        self._layout = layout
        width, height = layout.width_px, layout.height_px
        luma, chroma = width * height, width * height // 4
        self._luma = planes[:luma].reshape(height, width)
        self._chroma = planes[luma : luma + 2 * chroma].reshape(2, height // 2, width // 2)

    @property
    def size(self) -> tuple[int, int]:
        """Width and height, pixels."""
        return self._layout.width_px, self._layout.height_px

    def reduced(self, size: tuple[int, int]) -> np.ndarray:
        """As in `FrameImage`."""
        if size[0] > self._layout.width_px // 2 or size[1] > self._layout.height_px // 2:
            return self._converted(0, 0, *self.size, size)
        return self._rgb([averaged(plane, size) for plane in (self._luma, *self._chroma)])

    def part(self, left: int, top: int, right: int, bottom: int, factor: int = 1) -> np.ndarray:
        """As in `FrameImage`."""
        return self._converted(left, top, right, bottom, ((right - left) // factor, (bottom - top) // factor))

    def _converted(self, left: int, top: int, right: int, bottom: int, size: tuple[int, int]) -> np.ndarray:
        planes = [self._luma[top:bottom, left:right]]
        for plane in self._chroma:
            under = plane[top // 2 : (bottom + 1) // 2, left // 2 : (right + 1) // 2]
            repeated = cv2.resize(under, None, fx=2, fy=2, interpolation=cv2.INTER_NEAREST)
            planes.append(repeated[top % 2 :, left % 2 :][: bottom - top, : right - left])
        return self._rgb([averaged(plane, size) for plane in planes])

    def _rgb(self, planes: list[np.ndarray]) -> np.ndarray:
        """(height, width, 3) uint8 from three planes of one size."""
        return cv2.transform(cv2.merge(planes), self._layout.matrix)
