"""The part of the GPU check that scores several recordings at a time, as a run on a GPU does."""

from __future__ import annotations

import dataclasses
import os
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from avpenet_cli.phrasing import plural
from avpenet_cli.records import RecordingOutcome
from avpenet_cli.scoring.lanes.lane import Job as ScoringJob
from avpenet_cli.scoring.lanes.threads import ThreadLanes
from avpenet_cli.weights import default_entry

if TYPE_CHECKING:
    from tests.gpu.parts import Job

_COPIES = 4
_MOST_LANES = 16


def lanes(job: Job) -> None:
    """Recordings in lanes against one at a time: the same outcomes, and how much of the time decoding alone takes."""
    paths = job.paths * (2 if job.quick else _COPIES)
    count = 2 if job.quick else max(2, min(len(paths), _MOST_LANES, os.cpu_count() or 1))
    for precision in ("float32",) if job.quick else ("float32", "bfloat16"):
        with job.step(f"recordings in lanes, {precision}"):
            alone, _ = _score(job, job.paths, 1, precision)
            together, wall_s = _score(job, paths, count, precision)
            recorded_s = sum(outcome.balance.nominal_s for outcome in together if outcome.balance)
            decoding_s = _decode(job, paths, count)
            text = (
                f"{recorded_s / wall_s:.1f} x real time; decoding alone, in {count} threads, takes "
                f"{100 * decoding_s / wall_s:.0f} % of the time"
            )
            what = f"{plural(len(paths), 'recording')} in {count} lanes: {job.label}, {precision}"
            job.row(what, text)
            differing = sum(
                _without_times(outcome) != _without_times(alone[place % len(alone)])
                for place, outcome in enumerate(together)
            )
            check = f"outcomes in {count} lanes against one: {job.label}, {precision}"
            job.row(check, f"{differing} of {plural(len(paths), 'recording')} differ", "0", differing == 0)


def _score(job: Job, paths: list[Path], count: int, precision: str) -> tuple[list[RecordingOutcome], float]:
    """Outcomes in order, and the seconds they took, with graphs captured and kernels chosen before."""
    outcomes: dict[int, RecordingOutcome] = {}
    with closing(ThreadLanes(default_entry(), job.settings(job.device, precision), count)) as scoring:
        if job.on_gpu:
            _take_all(scoring, job.paths[:1])
        started = time.perf_counter()
        outcomes = _take_all(scoring, paths)
        wall_s = time.perf_counter() - started
    return [outcomes[place] for place in range(len(paths))], wall_s


def _take_all(scoring: ThreadLanes, paths: Iterable[Path]) -> dict[int, RecordingOutcome]:
    outcomes: dict[int, RecordingOutcome] = {}
    begun = 0
    for place, path in enumerate(paths):
        if not scoring.has_room():
            result = scoring.take()
            outcomes[result.job.position] = result.outcome
        scoring.submit(ScoringJob(place, path.name, path, path.stat()))
        begun += 1
    while len(outcomes) < begun:
        result = scoring.take()
        outcomes[result.job.position] = result.outcome
    return outcomes


def _decode(job: Job, paths: list[Path], threads: int) -> float:
    """Seconds for decoding the same frames and nothing else."""

    def all_frames(path: Path) -> int:
        return sum(int(np.prod(frame.image.size)) > 0 for frame in job.recordings.frames(path))

    started = time.perf_counter()
    with ThreadPoolExecutor(threads) as pool:
        assert all(pool.map(all_frames, paths))
    return time.perf_counter() - started


def _without_times(outcome: RecordingOutcome) -> RecordingOutcome:
    return dataclasses.replace(outcome, stage_s={})
