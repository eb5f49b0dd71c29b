"""Recordings scored by actors on the hosts of a cluster; the run is the only one that writes."""

from __future__ import annotations

import dataclasses
import time
from collections import Counter, deque
from typing import TYPE_CHECKING, Any, Protocol

import torch

from avpenet_cli.errors import EnvironmentUnavailableError, RecordingError
from avpenet_cli.phrasing import plural
from avpenet_cli.runs.callbacks import RunCallbacks
from avpenet_cli.runs.journal import count_unfinished
from avpenet_cli.scoring.lanes.actor import ActorSetup
from avpenet_cli.scoring.lanes.lane import Job, JobResult
from avpenet_cli.scoring.lanes.worker_process import (
    Fault,
    Finished,
    LogMessage,
    Message,
    ReadSeconds,
    Ready,
    WorkerSetup,
    report,
)
from avpenet_cli.scoring.scorer import failed_outcome

if TYPE_CHECKING:
    from avpenet_cli.scoring.request import ScoreRequest

_POLL_S = 0.2
_QUIET_S = 60.0
"""Without an actor for so long, the run says that it waits for the cluster, s."""
_TRIES = 3
"""A recording is failed, and loading given up, when so many actors ended at it. A host that is taken away is the
recording's fault no more than a host's memory that others use up, so that one loss means little."""
_LANES_OF_A_GPU = 16


@dataclasses.dataclass(frozen=True)
class Lost:
    """An actor has ended, or can no longer be reached.

    Attributes:
        reason: how, in one line.
    """

    reason: str


class Cluster(Protocol):
    """What carries calls to actors on other hosts, and streams of messages back."""

    def resources(self) -> tuple[int, int]:
        """Processor cores and GPUs of all hosts."""

    def start(self, setup: ActorSetup, gpus: int) -> Any:
        """Ask for one more `actor.ScoringActor`. The cluster may have a place for it later, or never.

        Args:
            gpus: that the actor has for itself, 0 or 1.
        """

    def load(self, actor: Any) -> Any:
        """Call `load` of an actor: a stream, which can be a key of a dictionary."""

    def score(self, actor: Any, job: Job) -> Any:
        """Call `score` of an actor; as `load`."""

    def receive(self, streams: list[Any], timeout_s: float) -> tuple[Any, Message | Lost | None] | None:
        """The next message of one of the streams, with its stream; None as message where the stream has ended.

        Returns:
            None where nothing came within the time.
        """

    def end(self, actor: Any) -> None:
        """End an actor, whatever it does; it may have ended."""

    def close(self) -> None:
        """Leave the cluster."""


