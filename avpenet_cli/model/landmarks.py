"""Landmarks of aligned face crops: MTCNN's five points, or 65 points of MediaPipe's face mesh.

Both are measured on the crop itself: the detector's box enlarged by 20 %, with the eyes level, stretched to a square.

- `mtcnn`: the last network of MTCNN (Zhang et al. 2016), whose weights come with facenet-pytorch.
- `mesh`: the face mesh of MediaPipe (Kartynnik et al. 2019, arXiv 1907.06724; Apache-2.0), run by LiteRT on a CPU. The
  extra `mesh` installs LiteRT; the model file `face_landmarker.task` is the user's.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import threading
import zipfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from avpenet_cli.errors import EnvironmentUnavailableError, reason
from avpenet_cli.model.encoders import ieee_convolutions
from avpenet_cli.model.mtcnn import ONET_PX, load_networks
from avpenet_cli.settings import FaceSettings

LandmarkKind = Literal["mtcnn", "mesh"]

MESH_VARIABLE = "AVPENET_FACE_LANDMARKER"
"""Environment variable with the path of MediaPipe's `face_landmarker.task`, or of the .tflite file inside it."""

_MESH_MEMBER = "face_landmarks_detector.tflite"
_MESH_PX = 256
_MESH_POINTS = 478
_MESH_SCALE = 0.9
"""Share of the mesh network's input that the crop takes: it was trained with some room around the face."""

_BOX_MARGIN = 1 / 12
"""Share of the crop on each side that is beyond the detector's box, which is what MTCNN was trained on."""

_FACES_AT_ONCE = 8
"""Faces per pass, always; short batches are padded, so that the bits of a landmark do not depend on other faces."""

_BROWS = (70, 63, 105, 66, 107, 300, 293, 334, 296, 336)
_LIDS = (33, 160, 159, 158, 133, 153, 145, 144, 263, 387, 386, 385, 362, 380, 374, 373)
_NOSE = (168, 197, 4, 2, 98, 327, 129, 358)
_LIPS = (61, 40, 37, 0, 267, 270, 291, 321, 314, 17, 84, 91, 78, 82, 13, 312, 308, 317, 14, 87)
_JAW = (172, 150, 148, 152, 377, 379, 397)
_CHEEKS = (205, 425, 50, 280)
MESH_SUBSET = (*_BROWS, *_LIDS, *_NOSE, *_LIPS, *_JAW, *_CHEEKS)
"""Indices into the 478 points of the mesh; of pairs, those on the left of the image first."""


@dataclass(frozen=True)
class Distance:
    """A distance between landmarks, averaged over pairs of landmarks such as those of both eyes.

    Attributes:
        name: what it measures.
        pairs: indices of the landmarks; each distance is from the first to the second.
        vertical: only its downward component, with its sign.
    """

    name: str
    pairs: tuple[tuple[int, int], ...]
    vertical: bool = False


@dataclass(frozen=True)
class LandmarkLayout:
    """What the landmarks of a model mean.

    Attributes:
        count: K, number of landmarks.
        left_eye, right_eye: landmarks whose mean is the centre of the eye on the left and right of the image.
        free: landmarks that do not define the eyes' centres alone.
        distances: that are measured beside the positions.
    """

    count: int
    left_eye: tuple[int, ...]
    right_eye: tuple[int, ...]
    free: tuple[int, ...]
    distances: tuple[Distance, ...]


def _in_subset(name: str, *pairs: tuple[int, int], vertical: bool = False) -> Distance:
    at = MESH_SUBSET.index
    return Distance(name, tuple((at(first), at(second)) for first, second in pairs), vertical)


