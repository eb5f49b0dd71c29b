"""One trial: damaged files, what reads them, and what it must not do."""

from __future__ import annotations

import contextlib
import os
import re
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from avpenet_cli.errors import AvpenetError, ExitCode
from tests.support.program_here import program_here

MOST_LINES = 12
"""Of a command on stderr: a few warnings and the error."""


class Misbehaviour(Exception):
    """The program did what it must not do, without an exception: exit code, output, what it left behind."""


class TrialTimeout(BaseException):
    """A trial took too long; not an `Exception`, which readers may handle."""


@dataclass(frozen=True)
class Limits:
    """What a trial may take.

    Attributes:
        seconds: of wall-clock time.
        memory_mib: of this process's memory beyond what it had before.
        child_mib: of the memory of each child process.
    """

    seconds: float = 30.0
    memory_mib: float = 512.0
    child_mib: float = 1024.0


DEFAULT_LIMITS = Limits()


@dataclass(frozen=True)
class Finding:
    """What went wrong.

    Attributes:
        kind: exception, misbehaviour, timeout, memory, descriptors; or, of a worker that is gone, crash or hang.
        signature: equal for findings with the same cause: the error's type and the program's last line.
        detail: traceback or description.
    """

    kind: str
    signature: str
    detail: str


@dataclass(frozen=True)
class Outcome:
    """What became of a trial.

    Attributes:
        label: for counting: the case, and what it ended with.
        finding: None where everything was as it must be.
    """

    label: str
    finding: Finding | None = None


def run_trial(label: str, read: Callable[[], object], limits: Limits) -> Outcome:
    """Run what reads the files of a trial under its limits.

    Args:
        label: of the case.
        read: returns a word for what was read, or anything.
    """
    reset_peak()
    before, descriptors = resident_mib(), _descriptors()
    try:
        with _time_limit(limits.seconds):
            result = read()
        ended = f"{label}: {result}" if isinstance(result, str) else f"{label}: read"
        finding = None
    except AvpenetError as error:
        ended, finding = f"{label}: {type(error).__name__}", _check_message(error)
    except TrialTimeout:
        ended = f"{label}: timeout"
        finding = Finding("timeout", f"timeout in {_place()}", f"not finished after {limits.seconds:g} s\n{_trace()}")
    except Misbehaviour as error:
        text = str(error)
        ended, finding = f"{label}: misbehaviour", Finding("misbehaviour", _anonymous(text.splitlines()[0]), text)
    except Exception as error:
        ended = f"{label}: {type(error).__name__}"
        finding = Finding("exception", f"{type(error).__name__} at {_place()}", _trace())
    return Outcome(ended, finding or _check_resources(label, before, descriptors, limits))


def _check_message(error: AvpenetError) -> Finding | None:
    """An error is one line, short enough to read."""
    text = str(error)
    if not text.strip() or "\n" in text or "\r" in text:
        return Finding(
            "misbehaviour", f"message of several lines or none at {_place()}", repr(text[:2000]) + "\n" + _trace()
        )
    return None


def _check_resources(label: str, before: float, descriptors: int, limits: Limits) -> Finding | None:
    grown = peak_mib() - before
    if grown > limits.memory_mib:
        return Finding(
            "memory", f"memory in {label}", f"{grown:.0f} MiB more than before, beyond {limits.memory_mib:g}"
        )
    children = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    if children > limits.child_mib:
        return Finding("memory", f"memory of a child in {label}", f"a child took {children:.0f} MiB")
    if _descriptors() > descriptors + 8:
        return Finding("descriptors", f"descriptors in {label}", f"{_descriptors() - descriptors} more open files")
    return None


def _trace() -> str:
    """The current exception's traceback, without the middle of a long one."""
    lines = traceback.format_exc().splitlines()
    return "\n".join(lines if len(lines) < 60 else [*lines[:30], "...", *lines[-20:]])[-6000:]


def _place() -> str:
    """The program's own line nearest to where the current exception was raised."""
    frames = [
        frame for frame in traceback.extract_tb(sys.exc_info()[2]) if f"{os.sep}avpenet_cli{os.sep}" in frame.filename
    ]
    if not frames:
        return "the fuzzer"
    name = frames[-1].filename.rpartition(f"{os.sep}avpenet_cli{os.sep}")[2]
    return f"{name}:{frames[-1].lineno} {frames[-1].name}"


