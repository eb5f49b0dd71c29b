"""The built-in head's skin: horizontal sections with bumps, triangulated around eyes and mouth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from scipy.interpolate import PchipInterpolator
from scipy.spatial import Delaunay

from avpenet_cli.phantom.head.model import AgeGroup, Hair
from avpenet_cli.phantom.parameters.face_params import face_params
from avpenet_cli.phantom.parameters.head_params import Bump, HeadParams

Array = npt.NDArray[np.float64]

_HEIGHTS = (
    "mouth_y_mm",
    "brow_y_mm",
    "nose_tip_y_mm",
    "nose_base_y_mm",
    "chin_y_mm",
    "cheek_y_mm",
    "ear_y_mm",
    "neck_top_mm",
    "hairline_front_mm",
    "hairline_side_mm",
    "hairline_back_mm",
)
"""Measures that scale with the length of the head."""

_ADULT_EYE_X_MM = face_params().adult.eye_x_mm


@dataclass(frozen=True)
class Person:
    """Measures of an individual, varied from those of the age group.

    Attributes:
        params: the measures, in mm.
        left: (bumps,) factor of each bump's height on the image's left; the right has its inverse.
        scale: size relative to an adult's head, by the distance between the eyes.
    """

    params: HeadParams
    left: Array
    scale: float


def draw_person(age_group: AgeGroup, identity: int) -> Person:
    """Vary the age group's measures by the seed `identity`."""
    params = face_params().adult if age_group == "adult" else face_params().neonate
    spread = face_params().variation
    rng = np.random.default_rng([identity, 11])

    def factor(share: float) -> float:
        return float(np.exp(share * np.clip(rng.standard_normal(), -2.0, 2.0)))

    width, length, depth = factor(spread.width), factor(spread.length), factor(spread.depth)
    jaw, nose, eyes, mouth = (
        factor(spread.jaw),
        factor(spread.nose_size),
        factor(spread.eye_distance),
        factor(spread.mouth_width),
    )
    opening = factor(spread.eye_height)
    rows = []
    for y, half, front, back in params.profile_mm:
        lower = np.clip(y / params.mouth_y_mm, 0.0, 1.0)
        rows.append((y * length, half * width * jaw**lower, front * depth, back * depth))
    bumps = []
    for bump in params.bump:
        own = nose if "nose" in bump.name else eyes if "eye" in bump.name else 1.0
        height = bump.height_mm * factor(spread.feature_height) * (own if "nose" in bump.name else 1.0)
        at = (bump.at_mm[0] * own, bump.at_mm[1] * length)
        bumps.append(Bump(name=bump.name, at_mm=at, spread_mm=bump.spread_mm, height_mm=height))
    measures = {name: getattr(params, name) * length for name in _HEIGHTS}
    measures["brow_y_mm"] *= factor(spread.brow_height)
    measures |= {
        "eye_x_mm": params.eye_x_mm * eyes,
        "eye_half_width_mm": params.eye_half_width_mm * factor(spread.eye_width),
        "eye_upper_mm": params.eye_upper_mm * opening,
        "eye_lower_mm": params.eye_lower_mm * opening,
        "nose_wing_x_mm": params.nose_wing_x_mm * nose,
        "nostril_x_mm": params.nostril_x_mm * nose,
        "mouth_half_width_mm": params.mouth_half_width_mm * mouth,
        "lip_upper_mm": params.lip_upper_mm * factor(spread.lip_height),
        "lip_lower_mm": params.lip_lower_mm * factor(spread.lip_height),
        "brow_thickness_mm": params.brow_thickness_mm * factor(spread.brow_thickness),
    }
    own_params = replace(params, profile_mm=tuple(rows), bump=tuple(bumps), **measures)
    left = np.array([factor(spread.asymmetry) for _ in bumps])
    return Person(own_params, left, params.eye_x_mm / _ADULT_EYE_X_MM)


