"""Commissioning: phantoms scored as recordings are, and held against what the same weights gave before."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass as checked_dataclass

from avpenet_cli.bundled import phantoms_directory
from avpenet_cli.errors import SettingsError
from avpenet_cli.inputs import Recording, collect
from avpenet_cli.records import RecordingOutcome, Status
from avpenet_cli.runs.device import device_name
from avpenet_cli.runs.journal import Journal
from avpenet_cli.runs.manifest import weights_mark
from avpenet_cli.runs.versions import software_versions
from avpenet_cli.scoring.network import Network
from avpenet_cli.scoring.run import ScoredRecording, iter_scored
from avpenet_cli.scoring.scorer import Scorer
from avpenet_cli.settings import RunSettings, from_dict, result_settings, to_dict
from avpenet_cli.storage import write_json
from avpenet_cli.tables import row, write_table
from avpenet_cli.weights import WeightsEntry
from avpenet_cli.weights.description import Sha256

TOLERANCE_POINTS = 0.1
"""How far a segment's score may move; chosen: more than sums in another order make of it, a thirtieth of a class."""

EXPECTED = "expected.json"
"""In a folder of phantoms: the scores that were shipped with them."""
TRUTH = "truth.csv"

Verdict = Literal["PASS", "FAIL", "NO BASELINE"]
Scores = tuple[Annotated[float, Field(ge=0.0, le=10.0)] | None, ...]
"""Of a recording's segments, points; None where a segment is unscorable."""

_TABLES = (TRUTH, "subjects.csv", "events.csv")
_STRICT = ConfigDict(extra="forbid")
# A difference of two decimals of three places misses a round number by rounding.
_ROUNDING = 1e-6
_NAMED_REASONS = 3


@checked_dataclass(frozen=True, config=_STRICT)
class KnownScores:
    """What one set of weights made of the phantoms.

    Attributes:
        weights: their name.
        found: the day, ISO 8601.
        device: what scored.
        software: versions of everything that numbers depend on.
        scores: by recording.
    """

    weights: str
    found: str
    device: str
    software: dict[str, str]
    scores: dict[str, Scores]


@checked_dataclass(frozen=True, config=_STRICT)
class Baseline:
    """Scores of a set of phantoms by several weights.

    Attributes:
        files: SHA-256 of each recording and table of the phantoms, by name.
        weights: by the weights' digest.
    """

    format_version: Literal[1]
    files: dict[str, Sha256]
    weights: dict[str, KnownScores]


@dataclass(frozen=True)
class Phantoms:
    """A folder of phantoms.

    Attributes:
        files: as `Baseline.files`.
    """

    folder: Path
    recordings: tuple[Recording, ...]
    files: dict[str, str]


@dataclass(frozen=True)
class ScoredPhantom:
    """One recording, scored. `wall_s` is what that took; `error` is for --debug."""

    name: str
    outcome: RecordingOutcome
    wall_s: float
    error: Exception | None

    @property
    def scores(self) -> Scores:
        """Of its segments, points; None where one is unscorable."""
        return tuple(segment.score for segment in self.outcome.segments)

    @property
    def face_rate(self) -> float | None:
        """Share of the frames with the patient's face, [0, 1], mean of the segments; None without a picture."""
        rates = [s.quality.face_rate for s in self.outcome.segments if s.quality.face_rate is not None]
        return sum(rates) / len(rates) if rates else None


@dataclass(frozen=True)
class Movement:
    """A recording's scores beside those known of it.

    Attributes:
        largest_points: largest distance of a segment's score from the known one; None where none can be compared.
        problem: why this is no constancy; empty where it is.
    """

    recording: str
    largest_points: float | None
    problem: str = ""


def bundled_phantoms() -> Path:
    """The example phantoms that come with the program; the folder need not exist."""
    return phantoms_directory()


def phantoms_in(folder: Path) -> Phantoms:
    """The recordings of a folder, and digests of them and of their tables.

    Raises:
        SettingsError: the folder or its recordings are absent or cannot be read.
    """
    if not folder.is_dir():
        raise SettingsError(f"there are no phantoms in {folder}: no such folder", "make some and name them: " + _MAKE)
    recordings = collect([str(folder)], None, False, None).recordings
    if recordings[0].problem:
        raise SettingsError(f"there are no phantoms in {folder}: it holds no recordings", "make some: " + _MAKE)
    files = {}
    for path in (*(one.path for one in recordings), *(folder / name for name in _TABLES)):
        try:
            with path.open("rb") as file:
                files[path.name] = hashlib.file_digest(file, "sha256").hexdigest()
        except FileNotFoundError:
            continue
        except OSError as error:
            raise SettingsError(f"{path} cannot be read: {error.strerror}", "check its permissions") from None
    return Phantoms(folder, recordings, files)


_MAKE = "avpenet phantom make --out DIR, then --phantoms DIR"


def read_baseline(path: Path) -> Baseline:
    """Known scores from a file.

    Raises:
        SettingsError: it cannot be read or is no such file.
    """
    remedy = "give a file that avpenet phantom check --save wrote"
    try:
        plain = json.loads(path.read_bytes())
    except OSError as error:
        raise SettingsError(f"the baseline {path} cannot be read: {error.strerror}", remedy) from None
    except (ValueError, RecursionError):
        raise SettingsError(f"the baseline {path} is not JSON", remedy) from None
    return from_dict(Baseline, plain, f"the baseline {path}")


