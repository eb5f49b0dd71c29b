"""`avpenet score` from the first run to the tenth: what it writes, what it reuses, what it refuses."""

from __future__ import annotations

import csv
import hashlib
import json
import os
import resource
import shutil
import stat
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

from avpenet_cli.runs.device import choose_precision
from avpenet_cli.settings import RunSettings, to_dict
from tests.conftest import Answer, ClipMaker

Avpenet = Callable[..., Answer]

NOTICE = "UNTRAINED weights: these scores mean nothing and must not be used"


def rows(table: Path) -> list[dict[str, str]]:
    with table.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def manifest(table: Path) -> dict[str, Any]:
    plain: dict[str, Any] = json.loads(table.with_suffix(".run.json").read_text(encoding="utf-8"))
    return plain


@dataclass(frozen=True)
class FirstRun:
    """One real run over three recordings; tests copy the folder and go on from there."""

    recordings: tuple[Path, ...]
    folder: Path
    answer: Answer

    def copy(self, folder: Path) -> Path:
        """The outputs in a folder of their own; returns the table."""
        shutil.copytree(self.folder, folder, dirs_exist_ok=True)
        return folder / "scores.csv"


@pytest.fixture(scope="module")
def first(clips: ClipMaker, avpenet_here: Avpenet, tmp_path_factory: pytest.TempPathFactory) -> FirstRun:
    archive = tmp_path_factory.mktemp("archive")
    made = {
        "cry.mp4": clips.face(4.6, "160x120", 10.0),
        "dumb.mp4": clips.face(1.6, "160x120", 10.0, audio=None),
        "moan.mp4": clips.brief("moan"),
    }
    for name, clip in made.items():
        shutil.copy(clip, archive / name)
    folder = tmp_path_factory.mktemp("first")
    mask = os.umask(0)
    try:
        answer = avpenet_here("score", archive, "--out", folder / "scores.csv", "--weights", "untrained")
    finally:
        os.umask(mask)
    assert answer.code == 0, answer.err
    return FirstRun(tuple(archive / name for name in made), folder, answer)


def test_run_leaves_only_its_documented_files(first: FirstRun) -> None:
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in first.folder.iterdir()}
    endings = ("", ".history.jsonl", ".journal", ".lock")
    own = [*(f"scores.csv{ending}" for ending in endings), "scores.recordings.csv", "scores.run.json"]
    assert modes == dict.fromkeys(own, 0o600)


def test_standard_output_stays_empty(first: FirstRun) -> None:
    assert first.answer.out == ""
    assert "\x1b" not in first.answer.err
    assert first.answer.last_line.startswith("avpenet: 3 recordings, 0 failed; 0.1 min scored in ")
    assert first.answer.last_line.endswith("; 4 segments: 3 audio+face, 1 unscorable")
    assert "cpu" in first.answer.err or "cuda" in first.answer.err


def test_every_segment_has_a_row(first: FirstRun) -> None:
    table = rows(first.folder / "scores.csv")
    assert [(row["recording"], row["segment"], row["status"]) for row in table] == [
        ("cry.mp4", "0", "scored"),
        ("cry.mp4", "1", "scored"),
        ("dumb.mp4", "0", "unscorable"),
        ("moan.mp4", "0", "scored"),
    ]
    dumb = table[2]
    assert (dumb["reason"], dumb["score"], dumb["label"]) == ("no_audio", "", "")
    assert dumb["voiced"] == dumb["snr_db"] == dumb["level_dbfs"] == ""
    assert dumb["flags"] == "small_face no_audio short_tail"
    for row in table:
        assert row["score_sd"] == row["score_lo"] == row["score_hi"] == ""
        assert float(row["face_rate"]) > 0.25
        assert row["faces"] == "1"
    for row in (table[0], table[1], table[3]):
        assert 0 < float(row["score"]) < 10
        assert row["label"] in {"low", "moderate", "high"}


def test_every_untrained_score_is_marked(first: FirstRun) -> None:
    assert first.answer.err.count(NOTICE) == 1
    assert manifest(first.folder / "scores.csv")["notice"] == NOTICE
    assert all(row["weights"].endswith(" untrained") for row in rows(first.folder / "scores.csv"))


