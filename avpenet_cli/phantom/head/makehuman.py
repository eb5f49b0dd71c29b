"""Head model from MakeHuman's base mesh and targets (CC0): babies, and adults from young to old."""

from __future__ import annotations

import gzip
import zlib
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy.spatial import ConvexHull

from avpenet_cli.errors import SettingsError, reason
from avpenet_cli.phantom.head.clothing import gown_below
from avpenet_cli.phantom.head.gaussian_fields import gaussian_displacements
from avpenet_cli.phantom.head.mesh_simplify import depth_behind_mm, layer, recipe_displacements, triangulate
from avpenet_cli.phantom.head.model import UNITS, AgeGroup, Eyeballs, Float, HeadShape, Index, Landmarks, Look
from avpenet_cli.phantom.head.parts import Part, assemble_head, eyeball, make_part
from avpenet_cli.phantom.head.surface import smooth
from avpenet_cli.phantom.head.texture_atlas import face_px, patch_px
from avpenet_cli.phantom.parameters.face_params import face_params

_MM_PER_UNIT = 100.0
"""The base mesh is in decimetres."""

_MIN_EYE_VERTICES = 8
"""Smallest number of visible eyeball vertices that determine the outline of the eye opening."""
_WHITE_HAIR_OLD = 0.6
"""Smallest share of old age with white hair."""
GOWN_RISE_MM: dict[AgeGroup, float] = {"neonate": 10.0, "adult": 0.0}
"""Raises the gown, compared with the built-in head, over the cut edge of the neck."""
_UNDER_CHIN_MM = 4.0
_TEETH_BACK_MM = 4.0
"""Keeps the teeth behind the lips of every face."""
_NECK_DROP: dict[AgeGroup, float] = {"neonate": 0.4, "adult": 0.6}
"""Distance of the skin's lower edge, under the gown, below the neck joint, in the mesh's unit."""
_RACES = ("african", "asian", "caucasian")
_DETAIL_FOLDERS = ("cheek", "chin", "forehead", "mouth", "nose")
_EYES = ("helper-r-eye", "helper-l-eye")
"""The image's left first."""


@dataclass(frozen=True)
class MakeHumanPerson:
    """The body of a person, with the base mesh's vertices.

    Attributes:
        points_mm: (n, 3) float32 neutral, in the axes of `HeadShape`.
        displacements_mm: (9, n, 3) float32 at full intensity, in the order of `UNITS`.
        kept, faces: vertices of the skin of head and neck, and triangles (m, 3) between them.
        skin_mm: (k, 3) float32 vertices of the skin; a newborn's shoulders are drawn in under the gown.
        rotation_share: (k,) share of the head's rotation.
        eyes_mm: (2, 3) float32 centres of the eyeballs, the image's left first, and their radius.
        scale: size of the head relative to an adult's.
        landmarks: of the neutral face.
        face_width_mm: width of the face at the cheekbones.
        sex: female or male.
        old: share of old age in an adult, 0 for a newborn.
        races: shares of the African, Asian and Caucasian targets.
    """

    points_mm: Float
    displacements_mm: Float
    kept: Index
    faces: Index
    skin_mm: Float
    rotation_share: npt.NDArray[np.float64]
    eyes_mm: Float
    eye_radius_mm: float
    scale: float
    landmarks: Landmarks
    face_width_mm: float
    sex: str
    old: float
    races: npt.NDArray[np.float64]


