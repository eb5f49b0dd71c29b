"""Regression head: fused representation -> pain score (equations 21-23)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from avpenet_cli.model.encoders import EMBEDDING

MAX_SCORE = 10.0
"""Upper end of the numeric rating scale."""


class RegressionHead(nn.Module):
    """Layers of 512-256-128-1 units with ReLU, dropout 0.3 and 0.2, and ten times the sigmoid (equations 21-23)."""

    def __init__(self) -> None:
        super().__init__()
        self.fc1 = nn.Linear(EMBEDDING, 256)
        self.drop1 = nn.Dropout(0.3)
        self.fc2 = nn.Linear(256, 128)
        self.drop2 = nn.Dropout(0.2)
        self.fc3 = nn.Linear(128, 1)

    def forward(self, fused: Tensor) -> Tensor:
        """(B, 512) float32 -> (B,) float32 in [0, 10]."""
        hidden = self.drop1(torch.relu(self.fc1(fused)))
        hidden = self.drop2(torch.relu(self.fc2(hidden)))
        return MAX_SCORE * torch.sigmoid(self.fc3(hidden).squeeze(-1))
