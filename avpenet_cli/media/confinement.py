"""Confine the child processes that read recordings: a file made to take over a decoder gets little from it.

Each child has limits on memory, processor time, open files and written bytes, and can gain no privileges. Landlock
lets it open nothing but its recording and the libraries that it loads; a seccomp filter refuses sockets, new processes
and what else a decoder never needs. Where the kernel or the machine lacks one of these, the others still hold, and
`avpenet doctor` says what is missing.

Sources: landlock(7), seccomp(2), libseccomp's seccomp_rule_add(3), getrlimit(2).
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import functools
import os
import re
import resource
import signal
import struct
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from avpenet_cli.storage import memory_file

MEMORY_BYTES = 8 << 30
"""Data of one child: its heap and stacks. 8K video takes 2.2 GiB with the 16 threads that ffmpeg chooses at most."""
_ADDRESS_BYTES = MEMORY_BYTES + (16 << 30)
"""Address space of one child: its data, what threads reserve without using it, libraries, shared memory."""
_STACK_BYTES = 8 << 20
"""Of a thread. Each reserves as much, and where a site allows a GiB, a few threads would use up all data."""
NO_CORE_BYTES = 1
"""Less than a core file's headers, so that none is written. 0 would stop files only: at 1 the kernel does not start
the handler either to which `core_pattern` pipes the memory of crashed programs (fs/coredump.c, `do_coredump`)."""
_OPEN_FILES = 64
_CPU_GRACE_S = 5
"""From the signal that a program can handle to the one that it cannot."""
_CHECK_S = 30.0

_CREATE_RULESET, _ADD_RULE = 444, 445
_VERSION_FLAG, _PATH_BENEATH = 1, 1
_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR = 1, 2, 4, 8
_FILE_RIGHTS_BY_ABI = {1: (1 << 13) - 1, 2: (1 << 14) - 1, 3: (1 << 15) - 1, 5: (1 << 16) - 1}
"""All rights on files that a version of Landlock knows; a ruleset refuses those that it names and no rule grants."""
_NETWORK_ABI, _TCP_RIGHTS = 4, 0b11
_SCOPE_ABI, _SCOPES = 6, 0b11
"""No signals and no abstract sockets to processes outside."""

_LIBRARY_PATHS = (
    "/lib",
    "/lib64",
    "/usr/lib",
    "/usr/lib64",
    "/usr/local/lib",
    "/etc/ld.so.cache",
    "/gnu/store",
    "/nix/store",
)
_PROGRAM_PATHS = ("/bin", "/usr", "/lib", "/lib64")
"""What a script that stands for ffmpeg needs besides."""
_DEVICES = {"/dev/null": _READ_FILE | _WRITE_FILE, "/dev/zero": _READ_FILE, "/dev/urandom": _READ_FILE}
_KERNEL_FACTS = ("/proc/cpuinfo", "/proc/meminfo", "/sys/devices/system/cpu")

_ALLOW, _REFUSE = 0x7FFF0000, 0x00050000
"""libseccomp's SCMP_ACT_ALLOW and SCMP_ACT_ERRNO(0)."""
_NOT_EQUAL, _MASKED_EQUAL, _CLONE_THREAD = 1, 7, 0x10000
_REFUSED_CALLS = (
    # sockets, also by way of io_uring
    *("socket", "socketpair", "socketcall", "connect", "bind", "listen", "io_uring_setup", "io_uring_enter"),
    # processes; threads are made by clone, which has a rule of its own
    *("fork", "vfork", "unshare", "setns", "setsid", "setpgid"),
    # other processes
    *("ptrace", "process_vm_readv", "process_vm_writev", "process_madvise", "kcmp", "pidfd_open", "pidfd_getfd"),
    *("pidfd_send_signal", "kill", "tkill", "rt_sigqueueinfo", "rt_tgsigqueueinfo", "setrlimit", "setpriority"),
    # attributes of files, which Landlock leaves alone
    *("chmod", "fchmod", "fchmodat", "fchmodat2", "chown", "fchown", "lchown", "fchownat", "setxattr", "lsetxattr"),
    *("fsetxattr", "setxattrat", "removexattr", "lremovexattr", "fremovexattr", "removexattrat", "file_setattr"),
    *("utime", "utimes", "utimensat", "futimesat"),
    # memory that outlives the process or that no limit counts
    *("memfd_create", "memfd_secret", "shmget", "shmat", "msgget", "semget", "mq_open"),
    # the machine, for a program that runs as root
    *("mount", "umount", "umount2", "pivot_root", "chroot", "open_tree", "move_mount", "fsopen", "fsmount", "fsconfig"),
    *("fspick", "mount_setattr", "open_by_handle_at", "name_to_handle_at", "swapon", "swapoff", "reboot", "kexec_load"),
    *("kexec_file_load", "init_module", "finit_module", "delete_module", "bpf", "perf_event_open", "userfaultfd"),
    *("add_key", "request_key", "keyctl", "settimeofday", "clock_settime", "clock_adjtime", "adjtimex", "acct"),
    *("sethostname", "setdomainname", "quotactl", "quotactl_fd", "syslog", "iopl", "ioperm", "personality", "vhangup"),
    *("fanotify_init", "inotify_init", "inotify_init1"),
)

