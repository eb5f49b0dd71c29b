"""Paint the texture of a head: skin, brows, lips and lashes placed by landmarks, and expression furrows."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from avpenet_cli.phantom.head.model import AgeGroup, Expression, Float, Landmarks, Look
from avpenet_cli.phantom.head.texture_atlas import FACE_HEIGHT_PX, HEIGHT_PX, PATCHES, WIDTH_PX, face_px, px_per_mm
from avpenet_cli.phantom.parameters.face_params import face_params

LUMINANCE = np.array([0.2126, 0.7152, 0.0722])
"""Luminance coefficients of linear sRGB (ITU-R BT.709)."""


@dataclass(frozen=True)
class Atlas:
    """Texture atlas of a head.

    Attributes:
        albedo: (height, width, 3) float32 linear RGB in [0, 1].
        furrows: (height, width, 4) float32 darkening at full intensity: between the brows, on the forehead, around the
            eyes, from nose to mouth.
        at_rest: darkening without any expression, as a share of full.
    """

    albedo: Float
    furrows: Float
    at_rest: float


def linear(srgb: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """sRGB in [0, 1] -> linear light (IEC 61966-2-1)."""
    value = np.asarray(srgb, np.float64)
    return np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)


def luminance(albedo: npt.NDArray[np.float64]) -> float:
    """Luminance of a linear RGB colour (3,), relative to white."""
    return float(albedo @ LUMINANCE)


def skin_albedo(tone: int, age_group: AgeGroup) -> npt.NDArray[np.float64]:
    """Linear RGB albedo of a Monk tone 1-10: (3,)."""
    skin = face_params().skin
    code = skin.tones_srgb[tone - 1]
    colour = linear([int(code[i : i + 2], 16) / 255 for i in (1, 3, 5)])
    dark = (tone - 1) / (len(skin.tones_srgb) - 1)
    chroma = (1.0 - dark) * np.array(skin.chroma_light) + dark * np.array(skin.chroma_dark)
    colour = (1.0 - skin.chroma_share) * colour + skin.chroma_share * luminance(colour) * chroma / luminance(chroma)
    if age_group == "neonate":
        colour = colour * np.array(skin.neonate_redness)
    own = luminance(colour)
    return np.asarray(colour * np.clip(own, skin.min_albedo, skin.max_albedo) / own)


def hair_albedo(tone: float) -> npt.NDArray[np.float64]:
    """Linear RGB albedo of hair from black (0) over brown and fair to white (1): (3,)."""
    skin = face_params().skin
    ladder = np.array([skin.hair_black, skin.hair_brown, skin.hair_fair, skin.hair_white])
    at = tone * (len(ladder) - 1)
    return np.stack([np.interp(at, np.arange(len(ladder)), ladder[:, c]) for c in range(3)])


def furrow_weights(expression: Expression, at_rest: float) -> Float:
    """Depth of the atlas's four furrows for an expression: (4,) float32 in [0, 1]."""
    share = face_params().furrows
    deep = [
        max(expression.brow_lower, share.from_nose_wrinkle * expression.nose_wrinkle),
        expression.brow_raise,
        max(expression.orbit_tighten, share.from_closing * expression.eyes_closed),
        max(
            expression.nose_wrinkle,
            expression.lip_raise,
            share.from_smile * expression.lip_corner_pull,
            share.from_stretch * expression.lip_stretch,
        ),
    ]
    return np.maximum(np.array(deep, np.float32), np.float32(at_rest))


def flush(expression: Expression) -> Float:
    """Colour factor (3,) float32 of skin flushed by a strained expression."""
    full = np.array(face_params().skin.cry_flush, np.float32)
    effort = np.float32(expression.orbit_tighten * max(expression.mouth_open, expression.nose_wrinkle))
    return np.asarray(1.0 - effort * (1.0 - full), np.float32)


