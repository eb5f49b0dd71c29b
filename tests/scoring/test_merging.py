"""Shards put together: the bytes of a run over all recordings, or one message that says what is still to do."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sqlite3
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from avpenet_cli.errors import AvpenetError, OutputError, OutputLockedError, SettingsError, ShardsUnfinishedError
from avpenet_cli.inputs import Recording
from avpenet_cli.records import RecordingOutcome
from avpenet_cli.runs.callbacks import RunCallbacks
from avpenet_cli.runs.history_chain import read_chain
from avpenet_cli.runs.journal import Journal, journal_path
from avpenet_cli.runs.lock import output_lock
from avpenet_cli.scoring.merging import merge_scores
from avpenet_cli.scoring.request import MergeRequest, ScoreRequest
from avpenet_cli.verification.run import verify_files
from tests.support.shard_runs import FAILED, made_up, make_recordings, plan, requested, run, run_shard, settings_of

NAMES = ("a.wav", "=b.wav", "bad.wav", "d.wav", "e.wav", "f.wav", "g.wav")
WHEN_AND_WHERE = {"timing", "history", "shards", "command", "device", "host", "software"}


class Lines(RunCallbacks):
    def __init__(self) -> None:
        self.lines: list[str] = []

    def warning(self, message: str, **fields: object) -> None:
        self.lines.append(message)


@dataclass(frozen=True)
class Sharded:
    """An archive of which all three shards are finished."""

    folder: Path
    recordings: tuple[Recording, ...]

    @property
    def out(self) -> Path:
        return self.folder / "scores.csv"

    @property
    def shards(self) -> Path:
        return self.folder / "scores.shards"

    def request(self, *, without: int = 0, **options: Any) -> ScoreRequest:
        return requested(self.out, self.recordings[without:], **options)

    def journal(self, number: int) -> Path:
        return self.shards / f"{number}-of-3.csv.journal"

    def refused(self, kind: type[AvpenetError], **options: Any) -> str:
        """The message of a merge that changes nothing."""
        before = contents(self.folder)
        with pytest.raises(kind) as raised:
            merge_scores(MergeRequest(self.out, **options))
        assert type(raised.value) is kind
        assert "\n" not in str(raised.value)
        assert contents(self.folder) == before
        return str(raised.value)


def contents(folder: Path) -> dict[str, bytes]:
    """All files but locks."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.suffix not in (".lock", ".holder")
    }


def manifest(table: Path) -> dict[str, Any]:
    plain: dict[str, Any] = json.loads(table.with_suffix(".run.json").read_text())
    return plain


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Sharded:
    archive = tmp_path_factory.mktemp("archive")
    sharded = Sharded(tmp_path_factory.mktemp("sharded"), tuple(make_recordings(archive, NAMES)))
    for number in (3, 1, 2):
        run_shard(sharded.request(embeddings=sharded.folder / "e.parquet"), number, 3)
    return sharded


@pytest.fixture
def sharded(finished: Sharded, tmp_path: Path) -> Sharded:
    shutil.copytree(finished.folder, tmp_path / "copy")
    return Sharded(tmp_path / "copy", finished.recordings)


@pytest.mark.parametrize("suffix", [".csv", ".parquet", ".jsonl"])
def test_files_are_those_of_one_run(finished: Sharded, suffix: str, tmp_path: Path) -> None:
    subjects = tmp_path / "who.csv"
    subjects.write_text("recording,subject\n" + "".join(f"'{name},P{i // 2}\n" for i, name in enumerate(NAMES)))
    whole, merged = tmp_path / "whole", tmp_path / "merged"
    options: dict[str, Any] = {"subjects": subjects, "baseline": "quiet", "csv_bom": True, "recorded_at": "none"}
    for folder in (whole, merged):
        folder.mkdir()
        request = requested(folder / f"scores{suffix}", finished.recordings, embeddings=folder / "e.parquet")
        if folder is whole:
            run(replace(request, **options))
            continue
        for number in (1, 2, 3):
            run_shard(request, number, 3)
        merge_scores(MergeRequest(request.out, embeddings=request.embeddings, **options))
    names = {f"scores{suffix}", "scores.recordings.csv", "scores.subjects.csv", "e.parquet"}
    for name in names:
        assert (merged / name).read_bytes() == (whole / name).read_bytes(), name
        assert (merged / name).stat().st_mode & 0o777 == 0o600
    expected, stated = manifest(whole / "scores.csv"), manifest(merged / "scores.csv")
    assert {name: value for name, value in stated.items() if name not in WHEN_AND_WHERE} == {
        name: value for name, value in expected.items() if name not in WHEN_AND_WHERE
    }
    assert [entry["shard"] for entry in stated["shards"]] == ["1 of 3", "2 of 3", "3 of 3"]
    assert sum(entry["recordings"] for entry in stated["shards"]) == len(NAMES)


