"""Head model from the ICT-FaceKit light model (MIT, USC Institute for Creative Technologies): adults only."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from avpenet_cli.errors import SettingsError
from avpenet_cli.phantom.head.clothing import gown_below
from avpenet_cli.phantom.head.mesh_simplify import layer, merge_vertices, recipe_displacements, triangulate
from avpenet_cli.phantom.head.model import AgeGroup, Eyeballs, Float, HeadShape, Index, Landmarks, Look
from avpenet_cli.phantom.head.parts import Part, assemble_head, eyeball, make_part
from avpenet_cli.phantom.head.surface import smooth
from avpenet_cli.phantom.head.texture_atlas import face_px, patch_px
from avpenet_cli.phantom.parameters.face_params import face_params

KEYS = (
    "neutral",
    "faces",
    "expression_names",
    "expression_deltas",
    "identity_names",
    "identity_deltas",
    "landmarks68",
)
_MM_PER_UNIT = 10.0
# Vertex ranges of the topology, from the model's description of its geometry.
_SKIN = (0, 11_248)
_MOUTH = (11_248, 13_294)
_EYE_SOCKETS = (13_294, 14_062)
_GUMS = (14_062, 17_039)
_TEETH = (17_039, 21_451)
_EYES = ((21_451, 23_021), (23_021, 24_591))
_PARTING = (("jawOpen",), ("eyeBlink_L", "eyeBlink_R"))
"""Expressions under which touching lips and lids separate, or the reverse."""
_SCLERA_VERTICES = 770
_NARROW_FACE = 6_706


@dataclass(frozen=True)
class _Piece:
    """Part of the file's mesh: vertices kept, triangles, and atlas patch ("" for skin)."""

    kept: Index
    faces: Index
    patch: str


