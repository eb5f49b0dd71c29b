"""Verifying tensors and filling networks with them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal

from avpenet_cli.errors import WeightsError
from avpenet_cli.weights.description import UNTRAINED_SEED, WeightsDescription, WeightsEntry
from avpenet_cli.weights.packing import unpack, unpacked_header

if TYPE_CHECKING:
    from torch import Tensor

    from avpenet_cli.model.avpenet import AVPENet


def verify(entry: WeightsEntry) -> None:
    """Check the tensors against their description and against the network they are for, name by name.

    Raises:
        WeightsError: altered, truncated or unreadable; a tensor missing, extra, or of wrong shape or type.
    """
    if entry.path is None:
        return
    import safetensors

    try:
        with entry.path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise WeightsError(f"{entry.path} cannot be read: {error.strerror}", "check the file's permissions") from None
    if found != entry.description.tensors_sha256:
        raise WeightsError(
            f"{entry.path} was altered or is incomplete: its digest is not the one its description gives",
            "install these weights again from their source",
        )
    try:
        with safetensors.safe_open(entry.path, framework="numpy") as file:
            slices = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
            header = {name: (tuple(part.get_shape()), part.get_dtype()) for name, part in slices.items()}
    except (OSError, safetensors.SafetensorError) as error:
        raise WeightsError(f"{entry.path} is not a safetensors file: {error}", "install it again") from None
    check_tensors(unpacked_header(header), entry.description, str(entry.path))


def load_network(entry: WeightsEntry) -> AVPENet:
    """The network with these weights, float32 on the CPU, in evaluation mode, still trainable.

    Everything is verified before any parameter is set. torch's global generator is left alone.

    Raises:
        WeightsError: as `verify`, or a tensor that holds values that are not numbers.
    """
    network, description = empty_network(entry.description), entry.description
    state: dict[str, Tensor]
    if entry.path is None:
        from avpenet_cli.model.initialise import seeded_state

        state = seeded_state(network, UNTRAINED_SEED)
    else:
        from safetensors.torch import load_file

        verify(entry)
        state = unpack(load_file(entry.path))
        check_finite(state, str(entry.path))
    network.load_state_dict(state, strict=True, assign=True)
    parameters = sum(parameter.numel() for parameter in network.parameters())
    if parameters != description.n_parameters:
        raise WeightsError(
            f"{entry.name}: the description counts {description.n_parameters} parameters, the network {parameters}",
            "install these weights again from their source",
        )
    return network.eval()


def load(
    entry: WeightsEntry, device: str = "cpu", precision: Literal["float32", "bfloat16"] = "float32"
) -> tuple[AVPENet, WeightsDescription]:
    """A network ready to score, and the description that says how to feed it and how to read its scores.

    Args:
        entry: from `find` or `default_entry`.
        device: `cpu`, `cuda` or `cuda:N`.
        precision: of the encoders; fusion and head are always float32.

    Raises:
        WeightsError: as `load_network`.
    """
    from avpenet_cli.model.inference import optimise_for_inference

    return optimise_for_inference(load_network(entry), device, precision), entry.description


def empty_network(description: WeightsDescription) -> AVPENet:
    """Names and shapes of the network, without memory behind them."""
    import torch

    from avpenet_cli.model.registry import build

    with torch.device("meta"):
        return build(description.network, description.architecture)


SAFETENSORS_TYPES = {"torch.float32": "F32", "torch.int64": "I64"}


def check_tensors(
    found: Mapping[str, tuple[tuple[int, ...], str]], description: WeightsDescription, where: str
) -> None:
    """Compare names, shapes and types with the network's.

    Args:
        found: name -> (shape, safetensors' type name).
        where: for the error.
    """
    wanted = {
        name: (tuple(tensor.shape), SAFETENSORS_TYPES[str(tensor.dtype)])
        for name, tensor in empty_network(description).state_dict().items()
    }
    remedy = f"they are not weights for the network {description.network!r} of this version"
    for kind, names in (("lacks", wanted.keys() - found.keys()), ("has the unknown", found.keys() - wanted.keys())):
        if names:
            first, more = min(names), f" and {len(names) - 1} more" if len(names) > 1 else ""
            raise WeightsError(f"{where} {kind} tensor {first}{more}", remedy)
    for name, (shape, kind) in wanted.items():
        if found[name] != (shape, kind):
            got_shape, got_kind = found[name]
            raise WeightsError(
                f"{where}: tensor {name} is {got_kind} {list(got_shape)}, the network's is {kind} {list(shape)}", remedy
            )


def check_finite(state: Mapping[str, Tensor], where: str) -> None:
    """Raise WeightsError where a tensor holds values that are not numbers; `where` is for the error."""
    for name, tensor in state.items():
        if not bool(tensor.isfinite().all()):
            raise WeightsError(f"{where}: tensor {name} holds values that are not numbers", "use an intact copy")
