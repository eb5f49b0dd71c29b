"""The journal: what is noted stays noted, and what cannot be trusted is refused with a clear line."""

from __future__ import annotations

import os
import random
import resource
import sqlite3
import stat
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from avpenet_cli.errors import AvpenetError, EnvironmentUnavailableError, ExitCode, OutputError, OutputLockedError
from avpenet_cli.inputs import Recording
from avpenet_cli.records import Balance, Flag, Quality, RecordingOutcome, SegmentScore, Status
from avpenet_cli.runs import database as database_module
from avpenet_cli.runs.journal import FileFacts, Journal, journal_path
from avpenet_cli.settings import RunSettings, result_settings
from avpenet_cli.tables import row, write_table

SETTINGS = {"weights": "untrained@0123", "stride_s": 3.0}


def _recording(number: int) -> Recording:
    return Recording(Path(f"/archive/{number}.mp4"), f"{number}.mp4", f"key-{number}")


def _outcome(segments: int = 2) -> RecordingOutcome:
    scored = tuple(
        SegmentScore(
            segment=index,
            start_s=3.0 * index,
            end_s=3.0 * index + 3.0,
            status=Status.SCORED,
            quality=Quality(face_rate=0.9, face_confidence=0.99, face_px=101.5, faces=1, snr_db=12.3),
            score=4.567,
            label="moderate",
            flags=(Flag.CLIPPED, Flag.TRUNCATED),
        )
        for index in range(segments)
    )
    length_s = 3.0 * segments
    return RecordingOutcome(Status.SCORED, scored, Balance(length_s, length_s), facts={"container": "mp4"})


def _facts(path: Path) -> os.stat_result:
    return path.stat()


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "scores.csv"


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    path = tmp_path / "clip.mp4"
    path.write_bytes(b"some bytes")
    return path


@pytest.fixture
def reopened() -> Iterator[Callable[[Path], Journal]]:
    opened: list[Journal] = []

    def reopen(out: Path) -> Journal:
        opened.append(Journal(out, SETTINGS))
        return opened[-1]

    yield reopen
    for journal in opened:
        journal.close()


def test_finished_recording_is_kept_between_runs(out: Path, clip: Path, reopened: Callable[[Path], Journal]) -> None:
    first = reopened(out)
    first.note(_recording(1), _facts(clip), _outcome())
    first.close()
    assert reopened(out).finished(_recording(1), _facts(clip)) == _outcome()


def test_changed_file_is_scored_again(out: Path, clip: Path, reopened: Callable[[Path], Journal]) -> None:
    journal = reopened(out)
    journal.note(_recording(1), _facts(clip), _outcome())
    clip.write_bytes(b"more bytes than before")
    assert journal.finished(_recording(1), _facts(clip)) is None
    journal.note(_recording(1), _facts(clip), _outcome())
    os.utime(clip, ns=(0, _facts(clip).st_mtime_ns + 1))
    assert journal.finished(_recording(1), _facts(clip)) is None
    assert journal.latest(_recording(1)) == _outcome()


def test_failed_recording_is_tried_again(out: Path, clip: Path, reopened: Callable[[Path], Journal]) -> None:
    journal = reopened(out)
    failed = RecordingOutcome(Status.FAILED, reason="unreadable", message="not a recording")
    journal.note(_recording(1), _facts(clip), failed)
    journal.note(_recording(2), None, failed)
    assert journal.finished(_recording(1), _facts(clip)) is None
    assert journal.latest(_recording(2)) == failed


def test_failure_keeps_the_earlier_score(out: Path, clip: Path, reopened: Callable[[Path], Journal]) -> None:
    journal = reopened(out)
    journal.note(_recording(1), _facts(clip), _outcome())
    away = RecordingOutcome(Status.FAILED, reason="missing", message="no such file")
    journal.note(_recording(1), None, away)
    assert journal.latest(_recording(1)) == away
    assert journal.finished(_recording(1), _facts(clip)) == _outcome()
    assert journal.latest(_recording(1)) == _outcome()


