"""Pixels of one video frame, asked for in parts: most of a frame is never needed at full size."""

from __future__ import annotations

from typing import Protocol

import cv2
import numpy as np


class FrameImage(Protocol):
    """One frame as displayed, whatever its pixels are kept as; positions count pixels from the top left corner."""

    @property
    def size(self) -> tuple[int, int]:
        """Width and height, pixels."""

    def reduced(self, size: tuple[int, int]) -> np.ndarray:
        """The whole frame at another size, averaged over areas: (height, width, 3) uint8 RGB, not to be written to.

        Args:
            size: width and height, pixels; neither larger than the frame's.
        """

    def part(self, left: int, top: int, right: int, bottom: int, factor: int = 1) -> np.ndarray:
        """A rectangle of the frame, averaged over `factor` x `factor` pixels: uint8 RGB, not to be written to.

        Args:
            left, top, right, bottom: within the frame, right and bottom excluded.
            factor: divides width and height of the rectangle.

        Returns:
            ((bottom - top) / factor, (right - left) / factor, 3).
        """


class RgbImage:
    """A frame kept as RGB.

    Args:
        rgb: (height, width, 3) uint8.
    """

    def __init__(self, rgb: np.ndarray) -> None:
        self._rgb = rgb

    @property
    def size(self) -> tuple[int, int]:
        """Width and height, pixels."""
        return self._rgb.shape[1], self._rgb.shape[0]

    def reduced(self, size: tuple[int, int]) -> np.ndarray:
        """As in `FrameImage`."""
        return averaged(self._rgb, size)

    def part(self, left: int, top: int, right: int, bottom: int, factor: int = 1) -> np.ndarray:
        """As in `FrameImage`."""
        return averaged(self._rgb[top:bottom, left:right], ((right - left) // factor, (bottom - top) // factor))


def averaged(pixels: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Reduce (height, width) or (height, width, channels) to a width and height by averaging over areas."""
    if size == (pixels.shape[1], pixels.shape[0]):
        return pixels
    return cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)


def whole(image: FrameImage) -> np.ndarray:
    """All of a frame: (height, width, 3) uint8 RGB."""
    return image.part(0, 0, *image.size)
