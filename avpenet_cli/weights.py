"""The weights store: find, describe, verify, install and load sets of weights.

A set of weights is two files side by side: `NAME.safetensors`, tensors and nothing else, and `NAME.json`, a
description a person can read. The description holds the digest of the tensors, and its own digest holds both, so
nothing in either file changes unnoticed. (It guards against accidents and mix-ups. It is no signature: who alters a
file on purpose can compute a new digest, so outputs name the digest and sites should note it when they install.)

The built-in `untrained` weights have no file; they try the program out and must be asked for by name. Importing this
module imports no torch.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, BinaryIO, Literal, NoReturn

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from avpenet_cli.errors import EnvironmentFault, SettingsError, WeightsError
from avpenet_cli.model.architecture import MODALITIES, Architecture, Modality
from avpenet_cli.settings import Preprocessing, digest_of, from_plain, to_plain
from avpenet_cli.storage import sync_folder

if TYPE_CHECKING:
    from torch import Tensor

    from avpenet_cli.model.avpenet import AVPENet

FORMAT_VERSION = 1

UNTRAINED = "untrained"
"""Name of the built-in entry. Reserved."""

UNTRAINED_SEED = 42

DEFAULT_NAME: str | None = None
"""The weights used when none are named. There are no trained weights yet, and whichever happen to be installed are
never taken without being asked for."""

FOLDER_VARIABLE = "AVPENET_WEIGHTS"

Status = Literal["untrained", "demonstration", "research", "imported", "validated"]
Label = Literal["low", "moderate", "high"]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,79}$")]

_MUST_HAVE_NOTICE: frozenset[Status] = frozenset({"untrained", "demonstration", "imported"})
_UNSET_DIGEST = "0" * 64


@dataclass(frozen=True, config=ConfigDict(extra="forbid", allow_inf_nan=False))
class WeightsDescription:
    """What `NAME.json` says of its tensors.

    Attributes:
        name: also the stem of both files.
        status: how far these weights may be trusted.
        intended_use: one sentence.
        not_intended_use: one sentence.
        training_data: what they were trained on.
        licence: of the weights.
        created_with: the program that wrote them, and from what.
        network: the registry's name of the network they fill.
        architecture: the variant they were trained as.
        preprocessing: what the network was trained to see; scoring reads it from here.
        cut_points: on the 0-10 scale; low up to and including the first, moderate up to and including the second.
        modalities: what the network reads.
        notice: printed on every output; may be empty only for `research` and `validated`.
        n_parameters: learnable numbers in the network.
        tensors_sha256: of the bytes of `NAME.safetensors`.
    """

    name: Name
    status: Status
    intended_use: str
    not_intended_use: str
    training_data: str
    licence: str
    created_with: str
    format_version: Literal[1] = 1
    network: str = "avpenet"
    architecture: Architecture = Field(default_factory=Architecture)
    preprocessing: Preprocessing = Field(default_factory=Preprocessing)
    cut_points: tuple[float, float] = (3.0, 6.0)
    modalities: tuple[Modality, ...] = MODALITIES
    notice: str = ""
    n_parameters: Annotated[int, Field(ge=0)] = 0
    tensors_sha256: Sha256 = _UNSET_DIGEST

    def __post_init__(self) -> None:
        low, high = self.cut_points
        if not 0.0 < low < high < 10.0:
            raise ValueError(f"cut_points must rise within 0 to 10; got {low}, {high}")
        if self.status in _MUST_HAVE_NOTICE and not self.notice.strip():
            raise ValueError(f"weights with status {self.status} need a notice")
        if not set(self.architecture.may_be_missing) < set(self.modalities):
            raise ValueError("may_be_missing must leave out at least one of the modalities")

    @property
    def modalities_needed(self) -> tuple[Modality, ...]:
        """What a segment must have to be scored with these weights."""
        return tuple(name for name in self.modalities if name not in self.architecture.may_be_missing)

    @property
    def digest(self) -> str:
        """SHA-256 of the canonical description; as that holds `tensors_sha256`, of both files. Hexadecimal."""
        return digest_of(to_plain(self))

    def label(self, score: float) -> Label:
        """The class of a score in [0, 10]; the upper end of each class is inclusive."""
        low, high = self.cut_points
        return "low" if score <= low else "moderate" if score <= high else "high"


@dataclasses.dataclass(frozen=True)
class WeightsEntry:
    """Weights that were found and whose description is sound.

    Attributes:
        path: of the tensors; None for the built-in entry.
    """

    description: WeightsDescription
    path: Path | None

    @property
    def name(self) -> str:
        """The description's name."""
        return self.description.name

    @property
    def digest(self) -> str:
        """The description's digest: SHA-256 over both files, hexadecimal."""
        return self.description.digest