LAYOUTS: dict[LandmarkKind, LandmarkLayout] = {
    "mtcnn": LandmarkLayout(
        count=5,
        left_eye=(0,),
        right_eye=(1,),
        free=(2, 3, 4),
        distances=(
            Distance("mouth width", ((3, 4),)),
            Distance("eyes to mouth", ((0, 3), (1, 4)), vertical=True),
            Distance("nose to mouth", ((2, 3), (2, 4)), vertical=True),
        ),
    ),
    "mesh": LandmarkLayout(
        count=len(MESH_SUBSET),
        # The corners of the eyes: the lids' midpoints move when the eyes close.
        left_eye=(MESH_SUBSET.index(33), MESH_SUBSET.index(133)),
        right_eye=(MESH_SUBSET.index(362), MESH_SUBSET.index(263)),
        free=tuple(range(len(MESH_SUBSET))),
        distances=(
            _in_subset("eye opening", (160, 144), (159, 145), (158, 153), (385, 380), (386, 374), (387, 373)),
            _in_subset("inner brow height", (107, 133), (336, 362), vertical=True),
            _in_subset("outer brow height", (63, 33), (293, 263), vertical=True),
            _in_subset("between the brows", (107, 336)),
            _in_subset("mouth opening", (82, 87), (13, 14), (312, 317)),
            _in_subset("mouth width", (61, 291)),
            _in_subset("nose to lip", (2, 0), vertical=True),
            _in_subset("lip to chin", (17, 152), vertical=True),
            _in_subset("eyes to nostrils", (133, 129), (362, 358), vertical=True),
            _in_subset("lid to cheek", (145, 50), (374, 280), vertical=True),
        ),
    ),
}


class LandmarkModel(Protocol):
    """Measures the landmarks of aligned crops."""

    def measure(self, crops: Tensor) -> Tensor:
        """Measure landmarks.

        Args:
            crops: (N, 3, S, S) float32 RGB in [0, 255].

        Returns:
            (N, 2 K + 1) float32 on the crops' device: x and y of each landmark in turn, as shares of the crop's side
            from its upper left corner, then the model's confidence that this is a face, in [0, 1].
        """


def landmark_model(kind: LandmarkKind, device: torch.device) -> LandmarkModel:
    """The model, loaded once in a process.

    Args:
        kind: which landmarks.
        device: of MTCNN's network; LiteRT's is always the CPU.

    Raises:
        EnvironmentUnavailableError: a library or a file is missing or cannot be used.
    """
    return _five_points(str(device)) if kind == "mtcnn" else _face_mesh(_mesh_path())


def mesh_digest() -> str:
    """SHA-256 of the face mesh in use, hexadecimal; errors as `landmark_model`."""
    return _face_mesh(_mesh_path()).digest


def denormalised(faces: Tensor) -> Tensor:
    """(N, 3, H, W) float32, ImageNet-normalised -> float32 in [0, 255]."""
    settings = FaceSettings()
    mean, sd = (faces.new_tensor(values)[:, None, None] for values in (settings.pixel_mean, settings.pixel_std))
    return ((faces * sd + mean) * 255).clamp(0, 255)


class FivePoints:
    """MTCNN's landmarks: eyes, nose, corners of the mouth; left ones of the image first."""

    def __init__(self, device: torch.device) -> None:
        self._network = load_networks(device)[2]

    @torch.no_grad()
    def measure(self, crops: Tensor) -> Tensor:
        """As `LandmarkModel.measure`."""
        size = crops.shape[-1]
        margin = round(size * _BOX_MARGIN)
        side = size - 2 * margin
        inner = F.interpolate(
            crops[..., margin : size - margin, margin : size - margin], (ONET_PX, ONET_PX), mode="area"
        )
        rows = []
        # In float32 also where the other encoders are not: bfloat16 would move a landmark by a pixel.
        with ieee_convolutions(crops.device), torch.autocast(crops.device.type, enabled=False):
            for part in ((inner - 127.5) / 128).split(_FACES_AT_ONCE):
                padded = F.pad(part, (0, 0, 0, 0, 0, 0, 0, _FACES_AT_ONCE - len(part)))
                confidence, _, shares = self._network(padded.contiguous(memory_format=torch.channels_last))
                points = (shares.unflatten(1, (2, 5)).transpose(1, 2) * side + margin) / size
                rows.append(torch.cat([points.flatten(1), confidence[:, None]], 1)[: len(part)])
        return torch.cat(rows) if rows else crops.new_zeros((0, 11))


