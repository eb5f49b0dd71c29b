"""Requests of many threads, run in batches of a fixed size by one."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Any

import numpy as np
import pytest
import torch

from avpenet_cli.errors import EnvironmentUnavailableError, Interrupted
from avpenet_cli.model.batching import BatchingService, BatchKind, Finish
from avpenet_cli.model.encoders import AudioEncoder

_TIMEOUT_S = 30.0


class Recorder:
    """Doubles each array; keeps how many arrays every batch had, and may hold up the first batch.

    Attributes:
        batches: the first number of each array of every batch.
        hold: batches wait until it is set.
    """

    def __init__(self, memory: int = 1 << 30) -> None:
        self.batches: list[list[float]] = []
        self.memory = memory
        self.hold, self.entered = threading.Event(), threading.Event()
        self.hold.set()

    def launch(self, arrays: Sequence[np.ndarray], size: int) -> Finish:
        if size > self.memory:
            raise torch.OutOfMemoryError("out of memory")
        stacked = np.stack(arrays)
        if np.isnan(stacked).any():
            raise ValueError("not a number")
        self.batches.append([float(array.flat[0]) for array in arrays])

        def finish() -> np.ndarray:
            self.entered.set()
            assert self.hold.wait(_TIMEOUT_S)
            return 2 * stacked

        return finish


Service = Callable[..., BatchingService]


@pytest.fixture
def services() -> Iterator[Service]:
    """Makes services and closes them."""
    made: list[BatchingService] = []

    def make(*arguments: Any) -> BatchingService:
        made.append(BatchingService(*arguments))
        return made[-1]

    yield make
    for service in made:
        service.close()


def _numbers(*values: float) -> list[np.ndarray]:
    return [np.array([value], np.float32) for value in values]


def _first(future: Future[list[Any]]) -> list[float]:
    return [float(result[0]) for result in future.result(_TIMEOUT_S)]


def test_lone_request_is_answered_in_order_and_in_parts_of_the_batch_size(services: Service) -> None:
    recorder = Recorder()
    service = services({"double": BatchKind(recorder.launch, 4)})
    assert _first(service.submit("double", _numbers(*range(10)))) == [2.0 * n for n in range(10)]
    assert [len(batch) for batch in recorder.batches] == [4, 4, 2]
    assert service.submit("double", []).result(_TIMEOUT_S) == []


def test_what_comes_while_a_batch_runs_makes_up_the_next(services: Service) -> None:
    recorder = Recorder()
    service = services({"double": BatchKind(recorder.launch, 4)})
    recorder.hold.clear()
    futures = [service.submit("double", _numbers(0))]
    assert recorder.entered.wait(_TIMEOUT_S)
    futures += [service.submit("double", _numbers(n)) for n in (1, 2, 3)]
    recorder.hold.set()
    assert [_first(future) for future in futures] == [[0.0], [2.0], [4.0], [6.0]]
    assert recorder.batches == [[0.0], [1.0, 2.0, 3.0]]


def test_shapes_and_kinds_are_not_mixed_in_a_batch_and_the_oldest_goes_first(services: Service) -> None:
    recorder = Recorder()
    service = services({"double": BatchKind(recorder.launch, 4), "again": BatchKind(recorder.launch, 4)})
    recorder.hold.clear()
    futures = [service.submit("double", _numbers(0))]
    assert recorder.entered.wait(_TIMEOUT_S)
    futures.append(service.submit("again", _numbers(1)))
    futures.append(service.submit("double", [np.full((2, 2), 2.0)]))
    futures.append(service.submit("double", _numbers(3)))
    futures.append(service.submit("again", _numbers(4)))
    recorder.hold.set()
    wait(futures, _TIMEOUT_S)
    assert recorder.batches == [[0.0], [1.0, 4.0], [2.0], [3.0]]


def test_many_threads_get_the_bits_that_a_lone_one_gets(services: Service) -> None:
    """With a real encoder, whatever the order and the neighbours, because every batch has the same size."""
    torch.manual_seed(0)
    encoder = AudioEncoder().eval()

    def launch(arrays: Sequence[np.ndarray], size: int) -> Finish:
        batch = np.zeros((size, *arrays[0].shape), np.float32)
        batch[: len(arrays)] = np.stack(arrays)
        with torch.inference_mode():
            tokens = encoder(torch.from_numpy(batch)).numpy()
        return lambda: tokens[: len(arrays)]

    rng = np.random.default_rng(0)
    requests = [[rng.random((1, 128, 60), np.float32) for _ in range(rng.integers(1, 8))] for _ in range(24)]
    alone = services({"audio": BatchKind(launch, 4)})
    expected = [np.stack(alone.submit("audio", request).result(_TIMEOUT_S)) for request in requests]
    shared = services({"audio": BatchKind(launch, 4)})
    with ThreadPoolExecutor(8) as threads:
        results = list(threads.map(lambda request: np.stack(shared.run("audio", request)), requests))
    for result, reference in zip(results, expected, strict=True):
        np.testing.assert_array_equal(result, reference)


def test_batch_is_halved_until_it_fits_and_stays_so(services: Service) -> None:
    recorder = Recorder(memory=3)
    halved: list[tuple[str, int, int]] = []
    service = services({"double": BatchKind(recorder.launch, 16)}, lambda *arguments: halved.append(arguments))
    assert _first(service.submit("double", _numbers(*range(10)))) == [2.0 * n for n in range(10)]
    assert [len(batch) for batch in recorder.batches] == [2, 2, 2, 2, 2]
    assert halved == [("double", 16, 8), ("double", 8, 4), ("double", 4, 2)]
    assert service.batch_size("double") == 2
    assert _first(service.submit("double", _numbers(1, 2, 3))) == [2.0, 4.0, 6.0]
    assert len(halved) == 3


def test_no_memory_for_a_single_array_is_an_error_with_a_remedy_and_not_the_end(services: Service) -> None:
    recorder = Recorder(memory=0)
    service = services({"double": BatchKind(recorder.launch, 4)})
    with pytest.raises(EnvironmentUnavailableError, match="--device cpu"):
        service.submit("double", _numbers(1, 2)).result(_TIMEOUT_S)
    recorder.memory = 4
    assert _first(service.submit("double", _numbers(3))) == [6.0]


class Device:
    """So much memory, shared by kinds of work that keep theirs between batches, as graphs do."""

    def __init__(self, memory: int) -> None:
        self.memory = memory
        self.kept: dict[str, int] = {}

    def kind(self, name: str, batch_size: int, per_array: int) -> BatchKind:
        def launch(arrays: Sequence[np.ndarray], size: int) -> Finish:
            self.kept.pop(name, None)
            if sum(self.kept.values()) + size * per_array > self.memory:
                raise torch.OutOfMemoryError("out of memory")
            self.kept[name] = size * per_array
            return lambda: list(arrays)

        return BatchKind(launch, batch_size, lambda: self.kept.pop(name, None) is not None)


def test_one_kind_does_not_keep_memory_from_another(services: Service) -> None:
    """The first kind's batch takes nearly all memory; a GPU stopped the run because the second found none."""
    device = Device(100)
    service = services({"faces": device.kind("faces", 64, 1), "audio": device.kind("audio", 16, 5)})
    for _ in range(8):
        assert _first(service.submit("faces", _numbers(1, 2))) == [1.0, 2.0]
        assert _first(service.submit("audio", _numbers(3))) == [3.0]
    sizes = service.batch_size("faces"), service.batch_size("audio")
    assert len(device.kept) == 2, "both fit beside each other in the end, without being made anew for every batch"
    assert sizes == (32, 8)


