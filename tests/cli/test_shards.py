"""`score --shard`: a run of its own for each part, which scores every recording once."""

from __future__ import annotations

import csv
import json
import os
import random
import shutil
import signal
import stat
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from avpenet_cli.runs.lock import output_lock
from tests.conftest import Answer, ClipMaker
from tests.support.starter import open_starter

Avpenet = Callable[..., Answer]

KILLS = 3
SEED = 7


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def recordings_of(shard: str, folder: Path) -> dict[str, str]:
    """Names and statuses in a shard's table of recordings."""
    return {row["recording"]: row["status"] for row in rows(folder / f"scores.shards/{shard}.recordings.csv")}


@dataclass(frozen=True)
class Sharded:
    """An archive in two shards, both scored; a test that changes something copies it."""

    archive: Path
    folder: Path
    answers: list[Answer]

    def copied(self, to: Path) -> Path:
        """A copy of the outputs; the archive stays where it is."""
        shutil.copytree(self.folder, to, dirs_exist_ok=True)
        return to / "scores.csv"


def make_archive(clips: ClipMaker, folder: Path) -> Path:
    archive = folder / "an archive"
    archive.mkdir()
    for name, clip in {"cry.mp4": clips.brief(), "ward 3/moan.mp4": clips.brief("moan")}.items():
        (archive / name).parent.mkdir(exist_ok=True)
        shutil.copy(clip, archive / name)
    (archive / "broken.mp4").write_bytes(b"no recording at all")
    return archive


def command(archive: Path, out: Path, shard: str | None, *options: str) -> list[str]:
    part = [] if shard is None else ["--shard", shard]
    return ["score", str(archive), "--recursive", "--out", str(out), "--weights", "untrained", *part, *options]


@pytest.fixture(scope="module")
def sharded(clips: ClipMaker, avpenet_here: Avpenet, tmp_path_factory: pytest.TempPathFactory) -> Sharded:
    archive = make_archive(clips, tmp_path_factory.mktemp("archive"))
    folder = tmp_path_factory.mktemp("an output")
    mask = os.umask(0)
    try:
        shards = [avpenet_here(*command(archive, folder / "scores.csv", shard)) for shard in ("1/2", "2/2")]
    finally:
        os.umask(mask)
    return Sharded(archive, folder, shards)


def test_every_recording_is_in_the_tables_of_one_shard(sharded: Sharded) -> None:
    first, second = (recordings_of(shard, sharded.folder) for shard in ("1-of-2", "2-of-2"))
    assert first | second == {"broken.mp4": "failed", "cry.mp4": "scored", "ward 3/moan.mp4": "scored"}
    assert len(first) + len(second) == 3
    # The one that cannot be read fails in its shard alone.
    assert [answer.code for answer in sharded.answers] == [int("broken.mp4" in part) for part in (first, second)]
    for number, part in enumerate((first, second), start=1):
        table = rows(sharded.folder / f"scores.shards/{number}-of-2.csv")
        assert {row["recording"] for row in table} == set(part) - {"broken.mp4"}
        assert f"shard {number} of 2: {len(part)} of 3 recordings" in sharded.answers[number - 1].err


def test_shards_leave_only_their_documented_files(sharded: Sharded) -> None:
    assert [path.name for path in sharded.folder.iterdir()] == ["scores.shards"]
    folder = sharded.folder / "scores.shards"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    endings = ("csv", "csv.history.jsonl", "csv.journal", "csv.lock", "recordings.csv", "run.json")
    own = [f"{number}-of-2.{ending}" for number in (1, 2) for ending in endings]
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()}
    assert modes == dict.fromkeys([*own, "plan.json", "plan.json.lock"], 0o600)


def test_manifest_of_a_shard_has_the_command_as_it_was_given(sharded: Sharded) -> None:
    manifest = json.loads((sharded.folder / "scores.shards/2-of-2.run.json").read_text())
    options = "--out scores.csv --weights untrained --recursive --shard 2/2"
    assert sorted(manifest["command"].split(" --")) == sorted(f"avpenet score [1 input] {options}".split(" --"))
    assert manifest["table"]["file"] == "2-of-2.csv"


def test_shard_that_is_scored_is_not_scored_again(sharded: Sharded, avpenet_here: Avpenet, tmp_path: Path) -> None:
    out = sharded.copied(tmp_path)
    before = (tmp_path / "scores.shards/1-of-2.csv").read_bytes()
    again = avpenet_here(*command(sharded.archive, out, "1/2"))
    assert again.code == sharded.answers[0].code
    assert again.err.count("scored by an earlier run") == sharded.answers[0].err.count(" s in ")
    assert "reading the headers" not in again.err
    assert (tmp_path / "scores.shards/1-of-2.csv").read_bytes() == before


