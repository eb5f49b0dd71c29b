"""A process that crashes leaves no image of its memory, and what it creates is its owner's alone."""

from __future__ import annotations

import resource
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY

# Like every command: `main` sets up the process. The child of it is as a decoder that crashes.
_CRASH = """
import os, subprocess, sys
sys.path.insert(0, sys.argv.pop())
from avpenet_cli.cli import main
sys.argv[1:] = ["--version"]
try:
    main()
except SystemExit:
    pass
os.mkdir("folder")
open("file", "w").close()
limit = "print(resource.getrlimit(resource.RLIMIT_CORE)[0], flush=True)"
subprocess.run([sys.executable, "-c", f"import os, resource; {limit}; os.abort()"])
os.abort()
"""


@pytest.mark.parametrize("mask", [0o000, 0o022, 0o777])
def test_crash_leaves_no_core_dump_and_files_are_private(mask: int, tmp_path: Path) -> None:
    hard = resource.getrlimit(resource.RLIMIT_CORE)[1]
    done = subprocess.run(
        [sys.executable, "-c", _CRASH, str(REPOSITORY)],
        cwd=tmp_path,
        umask=mask,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_CORE, (hard, hard)),
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    assert done.returncode == -6
    # Where core dumps go to a program or to another folder, the files here would not show them.
    assert done.stdout.split()[-1] == ("0" if hard == 0 else "1")
    modes = {path.name: path.stat().st_mode & 0o777 for path in tmp_path.iterdir()}
    assert modes == {"file": 0o600, "folder": 0o700}
