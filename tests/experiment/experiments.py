"""A small experiment as files: an index like a store's, and predictions of systems whose error is known."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from avpenet_cli.experiment.analysis import analyse
from avpenet_cli.experiment.descriptions import (
    AnalysisSettings,
    DatasetSummary,
    ExperimentRecord,
    SystemDescription,
    ViewDescription,
)
from avpenet_cli.experiment.predictions import PredictionKey, Predictions, write_predictions
from avpenet_cli.experiment.results import ExperimentResult, GroupResult
from avpenet_cli.stats.estimate import to_json

COLUMNS = ("site", "age_group")
SEEDS = (1, 2)
SEGMENTS = 6
NOISE = ViewDescription("noise_white_5_db", "White noise", "noise", "white", "5 dB", "before denoising")


def make_index(n_subjects: int = 72, seed: int = 0) -> pd.DataFrame:
    """Six rated segments of each subject; a third of the subjects each in train, validation and test; three sites."""
    rng = np.random.default_rng(seed)
    number = np.repeat(np.arange(n_subjects), SEGMENTS)
    return pd.DataFrame(
        {
            "recording": [f"r{place}.mp4" for place in number],
            "segment": np.tile(np.arange(SEGMENTS), n_subjects),
            "subject": [f"s{place}" for place in number],
            "site": np.array(["A", "B", "C"])[number // 3 % 3],
            "age_group": np.array(["adult", "neonate"])[number // 9 % 2],
            "reference": rng.uniform(0, 10, len(number)).round(2),
            "split": np.array(["test", "validation", "train"])[number % 3],
            "status": "scored",
        }
    )


def system(name: str, group: str = "comparison", **other: object) -> SystemDescription:
    description = {"title": name, "differs": {}, "modalities": ("audio", "face"), "seeds": SEEDS} | other
    return SystemDescription(name, group=group, **description)  # type: ignore[arg-type]


@dataclass
class Experiment:
    """Predictions in a folder, and what they are of.

    Attributes:
        folder: of the predictions; exists.
        index: like a store's.
        systems, views: descriptions.
    """

    folder: Path
    index: pd.DataFrame = field(default_factory=make_index)
    systems: list[SystemDescription] = field(default_factory=list)
    views: list[ViewDescription] = field(default_factory=list)

    def add(
        self,
        description: SystemDescription,
        spread: float = 1.0,
        views: Sequence[str] = (),
        validation_spread: float | None = None,
        lost: float = 0.0,
    ) -> None:
        """Write predictions whose error has this spread, points; under each view twice as much, and a share is lost."""
        self.systems.append(description)
        for seed in description.seeds:
            parts = [self.rows("test", "clean", spread, (hash_of(description.name), seed))]
            other = spread if validation_spread is None else validation_spread
            parts.append(self.rows("validation", "clean", other, (hash_of(description.name), seed, 1)))
            for view in views:
                rows = self.rows("test", view, 2 * spread, (hash_of(description.name), seed, 2))
                rows.loc[np.random.default_rng(5).random(len(rows)) < lost, "score"] = np.nan
                parts.append(rows)
            self.write(PredictionKey(description.name, seed), pd.concat(parts))

    def rows(self, split: str, view: str, spread: float, seed: Sequence[int], site: str = "") -> pd.DataFrame:
        """Predictions of a split, or of a site left out."""
        chosen: pd.Series[bool] = self.index["site"] == site if site else self.index["split"] == split
        table = self.index[chosen & self.index["reference"].notna()]
        rng = np.random.default_rng(list(seed))
        score = np.clip(table["reference"] + rng.normal(0, spread, len(table)), 0, 10)
        columns = ["recording", "segment", "subject", "reference"]
        return table[columns].assign(view=view, split=split, row=table.index, score=score)

    def write(self, key: PredictionKey, table: pd.DataFrame) -> None:
        write_predictions(self.folder, key, table)

    def analyse(self, columns: Sequence[str] = COLUMNS, **settings: object) -> ExperimentResult:
        record = ExperimentRecord(
            title="Experiment",
            created="2026-11-27T00:00:00+00:00",
            command="avpenet experiment STORE --out DIR",
            software={},
            dataset=DatasetSummary("0" * 64, "", {}, {}, ()),
            columns=tuple(columns),
            systems=tuple(self.systems),
            views=tuple(self.views),
        )
        return analyse(
            Predictions(self.folder),
            self.index,
            record,
            AnalysisSettings(**{"replicates": 250} | settings),  # type: ignore[arg-type]
        )


def hash_of(name: str) -> int:
    """A number for a name, the same in every process."""
    return int.from_bytes(name.encode()[:6], "big")


def read_predictions(folder: Path) -> pd.DataFrame:
    """All predictions in a folder as one table."""
    predictions = Predictions(folder)
    tables = [predictions.read(key) for key in predictions.keys]
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame()


def group_of(result: ExperimentResult, name: str, column: str) -> GroupResult:
    return next(group for group in result.groups if (group.system, group.column) == (name, column))


def walk(value: Any, path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Every object of a JSON document, with where it stands."""
    if isinstance(value, dict):
        yield path, value
        for name, item in value.items():
            yield from walk(item, f"{path}.{name}")
    elif isinstance(value, list):
        for place, item in enumerate(value):
            yield from walk(item, f"{path}[{place}]")


def check_reasons(result: ExperimentResult) -> None:
    """No number is missing without a reason, and none is NaN in JSON."""
    plain = json.loads(json.dumps(to_json(result), allow_nan=False))
    for path, item in walk(plain):
        if {"value", "ci", "reason"} <= set(item) and (item["value"] is None or item["ci"][0] is None):
            assert item["reason"], path
