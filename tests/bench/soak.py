"""Scoring with workers over and over: does memory grow, is a descriptor or a process left, does the log stay small.

`python -m tests.bench.soak --hours 8 --state FOLDER`; given again, it goes on measuring. One process scores the same
short recordings round after round, as `avpenet score --workers 2 --overwrite` does. A thread measures it and its
workers while they score; between rounds they are measured at rest. FOLDER holds `samples.jsonl`, a line for each
measurement.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np

from tests.bench.samples import Sample, slope, take, warm
from tests.faults.scenarios import make_originals

_SAMPLE_S = 5.0
_LASTING = 60
"""Measurements of a worker, in five minutes, without which most of them are of its start."""


class Soak:
    """Scores round after round.

    Args:
        state: for the recordings, the output and the measurements; absolute.
        copies: of each recording in a round.
        workers: processes.
        resume: leave out `--overwrite`, so that rounds after the first find what is finished.
    """

    def __init__(self, state: Path, copies: int, workers: int, *, resume: bool = False) -> None:
        self._state, self._workers, self._resume = state, workers, resume
        self._originals = make_originals(state)
        self._log = state / "log"
        self._started, self._clock, self._recordings = time.time(), time.monotonic(), 0
        self._lines = (state / "samples.jsonl").open("a", encoding="utf-8")
        archive = state / "archive"
        archive.mkdir(exist_ok=True)
        for source in sorted((self._originals / "recordings").iterdir()):
            for number in range(copies):
                with contextlib.suppress(FileExistsError):
                    os.link(source, archive / f"{number:04d}-{source.name}")
        self._archive = archive

    def run(self, seconds: float) -> None:
        """Score rounds until the time is over."""
        while time.monotonic() - self._clock < seconds:
            with self._measured():
                self._round()
            self._recordings += len(list(self._archive.iterdir()))
            self._sample(at_rest=True)

    def _round(self) -> None:
        from avpenet_cli.cli import main

        weights = self._originals / "weights" / "faults.safetensors"
        out = self._state / "output"
        out.mkdir(exist_ok=True)
        options = ["--weights", str(weights), "--device", "cpu", "--workers", str(self._workers)]
        options += [] if self._resume else ["--overwrite"]
        log = ["--quiet", "--log-file", str(self._log)]
        sys.argv = ["avpenet", "score", str(self._archive), "--out", str(out / "scores.csv"), *options, *log]
        # The recording that is no recording is in the log file, too.
        with open(os.devnull, "w") as nowhere, contextlib.redirect_stderr(nowhere), contextlib.suppress(SystemExit):  # noqa: PTH123
            main()

    @contextlib.contextmanager
    def _measured(self) -> Iterator[None]:
        done = threading.Event()

        def watch() -> None:
            while not done.wait(_SAMPLE_S):
                self._sample(at_rest=False)

        thread = threading.Thread(target=watch, daemon=True)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()

    def _sample(self, *, at_rest: bool) -> None:
        log_bytes = self._log.stat().st_size if self._log.exists() else 0
        seconds = time.monotonic() - self._clock
        sample = take(os.getpid(), self._started, seconds, self._recordings, at_rest=at_rest, log_bytes=log_bytes)
        self._lines.write(json.dumps(asdict(sample)) + "\n")
        self._lines.flush()


def describe(samples: Sequence[Sample]) -> str:
    """The measurements as a Markdown table, of the process that scored longest."""
    longest = max({sample.started for sample in samples}, key=lambda start: sum(s.started == start for s in samples))
    own = [sample for sample in samples if sample.started == longest]
    rest = [sample for sample in own if sample.at_rest]
    steady = warm(rest)
    growth = slope([sample.recordings for sample in steady], [sample.rss_mib for sample in steady])
    by_worker: dict[str, list[tuple[float, float]]] = {}
    for sample in own:
        for pid, mib in sample.workers_mib.items():
            by_worker.setdefault(pid, []).append((sample.seconds, mib))
    lasting = [points[len(points) // 4 :] for points in by_worker.values() if len(points) >= _LASTING]
    slopes = [slope(*zip(*points, strict=True)) for points in lasting]
    first, last = rest[0], rest[-1]
    log_bytes = (last.log_bytes - first.log_bytes) / max(1, last.recordings - first.recordings)
    rows = [
        ("seconds, rounds, recordings", f"{last.seconds:.0f}, {len(rest)}, {last.recordings}"),
        ("resident memory at rest, first and last round, MiB", f"{first.rss_mib:.1f}, {last.rss_mib:.1f}"),
        (f"its slope over the last {len(steady)} rounds, MiB per 1,000 recordings", f"{1000 * growth:+.2f}"),
        ("largest worker, MiB", f"{max((mib for points in by_worker.values() for _, mib in points), default=0):.1f}"),
        (
            "slope of workers that lived five minutes, after their first quarter, median, MiB per minute",
            f"{60 * float(np.median(slopes)):+.2f} of {len(slopes)}" if slopes else "there were none",
        ),
        ("descriptors at rest, first and last", f"{first.descriptors}, {last.descriptors}"),
        ("threads at rest, first and last", f"{first.threads}, {last.threads}"),
        ("children at rest, first and last", f"{first.children}, {last.children}"),
        ("bytes of log per recording", f"{log_bytes:.0f}"),
    ]
    return "\n".join(["| measured | |", "| --- | --- |", *(f"| {name} | {value} |" for name, value in rows)])


def main() -> None:
    """Soak, and print the table."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.soak", description="Scores over and over; resumes.")
    parser.add_argument("--hours", type=float, default=8.0, help="of this process")
    parser.add_argument("--state", type=Path, required=True)
    parser.add_argument("--copies", type=int, default=20, help="of each of the recordings in a round")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--resume", action="store_true", help="without --overwrite: rounds find what is finished")
    options = parser.parse_args()
    state = options.state.absolute()
    state.mkdir(parents=True, exist_ok=True)
    Soak(state, options.copies, options.workers, resume=options.resume).run(3600 * options.hours)
    lines = (state / "samples.jsonl").read_text(encoding="utf-8").splitlines()
    print(describe([Sample(**json.loads(line)) for line in lines]))


if __name__ == "__main__":
    main()