def test_merged_output_is_one_that_score_resumes_from(sharded: Sharded) -> None:
    merge_scores(MergeRequest(sharded.out))
    table = sharded.out.read_bytes()
    asked = []

    def outcome(recording: Recording) -> RecordingOutcome:
        asked.append(recording.name)
        return made_up(recording)

    run(sharded.request(), outcome)
    assert asked == ["bad.wav"], "only what failed is tried again"
    assert sharded.out.read_bytes() == table


def test_repeated_merge_takes_up_new_recordings(sharded: Sharded, tmp_path: Path) -> None:
    merge_scores(MergeRequest(sharded.out))
    first = sharded.out.read_text()
    merge_scores(MergeRequest(sharded.out))
    assert sharded.out.read_text() == first
    more = replace(sharded, recordings=(*sharded.recordings, *make_recordings(tmp_path, ["new.wav"])))
    (number,) = (item.shard for item in plan(more.request(), 3).recordings if item.name == "new.wav")
    said = more.refused(ShardsUnfinishedError)
    assert f"shard {number} of 3 has 1 of" in said
    assert said.endswith(f"give the command of these again: --shard {number}/3")
    run_shard(more.request(), number, 3)
    merge_scores(MergeRequest(more.out))
    assert more.out.read_text().startswith(first)
    assert "new.wav" in more.out.read_text()
    history = read_chain(more.out)
    assert [line.event for line in history.lines] == ["merge"] * 3
    assert [entry.file for entry in history.lines[-1].read] == [f"{k}-of-3.run.json" for k in (1, 2, 3)]


def test_says_in_one_message_what_is_still_to_do(sharded: Sharded) -> None:
    for path in sharded.shards.glob("2-of-3.*"):
        path.unlink()
    for path in sharded.shards.glob("3-of-3.*"):
        path.unlink()
    run_shard(sharded.request(), 3, 3, until=1)
    shard = {item.name: item.shard for item in plan(sharded.request(), 3).recordings}
    number = sum(value == 3 for value in shard.values())
    said = sharded.refused(ShardsUnfinishedError)
    assert said == (
        f"{sharded.shards} cannot be merged, and nothing was changed: shard 3 of 3 has {number - 1} of {number} "
        "recordings to do; shard 2 of 3 was not started; give the command of these again: --shard 2/3, --shard 3/3"
    )
    assert not sharded.out.exists()
    with output_lock(sharded.shards / "3-of-3.csv"):
        assert "shard 3 of 3 is being written by process" in sharded.refused(ShardsUnfinishedError)


def test_shard_that_is_being_written_is_waited_for(sharded: Sharded) -> None:
    with output_lock(sharded.shards / "1-of-3.csv"):
        said = sharded.refused(OutputLockedError)
    assert "shard 1 of 3 is being written by process" in said
    assert said.endswith("wait for them")


def test_journal_of_a_shard_that_starts_meanwhile_is_not_opened(sharded: Sharded) -> None:
    """On a share, opening it may roll back a transaction of the run that writes it."""
    with contextlib.ExitStack() as stack:

        class ShardStarts(RunCallbacks):
            def info(self, message: str, **fields: object) -> None:
                if message.startswith("merging"):
                    stack.enter_context(output_lock(sharded.shards / "2-of-3.csv"))
                    sharded.journal(2).rename(sharded.folder / "elsewhere")

        with pytest.raises(OutputLockedError, match="shard 2 of 3 was started while it was merged"):
            merge_scores(MergeRequest(sharded.out), ShardStarts())
    assert not sharded.out.exists()


def test_interrupted_before_its_table_is_unfinished(sharded: Sharded) -> None:
    with contextlib.closing(sqlite3.connect(sharded.journal(1))) as database, database:
        database.execute("DELETE FROM latest_run WHERE name = 'finished'")
    assert "shard 1 of 3 was interrupted before it wrote its table" in sharded.refused(ShardsUnfinishedError)