def paint(look: Look, landmarks: Landmarks) -> Atlas:
    """Paint the atlas of a person; the same look and landmarks give the same bytes."""
    rng = np.random.default_rng([look.identity, 23])
    albedo = np.zeros((HEIGHT_PX, WIDTH_PX, 3), np.float32)
    albedo[:FACE_HEIGHT_PX] = _face(look, landmarks, rng)
    _patches(albedo, look, landmarks, rng)
    furrows = np.zeros((HEIGHT_PX, WIDTH_PX, 4), np.float32)
    furrows[:FACE_HEIGHT_PX] = _furrows(look, landmarks)
    at_rest = face_params().skin.static_lines * float(rng.random()) if look.age_group == "adult" else 0.0
    return Atlas(albedo, furrows, at_rest)


def _noise(rng: np.random.Generator, height: int, width: int, cell_px: float) -> Float:
    """Smooth noise of unit variance with details of about `cell_px`."""
    coarse = rng.standard_normal((int(height / cell_px) + 2, int(width / cell_px) + 2)).astype(np.float32)
    wide = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    return np.asarray(wide / max(float(wide.std()), 1e-6), np.float32)


class _Canvas:
    """Soft-edged shapes on the unrolled face, placed by positions on the head."""

    def __init__(self, landmarks: Landmarks) -> None:
        self._eye_x_mm = landmarks.eye_x_mm
        self.scale = px_per_mm(landmarks.eye_x_mm)
        self.mm = landmarks.eye_x_mm / face_params().adult.eye_x_mm  # an adult's mm on this head

    def px(self, points: npt.ArrayLike) -> Float:
        return face_px(np.atleast_2d(np.asarray(points, np.float32)), self._eye_x_mm)

    def spot(self, point: npt.ArrayLike, spread_mm: tuple[float, float]) -> Float:
        x, y = self.px(point)[0]
        spread = np.array(spread_mm) * self.mm * self.scale
        across = (np.arange(WIDTH_PX) - x) / spread[0]
        down = (np.arange(FACE_HEIGHT_PX) - y) / spread[1]
        return np.asarray(np.exp(-0.5 * (across[None, :] ** 2 + down[:, None] ** 2)), np.float32)

    def area(self, points: npt.ArrayLike, soft_mm: float) -> Float:
        mask = np.zeros((FACE_HEIGHT_PX, WIDTH_PX), np.uint8)
        cv2.fillPoly(mask, [np.round(self.px(points) * 16).astype(np.int32)], 255, cv2.LINE_AA, 4)
        return self._soft(mask, soft_mm)

    def line(self, points: npt.ArrayLike, width_mm: float, soft_mm: float) -> Float:
        mask = np.zeros((FACE_HEIGHT_PX, WIDTH_PX), np.uint8)
        thick = max(1, round(width_mm * self.mm * self.scale))
        cv2.polylines(mask, [np.round(self.px(points) * 16).astype(np.int32)], False, 255, thick, cv2.LINE_AA, 4)
        return self._soft(mask, soft_mm)

    def _soft(self, mask: npt.NDArray[np.uint8], soft_mm: float) -> Float:
        sigma = max(soft_mm * self.mm * self.scale, 0.5)
        return np.asarray(cv2.GaussianBlur(mask, (0, 0), sigma), np.float32) / np.float32(255)


def _tinted(colour: Float, mask: Float, factor: tuple[float, float, float]) -> Float:
    return np.asarray(colour * (1.0 - mask[..., None] * (1.0 - np.array(factor, np.float32))), np.float32)


def _covered(colour: Float, mask: Float, with_albedo: npt.ArrayLike) -> Float:
    return np.asarray(colour + mask[..., None] * (np.asarray(with_albedo, np.float32) - colour), np.float32)