def test_dry_run_lists_the_part_and_changes_nothing(sharded: Sharded, avpenet_here: Avpenet, tmp_path: Path) -> None:
    for out in (sharded.copied(tmp_path / "with shards"), tmp_path / "none" / "scores.csv"):
        out.parent.mkdir(exist_ok=True)
        before = {path: path.stat().st_mtime_ns for path in out.parent.rglob("*")}
        for number in (1, 2):
            listed = avpenet_here(*command(sharded.archive, out, f"{number}/2", "--dry-run"))
            part = recordings_of(f"{number}-of-2", sharded.folder)
            assert [name for name in ("broken.mp4", "cry.mp4", "ward 3/moan.mp4") if name in listed.out] == list(part)
            assert f"{len(part)} recording" in listed.out
            assert listed.code == int("broken.mp4" in part)
        assert {path: path.stat().st_mtime_ns for path in out.parent.rglob("*")} == before


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--shard", "3/2"], "--shard 3/2 is no shard; give its number and how many there are, such as 3/16"),
        (["--shard", "1/3"], "is divided into 2 shards, not 3; choose another --out, or remove "),
        (["--shard", "1/2", "--stride", "1"], "has shards with other weights or settings: stride_s was 3.0, now 1.0"),
        (["--shard", "1/2", "--subjects", "x.csv"], "--shard with --subjects, which needs all shards; give it to avpe"),
        (["--shard", "1/2", "--baseline", "quiet"], "--shard with --baseline, which needs all shards; give it to avpe"),
        (["--shard", "1/2", "--calibration", "x.json"], "--shard with --calibration, which needs all shards; give it"),
        (["--shard", "1/2", "--csv-bom"], "--shard with --csv-bom, which needs all shards; give it to avpenet merge"),
        (["--shard", "1/2", "--embeddings", "x.csv"], "--embeddings x.csv: not a Parquet file"),
    ],
)
def test_what_no_shard_can_do_is_refused_in_one_line(
    options: list[str], message: str, sharded: Sharded, avpenet_here: Avpenet
) -> None:
    files = [path for path in sharded.folder.rglob("*") if path.is_file() and path.suffix != ".lock"]
    before = {path: path.stat().st_mtime_ns for path in files}
    answer = avpenet_here(*command(sharded.archive, sharded.folder / "scores.csv", None, *options))
    assert answer.code == 2
    assert message in answer.last_line
    assert {path: path.stat().st_mtime_ns for path in before} == before


def test_shard_without_output_is_refused(sharded: Sharded, avpenet_here: Avpenet) -> None:
    answer = avpenet_here("score", sharded.archive, "--shard", "1/2", "--dry-run")
    assert (answer.code, answer.last_line) == (
        2,
        "avpenet: --shard without --out; name the table that the shards make, e.g. --out scores.csv",
    )


def test_shard_that_is_being_scored_is_not_scored_twice(
    sharded: Sharded, avpenet_here: Avpenet, tmp_path: Path
) -> None:
    out = sharded.copied(tmp_path)
    with output_lock(tmp_path / "scores.shards/1-of-2.csv"):
        answer = avpenet_here(*command(sharded.archive, out, "1/2"))
        assert answer.code == 75
        assert f"1-of-2.csv is being written by process {os.getpid()} on " in answer.last_line
        assert avpenet_here(*command(sharded.archive, out, "2/2")).code == sharded.answers[1].code


def test_shard_without_recordings_ends_well(sharded: Sharded, avpenet_here: Avpenet, tmp_path: Path) -> None:
    answer = avpenet_here(*command(sharded.archive, tmp_path / "scores.csv", "5/5"))
    assert answer.code == 0, answer.err
    assert rows(tmp_path / "scores.shards/5-of-5.csv") == rows(tmp_path / "scores.shards/5-of-5.recordings.csv") == []
    assert json.loads((tmp_path / "scores.shards/5-of-5.run.json").read_text())["recordings"] == []
    assert avpenet_here(*command(sharded.archive, tmp_path / "scores.csv", "5/5")).code == 0


def test_shard_whose_recordings_all_are_missing_accounts_for_them(
    clips: ClipMaker, avpenet_here: Avpenet, tmp_path: Path
) -> None:
    listed = tmp_path / "list.txt"
    listed.write_text(f"{clips.brief()}\n{tmp_path / 'gone.mp4'}\n")
    options = ["--out", str(tmp_path / "scores.csv"), "--weights", "untrained", "--shard", "2/2"]
    answer = avpenet_here("score", "--files-from", listed, *options)
    assert answer.code == 1, answer.err
    (recording,) = rows(tmp_path / "scores.shards/2-of-2.recordings.csv")
    assert recording["recording"].endswith("gone.mp4")
    assert recording["status"] == "failed"
    listed.write_text(f"{tmp_path / 'gone.mp4'}\n")
    answer = avpenet_here("score", "--files-from", listed, *options, "--prune")
    assert answer.code == 2
    assert "nothing to do, and nothing was changed" in answer.last_line