class MakeHumanHead:
    """Babies and adults from MakeHuman; see `load_head`.

    Args:
        folder: has 3dobjs/base.obj and targets/.
        fit_tone: whether the shares of ethnicities follow the skin tone, and white hair means old age.
    """

    def __init__(self, folder: Path, fit_tone: bool = False) -> None:
        self._targets = folder / "targets"
        self._fit_tone = fit_tone
        self._base, self._groups = _read_mesh(folder / "3dobjs" / "base.obj")
        absent = [name for name in ("body", "helper-upper-teeth", *_EYES, "joint-neck") if name not in self._groups]
        if absent:
            raise SettingsError(
                f"{folder}/3dobjs/base.obj lacks the groups {', '.join(absent)}", "give the hm08 base mesh"
            )
        self._load = cache(self._read_target)
        neck = float(self._base[np.unique(self._groups["joint-neck"][:, :3]), 1].mean())
        self._cuts = {group: self._cut(neck - drop) for group, drop in _NECK_DROP.items()}
        self._details = _detail_pairs(self._targets)

    @property
    def age_groups(self) -> tuple[AgeGroup, ...]:
        """Newborns, which are MakeHuman's babies, and adults."""
        return ("neonate", "adult")

    def _cut(self, lowest: float) -> tuple[Index, Index]:
        """The skin above a height of the base mesh: vertices, and triangles between them."""
        faces = triangulate(self._groups["body"])
        faces = faces[(self._base[faces, 1] > lowest).all(1)]
        kept, flat = np.unique(faces, return_inverse=True)
        return kept, flat.reshape(-1, 3).astype(np.int32)

    def shape(self, look: Look) -> HeadShape:
        """Build the mesh of a person."""
        return self._assemble(self.person(look), look)

    def traits(self, look: Look, rng: np.random.Generator) -> tuple[str, float, npt.NDArray[np.float64]]:
        """Sex, share of old age, and shares of the African, Asian and Caucasian targets of a look's person."""
        sex = ("female", "male")[int(rng.integers(2))]
        races = rng.dirichlet(np.ones(3))
        old = float(rng.random()) if rng.random() < face_params().makehuman.old_share else 0.0
        if self._fit_tone:
            races = _fit_to_tone(races, look.skin_tone)
            old = max(old, _WHITE_HAIR_OLD) if look.hair_tone == 1.0 else old
        return sex, 0.0 if look.age_group == "neonate" else old, races

    def person(self, look: Look) -> MakeHumanPerson:
        """Build the body of a person; the same look gives the same bytes."""
        rng = np.random.default_rng([look.identity, 43])
        sex, old, races = self.traits(look, rng)
        ages = {"baby": 1.0} if look.age_group == "neonate" else {"young": 1.0 - old, "old": old}
        points = self._base.copy()
        for age, share in ages.items():
            self._add(points, f"macrodetails/universal-{sex}-{age}-averagemuscle-averageweight", share)
            for race, part_of in zip(_RACES, races, strict=True):
                self._add(points, f"macrodetails/{race}-{sex}-{age}", share * part_of)
        adult = 0.5 * float(np.ptp([_middle(self._base, self._groups[name])[0] for name in _EYES]))
        small = 0.5 * float(np.ptp([_middle(points, self._groups[name])[0] for name in _EYES])) / adult
        for left, right in self._details:
            weight = float(np.clip(rng.standard_normal(), -2, 2)) * face_params().makehuman.detail_spread
            for name in left if weight > 0 else right:
                self._add(points, name, abs(weight) * small)
        race = _RACES[int(np.argmax(races))]
        required = sorted({name for recipe in face_params().makehuman.units.values() for name, _ in recipe})
        displacements = {}
        for name in required:
            displacements[name] = np.zeros_like(points)
            self._add(displacements[name], f"expression/units/{race}/{name}", small * _MM_PER_UNIT)
        return self._place(
            points * np.float32(_MM_PER_UNIT),
            recipe_displacements(face_params().makehuman.units, displacements),
            look.age_group,
            (sex, old, races),
        )

    def reference(self) -> MakeHumanPerson:
        """The base mesh itself, without targets and expressions."""
        still = np.zeros((len(UNITS), *self._base.shape), np.float32)
        return self._place(self._base * np.float32(_MM_PER_UNIT), still, "adult", ("female", 0.0, np.ones(3) / 3.0))

    def _place(
        self,
        points: Float,
        displacements: Float,
        age_group: AgeGroup,
        traits: tuple[str, float, npt.NDArray[np.float64]],
    ) -> MakeHumanPerson:
        eyes = np.stack([_middle(points, self._groups[name]) for name in _EYES]).astype(np.float32)
        radius = 0.5 * float(np.ptp(points[np.unique(self._groups[_EYES[0]][:, :3]), 1]))
        eye_x = 0.5 * float(eyes[1, 0] - eyes[0, 0])
        scale = eye_x / face_params().adult.eye_x_mm
        origin = eyes.mean(0) - np.array([0.0, 0.0, 82.0 * scale], np.float32)
        points, eyes = points - origin, eyes - origin
        kept, faces = self._cuts[age_group]
        skin = points[kept]
        lips = self._lips(kept)
        balls = [eyeball(eye, radius) for eye in eyes]
        visible_points = [ball.points_mm[depth_behind_mm(ball.points_mm, skin, faces) < 0.0] for ball in balls]
        landmarks = _find_landmarks(skin, skin[lips], eyes, visible_points, eye_x)
        displacements[:, kept] += gaussian_displacements(face_params().makehuman.folds, skin, landmarks)
        chin_y = float(landmarks.chin[1])
        rotation_share = 0.3 + 0.7 * smooth(skin[:, 1].astype(np.float64), chin_y - 60.0 * scale, chin_y - 5.0 * scale)
        level = (np.abs(skin[:, 1] + 0.7 * eye_x) < 0.3 * eye_x) & (skin[:, 2] > 0.9 * eye_x)
        width = float(np.ptp(skin[level, 0]))
        if age_group == "neonate":
            # A baby's shoulders begin at its chin; move them under the gown.
            low = skin[:, 1] < chin_y + _UNDER_CHIN_MM
            skin[low] = _within_neck(skin[low], skin[low, 1] - (chin_y - _UNDER_CHIN_MM))
        return MakeHumanPerson(
            points, displacements, kept, faces, skin, rotation_share, eyes, radius, scale, landmarks, width, *traits
        )

    def _assemble(self, person: MakeHumanPerson, look: Look) -> HeadShape:
        skin, faces, kept, landmarks = person.skin_mm, person.faces, person.kept, person.landmarks
        eye_x, scale, displacements = landmarks.eye_x_mm, person.scale, person.displacements_mm
        inside = _in_mouth(skin, landmarks, eye_x) & (depth_behind_mm(skin, skin, faces) > 0.08 * eye_x)
        # A triangle lies in one patch of the atlas, so the mouth is a separate part.
        deep = inside[faces].any(1)
        turning = person.rotation_share
        parts = [make_part(skin, faces[~deep], face_px(skin, eye_x), displacements[:, kept], turning)]
        if deep.any():
            own, flat = np.unique(faces[deep], return_inverse=True)
            depth = np.clip((landmarks.lips[:, 2].max() - skin[own, 2]) / (1.2 * eye_x), 0.0, 1.0)
            places = patch_px("mouth", np.full(own.size, 0.5), depth)
            parts.append(make_part(skin[own], flat.reshape(-1, 3), places, displacements[:, kept[own]], turning[own]))
        for name, patch in (
            ("helper-upper-teeth", "teeth"),
            ("helper-lower-teeth", "teeth"),
            ("helper-tongue", "tongue"),
        ):
            if not (patch == "teeth" and look.age_group == "neonate"):
                parts.append(self._helper(name, patch, person.points_mm, displacements))
        balls = [eyeball(eye, person.eye_radius_mm) for eye in person.eyes_mm]
        hair = layer(skin, faces, look, scale)
        return assemble_head(
            [*parts, *balls, *hair, gown_below(float(landmarks.chin[1]), look, GOWN_RISE_MM[look.age_group])],
            face_width_mm=person.face_width_mm,
            landmarks=landmarks,
            eyeballs=eyeballs(person),
        )

    def _helper(self, name: str, patch: str, points: Float, displacements: Float) -> Part:
        kept, flat = np.unique(triangulate(self._groups[name]), return_inverse=True)
        atlas = patch_px(patch, np.full(kept.size, 0.5), np.full(kept.size, 0.5))
        back = np.array([0.0, 0.0, _TEETH_BACK_MM], np.float32)
        return make_part(points[kept] - back, flat.reshape(-1, 3), atlas, displacements[:, kept])

    def _lips(self, kept: Index) -> Index:
        """Skin vertices of the vermilion of the lips."""
        moved = np.zeros_like(self._base)
        for lip in ("upperlip", "lowerlip"):
            at, displacement = self._load(f"mouth/mouth-{lip}-volume-incr")
            moved[at] += np.abs(displacement)
        own = moved.sum(1)[kept]
        return np.flatnonzero(own > 0.25 * own.max()).astype(np.int32)

    def _add(self, points: Float, name: str, weight: float) -> None:
        at, displacement = self._load(name)
        points[at] += np.float32(weight) * displacement

    def _read_target(self, name: str) -> tuple[Index, Float]:
        """Vertices (k,) that a target moves, and by how much (k, 3) float32, in the base mesh's unit."""
        path = self._targets / f"{name}.target.gz"
        try:
            text = gzip.decompress(path.read_bytes()).decode("utf-8")
            values = " ".join(line for line in text.splitlines() if not line.startswith("#")).split()
            rows = np.array(values, np.float64).reshape(-1, 4)
            at = rows[:, 0].astype(np.int32)
            if at.size and not 0 <= at.min() <= at.max() < len(self._base):
                raise ValueError("no such vertex")
        except (OSError, EOFError, zlib.error, ValueError) as error:
            raise SettingsError(
                f"{path} cannot be read ({reason(error)})", "give a complete MakeHuman folder"
            ) from error
        return at, rows[:, 1:].astype(np.float32)