class FaceMesh:
    """65 points of MediaPipe's face mesh, `MESH_SUBSET`.

    Args:
        path: of `face_landmarker.task`, or of the .tflite file inside it.

    Raises:
        EnvironmentUnavailableError: LiteRT is not installed, or the file is missing or another one.
    """

    def __init__(self, path: Path) -> None:
        if importlib.util.find_spec("ai_edge_litert") is None:
            raise EnvironmentUnavailableError(
                "the landmarks of the face mesh need LiteRT, which is not installed",
                "pip install 'ai-edge-litert>=2.3', the extra mesh",
            )
        content = _read_mesh(path)
        self.digest = hashlib.sha256(content).hexdigest()
        self._lock = threading.Lock()
        from ai_edge_litert.interpreter import Interpreter

        try:
            # One thread, so that the last digits do not depend on the machine's cores.
            self._interpreter: Any = Interpreter(model_content=content, num_threads=1)
            self._interpreter.allocate_tensors()
            inputs, outputs = self._interpreter.get_input_details(), self._interpreter.get_output_details()
        except (ValueError, RuntimeError) as error:
            raise _no_mesh(path, reason(error)) from None
        sizes = {int(np.prod(output["shape"])): output["index"] for output in reversed(outputs)}
        if [list(part["shape"]) for part in inputs] != [[1, _MESH_PX, _MESH_PX, 3]] or {3 * _MESH_POINTS, 1} - set(
            sizes
        ):
            raise _no_mesh(path, "its inputs and outputs are others")
        # Of the two outputs with one value, the first is the presence of a face.
        self._input, self._points, self._presence = inputs[0]["index"], sizes[3 * _MESH_POINTS], sizes[1]

    @torch.no_grad()
    def measure(self, crops: Tensor) -> Tensor:
        """As `LandmarkModel.measure`."""
        rows = np.empty((len(crops), 2 * len(MESH_SUBSET) + 1), np.float32)
        side = round(_MESH_PX * _MESH_SCALE)
        before = (_MESH_PX - side) // 2
        for row, crop in zip(rows, crops.cpu(), strict=True):
            scaled = F.interpolate(crop[None] / 255, (side, side), mode="bilinear", antialias=True)
            image = np.zeros((1, _MESH_PX, _MESH_PX, 3), np.float32)
            image[0, before : before + side, before : before + side] = scaled[0].permute(1, 2, 0).numpy()
            with self._lock:
                self._interpreter.set_tensor(self._input, image)
                self._interpreter.invoke()
                points = self._interpreter.get_tensor(self._points).reshape(_MESH_POINTS, 3)[list(MESH_SUBSET), :2]
                presence = float(self._interpreter.get_tensor(self._presence).item())
            row[:-1] = ((points - before) / side).ravel()
            row[-1] = 1 / (1 + np.exp(-presence))
        return torch.from_numpy(rows).to(crops.device)


@cache
def _five_points(device: str) -> FivePoints:
    return FivePoints(torch.device(device))


@cache
def _face_mesh(path: Path) -> FaceMesh:
    return FaceMesh(path)


def _mesh_path() -> Path:
    path = os.environ.get(MESH_VARIABLE, "")
    if not path:
        raise EnvironmentUnavailableError(
            "the landmarks of the face mesh need MediaPipe's model file face_landmarker.task",
            f"set {MESH_VARIABLE} to its path",
        )
    return Path(path)


def _read_mesh(path: Path) -> bytes:
    try:
        if path.suffix != ".tflite":
            with zipfile.ZipFile(path) as task:
                return task.read(_MESH_MEMBER)
        return path.read_bytes()
    except (OSError, zipfile.BadZipFile, KeyError) as error:
        raise _no_mesh(path, reason(error)) from None


def _no_mesh(path: Path, why: str) -> EnvironmentUnavailableError:
    return EnvironmentUnavailableError(
        f"{path} is not MediaPipe's face mesh: {why}", f"set {MESH_VARIABLE} to face_landmarker.task"
    )