@dataclasses.dataclass(frozen=True)
class UnusableWeights:
    """A file on the search path that is not a usable set of weights, and why."""

    path: Path
    problem: str


# --- finding -----------------------------------------------------------------------------------------------------


def user_folder() -> Path | None:
    """Where `import` and `install` put weights: $AVPENET_WEIGHTS, else the user's data folder; None without either."""
    if named := os.environ.get(FOLDER_VARIABLE):
        return Path(named)
    return _data_folder()


def _data_folder() -> Path | None:
    data = Path(os.environ.get("XDG_DATA_HOME", ""))
    if data.is_absolute():
        return data / "avpenet" / "weights"
    try:
        return Path.home() / ".local" / "share" / "avpenet" / "weights"
    except RuntimeError:  # `env -i` under a user without a passwd entry
        return None


def search_folders() -> tuple[Path, ...]:
    """Where weights are looked for, in this order: $AVPENET_WEIGHTS, the user's data folder, `weights/` by the package.

    A folder in the list need not exist.
    """
    folders = (user_folder(), _data_folder(), Path(__file__).resolve().parents[1] / "weights")
    return tuple(dict.fromkeys(folder for folder in folders if folder is not None))


def find(name_or_path: str | Path) -> WeightsEntry:
    """The weights of that name on the search path, or in that file.

    Args:
        name_or_path: `untrained`, a name, or the path of a `.safetensors` file.

    Raises:
        WeightsError: not found, or its description is missing, unreadable or altered. The tensors are not read yet.
    """
    text = os.fspath(name_or_path)
    if text == UNTRAINED:
        return untrained_entry()
    if _looks_like_path(text):
        return _entry_at(Path(text))
    for folder in search_folders():
        candidate = folder / f"{text}.safetensors"
        if os.path.lexists(candidate):
            return _entry_at(candidate)
    searched = ", ".join(str(folder) for folder in search_folders())
    raise WeightsError(
        f"no weights are called {text!r} (searched {searched})",
        "see `avpenet weights list`, or give the path of a .safetensors file",
    )


def list_entries() -> list[WeightsEntry | UnusableWeights]:
    """Everything on the search path by name, the built-in entry first. Of equal names the first found counts."""
    found: dict[str, WeightsEntry | UnusableWeights] = {UNTRAINED: untrained_entry()}
    for folder in search_folders():
        try:
            paths = sorted(path for path in folder.iterdir() if path.suffix == ".safetensors")
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as error:
            found[str(folder)] = UnusableWeights(folder, f"cannot be read: {error.strerror}")
            continue
        for path in paths:
            if path.stem in found or path.name.startswith("."):
                continue
            try:
                found[path.stem] = _entry_at(path)
            except WeightsError as error:
                found[path.stem] = UnusableWeights(path, error.message)
    return list(found.values())


def default_entry() -> WeightsEntry:
    """The trained weights used when none are named.

    Raises:
        WeightsError: there are none; says what to do.
    """
    if DEFAULT_NAME is not None:
        return find(DEFAULT_NAME)
    installed = [e.name for e in list_entries() if isinstance(e, WeightsEntry) and e.name != UNTRAINED]
    here = f"installed here: {', '.join(installed)}" if installed else "none are installed here either"
    raise WeightsError(
        f"no weights were named, and no trained weights come with this version ({here})",
        "name some with --weights NAME|FILE.safetensors, bring a checkpoint in with `avpenet weights import FILE.pth`, "
        "or pass --weights untrained to try the program out (its scores mean nothing)",
    )


def untrained_entry() -> WeightsEntry:
    """The built-in entry: seeded initialisation, no file. Its scores mean nothing."""
    from avpenet_cli.model.initialise import SCHEME

    return WeightsEntry(
        WeightsDescription(
            name=UNTRAINED,
            status="untrained",
            intended_use="Trying out and testing the program.",
            not_intended_use="Anything else: the network has learnt nothing.",
            training_data="none",
            licence="MIT",
            created_with=f"built in, {SCHEME}, seed {UNTRAINED_SEED}",
            notice="UNTRAINED weights: these scores mean nothing and must not be used",
            n_parameters=51_247_459,
            tensors_sha256=digest_of({"scheme": SCHEME, "seed": UNTRAINED_SEED, "network": "avpenet"}),
        ),
        path=None,
    )


def describe(entry: WeightsEntry) -> dict[str, Any]:
    """The description as JSON-ready nested dictionaries with its digest, as `NAME.json` holds it."""
    return to_plain(entry.description) | {"digest": entry.digest}