def test_added_recording_is_scored_by_one_shard(sharded: Sharded, avpenet_here: Avpenet, tmp_path: Path) -> None:
    out = sharded.copied(tmp_path)
    added = sharded.archive / "added.mp4"
    added.write_bytes(b"torn as well")
    try:
        errors = [avpenet_here(*command(sharded.archive, out, shard)).err for shard in ("1/2", "2/2")]
    finally:
        added.unlink()
    tables = [recordings_of(shard, tmp_path) for shard in ("1-of-2", "2-of-2")]
    (extended,) = (number for number, table in enumerate(tables) if "added.mp4" in table)
    for number, shard in enumerate(("1-of-2", "2-of-2")):
        before = recordings_of(shard, sharded.folder)
        assert tables[number] == before | ({"added.mp4": "failed"} if number == extended else {})
        assert " s in " not in errors[number].replace("min scored in", "")


def test_recording_that_is_gone_is_dropped_only_when_asked(
    sharded: Sharded, avpenet_here: Avpenet, tmp_path: Path
) -> None:
    out = sharded.copied(tmp_path)
    (shard,) = (n for n in (1, 2) if "cry.mp4" in recordings_of(f"{n}-of-2", sharded.folder))
    cry, aside = sharded.archive / "cry.mp4", tmp_path / "aside.mp4"
    cry.rename(aside)
    try:
        before = {path: path.read_bytes() for path in (tmp_path / "scores.shards").iterdir()}
        for number in (1, 2):
            refused = avpenet_here(*command(sharded.archive, out, f"{number}/2"))
            assert refused.code == 2
            assert "would lose 1 recording that it holds: 1 not among the inputs (such as cry.mp4)" in refused.last_line
        assert {path: path.read_bytes() for path in before} == before
        # Another shard drops it from the plan; the one that holds it still has to be asked.
        assert avpenet_here(*command(sharded.archive, out, f"{3 - shard}/2", "--prune")).code in {0, 1}
        refused = avpenet_here(*command(sharded.archive, out, f"{shard}/2"))
        assert refused.code == 2
        assert "would lose 1 recording that it holds: 1 not among the inputs (such as cry.mp4)" in refused.last_line
        pruned = avpenet_here(*command(sharded.archive, out, f"{shard}/2", "--prune"))
        assert f"1 recording dropped from {shard}-of-2.csv (--prune)" in pruned.err
        assert "cry.mp4" not in recordings_of(f"{shard}-of-2", tmp_path)
    finally:
        aside.rename(cry)


def test_shards_whose_plan_is_lost_do_not_hold_a_recording_twice(
    sharded: Sharded, avpenet_here: Avpenet, tmp_path: Path
) -> None:
    out = sharded.copied(tmp_path)
    (shard,) = (n for n in (1, 2) if "cry.mp4" in recordings_of(f"{n}-of-2", sharded.folder))
    plan = json.loads((tmp_path / "scores.shards/plan.json").read_text())
    for item in plan["recordings"]:
        item["shard"] = 3 - item["shard"]
    (tmp_path / "scores.shards/plan.json").write_text(json.dumps(plan))
    refused = avpenet_here(*command(sharded.archive, out, f"{shard}/2"))
    assert refused.code == 2
    assert f"{shard}-of-2.csv holds 1 recording that the plan has given to another shard since" in refused.last_line


def test_table_of_times_is_matched_to_all_recordings(sharded: Sharded, avpenet_here: Avpenet, tmp_path: Path) -> None:
    out = sharded.copied(tmp_path)
    times = tmp_path / "times.csv"
    times.write_text("recording,recorded_at\ncry.mp4,2024-05-06 07:08:09\n")
    for number in (1, 2):
        answer = avpenet_here(*command(sharded.archive, out, f"{number}/2", "--recorded-at", str(times)))
        assert "not among the inputs" not in answer.err
        held = "cry.mp4" in recordings_of(f"{number}-of-2", tmp_path)
        assert ("2024-05-06T07:08:09" in (tmp_path / f"scores.shards/{number}-of-2.csv").read_text()) == held


