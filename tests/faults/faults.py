"""The kinds of faults, drawn by chance from what an undisturbed run does."""

from __future__ import annotations

import errno
import os
import random
import shutil
import signal
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from avpenet_cli.errors import ExitCode
from tests.faults.control import (
    CLOCK,
    CREATE,
    FAIL,
    NAME,
    READ,
    READS,
    SIGNAL,
    SWAP,
    SYNC,
    WORKER,
    WRITE,
    WRITES,
    Control,
)
from tests.faults.scenarios import Place, Undisturbed

_DAY_NS = 86_400 * 10**9
_CLOCK_CALLS = 60
"""About so often a run asks for the time."""
_ENDED = frozenset({0, 1, 2, 3, 75})
"""Exit codes of a run that says what was wrong."""


@dataclass(frozen=True)
class Fault:
    """One fault.

    Attributes:
        kind: of the fault.
        detail: what exactly happens, in words.
        codes: exit codes that the run may have, besides those of a run that says what was wrong.
        alters_results: recordings may fail by it, so that tables other than the final one may be seen.
        control: values for the shared structure.
        power_fails: what was not synced is lost afterwards.
        victim: process that gets the signal, as of `Control`; None for the run's own.
        more_memory: bytes of address space that the run may take; None for no limit.
        signal_after: seconds until a signal, and its number.
        weights: what happens to the file of weights; None for nothing.
        in_mid_run: the weights are altered at the call that `control` says, when they are loaded; else before the run.
        must_finish: if it happened, the run ends as one that nothing disturbs.
        must_end: if it happened, the exit code of the run; None for any that is expected.
    """

    kind: str
    detail: str
    codes: frozenset[int] = frozenset()
    alters_results: bool = False
    control: dict[str, int] = field(default_factory=dict)
    power_fails: bool = False
    victim: int | None = None
    more_memory: int | None = None
    signal_after: tuple[float, int] | None = None
    weights: Callable[[Path], None] | None = None
    in_mid_run: bool = False
    must_finish: bool = False
    must_end: int | None = None

    def set_up(self, control: Control, place: Place) -> None:
        """Arm the shared structure, and alter what is altered before the run."""
        for name, value in self.control.items():
            setattr(control, name, value)
        if self.weights is None:
            return
        if not self.in_mid_run:
            self.weights(place.weights)
            return
        if self.weights is not _exchange:
            shutil.rmtree(place.other_weights)
            shutil.copytree(place.weights.parent, place.other_weights)
            self.weights(place.other_weights / place.weights.name)
        control.place, control.other = os.fsencode(place.weights.parent), os.fsencode(place.other_weights)

    @property
    def there_from_start(self) -> bool:
        """Whether it happens before the run."""
        return self.more_memory is not None or (self.weights is not None and not self.in_mid_run)

    @property
    def expected(self) -> frozenset[int]:
        """Exit codes that the run may have."""
        return _ENDED | self.codes


def _call(rng: random.Random, run: Undisturbed, calls: int) -> int:
    """Number of one of the run's calls of these kinds."""
    return rng.randint(1, max(1, sum(count for bit, count in enumerate(run.calls) if calls >> bit & 1)))


def _disk(rng: random.Random, run: Undisturbed) -> Fault:
    calls = rng.choice((WRITES, WRITE, SYNC, NAME, CREATE))
    error = rng.choice((errno.ENOSPC, errno.ENOSPC, errno.EDQUOT, errno.EIO))
    at, span, half = _call(rng, run, calls), rng.choice((-1, -1, 1, 3)), rng.random() < 0.3
    values = {"action": FAIL, "error": error, "calls": calls, "at": at, "span": span, "half": half}
    return Fault("disk", f"{errno.errorcode[error]} at call {at} of {calls:#x} for {span}", control=values)


def _read(rng: random.Random, run: Undisturbed) -> Fault:
    error = rng.choice((errno.EIO, errno.EIO, errno.ESTALE))
    at, span = _call(rng, run, READ), rng.choice((-1, 1, 1, 3))
    values = {"action": FAIL, "error": error, "calls": READ, "at": at, "span": span}
    detail = f"{errno.errorcode[error]} at read {at} for {span}"
    return Fault("read", detail, alters_results=True, control=values)


def _share(rng: random.Random, run: Undisturbed) -> Fault:
    calls = rng.choice((READS, READS, READS | WRITES, WRITES))
    error = rng.choice((errno.ENOENT, errno.ESTALE, errno.EIO, errno.EHOSTDOWN))
    at, span = _call(rng, run, calls), rng.choice((-1, 5, 20, 60))
    values = {"action": FAIL, "error": error, "calls": calls, "at": at, "span": span}
    detail = f"{errno.errorcode[error]} from call {at} of {calls:#x} for {span}"
    return Fault("share", detail, alters_results=True, control=values)


def _clock(rng: random.Random, _run: Undisturbed) -> Fault:
    days, boot_ns = rng.choice((-400, -1, -1 / 24, 1 / 24, 1, 400)), rng.choice((0, 0, 3600 * 10**9))
    values = {"action": CLOCK, "at": rng.randint(1, _CLOCK_CALLS), "clock_ns": int(days * _DAY_NS), "boot_ns": boot_ns}
    return Fault("clock", f"by {days:g} days and {boot_ns} ns at call {values['at']}", control=values)


