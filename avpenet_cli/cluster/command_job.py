"""What one job of a batch system does: run avpenet in a process of its own, and see to it that it can be resumed.

submitit pickles a `CommandJob` and runs it on the other computer. SLURM's signals reach all processes of a job: before
the time limit SIGUSR2, at which submitit asks for a checkpoint and requeues the job, and at preemption SIGTERM, at
which the run ends by itself.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

from avpenet_cli.cluster.work import process_command
from avpenet_cli.errors import ExitCode

if TYPE_CHECKING:
    from submitit.core.utils import DelayedSubmission

STOP_PATIENCE_S = 90.0
"""A run that is asked to stop finishes what it computes; after this it is killed, and resumes from its journal."""
_LOCK_PATIENCE_S = 900.0
"""After a node was lost, another may be told of the lock of the run that is gone, until the file server drops it."""
_LOCK_POLL_S = 10.0
_POLL_S = 0.1


class CommandJob:
    """One command line as a job.

    Recordings that failed are accounted for in the output, and are no failure of the job.

    Args:
        arguments: of avpenet.
        written: where exit code 1 can mean something else, the file that tells: it is replaced when recordings failed.
    """

    def __init__(self, arguments: list[str], written: str | None = None) -> None:
        self.arguments, self.written = list(arguments), written
        self._process: subprocess.Popen[bytes] | None = None  # only while it runs: a job that is pickled has none

    def __call__(self) -> int:
        """Run the command; the job fails with its exit code where that says more than that recordings failed.

        Returns:
            The exit code, 0 or 1.
        """
        before = _identity(self.written)
        code = self._run()
        deadline = time.monotonic() + _LOCK_PATIENCE_S
        # Only a job that was requeued may meet the lock of its own earlier run.
        while code == ExitCode.LOCKED and _times_requeued() and time.monotonic() < deadline:
            time.sleep(_LOCK_POLL_S)
            code = self._run()
        if code == ExitCode.INTERRUPTED:
            _requeue_if_preempted()
        is_done = code == ExitCode.OK or (
            code == ExitCode.SOME_FAILED and (self.written is None or _identity(self.written) != before)
        )
        if not is_done:
            sys.exit(code)
        return code

    def checkpoint(self) -> DelayedSubmission:
        """End the run, which resumes when the job is started again; submitit calls this in a signal handler."""
        from submitit.core.utils import DelayedSubmission

        self._stop()
        return DelayedSubmission(CommandJob(self.arguments, self.written))

    def _run(self) -> int:
        self._process = subprocess.Popen(
            process_command(self.arguments),
            stdin=subprocess.DEVNULL,
            preexec_fn=_ignore_user_signals,  # noqa: PLW1509 - no other thread runs here
        )
        code = self._process.wait()
        return code if code >= 0 else 128 - code

    def _stop(self) -> None:
        # Popen must not be used: what this handler interrupts may be waiting with its lock held.
        if self._process is None or self._process.returncode is not None:
            return
        pid = self._process.pid
        for number, patience_s in ((signal.SIGTERM, STOP_PATIENCE_S), (signal.SIGKILL, STOP_PATIENCE_S)):
            try:
                os.kill(pid, number)
            except ProcessLookupError:
                return
            deadline = time.monotonic() + patience_s
            while time.monotonic() < deadline:
                try:
                    if os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None:
                        return
                except ChildProcessError:
                    return
                time.sleep(_POLL_S)


def _ignore_user_signals() -> None:
    """SLURM's warning of the time limit reaches every process of the job, and would end the run and its decoders."""
    for number in (signal.SIGUSR1, signal.SIGUSR2):
        signal.signal(number, signal.SIG_IGN)


def _identity(path: str | None) -> tuple[int, int] | None:
    """Which file this is now; None where there is none."""
    try:
        state = os.stat(path) if path else None  # noqa: PTH116 - a string, because that is what is pickled
    except OSError:
        return None
    return (state.st_ino, state.st_mtime_ns) if state else None


def _times_requeued() -> int:
    return int(os.environ.get("SLURM_RESTART_COUNT", "0"))


def _requeue_if_preempted() -> None:
    """Queue the job again if it is not being requeued or cancelled already: preemption may begin with a warning."""
    job = os.environ.get("SLURM_JOB_ID")
    if job is None:
        return
    if "SLURM_ARRAY_TASK_ID" in os.environ:  # one task's SLURM_JOB_ID is also that of the whole array
        job = f"{os.environ['SLURM_ARRAY_JOB_ID']}_{os.environ['SLURM_ARRAY_TASK_ID']}"
    shown = subprocess.run(["scontrol", "--oneliner", "show", "job", job], capture_output=True, text=True, check=False)
    state = re.search(r"\bJobState=(\w+)", shown.stdout)
    if state is not None and state[1] == "RUNNING":
        subprocess.run(["scontrol", "requeue", job], check=False)
