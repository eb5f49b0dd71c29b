"""Read MakeHuman's assets: Wavefront meshes with texture coordinates, clothes files (.mhclo), textures."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from avpenet_cli.errors import SettingsError, reason
from avpenet_cli.phantom.face.image_file import read_image
from avpenet_cli.phantom.head.model import Float, Index

_REMEDY = "give MakeHuman's assets as they were published"


_FAINT = 8
"""Alpha of 255 below which a pixel's own colour is unknown."""


@dataclass(frozen=True)
class TexturedMesh:
    """Triangles with texture coordinates.

    Attributes:
        points: (n, 3) float32.
        faces: (m, 3) int32 counter-clockwise seen from outside.
        uv: (m, 3, 2) float32 texture coordinates of each triangle's corners, v upwards.
        groups: (m,) names of the group of each triangle.
    """

    points: Float
    faces: Index
    uv: Float
    groups: npt.NDArray[np.str_]


def read_wavefront(path: Path) -> TexturedMesh:
    """Read a Wavefront file; polygons are split into triangles.

    Raises:
        SettingsError: it cannot be read, or has no texture coordinates.
    """
    points: list[list[float]] = []
    coordinates: list[list[float]] = []
    corners: list[list[tuple[int, int]]] = []
    groups: list[str] = []
    group = ""
    try:
        for line in path.read_text("utf-8").splitlines():
            kind, _, rest = line.partition(" ")
            if kind == "v":
                points.append([float(value) for value in rest.split()[:3]])
            elif kind == "vt":
                coordinates.append([float(value) for value in rest.split()[:2]])
            elif kind == "g":
                group = rest.strip()
            elif kind == "f":
                own = [(int(a) - 1, int(b) - 1) for a, b in (corner.split("/")[:2] for corner in rest.split())]
                for second, third in pairwise(own[1:]):
                    corners.append([own[0], second, third])
                    groups.append(group)
        index = np.array(corners, np.int32).reshape(-1, 3, 2)
        uv = np.array(coordinates, np.float32)[index[..., 1]]
        if index[..., 0].max(initial=-1) >= len(points):
            raise ValueError("a face has no such vertex")
    except (OSError, ValueError, IndexError) as error:
        raise SettingsError(f"{path} cannot be read as a textured mesh ({reason(error)})", _REMEDY) from error
    return TexturedMesh(np.array(points, np.float32), np.ascontiguousarray(index[..., 0]), uv, np.array(groups))


@dataclass(frozen=True)
class Clothes:
    """How a mesh follows the base mesh (a .mhclo file).

    Attributes:
        vertices: (n, 3) int32 base vertices that each vertex follows.
        weights: (n, 3) float32 their weights, which sum to 1.
        offsets: (n, 3) float32 offset from there, before scaling.
        scales: for x, y and z, two base vertices and the distance between them at which the scale is 1.
    """

    vertices: Index
    weights: Float
    offsets: Float
    scales: tuple[tuple[int, int, float], ...]

    def fit(self, base: Float) -> Float:
        """Vertices (n, 3) float32 fitted to a neutral body (k, 3), in the unit of the body."""
        size = np.array(
            [
                abs(float(base[first, axis]) - float(base[second, axis])) / distance
                for axis, (first, second, distance) in enumerate(self.scales)
            ],
            np.float32,
        )
        return np.asarray(self.follow(base) + self.offsets * size, np.float32)

    def follow(self, displacements: Float) -> Float:
        """Displacements (..., k, 3) of the body's vertices -> those (..., n, 3) of the vertices that follow them."""
        corners = (np.take(displacements, self.vertices[:, corner], axis=-2) for corner in range(3))
        weighted = [own * self.weights[:, corner, None] for corner, own in enumerate(corners)]
        return np.asarray(weighted[0] + weighted[1] + weighted[2], np.float32)


def read_clothes(path: Path) -> Clothes:
    """Read how a mesh follows the base mesh.

    Raises:
        SettingsError: the file cannot be read, or lacks a scale.
    """
    scales: dict[str, tuple[int, int, float]] = {}
    vertices, weights, offsets = [], [], []
    fitting = False
    try:
        for line in path.read_text("utf-8").splitlines():
            words = line.split()
            if not words or words[0].startswith("#"):
                continue
            if words[0] in ("x_scale", "y_scale", "z_scale"):
                scales[words[0][0]] = (int(words[1]), int(words[2]), float(words[3]))
            elif words[0] == "verts":
                fitting = True
            elif fitting and len(words) == 1 and words[0].isdigit():
                vertices.append([int(words[0])] * 3)
                weights.append([1.0, 0.0, 0.0])
                offsets.append([0.0, 0.0, 0.0])
            elif fitting and len(words) == 9:
                vertices.append([int(word) for word in words[:3]])
                weights.append([float(word) for word in words[3:6]])
                offsets.append([float(word) for word in words[6:]])
        ordered = tuple(scales[axis] for axis in "xyz")
    except (OSError, ValueError, LookupError) as error:
        raise SettingsError(f"{path} cannot be read as a clothes file ({reason(error)})", _REMEDY) from error
    return Clothes(
        np.array(vertices, np.int32).reshape(-1, 3),
        np.array(weights, np.float32).reshape(-1, 3),
        np.array(offsets, np.float32).reshape(-1, 3),
        ordered,
    )


def read_texture(path: Path, max_side_px: int) -> npt.NDArray[np.uint8]:
    """Read a texture, reduced to a side of at most `max_side_px`: (height, width, 4) uint8 sRGB and alpha.

    The colour of transparent pixels is that of the opaque ones beside them.

    Raises:
        SettingsError: it cannot be read.
    """
    image = read_image(path, True, _REMEDY)
    if image[..., 3].min() < _FAINT:
        _fill_transparent(image)
    share = max_side_px / max(image.shape[:2])
    if share < 1.0:
        size = (round(image.shape[1] * share), round(image.shape[0] * share))
        return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)
    return image


def _fill_transparent(image: npt.NDArray[np.uint8]) -> None:
    """Give transparent pixels of an RGBA image the colour around them, in place."""
    alpha = np.ascontiguousarray(image[..., 3])
    size = (max(1, image.shape[1] // 8), max(1, image.shape[0] // 8))
    seen = cv2.multiply(image[..., :3].copy(), cv2.merge([alpha] * 3), scale=1 / 255)
    colour = cv2.GaussianBlur(cv2.resize(seen, size, interpolation=cv2.INTER_AREA).astype(np.float32), (0, 0), 3.0)
    weight = cv2.GaussianBlur(cv2.resize(alpha, size, interpolation=cv2.INTER_AREA).astype(np.float32), (0, 0), 3.0)
    mean = colour.mean((0, 1)) / max(float(weight.mean()), 1e-3)
    filled = (colour + 0.5 * mean) / (weight + 0.5)[..., None] * 255
    wide = cv2.resize(np.clip(filled, 0, 255).astype(np.uint8), alpha.shape[::-1])
    faint = alpha < _FAINT
    image[faint, :3] = wide[faint]
