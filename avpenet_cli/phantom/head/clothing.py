"""What surrounds the built-in face: ears, hair or cap, neck, gown or blanket."""

from __future__ import annotations

import numpy as np

from avpenet_cli.phantom.head.model import Look
from avpenet_cli.phantom.head.parts import Part, grid_faces, part
from avpenet_cli.phantom.head.surface import Array, Surface, draw_person, hairline_mm, smooth
from avpenet_cli.phantom.head.texture_atlas import face_px, patch_px
from avpenet_cli.phantom.parameters.face_params import face_params


def ears(surface: Surface) -> list[Part]:
    """Both ears: a rim round a hollow, standing out and back from the head."""
    numbers, scale = surface.person.numbers, surface.person.scale
    wear = face_params().wear
    out, turn = np.meshgrid(np.linspace(0.0, 1.0, 7), np.linspace(0, 2 * np.pi, 20, endpoint=False), indexing="ij")
    along = out * np.cos(turn) * numbers.ear_half_width_mm * np.where(np.sin(turn) < 0, 0.8, 1.0)
    up = out * np.sin(turn) * numbers.ear_half_height_mm
    # A rim near the edge, hollow towards the canal, closed down to the head outside the rim.
    rise = wear.ear_rim_mm * scale * (np.exp(-(((out - 0.78) / 0.14) ** 2)) - 0.55 * np.exp(-((out / 0.4) ** 2)))
    pieces = []
    for side in (-1.0, 1.0):
        middle = surface.place(np.array([side * np.deg2rad(wear.ear_angle_deg)]), np.array([numbers.ear_y_mm]))[0]
        flare = np.deg2rad(wear.ear_flare_deg)
        # `along` runs to the back of the head.
        x = side * (np.sin(flare) * along + np.cos(flare) * rise)
        z = -np.cos(flare) * along + np.sin(flare) * rise
        points = middle + np.stack([x + side * wear.ear_out_mm * scale, up, z], -1).reshape(-1, 3)
        faces = grid_faces(7, 20, closed=True)
        faces = faces if side > 0 else faces[:, ::-1]
        places = face_px(points.astype(np.float32), numbers.eye_x_mm)
        pieces.append(part(points, faces, places))
    return pieces


def hair_or_cap(surface: Surface, look: Look) -> list[Part]:
    """A layer over the skull down to the hairline, or to a cap's edge; nothing for a bare head."""
    hair = look.hair
    if hair == "none":
        return []
    numbers, scale, wear = surface.person.numbers, surface.person.scale, face_params().wear
    rows, columns = 26, 72
    angle = np.linspace(-np.pi, np.pi, columns)
    rng = np.random.default_rng([look.identity, 31])
    edge = hairline_mm(numbers, hair, angle)
    if hair != "cap":
        edge = edge + _hairline(rng, angle) * wear.hairline_vary_mm * scale
    top = surface.length_mm
    down = np.linspace(0.0, 1.0, rows)[:, None]
    along = top - down * (top - surface.along(edge))[None, :]
    turn = np.broadcast_to(angle, along.shape)
    height = surface.height(along.ravel())
    base = surface.base(turn.ravel(), height)
    thick = (wear.cap_mm if hair == "cap" else wear.hair_mm[0 if hair == "short" else 1]) * scale
    if hair == "cap":
        # The rolled brim.
        lift = thick * (1.0 + wear.brim_share * (down > 0.86)) * np.ones_like(along)
        lift[-1] = 0.0
    else:
        lift = thick * smooth(1.0 - down, -0.02, 0.25) * (1.0 + rng.normal(0.0, 0.06, along.shape))
        lift = np.maximum(lift, wear.hair_least_mm * scale)
    outward = base - np.array([0.0, numbers.brow_y_mm * 0.5, 0.0])
    outward /= np.linalg.norm(outward, axis=1, keepdims=True)
    points = base + outward * lift.ravel()[:, None]
    patch = "cap" if hair == "cap" else "hair"
    atlas = patch_px(patch, (turn.ravel() / (2 * np.pi) + 0.5), np.broadcast_to(down, along.shape).ravel())
    pieces = [part(points, grid_faces(rows, columns), atlas)]
    if hair == "long":
        pieces += _curtain(surface, edge, angle)
    return pieces


def _hairline(rng: np.random.Generator, angle: Array) -> Array:
    """What is one's own of a hairline: slow waves and tufts, the same at both ends of the angle."""
    waves = [rng.normal(0.0, 1.0 / k) * np.cos(k * angle + rng.uniform(0, 2 * np.pi)) for k in (2, 3, 5, 8)]
    tufts = rng.normal(0.0, 0.22, angle.size)
    tufts[-1] = tufts[0]
    return np.asarray(sum(waves) * 0.6 + tufts)


