"""Layout of a photographic person's texture atlas: brows and patches, skin, hair, eyes, lashes, teeth and tongue.

The patches of `texture_atlas`, for gown, cap and covers, keep their place.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from avpenet_cli.phantom.head.model import Float

Image = npt.NDArray[np.uint8]

WIDTH_PX, HEIGHT_PX = 2294, 2096

SKIN_SIDE_PX = 2048
"""Side of the skin textures."""

SKIN_BOXES: tuple[tuple[tuple[int, int, int, int], tuple[int, int]], ...] = (
    ((1290, 328, 758, 1720), (512, 0)),
    ((410, 0, 758, 370), (512, 1722)),
    ((0, 655, 389, 348), (1280, 1030)),
)
"""Parts of the skin texture that are used (left, top, width, height), and their place in the atlas: the head with the
inside of the mouth, the chest, and the eye sockets."""

MOUTH_PX = (512 + 1515 - 1290, 1751 - 328, 1270, 1720)
"""Left, top, right and bottom of the inside of the mouth in the atlas."""

SLOTS: dict[str, tuple[int, int, int]] = {
    "eyelashes": (0, 592, 512),
    "eye": (0, 1104, 512),
    "teeth": (0, 1616, 480),
    "tongue": (1680, 1030, 256),
    "hair": (1270, 0, 1024),
}
"""Left, top and side of the place of each other texture."""


def slot_px(name: str, uv: Float) -> Float:
    """Texture coordinates (..., 2), v upwards, of a texture in a slot -> pixels of the atlas (..., 2) float32."""
    left, top, side = SLOTS[name]
    inside = np.clip(np.stack([uv[..., 0], 1.0 - uv[..., 1]], -1), 0.0, 1.0) * (side - 2) + 0.5
    return np.asarray(inside + np.array([left, top]), np.float32)


def skin_px(uv: Float) -> tuple[Float, npt.NDArray[np.bool_]]:
    """Texture coordinates of triangles' corners (m, 3, 2) -> pixels of the atlas, and which triangles have any."""
    at = np.stack([uv[..., 0], 1.0 - uv[..., 1]], -1) * SKIN_SIDE_PX - 0.5
    out = np.zeros_like(at, np.float32)
    placed = np.zeros(len(at), bool)
    for (left, top, width, height), (to_left, to_top) in SKIN_BOXES:
        # A margin, since the corners of an outer triangle lie on the border of a box.
        low, high = np.array([left - 1, top - 1]), np.array([left + width, top + height])
        own = ((at >= low) & (at <= high)).all((1, 2)) & ~placed
        inside = np.clip(at[own] - [left, top], 0, [width - 1, height - 1])
        out[own] = inside + np.array([to_left, to_top])
        placed |= own
    return out, placed


def place_skin(atlas: Image, texture: Image) -> None:
    """Copy the used parts of a skin texture (2048, 2048, 4) into the atlas."""
    for (left, top, width, height), (to_left, to_top) in SKIN_BOXES:
        atlas[to_top : to_top + height, to_left : to_left + width] = texture[top : top + height, left : left + width]


def place_texture(atlas: Image, name: str, texture: Image) -> None:
    """Copy a square texture of the size of its slot into the atlas."""
    left, top, side = SLOTS[name]
    atlas[top : top + side, left : left + side] = texture
