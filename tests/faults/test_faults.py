"""A seeded minute of trials with faults; `make faults` runs a thousand."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from avpenet_cli.runs.database import connect_to_read
from tests.conftest import REPOSITORY
from tests.faults.control import build_shim, map_control
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
from avpenet_cli.runs.database import open_database, transaction
from tests.faults.control import map_control
control = map_control(Path(sys.argv[1]))
control.armed = 1
database = open_database(Path(sys.argv[2]))
with transaction(database):
    database.execute("CREATE TABLE finished (name TEXT)")
for name in ("first", "second"):
    with transaction(database):
        database.execute("INSERT INTO finished VALUES (?)", (name,))
os._exit(0)
"""


@pytest.mark.parametrize("seed", range(5))
def test_what_a_journal_has_taken_survives_a_power_cut(tmp_path: Path, seed: int) -> None:
    folder, shared = tmp_path / "output", tmp_path / "control"
    folder.mkdir()
    journal = folder / "journal"
    control = map_control(shared)
    control.output, control.log, control.recording = os.fsencode(folder), os.fsencode(tmp_path / "log"), 1
    disk = Disk(folder)
    environment = {**os.environ, "LD_PRELOAD": str(build_shim(tmp_path)), "AVPENET_FAULTS": str(shared)}
    subprocess.run([sys.executable, "-c", _COMMIT, shared, journal], check=True, cwd=REPOSITORY, env=environment)
    disk.replay((tmp_path / "log").read_bytes())
    disk.fail(random.Random(seed))
    rows = connect_to_read(journal, mode="rw").execute("SELECT name FROM finished").fetchall()
    assert rows == [("first",), ("second",)]
