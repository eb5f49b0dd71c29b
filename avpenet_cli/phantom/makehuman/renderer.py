"""Render frames of a photographic MakeHuman person."""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np
import numpy.typing as npt
from scipy import sparse
from scipy.spatial import cKDTree

from avpenet_cli.phantom.face.ambient_occlusion import directional_visibility, vertex_incidence, vertex_normals
from avpenet_cli.phantom.face.covers import Cover, place_hand, with_cover
from avpenet_cli.phantom.face.projection import (
    Frame,
    Light,
    View,
    blurred,
    bounds,
    check_background,
    encode,
    light_direction,
    projected,
    rotated,
    rotation,
    srgb_table,
)
from avpenet_cli.phantom.face.skin import flush, luminance, skin_albedo
from avpenet_cli.phantom.head.model import Expression, Float, HeadShape, Index, Look
from avpenet_cli.phantom.head.rasterizer import find_fragments, nearest
from avpenet_cli.phantom.makehuman.blending import blend, blend_order, corner_rows, interpolated
from avpenet_cli.phantom.makehuman.head import CLOTH, EYE, HAIR, INSIDE, SKIN, TEETH, PhotographicHead
from avpenet_cli.phantom.makehuman.layout import Image
from avpenet_cli.phantom.makehuman.regions import WRINKLE_REDUCTION, limited_weights, wrinkle_weights
from avpenet_cli.phantom.makehuman.textures import linear_table, sample
from avpenet_cli.phantom.parameters.face_params import face_params

_NO_COVER = Cover()
_SLACK_PX = 0.02
_BEHIND_LIPS_MM = 3.0
"""Added to the distance of the inside of the mouth in the depth test, so that it never comes through the skin."""
_OVER_SKIN_MM = 1.0
"""Taken from the distance of hair and lashes, which lie on the skin."""


@dataclass(frozen=True)
class _Mesh:
    """A head with its cover, and what does not depend on expression and view.

    Attributes:
        shape: head with its cover.
        corner_px: (m, 3, 2) pixels of the atlas of each opaque triangle's corners.
        every: (m + k, 3) int32 opaque and sheer triangles.
        incidence: (n, m + k) sparse, 1 where a triangle has the vertex.
        material: (n,) int8.
        sees: (n, directions) float32, cosine to each direction where it is free, otherwise 0.
        cosine: (n,) sums of all cosines; `directions` (directions, 3).
        sky: (n,) float32 share of the surroundings that each vertex sees.
    """

    shape: HeadShape
    corner_px: Float
    every: Index
    incidence: sparse.csr_array
    material: npt.NDArray[np.int8]
    sees: Float
    cosine: Float
    directions: Float
    sky: Float


