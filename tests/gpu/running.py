"""Parts of the GPU check that score whole recordings with the program's `Scorer`."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from avpenet_cli.errors import EnvironmentUnavailableError
from avpenet_cli.phrasing import plural
from avpenet_cli.records import RecordingOutcome
from avpenet_cli.scoring.network import Network
from avpenet_cli.scoring.scorer import Scorer
from avpenet_cli.settings import RunSettings, from_dict

if TYPE_CHECKING:
    from tests.gpu.parts import Job

_MIB = 1 << 20
_LIMITS = {"float32": 0.01, "bfloat16": 0.06}
"""Differences of scores from the CPU's in float32, points."""
_MEMORY_BATCH = 256
_SMALLEST_GAP = 4096
"""No tensor of a face's encoding fits into fewer bytes."""
_MEMORY_ALLOWED = 1024 * _MIB
"""Too little for a batch of 256 faces in float32, whose activations take some gigabytes."""


@dataclass(frozen=True)
class ScoredAll:
    """All recordings, scored in one way.

    Attributes:
        outcomes: in order.
        wall_s: seconds that they took.
        peak_mib: most memory that tensors held on the GPU, MiB.
    """

    outcomes: list[RecordingOutcome]
    wall_s: float
    peak_mib: float

    @property
    def scores(self) -> np.ndarray:
        """Of all segments; NaN for an unscorable segment."""
        return np.array([math.nan if s.score is None else s.score for o in self.outcomes for s in o.segments])

    @property
    def recorded_s(self) -> float:
        """Seconds of recording."""
        return sum(outcome.balance.nominal_s for outcome in self.outcomes if outcome.balance)


def score_all(job: Job, network: Network, batch_size: int = 32, paths: Sequence[Path] | None = None) -> ScoredAll:
    """Score every recording, or these."""
    run = from_dict(RunSettings, {"device": str(network.device), "batch_size": batch_size}, "gpu-check")
    scorer = Scorer(network, run)
    if job.on_gpu:
        torch.cuda.reset_peak_memory_stats()
    started = time.perf_counter()
    outcomes = [scorer.score(path) for path in (job.paths if paths is None else paths)]
    peak = torch.cuda.max_memory_allocated() / _MIB if job.on_gpu else math.nan
    return ScoredAll(outcomes, time.perf_counter() - started, peak)


def recordings(job: Job) -> None:
    """Scores of whole recordings on the GPU against the CPU's, and the speed of both."""
    scored = {}
    # Without support in the processor, a rehearsal in bfloat16 takes minutes.
    precisions = ("float32", "bfloat16") if job.on_gpu or not job.quick else ("float32",)
    ways = [(f"{job.label}, {precision}", precision) for precision in precisions]
    for name, precision in (*ways, ("CPU, float32", None)):
        with job.step(f"scoring whole recordings: {name}"):
            if precision is None:
                result = score_all(job, job.plain_network())
            else:
                with job.network(precision) as network:
                    if job.on_gpu:
                        score_all(job, network, paths=job.paths[:1])  # loads, chooses kernels, captures graphs
                    result = score_all(job, network)
            scored[name] = result
            peak = "" if math.isnan(result.peak_mib) or not precision else f", GPU memory {result.peak_mib:.0f} MiB"
            speed = f"{result.recorded_s / result.wall_s:.1f} x real time{peak}"
            job.row(f"{plural(len(job.paths), 'recording')}, {result.recorded_s:.0f} s in all: {name}", speed)
            stages: dict[str, float] = {}
            for outcome in result.outcomes:
                for stage, spent_s in outcome.stage_s.items():
                    stages[stage] = stages.get(stage, 0.0) + spent_s
            largest = sorted(stages.items(), key=lambda item: -item[1])[:5]
            job.row(f"seconds by stage: {name}", ", ".join(f"{stage} {spent_s:.2f}" for stage, spent_s in largest))
    for name, limit in ((f"{job.label}, {precision}", _LIMITS[precision]) for precision in precisions):
        if name in scored and "CPU, float32" in scored:
            _compare(job, f"scores, {name} against CPU, float32", scored[name], scored["CPU, float32"], limit)
        else:
            job.not_run(f"scores, {name} against CPU, float32", "not scored, see above")


def _compare(job: Job, check: str, result: ScoredAll, reference: ScoredAll, limit: float) -> None:
    differences = np.abs(result.scores - reference.scores)
    same_plan = np.array_equal(np.isnan(result.scores), np.isnan(reference.scores))
    scorable = differences[~np.isnan(differences)]
    text = f"{scorable.max(initial=0):.4f}, mean {scorable.mean():.4f} ({scorable.size} segments)"
    # Scores are rounded to three decimals.
    passed = same_plan and scorable.size > 0 and float(scorable.max()) <= limit + 1e-9
    job.row(check, text if same_plan else f"{text}; other segments are scorable", f"{limit:g}", passed)


def memory(job: Job) -> None:
    """With too little memory for the batch, the run halves it and gives the same scores."""
    if not job.on_gpu:
        job.not_run("out of memory", "needs a GPU")
        return
    with job.step("out of memory"):
        with job.network() as network:
            plenty = score_all(job, network, 32)
        with job.network(batch_size=_MEMORY_BATCH) as network, limited_memory(_MEMORY_ALLOWED):
            little = score_all(job, network, _MEMORY_BATCH)
        text = f"{_MEMORY_BATCH} became {network.batch_size}"
        job.row(
            f"batch size with {_MEMORY_ALLOWED // _MIB} MiB more than the weights",
            text,
            f"under {_MEMORY_BATCH}",
            network.batch_size < _MEMORY_BATCH,
        )
        _compare(
            job, f"scores, {network.batch_size} faces at once for lack of memory, against 32", little, plenty, 0.001
        )
    with job.step("out of memory for a single face"), job.network() as network:
        with limited_memory(0), full_memory():
            try:
                network.encode_faces(job.crops(8))
                job.row("no memory even for one face", "it was encoded all the same", "an error with a remedy", False)
            except EnvironmentUnavailableError as error:
                job.row("no memory even for one face", str(error), "an error with a remedy", True)
        network.encode_faces(job.crops(1))
        job.row("after that, with memory again", "a face is encoded", "no error", True)


class limited_memory:  # noqa: N801 - used like a function
    """Let this process hold only so much more GPU memory than now, within the block.

    Args:
        allowed: bytes.
    """

    def __init__(self, allowed: int) -> None:
        self._allowed = allowed

    def __enter__(self) -> None:
        torch.cuda.synchronize()
        torch.cuda.empty_cache()
        total = torch.cuda.get_device_properties(0).total_memory
        torch.cuda.set_per_process_memory_fraction((torch.cuda.memory_reserved() + self._allowed) / total)

    def __exit__(self, *_: object) -> None:
        torch.cuda.set_per_process_memory_fraction(1.0)


@contextmanager
def full_memory() -> Iterator[None]:
    """Fill what is free in the allowed memory, including gaps between tensors, within the block."""
    filling: list[torch.Tensor] = []
    size = 64 * _MIB
    while size >= _SMALLEST_GAP:
        try:
            filling.append(torch.empty(size, dtype=torch.uint8, device="cuda"))
        except torch.OutOfMemoryError:
            size //= 2
    yield
    filling.clear()
