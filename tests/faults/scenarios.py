"""What the trials score, and how: real recordings of a second or two, untrained weights of the smallest network."""

from __future__ import annotations

import ctypes
import json
import os
import shutil
import stat
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from avpenet_cli.model.initialise import seeded_state
from avpenet_cli.model.systems.settings import EarlyFusionSettings
from avpenet_cli.weights.loading import empty_network
from avpenet_cli.weights.writing import save
from tests.conftest import ClipMaker
from tests.faults.control import Control
from tests.faults.programs import Programs
from tests.support.weight_descriptions import make_description

NAME = "faults"
"""Of the weights."""


@dataclass(frozen=True)
class Scenario:
    """One command.

    Attributes:
        name: of the scenario.
        suffix: of the table.
        options: further ones.
        after_another: the output holds the first recordings already when the run begins.
        workers: processes that score.
    """

    name: str
    suffix: str = ".csv"
    options: tuple[str, ...] = ()
    after_another: bool = False
    workers: int = 1


SCENARIOS = (
    Scenario("first run"),
    Scenario("later run", after_another=True),
    Scenario("Parquet and subjects", ".parquet", ("--subjects", "SUBJECTS", "--no-digests")),
    Scenario("JSON lines", ".jsonl", ("--stride", "1.5")),
    Scenario("pseudonyms", ".csv", ("--pseudonymise", "KEY")),
)
_EMBEDDINGS = ("--embeddings", "EMBEDDINGS")
WITH_EMBEDDINGS = (
    Scenario("embeddings", options=_EMBEDDINGS),
    Scenario("two workers", options=_EMBEDDINGS, workers=2),
)


@dataclass(frozen=True)
class Place:
    """Folders of a trial.

    Attributes:
        root: holds the others.
    """

    root: Path

    @property
    def output(self) -> Path:
        """Where the table goes."""
        return self.root / "output"

    @property
    def recordings(self) -> Path:
        """The inputs."""
        return self.root / "recordings"

    @property
    def weights(self) -> Path:
        """The weights' own file."""
        return self.root / "weights" / f"{NAME}.safetensors"

    @property
    def other_weights(self) -> Path:
        """A folder that takes the place of the weights' while a run goes on."""
        return self.root / "other weights"

    @property
    def temporary(self) -> Path:
        """For temporary files."""
        return self.root / "temporary"

    def command(self, scenario: Scenario, *, part: bool = False) -> list[str]:
        """Arguments of `avpenet`.

        Args:
            part: only the first recordings.
        """
        paths = [str(self.recordings / name) for name in FIRST] if part else [str(self.recordings)]
        named = {
            "SUBJECTS": self.root / "subjects.csv",
            "KEY": self.root / "key",
            "EMBEDDINGS": self.output / "embeddings.parquet",
        }
        options = [str(named.get(option, option)) for option in scenario.options]
        options += ["--workers", str(scenario.workers)] if scenario.workers > 1 else []
        out = self.output / f"scores{scenario.suffix}"
        return ["score", *paths, "--weights", str(self.weights), "--device", "cpu", "--out", str(out), *options]


FIRST = ("0.mp4", "broken.mp4")
"""Recordings that an output holds already."""
RECORDINGS = ("0.mp4", "1.wav", "broken.mp4")


def make_originals(folder: Path) -> Path:
    """Recordings, weights, subjects and a key, which each trial gets copies of; made once.

    Returns:
        Their folder.
    """
    done = folder / "originals"
    if Place(done).other_weights.exists():  # those of an earlier version lack them
        return done
    shutil.rmtree(done, ignore_errors=True)
    made = folder / "unfinished"
    shutil.rmtree(made, ignore_errors=True)
    place = Place(made)
    for path in (place.recordings, place.weights.parent, place.other_weights, made / "clips"):
        path.mkdir(parents=True)
    clips = ClipMaker(made / "clips")
    shutil.copy(clips.brief("cry", 1.6), place.recordings / "0.mp4")
    wave = clips.ffmpeg("-i", str(clips.brief("cry", 1.6)), "-vn", "-ac", "1", suffix=".wav")
    shutil.copy(wave, place.recordings / "1.wav")
    (place.recordings / "broken.mp4").write_bytes(b"no recording at all")
    shutil.rmtree(made / "clips")
    description = make_description(NAME, network="early-fusion", architecture=EarlyFusionSettings())
    for path, seed in ((place.weights, 7), (place.other_weights / place.weights.name, 8)):
        save(seeded_state(empty_network(description), seed), description, path)
    rows = [f"{name},s{number}" for number, name in enumerate(RECORDINGS)]
    (made / "subjects.csv").write_text("\n".join(["recording,subject", *rows]) + "\n")
    (made / "key").write_text("0123456789abcdef" * 4 + "\n")
    (made / "key").chmod(0o600)
    made.rename(done)
    return done