class PhotographicRenderer:
    """Renders a person; see `FaceRenderer`.

    Args:
        head: the person.
        look: appearance, for its skin tone.
    """

    def __init__(self, head: PhotographicHead, look: Look) -> None:
        self._head = head
        self._meshes = {_NO_COVER: self._prepared(head.shape, head.corner_px, head.material)}
        self._pyramid = [head.atlas]
        for _ in range(2):
            size = tuple(side // 2 for side in self._pyramid[-1].shape[1::-1])
            self._pyramid.append(np.asarray(cv2.resize(self._pyramid[-1], size, interpolation=cv2.INTER_AREA)))
        self._linear = linear_table()
        self._codes = srgb_table()
        self._decode = _decoded(self._codes)
        params = face_params().light
        middle, tone = luminance(skin_albedo(5, "adult")), luminance(skin_albedo(look.skin_tone, look.age_group))
        self._exposure = params.exposure * (middle / tone) ** params.exposure_compensation
        shape = head.shape
        skin = np.flatnonzero(head.material == SKIN)
        marks = np.concatenate([shape.landmarks.nose_tip[None], shape.landmarks.lip_line[[0, -1]]])
        self._marks = skin[cKDTree(shape.neutral_mm[skin]).query(marks)[1]]
        self._texel_mm = _texel_mm(shape, head)

    def _prepared(self, shape: HeadShape, corner_px: Float, material: npt.NDArray[np.int8]) -> _Mesh:
        every = np.concatenate([shape.faces, self._head.sheer])
        incidence = vertex_incidence(every, len(shape.neutral_mm))
        normals = vertex_normals(shape.neutral_mm, every, incidence)
        hair = material >= HAIR
        normals[hair] = _outward(shape, hair)
        hides = every[(material[every[:, 0]] == SKIN) | (material[every[:, 0]] == HAIR)]
        head = shape.neutral_mm[(material == SKIN) & (shape.rotation_share > 0.5)]
        seen = list(directional_visibility(shape.neutral_mm, hides, head))
        directions = np.stack([direction for direction, _ in seen]).astype(np.float32)
        cosine = np.maximum(normals @ directions.T, 0.0) + np.float32(0.02)
        sees = cosine * np.stack([visible for _, visible in seen], 1)
        near = incidence @ np.full(len(every), 3.0, np.float32)
        for _ in range(face_params().light.occlusion_smoothing):
            sees = np.asarray(incidence @ (incidence.T @ sees) / np.maximum(near, 1.0)[:, None], np.float32)
        sky = np.clip(sees.sum(1) / cosine.sum(1), 0.0, 1.0).astype(np.float32)
        return _Mesh(shape, corner_px, every, incidence, material, sees.astype(np.float32), cosine, directions, sky)

    def _mesh(self, cover: Cover) -> _Mesh:
        # The position of a hand is not part of its mesh.
        own = replace(cover, at=_NO_COVER.at, turn_deg=_NO_COVER.turn_deg) if cover.kind == "hand" else cover
        if own not in self._meshes:
            bare = self._meshes[_NO_COVER]
            shape = with_cover(bare.shape, own)
            more = shape.faces[len(bare.shape.faces) :]
            corner_px = np.concatenate([bare.corner_px, shape.atlas_px[more]])
            extra = np.full(len(shape.neutral_mm) - len(bare.shape.neutral_mm), CLOTH, np.int8)
            every = np.concatenate([shape.faces, self._head.sheer])
            self._meshes[own] = _Mesh(
                shape,
                corner_px,
                every,
                vertex_incidence(every, len(shape.neutral_mm)),
                np.concatenate([bare.material, extra]),
                np.concatenate([bare.sees, np.ones((extra.size, bare.sees.shape[1]), np.float32)]),
                np.concatenate([bare.cosine, np.ones((extra.size, bare.sees.shape[1]), np.float32)]),
                bare.directions,
                np.concatenate([bare.sky, np.ones(extra.size, np.float32)]),
            )
        return self._meshes[own]

    def landmarks_px(self, expression: Expression, view: View) -> Float:
        """Where the landmarks of a face detector are: (5, 2) float32; see `FaceRenderer`."""
        shape = self._head.shape
        forward = np.array([0.0, 0.0, shape.eyeballs.radius_mm], np.float32)
        moved = shape.moved(limited_weights(expression))[self._marks]
        points = np.concatenate([shape.eyeballs.centres_mm + forward, moved])
        return projected(rotated(points, np.ones(len(points), np.float32), view), shape.face_width_mm, view)[:, :2]

    def frame(self, expression: Expression, view: View, background: Frame, cover: Cover = _NO_COVER) -> Frame:
        """Render one frame: (height, width, 3) uint8 RGB; see `FaceRenderer`."""
        check_background(background, view)
        mesh = self._mesh(cover)
        shape = mesh.shape
        vertices = shape.moved(limited_weights(expression))
        if cover.kind == "hand":
            vertices = place_hand(vertices, self._head.shape, cover)
        turned = rotated(vertices, shape.rotation_share, view)
        points = projected(turned, shape.face_width_mm, view)
        frame = background.copy()
        left, top, right, bottom = bounds(points, view)
        if right <= left or bottom <= top:
            return frame
        points[:, :2] -= np.array([left, top], np.float32)
        size = (right - left, bottom - top)
        normals = vertex_normals(turned, mesh.every, mesh.incidence)
        hair = mesh.material >= HAIR
        normals[hair] = (
            _outward(self._head.shape, hair[: len(self._head.shape.neutral_mm)])
            @ rotation(view.yaw_deg, view.pitch_deg, view.roll_deg).T
        )
        sun, sky = self._light(mesh, view)
        sky, sun = self._in_openings(mesh, vertices, sky, sun)
        canvas = np.zeros((size[0] * size[1], 3), np.float32)
        touched = np.zeros(len(canvas), bool)
        lit = _Lit(self._shaded(mesh, normals, sun, sky, view.light), normals, view)
        depth = self._opaque(canvas, touched, mesh, points, lit, expression, size)
        flat = frame[top:bottom, left:right].reshape(-1, 3)
        self._sheer(canvas, touched, flat, mesh, points, lit, depth, size)
        at = np.flatnonzero(touched)
        flat[at] = encode(canvas[at], self._codes)
        frame[top:bottom, left:right] = blurred(flat.reshape(size[1], size[0], 3))
        return frame

    # --- light --------------------------------------------------------------------------------------------------------

    def _light(self, mesh: _Mesh, view: View) -> tuple[Float, Float]:
        """Share of the source, and of the surroundings, that each vertex of the head sees: (n,) and (n,)."""
        direction = rotation(view.yaw_deg, view.pitch_deg, view.roll_deg).T @ light_direction(view.light)
        # A source as wide as a window: the directions around it count, the nearer the more.
        share = np.exp(face_params().photographic.shadow_sharpness * (mesh.directions @ direction - 1.0))
        share = share.astype(np.float32)
        sun = (mesh.sees @ share) / np.maximum(mesh.cosine @ share, 1e-4)
        return np.clip(sun, 0.0, 1.0), mesh.sky

    def _in_openings(self, mesh: _Mesh, vertices: Float, sky: Float, sun: Float) -> tuple[Float, Float]:
        """Light between the lids and in the open mouth, which the neutral face of `sky` and `sun` does not have."""
        inside = np.flatnonzero((mesh.material == INSIDE) | (mesh.material == TEETH))
        sky, sun = sky.copy(), sun.copy()
        params = face_params().photographic
        eye = mesh.material == EYE
        sky[eye] += params.eye_light * (1.0 - sky[eye])
        sun[eye] += params.eye_light * (1.0 - sun[eye])
        if inside.size:
            scale = self._head.shape.landmarks.eye_x_mm / face_params().adult.eye_x_mm
            depth = vertices[self._marks[0], 2] - params.lips_behind_nose_mm * scale - vertices[inside, 2]
            share = np.exp(-np.maximum(depth, 0.0) / (params.mouth_dark_mm * scale)) * params.mouth_light + 0.06
            sky[inside], sun[inside] = share, 0.6 * share
        return sky, sun

    def _shaded(self, mesh: _Mesh, normal: Float, sun: Float, sky: Float, light: Light) -> Float:
        """Light of each vertex: diffuse RGB, specular, and that of the source alone: (n, 5) float32."""
        params, own = face_params().light, face_params().photographic
        direction = light_direction(light)
        skin = (mesh.material == SKIN)[:, None]
        wrap = np.where(skin, np.array(own.wrap, np.float32), np.float32(0.12))
        direct = np.maximum(((normal @ direction)[:, None] + wrap) / (1.0 + wrap), 0.0)
        room = 0.5 * (1 + params.ground_share) + 0.5 * (1 - params.ground_share) * normal[:, 1]
        share = params.ambient * 2.0 * (1.0 - light.contrast)
        # Light that scatters in skin reddens the edge of a shadow and its own hollows.
        shadow = sun[:, None] ** np.where(skin, np.array(own.shadow, np.float32), np.float32(1.0))
        hollow = sky[:, None] ** np.where(skin, np.array(own.hollow, np.float32), np.float32(1.0))
        gain = np.full(len(normal), light.intensity * self._exposure, np.float32)
        # A camera that exposes for dark skin would show teeth, eyes and white hair as white as paper.
        bright = (mesh.material == TEETH) | (mesh.material == EYE) | (mesh.material == HAIR)
        gain[bright] *= (params.exposure / self._exposure) ** own.bright_compensation
        glance = np.maximum(normal @ half_way(direction), 0.0)
        shine = own.shine_broad * glance**12 + own.shine_narrow * glance**36
        rim = own.rim * (1.0 - np.clip(normal[:, 2], 0.0, 1.0)) ** 3 * sky * share
        out = np.empty((len(normal), 5), np.float32)
        strength = (1.0 - share * 0.5) * direct * shadow + share * room[:, None] * hollow
        out[:, :3] = strength * gain[:, None] * np.array(light.colour, np.float32)
        out[:, 3] = gain * (shine * sun + rim) * skin[:, 0]
        out[:, 4] = gain * (1.0 - share * 0.5) * sun
        return out

    # --- layers -------------------------------------------------------------------------------------------------------

    def _opaque(
        self,
        canvas: Float,
        touched: npt.NDArray[np.bool_],
        mesh: _Mesh,
        points: Float,
        lit: _Lit,
        expression: Expression,
        size: tuple[int, int],
    ) -> Float:
        """Draw what is opaque; returns the depth of each pixel (h * w,), -inf where there is nothing."""
        away = points.copy()
        away[(mesh.material == TEETH) | (mesh.material == INSIDE), 2] -= _BEHIND_LIPS_MM
        faces = mesh.shape.faces
        corner_px = mesh.corner_px
        if not _mouth_parts(expression):
            shown = mesh.material[faces[:, 0]] != TEETH
            faces, corner_px = faces[shown], corner_px[shown]
        fragments = find_fragments(away, faces, *size, slack_px=_SLACK_PX)
        pixel, chosen = nearest(fragments, len(canvas))
        depth = np.full(len(canvas), -np.inf, np.float32)
        depth[pixel] = fragments.depth[chosen]
        if not pixel.size:
            return depth
        triangle, weights = fragments.triangle[chosen], fragments.weights(chosen)
        px = interpolated(corner_px.reshape(-1, 2), corner_rows(triangle), weights)
        corners = np.take(faces, triangle, axis=0)
        values = interpolated(lit.values, corners, weights)
        material = mesh.material[corners[:, 0]]
        image, scale = self._level(lit.view)
        texel = sample(image, (px[:, 0] + 0.5) * scale - 0.5, (px[:, 1] + 0.5) * scale - 0.5)
        albedo = np.take(self._linear, texel[:, :3])
        skin = np.flatnonzero(material == SKIN)
        albedo[skin] *= self._wrinkled(px[skin], values[skin, 4], pixel[skin], expression, lit.view, size)
        colour = albedo * values[:, :3]
        colour += values[:, 3:4]
        wet = np.flatnonzero((material == EYE) | (material == TEETH))
        if wet.size:
            normal = interpolated(lit.normals, corners[wet], weights[wet])
            normal /= np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-6)
            glance = np.maximum(normal @ half_way(light_direction(lit.view.light)), 0.0)
            strength = np.where(material[wet] == EYE, np.float32(0.8) * glance**220, np.float32(0.12) * glance**60)
            colour[wet] += (strength * values[wet, 4])[:, None]
        canvas[pixel] = colour
        touched[pixel] = True
        return depth

    def _wrinkled(
        self,
        px: Float,
        sun: Float,
        pixel: npt.NDArray[np.int64],
        expression: Expression,
        view: View,
        size: tuple[int, int],
    ) -> Float:
        """Factor on the colour of skin pixels by the wrinkles and the flush of an expression: (p, 3) float32."""
        params = face_params().photographic
        factor = np.tile(flush(expression), (pixel.size, 1)).astype(np.float32)
        weights = wrinkle_weights(expression, self._head.at_rest)
        if not pixel.size or not weights.any():
            return factor
        height = np.tensordot(weights, self._head.wrinkles_mm, 1).astype(np.float32)
        left, top = (np.float32(at) for at in self._head.wrinkles_at)
        flat = np.zeros(size[0] * size[1], np.float32)
        # The maps end in zeros, which `sample` continues.
        step = np.float32(1.0 / WRINKLE_REDUCTION)
        value = sample(height, (px[:, 0] - left) * step, (px[:, 1] - top) * step)[:, 0]
        flat[pixel] = value
        field = flat.reshape(size[1], size[0])
        per_mm = 0.125 * view.face_width_px / self._head.shape.face_width_mm
        slope_x = cv2.Sobel(field, cv2.CV_32F, 1, 0, ksize=3, scale=per_mm).ravel()[pixel]
        slope_y = cv2.Sobel(field, cv2.CV_32F, 0, 1, ksize=3, scale=per_mm).ravel()[pixel]
        direction = light_direction(view.light)
        lit = np.clip(slope_y, -1.0, 1.0) * direction[1] - np.clip(slope_x, -1.0, 1.0) * direction[0]
        scale = self._head.shape.landmarks.eye_x_mm / face_params().adult.eye_x_mm
        groove = np.clip(-value / scale * params.cavity_per_mm, 0.0, 0.6)
        relief = np.clip(1.0 + params.steepness * lit * np.minimum(sun, 1.0), 0.4, 1.5)
        factor *= relief[:, None] * (1.0 - groove[:, None] * np.array([0.75, 1.0, 1.05], np.float32))
        return factor

    def _sheer(
        self,
        canvas: Float,
        touched: npt.NDArray[np.bool_],
        behind: Frame,
        mesh: _Mesh,
        points: Float,
        lit: _Lit,
        depth: Float,
        size: tuple[int, int],
    ) -> None:
        """Blend lashes and hair over the canvas, or where it is untouched over `behind`, farthest first."""
        faces, corner_px = self._head.sheer, self._head.sheer_px
        near = points.copy()
        near[mesh.material >= HAIR, 2] += _OVER_SKIN_MM
        fragments = find_fragments(near, faces, *size, two_sided=True)
        kept = np.flatnonzero(fragments.depth > depth[fragments.pixel])
        if not kept.size:
            return
        triangle, weights = fragments.triangle[kept], fragments.weights(kept)
        px = interpolated(corner_px.reshape(-1, 2), corner_rows(triangle), weights)
        image, scale = self._level(lit.view)
        texel = sample(image, (px[:, 0] + 0.5) * scale - 0.5, (px[:, 1] + 0.5) * scale - 0.5)
        alpha = texel[:, 3].astype(np.float32) / np.float32(255)
        order = blend_order(fragments.pixel[kept], fragments.depth[kept], alpha, len(canvas))
        corners = np.take(faces, triangle[order], axis=0)
        values = interpolated(lit.values[:, :3], corners, weights[order])
        at = fragments.pixel[kept][order]
        bare = at[~touched[at]]
        canvas[bare] = self._decode[behind[bare]]
        blend(canvas, at, np.take(self._linear, texel[order, :3]) * values, alpha[order])
        touched[at] = True

    def _level(self, view: View) -> tuple[Image, float]:
        """The texture whose resolution is next above the frame's, and its scale."""
        texels = view.face_width_px / self._head.shape.face_width_mm * self._texel_mm
        level = 0 if texels > 0.75 else 1 if texels > 0.375 else 2
        return self._pyramid[level], 0.5**level


