"""Render frames of a simulated face from expression, pose and light."""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np
from scipy import sparse
from scipy.spatial import cKDTree

from avpenet_cli.phantom.face.ambient_occlusion import ambient_visibility, vertex_incidence, vertex_normals
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
    srgb_table,
)
from avpenet_cli.phantom.face.skin import flush, furrow_weights, luminance, paint, skin_albedo
from avpenet_cli.phantom.head.model import Expression, Float, HeadModel, HeadShape, Look
from avpenet_cli.phantom.head.rasterizer import rasterise
from avpenet_cli.phantom.head.texture_atlas import FACE_HEIGHT_PX
from avpenet_cli.phantom.parameters.face_params import face_params

__all__ = ["NO_COVER", "Frame", "Light", "MeshRenderer", "View"]

NO_COVER = Cover()


@dataclass(frozen=True)
class _Mesh:
    """A head as rendered.

    Attributes:
        shape: head with its cover.
        incidence: (vertices, faces) sparse float32, 1 where a face has the vertex.
        ambient_visibility: (n,) float32 in [0, 1], from `ambient_occlusion`.
    """

    shape: HeadShape
    incidence: sparse.csr_array
    ambient_visibility: Float


class MeshRenderer:
    """Renders a person whose skin is painted on a head mesh. Preparation is expensive; a frame is not.

    Args:
        head: head model, built in or loaded.
        look: appearance of the person.
    """

    def __init__(self, head: HeadModel, look: Look) -> None:
        shape = head.shape(look)
        self._atlas = paint(look, shape.landmarks)
        incidence = _incidence(shape)
        self._meshes = {NO_COVER: _Mesh(shape, incidence, ambient_visibility(shape, incidence))}
        params = face_params().light
        middle, tone = luminance(skin_albedo(5, "adult")), luminance(skin_albedo(look.skin_tone, look.age_group))
        self._exposure = params.exposure * (middle / tone) ** params.exposure_compensation
        self._codes = srgb_table()
        # Inner parts, such as teeth, lie behind the skin at these positions.
        marks = np.concatenate([shape.landmarks.nose_tip[None], shape.landmarks.lip_line[[0, -1]]])
        self._marks = cKDTree(shape.neutral_mm).query(marks)[1]

    def _mesh(self, cover: Cover) -> _Mesh:
        # The position of a hand is not part of its mesh.
        mesh_cover = replace(cover, at=NO_COVER.at, turn_deg=NO_COVER.turn_deg) if cover.kind == "hand" else cover
        if mesh_cover not in self._meshes:
            bare = self._meshes[NO_COVER]
            shape = with_cover(bare.shape, mesh_cover)
            lit = np.ones(len(shape.neutral_mm), np.float32)
            lit[: bare.ambient_visibility.size] = bare.ambient_visibility
            self._meshes[mesh_cover] = _Mesh(shape, _incidence(shape), lit)
        return self._meshes[mesh_cover]

    def frame(self, expression: Expression, view: View, background: Frame, cover: Cover = NO_COVER) -> Frame:
        """Render one frame: (height, width, 3) uint8 RGB; see `FaceRenderer`."""
        check_background(background, view)
        mesh = self._mesh(cover)
        shape = mesh.shape
        vertices = shape.vertices(expression)
        if cover.kind == "hand":
            vertices = place_hand(vertices, self._mesh(NO_COVER).shape, cover)
        turned = rotated(vertices, shape.rotation_share, view)
        light = self._lighting(_normals(turned, mesh), mesh.ambient_visibility, view.light)
        points = projected(turned, shape.face_width_mm, view)
        frame = background.copy()
        left, top, right, bottom = bounds(points, view)
        if right <= left or bottom <= top:
            return frame
        points[:, 0] -= left
        points[:, 1] -= top
        width, height = right - left, bottom - top
        raster = rasterise(points, shape.faces, width, height)
        values = raster.interpolate(np.concatenate([shape.atlas_px, light], 1))
        place = np.zeros((2, height * width), np.float32)
        place[:, raster.pixel] = values[:, :2].T
        across, down = place.reshape(2, height, width)
        albedo = cv2.remap(self._atlas.albedo, across, down, cv2.INTER_LINEAR).reshape(-1, 3)[raster.pixel]
        furrow = cv2.remap(self._atlas.furrows, across, down, cv2.INTER_LINEAR).reshape(-1, 4)[raster.pixel]
        shade = 1.0 - furrow @ furrow_weights(expression, self._atlas.at_rest)
        colour = albedo * values[:, 2:5] * shade[:, None]
        colour *= np.where(values[:, 1:2] < FACE_HEIGHT_PX, flush(expression), np.float32(1.0))
        colour += values[:, 5:6]
        crop = frame[top:bottom, left:right]
        flat = crop.reshape(-1, 3)
        flat[raster.pixel] = encode(colour, self._codes)
        frame[top:bottom, left:right] = blurred(flat.reshape(height, width, 3))
        return frame

    def landmarks_px(self, expression: Expression, view: View) -> Float:
        """Where the landmarks of a face detector are: (5, 2) float32; see `FaceRenderer`."""
        shape = self._meshes[NO_COVER].shape
        forward = np.array([0.0, 0.0, shape.eyeballs.radius_mm], np.float32)
        points = np.concatenate([shape.eyeballs.centres_mm + forward, shape.vertices(expression)[self._marks]])
        return projected(rotated(points, np.ones(len(points), np.float32), view), shape.face_width_mm, view)[:, :2]

    def _lighting(self, normals: Float, free: Float, light: Light) -> Float:
        """Light that reaches each vertex, and its specular reflection: (n, 4)."""
        params = face_params().light
        direction = light_direction(light)
        direct = np.maximum((normals @ direction + params.wrap) / (1.0 + params.wrap), 0.0)
        room = 0.5 * (1 + params.ground_share) + 0.5 * (1 - params.ground_share) * normals[:, 1]
        share = params.ambient * 2.0 * (1.0 - light.contrast)
        strength = (1.0 - share * 0.5) * direct * (0.45 + 0.55 * free) + share * room * free
        half = direction + np.array([0.0, 0.0, 1.0], np.float32)
        half /= np.linalg.norm(half)
        shine = params.shine * np.maximum(normals @ half, 0.0) ** params.shine_power * free
        gain = np.float32(light.intensity * self._exposure)
        out = np.empty((len(normals), 4), np.float32)
        out[:, :3] = (strength * gain)[:, None] * np.array(light.colour, np.float32)
        out[:, 3] = shine * gain
        return out


def _incidence(shape: HeadShape) -> sparse.csr_array:
    return vertex_incidence(shape.faces, len(shape.neutral_mm))


def _normals(points: Float, mesh: _Mesh) -> Float:
    return vertex_normals(points, mesh.shape.faces, mesh.incidence)
