"""Pretraining subjects: phantoms as aligned faces with action units and spectrograms with pain, without recordings.

    .venv/bin/python -m weights.recipe.subjects audio --subjects 2400 --seed 3001 --voices DATA --out subjects
    .venv/bin/python -m weights.recipe.subjects faces --subjects 2400 --seed 3001 --heads DATA/mesh \
        --photographs DATA/faces_london --out subjects
    .venv/bin/python -m weights.recipe.subjects stills --photographs DATA/faces_london --out subjects

Encoders need many subjects more than much of each: a brow may be low in pain or by anatomy. A subject costs some
seconds here and no video encoding. `audio` and `faces` draw the same scenes from the same seed, so both describe the
same segments; `faces` and `stills` need no ffmpeg and can run on another machine. Take another seed than
for recordings.

Faces are those of the built-in head, of MakeHuman's heads with photographic skin (`--heads`) and of altered photographs
(`--photographs`); voices are synthetic or real (`--voices`). Only people, contributors and devices of the train part
are used (`weights/recipe/splits.py`). Of every subject, two thirds of the faces show what it does in the segments whose
audio is kept, the others are posed: every action unit is drawn independently, so that none can be inferred from
another. `stills` are photographs of people at rest, smiling or made to talk, without pain.

Each subject becomes `faces/NAME.jpg`, aligned faces side by side, with `faces/NAME.npz`, and `audio/NAME.webp`,
spectrograms one above the other as grey levels, with `audio/NAME.npz`. An interrupted command resumes when given again.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, fields, replace
from functools import cache, partial
from pathlib import Path
from typing import Annotated

import cv2
import numpy as np
import typer

from avpenet_cli.phantom.camera.effects import NO_EFFECTS, CameraChoice, map_points
from avpenet_cli.phantom.camera.imaging import apply, compress_jpeg, matching_jpeg_quality
from avpenet_cli.phantom.camera.ward import ward_view
from avpenet_cli.phantom.face.people import FaceRenderer, FaceSource, built_in_faces, load_faces
from avpenet_cli.phantom.face.renderer import Frame, View
from avpenet_cli.phantom.head.model import Expression
from avpenet_cli.phantom.photographs.source import Photographs
from avpenet_cli.phantom.scene import Scene, background, draw_scene
from avpenet_cli.phantom.subjects import draw_subject
from avpenet_cli.phantom.voice.bank import VoiceBank
from avpenet_cli.phantom.voice.recorded import RecordedSpeaker
from avpenet_cli.phantom.voice.speaker import Speaker
from avpenet_cli.settings import WINDOW_S, FaceSettings
from avpenet_cli.storage import atomic_write
from weights.recipe.crops import crop_at
from weights.recipe.splits import part_of_contributor, part_of_device, part_of_person

LENGTH_S = 18.0
SEGMENTS = 3
"""Segments kept of each subject, of the six of its scene."""
FRAMES = 8
"""Faces kept of each segment."""
POSED = 12
"""Posed faces of each subject."""
STILLS = 24
"""Faces of each photographed person without pain."""
NO_SEGMENT = -1

_SHARES = {
    "adult": {"built-in": 0.2, "heads": 0.35, "photographs": 0.45},
    "neonate": {"built-in": 0.35, "heads": 0.65},
}
_POSED_ACTIVE = 0.5
_SMILING = 0.4
_WARD_SHARE = 0.4
_CODEC_QUALITY = (35, 95)
_STORED_QUALITY = 93
_MEL_QUALITY = 70
"""Of spectrograms as WebP: 8 kB each, at a mean error of 0.016."""
_CANVAS = 2.4
"""Side of the rendered part of the frame, in widths of the face."""
_SEED_FILE = "seed.txt"


@dataclass(frozen=True)
class FaceFolders:
    """Where faces that are not built in come from; None for none.

    Attributes:
        heads: folder with MakeHuman's meshes and skins.
        photographs: folder of photographs with points.
    """

    heads: Path | None
    photographs: Path | None


def scene_of(number: int, seed: int) -> Scene:
    """The scene of a subject, the same for its faces and its audio, and in part of the cases in a ward."""
    camera: CameraChoice = "ward" if np.random.default_rng([seed, number, 4]).random() < _WARD_SHARE else "site"
    subject = draw_subject(number, seed, "both")
    return draw_scene(subject, LENGTH_S, seed * 1_000_003 + number * 1009, camera_choice=camera)


def kept_starts_s(number: int, seed: int) -> np.ndarray:
    """Starts of a subject's kept segments, s: (SEGMENTS,) float64, ascending."""
    rng = np.random.default_rng([seed, number, 2])
    return WINDOW_S * np.sort(rng.choice(int(LENGTH_S / WINDOW_S), SEGMENTS, replace=False)).astype(np.float64)


