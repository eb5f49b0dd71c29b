"""What doctor finds where a part is missing."""

from __future__ import annotations

import subprocess
import sys

_WITHOUT_CACHE = """
import sys
from numba.core import caching
caching.CacheImpl._locator_classes = []
from avpenet_cli.cli.doctor import _audio
print(_audio())
"""


def test_doctor_names_the_variable_where_numba_may_write_nowhere() -> None:
    done = subprocess.run([sys.executable, "-c", _WITHOUT_CACHE], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "state='missing'" in done.stdout
    assert "NUMBA_CACHE_DIR" in done.stdout
