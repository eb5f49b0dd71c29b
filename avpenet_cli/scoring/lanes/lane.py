"""Lanes on which recordings are scored: one in this process, or several at a time behind the same interface."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import torch

from avpenet_cli.errors import AvpenetError, Interrupted, RecordingError
from avpenet_cli.records import RecordingOutcome
from avpenet_cli.runs.callbacks import NO_CALLBACKS, RunCallbacks
from avpenet_cli.scoring.scorer import Scorer, failed_outcome

_DIGEST_BLOCK_BYTES = 1 << 20


@dataclass(frozen=True)
class Job:
    """One recording to score.

    Attributes:
        position: among the inputs of the run.
        name: the recording's name or pseudonym.
        path: a regular file.
        file_state: size and modification time before it is read.
        with_digest: also compute the file's SHA-256.
    """

    position: int
    name: str
    path: Path
    file_state: os.stat_result
    with_digest: bool = False


@dataclass(frozen=True)
class JobResult:
    """What became of one recording.

    Attributes:
        sha256: digest of the file, hexadecimal; empty where it was not computed.
        error: what failed; None otherwise.
        spent_s: seconds from start to end.
        lane: the lane that scored it.
        embeddings: (n, E) float32, of its scored segments; None where the network was not asked for them.
    """

    job: Job
    outcome: RecordingOutcome
    sha256: str = ""
    error: Exception | None = None
    spent_s: float = 0.0
    lane: int = 0
    embeddings: np.ndarray | None = None


class Lanes(Protocol):
    """Scores the recordings that it is given, one or several at a time. The networks are loaded when it exists.

    It calls `item_started` and `progress` of the run's callbacks, with the number of the lane.
    """

    @property
    def device(self) -> torch.device:
        """The device that computes."""

    def has_room(self) -> bool:
        """Whether `submit` can take another recording now; true where no recording is in progress."""

    def submit(self, job: Job) -> None:
        """Take a recording; only where there is room."""

    def take(self) -> JobResult:
        """Wait until a recording is finished, whichever it is; only where one is in progress.

        Raises:
            Interrupted: the callbacks asked for it.
            AvpenetError: the run cannot go on, such as without ffmpeg.
        """

    def close(self) -> None:
        """Give up what is in progress, and release processes and threads."""


class InProcessLane:
    """One recording at a time, in the thread that calls `take`.

    Args:
        scorer: with the same callbacks.
    """

    def __init__(self, scorer: Scorer, callbacks: RunCallbacks = NO_CALLBACKS) -> None:
        self._scorer, self._callbacks = scorer, callbacks
        self._job: Job | None = None

    @property
    def device(self) -> torch.device:
        """The device that computes."""
        return self._scorer.device

    def has_room(self) -> bool:
        """Whether no recording is waiting."""
        return self._job is None

    def submit(self, job: Job) -> None:
        """Take a recording, which `take` scores."""
        self._callbacks.item_started(job.name)
        self._job = job

    def take(self) -> JobResult:
        """Score the recording; raises as `Lanes.take`."""
        job, self._job = self._job, None
        assert job is not None
        return score_job(job, self._scorer, self._callbacks.should_stop)

    def close(self) -> None:
        """Do nothing: nothing is in progress."""


def score_job(job: Job, scorer: Scorer, should_stop: Callable[[], bool]) -> JobResult:
    """Score one recording; whatever fails with this recording alone becomes its outcome.

    Args:
        should_stop: whether the run should end, asked while the digest is made.

    Raises:
        Interrupted: the scorer's callbacks asked for it.
        AvpenetError: the run cannot go on.
    """
    started = time.monotonic()
    try:
        outcome, embeddings = scorer.score_and_embed(job.path)
        sha256 = _digest(job, should_stop) if job.with_digest else ""
    except RecordingError as error:
        return JobResult(job, failed_outcome(error), error=error, spent_s=time.monotonic() - started)
    except AvpenetError:
        raise
    except Exception as error:  # one recording must not end a night's run; --debug shows the traceback
        return JobResult(job, unexpected_outcome(error), error=error, spent_s=time.monotonic() - started)
    return JobResult(job, outcome, sha256, spent_s=time.monotonic() - started, embeddings=embeddings)


def unexpected_outcome(error: Exception) -> RecordingOutcome:
    """The outcome of a recording at which the program failed."""
    return failed_outcome(RecordingError.from_unexpected(error, "scored"))


def _digest(job: Job, should_stop: Callable[[], bool]) -> str:
    """SHA-256 of a file that was read a moment ago, so that most of it is still in memory.

    Returns:
        Hexadecimal; empty where the file has changed since `file_state`.

    Raises:
        RecordingError: it can no longer be read.
        Interrupted: the run should end.
    """
    digest = hashlib.sha256()
    try:
        with job.path.open("rb", buffering=0) as file:
            while block := file.read(_DIGEST_BLOCK_BYTES):
                digest.update(block)
                if should_stop():
                    raise Interrupted("interrupted")  # stored without its digest, it would stay so
            now = os.fstat(file.fileno())
    except OSError as error:
        # Stored without its digest, it would stay so.
        problem = f"cannot be read again for its digest: {error.strerror or error}"
        raise RecordingError(
            "unreadable", problem, "check its disk or share, then run the same command again"
        ) from None
    unchanged = (now.st_size, now.st_mtime_ns) == (job.file_state.st_size, job.file_state.st_mtime_ns)
    return digest.hexdigest() if unchanged else ""
