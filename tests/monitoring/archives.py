"""Archives of score tables over weeks, in which something changes."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from avpenet_cli.tables import COLUMNS, EMBEDDINGS_WEIGHTS_KEY

MARK = "mine@0123456789ab"
OTHER_MARK = "mine@ba9876543210"
SEGMENTS = 6


@dataclass
class Patient:
    """A patient with one recording; what a change may alter."""

    week: int
    site: str
    rng: np.random.Generator
    pain: float
    face_rate: float
    snr_db: float
    level_dbfs: float | None
    bias: float = 0.0
    mark: str = MARK


Change = Callable[[Patient], None]


@dataclass(frozen=True)
class ArchiveFiles:
    """The files of an archive; `upgraded` is a second new table, of other weights."""

    folder: Path

    def __getattr__(self, name: str) -> Path:
        return self.folder / f"{name}.csv"

    def arguments(self, *more: str | Path) -> list[str | Path]:
        """Of the command, without --out."""
        return [self.new, "--baseline", self.old, "--subjects", self.subjects, "--runs", "1000", *more]


def make_archive(
    folder: Path,
    change: Change | None = None,
    *,
    at: int = 6,
    weeks: tuple[int, int] = (8, 12),
    a_week: int = 6,
    seed: int = 1,
    timed: bool = True,
) -> ArchiveFiles:
    """Write old.csv, new.csv, subjects.csv and ratings.csv.

    Args:
        change: applied to the patients from week `at` of the new ones.
        weeks: of the baseline, and after it.
        timed: with `recorded_at`; else the subjects have a month.
    """
    rng = np.random.default_rng(seed)
    rows: dict[str, list[dict[str, object]]] = {"old": [], "new": []}
    subjects: list[tuple[str, str, str, str]] = []
    ratings: list[tuple[object, ...]] = []
    for week in range(sum(weeks)):
        for _ in range(a_week):
            number = len(subjects) + 1
            patient = Patient(
                week,
                str(rng.choice(["north", "south"])),
                rng,
                pain=float(rng.gamma(4, 1)),
                face_rate=float(rng.beta(12, 1)),
                snr_db=float(rng.normal(18, 5)),
                level_dbfs=float(rng.normal(-25, 4)),
            )
            if change is not None and week >= weeks[0] + at:
                change(patient)
            name = f"{patient.site}/rec-{number:04d}.mp4"
            start = datetime.datetime(2026, 1, 5, 9) + datetime.timedelta(weeks=week, days=int(rng.integers(0, 7)))
            subjects.append((name, f"P{number:04d}", patient.site, start.strftime("%Y-%m")))
            table = "old" if week < weeks[0] else "new" if patient.mark == MARK else "upgraded"
            segments = _segments(patient, name, start if timed else None)
            rows.setdefault(table, []).extend(segments)
            ratings += [
                (name, row["start_s"], row["end_s"], int(np.clip(round(patient.pain + rng.normal(0, 1)), 0, 10)))
                for row in segments[:3]
            ]
    folder.mkdir(parents=True, exist_ok=True)
    for table, content in rows.items():
        pd.DataFrame(content, columns=[column.name for column in COLUMNS]).to_csv(folder / f"{table}.csv", index=False)
    table_of_subjects = pd.DataFrame(subjects, columns=["recording", "subject", "site", "month"])
    table_of_subjects.drop(columns=["month"] if timed else []).to_csv(folder / "subjects.csv", index=False)
    pd.DataFrame(ratings, columns=["recording", "start_s", "end_s", "value"]).to_csv(
        folder / "ratings.csv", index=False
    )
    return ArchiveFiles(folder)


def write_embeddings(path: Path, table: pd.DataFrame, weights: str = MARK) -> None:
    """Write the columns recording, segment and embedding as `avpenet score --embeddings` writes them."""
    schema = pa.schema(
        [("recording", pa.string()), ("segment", pa.int64()), ("embedding", pa.list_(pa.float32()))],
        metadata={EMBEDDINGS_WEIGHTS_KEY: weights.encode()},
    )
    content = {name: table[name].tolist() for name in schema.names}
    pq.write_table(pa.table(content, schema=schema), path)


def _segments(patient: Patient, name: str, start: datetime.datetime | None) -> list[dict[str, object]]:
    rng = patient.rng
    rows: list[dict[str, object]] = []
    for segment in range(SEGMENTS):
        face_rate = float(np.clip(patient.face_rate + rng.normal(0, 0.03), 0, 1))
        scored = face_rate >= 0.2
        snr_db = patient.snr_db + rng.normal(0, 2)
        level = None if patient.level_dbfs is None else round(min(patient.level_dbfs + rng.normal(0, 1), 0.0), 1)
        flags = {"low_face_rate": face_rate < 0.5, "low_snr": snr_db < 5, "silent": level is None or level < -60}
        score = float(np.clip(patient.pain + patient.bias + rng.normal(0, 0.8), 0, 10))
        after = datetime.timedelta(seconds=3 * segment)
        rows.append(
            {
                "recording": name,
                "segment": segment,
                "start_s": 3.0 * segment,
                "end_s": 3.0 * segment + 3.0,
                "recorded_at": "" if start is None else (start + after).isoformat(),
                "score": round(score, 3) if scored else "",
                "label": "low" if scored else "",
                "status": "scored" if scored else "unscorable",
                "reason": "" if scored else "no_face",
                "modalities": "audio+face" if scored else "",
                "face_rate": round(face_rate, 3),
                "face_confidence": round(float(rng.beta(30, 1)), 3),
                "face_px": round(float(rng.lognormal(4.7, 0.3)), 1),
                "faces": 1,
                "voiced": round(float(rng.beta(2, 4)), 3),
                "snr_db": round(snr_db, 1),
                "level_dbfs": "" if level is None else level,
                "flags": " ".join(flag for flag, there in flags.items() if there),
                "weights": patient.mark,
            }
        )
    return rows