def _within_neck(points: Float, above_mm: Float) -> Float:
    """Points moved horizontally into a newborn's neck, which widens towards the chin: (k, 3)."""
    neck = face_params().neonate
    out = points.copy()
    across, forward = points[:, 0] / neck.neck_half_width_mm, (points[:, 2] - neck.neck_z_mm) / neck.neck_depth_mm
    radius = np.hypot(across, np.maximum(forward, 0.0))
    share = np.minimum(1.0, (1.0 + 0.25 * np.maximum(above_mm, 0.0)) / np.maximum(radius, 1e-6))
    out[:, 0] *= share
    out[:, 2] = np.where(forward > 0, neck.neck_z_mm + share * (points[:, 2] - neck.neck_z_mm), points[:, 2])
    return out


def _fit_to_tone(races: npt.NDArray[np.float64], tone: int) -> npt.NDArray[np.float64]:
    """Shares of ethnicities as likely for a skin tone of 1-10: more of the African targets in dark skin."""
    dark = (tone - 1) / 9.0
    fitted = races * np.array([0.05 + dark**2 * 4.0, 1.0 - 0.7 * dark, 1.1 - dark])
    return np.asarray(fitted / fitted.sum())


def eyeballs(person: MakeHumanPerson) -> Eyeballs:
    """Eyeballs, and the lids as indices of the person's skin."""
    radius = person.eye_radius_mm
    lids = [_lids(person.skin_mm, eye, radius) for eye in person.eyes_mm]
    return Eyeballs(person.eyes_mm, radius * 1.02, (lids[0], lids[1]))