# --- faces -----------------------------------------------------------------------------------------------------------


@cache
def _source(kind: str, folders: FaceFolders) -> FaceSource:
    cv2.setNumThreads(1)
    if kind == "heads":
        assert folders.heads is not None
        return load_faces(folders.heads)
    if kind == "photographs":
        assert folders.photographs is not None
        return Photographs(folders.photographs, keep=lambda person: part_of_person(person) == "train")
    return built_in_faces()


def face_kind(scene: Scene, folders: FaceFolders, rng: np.random.Generator) -> str:
    """Draw where a subject's face comes from."""
    available = {"built-in", *(name for name in ("heads", "photographs") if getattr(folders, name) is not None)}
    shares = {kind: share for kind, share in _SHARES[scene.subject.age_group].items() if kind in available}
    total = sum(shares.values())
    return str(rng.choice(list(shares), p=[share / total for share in shares.values()]))


@dataclass(frozen=True)
class _Moment:
    """A frame to render: its number in the scene, its action units, and its segment or `NO_SEGMENT`."""

    frame: int
    units: np.ndarray
    segment: int


def _moments(scene: Scene, starts_s: np.ndarray, rng: np.random.Generator) -> Iterator[_Moment]:
    motion = scene.motion
    last = len(motion.units) - 1
    for segment, start_s in enumerate(starts_s):
        for index in range(FRAMES):
            at_s = start_s + (index + rng.uniform(0.2, 0.8)) * WINDOW_S / FRAMES
            frame = min(int(at_s * scene.fps), last)
            yield _Moment(frame, motion.units[frame], segment)
    for index in range(POSED):
        count = motion.units.shape[1]
        # Faces at rest and single units are rare among independent draws.
        active = _POSED_ACTIVE if index % 4 else 0.2 * _POSED_ACTIVE
        units = np.where(rng.random(count) < active, rng.uniform(0.0, 1.0, count), 0.0)
        yield _Moment(int(rng.integers(last + 1)), units, NO_SEGMENT)


def make_faces(number: int, seed: int, out: Path, folders: FaceFolders) -> int:
    """Make the faces of one subject; returns their number."""
    scene = scene_of(number, seed)
    table = out / f"{scene.subject.name}.npz"
    if table.exists():
        with np.load(table) as stored:
            return len(stored["units"])
    rng = np.random.default_rng([seed, number, 1])
    kind = face_kind(scene, folders, rng)
    renderer = _source(kind, folders).renderer(scene.subject.look)
    starts_s = kept_starts_s(number, seed)
    moments = list(_moments(scene, starts_s, rng))
    studio = _studio(scene, renderer, rng)
    crops = [_crop(scene, moment, studio, rng) for moment in moments]
    _save(table, crops, moments, [_pain(scene, start_s) for start_s in starts_s], kind, scene.subject.age_group)
    return len(crops)


def _save(
    table: Path, crops: list[np.ndarray], moments: list[_Moment], pain: list[float], kind: str, age_group: str
) -> None:
    quality = [cv2.IMWRITE_JPEG_QUALITY, _STORED_QUALITY]
    strip = cv2.cvtColor(np.concatenate(crops, axis=1), cv2.COLOR_RGB2BGR)
    cv2.imwrite(str(table.with_suffix(".jpg")), strip, quality)
    with atomic_write(table) as file:
        np.savez(
            file,
            units=np.stack([moment.units for moment in moments]).astype(np.float32),
            segment=np.array([moment.segment for moment in moments], np.int8),
            pain=np.array(pain, np.float32),
            kind=np.array(kind),
            age_group=np.array(age_group),
        )


@dataclass(frozen=True)
class _Studio:
    """Who is rendered and where: view and background of the part of the frame around the face."""

    renderer: FaceRenderer
    canvas: View
    backdrop: Frame


def _studio(scene: Scene, renderer: FaceRenderer, rng: np.random.Generator) -> _Studio:
    side = round(_CANVAS * scene.view.face_width_px)
    canvas = replace(scene.view, width_px=side, height_px=side, offset_px=(0.0, -0.05 * side))
    if scene.effects.patient_roll_deg:
        canvas = ward_view(canvas, scene.effects, rng)
    return _Studio(renderer, canvas, background(canvas, rng))


