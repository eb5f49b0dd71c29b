"""A seeded minute of trials with faults; `make faults` runs a thousand."""

from __future__ import annotations

import copy
import errno
import os
import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from avpenet_cli.errors import ExitCode
from avpenet_cli.runs.database import connect_to_read
from tests.conftest import REPOSITORY
from tests.faults.control import FAIL, SYNC, WRITE, build_shim, map_control
from tests.faults.faults import KINDS, Fault
from tests.faults.power_loss import Disk
from tests.faults.programs import open_programs
from tests.faults.scenarios import WITH_EMBEDDINGS, Place, Undisturbed
from tests.faults.trial import Trials, visible_problems

SEED = 18


@pytest.fixture(scope="module")
def trials(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trials]:
    state = tmp_path_factory.mktemp("faults")
    with open_programs(state) as programs:
        yield Trials(state, programs)


@pytest.fixture(scope="module")
def shim(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The library of faults."""
    return build_shim(tmp_path_factory.mktemp("shim"))


@pytest.mark.slow
@pytest.mark.parametrize("kind", [make.__name__.strip("_") for make, share in KINDS if share])
def test_run_after_a_fault_ends_as_if_there_had_been_none(trials: Trials, kind: str) -> None:
    outcome = trials.run(SEED, 0, kind=kind, scenarios=WITH_EMBEDDINGS[:1])
    assert outcome.problems == []
    assert outcome.fired


@pytest.mark.slow
def test_ffmpeg_that_is_stopped_before_its_first_frame_leaves_no_recording_without_video(trials: Trials) -> None:
    outcome = trials.run(2, 542)  # of another moment it says that a signal ended it
    assert outcome.fault == "SIGTERM to whoever makes read 9"
    assert outcome.problems == []
    assert outcome.fired


@pytest.mark.slow
def test_run_that_is_interrupted_while_it_makes_a_digest_leaves_no_recording_without_one(trials: Trials) -> None:
    outcome = trials.run(2, 362)
    assert outcome.fault == "SIGTERM to whoever makes read 67"
    assert outcome.problems == []
    assert outcome.fired


@pytest.mark.slow
def test_worker_in_place_of_a_killed_one_refuses_other_weights_than_the_run_s(trials: Trials) -> None:
    outcome = trials.run(SEED, 5, kind="worker", scenarios=WITH_EMBEDDINGS[1:])
    assert "exchange" in outcome.fault
    assert outcome.problems == []
    assert outcome.fired
    assert outcome.codes == [ExitCode.ENVIRONMENT, ExitCode.SOME_FAILED]


_COMMIT = """
from avpenet_cli.errors import AvpenetError
from avpenet_cli.errors import ExitCode
from avpenet_cli.runs.database import guarded, open_database, transaction
journal = output / "journal"
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
"""
"""Puts two rows into a journal, one after the other."""
_REPLACE = """
from avpenet_cli.storage import atomic_write
with atomic_write(output / "table") as file:
    file.write(b"second " * 1000)
"""
_RUN = """
import os, sys
from pathlib import Path
from tests.faults.control import map_control
control, output = map_control(Path(sys.argv[1])), Path(sys.argv[2])
control.armed = 1
exec(sys.argv[3])
os._exit(0)
"""


def run_recorded(shim: Path, folder: Path, code: str, **fault: int) -> tuple[Disk, bytes, str]:
    """Run code that writes to the folder `output` below `folder`, and end without closing anything.

    Args:
        shim: the library of faults.
        fault: fields of `Control`.

    Returns:
        The disk as it was before, what was written down, for it to replay, and what was printed.
    """
    output, shared = folder / "output", folder / "control"
    output.mkdir(exist_ok=True)
    control = map_control(shared)
    control.output, control.log, control.recording = os.fsencode(output), os.fsencode(folder / "log"), 1
    for name, value in fault.items():
        setattr(control, name, value)
    disk = Disk(output)
    environment = {**os.environ, "LD_PRELOAD": str(shim), "AVPENET_FAULTS": str(shared)}
    command = [sys.executable, "-c", _RUN, str(shared), str(output), code]
    said = subprocess.run(command, check=True, cwd=REPOSITORY, env=environment, stdout=subprocess.PIPE, text=True)
    return disk, (folder / "log").read_bytes() if (folder / "log").exists() else b"", said.stdout


def test_table_that_replaces_another_is_one_of_them_after_a_power_cut_at_any_moment(shim: Path, tmp_path: Path) -> None:
    table = tmp_path / "output" / "table"
    table.parent.mkdir()
    table.write_bytes(b"first")
    disk, log, _ = run_recorded(shim, tmp_path, _REPLACE)
    operations = copy.deepcopy(disk).replay(log)
    for done in range(operations + 1):
        for seed in range(20):
            after = copy.deepcopy(disk)
            after.replay(log, done)
            after.fail(random.Random(seed))
            assert table.read_bytes() in ((b"first", b"second " * 1000) if done < operations else (b"second " * 1000,))
    assert list(table.parent.iterdir()) == [table]


def test_trial_sees_a_table_that_is_torn_altered_or_readable_by_others(tmp_path: Path) -> None:
    place, whole = Place(tmp_path), b"recording,score\n0.mp4,2.5\n"
    place.output.mkdir()
    model = Undisturbed({"scores.csv": whole}, frozenset(), 1, (), {}, None, 1.0)
    table = place.output / "scores.csv"
    table.touch(mode=0o600)
    signal, read = Fault("signal", ""), Fault("read", "", alters_results=True)
    for content, of_signal, of_read in (
        (whole, [], []),
        (whole.replace(b"2.5", b"2.6"), ["scores.csv is neither that of before nor the final one"], []),
        (whole[:-3], ["scores.csv is neither that of before nor the final one"], ["scores.csv: no line end"]),
        (
            b"",
            ["scores.csv is neither that of before nor the final one"],
            ["scores.csv: no rows, or rows of several lengths"],
        ),
    ):
        table.write_bytes(content)
        assert visible_problems(place, model, signal) == of_signal
        assert visible_problems(place, model, read) == of_read
    table.write_bytes(whole)
    table.chmod(0o644)
    (place.output / "core").touch(mode=0o600)
    (place.output / "scores.run.json").touch(mode=0o600)
    assert visible_problems(place, model, signal) == [
        "core is nobody's",
        "scores.csv has mode 644",
        "the manifest is torn",
    ]


@pytest.mark.parametrize("seed", [1, 2])
def test_what_a_journal_has_taken_survives_a_power_cut(shim: Path, tmp_path: Path, seed: int) -> None:
    disk, log, said = run_recorded(shim, tmp_path, _COMMIT)
    assert said == ""
    disk.replay(log)
    disk.fail(random.Random(seed))
    rows = connect_to_read(tmp_path / "output" / "journal", mode="rw").execute("SELECT name FROM finished").fetchall()
    assert rows == [("first",), ("second",)]


@pytest.mark.parametrize(
    ("number", "calls", "words"),
    [
        (errno.EIO, SYNC, "cannot be read or written: disk I/O error; check the disk"),
        (errno.ENOSPC, WRITE, "no space left to write"),
    ],
)
def test_error_of_a_journal_says_what_the_disk_lacks(
    shim: Path, tmp_path: Path, number: int, calls: int, words: str
) -> None:
    _, _, said = run_recorded(shim, tmp_path, _COMMIT, action=FAIL, error=number, calls=calls, at=1, span=-1)
    assert words in said