def _read_mesh(path: Path) -> tuple[Float, dict[str, npt.NDArray[np.int32]]]:
    """Vertices (n, 3) float32 and polygons (m, 4) of each group of a Wavefront file; triangles end in -1."""
    points: list[list[float]] = []
    groups: dict[str, list[list[int]]] = {}
    group = ""
    try:
        for line in path.read_text("utf-8").splitlines():
            kind, _, rest = line.partition(" ")
            if kind == "v":
                points.append([float(value) for value in rest.split()[:3]])
            elif kind == "g":
                group = rest.strip()
            elif kind == "f":
                corners = [int(corner.split("/")[0]) - 1 for corner in rest.split()]
                groups.setdefault(group, []).append([*corners, -1][:4])
    except (OSError, ValueError) as error:
        raise SettingsError(f"{path} cannot be read ({reason(error)})", "give MakeHuman's hm08 base mesh") from error
    return np.array(points, np.float32), {name: np.array(rows, np.int32) for name, rows in groups.items()}


def _detail_pairs(targets: Path) -> list[tuple[tuple[str, ...], tuple[str, ...]]]:
    """Pairs of opposite shape targets; left and right belong together."""
    pairs: list[tuple[tuple[str, ...], tuple[str, ...]]] = []
    for folder in _DETAIL_FOLDERS:
        for path in sorted((targets / folder).glob("*-incr.target.gz")):
            more = f"{folder}/{path.name.removesuffix('.target.gz')}"
            less = more.removesuffix("incr") + "decr"
            if "/r-" in more or not (targets / f"{less}.target.gz").is_file():
                continue
            sides = (more, more.replace("/l-", "/r-")) if "/l-" in more else (more,)
            pairs.append((sides, tuple(name.removesuffix("incr") + "decr" for name in sides)))
    return pairs


