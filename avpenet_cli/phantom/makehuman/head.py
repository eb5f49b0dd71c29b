"""A photographic MakeHuman person ready to be rendered."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from avpenet_cli.phantom.head.model import Float, HeadShape, Index
from avpenet_cli.phantom.makehuman.layout import Image

SKIN, INSIDE, EYE, TEETH, CLOTH, HAIR, LASH = range(7)
"""Materials."""


@dataclass(frozen=True)
class PhotographicHead:
    """A person ready to be rendered.

    Attributes:
        shape: mesh; its faces are the opaque ones, and its `atlas_px` is not used.
        corner_px: (m, 3, 2) pixels of the atlas of each opaque triangle's corners.
        sheer: (k, 3) int32 triangles with transparency: lashes and hair.
        sheer_px: (k, 3, 2) as `corner_px`.
        material: (n,) int8 of each vertex.
        atlas: (height, width, 4) uint8 sRGB and alpha.
        wrinkles_mm, wrinkles_at: as in `SkinRegions`, for this person's age.
        at_rest: depth of wrinkles without any expression.
    """

    shape: HeadShape
    corner_px: Float
    sheer: Index
    sheer_px: Float
    material: npt.NDArray[np.int8]
    atlas: Image
    wrinkles_mm: Float
    wrinkles_at: tuple[int, int]
    at_rest: float
