"""The head that needs nothing but this program: every shape in it is computed from `parameters/face.toml`."""

from __future__ import annotations

import numpy as np

from avpenet_cli.errors import SettingsError
from avpenet_cli.phantom.head.clothing import body, ears, hair_or_cap
from avpenet_cli.phantom.head.model import UNITS, AgeGroup, Eyeballs, HeadModel, HeadShape, Index, Landmarks, Look
from avpenet_cli.phantom.head.parts import Part, eye_socket, eyeball, jaw_way, joined, mouth_bag, part, teeth, tongue
from avpenet_cli.phantom.head.surface import (
    Array,
    Person,
    SkinPlan,
    Surface,
    draw_person,
    eye_contour,
    plan_skin,
    smooth,
)
from avpenet_cli.phantom.head.texture_atlas import face_px
from avpenet_cli.phantom.parameters.face_params import ActionField, HeadParams, face_params


class BuiltInHead:
    """Newborns and adults of the project's own making."""

    @property
    def age_groups(self) -> tuple[AgeGroup, ...]:
        """Both."""
        return ("neonate", "adult")

    def shape(self, look: Look) -> HeadShape:
        """The mesh of one person, about 13,000 vertices; the same look gives the same bytes."""
        if look.age_group not in self.age_groups:
            raise SettingsError(f"no built-in head of age group {look.age_group!r}", "choose neonate or adult")
        person = draw_person(look.age_group, look.identity)
        numbers, scale = person.numbers, person.scale
        surface = Surface(person)
        plan = plan_skin(surface)
        points = surface.place(plan.angle, plan.y_mm)
        middles, radius = _eye_middles(surface)
        points = _over_eyeballs(points, plan, middles, radius + face_params().lids.thickness_mm * scale)
        points = _lip_edge(points, plan, scale)
        skin = part(
            points, plan.faces, face_px(points.astype(np.float32), numbers.eye_x_mm), _actions(plan, points, person)
        )
        edge = _edge(skin, plan.openings[0])
        sockets = [eye_socket(_edge(skin, ring)) for ring in plan.openings[1:]]
        pieces = [skin, *sockets, *(eyeball(middle, radius) for middle in middles)]
        pieces += [mouth_bag(edge, numbers.mouth_y_mm, scale), *_mouth_parts(surface, points, plan)]
        pieces += [*ears(surface), *hair_or_cap(surface, look), *body(surface)]
        whole = joined(pieces)
        lids = tuple(np.flatnonzero(plan.eye == eye).astype(np.int32) for eye in (0, 1))
        return HeadShape(
            neutral_mm=whole.points_mm,
            actions_mm=whole.actions_mm,
            faces=whole.faces,
            atlas_px=whole.atlas_px,
            follows=whole.follows,
            face_width_mm=2.0 * float(surface.base(np.array([np.pi / 2]), np.array([numbers.cheek_y_mm]))[0, 0]),
            landmarks=_landmarks(surface, points, plan),
            eyeballs=Eyeballs(
                middles.astype(np.float32), float(radius + face_params().lids.thickness_mm * scale), (lids[0], lids[1])
            ),
        )


def built_in_head() -> HeadModel:
    """The head model that is always there."""
    return BuiltInHead()


def _edge(whole: Part, chosen: Index) -> Part:
    """Some vertices without triangles."""
    return Part(
        whole.points_mm[chosen],
        whole.actions_mm[:, chosen],
        np.zeros((0, 3), np.int32),
        whole.atlas_px[chosen],
        whole.follows[chosen],
    )


def _eye_middles(surface: Surface) -> tuple[Array, float]:
    numbers = surface.person.numbers
    x = np.array([-numbers.eye_x_mm, numbers.eye_x_mm])
    pupils = surface.at(x, np.zeros(2))
    radius = numbers.eyeball_radius_mm
    return np.stack([x, np.zeros(2), pupils[:, 2] + numbers.eye_forward_mm - radius], 1), radius


def _over_eyeballs(points: Array, plan: SkinPlan, middles: Array, radius: float) -> Array:
    """The lids drape over the eyeballs."""
    points = points.copy()
    for eye, middle in enumerate(middles):
        lid = np.flatnonzero(plan.eye == eye)
        across = ((points[lid, :2] - middle[:2]) ** 2).sum(1)
        sphere = middle[2] + np.sqrt(np.maximum(radius**2 - across, 0.0))
        above = np.where(across < radius**2, sphere - points[lid, 2], -radius)
        # A smooth maximum of skin and sphere.
        points[lid, 2] += 0.5 * (above + np.sqrt(above**2 + 1.0))
    return points