def test_failure_keeps_the_facts_of_the_scored_file(out: Path, clip: Path, reopened: Callable[[Path], Journal]) -> None:
    journal = reopened(out)
    as_scored = _facts(clip)
    journal.note(_recording(1), as_scored, _outcome(), "digest")
    scored = FileFacts(as_scored.st_size, as_scored.st_mtime_ns, "digest")
    failed = RecordingOutcome(Status.FAILED, reason="unreadable", message="not a recording")
    clip.write_bytes(b"cut")
    journal.note(_recording(1), _facts(clip), failed)
    assert journal.file_facts(_recording(1)) == FileFacts(3, _facts(clip).st_mtime_ns, "")
    journal.note(_recording(1), None, failed)
    assert journal.file_facts(_recording(1)) is None
    # The file is back as it was.
    assert journal.finished(_recording(1), as_scored) == _outcome()
    assert journal.file_facts(_recording(1)) == scored
    assert journal.prune((_recording(1),)) == 0
    assert journal.file_facts(_recording(1)) == scored
    journal.note(_recording(1), _facts(clip), failed)
    journal.prune((_recording(1),))
    assert journal.file_facts(_recording(1)) == FileFacts(3, _facts(clip).st_mtime_ns, "")
    journal.prune(())
    assert journal.file_facts(_recording(1)) is None


def test_recordings_are_held_until_they_are_pruned(out: Path, clip: Path, reopened: Callable[[Path], Journal]) -> None:
    journal = reopened(out)
    for number in range(3):
        journal.note(_recording(number), _facts(clip), _outcome())
    assert journal.held() == {"key-0", "key-1", "key-2"}
    journal.note(_recording(1), None, RecordingOutcome(Status.FAILED, reason="missing", message="no such file"))
    assert journal.held_but_failed() == {"key-1"}
    assert journal.prune((_recording(0), _recording(1), _recording(7))) == 2
    assert journal.held() == {"key-0"}
    assert journal.latest(_recording(1)) is not None
    assert journal.prune((_recording(0),)) == 0
    assert journal.latest(_recording(1)) is None


def test_other_settings_are_refused(out: Path) -> None:
    Journal(out, SETTINGS).close()
    with pytest.raises(OutputError, match=r"stride_s was 3\.0, now 1\.0.*--overwrite") as refusal:
        Journal(out, SETTINGS | {"stride_s": 1.0})
    assert "weights was" not in str(refusal.value)
    assert refusal.value.exit_code == ExitCode.USAGE
    with pytest.raises(OutputError, match="mc_samples was unset, now 5"):
        Journal(out, SETTINGS | {"mc_samples": 5})
    with pytest.raises(OutputError, match="weights was"):
        Journal(out, {name: 1 for name in ["weights", "stride_s", "a", "b", "c", "d"]})


def test_device_and_batch_size_do_not_prevent_resuming() -> None:
    usual = result_settings(RunSettings())
    assert result_settings(RunSettings(device="cuda:1", batch_size=1)) == usual
    assert result_settings(RunSettings(stride_s=1.0)) != usual


def test_table_without_journal_is_refused(out: Path) -> None:
    out.write_text("someone else's table")
    with pytest.raises(OutputError, match="but not its journal"):
        Journal(out, SETTINGS)
    assert [path.name for path in out.parent.iterdir()] == [out.name]


@pytest.mark.parametrize("damage", ["random bytes", "header gone", "middle gone", "first page", "odd length"])
def test_damaged_journal_gets_one_line(damage: str, out: Path, clip: Path, reopened: Callable[[Path], Journal]) -> None:
    journal = reopened(out)
    for number in range(40):
        journal.note(_recording(number), _facts(clip), _outcome())
    journal.close()
    path = journal_path(out)
    whole = path.read_bytes()
    noise = random.Random(1).randbytes(len(whole))
    half = len(whole) // 2
    path.write_bytes(
        {
            "random bytes": noise,
            "header gone": noise[:100] + whole[100:],
            "middle gone": whole[:8192] + noise[8192:-4096] + whole[-4096:],
            "first page": whole[:4096],
            "odd length": whole[: half + 77],
        }[damage]
    )
    with pytest.raises(OutputError, match=r"is damaged.*--overwrite") as refusal:
        reopened(out)
    assert refusal.value.exit_code == ExitCode.USAGE
    assert "\n" not in str(refusal.value)


