"""Several recordings at a time around one network: as a GPU is used, here on a CPU."""

from __future__ import annotations

import dataclasses
import itertools
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path

import pytest

import avpenet_cli.scoring.run as run_module
from avpenet_cli.errors import Interrupted
from avpenet_cli.inputs import collect
from avpenet_cli.records import RecordingOutcome, Status
from avpenet_cli.runs.callbacks import RunCallbacks
from avpenet_cli.scoring.lanes.lane import Job, JobResult
from avpenet_cli.scoring.lanes.threads import ThreadLanes
from avpenet_cli.scoring.request import ScoreRequest
from avpenet_cli.settings import RunSettings
from avpenet_cli.weights import default_entry
from tests.conftest import ClipMaker

RUN = RunSettings(device="cpu", batch_size=8, stride_s=1.0, mc_samples=3)
_TIMEOUT_S = 60.0


@pytest.fixture(scope="module")
def recordings(clips: ClipMaker, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Of different lengths, one without audio, one without a face, one that is no recording."""
    broken = tmp_path_factory.mktemp("broken") / "broken.mp4"
    broken.write_bytes(b"no recording")
    return [
        clips.face(1.6, "160x120", 10.0),
        clips.face(2.4, "120x160", 10.0, audio=None),
        broken,
        clips.ffmpeg("-f", "lavfi", "-i", "testsrc2=d=2:s=160x120:r=10", "-f", "lavfi", "-i", "sine=d=2", "-shortest"),
        clips.brief(),
        clips.brief("moan", 4.6),
    ]


def _jobs(paths: Sequence[Path]) -> Iterator[Job]:
    return (Job(n, path.name, path, path.stat(), with_digest=True) for n, path in enumerate(paths))


def _score(paths: Sequence[Path], count: int, callbacks: RunCallbacks) -> dict[str, JobResult]:
    results: dict[str, JobResult] = {}
    with closing(ThreadLanes(default_entry(), RUN, count, callbacks)) as lanes:
        in_progress = 0
        for job in [*_jobs(paths), None]:
            while in_progress and (job is None or not lanes.has_room()):
                result = lanes.take()
                results[result.job.name] = result
                in_progress -= 1
            if job is not None:
                lanes.submit(job)
                in_progress += 1
    return results


def _without_times(outcome: RecordingOutcome) -> RecordingOutcome:
    return dataclasses.replace(outcome, stage_s={})


class Noting(RunCallbacks):
    """Notes the threads that call, and each lane's last progress."""

    def __init__(self) -> None:
        self.threads: set[threading.Thread] = set()
        self.read_s: dict[int, float] = {}

    def item_started(self, name: str, lane: int = 0) -> None:
        self.threads.add(threading.current_thread())
        self.read_s[lane] = 0.0

    def progress(self, done: float, total: float, lane: int = 0) -> None:
        self.threads.add(threading.current_thread())
        self.read_s[lane] = done


@pytest.mark.slow
def test_outcomes_do_not_depend_on_the_number_of_lanes_or_on_the_order(recordings: list[Path]) -> None:
    """Every score, sample, flag, message and digest, to the bit."""
    callbacks = Noting()
    alone = _score(recordings, 1, callbacks)
    assert [alone[path.name].outcome.status for path in recordings].count(Status.SCORED) >= 4
    assert alone["broken.mp4"].outcome.status is Status.FAILED
    together = _score(recordings[::-1], 4, callbacks)
    assert together.keys() == alone.keys()
    for name, result in alone.items():
        assert _without_times(together[name].outcome) == _without_times(result.outcome)
        assert together[name].sha256 == result.sha256
    assert callbacks.threads == {threading.current_thread()}
    assert callbacks.read_s.keys() == {0, 1, 2, 3}
    assert any(callbacks.read_s.values())


@pytest.mark.slow
def test_interrupted_lanes_end_their_decoders_and_threads(clips: ClipMaker) -> None:
    long = clips.ffmpeg(
        "-stream_loop", "40", "-i", str(clips.face(3.0, "320x240")), "-c", "copy", "-avoid_negative_ts", "make_zero"
    )

    class Stopping(Noting):
        def should_stop(self) -> bool:
            return bool(self.read_s) and min(self.read_s.values()) > 0

    before = set(threading.enumerate())
    lanes = ThreadLanes(default_entry(), RUN, 2, Stopping())
    with closing(lanes):
        for job in itertools.islice(_jobs([long, long]), 2):
            lanes.submit(job)
        with pytest.raises(Interrupted):
            lanes.take()
    deadline = time.monotonic() + _TIMEOUT_S
    while set(threading.enumerate()) - before and time.monotonic() < deadline:
        time.sleep(0.05)
    assert set(threading.enumerate()) <= before


@pytest.mark.slow
def test_table_does_not_depend_on_the_number_of_lanes(
    recordings: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Byte for byte, through the run that a GPU would have."""
    tables = []
    for count in (1, 3):
        out = tmp_path / str(count) / "scores.csv"
        out.parent.mkdir()
        monkeypatch.setattr(
            run_module,
            "_open_lanes",
            lambda request, callbacks, with_times, count=count: ThreadLanes(
                request.weights, request.settings, count, callbacks, with_times=with_times, with_embeddings=True
            ),
        )
        inputs = collect([str(path) for path in recordings], None, False, None)
        embeddings = out.with_name("embeddings.parquet")
        request = ScoreRequest(inputs, out, default_entry(), RUN, embeddings=embeddings)
        scored = list(run_module.score_recordings(request))
        assert [result.recording.path for result in scored] == [recording.path for recording in inputs.recordings]
        tables.append((out.read_bytes(), embeddings.read_bytes()))
    assert tables[0] == tables[1]
    assert tables[0][0].count(b"scored") >= 4
