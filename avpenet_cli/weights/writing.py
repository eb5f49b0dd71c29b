"""Write weights as pairs of files and install them in the user's store."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from avpenet_cli.errors import EnvironmentUnavailableError, WeightsError
from avpenet_cli.storage import sync_folder
from avpenet_cli.weights.description import UNTRAINED, WeightsDescription, WeightsEntry, describe, is_valid_name
from avpenet_cli.weights.finding import (
    FOLDER_VARIABLE,
    description_path,
    entry_at,
    find,
    parse_description,
    user_folder,
)
from avpenet_cli.weights.loading import (
    check_finite,
    check_tensors,
    empty_network,
    header_of,
    load_network,
    verify,
)
from avpenet_cli.weights.packing import pack
from avpenet_cli.weights.signatures import SIGNATURE_SUFFIX, read_beside, signature_path, verify_signature

if TYPE_CHECKING:
    from torch import Tensor


def save(
    model_state: Mapping[str, Tensor],
    description: WeightsDescription,
    path: Path,
    overwrite: bool = False,
    packed: bool = False,
) -> WeightsEntry:
    """Write a pair of files atomically, readable by their owner only.

    Args:
        model_state: the network's state dict; every tensor is checked against the network first.
        description: its digest of the tensors and its parameter count are filled in.
        path: `FOLDER/NAME.safetensors`, NAME being the description's.
        overwrite: replace other weights of that name.
        packed: store 8-bit quantised parameters, see `packing`.

    Raises:
        WeightsError: tensors do not fit the network, or the name is reserved, does not match `path` or is taken.
        EnvironmentUnavailableError: the folder cannot be written.
    """
    from safetensors.torch import save as serialise

    if path.name != f"{description.name}.safetensors":
        raise WeightsError(f"weights called {description.name!r} cannot be stored as {path.name}", "use the same name")
    state = {name: tensor.detach().cpu().contiguous() for name, tensor in model_state.items()}
    source = f"the state dict of {description.name!r}"
    network = empty_network(description)
    check_tensors(header_of(state), network, description, source)
    check_finite(state, source)
    tensors = serialise(pack(state) if packed else state)
    complete = dataclasses.replace(
        description,
        n_parameters=sum(parameter.numel() for parameter in network.parameters()),
        tensors_sha256=hashlib.sha256(tensors).hexdigest(),
    )
    return _write_pair(lambda file: file.write(tensors), complete, path, overwrite)


def pack_weights(source: str | Path, path: Path, overwrite: bool = False) -> WeightsEntry:
    """Write an 8-bit quantised copy of weights. Its scores differ slightly, so it gets a name of its own.

    Args:
        source: name or path of the weights.
        path: `FOLDER/NEWNAME.safetensors`.

    Raises:
        WeightsError: as `load_network` and `save`, or the weights are built in.
        EnvironmentUnavailableError: the folder cannot be written.
    """
    if path.suffix != ".safetensors" or not is_valid_name(path.stem):
        raise WeightsError(
            f"{path}: not a valid name for weights", "give NAME.safetensors, of letters, digits, dots and dashes"
        )
    entry = find(source)
    if entry.path is None:
        raise WeightsError(f"{entry.name} is built in", "name weights that have a file")
    status = entry.description.status
    description = dataclasses.replace(
        entry.description,
        name=path.stem,
        # The quantised parameters are not validated.
        status="research" if status == "validated" else status,
        training_data=f"{entry.description.training_data} Figures are of the weights before quantisation.",
        created_with=f"{entry.description.created_with}; quantised to 8 bits per output channel from weights of "
        f"digest {entry.digest}",
    )
    return save(load_network(entry).state_dict(), description, path, overwrite, packed=True)


def install(path: str | Path, overwrite: bool = False, keys: tuple[str, ...] = ()) -> WeightsEntry:
    """Verify a pair of files and copy it, with its signature if it has one, into the user's store.

    Installing the same pair twice changes nothing.

    Args:
        path: name or path of the weights.
        overwrite: replace other weights of that name.
        keys: public keys, of `read_public_keys`; if any are given, one of them must have signed the weights.

    Raises:
        WeightsError: as `find`, `verify` and `verify_signature`, or other weights of that name are already installed.
        EnvironmentUnavailableError: the store cannot be written.
    """
    source = find(path)
    if source.path is None:
        raise WeightsError(f"{source.name} is built in", "name weights that have a file")
    if keys:
        verify_signature(source, keys)
    verify(source)
    original = source.path
    # As they are: a signature is of the bytes of the description.
    description, signature = read_beside(description_path(original)), None
    if parse_description(description, description_path(original)).digest != source.digest:
        raise WeightsError(f"{description_path(original)} changed while it was being copied", "try again")
    if signature_path(original).is_file():
        signature = read_beside(signature_path(original))

    def copy_tensors(file: BinaryIO) -> None:
        digest = hashlib.sha256()
        with original.open("rb") as tensors:
            while block := tensors.read(1 << 20):
                digest.update(block)
                file.write(block)
        if digest.hexdigest() != source.description.tensors_sha256:
            raise WeightsError(f"{original} changed while it was being copied", "try again")

    target = store_folder() / original.name
    return _write_pair(copy_tensors, source.description, target, overwrite, description, signature)


def store_folder() -> Path:
    """The folder for new weights.

    Raises:
        EnvironmentUnavailableError: the user has no such folder.
    """
    folder = user_folder()
    if folder is None:
        raise EnvironmentUnavailableError(
            "there is no folder for weights: HOME is not set", f"set {FOLDER_VARIABLE} to a folder of your own"
        )
    return folder


def _write_pair(
    write_tensors: Callable[[BinaryIO], object],
    description: WeightsDescription,
    path: Path,
    overwrite: bool,
    description_json: bytes | None = None,
    signature: bytes | None = None,
) -> WeightsEntry:
    """Write the files of a set of weights; without `description_json` as `describe` gives it."""
    if description.name == UNTRAINED:
        raise WeightsError(f"the name {UNTRAINED!r} belongs to the built-in weights", "choose another name")
    entry = WeightsEntry(description, path)
    if description_json is None:
        description_json = json.dumps(describe(entry), indent=2, ensure_ascii=False).encode() + b"\n"
    location = path.with_suffix(".json")
    signed = location.with_name(location.name + SIGNATURE_SUFFIX)
    if os.path.lexists(location) and not os.path.lexists(path) and not overwrite:
        raise WeightsError(
            f"{location} exists already and belongs to no weights", "choose another name, or remove that file"
        )
    contents: dict[Path, bytes] = {location: description_json}
    if signature is not None:
        contents[signed] = signature
    tensors_too = True
    if os.path.lexists(path) and not overwrite:
        if not _holds(entry):
            raise WeightsError(
                f"{path} already holds other weights of that name", "choose another name, or pass --overwrite"
            )
        if signature is None or _same(contents):
            return entry
        tensors_too = False
    written: dict[Path, Path] = {}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        for target, content in contents.items():
            written[target] = _write_temporary(target, _writer(content))
        if tensors_too:
            # The tensors last: weights are found by their tensors, and then the description is in place.
            written[path] = _write_temporary(path, write_tensors)
        if signature is None:
            signed.unlink(missing_ok=True)  # of the weights that these replace
        for target, temporary in written.items():
            temporary.replace(target)
        sync_folder(path.parent)
    except OSError as error:
        raise EnvironmentUnavailableError(
            f"cannot write weights to {path.parent}: {error.strerror or error}", "check space and permissions"
        ) from None
    finally:
        for temporary in written.values():
            temporary.unlink(missing_ok=True)
    return entry


def _writer(content: bytes) -> Callable[[BinaryIO], object]:
    return lambda file: file.write(content)


def _holds(entry: WeightsEntry) -> bool:
    """Whether these weights, intact, are where `entry` says."""
    try:
        assert entry.path is not None
        existing = entry_at(entry.path)
        verify(existing)
    except WeightsError:
        return False  # a damaged pair blocks the name as other weights do
    return existing.digest == entry.digest


def _same(contents: Mapping[Path, bytes]) -> bool:
    return all(path.is_file() and path.read_bytes() == content for path, content in contents.items())


def _write_temporary(path: Path, write: Callable[[BinaryIO], object]) -> Path:
    """Write and sync a temporary file beside `path`, mode 0600."""
    descriptor, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)  # mkstemp's mode is 0600
    try:
        with os.fdopen(descriptor, "wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
    except BaseException:
        Path(temporary).unlink()
        raise
    return Path(temporary)
