"""Targets made of cases: intact files, of which a trial damages one or two, and what reads them in this process."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

from avpenet_cli.errors import AvpenetError
from tests.fuzz.campaign import Target
from tests.fuzz.cases import Case, damage_file
from tests.fuzz.mutations import Rng
from tests.fuzz.trials import DEFAULT_LIMITS, Limits, Outcome, last_words, run_trial, working_folder


def case_target(
    name: str,
    description: str,
    prepare: Callable[[Path], None],
    cases: Sequence[Case],
    *,
    limits: Limits = DEFAULT_LIMITS,
    ci_trials: int = 200,
) -> Target:
    """A target whose trials each take one of the cases."""

    def trial(rng: Rng, corpus: Path, keep: Path | None) -> Outcome:
        case = rng.choices(cases, [case.weight for case in cases])[0]
        with working_folder(corpus / case.corpus) as folder:
            paths = sorted({path for pattern in case.damaged for path in folder.glob(pattern)})
            if not paths:
                raise ValueError(f"{case.name}: no file {case.damaged}")
            for path in rng.sample(paths, min(len(paths), rng.choice((1, 1, 1, 2)))):
                damage_file(rng, path, case.reseal)
            if keep is not None:
                shutil.rmtree(keep, ignore_errors=True)
                shutil.copytree(folder, keep, symlinks=True)
            return run_trial(case.name, lambda: case.read(folder), limits)

    def check(corpus: Path) -> None:
        for case in cases:
            with working_folder(corpus / case.corpus) as folder:
                if case.refused:
                    with contextlib.suppress(AvpenetError):
                        case.read(folder)
                    continue
                result = case.read(folder)
                if isinstance(result, str) and result not in ("exit 0", "exit 1", "exit 4"):
                    raise ValueError(f"{name}, {case.name}: intact files: {result}, {last_words()}")

    return Target(name, description, prepare, trial, limits, ci_trials, check=check)
