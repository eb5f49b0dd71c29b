"""Colour a person's textures: skin of a tone and age, brows, hair, eyes."""

from __future__ import annotations

from typing import TypeVar

import cv2
import numpy as np
import numpy.typing as npt

from avpenet_cli.phantom.face.skin import LUMINANCE, hair_albedo, linear, luminance, skin_albedo
from avpenet_cli.phantom.head.model import Float, Index, Look
from avpenet_cli.phantom.head.rasterizer import find_fragments
from avpenet_cli.phantom.makehuman.layout import SKIN_BOXES, Image
from avpenet_cli.phantom.makehuman.regions import SkinRegions
from avpenet_cli.phantom.parameters.face_params import face_params

Pixel = TypeVar("Pixel", np.uint8, np.float32)

_CODES = np.arange(256) / 255.0


def linear_table() -> Float:
    """sRGB code -> linear light: (256,) float32."""
    return linear(_CODES).astype(np.float32)


def encoded(colour: npt.NDArray[np.floating]) -> Image:
    """Linear light -> sRGB code, clipped (IEC 61966-2-1)."""
    value = np.clip(colour, 0.0, 1.0)
    code = np.where(value <= 0.0031308, value * 12.92, 1.055 * value ** (1 / 2.4) - 0.055) * 255
    return np.asarray(np.round(code), np.uint8)


def recoloured(image: Image, gain: npt.NDArray[np.floating]) -> Image:
    """The image (..., 4) with its linear light multiplied by `gain` (3,)."""
    table = np.tile(np.arange(256, dtype=np.uint8)[:, None], (1, 4))
    table[:, :3] = encoded(linear(_CODES)[:, None] * np.asarray(gain)[None])
    return np.asarray(cv2.LUT(image, table[None]), np.uint8)


def skin_to_tone(atlas: Image, regions: SkinRegions, look: Look) -> None:
    """Give the skin of an atlas the mean colour of its tone, and a newborn's that of a newborn; in place."""
    params = face_params().photographic
    sample = atlas[regions.cheeks_px[:, 1], regions.cheeks_px[:, 0], :3]
    own = np.median(linear(sample / 255.0), axis=0)
    target = skin_albedo(look.skin_tone, look.age_group)
    gain = (target / own) ** params.chroma_share
    gain *= luminance(target) / luminance(gain * own)
    for (_, _, width, height), (left, top) in SKIN_BOXES:
        box = atlas[top : top + height, left : left + width]
        if look.age_group == "neonate":
            box[..., :3] = _smoothed(box[..., :3])
        box[:] = recoloured(box, gain)
    _tint_lips(atlas, regions, look, target)


def _tint_lips(atlas: Image, regions: SkinRegions, look: Look, skin: npt.NDArray[np.floating]) -> None:
    """Redden the lips, which the dark skins show in grey, at equal luminance; in place."""
    share = face_params().photographic.lip_chroma_share
    strength = share[0] + (look.skin_tone - 1) / 9.0 * (share[1] - share[0])
    colour = skin * np.array(face_params().skin.lips)
    (left, top), (height, width) = regions.lips_at, regions.lips.shape
    box = atlas[top : top + height, left : left + width, :3]
    own = linear(box / 255.0)
    reddened = own @ LUMINANCE / luminance(colour)
    mixed = own + strength * regions.lips[..., None] * (reddened[..., None] * colour - own)
    box[:] = encoded(mixed)


def _smoothed(image: Image) -> Image:
    """Skin without pores, stubble and lines: the colours of lips and lids stay."""
    params = face_params().photographic
    wide = cv2.GaussianBlur(cv2.medianBlur(image, 5), (0, 0), params.baby_blur_px)
    return np.asarray(cv2.addWeighted(image, params.baby_detail, wide, 1.0 - params.baby_detail, 0.0), np.uint8)


def tint_scalp(atlas: Image, scalp: Float, colour: npt.NDArray[np.floating], density: float) -> None:
    """Cover the scalp with short hair of a colour (3,); `scalp` (h, w) in [0, 1] is reduced; in place."""
    (_, _, width, height), (left, top) = SKIN_BOXES[0]
    box = atlas[top : top + height, left : left + width, :3]
    share = cv2.resize(scalp, (width, height), interpolation=cv2.INTER_LINEAR)[..., None] * np.float32(density)
    box[:] = (box * (1.0 - share) + encoded(colour).astype(np.float32) * share).astype(np.uint8)


