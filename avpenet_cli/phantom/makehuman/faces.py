"""The source of photographic MakeHuman persons: files, read once, and the parts that fit a look."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from avpenet_cli.errors import SettingsError
from avpenet_cli.phantom.face.skin import hair_albedo, paint_patches
from avpenet_cli.phantom.head.clothing import gown_below
from avpenet_cli.phantom.head.makehuman import GOWN_RISE_MM, MakeHumanHead, MakeHumanPerson, eyeballs
from avpenet_cli.phantom.head.mesh_simplify import layer
from avpenet_cli.phantom.head.model import UNITS, AgeGroup, Float, HeadShape, Index, Look
from avpenet_cli.phantom.head.texture_atlas import (
    FACE_HEIGHT_PX,
)
from avpenet_cli.phantom.head.texture_atlas import (
    HEIGHT_PX as PATCHES_HEIGHT_PX,
)
from avpenet_cli.phantom.head.texture_atlas import (
    WIDTH_PX as PATCHES_WIDTH_PX,
)
from avpenet_cli.phantom.makehuman import layout
from avpenet_cli.phantom.makehuman.assets import Clothes, TexturedMesh, read_clothes, read_texture, read_wavefront
from avpenet_cli.phantom.makehuman.head import CLOTH, EYE, HAIR, INSIDE, LASH, SKIN, TEETH, PhotographicHead
from avpenet_cli.phantom.makehuman.layout import Image, place_skin, place_texture, skin_px, slot_px
from avpenet_cli.phantom.makehuman.regions import FrontView, SkinRegions, find_regions
from avpenet_cli.phantom.makehuman.textures import (
    encoded,
    eye_coloured,
    hair_coloured,
    paint_brows,
    recoloured,
    scalp_of,
    skin_to_tone,
    tint_scalp,
)
from avpenet_cli.phantom.parameters.face_params import face_params

if TYPE_CHECKING:
    from avpenet_cli.phantom.face.people import FaceRenderer

_REMEDY = "give MakeHuman's assets as they were published"
_FOLDERS = ("skins", "hair", "eyes", "eyebrows", "eyelashes", "teeth", "tongue")
_LASH_SRGB = (20, 16, 14)
_UNDER_COLLAR_MM = 12.0
_MOUTH_UV = (0.74, 0.145)
"""Least u and largest v of the inside of the mouth."""

_SKIN_NAME = re.compile(r"(young|middleage|old)_(dark|light)skinned_(female|male)\d*")
_AGES = ("young", "middleage", "old")


@dataclass(frozen=True)
class _Piece:
    points_mm: Float
    actions_mm: Float
    faces: Index
    corner_px: Float
    material: np.ndarray
    rotation_share: Float


@dataclass(frozen=True)
class _Proxy:
    """A mesh that follows the base mesh."""

    mesh: TexturedMesh
    clothes: Clothes


class PhotographicFaces:
    """Babies and adults with photographic skin.

    Args:
        meshes: folder with 3dobjs/base.obj and targets/.
        skins: folder with skins/, hair/, eyes/, eyebrows/, eyelashes/, teeth/ and tongue/.

    Raises:
        SettingsError: a file is missing or cannot be read.
    """

    def __init__(self, meshes: Path, skins: Path) -> None:
        self._folder = skins
        self._head = MakeHumanHead(meshes, fit_tone=True)
        self._base = read_wavefront(meshes / "3dobjs" / "base.obj")
        self._texture = cache(self._read_texture)
        self._proxy = cache(self._read_proxy)
        absent = [name for name in _FOLDERS if not (skins / name).is_dir()]
        if absent:
            raise SettingsError(f"{skins} lacks {', '.join(f'{name}/' for name in absent)}", _REMEDY)
        self._skins = sorted(path.stem for path in (skins / "skins").glob("*.jpg") if _SKIN_NAME.fullmatch(path.stem))
        if not self._skins:
            raise SettingsError(f"{skins}/skins has no skin textures", _REMEDY)
        body = self._base.groups == "body"
        px, placed = skin_px(self._base.uv[body])
        self._body = self._base.faces[body][placed]
        self._body_px = px[placed]
        self._body_uv = self._base.uv[body][placed]

    @property
    def age_groups(self) -> tuple[AgeGroup, ...]:
        """Newborns and adults."""
        return self._head.age_groups

    def renderer(self, look: Look) -> FaceRenderer:
        """Prepare a person."""
        from avpenet_cli.phantom.makehuman.renderer import PhotographicRenderer

        return PhotographicRenderer(self.head(look), look)

    def head(self, look: Look) -> PhotographicHead:
        """Build a person; the same look gives the same bytes."""
        rng = np.random.default_rng([look.identity, 47])
        person = self._head.person(look)
        pieces, sheer = self._pieces(person, look, rng)
        count = [len(piece.points_mm) for piece in (*pieces, *sheer)]
        starts = np.cumsum([0, *count[:-1]])
        own = list(zip((*pieces, *sheer), starts, strict=True))
        balls = eyeballs(person)
        lash = np.flatnonzero(np.concatenate([piece.material for piece, _ in own]) == LASH).astype(np.int32)
        points = np.concatenate([piece.points_mm for piece, _ in own])
        near = [lash[(points[lash, 0] > 0) == (side > 0)] for side in (-1, 1)]
        lids = (np.concatenate([balls.lids[0], near[0]]), np.concatenate([balls.lids[1], near[1]]))
        shape = HeadShape(
            neutral_mm=points,
            actions_mm=np.concatenate([piece.actions_mm for piece, _ in own], axis=1),
            faces=np.concatenate([piece.faces + start for piece, start in own[: len(pieces)]]).astype(np.int32),
            atlas_px=np.zeros((len(points), 2), np.float32),
            rotation_share=np.concatenate([piece.rotation_share for piece, _ in own]),
            face_width_mm=person.face_width_mm,
            landmarks=person.landmarks,
            eyeballs=replace(balls, lids=lids),
        )
        params = face_params().photographic
        old = person.old
        depth = (
            params.baby_wrinkles
            if look.age_group == "neonate"
            else params.young_wrinkles + old * (1.0 - params.young_wrinkles)
        )
        return PhotographicHead(
            shape=shape,
            corner_px=np.concatenate([piece.corner_px for piece in pieces]),
            sheer=np.concatenate([piece.faces + start for piece, start in own[len(pieces) :]]).astype(np.int32),
            sheer_px=np.concatenate([piece.corner_px for piece in sheer]),
            material=np.concatenate([piece.material for piece, _ in own]),
            atlas=self._atlas(person, look),
            wrinkles_mm=self._regions.wrinkles_mm * np.float32(depth * person.scale),
            wrinkles_at=self._regions.wrinkles_at,
            at_rest=0.0 if look.age_group == "neonate" else params.old_lines * old**2,
        )

    def describe(self, look: Look) -> tuple[str, str, float]:
        """Name of the skin, name of the hair ("" for none) and share of old age of a look's person."""
        sex, old, _ = self._head.traits(look, np.random.default_rng([look.identity, 43]))
        return self._skin_name(look, sex, old), self.hair_style(look), old

    # --- mesh ---------------------------------------------------------------------------------------------------------

    def _pieces(
        self, person: MakeHumanPerson, look: Look, rng: np.random.Generator
    ) -> tuple[list[_Piece], list[_Piece]]:
        adult = look.age_group == "adult"
        gown = gown_below(float(person.landmarks.chin[1]), look, GOWN_RISE_MM[look.age_group])
        pieces = [
            self._skin(person, float(gown.points_mm[:, 1].max())),
            self._fitted(person, "eyes/high-poly", "eye", EYE),
        ]
        if adult:
            pieces.append(self._fitted(person, "teeth/teeth_base", "teeth", TEETH))
        pieces.append(self._fitted(person, "tongue/tongue01", "tongue", TEETH))
        parts = [gown]
        if look.hair == "cap":
            parts += layer(person.skin_mm, person.faces, look, person.scale)
        for part in parts:
            material = np.full(len(part.points_mm), CLOTH, np.int8)
            pieces.append(
                _Piece(
                    part.points_mm,
                    part.actions_mm,
                    part.faces,
                    part.atlas_px[part.faces],
                    material,
                    part.rotation_share,
                )
            )
        sheer = [self._fitted(person, f"eyelashes/{self._lashes(look)}", "eyelashes", LASH)]
        style = self.hair_style(look)
        if style:
            sheer.append(self._fitted(person, f"hair/{style}", "hair", HAIR))
        return pieces, sheer

    def _skin(self, person: MakeHumanPerson, collar_y_mm: float) -> _Piece:
        to_kept = np.full(len(person.points_mm), -1, np.int32)
        to_kept[person.kept] = np.arange(person.kept.size)
        faces = to_kept[self._body]
        whole = (faces >= 0).all(1)
        # What lies under the gown could come through it when the head rotates.
        whole[whole] = person.skin_mm[faces[whole], 1].max(1) > collar_y_mm - _UNDER_COLLAR_MM * person.scale
        faces, uv = faces[whole], self._body_uv[whole]
        # The inside of the mouth and the eye sockets have their own islands of the texture.
        island = ((uv[..., 0] > _MOUTH_UV[0]) & (uv[..., 1] < _MOUTH_UV[1])).all(1)
        material = np.full(person.kept.size, SKIN, np.int8)
        material[np.unique(faces[island])] = INSIDE
        material[np.unique(faces[~island])] = SKIN
        return _Piece(
            person.skin_mm,
            person.displacements_mm[:, person.kept],
            faces,
            self._body_px[whole],
            material,
            person.rotation_share.astype(np.float32),
        )

    def _fitted(self, person: MakeHumanPerson, name: str, slot: str, material: int) -> _Piece:
        proxy = self._proxy(name)
        # The offsets are in the base mesh's unit, and so is the distance at which their scale is 1.
        points = proxy.clothes.fit(person.points_mm / 100.0) * np.float32(100.0)
        faces, uv = proxy.mesh.faces, proxy.mesh.uv
        if material == EYE:
            # The cornea has no texture.
            clear = ((uv[..., 0] > 0.85) & (uv[..., 1] < 0.15)).all(1)
            faces, uv = faces[~clear], uv[~clear]
        if material in (EYE, TEETH):
            # Nobody sees the back of the eyes and of the mouth.
            depth_mm = face_params().photographic.seen_depth_mm[material == TEETH] * person.scale
            near = (points[faces, 2] > points[:, 2].max() - depth_mm).any(1)
            faces, uv = faces[near], uv[near]
        rotation_share = np.ones(len(points), np.float32)
        if material == HAIR:
            skin_share = np.ones(len(person.points_mm), np.float32)
            skin_share[person.kept] = person.rotation_share
            corners = skin_share[proxy.clothes.vertices]
            rotation_share = np.clip((corners * proxy.clothes.weights).sum(1), 0.3, 1.0).astype(np.float32)
        if material == TEETH:
            points = points - np.array([0.0, 0.0, face_params().photographic.teeth_back_mm * person.scale], np.float32)
        actions = proxy.clothes.follow(person.displacements_mm)
        if name.startswith("teeth/"):
            params, opened = face_params().photographic, UNITS.index("mouth_open")
            # The lower teeth follow the jaw, the upper ones do not.
            lower = actions[opened, :, 1] < 0.5 * actions[opened, :, 1].min()
            drop = np.where(lower, params.lower_teeth_drop_mm, params.upper_teeth_drop_mm) * person.scale
            actions[opened, :, 1] -= drop.astype(np.float32)
        return _Piece(
            points,
            actions,
            faces,
            slot_px(slot, uv),
            np.full(len(points), material, np.int8),
            rotation_share,
        )

    def hair_style(self, look: Look) -> str:
        """The hair of a look; empty for none."""
        params = face_params().photographic
        male = self._head.traits(look, np.random.default_rng([look.identity, 43]))[0] == "male"
        styles = {"short": params.short_hair, "long": params.long_hair_male if male else params.long_hair}
        own = [name for name in styles.get(look.hair, ()) if (self._folder / "hair" / name).is_dir()]
        return own[int(np.random.default_rng([look.identity, 53]).integers(len(own)))] if own else ""

    def _lashes(self, look: Look) -> str:
        return "eyelashes01" if look.age_group == "neonate" or look.identity % 2 else "eyelashes04"

    # --- textures -----------------------------------------------------------------------------------------------------

    def _atlas(self, person: MakeHumanPerson, look: Look) -> Image:
        atlas = np.zeros((layout.HEIGHT_PX, layout.WIDTH_PX, 4), np.uint8)
        atlas[..., 3] = 255
        patches = paint_patches(look, person.landmarks)
        atlas[FACE_HEIGHT_PX:PATCHES_HEIGHT_PX, :PATCHES_WIDTH_PX, :3] = encoded(patches[FACE_HEIGHT_PX:])
        rng = np.random.default_rng([look.identity, 59])
        place_skin(
            atlas, self._texture(f"skins/{self._skin_name(look, person.sex, person.old)}.jpg", layout.SKIN_SIDE_PX)
        )
        skin_to_tone(atlas, self._regions, look)
        params = face_params().photographic
        # The island of the mouth has skin at its edge, which shows at the corners of an open mouth.
        left, top, right, bottom = layout.MOUTH_PX
        atlas[top:bottom, left:right, :3] = encoded(np.array(params.mouth_inside))
        grey = float(np.clip((person.old - 0.4) / 0.5, 0.0, 1.0))
        hair = hair_albedo(look.hair_tone)
        hair = hair + grey * (hair_albedo(1.0) - hair)
        if look.age_group == "neonate":
            tint_scalp(atlas, self._scalp, hair, params.baby_scalp)
        elif look.hair != "none":
            tint_scalp(atlas, self._scalp, 0.7 * hair, params.scalp)
        self._brows(atlas, look, rng, hair * face_params().skin.brow_hair_share)
        style = self.hair_style(look)
        if style:
            texture = self._texture(f"hair/{style}/{style}_diffuse.png", layout.SLOTS["hair"][2])
            place_texture(atlas, "hair", hair_coloured(texture, look.hair_tone, grey))
        lash = self._lashes(look)
        lashes = self._texture(f"eyelashes/{lash}/{lash}.png", layout.SLOTS["eyelashes"][2]).copy()
        density = params.lash_density if person.sex == "female" else params.lash_density_male
        lashes[..., :3] = _LASH_SRGB
        lashes[..., 3] = lashes[..., 3] * (params.lash_density_baby if look.age_group == "neonate" else density)
        place_texture(atlas, "eyelashes", lashes)
        eye, saturation, brightness = self._eye(look, rng)
        texture = self._texture(f"eyes/materials/{eye}_eye.png", layout.SLOTS["eye"][2])
        place_texture(atlas, "eye", eye_coloured(texture, saturation, brightness))
        teeth = self._texture("teeth/materials/teeth.png", layout.SLOTS["teeth"][2])
        place_texture(atlas, "teeth", recoloured(teeth, np.array(params.teeth_gain)))
        tongue = self._texture("tongue/tongue01/tongue01_diffuse.png", layout.SLOTS["tongue"][2])
        place_texture(atlas, "tongue", recoloured(tongue, np.array(params.tongue_gain)))
        return atlas

    def _skin_name(self, look: Look, own_sex: str, old: float) -> str:
        """Name of the texture that fits best: by shade, then sex, then age."""
        params = face_params().photographic
        baby = look.age_group == "neonate"
        shade = "dark" if look.skin_tone >= params.dark_from_tone and not baby else "light"
        age = 0 if baby else int(np.searchsorted(params.skin_ages, old, side="right"))
        sex = "female" if baby else own_sex

        def misfit(name: str) -> tuple[bool, int, bool]:
            match = _SKIN_NAME.fullmatch(name)
            assert match
            return (match[2] != shade, abs(_AGES.index(match[1]) - age), match[3] != sex)

        best = min(map(misfit, self._skins))
        fitting = [name for name in self._skins if misfit(name) == best]
        return fitting[int(np.random.default_rng([look.identity, 61]).integers(len(fitting)))]

    def _brows(self, atlas: Image, look: Look, rng: np.random.Generator, colour: np.ndarray) -> None:
        params = face_params().photographic
        names = params.baby_brows if look.age_group == "neonate" else params.brows
        name = names[int(rng.integers(len(names)))]
        proxy = self._proxy(f"eyebrows/{name}")
        own = (self._vertex_px[proxy.clothes.vertices] * proxy.clothes.weights[..., None]).sum(1)
        density = params.baby_brow_density if look.age_group == "neonate" else float(rng.uniform(0.8, 1.0))
        texture = self._texture(f"eyebrows/{name}/{name}.png", 512)
        paint_brows(atlas, own[proxy.mesh.faces].astype(np.float32), proxy.mesh.uv, texture, colour, density)

    def _eye(self, look: Look, rng: np.random.Generator) -> tuple[str, float, float]:
        """Texture, saturation and brightness of the eyes."""
        kinds = face_params().photographic.eyes
        if look.age_group == "neonate":
            return "deepblue", 0.25, 0.6
        dark = look.skin_tone >= face_params().looks.dark_hair_from_tone
        if dark or rng.random() < 0.55:
            return ("brown", 0.45, 0.8) if dark or rng.random() < 0.6 else ("brownlight", 0.5, 0.85)
        return kinds[int(rng.integers(len(kinds)))], 0.45, 0.85

    # --- files, read once ---------------------------------------------------------------------------------------------

    @cached_property
    def _front(self) -> FrontView:
        person = self._head.reference()
        to_kept = np.full(len(person.points_mm), -1, np.int32)
        to_kept[person.kept] = np.arange(person.kept.size)
        faces = to_kept[self._body]
        whole = (faces >= 0).all(1)
        return FrontView(person.skin_mm, faces[whole], self._body_px[whole])

    @cached_property
    def _regions(self) -> SkinRegions:
        return find_regions(self._head.reference(), self._front)

    @cached_property
    def _vertex_px(self) -> Float:
        """Pixel of the atlas of each base vertex; on a seam, one of them."""
        px = np.zeros((len(self._base.points), 2), np.float32)
        px[self._body] = self._body_px
        return px

    @cached_property
    def _scalp(self) -> Float:
        painted = [name for name in self._skins if "_darkskinned_" in name]
        (_, _, width, height), _ = layout.SKIN_BOXES[0]
        if not painted:
            return np.zeros((height // 4, width // 4), np.float32)
        return scalp_of(self._texture(f"skins/{painted[0]}.jpg", layout.SKIN_SIDE_PX), self._regions.cheeks_px)

    def _read_texture(self, name: str, side_px: int) -> Image:
        image = read_texture(self._folder / name, side_px)
        if image.shape[:2] != (side_px, side_px):
            raise SettingsError(
                f"{self._folder / name} has {image.shape[1]}x{image.shape[0]} px; {side_px}x{side_px} are needed",
                _REMEDY,
            )
        return image

    def _read_proxy(self, name: str) -> _Proxy:
        folder = self._folder / name
        mesh, clothes = read_wavefront(folder / f"{folder.name}.obj"), read_clothes(folder / f"{folder.name}.mhclo")
        if len(mesh.points) != len(clothes.vertices) or clothes.vertices.max(initial=-1) >= len(self._base.points):
            raise SettingsError(
                f"{folder} does not fit the base mesh", "give MakeHuman's hm08 base mesh and assets for it"
            )
        return _Proxy(mesh, clothes)
