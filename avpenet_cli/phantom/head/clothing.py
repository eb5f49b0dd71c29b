"""Ears, hair or cap, neck, and gown or blanket of the built-in head."""

from __future__ import annotations

import numpy as np

from avpenet_cli.phantom.head.model import Look
from avpenet_cli.phantom.head.parts import Part, grid_faces, make_part
from avpenet_cli.phantom.head.surface import Array, Surface, draw_person, hairline_mm, smooth
from avpenet_cli.phantom.head.texture_atlas import face_px, patch_px
from avpenet_cli.phantom.parameters.face_params import face_params


def ears(surface: Surface) -> list[Part]:
    """Both ears: a rim around a hollow, protruding outward and backward from the head."""
    params, scale = surface.person.params, surface.person.scale
    accessories = face_params().accessories
    out, turn = np.meshgrid(np.linspace(0.0, 1.0, 7), np.linspace(0, 2 * np.pi, 20, endpoint=False), indexing="ij")
    along = out * np.cos(turn) * params.ear_half_width_mm * np.where(np.sin(turn) < 0, 0.8, 1.0)
    up = out * np.sin(turn) * params.ear_half_height_mm
    # A rim near the edge, a hollow towards the canal, and the transition to the head outside the rim.
    rise = accessories.ear_rim_mm * scale * (np.exp(-(((out - 0.78) / 0.14) ** 2)) - 0.55 * np.exp(-((out / 0.4) ** 2)))
    pieces = []
    for side in (-1.0, 1.0):
        middle = surface.place(np.array([side * np.deg2rad(accessories.ear_angle_deg)]), np.array([params.ear_y_mm]))[0]
        flare = np.deg2rad(accessories.ear_flare_deg)
        # `along` points to the back of the head.
        x = side * (np.sin(flare) * along + np.cos(flare) * rise)
        z = -np.cos(flare) * along + np.sin(flare) * rise
        points = middle + np.stack([x + side * accessories.ear_out_mm * scale, up, z], -1).reshape(-1, 3)
        faces = grid_faces(7, 20, closed=True)
        faces = faces if side > 0 else faces[:, ::-1]
        places = face_px(points.astype(np.float32), params.eye_x_mm)
        pieces.append(make_part(points, faces, places))
    return pieces


def hair_or_cap(surface: Surface, look: Look) -> list[Part]:
    """A layer over the skull down to the hairline or the cap's edge; empty for a bare head."""
    hair = look.hair
    if hair == "none":
        return []
    params, scale, accessories = surface.person.params, surface.person.scale, face_params().accessories
    rows, columns = 26, 72
    angle = np.linspace(-np.pi, np.pi, columns)
    rng = np.random.default_rng([look.identity, 31])
    edge = hairline_mm(params, hair, angle)
    if hair != "cap":
        edge = edge + _hairline(rng, angle) * accessories.hairline_vary_mm * scale
    top = surface.length_mm
    down = np.linspace(0.0, 1.0, rows)[:, None]
    along = top - down * (top - surface.along(edge))[None, :]
    turn = np.broadcast_to(angle, along.shape)
    height = surface.height(along.ravel())
    base = surface.base(turn.ravel(), height)
    thick = (accessories.cap_mm if hair == "cap" else accessories.hair_mm[0 if hair == "short" else 1]) * scale
    if hair == "cap":
        # The rolled brim of the cap.
        lift = thick * (1.0 + accessories.brim_share * (down > 0.86)) * np.ones_like(along)
        lift[-1] = 0.0
    else:
        lift = thick * smooth(1.0 - down, -0.02, 0.25) * (1.0 + rng.normal(0.0, 0.06, along.shape))
        lift = np.maximum(lift, accessories.hair_min_mm * scale)
    outward = base - np.array([0.0, params.brow_y_mm * 0.5, 0.0])
    outward /= np.linalg.norm(outward, axis=1, keepdims=True)
    points = base + outward * lift.ravel()[:, None]
    patch = "cap" if hair == "cap" else "hair"
    atlas = patch_px(patch, (turn.ravel() / (2 * np.pi) + 0.5), np.broadcast_to(down, along.shape).ravel())
    pieces = [make_part(points, grid_faces(rows, columns), atlas)]
    if hair == "long":
        pieces += _curtain(surface, edge, angle)
    return pieces


def _hairline(rng: np.random.Generator, angle: Array) -> Array:
    """Individual variation of the hairline: waves and tufts, continuous at both ends of the angle."""
    waves = [rng.normal(0.0, 1.0 / k) * np.cos(k * angle + rng.uniform(0, 2 * np.pi)) for k in (2, 3, 5, 8)]
    tufts = rng.normal(0.0, 0.22, angle.size)
    tufts[-1] = tufts[0]
    return np.asarray(sum(waves) * 0.6 + tufts)


