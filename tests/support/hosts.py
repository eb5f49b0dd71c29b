"""Hosts that share a folder: namespaces of their own, and a FUSE mount of the folder that `flock` does not cross."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY

_MOUNT = 'hostname "$1" && bindfs -o "$2" --no-allow-other "$3" "$4" && shift 4 && exec "$@"'


def need(*programs: str, path: str | None = None) -> None:
    """Skip the test where a program is not installed; in CI that is a failure.

    Args:
        path: where to look, if not on the PATH.
    """
    if missing := [name for name in programs if shutil.which(name, path=path) is None]:
        message = f"{', '.join(missing)} not installed: make cluster-tools"
        pytest.fail(message) if os.environ.get("CI") else pytest.skip(message)


def start_on_host(
    name: str, shared: Path, mount: Path, command: Sequence[str | Path], cached_s: float = 1.0
) -> subprocess.Popen[str]:
    """Start a program on a "host": host name, processes and mounts of its own; killing it kills the host.

    Args:
        shared: the folder that the hosts share.
        mount: where this host mounts it: an empty folder, which may be the same for all hosts.
        cached_s: for how long the host does not ask again what it knows of a file; 0 is as NFS and SMB, which ask when
            a file is opened.
    """
    need("bindfs")
    if os.geteuid() != 0 or not Path("/dev/fuse").exists():
        pytest.skip("only root can mount a folder twice, and needs /dev/fuse")
    namespaces = ["unshare", "--uts", "--mount", "--pid", "--fork", "--mount-proc", "--kill-child"]
    options = f"nonempty,attr_timeout={cached_s},entry_timeout={cached_s}"
    return subprocess.Popen(
        [*namespaces, "sh", "-c", _MOUNT, "host", name, options, shared, mount, *command],
        cwd=REPOSITORY,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
