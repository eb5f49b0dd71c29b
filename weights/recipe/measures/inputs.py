"""What every part of the measurement is given, and the data folder's contents."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from weights.recipe.measures.scoring import RecordingScorer

SEED = 90211
"""Of phantoms that are made for measuring; no training uses it."""


@dataclass(frozen=True)
class Inputs:
    """What to measure with.

    Attributes:
        data: folder with `emogator/`, `cries_more/`, `noise/`, `faces_london/`, `mesh/` and `videos/`.
        surroundings: folder with sounds of surroundings and their `index.csv`; None for those of `noise/` alone.
        clips: folder for the recordings that are made for measuring; existing ones are kept.
        scorer: of the weights.
        subjects: number of phantoms of each kind.
        seed: of the phantoms.
        minutes: length of each phantom's recording.
        fps: of the phantoms; None for those of the sites' cameras.
        quick: fewer recordings, for a first look.
        jobs: number of processes.
    """

    data: Path
    surroundings: Path | None
    clips: Path
    scorer: RecordingScorer
    subjects: int = 80
    seed: int = SEED
    minutes: float = 0.5
    fps: float | None = None
    quick: bool = False
    jobs: int = 1

    def folder(self, name: str) -> Path:
        """A folder for made recordings, created if missing."""
        folder = self.clips / name
        folder.mkdir(parents=True, exist_ok=True)
        return folder
