"""Many more phantoms than a set of recordings shows, seen for moments or heard for seconds, to pretrain on.

    .venv/bin/python -m examples.phantom_crowd faces --subjects 1400 --seed 1001 --out crowd
    .venv/bin/python -m examples.phantom_crowd sounds --subjects 800 --seed 1001 --out crowd

An encoder needs many people more than much of each: a brow may lie low because it hurts or because it always does.
A subject costs half a second here, against several for a recording. Half of the pictures show what the subject does in
a minute, half are posed: every action unit drawn for itself, so that none can be told by another. No recording is
written: pictures pass through JPEG of a random quality, sounds through nothing. Take another seed than for the
recordings: the people of one seed are the same everywhere.

Each subject becomes `faces/NAME.jpg`, the aligned faces side by side, and `faces/NAME.npy`, their units; or
`sounds/NAME.npz`, spectrograms, what is uttered in each 0.3 s, and pain. Given again, the same command goes on where it
was stopped.
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
from avpenet_cli.phantom.head.built_in import built_in_head
from avpenet_cli.phantom.parameters.voice_params import SAMPLE_RATE_HZ
from avpenet_cli.phantom.scene import Scene, draw_scene, render_audio, render_frames
from avpenet_cli.phantom.subjects import draw_subject
from avpenet_cli.settings import WINDOW_S, AudioSettings, FaceSettings
from avpenet_cli.storage import atomic_write

PICTURES = 12
TOKENS, TOKEN_S = 10, 0.3
_SEEN_S, _HEARD_S = 60.0, 18.0
_POSED_ACTIVE = 0.5
_CODEC_QUALITY = (35, 95)
_KEPT_QUALITY = 95
_SEED_FILE = "seed.txt"


def _scene(number: int, seed: int, length_s: float) -> Scene:
    return draw_scene(draw_subject(number, seed, "both"), length_s, seed * 1_000_003 + number * 1009)


def _rgb(picture: np.ndarray | None) -> np.ndarray:
    assert picture is not None
    return cv2.cvtColor(picture, cv2.COLOR_BGR2RGB)


# --- faces -----------------------------------------------------------------------------------------------------------


def thinned(scene: Scene, pictures: int, rng: np.random.Generator) -> Scene:
    """So many moments of a scene, spread over all of it; in every other one the face is posed."""
    motion = scene.motion
    kept = np.linspace(0, len(motion.units) - 1, pictures).round().astype(int)
    units = motion.units[kept]
    posed = rng.uniform(0.0, 1.0, units.shape) * (rng.random(units.shape) < _POSED_ACTIVE)
    units[1::2] = posed[1::2]
    thin = replace(
        motion,
        units=units,
        yaw_deg=motion.yaw_deg[kept],
        pitch_deg=motion.pitch_deg[kept],
        roll_deg=motion.roll_deg[kept],
        sway=motion.sway[kept],
    )
    return replace(scene, motion=thin, fps=pictures / scene.duration_s)


@cache
def _detector() -> FaceDetector:
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    return FaceDetector(FaceSettings(), torch.device("cpu"))


def make_faces(number: int, seed: int, out: Path) -> int:
    """The faces of one subject; how many were found."""
    scene = _scene(number, seed, _SEEN_S)
    out.mkdir(parents=True, exist_ok=True, mode=0o700)
    strip, table = out / f"{scene.subject.name}.jpg", out / f"{scene.subject.name}.npy"
    if table.exists():
        return len(np.load(table))
    rng = np.random.default_rng([seed, number, 1])
    scene = thinned(scene, PICTURES, rng)
    seen = []
    for picture in render_frames(scene, built_in_head()):
        quality = [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(*_CODEC_QUALITY))]
        _, packed = cv2.imencode(".jpg", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), quality)
        seen.append(_rgb(cv2.imdecode(packed, cv2.IMREAD_COLOR)))
    found = _detector().detect(seen)
    # The widest is the patient's, for a visitor stands further off; where only one of both was found, who knows.
    kept = [place for place, faces in enumerate(found) if len(faces) > _visited(scene, place)]
    if kept:
        crops = np.concatenate([align(seen[place], found[place][0], FaceSettings()) for place in kept], axis=1)
        cv2.imwrite(str(strip), cv2.cvtColor(crops, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, _KEPT_QUALITY])
    np.save(table, scene.motion.units[kept].astype(np.float32))
    return len(kept)


def _visited(scene: Scene, place: int) -> bool:
    visitor = scene.visitor
    return visitor is not None and visitor.start_s <= (place + 0.5) / scene.fps < visitor.end_s


def faces_of(folder: Path, side_px: int, every: int = 1) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Crops, (side, side, 3) uint8 RGB each, and their action units, (9,) float32; of every so many subjects."""
    crops: list[np.ndarray] = []
    units: list[np.ndarray] = []
    for strip in sorted(folder.glob("faces/*.jpg"))[::every]:
        picture = _rgb(cv2.imread(str(strip)))
        size = (picture.shape[1] * side_px // picture.shape[0], side_px)
        crops += np.split(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), size[0] // side_px, axis=1)
        units += list(np.load(strip.with_suffix(".npy")))
    return crops, units


# --- sounds ----------------------------------------------------------------------------------------------------------


def uttered(scene: Scene, start_s: float, kinds: list[str]) -> np.ndarray:
    """Shares of each 0.3 s of a segment that a kind of utterance takes: (10, kinds) float32."""
    begins = start_s + TOKEN_S * np.arange(TOKENS)
    shares = np.zeros((TOKENS, len(kinds)), np.float32)
    for one in (*scene.utterances, *scene.non_pain):
        if one.kind in kinds:
            ends = np.minimum(begins + TOKEN_S, one.start_s + one.length_s)
            shares[:, kinds.index(one.kind)] += np.clip(ends - np.maximum(begins, one.start_s), 0.0, None) / TOKEN_S
    return shares.clip(0.0, 1.0)


def kinds_of(scenes: Iterable[Scene]) -> list[str]:
    """Every kind of utterance that is heard, by name."""
    return sorted({one.kind for scene in scenes for one in (*scene.utterances, *scene.non_pain)})


def make_sounds(number: int, seed: int, out: Path) -> int:
    """The segments of one subject's sound; how many."""
    torch.set_num_threads(1)
    scene = _scene(number, seed, _HEARD_S)
    out.mkdir(parents=True, exist_ok=True, mode=0o700)
    path = out / f"{scene.subject.name}.npz"
    starts_s = np.arange(0.0, _HEARD_S - WINDOW_S + 0.1, WINDOW_S)
    if path.exists():
        return len(starts_s)
    heard, settings = render_audio(scene), AudioSettings()
    profile = survey([heard], SAMPLE_RATE_HZ, settings)
    windows = [(float(start_s), WINDOW_S) for start_s in starts_s]
    mels = [one.mel for one in segments([heard], SAMPLE_RATE_HZ, windows, profile, settings, 1.0)]
    kinds = kinds_of([scene])
    with atomic_write(path) as file:
        np.savez(
            file,
            mels=np.stack(mels).astype(np.float16),
            kinds=np.array(kinds, dtype=str),
            uttered=np.stack([uttered(scene, start_s, kinds) for start_s in starts_s]),
            pain=np.array([_rated(scene, start_s) for start_s in starts_s], np.float32),
        )
    return len(starts_s)


def _rated(scene: Scene, start_s: float) -> float:
    """As the truth of a recording is: the median over the segment's seconds."""
    return float(np.median([scene.trajectory.mean_over(start_s + k, start_s + k + 1) for k in range(round(WINDOW_S))]))


def sounds_of(folder: Path, kinds: list[str]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Spectrograms (n, 1, 128, 300), shares that each of these kinds takes (n, 10, kinds), pain (n,); float32."""
    mels, shares, pain = [], [], []
    for path in sorted(folder.glob("sounds/*.npz")):
        with np.load(path) as kept:
            own = np.zeros((*kept["uttered"].shape[:2], len(kinds)), np.float32)
            for place, kind in enumerate(kept["kinds"]):
                if kind in kinds:
                    own[:, :, kinds.index(kind)] = kept["uttered"][:, :, place]
            mels.append(kept["mels"][:, None].astype(np.float32))
            shares.append(own)
            pain.append(kept["pain"])
    return np.concatenate(mels), np.concatenate(shares), np.concatenate(pain)


# --- the command -----------------------------------------------------------------------------------------------------

app = typer.Typer(help=__doc__, add_completion=False)
Out = Annotated[Path, typer.Option(help="Folder for them.")]
Jobs = Annotated[int, typer.Option(help="Processes.")]


@app.command("faces")
def faces(out: Out, subjects: int = 1400, seed: int = 1001, jobs: Jobs = 2) -> None:
    """Make faces with known action units."""
    _make_all(make_faces, out / "faces", subjects, seed, jobs)


@app.command("sounds")
def sounds(out: Out, subjects: int = 800, seed: int = 1001, jobs: Jobs = 2) -> None:
    """Make sounds of known utterances and pain."""
    _make_all(make_sounds, out / "sounds", subjects, seed, jobs)


def seed_of(folder: Path) -> int | None:
    """The seed of a crowd's faces or sounds; None where there are none."""
    note = folder / _SEED_FILE
    return int(note.read_text()) if note.exists() else None


def _make_all(make: Callable[..., int], out: Path, subjects: int, seed: int, jobs: int) -> None:
    if seed_of(out) not in (None, seed):
        raise typer.BadParameter(f"{out} holds those of seed {seed_of(out)}: give another --out")
    out.mkdir(parents=True, exist_ok=True, mode=0o700)
    (out / _SEED_FILE).write_text(f"{seed}\n")
    with ProcessPoolExecutor(jobs, multiprocessing.get_context("spawn")) as pool:
        made = pool.map(partial(make, seed=seed, out=out), range(subjects))
        count = sum(track(made, "subjects", total=subjects))
    print(f"{count} {out.name} of {subjects} subjects in {out}")


if __name__ == "__main__":
    app()
