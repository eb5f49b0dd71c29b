"""Data model of a simulated head: appearance, expression in action units, landmarks and mesh."""

from __future__ import annotations

from dataclasses import astuple, dataclass
from typing import Literal, Protocol, get_args

import numpy as np
import numpy.typing as npt

from avpenet_cli.errors import SettingsError
from avpenet_cli.phantom.parameters.face_params import face_params
from avpenet_cli.phantom.parameters.head_params import Unit

Float = npt.NDArray[np.float32]
Index = npt.NDArray[np.int32]
AgeGroup = Literal["neonate", "adult"]
Hair = Literal["none", "short", "long", "cap"]

UNITS: tuple[Unit, ...] = get_args(Unit)
"""Displacement fields of every head, in the order of `HeadShape.actions_mm`."""


@dataclass(frozen=True)
class Expression:
    """Intensities of FACS action units, each in [0, 1].

    Attributes:
        brow_lower: AU4.
        brow_raise: AU1 and AU2.
        orbit_tighten: AU6 and AU7.
        nose_wrinkle: AU9.
        lip_raise: AU10.
        eyes_closed: AU43, or AU45 when brief.
        mouth_open: AU25 to AU27.
        lip_corner_pull: AU12, a smile.
        lip_stretch: AU20.
    """

    brow_lower: float = 0.0
    brow_raise: float = 0.0
    orbit_tighten: float = 0.0
    nose_wrinkle: float = 0.0
    lip_raise: float = 0.0
    eyes_closed: float = 0.0
    mouth_open: float = 0.0
    lip_corner_pull: float = 0.0
    lip_stretch: float = 0.0

    def __post_init__(self) -> None:
        values = np.array(astuple(self))
        if not ((values >= 0.0) & (values <= 1.0)).all():
            raise SettingsError(f"action units must be between 0 and 1, got {astuple(self)}")

    def weights(self) -> Float:
        """Weight of each of `UNITS`: (9,) float32 in [0, 1]."""
        # Tightening does not close a closed eye further.
        lids = 1.0 - (1.0 - self.eyes_closed) * (1.0 - face_params().lids.tighten_share * self.orbit_tighten)
        return np.array([lids if unit == "lids" else getattr(self, unit) for unit in UNITS], np.float32)


@dataclass(frozen=True)
class Look:
    """Appearance of a simulated patient.

    Attributes:
        age_group: `neonate` or `adult`.
        identity: seed of the face's shape and the skin's pattern, at least 0.
        skin_tone: 1 (lightest) to 10 (darkest), the Monk Skin Tone scale.
        hair: hair or cap; a newborn has a cap or none.
        hair_tone: from 0, black, through brown and fair to 1, white.
    """

    age_group: AgeGroup
    identity: int
    skin_tone: int
    hair: Hair
    hair_tone: float

    def __post_init__(self) -> None:
        if self.identity < 0 or not 1 <= self.skin_tone <= 10 or not 0.0 <= self.hair_tone <= 1.0:
            raise SettingsError(f"identity must be at least 0, skin tone 1-10 and hair tone 0-1, got {self}")


def draw_look(age_group: AgeGroup, rng: np.random.Generator, skin_tone: int | None = None) -> Look:
    """Draw a random appearance.

    Args:
        age_group: `neonate` or `adult`.
        rng: source of randomness; the number of draws is constant.
        skin_tone: 1 to 10; drawn uniformly if None.
    """
    looks = face_params().looks
    identity, tone = int(rng.integers(2**31)), int(rng.integers(1, 11))
    kind, fair, old = rng.random(3)
    tone = tone if skin_tone is None else skin_tone
    hair_tone = float(fair) * (looks.dark_hair_max if tone >= looks.dark_hair_from_tone else 0.75)
    if age_group == "neonate":
        return Look(age_group, identity, tone, "cap" if kind < looks.neonate_cap_share else "none", hair_tone)
    none, short, _ = looks.adult_hair_shares
    hair: Hair = "none" if kind < none else "short" if kind < none + short else "long"
    return Look(age_group, identity, tone, hair, 1.0 if old < looks.white_hair_share else hair_tone)


@dataclass(frozen=True)
class Landmarks:
    """Landmarks of the neutral face, by which skin and covers are placed, in mm.

    Attributes:
        brows: (2, k, 3) float32 from the inner to the outer end, the image's left first.
        lips: (k, 3) float32 closed outline of both lips.
        lip_line: (k, 3) float32 line where the lips meet, from the image's left.
        eyes: (2, k, 3) float32 closed outline of each eye opening.
        pupils: (2, 3) float32.
        nostrils: (2, 3) float32.
        nose_tip, nasion, chin: (3,) float32.
        eye_x_mm: half the distance between the pupils, which measures the size of the head.
    """

    brows: Float
    lips: Float
    lip_line: Float
    eyes: Float
    pupils: Float
    nostrils: Float
    nose_tip: Float
    nasion: Float
    chin: Float
    eye_x_mm: float


@dataclass(frozen=True)
class Eyeballs:
    """The eyeballs: spheres that the lids do not enter.

    Attributes:
        centres_mm: (2, 3) float32, the image's left first.
        radius_mm: of both, including the thickness of the lids.
        lids: lid vertices of each eye.
    """

    centres_mm: Float
    radius_mm: float
    lids: tuple[Index, Index]


@dataclass(frozen=True)
class HeadShape:
    """Mesh of a person: neutral face and displacements by action units.

    Attributes:
        neutral_mm: (n, 3) float32; x to the image's right, y up from the line of the eyes, z towards the camera.
        actions_mm: (9, n, 3) float32 displacement at full intensity, in the order of `UNITS`.
        faces: (m, 3) int32 counter-clockwise seen from outside.
        atlas_px: (n, 2) float32 x and y of each vertex in the texture atlas (`texture_atlas`).
        rotation_share: (n,) float32 share of the head's rotation that a vertex follows, 1 for the head.
        face_width_mm: width of the face at the cheekbones.
        landmarks: of the neutral face.
        eyeballs: spheres on which the lids slide.
    """

    neutral_mm: Float
    actions_mm: Float
    faces: Index
    atlas_px: Float
    rotation_share: Float
    face_width_mm: float
    landmarks: Landmarks
    eyeballs: Eyeballs

    def vertices(self, expression: Expression) -> Float:
        """Vertices under an expression: (n, 3) float32 mm."""
        return self.moved(expression.weights())

    def moved(self, weights: Float) -> Float:
        """Vertices under weights (9,) of `UNITS`: (n, 3) float32 mm."""
        moved = self.neutral_mm.copy()
        for weight, displacement in zip(weights, self.actions_mm, strict=True):
            if weight:
                moved += weight * displacement
        for centre, lid in zip(self.eyeballs.centres_mm, self.eyeballs.lids, strict=True):
            # The displacement of lids is straight, but the eyeball is round.
            out = moved[lid] - centre
            distance = np.sqrt((out * out).sum(1, keepdims=True))
            moved[lid] += out * np.maximum(self.eyeballs.radius_mm / np.maximum(distance, 1e-3) - 1.0, 0.0)
        return moved


class HeadModel(Protocol):
    """A source of heads, built in or loaded from a file."""

    @property
    def age_groups(self) -> tuple[AgeGroup, ...]:
        """The age groups of this model."""
        ...

    def shape(self, look: Look) -> HeadShape:
        """Build the mesh of a person; the same look gives the same bytes.

        Raises:
            SettingsError: the model has no head of that age group.
        """
        ...
