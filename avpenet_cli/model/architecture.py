"""Describe the variant of the network that a set of weights belongs to. Imports no torch."""

from __future__ import annotations

from typing import Literal

from pydantic import ConfigDict
from pydantic.dataclasses import dataclass

Modality = Literal["audio", "face"]
Fusion = Literal[
    "single",
    "tokens",
    "addition",
    "concatenation",
    "gate",
    "audio-queries",
    "face-queries",
    "transformer",
    "bilstm",
    "none",
]
Pooling = Literal["frame", "image"]

MODALITIES: tuple[Modality, ...] = ("audio", "face")


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class NetworkSettings:
    """What every network's settings have; part of every weights description.

    Attributes:
        may_be_missing: modalities that a segment may lack, but not all at once. Only for weights that were trained
            without that modality.
    """

    may_be_missing: tuple[Modality, ...] = ()

    def __post_init__(self) -> None:
        if len(set(self.may_be_missing)) != len(self.may_be_missing):
            raise ValueError(f"may_be_missing names a modality twice: {', '.join(self.may_be_missing)}")

    @property
    def pools_images(self) -> bool:
        """Whether the face crops of a segment are averaged and encoded once, instead of one by one."""
        return False


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Architecture(NetworkSettings):
    """Variant of the published model.

    Attributes:
        fusion: `single` averages each modality to one token before the attention, as in the published model; `tokens`
            lets the 10 audio and up to 30 face tokens attend to each other. The others are what the paper compares with
            it: `addition`, `concatenation` and `gate` of the two embeddings; `audio-queries` and `face-queries`, where
            only that modality attends to the other; `transformer`, an encoder over all tokens; `bilstm`, a recurrent
            network over ten time steps; `none`, the mean of both normalised embeddings straight to the head.
        pooling: `frame` encodes every face and pools the embeddings; `image` averages the face crops of a segment and
            encodes the mean image, as the authors' `PainEstimator` does.
        may_be_missing: modalities that a segment may lack, but not all at once; a missing one is replaced by one token
            of zeros. Only for weights that were trained without that modality.
    """

    fusion: Fusion = "tokens"
    pooling: Pooling = "frame"

    @property
    def pools_images(self) -> bool:
        """As `NetworkSettings.pools_images`."""
        return self.pooling == "image"
