"""`avpenet prepare`: kills, other settings, bad recordings, tables that could hide a leak."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from avpenet_cli.dataset.store import SegmentStore
from avpenet_cli.errors import SettingsError
from avpenet_cli.runs.history_chain import read_chain
from tests.conftest import REPOSITORY, Answer, ClipMaker

Avpenet = Callable[..., Answer]
RATINGS = "recording,time_s,value\n1.mp4,0,7\n2.mp4,0,2\n2.mp4,3.5,4\n3.mp4,0,5\n"
SUBJECTS = "recording,subject,age_group,site\n" + "".join(f"{n}.mp4,s{n},adult,A\n" for n in (1, 2, 3))


class Workspace:
    """A folder with recordings and tables, and the command that prepares them."""

    def __init__(self, folder: Path, avpenet: Avpenet) -> None:
        self.folder, self.archive, self._avpenet = folder, folder / "archive", avpenet
        self.ratings, self.subjects, self.store = folder / "ratings.csv", folder / "subjects.csv", folder / "store"

    def command(self, *options: str | Path, store: Path | None = None) -> list[str]:
        tables = ["--ratings", self.ratings, "--subjects", self.subjects, "--out", store or self.store]
        return [str(part) for part in ("prepare", self.archive, *tables, "--device", "cpu", *options)]

    def prepare(self, *options: str | Path, store: Path | None = None) -> Answer:
        return self._avpenet(*self.command(*options, store=store))


def _bytes(store: Path) -> dict[str, bytes]:
    """The files of the store, except for the lock and the history, which has times."""
    return {
        str(path.relative_to(store)): path.read_bytes()
        for path in sorted(store.rglob("*"))
        if path.is_file() and path.suffix not in (".lock", ".jsonl")
    }


@pytest.fixture(scope="module")
def archive(clips: ClipMaker, tmp_path_factory: pytest.TempPathFactory, avpenet_here: Avpenet) -> Workspace:
    folder = tmp_path_factory.mktemp("prepare")
    place = Workspace(folder, avpenet_here)
    place.archive.mkdir()
    shutil.copy(clips.brief(), place.archive / "1.mp4")
    shutil.copy(clips.face(6.0, "160x120", 10.0), place.archive / "2.mp4")
    shutil.copy(clips.brief("moan", 1.8), place.archive / "3.mp4")
    place.ratings.write_text(RATINGS)
    place.subjects.write_text(SUBJECTS)
    return place


@pytest.fixture(scope="module")
def unbroken(archive: Workspace) -> Path:
    answer = archive.prepare()
    assert answer.code == 0, answer.err
    return archive.store


@pytest.fixture
def place(archive: Workspace, unbroken: Path, avpenet_here: Avpenet, tmp_path: Path) -> Workspace:
    """The same recordings, tables and finished store, to be altered. The files of the archive are the same."""
    copy = Workspace(tmp_path, avpenet_here)
    copy.archive = archive.archive
    shutil.copy(archive.ratings, copy.ratings)
    shutil.copy(archive.subjects, copy.subjects)
    shutil.copytree(unbroken, copy.store)
    return copy


@contextlib.contextmanager
def _under_way(command: list[str]) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [sys.executable, "-u", "-m", "avpenet_cli", *command],
        cwd=REPOSITORY,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def _wait_for(process: subprocess.Popen[str], words: str) -> None:
    assert process.stderr is not None
    assert any(words in line for line in process.stderr), f"ended before it printed {words!r}"


@pytest.mark.slow
def test_recording_whose_decoder_gets_the_signal_first_is_not_kept(archive: Workspace, tmp_path: Path) -> None:
    """As from a batch system, which sends it to every process of a job."""
    store = tmp_path / "store"
    with _under_way(archive.command(store=store)) as process:
        _wait_for(process, "1.mp4: 1 segment, ")
        children = Path(f"/proc/{process.pid}/task")
        while not (decoders := [int(pid) for path in children.glob("*/children") for pid in path.read_text().split()]):
            time.sleep(0.01)
        for pid in decoders:
            os.kill(pid, signal.SIGTERM)
        time.sleep(0.05)
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=120)
        assert process.returncode == 130
        assert "interrupted after 1 of 3 recordings" in said
    assert len(list((store / "shards").glob("*.arrow"))) == 1


@pytest.mark.slow
def test_a_killed_run_resumes_to_the_same_store(archive: Workspace, unbroken: Path, tmp_path: Path) -> None:
    store = tmp_path / "store"
    with _under_way(archive.command(store=store)) as process:
        _wait_for(process, "1.mp4: 1 segment, ")
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert len(list((store / "shards").glob("*.arrow"))) == 1
    with pytest.raises(SettingsError, match="is not finished"):
        SegmentStore.open(store)
    (store / "shards" / ".half.arrow.x.tmp").write_bytes(b"half a segment file")
    again = archive.prepare(store=store)
    assert again.code == 0
    assert "1.mp4: 1 segment, from an earlier run" in again.err
    assert again.err.count("from an earlier run") == 1
    assert _bytes(store) == _bytes(unbroken)
    assert len(SegmentStore.open(store)) == 4


@pytest.mark.slow
def test_an_interrupted_run_keeps_what_was_done(archive: Workspace, unbroken: Path, tmp_path: Path) -> None:
    store = tmp_path / "store"
    with _under_way(archive.command(store=store)) as process:
        _wait_for(process, "1.mp4: 1 segment, ")
        assert archive.prepare(store=store).code == 75
        process.send_signal(signal.SIGTERM)
        assert process.stderr is not None
        last = process.stderr.read().splitlines()[-1]
        assert process.wait() == 130
    assert last == "avpenet: interrupted after 1 of 3 recordings; run the same command again to resume"
    assert {path.name for path in store.iterdir()} == {"shards", "store.json", "store.json.lock"}
    assert not list((store / "shards").glob(".*"))
    assert archive.prepare(store=store).code == 0
    assert _bytes(store) == _bytes(unbroken)


def test_a_finished_store_is_reused(place: Workspace, unbroken: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in (place.store / "shards").iterdir()}
    answer = place.prepare()
    assert answer.code == 0
    assert answer.err.count("from an earlier run") == 3
    assert _bytes(place.store) == _bytes(unbroken)
    chain = read_chain(place.store / "store.json")
    assert ([line.event for line in chain.lines], chain.problems) == (["prepare", "prepare"], ())
    assert [file.content for file in chain.lines[1].read] == ["ratings", "subjects"]
    assert {path: path.stat().st_mtime_ns for path in (place.store / "shards").iterdir()} == before


def test_a_store_is_private_and_its_file_names_reveal_nothing(unbroken: Path) -> None:
    for path in [unbroken, *unbroken.rglob("*")]:
        assert path.stat().st_mode & 0o077 == 0, path
    history = (unbroken / "store.json.history.jsonl").read_text()
    assert str(unbroken.parent) not in history and ".mp4" not in history
    text = (unbroken / "store.json").read_text()
    for recording in json.loads(text)["recordings"]:
        assert recording["recording"].encode() not in (unbroken / "shards" / recording["shard"]).read_bytes()
    assert str(unbroken.parent) not in text  # folders may be named after patients


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (["--stride", "1"], "stride_s was 3.0, now 1.0"),
        (["--jpeg-quality", "80"], "jpeg_quality was 95, now 80"),
        (["--seed", "7"], "seed was 42, now 7"),
        (["--split", "0.6,0.2,0.2"], "split was [0.7, 0.15, 0.15], now [0.6, 0.2, 0.2]"),
        (["--hold-s", "5"], "hold_s was 10.0, now 5.0"),
        (["--config", "CONFIG"], "preprocessing.face.align was True, now False"),
    ],
)
def test_other_settings_are_refused_and_named(options: list[str], named: str, place: Workspace) -> None:
    config = place.folder / "site.toml"
    config.write_text("[face]\nalign = false\n[quality]\nlow_snr_db = 5.0\n")
    before = _bytes(place.store)
    answer = place.prepare(*[str(config) if part == "CONFIG" else part for part in options])
    assert answer.code == 2
    assert f"{place.store} was made with other settings: {named}; choose another --out" in answer.last_line
    assert _bytes(place.store) == before


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--split", "a,b"], "--split a,b: not numbers"),
        (["--split", "0.7,0.3"], "split"),
        (["--split", "0.5,0.5,0.5"], "not shares for train, validation and test"),
        (["--stride", "0.25"], "multiple of 0.1 s"),
        (["--jpeg-quality", "20"], "jpeg_quality = 20"),
        (["--seed", "-1"], "seed = -1"),
        (["--device", "cuda:x"], "no such kind of device"),
        (["--ratings", "no/such.csv"], "no/such.csv"),
        (["--config", "no/such.toml"], "no/such.toml"),
    ],
)
def test_invalid_options_make_no_store(options: list[str], words: str, archive: Workspace, tmp_path: Path) -> None:
    answer = archive.prepare(*options, store=tmp_path / "store")
    assert answer.code == 2
    (line,) = answer.err.splitlines()
    assert words in line
    assert not (tmp_path / "store").exists()


def test_a_folder_with_other_files_is_refused(archive: Workspace, tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("not a store")
    answer = archive.prepare(store=tmp_path)
    assert answer.code == 2
    assert "holds other files, such as thesis.tex" in answer.last_line
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]
    assert "is a file, not a folder" in archive.prepare(store=tmp_path / "thesis.tex").last_line
    assert "its folder does not exist" in archive.prepare(store=tmp_path / "no" / "such").last_line


def test_a_bad_recording_is_reported_and_left_out(place: Workspace, clips: ClipMaker) -> None:
    place.archive = place.folder / "archive"
    place.archive.mkdir()
    shutil.copy(clips.brief(), place.archive / "1.mp4")
    (place.archive / "0 bad.mp4").write_bytes(b"no recording at all")
    place.subjects.write_text(SUBJECTS + "0 bad.mp4,s9,adult,A\n")
    store = place.folder / "other"
    answer = place.prepare(store=store)
    assert answer.code == 1
    assert "0 bad.mp4: failed: not a recording" in answer.err
    assert "avpenet: 2 recordings, 1 failed, 1 segment;" in answer.last_line
    opened = SegmentStore.open(store)
    assert opened.index["recording"].tolist() == ["1.mp4"]
    assert [recording.status for recording in opened.record.recordings] == ["failed", "prepared"]
    # Ratings of recordings that were not prepared are reported.
    assert "rating in line 3 (2.mp4 at 0 s): its recording was not prepared" in answer.err
    assert opened.record.unmatched_ratings.count == 3
    (place.archive / "1.mp4").unlink()
    nothing = place.prepare(store=place.folder / "empty")
    assert (nothing.code, "no recording in common" in nothing.last_line) == (2, True)


def test_a_store_without_segments_can_be_opened(place: Workspace) -> None:
    place.archive = place.folder / "archive"
    place.archive.mkdir()
    (place.archive / "1.mp4").write_bytes(b"no recording at all")
    answer = place.prepare(store=place.folder / "other")
    assert answer.code == 1
    assert "avpenet: 1 recording, 1 failed, 0 segments" in answer.last_line
    assert len(SegmentStore.open(place.folder / "other")) == 0


def test_a_recording_without_a_consistent_subject_is_refused(place: Workspace) -> None:
    place.subjects.write_text("recording,subject\n1.mp4,s1\n")
    answer = place.prepare()
    assert answer.code == 2
    assert "has no subject for '2.mp4', '3.mp4'" in answer.last_line
    place.subjects.write_text("recording,subject,site\n1.mp4,s1,A\n2.mp4,s1,B\n3.mp4,s2,A\n")
    assert "subject s1 has site A and site B" in place.prepare().last_line
    place.subjects.write_text("recording,subject,split\n1.mp4,s1,A\n2.mp4,s1,A\n3.mp4,s2,A\n")
    assert "the index has a column split of its own" in place.prepare().last_line


def test_the_same_file_under_two_subjects_is_refused(place: Workspace, archive: Workspace) -> None:
    place.archive = place.folder / "archive"
    shutil.copytree(archive.archive, place.archive)
    shutil.copy(place.archive / "1.mp4", place.archive / "3.mp4")
    answer = place.prepare()
    assert answer.code == 2
    assert "1.mp4 of subject s1 and 3.mp4 of subject s3 are the same file" in answer.last_line
    assert SegmentStore.open(place.store).index["subject"].nunique() == 3  # the earlier store is intact


def test_new_ratings_need_no_decoding(place: Workspace) -> None:
    place.ratings.write_text(RATINGS.replace("1.mp4,0,7", "1.mp4,0,9"))
    answer = place.prepare()
    assert answer.code == 0
    assert answer.err.count("from an earlier run") == 3
    assert SegmentStore.open(place.store).index["reference"].tolist() == [9.0, 2.0, 3.0, 5.0]


def test_subjects_that_change_splits_are_reported(place: Workspace) -> None:
    before = SegmentStore.open(place.store).record.splits.by_subject
    place.subjects.write_text(SUBJECTS.replace("s2", "s0"))
    answer = place.prepare()
    after = SegmentStore.open(place.store).record.splits.by_subject
    moved = [name for name in after if before.get(name, after[name]) != after[name]]
    assert moved
    assert f"subject{'s' if len(moved) > 1 else ''}, such as {moved[0]}: weights trained on this store" in answer.err


@pytest.mark.parametrize("options", [[], ["--prune"]])
def test_a_finished_store_is_kept_when_no_input_exists(options: list[str], place: Workspace) -> None:
    place.archive = place.folder / "share"  # as it is while nothing is mounted there
    place.archive.mkdir()
    before = _bytes(place.store)
    answer = place.prepare(*options)
    assert answer.code == 2
    assert f"nothing was changed: {place.archive}: a folder without recordings" in answer.last_line
    assert _bytes(place.store) == before


@pytest.mark.slow
def test_a_changed_recording_gets_a_new_segment_file(place: Workspace, archive: Workspace) -> None:
    place.archive = place.folder / "archive"
    shutil.copytree(archive.archive, place.archive)
    first = place.prepare(store=place.folder / "other")
    assert first.code == 0
    (place.archive / "3.mp4").unlink()
    os.utime(place.archive / "1.mp4", ns=(0, 0))
    refused = place.prepare(store=place.folder / "other")
    assert refused.code == 2
    assert "would lose 1 recording that it holds: 1 not among the inputs (such as 3.mp4)" in refused.last_line
    assert len(SegmentStore.open(place.folder / "other")) == 4
    os.utime(place.archive / "1.mp4", ns=(1, 1))
    answer = place.prepare("--prune", store=place.folder / "other")
    assert answer.code == 0
    assert answer.err.count("from an earlier run") == 1  # 2.mp4
    assert "3 segment files of recordings that are not among the inputs now, unused" in answer.err
    assert SegmentStore.open(place.folder / "other").index["recording"].tolist() == ["1.mp4", "2.mp4", "2.mp4"]


@pytest.mark.slow
def test_shards_of_a_store_merge_into_the_store_of_one_run(
    archive: Workspace, unbroken: Path, avpenet_here: Avpenet, tmp_path: Path
) -> None:
    store = tmp_path / "store"
    answer = archive.prepare("--shard", "2/2", store=store)
    assert answer.code == 0, answer.err
    assert "shard 2 of 2: " in answer.last_line
    assert "avpenet merge finishes the store when all shards are prepared" in answer.last_line
    answer = avpenet_here("merge", store)
    assert answer.code == 4
    assert "shard 1 of 2 was not started; give the command of these again: --shard 1/2" in answer.last_line
    # Another process, which this one finds at work.
    with _under_way(archive.command("--shard", "1/2", store=store)) as process:
        _wait_for(process, "shard 1 of 2")
        assert archive.prepare("--shard", "1/2", store=store).code == 75
        answer = avpenet_here("merge", store)
        assert (answer.code, "shard 1 of 2 is being prepared by process" in answer.last_line) == (75, True)
        assert process.stderr is not None
        process.stderr.read()
        assert process.wait() == 0
    answer = avpenet_here("merge", store)
    assert answer.code == 0, answer.err
    assert "3 recordings, 0 failed, 4 segments; rated segments of subjects: train " in answer.last_line
    assert _bytes(store) == _bytes(unbroken)
    (line,) = read_chain(store / "store.json").lines
    assert (line.event, line.command) == ("merge", "avpenet merge [1 input]")
    for options in (["--csv-bom"], ["--baseline", "quiet"], ["--embeddings", "e.parquet"]):
        answer = avpenet_here("merge", store, *options)
        assert (answer.code, f"{options[0]} is for tables; " in answer.last_line) == (2, True)
    answer = avpenet_here("merge", tmp_path / "scores.csv", "--ratings", archive.ratings)
    assert (answer.code, "--ratings is for stores" in answer.last_line) == (2, True)
    answer = archive.prepare("--shard", "3/2", store=store)
    assert (answer.code, "--shard 3/2" in answer.last_line) == (2, True)