class IctHead:
    """Adults from the ICT face model; see `load_head`."""

    def __init__(self, path: Path) -> None:
        with np.load(path, allow_pickle=False) as file:
            missing = [key for key in KEYS if key not in file.files]
            if missing:
                raise SettingsError(
                    f"{path.name} is no ICT face model: it lacks {', '.join(missing)}",
                    "give ict_facekit_light.npz or a MakeHuman folder",
                )
            data = {key: file[key] for key in KEYS}
        self._landmarks = data["landmarks68"].astype(np.int64)
        neutral = data["neutral"].astype(np.float32) * np.float32(_MM_PER_UNIT)
        names = [str(name) for name in data["expression_names"]]
        required = {name for recipe in face_params().ict.units.values() for name, _ in recipe}
        unknown = sorted(required - set(names))
        if unknown:
            raise SettingsError(f"{path.name} lacks the expressions {', '.join(unknown)}", "give another version")
        parting = np.stack(
            [
                _MM_PER_UNIT * sum(data["expression_deltas"][names.index(name)].astype(np.float32) for name in group)
                for group in _PARTING
            ]
        ).astype(np.float32)
        self._pieces = _pieces(neutral, triangulate(data["faces"]), parting)
        self._eyes = [np.arange(start, start + _SCLERA_VERTICES) for start, _ in _EYES]
        every = np.concatenate([*(piece.kept for piece in self._pieces), *self._eyes, self._landmarks])
        self._used, self._at = np.unique(every), np.full(len(neutral), -1, np.int64)
        self._at[self._used] = np.arange(self._used.size)
        self._neutral = neutral[self._used]
        self._identities = data["identity_deltas"][:, self._used].astype(np.float32) * np.float32(_MM_PER_UNIT)
        displacements = {
            name: data["expression_deltas"][names.index(name)][self._used].astype(np.float32) * np.float32(_MM_PER_UNIT)
            for name in sorted(required)
        }
        self._ways = recipe_displacements(face_params().ict.units, displacements)

    @property
    def age_groups(self) -> tuple[AgeGroup, ...]:
        """Adults only."""
        return ("adult",)

    def shape(self, look: Look) -> HeadShape:
        """Build the mesh of a person."""
        if look.age_group not in self.age_groups:
            raise SettingsError("the ICT face model has adults only", "use the built-in head for newborns")
        rng = np.random.default_rng([look.identity, 41])
        weights = np.clip(rng.standard_normal(len(self._identities)), -2, 2) * face_params().ict.identity_spread
        points = self._neutral + np.tensordot(weights.astype(np.float32), self._identities, 1)
        centres, radius = [], 0.0
        for eye in self._eyes:
            ball = points[self._at[eye]]
            centres.append(0.5 * (ball.min(0) + ball.max(0)))
            radius = max(radius, 0.5 * float(np.ptp(ball[:, 0])))
        eyes = np.array(sorted(centres, key=lambda centre: float(centre[0])), np.float32)
        eye_x = 0.5 * float(eyes[1, 0] - eyes[0, 0])
        scale = eye_x / face_params().adult.eye_x_mm
        origin = eyes.mean(0) - np.array([0.0, 0.0, 82.0 * scale], np.float32)
        points, eyes = points - origin, eyes - origin
        landmarks = self._find_landmarks(points, eyes, eye_x)
        parts = [self._part(piece, points, eye_x, float(landmarks.chin[1]), scale) for piece in self._pieces]
        skin = parts[0]
        lids = [np.flatnonzero(_near_eye(skin.points_mm, eye, radius)).astype(np.int32) for eye in eyes]
        gown = gown_below(float(landmarks.chin[1]), look)
        hair = layer(skin.points_mm, skin.faces, look, scale)
        cheek = np.abs(skin.points_mm[:, 1] + 0.8 * eye_x) < 0.3 * eye_x
        front = skin.points_mm[:, 2] > 0.9 * eye_x
        return assemble_head(
            [*parts, *(eyeball(eye, radius) for eye in eyes), *hair, gown],
            face_width_mm=float(np.ptp(skin.points_mm[cheek & front, 0])),
            landmarks=landmarks,
            eyeballs=Eyeballs(eyes, radius * 1.02, (lids[0], lids[1])),
        )

    def _part(self, piece: _Piece, points: Float, eye_x: float, chin_y: float, scale: float) -> Part:
        at = self._at[piece.kept]
        own = points[at]
        if not piece.patch:
            atlas = face_px(own, eye_x)
        else:
            depth = np.clip((own[:, 2].max() - own[:, 2]) / (40.0 * scale), 0.0, 1.0)
            atlas = patch_px(piece.patch, np.full(len(own), 0.5), depth)
        rotation_share = 0.25 + 0.75 * smooth(own[:, 1].astype(np.float64), chin_y - 80.0 * scale, chin_y - 8.0 * scale)
        return make_part(own, piece.faces, atlas, self._ways[:, at], rotation_share)

    def _find_landmarks(self, points: Float, eyes: Float, eye_x: float) -> Landmarks:
        mark = points[self._at[self._landmarks]]
        return Landmarks(
            brows=np.stack([mark[17:22][::-1], mark[22:27]]),
            lips=mark[48:60],
            lip_line=mark[60:65],
            eyes=np.stack([mark[36:42], mark[42:48]]),
            pupils=eyes + np.array([0.0, 0.0, 0.4 * eye_x], np.float32),
            nostrils=mark[[32, 34]],
            nose_tip=mark[30],
            nasion=mark[27],
            chin=mark[8],
            eye_x_mm=eye_x,
        )


def _near_eye(points: Float, centre: Float, radius_mm: float) -> npt.NDArray[np.bool_]:
    out = points - centre
    return np.asarray(((out**2).sum(1) < (1.45 * radius_mm) ** 2) & (out[:, 2] > 0.0))


def _pieces(neutral: Float, faces: Index, parting: Float) -> list[_Piece]:
    cells = face_params().mesh_simplify
    pieces = []
    for (start, stop), patch in (
        (_SKIN, ""),
        (_MOUTH, "mouth"),
        (_EYE_SOCKETS, "body"),
        (_GUMS, "gum"),
        (_TEETH, "teeth"),
    ):
        own = faces[((faces >= start) & (faces < stop)).all(1)]
        cell = np.full(len(neutral), cells.inside_mm)
        if not patch:
            cell[:] = cells.back_mm
            cell[:_NARROW_FACE] = cells.skin_mm
        kept, light = merge_vertices(neutral, own, cell, parting)
        pieces.append(_Piece(kept, light, patch))
    return pieces
