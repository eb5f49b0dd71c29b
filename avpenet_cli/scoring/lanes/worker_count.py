"""How many recordings a run scores at the same time, and with how many threads each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch

from avpenet_cli.runs.resources import available_memory_bytes, usable_cores

WORKER_BYTES = 1400 << 20
"""Memory that `auto` sets aside for one worker with its decoder. A 60-s recording of 1920x1080 pixels took less; see
the benchmarks in the documentation."""
LANE_BYTES = 500 << 20
"""The same for a thread of a process with a GPU: frames that wait, and the decoder."""
_MEMORY_SHARE = 0.5
"""Of the free memory, `auto` leaves the rest to others: a job on a shared server must not drive it into swapping."""


@dataclass(frozen=True)
class WorkerPlan:
    """How a run scores.

    Attributes:
        workers: recordings at a time.
        threads: threads of each process that scores; 0 leaves torch's choice.
    """

    workers: int
    threads: int = 0


def plan_workers(
    wanted: int | Literal["auto"],
    to_score: int,
    device: torch.device,
    cores: int | None = None,
    memory_bytes: int | None = None,
) -> WorkerPlan:
    """Split the cores among the recordings that are still to score.

    `auto` takes one worker with one thread for each core, as far as half of the free memory allows. One process encodes
    faces in up to twelve threads, but one thread reads a recording and searches it for faces, which
    limits it to about ten times real time however many cores there are. On two cores both ways are equally fast. Where
    memory is the limit, each worker gets an equal share of the cores.

    Args:
        wanted: the setting `workers`.
        to_score: recordings that no earlier run has scored.
        device: on a GPU the workers are threads of one process, because each further one would hold the networks
            again. They mostly wait for their decoders and for the GPU, and have no threads of their own.
        cores, memory_bytes: of this machine by default.
    """
    if to_score <= 1 or wanted == 1:
        return WorkerPlan(1)
    on_gpu = device.type != "cpu"
    cores = usable_cores() if cores is None else cores
    if wanted == "auto":
        memory_bytes = available_memory_bytes() if memory_bytes is None else memory_bytes
        each_bytes = LANE_BYTES if on_gpu else WORKER_BYTES
        fitting = 1 if memory_bytes is None else int(_MEMORY_SHARE * memory_bytes) // each_bytes
        workers = max(1, min(to_score, cores, fitting))
    else:
        workers = min(to_score, wanted)
    return WorkerPlan(workers, max(1, cores // workers)) if workers > 1 and not on_gpu else WorkerPlan(workers)