@dataclass(frozen=True)
class _Lit:
    """Light (n, 5) as of `_shaded`, and normals (n, 3), of each vertex in a view."""

    values: Float
    normals: Float
    view: View


def half_way(direction: Float) -> Float:
    """Unit vector (3,) between the source and the camera, in which a mirror would show the source."""
    half = direction + np.array([0.0, 0.0, 1.0], np.float32)
    return np.asarray(half / np.linalg.norm(half), np.float32)


def _mouth_parts(expression: Expression) -> bool:
    """Whether an expression can show teeth or tongue."""
    return (expression.mouth_open + expression.lip_raise + expression.lip_corner_pull + expression.lip_stretch) > 0.02


def _outward(shape: HeadShape, which: npt.NDArray[np.bool_]) -> Float:
    """Directions from inside the head (k, 3), which light hair more evenly than the normals of its strips."""
    middle = np.array([0.0, 0.2, 0.0], np.float32) * np.float32(shape.landmarks.eye_x_mm)
    out = shape.neutral_mm[: which.size][which] - middle
    return np.asarray(out / np.maximum(np.linalg.norm(out, axis=1, keepdims=True), 1e-6), np.float32)


def _texel_mm(shape: HeadShape, head: PhotographicHead) -> float:
    """Size of a texel on the face."""
    points = shape.neutral_mm[shape.faces]
    front = (head.material[shape.faces[:, 0]] == SKIN) & (points[..., 2].mean(1) > 0.8 * points[..., 2].max())
    span = np.linalg.norm(points[front, 1] - points[front, 0], axis=1)
    texels = np.linalg.norm(head.corner_px[front, 1] - head.corner_px[front, 0], axis=1)
    return float(np.median(span / np.maximum(texels, 1e-3)))


def _decoded(table: npt.NDArray[np.uint8]) -> Float:
    """sRGB code -> the linear light that the table encodes as it: (256,) float32."""
    codes, first = np.unique(table, return_index=True)
    return np.asarray(np.interp(np.arange(256), codes, (first + 0.5) / 2048.0), np.float32)
