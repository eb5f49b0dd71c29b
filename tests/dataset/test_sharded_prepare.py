"""Shards of a store: merged they are the store of one run, to the byte, or their merge says what is missing."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from avpenet_cli.dataset.merging import StoreMergeRequest, merge_store
from avpenet_cli.dataset.prepare import PrepareSettings
from avpenet_cli.dataset.record import STORE_FILE
from avpenet_cli.dataset.run import PrepareRequest, PrepareResult, prepare_dataset
from avpenet_cli.dataset.shard_records import read_shard_record, shard_record_path
from avpenet_cli.dataset.sharded import prepare_shard
from avpenet_cli.dataset.store import SegmentStore
from avpenet_cli.errors import (
    AvpenetError,
    ExitCode,
    OutputError,
    OutputLockedError,
    SettingsError,
    ShardsUnfinishedError,
)
from avpenet_cli.runs.history_chain import read_chain
from avpenet_cli.runs.lock import output_lock
from avpenet_cli.shards.plan import read_plan
from avpenet_cli.shards.shard import Shard, shard_output, shards_folder
from tests.conftest import REPOSITORY, ClipMaker

NAMES = ("0 bad.mp4", "1.mp4", "2.mp4", "3.mp4", "4.mp4")
RATINGS = "recording,time_s,value\n1.mp4,0,7\n2.mp4,0,2\n3.mp4,0,5\n4.mp4,0,9\n0 bad.mp4,0,1\n"
SUBJECTS = "recording,subject,site\n" + "".join(
    f"{name},s{number},A\n" for number, name in enumerate((*NAMES, "5.mp4"))
)
SHARDS = tuple(Shard(number, 3) for number in (1, 2, 3))
SETTINGS = PrepareSettings(device="cpu", split=(0.5, 0.25, 0.25))


@pytest.fixture(scope="module")
def archive(clips: ClipMaker, tmp_path_factory: pytest.TempPathFactory) -> PrepareRequest:
    """Four phantoms, and a file that is no recording."""
    folder = tmp_path_factory.mktemp("sharded")
    recordings = folder / "archive"
    recordings.mkdir()
    (recordings / "0 bad.mp4").write_bytes(b"no recording")
    sources = clips.brief(), clips.brief("moan", 1.8), clips.brief("cry", 2.0), clips.brief("moan", 1.6)
    for name, source in zip(NAMES[1:], sources, strict=True):
        shutil.copy(source, recordings / name)
    (recordings / "phantoms.json").write_text("{}")
    (folder / "ratings.csv").write_text(RATINGS)
    (folder / "subjects.csv").write_text(SUBJECTS)
    tables = folder / "ratings.csv", folder / "subjects.csv"
    return PrepareRequest((str(recordings),), *tables, folder / "store", SETTINGS)


@pytest.fixture(scope="module")
def whole(archive: PrepareRequest) -> Path:
    """The store of one run over all recordings."""
    prepare_dataset(archive)
    return archive.out


@pytest.fixture(scope="module")
def prepared(archive: PrepareRequest, tmp_path_factory: pytest.TempPathFactory) -> PrepareRequest:
    """A store whose shards are prepared and not merged."""
    request = dataclasses.replace(archive, out=tmp_path_factory.mktemp("shards") / "store")
    for shard in reversed(SHARDS):
        prepare_shard(request, shard)
    return request


@pytest.fixture
def request_(prepared: PrepareRequest, tmp_path: Path) -> PrepareRequest:
    """The same, to be altered."""
    request = dataclasses.replace(prepared, out=tmp_path / "store")
    shutil.copytree(prepared.out, request.out)
    shutil.copytree(shards_folder(prepared.out), shards_folder(request.out))
    return request


def _merge(request: PrepareRequest, **changes: Any) -> PrepareResult:
    return merge_store(dataclasses.replace(StoreMergeRequest(request.out), **changes))


def _bytes(store: Path) -> dict[str, bytes]:
    """The files of the store, except for the lock's and the history, which has times."""
    paths = sorted(path for path in store.rglob("*") if path.is_file() and not re.search("lock|history", path.name))
    return {str(path.relative_to(store)): path.read_bytes() for path in paths}


