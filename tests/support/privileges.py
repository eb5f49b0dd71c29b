"""Run a test's child process without root's access to every file."""

from __future__ import annotations

import ctypes
import os


def drop_file_capabilities() -> None:
    """Make root subject to file permissions from the next exec on; for `preexec_fn`."""
    if os.geteuid() == 0:
        for capability in (1, 2):  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH
            if ctypes.CDLL(None, use_errno=True).prctl(24, capability, 0, 0, 0):  # PR_CAPBSET_DROP
                raise OSError(ctypes.get_errno(), "prctl")