def _middle(points: Float, polygons: npt.NDArray[np.int32]) -> Float:
    own = points[np.unique(polygons[:, :3])]
    return np.asarray(0.5 * (own.min(0) + own.max(0)))


def _hull(points: Float) -> Float:
    """Frontal outline of points, counter-clockwise: (k, 3)."""
    return points[ConvexHull(points[:, :2]).vertices]


def _nearest(skin: Float, x: float, y: float) -> Float:
    """The frontmost vertex near a frontal position."""
    distance = (skin[:, 0] - x) ** 2 + (skin[:, 1] - y) ** 2
    distance[skin[:, 2] < 0] = np.inf
    near = np.argsort(distance)[:6]
    return np.array([x, y, skin[near, 2].max()], np.float32)


def _find_landmarks(skin: Float, lips: Float, eyes: Float, visible_points: list[Float], eye_x: float) -> Landmarks:
    outline = _hull(lips)
    left, right = lips[np.argmin(lips[:, 0])], lips[np.argmax(lips[:, 0])]
    span = np.linspace(0.0, 1.0, 5)[:, None]
    line = left + span * (right - left)
    line[:, 2] = np.linspace(left[2], right[2], 5) + 4 * span[:, 0] * (1 - span[:, 0]) * (lips[:, 2].max() - left[2])
    openings = []
    for visible in visible_points:
        if len(visible) < _MIN_EYE_VERTICES:
            raise SettingsError("the head's eyes are not open", "give MakeHuman's own targets")
        ring = _hull(visible)
        ring = np.roll(ring, -int(np.argmin(ring[:, 0])), axis=0)
        openings.append(_resampled(ring, 12))
    middle = np.abs(skin[:, 0]) < 0.15 * eye_x
    nose = skin[middle & (skin[:, 1] < -0.3 * eye_x) & (skin[:, 1] > float(outline[:, 1].max()))]
    tip = nose[np.argmax(nose[:, 2])]
    own = face_params().adult
    share = np.linspace(own.brow_inner_mm, own.brow_outer_mm, 7) / own.eye_x_mm
    arch = 0.60 + 0.12 * np.sin(np.linspace(0.0, np.pi, 7))
    brows = [
        [_nearest(skin, side * s * eye_x, a * eye_x) for s, a in zip(share, arch, strict=True)] for side in (-1, 1)
    ]
    base = 0.5 * float(tip[1] + outline[:, 1].max()) + 0.04 * eye_x
    return Landmarks(
        brows=np.array(brows, np.float32),
        lips=outline,
        lip_line=line.astype(np.float32),
        eyes=np.array(openings, np.float32),
        pupils=eyes + np.array([0.0, 0.0, 0.4 * eye_x], np.float32),
        nostrils=np.array([_nearest(skin, side * 0.17 * eye_x, base) for side in (-1, 1)]),
        nose_tip=tip,
        nasion=_nearest(skin, 0.0, 0.0),
        chin=_nearest(skin, 0.0, float(outline[:, 1].min()) - 0.7 * eye_x),
        eye_x_mm=eye_x,
    )


def _resampled(ring: Float, count: int) -> Float:
    """Resample a closed outline to `count` points at even distances, keeping the first."""
    closed = np.concatenate([ring, ring[:1]])
    along = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(closed, axis=0), axis=1))])
    at = np.linspace(0.0, along[-1], count, endpoint=False)
    return np.stack([np.interp(at, along, closed[:, axis]) for axis in range(3)], 1).astype(np.float32)


def _in_mouth(skin: Float, landmarks: Landmarks, eye_x: float) -> npt.NDArray[np.bool_]:
    """Vertices at the height and width of the lips and in front of the neck; hidden ones are inside the mouth."""
    low, high = landmarks.lips.min(0), landmarks.lips.max(0)
    level = (skin[:, 1] > low[1] - 0.3 * eye_x) & (skin[:, 1] < high[1] + 0.3 * eye_x)
    across = (skin[:, 0] > low[0]) & (skin[:, 0] < high[0])
    return np.asarray(level & across & (skin[:, 2] > -0.2 * eye_x))


def _lids(skin: Float, centre: Float, radius_mm: float) -> Index:
    out = skin - centre
    near = ((out**2).sum(1) < (1.45 * radius_mm) ** 2) & (out[:, 2] > 0.0)
    return np.flatnonzero(near).astype(np.int32)