def test_merged_shards_are_the_store_of_one_run_to_the_byte(request_: PrepareRequest, whole: Path) -> None:
    with pytest.raises(SettingsError, match="is not finished"):
        SegmentStore.open(request_.out)
    for _ in range(2):  # a merge can be repeated
        (request_.out / "index.parquet").write_bytes(b"of a merge that was killed before it wrote store.json")
        result = _merge(request_)
        assert _bytes(request_.out) == _bytes(whole)
    # The recording that cannot be prepared is accounted for.
    assert [item.failure is not None for item in result.recordings] == [True, False, False, False, False]
    store = SegmentStore.open(request_.out)
    assert store.record.recordings[0].status == "failed"
    assert "not a recording" in store.record.recordings[0].message
    assert "PHANTOMS" in store.record.notice
    assert sorted(store.segment(row).reference for row in range(len(store))) == [2.0, 5.0, 7.0, 9.0]
    # A run over the whole store has nothing left to decode.
    again = prepare_dataset(request_)
    assert [item.reused for item in again.recordings] == [False, True, True, True, True]
    assert _bytes(request_.out) == _bytes(whole)
    history = read_chain(request_.out / STORE_FILE)
    assert ([line.event for line in history.lines], history.problems) == (["merge", "merge", "prepare"], ())


def test_each_recording_belongs_to_one_shard_and_what_is_written_is_private(request_: PrepareRequest) -> None:
    plan = read_plan(request_.out)
    assert plan is not None
    records = [read_shard_record(shard_record_path(request_.out, shard)) for shard in SHARDS]
    keys = [item.key for record in records if record is not None for item in record.recordings]
    assert sorted(keys) == sorted(item.key for item in plan.recordings)
    assert all(record is not None and record.recordings for record in records)
    for path in [shards_folder(request_.out), *shards_folder(request_.out).iterdir()]:
        assert path.stat().st_mode & 0o077 == 0, path


def _remove(path: Path) -> None:
    path.unlink()


def _edit(**changes: object) -> Callable[[Path], None]:
    def edit(path: Path) -> None:
        path.write_text(json.dumps(json.loads(path.read_text()) | changes))

    return edit


def _other_quality(path: Path) -> None:
    content = json.loads(path.read_text())
    _edit(settings=content["settings"] | {"jpeg_quality": 80})(path)


def _copy_of_another(path: Path) -> None:
    shutil.copy(path.with_name("3-of-3.json"), path)


def _forget_recordings(path: Path) -> None:
    _edit(recordings=[])(path)


def _damage(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:100])


def _beside(path: Path) -> None:
    shutil.copy(path, path.with_name("2-of-4.json"))


@pytest.mark.parametrize(
    ("spoil", "words", "code"),
    [
        (_remove, "shard 2 of 3 was not started; give the command of these again: --shard 2/3", ExitCode.NOT_PASSED),
        (_edit(finished=False), "shard 2 of 3 was interrupted; give the command of", ExitCode.NOT_PASSED),
        (_forget_recordings, r"shard 2 of 3 has (\d) of \1 recordings? to do, such as \d", ExitCode.NOT_PASSED),
        (_other_quality, "shard 2 of 3 has other settings: jpeg_quality was 95, now 80; remove", ExitCode.USAGE),
        (_copy_of_another, r"shard 2 of 3 has the record of shard 3 of 3, 2-of-3.json; remove", ExitCode.USAGE),
        (_damage, r"shard 2 of 3 cannot be read: .*2-of-3.json is damaged, or of another version", ExitCode.USAGE),
        (_beside, r"2-of-4.json is of no shard of 3; remove from .*store.shards what does not", ExitCode.USAGE),
    ],
)
def test_a_shard_that_cannot_be_merged_is_named(
    spoil: Callable[[Path], None], words: str, code: ExitCode, request_: PrepareRequest, whole: Path
) -> None:
    before = _bytes(request_.out)
    spoil(shard_record_path(request_.out, Shard(2, 3)))
    with pytest.raises(AvpenetError, match=f"cannot be merged, and nothing was changed: {words}") as raised:
        _merge(request_)
    assert raised.value.exit_code == code
    assert _bytes(request_.out) == before
    # What the message says to do helps.
    shards_folder(request_.out).joinpath("2-of-4.json").unlink(missing_ok=True)
    prepare_shard(request_, Shard(2, 3))
    _merge(request_)
    assert _bytes(request_.out) == _bytes(whole)


@pytest.mark.parametrize("spoil", [_remove, _damage])
def test_a_segment_file_that_is_lost_is_made_again(
    spoil: Callable[[Path], None], request_: PrepareRequest, whole: Path
) -> None:
    spoil(next((request_.out / "shards").glob("*.arrow")))
    with pytest.raises(ShardsUnfinishedError, match=r"shard \d of 3 has 1 of \d recordings? to do, such as \d.mp4"):
        _merge(request_)
    for shard in SHARDS:
        prepare_shard(request_, shard)
    _merge(request_)
    assert _bytes(request_.out) == _bytes(whole)


