"""Phantoms of a folder, and their scores, made the way `avpenet score` makes them."""

from __future__ import annotations

import contextlib
import hashlib
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from avpenet_cli.errors import SettingsError
from avpenet_cli.inputs import Recording, collect
from avpenet_cli.records import RecordingOutcome, Status
from avpenet_cli.runs.callbacks import NO_CALLBACKS, RunCallbacks
from avpenet_cli.runs.journal import Journal
from avpenet_cli.runs.manifest import weights_mark
from avpenet_cli.scoring.lanes.lane import InProcessLane
from avpenet_cli.scoring.network import Network
from avpenet_cli.scoring.run import ScoredRecording, iter_scored
from avpenet_cli.scoring.scorer import Scorer
from avpenet_cli.settings import RunSettings, result_settings
from avpenet_cli.tables import row, write_table
from avpenet_cli.weights import WeightsEntry

EXPECTED_FILE, TRUTH_FILE = "expected.json", "truth.csv"
"""Files in a folder of phantoms: the scores that came with them, and the simulated pain."""

_TABLES = (TRUTH_FILE, "subjects.csv", "events.csv")
_MAKE = "avpenet phantom make --out DIR, then --phantoms DIR"


@dataclass(frozen=True)
class Phantoms:
    """A folder of phantoms.

    Attributes:
        files: SHA-256 of each recording and table, by name.
    """

    folder: Path
    recordings: tuple[Recording, ...]
    files: dict[str, str]


@dataclass(frozen=True)
class ScoredPhantom:
    """One phantom with its scores.

    Attributes:
        wall_s: wall-clock time of the scoring.
        error: the exception behind a failure, for tracebacks.
    """

    name: str
    outcome: RecordingOutcome
    wall_s: float
    error: Exception | None

    @property
    def scores(self) -> tuple[float | None, ...]:
        """Scores of its segments, points; None for an unscorable segment."""
        return tuple(segment.score for segment in self.outcome.segments)

    @property
    def failed(self) -> bool:
        """Whether the recording could not be read."""
        return self.outcome.status is Status.FAILED

    @property
    def face_rate(self) -> float | None:
        """Share of the frames with the patient's face, [0, 1], mean over segments; None without video."""
        rates = [s.quality.face_rate for s in self.outcome.segments if s.quality.face_rate is not None]
        return sum(rates) / len(rates) if rates else None


def read_phantoms(folder: Path) -> Phantoms:
    """The recordings of a folder, and digests of them and of their tables.

    Raises:
        SettingsError: the folder or its recordings are absent or cannot be read.
    """
    if not folder.is_dir():
        raise SettingsError(f"there are no phantoms in {folder}: no such folder", "make some and name them: " + _MAKE)
    recordings = collect([str(folder)], None, False, None).recordings
    if recordings[0].problem:
        raise SettingsError(f"there are no phantoms in {folder}: it holds no recordings", "make some: " + _MAKE)
    digests = {}
    for path in (*(recording.path for recording in recordings), *(folder / name for name in _TABLES)):
        try:
            with path.open("rb") as file:
                digests[path.name] = hashlib.file_digest(file, "sha256").hexdigest()
        except FileNotFoundError:
            continue
        except OSError as error:
            raise SettingsError(f"{path} cannot be read: {error.strerror}", "check its permissions") from None
    return Phantoms(folder, recordings, digests)


def score_phantoms(
    phantoms: Phantoms,
    network: Network,
    run: RunSettings,
    settings: Mapping[str, Any],
    private: Path,
    callbacks: RunCallbacks = NO_CALLBACKS,
) -> Iterator[ScoredPhantom]:
    """Score each recording the way `avpenet score` does, journal included.

    Args:
        settings: the settings of the journal.
        private: an empty folder for the journal.

    Raises:
        Interrupted: the callbacks asked for it; states how many recordings are finished.
        AvpenetError: the folder cannot be written.
    """
    lane = InProcessLane(Scorer(network, run, callbacks), callbacks)
    with contextlib.closing(Journal(private / "scores.csv", dict(settings))) as journal:
        results = iter_scored(phantoms.recordings, lane, journal, callbacks)
        while True:
            started = time.perf_counter()
            scored: ScoredRecording | None = next(results, None)
            if scored is None:
                return
            wall_s = time.perf_counter() - started
            yield ScoredPhantom(scored.recording.name, scored.outcome, wall_s, scored.error)


def journal_settings(entry: WeightsEntry, run: RunSettings) -> dict[str, Any]:
    """Weights and settings that change results."""
    return {"weights": f"{entry.name}@{entry.digest}", **result_settings(run)}


def write_scores(path: Path, scored: Sequence[ScoredPhantom], entry: WeightsEntry) -> None:
    """Write the score table of the phantoms; raises as `tables.write_table`."""
    mark = weights_mark(entry.description)
    write_table(path, (row(phantom.name, segment, mark) for phantom in scored for segment in phantom.outcome.segments))