def _lip_edge(points: Array, plan: SkinPlan, scale: float) -> Array:
    """The lips roll inward at the line where they meet."""
    points = points.copy()
    ring = plan.openings[0]
    points[ring, 2] -= face_params().wear.lip_roll_mm * scale
    return points


def _anchors(numbers: HeadParams) -> dict[str, tuple[float, float]]:
    return {
        "brow_inner": (numbers.brow_inner_mm, numbers.brow_y_mm),
        "brow_outer": (numbers.brow_outer_mm, numbers.brow_y_mm),
        "cheek": (numbers.cheek_x_mm, numbers.cheek_y_mm),
        "eye": (numbers.eye_x_mm, 0.0),
        "nose_wing": (numbers.nose_wing_x_mm, 0.9 * numbers.nose_tip_y_mm + 0.1 * numbers.nose_base_y_mm),
        "nasion": (0.0, 0.0),
        "lip_upper": (0.0, numbers.mouth_y_mm + 0.5 * numbers.lip_upper_mm),
        "lip_lower": (0.0, numbers.mouth_y_mm - 0.5 * numbers.lip_lower_mm),
        "mouth_corner": (numbers.mouth_half_width_mm, numbers.mouth_y_mm),
    }


def _actions(plan: SkinPlan, points: Array, person: Person) -> Array:
    """What each action unit does to the skin: (units, n, 3) mm at full intensity."""
    numbers, scale = person.numbers, person.scale
    ways = np.zeros((len(UNITS), len(points), 3))
    above = _above_mouth(plan, numbers)
    anchors = _anchors(numbers)
    front = smooth(np.cos(plan.angle), 0.05, 0.4)
    for field in face_params().action:
        share = above if field.from_ == "lip_upper" else 1.0 - above if field.from_ == "lip_lower" else 1.0
        ways[UNITS.index(field.unit)] += _field(field, anchors[field.from_], points, scale) * (share * front)[:, None]
    jaw = _jaw_share(plan, points, above, numbers, scale)
    ways[UNITS.index("mouth_open")] += jaw_way(points, jaw, scale)
    ways[UNITS.index("lids")] = _lid_ways(plan, numbers, scale)
    return ways


def _field(field: ActionField, anchor: tuple[float, float], points: Array, scale: float) -> Array:
    way = np.zeros((len(points), 3))
    for side in (-1.0, 1.0):
        across = (points[:, 0] - side * (anchor[0] + field.offset_mm[0] * scale)) / (field.spread_mm[0] * scale)
        up = (points[:, 1] - (anchor[1] + field.offset_mm[1] * scale)) / (field.spread_mm[1] * scale)
        share = np.exp(-0.5 * (across**2 + up**2))
        way += share[:, None] * np.array([side * field.way_mm[0], field.way_mm[1], field.way_mm[2]]) * scale
    return way


def _above_mouth(plan: SkinPlan, numbers: HeadParams) -> Array:
    """1 over the mouth, 0 under it, a half beyond its corners."""
    over = np.where(plan.lip != 0, plan.lip, np.sign(plan.y_mm - numbers.mouth_y_mm))
    within = _within_mouth(plan, numbers)
    return np.asarray(0.5 + 0.5 * over * within)


def _within_mouth(plan: SkinPlan, numbers: HeadParams) -> Array:
    """1 in the mouth's middle, 0 from its corners on, so that the open mouth is round."""
    return np.asarray(np.sqrt(np.maximum(1.0 - (plan.x_mm / numbers.mouth_half_width_mm) ** 2, 0.0)))


def _jaw_share(plan: SkinPlan, points: Array, above: Array, numbers: HeadParams, scale: float) -> Array:
    jaw = face_params().jaw
    fade = jaw.fade_mm * scale
    level = smooth(numbers.mouth_y_mm - points[:, 1], -fade, fade)
    within = _within_mouth(plan, numbers)
    near = np.abs(points[:, 1] - numbers.mouth_y_mm) < 4 * numbers.lip_lower_mm
    share = np.where(near, within * (1.0 - above) + (1.0 - within) * level, level)
    share *= smooth(np.abs(points[:, 0]), 1.15 * jaw.side_mm * scale, 0.45 * jaw.side_mm * scale)
    return np.asarray(share * smooth(np.cos(plan.angle), 0.0, 0.3))


