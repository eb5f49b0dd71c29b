"""Build the built-in head from `parameters/face.toml`, without mesh files."""

from __future__ import annotations

import numpy as np

from avpenet_cli.errors import SettingsError
from avpenet_cli.phantom.head.clothing import body, ears, hair_or_cap
from avpenet_cli.phantom.head.model import UNITS, AgeGroup, Eyeballs, HeadModel, HeadShape, Index, Landmarks, Look
from avpenet_cli.phantom.head.parts import (
    Part,
    assemble_head,
    eye_socket,
    eyeball,
    jaw_displacement,
    make_part,
    mouth_bag,
    teeth,
    tongue,
)
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
from avpenet_cli.phantom.parameters.face_params import face_params
from avpenet_cli.phantom.parameters.head_params import ActionField, HeadParams


class BuiltInHead:
    """Head model of newborns and adults without mesh files."""

    @property
    def age_groups(self) -> tuple[AgeGroup, ...]:
        """Newborns and adults."""
        return ("neonate", "adult")

    def shape(self, look: Look) -> HeadShape:
        """Build the mesh of a person, about 13,000 vertices; the same look gives the same bytes."""
        if look.age_group not in self.age_groups:
            raise SettingsError(f"no built-in head of age group {look.age_group!r}", "choose neonate or adult")
        person = draw_person(look.age_group, look.identity)
        params, scale = person.params, person.scale
        surface = Surface(person)
        plan = plan_skin(surface)
        points = surface.place(plan.angle, plan.y_mm)
        middles, radius = _eye_middles(surface)
        points = _over_eyeballs(points, plan, middles, radius + face_params().lids.thickness_mm * scale)
        points = _lip_edge(points, plan, scale)
        skin = make_part(
            points, plan.faces, face_px(points.astype(np.float32), params.eye_x_mm), _actions(plan, points, person)
        )
        edge = _edge(skin, plan.openings[0])
        sockets = [eye_socket(_edge(skin, ring)) for ring in plan.openings[1:]]
        pieces = [skin, *sockets, *(eyeball(middle, radius) for middle in middles)]
        pieces += [mouth_bag(edge, params.mouth_y_mm, scale), *_mouth_parts(surface, points, plan)]
        pieces += [*ears(surface), *hair_or_cap(surface, look), *body(surface)]
        lids = tuple(np.flatnonzero(plan.eye == eye).astype(np.int32) for eye in (0, 1))
        return assemble_head(
            pieces,
            face_width_mm=2.0 * float(surface.base(np.array([np.pi / 2]), np.array([params.cheek_y_mm]))[0, 0]),
            landmarks=_landmarks(surface, points, plan),
            eyeballs=Eyeballs(
                middles.astype(np.float32), float(radius + face_params().lids.thickness_mm * scale), (lids[0], lids[1])
            ),
        )


def built_in_head() -> HeadModel:
    """The head model that needs no files."""
    return BuiltInHead()


def _edge(mesh: Part, vertices: Index) -> Part:
    """Selected vertices without triangles."""
    return Part(
        mesh.points_mm[vertices],
        mesh.actions_mm[:, vertices],
        np.zeros((0, 3), np.int32),
        mesh.atlas_px[vertices],
        mesh.rotation_share[vertices],
    )


def _eye_middles(surface: Surface) -> tuple[Array, float]:
    params = surface.person.params
    x = np.array([-params.eye_x_mm, params.eye_x_mm])
    pupils = surface.at(x, np.zeros(2))
    radius = params.eyeball_radius_mm
    return np.stack([x, np.zeros(2), pupils[:, 2] + params.eye_forward_mm - radius], 1), radius


def _over_eyeballs(points: Array, plan: SkinPlan, middles: Array, radius: float) -> Array:
    """Move the lids onto the eyeballs."""
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
    """Roll the lips inward at the line where they meet."""
    points = points.copy()
    ring = plan.openings[0]
    points[ring, 2] -= face_params().accessories.lip_roll_mm * scale
    return points