class Surface:
    """The skin of a person as a function of angle and height."""

    def __init__(self, person: Person) -> None:
        self.person = person
        rows = np.array(sorted(person.params.profile_mm))
        self._sections = PchipInterpolator(rows[:, 0], rows[:, 1:])
        self.bottom_mm, self.top_mm = float(rows[0, 0]), float(rows[-1, 0])
        # Rows of triangles follow the length along the surface, which exceeds the height difference at crown and chin.
        fine = np.linspace(self.bottom_mm, self.top_mm, 600)
        steps = np.diff(np.c_[fine, self._sections(fine)[:, :2]], axis=0)
        self._y = fine
        self._length = np.concatenate([[0.0], np.cumsum(np.sqrt((steps**2).max(1) + steps[:, 0] ** 2))])
        self._power = 2.0 / face_params().mesh.squareness

    @property
    def length_mm(self) -> float:
        """Length from chin to crown along the surface."""
        return float(self._length[-1])

    def height(self, along: Array) -> Array:
        """Length along the surface from the bottom -> height y."""
        return np.asarray(np.interp(along, self._length, self._y))

    def along(self, y: Array) -> Array:
        """Height y -> length along the surface from the bottom."""
        return np.asarray(np.interp(y, self._y, self._length))

    def angle(self, x: Array, y: Array) -> Array:
        """Frontal x and y of the front half -> angle from straight ahead, in radians."""
        half = np.maximum(self._sections(y)[:, 0], 1.0)
        share = np.clip(np.abs(x) / half, 0.0, 1.0)
        return np.asarray(np.sign(x) * np.arcsin(share ** (1.0 / self._power)))

    def base(self, angle: Array, y: Array) -> Array:
        """Points without bumps: (n, 3)."""
        section = self._sections(np.clip(y, self.bottom_mm, self.top_mm))
        sine, cosine = np.sin(angle), np.cos(angle)
        depth = np.where(cosine >= 0, section[:, 1], section[:, 2])
        x = section[:, 0] * np.sign(sine) * np.abs(sine) ** self._power
        z = depth * np.sign(cosine) * np.abs(cosine) ** self._power
        return np.stack([x, y, z], 1)

    def place(self, angle: Array, y: Array) -> Array:
        """Points with bumps: (n, 3)."""
        points = self.base(angle, y)
        lift = np.zeros(len(points))
        for bump, left in zip(self.person.params.bump, self.person.left, strict=True):
            sides = ((1.0, 1.0),) if bump.at_mm[0] == 0 else ((-1.0, left), (1.0, 1.0 / left))
            for side, factor in sides:
                across = (points[:, 0] - side * bump.at_mm[0]) / bump.spread_mm[0]
                up = (points[:, 1] - bump.at_mm[1]) / bump.spread_mm[1]
                lift += factor * bump.height_mm * np.exp(-0.5 * (across**2 + up**2))
        lift *= smooth(np.cos(angle), 0.0, 0.35)
        outward = np.stack([0.5 * np.sin(angle), np.zeros_like(angle), np.ones_like(angle)], 1)
        return np.asarray(points + lift[:, None] * outward / np.linalg.norm(outward, axis=1, keepdims=True))

    def at(self, x: Array, y: Array) -> Array:
        """Points with bumps at frontal x and y of the front half: (n, 3)."""
        return self.place(self.angle(x, y), y)


def smooth(value: Array, low: float, high: float) -> Array:
    """Smoothstep: 0 below `low`, 1 above `high`, S-shaped between."""
    share = np.clip((value - low) / (high - low), 0.0, 1.0)
    return np.asarray(share * share * (3.0 - 2.0 * share))