def test_shards_and_runs_over_all_inputs_know_of_each_other(
    sharded: Sharded, avpenet_here: Avpenet, tmp_path: Path
) -> None:
    out = sharded.copied(tmp_path)
    whole = avpenet_here("score", sharded.archive / "broken.mp4", "--out", out, "--weights", "untrained")
    assert "scores.shards has 2 shards of scores.csv, which this run does not use: avpenet merge joins" in whole.err
    (shard,) = (n for n in (1, 2) if "cry.mp4" in recordings_of(f"{n}-of-2", sharded.folder))
    shutil.copy(tmp_path / f"scores.shards/{shard}-of-2.csv.journal", tmp_path / "scores.csv.journal")
    again = avpenet_here(*command(sharded.archive, out, f"{shard}/2"))
    assert "already has" not in again.err
    shutil.rmtree(tmp_path / "scores.shards")
    again = avpenet_here(*command(sharded.archive, out, f"{shard}/2"))
    assert "scores.csv already has scores of 1 recording of this shard, which scores them again" in again.err


def test_embeddings_of_a_shard_lie_beside_it(sharded: Sharded, avpenet_here: Avpenet, tmp_path: Path) -> None:
    embeddings = ["--embeddings", str(tmp_path / "vectors.parquet")]
    (shard,) = (n for n in (1, 2) if "cry.mp4" in recordings_of(f"{n}-of-2", sharded.folder))
    avpenet_here(*command(sharded.archive, tmp_path / "scores.csv", f"{shard}/2", *embeddings))
    assert [path.name for path in tmp_path.iterdir()] == ["scores.shards"]
    assert (tmp_path / f"scores.shards/{shard}-of-2.vectors.parquet").exists()
    assert (tmp_path / f"scores.shards/{shard}-of-2.vectors.parquet.journal").exists()


def test_names_appear_in_no_file_of_pseudonymised_shards(
    clips: ClipMaker, avpenet_here: Avpenet, tmp_path: Path
) -> None:
    archive = tmp_path / "Zebulon Quince"
    archive.mkdir()
    shutil.copy(clips.brief(), archive / "Xanthippe Yarrow.mp4")
    (archive / "Vashti Ulverston.mp4").write_bytes(b"torn")
    (archive / "letter to Dr.Osbert").touch()
    key = tmp_path / "key"
    key.write_bytes(b"one key of enough bytes")
    key.chmod(0o600)
    out = tmp_path / "out" / "scores.csv"
    out.parent.mkdir()
    gone = str(archive / "Thaddeus.mkv")
    for shard in ("1/2", "2/2"):
        answer = avpenet_here(*command(archive, out, shard, gone, "--pseudonymise", str(key), "--debug"))
        assert answer.code in {0, 1}, answer.err
    files = [path for path in out.parent.rglob("*") if path.is_file()]
    assert len(files) == 14
    for path in files:
        for name in (b"Zebulon", b"Quince", b"Xanth", b"Yarrow", b"Vasht", b"Ulver", b"Osber", b"Thadd"):
            assert name not in path.read_bytes(), (path, name)
    plain = avpenet_here(*command(archive, out, "1/2"))
    assert plain.code == 2
    assert 'recordings\' names was "pseudonyms", now "plain"' in plain.last_line


@pytest.mark.slow
def test_killed_shards_end_with_the_tables_of_unbroken_ones(sharded: Sharded, tmp_path: Path) -> None:
    out = tmp_path / "scores.csv"
    moments = random.Random(SEED)
    killed, whole_s = 0, 0.0
    with open_starter() as starter:
        starter(["score", "none", "--out", "none"])  # waits until the starter is ready
        for number in range(10 * KILLS):
            shard = f"{number % 2 + 1}/2"
            started = time.monotonic()
            limit_s = moments.uniform(0.0, 0.5) * whole_s if number else None
            status = starter(command(sharded.archive, out, shard), limit_s)
            assert status in {-signal.SIGKILL, 0, 1}
            whole_s = whole_s or time.monotonic() - started
            killed += status == -signal.SIGKILL
            if killed == KILLS:
                break
            if status >= 0:
                _start_over(out, shard)
        assert killed == KILLS
        codes = [starter(command(sharded.archive, out, shard)) for shard in ("1/2", "2/2")]
    assert codes == [answer.code for answer in sharded.answers]
    folder = tmp_path / "scores.shards"
    for name in ("1-of-2.csv", "1-of-2.recordings.csv", "2-of-2.csv", "2-of-2.recordings.csv"):
        assert (folder / name).read_bytes() == (sharded.folder / "scores.shards" / name).read_bytes()
    assert not list(folder.glob(".*"))


def _start_over(out: Path, shard: str) -> None:
    """A shard that is finished leaves nothing to kill."""
    number = shard.partition("/")[0]
    for path in out.with_suffix(".shards").glob(f"{number}-of-2.*"):
        path.unlink()
