"""Cut a person out of a photograph taken before an even studio background."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from avpenet_cli.phantom.photographs.template import OUTLINE, SKULL, Array

Float = npt.NDArray[np.float32]
Image = npt.NDArray[np.uint8]

_NEAR, _FAR = 12.0, 34.0
"""Distances from the background's colour, in codes, that are certainly background and certainly person."""
_COARSE_PX = 128


def cut_out(photograph: Image, points_px: Array, solid_share: float = 0.93) -> Image:
    """Separate the person from the background.

    Args:
        photograph: (height, width, 3) uint8 RGB, with background at its top and upper sides.
        points_px: (189, 2) of the face.
        solid_share: of the outlines of face and hair, from their centres, within which everything is person; less
            where the points are estimates.

    Returns:
        (height, width, 4) uint8: RGB multiplied by opacity, as if before black, and opacity.
    """
    height, width = photograph.shape[:2]
    image = photograph.astype(np.float32)
    background = _background(image, points_px)
    distance = np.sqrt(((image - background) ** 2).sum(-1))
    certain = np.clip((cv2.GaussianBlur(distance, (0, 0), 0.8) - _NEAR) / (_FAR - _NEAR), 0.0, 1.0)
    inside = np.zeros((height, width), np.uint8)
    for names in (OUTLINE, SKULL):
        outline = points_px[list(names)]
        drawn_in = outline.mean(0) + solid_share * (outline - outline.mean(0))
        cv2.fillPoly(inside, [np.round(drawn_in).astype(np.int32)], 255)
    lighter = (image - background).min(-1)
    body = cv2.GaussianBlur(inside, (0, 0), 2.0).astype(np.float32) / 255.0
    body = np.maximum(body, _shoulders(certain, lighter, points_px))
    certain = _one_piece(np.maximum(certain, body), points_px)
    opacity, colour = _matte(image, background, certain, body)
    return np.concatenate([colour * opacity[..., None], 255.0 * opacity[..., None]], -1).round().astype(np.uint8)


def _matte(image: Float, background: Float, certain: Float, body: Float) -> tuple[Float, Float]:
    """Opacity and colour at the soft edge of the hair, where a pixel mixes hair and background.

    The colour of the person at the edge is that of the nearest pixels inside; the opacity is where the pixel lies
    between it and the background.
    """
    core = cv2.erode((certain > 0.9).astype(np.uint8), cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (9, 9)))
    core = np.maximum(core, (body > 0.9).astype(np.uint8)).astype(np.float32)
    weight, summed = np.full(core.shape, 1e-6, np.float32), 1e-6 * image
    for sigma, share in ((4.0, 1.0), (12.0, 0.02)):
        weight += share * cv2.GaussianBlur(core, (0, 0), sigma)
        summed += share * cv2.GaussianBlur(core[..., None] * image, (0, 0), sigma)
    near = summed / weight[..., None]
    away = near - background
    size = np.maximum((away**2).sum(-1), 30.0**2)
    mixed = np.clip(((image - background) * away).sum(-1) / size * 1.15 - 0.10, 0.0, 1.0)
    opacity = np.maximum(np.maximum(core, body), certain * mixed)
    edge = (1.0 - np.maximum(core, body)) * (1.0 - opacity)
    own = np.clip((image - (1.0 - opacity[..., None]) * background) / np.maximum(opacity[..., None], 0.2), 0.0, 255.0)
    colour = own + np.clip(4.0 * edge, 0.0, 1.0)[..., None] * (near - own)
    return np.asarray(opacity, np.float32), np.asarray(colour, np.float32)


def _neck_base(points_px: Array) -> Array:
    """Outline of what is surely neck and shoulders, from under the jaw to the lower edge of the photograph."""
    chin, size = points_px[129], float(np.hypot(*(points_px[1] - points_px[0])))
    x = np.array([-0.52, -0.58, -0.58, 0.58, 0.58, 0.52]) * size + chin[0]
    y = np.array([-0.10, 0.25, 9.0, 9.0, 0.25, -0.10]) * size + chin[1]
    return np.stack([x, y], 1)


def _background(image: Float, points_px: Array) -> Float:
    """The background without the person: a quadratic polynomial of position, fitted to what is not the person."""
    height, width = image.shape[:2]
    coarse = cv2.resize(image, (_COARSE_PX, _COARSE_PX), interpolation=cv2.INTER_AREA)
    y, x = np.mgrid[:_COARSE_PX, :_COARSE_PX] / _COARSE_PX - 0.5
    basis = np.stack([np.ones_like(x), x, y, x * x, x * y, y * y], -1)
    above = y + 0.5 < points_px[list(OUTLINE), 1].max() / height
    known = (y < -0.43) | (above & (np.abs(x) > 0.42))
    coefficients = np.zeros((6, 3))
    for _ in range(5):
        coefficients = np.linalg.lstsq(basis[known], coarse[known], rcond=None)[0]
        known = above & (np.abs(coarse - basis @ coefficients).max(-1) < 8.0)
        if known.sum() < 100:
            break
    smooth = (basis @ coefficients).astype(np.float32)
    return np.asarray(cv2.resize(smooth, (width, height), interpolation=cv2.INTER_CUBIC), np.float32)