def test_foreign_shards_are_named(sharded: Sharded) -> None:
    (sharded.shards / "2-of-8.csv").write_text("recording\n")
    assert "2-of-8.csv is of no shard of 3" in sharded.refused(OutputError)
    (sharded.shards / "2-of-8.csv").unlink()
    shutil.copy(sharded.journal(2), sharded.journal(1))
    said = sharded.refused(OutputError)
    assert "shard 1 of 3 holds" in said and "of shard 2" in said


def test_other_settings_are_named(sharded: Sharded) -> None:
    with contextlib.closing(sqlite3.connect(sharded.journal(2))) as database, database:
        database.execute("UPDATE run SET value = '1.0' WHERE name = 'stride_s'")
    assert "shard 2 of 3 has other weights or settings: stride_s was 3.0, now 1.0" in sharded.refused(OutputError)


@pytest.mark.parametrize("damage", [b"no database", b""])
def test_damaged_shard_is_named(sharded: Sharded, damage: bytes) -> None:
    content = sharded.journal(3).read_bytes()
    sharded.journal(3).write_bytes(damage or content[:4096] + bytes(len(content) - 4096))
    said = sharded.refused(OutputError)
    assert "shard 3 of 3 cannot be read: the journal" in said and "is damaged" in said


def test_manifest_of_another_run_is_no_proof(sharded: Sharded) -> None:
    path = sharded.shards / "2-of-3.run.json"
    stated = json.loads(path.read_text())
    path.write_text(json.dumps(stated | {"timing": stated["timing"] | {"finished": "2020-01-01T00:00:00+00:00"}}))
    assert "shard 2 of 3 has a manifest of another run" in sharded.refused(ShardsUnfinishedError)
    path.unlink()
    assert "shard 2 of 3 has lost its manifest" in sharded.refused(ShardsUnfinishedError)


def test_weights_that_are_not_those_of_the_plan_are_refused(sharded: Sharded) -> None:
    path = sharded.shards / "1-of-3.run.json"
    stated = json.loads(path.read_text())
    path.write_text(json.dumps(stated | {"weights": stated["weights"] | {"licence": "none"}}))
    assert "was altered: its weights are not those of the plan" in sharded.refused(OutputError)


def test_nothing_is_dropped_without_prune(sharded: Sharded) -> None:
    merge_scores(MergeRequest(sharded.out))
    fewer = sharded.request(without=1)
    plan(fewer, 3, prune=True)
    said = sharded.refused(OutputError)
    assert "holds 1 recording not in the plan (such as a.wav), which --prune leaves out" in said
    merge_scores(MergeRequest(sharded.out, prune=True))
    assert "a.wav" not in sharded.out.read_text()
    with contextlib.closing(Journal(sharded.out, settings_of(fewer))) as journal:
        assert len(journal.held()) == len(NAMES) - 2


def test_recordings_of_the_table_that_no_shard_has_are_not_dropped(sharded: Sharded, tmp_path: Path) -> None:
    more = (*sharded.recordings, *make_recordings(tmp_path, ["new.wav"]))
    run(requested(sharded.out, more))
    said = sharded.refused(OutputError)
    assert "would lose 1 recording that it holds and no shard has (such as new.wav); it is unchanged" in said


def test_recording_that_the_table_holds_and_that_failed_in_its_shard_is_kept(sharded: Sharded) -> None:
    run(sharded.request(), lambda recording: made_up(replace(recording, name="x")))
    said = sharded.refused(OutputError)
    assert "would lose 1 recording that it holds: 1 missing or unreadable now (such as bad.wav)" in said


def test_recording_that_the_table_holds_of_a_later_file_is_kept(sharded: Sharded, tmp_path: Path) -> None:
    (path,) = (item.path for item in make_recordings(tmp_path, ["a.wav"]))
    os.utime(path, (4e9, 4e9))
    run(requested(sharded.out, (replace(sharded.recordings[0], path=path), *sharded.recordings[1:])))
    said = sharded.refused(OutputError)
    assert "holds 1 recording of later files than the shards scored (such as a.wav); it is unchanged" in said


def test_table_of_other_settings_or_without_journal_is_refused(sharded: Sharded) -> None:
    run(sharded.request(), settings=settings_of(sharded.request()) | {"stride_s": 1.0})
    said = sharded.refused(OutputError)
    assert "was made with other weights or settings: stride_s was 1.0, now 3.0; move scores.csv" in said
    journal_path(sharded.out).unlink()
    assert "exists, but not its journal" in sharded.refused(OutputError)


