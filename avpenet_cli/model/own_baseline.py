"""`own-baseline`: scores against the same patient's quiet minutes."""

from __future__ import annotations

import heapq

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from avpenet_cli.model.corrected import FEATURES, CorrectedNetwork, Correction, base_logits, base_scores
from avpenet_cli.model.correction_settings import OwnBaselineSettings

_PHASE_S = 0.1
"""Segments start whole steps apart if the remainders of their starts by the step round to the same multiple of this, s;
it bounds the number of baselines of a recording."""


class BaselineCorrection(Correction):
    """A small network of the features, their difference from the baseline's, the base's score and the baseline's.

    Its output is multiplied by 1 - 1/n, n being the number of segments that the baseline is chosen from: a segment
    alone is its own baseline and says nothing about the patient, so its score is the base's.

    Args:
        settings: of the baseline.
    """

    def __init__(self, settings: OwnBaselineSettings) -> None:
        super().__init__()
        self.settings = settings
        self.feature_dropout = nn.Dropout(settings.feature_dropout)
        self.own = nn.Linear(FEATURES, settings.hidden)
        self.difference = nn.Linear(FEATURES, settings.hidden, bias=False)
        self.levels = nn.Linear(2, settings.hidden, bias=False)
        self.dropout = nn.Dropout(settings.dropout)
        self.mix = nn.Linear(2, 1)
        self.output = nn.Linear(settings.hidden, 1, bias=False)
        self.initialise()

    @torch.no_grad()
    def initialise(self) -> None:
        """No correction."""
        for layer in (self.own, self.difference, self.levels):
            layer.reset_parameters()
        self.mix.weight.zero_()
        self.mix.bias.zero_()
        self.output.weight.zero_()

    def relations(self, features: npt.NDArray[np.float32], starts_s: npt.NDArray[np.float64]) -> tuple[Tensor, ...]:
        """(S, 515) float32: each segment's baseline, and (S,) float32: 1 - 1/n."""
        baseline, n = own_baselines(features, base_scores(torch.from_numpy(features)).numpy(), starts_s, self.settings)
        return torch.from_numpy(baseline), torch.from_numpy((1.0 - 1.0 / n).astype(np.float32))

    def summarise(self, features: Tensor) -> Tensor:
        """(n, 515) -> (n, 516): standardised features and the logit of the score."""
        return torch.cat([self.standardise(features), base_logits(features)[:, None]], dim=1)

    def forward(self, summaries: Tensor, rows: Tensor, relations: tuple[Tensor, ...]) -> Tensor:
        """As `Correction.forward`; `relations` are r rows of those of this class."""
        baseline, trust = relations
        own, quiet = summaries[rows], self.summarise(baseline)
        levels = torch.cat([own[:, -1:], quiet[:, -1:]], dim=1)
        hidden = torch.relu(
            self.own(self.feature_dropout(own[:, :-1]))
            + self.difference(self.feature_dropout(own[:, :-1] - quiet[:, :-1]))
            + self.levels(levels)
        )
        return trust * (self.mix(levels) + self.output(self.dropout(hidden))).squeeze(1)


class OwnBaselineNetwork(CorrectedNetwork):
    """AVPENet whose score for a segment depends on how it differs from the quietest segments of the recording.

    The baseline is the mean embedding of the quarter of the segments with the lowest base scores, at least one: of the
    whole recording, or with `direction="causal"` of the recording so far. It stands for the neutral face of
    reference-based methods such as ViTPain. Where windows overlap, only those count that start whole steps of 3 s away.

    Limitations: a patient in pain throughout has pain for a baseline, and then scores may come out too low. A recording
    of one segment has itself for a baseline; its score is the base's.

    Args:
        architecture: settings of the base and of the baseline.
    """

    def __init__(self, architecture: OwnBaselineSettings) -> None:
        super().__init__(architecture, BaselineCorrection(architecture))


def own_baselines(
    features: npt.NDArray[np.float32],
    scores: npt.NDArray[np.float32],
    starts_s: npt.NDArray[np.float64],
    settings: OwnBaselineSettings,
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
    """Baseline of each segment of a recording.

    Args:
        features: (S, E).
        scores: (S,), the lower the quieter; of equal ones the earlier is the quieter.
        starts_s: (S,) s, ascending.
        settings: which segments count, and the share of them that is quiet.

    Returns:
        (S, E), the mean features of the quiet segments, and (S,), the number of segments they were chosen from.
    """
    phases = np.round(starts_s % settings.step_s / _PHASE_S).astype(np.int64)
    phases %= max(1, round(settings.step_s / _PHASE_S))
    baselines, n = np.empty_like(features), np.empty(len(features), np.int64)
    for phase in np.unique(phases):
        rows = np.flatnonzero(phases == phase)
        if settings.direction == "causal":
            baselines[rows] = _quiet_means_so_far(features[rows], scores[rows], settings.quiet_share)
            n[rows] = np.arange(1, len(rows) + 1)
        else:
            quiet = rows[np.argsort(scores[rows], kind="stable")[: _quiet_count(len(rows), settings.quiet_share)]]
            baselines[rows], n[rows] = features[quiet].mean(axis=0, dtype=np.float64), len(rows)
    return baselines, n


def _quiet_count(n: int, share: float) -> int:
    return max(1, int(n * share + 1e-9))


def _quiet_means_so_far(
    features: npt.NDArray[np.float32], scores: npt.NDArray[np.float32], share: float
) -> npt.NDArray[np.float32]:
    """After each segment, the mean features of the quietest so far; in O(S log S) by two heaps and a running sum."""
    means = np.empty_like(features)
    total = np.zeros(features.shape[1])
    quiet: list[tuple[float, int]] = []  # the loudest first, negated
    others: list[tuple[float, int]] = []  # the quietest first
    for row, score in enumerate(scores.tolist()):
        total += features[row]
        _, loudest = moved = heapq.heappushpop(quiet, (-score, -row))
        total -= features[-loudest]
        heapq.heappush(others, (-moved[0], -loudest))
        if len(quiet) < _quiet_count(row + 1, share):
            quietest = heapq.heappop(others)
            total += features[quietest[1]]
            heapq.heappush(quiet, (-quietest[0], -quietest[1]))
        means[row] = total / len(quiet)
    return means