def _lid_ways(plan: SkinPlan, numbers: HeadParams, scale: float) -> Array:
    lids = face_params().lids
    way = np.zeros((len(plan.x_mm), 3))
    ring = plan.eye >= 0
    bearing = plan.bearing[ring]
    # The bearing of the upper lid over the same place, in [0, pi].
    over = np.arccos(np.clip(np.cos(bearing), -1.0, 1.0))
    upper, lower = eye_contour(numbers, over), eye_contour(numbers, -over)
    meet = lower + lids.meet_share * (upper - lower)
    own = np.where(np.sin(bearing) >= 0, upper, lower)
    share = 1.0 - plan.offset_mm[ring] / (lids.fold_mm * scale)
    way[ring, 1] = (meet - own) * share
    return way


def _mouth_parts(surface: Surface, points: Array, plan: SkinPlan) -> list[Part]:
    """Teeth or gums, and the tongue."""
    numbers, scale, wear = surface.person.numbers, surface.person.scale, face_params().wear
    front = float(points[plan.openings[0], 2].max()) - wear.teeth_back_mm * scale
    half, y = 0.8 * numbers.mouth_half_width_mm, numbers.mouth_y_mm
    up, low = wear.teeth_show_mm[0] * scale, wear.teeth_show_mm[1] * scale
    patch = "teeth" if numbers.teeth else "gum"

    def ceiling(x: Array, height: Array) -> Array:
        return surface.at(x, height)[:, 2] - wear.teeth_under_skin_mm * scale

    def deep(x: Array, height: Array) -> Array:
        # A smile draws the hollow under the lip up over the tongue.
        return ceiling(x, height) - wear.teeth_under_skin_mm * scale

    pieces = [
        teeth("gum", (y + 13 * scale, y + 6 * scale), front, half, 0.0, ceiling),
        teeth(patch, (y + 6 * scale, y - up), front, half, 0.0, ceiling),
        teeth(patch, (y - up - low, y - 6 * scale), front - 2.5 * scale, 0.92 * half, scale, ceiling),
    ]
    middle = np.array([0.0, y - 5.0 * scale, front - 28.0 * scale])
    return [*pieces, tongue(middle, (0.7 * half, 7.0 * scale, 24.0 * scale), scale, deep)]


def _landmarks(surface: Surface, points: Array, plan: SkinPlan) -> Landmarks:
    numbers = surface.person.numbers
    span = np.linspace(0.0, 1.0, 9)
    arch = numbers.brow_y_mm + numbers.brow_thickness_mm * (
        0.55 * np.sin(np.pi * np.minimum(span * 1.15, 1.0)) - 0.3 * span
    )
    reach = numbers.brow_inner_mm + span * (numbers.brow_outer_mm - numbers.brow_inner_mm)
    n = plan.openings[0].size
    edge = points[plan.openings[0]]
    line = edge[: n // 2 + 1][::-1]
    return Landmarks(
        brows=np.stack([surface.at(-reach, arch), surface.at(reach, arch)]).astype(np.float32),
        lips=points[plan.openings[0] + 3 * n].astype(np.float32),
        lip_line=line.astype(np.float32),
        eyes=np.stack([points[ring] for ring in plan.openings[1:]]).astype(np.float32),
        pupils=np.array(
            [[-numbers.eye_x_mm, 0, edge[:, 2].mean()], [numbers.eye_x_mm, 0, edge[:, 2].mean()]], np.float32
        ),
        nostrils=surface.at(
            np.array([-1.0, 1.0]) * numbers.nostril_x_mm,
            np.full(2, numbers.nose_base_y_mm + 1.5 * surface.person.scale),
        ).astype(np.float32),
        nose_tip=surface.at(np.zeros(1), np.array([numbers.nose_tip_y_mm]))[0].astype(np.float32),
        nasion=surface.at(np.zeros(1), np.zeros(1))[0].astype(np.float32),
        chin=surface.at(np.zeros(1), np.array([numbers.chin_y_mm]))[0].astype(np.float32),
        eye_x_mm=numbers.eye_x_mm,
    )
