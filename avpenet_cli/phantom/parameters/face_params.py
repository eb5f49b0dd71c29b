"""Parameters of the simulated faces: `parameters/face.toml` as dataclasses. The file has units and sources."""

from __future__ import annotations

import tomllib
from functools import cache
from importlib import resources
from typing import Annotated

from pydantic import ConfigDict, Field, TypeAdapter
from pydantic.dataclasses import dataclass

from avpenet_cli.phantom.parameters.head_params import (
    AccessoryParams,
    ActionField,
    HeadParams,
    IctParams,
    Jaw,
    Lids,
    MakeHumanParams,
    MeshParams,
    MeshSimplifyParams,
    PhotographicParams,
    Positive,
    Share,
    VariationParams,
)

_STRICT = ConfigDict(extra="forbid")

Factor = tuple[Positive, Positive, Positive]
Rgb = tuple[Share, Share, Share]


@dataclass(frozen=True, config=_STRICT)
class Skin:
    """Albedo of skin, hair, eyes and objects, in linear light."""

    tones_srgb: tuple[Annotated[str, Field(pattern=r"^#[0-9a-f]{6}$")], ...]
    chroma_light: Factor
    chroma_dark: Factor
    chroma_share: Share
    min_albedo: Share
    max_albedo: Share
    neonate_redness: Factor
    mottle: Share
    grain: Share
    cheek_redness: Factor
    nose_redness: Factor
    lips: Factor
    lids: Factor
    stubble: Factor
    stubble_share: Share
    cry_flush: Factor
    lash_darkness: Share
    nostril_darkness: Share
    brow_strokes: Annotated[int, Field(ge=1)]
    down_density: Share
    lip_line_darkness: Share
    static_lines: Share
    hair_black: Rgb
    hair_brown: Rgb
    hair_fair: Rgb
    hair_white: Rgb
    brow_hair_share: Share
    sclera: Rgb
    iris_brown: Rgb
    iris_blue: Rgb
    iris_slate: Rgb
    pupil_share: Share
    mouth_inside: Rgb
    gum: Rgb
    tongue: Rgb
    teeth: Rgb
    glove: Rgb
    tube: Rgb
    tape: Rgb
    mask_blue: Rgb
    mask_white: Rgb
    cloths: tuple[Rgb, ...]
    caps: tuple[Rgb, ...]


@dataclass(frozen=True, config=_STRICT)
class Furrows:
    """Darkening of the skin by wrinkles."""

    brow_knit: Share
    forehead: Share
    eye: Share
    naso_labial: Share
    neonate_factor: Share
    width_mm: Positive
    from_nose_wrinkle: Share
    from_smile: Share
    from_stretch: Share
    from_closing: Share


@dataclass(frozen=True, config=_STRICT)
class LightParams:
    """Reflection of light by skin, and the camera."""

    wrap: Share
    occlusion_power: Positive
    ambient: Share
    ground_share: Share
    shine: Share
    shine_power: Positive
    occlusion_directions: Annotated[int, Field(ge=8)]
    occlusion_px: Annotated[int, Field(ge=32)]
    occlusion_smoothing: Annotated[int, Field(ge=0)]
    occlusion_bias_mm: Positive
    occlusion_floor: Share
    camera_face_widths: Positive
    blur_px: Positive
    exposure_compensation: Share
    exposure: Positive


@dataclass(frozen=True, config=_STRICT)
class LookParams:
    """Distribution of appearances."""

    neonate_cap_share: Share
    adult_hair_shares: tuple[Share, Share, Share]
    dark_hair_from_tone: Annotated[int, Field(ge=1, le=10)]
    dark_hair_max: Share
    white_hair_share: Share


@dataclass(frozen=True, config=_STRICT)
class CoverParams:
    """Sizes of masks, tubes and hands."""

    mask_top_share: Share
    mask_below_chin_mm: float
    mask_half_share: Share
    mask_sag_mm: float
    mask_bridge_mm: Positive
    mask_off_mm: Positive
    ear_loop_below_mm: float
    loop_mm: Positive
    loop_out_share: Positive
    tape_half_share: Share
    tape_mm: Positive
    tape_rise_mm: float
    tube_radius_mm: Positive
    nasogastric_radius_mm: Positive
    cheek_tape_mm: Positive
    cheek_tape_to_share: Share
    prongs_half_mm: Positive
    prongs_radius_mm: Positive
    hose_radius_mm: Positive
    strap_mm: Positive
    hand_mm: Positive
    hand_off_mm: float
    hand_flat_share: Share
    hand_rotation_share: Share


@dataclass(frozen=True, config=_STRICT)
class FaceParams:
    """`parameters/face.toml`."""

    mesh: MeshParams
    adult: HeadParams
    neonate: HeadParams
    variation: VariationParams
    action: tuple[ActionField, ...]
    jaw: Jaw
    lids: Lids
    accessories: AccessoryParams
    skin: Skin
    furrows: Furrows
    light: LightParams
    looks: LookParams
    ict: IctParams
    makehuman: MakeHumanParams
    mesh_simplify: MeshSimplifyParams
    covers: CoverParams
    photographic: PhotographicParams


@cache
def face_params() -> FaceParams:
    """Read the parameters of this version."""
    text = resources.files("avpenet_cli.phantom").joinpath("parameters/face.toml").read_text("utf-8")
    return TypeAdapter(FaceParams).validate_python(tomllib.loads(text))
