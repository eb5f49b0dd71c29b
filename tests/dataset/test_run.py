"""`prepare_dataset` as a library: it reports through callbacks, returns a typed result, prints nothing."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from avpenet_cli.dataset.prepare import PrepareSettings
from avpenet_cli.dataset.run import PrepareRequest, prepare_dataset
from avpenet_cli.dataset.store import SegmentStore
from avpenet_cli.errors import Interrupted, SettingsError
from avpenet_cli.runs.callbacks import RunCallbacks
from tests.conftest import ClipMaker


class Recorder(RunCallbacks):
    """Records what a run reports; ends it after so many items."""

    def __init__(self, stop_after: int | None = None) -> None:
        self.events: list[str] = []
        self._stop_after = stop_after

    def set_total(self, total: int) -> None:
        self.events.append(f"total {total}")

    def info(self, message: str, **fields: object) -> None:
        self.events.append(message)

    def warning(self, message: str, **fields: object) -> None:
        self.events.append(message)

    def item_done(self, lane: int | None = 0) -> None:
        self.events.append("item")

    def should_stop(self) -> bool:
        return self.events.count("item") == self._stop_after


@pytest.fixture
def request_(clips: ClipMaker, tmp_path: Path) -> PrepareRequest:
    archive = tmp_path / "archive"
    archive.mkdir()
    shutil.copy(clips.brief(), archive / "1.mp4")
    (archive / "2.mp4").write_bytes(b"no recording")
    (tmp_path / "ratings.csv").write_text("recording,time_s,value\n1.mp4,0,7\n")
    (tmp_path / "subjects.csv").write_text("recording,subject\n1.mp4,s1\n2.mp4,s2\n")
    return PrepareRequest(
        (str(archive),),
        tmp_path / "ratings.csv",
        tmp_path / "subjects.csv",
        tmp_path / "store",
        PrepareSettings(device="cpu", split=(1.0, 0.0, 0.0)),
    )


def test_a_run_reports_the_total_first_and_every_recording(
    request_: PrepareRequest, capsys: pytest.CaptureFixture[str]
) -> None:
    recorder = Recorder()
    result = prepare_dataset(request_, recorder)
    assert recorder.events[0] == "total 2"
    assert recorder.events.count("item") == 2
    assert [recording.recording.name for recording in result.recordings] == ["1.mp4", "2.mp4"]
    assert (result.failed, result.unused_files) == (1, 0)
    assert result.summary.rated == {"train": 1, "validation": 0, "test": 0}
    assert SegmentStore.open(request_.out).record.splits.rated_segments == result.summary.rated
    assert capsys.readouterr() == ("", "")


def test_an_interrupted_run_resumes(request_: PrepareRequest) -> None:
    with pytest.raises(Interrupted, match="interrupted after 1 of 2 recordings; run the same command again to resume"):
        prepare_dataset(request_, Recorder(stop_after=1))
    with pytest.raises(SettingsError, match="is not finished"):
        SegmentStore.open(request_.out)
    result = prepare_dataset(request_)
    assert [recording.reused for recording in result.recordings] == [True, False]
