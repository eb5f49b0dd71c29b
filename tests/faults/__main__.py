"""`python -m tests.faults --seed S --trials N --state FOLDER`: trials with faults; given again, it resumes.

Each trial runs the real `avpenet score` with a fault at a random moment, looks at what is there, and runs the same
command again: its files must be those of a run that nothing disturbed, to the byte. The folder holds `trials.jsonl`, a
line for each trial, and of each trial that found something its folder. The same seed and number give the same trial.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections import Counter
from dataclasses import asdict
from pathlib import Path

from tests.faults.programs import open_programs
from tests.faults.trial import Outcome, Trials


def run_trials(seed: int, numbers: range, state: Path, minutes: float = float("inf")) -> list[Outcome]:
    """Run those of the trials that `state` has no line of yet.

    Args:
        numbers: of the trials.
        state: absolute; made where it does not exist.
        minutes: start no trial after that time.

    Returns:
        Their outcomes.
    """
    state.mkdir(parents=True, exist_ok=True)
    lines = state / "trials.jsonl"
    done = {outcome["trial"] for outcome in read_outcomes(lines) if outcome["seed"] == seed}
    deadline = time.monotonic() + 60 * minutes
    found = []
    with open_programs(state) as programs, lines.open("a", encoding="utf-8") as log:
        trials = Trials(state, programs)
        for number in numbers:
            if number in done or time.monotonic() > deadline:
                continue
            outcome = trials.run(seed, number)
            log.write(json.dumps({"seed": seed, **asdict(outcome)}) + "\n")
            log.flush()
            found.append(outcome)
            for problem in outcome.problems:
                print(f"trial {number}: {outcome.scenario}: {outcome.kind} {outcome.fault}: {problem}", flush=True)
    return found


def read_outcomes(lines: Path) -> list[dict[str, object]]:
    """Lines of earlier trials; the half of a line that a killed run left is no trial."""
    outcomes = []
    for line in lines.read_text(encoding="utf-8").splitlines() if lines.exists() else ():
        try:
            outcomes.append(json.loads(line))
        except ValueError:
            continue
    return outcomes


def main() -> int:
    """Run, and say how many trials there were of each kind."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description="Trials with faults; resumes.")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--trials", type=int, default=1000)
    parser.add_argument("--first", type=int, default=0, help="number of the first trial")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="start no trial after that time")
    parser.add_argument("--state", type=Path, required=True)
    options = parser.parse_args()
    state = options.state.absolute()
    numbers = range(options.first, options.first + options.trials)
    run_trials(options.seed, numbers, state, options.minutes)
    outcomes = [item for item in read_outcomes(state / "trials.jsonl") if item["seed"] == options.seed]
    kinds: Counter[object] = Counter(item["kind"] for item in outcomes)
    fired: Counter[object] = Counter(item["kind"] for item in outcomes if item["fired"])
    wrong: Counter[object] = Counter(item["kind"] for item in outcomes if item["problems"])
    print("| fault | trials | fault happened | something wrong |")
    print("| --- | --- | --- | --- |")
    for kind, count in sorted(kinds.items(), key=str):
        print(f"| {kind} | {count} | {fired[kind]} | {wrong[kind]} |")
    print(f"| all | {len(outcomes)} | {fired.total()} | {wrong.total()} |")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
