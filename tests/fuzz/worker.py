"""Tries the numbers of one campaign and writes a JSON line for each: `python -m tests.fuzz.worker` of `campaign`."""

from __future__ import annotations

import json
import os
import resource
import sys
import time
import warnings
from dataclasses import asdict
from importlib import import_module
from pathlib import Path

from tests.fuzz.campaign import Target
from tests.fuzz.mutations import Rng
from tests.fuzz.trials import peak_mib

_DATA_BYTES = 12 << 30
"""Of this process and each of its children: what tries to take more fails, instead of the machine."""


def main() -> None:
    """Try the numbers from `first` to `until`; what the program prints goes to stderr."""
    source, name, state = sys.argv[1], sys.argv[2], Path(sys.argv[6])
    seed, first, until = map(int, sys.argv[3:6])
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    resource.setrlimit(resource.RLIMIT_DATA, (_DATA_BYTES, _DATA_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    warnings.simplefilter("ignore")  # the program's own are errors in its tests; damaged numbers warn by the thousand
    target: Target = import_module(source).TARGETS[name]
    corpus = state / "corpus" / target.name
    for trial in range(first, until):
        outcome = target.trial(Rng(name, seed, trial), corpus, None)
        if outcome.finding is not None:
            folder = state / "findings" / f"{name}-{seed}-{trial}"
            target.trial(Rng(name, seed, trial), corpus, folder)
        children = resource.getrusage(resource.RUSAGE_CHILDREN)
        message = {
            "trial": trial,
            "label": outcome.label,
            "finding": asdict(outcome.finding) if outcome.finding else None,
            "cpu_s": time.process_time() + children.ru_utime + children.ru_stime,
            "peak_mib": peak_mib(),
            "child_mib": children.ru_maxrss / 1024,
        }
        print(json.dumps(message), file=answers, flush=True)


if __name__ == "__main__":
    main()
