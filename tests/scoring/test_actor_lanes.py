"""What lanes do about actors that end; here the actors are in threads of this process, with real networks."""

from __future__ import annotations

import dataclasses
import queue
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
import torch

import avpenet_cli.scoring.lanes.actor as actor_module
from avpenet_cli.errors import EnvironmentUnavailableError, WeightsError
from avpenet_cli.records import Status
from avpenet_cli.runs.callbacks import RunCallbacks
from avpenet_cli.scoring.lanes.actor import ActorSetup, ScoringActor
from avpenet_cli.scoring.lanes.actor_lanes import ActorLanes, Lost
from avpenet_cli.scoring.lanes.lane import Job, JobResult
from avpenet_cli.scoring.lanes.worker_process import Message, WorkerSetup
from avpenet_cli.settings import RunSettings
from avpenet_cli.weights import WeightsEntry, default_entry
from tests.conftest import ClipMaker

DEADLY = "deadly.mp4"
CPU = torch.device("cpu")


class Threads:
    """A cluster of threads, in which an actor ends at a recording of one name."""

    def __init__(self) -> None:
        self.started = self.ended = 0
        self.loading_ends = False
        self._came: queue.SimpleQueue[tuple[object, Message | Lost | None]] = queue.SimpleQueue()

    def resources(self) -> tuple[int, int]:
        return 2, 0

    def start(self, setup: ActorSetup, gpus: int) -> ScoringActor:
        self.started += 1
        return ScoringActor(setup, silent=False)

    def load(self, actor: ScoringActor) -> object:
        return self._stream(iter(()) if self.loading_ends else actor.load(), lost=self.loading_ends)

    def score(self, actor: ScoringActor, job: Job) -> object:
        deadly = job.name == DEADLY
        return self._stream(iter(()) if deadly else actor.score(job), lost=deadly)

    def _stream(self, messages: Iterator[Message], *, lost: bool) -> object:
        stream = object()

        def run() -> None:
            for message in messages:
                self._came.put((stream, message))
            self._came.put((stream, Lost("killed") if lost else None))

        threading.Thread(target=run, daemon=True).start()
        return stream

    def receive(self, streams: list[object], timeout_s: float) -> tuple[object, Message | Lost | None] | None:
        try:
            return self._came.get(timeout=timeout_s)
        except queue.Empty:
            return None

    def end(self, actor: ScoringActor) -> None:
        self.ended += 1

    def close(self) -> None:
        pass


class Warnings(RunCallbacks):
    def __init__(self) -> None:
        self.lines: list[str] = []

    def warning(self, message: str, **fields: object) -> None:
        self.lines.append(message)


def _setup(entry: WeightsEntry, lanes: int = 1) -> ActorSetup:
    settings = RunSettings(device="cpu", batch_size=8)
    return ActorSetup(WorkerSetup(entry, settings, with_times=True, threads=1), lanes)


def _score(lanes: ActorLanes, paths: list[Path]) -> dict[str, JobResult]:
    jobs = [Job(position, path.name, path, path.stat()) for position, path in enumerate(paths)]
    results = []
    for number, job in enumerate(jobs):
        while not lanes.has_room():
            results.append(lanes.take())
        lanes.submit(job)
        assert len(results) <= number
    while len(results) < len(jobs):
        results.append(lanes.take())
    assert len({result.job.position for result in results}) == len(jobs)
    return {result.job.name: result for result in results}


@pytest.mark.slow
def test_a_recording_at_which_three_actors_end_fails_and_the_others_are_scored(
    clips: ClipMaker, tmp_path: Path
) -> None:
    deadly = tmp_path / DEADLY
    deadly.symlink_to(clips.brief())
    paths = [clips.brief(), deadly, clips.brief("moan", 4.6)]
    cluster, callbacks = Threads(), Warnings()
    with closing(ActorLanes(cluster, _setup(default_entry()), 2, CPU, callbacks)) as lanes:
        results = _score(lanes, paths)
    assert [results[path.name].outcome.status for path in paths] == [Status.SCORED, Status.FAILED, Status.SCORED]
    assert results[DEADLY].outcome.reason == "worker_ended"
    assert [DEADLY in line for line in callbacks.lines] == [True, True]
    assert cluster.started == 2 + 3 == cluster.ended


@pytest.mark.slow
def test_recordings_share_an_actor_and_its_network_as_on_a_gpu(
    clips: ClipMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(actor_module, "can_be_shared", lambda entry, run: True)
    paths = [clips.brief(), clips.brief("moan")]
    with closing(ActorLanes(Threads(), _setup(default_entry(), 2), 1, CPU, RunCallbacks())) as lanes:
        results = _score(lanes, paths)
    assert {result.outcome.status for result in results.values()} == {Status.SCORED}
    assert {result.lane for result in results.values()} == {0, 1}


def test_actors_that_always_end_while_they_load_end_the_run() -> None:
    cluster = Threads()
    cluster.loading_ends = True
    with pytest.raises(EnvironmentUnavailableError, match="the actors end while they are loading: killed"):
        ActorLanes(cluster, _setup(default_entry()), 2, CPU, RunCallbacks())
    assert cluster.started == 7 == cluster.ended


def test_a_host_with_another_version_or_other_weights_ends_the_run(tmp_path: Path) -> None:
    entry = default_entry()
    other = dataclasses.replace(_setup(entry), version="0.0.1")
    with pytest.raises(EnvironmentUnavailableError, match=r"has avpenet .*, the host of the run 0\.0\.1"):
        ActorLanes(Threads(), other, 1, CPU, RunCallbacks())
    description = dataclasses.replace(entry.description, intended_use="Something else.")
    missing = WeightsEntry(description, tmp_path / f"{entry.name}.safetensors")
    with pytest.raises(WeightsError, match="has other weights named"):
        ActorLanes(Threads(), _setup(missing), 1, CPU, RunCallbacks())