_RESTRICT = str(Path(__file__).with_name("restrict.py"))
_OFF = "AVPENET_UNCONFINED_DECODERS"


class _Comparison(ctypes.Structure):
    """libseccomp's `struct scmp_arg_cmp`."""

    _fields_ = (("arg", ctypes.c_uint), ("op", ctypes.c_int), ("a", ctypes.c_uint64), ("b", ctypes.c_uint64))


@dataclass(frozen=True)
class ConfinedCommand:
    """A child's command line as it has to be started.

    Attributes:
        command: with the program that confines it in front.
        descriptors: file descriptors that the child has to inherit for that, besides its own.
    """

    command: list[str]
    descriptors: tuple[int, ...] = ()


@contextlib.contextmanager
def confined(command: list[str], recording: int, cpu_s: float, written_bytes: int = 0) -> Iterator[ConfinedCommand]:
    """The command that runs `command` confined; start it within the block.

    A child in Python confines itself when it has loaded what it needs: it gets the orders for `restrict` as its last
    argument, empty where decoders are not confined.

    Args:
        command: absolute path of ffmpeg, ffprobe or this Python, and arguments.
        recording: descriptor of the recording, the only file that the child may open apart from libraries.
        cpu_s: processor time after which it is ended.
        written_bytes: size to which it may write a file that it inherits; pipes are not limited.
    """
    is_python = command[0] == sys.executable
    if os.environ.get(_OFF) or not runs_confined(command[0]):
        yield ConfinedCommand([*command, ""] if is_python else command)
        return
    with _orders(command[0], recording, cpu_s, written_bytes) as (orders, descriptors):
        yield ConfinedCommand([*command, orders] if is_python else _started_by_restrict(orders, command), descriptors)


@contextlib.contextmanager
def _orders(
    executable: str, recording: int | None, cpu_s: float, written_bytes: int
) -> Iterator[tuple[str, tuple[int, ...]]]:
    """What `restrict` is told, and the descriptors that it needs for that."""
    ruleset = _ruleset(executable, recording)
    try:
        number = "" if ruleset is None else str(ruleset)
        orders = f"{_limits(cpu_s, written_bytes)};{number};{seccomp_filter().hex()}"
        yield orders, () if ruleset is None else (ruleset,)
    finally:
        if ruleset is not None:
            os.close(ruleset)


def cpu_bound_s(nominal_s: float) -> float:
    """Processor time, s, that the decoder of a recording of that length may take.

    A minute for each second of it, on top of an hour; a day where the header states no length.
    """
    return 3600 + 60 * nominal_s if 0 < nominal_s < 1e7 else 86_400


def passed_bound(status: int, messages: str, cpu_s: float) -> str:
    """What a child ran out of, as the end of a sentence; empty where that is not why it ended.

    Args:
        status: its exit status (negative: a signal).
        messages: what it wrote to stderr.
        cpu_s: the processor time that it had.
    """
    if status == -signal.SIGXCPU:
        return f"needs more than the {cpu_s:.0f} s of processor time that it may have"
    if status == -signal.SIGXFSZ:
        return "writes more than it may"
    out_of_memory = (
        "Cannot allocate memory",
        "bad_alloc",
        "MemoryError",
        "Out of memory",
        "failed to map segment",
        "memory allocation of",
    )
    if status != 0 and any(sign in messages for sign in out_of_memory):
        ceilings = (resource.getrlimit(number)[1] for number in (resource.RLIMIT_DATA, resource.RLIMIT_AS))
        bound = min([MEMORY_BYTES, *(ceiling for ceiling in ceilings if ceiling != resource.RLIM_INFINITY)])
        return f"needs more than the {bound / 2**30:.3g} GiB of memory that it may have"
    return ""


