"""A run on an output that an earlier run has made: what must not happen to it."""

from __future__ import annotations

import dataclasses
from contextlib import closing
from pathlib import Path

import pytest

from avpenet_cli.errors import Interrupted, OutputLockedError, SettingsError
from avpenet_cli.inputs import collect
from avpenet_cli.model.architecture import Architecture
from avpenet_cli.runs.callbacks import NO_CALLBACKS, RunCallbacks
from avpenet_cli.runs.journal import Journal
from avpenet_cli.scoring.lanes.lane import InProcessLane
from avpenet_cli.scoring.network import Network
from avpenet_cli.scoring.request import ScoreRequest
from avpenet_cli.scoring.run import iter_scored, score_recordings
from avpenet_cli.scoring.scorer import Scorer
from avpenet_cli.settings import RunSettings
from avpenet_cli.weights import UNTRAINED, WeightsEntry, find


class Stopping(RunCallbacks):
    def should_stop(self) -> bool:
        return True


def requested(folder: Path, *, entry: WeightsEntry, require: tuple[str, ...] = ()) -> ScoreRequest:
    (folder / "a.mp4").write_bytes(b"no recording")
    settings = RunSettings(device="cpu", require=require)  # type: ignore[arg-type]
    return ScoreRequest(
        collect([str(folder)], None, False, None), folder / "scores.csv", entry, settings, overwrite=True
    )


def test_overwriting_run_that_is_refused_removes_nothing(tmp_path: Path) -> None:
    entry = find(UNTRAINED)
    audio_only = dataclasses.replace(
        entry, description=dataclasses.replace(entry.description, modalities=("audio",), architecture=Architecture())
    )
    journal = tmp_path / "scores.csv.journal"
    journal.write_text("of a finished run")
    with pytest.raises(SettingsError, match="do not take face"):
        list(score_recordings(requested(tmp_path, entry=audio_only, require=("face",))))
    assert journal.read_text() == "of a finished run"


def test_interrupted_overwriting_run_says_how_it_resumes(tmp_path: Path) -> None:
    with pytest.raises(Interrupted) as stop:
        list(score_recordings(requested(tmp_path, entry=find(UNTRAINED)), Stopping()))
    assert str(stop.value) == "interrupted after 0 of 1 recording; run it again without --overwrite to resume"


def test_run_that_has_lost_its_output_stores_no_failure_either(tmp_path: Path) -> None:
    def lost() -> None:
        raise OutputLockedError("taken over", "wait")

    settings = RunSettings(device="cpu")
    (tmp_path / "empty.mp4").touch()
    recordings = collect([str(tmp_path), str(tmp_path / "gone.mp4")], None, False, None).recordings
    lane = InProcessLane(Scorer(Network(find(UNTRAINED), settings, NO_CALLBACKS), settings, NO_CALLBACKS), NO_CALLBACKS)
    with closing(lane), closing(Journal(tmp_path / "scores.csv", {})) as journal:
        for recording in recordings:
            with pytest.raises(OutputLockedError):
                list(iter_scored([recording], lane, journal, check=lost))
            assert journal.latest(recording) is None
            assert [scored.outcome for scored in iter_scored([recording], lane, journal)] == [journal.latest(recording)]
