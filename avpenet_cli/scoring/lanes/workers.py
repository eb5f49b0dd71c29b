"""Several recordings at a time, each in a process of its own; the run is the only one that writes."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import socket
import subprocess
import sys
import time
from collections import deque
from multiprocessing import connection

import torch

from avpenet_cli.errors import EnvironmentUnavailableError, RecordingError
from avpenet_cli.runs.callbacks import RunCallbacks
from avpenet_cli.scoring.lanes.lane import Job, JobResult
from avpenet_cli.scoring.lanes.worker_process import (
    STOP_S,
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

_POLL_S = 0.2
_FEWER = "the machine's memory may be too small: use fewer --workers"

# A fresh interpreter, because torch's threads do not survive a fork. It finds modules where this one does; the folders
# are sent, because everyone on the machine can read a command line.
_BOOTSTRAP = (
    "import sys; from multiprocessing.connection import Connection; channel = Connection(int(sys.argv[1]))\n"
    "sys.path[:] = channel.recv(); from avpenet_cli.runs.memory import loading_libraries\n"
    "with loading_libraries(): from avpenet_cli.scoring.lanes.worker_process import main\n"
    "main(channel)"
)


class WorkerLanes:
    """Lanes that are processes. One that is killed is replaced, and its recording is tried once more, alone.

    Args:
        setup: for every worker.
        count: how many.
        callbacks: of the run; called in the thread that calls `submit` and `take`.

    Raises:
        Interrupted: the callbacks asked for it.
        AvpenetError: what a worker met while it loaded the networks.
    """

    def __init__(self, setup: WorkerSetup, count: int, callbacks: RunCallbacks) -> None:
        self._setup, self._count, self._callbacks = setup, count, callbacks
        self._numbers = range(count)
        self._workers: dict[int, _Worker] = {}
        self._results: deque[JobResult] = deque()
        self._lost: deque[tuple[int, Job]] = deque()
        self._retried: set[int] = set()
        self._alone = False
        self._fault: Exception | None = None
        try:
            for lane in self._numbers:
                self._workers[lane] = _Worker(lane, setup)
            while not any(worker.ready for worker in self._workers.values()):
                self._receive()
        except BaseException:
            self.close()
            raise

    @property
    def device(self) -> torch.device:
        """The CPU."""
        return torch.device("cpu")

    def has_room(self) -> bool:
        """Whether a worker is idle, and no recording has to be tried alone."""
        return not self._lost and not self._alone and self._busy < self._count

    @property
    def _busy(self) -> int:
        return sum(worker.job is not None for worker in self._workers.values())

    def submit(self, job: Job) -> None:
        """Hand a recording to an idle worker, if possible one that has loaded its networks."""
        idle = [worker for worker in self._workers.values() if worker.job is None]
        unused = (number for number in self._numbers if number not in self._workers)
        self._assign(min(idle, key=lambda worker: not worker.ready).lane if idle else next(unused), job)

    def _assign(self, lane: int, job: Job) -> None:
        if lane not in self._workers:
            self._workers[lane] = _Worker(lane, self._setup)
        self._callbacks.item_started(job.name, lane)
        self._workers[lane].start(job)

    def take(self) -> JobResult:
        """Wait until a worker has finished its recording; raises as `Lanes.take`."""
        while not self._results:
            if self._lost and not self._busy:
                self._alone = True
                lane, job = self._lost.popleft()
                ready = [worker.lane for worker in self._workers.values() if worker.ready]
                # A worker that was killed while it loaded may be one too many for the memory.
                killed_loading = job.position not in self._retried
                self._assign(ready[0] if ready and killed_loading else lane, job)
            self._receive()
        return self._results.popleft()

    def _receive(self) -> None:
        """Handle what has arrived, or arrives within a moment."""
        workers = {worker.channel: worker for worker in self._workers.values()}
        for channel in connection.wait(list(workers), timeout=_POLL_S):
            assert isinstance(channel, connection.Connection)
            try:
                message: Message = channel.recv()
            except (EOFError, OSError):
                self._replace(workers[channel])
            else:
                self._handle(workers[channel], message)
        if not self._results:  # what is finished comes first
            if self._fault is not None:
                raise self._fault
            self._callbacks.check_stop()

    def _handle(self, worker: _Worker, message: Message) -> None:
        match message:
            case Ready():
                worker.ready = True
            case ReadSeconds() | LogMessage():
                report(message, worker.lane, self._callbacks)
            case Finished():
                self._finish(worker, message.restored())
            case Fault(error):
                self._fault = error.restored()

    def _finish(self, worker: _Worker, result: JobResult) -> None:
        worker.job, self._alone = None, False
        self._results.append(dataclasses.replace(result, lane=worker.lane))

    def _replace(self, worker: _Worker) -> None:
        """Give up a worker that ended; the next recording of its lane starts another one."""
        ended = worker.ended()
        del self._workers[worker.lane]
        job = worker.job
        if not worker.ready:
            self._count = max(self._count - 1, len(self._workers))
            if not self._count:
                remedy = _FEWER if "signal 9" in ended else "see avpenet doctor, or use --workers 1"
                raise EnvironmentUnavailableError(f"the worker processes {ended} while they were loading", remedy)
            self._callbacks.warning(f"a worker process {ended} while it was loading; continuing with {self._count}")
            if job is not None:
                self._lost.append((worker.lane, job))
        elif job is not None and job.position not in self._retried:
            self._callbacks.warning(f"{job.name}: the process that scored it {ended}; it is tried once more, alone")
            self._retried.add(job.position)
            self._lost.append((worker.lane, job))
        elif job is not None:
            error = RecordingError("worker_ended", f"the process that scored it {ended}, twice", _FEWER)
            self._finish(worker, JobResult(job, failed_outcome(error), error=error))

    def close(self) -> None:
        """End the workers; what they have in progress is given up."""
        workers = list(self._workers.values())
        self._workers.clear()
        for worker in workers:
            worker.channel.close()
        deadline = time.monotonic() + STOP_S + 1
        for worker in workers:
            worker.ended(deadline)


class _Worker:
    """The run's side of one process.

    Attributes:
        ready: whether its networks are loaded.
        job: the recording in progress.
    """

    def __init__(self, lane: int, setup: WorkerSetup) -> None:
        self.lane, self.ready = lane, False
        self.job: Job | None = None
        ours, theirs = socket.socketpair()
        try:
            # In a session of its own, so that Ctrl-C reaches only the run.
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-c", _BOOTSTRAP, str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                pass_fds=(theirs.fileno(),),
                start_new_session=True,
                env={**os.environ, "OMP_NUM_THREADS": str(setup.threads)},
            )
        except OSError as error:
            ours.close()
            raise EnvironmentUnavailableError(f"cannot start a worker process: {error}", _FEWER) from None
        finally:
            theirs.close()
        self.channel = connection.Connection(ours.detach())
        self._send(sys.path)
        self._send(setup)

    def start(self, job: Job) -> None:
        """Send it a recording."""
        self.job = job
        self._send(job)

    def _send(self, content: object) -> None:
        with contextlib.suppress(
            BrokenPipeError, ConnectionResetError
        ):  # that it ended is noticed when it is listened to
            self.channel.send(content)

    def ended(self, deadline: float = 0.0) -> str:
        """Wait for its end, kill it where that takes too long, and say how it ended."""
        self.channel.close()
        try:
            status = self._process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            self._process.kill()
            status = self._process.wait()
        return f"was killed (signal {-status})" if status < 0 else f"ended with status {status}"
