"""Find weights on the search path and read their descriptions. Reads no tensors."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from typing import NoReturn

from avpenet_cli.bundled import weights_directory
from avpenet_cli.errors import SettingsError, WeightsError
from avpenet_cli.settings import digest_of, from_dict
from avpenet_cli.textfiles import parse_json
from avpenet_cli.version import USE_LATER, is_later
from avpenet_cli.weights.description import (
    FORMAT_VERSION,
    UNTRAINED,
    WeightsDescription,
    WeightsEntry,
    untrained_entry,
)

DEFAULT_NAME = "avpenet-phantom"
"""The weights used when none are named. Other installed weights are used only when requested."""


class WeightsNotFound(WeightsError):
    """There are no weights of that name on the search path."""


FOLDER_VARIABLE = "AVPENET_WEIGHTS"

_REINSTALL = "install these weights again from their source"


@dataclasses.dataclass(frozen=True)
class UnusableWeights:
    """A file on the search path that is no usable set of weights, and why."""

    path: Path
    problem: str


def user_folder() -> Path | None:
    """Folder of `import` and `install`: $AVPENET_WEIGHTS, else the user's data folder; None without either."""
    if folder := os.environ.get(FOLDER_VARIABLE):
        return Path(folder)
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
    """The search path, in order: $AVPENET_WEIGHTS, the user's data folder, the program's own weights.

    The folders need not exist.
    """
    folders = (user_folder(), _data_folder(), weights_directory())
    return tuple(dict.fromkeys(folder for folder in folders if folder is not None))


def find(name_or_path: str | Path) -> WeightsEntry:
    """Find weights by name on the search path, or by path. Reads their description, not their tensors.

    Args:
        name_or_path: `untrained`, a name, or the path of a `.safetensors` file.

    Raises:
        WeightsError: they are not found, or their description is missing, unreadable or altered.
    """
    text = os.fspath(name_or_path)
    if text == UNTRAINED:
        return untrained_entry()
    if _looks_like_path(text):
        return entry_at(Path(text))
    for folder in search_folders():
        candidate = folder / f"{text}.safetensors"
        if os.path.lexists(candidate):
            return entry_at(candidate)
    searched = ", ".join(str(folder) for folder in search_folders())
    raise WeightsNotFound(
        f"no weights are called {text!r} (searched {searched})",
        "see `avpenet weights list`, or give the path of a .safetensors file",
    )


def list_entries() -> list[WeightsEntry | UnusableWeights]:
    """All weights on the search path, the built-in ones first. Of equal names the first on the path counts."""
    entries: dict[str, WeightsEntry | UnusableWeights] = {UNTRAINED: untrained_entry()}
    for folder in search_folders():
        try:
            paths = sorted(path for path in folder.iterdir() if path.suffix == ".safetensors")
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as error:
            entries[str(folder)] = UnusableWeights(folder, f"cannot be read: {error.strerror}")
            continue
        for path in paths:
            if path.stem in entries or path.name.startswith("."):
                continue
            try:
                entries[path.stem] = entry_at(path)
            except WeightsError as error:
                entries[path.stem] = UnusableWeights(path, error.message)
    return list(entries.values())


def default_entry() -> WeightsEntry:
    """The weights used when none are named.

    Raises:
        WeightsError: they are missing; otherwise as `find`.
    """
    try:
        return find(DEFAULT_NAME)
    except WeightsNotFound:
        searched = ", ".join(str(folder) for folder in search_folders())
        raise WeightsError(
            f"no weights were named, and the default weights {DEFAULT_NAME} are missing (searched {searched})",
            "install the program again, or name others with --weights",
        ) from None


def _looks_like_path(text: str) -> bool:
    return os.sep in text or text.endswith((".safetensors", ".json", ".pth", ".pt"))


def entry_at(path: Path) -> WeightsEntry:
    """Read the description of the weights in this file. Raises as `find`."""
    if path.suffix in {".pth", ".pt"}:
        raise WeightsError(f"{path} is a training checkpoint", f"convert it first: avpenet weights import {path}")
    path = path.with_suffix(".safetensors") if path.suffix == ".json" else path
    if path.suffix != ".safetensors":
        raise WeightsError(f"{path} is not a .safetensors file", "give the .safetensors file of the pair")
    require_file(path, "the tensors")
    location = description_path(path)
    require_file(location, "the description")
    try:
        content = location.read_bytes()
    except OSError as error:
        raise WeightsError(f"the description {location} cannot be read: {error.strerror}", _REINSTALL) from None
    description = parse_description(content, location)
    if description.name != path.stem:
        raise WeightsError(
            f"{path} holds weights called {description.name!r}", f"name both files {description.name} again"
        )
    if description.name == UNTRAINED:
        raise WeightsError(f"{path} has the name of the built-in weights", "rename the weights")
    return WeightsEntry(description, path)


def description_path(path: Path) -> Path:
    """Where the description of the weights in this file of tensors is."""
    beside = path.with_suffix(".json")
    # A link to the tensors alone: the description is beside its target.
    return beside if beside.exists() else path.resolve().with_suffix(".json")


def require_file(path: Path, what: str) -> None:
    """Check that `path` is a file that can be read.

    Raises:
        WeightsError: it is not; `what` names it in the message.
    """
    try:
        regular = path.is_file()
        if regular:
            with path.open("rb"):
                return
    except (OSError, RuntimeError) as error:
        raise WeightsError(f"{what} {path} cannot be read: {error}", "check the file's permissions") from None
    problem = "is not a regular file" if os.path.lexists(path) and not path.is_symlink() else "does not exist"
    raise WeightsError(f"{what} {path} {problem}", "weights are a .safetensors file and a .json file side by side")


def parse_description(content: bytes, path: Path) -> WeightsDescription:
    """Read the contents of a `NAME.json`; `path` names it in messages.

    Raises:
        WeightsError: it is no description, was altered, or needs another version of this program.
    """

    def refuse(problem: str) -> NoReturn:
        raise WeightsError(f"the description {path} {problem}", _REINSTALL)

    try:
        fields = parse_json(content)
    except ValueError:
        refuse("is not JSON, or is damaged")
    if not isinstance(fields, dict):
        refuse("is not a weights description")
    stated = fields.get("format_version")
    if is_later(stated, FORMAT_VERSION):
        text = f"the description {path} has format version {stated}; this program reads up to {FORMAT_VERSION}"
        raise WeightsError(text, USE_LATER)
    if stated != FORMAT_VERSION:
        refuse(f"has format version {stated!r}; this program reads {FORMAT_VERSION}")
    stored = fields.pop("digest", None)
    if stored != digest_of(fields):
        refuse("was altered: its digest does not match its contents")
    try:
        description = from_dict(WeightsDescription, fields, str(path))
    except SettingsError as error:
        raise WeightsError(error.message, "these weights need another version of this program") from None
    if description.digest != stored:
        refuse("lacks fields; a description states every field")
    return description
