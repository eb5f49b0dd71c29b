"""A target that fails in every way that a trial can, for the tests of the fuzzers."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from avpenet_cli.errors import AvpenetError
from tests.fuzz.campaign import Target
from tests.fuzz.mutations import Rng
from tests.fuzz.trials import Limits, Outcome, run_trial

_KEPT: list[object] = []


def _prepare(corpus: Path) -> None:
    (corpus / "file").write_text("intact", encoding="utf-8")


def _read(number: int) -> object:
    match number:
        case 1 | 7:
            raise KeyError("x")
        case 2:
            os.kill(os.getpid(), signal.SIGSEGV)
        case 3:
            return bytearray(96 << 20)
        case 4:
            while True:
                pass
        case 5:
            raise AvpenetError("two\nlines")
        case 6:
            _KEPT.extend(os.pipe() for _ in range(10))
    return None


def _trial(rng: Rng, corpus: Path, keep: Path | None) -> Outcome:
    number = rng.number
    if keep is not None:
        keep.mkdir(parents=True, exist_ok=True)
        (keep / "file").write_text(str(number), encoding="utf-8")
        return Outcome("kept")
    return run_trial("case", lambda: _read(number), FAILING.limits)


FAILING = Target(
    "failing", "fails", _prepare, _trial, Limits(seconds=1.0, memory_mib=32.0), source="tests.fuzz.failing"
)
TARGETS = {"failing": FAILING}