def hairline_mm(params: HeadParams, hair: Hair, angle: npt.NDArray[np.floating]) -> Array:
    """Height of the hairline or the cap's edge at each angle from straight ahead (radians)."""
    front, side, back = params.hairline_front_mm, params.hairline_side_mm, params.hairline_back_mm
    if hair == "cap":
        accessories = face_params().accessories
        front, side = (
            front * accessories.cap_front_share,
            params.ear_y_mm + accessories.cap_side_share * params.ear_half_height_mm,
        )
        back = side
    degrees = np.rad2deg(np.abs(angle))
    heights = [front, front, front * 0.72, side + 0.5 * (front - side), side, side, back]
    return np.asarray(np.interp(degrees, [0, 28, 52, 70, 84, 112, 180], heights))


@dataclass(frozen=True)
class SkinPlan:
    """Layout of the skin's vertices on the unrolled surface.

    Attributes:
        x_mm, y_mm: frontal position; x is meaningless behind the ears.
        angle: radians from straight ahead.
        eye: -1, or 0 and 1 for the rings of the image's left and right eye.
        offset_mm: distance from the opening of eye or mouth, for their rings.
        bearing: angle on the ring, radians counter-clockwise from the image's right.
        lip: 1 on the upper rings of the mouth, -1 on the lower, 0 elsewhere.
        faces: (m, 3) int32 triangles.
        openings: vertices along the edges of the mouth and of the image's left and right eye, counter-clockwise.
    """

    x_mm: Array
    y_mm: Array
    angle: Array
    eye: npt.NDArray[np.int32]
    offset_mm: Array
    bearing: Array
    lip: Array
    faces: npt.NDArray[np.int32]
    openings: tuple[npt.NDArray[np.int32], ...]


def plan_skin(surface: Surface) -> SkinPlan:
    """Rings around eyes and mouth and a grid elsewhere, with Delaunay triangles except over the openings."""
    params, scale = surface.person.params, surface.person.scale
    mesh = face_params().mesh
    groups = [_mouth_rings(params, scale), *(_eye_rings(params, scale, eye) for eye in (0, 1))]
    rings = np.concatenate([ring for group in groups for ring in group])
    grid_angle, grid_along = _grid(surface)
    grid = surface.base(grid_angle, surface.height(grid_along))
    free = np.ones(len(grid), bool)
    for group in groups:
        edge = group[-1][:, :2]
        reach = np.ptp(edge, axis=0) / 2 + 0.45 * mesh.spacing_mm * scale
        free &= (((grid[:, :2] - (edge.max(0) + edge.min(0)) / 2) / reach) ** 2).sum(1) > 1.0
    free |= np.abs(grid_angle) > np.pi / 2
    # The layout is the unrolled skin with the closed mouth slightly open.
    angle = np.concatenate([surface.angle(rings[:, 0], rings[:, 1]), grid_angle[free]])
    along = np.concatenate([surface.along(rings[:, 1]), grid_along[free]])
    unroll = float(np.max(surface.base(np.array([np.pi / 2]), np.zeros(1))[:, 0]))
    faces = Delaunay(np.stack([angle * unroll, along], 1)).simplices.astype(np.int32)
    starts = np.cumsum([0, *(sum(map(len, group)) for group in groups[:-1])])
    openings = tuple(
        np.arange(start, start + len(group[0]), dtype=np.int32) for start, group in zip(starts, groups, strict=True)
    )
    places = np.concatenate([rings[:, 2:4], grid[free, :2]])
    rest = np.concatenate([rings[:, 4:], np.tile([-1.0, 0.0, 0.0, 0.0], (int(free.sum()), 1))])
    return SkinPlan(
        x_mm=places[:, 0],
        y_mm=places[:, 1],
        angle=np.concatenate([surface.angle(rings[:, 2], rings[:, 3]), grid_angle[free]]),
        eye=rest[:, 0].astype(np.int32),
        offset_mm=rest[:, 1],
        bearing=rest[:, 2],
        lip=rest[:, 3],
        faces=faces[~_over_openings(faces, openings)],
        openings=openings,
    )