def _looks_like_path(text: str) -> bool:
    return os.sep in text or text.endswith((".safetensors", ".json", ".pth", ".pt"))


def _entry_at(path: Path) -> WeightsEntry:
    if path.suffix in {".pth", ".pt"}:
        raise WeightsError(f"{path} is a training checkpoint", f"convert it first: avpenet weights import {path}")
    path = path.with_suffix(".safetensors") if path.suffix == ".json" else path
    if path.suffix != ".safetensors":
        raise WeightsError(f"{path} is not a .safetensors file", "give the .safetensors file of the pair")
    require_file(path, "the tensors")
    beside = path.with_suffix(".json")
    if not beside.exists():  # a link to the tensors alone: their description lies beside the target
        beside = path.resolve().with_suffix(".json")
    require_file(beside, "the description")
    description = _read_description(beside)
    if description.name != path.stem:
        raise WeightsError(
            f"{path} holds the weights called {description.name!r}", f"name both files {description.name} again"
        )
    if description.name == UNTRAINED:
        raise WeightsError(f"{path} takes the name of the built-in weights", "choose another name for it")
    return WeightsEntry(description, path)


def require_file(path: Path, what: str) -> None:
    """Is `path` a file that can be read?

    Raises:
        WeightsError: it is not; `what` names it.
    """
    try:
        regular = path.is_file()
        if regular:
            with path.open("rb"):
                return
    except (OSError, RuntimeError) as error:
        raise WeightsError(f"{what} {path} cannot be read: {error}", "check the file's permissions") from None
    problem = "is not a regular file" if os.path.lexists(path) and not path.is_symlink() else "is not there"
    raise WeightsError(f"{what} {path} {problem}", "weights are a .safetensors and a .json file side by side")


def _read_description(path: Path) -> WeightsDescription:
    def refuse(problem: str) -> NoReturn:
        raise WeightsError(f"the description {path} {problem}", "install these weights again from their source")

    try:
        plain = json.loads(path.read_bytes())
    except OSError as error:
        refuse(f"cannot be read: {error.strerror}")
    except (ValueError, RecursionError):
        refuse("is not JSON; it is damaged or something else")
    if not isinstance(plain, dict):
        refuse("is not a weights description")
    if plain.get("format_version") != FORMAT_VERSION:
        refuse(f"has format version {plain.get('format_version')!r}; this program reads {FORMAT_VERSION}")
    stored = plain.pop("digest", None)
    if stored != digest_of(plain):
        refuse("was altered: its digest does not fit what it says")
    try:
        description = from_plain(WeightsDescription, plain, str(path))
    except SettingsError as error:
        raise WeightsError(error.message, "these weights need another version of this program") from None
    if description.digest != stored:
        refuse("leaves fields to their defaults; a description states every one")
    return description


# --- verifying and loading ---------------------------------------------------------------------------------------


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
    _check_tensors(header, entry.description, str(entry.path))


def load_network(entry: WeightsEntry) -> AVPENet:
    """The network with these weights, float32 on the CPU, in evaluation mode, still trainable.

    Everything is verified before any parameter is set. torch's global generator is left alone.

    Raises:
        WeightsError: as `verify`, or a tensor that holds values that are not numbers.
    """
    network, description = _empty_network(entry.description), entry.description
    state: dict[str, Tensor]
    if entry.path is None:
        from avpenet_cli.model.initialise import seeded_state

        state = seeded_state(network, UNTRAINED_SEED)
    else:
        from safetensors.torch import load_file

        verify(entry)
        state = load_file(entry.path)
        _check_finite(state, str(entry.path))
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


def _empty_network(description: WeightsDescription) -> AVPENet:
    """Names and shapes of the network, without memory behind them."""
    import torch

    from avpenet_cli.model.registry import build

    with torch.device("meta"):
        return build(description.network, description.architecture)


_SAFETENSORS_TYPES = {"torch.float32": "F32", "torch.int64": "I64"}