def test_memory_for_a_single_array_is_taken_from_another_kind(services: Service) -> None:
    device = Device(100)
    service = services({"faces": device.kind("faces", 60, 1), "samples": device.kind("samples", 1, 100)})
    for _ in range(3):
        assert _first(service.submit("faces", _numbers(1))) == [1.0]
        assert _first(service.submit("samples", _numbers(2))) == [2.0]


def test_error_reaches_only_those_whose_arrays_cause_it(services: Service) -> None:
    recorder = Recorder()
    service = services({"double": BatchKind(recorder.launch, 8)})
    recorder.hold.clear()
    first = service.submit("double", _numbers(0))
    assert recorder.entered.wait(_TIMEOUT_S)
    good, bad, other = (service.submit("double", _numbers(*numbers)) for numbers in ((1, 2), (3, np.nan), (4,)))
    recorder.hold.set()
    assert _first(first) == [0.0]
    assert _first(good) == [2.0, 4.0]
    assert _first(other) == [8.0]
    with pytest.raises(ValueError, match="not a number"):
        bad.result(_TIMEOUT_S)


def test_cancelled_request_is_not_run(services: Service) -> None:
    recorder = Recorder()
    service = services({"double": BatchKind(recorder.launch, 2)})
    recorder.hold.clear()
    first = service.submit("double", _numbers(0))
    assert recorder.entered.wait(_TIMEOUT_S)
    given_up = service.submit("double", _numbers(1))
    assert given_up.cancel()
    kept = service.submit("double", _numbers(2))
    recorder.hold.set()
    assert _first(first) == [0.0]
    assert _first(kept) == [4.0]
    assert [1.0] not in recorder.batches


def test_closing_ends_what_runs_and_refuses_what_waits() -> None:
    recorder = Recorder()
    service = BatchingService({"double": BatchKind(recorder.launch, 2)})
    recorder.hold.clear()
    running = service.submit("double", _numbers(0))
    assert recorder.entered.wait(_TIMEOUT_S)
    waiting = service.submit("double", _numbers(1))
    closing = threading.Thread(target=service.close)
    closing.start()
    recorder.hold.set()
    closing.join(_TIMEOUT_S)
    assert not closing.is_alive()
    assert _first(running) == [0.0]
    for future in (waiting, service.submit("double", _numbers(2))):
        with pytest.raises(Interrupted):
            future.result(_TIMEOUT_S)
