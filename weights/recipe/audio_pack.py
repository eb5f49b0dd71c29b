"""Pack real voices and sounds of surroundings small enough to travel, and unpack them into one array.

    .venv/bin/python -m weights.recipe.audio_pack DATA --surroundings FOLDER --out PACK

DATA has `emogator/` (vocal bursts, `CONTRIBUTOR/CATEGORY-TAKE.ogg`) and `cries_more/` (`dDEVICE_..._.ogg`), as
README.md says how to get them. FOLDER has `index.csv` (file, group, split) and the files that it names. Talk is
synthesised, since none of these holds any. Everything is encoded alike, so that no group is known by its codec: Opus,
16 kHz, one file per person. Clips of test contributors are kept for the categories that are measured only.

Writing needs ffmpeg; reading needs soundfile only.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import pandas as pd
import soundfile
import soxr
import typer

from avpenet_cli.phantom.parameters.voice_params import SAMPLE_RATE_HZ as VOICE_RATE_HZ
from avpenet_cli.phantom.voice.non_pain_sounds import draw_any_vocality
from avpenet_cli.phantom.voice.talk import talk
from weights.recipe.splits import Part, part_of_contributor, part_of_device
from weights.recipe.surroundings import SURROUNDINGS, draw_surroundings

RATE_HZ = 16_000
BIT_RATE = "12k"
TEACHER_FILE = "teacher.npz"
GAP_SAMPLES = 960
"""Zeros between the clips of a file: an Opus frame, so that the codec does not carry one clip into the next."""
CATEGORIES = (
    *("Adoration", "Amusement", "Anger", "Awe", "Confusion", "Contempt", "Contentment", "Desire"),
    *("Disappointment", "Disgust", "Distress", "Ecstasy", "Elation", "Embarrassment", "Fear", "Guilt"),
    *("Interest", "Neutral", "Pain", "Pride", "Realization", "Relief", "Romantic Love", "Sadness", "Serenity"),
    *("Shame", "Surprise (Negative)", "Surprise (Positive)", "Sympathy", "Triumph"),
)
"""Of EmoGator, in the order of its numbers, which begin at 1."""
CALM = ("Amusement", "Contentment", "Elation", "Neutral", "Relief")
"""Categories that Pain must stand out from."""
MEASURED = ("Pain", "Distress", *CALM)
COLUMNS = ("group", "kind", "person", "part", "start", "samples")
"""Of a pack's index: group is burst, cry, speech or surroundings; kind a category or kind of surroundings."""


@dataclass(frozen=True, eq=False)
class AudioSet:
    """Clips in one array.

    Attributes:
        samples: (n,) int16, 16 kHz, all clips one after the other.
        index: a row per clip with `COLUMNS`; `start` and `samples` count samples of the array.
    """

    samples: np.ndarray
    index: pd.DataFrame


@dataclass(frozen=True, eq=False)
class Teacher:
    """What a teacher says of each clip of a pack (`audio_teacher.py`).

    Attributes:
        embedding: (clips, d) float32, of unit variance.
        crying: (clips,) float32, highest probability of crying, [0, 1].
    """

    embedding: np.ndarray
    crying: np.ndarray


@dataclass(frozen=True)
class Source:
    """A recording and what it holds; see `COLUMNS`."""

    path: Path
    group: str
    kind: str
    person: str
    part: str


def burst_sources(folder: Path) -> Iterator[Source]:
    """Clips of EmoGator, without those of test contributors in categories that are not measured."""
    for path in sorted(folder.glob("*/*-*.ogg")):
        part = part_of_contributor(int(path.parent.name))
        category = CATEGORIES[int(path.name[:2]) - 1]
        if part != "test" or category in MEASURED:
            yield Source(path, "burst", category, f"burst-{path.parent.name}", part)


def cry_sources(folder: Path) -> Iterator[Source]:
    """Infant cries by the device that recorded them."""
    for path in sorted(folder.glob("d*_*.ogg")):
        device = path.name.split("_", 1)[0]
        yield Source(path, "cry", "cry", f"cry-{device}", part_of_device(int(device[1:])))


def surroundings_sources(folder: Path) -> Iterator[Source]:
    """Sounds of surroundings, and speech, of `index.csv`; those of one kind and part count as one person's."""
    table = pd.read_csv(folder / "index.csv", dtype=str)
    for file, kind, part in zip(table["file"], table["group"], table["split"], strict=True):
        group = "speech" if kind == "speech" else "surroundings"
        yield Source(folder / file, group, kind, f"{group}-{kind}-{part}", part)


def read_source(source: Source) -> np.ndarray:
    """(samples,) int16 mono at 16 kHz.

    Raises:
        ValueError: the file has another sampling rate.
    """
    audio, rate_hz = soundfile.read(source.path, dtype="int16", always_2d=True)
    if rate_hz != RATE_HZ:
        raise ValueError(f"{source.path} is at {rate_hz} Hz: convert it to {RATE_HZ} Hz")
    first: np.ndarray = audio[:, 0]
    return first


def synthesised(clips: int, seed: int) -> Iterator[tuple[Source, np.ndarray]]:
    """Surroundings, `clips` of 3 to 5 s of each kind, and as much talk as of two kinds; a tenth is for validation."""
    for number in range(clips * (len(SURROUNDINGS) + 2)):
        rng = np.random.default_rng([seed, number])
        part: Part = "validation" if number // len(SURROUNDINGS) % 10 == 1 else "train"
        seconds = float(rng.uniform(3.0, 5.0))
        if number < clips * len(SURROUNDINGS):
            kind = SURROUNDINGS[number % len(SURROUNDINGS)]
            source = Source(Path(), "surroundings", kind, f"synthesised-{kind}-{part}", part)
            audio = draw_surroundings(kind, seconds, rng, RATE_HZ)
        else:
            source = Source(Path(), "speech", "speech", f"synthesised-speech-{part}", part)
            audio = soxr.resample(talk(seconds, draw_any_vocality("adult", rng), rng), VOICE_RATE_HZ, RATE_HZ)
        yield source, np.clip(audio * 32767, -32767, 32767).astype(np.int16)


