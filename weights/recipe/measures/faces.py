"""Photographed people and calm real videos: as they are, and altered to known pain. By face alone where not stated."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import fields
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from avpenet_cli.errors import SettingsError
from avpenet_cli.phantom.encode import write_recording
from avpenet_cli.phantom.face.people import FaceRenderer
from avpenet_cli.phantom.face.renderer import View
from avpenet_cli.phantom.head.model import Expression, Look
from avpenet_cli.phantom.parameters.trajectory_params import trajectory_params
from avpenet_cli.phantom.parameters.voice_params import PAIN_MAX
from avpenet_cli.phantom.photographs.source import Photographs
from avpenet_cli.phrasing import plural
from avpenet_cli.settings import WINDOW_S
from avpenet_cli.stats.bootstrap import Resampling
from avpenet_cli.stats.pairs import Pairs
from avpenet_cli.stats.reliability import icc
from weights.recipe.measures.audio import MODERATE
from weights.recipe.measures.estimates import auc_between, mean, share
from weights.recipe.measures.inputs import Inputs
from weights.recipe.measures.rows import Goal, Row
from weights.recipe.measures.scoring import scored_segments
from weights.recipe.splits import part_of_person

Frame = NDArray[np.uint8]

CALM_VIDEOS = (
    "grid_bbaf2n.mpg",
    "grid_brbk7n.mpg",
    "grid_lwbsza.mpg",
    "grid_swiz3n.mpg",
    "grid_four_speakers_12s.mp4",
    "pyfeat_single_face.mp4",
    "pyfeat_noface_face.mov",
    "intel_asl_book.mkv",
    "intel_asl_yes.mkv",
    "intel_head-pose-face-detection-female-and-male.gif",
    "intel_classroom.gif",
)
"""Recordings in `videos/` of people who talk, sign or smile."""

_NEUTRAL = Goal("below", 0.05, "0.78")
_NEUTRAL_MEAN = Goal("below", 1.0, "4.3")
_SMILING = Goal("below", 0.10, "0.86")
_ICC = Goal("at least", 0.85, "none")
_FULL_OVER_NONE = Goal("at least", 0.98, "0.80")
_CALM = Goal("at least", 0.9, "scores 2.4 to 4.5; 5.3 silent and smiling")
_CALM_BELOW = 2.0

_SIDE_PX = 480
_FPS = 10.0
_ALTERED_FPS = 10.0 / 3.0
_FACE_PX = 190.0


def faces(inputs: Inputs) -> list[Row]:
    """Real people who are kept out of training, neutral and smiling, as 3-s silent videos."""
    folder = inputs.folder("faces")
    rows = []
    for expression in ("neutral", "smiling"):
        photographs = _test_photographs(inputs, expression)
        clips = {path.stem: _still(path, folder / f"{path.stem}.mp4") for path in photographs}
        scored = inputs.scorer.score(f"faces-{expression}", clips)
        scores = np.array(list(scored.means().values()))
        people, notes = f"{len(scores)} people", scored.notes
        goal, mean_goal = (_NEUTRAL, _NEUTRAL_MEAN) if expression == "neutral" else (_SMILING, None)
        rows += [
            Row(f"share of {expression} faces scored over 3", share(scores > MODERATE), people, "share", goal, notes),
            Row(f"mean score of {expression} faces", mean(scores), people, "points", mean_goal),
        ]
    return rows


def altered(inputs: Inputs) -> list[Row]:
    """Photographs of people who are kept out of training, altered to the action units of pain from 0 to 10."""
    photographs = Photographs(inputs.data / "faces_london", lambda number: part_of_person(number) == "test")
    levels = range(0, 11, 2 if inputs.quick else 1)
    folder = inputs.folder("altered")
    clips, pain, person = {}, {}, {}
    for identity, number in list(enumerate(photographs.people))[:: 2 if inputs.quick else 1]:
        paths = {level: folder / f"{number:03d}-{level:02d}.mp4" for level in levels}
        missing = {level: path for level, path in paths.items() if not path.exists()}
        if missing:
            _alter(photographs.renderer(Look("adult", identity, 5, "short", 0.5)), missing)
        for level, path in paths.items():
            clips[path.stem], pain[path.stem], person[path.stem] = path, float(level), str(number)
    scored = inputs.scorer.score("altered", clips)
    means = scored.means()
    names = list(means)
    score, truth = (np.array([values[name] for name in names]) for values in (means, pain))
    pairs = Pairs.of(score, truth, np.array([person[name] for name in names], dtype=object))
    people = f"{pairs.n_subjects} people, {plural(pairs.n, 'clip')}"
    agreement = icc(np.stack([score, truth], axis=1), pairs.subject, Resampling().of(pairs.n_subjects)).icc_a1
    at = {level: {name: means[name] for name in names if pain[name] == level} for level in levels}
    full = auc_between(at[10], at[0], person)
    rows = [
        Row("altered photographs: ICC(A,1)", agreement, people, "coefficient", _ICC, scored.notes),
        Row("altered photographs: AUC of full pain over none", full, people, "coefficient", _FULL_OVER_NONE),
    ]
    for level, scores in at.items():
        figure = mean(list(scores.values()))
        rows.append(Row(f"altered photographs: mean score at pain {level}", figure, f"{len(scores)} people"))
    return rows


def videos(inputs: Inputs) -> list[Row]:
    """Calm people who talk or smile: segments with a face, scored with whatever modalities the recordings have."""
    folder = inputs.data / "videos"
    paths = {name: folder / name for name in CALM_VIDEOS if (folder / name).exists()}
    if not paths:
        raise SettingsError(f"{folder} has none of the calm recordings", "see weights/recipe/README.md")
    scored = inputs.scorer.score("videos", paths)
    table = scored_segments(scored.segments)
    table = table[table["modalities"].str.contains("face", na=False)]
    scores = table["score"].to_numpy()
    count = f"{plural(len(scores), 'segment')} of {plural(table['recording'].nunique(), 'recording')}"
    rows = [
        Row(
            "share of calm segments with a face scored under 2",
            share(scores < _CALM_BELOW),
            count,
            "share",
            _CALM,
            scored.notes,
        ),
        Row("mean score of calm segments with a face", mean(scores), count),
    ]
    for name, part in table.groupby("recording", sort=False):
        values = ", ".join(f"{value:.1f}" for value in part["score"])
        rows.append(
            Row(f"mean score of {name}", mean(part["score"].to_numpy()), plural(len(part), "segment"), notes=values)
        )
    return rows


def _test_photographs(inputs: Inputs, expression: str) -> list[Path]:
    folder = inputs.data / "faces_london"
    paths = [
        path for path in sorted(folder.glob(f"*_{expression}.jpg")) if part_of_person(int(path.stem[:3])) == "test"
    ]
    if not paths:
        raise SettingsError(f"{folder} has no {expression} photographs of test people", "see weights/recipe/README.md")
    return paths[:: 2 if inputs.quick else 1]


def _still(photograph: Path, out: Path) -> Path:
    """A 3-s silent video of a photograph, held by a hand that is not quite still. An existing `out` is kept."""
    if not out.exists():
        image = cv2.imread(str(photograph))
        if image is None:
            raise SettingsError(f"{photograph} cannot be read", "replace it")
        frames = _handheld(np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), np.uint8))
        partial = out.with_suffix(".partial.mp4")
        write_recording(partial, frames, (_SIDE_PX, _SIDE_PX), _FPS, None)
        partial.replace(out)
    return out


def _handheld(image: Frame) -> Iterator[Frame]:
    height, width = image.shape[:2]
    scale = _SIDE_PX / min(height, width)
    for index in range(round(WINDOW_S * _FPS)):
        x_px, y_px, zoom, roll_deg = _camera(index / _FPS)
        matrix = cv2.getRotationMatrix2D((width / 2, height / 2), roll_deg, scale * zoom)
        matrix[:, 2] += (_SIDE_PX / 2 + x_px - width / 2, _SIDE_PX / 2 + y_px - height / 2)
        frame = cv2.warpAffine(
            image, matrix, (_SIDE_PX, _SIDE_PX), flags=cv2.INTER_AREA, borderMode=cv2.BORDER_REPLICATE
        )
        yield np.asarray(frame, np.uint8)


def _camera(time_s: float) -> tuple[float, float, float, float]:
    """Slight motion of a camera: x and y in pixels, zoom, and roll in degrees."""
    wave = np.sin(2 * np.pi * time_s * np.array([0.31, 0.47, 0.23, 0.37]) + np.array([0.0, 1.0, 2.0, 3.0]))
    return 4.0 * wave[0], 3.0 * wave[1], 1.0 + 0.01 * wave[2], 0.8 * wave[3]


def pain_expression(pain: float) -> Expression:
    """Mean expression at a pain from 0 to 10: every unit of pain by its response, with the middle of its gains."""
    strengths = {}
    for name, unit in trajectory_params().pain_units.items():
        above = np.clip((pain - unit.from_pain) / (PAIN_MAX - unit.from_pain), 0.0, 1.0)
        strengths[name] = float(np.mean(unit.gain) * above**unit.curve)
    return Expression(**{field.name: strengths.get(field.name, 0.0) for field in fields(Expression)})


def _alter(renderer: FaceRenderer, paths: Mapping[int, Path]) -> None:
    """Write a silent 3-s video of a person for each pain level."""
    size_px = (_SIDE_PX, _SIDE_PX)
    behind = np.full((_SIDE_PX, _SIDE_PX, 3), 150, np.uint8)
    for level, out in paths.items():
        frames = []
        for index in range(round(WINDOW_S * _ALTERED_FPS)):
            x_px, y_px, zoom, roll_deg = _camera(index / _ALTERED_FPS)
            view = View(*size_px, _FACE_PX * zoom, (x_px, y_px), yaw_deg=2.0 * roll_deg, roll_deg=roll_deg)
            frames.append(renderer.frame(pain_expression(level), view, behind))
        partial = out.with_suffix(".partial.mp4")
        write_recording(partial, frames, size_px, _ALTERED_FPS, None)
        partial.replace(out)
