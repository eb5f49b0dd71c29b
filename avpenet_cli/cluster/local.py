"""Shards as processes of this machine, some at a time, and then their merge: as on a cluster, without one."""

from __future__ import annotations

import contextlib
import os
import subprocess
import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from avpenet_cli.cluster.work import ShardedWork, jobs_folder, make_jobs_folder, process_command
from avpenet_cli.errors import EnvironmentUnavailableError, ExitCode, ShardsUnfinishedError
from avpenet_cli.runs.callbacks import NO_CALLBACKS, RunCallbacks
from avpenet_cli.runs.resources import available_memory_bytes, usable_cores
from avpenet_cli.shards.shard import Shard, shard_output
from avpenet_cli.storage import storage_fault

_POLL_S = 0.1
_STOP_PATIENCE_S = 60.0
_PROCESS_BYTES = 2 << 30
"""Memory for one process with its networks and its decoder."""
_DONE = (ExitCode.OK, ExitCode.SOME_FAILED)
_FOR_ALL = (ExitCode.USAGE, ExitCode.ENVIRONMENT)
"""Ends that the next shard would come to as well."""


class JobsUnfinishedError(ShardsUnfinishedError):
    """Some shards were not finished, so nothing was merged; the exit code is that of one of them."""

    def __init__(self, message: str, remedy: str, exit_code: ExitCode) -> None:
        super().__init__(message, remedy)
        self.exit_code = exit_code


@dataclass(frozen=True)
class LocalOptions:
    """How this machine is shared among the shards.

    Attributes:
        at_a_time: shards that run at the same time.
        gpus: names for CUDA_VISIBLE_DEVICES, dealt out in turn; empty leaves the choice to each shard.
    """

    at_a_time: int
    gpus: tuple[str, ...] = ()


