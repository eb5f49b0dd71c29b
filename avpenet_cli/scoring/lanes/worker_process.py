"""A worker process: scores the recordings that the run sends through a pipe, and ends when the pipe does."""

from __future__ import annotations

import dataclasses
import logging
import os
import queue
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection

import torch

from avpenet_cli.errors import Interrupted
from avpenet_cli.runs.callbacks import RunCallbacks
from avpenet_cli.runs.memory import keep_freed_memory
from avpenet_cli.runs.sent_error import SentError
from avpenet_cli.scoring.lanes.lane import Job, JobResult, score_job
from avpenet_cli.scoring.network import Network
from avpenet_cli.scoring.scorer import Scorer
from avpenet_cli.settings import RunSettings
from avpenet_cli.weights import WeightsEntry

STOP_S = 5.0
"""A worker whose run has ended may take this long to end its decoders, s."""


@dataclass(frozen=True)
class WorkerSetup:
    """What a worker is told first.

    Attributes:
        weights: loaded and verified by the worker itself.
        settings: of the run.
        with_times: see `Scorer`.
        threads: that compute.
        with_embeddings: see `Network`.
    """

    weights: WeightsEntry
    settings: RunSettings
    with_times: bool
    threads: int
    with_embeddings: bool = False


@dataclass(frozen=True)
class Ready:
    """The networks are loaded.

    Attributes:
        lanes: recordings that the process scores at a time.
    """

    lanes: int = 1


@dataclass(frozen=True)
class ReadSeconds:
    """Progress of the current recording, s."""

    done: float
    total: float


@dataclass(frozen=True)
class LogMessage:
    """A line of the log: the method of `RunCallbacks` and its arguments."""

    level: str
    text: str
    fields: dict[str, object]


@dataclass(frozen=True)
class Finished:
    """A recording is finished; its error is sent apart, because exceptions lose their tracebacks."""

    result: JobResult
    error: SentError | None

    @classmethod
    def of(cls, result: JobResult) -> Finished:
        """The message about a result."""
        error = None if result.error is None else SentError.of(result.error)
        return cls(dataclasses.replace(result, error=None), error)

    def restored(self) -> JobResult:
        """The result with its error."""
        return dataclasses.replace(self.result, error=self.error.restored() if self.error else None)


@dataclass(frozen=True)
class Fault:
    """The run cannot go on."""

    error: SentError


Message = Ready | ReadSeconds | LogMessage | Finished | Fault


def report(message: ReadSeconds | LogMessage, lane: int, callbacks: RunCallbacks) -> None:
    """Tell the run's callbacks what a scorer of another process reported.

    Args:
        lane: whose recording it is about.
    """
    match message:
        case ReadSeconds(done, total):
            callbacks.progress(done, total, lane)
        case LogMessage(level, text, fields):
            getattr(callbacks, level)(text, **fields)


def main(channel: Connection) -> None:
    """Score what arrives, one recording at a time; never returns.

    A signal that reaches a whole group of processes, such as a service's SIGTERM, is the run's to answer: it closes the
    channel. The channel also ends when the run is killed.
    """
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: None)  # a handler, because decoders would inherit that it is ignored
    os.set_inheritable(channel.fileno(), False)
    keep_freed_memory()
    outbox = Outbox(channel.send)
    outbox.take_library_lines()
    try:
        _work(channel, outbox)
    except Interrupted:
        pass
    except Exception as error:
        outbox.send(Fault(SentError.of(error)))
    finally:
        os._exit(0)  # the libraries' own ends take a second, and nothing is left to write


def _work(channel: Connection, outbox: Outbox) -> None:
    setup: WorkerSetup = channel.recv()
    jobs: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
    threading.Thread(target=_receive, args=(channel, jobs, outbox.stop), daemon=True).start()
    scorer = open_scorer(setup, outbox)
    outbox.send(Ready())
    while (job := jobs.get()) is not None:
        outbox.send(Finished.of(score_job(job, scorer, outbox.should_stop)))


def open_scorer(setup: WorkerSetup, callbacks: RunCallbacks) -> Scorer:
    """Load and verify the networks of a process that scores one recording at a time.

    Raises:
        WeightsError, SettingsError, EnvironmentUnavailableError: as `Network` and `Scorer`.
    """
    settings = setup.settings
    if setup.threads:
        torch.set_num_threads(setup.threads)
    if setup.threads == 1 and not settings.decoding.threads:
        settings = dataclasses.replace(settings, decoding=dataclasses.replace(settings.decoding, threads=1))
    network = Network(setup.weights, settings, callbacks, with_embeddings=setup.with_embeddings)
    return Scorer(network, settings, callbacks, with_times=setup.with_times)


def _receive(channel: Connection, jobs: queue.SimpleQueue[Job | None], stop: threading.Event) -> None:
    """Take jobs until the channel ends; then the recording in progress has a few seconds to be given up."""
    try:
        while True:
            jobs.put(channel.recv())
    except (EOFError, OSError):
        stop.set()
        jobs.put(None)
    time.sleep(STOP_S)
    os._exit(1)


class Outbox(RunCallbacks):
    """Sends what a scorer reports.

    Args:
        put: takes one message at a time; raises OSError where the run has gone.
    """

    def __init__(self, put: Callable[[Message], None]) -> None:
        self.stop = threading.Event()
        self._put, self._lock = put, threading.Lock()

    def take_library_lines(self) -> None:
        """Send what libraries warn of, too."""
        logging.captureWarnings(True)
        logging.getLogger().addHandler(_LibraryLines(self))

    def send(self, message: Message) -> None:
        """Send one message; a run that has gone asks for nothing more."""
        try:
            with self._lock:
                self._put(message)
        except OSError:
            self.stop.set()

    def info(self, message: str, **fields: object) -> None:
        """Send it."""
        self.send(LogMessage("info", message, fields))

    def detail(self, message: str, **fields: object) -> None:
        """Send it."""
        self.send(LogMessage("detail", message, fields))

    def warning(self, message: str, **fields: object) -> None:
        """Send it."""
        self.send(LogMessage("warning", message, fields))

    def error(self, message: str, **fields: object) -> None:
        """Send it."""
        self.send(LogMessage("error", message, fields))

    def progress(self, done: float, total: float, lane: int = 0) -> None:
        """Send it; the run knows the lane."""
        self.send(ReadSeconds(done, total))

    def should_stop(self) -> bool:
        """Whether the run has gone."""
        return self.stop.is_set()


class _LibraryLines(logging.Handler):
    """What libraries warn of is for diagnosis."""

    def __init__(self, outbox: Outbox) -> None:
        super().__init__(logging.WARNING)
        self._outbox = outbox

    def emit(self, record: logging.LogRecord) -> None:
        self._outbox.detail(f"{record.name}: {record.getMessage().strip()}")
