"""Rules for what a run may write to: for folders, for files, and for finding another run's output."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from avpenet_cli.errors import OutputError, SettingsError
from avpenet_cli.storage import storage_fault, temporary_name
from avpenet_cli.textfiles import parse_json


def prepare_output_directory(folder: Path, is_own_file: Callable[[str], bool]) -> None:
    """Create a folder for a run's files, readable by its owner only, or check that it contains nothing else.

    Hidden files and the remains of interrupted writes (`*.tmp`) are ignored.

    Args:
        folder: its parent must exist.
        is_own_file: whether a file or folder of that name is written by this command.

    Raises:
        OutputError: it is a file, its parent does not exist, it contains something else, or it cannot be written.
        EnvironmentUnavailableError: the disk is full or failed.
    """
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        names = sorted(path.name for path in folder.iterdir())
    except FileExistsError:
        raise OutputError(f"{folder} is a file, not a folder", "choose another --out") from None
    except OSError as error:
        raise storage_fault(folder, error) from None
    foreign = [name for name in names if not (name.startswith(".") or name.endswith(".tmp") or is_own_file(name))]
    if foreign:
        raise OutputError(f"{folder} holds other files, such as {foreign[0]}", "choose an empty or new folder")


def refuse_existing(path: Path, remedy: str = "choose another --out, or remove it") -> None:
    """Raise if `path` exists, even as a dangling link.

    Raises:
        OutputError: it exists.
    """
    if os.path.lexists(path):
        raise OutputError(f"{path} already exists", remedy)


def refuse_unwritable_file(path: Path) -> None:
    """Raise if a file of that name cannot be written: it is a folder, its name is too long, its folder does not exist.

    Raises:
        OutputError: it cannot.
    """
    try:
        if not path.parent.is_dir():
            raise OutputError(f"{path} cannot be written: its folder does not exist", "create the folder first")
        # A file is written under a longer name, then renamed.
        with contextlib.suppress(FileNotFoundError):
            path.with_name(temporary_name(path)).lstat()
        if path.is_dir():
            raise OutputError(f"{path} is a folder", "give the name of a file")
    except OSError as error:
        raise storage_fault(path, error) from None


def refuse_overwriting(outputs: Sequence[Path], inputs: Iterable[Path | None]) -> None:
    """Raise if a run would replace one of its inputs, under whatever name.

    Args:
        outputs: what the run writes; the first is the one that was named with --out.
        inputs: what it reads; None stands for an input that was not given.

    Raises:
        SettingsError: it would.
    """
    for path in inputs:
        for output in outputs:
            if path is not None and _is_same_file(output, path):
                raise SettingsError(
                    f"--out {outputs[0]}: would overwrite {path}, which this command reads", "give another name"
                )


def _is_same_file(first: Path, second: Path) -> bool:
    return first.resolve() == second.resolve() or (first.exists() and second.exists() and first.samefile(second))


def read_run_file(path: Path, remedy: str) -> dict[str, Any] | None:
    """The record that an earlier run wrote about itself; None if there is none.

    Args:
        path: a JSON file that contains an object.
        remedy: what to do if the file is damaged.

    Raises:
        OutputError: it is damaged or cannot be read.
    """
    try:
        content = parse_json(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        detail = error.strerror if isinstance(error, OSError) else "not JSON"
        raise OutputError(f"{path} cannot be read: {detail}", remedy) from None
    if not isinstance(content, dict):
        raise OutputError(f"{path} cannot be read: not a JSON object", remedy)
    return content