def open_actor_lanes(
    cluster: Cluster, request: ScoreRequest, callbacks: RunCallbacks, *, with_times: bool, actors: int | None
) -> ActorLanes:
    """Lanes for `score_recordings`: an actor for each GPU, or for each core where there is no GPU or none is wanted.

    Args:
        cluster: closed with the lanes, or at once where there will be none.
        actors: at most so many.

    Raises:
        EnvironmentUnavailableError: the settings ask for a GPU, and the cluster has none.
        AvpenetError: as `ActorLanes`.
    """
    settings, entry = request.settings, request.weights
    try:
        cores, gpus = cluster.resources()
        if settings.device == "cpu":
            gpus = 0
        elif settings.device != "auto" and not gpus:
            raise EnvironmentUnavailableError(f"--device {settings.device}: the cluster has no GPU", "use --device cpu")
        device = torch.device("cuda:0" if gpus else "cpu")
        setup = WorkerSetup(
            dataclasses.replace(entry, path=entry.path and entry.path.absolute()),
            dataclasses.replace(settings, device=str(device)),
            with_times,
            threads=0 if gpus else 1,
            with_embeddings=request.embeddings is not None,
        )
        unfinished = len(request.inputs.recordings)
        if not request.overwrite and request.embeddings is None:
            unfinished = count_unfinished(request.out, request.inputs.recordings)
        places = max(1, gpus or cores)
        count = max(1, min(actors or places, places, unfinished))
        callbacks.detail(f"asking the cluster for {plural(count, 'actor')} of {places}")
    except BaseException:
        cluster.close()
        raise
    lanes = min(_LANES_OF_A_GPU, max(1, cores // gpus)) if gpus else 1
    return ActorLanes(cluster, ActorSetup(setup, lanes), count, device, callbacks)


class ActorLanes:
    """Lanes that are actors. One that ends is replaced, and its recordings are given to the next free lanes.

    Args:
        cluster: closed with the lanes.
        setup: of every actor.
        count: actors; those for which the cluster has no place yet take nothing.
        device: that each actor computes on.
        callbacks: of the run; called in the thread that calls `submit` and `take`.

    Raises:
        Interrupted: the callbacks asked for it.
        AvpenetError: what an actor met while it loaded the networks.
    """

    def __init__(
        self, cluster: Cluster, setup: ActorSetup, count: int, device: torch.device, callbacks: RunCallbacks
    ) -> None:
        self._cluster, self._setup, self._device, self._callbacks = cluster, setup, device, callbacks
        self._lanes = setup.lanes
        self._actors: dict[int, Any] = {}
        self._streams: dict[Any, tuple[int, Job | None]] = {}
        self._free: deque[int] = deque()
        self._waiting: deque[Job] = deque()
        self._results: deque[JobResult] = deque()
        self._losses: Counter[int] = Counter()
        self._failed_loads = 0
        self._fault: Exception | None = None
        self._had_actor = time.monotonic()
        try:
            for number in range(count):
                self._start(number)
            while not self._free:
                self._receive()
        except BaseException:
            self.close()
            raise

    @property
    def device(self) -> torch.device:
        """The device of each actor, on its host."""
        return self._device

    def has_room(self) -> bool:
        """Whether no recording waits for an actor."""
        return not self._waiting

    def submit(self, job: Job) -> None:
        """Hand a recording to a free lane; where there is none, one recording waits."""
        # The actors are in other folders.
        self._waiting.append(dataclasses.replace(job, path=job.path.absolute()))
        self._hand_out()

    def take(self) -> JobResult:
        """Wait until a recording is finished; raises as `Lanes.take`."""
        while not self._results:
            self._receive()
        return self._results.popleft()

    def close(self) -> None:
        """End the actors, and leave the cluster."""
        actors = list(self._actors.values())
        self._actors.clear()
        for actor in actors:
            self._cluster.end(actor)
        self._cluster.close()

    def _start(self, number: int) -> None:
        self._actors[number] = self._cluster.start(self._setup, gpus=int(self._device.type == "cuda"))
        self._streams[self._cluster.load(self._actors[number])] = (number * self._lanes, None)

    def _hand_out(self) -> None:
        while self._waiting and self._free:
            job, lane = self._waiting.popleft(), self._free.popleft()
            self._callbacks.item_started(job.name, lane)
            self._streams[self._cluster.score(self._actors[lane // self._lanes], job)] = (lane, job)

    def _receive(self) -> None:
        """Handle what comes within a moment."""
        received = self._cluster.receive(list(self._streams), _POLL_S)
        if received is not None and received[0] in self._streams:
            stream, message = received
            lane, job = self._streams[stream]
            if message is None:
                del self._streams[stream]
            elif isinstance(message, Lost):
                self._replace(lane // self._lanes, message.reason)
            else:
                self._handle(lane, job, message)
        self._hand_out()
        self._warn_of_waiting()
        if not self._results:  # what is finished comes first
            if self._fault is not None:
                raise self._fault
            self._callbacks.check_stop()

    def _handle(self, lane: int, job: Job | None, message: Message) -> None:
        match message:
            case Ready(lanes):
                self._failed_loads = 0
                self._callbacks.detail(f"actor {lane // self._lanes + 1} has loaded the networks")
                self._free.extend(range(lane, lane + lanes))
            case ReadSeconds() | LogMessage():
                report(message, lane, self._callbacks)
            case Finished():
                assert job is not None
                self._results.append(dataclasses.replace(message.restored(), job=job, lane=lane))
                self._free.append(lane)
            case Fault(error):
                self._fault = error.restored()

    def _replace(self, number: int, reason: str) -> None:
        """Give up an actor that is lost, and ask for another one."""
        self._cluster.end(self._actors.pop(number))
        lanes = range(number * self._lanes, (number + 1) * self._lanes)
        self._free = deque(lane for lane in self._free if lane not in lanes)
        of_actor = {stream: job for stream, (lane, job) in self._streams.items() if lane in lanes}
        for stream in of_actor:
            del self._streams[stream]
        jobs = [job for job in of_actor.values() if job is not None]
        if not jobs:
            self._failed_loads += 1
            if self._failed_loads >= _TRIES * (len(self._actors) + 1):
                raise EnvironmentUnavailableError(
                    f"the actors end while they are loading: {reason}", "see avpenet doctor"
                )
        for job in jobs:
            self._lose(job, reason)
        self._start(number)

    def _lose(self, job: Job, reason: str) -> None:
        self._losses[job.position] += 1
        if self._losses[job.position] < _TRIES:
            self._callbacks.warning(f"{job.name}: the actor that scored it was lost ({reason}); another one takes it")
            self._waiting.append(job)
            return
        problem = f"the actors that scored it were lost, {_TRIES} times ({reason})"
        failure = RecordingError("worker_ended", problem, "score it on one host, without a cluster")
        self._results.append(JobResult(job, failed_outcome(failure), error=failure))

    def _warn_of_waiting(self) -> None:
        now = time.monotonic()
        if self._free or any(job is not None for _, job in self._streams.values()):
            self._had_actor = now
        elif now - self._had_actor > _QUIET_S:
            self._had_actor = now
            self._callbacks.warning(
                f"the cluster has had no place for {plural(len(self._actors), 'actor')} for a minute: waiting"
            )
