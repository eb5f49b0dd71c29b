"""Prepare a photographed person for rendering."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import cv2
import numpy as np
import numpy.typing as npt

from avpenet_cli.phantom.face.skin import linear, luminance, skin_albedo
from avpenet_cli.phantom.head.model import Expression
from avpenet_cli.phantom.photographs import cutout, template
from avpenet_cli.phantom.photographs.folds import fold_maps
from avpenet_cli.phantom.photographs.mouth import Dentition, draw_dentition
from avpenet_cli.phantom.photographs.template import Array

Float = npt.NDArray[np.float32]
Image = npt.NDArray[np.uint8]

_TONE_SHARE, _TONE_LIMIT = 0.5, 1.4
"""Share of the way to the requested skin tone, as a logarithm, and the largest factor of luminance."""
_SMILE = Expression(lip_corner_pull=0.6)
"""What the points of a smiling photograph are estimated by."""
_SMILING_SOLID_SHARE = 0.8
_MAX_DEFORMATION = 0.12
"""Largest change of scale or shear between two photographs of a person in the same studio."""


@dataclass(frozen=True)
class Person:
    """A person cut out of a photograph.

    Attributes:
        levels: (height, width, 4) uint8 of `cut_out`, each half as large as the one before.
        points_px: (189, 2) in pixels of the photograph.
        from_face: (2, 3) affine map from face units to pixels of the photograph.
        points: (189, 2) of the shape to be rendered, in face units.
        depth: (189,) towards the camera from the point between the eyes, in face units.
        folds: maps of `fold_maps`.
        teeth: of the person.
        skin: (3,) linear RGB of the cheeks.
        mirrored: whether the person is rendered as in a mirror.
        smiling: whether the photograph shows a smile.
    """

    levels: tuple[Image, ...]
    points_px: Array
    from_face: Array
    points: Array
    depth: Array
    folds: Float
    teeth: Dentition
    skin: Array
    mirrored: bool
    smiling: bool = False

    @cached_property
    def brow_share(self) -> float:
        """Share of a typical lowering of the brows for which there is room."""
        return template.brow_share(self.points)

    @property
    def face_width(self) -> float:
        """Width at the cheekbones, in face units."""
        left, right = template.CHEEKBONES
        return float(self.points[right, 0] - self.points[left, 0])


def prepare(photograph: Image, points_px: Array, variant: int, seed: int, skin_tone: int) -> Person:
    """Prepare a person.

    Args:
        photograph: (height, width, 3) uint8 RGB of the neutral face.
        points_px: (189, 2) in its pixels.
        variant: 0 for the person as photographed, above for other proportions, tones and a mirror image.
        seed: of the person's folds and teeth.
        skin_tone: 1 to 10 towards which the skin of a variant is shifted.
    """
    rng = np.random.default_rng([seed, variant, 41])
    person = cutout.cut_out(photograph, points_px)
    points, from_face = template.face_units(points_px)
    shape = points
    if variant:
        shape = template.vary_identity(points, rng)
        person = cutout.tint_skin(person, points_px, _tone_gain(person, points_px, skin_tone, rng))
    return Person(
        _levels(person),
        points_px,
        from_face,
        shape,
        template.depth(shape) - template.depth(np.zeros(2)),
        fold_maps(points, rng),
        draw_dentition(rng),
        linear(cutout.skin_colour(person, points_px)),
        bool(variant and rng.random() < 0.5),
    )


def prepare_smiling(neutral: Image, smiling: Image, person: Person) -> Person:
    """The same person by a smiling photograph, whose points are estimated from those of the neutral photograph."""
    moved = register(neutral, smiling, person.points_px)
    own = person.points_px + template.displacement(_SMILE) @ person.from_face[:, :2].T
    points_px = own @ moved[:, :2].T + moved[:, 2]
    turn = moved[:, :2] @ person.from_face[:, :2]
    from_face = np.concatenate([turn, (moved[:, :2] @ person.from_face[:, 2] + moved[:, 2])[:, None]], 1)
    cut = cutout.cut_out(smiling, points_px, _SMILING_SOLID_SHARE)
    shape = person.points + template.displacement(_SMILE)
    return replace(person, levels=_levels(cut), points_px=points_px, from_face=from_face, points=shape, smiling=True)


def _levels(cut: Image) -> tuple[Image, ...]:
    levels = [cut]
    for _ in range(3):
        height, width = levels[-1].shape[:2]
        half = cv2.resize(levels[-1], (width // 2, height // 2), interpolation=cv2.INTER_AREA)
        levels.append(np.asarray(half, np.uint8))
    return tuple(levels)


def register(neutral: Image, smiling: Image, points_px: Array) -> Array:
    """Affine map (2, 3) from pixels of one photograph to those of another of the same person, by eyes, brows and nose.

    Enhanced correlation coefficient (Evangelidis and Psarakis 2008, IEEE TPAMI 30(10)).
    """
    size = float(np.hypot(*(points_px[1] - points_px[0])))
    first, second = (
        cv2.GaussianBlur(cv2.cvtColor(i, cv2.COLOR_RGB2GRAY), (0, 0), 0.03 * size) for i in (neutral, smiling)
    )
    low = np.floor(points_px[[71, 72, 73]].min(0) - 0.1 * size).astype(int)
    high = np.ceil(points_px[[82, 60, 46]].max(0) + 0.1 * size).astype(int)
    patch = first[low[1] : high[1], low[0] : high[0]]
    score = cv2.matchTemplate(second, patch, cv2.TM_CCOEFF_NORMED)
    best = np.array(np.unravel_index(int(score.argmax()), score.shape))[::-1]
    warp = np.eye(2, 3, dtype=np.float32)
    warp[:, 2] = best - low
    mask = np.zeros(first.shape, np.uint8)
    mask[low[1] : high[1], low[0] : high[0]] = 255
    stop = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 30, 1e-4)
    try:
        _, found = cv2.findTransformECC(first, second, warp.copy(), cv2.MOTION_AFFINE, stop, mask, 5)
    except cv2.error:
        found = None  # did not converge
    if found is None or np.abs(found[:, :2] - np.eye(2)).max() > _MAX_DEFORMATION:
        # The match of the whole patch is within a few pixels.
        return warp.astype(np.float64)
    return np.asarray(found, np.float64)


def _tone_gain(person: Image, points_px: Array, tone: int, rng: np.random.Generator) -> Array:
    """Factors of linear RGB from the person's skin towards a tone of the Monk scale."""
    own, wanted = linear(cutout.skin_colour(person, points_px)), skin_albedo(tone, "adult")
    ratio = (luminance(wanted) / max(luminance(own), 1e-3)) ** _TONE_SHARE
    level = float(np.clip(ratio, 1.0 / _TONE_LIMIT, _TONE_LIMIT))
    # Lighter skin is less saturated; and blood and melanin differ between people.
    warmth = rng.uniform(-0.06, 0.06) - 0.10 * np.log(level)
    return np.asarray(level * np.array([1.0 + warmth, 1.0, 1.0 - warmth]) * rng.uniform(0.95, 1.05))
