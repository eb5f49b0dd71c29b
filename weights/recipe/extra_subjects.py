"""Extra synthetic subjects for pretraining the encoders: aligned faces and spectrograms, without recordings.

    .venv/bin/python -m weights.recipe.extra_subjects faces --subjects 1400 --seed 1001 --out extra
    .venv/bin/python -m weights.recipe.extra_subjects audio --subjects 800 --seed 1001 --out extra

An encoder needs many subjects more than much of each: a brow may be low in pain or by anatomy. A subject costs half a
second here, against several for a recording. Half of the faces show what the subject does within a minute, half are
posed: every action unit is drawn independently, so that none can be inferred from another. Frames are compressed as
JPEG of a random quality; audio is not compressed. Take another seed than for the recordings: subjects of the same seed
are identical.

Each subject becomes `faces/NAME.jpg`, the aligned faces side by side, and `faces/NAME.npy`, their action units; or
`audio/NAME.npz`: spectrograms, the kinds of utterance in each 0.3 s, and pain. An interrupted command resumes when
given again.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import Annotated

import cv2
import numpy as np
import torch
import typer
from rich.progress import track

from avpenet_cli.audio.noise import survey
from avpenet_cli.audio.segments import segments
from avpenet_cli.face.align import align
from avpenet_cli.face.detect import FaceDetector
from avpenet_cli.phantom.face.people import built_in_faces
from avpenet_cli.phantom.parameters.voice_params import SAMPLE_RATE_HZ
from avpenet_cli.phantom.scene import Scene, draw_scene, render_audio, render_frames
from avpenet_cli.phantom.subjects import draw_subject
from avpenet_cli.settings import WINDOW_S, AudioSettings, FaceSettings
from avpenet_cli.storage import atomic_write

FRAMES = 12
TOKENS, TOKEN_S = 10, 0.3
_VIDEO_S, _AUDIO_S = 60.0, 18.0
_POSED_ACTIVE = 0.5
_CODEC_QUALITY = (35, 95)
_STORED_QUALITY = 95
_SEED_FILE = "seed.txt"


def _scene(number: int, seed: int, length_s: float) -> Scene:
    return draw_scene(draw_subject(number, seed, "both"), length_s, seed * 1_000_003 + number * 1009)


def _rgb(image: np.ndarray | None) -> np.ndarray:
    assert image is not None
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)


# --- faces -----------------------------------------------------------------------------------------------------------


def sample_moments(scene: Scene, moments: int, rng: np.random.Generator) -> Scene:
    """The scene reduced to moments spread over all of it; in every other one the face is posed."""
    motion = scene.motion
    kept = np.linspace(0, len(motion.units) - 1, moments).round().astype(int)
    units = motion.units[kept]
    posed = rng.uniform(0.0, 1.0, units.shape) * (rng.random(units.shape) < _POSED_ACTIVE)
    units[1::2] = posed[1::2]
    sampled = replace(
        motion,
        units=units,
        yaw_deg=motion.yaw_deg[kept],
        pitch_deg=motion.pitch_deg[kept],
        roll_deg=motion.roll_deg[kept],
        sway=motion.sway[kept],
    )
    return replace(scene, motion=sampled, fps=moments / scene.duration_s)


@cache
def _detector() -> FaceDetector:
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    return FaceDetector(FaceSettings(), torch.device("cpu"))


def make_faces(number: int, seed: int, out: Path) -> int:
    """Make the faces of one subject; returns how many were found."""
    scene = _scene(number, seed, _VIDEO_S)
    out.mkdir(parents=True, exist_ok=True, mode=0o700)
    strip, table = out / f"{scene.subject.name}.jpg", out / f"{scene.subject.name}.npy"
    if table.exists():
        return len(np.load(table))
    rng = np.random.default_rng([seed, number, 1])
    scene = sample_moments(scene, FRAMES, rng)
    images = []
    for frame in render_frames(scene, built_in_faces()):
        quality = [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(*_CODEC_QUALITY))]
        _, packed = cv2.imencode(".jpg", cv2.cvtColor(frame, cv2.COLOR_RGB2BGR), quality)
        images.append(_rgb(cv2.imdecode(packed, cv2.IMREAD_COLOR)))
    detected = _detector().detect(images)
    # The widest face is the patient's, since a visitor is farther away; a single face beside a visitor is ambiguous.
    kept = [number for number, faces in enumerate(detected) if len(faces) > _has_visitor(scene, number)]
    if kept:
        crops = np.concatenate([align(images[number], detected[number][0], FaceSettings()) for number in kept], axis=1)
        cv2.imwrite(str(strip), cv2.cvtColor(crops, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, _STORED_QUALITY])
    np.save(table, scene.motion.units[kept].astype(np.float32))
    return len(kept)


def _has_visitor(scene: Scene, frame: int) -> bool:
    visitor = scene.visitor
    return visitor is not None and visitor.start_s <= (frame + 0.5) / scene.fps < visitor.end_s


def load_extra_faces(folder: Path, side_px: int, every: int = 1) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Crops, (side, side, 3) uint8 RGB each, and their action units, (9,) float32, of every `every`th subject."""
    crops: list[np.ndarray] = []
    units: list[np.ndarray] = []
    for strip in sorted(folder.glob("faces/*.jpg"))[::every]:
        image = _rgb(cv2.imread(str(strip)))
        size = (image.shape[1] * side_px // image.shape[0], side_px)
        crops += np.split(cv2.resize(image, size, interpolation=cv2.INTER_AREA), size[0] // side_px, axis=1)
        units += list(np.load(strip.with_suffix(".npy")))
    return crops, units


# --- audio ----------------------------------------------------------------------------------------------------------


def utterance_shares(scene: Scene, start_s: float, kinds: list[str]) -> np.ndarray:
    """Share of each 0.3 s of a segment that each kind of utterance fills: (10, kinds) float32 in [0, 1]."""
    starts = start_s + TOKEN_S * np.arange(TOKENS)
    shares = np.zeros((TOKENS, len(kinds)), np.float32)
    for utterance in (*scene.utterances, *scene.non_pain):
        if utterance.kind in kinds:
            ends = np.minimum(starts + TOKEN_S, utterance.start_s + utterance.length_s)
            shares[:, kinds.index(utterance.kind)] += (
                np.clip(ends - np.maximum(starts, utterance.start_s), 0.0, None) / TOKEN_S
            )
    return shares.clip(0.0, 1.0)


def utterance_kinds(scenes: Iterable[Scene]) -> list[str]:
    """Names of all kinds of utterance in the scenes, sorted."""
    return sorted({item.kind for scene in scenes for item in (*scene.utterances, *scene.non_pain)})


def make_audio(number: int, seed: int, out: Path) -> int:
    """Make the audio segments of one subject; returns how many."""
    torch.set_num_threads(1)
    scene = _scene(number, seed, _AUDIO_S)
    out.mkdir(parents=True, exist_ok=True, mode=0o700)
    path = out / f"{scene.subject.name}.npz"
    starts_s = np.arange(0.0, _AUDIO_S - WINDOW_S + 0.1, WINDOW_S)
    if path.exists():
        return len(starts_s)
    waveform, settings = render_audio(scene), AudioSettings()
    profile = survey([waveform], SAMPLE_RATE_HZ, settings)
    windows = [(float(start_s), WINDOW_S) for start_s in starts_s]
    mels = [segment.mel for segment in segments([waveform], SAMPLE_RATE_HZ, windows, profile, settings, 1.0)]
    kinds = utterance_kinds([scene])
    with atomic_write(path) as file:
        np.savez(
            file,
            mels=np.stack(mels).astype(np.float16),
            kinds=np.array(kinds, dtype=str),
            uttered=np.stack([utterance_shares(scene, start_s, kinds) for start_s in starts_s]),
            pain=np.array([_pain(scene, start_s) for start_s in starts_s], np.float32),
        )
    return len(starts_s)


def _pain(scene: Scene, start_s: float) -> float:
    """Median over the segment's seconds, as for the truth of a recording."""
    return float(np.median([scene.trajectory.mean_over(start_s + k, start_s + k + 1) for k in range(round(WINDOW_S))]))


def load_extra_audio(folder: Path, kinds: list[str]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Spectrograms (n, 1, 128, 300), utterance shares (n, 10, kinds) and pain (n,), float32 each."""
    mels, shares, pain = [], [], []
    for path in sorted(folder.glob("audio/*.npz")):
        with np.load(path) as stored:
            own = np.zeros((*stored["uttered"].shape[:2], len(kinds)), np.float32)
            for number, kind in enumerate(stored["kinds"]):
                if kind in kinds:
                    own[:, :, kinds.index(kind)] = stored["uttered"][:, :, number]
            mels.append(stored["mels"][:, None].astype(np.float32))
            shares.append(own)
            pain.append(stored["pain"])
    return np.concatenate(mels), np.concatenate(shares), np.concatenate(pain)


# --- the command -----------------------------------------------------------------------------------------------------

app = typer.Typer(help=__doc__, add_completion=False)
Out = Annotated[Path, typer.Option(help="Folder to write to.")]
Jobs = Annotated[int, typer.Option(help="Processes.")]


@app.command("faces")
def faces(out: Out, subjects: int = 1400, seed: int = 1001, jobs: Jobs = 2) -> None:
    """Make faces with known action units."""
    _make_all(make_faces, out / "faces", subjects, seed, jobs)


@app.command("audio")
def audio(out: Out, subjects: int = 800, seed: int = 1001, jobs: Jobs = 2) -> None:
    """Make spectrograms with known utterances and pain."""
    _make_all(make_audio, out / "audio", subjects, seed, jobs)


def seed_of(folder: Path) -> int | None:
    """The seed of a folder of faces or audio; None where there are none."""
    path = folder / _SEED_FILE
    return int(path.read_text()) if path.exists() else None


def _make_all(make: Callable[..., int], out: Path, subjects: int, seed: int, jobs: int) -> None:
    if seed_of(out) not in (None, seed):
        raise typer.BadParameter(f"{out} holds subjects of seed {seed_of(out)}: give another --out")
    out.mkdir(parents=True, exist_ok=True, mode=0o700)
    (out / _SEED_FILE).write_text(f"{seed}\n")
    with ProcessPoolExecutor(jobs, multiprocessing.get_context("spawn")) as pool:
        made = pool.map(partial(make, seed=seed, out=out), range(subjects))
        count = sum(track(made, "subjects", total=subjects))
    print(f"{count} items of {subjects} subjects in {out}")


if __name__ == "__main__":
    app()
