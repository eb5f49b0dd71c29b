"""The history beside an output: a line for every run that wrote it, chained by digests, only ever appended to.

`scores.csv.history.jsonl` lies beside `scores.csv`. Each line states the SHA-256 of the bytes of the line before it, of
every file that its run wrote or read, and of itself, so that a line that was edited, removed or moved shows, and so
does an output that no line wrote. Documents state the last line before their own (`HistoryHead`): a copy of it on paper
anchors the lines up to there. Whoever may write to the folder can write all of it again, anchors on paper excepted.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import pwd
import re
import stat
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from avpenet_cli.errors import OutputError, OutputLockedError, SettingsError
from avpenet_cli.runs.lease import LeaseTiming, hold_lease
from avpenet_cli.runs.lock import flock_or_none
from avpenet_cli.storage import storage_fault, sync_folder
from avpenet_cli.version import __version__

HISTORY_VERSION = 1

Outcome = Literal["finished", "failed", "interrupted"]

_PATIENCE_S = 60.0
"""Another run has a history open only while it writes its files."""
_POLL_S = 0.05
_NAME_CHARACTERS = 200
_SUFFIX = ".history.jsonl"
_OWN_DIGEST = re.compile(rb', "sha256": "([0-9a-f]{64})"\}\Z')


def history_path(output: Path) -> Path:
    """`scores.csv.history.jsonl` for `scores.csv`."""
    return output.with_name(output.name + _SUFFIX)


@dataclass(frozen=True)
class HistoryHead:
    """The last line of a history before something was written.

    Attributes:
        line: its number, from 1; 0 where there was none.
        sha256: digest of its bytes without the line break, hexadecimal; empty where there was none.
    """

    line: int
    sha256: str


NO_LINES = HistoryHead(0, "")


@dataclass(frozen=True)
class ReadFile:
    """A file that a run read.

    Attributes:
        content: what it is: `scores`, `ratings`, `subjects`, ...
        file: its name without its folder; empty under pseudonyms, and for a table in memory.
        sha256: digest of its bytes, hexadecimal.
        scores_digest: of a score table: SHA-256 over recording, times and score of every segment, which stays the same
            when the table gets further columns; empty for other files, and where it was not computed.
    """

    content: str
    file: str
    sha256: str
    scores_digest: str = ""


@dataclass(frozen=True)
class WrittenFile:
    """A file that a run wrote.

    Attributes:
        file: its name without its folder.
        sha256: digest of its bytes, hexadecimal.
        size_bytes: its size.
    """

    file: str
    sha256: str
    size_bytes: int


@dataclass(frozen=True)
class SignOff:
    """Who signed, as they gave it: an attestation by whoever may write to the folder, not a cryptographic signature.

    Attributes:
        name: of the person.
        role: in which they signed.
        files: what was signed.
    """

    name: str
    role: str
    files: tuple[WrittenFile, ...]


@dataclass(frozen=True)
class HistoryLine:
    """A line of a history. `schemas/history.schema.json` in the package is its JSON Schema.

    Attributes:
        history_version: version of this format.
        line: its number in the file, from 1.
        previous: SHA-256 of the line before it, without the line break; empty in the first line.
        event: the command, such as `score` or `report`, or `sign-off`.
        outcome: `finished`, or what kept a run from it that had written files.
        started, time: when the run began and when it had written its files, ISO 8601 in UTC.
        operator: login name of the account that ran the command; its number where it has no name.
        version: of avpenet.
        command: with its options, without folders; under pseudonyms without names of inputs. Empty where the library
            was used without the command.
        written: files that the run wrote, the output first.
        read: tables and settings that it read. The digests of recordings are in the manifest.
        sha256: of this line as it is without this field, which is the last one, hexadecimal: the next line would show
            that this one was edited, but of the last line there is none.
        sign_off: who signed what; None in other lines.
    """

    history_version: int
    line: int
    previous: str
    event: str
    outcome: Outcome
    started: str
    time: str
    operator: str
    version: str
    command: str
    written: tuple[WrittenFile, ...]
    read: tuple[ReadFile, ...]
    sha256: str
    sign_off: SignOff | None = None


class History:
    """An output's history, open and locked; from `locked_history`.

    Attributes:
        head: the last line; `NO_LINES` while there is none.
    """

    def __init__(self, path: Path, handle: int) -> None:
        self._path, self._handle = path, handle
        content = _read_all(handle)
        self._is_torn = bool(content) and not content.endswith(b"\n")
        lines = content.split(b"\n")
        if not self._is_torn:
            lines.pop()
        self.head = HistoryHead(len(lines), digest_of_line(lines[-1])) if lines else NO_LINES
        self._started = datetime.now(UTC)

    def append(
        self,
        event: str,
        *,
        written: Sequence[Path],
        read: Sequence[ReadFile] = (),
        command: str = "",
        started: datetime | None = None,
        outcome: Outcome = "finished",
        sign_off: SignOff | None = None,
    ) -> HistoryHead:
        """Append a line and flush it to the disk.

        Args:
            written: files as they lie on the disk now; those that do not exist are left out.
            started: when the run began, with offset; None for when the history was opened.

        Returns:
            The new line's number and digest.

        Raises:
            EnvironmentUnavailableError, OutputError: it cannot be written, or a file cannot be read.
        """
        line = HistoryLine(
            history_version=HISTORY_VERSION,
            line=self.head.line + 1,
            previous=self.head.sha256,
            event=event,
            outcome=outcome,
            started=_utc(started or self._started),
            time=_utc(datetime.now(UTC)),
            operator=operator(),
            version=__version__,
            command=command,
            written=tuple(written_file(path) for path in written if path.exists()),
            read=tuple(read),
            sha256="",
            sign_off=sign_off,
        )
        encoded = _encoded(line)
        # The line that a killed run left without its end stays, and is closed.
        self._write((b"\n" if self._is_torn else b"") + encoded + b"\n")
        self._is_torn = False
        self.head = HistoryHead(line.line, digest_of_line(encoded))
        return self.head

    def _write(self, content: bytes) -> None:
        before, done = os.fstat(self._handle).st_size, 0
        try:
            while done < len(content):
                done += os.write(self._handle, content[done:])
            os.fsync(self._handle)
            sync_folder(self._path.parent)
        except OSError as error:
            # Half a line on a full disk helps nobody. What another run appended, where there are no locks, stays.
            with contextlib.suppress(OSError):
                if done < len(content) and os.fstat(self._handle).st_size == before + done:
                    os.ftruncate(self._handle, before)
            raise storage_fault(self._path, error) from None


@contextlib.contextmanager
def locked_history(output: Path) -> Iterator[History]:
    """An output's history, locked while the run writes its files and appends its line.

    A new history has the mode 0600 whatever the umask; an empty one is removed if the block appends no line to it.

    Args:
        output: beside which the history lies.

    Raises:
        OutputError: it is a link or no regular file, its folder does not exist, or it cannot be written.
        OutputLockedError: another run has been writing for a minute.
        EnvironmentUnavailableError: the disk is full or failed.
    """
    path = history_path(output)
    with _leased(path, output):
        handle = _open_locked(path, output)
        try:
            yield History(path, handle)
        finally:
            with contextlib.suppress(OSError):
                if os.fstat(handle).st_size == 0:
                    path.unlink()
            os.close(handle)


def record_run(
    output: Path,
    event: str,
    *,
    written: Sequence[Path],
    read: Sequence[ReadFile] = (),
    command: str = "",
    started: datetime | None = None,
) -> None:
    """Append the line of a run that has written its files; arguments and errors as `History.append`."""
    with locked_history(output) as history:
        history.append(event, written=written, read=read, command=command, started=started)


def refuse_unusable_history(output: Path, beside: Sequence[Path] = ()) -> None:
    """Raise where a run could not append to the history at its end; creates nothing.

    Args:
        beside: other files that the run writes, whose history this is, too.

    Raises:
        OutputError: it is a link or no regular file, it cannot be written, the output would replace a history, or one
            of the other files is the output of another command.
    """
    if output.name.endswith(_SUFFIX):
        raise OutputError(f"{output}: only histories have such names, and none is replaced", "give another name")
    for path in beside:
        # `report --out site.html` writes site.json, as which there may be a calibration.
        if path != output and path.exists() and os.path.lexists(history_path(path)):
            raise OutputError(f"{path} is another output, with a history of its own", "choose another --out")
    path = history_path(output)
    if os.path.lexists(path):
        os.close(_open(path))


def read_head(output: Path) -> HistoryHead | None:
    """The last line of an output's history as it is now; None where there is none or it cannot be read."""
    try:
        lines = history_path(output).read_bytes().removesuffix(b"\n").split(b"\n")
    except OSError:
        return None
    return HistoryHead(len(lines), digest_of_line(lines[-1])) if lines[-1] else None


