"""`avpenet --help` must answer at once, and the rooms must stay apart."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]

HEAVY = {"torch", "pandas", "pyarrow", "numpy", "scipy", "librosa", "decord", "cv2", "facenet_pytorch", "torchaudio"}

_HELP = """
import json, runpy, sys
sys.argv = ["avpenet", "--help"]
try:
    runpy.run_module("avpenet_cli", run_name="__main__", alter_sys=True)
except SystemExit as stop:
    sys.stdout.flush()
    print(json.dumps({"status": stop.code or 0, "loaded": sorted(sys.modules)}), file=sys.stderr)
"""


def test_help_loads_no_heavy_library() -> None:
    done = subprocess.run(
        [sys.executable, "-c", _HELP], cwd=REPOSITORY, stdin=subprocess.DEVNULL, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stderr.splitlines()[-1])
    assert seen["status"] == 0
    assert "score" in done.stdout
    assert HEAVY.isdisjoint(seen["loaded"]), HEAVY.intersection(seen["loaded"])


def test_packages_import_downwards_only() -> None:
    lint = Path(sys.executable).parent / "lint-imports"
    done = subprocess.run([lint, "--no-cache", "--no-logo"], cwd=REPOSITORY, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
