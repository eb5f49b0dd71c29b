"""Settings of the comparison networks. Imports no torch."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from avpenet_cli.model.architecture import NetworkSettings

_STRICT = ConfigDict(extra="forbid")


@dataclass(frozen=True, config=_STRICT)
class SingleModalitySettings(NetworkSettings):
    """Of the networks with one modality, which no segment may lack."""

    def __post_init__(self) -> None:
        if self.may_be_missing:
            raise ValueError("may_be_missing must be empty: the network has one modality and needs it")


@dataclass(frozen=True, config=_STRICT)
class LateFusionSettings(NetworkSettings):
    """Of late fusion. A segment that lacks a modality has the other one's prediction as its score."""


@dataclass(frozen=True, config=_STRICT)
class EarlyFusionSettings(NetworkSettings):
    """Of early fusion.

    Attributes:
        time_steps: of the volume that the 3-D convolutions see; a step has the mean of its faces. With 30, a step
            without a face has a black one where fewer than 30 frames are used.
        grid_px: width and height of each step's face and of its part of the spectrogram, pixels.
        width: channels of the first convolution; the later ones have 2, 4 and 8 times as many.
    """

    time_steps: Literal[10, 30] = 10
    grid_px: Annotated[int, Field(ge=16, le=112)] = 48
    width: Annotated[int, Field(ge=1, le=128)] = 16


@dataclass(frozen=True, config=_STRICT)
class LightEncoderSettings(NetworkSettings):
    """Of the network with light encoders.

    Attributes:
        backbone: convolutional part of both encoders, of torchvision.
    """

    backbone: Literal["mobilenet_v3_small", "efficientnet_b0"] = "mobilenet_v3_small"
