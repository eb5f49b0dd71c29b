"""The wheel is complete: an environment that holds it and its dependencies needs nothing of the repository."""

from __future__ import annotations

import json
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pandas as pd
import pytest

from tests.conftest import REPOSITORY
from tests.release.conftest import Installed


def _relative(folder: Path, pattern: str = "*") -> dict[str, Path]:
    return {path.relative_to(folder).as_posix(): path for path in folder.rglob(pattern) if path.is_file()}


def test_wheel_holds_templates_and_parameters(wheel: Path) -> None:
    folders = [REPOSITORY / "avpenet_cli" / name for name in ("report/templates", "phantom/parameters")]
    files = [file for folder in folders for file in folder.rglob("*") if file.suffix in {".j2", ".css", ".toml"}]
    assert {".j2", ".css", ".toml"} == {file.suffix for file in files}
    wanted = {file.relative_to(REPOSITORY).as_posix() for file in files}
    assert wanted <= set(zipfile.ZipFile(wheel).namelist())


def test_wheel_holds_the_weights_and_phantoms_of_the_repository(wheel: Path) -> None:
    weights = {name: path for name, path in _relative(REPOSITORY / "weights").items() if "/" not in name}
    weights = {name: path for name, path in weights.items() if path.suffix in {".json", ".safetensors"}}
    phantoms = _relative(REPOSITORY / "examples" / "phantoms")
    assert {"avpenet-phantom.json", "avpenet-phantom.safetensors"} <= weights.keys()
    assert {"truth.csv", "expected.json", "P0001-01.mp4"} <= phantoms.keys()
    wanted = {f"avpenet_cli/data/weights/{name}": path for name, path in weights.items()}
    wanted |= {f"avpenet_cli/data/phantoms/{name}": path for name, path in phantoms.items()}
    with zipfile.ZipFile(wheel) as archive:
        held = {name for name in archive.namelist() if name.startswith("avpenet_cli/data/")}
        assert held == wanted.keys()
        assert not [name for name, path in wanted.items() if archive.read(name) != path.read_bytes()]


def test_wheel_holds_licence_manual_page_and_completions(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        (licence,) = [name for name in names if name.endswith(".dist-info/licenses/LICENSE")]
        assert archive.read(licence) == (REPOSITORY / "LICENSE").read_bytes()
    shared = {name.partition(".data/data/share/")[2] for name in names if ".data/data/share/" in name}
    assert shared == _relative(REPOSITORY / "share").keys()
    assert not [name for name in names if name.startswith(("tests", "examples", "weights", "release"))]


def test_editable_install_holds_no_copies(tmp_path: Path) -> None:
    code = "import hatchling.build, sys; print(hatchling.build.build_editable(sys.argv[1]))"
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], cwd=REPOSITORY, capture_output=True, text=True, check=True
    )
    names = zipfile.ZipFile(tmp_path / done.stdout.split()[-1]).namelist()
    assert [name for name in names if name.endswith(".pth")]
    assert not [name for name in names if name.startswith("avpenet_cli/")]


@pytest.mark.slow
def test_source_archive_builds_the_same_wheel(wheel: Path, tmp_path: Path) -> None:
    build = [sys.executable, "-m", "hatchling", "build", "-d", str(tmp_path)]
    subprocess.run([*build, "-t", "sdist"], cwd=REPOSITORY, capture_output=True, check=True)
    (source,) = tmp_path.glob("*.tar.gz")
    with tarfile.open(source) as archive:
        archive.extractall(tmp_path, filter="data")
    folder = tmp_path / source.name.removesuffix(".tar.gz")
    subprocess.run([*build, "-t", "wheel"], cwd=folder, capture_output=True, check=True)
    assert (tmp_path / wheel.name).read_bytes() == wheel.read_bytes()


def test_installed_wheel_lists_its_weights(installed: Installed) -> None:
    done = installed.run("weights", "list")
    assert done.returncode == 0, done.stderr
    assert "".join(str(installed.data / "weights").split()) in "".join(done.stdout.split())
    assert str(REPOSITORY) not in "".join(done.stdout.split())


@pytest.mark.slow
def test_doctor_finds_the_installed_weights_and_exits_3_without_them(installed: Installed) -> None:
    done = installed.run("doctor")
    assert done.returncode == 0, done.stdout
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("weights")]
    assert " ok  avpenet-phantom@" in line
    aside = installed.folder / "weights"
    (installed.data / "weights").rename(aside)
    try:
        done = installed.run("doctor")
    finally:
        aside.rename(installed.data / "weights")
    assert done.returncode == 3
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("weights")]
    assert " missing " in line
    assert "install the program again" in line


@pytest.mark.slow
def test_installed_wheel_gives_the_shipped_scores(installed: Installed) -> None:
    """One of its phantoms by its default weights; tests/cli/test_phantom_check.py scores all of them."""
    phantoms, name = installed.data / "phantoms", "P0001-01.mp4"
    done = installed.run("score", str(phantoms / name), "--out", "scores.csv", timeout_s=300.0)
    assert done.returncode == 0, done.stderr
    scores = pd.read_csv(installed.home / "scores.csv")["score"]
    baseline = json.loads((phantoms / "expected.json").read_text(encoding="utf-8"))
    (expected,) = (known["scores"][name] for known in baseline["weights"].values() if known["weights"] != "untrained")
    assert scores.tolist() == pytest.approx(expected, abs=0.1)
    for path in installed.home.glob("scores.*"):
        path.unlink()
    assert list(installed.home.iterdir()) == []
