"""`python -m tests.faults.out_of_memory --state FOLDER`, as root: the kernel's OOM killer ends what does not fit.

Runs the real `avpenet score` in a memory cgroup, with one process and with two workers, under limits between what a
Python interpreter needs and what the command takes; then the same command without a limit, whose files must be those of
a run that nothing disturbed. Prints a line for each: the processes that the kernel killed, and the exit codes.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from tests.conftest import REPOSITORY
from tests.faults.faults import Fault
from tests.faults.scenarios import WITH_EMBEDDINGS, Place, Scenario, Undisturbed, make_originals, prepare, results
from tests.faults.trial import visible_problems

_ROOT = Path("/sys/fs/cgroup")
_SHARES = (0.5, 0.7, 0.8, 0.85, 0.9, 0.95)
"""Limits, as shares of what the command takes at most."""
_PATIENCE_S = 20.0
_LARGE = (
    "-f",
    "lavfi",
    "-i",
    "testsrc2=size=3840x2160:rate=10:duration=1",
    "-pix_fmt",
    "yuv420p",
    "-preset",
    "ultrafast",
)
"""A recording whose decoder takes about as much memory as the program."""
_KILLED = re.compile(r"Killed process \d+ \(([^)]+)\)")


class MemoryGroup:
    """A memory cgroup, of version 1 or 2, without a limit at first."""

    def __init__(self) -> None:
        self._is_first = (_ROOT / "memory").is_dir()
        self._folder = (_ROOT / "memory" if self._is_first else _ROOT) / f"avpenet-{os.getpid()}"
        if not self._is_first:
            (_ROOT / "cgroup.subtree_control").write_text("+memory")
        self._folder.mkdir()

    def _read(self, first: str, second: str) -> str:
        return (self._folder / (first if self._is_first else second)).read_text()

    def limit(self, size: int) -> None:
        """Let its processes have `size` bytes together."""
        (self._folder / ("memory.limit_in_bytes" if self._is_first else "memory.max")).write_text(str(size))

    @property
    def peak(self) -> int:
        """The most bytes that its processes had together."""
        return int(self._read("memory.max_usage_in_bytes", "memory.peak"))

    @property
    def kills(self) -> int:
        """Processes that the kernel ended in it."""
        found = re.search(r"^oom_kill (\d+)", self._read("memory.oom_control", "memory.events"), re.MULTILINE)
        return int(found[1]) if found else 0

    def run(self, arguments: list[str], temporary: Path) -> tuple[int, str]:
        """Exit code and messages of `avpenet ARGUMENTS...` in this group."""
        enter = f'echo $$ > {self._folder}/cgroup.procs; exec "$@"'
        ended = subprocess.run(
            ["sh", "-c", enter, "sh", sys.executable, "-m", "avpenet_cli", *arguments],
            cwd=REPOSITORY,
            env={**os.environ, "TMPDIR": str(temporary)},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )
        return ended.returncode, ended.stderr

    def remove(self) -> None:
        """Remove it, once its processes have ended: workers notice that their run was killed."""
        deadline = time.monotonic() + _PATIENCE_S
        while (self._folder / "cgroup.procs").read_text() and time.monotonic() < deadline:
            time.sleep(0.1)
        self._folder.rmdir()


@contextlib.contextmanager
def _memory_group() -> Iterator[MemoryGroup]:
    group = MemoryGroup()
    try:
        yield group
    finally:
        group.remove()


@contextlib.contextmanager
def _kernel_log() -> Iterator[list[str]]:
    """What the kernel says while the block lasts, once it has ended."""
    lines: list[str] = []
    log = os.open("/dev/kmsg", os.O_RDONLY | os.O_NONBLOCK)
    try:
        os.lseek(log, 0, os.SEEK_END)
        yield lines
        with contextlib.suppress(BlockingIOError):
            while True:
                lines.append(os.read(log, 8192).decode("utf-8", "replace"))
    finally:
        os.close(log)


def _try(scenario: Scenario, originals: Path, root: Path) -> bool:
    place = prepare(originals, root)
    with _memory_group() as group:
        code, said = group.run(place.command(scenario), place.temporary)
        peak = group.peak
    assert code == 1, said
    names = frozenset(path.name for path in place.output.iterdir())
    model = Undisturbed(results(place.output), names, code, (), {}, None, 0.0)
    good = True
    for share in _SHARES:
        place = prepare(originals, root)
        with _memory_group() as group, _kernel_log() as lines:
            group.limit(int(share * peak))
            code, said = group.run(place.command(scenario), place.temporary)
            kills = group.kills
        victims = _KILLED.findall("".join(lines))
        problems = visible_problems(place, model, Fault("memory", "", alters_results=True))
        problems += ["traceback"] if "Traceback" in said else []
        last = _end(scenario, place, model)
        print(
            f"| {scenario.name} | {share * peak / 2**20:.0f} of {peak / 2**20:.0f} | {kills}"
            f" ({', '.join(victims) or '-'}) | {code} | {'; '.join([*problems, *last]) or 'nothing wrong'} |",
            flush=True,
        )
        good = good and not problems and not last
    return good


def _end(scenario: Scenario, place: Place, model: Undisturbed) -> list[str]:
    """How the output of the same command without a limit differs from what it should be."""
    with _memory_group() as group:
        code, said = group.run(place.command(scenario), place.temporary)
    if code != model.code:
        return [f"exit code {code}: {said[-300:]}"]
    found = results(place.output)
    left = {path.name for path in place.output.iterdir()} ^ model.names
    return [f"{name} differs" for name in model.files if found.get(name) != model.files[name]] + sorted(left)


def main() -> int:
    """Try both; 1 where anything was wrong."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults.out_of_memory")
    parser.add_argument("--state", type=Path, required=True)
    state: Path = parser.parse_args().state.absolute()
    state.mkdir(parents=True, exist_ok=True)
    originals = make_originals(state)
    large = Place(originals).recordings / "large.mp4"
    if not large.exists():
        subprocess.run(["ffmpeg", "-v", "error", "-nostdin", *_LARGE, str(large)], check=True)
    print("| | Limit, MiB | Killed by the kernel | Exit code | Then |")
    print("| --- | --- | --- | --- | --- |")
    return 0 if all([_try(scenario, originals, state / "trial") for scenario in WITH_EMBEDDINGS]) else 1


if __name__ == "__main__":
    sys.exit(main())