def digest_of_line(line: bytes) -> str:
    """SHA-256 of a line's bytes without the line break, hexadecimal."""
    return hashlib.sha256(line).hexdigest()


def states_own_digest(line: bytes) -> bool:
    """Whether a line, without the line break, ends with the digest of all that stands before that."""
    found = _OWN_DIGEST.search(line)
    return found is not None and found[1].decode("ascii") == digest_of_line(line[: found.start()] + b"}")


def written_file(path: Path) -> WrittenFile:
    """A file as it lies on the disk.

    Raises:
        OutputError, EnvironmentUnavailableError: it cannot be read.
    """
    try:
        with path.open("rb") as file:
            return WrittenFile(
                path.name, hashlib.file_digest(file, "sha256").hexdigest(), os.fstat(file.fileno()).st_size
            )
    except OSError as error:
        raise storage_fault(path, error) from None


def read_file(content: str, path: Path) -> ReadFile:
    """A file that a run has read, by its name; raises as `written_file`."""
    return ReadFile(content, path.name, written_file(path).sha256)


def operator() -> str:
    """Login name of the account that runs this process, not what its environment says; its number without a name."""
    number = str(os.geteuid())
    # The name service, which knows a domain's accounts, is asked over a socket: only for an account that is not here.
    with contextlib.suppress(OSError), Path("/etc/passwd").open("rb") as accounts:
        for line in accounts:
            name, *fields = os.fsdecode(line).split(":")
            if fields[1:2] == [number] and name:
                return name
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return number


