"""Everything that a program and its children write anywhere, and their command lines, which the process list shows."""

from __future__ import annotations

import base64
import re
import subprocess
import urllib.parse
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

_ESCAPE = re.compile(rb"\\x([0-9a-f]{2})")
_CALL = re.compile(rb"^\d+ +(?:<\.\.\. )?(?P<name>[a-z0-9_]+)")
_CALLS = "trace=execve,execveat,write,pwrite64,writev,pwritev,pwritev2,creat,mkdir,mkdirat,rename,renameat,renameat2,"
_CALLS += "link,linkat,symlink,symlinkat,memfd_create,prctl,setxattr,fsetxattr,socket,connect"
_PIPE = re.compile(rb"\d+ +p?writev?\w*\(\d+<(pipe|UNIX[^:>]*|socket|/dev/null|/memfd)[:>]")
_HEAD_BYTES = 400
_SHORTEST_NAME = 5


@dataclass(frozen=True)
class Traced:
    """What a command did.

    Attributes:
        code: its exit status.
        printed: standard output and standard error.
        commands: command lines of the processes that it started, its own excepted, as strace writes them.
        calls: all else, decoded: bytes written to files, with their names, also of files that are removed since, and
            names of files and folders that were made, renamed or linked; sockets. Pipes between its own processes and
            files in memory (memfd) are left out.
    """

    code: int
    printed: bytes
    commands: list[bytes]
    calls: bytes

    @property
    def sockets(self) -> list[bytes]:
        """The calls that open or connect sockets, also refused ones."""
        return re.findall(rb"^\d+ +(?:socket|connect)\(.*", self.calls, re.MULTILINE)


def trace(command: Sequence[str | Path], calls: Path, environment: Mapping[str, str], folder: Path) -> Traced:
    """Run a command under strace, which has to be installed.

    Args:
        calls: where strace writes; outside the folders that are searched afterwards.
        environment: of the command.
        folder: its working folder.
    """
    tracing = ["strace", "-f", "--seccomp-bpf", "-qq", "-y", "-xx", "-s", str(1 << 24), "-o", str(calls), "-e", _CALLS]
    done = subprocess.run(
        [*tracing, "-e", "signal=none", *map(str, command)],
        env=environment,
        cwd=folder,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
    )
    commands: list[bytes] = []
    other: list[bytes] = []
    with calls.open("rb") as lines:
        for line in lines:
            call = _CALL.match(line)
            name = call["name"] if call else b""
            head = _decoded(line[:_HEAD_BYTES])
            if _PIPE.match(head):
                continue
            (commands if name.startswith(b"execve") else other).append(_decoded(line))
    calls.unlink()
    return Traced(done.returncode, done.stdout + done.stderr, commands[1:], b"".join(other))


def _decoded(line: bytes) -> bytes:
    return _ESCAPE.sub(lambda escape: bytes.fromhex(escape[1].decode()), line)


def forms(word: str) -> dict[str, bytes]:
    """A word as it may stand in a file, by encoding; each is searched for without letter case where it has one."""
    raw = word.encode("utf-8", "surrogateescape")
    found = {
        "as it is": raw,
        "utf-16": word.encode("utf-16-le", "surrogatepass")[:-1],  # also big-endian
        "percent-encoded": urllib.parse.quote(raw, safe="").encode(),
        "escaped": word.encode("unicode_escape"),
        "hexadecimal": raw.hex().encode(),
    }
    for offset in range(3):
        # Without the characters to which bytes before and after the word contribute.
        text = base64.b64encode(b"\0" * offset + raw + b"\0" * (-(offset + len(raw)) % 3))
        first = -(-offset * 8 // 6)
        found[f"base64 at {offset}"] = text[first : (offset + len(raw)) * 8 // 6]
    return found


def find(words: Iterable[str], raw: bytes) -> list[str]:
    """Which of the words the bytes hold, with the form and what stands around it."""
    lower = raw.lower()
    found = []
    for word in words:
        assert len(word) >= _SHORTEST_NAME, "shorter ones would be found by chance"
        for form, needle in forms(word).items():
            where, wanted = (raw, needle) if form.startswith("base64") else (lower, needle.lower())
            if (at := where.find(wanted)) >= 0:
                found.append(f"{word!r} {form}: {raw[max(0, at - 60) : at + 100]!r}")
    return found


def leaks(folders: Iterable[Path], words: Sequence[str]) -> dict[str, list[str]]:
    """The files below the folders whose name or content holds one of the words; Parquet is decompressed."""
    found = {}
    for folder in folders:
        for path in sorted(folder.rglob("*")):
            raw = bytes(path.relative_to(folder)) + b"\0"
            if path.is_symlink():
                raw += bytes(path.readlink())
            elif path.is_file():
                raw += path.read_bytes()
                raw += _parquet_text(path) if path.suffix == ".parquet" else b""
            if here := find(words, raw):
                found[str(path)] = here
    return found


def _parquet_text(path: Path) -> bytes:
    import pyarrow.parquet as pq

    table = pq.read_table(path)
    text = [name for name in table.column_names if name != "embedding"]
    return f"{table.schema.metadata}{table.select(text).to_pylist()}".encode()