def test_manifest_certifies_the_table(first: FirstRun) -> None:
    content = manifest(first.folder / "scores.csv")
    digest = hashlib.sha256((first.folder / "scores.csv").read_bytes()).hexdigest()
    assert content["table"] == {
        "file": "scores.csv",
        "sha256": digest,
        "rows": 4,
        "schema_version": 2,
        "escaped_names": 0,
    }
    assert content["settings"] == to_dict(RunSettings())
    assert {"avpenet", "python", "platform", "ffmpeg", "torch", "facenet-pytorch"} <= content["software"].keys()
    assert "absent" not in content["software"].values()
    assert content["weights"]["digest"][:12] in rows(first.folder / "scores.csv")[0]["weights"]
    assert content["weights"]["cut_points"] == [3.0, 6.0]
    assert content["totals"]["modalities"] == {"audio+face": 3}
    assert content["recorded_at"] == {"source": "container", "known": 0, "unknown": 3}
    assert content["totals"]["recordings"] == {"scored": 2, "unscorable": 1}
    assert [recording["recording"] for recording in content["recordings"]] == ["cry.mp4", "dumb.mp4", "moan.mp4"]
    assert [recording["orientation_deg"] for recording in content["recordings"]] == [0, 0, 0]


def test_recordings_table_agrees_with_the_manifest(first: FirstRun) -> None:
    content = manifest(first.folder / "scores.csv")
    path = first.folder / "scores.recordings.csv"
    (entry,) = content["summaries"]
    assert (entry["file"], entry["rows"]) == (path.name, 3)
    assert entry["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    for row, recording in zip(rows(path), content["recordings"], strict=True):
        assert [row["recording"], row["status"]] == [recording["recording"], recording["status"]]
        assert float(row["nominal_s"]) == recording["balance_s"]["nominal_s"]
        assert int(row["audio_face"]) == recording["modalities"].get("audio+face", 0)
        assert int(row["segments"]) == sum(recording["segments"].values())
    assert [row["unscorable_reasons"] for row in rows(path)] == ["", "no_audio", ""]


def test_every_second_is_in_the_balance(first: FirstRun) -> None:
    for recording, seconds in zip(manifest(first.folder / "scores.csv")["recordings"], (4.6, 1.6, 1.6), strict=True):
        balance = recording["balance_s"]
        accounted = balance["scored_s"] + sum(balance["unscorable_s"].values()) + balance["undecodable_s"]
        assert balance["nominal_s"] == pytest.approx(accounted, abs=0.1)
        assert balance["nominal_s"] == pytest.approx(seconds, abs=0.15)


def test_second_run_reuses_every_recording(first: FirstRun, avpenet_here: Avpenet, tmp_path: Path) -> None:
    out = first.copy(tmp_path)
    before = out.read_bytes()
    other_machine = ["--batch-size", "3", "--device", "cpu"]
    again = avpenet_here("score", *first.recordings, "--out", out, "--weights", "untrained", *other_machine)
    assert again.code == 0
    assert again.err.count("scored by an earlier run") == 3
    assert out.read_bytes() == before
    assert all(recording["from_earlier_run"] for recording in manifest(out)["recordings"])


def test_times_are_added_to_a_finished_table_without_scoring(
    first: FirstRun, avpenet_here: Avpenet, tmp_path: Path
) -> None:
    out, times = first.copy(tmp_path), tmp_path / "times.csv"
    times.write_text("recording,recorded_at,clock_offset_s\ncry.mp4,2026-03-04T10:15:00+01:00,60\n")
    command = ["score", *first.recordings, "--out", out, "--weights", "untrained", "--recorded-at"]
    again = avpenet_here(*command, times)
    assert again.code == 0
    assert again.err.count("scored by an earlier run") == 3
    assert "2 recordings without recorded_at: not known from table times.csv" in again.err
    assert [row["recorded_at"] for row in rows(out)] == [
        "2026-03-04T10:14:00.000+01:00",
        "2026-03-04T10:14:03.000+01:00",
        "",
        "",
    ]
    source = manifest(out)["recorded_at"]
    assert source.pop("source").startswith("table times.csv (sha256 ")
    assert source == {"known": 1, "unknown": 2}
    assert avpenet_here(*command, "none").code == 0
    assert out.read_bytes() == (first.folder / "scores.csv").read_bytes()


@pytest.mark.parametrize("modalities", ["sound", "audio,faces", "", "audio+face"])
def test_modalities_that_do_not_exist_cannot_be_required(modalities: str, avpenet_here: Avpenet) -> None:
    refused = avpenet_here("score", "a.mp4", "--require", modalities, "--dry-run")
    assert refused.code == 2
    assert refused.last_line.endswith(f"--require {modalities}: no such modality; use audio, face or audio,face")


def test_rows_are_in_input_order(first: FirstRun, avpenet_here: Avpenet, tmp_path: Path) -> None:
    out = first.copy(tmp_path)
    backwards = first.recordings[::-1]
    assert avpenet_here("score", *backwards, "--out", out, "--weights", "untrained").code == 0
    assert [row["recording"] for row in rows(out)] == ["moan.mp4", "dumb.mp4", "cry.mp4", "cry.mp4"]


def test_recording_that_is_no_input_leaves_the_table(first: FirstRun, avpenet_here: Avpenet, tmp_path: Path) -> None:
    out = first.copy(tmp_path)
    command = ["score", *first.recordings[:2], "--out", out, "--weights", "untrained"]
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    refused = avpenet_here(*command)
    assert refused.code == 2
    assert f"{out} would lose 1 recording that it holds: 1 not among the inputs" in refused.last_line
    assert "--prune" in refused.last_line
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    pruned = avpenet_here(*command, "--prune")
    assert pruned.code == 0
    assert "1 recording dropped from scores.csv (--prune)" in pruned.err
    assert {row["recording"] for row in rows(out)} == {"cry.mp4", "dumb.mp4"}
    # It is forgotten, so that the next night's run needs no --prune.
    assert avpenet_here(*command).code == 0


@pytest.mark.parametrize("options", [[], ["--prune"], ["--overwrite"]])
def test_finished_table_is_kept_when_no_input_exists(
    options: list[str], first: FirstRun, avpenet_here: Avpenet, tmp_path: Path
) -> None:
    out = first.copy(tmp_path / "out")
    share = tmp_path / "share"  # as it is while nothing is mounted there
    share.mkdir()
    before = {path.name: path.read_bytes() for path in out.parent.iterdir()}
    for inputs in ([tmp_path / "mistyped"], [share], [f"{tmp_path}/*.mp4"], [share / "1.mp4", share / "2.mp4"]):
        refused = avpenet_here("score", *inputs, "--out", out, "--weights", "untrained", *options)
        assert refused.code == 2
        assert "nothing to do, and nothing was changed: " in refused.last_line
        assert str(inputs[0]) in refused.last_line
        assert {path.name: path.read_bytes() for path in out.parent.iterdir()} == before


def test_table_keeps_a_recording_that_can_no_longer_be_read(
    first: FirstRun, avpenet_here: Avpenet, tmp_path: Path
) -> None:
    archive = tmp_path / "archive"
    archive.mkdir()
    for source in first.recordings[1:]:
        shutil.copy2(source, archive)
    (archive / "new.mp4").write_bytes(b"no recording")
    out = tmp_path / "scores.csv"
    files = [archive / name for name in ("dumb.mp4", "moan.mp4", "new.mp4")]
    command = ["score", *files, "--out", out, "--weights", "untrained"]
    assert avpenet_here(*command).code == 1
    before = out.read_bytes()
    (archive / "dumb.mp4").rename(tmp_path / "away.mp4")
    missing = avpenet_here(*command)
    assert missing.code == 2
    assert "would lose 1 recording that it holds: 1 missing or unreadable now (such as dumb.mp4)" in missing.last_line
    assert "failed: " not in missing.err
    # A file that is there, but is no recording any more, is noticed when it is read.
    (archive / "dumb.mp4").write_bytes(b"a copy that was cut off")
    unreadable = avpenet_here(*command)
    assert unreadable.code == 2
    assert "1 missing or unreadable now (such as dumb.mp4)" in unreadable.last_line
    assert "it is unchanged, and what is finished is in scores.partial.csv; " in unreadable.last_line
    assert out.read_bytes() == before
    states = [(row["recording"], row["status"]) for row in rows(tmp_path / "scores.partial.recordings.csv")]
    assert states == [("dumb.mp4", "failed"), ("moan.mp4", "scored"), ("new.mp4", "failed")]
    pruned = avpenet_here(*command, "--prune")
    assert pruned.code == 1
    assert {row["recording"] for row in rows(out)} == {"moan.mp4"}
    assert not list(tmp_path.glob("*.partial*"))
    shutil.move(tmp_path / "away.mp4", archive / "dumb.mp4")
    assert avpenet_here(*command).code == 1
    assert out.read_bytes() == before


def test_strict_run_exits_1_on_unscorable_segments(first: FirstRun, avpenet_here: Avpenet, tmp_path: Path) -> None:
    out = first.copy(tmp_path)
    strict = avpenet_here("score", *first.recordings, "--out", out, "--weights", "untrained", "--strict")
    assert strict.code == 1
    options = ["--weights", "untrained", "--strict", "--prune"]
    answer = avpenet_here("score", first.recordings[2], "--out", out, *options)
    assert answer.code == 0


@pytest.mark.slow
def test_changed_and_added_recordings_are_scored(first: FirstRun, avpenet_here: Avpenet, tmp_path: Path) -> None:
    archive = tmp_path / "archive"
    archive.mkdir()
    for source, name in zip(first.recordings[1:], ("a.mp4", "b.mp4"), strict=True):
        shutil.copy(source, archive / name)
    out = tmp_path / "scores.parquet"
    command = ["score", archive, "--out", out, "--weights", "untrained"]
    assert avpenet_here(*command).code == 0
    assert pd.read_parquet(out)["status"].tolist() == ["unscorable", "scored"]
    shutil.copy(first.recordings[2], archive / "a.mp4")
    shutil.copy(first.recordings[1], archive / "c.mp4")
    again = avpenet_here(*command)
    assert again.code == 0
    assert again.err.count("scored by an earlier run") == 1
    table = pd.read_parquet(out)
    assert table["status"].tolist() == ["scored", "scored", "unscorable"]
    assert table["score"][0] == table["score"][1]
    assert [recording["from_earlier_run"] for recording in manifest(out)["recordings"]] == [False, True, False]


def test_auto_precision_is_stored_as_what_it_means_on_this_machine(
    first: FirstRun, avpenet_here: Avpenet, tmp_path: Path
) -> None:
    """A run may be resumed on another machine, where `auto` means something else: precisions are never mixed."""
    meant = choose_precision("auto", torch.device("cpu"))
    other = "bfloat16" if meant == "float32" else "float32"
    out = tmp_path / "scores.csv"
    options = ("--out", out, "--weights", "untrained", "--device", "cpu", "--precision")
    made = avpenet_here("score", first.recordings[2], *options, "auto")
    assert f"scoring 1 recording on cpu in {meant}" in made.err
    assert manifest(out)["settings"]["precision"] == meant
    assert "scored by an earlier run" in avpenet_here("score", first.recordings[2], *options, meant).err
    refused = avpenet_here("score", first.recordings[2], *options, other)
    assert refused.code == 2
    assert f'precision was "{meant}", now "{other}"' in refused.last_line


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (["--stride", "1"], "stride_s was 3.0, now 1.0"),
        (["--mc-samples", "5"], "mc_samples was 0, now 5"),
        (["--precision", "bfloat16"], "precision was"),
        (["--pseudonymise", "KEY"], "recordings' names was"),
    ],
)
def test_other_settings_are_refused_by_name(
    options: list[str], named: str, first: FirstRun, avpenet_here: Avpenet, tmp_path: Path
) -> None:
    out = first.copy(tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    key = tmp_path / "key"
    key.write_bytes(b"0123456789abcdef")
    key.chmod(0o600)
    options = [str(key) if option == "KEY" else option for option in options]
    refused = avpenet_here("score", *first.recordings, "--out", out, "--weights", "untrained", *options)
    assert refused.code == 2
    assert refused.last_line.startswith(f"avpenet: {out} was made with other weights or settings: ")
    assert named in refused.last_line
    assert "--overwrite" in refused.last_line
    key.unlink()
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_overwrite_starts_over(first: FirstRun, avpenet_here: Avpenet, tmp_path: Path) -> None:
    out = first.copy(tmp_path)
    for leftover in (".scores.csv.x1.tmp", ".scores.run.json.x2.tmp", ".scores.csv.holder.x3.tmp"):
        (tmp_path / leftover).touch()
    (tmp_path / ".other.csv.x4.tmp").touch()
    command = ["score", first.recordings[2], "--out", out, "--weights", "untrained", "--overwrite", "--mc-samples", "9"]
    assert avpenet_here(*command).code == 0
    (row,) = rows(out)
    assert float(row["score_lo"]) <= float(row["score_hi"])
    assert float(row["score_sd"]) > 0
    assert {path.name for path in tmp_path.iterdir()} == {
        ".other.csv.x4.tmp",
        "scores.csv",
        "scores.csv.history.jsonl",
        "scores.csv.journal",
        "scores.csv.lock",
        "scores.recordings.csv",
        "scores.run.json",
    }


def test_table_without_journal_is_kept(first: FirstRun, avpenet_here: Avpenet, tmp_path: Path) -> None:
    out = tmp_path / "scores.csv"
    out.write_text("someone else's")
    refused = avpenet_here("score", first.recordings[2], "--out", out, "--weights", "untrained")
    assert (refused.code, out.read_text()) == (2, "someone else's")
    assert "exists, but not its journal" in refused.last_line


def test_two_tables_never_share_a_manifest(first: FirstRun, avpenet_here: Avpenet, tmp_path: Path) -> None:
    first.copy(tmp_path)
    refused = avpenet_here("score", *first.recordings, "--out", tmp_path / "scores.jsonl", "--weights", "untrained")
    assert refused.code == 2
    assert "scores.run.json belongs to scores.csv" in refused.last_line
    assert not (tmp_path / "scores.jsonl").exists()


@pytest.mark.parametrize(
    ("room_bytes", "message"),
    [
        (2000, "{}/scores.csv.journal cannot be read or written: disk I/O error; check the disk, your quota"),
        (50, "no space left to write {}/"),
    ],
)
def test_full_disk_leaves_the_old_output_whole(
    room_bytes: int, message: str, first: FirstRun, avpenet_here: Avpenet, tmp_path: Path
) -> None:
    out = first.copy(tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (room_bytes, limit[1]))
    try:
        full = avpenet_here("score", *first.recordings, "--out", out, "--weights", "untrained")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    assert full.code == 3
    assert full.last_line.startswith(f"avpenet: {message.format(tmp_path)}")
    assert "Traceback" not in full.err
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_full_disk_leaves_no_torn_journal(first: FirstRun, avpenet_here: Avpenet, tmp_path: Path) -> None:
    command = ["score", first.recordings[2], "--out", tmp_path / "scores.csv", "--weights", "untrained"]
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, limit[1]))
    try:
        full = avpenet_here(*command)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    assert full.code == 3
    assert "cannot be read or written: disk I/O error" in full.last_line
    assert avpenet_here(*command).code == 0