def missing_parts(executable: str) -> list[str]:
    """What does not hold for the children that run `executable`, one phrase each; empty where they are confined."""
    if os.environ.get(_OFF):
        return [f"switched off by {_OFF}"]
    if not runs_confined(executable):
        return [f"{executable} does not run confined"]
    parts = []
    abi = landlock_abi()
    if abi == 0:
        parts.append("no Landlock in this kernel: they can read this user's files")
    if not seccomp_filter():
        network = "open connections other than TCP" if abi >= _NETWORK_ABI else "open connections"
        parts.append(f"no libseccomp: they can {network} and start processes")
    return parts


def unconfined_warning(executables: Sequence[str]) -> str:
    """One line for a run's log where programs that read recordings do not start confined; empty where all do."""
    names = [name for name in executables if not os.environ.get(_OFF) and not runs_confined(name)]
    if not names:
        return ""
    return (
        f"{' and '.join(names)} cannot be confined on this machine and can read this user's files; "
        "see avpenet doctor before scoring recordings of unknown origin"
    )


@functools.cache
def runs_confined(executable: str) -> bool:
    """Whether a program starts under all restrictions that are available: some wrappers need privileges.

    A child in Python starts before it confines itself, so that for Python only that is tried.
    """
    program = [] if executable == sys.executable else [executable, "-version"]
    try:
        with _orders(executable, None, _CHECK_S, 0) as (orders, descriptors):
            done = subprocess.run(
                _started_by_restrict(orders, program),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                pass_fds=descriptors,
                timeout=_CHECK_S,
                check=False,
            )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0


def _started_by_restrict(orders: str, command: Sequence[str]) -> list[str]:
    # Isolated and without site-packages: it starts in half the time and runs nothing from the environment.
    return [sys.executable, "-I", "-S", _RESTRICT, orders, *command]


def _limits(cpu_s: float, written_bytes: int) -> str:
    cpu = int(cpu_s) + 1
    bounds = {
        resource.RLIMIT_CORE: (NO_CORE_BYTES, NO_CORE_BYTES),
        resource.RLIMIT_DATA: (MEMORY_BYTES, MEMORY_BYTES),
        resource.RLIMIT_STACK: (_STACK_BYTES, _STACK_BYTES),
        resource.RLIMIT_AS: (_ADDRESS_BYTES, _ADDRESS_BYTES),
        resource.RLIMIT_CPU: (cpu, cpu + _CPU_GRACE_S),
        resource.RLIMIT_FSIZE: (written_bytes, written_bytes),
        resource.RLIMIT_NOFILE: (_OPEN_FILES, _OPEN_FILES),
    }
    return ",".join(f"{number}:{soft}:{hard}" for number, (soft, hard) in bounds.items())


@functools.cache
def landlock_abi() -> int:
    """Version of the kernel's Landlock; 0 where it has none."""
    version: int = ctypes.CDLL(None).syscall(_CREATE_RULESET, None, ctypes.c_size_t(0), _VERSION_FLAG)
    return max(0, version)


def _ruleset(executable: str, recording: int | None) -> int | None:
    """Descriptor of the Landlock ruleset for one child; None where the kernel has no Landlock."""
    abi = landlock_abi()
    if abi == 0:
        return None
    handled = _FILE_RIGHTS_BY_ABI[max(version for version in _FILE_RIGHTS_BY_ABI if version <= abi)]
    attributes = struct.pack("=Q", handled)
    if abi >= _NETWORK_ABI:
        attributes += struct.pack("=Q", _TCP_RIGHTS)
    if abi >= _SCOPE_ABI:
        attributes += struct.pack("=Q", _SCOPES)
    libc = ctypes.CDLL(None, use_errno=True)
    ruleset: int = libc.syscall(_CREATE_RULESET, attributes, ctypes.c_size_t(len(attributes)), 0)
    if ruleset < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    try:
        for path, rights in _readable(executable).items():
            with contextlib.suppress(FileNotFoundError, PermissionError, NotADirectoryError):
                descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
                try:
                    _add_rule(libc, ruleset, descriptor, rights)
                finally:
                    os.close(descriptor)
        if recording is not None:
            _add_rule(libc, ruleset, recording, _READ_FILE)
    except BaseException:
        os.close(ruleset)
        raise
    return ruleset


