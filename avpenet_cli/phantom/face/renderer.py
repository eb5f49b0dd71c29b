"""Render frames of a simulated face from expression, pose and light."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import cv2
import numpy as np
import numpy.typing as npt
from scipy import sparse
from scipy.spatial import cKDTree

from avpenet_cli.errors import SettingsError
from avpenet_cli.phantom.face.ambient_occlusion import ambient_visibility, vertex_normals
from avpenet_cli.phantom.face.covers import Cover, place_hand, with_cover
from avpenet_cli.phantom.face.skin import flush, furrow_weights, luminance, paint, skin_albedo
from avpenet_cli.phantom.head.model import Expression, Float, HeadModel, HeadShape, Look
from avpenet_cli.phantom.head.rasterizer import rasterise
from avpenet_cli.phantom.head.texture_atlas import FACE_HEIGHT_PX
from avpenet_cli.phantom.parameters.face_params import face_params

Frame = npt.NDArray[np.uint8]

NO_COVER = Cover()


@dataclass(frozen=True)
class Light:
    """A light source and the ambient light of the room.

    Attributes:
        azimuth_deg: of the source, from the camera towards the image's right, -90 to 90.
        elevation_deg: of the source over the camera, -90 to 90.
        intensity: exposure relative to a well-lit room, 0.3 to 2.
        contrast: 0 for ambient light only, 1 for almost none.
        colour: linear (R, G, B) of the light, around 1.
    """

    azimuth_deg: float = -25.0
    elevation_deg: float = 40.0
    intensity: float = 1.0
    contrast: float = 0.5
    colour: tuple[float, float, float] = (1.0, 1.0, 1.0)


@dataclass(frozen=True)
class View:
    """Camera, head pose and light.

    Attributes:
        width_px, height_px: size of the frame.
        face_width_px: frontal width of the face.
        offset_px: of the point between the eyes from the frame's centre, x to the right and y down.
        yaw_deg: rotation of the head towards the image's right, -60 to 60.
        pitch_deg: rotation with the chin down, -45 to 45.
        roll_deg: clockwise tilt of the head in the image.
        light: illumination.
    """

    width_px: int = 640
    height_px: int = 480
    face_width_px: float = 180.0
    offset_px: tuple[float, float] = (0.0, 0.0)
    yaw_deg: float = 0.0
    pitch_deg: float = 0.0
    roll_deg: float = 0.0
    light: Light = field(default_factory=Light)


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
        self._encode = _srgb_table()
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
        """Render one frame.

        Args:
            expression: action units.
            view: camera, pose and light.
            background: (height, width, 3) uint8 RGB behind the person; not modified.
            cover: object that covers part of the face.

        Returns:
            (height, width, 3) uint8 RGB.

        Raises:
            SettingsError: the sizes of background and view differ.
        """
        if background.shape != (view.height_px, view.width_px, 3):
            actual, expected = background.shape[1::-1], (view.width_px, view.height_px)
            raise SettingsError(
                f"a background of {actual[0]}x{actual[1]} px for a view of {expected[0]}x{expected[1]} px"
            )
        mesh = self._mesh(cover)
        shape = mesh.shape
        vertices = shape.vertices(expression)
        if cover.kind == "hand":
            vertices = place_hand(vertices, self._mesh(NO_COVER).shape, cover)
        rotated = _rotated(vertices, shape.rotation_share, view)
        light = self._lighting(_normals(rotated, mesh), mesh.ambient_visibility, view.light)
        points = _projected(rotated, shape.face_width_mm, view)
        frame = background.copy()
        left, top, right, bottom = _bounds(points, view)
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
        code = np.minimum(colour * 2048.0, 4095.0).astype(np.int32)
        crop = frame[top:bottom, left:right]
        flat = crop.reshape(-1, 3)
        flat[raster.pixel] = self._encode[code]
        frame[top:bottom, left:right] = _blurred(flat.reshape(height, width, 3))
        return frame

    def landmarks_px(self, expression: Expression, view: View) -> Float:
        """Where the landmarks of a face detector are, whether visible or hidden.

        Returns:
            (5, 2) float32 x and y in pixels of the frame: the two eye centres (the image's left first), the tip of the
            nose, the two corners of the mouth (the image's left first).
        """
        shape = self._meshes[NO_COVER].shape
        forward = np.array([0.0, 0.0, shape.eyeballs.radius_mm], np.float32)
        points = np.concatenate([shape.eyeballs.centres_mm + forward, shape.vertices(expression)[self._marks]])
        return _projected(_rotated(points, np.ones(len(points), np.float32), view), shape.face_width_mm, view)[:, :2]

    def _lighting(self, normals: Float, free: Float, light: Light) -> Float:
        """Light that reaches each vertex, and its specular reflection: (n, 4)."""
        params = face_params().light
        azimuth, elevation = np.deg2rad(light.azimuth_deg), np.deg2rad(light.elevation_deg)
        direction = np.array(
            [np.sin(azimuth) * np.cos(elevation), np.sin(elevation), np.cos(azimuth) * np.cos(elevation)], np.float32
        )
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
    ones = np.ones(shape.faces.size, np.float32)
    across = np.repeat(np.arange(len(shape.faces)), 3)
    return sparse.csr_array((ones, (shape.faces.ravel(), across)), shape=(len(shape.neutral_mm), len(shape.faces)))


def _normals(points: Float, mesh: _Mesh) -> Float:
    return vertex_normals(points, mesh.shape.faces, mesh.incidence)


def _rotation(yaw_deg: float, pitch_deg: float, roll_deg: float) -> Float:
    yaw, pitch, roll = np.deg2rad([yaw_deg, pitch_deg, -roll_deg])
    about_y = np.array([[np.cos(yaw), 0, np.sin(yaw)], [0, 1, 0], [-np.sin(yaw), 0, np.cos(yaw)]])
    about_x = np.array([[1, 0, 0], [0, np.cos(pitch), -np.sin(pitch)], [0, np.sin(pitch), np.cos(pitch)]])
    about_z = np.array([[np.cos(roll), -np.sin(roll), 0], [np.sin(roll), np.cos(roll), 0], [0, 0, 1]])
    return np.asarray(about_z @ about_y @ about_x, np.float32)


def _rotated(points: Float, rotation_share: Float, view: View) -> Float:
    """Rotate the head; vertices follow yaw and pitch by their `rotation_share`, and roll fully."""
    full = points @ _rotation(view.yaw_deg, view.pitch_deg, view.roll_deg).T
    rest = points @ _rotation(0.0, 0.0, view.roll_deg).T
    return np.asarray(rest + rotation_share[:, None] * (full - rest), np.float32)


def _projected(points: Float, face_width_mm: float, view: View) -> Float:
    """Perspective projection: (n, 3) x right and y down in pixels, depth in mm."""
    away = face_params().light.camera_face_widths * face_width_mm
    scale = view.face_width_px / face_width_mm * away / (away - points[:, 2])
    middle = np.array([view.width_px / 2 + view.offset_px[0], view.height_px / 2 + view.offset_px[1]])
    return np.stack([middle[0] + points[:, 0] * scale, middle[1] - points[:, 1] * scale, points[:, 2]], 1).astype(
        np.float32
    )


def _bounds(points: Float, view: View) -> tuple[int, int, int, int]:
    low, high = points[:, :2].min(0), points[:, :2].max(0)
    left, top = (max(0, int(value) - 2) for value in low)
    return left, top, min(view.width_px, int(high[0]) + 3), min(view.height_px, int(high[1]) + 3)


def _blurred(image: Frame) -> Frame:
    return np.asarray(cv2.GaussianBlur(image, (3, 3), face_params().light.blur_px), np.uint8)


def _srgb_table() -> npt.NDArray[np.uint8]:
    """Lookup table from linear light in steps of 1/2048 up to 2 to sRGB code, with a shoulder instead of clipping."""
    value = np.arange(4096) / 2048.0
    knee = 0.7
    value = np.where(value > knee, knee + (1 - knee) * (1 - np.exp(-(value - knee) / (1 - knee))), value)
    encoded = np.where(value <= 0.0031308, value * 12.92, 1.055 * value ** (1 / 2.4) - 0.055)
    return np.round(np.clip(encoded, 0, 1) * 255).astype(np.uint8)