def test_run_survives_a_log_that_cannot_be_written(first: FirstRun, avpenet_here: Avpenet, tmp_path: Path) -> None:
    out = first.copy(tmp_path)
    command = ["score", *first.recordings, "--out", out, "--weights", "untrained", "--log-file", "/dev/full"]
    answer = avpenet_here(*command)
    assert answer.code == 0
    assert answer.err.count("the log file /dev/full cannot be written") == 1
    assert "Traceback" not in answer.err


@pytest.mark.parametrize("damage", [b"\0\1\2" * 3000, None])
def test_damaged_journal_gets_one_line(
    damage: bytes | None, first: FirstRun, avpenet_here: Avpenet, tmp_path: Path
) -> None:
    out = first.copy(tmp_path)
    journal = tmp_path / "scores.csv.journal"
    journal.write_bytes(damage or journal.read_bytes()[:-5000])
    refused = avpenet_here("score", *first.recordings, "--out", out, "--weights", "untrained")
    assert refused.code == 2
    assert f"the journal {journal} is damaged" in refused.last_line
    assert "Traceback" not in refused.err
    assert out.read_bytes() == (first.folder / "scores.csv").read_bytes()


def test_settings_file_is_applied(first: FirstRun, avpenet_here: Avpenet, tmp_path: Path) -> None:
    config = tmp_path / "site.toml"
    config.write_text("mc_samples = 3\nstride_s = 1\n[quality]\nsmall_face_px = 9\n[decoding]\nqueue_frames = 2\n")
    out = tmp_path / "scores.jsonl"
    command = ["score", first.recordings[2], "--weights", "untrained", "--config", config, "--stride", "1.5"]
    assert avpenet_here(*command, "--out", out).code == 0
    settings = manifest(out)["settings"]
    # The command line goes over the file.
    assert (settings["mc_samples"], settings["stride_s"], settings["quality"]["small_face_px"]) == (3, 1.5, 9)
    assert settings["decoding"]["queue_frames"] == 2
    (row,) = [json.loads(line) for line in out.read_text().splitlines()]
    assert "short_tail" in row["flags"]
    assert "small_face" not in row["flags"]
    assert row["score_lo"] <= row["score_hi"]
