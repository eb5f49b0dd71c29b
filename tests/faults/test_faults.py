"""A seeded minute of trials with faults; `make faults` runs a thousand."""

from __future__ import annotations

import errno
import os
import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from avpenet_cli.runs.database import connect_to_read
from tests.conftest import REPOSITORY
from tests.faults.control import FAIL, SYNC, WRITE, build_shim, map_control
from tests.faults.power_loss import Disk
from tests.faults.programs import open_programs
from tests.faults.scenarios import SCENARIOS
from tests.faults.trial import Trials

SEED = 18


@pytest.fixture(scope="module")
def trials(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trials]:
    state = tmp_path_factory.mktemp("faults")
    with open_programs(state) as programs:
        yield Trials(state, programs)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["disk", "read", "signal", "decoder", "power", "memory", "weights"])
def test_run_after_a_fault_ends_as_if_there_had_been_none(trials: Trials, kind: str) -> None:
    outcome = trials.run(SEED, 0, kind=kind, scenarios=SCENARIOS[:1])
    assert outcome.problems == []
    assert outcome.fired


_COMMIT = """
import os, sys
from pathlib import Path
from avpenet_cli.errors import AvpenetError
from avpenet_cli.runs.database import guarded, open_database, transaction
from tests.faults.control import map_control
control, journal = map_control(Path(sys.argv[1])), Path(sys.argv[2])
control.armed = 1
try:
    with guarded(journal):
        database = open_database(journal)
        with transaction(database):
            database.execute("CREATE TABLE finished (name TEXT)")
        for name in ("first", "second"):
            with transaction(database):
                database.execute("INSERT INTO finished VALUES (?)", (name,))
except AvpenetError as error:
    print(error, flush=True)
os._exit(0)
"""


def commit(folder: Path, **fault: int) -> tuple[Disk, str]:
    """Put two rows into the database `folder/output/journal`, one after the other, and end without closing it.

    Args:
        fault: fields of `Control`.

    Returns:
        The disk as it may be after a power cut, and what was said.
    """
    output, shared = folder / "output", folder / "control"
    output.mkdir()
    control = map_control(shared)
    control.output, control.log, control.recording = os.fsencode(output), os.fsencode(folder / "log"), 1
    for name, value in fault.items():
        setattr(control, name, value)
    disk = Disk(output)
    environment = {**os.environ, "LD_PRELOAD": str(build_shim(folder)), "AVPENET_FAULTS": str(shared)}
    command = [sys.executable, "-c", _COMMIT, str(shared), str(output / "journal")]
    said = subprocess.run(command, check=True, cwd=REPOSITORY, env=environment, stdout=subprocess.PIPE, text=True)
    disk.replay((folder / "log").read_bytes())
    return disk, said.stdout


@pytest.mark.parametrize("seed", [1, 2])
def test_what_a_journal_has_taken_survives_a_power_cut(tmp_path: Path, seed: int) -> None:
    disk, said = commit(tmp_path)
    assert said == ""
    disk.fail(random.Random(seed))
    rows = connect_to_read(tmp_path / "output" / "journal", mode="rw").execute("SELECT name FROM finished").fetchall()
    assert rows == [("first",), ("second",)]


@pytest.mark.parametrize(
    ("number", "calls", "words"),
    [
        (errno.EIO, SYNC, "cannot be written: disk I/O error; check the disk"),
        (errno.ENOSPC, WRITE, "no space left to write"),
    ],
)
def test_error_of_a_journal_says_what_the_disk_lacks(tmp_path: Path, number: int, calls: int, words: str) -> None:
    _, said = commit(tmp_path, action=FAIL, error=number, calls=calls, at=1, span=-1)
    assert words in said