def default_options(workers: int, *, use_gpus: bool) -> LocalOptions:
    """One shard for each GPU; without one, as many as the cores and half of the free memory allow.

    Args:
        workers: recordings that each shard scores at a time.
        use_gpus: a GPU may be used; looking for one takes seconds.
    """
    if use_gpus and (gpus := _visible_gpus()):
        return LocalOptions(len(gpus), gpus)
    memory_bytes = available_memory_bytes()
    fitting = usable_cores() if memory_bytes is None else memory_bytes // 2 // _PROCESS_BYTES
    return LocalOptions(max(1, min(usable_cores(), fitting) // max(1, workers)))


def run_locally(work: ShardedWork, options: LocalOptions, callbacks: RunCallbacks = NO_CALLBACKS) -> ExitCode:
    """Run all shards and merge them; whoever is asked to stop ends them first, and the same call resumes.

    Returns:
        OK, or SOME_FAILED when recordings failed, all of which are accounted for.

    Raises:
        Interrupted: the callbacks asked for it.
        JobsUnfinishedError: a shard or the merge ended otherwise; says which, why, and where its log lies.
    """
    make_jobs_folder(work.out)
    callbacks.set_total(work.count)
    waiting = deque(work.shards)
    codes: dict[str, int] = {}
    running: dict[int, _Job] = {}
    with _ended_on_exit(running):
        while waiting or running:
            callbacks.check_stop()
            for slot in range(options.at_a_time):
                if waiting and slot not in running:
                    shard = waiting.popleft()
                    running[slot] = _start(work, shard, _environment(options, slot))
                    callbacks.item_started(f"shard {shard}", slot)
            for slot, job in list(running.items()):
                if (code := job.process.poll()) is not None:
                    del running[slot]
                    codes[job.name] = code
                    callbacks.item_done(slot)
                    _report(job, code, callbacks)
            if any(code in _FOR_ALL for code in codes.values()):
                waiting.clear()
            time.sleep(_POLL_S)
        _check(work, codes)
        callbacks.info("merging")
        merge = running[0] = _start(work, None, dict(os.environ))
        while (code := merge.process.poll()) is None:
            callbacks.check_stop()
            time.sleep(_POLL_S)
        del running[0]
        if code not in _DONE:
            _report(merge, code, callbacks)
            _check(work, {merge.name: code})
    return ExitCode.SOME_FAILED if any([code, *codes.values()]) else ExitCode.OK


@dataclass(frozen=True)
class _Job:
    name: str
    process: subprocess.Popen[bytes]
    log: Path | None

    @property
    def last_line(self) -> str:
        text = self.log.read_text(encoding="utf-8", errors="replace") if self.log else ""
        return (text.strip().splitlines() or [""])[-1]


def _start(work: ShardedWork, shard: Shard | None, environment: dict[str, str]) -> _Job:
    """Start a shard, or the merge, with its log in a file; under pseudonyms a message about an input is for nobody
    but this terminal."""
    arguments = work.merge_command() if shard is None else work.shard_command(shard)
    name = "the merge" if shard is None else f"shard {shard}"
    stem = "merge" if shard is None else shard_output(work.out, shard).stem
    path = None if work.private else jobs_folder(work.out) / f"{stem}.log"
    try:
        log = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600) if path else os.dup(2)
    except OSError as error:
        raise storage_fault(path or work.out, error) from None
    try:
        # In a session of its own: Ctrl-C reaches only this program, which asks each shard once to end.
        process = subprocess.Popen(
            process_command(arguments),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env=environment,
            start_new_session=True,
        )
    except OSError as error:
        raise EnvironmentUnavailableError(f"cannot start {name}: {error.strerror}", "use a smaller --jobs") from None
    finally:
        os.close(log)
    return _Job(name, process, path)


def _environment(options: LocalOptions, slot: int) -> dict[str, str]:
    environment = dict(os.environ)
    if options.gpus:
        environment["CUDA_VISIBLE_DEVICES"] = options.gpus[slot % len(options.gpus)]
    elif options.at_a_time > 1:
        environment.setdefault("OMP_NUM_THREADS", str(max(1, usable_cores() // options.at_a_time)))
    return environment


def _report(job: _Job, code: int, callbacks: RunCallbacks) -> None:
    if code == ExitCode.OK:
        callbacks.info(f"{job.name}: done")
        return
    log = f"; see {job.log}" if job.log else ""
    if code == ExitCode.SOME_FAILED:
        callbacks.warning(f"{job.name}: ended with exit code 1: {job.last_line}{log}")
    else:
        ending = f"killed by signal {-code}" if code < 0 else f"exit code {code}"
        callbacks.error(f"{job.name}: not finished ({ending}): {job.last_line}{log}")


def _check(work: ShardedWork, codes: dict[str, int]) -> None:
    unfinished = {name: code for name, code in codes.items() if code not in _DONE}
    if unfinished:
        known = {int(code) for code in ExitCode}
        code = next((code for code in unfinished.values() if code in known), int(ExitCode.SOME_FAILED))
        raise JobsUnfinishedError(
            f"{work.out} is not finished: {', '.join(unfinished)}", "give the same command again", ExitCode(code)
        )


@contextlib.contextmanager
def _ended_on_exit(running: dict[int, _Job]) -> Iterator[None]:
    """Leaving the block ends the processes that still run: first all are asked, then those that stay are killed."""
    try:
        yield
    finally:
        processes: Sequence[subprocess.Popen[bytes]] = [job.process for job in running.values()]
        for process in processes:
            process.terminate()
        deadline = time.monotonic() + _STOP_PATIENCE_S
        try:
            for process in processes:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(max(0.0, deadline - time.monotonic()))
        finally:  # also at a second Ctrl-C
            for process in processes:
                process.kill()


def _visible_gpus() -> tuple[str, ...]:
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    if named is not None:
        return tuple(filter(None, named.split(",")))
    import torch

    return tuple(map(str, range(torch.cuda.device_count())))