def _anchors(params: HeadParams) -> dict[str, tuple[float, float]]:
    return {
        "brow_inner": (params.brow_inner_mm, params.brow_y_mm),
        "brow_outer": (params.brow_outer_mm, params.brow_y_mm),
        "cheek": (params.cheek_x_mm, params.cheek_y_mm),
        "eye": (params.eye_x_mm, 0.0),
        "nose_wing": (params.nose_wing_x_mm, 0.9 * params.nose_tip_y_mm + 0.1 * params.nose_base_y_mm),
        "nasion": (0.0, 0.0),
        "lip_upper": (0.0, params.mouth_y_mm + 0.5 * params.lip_upper_mm),
        "lip_lower": (0.0, params.mouth_y_mm - 0.5 * params.lip_lower_mm),
        "mouth_corner": (params.mouth_half_width_mm, params.mouth_y_mm),
    }


def _actions(plan: SkinPlan, points: Array, person: Person) -> Array:
    """Displacement of the skin by each action unit at full intensity: (units, n, 3) mm."""
    params, scale = person.params, person.scale
    displacements = np.zeros((len(UNITS), len(points), 3))
    above = _above_mouth(plan, params)
    anchors = _anchors(params)
    front = smooth(np.cos(plan.angle), 0.05, 0.4)
    for field in face_params().action:
        share = above if field.from_ == "lip_upper" else 1.0 - above if field.from_ == "lip_lower" else 1.0
        displacements[UNITS.index(field.unit)] += (
            _field(field, anchors[field.from_], points, scale) * (share * front)[:, None]
        )
    jaw = _jaw_share(plan, points, above, params, scale)
    displacements[UNITS.index("mouth_open")] += jaw_displacement(points, jaw, scale)
    displacements[UNITS.index("lids")] = _lid_displacements(plan, params, scale)
    return displacements


def _field(field: ActionField, anchor: tuple[float, float], points: Array, scale: float) -> Array:
    displacement = np.zeros((len(points), 3))
    for side in (-1.0, 1.0):
        across = (points[:, 0] - side * (anchor[0] + field.offset_mm[0] * scale)) / (field.spread_mm[0] * scale)
        up = (points[:, 1] - (anchor[1] + field.offset_mm[1] * scale)) / (field.spread_mm[1] * scale)
        share = np.exp(-0.5 * (across**2 + up**2))
        displacement += (
            share[:, None]
            * np.array([side * field.displacement_mm[0], field.displacement_mm[1], field.displacement_mm[2]])
            * scale
        )
    return displacement


def _above_mouth(plan: SkinPlan, params: HeadParams) -> Array:
    """1 above the mouth, 0 below it, 0.5 beyond its corners."""
    over = np.where(plan.lip != 0, plan.lip, np.sign(plan.y_mm - params.mouth_y_mm))
    within = _within_mouth(plan, params)
    return np.asarray(0.5 + 0.5 * over * within)


def _within_mouth(plan: SkinPlan, params: HeadParams) -> Array:
    """1 in the middle of the mouth, 0 from its corners on, so that the open mouth is round."""
    return np.asarray(np.sqrt(np.maximum(1.0 - (plan.x_mm / params.mouth_half_width_mm) ** 2, 0.0)))


def _jaw_share(plan: SkinPlan, points: Array, above: Array, params: HeadParams, scale: float) -> Array:
    jaw = face_params().jaw
    fade = jaw.fade_mm * scale
    level = smooth(params.mouth_y_mm - points[:, 1], -fade, fade)
    within = _within_mouth(plan, params)
    near = np.abs(points[:, 1] - params.mouth_y_mm) < 4 * params.lip_lower_mm
    share = np.where(near, within * (1.0 - above) + (1.0 - within) * level, level)
    share *= smooth(np.abs(points[:, 0]), 1.15 * jaw.side_mm * scale, 0.45 * jaw.side_mm * scale)
    return np.asarray(share * smooth(np.cos(plan.angle), 0.0, 0.3))


