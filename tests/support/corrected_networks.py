"""Networks that correct AVPENet's scores, with one seeded base between them."""

from __future__ import annotations

from functools import cache

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from avpenet_cli.model.architecture import Architecture
from avpenet_cli.model.avpenet import AVPENet
from avpenet_cli.model.context import ContextNetwork
from avpenet_cli.model.corrected import CorrectedNetwork
from avpenet_cli.model.correction_settings import ContextSettings, CorrectionSettings, OwnBaselineSettings
from avpenet_cli.model.initialise import seeded_state
from avpenet_cli.model.network import FeatureTable
from avpenet_cli.model.own_baseline import OwnBaselineNetwork
from tests.support.feature_tables import EMBEDDING


@cache
def _base_state() -> dict[str, Tensor]:
    with torch.device("meta"):
        base = AVPENet(Architecture())
    return {f"base.{name}": tensor for name, tensor in seeded_state(base, 7).items()}


def corrected_network(settings: CorrectionSettings, *, seeded: bool = False) -> CorrectedNetwork:
    """A network in evaluation mode.

    Args:
        settings: of `context` or `own-baseline`.
        seeded: random corrections, as of a network that has learnt something; otherwise none.
    """
    with torch.device("meta"):
        if isinstance(settings, ContextSettings):
            network: CorrectedNetwork = ContextNetwork(settings)
        else:
            assert isinstance(settings, OwnBaselineSettings)
            network = OwnBaselineNetwork(settings)
    state = {f"correction.{name}": tensor for name, tensor in seeded_state(network.correction, 3).items()}
    network.load_state_dict({**_base_state(), **state}, assign=True)
    if not seeded:
        network.correction.initialise()
    return network.eval()


@torch.inference_mode()
def recording_scores(
    network: CorrectedNetwork, features: npt.NDArray[np.float32], starts_s: npt.NDArray[np.float64]
) -> npt.NDArray[np.float32]:
    """Scores of one recording."""
    scores: npt.NDArray[np.float32] = network.score_recording(
        torch.from_numpy(features), torch.from_numpy(starts_s)
    ).numpy()
    return scores


def errors_on_test(network: CorrectedNetwork, table: FeatureTable) -> tuple[float, float]:
    """MAE of the base and of the network on subjects that are neither for training nor for validation, points."""
    scores = np.empty(len(table.truth))
    for recording in np.unique(table.recording):
        rows = table.recording == recording
        scores[rows] = recording_scores(network, table.features[rows], table.starts_s[rows])
    rows = ~table.train & ~table.validation
    base, own = (np.abs(values - table.truth)[rows].mean() for values in (table.features[:, EMBEDDING], scores))
    return float(base), float(own)
