"""A small archive as the program leaves it: recordings, weights, a score table with its manifest, and a report."""

from __future__ import annotations

import contextlib
import hashlib
import json
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from avpenet_cli.inputs import Inputs, LeftAside, Recording
from avpenet_cli.records import Balance, Quality, RecordingOutcome, SegmentScore, Status
from avpenet_cli.report.analysis import ReportSettings
from avpenet_cli.report.run import ReportRequest, run_report
from avpenet_cli.runs.callbacks import NO_CALLBACKS
from avpenet_cli.runs.journal import Journal
from avpenet_cli.scoring.request import ScoreRequest
from avpenet_cli.scoring.results import Results, RunFacts
from avpenet_cli.settings import RunSettings
from avpenet_cli.stats.bootstrap import Resampling
from avpenet_cli.verification.nodes import Node, State, Verification
from avpenet_cli.verification.run import verify_files
from avpenet_cli.weights import WeightsEntry, describe
from tests.support.weight_descriptions import make_description

N = 12


@dataclass(frozen=True)
class Archive:
    """Its files, in one folder but for the recordings."""

    folder: Path

    @property
    def scores(self) -> Path:
        return self.folder / "scores.csv"

    @property
    def report(self) -> Path:
        return self.folder / "report.html"

    @property
    def recordings(self) -> Path:
        return self.folder / "recordings"

    def verify(self, *files: Path, with_recordings: bool = False) -> Verification:
        return verify_files(files or (self.report,), (), self.recordings if with_recordings else None)

    def faults(self, *files: Path, with_recordings: bool = False) -> dict[str, tuple[State, str]]:
        """Name to state and detail of everything that is altered or missing."""
        result = self.verify(*files, with_recordings=with_recordings)
        faults: dict[str, tuple[State, str]] = {
            node.name: (node.state, node.detail)
            for root in result.files
            for node in root.walk()
            if node.state in ("altered", "missing")
        }
        assert result.intact == (not faults)
        return faults


def nodes(result: Verification) -> dict[str, Node]:
    """Everything by its name, as it is first named."""
    found: dict[str, Node] = {}
    for root in result.files:
        for node in root.walk():
            found.setdefault(node.name, node)
    return found


def score(
    archive: Archive,
    points: float = 0.0,
    *,
    pseudonymised: bool = False,
    subjects: bool = False,
    baseline: Literal["quiet"] | None = None,
) -> None:
    """A run of `avpenet score` on the archive's recordings, from its journal on."""
    recordings = tuple(
        Recording(path, f"rec-{path.stem}" if pseudonymised else path.name, f"key of {path.name}")
        for path in sorted(archive.recordings.iterdir())
    )
    weights = weights_entry(archive.folder)
    request = ScoreRequest(
        Inputs(recordings, LeftAside()),
        archive.scores,
        weights,
        RunSettings(),
        pseudonymised=pseudonymised,
        subjects=archive.folder / "subjects.csv" if subjects else None,
        baseline=baseline,
        command="avpenet score [12 inputs] --out scores.csv",
    )
    archive.scores.with_name("scores.csv.journal").unlink(missing_ok=True)
    with contextlib.closing(Journal(archive.scores, {}, replacing=True)) as journal:
        for number, recording in enumerate(recordings):
            value = (number + points) % 10
            label = "low" if value <= 3 else "moderate" if value <= 6 else "high"
            segments = tuple(
                SegmentScore(
                    place, 3.0 * place, 3.0 * place + 3, Status.SCORED, Quality(), value, label, modalities="audio"
                )
                for place in range(2)
            )
            outcome = RecordingOutcome(Status.SCORED, segments, Balance(6.0, 6.0), facts={"container": "mp4"})
            sha256 = hashlib.sha256(recording.path.read_bytes()).hexdigest()
            journal.note(recording, recording.path.stat(), outcome, sha256)
        Results(request).write(journal, RunFacts("cpu", set(), datetime.now(UTC)), NO_CALLBACKS)


def report(archive: Archive) -> None:
    """A run of `avpenet report` on the archive's tables."""
    request = ReportRequest(
        (archive.scores,),
        archive.report,
        archive.folder / "ratings.csv",
        archive.folder / "subjects.csv",
        settings=ReportSettings(resampling=Resampling(200), command="avpenet report scores.csv"),
    )
    run_report(request)


def weights_entry(folder: Path) -> WeightsEntry:
    """Weights `own` in the folder, of which only the digests matter here; made if they are not there."""
    tensors, description = folder / "own.safetensors", folder / "own.json"
    if not tensors.exists():
        tensors.write_bytes(b"tensors")
    entry = WeightsEntry(make_description("own", tensors_sha256=hashlib.sha256(b"tensors").hexdigest()), tensors)
    if not description.exists():
        description.write_text(json.dumps(describe(entry)))
    return entry


def make_archive(folder: Path) -> Archive:
    """Write everything."""
    archive = Archive(folder)
    archive.recordings.mkdir()
    names = [f"{number:02}.mp4" for number in range(N)]
    for name in names:
        (archive.recordings / name).write_bytes(f"recording {name}".encode())
    rows = [f"{name},{start},{start + 3},{number % 9}" for number, name in enumerate(names) for start in (0, 3)]
    (folder / "ratings.csv").write_text("\n".join(["recording,start_s,end_s,value", *rows]) + "\n")
    rows = [f"{name},P{number}" for number, name in enumerate(names)]
    (folder / "subjects.csv").write_text("\n".join(["recording,subject", *rows]) + "\n")
    score(archive)
    report(archive)
    return archive
