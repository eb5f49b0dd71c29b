"""Runs trials in a worker process that may crash or hang, and keeps what was tried and found in a folder.

A trial's number and the seed give its files, so the next number is all that a campaign needs to resume.
"""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from avpenet_cli.storage import write_json
from tests.fuzz.mutations import Rng
from tests.fuzz.trials import DEFAULT_LIMITS, SCRATCH, Finding, Limits, Outcome, memory_folder

_SAVED_EVERY_S = 5.0
_GRACE_S = 30.0
"""A worker that does not end a trial this long after its limit hangs where no signal reaches Python."""


@dataclass(frozen=True)
class Target:
    """Something that is fuzzed.

    Attributes:
        name: on the command line.
        description: for the help.
        prepare: makes the intact files in a folder, once.
        trial: tries one number's files, given the random numbers, the folder of intact files, and a folder to which the
            damaged files may be saved, or None.
        limits: of each trial.
        ci_trials: for the tests of every change.
        source: module that has it in `TARGETS`.
        check: raises where intact files are refused: damaged ones would be, too, and nothing behind that be tried.
    """

    name: str
    description: str
    prepare: Callable[[Path], None]
    trial: Callable[[Rng, Path, Path | None], Outcome]
    limits: Limits = DEFAULT_LIMITS
    ci_trials: int = 200
    source: str = "tests.fuzz.targets"
    check: Callable[[Path], None] = lambda corpus: None


@dataclass
class Progress:
    """What a campaign has tried and found.

    Attributes:
        next: number of the first trial that was not tried.
        cpu_s: processor time of the workers and their children, seconds.
        peak_mib: most memory of a worker.
        child_mib: most memory of a worker's child.
        outcomes: number of trials by label.
        findings: of each signature the kind, the first trial, how often it was seen, and the detail.
    """

    next: int = 0
    cpu_s: float = 0.0
    peak_mib: float = 0.0
    child_mib: float = 0.0
    outcomes: Counter[str] = field(default_factory=Counter)
    findings: dict[str, dict[str, Any]] = field(default_factory=dict)

    def note(self, trial: int, outcome: Outcome) -> None:
        """Count a trial's outcome."""
        self.next = trial + 1
        self.outcomes[outcome.label] += 1
        if outcome.finding is not None:
            found = outcome.finding
            known = self.findings.setdefault(
                found.signature,
                {"kind": found.kind, "trial": trial, "count": 0, "label": outcome.label, "detail": found.detail},
            )
            known["count"] += 1


class Campaign:
    """A target with a seed, and the folder in which its progress is kept.

    Args:
        target: what is tried.
        seed: of all trials.
        state: folder; intact files, progress and the files of findings are below it.
        report: told each new finding's signature and detail.
        check: that the intact files are read, once they are made.
    """

    def __init__(
        self, target: Target, seed: int, state: Path, report: Callable[[str], None] = print, *, check: bool = True
    ) -> None:
        self.target, self.seed, self.state, self._report, self._check = target, seed, state, report, check
        self.corpus = state / "corpus" / target.name
        self._file = state / f"{target.name}-{seed}.json"
        self.progress = self._load()
        self._saved = time.monotonic()

    def _load(self) -> Progress:
        try:
            content = json.loads(self._file.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return Progress()
        return Progress(**content | {"outcomes": Counter(content["outcomes"])})

    def save(self) -> None:
        """Store the progress."""
        write_json(self._file, {**asdict(self.progress), "outcomes": dict(self.progress.outcomes.most_common())})
        self._saved = time.monotonic()

    def prepare(self) -> None:
        """Make the intact files, unless an earlier campaign has."""
        if self.corpus.exists():
            return
        unfinished = self.corpus.with_suffix(".unfinished")
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(parents=True)
        self.target.prepare(unfinished)
        if self._check:
            self.target.check(unfinished)
        unfinished.rename(self.corpus)

    def run(self, until: int, seconds: float = float("inf")) -> None:
        """Try the numbers from the first that was not tried.

        Args:
            until: the first number that is not tried.
            seconds: of wall-clock time after which no trial begins.
        """
        self.prepare()
        end = time.monotonic() + seconds
        try:
            while self.progress.next < until and time.monotonic() < end:
                self._run_worker(until, end)
        finally:
            self.save()

    def _run_worker(self, until: int, end: float) -> None:
        """One worker, until it has tried everything, its time is up, or a trial has killed it."""
        arguments = [
            self.target.source,
            self.target.name,
            str(self.seed),
            str(self.progress.next),
            str(until),
            str(self.state),
        ]
        log = (self.state / f"{self.target.name}-{self.seed}.log").open("ab")
        with (
            log,
            tempfile.TemporaryDirectory(prefix="avpenet-fuzz-", dir=memory_folder()) as scratch,
            subprocess.Popen(
                [sys.executable, "-m", "tests.fuzz.worker", *arguments],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                env=os.environ | {SCRATCH: scratch},
                start_new_session=True,
            ) as worker,
        ):
            try:
                self._follow(worker, until, end)
            finally:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(worker.pid, signal.SIGKILL)

    def _follow(self, worker: subprocess.Popen[bytes], until: int, end: float) -> None:
        assert worker.stdout is not None
        selector = selectors.DefaultSelector()
        selector.register(worker.stdout, selectors.EVENT_READ)
        limit_s, cpu_s, running = self.target.limits.seconds + _GRACE_S, 0.0, False
        pending = b""
        while True:
            # Before its first trial the worker loads its libraries.
            if not selector.select(limit_s if running else 120.0):
                self._note_death(Finding("hang", f"hang of {self.target.name}", f"no answer for {limit_s:g} s"))
                return
            chunk = os.read(worker.stdout.fileno(), 1 << 16)
            if not chunk:
                status = worker.wait()
                if status or self.progress.next < until:
                    self._note_death(
                        Finding("crash", f"crash of {self.target.name} ({status})", f"exit status {status}")
                    )
                return
            *lines, pending = (pending + chunk).split(b"\n")
            for line in lines:
                running = True
                message = json.loads(line)
                finding = message["finding"] and Finding(**message["finding"])
                is_new = finding is not None and finding.signature not in self.progress.findings
                self.progress.note(message["trial"], Outcome(message["label"], finding))
                self.progress.cpu_s += message["cpu_s"] - cpu_s
                cpu_s = message["cpu_s"]
                self.progress.peak_mib = max(self.progress.peak_mib, message["peak_mib"])
                self.progress.child_mib = max(self.progress.child_mib, message["child_mib"])
                if is_new and finding is not None:
                    self._report(f"{self.target.name} trial {message['trial']}: {finding.signature}\n{finding.detail}")
            if time.monotonic() - self._saved > _SAVED_EVERY_S:
                self.save()
            if time.monotonic() > end:
                return

    def _note_death(self, finding: Finding) -> None:
        trial = self.progress.next
        self.progress.note(trial, Outcome(f"{finding.kind}", finding))
        self._report(f"{self.target.name} trial {trial}: {finding.signature}\n{finding.detail}")
