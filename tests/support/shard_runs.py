"""Runs over an archive and its shards, with made-up outcomes in place of a network's; all that is written is real."""

from __future__ import annotations

import contextlib
import hashlib
import wave
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from avpenet_cli.inputs import Inputs, LeftAside, Recording
from avpenet_cli.records import Balance, Quality, RecordingOutcome, SegmentScore, Status
from avpenet_cli.runs.callbacks import NO_CALLBACKS
from avpenet_cli.runs.journal import Journal
from avpenet_cli.runs.lock import output_lock
from avpenet_cli.scoring.embeddings import opened_store
from avpenet_cli.scoring.request import ScoreRequest
from avpenet_cli.scoring.results import Results, RunFacts
from avpenet_cli.settings import RunSettings, result_settings
from avpenet_cli.shards.plan import PlanRequest, ShardPlan, plan_shards
from avpenet_cli.shards.shard import Shard, shard_file, shard_output
from avpenet_cli.weights import WeightsEntry
from tests.support.weight_descriptions import make_description

Outcomes = Callable[[Recording], RecordingOutcome]
FAILED = RecordingOutcome(Status.FAILED, reason="empty_file", message="an empty file")


def made_up(recording: Recording, segments: int = 2) -> RecordingOutcome:
    """An outcome by the recording's name: scores 0 to 10; `bad` in the name fails."""
    if "bad" in recording.name:
        return FAILED
    rng = np.random.default_rng([*recording.name.encode()])
    scores = rng.uniform(0, 10, segments).round(6)
    found = tuple(
        SegmentScore(
            place,
            3.0 * place,
            3.0 * place + 3,
            Status.SCORED,
            Quality(1.0, 0.987654321, 61.5, 1, 0.25, 12.345678, -23.456789),
            float(score),
            "low" if score <= 3 else "moderate" if score <= 6 else "high",
            modalities="audio+face",
        )
        for place, score in enumerate(scores)
    )
    facts: dict[str, object] = {
        "container": "mov,mp4",
        "video": {"codec": "h264", "width": 640, "height": 480, "fps": 25.0},
        "audio": {"codec": "aac", "rate": 48000, "channels": 2},
        "creation_time": "2026-03-04T10:15:00+00:00",
    }
    stages = {name: float(value) for name, value in zip("abcdef", rng.uniform(0, 9, 6), strict=True)}
    balance = Balance(3.0 * segments + 0.1, 3.0 * segments, {"tail_too_short": 0.1})
    return RecordingOutcome(Status.SCORED, found, balance, orientation_deg=0, facts=facts, stage_s=stages)


def make_recordings(folder: Path, names: Sequence[str], *, pseudonyms: bool = False) -> list[Recording]:
    """Silent recordings of different lengths, so that each shard gets some."""
    recordings = []
    for number, name in enumerate(names):
        path = folder / name
        with wave.open(str(path), "wb") as file:
            file.setparams((1, 1, 8000, 0, "NONE", ""))
            file.writeframes(bytes(8000 + 400 * number))
        shown = hashlib.sha256(name.encode()).hexdigest()[:8] if pseudonyms else name
        recordings.append(Recording(path, shown, hashlib.sha256(str(path).encode()).hexdigest()))
    return recordings


def requested(out: Path, recordings: Sequence[Recording], **options: Any) -> ScoreRequest:
    """A request over recordings, with weights of which there is a description only."""
    weights = WeightsEntry(make_description("w"), None)
    inputs = Inputs(tuple(recordings), LeftAside({"hidden": 1}))
    return ScoreRequest(inputs, out, weights, RunSettings(device="cpu"), **options)


def settings_of(request: ScoreRequest) -> dict[str, Any]:
    """As `scoring.run.fingerprint`, without loading torch."""
    return {
        "weights": f"{request.weights.name}@{request.weights.digest}",
        "recordings' names": "pseudonyms" if request.pseudonymised else "plain",
        **result_settings(request.settings),
    }


def run(
    request: ScoreRequest,
    outcomes: Outcomes = made_up,
    *,
    until: int | None = None,
    settings: dict[str, Any] | None = None,
) -> None:
    """What `score` writes.

    Args:
        until: number of recordings after which the run is killed; None for a run that ends well.
        settings: in place of the request's own.
    """
    settings = settings or settings_of(request)
    started = datetime.now().astimezone()
    with (
        output_lock(request.out),
        contextlib.closing(Journal(request.out, settings)) as journal,
        opened_store(request.embeddings, request.out, settings) as store,
    ):
        facts = {
            "started": started.isoformat(timespec="seconds"),
            "command": request.command,
            "left_aside": asdict(request.inputs.left_aside),
            "pseudonymised": request.pseudonymised,
        }
        journal.begin_run(request.inputs.recordings, facts, with_paths=not request.pseudonymised)
        reused = set()
        for recording in request.inputs.recordings[:until]:
            state = recording.path.stat()
            if journal.finished(recording, state):
                reused.add(recording.key)
                continue
            outcome = outcomes(recording)
            if store is not None and outcome.segments:
                rng = np.random.default_rng([*recording.name.encode()])
                store.note(recording, outcome, rng.normal(size=(len(outcome.segments), 8)).astype(np.float32))
            journal.note(recording, state, outcome, "" if outcome.status is Status.FAILED else "0" * 64)
        if until is None:
            written = Results(request).write(journal, RunFacts("cpu", reused, started), NO_CALLBACKS, store)
            journal.end_run(written)


def plan(request: ScoreRequest, count: int, *, prune: bool = False) -> ShardPlan:
    """The plan of a request's shards, brought up to date."""
    wanted = PlanRequest(
        request.out,
        count,
        request.inputs,
        settings_of(request),
        request.settings.decoding,
        pseudonymised=request.pseudonymised,
        prune=prune,
    )
    return plan_shards(wanted)


def run_shard(request: ScoreRequest, number: int, count: int, outcomes: Outcomes = made_up, **options: Any) -> None:
    """What `score --shard` writes; options as of `run`."""
    shard = Shard(number, count)
    keys = plan(request, count).keys_of(shard)
    recordings = tuple(item for item in request.inputs.recordings if item.key in keys)
    file = request.embeddings
    part = replace(
        request,
        inputs=replace(request.inputs, recordings=recordings),
        part_of=request.inputs,
        out=shard_output(request.out, shard),
        embeddings=None if file is None else shard_file(request.out, shard, f".{file.name}"),
    )
    run(part, outcomes, **options)