def test_all_that_is_still_to_do_is_said_at_once(request_: PrepareRequest) -> None:
    _remove(shard_record_path(request_.out, Shard(1, 3)))
    _edit(finished=False)(shard_record_path(request_.out, Shard(3, 3)))
    with output_lock(shard_output(request_.out, Shard(2, 3))), pytest.raises(ShardsUnfinishedError) as raised:
        _merge(request_)
    text = str(raised.value)
    assert "shard 1 of 3 was not started" in text
    assert f"shard 2 of 3 is being prepared by process {os.getpid()}" in text
    assert "shard 3 of 3 was interrupted" in text
    assert text.endswith("give the command of these again: --shard 1/3, --shard 3/3")
    with pytest.raises(SettingsError, match="has no shards: there is no"):
        merge_store(StoreMergeRequest(request_.out.with_name("other")))


def test_no_two_runs_write_the_same(request_: PrepareRequest) -> None:
    with output_lock(shard_output(request_.out, Shard(2, 3))):
        with pytest.raises(OutputLockedError, match="2-of-3 is being written by process"):
            prepare_shard(request_, Shard(2, 3))
        with pytest.raises(OutputLockedError, match=r"shard 2 of 3 is being prepared by process .*; wait for them"):
            _merge(request_)
        with pytest.raises(OutputLockedError, match=r"shard 2 of 3 of .*store is being prepared by process"):
            prepare_dataset(request_)
        prepare_shard(request_, Shard(1, 3))  # another shard is free
    with output_lock(request_.out / STORE_FILE):
        with pytest.raises(OutputLockedError, match="store is being written by process"):
            prepare_shard(request_, Shard(1, 3))
        with pytest.raises(OutputLockedError):
            _merge(request_)


def test_shards_agree_on_their_number_settings_and_inputs(request_: PrepareRequest, archive: PrepareRequest) -> None:
    with pytest.raises(OutputError, match="is divided into 3 shards, not 4"):
        prepare_shard(request_, Shard(1, 4))
    other = dataclasses.replace(request_, settings=dataclasses.replace(SETTINGS, seed=7))
    with pytest.raises(OutputError, match="seed was 42, now 7"):
        prepare_shard(other, Shard(1, 3))
    one = dataclasses.replace(request_, recordings=(f"{archive.recordings[0]}/1.mp4",))
    with pytest.raises(OutputError, match="would lose 4 recordings that it holds"):
        prepare_shard(one, Shard(1, 3))
    # A table without a subject is refused before anything is decoded.
    table = request_.out.with_name("subjects.csv")
    table.write_text("recording,subject\n1.mp4,s1\n")
    with pytest.raises(SettingsError, match="has no subject for"):
        prepare_shard(dataclasses.replace(request_, subjects=table), Shard(1, 3))


def test_a_merge_takes_the_tables_of_the_shards_as_they_are_now_or_others(
    request_: PrepareRequest, archive: PrepareRequest
) -> None:
    ratings = request_.out.with_name("second reading.csv")
    ratings.write_text(RATINGS.replace("1.mp4,0,7", "1.mp4,0,8"))
    elsewhere = dataclasses.replace(request_, ratings=ratings)
    prepare_shard(elsewhere, Shard(1, 3))
    with pytest.raises(
        SettingsError, match=r"were given different tables of ratings: .*; name the one to use with --rat"
    ):
        _merge(request_)
    _merge(request_, ratings=ratings)
    unsharded = dataclasses.replace(elsewhere, out=request_.out.with_name("unsharded"))
    shutil.copytree(archive.out / "shards", unsharded.out / "shards")
    prepare_dataset(unsharded)
    assert _bytes(request_.out) == _bytes(unsharded.out)
    for shard in SHARDS:
        prepare_shard(elsewhere, shard)
    ratings.write_text(RATINGS.replace("1.mp4,0,7", "1.mp4,0,3"))
    _merge(request_)
    prepare_dataset(unsharded)
    assert _bytes(request_.out) == _bytes(unsharded.out)