def paint_brows(
    atlas: Image, corner_px: Float, faces_uv: Float, brow: Image, colour: npt.NDArray[np.floating], density: float
) -> None:
    """Paint brows on the skin of an atlas, in place.

    Args:
        atlas: (height, width, 4).
        corner_px: (m, 3, 2) pixels of the atlas of the corners of the brow mesh's triangles.
        faces_uv: (m, 3, 2) their texture coordinates.
        brow: (side, side, 4) texture.
        colour: (3,) linear.
        density: factor on the texture's alpha.
    """
    low = np.floor(corner_px.min((0, 1))).astype(int) - 1
    size = np.ceil(corner_px.max((0, 1))).astype(int) + 2 - low
    points = np.zeros((corner_px.shape[0] * 3, 3), np.float32)
    points[:, :2] = corner_px.reshape(-1, 2) - low + 0.5
    fragments = find_fragments(
        points, np.arange(len(points), dtype=np.int32).reshape(-1, 3), int(size[0]), int(size[1]), two_sided=True
    )
    corners = faces_uv[fragments.triangle]
    uv = corners[:, 0] + (fragments.weights()[..., None] * (corners[:, 1:] - corners[:, :1])).sum(1)
    side = brow.shape[0]
    at = (np.stack([uv[:, 0], 1.0 - uv[:, 1]], 1) * side - 0.5).astype(np.float32)
    texture = np.asarray(cv2.GaussianBlur(brow, (0, 0), 0.7 * side / float(size[0])), np.uint8)
    alpha = sample(texture, at[:, 0], at[:, 1])[:, 3].astype(np.float32) / 255.0
    cover = np.zeros(int(size[0] * size[1]), np.float32)
    np.maximum.at(cover, fragments.pixel, alpha)
    share = np.clip(cover.reshape(size[1], size[0], 1) * density, 0.0, 1.0)
    box = atlas[low[1] : low[1] + size[1], low[0] : low[0] + size[0], :3]
    box[:] = (box * (1.0 - share) + encoded(colour).astype(np.float32) * share).astype(np.uint8)


def sample(image: npt.NDArray[Pixel], x: Float, y: Float) -> npt.NDArray[Pixel]:
    """Bilinear samples of an image at positions (k,): (k, channels)."""
    count = x.size
    wide = 4096
    rows = -(-count // wide)
    place = np.zeros((2, rows * wide), np.float32)
    place[0, :count], place[1, :count] = x, y
    across, down = place.reshape(2, rows, wide)
    out = cv2.remap(image, across, down, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(out.reshape(rows * wide, -1)[:count], image.dtype)


def hair_coloured(image: Image, tone: float, grey: float) -> Image:
    """A hair texture (..., 4) in the colour of a tone, greyed by a share in [0, 1]; strands keep their contrast."""
    colour = hair_albedo(tone)
    colour = colour + grey * (hair_albedo(1.0) - colour)
    code = cv2.cvtColor(image[..., :3], cv2.COLOR_RGB2GRAY)
    opaque = image[..., 3] > 128
    middle = float(np.median(code[opaque])) if opaque.any() else 128.0
    params = face_params().photographic
    relative = np.clip(linear(_CODES) / linear(max(middle, 8.0) / 255.0), 0.15, 3.0) ** params.hair_contrast
    out = image.copy()
    out[..., :3] = encoded(relative[:, None] * colour)[code]
    # Faint strips look like glass.
    out[..., 3] = np.clip((np.arange(256) - 64.0) * 2.0, 0, 255).astype(np.uint8)[image[..., 3]]
    return out


def eye_coloured(image: Image, saturation: float, brightness: float) -> Image:
    """An eye's texture with its colour weakened and darkened."""
    rgb = image[..., :3].astype(np.float32)
    grey = rgb.mean(-1, keepdims=True)
    out = image.copy()
    out[..., :3] = np.clip((grey + saturation * (rgb - grey)) * brightness, 0, 255)
    out[..., 3] = 255
    return out


def scalp_of(painted: Image, regions_px: Index) -> Float:
    """Where hair grows, from a skin texture with painted hair: (h, w) float32 in [0, 1] over the head's box, reduced.

    Args:
        painted: (2048, 2048, 4).
        regions_px: (k, 2) pixels of the atlas in the face, where the skin's own colour is.
    """
    (left, top, width, height), (to_left, to_top) = SKIN_BOXES[0]
    small = cv2.resize(
        painted[top : top + height, left : left + width, :3], (width // 4, height // 4), interpolation=cv2.INTER_AREA
    )
    light = small.astype(np.float32).mean(-1)
    at = (regions_px - [to_left, to_top]) // 4
    skin = float(np.median(light[at[:, 1], at[:, 0]]))
    share = np.clip((0.80 * skin - light) / (0.35 * skin), 0.0, 1.0)
    # Eyes, nostrils and mouth are dark, too, but not of the scalp.
    face = at.astype(np.float32)
    middle, spread = face.mean(0), np.ptp(face, axis=0)
    across, down = np.meshgrid(np.arange(light.shape[1]), np.arange(light.shape[0]))
    inside = ((across - middle[0] - 0.2 * spread[0]) / (0.85 * spread[0])) ** 2 + (
        (down - middle[1]) / (0.75 * spread[1])
    ) ** 2
    share[inside < 1.0] = 0.0
    outside = small.max(-1) == 0
    share[outside] = 1.0
    return np.asarray(cv2.GaussianBlur(share, (0, 0), 1.5), np.float32)