def _curtain(surface: Surface, edge: Array, angle: Array) -> list[Part]:
    """Long hair hanging behind the ears."""
    numbers, scale, wear = surface.person.numbers, surface.person.scale, face_params().wear
    behind = np.linspace(np.deg2rad(wear.curtain_from_deg), 2 * np.pi - np.deg2rad(wear.curtain_from_deg), 40)
    down = np.linspace(0.0, 1.0, 10)[:, None]
    wrapped = np.where(behind > np.pi, behind - 2 * np.pi, behind)
    start = np.interp(wrapped, angle, edge) + 30.0 * scale
    y = start + down * (numbers.neck_bottom_mm - start)
    turn = np.broadcast_to(wrapped, y.shape)
    section = surface.base(turn.ravel(), np.maximum(y.ravel(), numbers.ear_y_mm))
    section[:, 1] = y.ravel()
    section *= np.array([1.12, 1.0, 1.08])
    atlas = patch_px(
        "hair", behind[None, :].repeat(10, 0).ravel() / (2 * np.pi), np.broadcast_to(down, y.shape).ravel()
    )
    faces = grid_faces(10, 40)
    follows = 1.0 - 0.5 * np.broadcast_to(down, y.shape).ravel()
    # Two pieces, since each side has normals of its own.
    return [part(section, side, atlas, follows=follows) for side in (faces, faces[:, ::-1])]


def gown_below(chin_y_mm: float, look: Look, rise_mm: float = 0.0) -> Part:
    """The built-in gown for another head, as far below its chin but for `rise_mm`."""
    surface = Surface(draw_person(look.age_group, look.identity))
    gown = body(surface)[1]
    gown.points_mm[:, 1] += rise_mm + chin_y_mm - surface.person.numbers.chin_y_mm
    return gown


def body(surface: Surface) -> list[Part]:
    """Neck, and shoulders under a gown or blanket; they take little part in the head's turning."""
    numbers, scale, wear = surface.person.numbers, surface.person.scale, face_params().wear
    turn = np.linspace(-np.pi, np.pi, 40)
    down = np.linspace(0.0, 1.0, 8)[:, None]
    y = numbers.neck_top_mm + down * (numbers.neck_bottom_mm - numbers.neck_top_mm)
    swell = 1.0 + wear.neck_swell * smooth(down, 0.55, 1.0)
    x = numbers.neck_half_width_mm * swell * np.sin(turn)
    z = numbers.neck_z_mm + numbers.neck_depth_mm * swell * np.cos(turn)
    points = np.stack([x, np.broadcast_to(y, x.shape), z], -1).reshape(-1, 3)
    follows = np.broadcast_to(1.0 - 0.75 * smooth(down, 0.0, 0.8), x.shape).ravel()
    places = patch_px("body", np.full(len(points), 0.5), np.broadcast_to(down, x.shape).ravel())
    neck = part(points, grid_faces(8, 40), places, follows=follows)

    down = np.linspace(0.0, 1.0, 14)[:, None]
    spread = np.sqrt(np.clip(1.0 - (1.0 - down) ** 2, 0.0, 1.0))
    # The first row is turned in, so that nobody looks down the collar.
    spread[0] = -wear.collar_in
    inner = numbers.neck_half_width_mm * wear.collar
    x = (inner + (numbers.shoulder_half_width_mm - inner) * spread) * np.sin(turn)
    depth = numbers.neck_depth_mm * wear.collar
    z = numbers.neck_z_mm + (depth + (wear.chest_share * numbers.shoulder_half_width_mm - depth) * spread) * np.cos(
        turn
    )
    top = numbers.neck_bottom_mm + wear.collar_rise_mm * scale
    y = top - wear.slope * numbers.shoulder_half_width_mm * down**1.6
    y[-1] -= wear.gown_length_mm * scale
    y[0] -= wear.collar_rise_mm * scale
    points = np.stack([x, np.broadcast_to(y, x.shape), z], -1).reshape(-1, 3)
    atlas = patch_px(
        "cloth", np.broadcast_to(turn / (2 * np.pi) + 0.5, x.shape).ravel(), np.broadcast_to(down, x.shape).ravel()
    )
    gown = part(points, grid_faces(14, 40), atlas, follows=np.full(len(points), wear.body_follows))
    return [neck, gown]
