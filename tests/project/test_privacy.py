"""Under --pseudonymise nothing that a command and its children write, anywhere, holds a name or path of the inputs."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pytest

from tests.conftest import REPOSITORY, ClipMaker
from tests.support.hosts import need
from tests.support.written_bytes import Traced, find, leaks, trace

pytestmark = pytest.mark.slow

FOLDERS = ("Zebulon-Quince", "Station Übelhör")
GOOD, TEXT, CUT, NO_TEXT, DAMAGED, SECOND = NAMES = (
    "Xanthippe Yarrow.mp4",
    "Vashti\nUlverston.mp4",
    os.fsdecode(b"Wilhelm\xfcna.mp4"),
    "=Thaddeus,Ørsted.mkv",
    "Osbert%20Quimby.mp4",
    "Ysolde.mp4",
)
TITLE = "Recording of Ermintrude"
"""In the container; cameras and people write names there, too."""
TELLING = (
    *("Zebulon", "Quince", "Übelhör", "Xanthippe", "Yarrow", "Vashti", "Ulverston", "Wilhelm", "Thaddeus", "Ørsted"),
    *("Osbert", "Quimby", "Ysolde", "Ermintrude", "2019-08-07T06"),
)
# Loads the libraries once and forks for each command, as a process that runs it alone would be forked by a shell.
_COMMANDS = """
import json, os, sys
import avpenet_cli.runs.manifest, avpenet_cli.scoring.merging, avpenet_cli.scoring.scorer, librosa.filters
from avpenet_cli.cli import main
codes = []
for command in json.load(open(sys.argv[1])):
    if (pid := os.fork()) == 0:
        sys.argv = ["avpenet", *command]
        main()
    codes.append(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
print("codes", json.dumps(codes))
"""


@dataclass(frozen=True)
class Traces:
    """Where commands ran and wrote, and what they did."""

    archive: Path
    places: tuple[Path, ...]
    codes: list[int]
    traced: Traced

    @property
    def out(self) -> Path:
        return self.places[0]


def _odd_archive(clips: ClipMaker, folder: Path) -> list[Path]:
    """Two good recordings; text, a cut one, one that breaks off with a gap, one whose decoder complains."""
    made = "creation_time=2019-08-07T06:05:04Z"
    tagged = ["-c", "copy", "-metadata", made, "-metadata", f"title={TITLE}", "-metadata", f"comment={TITLE}"]
    whole = clips.ffmpeg("-i", str(clips.brief()), *tagged).read_bytes()
    matroska = bytearray(clips.ffmpeg("-i", str(clips.brief()), *tagged, suffix=".mkv").read_bytes())
    matroska[len(matroska) // 3 : len(matroska) // 3 + 300] = bytes(300)
    damaged = bytearray(whole)
    damaged[2_000:2_400] = b"\xa5" * 400
    contents = {
        GOOD: whole,
        TEXT: b"no recording",
        CUT: whole[: len(whole) // 2],
        NO_TEXT: bytes(matroska[: len(matroska) * 2 // 3]),
        DAMAGED: bytes(damaged),
        SECOND: whole,
    }
    paths = []
    for number, (name, content) in enumerate(contents.items()):
        path = folder / FOLDERS[number % 2] / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        paths.append(path)
    paths.append(folder / FOLDERS[0] / "Osbert, who is not there.mp4")
    return paths


def _run(folder: Path, places: tuple[Path, ...], archive: Path, commands: list[list[str]]) -> Traces:
    """Run commands with a home, working and temporary folder of their own."""
    _, home, temporary, here = places
    orders = folder / "commands.json"
    orders.write_text(json.dumps(commands))
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("XDG_", "MPL", "NUMBA"))}
    environment = clean | {
        "HOME": str(home),
        "TMPDIR": str(temporary),
        "PYTHONPATH": str(REPOSITORY),
        "OMP_NUM_THREADS": "1",
    }
    traced = trace([sys.executable, "-c", _COMMANDS, orders], folder / "calls", environment, here)
    codes = [line for line in traced.printed.splitlines() if line.startswith(b"codes ")]
    assert codes, traced.printed.decode(errors="replace")
    return Traces(archive, places, json.loads(codes[-1].removeprefix(b"codes ")), traced)


@pytest.fixture(scope="module")
def scored(clips: ClipMaker, tmp_path_factory: pytest.TempPathFactory) -> Traces:
    """An archive scored at once by two workers, and in shards that are merged; shown, reported and handed on."""
    need("strace")
    folder = tmp_path_factory.mktemp("private")
    places = folder / "out", folder / "home", folder / "temporary", folder / "here"
    for place in places:
        place.mkdir()
    out = places[0]
    paths = _odd_archive(clips, folder / "archive")
    # Names in a list, as long archives are given: the process list shows the arguments of a command to everybody.
    (folder / "list").write_bytes(b"\0".join(map(os.fsencode, paths)))
    (folder / "key").write_text("one key of enough bytes")
    (folder / "key").chmod(0o600)
    inputs = ["--files-from", str(folder / "list"), "--pseudonymise", str(folder / "key"), "--weights", "untrained"]
    # An odd one and a missing one in each shard.
    (folder / "some").write_bytes(b"\0".join(map(os.fsencode, [*paths[:2], paths[-1]])))
    once, parts = str(out / "once.csv"), str(out / "parts.csv")
    extra = ["--log-file", str(out / "once.log"), "--embeddings", str(out / "embeddings.parquet")]
    shard = ["score", *inputs, "--files-from", str(folder / "some"), "--out", parts, "--debug", "--log-format", "json"]
    commands = [
        ["score", *inputs, "--out", once, "--workers", "2", "--debug", "-v", *extra],
        [*shard, "--shard", "1/2", "--log-file", str(out / "parts.log")],
        [*shard, "--shard", "2/2"],
        ["merge", parts],
        ["status", once],
        ["status", parts, "--failed"],
        ["status", parts, "--json"],
        ["report", once, "--out", str(out / "report.html"), "--bootstrap", "200", "--debug"],
        ["trajectory", once, "--out", str(out / "trajectory.html"), "--debug"],
        ["export", once, "--to", "fhir", "--out", str(out / "bundle.json"), "--allow-demonstration"],
        ["monitor", once, "--baseline", once, "--out", str(out / "monitor.html"), "--debug"],
        ["verify", once, "--recordings", str(folder / "archive")],
    ]
    return _run(folder, places, folder / "archive", commands)


def test_commands_did_what_was_asked(scored: Traces) -> None:
    printed = scored.traced.printed.decode(errors="replace")
    # The recordings that fail may all be in the second shard. `status --failed` knows no paths; a baseline needs more.
    assert scored.codes[1] in (0, 1)
    assert [scored.codes[0], *scored.codes[2:]] == [1, 1, 1, 0, 2, 0, 0, 0, 0, 2, 0], printed
    names = {path.name for path in scored.out.rglob("*")}
    assert {"once.csv", "once.csv.journal", "once.log", "embeddings.parquet", "parts.csv", "report.html"} <= names
    assert 'File "' in printed  # --debug was heard
    assert len(pd.read_csv(scored.out / "once.recordings.csv")) == len(NAMES) + 1


def test_no_name_is_written_anywhere(scored: Traces) -> None:
    assert leaks(scored.places, TELLING) == {}
    assert find(TELLING, scored.traced.printed) == []
    # Among them what was written to files that were removed since, to pipes between processes, and names of files.
    assert find(TELLING, scored.traced.calls) == []


def test_no_command_opens_a_socket(scored: Traces) -> None:
    assert scored.traced.sockets == []


def test_no_name_is_in_the_process_list(scored: Traces) -> None:
    assert any(b"ffmpeg" in command for command in scored.traced.commands)
    assert any(b"spawn" in command or b"worker" in command for command in scored.traced.commands)
    assert find(TELLING, b"\n".join(scored.traced.commands)) == []