def _crop(scene: Scene, moment: _Moment, studio: _Studio, rng: np.random.Generator) -> np.ndarray:
    motion, canvas, effects, renderer = scene.motion, studio.canvas, scene.effects, studio.renderer
    side = canvas.width_px
    across, down = rng.normal(0.0, 0.03, 2) * side
    view = replace(
        canvas,
        offset_px=(canvas.offset_px[0] + float(across), canvas.offset_px[1] + float(down)),
        yaw_deg=float(motion.yaw_deg[moment.frame]),
        pitch_deg=float(motion.pitch_deg[moment.frame]),
        roll_deg=float(motion.roll_deg[moment.frame]) + effects.patient_roll_deg,
    )
    expression = Expression(*(float(value) for value in moment.units))
    cover = scene.cover_at((moment.frame + 0.5) / scene.fps)
    frame = renderer.frame(expression, view, studio.backdrop, cover)
    points = renderer.landmarks_px(expression, view)
    if effects == NO_EFFECTS:
        noise = (scene.noise_levels * rng.standard_normal(frame.shape, np.float32)).astype(np.int16)
        frame = np.asarray(cv2.add(frame, noise, dtype=cv2.CV_8U), np.uint8)
    else:
        motion_px = rng.normal(0.0, 0.012, 2) * canvas.face_width_px
        frame = apply(frame, effects, rng, (float(motion_px[0]), float(motion_px[1])), points[:2])
        points = map_points(points, effects, (side, side))
    frame = compress_jpeg(frame, matching_jpeg_quality(effects) or int(rng.integers(*_CODEC_QUALITY)))
    return crop_at(frame, points, FaceSettings(), rng)


def _pain(scene: Scene, start_s: float) -> float:
    """Median over the segment's seconds, as for the truth of a recording."""
    return float(np.median([scene.trajectory.mean_over(start_s + k, start_s + k + 1) for k in range(round(WINDOW_S))]))


def make_stills(number: int, seed: int, out: Path, photographs: Path) -> int:
    """Make faces without pain of one photographed person, at rest, smiling or talking; returns their number."""
    name = f"P{number + 1:04d}"
    table = out / f"{name}.npz"
    if table.exists():
        return STILLS
    rng = np.random.default_rng([seed, number, 5])
    camera: CameraChoice = "ward" if rng.random() < _WARD_SHARE else "site"
    subject = draw_subject(number, seed, "adult")
    scene = draw_scene(subject, LENGTH_S, seed * 1_000_003 + number * 1009, camera_choice=camera)
    source = _source("photographs", FaceFolders(None, photographs))
    assert isinstance(source, Photographs)
    people = len(source.people)
    # Many as photographed: altered identities must not be what tells faces without pain from others, or the reverse.
    identity = int(rng.integers(people)) + (people * int(rng.integers(1, 1000)) if rng.random() < 0.5 else 0)
    look = replace(subject.look, identity=identity)
    smiles = rng.random() < _SMILING
    renderer = source.smiling_renderer(look) if smiles else source.renderer(look)
    frames = rng.integers(len(scene.motion.units), size=STILLS)
    moments = [_Moment(int(frame), _calm(smiles, rng), NO_SEGMENT) for frame in frames]
    studio = _studio(scene, renderer, rng)
    _save(table, [_crop(scene, moment, studio, rng) for moment in moments], moments, [], "stills", "adult")
    return STILLS


def _calm(smiles: bool, rng: np.random.Generator) -> np.ndarray:
    """Action units of a person without pain: at rest, smiling, talking, blinking."""
    units = dict.fromkeys((field.name for field in fields(Expression)), 0.0)
    if smiles:
        units |= {"lip_corner_pull": 0.8, "orbit_tighten": 0.25}
    elif rng.random() < 0.4:
        units |= {"mouth_open": rng.uniform(0.0, 0.45), "brow_raise": rng.uniform(0.0, 0.3)}
    if rng.random() < 0.08:
        units["eyes_closed"] = 1.0
    return np.array(list(units.values()))


# --- audio ----------------------------------------------------------------------------------------------------------