def _curtain(surface: Surface, edge: Array, angle: Array) -> list[Part]:
    """Long hair behind the ears."""
    params, scale, accessories = surface.person.params, surface.person.scale, face_params().accessories
    behind = np.linspace(
        np.deg2rad(accessories.curtain_from_deg), 2 * np.pi - np.deg2rad(accessories.curtain_from_deg), 40
    )
    down = np.linspace(0.0, 1.0, 10)[:, None]
    wrapped = np.where(behind > np.pi, behind - 2 * np.pi, behind)
    start = np.interp(wrapped, angle, edge) + 30.0 * scale
    y = start + down * (params.neck_bottom_mm - start)
    turn = np.broadcast_to(wrapped, y.shape)
    section = surface.base(turn.ravel(), np.maximum(y.ravel(), params.ear_y_mm))
    section[:, 1] = y.ravel()
    section *= np.array([1.12, 1.0, 1.08])
    atlas = patch_px(
        "hair", behind[None, :].repeat(10, 0).ravel() / (2 * np.pi), np.broadcast_to(down, y.shape).ravel()
    )
    faces = grid_faces(10, 40)
    rotation_share = 1.0 - 0.5 * np.broadcast_to(down, y.shape).ravel()
    # Two parts, since the normals of the two sides differ.
    return [make_part(section, side, atlas, rotation_share=rotation_share) for side in (faces, faces[:, ::-1])]


def gown_below(chin_y_mm: float, look: Look, rise_mm: float = 0.0) -> Part:
    """The built-in gown for another head, at the same distance below its chin, raised by `rise_mm`."""
    surface = Surface(draw_person(look.age_group, look.identity))
    gown = body(surface)[1]
    gown.points_mm[:, 1] += rise_mm + chin_y_mm - surface.person.params.chin_y_mm
    return gown


def body(surface: Surface) -> list[Part]:
    """Neck, and shoulders under a gown or blanket; they follow little of the head's rotation."""
    params, scale, accessories = surface.person.params, surface.person.scale, face_params().accessories
    turn = np.linspace(-np.pi, np.pi, 40)
    down = np.linspace(0.0, 1.0, 8)[:, None]
    y = params.neck_top_mm + down * (params.neck_bottom_mm - params.neck_top_mm)
    swell = 1.0 + accessories.neck_swell * smooth(down, 0.55, 1.0)
    x = params.neck_half_width_mm * swell * np.sin(turn)
    z = params.neck_z_mm + params.neck_depth_mm * swell * np.cos(turn)
    points = np.stack([x, np.broadcast_to(y, x.shape), z], -1).reshape(-1, 3)
    rotation_share = np.broadcast_to(1.0 - 0.75 * smooth(down, 0.0, 0.8), x.shape).ravel()
    places = patch_px("body", np.full(len(points), 0.5), np.broadcast_to(down, x.shape).ravel())
    neck = make_part(points, grid_faces(8, 40), places, rotation_share=rotation_share)

    down = np.linspace(0.0, 1.0, 14)[:, None]
    spread = np.sqrt(np.clip(1.0 - (1.0 - down) ** 2, 0.0, 1.0))
    # The first row is turned inward to close the collar.
    spread[0] = -accessories.collar_in
    inner = params.neck_half_width_mm * accessories.collar
    x = (inner + (params.shoulder_half_width_mm - inner) * spread) * np.sin(turn)
    depth = params.neck_depth_mm * accessories.collar
    z = params.neck_z_mm + (
        depth + (accessories.chest_share * params.shoulder_half_width_mm - depth) * spread
    ) * np.cos(turn)
    top = params.neck_bottom_mm + accessories.collar_rise_mm * scale
    y = top - accessories.slope * params.shoulder_half_width_mm * down**1.6
    y[-1] -= accessories.gown_length_mm * scale
    y[0] -= accessories.collar_rise_mm * scale
    points = np.stack([x, np.broadcast_to(y, x.shape), z], -1).reshape(-1, 3)
    atlas = patch_px(
        "cloth", np.broadcast_to(turn / (2 * np.pi) + 0.5, x.shape).ravel(), np.broadcast_to(down, x.shape).ravel()
    )
    gown = make_part(
        points, grid_faces(14, 40), atlas, rotation_share=np.full(len(points), accessories.body_rotation_share)
    )
    return [neck, gown]