def _face(look: Look, landmarks: Landmarks, rng: np.random.Generator) -> Float:
    skin, canvas = face_params().skin, _Canvas(landmarks)
    shape = (FACE_HEIGHT_PX, WIDTH_PX)
    tone = skin_albedo(look.skin_tone, look.age_group).astype(np.float32)
    vary = 1.0 + skin.mottle * _noise(rng, *shape, 46.0) + skin.grain * _noise(rng, *shape, 2.2)
    colour = tone * vary[..., None]
    cheeks = np.zeros(shape, np.float32)
    for pupil in landmarks.pupils:
        under = pupil + np.array([0.15 * pupil[0], -0.85 * landmarks.eye_x_mm, 0.0])
        cheeks += canvas.spot(under, (17.0, 13.0))
        colour = _tinted(colour, 0.8 * canvas.spot(pupil, (15.0, 9.0)), skin.lids)
    colour = _tinted(colour, np.clip(cheeks * rng.uniform(0.3, 1.0), 0, 1), skin.cheek_redness)
    colour = _tinted(colour, canvas.spot(landmarks.nose_tip, (12.0, 9.0)), skin.nose_redness)
    if look.age_group == "adult" and rng.random() < skin.stubble_share and look.hair != "long":
        mouth = landmarks.lip_line.mean(0) - np.array([0.0, 0.35 * landmarks.eye_x_mm, 0.0])
        colour = _tinted(colour, np.clip(1.6 * canvas.spot(mouth, (40.0, 22.0)), 0, 1), skin.stubble)
    colour = _tinted(colour, canvas.area(landmarks.lips, 0.9), skin.lips)
    colour = colour * (1.0 - skin.lip_line_darkness * canvas.line(landmarks.lip_line, 1.2, 0.5)[..., None])
    for point in landmarks.nostrils:
        colour = colour * (
            1.0 - skin.nostril_darkness * np.minimum(canvas.spot(point, (2.6, 1.7)) * 1.5, 1.0)[..., None]
        )
    hair = hair_albedo(look.hair_tone)
    head = face_params().adult if look.age_group == "adult" else face_params().neonate
    lash = skin.lash_darkness * (1.0 if look.age_group == "adult" else 0.9)
    for outline in landmarks.eyes:
        upper = outline[outline[:, 1] >= outline[[0, len(outline) // 2], 1].min()]
        upper = upper[np.argsort(upper[:, 0])]
        colour = colour * (1.0 - lash * canvas.line(upper, 1.5, 0.35)[..., None])
        colour = colour * (1.0 - 0.35 * lash * canvas.line(np.r_[outline, outline[:1]], 0.9, 0.4)[..., None])
    brows = head.brow_density * _brows(landmarks, canvas, rng, head.brow_thickness_mm)
    colour = _covered(colour, brows, hair * skin.brow_hair_share)
    if look.age_group == "neonate" and look.hair != "cap":
        above = np.clip((head.hairline_front_mm / head.eye_x_mm - _heights()) * -2.0, 0.0, 1.0)
        strands = np.clip(0.6 + 0.5 * _noise(rng, *shape, 3.0), 0, 1)
        colour = _covered(colour, skin.down_density * above * strands, hair)
    return np.clip(colour, 0.0, 1.0)


def _heights() -> Float:
    """Height of every pixel of the unrolled face, in half distances between the pupils."""
    probe = face_px(np.array([[0, 0, 1], [0, -1, 1]], np.float32), 1.0)[:, 1]
    rows = (np.arange(FACE_HEIGHT_PX) - probe[0]) / (probe[0] - probe[1])
    return np.repeat(rows[:, None], WIDTH_PX, 1).astype(np.float32)


def _brows(landmarks: Landmarks, canvas: _Canvas, rng: np.random.Generator, thickness_mm: float) -> Float:
    """Coverage of the skin by brow hair, (height, width), drawn as strokes."""
    fine = 4
    mask = np.zeros((FACE_HEIGHT_PX, WIDTH_PX), np.uint8)
    half = 0.5 * thickness_mm * canvas.scale
    for side, brow in zip((-1.0, 1.0), landmarks.brows, strict=True):
        path = canvas.px(brow)
        for _ in range(face_params().skin.brow_strokes):
            at = rng.random()
            position = at * (len(path) - 1)
            start = np.array([np.interp(position, np.arange(len(path)), path[:, c]) for c in (0, 1)])
            start[1] += rng.uniform(-1.0, 1.0) * half * (1.0 - 0.55 * at)
            lean = np.deg2rad(rng.normal(70.0 - 62.0 * min(at * 1.6, 1.0), 9.0))
            length = rng.uniform(0.55, 1.0) * thickness_mm * canvas.scale
            end = start + length * np.array([side * np.cos(lean), -np.sin(lean) * 0.8])
            ends = [np.round(p * 2**fine).astype(int) for p in (start, end)]
            cv2.line(mask, tuple(map(int, ends[0])), tuple(map(int, ends[1])), 150, 1, cv2.LINE_AA, fine)
    body = np.asarray(cv2.GaussianBlur(mask, (0, 0), 1.6), np.float32) / 255
    return np.clip(np.maximum(body * 1.5, mask.astype(np.float32) / 255), 0.0, 1.0)


def _furrows(look: Look, landmarks: Landmarks) -> Float:
    """The four darkening maps of `Atlas.furrows` on the unrolled face."""
    params, canvas, mm = face_params().furrows, _Canvas(landmarks), landmarks.eye_x_mm / face_params().adult.eye_x_mm
    own = params.neonate_factor if look.age_group == "neonate" else 1.0
    width, soft = params.width_mm, params.width_mm * 0.8
    knit, forehead, eye, naso = (np.zeros((FACE_HEIGHT_PX, WIDTH_PX), np.float32) for _ in range(4))
    brow = landmarks.brows[:, 0].mean(0)[1]
    for side in (-1.0, 1.0):
        top = np.array([side * 6.5 * mm, brow + 8 * mm, landmarks.nasion[2]])
        foot = np.array([side * 4.5 * mm, landmarks.nasion[1] + 4 * mm, landmarks.nasion[2]])
        knit = np.maximum(knit, canvas.line([top, 0.5 * (top + foot) + [side * mm, 0, 0], foot], width, soft))
    for height, half in ((13.0, 30.0), (21.0, 34.0), (29.0, 28.0)):
        x = np.linspace(-half, half, 15) * mm
        y = brow + (height + 2.0 * np.cos(x / (9.0 * mm))) * mm
        forehead = np.maximum(forehead, canvas.line(np.stack([x, y, np.full(15, landmarks.nasion[2])], 1), width, soft))
    for pupil, outline in zip(landmarks.pupils, landmarks.eyes, strict=True):
        side = np.sign(pupil[0])
        outer = outline[np.argmax(side * outline[:, 0])]
        for rise in (7.0, 0.0, -8.0):
            end = outer + np.array([side * 13.0, rise, -6.0]) * mm
            eye = np.maximum(eye, canvas.line([outer + np.array([side * 2.5 * mm, 0.0, 0.0]), end], width, soft))
        lower = outline[outline[:, 1] <= pupil[1]]
        lower = lower[np.argsort(lower[:, 0])] - np.array([0.0, 5.5 * mm, 0.0])
        eye = np.maximum(eye, canvas.line(lower, width * 1.2, soft))
    corners = landmarks.lip_line[[0, -1]]
    for corner, nostril in zip(corners, landmarks.nostrils, strict=True):
        side = np.sign(corner[0])
        wing = nostril + np.array([side * 10.0, 8.0, -6.0]) * mm
        out = 0.5 * (wing + corner) + np.array([side * 9.0, 2.0, 0.0]) * mm
        foot = corner + np.array([side * 8.0, -3.0, -3.0]) * mm
        naso = np.maximum(naso, canvas.line([wing, out, foot], width * 1.3, soft * 1.4))
    for drop in (4.0, 9.0):
        x = np.linspace(-6.0, 6.0, 5) * mm
        bridge = np.stack([x, np.full(5, landmarks.nasion[1] - drop * mm), np.full(5, landmarks.nasion[2])], 1)
        naso = np.maximum(naso, 0.7 * canvas.line(bridge, width, soft))
    depth = np.array([params.brow_knit, params.forehead, params.eye, params.naso_labial], np.float32) * own
    return np.stack([knit, forehead, eye, naso], -1) * depth


def paint_patches(look: Look, landmarks: Landmarks) -> Float:
    """The atlas's patches alone: (height, width, 3) float32 linear RGB, black where the face would be."""
    albedo = np.zeros((HEIGHT_PX, WIDTH_PX, 3), np.float32)
    _patches(albedo, look, landmarks, np.random.default_rng([look.identity, 29]))
    return albedo


def _patches(albedo: Float, look: Look, landmarks: Landmarks, rng: np.random.Generator) -> None:
    skin = face_params().skin

    def patch(name: str) -> Float:
        left, top, width, height = PATCHES[name]
        return albedo[top : top + height, left : left + width]

    tone = skin_albedo(look.skin_tone, look.age_group)
    patch("body")[:] = tone * 0.95
    inside = np.linspace(1.0, 0.12, PATCHES["mouth"][3])[:, None, None]
    patch("mouth")[:] = np.array(skin.mouth_inside) * inside
    single_colour = {"teeth": skin.teeth, "gum": skin.gum, "tongue": skin.tongue}
    single_colour |= {"tube": skin.tube, "tape": skin.tape, "glove": skin.glove}
    for name, colour in single_colour.items():
        patch(name)[:] = colour
    patch("hand")[:] = tone
    hair, cloth, cap, mask = patch("hair"), patch("cloth"), patch("cap"), patch("mask")
    streaks = (
        _noise(rng, hair.shape[0], hair.shape[1], 1.6) * 0.5
        + np.repeat(_noise(rng, 1, hair.shape[1], 2.0), hair.shape[0], 0) * 0.5
    )
    hair[:] = hair_albedo(look.hair_tone) * np.clip(1.0 + 0.3 * streaks, 0.3, 2.0)[..., None]
    dots = (
        1.0
        + 0.08 * _noise(rng, cloth.shape[0], cloth.shape[1], 9.0)
        + 0.05 * _noise(rng, cloth.shape[0], cloth.shape[1], 2.0)
    )
    cloth[:] = np.array(skin.cloths[int(rng.integers(len(skin.cloths)))]) * dots[..., None]
    ribs = (
        1.0
        + 0.10 * np.sin(np.arange(cap.shape[1]) * 1.6)[None, :]
        + 0.05 * _noise(rng, cap.shape[0], cap.shape[1], 2.0)
    )
    cap[:] = np.array(skin.caps[int(rng.integers(len(skin.caps)))]) * ribs[..., None]
    pleats = 1.0 - 0.16 * (np.sin(np.linspace(0, 6 * np.pi, mask.shape[0])) > 0.75)[:, None] + np.zeros(mask.shape[:2])
    mask[:] = np.array(skin.mask_blue if rng.random() < 0.75 else skin.mask_white) * pleats[..., None]
    _eye(patch("eye"), look, landmarks, rng)


def _eye(eye: Float, look: Look, landmarks: Landmarks, rng: np.random.Generator) -> None:
    """Paint sclera, iris and pupil on the front 85 degrees of the eyeball, as mapped by `head.parts.eyeball`."""
    skin = face_params().skin
    head = face_params().adult if look.age_group == "adult" else face_params().neonate
    middle = (eye.shape[0] - 1) / 2
    y, x = np.mgrid[: eye.shape[0], : eye.shape[1]] - middle
    angle_deg = np.hypot(x, y) / (middle - 2.0) * 85.0
    iris_deg = np.rad2deg(np.arcsin(head.iris_radius_mm / head.eyeball_radius_mm))
    blue = look.skin_tone <= 3 and rng.random() < 0.5
    colour = skin.iris_slate if look.age_group == "neonate" else skin.iris_blue if blue else skin.iris_brown
    eye[:] = skin.sclera
    soft = np.clip((iris_deg - angle_deg) / 4.0 + 0.5, 0, 1)[..., None]
    eye[:] += soft * (np.array(colour) * (1.0 - 0.45 * np.clip(angle_deg / iris_deg, 0, 1)[..., None] ** 4) - eye)
    soft = np.clip((iris_deg * skin.pupil_share - angle_deg) / 3.0 + 0.5, 0, 1)[..., None]
    eye[:] += soft * (0.004 - eye)
    # Reflection of a window.
    glint = np.exp(-(((x + 0.28 * middle * iris_deg / 85) ** 2 + (y + 0.32 * middle * iris_deg / 85) ** 2) / 4.0))[
        ..., None
    ]
    eye[:] += np.minimum(glint * 1.2, 1.0) * (0.85 - eye)
