"""The bundle: what is in it, and what its installer refuses."""

from __future__ import annotations

import csv
import os
import platform
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from release.bundle import GPU_ONLY, NOT_TO_BE_PASSED_ON, without, write_archive, write_checksums, write_licences
from release.sbom import link_metadata, locked
from tests.conftest import REPOSITORY

LOCK = REPOSITORY / "requirements-runtime.lock"
_VERSION = f"{sys.version_info.major}.{sys.version_info.minor}"


@pytest.fixture
def bundle(tmp_path: Path, wheel: Path) -> Path:
    """A bundle with the program's wheel only, whose lock file asks for another."""
    folder = tmp_path / "the bundle"
    (folder / "wheels").mkdir(parents=True)
    shutil.copy(wheel, folder / "wheels")
    version = wheel.name.split("-")[1]
    (folder / "requirements.lock").write_text(f"avpenet=={version} --hash=sha256:{'0' * 64}\n")
    script = (REPOSITORY / "release" / "install.sh").read_text()
    script = script.replace("@PYTHON@", _VERSION).replace("@MACHINE@", platform.machine())
    (folder / "install.sh").write_text(script)
    write_checksums(folder)
    return folder


def _install(bundle: Path, target: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["/bin/sh", bundle / "install.sh", target],
        env={"PATH": os.environ["PATH"], "PYTHON": sys.executable} | environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )


def test_without_gpu_libraries_all_other_entries_stay() -> None:
    lock = LOCK.read_text(encoding="utf-8")
    kept = without(lock, GPU_ONLY)
    names = {line.split("==")[0] for line in kept.splitlines() if line[:1].isalnum()}
    assert names.isdisjoint(GPU_ONLY)
    assert {"torch", "nvidia-cublas", "avpenet"} & names == {"torch", "nvidia-cublas"}
    assert len(names) == sum(line[:1].isalnum() for line in lock.splitlines()) - len(GPU_ONLY)
    assert set(kept.splitlines()) <= set(lock.splitlines())
    with pytest.raises(ValueError, match="no-such-package"):
        without(lock, ["no-such-package"])


def test_what_may_not_be_passed_on_can_be_left_out() -> None:
    judged = tomllib.loads((REPOSITORY / "release" / "licences.toml").read_text(encoding="utf-8"))
    unredistributable = {name for name, entry in judged["packages"].items() if "nonfree" in entry["licence"]}
    assert set(NOT_TO_BE_PASSED_ON) == unredistributable
    kept = without(LOCK.read_text(encoding="utf-8"), [*NOT_TO_BE_PASSED_ON, *GPU_ONLY])
    assert "\ndecord==" not in kept
    assert "\ndecorator==" in kept


def test_licence_files_are_copied_and_listed(wheel: Path, tmp_path: Path) -> None:
    write_licences(wheel.parent, tmp_path)
    rows = list(csv.DictReader((tmp_path / "licences.csv").read_text().splitlines()))
    assert [(row["package"], row["declared_licence"], row["licence_files"]) for row in rows] == [
        # The licence, and those of the material in the example recordings.
        ("avpenet", "MIT", "3")
    ]
    (copied,) = tmp_path.rglob("LICENSE")
    assert copied.read_bytes() == (REPOSITORY / "LICENSE").read_bytes()


def test_archive_depends_on_contents_only(bundle: Path, tmp_path: Path) -> None:
    write_archive(bundle, tmp_path / "first.tar", 1_700_000_000)
    for path in bundle.rglob("*"):
        path.chmod(0o700)
        os.utime(path, (0, 0))
    write_archive(bundle, tmp_path / "second.tar", 1_700_000_000)
    assert (tmp_path / "first.tar").read_bytes() == (tmp_path / "second.tar").read_bytes()


@pytest.mark.parametrize("damage", ["altered", "missing"])
def test_installer_refuses_a_damaged_bundle(bundle: Path, tmp_path: Path, damage: str) -> None:
    lock = bundle / "requirements.lock"
    lock.unlink()
    if damage == "altered":
        lock.write_text("avpenet\n")
    done = _install(bundle, tmp_path / "target")
    assert done.returncode == 1
    assert "damaged or missing; copy the bundle again" in done.stderr.splitlines()[-1]
    assert not (tmp_path / "target").exists()


def test_installer_leaves_an_existing_folder_alone(bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "target").mkdir()
    done = _install(bundle, tmp_path / "target")
    assert done.returncode == 1
    assert done.stderr.endswith("target exists; name a new folder, or remove it first\n")
    assert list((tmp_path / "target").iterdir()) == []


def test_installer_says_what_to_do_about_a_missing_python(bundle: Path, tmp_path: Path) -> None:
    done = _install(bundle, tmp_path / "target", PYTHON="/bin/false")
    assert done.returncode == 1
    assert f"Python {_VERSION} with venv is missing; install it" in done.stderr.splitlines()[-1]


def test_installer_says_what_to_do_about_a_missing_ffmpeg(bundle: Path, tmp_path: Path) -> None:
    tools = tmp_path / "bin"
    tools.mkdir()
    for name in ("dirname", "sha256sum", "uname", "rm"):
        found = shutil.which(name)
        assert found is not None
        (tools / name).symlink_to(found)
    done = _install(bundle, tmp_path / "target", PATH=str(tools))
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == (
        "install.sh: ffmpeg is missing; install it (Debian: apt-get install ffmpeg) and run this again"
    )


@pytest.mark.slow
def test_installer_refuses_a_wheel_of_another_hash_and_leaves_nothing_behind(bundle: Path, tmp_path: Path) -> None:
    done = _install(bundle, tmp_path / "target")
    assert done.returncode == 1
    assert "THESE PACKAGES DO NOT MATCH THE HASHES" in done.stderr
    assert done.stderr.splitlines()[-1] == "install.sh: pip could not install the wheels; nothing was left behind"
    assert not (tmp_path / "target").exists()


def test_metadata_of_the_bill_of_materials_is_that_of_the_lock(tmp_path: Path) -> None:
    packages = locked(LOCK)
    assert "torch" in packages
    assert "pytest" not in packages
    link_metadata(packages, tmp_path)
    assert len(list(tmp_path.glob("*.dist-info/METADATA"))) == len(packages)
    with pytest.raises(SystemExit, match="torch 0 is locked"):
        link_metadata({"torch": "0"}, tmp_path)


def test_runtime_lock_is_part_of_the_whole_lock() -> None:
    def entries(path: Path) -> dict[str, set[str]]:
        entry, read = "", dict[str, set[str]]()
        for line in path.read_text(encoding="utf-8").splitlines():
            if line[:1].isalnum():
                entry = line.removesuffix(" \\")
                read[entry] = set()
            elif "--hash=" in line:
                read[entry].add(line.strip(" \\"))
        return read

    whole, runtime = entries(REPOSITORY / "requirements.lock"), entries(LOCK)
    assert runtime.items() <= whole.items()
    assert "pytest" not in {Requirement(entry).name for entry in runtime}