def _mouth_rings(params: HeadParams, scale: float) -> list[Array]:
    """Rings around the lips, inner first: (k, 8) layout x and y, x, y, eye, offset, bearing, lip."""
    around = np.linspace(0.0, 2 * np.pi, face_params().mesh.ring_points * 3 // 4 * 2, endpoint=False)
    sine = np.where(np.abs(np.sin(around)) < 1e-9, 0.0, np.sin(around))
    lip_height = np.where(sine >= 0, params.lip_upper_mm, params.lip_lower_mm)
    # Cupid's bow.
    lip_height = lip_height * (1.0 - 0.18 * np.exp(-((np.cos(around) / 0.12) ** 2)) * (sine >= 0))
    rings = []
    for share, beyond_mm in ((0.0, 0.0), (0.3, 0.4), (0.65, 0.9), (1.0, 1.4), (1.0, 4.0), (1.0, 7.5)):
        beyond = beyond_mm * scale
        x = (params.mouth_half_width_mm + beyond) * np.cos(around)
        rise = share * lip_height * np.abs(sine) ** 0.8 + (beyond - 1.4 * scale) * (share == 1.0)
        y = params.mouth_y_mm + np.sign(sine) * np.maximum(rise, 0.0)
        ones = np.ones_like(x)
        columns = [
            x,
            y + sine * params.lip_gap_mm,
            x,
            y,
            -ones,
            ones * (share * 0.5 + beyond),
            around,
            np.sign(sine),
        ]
        rings.append(np.stack(columns, 1))
    return rings


def _eye_rings(params: HeadParams, scale: float, eye: int) -> list[Array]:
    """Rings around an eye opening, inner first; columns as in `_mouth_rings`."""
    bearing = np.linspace(0.0, 2 * np.pi, face_params().mesh.ring_points, endpoint=False)
    middle = params.eye_x_mm * (2 * eye - 1)
    rings = []
    for share in (0.0, 0.12, 0.3, 0.58, 1.0):
        beyond = share * face_params().lids.fold_mm * scale
        x = middle + (params.eye_half_width_mm + beyond) * np.cos(bearing)
        y = eye_contour(params, bearing, beyond)
        ones = np.ones_like(x)
        rings.append(np.stack([x, y, x, y, ones * eye, ones * beyond, bearing, 0.0 * ones], 1))
    return rings


def eye_contour(params: HeadParams, bearing: Array, offset_mm: float | Array = 0.0) -> Array:
    """Height of the lids' edge at each bearing around an eye, moved outward by `offset_mm`."""
    sine = np.sin(bearing)
    reach = np.where(sine >= 0, params.eye_upper_mm, params.eye_lower_mm)
    return np.asarray(np.sign(sine) * np.abs(sine) ** 1.15 * (reach + offset_mm))


def _grid(surface: Surface) -> tuple[Array, Array]:
    mesh, scale = face_params().mesh, surface.person.scale
    front = np.deg2rad(mesh.face_half_angle_deg)
    radius = float(surface.base(np.array([np.pi / 2]), np.zeros(1))[0, 0])
    count = int(np.ceil(surface.length_mm / (mesh.spacing_mm * scale)))
    angles, alongs = [], []
    for row, along in enumerate(np.linspace(0.0, surface.length_mm, count + 1)):
        fine = np.arange(-front, front, mesh.spacing_mm * scale / radius) + (row % 2) * 0.5 * mesh.spacing_mm / radius
        back = np.arange(front, np.pi, mesh.side_spacing_mm * scale / radius)
        own = np.concatenate([-back[::-1], fine[(fine > -front) & (fine < front - 0.01)], back, [-np.pi, np.pi]])
        own = np.unique(np.round(own, 6))
        angles.append(own)
        alongs.append(np.full(own.size, along))
    return np.concatenate(angles), np.concatenate(alongs)


def _over_openings(faces: npt.NDArray[np.int32], openings: Sequence[npt.NDArray[np.int32]]) -> npt.NDArray[np.bool_]:
    """Triangles between three points on the edge of one opening; openings are convex."""
    over = np.zeros(len(faces), bool)
    for edge in openings:
        over |= np.isin(faces, edge).all(1)
    return over
