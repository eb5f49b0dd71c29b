"""Files that appear whole or not at all, readable by their owner only."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import hashlib
import io
import json
import os
import secrets
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, TypeVar

from avpenet_cli.errors import EnvironmentUnavailableError, NoSpaceError, OutputError

if TYPE_CHECKING:
    from pydantic import TypeAdapter

T = TypeVar("T")

_CLOSE_ON_EXEC, _NEVER_EXECUTABLE = 1, 8
"""MFD_CLOEXEC and MFD_NOEXEC_SEAL (memfd_create(2))."""


def write_json(path: Path, plain: dict[str, Any], lines: tuple[str, Iterable[dict[str, Any]]] | None = None) -> None:
    """Write a JSON file that appears whole, readable by its owner only; raises as `atomic_write`.

    Args:
        lines: name and items of a list at the end of the object, each item on a line of its own: for lists that are
            long, whose items are consumed one by one.
    """
    with atomic_write(path) as file:
        # Piece by piece: as one string, a long document takes several times its length.
        text = io.TextIOWrapper(file, encoding="utf-8", newline="\n")
        if lines is None:
            json.dump(plain, text, indent=1, ensure_ascii=False)
        else:
            name, items = lines
            text.write(json.dumps(plain, indent=1, ensure_ascii=False).removesuffix("\n}"))
            text.write(f",\n {json.dumps(name)}: [")
            for number, item in enumerate(items):
                text.write(f"{',' if number else ''}\n  {json.dumps(item, ensure_ascii=False)}")
            text.write("\n ]\n}")
        text.write("\n")
        text.detach()


def read_document(path: Path, document: TypeAdapter[T], is_valid: Callable[[T], bool], remedy: str) -> T | None:
    """Read a JSON file that this program wrote; None where there is none.

    Args:
        document: its type, which is validated.
        is_valid: whether it is of a version that is read, and its values fit together.
        remedy: for a file that is not valid.

    Raises:
        OutputError: it is damaged, cannot be read, or is of another version.
    """
    try:
        content = document.validate_json(path.read_bytes())
        if not is_valid(content):
            raise ValueError
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise OutputError(f"{path} cannot be read: {error.strerror}", "check its permissions") from None
    except ValueError:
        raise OutputError(f"{path} is damaged, or of another version of avpenet", remedy) from None
    return content


def content_digest(content: dict[str, Any]) -> str:
    """SHA-256, hexadecimal, over canonical JSON (sorted keys, no blanks, UTF-8) without the key `digest`.

    Raises:
        ValueError: a number is not finite, which JSON cannot hold.
    """
    plain = {name: value for name, value in content.items() if name != "digest"}
    text = json.dumps(plain, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


@contextlib.contextmanager
def atomic_write(path: Path) -> Iterator[IO[bytes]]:
    """A file to write that takes `path`'s place only when the block ends well: temporary name, fsync, rename.

    A link at `path` is replaced; what it leads to stays as it is. The folder is opened once: whoever puts another one,
    or a link, in its place meanwhile does not divert the file.

    Raises:
        EnvironmentUnavailableError: no space, or the disk failed.
        OutputError: the folder cannot be written.
    """
    try:
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise storage_fault(path, error) from None
    try:
        temporary, handle = _open_temporary(path, folder)
        try:
            with os.fdopen(handle, "w+b") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path.name, src_dir_fd=folder, dst_dir_fd=folder)
            _sync_open_folder(folder)
        finally:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(temporary, dir_fd=folder)
    except OSError as error:
        raise storage_fault(path, error) from None
    finally:
        os.close(folder)


def _open_temporary(path: Path, folder: int) -> tuple[str, int]:
    """Name and descriptor of a new file beside `path` in an open folder, never one that was there."""
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    while True:
        name = temporary_name(path)
        with contextlib.suppress(FileExistsError):
            return name, os.open(name, flags, 0o600, dir_fd=folder)


def temporary_prefix(path: Path) -> str:
    """Prefix of the temporary files of an output; a killed run's leftovers are recognised by it."""
    return f".{path.name}."


def temporary_name(path: Path) -> str:
    """A new name for a temporary file beside `path`; all are of the same length."""
    return f"{temporary_prefix(path)}{secrets.token_hex(4)}.tmp"


def memory_file(name: str) -> int:
    """Descriptor of a new, empty file in memory, which child processes do not inherit.

    By the C library: `os.memfd_create` is missing from a Python that was built for old ones, as those of conda and uv.

    Raises:
        OSError: the kernel has none.
    """
    library = ctypes.CDLL(None, use_errno=True)
    descriptor: int = library.memfd_create(name.encode(), _CLOSE_ON_EXEC)
    if descriptor < 0 and ctypes.get_errno() == errno.EACCES:  # where `vm.memfd_noexec` is 2
        descriptor = library.memfd_create(name.encode(), _CLOSE_ON_EXEC | _NEVER_EXECUTABLE)
    if descriptor < 0:
        raise OSError(ctypes.get_errno(), f"no file in memory: {os.strerror(ctypes.get_errno())}")
    return descriptor


def sync_folder(folder: Path) -> None:
    """Flush a folder to disk, so that a rename in it survives a power cut."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        _sync_open_folder(handle)
    finally:
        os.close(handle)


def _sync_open_folder(folder: int) -> None:
    try:
        os.fsync(folder)
    except OSError as error:
        # Some file systems sync files only, as SMB did in older kernels: fsync(2), EINVAL.
        if error.errno not in {errno.EINVAL, errno.EOPNOTSUPP}:
            raise


def storage_fault(path: Path, error: OSError) -> EnvironmentUnavailableError | OutputError:
    """The error to raise for an operating-system error while writing `path`."""
    if error.errno in {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}:
        return NoSpaceError(
            f"no space left to write {path}", "free some space, then run the same command again to resume"
        )
    if error.errno in {errno.EACCES, errno.EPERM, errno.EROFS}:
        return OutputError(f"{path} cannot be written: {error.strerror}", "choose another --out or fix the permissions")
    if error.errno == errno.ELOOP:
        return OutputError(f"{path} cannot be written: it is a link", "remove the link, or name a file")
    if error.errno in {errno.EISDIR, errno.EEXIST, errno.ENAMETOOLONG}:
        return OutputError(f"{path} cannot be written: {error.strerror}", "choose another name")
    if error.errno in {errno.ENOENT, errno.ENOTDIR}:
        return OutputError(f"{path} cannot be written: its folder does not exist", "create the folder first")
    return EnvironmentUnavailableError(f"{path} cannot be written: {error.strerror or error}", "check the disk")


def make_private_folder(folder: Path) -> None:
    """Create a folder that only its owner can read, unless it exists; its parent must.

    Raises:
        EnvironmentUnavailableError: the disk is full or failed.
        OutputError: it cannot be created.
    """
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        raise storage_fault(folder, error) from None