@pytest.mark.slow
def test_a_recording_that_is_added_leaves_the_others_in_their_shards(
    request_: PrepareRequest, archive: PrepareRequest, clips: ClipMaker, tmp_path: Path
) -> None:
    _merge(request_)
    recordings = tmp_path / "archive"
    recordings.mkdir()
    (recordings / "5.mp4").symlink_to(clips.brief("cry", 2.4))
    before = read_plan(request_.out)
    assert before is not None
    more = dataclasses.replace(request_, recordings=(*archive.recordings, str(recordings)))
    subjects = tmp_path / "subjects.csv"
    common = os.path.commonpath([archive.recordings[0], recordings])
    names = {name: os.path.relpath(f"{archive.recordings[0]}/{name}", common) for name in NAMES}
    names["5.mp4"] = os.path.relpath(recordings / "5.mp4", common)
    subjects.write_text("recording,subject\n" + "".join(f"{name},{name[-5]}\n" for name in names.values()))
    ratings = tmp_path / "ratings.csv"
    ratings.write_text("recording,time_s,value\n" + "".join(f"{name},0,5\n" for name in names.values()))
    more = dataclasses.replace(more, subjects=subjects, ratings=ratings)
    outcomes = prepare_shard(more, Shard(1, 3))
    plan = read_plan(request_.out)
    assert plan is not None
    shards = {item.key: item.shard for item in plan.recordings}
    assert {item.key: item.shard for item in before.recordings}.items() <= shards.items()
    (added,) = set(shards) - {item.key for item in before.recordings}
    if shards[added] != 1:
        with pytest.raises(
            ShardsUnfinishedError, match=rf"shard {shards[added]} of 3 has 1 of \d+ recordings? to do, such as .*5.mp4"
        ):
            _merge(request_)
        outcomes = prepare_shard(more, Shard(shards[added], 3))
    assert [item.reused for item in outcomes if item.recording.key == added] == [False]
    _merge(request_, subjects=subjects, ratings=ratings)
    unsharded = dataclasses.replace(more, out=tmp_path / "unsharded")
    shutil.copytree(request_.out / "shards", unsharded.out / "shards")
    prepare_dataset(unsharded)
    assert _bytes(request_.out) == _bytes(unsharded.out)


def test_a_merge_does_not_drop_recordings_that_the_store_holds(
    request_: PrepareRequest, archive: PrepareRequest
) -> None:
    _merge(request_)
    before = _bytes(request_.out)
    fewer = dataclasses.replace(
        request_, recordings=tuple(f"{archive.recordings[0]}/{name}" for name in NAMES[:-1]), prune=True
    )
    prepare_shard(fewer, Shard(1, 3))
    with pytest.raises(OutputError, match="would lose 1 recording that it holds: 1 not among the inputs"):
        _merge(request_)
    assert _bytes(request_.out) == before
    assert len(_merge(request_, prune=True).recordings) == 4
    assert SegmentStore.open(request_.out).index["recording"].tolist() == ["1.mp4", "2.mp4", "3.mp4"]


def test_more_shards_than_recordings(request_: PrepareRequest, whole: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.rmtree(shards_folder(request_.out))
    monkeypatch.chdir(request_.out)
    here = dataclasses.replace(request_, out=Path())
    for number in range(1, 7):  # the last three of nine are never started
        prepare_shard(here, Shard(number, 9))
    assert len(_merge(here).recordings) == 5
    assert _bytes(request_.out) == _bytes(whole)


@pytest.mark.slow
def test_a_killed_shard_resumes_and_leaves_the_others_alone(
    archive: PrepareRequest, whole: Path, tmp_path: Path
) -> None:
    request = dataclasses.replace(archive, out=tmp_path / "store")
    tables = ["--ratings", request.ratings, "--subjects", request.subjects, "--split", "0.5,0.25,0.25"]
    command = ["prepare", *request.recordings, *tables, "--out", request.out, "--device", "cpu", "--shard", "1/2"]
    with subprocess.Popen(
        [sys.executable, "-u", "-m", "avpenet_cli", *map(str, command)],
        cwd=REPOSITORY,
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr is not None
        assert any(".mp4: 1 segment, " in line for line in process.stderr)
        process.send_signal(signal.SIGKILL)
    (finished,) = (request.out / "shards").glob("*.arrow")
    own = finished.with_name(f".{finished.name}.abcd1234.tmp")
    others = finished.with_name(f".{'0' * 24}.arrow.abcd1234.tmp")
    for path in (own, others):
        path.write_bytes(b"half a segment file")
    prepare_shard(request, Shard(2, 2))
    assert own.exists()
    with pytest.raises(ShardsUnfinishedError, match="shard 1 of 2 was interrupted; give the command of these again"):
        _merge(request)
    resumed = prepare_shard(request, Shard(1, 2))
    assert finished in [item.file for item in resumed if item.reused]
    assert (own.exists(), others.exists()) == (False, True)  # that may be another shard's, which is writing
    _merge(request)
    assert not others.exists()
    assert _bytes(request.out) == _bytes(whole)