def _lid_displacements(plan: SkinPlan, params: HeadParams, scale: float) -> Array:
    lids = face_params().lids
    displacement = np.zeros((len(plan.x_mm), 3))
    ring = plan.eye >= 0
    bearing = plan.bearing[ring]
    # Bearing of the upper lid at the same x, in [0, pi].
    over = np.arccos(np.clip(np.cos(bearing), -1.0, 1.0))
    upper, lower = eye_contour(params, over), eye_contour(params, -over)
    meet = lower + lids.meet_share * (upper - lower)
    own = np.where(np.sin(bearing) >= 0, upper, lower)
    share = 1.0 - plan.offset_mm[ring] / (lids.fold_mm * scale)
    displacement[ring, 1] = (meet - own) * share
    return displacement


def _mouth_parts(surface: Surface, points: Array, plan: SkinPlan) -> list[Part]:
    """Teeth or gums, and the tongue."""
    params, scale, accessories = surface.person.params, surface.person.scale, face_params().accessories
    front = float(points[plan.openings[0], 2].max()) - accessories.teeth_back_mm * scale
    half, y = 0.8 * params.mouth_half_width_mm, params.mouth_y_mm
    up, low = accessories.teeth_show_mm[0] * scale, accessories.teeth_show_mm[1] * scale
    patch = "teeth" if params.teeth else "gum"

    def ceiling(x: Array, height: Array) -> Array:
        return surface.at(x, height)[:, 2] - accessories.teeth_under_skin_mm * scale

    def deep(x: Array, height: Array) -> Array:
        # A smile pulls the hollow below the lip up over the tongue.
        return ceiling(x, height) - accessories.teeth_under_skin_mm * scale

    pieces = [
        teeth("gum", (y + 13 * scale, y + 6 * scale), front, half, 0.0, ceiling),
        teeth(patch, (y + 6 * scale, y - up), front, half, 0.0, ceiling),
        teeth(patch, (y - up - low, y - 6 * scale), front - 2.5 * scale, 0.92 * half, scale, ceiling),
    ]
    middle = np.array([0.0, y - 5.0 * scale, front - 28.0 * scale])
    return [*pieces, tongue(middle, (0.7 * half, 7.0 * scale, 24.0 * scale), scale, deep)]


def _landmarks(surface: Surface, points: Array, plan: SkinPlan) -> Landmarks:
    params = surface.person.params
    span = np.linspace(0.0, 1.0, 9)
    arch = params.brow_y_mm + params.brow_thickness_mm * (
        0.55 * np.sin(np.pi * np.minimum(span * 1.15, 1.0)) - 0.3 * span
    )
    reach = params.brow_inner_mm + span * (params.brow_outer_mm - params.brow_inner_mm)
    n = plan.openings[0].size
    edge = points[plan.openings[0]]
    line = edge[: n // 2 + 1][::-1]
    return Landmarks(
        brows=np.stack([surface.at(-reach, arch), surface.at(reach, arch)]).astype(np.float32),
        lips=points[plan.openings[0] + 3 * n].astype(np.float32),
        lip_line=line.astype(np.float32),
        eyes=np.stack([points[ring] for ring in plan.openings[1:]]).astype(np.float32),
        pupils=np.array(
            [[-params.eye_x_mm, 0, edge[:, 2].mean()], [params.eye_x_mm, 0, edge[:, 2].mean()]], np.float32
        ),
        nostrils=surface.at(
            np.array([-1.0, 1.0]) * params.nostril_x_mm,
            np.full(2, params.nose_base_y_mm + 1.5 * surface.person.scale),
        ).astype(np.float32),
        nose_tip=surface.at(np.zeros(1), np.array([params.nose_tip_y_mm]))[0].astype(np.float32),
        nasion=surface.at(np.zeros(1), np.zeros(1))[0].astype(np.float32),
        chin=surface.at(np.zeros(1), np.array([params.chin_y_mm]))[0].astype(np.float32),
        eye_x_mm=params.eye_x_mm,
    )