def checked_signature(name: str, role: str) -> tuple[str, str]:
    """A signatory's name and role without blanks around them.

    Raises:
        SettingsError: one is empty, too long or not one line of printable text.
    """
    stripped = name.strip(), role.strip()
    for option, text in zip(("--sign-off", "--role"), stripped, strict=True):
        if not text or len(text) > _NAME_CHARACTERS or not text.isprintable():
            raise SettingsError(
                f"{option}: not a line of 1 to {_NAME_CHARACTERS} printable characters", "give name and role"
            )
    return stripped


def _encoded(line: HistoryLine) -> bytes:
    content = asdict(line)
    del content["sha256"]
    if line.sign_off is None:
        del content["sign_off"]
    # Escapes keep the bytes of names that are not UTF-8, and no name can break a line.
    encoded = json.dumps(content, ensure_ascii=True).encode("ascii")
    return encoded[:-1] + f', "sha256": "{digest_of_line(encoded)}"}}'.encode("ascii")


def _utc(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="seconds")


def _open(path: Path) -> int:
    flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        handle = os.open(path, flags, 0o600)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise OutputError(f"{path} is a link", "a history has to be a file: move the link away") from None
        raise storage_fault(path, error) from None
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise OutputError(f"{path} is not a regular file", "move it away")
    return handle


@contextlib.contextmanager
def _leased(path: Path, output: Path) -> Iterator[None]:
    """The lease of a history, which keeps runs of other hosts from appending where `flock` does not reach them."""
    folder = path.with_name(f".{path.name}.holder")
    deadline = time.monotonic() + _PATIENCE_S
    with contextlib.ExitStack() as stack:
        while True:
            try:
                stack.enter_context(hold_lease(folder, output, LeaseTiming()))
                break
            except OutputLockedError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(_POLL_S)
        yield


def _open_locked(path: Path, output: Path) -> int:
    while True:
        handle = _open(path)
        try:
            _lock(handle, output)
            # While this run waited, another one may have removed the history that it had left empty.
            if path.exists() and os.path.samestat(os.fstat(handle), path.lstat()):
                return handle
        except BaseException:
            os.close(handle)
            raise
        os.close(handle)


def _lock(handle: int, output: Path) -> None:
    try:
        locked = flock_or_none(handle, _PATIENCE_S)
    except OSError as error:
        raise storage_fault(output, error) from None
    if not locked:
        raise OutputLockedError(f"{output} is being written by another run", "wait for it, or choose another --out")


def _read_all(handle: int) -> bytes:
    os.lseek(handle, 0, os.SEEK_SET)
    with os.fdopen(os.dup(handle), "rb") as file:
        return file.read()