def _check_tensors(
    found: Mapping[str, tuple[tuple[int, ...], str]], description: WeightsDescription, where: str
) -> None:
    """Compare names, shapes and types with the network's.

    Args:
        found: name -> (shape, safetensors' type name).
        where: for the error.
    """
    wanted = {
        name: (tuple(tensor.shape), _SAFETENSORS_TYPES[str(tensor.dtype)])
        for name, tensor in _empty_network(description).state_dict().items()
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


def _check_finite(state: Mapping[str, Tensor], where: str) -> None:
    for name, tensor in state.items():
        if not bool(tensor.isfinite().all()):
            raise WeightsError(f"{where}: tensor {name} holds values that are not numbers", "use an intact copy")


# --- writing -----------------------------------------------------------------------------------------------------


def save(
    model_state: Mapping[str, Tensor], description: WeightsDescription, path: Path, overwrite: bool = False
) -> WeightsEntry:
    """Write a pair of files, whole or not at all, readable by their owner only.

    Args:
        model_state: the network's state dict; every tensor is checked against the network first.
        description: its digests and parameter count are filled in here.
        path: `FOLDER/NAME.safetensors`, NAME being the description's.
        overwrite: replace weights of that name with different ones.

    Raises:
        WeightsError: tensors that do not fit the network, a reserved or unfitting name, or a name already taken.
        EnvironmentFault: the folder cannot be written.
    """
    from safetensors.torch import save as serialise

    if path.name != f"{description.name}.safetensors":
        raise WeightsError(f"weights called {description.name!r} cannot be stored as {path.name}", "use one name")
    state = {name: tensor.detach().cpu().contiguous() for name, tensor in model_state.items()}
    where = f"the state of {description.name!r}"
    kinds = {name: _SAFETENSORS_TYPES.get(str(t.dtype), str(t.dtype)) for name, t in state.items()}
    _check_tensors({name: (tuple(t.shape), kinds[name]) for name, t in state.items()}, description, where)
    _check_finite(state, where)
    tensors = serialise(state)
    network = _empty_network(description)
    complete = dataclasses.replace(
        description,
        n_parameters=sum(parameter.numel() for parameter in network.parameters()),
        tensors_sha256=hashlib.sha256(tensors).hexdigest(),
    )

    return _write_pair(lambda file: file.write(tensors), complete, path, overwrite)


def install(path: str | Path, overwrite: bool = False) -> WeightsEntry:
    """Verify a pair of files and copy it into the user's store. Installing the same pair again changes nothing.

    Raises:
        WeightsError: as `find` and `verify`, or other weights of that name are installed already.
        EnvironmentFault: the store cannot be written.
    """
    source = find(path)
    if source.path is None:
        raise WeightsError(f"{source.name} is built in", "there is nothing to install")
    verify(source)
    original = source.path

    def copy_tensors(file: BinaryIO) -> None:
        digest = hashlib.sha256()
        with original.open("rb") as tensors:
            while block := tensors.read(1 << 20):
                digest.update(block)
                file.write(block)
        if digest.hexdigest() != source.description.tensors_sha256:
            raise WeightsError(f"{original} changed while it was being copied", "try again")

    return _write_pair(copy_tensors, source.description, store_folder() / original.name, overwrite)


def store_folder() -> Path:
    """Where new weights go.

    Raises:
        EnvironmentFault: there is no such folder for this user.
    """
    folder = user_folder()
    if folder is None:
        raise EnvironmentFault(
            "no folder to keep weights in: HOME is not set", f"set {FOLDER_VARIABLE} to a folder of your own"
        )
    return folder


def _write_pair(
    write_tensors: Callable[[BinaryIO], object], description: WeightsDescription, path: Path, overwrite: bool
) -> WeightsEntry:
    if description.name == UNTRAINED:
        raise WeightsError(f"the name {UNTRAINED!r} belongs to the built-in weights", "choose another name")
    entry = WeightsEntry(description, path)
    if os.path.lexists(path) and not overwrite:
        try:
            existing = _entry_at(path)
            verify(existing)
            if existing.digest == entry.digest:
                return existing
        except WeightsError:
            pass  # a damaged pair is in the way just as other weights are
        raise WeightsError(
            f"{path} holds other weights of that name already", "choose another name, or pass --overwrite"
        )
    readable = json.dumps(describe(entry), indent=2, ensure_ascii=False).encode() + b"\n"
    written: dict[Path, Path] = {}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # The tensors last: weights are found by them, and by then their description is in place.
        for target, write in ((path.with_suffix(".json"), lambda file: file.write(readable)), (path, write_tensors)):
            written[target] = _write_temporary(target, write)
        for target, temporary in written.items():
            temporary.replace(target)
        sync_folder(path.parent)
    except OSError as error:
        raise EnvironmentFault(
            f"cannot write weights to {path.parent}: {error.strerror or error}", "check space and permissions"
        ) from None
    finally:
        for temporary in written.values():
            temporary.unlink(missing_ok=True)
    return entry


def _write_temporary(path: Path, write: Callable[[BinaryIO], object]) -> Path:
    """A file beside `path`, mode 0600, all of it on the disk."""
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
