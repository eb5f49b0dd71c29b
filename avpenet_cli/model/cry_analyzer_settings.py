"""Settings of the network `cry-analyzer`. Imports no torch."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from avpenet_cli.model.architecture import NetworkSettings


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class CryAnalyzerSettings(NetworkSettings):
    """Size of the random forest.

    Attributes:
        n_trees: trees whose predictions are averaged.
        min_leaf: the fewest training segments in a leaf.
        max_depth: the largest number of decisions in a tree.
        n_nodes: nodes of all trees together; 0 before the forest has learnt, filled in by learning.
        feature_set: version of the acoustic features; raised when one is added, removed or computed differently.
    """

    n_trees: Annotated[int, Field(ge=1, le=5000)] = 200
    min_leaf: Annotated[int, Field(ge=1)] = 3
    max_depth: Annotated[int, Field(ge=1, le=64)] = 16
    n_nodes: Annotated[int, Field(ge=0)] = 0
    feature_set: Literal[1] = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.n_nodes and self.n_nodes < self.n_trees:
            raise ValueError(f"n_nodes = {self.n_nodes} is less than one node for each of {self.n_trees} trees")
