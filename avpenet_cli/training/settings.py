"""Settings of a training run as frozen dataclasses; the shape of `train.toml`. Defaults are the paper's protocol."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AliasChoices, ConfigDict, Field, SerializeAsAny, ValidationInfo, field_validator
from pydantic.dataclasses import dataclass

from avpenet_cli.model.architecture import NetworkSettings
from avpenet_cli.model.losses import LossSettings
from avpenet_cli.model.registry import NetworkName, network_entry, settings_of
from avpenet_cli.settings import FRAMES_PER_WINDOW, Count, Positive, Share, flatten, to_dict

_STRICT = ConfigDict(extra="forbid")
Rate = Annotated[float, Field(ge=0.0, le=1.0)]
Frames = Annotated[int, Field(ge=1, le=FRAMES_PER_WINDOW)]


@dataclass(frozen=True, config=_STRICT)
class StageSettings:
    """One stage of the protocol: number of epochs and learning rates."""

    epochs: Annotated[int, Field(ge=0, le=100_000)]
    """0 skips the stage."""
    encoder_rate: Rate
    """Learning rate of both encoders at the stage's start; 0 freezes them, batch norm included."""
    fusion_rate: Annotated[float, Field(gt=0.0, le=1.0)]
    """Learning rate of fusion and head at the stage's start."""


@dataclass(frozen=True, config=_STRICT)
class AudioAugmentation:
    """Augmentation of the waveform before its spectrogram (the paper's Algorithm 1)."""

    probability: Share = 0.5
    """Probability of each of the three transforms, independently."""
    stretch: tuple[Positive, Positive] = (0.9, 1.1)
    """Range of the speed factor; the pitch is unchanged."""
    pitch_semitones: Annotated[float, Field(ge=0.0, le=12.0)] = 2.0
    """Largest shift up or down; the length is unchanged."""
    noise_snr_db: tuple[float, float] = (20.0, 30.0)
    """Range of the signal-to-noise ratio of white noise, relative to the segment's own power."""

    def __post_init__(self) -> None:
        _check_ranges(stretch=self.stretch, noise_snr_db=self.noise_snr_db)


@dataclass(frozen=True, config=_STRICT)
class FaceAugmentation:
    """Augmentation of the face crops, the same for all of a segment (the paper's Algorithm 2)."""

    probability: Share = 1.0
    """Probability of augmenting a segment's faces. Chosen: the paper states none, and draws may change little."""
    rotation_deg: Annotated[float, Field(ge=0.0, le=180.0)] = 15.0
    """Largest rotation in either direction."""
    translation_px: Annotated[float, Field(ge=0.0, le=112.0)] = 10.0
    """Largest shift in a 224-px crop; scaled in proportion for other sizes."""
    scale: tuple[Positive, Positive] = (0.95, 1.05)
    """Range of the magnification."""
    brightness: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.2
    """Pixel values times 1 - this to 1 + this."""
    contrast: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.2
    """Distance of pixel values from the crop's mean times 1 - this to 1 + this."""
    mirror: Share = 0.0
    """Probability of a horizontal flip. Not in the paper; for training without pretrained encoders."""

    def __post_init__(self) -> None:
        _check_ranges(scale=self.scale)


def _check_ranges(**ranges: tuple[float, float]) -> None:
    for name, (low, high) in ranges.items():
        if low > high:
            raise ValueError(f"{name} must be ascending; got {low}, {high}")