def _anonymous(text: str) -> str:
    return re.sub(r"\d+", "N", text)[:160]


@contextlib.contextmanager
def _time_limit(seconds: float) -> Iterator[None]:
    def stop(number: int, frame: FrameType | None) -> None:
        raise TrialTimeout

    # A command sets handlers of its own, which are restored here.
    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def reset_peak() -> None:
    """Let the peak of this process's memory be counted from now on."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def peak_mib() -> float:
    """The most memory that this process has had since `reset_peak`, MiB."""
    return _memory("VmHWM:")


def resident_mib() -> float:
    """The memory that this process has, MiB."""
    return _memory("VmRSS:")


def _memory(name: str) -> float:
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith(name):
            return int(line.split()[1]) / 1024
    return 0.0


def _descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - names only


SCRATCH = "AVPENET_FUZZ_SCRATCH"
"""Environment variable: folder for the files of trials, which the campaign removes, also after a worker was killed."""


def memory_folder() -> Path | None:
    """A folder whose files are in memory; None where this system has none."""
    folder = Path("/dev/shm")
    return folder if os.access(folder, os.W_OK) else None


@contextlib.contextmanager
def working_folder(corpus: Path | None = None) -> Iterator[Path]:
    """A copy of a folder, or an empty one, gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="avpenet-fuzz-", dir=os.environ.get(SCRATCH) or memory_folder()) as folder:
        copy = Path(folder) / "files"
        if corpus is None:
            copy.mkdir()
        else:
            shutil.copytree(corpus, copy)
        yield copy


_SAID = [""]


def last_words() -> str:
    """The end of what the last command wrote to stderr."""
    return _SAID[0].rstrip("\n").rpartition("\n")[2]


def command(*arguments: str | Path, codes: Sequence[int] = tuple(ExitCode)) -> str:
    """Run `avpenet ARGUMENTS...` within this process, and check how it ends.

    Args:
        codes: exit codes that are documented for it.

    Returns:
        `exit N`.

    Raises:
        Misbehaviour: another exit code, an internal error, a traceback, or many lines on stderr.
    """
    code, _, said = program_here(*arguments, "--debug")
    _SAID[:] = [said]
    if "internal error" in said:
        raise Misbehaviour(f"internal error at {_raised_at(said)}\n{arguments[0]}: {said[-6000:]}")
    said = _without_traceback(said)
    check_end(str(arguments[0]), code, said, codes)
    return f"exit {code}"


def check_end(name: str, code: object, said: str, codes: Sequence[int], most_lines: int = MOST_LINES) -> None:
    """Check how a command ended.

    Args:
        said: what it wrote to stderr.
        most_lines: that it may write there.
    """
    if code not in codes:
        raise Misbehaviour(f"{name}: exit code {code}\n{said[-6000:]}")
    if "Traceback" in said or "internal error" in said or "internal_error" in said:
        raise Misbehaviour(f"{name}: traceback or internal error on stderr\n{said[-6000:]}")
    if code and not said.strip() and code != ExitCode.NOT_PASSED:
        raise Misbehaviour(f"{name}: exit code {code} without a message")
    if len(said.splitlines()) > most_lines:
        raise Misbehaviour(f"{name}: many lines on stderr\n{said[:6000]}")


def _raised_at(said: str) -> str:
    """Of a traceback: the program's last line, and the error's type."""
    places = re.findall(r'avpenet_cli/([^"]+)", line (\d+), in (\S+)', said)
    kind = re.findall(r"internal error \((\w+)", said)
    where = f"{places[-1][0]}:{places[-1][1]} {places[-1][2]}" if places else "an unknown place"
    return f"{where} ({kind[-1] if kind else ''})"


def _without_traceback(said: str) -> str:
    """What is on stderr without --debug: of an expected error, its last line; warnings before it stay."""
    head, found, rest = said.partition("Traceback (most recent call last)")
    return head + rest.rstrip("\n").rpartition("\n")[2] if found else said


def wait_children(seconds: float = 5.0) -> None:
    """Check that this process has no children left.

    Raises:
        Misbehaviour: one is left after these seconds.
    """
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            if os.waitpid(-1, os.WNOHANG)[0] == 0:
                time.sleep(0.01)
        except ChildProcessError:
            return
    raise Misbehaviour("a child process was left behind")
