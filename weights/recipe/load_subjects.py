"""Load the subjects of `weights.recipe.subjects`: crops with action units, and spectrograms with pain."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor

VALIDATION_EVERY = 20
"""Every 20th subject validates."""


@dataclass(frozen=True)
class Faces:
    """Crops of all subjects.

    Attributes:
        crops: (n, 3, side, side) uint8.
        units: (n, 9) float32 action units.
        subject: (n,) int64 number of the subject.
        segment: (n,) int64 row in `pain`, or -1 for a face that belongs to no segment.
        pain: (k,) float32 pain of each segment.
        kind: (n,) int64 index in `KINDS` of where the face comes from.
    """

    crops: Tensor
    units: Tensor
    subject: Tensor
    segment: Tensor
    pain: Tensor
    kind: Tensor

    @property
    def validates(self) -> Tensor:
        """(n,) bool: crops of subjects that are not trained on."""
        return validates(self.subject)


KINDS = ("built-in", "heads", "photographs", "stills")


def validates(subject: Tensor) -> Tensor:
    """Whether each subject, by its number, is kept for validation."""
    return subject % VALIDATION_EVERY == VALIDATION_EVERY - 1


def number_of(path: Path) -> int:
    """Number of a subject from its file: P0012.jpg is 11."""
    return int(path.stem[1:]) - 1


def load_faces(folder: Path, side_px: int, threads: int) -> Faces:
    """Load all finished subjects of FOLDER/faces."""
    tables = sorted(folder.glob("faces/*.npz"))

    def read(path: Path) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        image = cv2.imread(str(path.with_suffix(".jpg")))
        assert image is not None, path
        if image.shape[0] != side_px:
            count = image.shape[1] // image.shape[0]
            image = cv2.resize(image, (count * side_px, side_px), interpolation=cv2.INTER_AREA)
        rgb = cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
        crops = rgb.reshape(side_px, -1, side_px, 3).transpose(1, 3, 0, 2)
        with np.load(path) as stored:
            return np.ascontiguousarray(crops), dict(stored)

    cv2.setNumThreads(1)
    with ThreadPoolExecutor(threads) as pool:
        loaded = list(pool.map(read, tables))
    counts = [len(crops) for crops, _ in loaded]
    offsets = np.concatenate([[0], np.cumsum([len(table["pain"]) for _, table in loaded])])
    segment = [
        np.where(table["segment"] < 0, -1, table["segment"].astype(np.int64) + offset)
        for (_, table), offset in zip(loaded, offsets[:-1], strict=True)
    ]
    return Faces(
        crops=torch.from_numpy(np.concatenate([crops for crops, _ in loaded])),
        units=torch.from_numpy(np.concatenate([table["units"] for _, table in loaded])),
        subject=torch.from_numpy(np.repeat([number_of(path) for path in tables], counts)),
        segment=torch.from_numpy(np.concatenate(segment)),
        pain=torch.from_numpy(np.concatenate([table["pain"] for _, table in loaded])),
        kind=torch.from_numpy(np.repeat([KINDS.index(str(table["kind"])) for _, table in loaded], counts)),
    )


@dataclass(frozen=True)
class Audio:
    """Spectrograms of all subjects.

    Attributes:
        mels: (k, 1, 128, 300) uint8, 255 for 1.
        pain: (k,) float32.
        subject: (k,) int64 number of the subject.
        index: (k,) int64 which of its subject's kept segments.
        real: (k,) bool, whether the voice is a real one.
    """

    mels: Tensor
    pain: Tensor
    subject: Tensor
    index: Tensor
    real: Tensor


def load_audio(folder: Path, threads: int) -> Audio:
    """Load all finished subjects of FOLDER/audio."""
    tables = sorted(folder.glob("audio/*.npz"))

    def read(path: Path) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        levels = cv2.imread(str(path.with_suffix(".webp")), cv2.IMREAD_GRAYSCALE)
        assert levels is not None, path
        with np.load(path) as stored:
            return levels.reshape(-1, 1, 128, levels.shape[1]), dict(stored)

    with ThreadPoolExecutor(threads) as pool:
        loaded = list(pool.map(read, tables))
    counts = [len(mels) for mels, _ in loaded]
    return Audio(
        mels=torch.from_numpy(np.concatenate([mels for mels, _ in loaded])),
        pain=torch.from_numpy(np.concatenate([table["pain"] for _, table in loaded])),
        subject=torch.from_numpy(np.repeat([number_of(path) for path in tables], counts)),
        index=torch.from_numpy(np.concatenate([np.arange(count) for count in counts])),
        real=torch.from_numpy(np.repeat([bool(table["real"]) for _, table in loaded], counts)),
    )


def pairs(faces: Faces, audio: Audio) -> Iterator[tuple[int, Tensor]]:
    """Row in `audio` and rows in `faces` of every segment that has both."""
    rows: dict[tuple[int, int], list[int]] = {}
    first: dict[int, int] = {}
    for row, (subject, segment) in enumerate(zip(faces.subject.tolist(), faces.segment.tolist(), strict=True)):
        if segment >= 0:
            first.setdefault(subject, segment)
            rows.setdefault((subject, segment - first[subject]), []).append(row)
    for row, (subject, index) in enumerate(zip(audio.subject.tolist(), audio.index.tolist(), strict=True)):
        own = rows.get((subject, index))
        if own:
            yield row, torch.tensor(own)