def baseline_to_extend(path: Path, phantoms: Phantoms) -> Baseline:
    """What `path` holds already, or an empty baseline of these phantoms.

    Raises:
        SettingsError: it holds something else, or scores of other phantoms.
    """
    if not path.exists():
        return Baseline(1, dict(phantoms.files), {})
    there = read_baseline(path)
    if there.files != phantoms.files:
        raise SettingsError(f"{path} holds scores of other phantoms", "give --save another name")
    return there


def save_baseline(path: Path, there: Baseline, digest: str, known: KnownScores) -> None:
    """Write `there` with the scores of one more set of weights; raises as `storage.write_json`.

    Args:
        there: from `baseline_to_extend`; what it holds of these weights is replaced.
        digest: of the weights.
    """
    write_json(path, to_dict(replace(there, weights={**there.weights, digest: known})))


def score_phantoms(
    phantoms: Phantoms, scorer: Scorer, settings: Mapping[str, Any], private: Path
) -> Iterator[ScoredPhantom]:
    """Score each recording the way `avpenet score` does, journal and all.

    Args:
        settings: of the journal.
        private: an empty folder for the journal.

    Raises:
        Interrupted: the scorer was asked to stop.
        AvpenetError: the folder cannot be written.
    """
    journal = Journal(private / "scores.csv", dict(settings))
    try:
        outcomes = iter_scored(phantoms.recordings, scorer, journal)
        while True:
            begun = time.perf_counter()
            finished: ScoredRecording | None = next(outcomes, None)
            if finished is None:
                return
            wall_s = time.perf_counter() - begun
            yield ScoredPhantom(finished.recording.name, finished.outcome, wall_s, finished.error)
    finally:
        journal.close()


def journal_settings(entry: WeightsEntry, run: RunSettings) -> dict[str, Any]:
    """What tells one run from another."""
    return {"weights": f"{entry.name}@{entry.digest}", **result_settings(run)}


def write_scores(path: Path, scored: Sequence[ScoredPhantom], entry: WeightsEntry) -> None:
    """The score table of the phantoms; raises as `tables.write_table`."""
    mark = weights_mark(entry.description)
    write_table(path, (row(one.name, segment, mark) for one in scored for segment in one.outcome.segments))


def found_now(network: Network, entry: WeightsEntry, scored: Sequence[ScoredPhantom]) -> KnownScores:
    """Today's scores, as a baseline keeps them."""
    return KnownScores(
        weights=entry.name,
        found=datetime.now().astimezone().date().isoformat(),
        device=device_name(network.device),
        # The platform's name says something of a site's machine, and these files are passed on.
        software={name: version for name, version in software_versions().items() if name != "platform"},
        scores={one.name: one.scores for one in scored},
    )


def alterations(phantoms: Phantoms, baselines: Sequence[Baseline]) -> tuple[str, ...]:
    """In which files the phantoms are not those whose scores are known, one short sentence each."""
    found: dict[str, None] = {}
    for baseline in baselines:
        for name in sorted(baseline.files.keys() | phantoms.files.keys()):
            if name not in phantoms.files:
                found[f"{name} is not there"] = None
            elif name not in baseline.files:
                found[f"{name} was added"] = None
            elif phantoms.files[name] != baseline.files[name]:
                found[f"{name} was altered"] = None
    return tuple(found)


def movements(found: Mapping[str, Scores], known: Mapping[str, Scores]) -> tuple[Movement, ...]:
    """Each recording's scores beside the known ones, in the order of `found`; recordings only known come last."""
    return tuple(_movement(name, found.get(name), known.get(name)) for name in dict.fromkeys((*found, *known)))


def _movement(name: str, found: Scores | None, known: Scores | None) -> Movement:
    if found is None:
        return Movement(name, None, "was scored before and is not there")
    if known is None:
        return Movement(name, None, "has no known scores")
    both = [(i, now, then) for i, (now, then) in enumerate(zip(found, known, strict=False))]
    steps = [(abs(now - then), i, now, then) for i, now, then in both if now is not None and then is not None]
    largest = max(steps, default=None)
    problem = ""
    changed = [(i, now) for i, now, then in both if (now is None) != (then is None)]
    if len(found) != len(known):
        problem = f"has {len(found)} segments and had {len(known)}"
    elif changed:
        i, now = changed[0]
        problem = f"segment {i} is {'unscorable and was scored' if now is None else 'scored and was unscorable'}"
    elif largest is not None and largest[0] > TOLERANCE_POINTS + _ROUNDING:
        distance, i, now, then = largest
        problem = f"segment {i} moved by {distance:.2f}, from {then:.2f} to {now:.2f}"
    return Movement(name, None if largest is None else round(largest[0], 3), problem)


def judge(
    altered: Sequence[str], scored: Sequence[ScoredPhantom], moved: Sequence[Movement] | None
) -> tuple[Verdict, tuple[str, ...]]:
    """The verdict and what speaks against a pass.

    Args:
        altered: from `alterations`.
        moved: from `movements`; None where no scores of these weights are known.
    """
    reasons = list(altered)
    reasons += [f"{one.name} failed: {one.outcome.message}" for one in scored if one.outcome.status is Status.FAILED]
    failed = {one.name for one in scored if one.outcome.status is Status.FAILED}
    reasons += [f"{one.recording}: {one.problem}" for one in moved or () if one.problem and one.recording not in failed]
    if reasons:
        return "FAIL", tuple(reasons)
    return ("NO BASELINE", ()) if moved is None else ("PASS", ())


def shortened(reasons: Sequence[str]) -> str:
    """The first few of them, and how many more there are."""
    more = len(reasons) - _NAMED_REASONS
    return "; ".join(reasons[:_NAMED_REASONS]) + (f"; and {more} more" if more > 0 else "")
