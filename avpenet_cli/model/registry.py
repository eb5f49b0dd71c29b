"""Registry of the networks that weights can belong to, by name. Importing this module imports no torch.

A new network needs one entry here, a module, and a settings class in a module that imports no torch. A contract test
checks every entry: score shape and range, determinism, gradients that reach every parameter, weights round trip.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Annotated

from pydantic import AfterValidator, TypeAdapter

from avpenet_cli.errors import WeightsError
from avpenet_cli.model.architecture import MODALITIES, Modality, NetworkSettings

if TYPE_CHECKING:
    from avpenet_cli.model.network import PainNetwork


@dataclass(frozen=True)
class NetworkEntry:
    """One network.

    Attributes:
        name: in descriptions of weights and settings files.
        description: one sentence.
        network: `module:Class` of the network, whose constructor takes the settings.
        settings: `module:Class` of its settings, a `NetworkSettings`.
        modalities: inputs of the network.
        on_features: whether it is a `FeatureNetwork`, which learns from features of segments.
    """

    name: str
    description: str
    network: str
    settings: str
    modalities: tuple[Modality, ...] = MODALITIES
    on_features: bool = False

    def settings_class(self) -> type[NetworkSettings]:
        """The class of the settings. Imports no torch."""
        loaded: type[NetworkSettings] = _load(self.settings)
        return loaded

    def network_class(self) -> type[PainNetwork]:
        """The class of the network. Imports torch."""
        loaded: type[PainNetwork] = _load(self.network)
        return loaded


NETWORKS: dict[str, NetworkEntry] = {
    entry.name: entry
    for entry in (
        NetworkEntry(
            name="avpenet",
            description="ResNet-34 on the cry, ResNet-50 with spatial attention on the face, cross-modal attention",
            network="avpenet_cli.model.avpenet:AVPENet",
            settings="avpenet_cli.model.architecture:Architecture",
        ),
        NetworkEntry(
            name="audio-only",
            description="ResNet-34 on the cry",
            network="avpenet_cli.model.systems.single_modality:AudioOnly",
            settings="avpenet_cli.model.systems.settings:SingleModalitySettings",
            modalities=("audio",),
        ),
        NetworkEntry(
            name="face-only",
            description="ResNet-50 with spatial attention on the face",
            network="avpenet_cli.model.systems.single_modality:FaceOnly",
            settings="avpenet_cli.model.systems.settings:SingleModalitySettings",
            modalities=("face",),
        ),
        NetworkEntry(
            name="late-fusion",
            description="mean of the predictions from the cry and from the face, trained apart",
            network="avpenet_cli.model.systems.late_fusion:LateFusion",
            settings="avpenet_cli.model.systems.settings:LateFusionSettings",
        ),
        NetworkEntry(
            name="early-fusion",
            description="3-D convolutions over spectrogram and faces, stacked as channels over time",
            network="avpenet_cli.model.systems.early_fusion:EarlyFusion",
            settings="avpenet_cli.model.systems.settings:EarlyFusionSettings",
        ),
        NetworkEntry(
            name="emotieffnet",
            description="MobileNetV3 or EfficientNet-B0 on the cry and on the face, cross-modal attention",
            network="avpenet_cli.model.systems.light_encoders:EmotiEffNet",
            settings="avpenet_cli.model.systems.settings:LightEncoderSettings",
        ),
        NetworkEntry(
            name="cry-analyzer",
            description="acoustic features of the cry (f0, jitter, shimmer, cepstra, bursts) and a random forest",
            network="avpenet_cli.model.cry_analyzer:CryAnalyzer",
            settings="avpenet_cli.model.cry_analyzer_settings:CryAnalyzerSettings",
            modalities=("audio",),
            on_features=True,
        ),
        NetworkEntry(
            name="deepfacelift",
            description="facial landmarks over the segment, personal statistics and support vector regression",
            network="avpenet_cli.model.deepfacelift:DeepFaceLift",
            settings="avpenet_cli.model.deepfacelift_settings:DeepFaceLiftSettings",
            modalities=("face",),
            on_features=True,
        ),
        NetworkEntry(
            name="context",
            description="AVPENet, its score corrected by the segments of the last minute, or also of the next",
            network="avpenet_cli.model.context:ContextNetwork",
            settings="avpenet_cli.model.correction_settings:ContextSettings",
            on_features=True,
        ),
        NetworkEntry(
            name="own-baseline",
            description="AVPENet, its score corrected by the difference from the recording's quietest segments",
            network="avpenet_cli.model.own_baseline:OwnBaselineNetwork",
            settings="avpenet_cli.model.correction_settings:OwnBaselineSettings",
            on_features=True,
        ),
    )
}


def _known(name: str) -> str:
    if name not in NETWORKS:
        raise ValueError(f"no network is called {name!r}; this version knows {', '.join(sorted(NETWORKS))}")
    return name


NetworkName = Annotated[str, AfterValidator(_known)]
"""A name in the registry."""


def _load(path: str) -> type:
    module, _, name = path.partition(":")
    loaded: type = getattr(import_module(module), name)
    return loaded


def network_entry(name: str) -> NetworkEntry:
    """Look up a network.

    Raises:
        WeightsError: there is no network of that name.
    """
    try:
        return NETWORKS[name]
    except KeyError:
        known = ", ".join(sorted(NETWORKS))
        raise WeightsError(f"no network is called {name!r}", f"this version knows {known}") from None


def settings_of(name: str, value: object) -> NetworkSettings:
    """A network's settings from nested dictionaries, or from settings that are checked.

    Raises:
        ValueError: no such network, settings of another one, or out of range.
    """
    checked: NetworkSettings = TypeAdapter(NETWORKS[_known(name)].settings_class()).validate_python(value)
    return checked


def build(name: str, architecture: NetworkSettings) -> PainNetwork:
    """A network with freshly initialised parameters, in training mode. Imports torch.

    Under `with torch.device("meta")` it has only names and shapes, without memory for parameters.

    Raises:
        WeightsError: there is no network of that name.
        TypeError: the settings are another network's.
    """
    entry = network_entry(name)
    if type(architecture) is not entry.settings_class():
        raise TypeError(
            f"the network {name} takes {entry.settings_class().__name__}, not {type(architecture).__name__}"
        )
    # mypy does not know that every network's constructor takes its settings only.
    network: PainNetwork = entry.network_class()(architecture)
    return network
