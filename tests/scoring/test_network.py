"""Batches for which the GPU's memory runs out are halved, and the result stays the same."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import pytest
import torch

from avpenet_cli.bundled import phantoms_directory
from avpenet_cli.errors import EnvironmentUnavailableError
from avpenet_cli.model import onednn
from avpenet_cli.scoring.network import Network, encode_in_batches
from avpenet_cli.scoring.scorer import Scorer
from avpenet_cli.settings import RunSettings, from_dict
from avpenet_cli.weights import default_entry
from tests.conftest import ClipMaker

ITEMS = [np.full((2, 2), number, np.float32) for number in range(11)]


def encoder_with_room_for(room: int, sizes: list[int]) -> Callable[[Sequence[np.ndarray]], np.ndarray]:
    """Encodes at most `room` items at a time, as a GPU with little memory does; `sizes` collects all attempts."""

    def encode(batch: Sequence[np.ndarray]) -> np.ndarray:
        sizes.append(len(batch))
        if len(batch) > room:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return np.stack([item.ravel() for item in batch])

    return encode


@pytest.mark.parametrize(
    ("room", "fitting", "attempts"),
    [(8, 8, [8, 3]), (5, 4, [8, 4, 4, 3]), (1, 1, [8, 4, 2, *[1] * 11])],
)
def test_batch_is_halved_until_it_fits_and_no_item_is_lost_or_repeated(
    room: int, fitting: int, attempts: list[int]
) -> None:
    sizes: list[int] = []
    rows, size = encode_in_batches(encoder_with_room_for(room, sizes), ITEMS, 8)
    assert rows[:, 0].tolist() == list(range(11))
    assert (size, sizes) == (fitting, attempts)


def test_incomplete_batch_that_does_not_fit_is_halved_from_its_own_length() -> None:
    sizes: list[int] = []
    rows, size = encode_in_batches(encoder_with_room_for(2, sizes), ITEMS[:3], 32)
    assert (len(rows), size, sizes) == (3, 1, [3, 1, 1, 1])


def test_single_item_that_does_not_fit_ends_with_a_remedy() -> None:
    with pytest.raises(EnvironmentUnavailableError, match="batch of one; end other programs on this GPU"):
        encode_in_batches(encoder_with_room_for(0, []), ITEMS, 8)


def test_other_errors_of_the_encoder_are_not_taken_for_lack_of_memory() -> None:
    def encode(batch: Sequence[np.ndarray]) -> np.ndarray:
        raise RuntimeError("a kernel failed")

    with pytest.raises(RuntimeError, match="a kernel failed"):
        encode_in_batches(encode, ITEMS, 8)


@pytest.fixture(scope="module", params=["float32", "int8"])
def network(request: pytest.FixtureRequest) -> Network:
    if not onednn.is_available(torch.device("cpu")):
        pytest.skip("this CPU has no fused convolutions")
    return Network(default_entry(), RunSettings(device="cpu", mc_samples=3, precision=request.param))


@pytest.fixture
def threads() -> Iterator[Callable[[int], None]]:
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


def test_outputs_are_equal_to_the_bit_whatever_the_batch_the_order_and_the_threads(
    network: Network, threads: Callable[[int], None]
) -> None:
    """Scores may not depend on --batch-size, on --workers, or on what else is in a recording."""
    rng = np.random.default_rng(1)
    crops = [rng.integers(0, 256, (224, 224, 3), np.uint8) for _ in range(12)]
    mels = [rng.random((128, 300), np.float32) for _ in range(3)]
    threads(1)
    faces, audio = network.encode_faces(crops), network.encode_audio(mels)
    score, samples, _ = network.score(audio[0], faces, 0)
    for number, batch in ((1, 1), (2, 1), (1, 7), (2, 5), (2, 12)):
        threads(number)
        order = rng.permutation(len(crops))
        network.batch_size = batch
        again = np.empty_like(faces)
        again[order] = network.encode_faces([crops[index] for index in order])
        assert np.array_equal(again, faces), f"{number} threads, batches of {batch}"
        assert np.array_equal(network.encode_audio(mels[::-1])[::-1], audio), f"{number} threads, batches of {batch}"
        score_again, samples_again, _ = network.score(audio[0], faces, 0)
        assert score_again == score
        assert np.array_equal(samples_again, samples)


@pytest.mark.slow
def test_scores_in_8_bits_differ_by_less_than_a_tenth(clips: ClipMaker) -> None:
    if not onednn.is_available(torch.device("cpu")):
        pytest.skip("this CPU has no 8-bit convolutions")
    phantom = min(phantoms_directory().glob("*.mp4"), key=lambda path: path.stat().st_size)
    recording = clips.ffmpeg("-i", str(phantom), "-t", "9", "-c", "copy")
    scores = []
    for precision in ("float32", "int8"):
        run = from_dict(RunSettings, {"device": "cpu", "precision": precision}, "test")
        outcome = Scorer(Network(default_entry(), run), run).score(recording)
        scores.append([segment.score for segment in outcome.segments if segment.score is not None])
    assert len(scores[0]) == 3
    assert scores[1] == pytest.approx(scores[0], abs=0.1)


def test_loading_a_network_imports_no_compiler_and_no_library_that_scoring_does_without() -> None:
    """Importing torchvision or torch's compiler takes seconds, more than a short recording."""
    code = (
        "import sys, avpenet_cli.scoring.run; from avpenet_cli.scoring.network import Network; "
        "from avpenet_cli.settings import RunSettings; from avpenet_cli.weights import default_entry; "
        "Network(default_entry(), RunSettings(device='cpu')); "
        "print([name for name in ('torchvision', 'torch._dynamo', 'facenet_pytorch', 'lightning', 'sympy', "
        "'scipy.signal', 'pandas', 'matplotlib') if name in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (run.returncode, run.stdout) == (0, "[]\n"), run.stderr
