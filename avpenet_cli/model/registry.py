"""Registry of the networks that weights can belong to, by name. Importing this module imports no torch.

A new network needs one entry here. A contract test checks every entry: score shape and range, determinism, gradients
that reach every parameter, state-dict round trip.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING

from avpenet_cli.errors import WeightsError
from avpenet_cli.model.architecture import MODALITIES, Architecture, Modality

if TYPE_CHECKING:
    from avpenet_cli.model.avpenet import AVPENet


@dataclass(frozen=True)
class NetworkEntry:
    """One network: its class, a one-sentence description, and the modalities it takes."""

    name: str
    description: str
    module: str
    class_name: str
    modalities: tuple[Modality, ...] = MODALITIES


NETWORKS: dict[str, NetworkEntry] = {
    entry.name: entry
    for entry in (
        NetworkEntry(
            name="avpenet",
            description="ResNet-34 on the cry, ResNet-50 with spatial attention on the face, cross-modal attention",
            module="avpenet_cli.model.avpenet",
            class_name="AVPENet",
        ),
    )
}


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


def build(name: str, architecture: Architecture) -> AVPENet:
    """A network with freshly initialised parameters, in training mode. Imports torch.

    Under `with torch.device("meta")` it has only names and shapes, without memory for parameters.

    Raises:
        WeightsError: there is no network of that name.
    """
    entry = network_entry(name)
    network: AVPENet = getattr(import_module(entry.module), entry.class_name)(architecture)
    return network
