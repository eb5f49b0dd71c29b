"""Where a report comes from: files, runs, software."""

from __future__ import annotations

import datetime
import importlib.metadata
import platform
from collections.abc import Mapping
from typing import Any

from avpenet_cli.report.document.provenance import (
    CalibrationUsed,
    EventsFile,
    InputsSection,
    PackInput,
    Provenance,
    RatingsFile,
    RunSummary,
    ScoresFile,
    SubjectsFile,
)
from avpenet_cli.runs.history import ReadFile
from avpenet_cli.study.score_tables import Scores, ScoreSource, scores_digest
from avpenet_cli.study.tables import Inputs
from avpenet_cli.version import __version__

_LIBRARIES = ("numpy", "scipy", "pandas", "matplotlib", "jinja2")


def created_now() -> str:
    """The time, ISO 8601, UTC, to the second."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


def software() -> dict[str, str]:
    """Versions of this program, Python and the libraries that made the numbers and the page."""
    libraries = {name: importlib.metadata.version(name) for name in _LIBRARIES}
    return {"avpenet": __version__, "python": platform.python_version()} | libraries


def provenance() -> Provenance:
    """The program and the platform."""
    return Provenance(f"avpenet {__version__} report", platform.platform())


def inputs_section(inputs: Inputs) -> InputsSection:
    """All files with their digests."""
    ratings, subjects, events = inputs.ratings, inputs.subjects, inputs.events
    return InputsSection(
        scores=_scores_files(inputs.scores),
        reference=RatingsFile(ratings.file.name, ratings.file.sha256, ratings.file.rows, ratings.scales, ratings.raters)
        if ratings
        else None,
        subjects=SubjectsFile(subjects.file.name, subjects.file.sha256, subjects.file.rows, subjects.columns)
        if subjects
        else None,
        events=EventsFile(events.file.name, events.file.sha256, events.file.rows, _unknown_recordings(inputs))
        if events
        else None,
        compare=_scores_files(inputs.other) if inputs.other else None,
        pack=PackInput(inputs.pack_file.name, inputs.pack_file.sha256, len(inputs.pack.segments), inputs.pack.digest)
        if inputs.pack and inputs.pack_file
        else None,
    )


def read_files(inputs: InputsSection) -> list[ReadFile]:
    """The same files as the history states them, each score table before its manifest."""
    files = []
    for content, tables in (("scores", inputs.scores), ("other scores", inputs.compare or ())):
        for table in tables:
            files.append(ReadFile(content, table.name, table.sha256, table.scores_digest))
            if table.manifest_sha256:
                files.append(ReadFile("manifest", f"{table.name.rpartition('.')[0]}.run.json", table.manifest_sha256))
    others = {
        "ratings": inputs.reference,
        "subjects": inputs.subjects,
        "events": inputs.events,
        "sample": inputs.pack,
    }
    return files + [ReadFile(content, file.name, file.sha256) for content, file in others.items() if file is not None]


def _unknown_recordings(inputs: Inputs) -> tuple[str, ...]:
    known = set(inputs.scores.segments["recording"].cat.categories)
    return tuple(sorted(set(inputs.events.rows["recording"]) - known)) if inputs.events else ()


def _scores_files(scores: Scores) -> tuple[ScoresFile, ...]:
    return tuple(
        ScoresFile(
            source.name,
            source.sha256,
            source.rows,
            source.manifest_state,
            source.manifest_sha256,
            _run_summary(source),
            scores_digest(scores, place),
        )
        for place, source in enumerate(scores.sources)
    )


def _run_summary(source: ScoreSource) -> RunSummary | None:
    manifest = source.manifest
    if not manifest:
        return None
    seconds = manifest["timing"].get("seconds")
    return RunSummary(
        device=None if manifest.get("device") is None else str(manifest["device"]),
        software={str(name): str(version) for name, version in manifest["software"].items()},
        notice=None if manifest.get("notice") is None else str(manifest["notice"]),
        finished=manifest["timing"]["finished"],
        wall_s=float(seconds) if isinstance(seconds, int | float) else None,
        calibration=calibration_used(manifest),
    )


def calibration_used(manifest: Mapping[str, Any]) -> CalibrationUsed | None:
    """What a manifest says about the calibration; None where there is none, or not in the form of `avpenet score`."""
    stated = manifest.get("calibration")
    if not isinstance(stated, dict):
        return None
    kinds: dict[str, type] = {
        "digest": str,
        "created": str,
        "n_subjects": int,
        "n_recordings": int,
        "n_segments": int,
        "n_raters": int,
        "recorded_from": str,
        "recorded_to": str,
        "coverage": float,
    }
    if any(not isinstance(stated.get(name), kind) for name, kind in kinds.items()):
        return None
    return CalibrationUsed(**{name: stated[name] for name in kinds})
