"""The folder of an explanation: its files appear together, when all of them are written."""

from __future__ import annotations

import contextlib
import hashlib
import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from avpenet_cli.runs.lock import output_lock
from avpenet_cli.runs.outputs import prepare_output_directory, refuse_existing
from avpenet_cli.storage import storage_fault

PAGE_FILE, EXPLAIN_FILE = "explain.html", "explain.json"
_FIGURE = re.compile(r"segment-\d{4,}\.(png|svg)")
_KEPT_FILES = {f"{EXPLAIN_FILE}.{ending}" for ending in ("lock", "holder", "history.jsonl")}
_UNFINISHED = ".explain."


def figure_stem(segment: int) -> str:
    """Name of a segment's figures, without suffix."""
    return f"segment-{segment:04d}"


def _is_written(name: str) -> bool:
    return name in (PAGE_FILE, EXPLAIN_FILE) or _FIGURE.fullmatch(name) is not None


@contextlib.contextmanager
def explanation_folder(folder: Path, overwrite: bool) -> Iterator[Path]:
    """A hidden folder to write to within `folder`; at the end its files take the place of an earlier explanation's.

    If the block raises, nothing is left of it, and an earlier explanation stays as it was. A folder that is created is
    its owner's alone (0700); of one that exists the permissions stay, and only its files are their owner's alone.

    Args:
        folder: new, empty, or with `overwrite` an earlier explanation.
        overwrite: replace it.

    Raises:
        OutputError: it contains other files, or an explanation without `overwrite`; it cannot be created.
        OutputLockedError: another run writes to it.
        EnvironmentUnavailableError: the disk is full or failed.
    """
    is_new = _create(folder)
    prepare_output_directory(folder, lambda name: _is_written(name) or name in _KEPT_FILES)
    remedy = "give --overwrite to replace the explanation, or choose another --out"
    with output_lock(folder / EXPLAIN_FILE) as lease:
        if not overwrite:  # under the lock: another run may have finished since
            refuse_existing(folder / EXPLAIN_FILE, remedy)
        try:
            unfinished = _unfinished(folder)
            try:
                yield unfinished
                lease.check()
                _replace(folder, unfinished)
            finally:
                shutil.rmtree(unfinished, ignore_errors=True)
        except BaseException:
            if is_new:
                lease.check()  # or what lies there is another run's
                _remove(folder)
            raise


def _create(folder: Path) -> bool:
    """Create a folder that only its owner can read; whether it was not there."""
    try:
        folder.mkdir(mode=0o700)
    except FileExistsError:
        return False
    except OSError as error:
        raise storage_fault(folder, error) from None
    return True


def _unfinished(folder: Path) -> Path:
    """The hidden folder to write to, readable by its owner only; those of runs that were killed are removed."""
    try:
        for left_behind in folder.glob(f"{_UNFINISHED}*"):
            shutil.rmtree(left_behind, ignore_errors=True)
        return Path(tempfile.mkdtemp(prefix=_UNFINISHED, dir=folder))
    except OSError as error:
        raise storage_fault(folder, error) from None


def _remove(folder: Path) -> None:
    """Remove what a run wrote, and the folder unless something else is in it."""
    with contextlib.suppress(OSError):
        for path in folder.iterdir():
            if path.is_dir() and path.name in _KEPT_FILES:  # the lock's lease
                shutil.rmtree(path)
            elif _is_written(path.name) or path.name in _KEPT_FILES:
                path.unlink()
        folder.rmdir()


def _replace(folder: Path, unfinished: Path) -> None:
    """Move all files, the record last: while files of two explanations lie side by side, nothing certifies them."""
    try:
        (folder / EXPLAIN_FILE).unlink(missing_ok=True)
        for path in folder.iterdir():
            if _is_written(path.name):
                path.unlink()
        for path in sorted(unfinished.iterdir(), key=lambda path: path.name == EXPLAIN_FILE):
            path.replace(folder / path.name)
    except OSError as error:
        raise storage_fault(folder, error) from None


def digests(folder: Path) -> dict[str, str]:
    """SHA-256 of each file, by name, hexadecimal."""
    result = {}
    for path in sorted(folder.iterdir()):
        with path.open("rb") as file:
            result[path.name] = hashlib.file_digest(file, "sha256").hexdigest()
    return result
