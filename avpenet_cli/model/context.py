"""`context`: AVPENet's segments over the last minute, so that a spike and sustained pain differ."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from avpenet_cli.model.corrected import FEATURES, CorrectedNetwork, Correction, base_logits
from avpenet_cli.model.correction_settings import ContextSettings
from avpenet_cli.model.time_grid import MISSING, segments_at_lags


class ContextCorrection(Correction):
    """Weighted averages over the segments within the span, and a small network that corrects the score by them.

    Each head weighs the segments by their distance in time, learnt for each of the positions, and by how far their
    embeddings can be relied on. At the start the heads are exponential averages of a short to a long memory. The logit
    moves by a multiple of the averages' difference from the segment's own logit and by the output of a network of one
    hidden layer. Positions without a segment have no weight.

    Args:
        settings: of the context.
    """

    def __init__(self, settings: ContextSettings) -> None:
        super().__init__()
        self.lags, self.step_s = settings.lags, settings.step_s
        heads, hidden = settings.heads, settings.hidden
        self.feature_dropout = nn.Dropout(settings.feature_dropout)
        self.projection = nn.Linear(FEATURES, hidden)
        self.hidden_dropout = nn.Dropout(settings.dropout)
        self.lag_weights = nn.Parameter(torch.empty(heads, len(self.lags)))
        self.reliability = nn.Linear(hidden, heads, bias=False)
        self.mix = nn.Linear(heads, 1, bias=False)
        self.combine = nn.Linear((heads + 1) * (hidden + 1), hidden)
        self.combine_dropout = nn.Dropout(settings.dropout)
        self.output = nn.Linear(hidden, 1)
        self.initialise()

    @torch.no_grad()
    def initialise(self) -> None:
        """Exponential memories over the span, and no correction."""
        for layer in (self.projection, self.combine):
            layer.reset_parameters()
        for layer in (self.reliability, self.mix, self.output):
            layer.weight.zero_()
        self.output.bias.zero_()
        # From one step to the whole span, in equal ratios.
        longest = float(max(abs(lag) for lag in self.lags))
        heads = len(self.lag_weights)
        for head, weights in enumerate(self.lag_weights):
            memory = longest ** (head / max(heads - 1, 1))
            weights.copy_(-torch.tensor(self.lags, dtype=torch.float32, device=weights.device).abs() / memory)

    def relations(self, features: npt.NDArray[np.float32], starts_s: npt.NDArray[np.float64]) -> tuple[Tensor, ...]:
        """(S, K) int64, how many rows away the segment of each position is, and (S, K) bool, whether there is one."""
        index = segments_at_lags(starts_s, self.lags, self.step_s)
        present = index != MISSING
        away = np.where(present, index - np.arange(len(index))[:, None], 0)
        return torch.from_numpy(away), torch.from_numpy(present)

    def summarise(self, features: Tensor) -> Tensor:
        """(n, 515) -> (n, hidden + heads + 1): projected features, reliability for each head, logit of the score."""
        hidden = torch.tanh(self.projection(self.feature_dropout(self.standardise(features))))
        hidden = self.hidden_dropout(hidden)
        return torch.cat([hidden, self.reliability(hidden), base_logits(features)[:, None]], dim=1)

    def forward(self, summaries: Tensor, rows: Tensor, relations: tuple[Tensor, ...]) -> Tensor:
        """As `Correction.forward`; `relations` are r rows of those of this class."""
        away, present = relations
        sizes = [self.projection.out_features, len(self.lag_weights), 1]
        index = (rows[:, None] + away).flatten()
        around, relied, logits = summaries.index_select(0, index).view(*away.shape, -1).split(sizes, dim=2)
        own, _, own_logit = summaries[rows].split(sizes, dim=1)
        importance = (relied + self.lag_weights.T).masked_fill(~present[:, :, None], -torch.inf).softmax(dim=1)
        values = torch.cat([around, logits - own_logit[:, None]], dim=2)
        averages = values.transpose(1, 2) @ importance  # (r, hidden + 1, heads)
        hidden = torch.relu(self.combine(torch.cat([averages.flatten(1), own, own_logit], dim=1)))
        return (self.mix(averages[:, -1]) + self.output(self.combine_dropout(hidden))).squeeze(1)


class ContextNetwork(CorrectedNetwork):
    """AVPENet whose score for a segment depends on the segments of the last minute, or two-sided also of the next.

    For the segment that starts at t those at t - 3 s, t - 6 s and so on are used, also where windows overlap, so that
    windows at a stride of 1 s get the same score as windows of 3 s at the same time. Unscorable segments leave gaps,
    and the first segments have less context. A segment alone is scored by its own embedding.

    Args:
        architecture: settings of the base and of the context.
    """

    def __init__(self, architecture: ContextSettings) -> None:
        super().__init__(architecture, ContextCorrection(architecture))