def _add_rule(libc: ctypes.CDLL, ruleset: int, descriptor: int, rights: int) -> None:
    rule = struct.pack("=Qi", rights, descriptor)
    if libc.syscall(_ADD_RULE, ruleset, _PATH_BENEATH, rule, 0) != 0:
        number = ctypes.get_errno()
        # A recording in a pipe or in memory has no place in the file system, so that Landlock does not restrict it.
        if number != errno.EBADFD:
            raise OSError(number, os.strerror(number))


@functools.cache
def _readable(executable: str) -> dict[str, int]:
    """Rights by path of all that a program may open to run, besides its recording."""
    rights = {**dict.fromkeys((*_LIBRARY_PATHS, *_KERNEL_FACTS), _READ_FILE), **_DEVICES}
    if executable == sys.executable:
        return rights
    real = os.path.realpath(executable)
    with Path(real).open("rb") as program:
        start = program.read(4096)
    if start.startswith(b"#!"):
        rights |= dict.fromkeys(_PROGRAM_PATHS, _READ_FILE | _READ_DIR | _EXECUTE)
        starters = [os.fsdecode(start[2:].split(None, 1)[0])]
    else:
        # The kernel runs an ELF program by way of the dynamic linker that the start of the file names.
        starters = [os.fsdecode(name) for name in re.findall(rb"\0(/[^\0]+/ld[^\0/]*)\0", start)]
        rights |= dict.fromkeys(_libraries_elsewhere(real), _READ_FILE)
    return rights | dict.fromkeys((real, *starters), _READ_FILE | _EXECUTE)


def _libraries_elsewhere(executable: str) -> list[str]:
    """Libraries that a program loads, where some may lie outside the system's folders."""
    by_environment = any(name in os.environ for name in ("LD_LIBRARY_PATH", "LD_PRELOAD"))
    if Path(executable).parent in (Path("/bin"), Path("/usr/bin")) and not by_environment:
        return []
    listing = subprocess.run(
        [executable, "-version"],
        env={**os.environ, "LD_TRACE_LOADED_OBJECTS": "1"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=30,
        check=False,
    )
    return [os.fsdecode(path) for path in re.findall(rb"(/\S+) \(0x", listing.stdout)]


@functools.cache
def seccomp_filter() -> bytes:
    """The system calls that a child may make, as instructions for the kernel; empty where libseccomp is missing."""
    try:
        library = ctypes.CDLL("libseccomp.so.2")
    except OSError:
        return b""
    library.seccomp_init.restype = ctypes.c_void_p
    address = library.seccomp_init(ctypes.c_uint32(_ALLOW))
    if not address:
        return b""
    context = ctypes.c_void_p(address)
    try:
        for name in _REFUSED_CALLS:
            _refuse(library, context, name, errno.EPERM)
        not_a_thread = _Comparison(0, _MASKED_EQUAL, _CLONE_THREAD, 0)
        _refuse(library, context, "clone", errno.EPERM, not_a_thread)
        # Its flags are in memory, where a filter cannot look; programs take clone where it does not exist.
        _refuse(library, context, "clone3", errno.ENOSYS)
        _refuse(library, context, "prlimit64", errno.EPERM, _Comparison(2, _NOT_EQUAL, 0, 0))
        with os.fdopen(memory_file("filter"), "w+b") as file:
            if library.seccomp_export_bpf(context, file.fileno()) != 0:
                return b""
            file.seek(0)
            return file.read()
    finally:
        library.seccomp_release(context)


def _refuse(library: ctypes.CDLL, context: ctypes.c_void_p, name: str, number: int, *where: _Comparison) -> None:
    """Let a system call fail with an error number; one that this machine does not have is left out."""
    call = library.seccomp_syscall_resolve_name(name.encode())
    if call >= 0:
        comparisons = (_Comparison * max(1, len(where)))(*where)
        action = ctypes.c_uint32(_REFUSE | number)
        result = library.seccomp_rule_add_array(context, action, call, len(where), comparisons)
        if result != 0:
            raise OSError(-result, f"libseccomp has no rule for {name}")
