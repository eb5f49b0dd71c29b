"""Faces are encoded in threads beside the search for faces, and nothing of the result depends on it."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence

import numpy as np
import pytest
import torch

from avpenet_cli.errors import Interrupted
from avpenet_cli.pipeline.timer import StageTimer
from avpenet_cli.scoring.encoder_threads import EncoderThreads
from avpenet_cli.scoring.network import Network
from avpenet_cli.settings import RunSettings
from avpenet_cli.weights import find


@pytest.fixture(scope="module")
def network() -> Network:
    return Network(find("untrained"), RunSettings(device="cpu"))


@pytest.fixture(params=[0, 1, 3])
def threads(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """So many encoder threads; the number of this thread's own is what it was afterwards."""
    monkeypatch.setattr(Network, "encoder_threads", property(lambda self: request.param))
    before = torch.get_num_threads()
    yield request.param
    assert torch.get_num_threads() == before


def crops(count: int) -> list[np.ndarray]:
    random = np.random.RandomState(0)
    return [random.randint(0, 256, (224, 224, 3)).astype(np.uint8) for _ in range(count)]


def test_embeddings_are_equal_to_the_bit_with_any_number_of_threads(network: Network, threads: int) -> None:
    images = crops(19)
    images[5:14] = [images[5]] * 9  # a frame that stays on screen
    with EncoderThreads(network, StageTimer()) as encoder:
        tasks = [task for part in (images[:17], images[17:]) for task in encoder.submit(part)]
        embeddings = encoder.results(tasks)
    np.testing.assert_array_equal(embeddings, network.encode_faces(images))


def test_repeated_crop_is_encoded_once(network: Network, threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    encoded: list[int] = []

    def encode_counting(self: Network, some: Sequence[np.ndarray]) -> np.ndarray:
        encoded.append(len({crop.tobytes() for crop in some}))
        return np.zeros((len(some), 512), np.float32)

    monkeypatch.setattr(Network, "encode_faces", encode_counting)
    images = [image for image in crops(10) for _ in range(3)]
    with EncoderThreads(network, StageTimer()) as encoder:
        assert np.shape(encoder.results(encoder.submit(images))) == (30, 512)
    assert sum(encoded) == 10


def test_time_of_all_threads_is_added_up(network: Network, threads: int) -> None:
    timer = StageTimer()
    with EncoderThreads(network, timer) as encoder:
        encoder.results(encoder.submit(crops(3)))
    assert timer.seconds["encode_faces"] > 0


def test_error_of_a_thread_is_raised(network: Network, threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(self: Network, some: Sequence[np.ndarray]) -> np.ndarray:
        raise ValueError("cannot be encoded")

    monkeypatch.setattr(Network, "encode_faces", fail)
    with pytest.raises(ValueError, match="cannot be encoded"), EncoderThreads(network, StageTimer()) as encoder:
        encoder.results(encoder.submit(crops(2)))


def test_interrupted_search_ends_the_threads(network: Network, threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """What has not begun is dropped; what has is waited for, so that no thread outlives the recording."""
    encoded: list[int] = []

    def encode_slowly(self: Network, some: Sequence[np.ndarray]) -> np.ndarray:
        threading.Event().wait(0.2)
        encoded.append(len(some))
        return np.zeros((len(some), 512), np.float32)

    monkeypatch.setattr(Network, "encode_faces", encode_slowly)
    with pytest.raises(Interrupted), EncoderThreads(network, StageTimer()) as encoder:
        encoder.submit(crops(4) * 8)
        raise Interrupted("interrupted")
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("encoder")]
    assert sum(encoded) <= 8 * threads if threads else sum(encoded) == 32
