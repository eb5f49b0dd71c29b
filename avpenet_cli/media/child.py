"""Run a decoder as a child process: payload on its stdout, one text line per frame on a side channel.

A decoder that crashes or hangs on a file ends its own process only.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import queue
import re
import select
import signal
import subprocess
import threading
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from avpenet_cli.errors import EnvironmentUnavailableError
from avpenet_cli.media.confinement import confined, cpu_bound_s, passed_bound
from avpenet_cli.media.tools import descriptor_path, open_recording
from avpenet_cli.storage import memory_file

_PIPE_BYTES = 1 << 20
_POLL_S = 0.25
_LINE_BYTES = 4096
_MOST_LINES = 1_000_000
"""On the side channel, not yet asked for: one that was taken over could fill this program's memory with them."""
_CAPTURED_BYTES = 1 << 30
"""Of what a child writes to stdout or stderr; the packets of a day's recording take a quarter of it."""
_F_SETPIPE_SZ = 1031
"""Linux; not in `fcntl` on every platform."""
_READ_ERRORS = (
    errno.EIO, errno.ESTALE, errno.EHOSTDOWN, errno.EHOSTUNREACH, errno.ENOTCONN, errno.ETIMEDOUT, errno.ENODEV,
    errno.ENXIO, errno.EREMOTEIO, errno.ENOLINK, errno.ECONNRESET, errno.ECONNABORTED, errno.ENOENT, errno.EACCES,
)  # fmt: skip
"""What disks and shares answer that fail while a file is read."""
_FFMPEG_STOPPED = 255
"""Exit status of an ffmpeg that ended at a signal that asked for it, such as SIGTERM."""
_READ_ERROR = re.compile("|".join(re.escape(os.strerror(number)) for number in _READ_ERRORS))


def run_captured(command: list[str], path: Path, cpu_s: float, timeout_s: float) -> subprocess.CompletedProcess[bytes]:
    """Run a program on a recording and keep what it writes.

    Args:
        command: its last word, the recording's descriptor path, is added here.
        path: the recording.
        cpu_s: processor time that it may take.
        timeout_s: after which it is killed.

    Raises:
        RecordingError: the recording cannot be opened.
        subprocess.TimeoutExpired: it took longer.
    """
    source = open_recording(path)
    # Into memory by way of files, so that the limit on written bytes holds for it.
    with os.fdopen(memory_file("out"), "w+b") as out, os.fdopen(memory_file("err"), "w+b") as err:
        try:
            with confined([*command, descriptor_path(source)], source, cpu_s, _CAPTURED_BYTES) as child:
                # ffmpeg-python's probe() leaves a hung ffprobe running after its timeout; subprocess.run kills it.
                done = subprocess.run(
                    child.command,
                    stdin=subprocess.DEVNULL,
                    stdout=out,
                    stderr=err,
                    timeout=timeout_s,
                    pass_fds=(source, *child.descriptors),
                    check=False,
                )
        finally:
            os.close(source)
        out.seek(0)
        err.seek(0)
        return subprocess.CompletedProcess(command, done.returncode, out.read(), err.read())


class DecoderStalled(Exception):
    """The decoder delivered nothing within the stall timeout."""


