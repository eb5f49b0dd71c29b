"""Settings of the networks that correct AVPENet's score by other segments of the recording. Imports no torch."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from avpenet_cli.model.architecture import MODALITIES, Architecture, NetworkSettings

Direction = Literal["causal", "two-sided"]
Share = Annotated[float, Field(ge=0.0, lt=1.0)]
Positive = Annotated[float, Field(gt=0.0)]
Count = Annotated[int, Field(ge=1)]
_CONFIG = ConfigDict(extra="forbid", allow_inf_nan=False)


@dataclass(frozen=True, config=_CONFIG)
class LearningSettings:
    """How a correction is fitted to a table of embeddings."""

    learning_rate: Positive = 3e-3
    """Of AdamW, at the start; it falls to 0 by a cosine."""
    weight_decay: Annotated[float, Field(ge=0.0)] = 0.1
    """Of AdamW."""
    batch_segments: Count = 512
    """Whole recordings are collected until a batch has this many segments."""
    max_epochs: Count = 60
    """Passes through the training recordings."""
    patience: Count = 15
    """Epochs without a smaller validation error after which fitting stops."""


@dataclass(frozen=True, config=_CONFIG)
class CorrectionSettings(NetworkSettings):
    """What the two networks have in common.

    Attributes:
        may_be_missing: modalities that a segment may lack, of those that the base may do without.
        base: variant of the AVPENet whose embeddings and scores are used; by default that of the bundled weights.
        direction: `causal` uses the segment and earlier ones, as needed live; `two-sided` also later ones.
        step_s: interval between the segments that are used, s; the length of a segment, so that they do not overlap.
        hidden: units of the hidden layers.
        dropout: share of hidden units left out in training and in Monte Carlo dropout.
        feature_dropout: share of the embedding's values left out, likewise.
        learning: how the correction is fitted.
    """

    base: Architecture = Field(default_factory=lambda: Architecture(may_be_missing=MODALITIES))
    direction: Direction = "causal"
    step_s: Positive = 3.0
    hidden: Count = 8
    dropout: Share = 0.2
    feature_dropout: Share = 0.5
    learning: LearningSettings = Field(default_factory=LearningSettings)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not set(self.may_be_missing) <= set(self.base.may_be_missing):
            raise ValueError("may_be_missing names a modality that the base's may_be_missing does not")

    @property
    def pools_images(self) -> bool:
        """As `NetworkSettings.pools_images`."""
        return self.base.pools_images


@dataclass(frozen=True, config=_CONFIG)
class ContextSettings(CorrectionSettings):
    """Settings of `context`.

    Attributes:
        span_s: how far back, and if two-sided ahead, segments are used, s.
        heads: number of weighted averages over these segments.
    """

    span_s: Annotated[float, Field(gt=0.0, le=600.0)] = 60.0
    heads: Count = 4

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.span_s < self.step_s:
            raise ValueError(f"span_s must be at least step_s; got {self.span_s:g} s and {self.step_s:g} s")

    @property
    def lags(self) -> tuple[int, ...]:
        """Positions of the segments used, in steps from the segment scored; ascending, with 0."""
        steps = int(self.span_s / self.step_s + 1e-9)
        return tuple(range(-steps, steps + 1 if self.direction == "two-sided" else 1))


@dataclass(frozen=True, config=_CONFIG)
class OwnBaselineSettings(CorrectionSettings):
    """Settings of `own-baseline`.

    Attributes:
        direction: `two-sided` takes the quietest segments of the whole recording, `causal` of the recording so far.
        quiet_share: share of the segments that counts as quiet, at least one segment.
    """

    direction: Direction = "two-sided"
    quiet_share: Annotated[float, Field(gt=0.0, le=1.0)] = 0.25
