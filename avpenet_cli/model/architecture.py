"""The choices a set of weights was trained with. Part of every weights description; free of torch."""

from __future__ import annotations

from typing import Literal

from pydantic import ConfigDict
from pydantic.dataclasses import dataclass

Modality = Literal["audio", "face"]
Fusion = Literal["single", "tokens"]
Pooling = Literal["frame", "image"]

MODALITIES: tuple[Modality, ...] = ("audio", "face")


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Architecture:
    """Which of the published model's variants the parameters belong to.

    Attributes:
        fusion: `single` averages each side to one token before the attention, which is the model as published;
            `tokens` lets the 10 audio and up to 30 face tokens attend to each other.
        pooling: `frame` encodes every face and pools what comes out; `image` averages the face pictures of a
            segment first and encodes that one picture, as the authors' `PainEstimator` does.
        may_be_missing: modalities that a segment may lack, never all at once; each is then one token of zeros. Weights
            that were not trained without a modality must not list it.
    """

    fusion: Fusion = "tokens"
    pooling: Pooling = "frame"
    may_be_missing: tuple[Modality, ...] = ()

    def __post_init__(self) -> None:
        if len(set(self.may_be_missing)) != len(self.may_be_missing):
            raise ValueError(f"may_be_missing names a modality twice: {', '.join(self.may_be_missing)}")