def _shoulders(certain: Float, lighter: Float, points_px: Array) -> Float:
    """Neck, shoulders and clothes, parts of which resemble the background.

    Args:
        certain: (height, width) float32 opacity by colour alone.
        lighter: (height, width) float32 by how many codes a pixel is lighter than the background, as white clothes are.
        points_px: (189, 2) of the face.
    """
    height, width = certain.shape
    chin, size = points_px[129], float(np.hypot(*(points_px[1] - points_px[0])))
    body = np.zeros((height, width), np.uint8)
    cv2.fillPoly(body, [np.round(_neck_base(points_px)).astype(np.int32)], 1)
    # Between the neck and the clothes at its side.
    start = int(np.clip(chin[1], 0, height - 1))
    _, labels = cv2.connectedComponents(cv2.medianBlur((lighter > _NEAR).astype(np.uint8), 5))
    clothes = np.isin(labels, np.setdiff1d(labels[-max(1, height // 20) :], 0))
    columns = np.arange(width)
    for row in range(start, height):
        across = np.flatnonzero(clothes[row])
        if across.size and body[row].any():
            ends = np.flatnonzero(body[row])
            body[row, (columns >= min(across[0], ends[0])) & (columns <= max(across[-1], ends[-1]))] = 1
    # Below the upper edge of the shoulders.
    start = min(int(chin[1] + 0.42 * size), height - 2)
    cloth = ((certain > 0.35) & (lighter > -_FAR)).astype(np.uint8)  # not hair, which may hang beside the shoulders
    covered = np.maximum(body[start:], cv2.medianBlur(cloth, 5)[start:])
    top = np.where(covered.any(0), covered.argmax(0), height - start)
    smooth = cv2.medianBlur(np.minimum(top, 255).astype(np.uint8)[None], 2 * int(0.12 * size) + 1)[0]
    body[start:] |= (np.arange(height - start)[:, None] > smooth[None]).astype(np.uint8)
    return np.asarray(cv2.GaussianBlur(body.astype(np.float32), (0, 0), 1.2), np.float32)


def _one_piece(opacity: Float, points_px: Array) -> Float:
    """Opacity without spots apart from the person."""
    _, labels = cv2.connectedComponents((opacity > 0.15).astype(np.uint8))
    nose = np.clip(points_px[55].astype(int), 0, np.array(opacity.shape[::-1]) - 1)
    person = (labels == labels[nose[1], nose[0]]).astype(np.uint8)
    near = cv2.dilate(person, np.ones((5, 5), np.uint8))
    return np.asarray(opacity * near, np.float32)


def tint_skin(cutout: Image, points_px: Array, gain: Array) -> Image:
    """Multiply the skin's colour, and leave hair, eyes and clothes.

    Args:
        cutout: (height, width, 4) uint8 of `cut_out`.
        points_px: (189, 2) of the face.
        gain: (3,) factors of linear RGB.
    """
    cheeks = np.round(points_px[[166, 169, 174, 165, 168]]).astype(int)
    patch = np.stack([cutout[y - 2 : y + 3, x - 2 : x + 3, :3].reshape(-1, 3) for x, y in cheeks]).astype(np.float32)
    skin = np.median(patch.reshape(-1, 3), 0)
    colour = cutout[..., :3].astype(np.float32)
    light = colour.sum(-1, keepdims=True) + 20.0
    # Distance of chromaticity, and a wider one of lightness, which shading changes.
    hue = ((colour / light - skin / (skin.sum() + 20.0)) ** 2).sum(-1)
    lightness = np.log(light[..., 0] / (skin.sum() + 20.0))
    share = np.exp(-hue / (2 * 0.022**2) - lightness**2 / (2 * 0.7**2))
    share = cv2.GaussianBlur(share.astype(np.float32), (0, 0), 2.5)[..., None]
    code = 1.0 + share * (gain.astype(np.float32) ** np.float32(1 / 2.2) - 1.0)
    out = cutout.copy()
    out[..., :3] = np.minimum(colour * code, cutout[..., 3:].astype(np.float32)).round().astype(np.uint8)
    return out


def skin_colour(cutout: Image, points_px: Array) -> Array:
    """Median colour of the cheeks: (3,) sRGB in [0, 1]."""
    cheeks = np.round(points_px[[166, 169, 165, 168]]).astype(int)
    patch = np.stack([cutout[y - 2 : y + 3, x - 2 : x + 3, :3].reshape(-1, 3) for x, y in cheeks])
    return np.asarray(np.median(patch.reshape(-1, 3), 0) / 255.0)
