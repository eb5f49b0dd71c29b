"""Score many short recordings with the program's own code, on all cores, and keep what was scored."""

from __future__ import annotations

import json
import multiprocessing
import os
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from avpenet_cli.errors import AvpenetError
from avpenet_cli.records import Status
from avpenet_cli.runs.manifest import weights_mark
from avpenet_cli.scoring.network import Network
from avpenet_cli.scoring.scorer import Scorer
from avpenet_cli.settings import RunSettings
from avpenet_cli.tables import COLUMNS, row
from avpenet_cli.weights import WeightsEntry, default_entry, find

_DEFAULT_RUN = RunSettings()


@dataclass(frozen=True)
class Scored:
    """Scores of a part's recordings.

    Attributes:
        segments: the score table's columns, one row per segment.
        recordings: number of recordings that were to be scored.
        failed: why, of recordings that could not be read.
    """

    segments: pd.DataFrame
    recordings: int
    failed: Mapping[str, str]

    def means(self) -> dict[str, float]:
        """Mean score of each recording that has a score."""
        by_recording = self.segments.dropna(subset="score").groupby("recording")["score"].mean()
        return {str(name): float(value) for name, value in by_recording.items()}

    @property
    def notes(self) -> str:
        """How many recordings have no score, and one reason for failures."""
        without = self.recordings - len(self.means())
        text = f"{without} of {self.recordings} recordings have no score" if without else ""
        if self.failed:
            name, why = next(iter(self.failed.items()))
            text += f"; {len(self.failed)} failed, {name}: {why}"
        return text


class RecordingScorer:
    """Scores recordings in worker processes that keep the network loaded.

    Args:
        weights: name or file; None for the weights that come with the program.
        folder: for the scores, which are kept there by weights and precision. They are not computed again: choose
            another folder when recordings of the same names have changed.
        jobs: number of processes; 1 for none but this.
        on_progress: called with the part, the number of recordings done and their total.
        run: device and precision.
    """

    def __init__(
        self,
        weights: str | None,
        folder: Path,
        jobs: int,
        on_progress: Callable[[str, int, int], None] = lambda part, done, total: None,
        run: RunSettings = _DEFAULT_RUN,
    ) -> None:
        entry = _entry(weights)
        self._weights, self._jobs, self._on_progress, self._run = weights, jobs, on_progress, run
        self.mark = weights_mark(entry.description)
        suffix = "" if run.precision == _DEFAULT_RUN.precision else f"-{run.precision}"
        self.folder = folder / f"scores-{entry.description.digest[:12]}{suffix}"
        self.folder.mkdir(parents=True, exist_ok=True)
        self._pool: ProcessPoolExecutor | None = None
        self._loaded = False

    def score(self, part: str, recordings: Mapping[str, Path]) -> Scored:
        """Score recordings, except those that were scored before.

        Args:
            part: names the files with the scores, `PART.jsonl` and `PART.csv`, a score table.
            recordings: file of each recording by its name.

        Raises:
            BrokenProcessPool: a worker was killed.
        """
        journal = self.folder / f"{part}.jsonl"
        known = {name: rows for name, rows in _read(journal) if name in recordings}
        missing = {name: path for name, path in recordings.items() if name not in known}
        failed: dict[str, str] = {}
        with journal.open("a", encoding="utf-8") as file:
            for number, (name, rows, why) in enumerate(self._results(missing)):
                if rows is None:
                    failed[name] = why
                else:
                    known[name] = rows
                    # One write, so that a killed run leaves whole lines; the newline first ends a torn one.
                    file.write("\n" + json.dumps({"recording": name, "segments": rows}))
                    file.flush()
                self._on_progress(part, len(recordings) - len(missing) + number + 1, len(recordings))
        rows = [row | {"recording": name} for name in recordings for row in known.get(name, [])]
        table = pd.DataFrame(rows, columns=[column.name for column in COLUMNS])
        table["score"] = table["score"].astype(float)
        table.to_csv(self.folder / f"{part}.csv", index=False)
        return Scored(table, len(recordings), failed)

    def close(self) -> None:
        """End the worker processes."""
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
            self._pool = None

    def _results(self, recordings: Mapping[str, Path]) -> Iterator[tuple[str, list[dict[str, Any]] | None, str]]:
        if not recordings:
            return
        if self._jobs <= 1:
            if not self._loaded:
                _load(self._weights, self._run, 1)
                self._loaded = True
            yield from map(_score, recordings, recordings.values())
            return
        if self._pool is None:
            context = multiprocessing.get_context("spawn")
            self._pool = ProcessPoolExecutor(self._jobs, context, _load, (self._weights, self._run, self._jobs))
        try:
            futures = [self._pool.submit(_score, name, path) for name, path in recordings.items()]
            for future in as_completed(futures):
                yield future.result()
        except BaseException:
            # A broken pool stays broken; the next part gets a new one.
            self.close()
            raise


_loaded: list[tuple[Scorer, str]] = []
"""The scorer of this process, and what its tables call the weights."""


def _entry(weights: str | None) -> WeightsEntry:
    return find(weights) if weights else default_entry()


def _load(weights: str | None, run: RunSettings, jobs: int) -> None:
    import torch

    if jobs > 1:
        torch.set_num_threads(max(1, (os.cpu_count() or 1) // jobs))
    entry = _entry(weights)
    _loaded[:] = [(Scorer(Network(entry, run), run), weights_mark(entry.description))]


def _score(name: str, path: Path) -> tuple[str, list[dict[str, Any]] | None, str]:
    """Name, rows of the score table, and why there are none."""
    ((scorer, mark),) = _loaded
    try:
        outcome = scorer.score(path)
    except AvpenetError as error:
        return name, None, str(error)
    return name, [dict(row(name, segment, mark)) for segment in outcome.segments], ""


def _read(journal: Path) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """Recordings and rows of an earlier run. A line that a killed run left incomplete is skipped."""
    if not journal.exists():
        return
    for line in journal.read_text(encoding="utf-8").splitlines():
        try:
            entry = json.loads(line)
        except ValueError:
            continue
        yield entry["recording"], entry["segments"]


def scored_segments(table: pd.DataFrame) -> pd.DataFrame:
    """Rows that have a score."""
    return table[table["status"] == Status.SCORED.value]