def test_altered_entry_gets_one_line(out: Path, clip: Path, reopened: Callable[[Path], Journal]) -> None:
    journal = reopened(out)
    journal.note(_recording(1), _facts(clip), _outcome())
    with sqlite3.connect(journal_path(out)) as behind_its_back:
        behind_its_back.execute('UPDATE finished SET outcome = \'{"status": "perfect"}\'')
    behind_its_back.close()
    with pytest.raises(OutputError, match="an entry cannot be read"):
        journal.latest(_recording(1))
    with pytest.raises(OutputError, match="an entry cannot be read"):
        journal.finished(_recording(1), _facts(clip))


def test_journal_open_elsewhere_is_reported_as_locked(
    out: Path, clip: Path, reopened: Callable[[Path], Journal], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database_module, "_LOCK_TIMEOUT_S", 0.1)
    journal = reopened(out)
    browser = sqlite3.connect(journal_path(out), isolation_level=None)
    browser.execute("BEGIN EXCLUSIVE")
    with pytest.raises(OutputLockedError, match="another program"):
        journal.note(_recording(1), _facts(clip), _outcome())
    browser.close()
    journal.note(_recording(1), _facts(clip), _outcome())


def test_full_disk_leaves_the_journal_whole(out: Path, clip: Path, reopened: Callable[[Path], Journal]) -> None:
    journal = reopened(out)
    journal.note(_recording(1), _facts(clip), _outcome())
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (journal_path(out).stat().st_size, before[1]))
    try:
        with pytest.raises(EnvironmentUnavailableError, match="disk I/O error; check the disk, your quota") as fault:
            journal.note(_recording(2), _facts(clip), _outcome(segments=400))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert fault.value.exit_code == ExitCode.ENVIRONMENT
    journal.close()
    again = reopened(out)
    assert again.finished(_recording(1), _facts(clip)) == _outcome()
    assert again.latest(_recording(2)) is None
    again.note(_recording(2), _facts(clip), _outcome(segments=400))


def test_journal_is_readable_by_its_owner_only(out: Path, clip: Path, reopened: Callable[[Path], Journal]) -> None:
    mask = os.umask(0)
    try:
        reopened(out).note(_recording(1), _facts(clip), _outcome())
    finally:
        os.umask(mask)
    assert stat.S_IMODE(journal_path(out).stat().st_mode) == 0o600


def test_unwritable_folder_gets_one_line(tmp_path: Path) -> None:
    with pytest.raises(AvpenetError, match="its folder does not exist"):
        Journal(tmp_path / "none" / "scores.csv", SETTINGS)


@pytest.mark.slow
def test_ten_thousand_recordings_fit_in_memory(
    clip: Path, reopened: Callable[[Path], Journal], tmp_path_factory: pytest.TempPathFactory
) -> None:
    out = tmp_path_factory.mktemp("many") / "scores.csv"
    journal = reopened(out)
    journal._db.execute("PRAGMA synchronous = OFF")  # memory is what this test is about, not the disk
    recordings = tuple(_recording(number) for number in range(10_000))
    for recording in recordings:
        journal.note(recording, _facts(clip), _outcome(segments=4))
    assert len(journal.held()) == 10_000
    tracemalloc.start()
    rows = (
        row(recording.name, segment, "untrained")
        for recording in recordings
        if (outcome := journal.latest(recording)) is not None
        for segment in outcome.segments
    )
    write_table(out, rows)
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    with out.open("rb") as table:
        assert sum(1 for _ in table) == 40_001
    assert peak_bytes < 5e6


def test_night_without_the_archive_keeps_earlier_scores(
    out: Path, clip: Path, reopened: Callable[[Path], Journal]
) -> None:
    journal = reopened(out)
    journal.note(_recording(1), _facts(clip), _outcome())
    missing = RecordingOutcome(Status.FAILED, reason="missing", message="no such file")
    journal.note(_recording(1), None, missing)
    assert journal.latest(_recording(1)) == missing
    assert journal.finished(_recording(1), _facts(clip)) == _outcome()
    assert journal.latest(_recording(1)) == _outcome()