def gather(clips: Iterable[tuple[Source, np.ndarray]]) -> AudioSet:
    """Join clips, each (samples,) int16, in one array; empty ones are left out."""
    parts, rows, start = [], [], 0
    for source, audio in clips:
        if audio.size:
            rows.append((source.group, source.kind, source.person, source.part, start, audio.size))
            parts.append(audio)
            start += audio.size
    samples = np.concatenate(parts) if parts else np.zeros(0, np.int16)
    return AudioSet(samples, pd.DataFrame(rows, columns=list(COLUMNS)))


def write_pack(audio: AudioSet, out: Path, bit_rate: str = BIT_RATE) -> None:
    """Write a folder with `index.parquet` and an Opus file per person; files that exist are kept."""
    out.mkdir(parents=True, exist_ok=True)
    rows = []
    for person in sorted(set(audio.index["person"])):
        file, at, pieces = f"{person}.ogg", 0, []
        for clip in audio.index[audio.index["person"] == person].to_dict("records"):
            samples = audio.samples[clip["start"] : clip["start"] + clip["samples"]]
            pieces += [samples, np.zeros(GAP_SAMPLES, np.int16)]
            rows.append((clip["group"], clip["kind"], person, clip["part"], at, samples.size, file))
            at += samples.size + GAP_SAMPLES
        if not (out / file).exists():
            _encode(np.concatenate(pieces), out / file, bit_rate)
    pd.DataFrame(rows, columns=[*COLUMNS, "file"]).to_parquet(out / "index.parquet", index=False)


def _encode(samples: np.ndarray, path: Path, bit_rate: str) -> None:
    # Frames of 60 ms need a tenth fewer bits than those of 20 ms at the same error of the spectrograms.
    codec = ["-c:a", "libopus", "-b:a", bit_rate, "-vbr", "on", "-compression_level", "10", "-frame_duration", "60"]
    partial = path.with_suffix(".part.ogg")
    wave = ["-f", "s16le", "-ar", str(RATE_HZ), "-ac", "1", "-i", "-"]
    subprocess.run(
        ["ffmpeg", "-v", "error", "-y", *wave, "-threads", "1", *codec, str(partial)],
        input=samples.tobytes(),
        check=True,
    )
    partial.replace(path)


def read_pack(folder: Path, jobs: int) -> AudioSet:
    """Decode a pack with `jobs` threads.

    Raises:
        ValueError: a file is shorter than its clips.
    """
    index = pd.read_parquet(folder / "index.parquet")
    files = list(dict.fromkeys(index["file"]))
    # libsndfile decodes without holding the interpreter's lock.
    with ThreadPoolExecutor(jobs) as pool:
        decoded = list(pool.map(lambda file: soundfile.read(folder / file, dtype="int16"), files))
    begins = {}
    at = 0
    for file, (audio, rate_hz) in zip(files, decoded, strict=True):
        needed = int((index["start"] + index["samples"])[index["file"] == file].max())
        if rate_hz != RATE_HZ or audio.ndim != 1 or len(audio) < needed:
            raise ValueError(f"{folder / file}: {audio.shape} samples at {rate_hz} Hz, {needed} at {RATE_HZ} Hz needed")
        begins[file] = at
        at += len(audio)
    samples = np.concatenate([audio for audio, _ in decoded])
    index["start"] += index["file"].map(begins)
    return AudioSet(samples, index[list(COLUMNS)])


def read_teacher(folder: Path) -> Teacher | None:
    """What the teacher says of the clips of a pack; None where the pack has none."""
    if not (folder / TEACHER_FILE).exists():
        return None
    with np.load(folder / TEACHER_FILE) as arrays:
        return Teacher(arrays["embedding"].astype(np.float32), arrays["crying"].astype(np.float32))


def read_originals(data: Path, surroundings: Path | None, clips_per_kind: int = 30, jobs: int = 2) -> AudioSet:
    """The clips as they are, before any encoding, and `clips_per_kind` synthesised surroundings of each kind."""
    sources = [*burst_sources(data / "emogator"), *cry_sources(data / "cries_more")]
    if surroundings:
        sources += surroundings_sources(surroundings)
    with ThreadPoolExecutor(jobs) as pool:
        read = list(zip(sources, pool.map(read_source, sources), strict=True))
    return gather([*read, *synthesised(clips_per_kind, 20261126)])


def main(
    data: Annotated[Path, typer.Argument(help="Folder with emogator and cries_more.")],
    out: Annotated[Path, typer.Option(help="Folder for the pack.")],
    surroundings: Annotated[Path | None, typer.Option(help="Folder with index.csv.")] = None,
    clips_per_kind: Annotated[int, typer.Option(help="Synthesised surroundings of each kind.")] = 30,
    bit_rate: Annotated[str, typer.Option(help="Of Opus.")] = BIT_RATE,
) -> None:
    """Encode the clips that the audio encoder is pretrained on."""
    audio = read_originals(data, surroundings, clips_per_kind)
    write_pack(audio, out, bit_rate)
    size = sum(path.stat().st_size for path in out.iterdir())
    groups = audio.index.groupby(["group", "part"])["samples"].agg(["count", "sum"])
    print(groups.assign(minutes=groups["sum"] / RATE_HZ / 60).drop(columns="sum").round(1))
    print(f"{size / 1e6:.1f} MB in {out}")


if __name__ == "__main__":
    typer.run(main)