def test_recordings_that_all_failed_are_accounted_for(tmp_path: Path) -> None:
    request = requested(tmp_path / "scores.csv", make_recordings(tmp_path, ["a.wav", "b.wav"]))
    for number in (1, 2, 3):
        run_shard(request, number, 3, lambda recording: FAILED)
    assert merge_scores(MergeRequest(request.out)).failed == 2


def test_without_shards_says_so(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="has no shards"):
        merge_scores(MergeRequest(tmp_path / "scores.csv"))


def test_embeddings_that_a_shard_lacks_are_named(sharded: Sharded) -> None:
    said = sharded.refused(ShardsUnfinishedError, embeddings=sharded.folder / "other.parquet")
    assert "shard 1 of 3 was scored without --embeddings other.parquet" in said


def test_versions_that_differ_are_said(sharded: Sharded) -> None:
    path = sharded.shards / "2-of-3.run.json"
    stated = json.loads(path.read_text())
    path.write_text(json.dumps(stated | {"software": stated["software"] | {"torch": "0.1"}}))
    lines = Lines()
    merge_scores(MergeRequest(sharded.out), lines)
    assert any("different versions of torch" in line and "shard 2 of 3 with 0.1" in line for line in lines.lines)


def test_manifest_with_facts_of_a_later_version_is_read_and_one_without_facts_is_not(sharded: Sharded) -> None:
    path = sharded.shards / "2-of-3.run.json"
    stated = json.loads(path.read_text())
    path.write_text(json.dumps(stated | {"host": {}}))
    assert "shard 2 of 3 has a manifest that cannot be read, 2-of-3.run.json" in sharded.refused(ShardsUnfinishedError)
    path.write_text(json.dumps(stated | {"host": stated["host"] | {"accelerators": 2}}))
    merge_scores(MergeRequest(sharded.out))
    assert manifest(sharded.out)["shards"][1]["host"] == stated["host"]


@pytest.mark.parametrize("pseudonymised", [False, True])
def test_times_of_shards_that_the_merge_has_not_are_said(tmp_path: Path, pseudonymised: bool) -> None:
    recordings = make_recordings(tmp_path, ["a.wav"], pseudonyms=pseudonymised)
    shards, default = ("container", "none") if pseudonymised else ("none", "container")
    request = requested(tmp_path / "scores.csv", recordings, pseudonymised=pseudonymised, recorded_at=shards)
    run_shard(request, 1, 1)
    lines, kept = Lines(), Lines()
    merge_scores(MergeRequest(request.out), lines)
    assert lines.lines == [
        f"recorded_at of shards: {shards}; of this merge: {default}; give --recorded-at again to keep it"
    ]
    merge_scores(MergeRequest(request.out, recorded_at=shards), kept)
    assert not kept.lines


def test_no_name_is_written_under_pseudonyms(tmp_path: Path) -> None:
    (tmp_path / "ward").mkdir()
    recordings = make_recordings(tmp_path / "ward", ["mary.wav", "paul.wav"], pseudonyms=True)
    out = tmp_path / "out" / "scores.csv"
    out.parent.mkdir()
    request = requested(out, recordings, pseudonymised=True)
    for number in (1, 2):
        run_shard(request, number, 2)
    merge_scores(MergeRequest(out, command="avpenet merge --subjects mary.csv", private_command="avpenet merge"))
    for name, content in contents(out.parent).items():
        assert not any(word in content for word in (b"mary", b"paul", b"ward")), name
    with pytest.raises(SettingsError, match="pseudonymised shards hold no names of files"):
        merge_scores(MergeRequest(out, recorded_at="name:%Y%m%d_%H"))
    with pytest.raises(SettingsError, match="hold times only if they were scored with it"):
        merge_scores(MergeRequest(out, recorded_at="container"))


def test_verify_follows_shards(sharded: Sharded) -> None:
    merge_scores(MergeRequest(sharded.out))

    def states() -> set[tuple[str, str]]:
        (root,) = verify_files((sharded.out,), (), None).files
        return {(node.name, node.state) for node in root.walk() if node.content == "shard"}

    assert states() == {(f"{k}-of-3.run.json", "intact") for k in (1, 2, 3)}
    run_shard(sharded.request(), 1, 3)
    assert ("1-of-3.run.json", "intact") in states(), "it has run again since"
    (sharded.shards / "2-of-3.run.json").write_text("{}")
    assert ("2-of-3.run.json", "altered") in states()
    shutil.rmtree(sharded.shards)
    assert {state for _, state in states()} == {"not checked"}