@dataclass(frozen=True, config=_STRICT)
class TrainSettings:
    """Settings of one training run."""

    stage_1: StageSettings = Field(default_factory=lambda: StageSettings(30, 0.0, 1e-3))
    stage_2: StageSettings = Field(default_factory=lambda: StageSettings(70, 1e-5, 1e-4))
    final_rate: Rate = 1e-6
    """Final learning rate of each stage. Chosen: one cosine per stage, by epoch; the paper does not state it."""
    weight_decay: Rate = 0.01
    """Weight decay of AdamW."""
    gradient_norm: Positive = 1.0
    """Gradients are clipped to this norm."""
    batch_size: Annotated[int, Field(ge=1, le=4096)] = 32
    """Segments per batch on each device."""
    accumulate: Annotated[int, Field(ge=1, le=4096)] = 4
    """Batches per optimiser step: 32 x 4 = 128, the paper's effective batch size."""
    label_smoothing: Share = 0.1
    """Targets move towards 5 by this share of their distance."""
    mixup_alpha: Annotated[float, Field(ge=0.0, le=10.0)] = 0.2
    """Parameter of Beta(alpha, alpha), one draw per batch; 0 for no mixup."""
    modality_dropout: Share = 0.0
    """Probability that a training segment loses one of the modalities in `architecture.may_be_missing`."""
    patience_epochs: Count = 15
    """Early stopping: epochs without a better validation MAE, counted in the last stage only."""
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 42
    """Seed of initialisation, order, augmentation and mixup."""
    precision: Literal["auto", "float32", "float16", "bfloat16"] = "auto"
    """`auto`: float32 on a CPU, mixed bfloat16 on a GPU that supports it, mixed float16 on others."""
    device: str = "auto"
    """auto (all GPUs, else the CPU), cpu, cuda or cuda:N."""
    workers: Annotated[int, Field(ge=0, le=256)] | None = None
    """Number of processes that load data; by default none on a CPU and where all epochs train on embeddings, else one
    fewer than there are cores, at most 12."""
    frames_per_segment: Frames = FRAMES_PER_WINDOW
    """Faces per segment in training, drawn again each epoch. 30 uses all, as in the paper."""
    validation_frames: Frames = FRAMES_PER_WINDOW
    """Faces per segment in the validation after each epoch, evenly spaced. The final metrics use all faces,
    except those of networks that learn from features."""
    cache_embeddings: bool = False
    """Encode each segment once before a stage with frozen encoders: hundreds of times as fast, but without augmenting
    audio and faces; mixup then mixes embeddings. Uses `validation_frames` faces per segment."""
    face_px: Annotated[int, Field(ge=32, le=1024)] | None = None
    """Resize the store's crops to this side length: a quick step before training at full size, with --init."""
    left_out_site: str | None = None
    """Train and test on the stored leave-one-site-out splits of this site."""
    licence: str = "not stated"
    """Licence of the weights, for their description."""
    training_data: str = ""
    """Remark on the training data for the description: sources and licences, and what was left out."""
    network: NetworkName = "avpenet"
    """The network to train, by its name in the registry."""
    architecture: SerializeAsAny[NetworkSettings] = Field(default_factory=dict, validate_default=True)
    """The network's own settings."""
    init_parts: Literal["all", "encoders"] = "all"
    """What is taken from weights given as initial parameters: everything, or the encoders that both networks have."""
    loss: LossSettings = Field(default_factory=LossSettings)
    audio: AudioAugmentation = Field(default_factory=AudioAugmentation, validation_alias=AliasChoices("audio", "sound"))
    """Called `sound` in older settings files."""
    face: FaceAugmentation = Field(default_factory=FaceAugmentation)

    @field_validator("architecture", mode="before")
    @classmethod
    def _of_network(cls, value: object, info: ValidationInfo) -> NetworkSettings:
        # A network that is not known is refused by its own field.
        return settings_of(str(info.data.get("network", "avpenet")), {} if "network" not in info.data else value)

    def __post_init__(self) -> None:
        if not self.epochs:
            raise ValueError("stage_1.epochs and stage_2.epochs are both 0: nothing would be trained")
        if self.on_features and self.modality_dropout:
            raise ValueError(f"modality_dropout has no meaning for {self.network}, which learns from features")
        if not self.on_features and bool(self.modality_dropout) != bool(self.architecture.may_be_missing):
            raise ValueError(
                "modality_dropout and architecture.may_be_missing go together: weights may do without a modality only "
                "if they were trained without it"
            )

    @property
    def on_features(self) -> bool:
        """Whether the network learns from features of segments, without epochs."""
        return network_entry(self.network).on_features

    @property
    def epochs(self) -> int:
        """Number of epochs of both stages."""
        return self.stage_1.epochs + self.stage_2.epochs

    @property
    def result_fingerprint_fields(self) -> dict[str, Any]:
        """The flat settings that change the result; a resumed run must agree on them."""
        return {name: value for name, value in flatten(to_dict(self)).items() if name not in _WITHOUT_EFFECT}

    def stage_at(self, epoch: int) -> tuple[int, StageSettings, int]:
        """(number of the stage, its settings, the epoch within it) at an epoch counted from 0."""
        if epoch < self.stage_1.epochs:
            return 1, self.stage_1, epoch
        return 2, self.stage_2, epoch - self.stage_1.epochs

    def embedded_at(self, epoch: int) -> bool:
        """Whether this epoch, counted from 0, trains on cached embeddings."""
        return self.cache_embeddings and not self.stage_at(epoch)[1].encoder_rate

    @property
    def last_stage_starts(self) -> int:
        """First epoch, from 0, of the last stage that has any; patience is counted from there."""
        return self.stage_1.epochs if self.stage_2.epochs else 0


_WITHOUT_EFFECT = {"device", "workers", "licence", "training_data"}
