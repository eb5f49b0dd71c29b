"""Several recordings at a time in threads of this process, around one network: how a GPU is kept busy.

Decoders are processes of their own, and most of what a thread does for its recording leaves Python's lock to the
others. A second process on a GPU would hold its networks a second time.
"""

from __future__ import annotations

import dataclasses
import queue
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import torch

from avpenet_cli.runs.callbacks import NO_CALLBACKS, RunCallbacks
from avpenet_cli.scoring.lanes.lane import Job, JobResult, score_job
from avpenet_cli.scoring.scorer import Scorer
from avpenet_cli.scoring.shared_network import SharedNetwork
from avpenet_cli.settings import RunSettings
from avpenet_cli.weights import WeightsEntry

_POLL_S = 0.2
"""How soon a request to stop is noticed while every recording is silent."""

_Report = Callable[[], None]


class _Relay(RunCallbacks):
    """Callbacks of one thread: hands its reports on to the thread that takes results.

    Args:
        callbacks: of the run.
        lane: number of the lane whose reports these are.
        put: takes each report, as a function that makes it.
        closing: set when every lane should end.
    """

    def __init__(
        self, callbacks: RunCallbacks, lane: int, put: Callable[[_Report], None], closing: threading.Event
    ) -> None:
        self._callbacks, self._lane, self._put, self._closing = callbacks, lane, put, closing

    def info(self, message: str, **fields: object) -> None:
        """Hand it on."""
        self._put(partial(self._callbacks.info, message, **fields))

    def detail(self, message: str, **fields: object) -> None:
        """Hand it on."""
        self._put(partial(self._callbacks.detail, message, **fields))

    def warning(self, message: str, **fields: object) -> None:
        """Hand it on."""
        self._put(partial(self._callbacks.warning, message, **fields))

    def error(self, message: str, **fields: object) -> None:
        """Hand it on."""
        self._put(partial(self._callbacks.error, message, **fields))

    def progress(self, done: float, total: float, lane: int = 0) -> None:
        """Hand it on, with the number of this lane."""
        self._put(partial(self._callbacks.progress, done, total, self._lane))

    def should_stop(self) -> bool:
        """Whether the run or these lanes should end."""
        return self._closing.is_set() or self._callbacks.should_stop()


class ThreadLanes:
    """Lanes as `lanes.Lanes` describes them, each a thread with a scorer of its own and the network of all.

    The callbacks are called in the thread that uses the lanes, except for `should_stop`, which only answers.

    Args:
        entry: the weights to load.
        run: how to score.
        count: lanes, at least 1; a recording's scores do not depend on it.
        callbacks: of the run.
        with_times: as for `Scorer`.
        with_embeddings: as for `Network`.

    Raises:
        SettingsError, WeightsError, EnvironmentUnavailableError: as `Scorer` and `Network`.
    """

    def __init__(
        self,
        entry: WeightsEntry,
        run: RunSettings,
        count: int,
        callbacks: RunCallbacks = NO_CALLBACKS,
        *,
        with_times: bool = True,
        with_embeddings: bool = False,
    ) -> None:
        self._callbacks = callbacks
        self._events: queue.SimpleQueue[JobResult | Exception | _Report] = queue.SimpleQueue()
        self._closing = threading.Event()
        self._error: Exception | None = None
        self._free = list(reversed(range(count)))
        self._network = SharedNetwork(entry, run, self._relay(0), with_embeddings=with_embeddings)
        try:
            relays = [self._relay(lane) for lane in range(count)]
            self._lanes = [
                (Scorer(self._network, run, relay, with_times=with_times), relay.should_stop) for relay in relays
            ]
        except BaseException:
            self._network.close()
            raise
        self._threads = ThreadPoolExecutor(count, thread_name_prefix="lane")

    @property
    def device(self) -> torch.device:
        """The device that computes."""
        return self._network.device

    def has_room(self) -> bool:
        """Whether a lane is free."""
        return bool(self._free)

    def submit(self, job: Job) -> None:
        """Start a recording on a free lane."""
        lane = self._free.pop()
        self._callbacks.item_started(job.name, lane)
        self._threads.submit(self._score, job, lane)

    def take(self) -> JobResult:
        """Wait for a recording and pass on reports; raises as `Lanes.take`, after results that are there already."""
        while True:
            if self._error is not None and self._events.empty():
                raise self._error
            try:
                event = self._events.get(timeout=_POLL_S)
            except queue.Empty:
                self._callbacks.check_stop()
                continue
            if isinstance(event, JobResult):
                self._free.append(event.lane)
                return event
            if isinstance(event, Exception):
                self._error = event
            else:
                event()

    def close(self) -> None:
        """End the threads; recordings in progress are given up."""
        self._closing.set()
        self._threads.shutdown(cancel_futures=True)
        self._network.close()

    def _relay(self, lane: int) -> RunCallbacks:
        return _Relay(self._callbacks, lane, self._events.put, self._closing)

    def _score(self, job: Job, lane: int) -> None:
        try:
            self._events.put(dataclasses.replace(score_job(job, *self._lanes[lane]), lane=lane))
        except Exception as error:
            self._events.put(error)