def make_audio(number: int, seed: int, out: Path, voices: tuple[Path, ...], real_share: float) -> int:
    """Make the audio segments of one subject; returns their number."""
    from avpenet_cli.audio.noise import survey
    from avpenet_cli.audio.segments import segments
    from avpenet_cli.phantom.parameters.voice_params import SAMPLE_RATE_HZ
    from avpenet_cli.phantom.scene import render_audio
    from avpenet_cli.settings import AudioSettings

    scene = scene_of(number, seed)
    strip, table = out / f"{scene.subject.name}.webp", out / f"{scene.subject.name}.npz"
    if table.exists():
        return SEGMENTS
    rng = np.random.default_rng([seed, number, 3])
    speaker = _speaker(scene, number, seed, voices) if voices and rng.random() < real_share else None
    waveform, settings = render_audio(scene, speaker), AudioSettings()
    profile = survey([waveform], SAMPLE_RATE_HZ, settings)
    starts_s = kept_starts_s(number, seed)
    windows = [(float(start_s), WINDOW_S) for start_s in starts_s]
    made = list(segments([waveform], SAMPLE_RATE_HZ, windows, profile, settings, 1.0))
    levels = np.rint(np.concatenate([segment.mel for segment in made]) * 255).astype(np.uint8)
    cv2.imwrite(str(strip), levels, [cv2.IMWRITE_WEBP_QUALITY, _MEL_QUALITY])
    with atomic_write(table) as file:
        np.savez(
            file,
            pain=np.array([_pain(scene, start_s) for start_s in starts_s], np.float32),
            voiced=np.array([segment.voiced for segment in made], np.float32),
            real=np.array(speaker is not None),
        )
    return SEGMENTS


def _is_learnt_from(key: str) -> bool:
    folder, _, name = key.partition("/")
    if folder.startswith("cries"):
        return part_of_device(int(name.lstrip("d"))) == "train"
    return name.isdigit() and part_of_contributor(int(name)) == "train"


@cache
def _voice_bank(folders: tuple[Path, ...]) -> VoiceBank:
    return VoiceBank(folders, keep=_is_learnt_from)


def _speaker(scene: Scene, number: int, seed: int, folders: tuple[Path, ...]) -> Speaker | None:
    subject = scene.subject
    voice = _voice_bank(folders).voice_of(number, subject.age_group, subject.sex, seed)
    return RecordedSpeaker(voice, subject.vocality) if voice else None


# --- the command -----------------------------------------------------------------------------------------------------

app = typer.Typer(help=__doc__, add_completion=False)
Out = Annotated[Path, typer.Option(help="Folder to write to.")]
Jobs = Annotated[int, typer.Option(help="Processes.")]
First = Annotated[int, typer.Option(help="Number of the first subject.")]


@app.command("faces")
def faces(
    out: Out,
    heads: Annotated[Path | None, typer.Option(help="Folder of MakeHuman's heads, as for phantom make.")] = None,
    photographs: Annotated[Path | None, typer.Option(help="Folder of photographs with points.")] = None,
    subjects: int = 2400,
    seed: int = 3001,
    first: First = 0,
    jobs: Jobs = 2,
) -> None:
    """Make faces with known action units."""
    make = partial(make_faces, seed=seed, out=out / "faces", folders=FaceFolders(heads, photographs))
    _make_all(make, out / "faces", range(first, first + subjects), seed, jobs)


@app.command("stills")
def stills(
    out: Out,
    photographs: Annotated[Path, typer.Option(help="Folder of photographs with points.")],
    subjects: int = 300,
    seed: int = 3001,
    first: First = 5000,
    jobs: Jobs = 2,
) -> None:
    """Make faces of photographed people without pain."""
    make = partial(make_stills, seed=seed, out=out / "faces", photographs=photographs)
    _make_all(make, out / "faces", range(first, first + subjects), seed, jobs)


@app.command("audio")
def audio(
    out: Out,
    voices: Annotated[list[Path] | None, typer.Option(help="Folder of real voices, as for phantom make.")] = None,
    real_share: Annotated[float, typer.Option(help="Share of subjects with a real voice.")] = 0.6,
    subjects: int = 2400,
    seed: int = 3001,
    first: First = 0,
    jobs: Jobs = 2,
) -> None:
    """Make spectrograms with known pain."""
    make = partial(make_audio, seed=seed, out=out / "audio", voices=tuple(voices or ()), real_share=real_share)
    _make_all(make, out / "audio", range(first, first + subjects), seed, jobs)


def _make_all(make: Callable[[int], int], out: Path, numbers: range, seed: int, jobs: int) -> None:
    out.mkdir(parents=True, exist_ok=True, mode=0o700)
    path = out / _SEED_FILE
    if path.exists() and int(path.read_text()) != seed:
        raise typer.BadParameter(f"{out} holds subjects of seed {path.read_text().strip()}: give another --out")
    path.write_text(f"{seed}\n")
    with ProcessPoolExecutor(jobs, multiprocessing.get_context("spawn")) as pool:
        count = 0
        for done, made in enumerate(pool.map(make, numbers), 1):
            count += made
            if done % 100 == 0 or done == len(numbers):
                print(f"{done} of {len(numbers)} subjects, {count} items", flush=True)


if __name__ == "__main__":
    app()
