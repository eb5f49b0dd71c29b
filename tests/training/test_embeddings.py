"""What keeps a GPU busy changes no result: segments encoded together, equal frames once, and who loads data."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
import torch

from avpenet_cli.dataset.store import SegmentStore
from avpenet_cli.model.encoders import deduplicate_consecutive
from avpenet_cli.runs.callbacks import NO_CALLBACKS
from avpenet_cli.training.data import Item
from avpenet_cli.training.embeddings import _Encoder
from avpenet_cli.training.fit import loading_processes
from avpenet_cli.training.initial import initial_network
from avpenet_cli.training.settings import StageSettings, TrainSettings
from tests.support.training_stores import make_store

FROZEN, TRAINED = StageSettings(1, 0.0, 1e-3), StageSettings(1, 1e-4, 1e-3)


@pytest.mark.parametrize("pattern", [[], [0], [0, 0], [0, 1, 1, 0, 0, 0, 2], [3, 2, 1]])
def test_equal_images_in_a_row_are_kept_once(pattern: list[int]) -> None:
    images = torch.rand(4, 3, 5, 5)[torch.tensor(pattern, dtype=torch.int64)]
    distinct, inverse = deduplicate_consecutive(images)
    assert len(distinct) == len(list(itertools.groupby(pattern)))
    torch.testing.assert_close(distinct[inverse], images, rtol=0, atol=0)


def test_segments_encoded_together_have_the_outputs_that_each_has_alone(tmp_path: Path) -> None:
    store = SegmentStore.open(make_store(tmp_path / "store", subjects=4, segments=1, faces=2))
    settings = TrainSettings(stage_1=FROZEN, stage_2=TRAINED, device="cpu", validation_frames=2)
    network = initial_network(settings, ()).eval()
    rows = np.arange(len(store))
    alone, together = (_Encoder(network, store, settings, together=together) for together in (False, True))
    for one, other in zip(alone(rows, "audio", NO_CALLBACKS), together(rows, "audio", NO_CALLBACKS), strict=True):
        assert (one.row, one.truth) == (other.row, other.truth)
        np.testing.assert_allclose(one.mel, other.mel, atol=1e-4)
    for one, other in zip(alone(rows, "face", NO_CALLBACKS), together(rows, "face", NO_CALLBACKS), strict=True):
        assert one.row == other.row
        np.testing.assert_array_equal(one.places, other.places)
        np.testing.assert_allclose(one.faces, other.faces, atol=1e-4)


def test_audio_of_unequal_lengths_is_encoded_apart_and_segments_without_faces_have_none(tmp_path: Path) -> None:
    store = SegmentStore.open(make_store(tmp_path / "store", subjects=4, segments=1, faces=1))
    settings = TrainSettings(stage_1=FROZEN, stage_2=TRAINED, device="cpu", validation_frames=2)
    encoder = _Encoder(initial_network(settings, ()).eval(), store, settings, together=True)
    rng = np.random.default_rng(0)
    none, face = np.zeros((0, 3, 64, 64), np.uint8), rng.integers(0, 255, (1, 3, 64, 64), np.uint8)
    items = [
        Item(rng.random((1, 128, frames), np.float32), faces, np.arange(len(faces)), 0.0, frames)
        for frames, faces in ((300, none), (200, face), (300, np.concatenate([face, face])))
    ]
    assert [len(batch) for batch in encoder._batches(items, "audio")] == [1, 1, 1]
    (batch,) = encoder._batches(items, "face")
    empty, single, double = (item.faces for item in encoder._encode(batch, "face"))
    assert empty.shape == (0, 512)
    np.testing.assert_allclose(np.concatenate([single, single]), double, atol=1e-5)


def test_processes_load_data_where_loading_takes_time() -> None:
    def processes(device: str, **options: object) -> int:
        settings = TrainSettings(**({"stage_1": FROZEN, "stage_2": TRAINED} | options))  # type: ignore[arg-type]
        return loading_processes(settings, torch.device(device))

    assert processes("cpu") == 0
    assert processes("cuda") >= 1
    # Only the first stage is on embeddings.
    assert processes("cuda", cache_embeddings=True) >= 1
    assert processes("cuda", cache_embeddings=True, stage_2=StageSettings(0, 1e-4, 1e-3)) == 0
    assert processes("cuda", cache_embeddings=True, stage_2=StageSettings(0, 1e-4, 1e-3), workers=3) == 3
