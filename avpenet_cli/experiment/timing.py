"""How long a network takes for a segment."""

from __future__ import annotations

import time

import numpy as np
import torch

from avpenet_cli.dataset.store import SegmentStore
from avpenet_cli.model.inference import optimise_for_inference
from avpenet_cli.model.network import PainNetwork
from avpenet_cli.training.data import SampleKey, SegmentDataset
from avpenet_cli.training.settings import TrainSettings

_TIMED_SEGMENTS = 3


@torch.inference_mode()
def time_ms(network: PainNetwork, store: SegmentStore, rows: np.ndarray, settings: TrainSettings) -> float | None:
    """Median time of encoding a segment's audio and faces and scoring it, on the CPU, ms; None without segments.

    Args:
        network: in evaluation mode, on the CPU.
        rows: of the store's index; the first three are timed.
        settings: how many faces of a segment are used (`validation_frames`), and their size.
    """
    if not len(rows):
        return None
    fast = optimise_for_inference(network, "cpu", "float32")
    dataset = SegmentDataset(store, settings, False, settings.validation_frames, audio_input=network.audio_input)
    face = store.preprocessing.face
    mean, std = (torch.tensor(value).view(1, 3, 1, 1) for value in (face.pixel_mean, face.pixel_std))
    spent_ms = []
    for row in [rows[0], *rows[:_TIMED_SEGMENTS]]:
        item = dataset[SampleKey(0, int(row))]
        started = time.perf_counter()
        audio = faces = places = None
        if "audio" in network.modalities:
            audio = fast.encode_audio(torch.from_numpy(item.mel)[None])
        if "face" in network.modalities and len(item.faces):
            pixels = (torch.from_numpy(np.ascontiguousarray(item.faces)).float() / 255 - mean) / std
            if network.architecture.pools_images:
                pixels = pixels.mean(dim=0, keepdim=True)
            else:
                places = torch.from_numpy(item.places)[None]
            faces = fast.encode_faces(pixels)[None]
        fast.score(audio, faces, None, places)
        spent_ms.append(1000 * (time.perf_counter() - started))
    # The first one is for warming up.
    return float(np.median(spent_ms[1:]))