class DecoderChild:
    """One running decoder.

    The recording is opened here and the decoder gets `/dev/fd/N`: neither the process list nor the decoder's
    messages contain its name, which may be a patient's, and no name can be parsed as an option or a pattern.

    Args:
        path: the recording.
        command: builds the command line from the side channel's file descriptor and the recording's descriptor path.
        stall_s: seconds without output after which the child is killed.
        while_waiting: called several times a second while nothing arrives; may raise to abort.
        cpu_s: processor time that it may take.

    Raises:
        RecordingError: the recording cannot be opened.
        EnvironmentUnavailableError: the decoder cannot be started.
    """

    def __init__(
        self,
        path: Path,
        command: Callable[[int, str], list[str]],
        stall_s: float,
        while_waiting: Callable[[], None] = lambda: None,
        cpu_s: float = cpu_bound_s(0.0),
    ) -> None:
        self._stall_s, self._cpu_s = stall_s, cpu_s
        self._while_waiting = while_waiting
        self._closed = threading.Event()
        self._was_killed_here = self._stalled = False
        self._messages: deque[str] = deque(maxlen=40)
        self._lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        source = open_recording(path)
        side_read, side_write = os.pipe()
        try:
            # In a session of its own: Ctrl-C reaches only this program, which then ends its decoders.
            with confined(command(side_write, descriptor_path(source)), source, cpu_s) as child:
                self._process = subprocess.Popen(
                    child.command,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    pass_fds=(side_write, source, *child.descriptors),
                    start_new_session=True,
                    bufsize=0,
                )
        except OSError as error:
            os.close(side_read)
            raise EnvironmentUnavailableError(f"cannot start a decoder: {error}", "see avpenet doctor") from None
        finally:
            os.close(side_write)
            os.close(source)
        assert self._process.stdout is not None
        self._payload = self._process.stdout.fileno()
        with contextlib.suppress(OSError):
            fcntl.fcntl(self._payload, _F_SETPIPE_SZ, _PIPE_BYTES)
        self._threads = [
            threading.Thread(target=self._collect_lines, args=(side_read,), daemon=True),
            threading.Thread(target=self._collect_messages, daemon=True),
        ]
        for thread in self._threads:
            thread.start()

    def _collect_lines(self, side_read: int) -> None:
        with os.fdopen(side_read, "r", encoding="utf-8", errors="replace") as lines:
            while line := lines.readline(_LINE_BYTES):
                self._lines.put(line)
                if self._lines.qsize() > _MOST_LINES:
                    self._messages.append("it delivers times without end")
                    self._was_killed_here = True
                    self._process.kill()
                    break
        self._lines.put(None)

    def _collect_messages(self) -> None:
        assert self._process.stderr is not None
        while raw := self._process.stderr.readline(_LINE_BYTES):
            self._messages.append(raw.decode("utf-8", "replace").rstrip())

    def next_line(self, *, wait: bool = True) -> str | None:
        """The next line of the side channel; None at its end, and without `wait` also where no line is ready.

        Raises:
            DecoderStalled: no line arrived in time.
        """
        deadline = time.monotonic() + self._stall_s
        while not self._closed.is_set():
            try:
                line = self._lines.get(timeout=_POLL_S) if wait else self._lines.get_nowait()
                if line is None:
                    self._lines.put(None)  # the end stays the end, however often it is asked for
                return line
            except queue.Empty:
                if not wait:
                    return None
                self._while_waiting()
                if time.monotonic() > deadline:
                    self._stall()
        return None

    def read_into(self, buffer: memoryview) -> int:
        """Fill `buffer` from the payload; returns the bytes read, fewer than its length only at the end.

        Raises:
            DecoderStalled: nothing arrived in time.
        """
        filled, last = 0, time.monotonic()
        while filled < len(buffer) and not self._closed.is_set():
            ready, _, _ = select.select([self._payload], [], [], _POLL_S)
            if not ready:
                self._while_waiting()
                if time.monotonic() - last > self._stall_s:
                    self._stall()
                continue
            count = os.readv(self._payload, [buffer[filled:]])
            if count == 0:
                break
            filled, last = filled + count, time.monotonic()
        return filled

    def _stall(self) -> NoReturn:
        self._stalled = True
        self.close()
        raise DecoderStalled from None

    @property
    def messages(self) -> str:
        """The last lines of the child's stderr."""
        return "\n".join(self._messages)

    @property
    def suspected_read_error(self) -> str:
        """Why what an ended child delivered may not be what the file holds; empty where nothing says so.

        ffmpeg has the words of a failed disk for some damaged files, too: another read tells one from the other.
        """
        status = self._process.returncode
        if self._stalled:
            return f"its decoder delivered nothing for {self._stall_s:g} s"
        if status is None or passed_bound(status, self.messages, self._cpu_s):
            return ""  # what needs too much needs it again
        if status < 0 and not self._was_killed_here:
            return f"its decoder was ended by signal {-status}"
        if status == _FFMPEG_STOPPED:
            return "its decoder was ended by a signal"
        if found := _READ_ERROR.search(self.messages):
            return f"reading it failed: {found[0]}"
        if status > 0:
            # An ffmpeg that is stopped before its first frame ends as with a damaged file.
            return f"its decoder gave up with status {status}"
        return ""

    def finish(self) -> int:
        """Wait for the child to exit and return its exit status (negative: a signal)."""
        try:
            self._process.wait(timeout=self._stall_s)
        except subprocess.TimeoutExpired:
            self._stalled = True
        status = self._process.poll()
        self.close()
        return -signal.SIGKILL if status is None else status

    def describe_end(self, kind: str, status: int, last_message: str) -> str:
        """Why the child did not end well, in one line; empty where it did.

        Args:
            kind: of decoder, `video` or `audio`.
            status: from `finish`.
            last_message: what it said last, without its descriptors.
        """
        if bound := passed_bound(status, self.messages, self._cpu_s):
            return f"the {kind} decoder {bound}"
        if status < 0:
            return f"the {kind} decoder crashed (signal {-status})"
        if status > 0:
            return f"the {kind} decoder gave up ({last_message or f'status {status}'})"
        return ""

    def close(self) -> None:
        """Kill the child if it still runs, and release its pipes and threads."""
        self._closed.set()
        if self._process.poll() is None:
            self._was_killed_here = True
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        for thread in self._threads:
            if thread is not threading.current_thread():
                thread.join(timeout=2)
        for pipe in (self._process.stdout, self._process.stderr):
            if pipe is not None:
                pipe.close()
