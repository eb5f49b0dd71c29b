"""Verify tensors and load networks with them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from avpenet_cli.errors import WeightsError
from avpenet_cli.settings import Precision
from avpenet_cli.weights.description import UNTRAINED_SEED, WeightsDescription, WeightsEntry
from avpenet_cli.weights.packing import Header, unpack, unpacked_header

if TYPE_CHECKING:
    from torch import Tensor

    from avpenet_cli.model.network import PainNetwork


def verify(entry: WeightsEntry) -> None:
    """Check the file of tensors against its description and its network, without loading it.

    For checking weights only: `load` and `load_network` verify what they read.

    Raises:
        WeightsError: the file is altered, truncated or unreadable, or a tensor is missing, unknown or of the wrong
            shape or type.
    """
    if entry.path is None:
        return
    import safetensors

    try:
        with entry.path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise _unreadable(entry.path, error) from None
    _check_digest(digest, entry.description, entry.path)
    try:
        with safetensors.safe_open(entry.path, framework="numpy") as tensors:
            slices = {name: tensors.get_slice(name) for name in tensors.keys()}  # noqa: SIM118 - not a mapping
            header = {name: (tuple(part.get_shape()), part.get_dtype()) for name, part in slices.items()}
    except (OSError, safetensors.SafetensorError) as error:
        raise _not_safetensors(entry.path, error) from None
    check_tensors(unpacked_header(header), empty_network(entry.description), entry.description, str(entry.path))


def load_network(entry: WeightsEntry) -> PainNetwork:
    """Build the network with these weights: float32 on the CPU, in evaluation mode, trainable.

    The file is read once. Its digest and its tensors are verified before any parameter is set. torch's global generator
    keeps its state.

    Raises:
        WeightsError: as `verify`, or a tensor has values that are not finite.
    """
    network, description = empty_network(entry.description), entry.description
    state: dict[str, Tensor]
    if entry.path is None:
        from avpenet_cli.model.initialise import seeded_state

        state = seeded_state(network, UNTRAINED_SEED)
    else:
        state = _read_verified(entry.path, network, description)
    network.load_state_dict(state, strict=True, assign=True)
    parameters = sum(parameter.numel() for parameter in network.parameters())
    if parameters != description.n_parameters:
        raise WeightsError(
            f"{entry.name}: the description counts {description.n_parameters} parameters, the network {parameters}",
            "install these weights again from their source",
        )
    return network.eval()


def _read_verified(path: Path, network: PainNetwork, description: WeightsDescription) -> dict[str, Tensor]:
    """Read the tensors, expanded to float32, from the same bytes that the digest is computed from."""
    import safetensors
    from safetensors.torch import load as parse

    try:
        content = path.read_bytes()
    except OSError as error:
        raise _unreadable(path, error) from None
    _check_digest(hashlib.sha256(content).hexdigest(), description, path)
    try:
        tensors = parse(content)
    except safetensors.SafetensorError as error:
        raise _not_safetensors(path, error) from None
    del content  # the tensors are a copy of it
    check_tensors(unpacked_header(header_of(tensors)), network, description, str(path))
    # Before they are expanded: 8-bit integers are finite, and of those only the scales need reading.
    check_finite(tensors, str(path))
    return unpack(tensors)


def _check_digest(digest: str, description: WeightsDescription, path: Path) -> None:
    if digest != description.tensors_sha256:
        raise WeightsError(
            f"{path} was altered or is incomplete: its digest differs from the one in its description",
            "install these weights again from their source",
        )


def _unreadable(path: Path, error: OSError) -> WeightsError:
    return WeightsError(f"{path} cannot be read: {error.strerror}", "check the file's permissions")


def _not_safetensors(path: Path, error: Exception) -> WeightsError:
    return WeightsError(f"{path} is not a safetensors file: {error}", "install it again")


def load(
    entry: WeightsEntry, device: str = "cpu", precision: Precision = "float32"
) -> tuple[PainNetwork, WeightsDescription]:
    """Load a network for inference, verified; its description has the preprocessing and the cut points.

    Args:
        entry: from `find` or `default_entry`.
        device: `cpu`, `cuda` or `cuda:N`.
        precision: of the encoders; fusion and head are always float32.

    Returns:
        The optimised network and its description.

    Raises:
        WeightsError: as `load_network`.
    """
    from avpenet_cli.model.inference import convert_for_inference

    return convert_for_inference(load_network(entry), device, precision), entry.description


def empty_network(description: WeightsDescription) -> PainNetwork:
    """Build the network with names and shapes only, on the `meta` device."""
    import torch

    from avpenet_cli.model.registry import build

    with torch.device("meta"):
        return build(description.network, description.architecture)


_SAFETENSORS_TYPES = {"torch.float32": "F32", "torch.float16": "F16", "torch.int64": "I64", "torch.int8": "I8"}


def header_of(state: Mapping[str, Tensor]) -> Header:
    """Shape and safetensors type of each tensor, by name; a type without a short name here has torch's name."""
    return {
        name: (tuple(tensor.shape), _SAFETENSORS_TYPES.get(str(tensor.dtype), str(tensor.dtype)))
        for name, tensor in state.items()
    }


def check_tensors(header: Header, network: PainNetwork, description: WeightsDescription, source: str) -> None:
    """Compare names, shapes and types with the network's.

    Args:
        header: name -> (shape, safetensors type).
        network: from `empty_network`.
        description: names the network.
        source: of the tensors, for the error message.

    Raises:
        WeightsError: a tensor is missing, unknown or of the wrong shape or type.
    """
    expected = header_of(network.state_dict())
    remedy = f"they are not weights for the network {description.network!r} of this version"
    for problem, names in (
        ("lacks", expected.keys() - header.keys()),
        ("has the unknown", header.keys() - expected.keys()),
    ):
        if names:
            first, more = min(names), f" and {len(names) - 1} more" if len(names) > 1 else ""
            raise WeightsError(f"{source} {problem} tensor {first}{more}", remedy)
    for name, (shape, kind) in expected.items():
        if header[name] != (shape, kind):
            actual_shape, actual_kind = header[name]
            raise WeightsError(
                f"{source}: tensor {name} is {actual_kind} {list(actual_shape)}, the network's is {kind} {list(shape)}",
                remedy,
            )


def check_finite(state: Mapping[str, Tensor], source: str) -> None:
    """Check that all values are finite; `source` of the tensors is for the error message.

    Raises:
        WeightsError: a tensor has NaN or infinite values.
    """
    for name, tensor in state.items():
        # The least and the largest value are NaN where any value is.
        if tensor.is_floating_point() and not all(bool(end.isfinite()) for end in tensor.aminmax()):
            raise WeightsError(f"{source}: tensor {name} has values that are not finite", "use an intact copy")
