"""A process that holds a network for recordings that are streamed to it, on any host of a cluster.

Each call gives a stream of the messages that a worker process sends, the last of which tells how it ended. Nothing here
knows what carries the calls and the messages.
"""

from __future__ import annotations

import os
import queue
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from avpenet_cli.errors import EnvironmentUnavailableError, WeightsError
from avpenet_cli.runs.private_process import keep_private
from avpenet_cli.runs.sent_error import SentError
from avpenet_cli.scoring.lanes.lane import Job, score_job
from avpenet_cli.scoring.lanes.worker_process import (
    Fault,
    Finished,
    Message,
    Outbox,
    ReadSeconds,
    Ready,
    WorkerSetup,
    open_scorer,
)
from avpenet_cli.scoring.scorer import Scorer
from avpenet_cli.scoring.shared_network import SharedNetwork, can_be_shared
from avpenet_cli.version import __version__
from avpenet_cli.weights import WeightsEntry, find

_PROGRESS_S = 0.5
"""Progress is sent at most this often, because every message takes a round trip of the cluster, s."""


@dataclass(frozen=True)
class ActorSetup:
    """What an actor needs to load the networks.

    Attributes:
        worker: as for a worker process; the weights' file may lie elsewhere on the actor's host.
        lanes: recordings at a time, at most; one where they cannot share the network.
        version: of the program that made this.
    """

    worker: WorkerSetup
    lanes: int = 1
    version: str = __version__


class ScoringActor:
    """Holds the network; several recordings may be scored at a time, each call in a thread of its own.

    Args:
        setup: the networks are loaded by `load`, so that what is wrong with them can be told.
        silent: drop what libraries print, which whoever runs the cluster would find in its logs.
    """

    def __init__(self, setup: ActorSetup, *, silent: bool = True) -> None:
        self._setup = setup
        self._idle: queue.SimpleQueue[_Lane] = queue.SimpleQueue()
        if silent:
            keep_private()
            nowhere = os.open(os.devnull, os.O_WRONLY)
            for stream in (1, 2):
                os.dup2(nowhere, stream)

    def load(self) -> Iterator[Message]:
        """Load the networks; ends with `Ready` or a `Fault`."""
        lane = _Lane()
        yield from _streamed(lane, lambda: self._load(lane))

    def score(self, job: Job) -> Iterator[Message]:
        """Score one recording after `load`; ends with `Finished`, or with a `Fault` where the run cannot go on."""
        lane = self._idle.get()
        try:
            yield from _streamed(lane, lambda: lane.score(job))
        finally:
            self._idle.put(lane)

    def _load(self, first: _Lane) -> None:
        if self._setup.version != __version__:
            raise EnvironmentUnavailableError(
                f"{socket.gethostname()} has avpenet {__version__}, the host of the run {self._setup.version}",
                "install the same version on every host of the cluster",
            )
        setup = replace(self._setup.worker, weights=_on_this_host(self._setup.worker.weights))
        first.outbox.take_library_lines()
        lanes = [first]
        if can_be_shared(setup.weights, setup.settings):
            lanes += [_Lane() for _ in range(1, self._setup.lanes)]
            network = SharedNetwork(setup.weights, setup.settings, first.outbox, with_embeddings=setup.with_embeddings)
            for lane in lanes:
                lane.scorer = Scorer(network, setup.settings, lane.outbox, with_times=setup.with_times)
        else:
            first.scorer = open_scorer(setup, first.outbox)
        for lane in lanes:
            self._idle.put(lane)
        first.put(Ready(len(lanes)))


class _Lane:
    """A scorer, and the messages that it has sent and nobody has taken yet; None ends those of one call."""

    scorer: Scorer

    def __init__(self) -> None:
        self.messages: queue.SimpleQueue[Message | None] = queue.SimpleQueue()
        self.outbox = Outbox(self.put)
        self._next_progress = 0.0

    def put(self, message: Message) -> None:
        """Send a message, or drop it where it is progress that comes soon after other progress."""
        if isinstance(message, ReadSeconds):
            if time.monotonic() < self._next_progress:
                return
            self._next_progress = time.monotonic() + _PROGRESS_S
        self.messages.put(message)

    def score(self, job: Job) -> None:
        result = score_job(job, self.scorer, self.outbox.should_stop)
        # The run knows what it sent. A long result may be stored by the cluster on its way, and a path names a patient.
        self.put(Finished.of(replace(result, job=replace(job, name="", path=Path()))))


def _streamed(lane: _Lane, work: Callable[[], None]) -> Iterator[Message]:
    """Do the work in a thread, and give the lane's messages as they come; what is raised becomes a `Fault`."""

    def run() -> None:
        try:
            work()
        except Exception as error:
            lane.put(Fault(SentError.of(error)))
        finally:
            lane.messages.put(None)

    threading.Thread(target=run, daemon=True).start()
    while (message := lane.messages.get()) is not None:
        yield message


def _on_this_host(entry: WeightsEntry) -> WeightsEntry:
    """The same weights on this host: those at the same path, else those of the same name.

    Raises:
        WeightsError: this host has none, or other ones of that name.
    """
    if entry.path is None or entry.path.is_file():
        return entry
    here = find(entry.name)
    if here.digest != entry.digest:
        raise WeightsError(
            f"{socket.gethostname()} has other weights named {entry.name}", "install the same weights on every host"
        )
    return here
