"""A network for several threads gives the numbers of the plain one, whatever else is asked of it at the same time."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from avpenet_cli.face.detect import FaceDetector
from avpenet_cli.media.frame_image import RgbImage
from avpenet_cli.scoring.network import Network, SegmentTokens
from avpenet_cli.scoring.shared_network import SEGMENT_BATCH, SharedNetwork
from avpenet_cli.settings import FaceSettings, RunSettings
from avpenet_cli.weights import default_entry, find
from avpenet_cli.weights.description import UNTRAINED
from tests.support.portraits import portrait_frames

RUN = RunSettings(device="cpu", batch_size=16, mc_samples=5)
"""16 faces: of a number that 16 does not divide, a processor computes the last ones' sigmoid in another way."""


@pytest.fixture(scope="module")
def shared_network() -> Iterator[SharedNetwork]:
    network = SharedNetwork(default_entry(), RUN)
    yield network
    network.close()


@pytest.fixture(scope="module")
def plain() -> Network:
    return Network(default_entry(), RUN)


@pytest.fixture(scope="module")
def segments() -> list[SegmentTokens]:
    """Segments of every kind: 1 to 30 faces, without audio, without a face."""
    rng = np.random.default_rng(0)
    both: list[SegmentTokens] = [
        SegmentTokens(
            rng.normal(0, 2, (10, 512)).astype(np.float32),
            rng.normal(0, 0.2, (faces, 512)).astype(np.float32),
            30 * faces,
        )
        for faces in (1, 7, 29, 30, 12)
    ]
    return [*both, SegmentTokens(None, both[1][1], 0), SegmentTokens(both[0][0], None, 3)]


def test_encodings_are_those_of_the_plain_network(shared_network: SharedNetwork, plain: Network) -> None:
    rng = np.random.default_rng(1)
    crops = list(rng.integers(0, 256, (3, 224, 224, 3), np.uint8))
    for images in ([crops[0], crops[0], crops[1], crops[2]], [crop.astype(np.float32) for crop in crops]):
        embeddings = shared_network.encode_faces(images)
        np.testing.assert_allclose(embeddings, plain.encode_faces(images), atol=1e-5)
        assert embeddings.dtype == np.float32
    mels = list(rng.random((3, 128, 300), np.float32))
    np.testing.assert_allclose(shared_network.encode_audio(mels), plain.encode_audio(mels), atol=1e-4)


def test_scores_with_padding_are_those_of_the_plain_network(
    shared_network: SharedNetwork, plain: Network, segments: list[SegmentTokens]
) -> None:
    together = shared_network.score_many(segments)
    alone = [plain.score(*segment) for segment in segments]
    assert [result.score for result in together] == pytest.approx([result.score for result in alone], abs=1e-5)
    # Not padded: each random number belongs to the same token as in the plain network.
    for result, expected in zip(together, alone, strict=True):
        np.testing.assert_allclose(result.samples, expected.samples, atol=1e-6)


def test_missing_modality_is_refused_where_weights_need_it(segments: list[SegmentTokens]) -> None:
    network = SharedNetwork(find(UNTRAINED), RUN)
    try:
        for segment, modality in ((segments[-2], "audio"), (segments[-1], "face")):
            with pytest.raises(ValueError, match=modality):
                network.score_many([segment])
    finally:
        network.close()


def test_numbers_do_not_depend_on_what_other_threads_ask(
    shared_network: SharedNetwork, segments: list[SegmentTokens]
) -> None:
    """To the bit: faces, audio and scores of one thread, with three others at work and alone."""
    rng = np.random.default_rng(2)
    work = [
        (
            list(rng.integers(0, 256, (count, 224, 224, 3), np.uint8)),
            list(rng.random((2, 128, 300), np.float32)),
            [segments[(count + place) % len(segments)] for place in range(SEGMENT_BATCH // 5)],
        )
        for count in (1, 3, 4, 2)
    ]

    def everything(number: int) -> tuple[np.ndarray, np.ndarray, list[float], np.ndarray]:
        crops, mels, some = work[number]
        scored = shared_network.score_many(some)
        return (
            shared_network.encode_faces(crops),
            shared_network.encode_audio(mels),
            [result.score for result in scored],
            np.stack([result.samples for result in scored]),
        )

    alone = [everything(number) for number in range(len(work))]
    with ThreadPoolExecutor(4) as threads:
        crowded = list(threads.map(everything, [3, 2, 1, 0]))
    for number, result in zip([3, 2, 1, 0], crowded, strict=True):
        for value, expected in zip(result, alone[number], strict=True):
            np.testing.assert_array_equal(value, expected)


def test_faces_of_a_frame_do_not_depend_on_the_frames_of_others(shared_network: SharedNetwork) -> None:
    """To the bit, for two threads with frames of one size and one with another size; and the plain network's faces."""
    large = [RgbImage(frame) for frame in portrait_frames(0.8, 240, 180, 5.0)]
    small = [RgbImage(frame) for frame in portrait_frames(0.8, 160, 120, 5.0)]
    requests = [large[:1], large[1:], small]
    alone = [shared_network.face_detector().detect(frames) for frames in requests]
    with ThreadPoolExecutor(3) as threads:
        crowded = list(threads.map(lambda frames: shared_network.face_detector().detect(frames), requests))
    plain = FaceDetector(FaceSettings(), shared_network.device).detect(small)
    assert [len(faces) for faces in plain] == [1] * len(small)
    for frames, expected in zip(crowded, alone, strict=True):
        for faces, references in zip(frames, expected, strict=True):
            assert len(faces) == len(references) == 1
            np.testing.assert_array_equal(faces[0].box, references[0].box)
            np.testing.assert_array_equal(faces[0].eyes, references[0].eyes)
            assert faces[0].confidence == references[0].confidence
    for faces, references in zip(crowded[2], plain, strict=True):
        np.testing.assert_allclose(faces[0].box, references[0].box, atol=1e-2)
