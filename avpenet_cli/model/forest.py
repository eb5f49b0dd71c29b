"""A regression forest as flat tensors: fitted by scikit-learn, evaluated by torch, stored without pickle."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn


class RegressionForest(nn.Module):
    """The mean of the trees' predictions. All nodes of all trees stand in one list.

    The tensors are one-dimensional, so that 8-bit packing of weights leaves them as they are.

    Args:
        n_trees: at least 1.
        n_nodes: of all trees together, leaves included, at least `n_trees`.
        max_depth: the largest number of decisions from root to leaf.

    Attributes:
        roots: (n_trees,) int64, index of each tree's first node.
        feature: (n_nodes,) int64, column that a node looks at; 0 in a leaf.
        threshold: (n_nodes,) float32; a row goes left where its value is at most this.
        left: (n_nodes,) int64, index of the next node; a leaf's own.
        right: (n_nodes,) int64, likewise.
        value: (n_nodes,) float32, mean truth of the rows that reached a node.
    """

    roots: Tensor
    feature: Tensor
    threshold: Tensor
    left: Tensor
    right: Tensor
    value: Tensor

    def __init__(self, n_trees: int, n_nodes: int, max_depth: int) -> None:
        super().__init__()
        self.max_depth = max_depth
        self.register_buffer("roots", torch.arange(n_trees))
        self.register_buffer("feature", torch.zeros(n_nodes, dtype=torch.int64))
        self.register_buffer("threshold", torch.zeros(n_nodes))
        self.register_buffer("left", torch.arange(n_nodes))
        self.register_buffer("right", torch.arange(n_nodes))
        self.register_buffer("value", torch.zeros(n_nodes))

    @classmethod
    def from_sklearn(cls, forest: Any) -> RegressionForest:
        """Convert a fitted `sklearn.ensemble.RandomForestRegressor` of one output, fitted without missing values."""
        trees = [estimator.tree_ for estimator in forest.estimators_]
        sizes = np.array([tree.node_count for tree in trees])
        roots = np.cumsum(sizes) - sizes
        own = np.arange(sizes.sum())
        first = np.repeat(roots, sizes)

        def joined(name: str) -> np.ndarray:
            return np.concatenate([getattr(tree, name) for tree in trees])

        left, right = joined("children_left"), joined("children_right")
        leaf = left < 0
        converted = cls(len(trees), int(sizes.sum()), max(1, *(int(tree.max_depth) for tree in trees)))
        for name, array in (
            ("roots", roots),
            ("feature", np.where(leaf, 0, joined("feature"))),
            ("threshold", np.where(leaf, 0, _float32_at_most(joined("threshold")))),
            ("left", np.where(leaf, own, left + first)),
            ("right", np.where(leaf, own, right + first)),
            ("value", joined("value").reshape(-1)),
        ):
            buffer = getattr(converted, name)
            buffer.copy_(torch.from_numpy(np.ascontiguousarray(array)))
        return converted

    def forward(self, features: Tensor) -> Tensor:
        """Predict.

        Args:
            features: (B, F) float32, finite.

        Returns:
            (B,) float32.
        """
        nodes = self.roots.expand(len(features), -1)
        for _ in range(self.max_depth):
            is_left = features.gather(1, self.feature[nodes]) <= self.threshold[nodes]
            nodes = torch.where(is_left, self.left[nodes], self.right[nodes])
        return self.value[nodes].double().mean(dim=1).float()


def _float32_at_most(thresholds: np.ndarray) -> np.ndarray:
    """The largest float32 that is not above each float64: float32 values compare with it as with the original.

    scikit-learn compares features, which it holds as float32, with thresholds in float64.
    """
    rounded = thresholds.astype(np.float32)
    return np.where(rounded > thresholds, np.nextafter(rounded, np.float32(-np.inf)), rounded)