def _signal(rng: random.Random, run: Undisturbed) -> Fault:
    number = rng.choice((signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGKILL, signal.SIGKILL, signal.SIGSTOP))
    codes = frozenset({130, -number})
    if rng.random() < 0.3:
        after = (rng.uniform(0, 1.2) * run.seconds, int(number))
        return Fault("signal", f"{number.name} after {after[0]:.2f} s", codes, signal_after=after)
    calls = rng.choice((WRITES | READS, WRITES, READS))
    values = {"action": SIGNAL, "signal": number, "calls": calls, "at": _call(rng, run, calls)}
    return Fault("signal", f"{number.name} at call {values['at']} of {calls:#x}", codes, control=values)


def _decoder(rng: random.Random, run: Undisturbed) -> Fault:
    number = rng.choice((signal.SIGKILL, signal.SIGTERM, signal.SIGSEGV))
    values = {"action": SIGNAL, "signal": number, "calls": READ, "at": _call(rng, run, READ)}
    return Fault(
        "decoder",
        f"{number.name} to whoever makes read {values['at']}",
        frozenset({130, -number}),
        alters_results=True,
        control=values,
        victim=0,
    )


def _power(rng: random.Random, run: Undisturbed) -> Fault:
    values = {
        "action": SIGNAL,
        "signal": signal.SIGKILL,
        "calls": WRITES,
        "at": _call(rng, run, WRITES),
        "recording": 1,
    }
    return Fault("power", f"at call {values['at']}", frozenset({-signal.SIGKILL}), control=values, power_fails=True)


def _memory(rng: random.Random, _run: Undisturbed) -> Fault:
    more = int(2 ** rng.uniform(20, 29))
    codes = frozenset({-signal.SIGABRT, -signal.SIGSEGV, -signal.SIGBUS, 134, 139})
    return Fault("memory", f"{more >> 20} MiB more", codes, alters_results=True, more_memory=more)


def _weights(rng: random.Random, run: Undisturbed) -> Fault:
    place = rng.random()

    def flip(path: Path) -> None:
        content = bytearray(path.read_bytes())
        content[int(place * len(content))] ^= 1
        path.write_bytes(content)

    def cut(path: Path) -> None:
        path.write_bytes(path.read_bytes()[: int(place * path.stat().st_size)])

    def take_away(path: Path) -> None:
        path.unlink()

    def empty(path: Path) -> None:
        path.write_bytes(b"")

    how: Callable[[Path], None] = rng.choice((flip, cut, take_away, empty))
    if rng.random() < 0.4:
        return Fault("weights", f"{how.__name__} {place:.4f}", weights=how)
    how = rng.choice((how, how, _make_unreadable, _exchange))
    values = {"action": SWAP, "calls": READ, "at": _call(rng, run, READ)}
    detail = f"{how.__name__.strip('_')} {place:.4f} at read {values['at']}"
    # A worker that still loads them refuses them.
    single = run.workers == 1
    return Fault("weights", detail, control=values, weights=how, in_mid_run=True, must_finish=single)


def _make_unreadable(path: Path) -> None:
    """For whoever runs the trials, the administrator too."""
    path.unlink()
    path.mkdir()


def _exchange(_path: Path) -> None:
    """For those of `Place.other_weights`, which are whole and of the same name."""


def _worker(rng: random.Random, run: Undisturbed) -> Fault:
    """A worker is killed; the weights that its successor finds may be others."""
    values = {"action": SIGNAL, "signal": signal.SIGKILL, "calls": READ, "at": _call(rng, run, READ)}
    detail = f"a worker is killed at its read {values['at']}"
    if rng.random() < 0.5:
        return Fault("worker", detail, control=values, victim=WORKER)
    weights = _weights(rng, run)
    how = weights.weights if weights.in_mid_run else _exchange
    detail = f"{detail}, then weights: {weights.detail if weights.in_mid_run else 'exchange'}"
    values["action"] = SWAP
    return Fault(
        "worker", detail, control=values, victim=WORKER, weights=how, in_mid_run=True, must_end=ExitCode.ENVIRONMENT
    )


KINDS: tuple[tuple[Callable[[random.Random, Undisturbed], Fault], int], ...] = (
    (_disk, 24),
    (_read, 14),
    (_share, 10),
    (_clock, 6),
    (_signal, 18),
    (_decoder, 4),
    (_power, 18),
    (_memory, 3),
    (_weights, 3),
    (_worker, 0),
)
"""Kinds, and how many of a hundred trials have them; a worker that is killed needs workers."""


def draw(rng: random.Random, run: Undisturbed, kind: str = "") -> Fault:
    """A fault by chance, of a kind where one is named."""
    if kind:
        return next(make for make, _ in KINDS if make.__name__ == f"_{kind}")(rng, run)
    make = rng.choices([kind for kind, _ in KINDS], [weight for _, weight in KINDS])[0]
    return make(rng, run)
