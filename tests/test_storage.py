"""Files that appear whole, on file systems of all kinds."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from avpenet_cli.storage import sync_folder


def test_folder_that_cannot_be_synced_is_no_error() -> None:
    """As on SMB with older kernels; /proc answers the same."""
    handle = os.open("/proc", os.O_RDONLY)
    with pytest.raises(OSError, match="Invalid argument"):
        os.fsync(handle)
    os.close(handle)
    sync_folder(Path("/proc"))
