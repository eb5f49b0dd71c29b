"""Restrict the process that runs this, for good.

As a script (`python -I -S restrict.py ORDERS PROGRAM ARGUMENTS...`) it then becomes PROGRAM: what a decoder may do is
settled before the first instruction of the decoder runs, and without running code in a fork of a process with threads.
Without a PROGRAM it ends there, which shows whether the kernel applies all of it.
It imports as little as it can, since each child process waits for it.
"""

import ctypes
import os
import resource
import sys

_PR_SET_NO_NEW_PRIVS, _PR_SET_SECCOMP, _SECCOMP_MODE_FILTER = 38, 22, 2
_LANDLOCK_RESTRICT_SELF = 446
_INSTRUCTION_BYTES = 8
_IGNORED_BY_PYTHON = (13, 25)
"""SIGPIPE and SIGXFSZ, which would stay ignored in the program. The module `signal` takes as long to import as all else
here."""
_FIRST_TO_END = "/proc/self/oom_score_adj"
"""When the machine runs out of memory, the kernel ends the processes with the highest number here before all others."""


class _Filter(ctypes.Structure):
    """The kernel's `struct sock_fprog`."""

    _fields_ = (("length", ctypes.c_ushort), ("instructions", ctypes.c_char_p))


def restrict(orders: str) -> None:
    """Apply restrictions to this process and all that it starts.

    Args:
        orders: `LIMITS;RULESET;FILTER` from `confinement`: resource limits as `NUMBER:SOFT:HARD` with commas between
            them, the file descriptor of a Landlock ruleset, and a seccomp filter in hexadecimal digits. Each may be
            empty.

    Raises:
        OSError: the kernel refuses one of them.
    """
    limits, ruleset, instructions = orders.split(";")
    try:
        with open(_FIRST_TO_END, "w") as score:  # noqa: PTH123 (so does pathlib)
            score.write("1000")
    except OSError:
        pass  # /proc may be read-only, or a profile of AppArmor forbids it: a decoder runs without it as well
    for limit in limits.split(",") if limits else ():
        number, soft, hard = map(int, limit.split(":"))
        _, ceiling = resource.getrlimit(number)
        if ceiling != resource.RLIM_INFINITY:
            soft, hard = min(soft, ceiling), min(hard, ceiling)
        resource.setrlimit(number, (soft, hard))
    libc = ctypes.CDLL(None, use_errno=True)
    _check(libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
    if ruleset:
        _check(libc.syscall(_LANDLOCK_RESTRICT_SELF, int(ruleset), 0))
        os.close(int(ruleset))
    if instructions:
        code = bytes.fromhex(instructions)
        program = _Filter(len(code) // _INSTRUCTION_BYTES, code)
        _check(libc.prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, ctypes.byref(program), 0, 0))


def _check(result: int) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"cannot be confined: {os.strerror(number)}")


if __name__ == "__main__":
    restrict(sys.argv[1])
    for number in _IGNORED_BY_PYTHON:
        ctypes.CDLL(None).signal(number, None)
    if sys.argv[2:]:
        os.execv(sys.argv[2], sys.argv[2:])
