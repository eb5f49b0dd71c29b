"""Parameters of head meshes: the built-in head, action units, and heads from files. Part of `parameters/face.toml`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

_STRICT = ConfigDict(extra="forbid")

Positive = Annotated[float, Field(gt=0.0)]
Share = Annotated[float, Field(ge=0.0, le=1.0)]
Pair = tuple[float, float]
Unit = Literal[
    "brow_lower",
    "brow_raise",
    "orbit_tighten",
    "nose_wrinkle",
    "lip_raise",
    "lids",
    "mouth_open",
    "lip_corner_pull",
    "lip_stretch",
]


@dataclass(frozen=True, config=_STRICT)
class MeshParams:
    """Resolution of the built-in head's mesh."""

    spacing_mm: Positive
    side_spacing_mm: Positive
    face_half_angle_deg: Positive
    ring_points: Annotated[int, Field(ge=8)]
    squareness: Positive


@dataclass(frozen=True, config=_STRICT)
class Bump:
    """A Gaussian bump of the built-in head's surface, mirrored unless its centre is on the midline."""

    name: str
    at_mm: Pair
    spread_mm: Pair
    height_mm: float


@dataclass(frozen=True, config=_STRICT)
class HeadParams:
    """The built-in head of one age group; the file describes the fields."""

    eye_x_mm: Positive
    eye_half_width_mm: Positive
    eye_upper_mm: Positive
    eye_lower_mm: Positive
    eyeball_radius_mm: Positive
    iris_radius_mm: Positive
    eye_forward_mm: float
    mouth_y_mm: float
    mouth_half_width_mm: Positive
    lip_upper_mm: Positive
    lip_lower_mm: Positive
    lip_gap_mm: Positive
    teeth: bool
    brow_y_mm: Positive
    brow_inner_mm: Positive
    brow_outer_mm: Positive
    brow_thickness_mm: Positive
    brow_density: Share
    nose_tip_y_mm: float
    nose_wing_x_mm: Positive
    nose_base_y_mm: float
    nostril_x_mm: Positive
    chin_y_mm: float
    cheek_x_mm: Positive
    cheek_y_mm: float
    ear_y_mm: float
    ear_half_height_mm: Positive
    ear_half_width_mm: Positive
    neck_half_width_mm: Positive
    neck_depth_mm: Positive
    neck_z_mm: float
    neck_top_mm: float
    neck_bottom_mm: float
    shoulder_half_width_mm: Positive
    hairline_front_mm: float
    hairline_side_mm: float
    hairline_back_mm: float
    profile_mm: tuple[tuple[float, float, float, float], ...]
    bump: tuple[Bump, ...]


@dataclass(frozen=True, config=_STRICT)
class VariationParams:
    """Variation between built-in heads: standard deviations of their measures, as shares."""

    width: Share
    length: Share
    depth: Share
    jaw: Share
    eye_distance: Share
    eye_width: Share
    eye_height: Share
    nose_size: Share
    mouth_width: Share
    lip_height: Share
    feature_height: Share
    asymmetry: Share
    brow_height: Share
    brow_thickness: Share


@dataclass(frozen=True, config=_STRICT)
class ActionField:
    """Displacement of the skin by an action unit at full intensity with Gaussian falloff, in mm of an adult's head."""

    unit: Unit
    from_: Annotated[str, Field(alias="from")]
    offset_mm: Pair
    spread_mm: Pair
    displacement_mm: tuple[float, float, float]


@dataclass(frozen=True, config=_STRICT)
class Jaw:
    """Opening of the jaw."""

    open_deg: Positive
    hinge_y_mm: float
    hinge_z_mm: float
    fade_mm: Positive
    side_mm: Positive


@dataclass(frozen=True, config=_STRICT)
class Lids:
    """Closing of the eyelids."""

    tighten_share: Share
    meet_share: Share
    thickness_mm: Positive
    fold_mm: Positive


@dataclass(frozen=True, config=_STRICT)
class AccessoryParams:
    """Ears, hair, cap, neck and gown around the built-in face."""

    ear_rim_mm: float
    ear_angle_deg: float
    ear_flare_deg: float
    ear_out_mm: float
    hair_mm: Pair
    hair_min_mm: Positive
    hairline_vary_mm: Positive
    cap_mm: Positive
    cap_front_share: Share
    cap_side_share: float
    brim_share: Share
    curtain_from_deg: float
    neck_swell: Share
    collar: Positive
    collar_rise_mm: float
    gown_length_mm: Positive
    collar_in: Share
    chest_share: Share
    slope: Share
    body_rotation_share: Share
    lip_roll_mm: float
    teeth_back_mm: Positive
    teeth_show_mm: Pair
    teeth_under_skin_mm: Positive


Recipe = tuple[tuple[str, float], ...]


@dataclass(frozen=True, config=_STRICT)
class IctParams:
    """Use of the ICT face model."""

    identity_spread: Share
    units: dict[Unit, Recipe]


@dataclass(frozen=True, config=_STRICT)
class MakeHumanParams:
    """Use of the MakeHuman heads."""

    detail_spread: Share
    old_share: Share
    folds: tuple[ActionField, ...]
    units: dict[Unit, Recipe]


@dataclass(frozen=True, config=_STRICT)
class MeshSimplifyParams:
    """Size of the cells in which the vertices of a loaded mesh are merged."""

    skin_mm: Positive
    back_mm: Positive
    inside_mm: Positive


@dataclass(frozen=True, config=_STRICT)
class PhotographicParams:
    """Use of MakeHuman's photographic skins, hair, brows and eyes; the file describes the fields."""

    chroma_share: Share
    dark_from_tone: Annotated[int, Field(ge=1, le=11)]
    skin_ages: tuple[Share, Share]
    baby_blur_px: Positive
    baby_detail: Share
    baby_scalp: Share
    baby_brow_density: Share
    baby_wrinkles: Share
    young_wrinkles: Share
    old_lines: Share
    scalp: Share
    hair_contrast: Share
    short_hair: tuple[str, ...]
    long_hair: tuple[str, ...]
    long_hair_male: tuple[str, ...]
    brows: tuple[str, ...]
    baby_brows: tuple[str, ...]
    eyes: tuple[str, ...]
    lash_density: Share
    lash_density_male: Share
    lash_density_baby: Share
    seen_depth_mm: tuple[Positive, Positive]
    eye_light: Share
    teeth_back_mm: float
    teeth_gain: tuple[Positive, Positive, Positive]
    lower_teeth_drop_mm: float
    upper_teeth_drop_mm: float
    lip_chroma_share: tuple[Share, Share]
    mouth_inside: tuple[Share, Share, Share]
    tongue_gain: tuple[Positive, Positive, Positive]
    shadow_sharpness: Positive
    mouth_dark_mm: Positive
    lips_behind_nose_mm: float
    mouth_light: Share
    bright_compensation: Share
    wrap: tuple[Share, Share, Share]
    shadow: tuple[Positive, Positive, Positive]
    hollow: tuple[Positive, Positive, Positive]
    shine_broad: Share
    shine_narrow: Share
    rim: Share
    steepness: Positive
    cavity_per_mm: Positive
    with_open_mouth: dict[Unit, Share]
