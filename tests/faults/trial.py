"""One trial: a run with a fault, what may be seen after it, and a run that ends as if nothing had happened."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import random
import re
import shutil
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.faults.faults import Fault, draw
from tests.faults.power_loss import Disk
from tests.faults.programs import Ended, Programs
from tests.faults.scenarios import (
    RECORDINGS,
    SCENARIOS,
    WITH_EMBEDDINGS,
    Place,
    Scenario,
    Undisturbed,
    arm,
    make_originals,
    modes,
    prepare,
    results,
    run_undisturbed,
    tables,
)

_KNOWN = re.compile(
    r"scores(\.partial)?(\.recordings|\.subjects)?\.(csv|parquet|jsonl)|scores\.run\.json"
    r"|scores\.(csv|parquet|jsonl)\.(journal(-journal)?|lock|holder|history\.jsonl)"
    r"|embeddings\.parquet(\.journal(-journal)?)?"
    r"|\.(scores|embeddings)\..*\.tmp|\.{0,2}scores\.[a-z]+(\.history\.jsonl)?\.holder(\.[0-9a-f]{16})?"
)


_WITH_EMBEDDINGS = 0.25
"""Share of the trials that have one of these scenarios; all others are the same, whatever it is."""
_OF_WORKERS = 0.4
"""Share of the trials with workers in which one is killed."""


@dataclass(frozen=True)
class Outcome:
    """What a trial found.

    Attributes:
        trial: its number.
        scenario, kind, fault: what was run, and what happened to it.
        fired: whether the fault happened while the run went on; limited memory and altered weights are there from its
            start.
        codes: exit codes of the runs, the last one without a fault.
        problems: what was wrong; empty where nothing was.
    """

    trial: int
    scenario: str
    kind: str
    fault: str
    fired: bool
    codes: list[int]
    problems: list[str]


class Trials:
    """Runs trials, one after another, in one folder.

    Args:
        state: for what all of them share, and the folders of those that find something; absolute.
        programs: runs their commands.
    """

    def __init__(self, state: Path, programs: Programs) -> None:
        self._state, self._programs = state, programs
        self._originals = make_originals(state)
        self._root = state / "trial"
        self._undisturbed: dict[str, Undisturbed] = {}

    def run(self, seed: int, trial: int, *, kind: str = "", scenarios: Sequence[Scenario] = SCENARIOS) -> Outcome:
        """Run one trial; its folder stays if something is wrong, as `SEED-TRIAL`.

        Args:
            kind: of its fault; any by chance where it is empty.
            scenarios: one of them by chance.
        """
        rng, of_scenario = random.Random(f"{seed}/{trial}"), random.Random(f"{seed}/{trial}/scenario")
        scenario = rng.choice(scenarios)
        if scenarios is SCENARIOS and of_scenario.random() < _WITH_EMBEDDINGS:
            scenario = of_scenario.choice(WITH_EMBEDDINGS)
            if scenario.workers > 1 and of_scenario.random() < _OF_WORKERS:
                kind = kind or "worker"
        fault = draw(rng, self._model(scenario), kind)
        outcome = self._run(trial, scenario, fault, rng)
        if outcome.problems:
            kept = self._state / f"{seed}-{trial}"
            shutil.rmtree(kept, ignore_errors=True)
            self._root.rename(kept)
        return outcome

    def _model(self, scenario: Scenario) -> Undisturbed:
        """What a run leaves that nothing disturbs; with workers it is what one process leaves."""
        if scenario.name not in self._undisturbed:
            model = run_undisturbed(scenario, self._originals, self._root, self._programs)
            if scenario.workers > 1:
                single = next(other for other in WITH_EMBEDDINGS if other.workers == 1)
                assert model.table_bytes == self._model(single).table_bytes, f"{scenario.name}: other tables"
            self._undisturbed[scenario.name] = model
        return self._undisturbed[scenario.name]

    def _run(self, trial: int, scenario: Scenario, fault: Fault, rng: random.Random) -> Outcome:
        model, originals, root, programs = (
            self._undisturbed[scenario.name],
            self._originals,
            self._root,
            self._programs,
        )
        place = prepare(originals, root, model.start)
        ended, fired = _run_with(fault, scenario, place, programs, rng)
        problems = [*_problems_of_end(ended, fault), *visible_problems(place, model, fault)]
        if programs.control.strangers:
            problems.append("a worker wrote to the output's folder")
        if fired and fault.must_end not in (None, ended.status):
            problems.append(f"exit status {ended.status} instead of {fault.must_end}")
        if fired and fault.must_finish:
            problems += _final_problems(place, originals, model, ended)
        (root / "log").write_text(ended.log)
        shutil.copytree(place.output, root / "output after the fault")
        shutil.rmtree(place.weights.parent)
        shutil.copytree(originals / "weights", place.weights.parent)
        arm(programs.control, place)
        last = programs.run(place.command(scenario), place.temporary)
        (root / "log of the last run").write_text(last.log)
        problems += [f"in the end: {problem}" for problem in _final_problems(place, originals, model, last)]
        return Outcome(trial, scenario.name, fault.kind, fault.detail, fired, [ended.status, last.status], problems)


def _run_with(
    fault: Fault, scenario: Scenario, place: Place, programs: Programs, rng: random.Random
) -> tuple[Ended, bool]:
    """Run the command with a fault; how it ended, and whether the fault happened."""
    arm(programs.control, place)
    fault.set_up(programs.control, place)
    disk = Disk(place.output) if fault.power_fails else None
    ended = programs.run(
        place.command(scenario),
        place.temporary,
        more_memory=fault.more_memory,
        victim=fault.victim,
        signal_after=fault.signal_after,
    )
    fired = fault.there_from_start or ended.signalled or bool(programs.control.fired)
    if disk is not None:
        log = place.root / "operations"
        disk.replay(log.read_bytes() if log.exists() else b"")
        disk.fail(rng)
    return ended, fired


def _problems_of_end(ended: Ended, fault: Fault) -> list[str]:
    problems = []
    if ended.hung:
        problems.append("it hung")
    elif ended.status not in fault.expected:
        problems.append(f"exit status {ended.status}")
    if ended.left:
        problems.append(f"{ended.left} processes left")
    if "Traceback" in ended.log and fault.kind != "memory":
        problems.append("traceback")
    return problems


def visible_problems(place: Place, model: Undisturbed, fault: Fault) -> list[str]:
    """What must not be seen after a run that had a fault."""
    problems = [f"{path.name} is nobody's" for path in place.output.iterdir() if not _KNOWN.fullmatch(path.name)]
    problems += [f"{name} has mode {mode:o}" for name, mode in modes(place.output).items()]
    for name, content in tables(place.output).items():
        if content in (model.before.get(name), model.files.get(name)):
            continue
        if not fault.alters_results:
            problems.append(f"{name} is neither that of before nor the final one")
        elif problem := _torn(name, content):
            problems.append(f"{name}: {problem}")
    for path in place.output.glob("scores.partial*"):
        if problem := _torn(path.name, path.read_bytes()):
            problems.append(f"{path.name}: {problem}")
    manifest = place.output / "scores.run.json"
    if manifest.exists():
        with contextlib.suppress(ValueError):
            json.loads(manifest.read_text())
            return problems
        problems.append("the manifest is torn")
    return problems


def _torn(name: str, content: bytes) -> str:
    """What is wrong with a table that is not whole; empty where nothing is."""
    try:
        if name.endswith(".parquet"):
            import pyarrow.parquet as pq

            pq.read_table(io.BytesIO(content))
        elif content and not content.endswith(b"\n"):  # JSON lines without a segment are empty
            return "no line end"
        elif name.endswith(".jsonl"):
            for line in content.splitlines():
                json.loads(line)
        else:
            rows = list(csv.reader(io.StringIO(content.decode("utf-8"))))
            if len({len(row) for row in rows}) != 1:
                return "no rows, or rows of several lengths"
    except (ValueError, OSError) as error:
        return str(error)
    return ""


def _final_problems(place: Place, originals: Path, model: Undisturbed, last: Ended) -> list[str]:
    """How the output differs from that of a run that nothing disturbed."""
    if last.status != model.code or last.hung:
        return [f"exit status {last.status}: {last.log[-500:]}"]
    try:
        found = results(place.output)
    except (OSError, ValueError) as error:
        return [f"no manifest that can be read: {error}"]
    problems = [f"{name} differs" for name in sorted(model.files) if found.get(name) != model.files[name]]
    names = {path.name for path in place.output.iterdir()}
    problems += [f"{name} is left" for name in sorted(names - model.names)]
    problems += [f"{name} is missing" for name in sorted(model.names - names)]
    problems += [f"{path.name} is left in the temporary folder" for path in place.temporary.iterdir()]
    problems += [f"{name} has mode {mode:o}" for name, mode in modes(place.output).items()]
    if last.left:
        problems.append(f"{last.left} processes left")
    for name in RECORDINGS:
        if (place.recordings / name).read_bytes() != (originals / "recordings" / name).read_bytes():
            problems.append(f"the recording {name} was altered")
    for journal in place.output.glob("*.journal"):
        with contextlib.closing(sqlite3.connect(journal)) as database:
            if database.execute("PRAGMA integrity_check").fetchone() != ("ok",):
                problems.append(f"{journal.name} is damaged")
    return problems