def prepare(originals: Path, root: Path, start: Path | None = None) -> Place:
    """A fresh place, with copies that keep their times.

    Args:
        root: the same for all trials, since a journal knows recordings by their paths.
        start: an output to begin with.
    """
    shutil.rmtree(root, ignore_errors=True)
    shutil.copytree(originals, root)
    place = Place(root)
    place.temporary.mkdir(mode=0o700)
    if start is None:
        place.output.mkdir(mode=0o700)
    else:
        shutil.copytree(start, place.output)
    return place


@dataclass(frozen=True)
class Undisturbed:
    """What a run leaves that nothing disturbs.

    Attributes:
        files: bytes of the tables by name, and the manifest without what says when and how long.
        names: of all files of the output.
        code: exit code.
        calls: number of calls of each kind, see `control`.
        before: bytes of the tables by name before the run.
        start: an output to begin with; None for none.
        seconds: that the run took.
        workers: processes that score.
    """

    files: dict[str, object]
    names: frozenset[str]
    code: int
    calls: tuple[int, ...]
    before: dict[str, bytes]
    start: Path | None
    seconds: float
    workers: int = 1

    @property
    def table_bytes(self) -> dict[str, object]:
        """Bytes of the tables by name."""
        return {name: content for name, content in self.files.items() if isinstance(content, bytes)}


def run_undisturbed(scenario: Scenario, originals: Path, root: Path, programs: Programs) -> Undisturbed:
    """Run the command of a scenario without a fault, in `root`, and count its calls."""
    start: Path | None = None
    place = prepare(originals, root)
    arm(programs.control, place)
    if scenario.after_another:
        programs.run(place.command(scenario, part=True), place.temporary)
        start = root.with_name("start")
        shutil.rmtree(start, ignore_errors=True)
        shutil.copytree(place.output, start)
    before = tables(place.output)
    arm(programs.control, place)
    started = time.monotonic()
    ended = programs.run(place.command(scenario), place.temporary)
    assert ended.status == 1, f"{scenario.name}: {ended}"
    assert ended.log.count("failed: not a recording") == ended.log.count(" failed: ") == 1, ended.log
    names = frozenset(path.name for path in place.output.iterdir())
    calls = tuple(programs.control.by_kind)
    seconds = time.monotonic() - started
    return Undisturbed(results(place.output), names, ended.status, calls, before, start, seconds, scenario.workers)


def arm(control: Control, place: Place) -> None:
    """Count calls of the next run in `place`, without a fault."""
    ctypes.memset(ctypes.addressof(control), 0, ctypes.sizeof(control))
    control.output = os.fsencode(place.output)
    control.input = os.fsencode(place.recordings)
    control.log = os.fsencode(place.root / "operations")


def tables(output: Path) -> dict[str, bytes]:
    """Bytes of the tables of an output that are there, those of an interrupted run left out."""
    return {
        path.name: path.read_bytes()
        for path in sorted(output.iterdir())
        if path.suffix in {".csv", ".parquet", ".jsonl"}
        and not path.name.startswith(".")
        and ".partial" not in path.name
        and ".history." not in path.name
    }


def results(output: Path) -> dict[str, object]:
    """What runs have in common that end with the same scores: tables, and the manifest without times and history."""
    manifest: dict[str, Any] = json.loads((output / "scores.run.json").read_text(encoding="utf-8"))
    for name in ("timing", "history"):
        del manifest[name]
    for recording in manifest["recordings"]:
        recording.pop("stage_s", None)
        recording.pop("from_earlier_run", None)
    return {**tables(output), "scores.run.json": manifest}


def modes(output: Path) -> dict[str, int]:
    """Permissions of files that others than their owner may use."""
    return {
        path.name: stat.S_IMODE(path.stat().st_mode)
        for path in output.iterdir()
        if stat.S_IMODE(path.stat().st_mode) & 0o077
    }
