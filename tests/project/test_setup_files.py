"""What `make setup` installs is what the lock files say, and they say it without naming a host."""

from __future__ import annotations

import csv
import hashlib
import json
import re
import subprocess
import tomllib
from importlib.metadata import version
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

REPOSITORY = Path(__file__).resolve().parents[2]
LOCKS = (
    "requirements.lock",
    "requirements-runtime.lock",
    "requirements-release.lock",
    "requirements-landmarks.lock",
)


def _entries(lock: str) -> list[str]:
    """The lock's requirements, each with its continuation lines."""
    text = (REPOSITORY / lock).read_text(encoding="utf-8")
    code = "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("#"))
    return [entry for entry in re.split(r"\n(?=\S)", code.strip()) if entry]


def _pins(lock: str) -> dict[str, Requirement]:
    requirements = [Requirement(entry.split(" \\")[0]) for entry in _entries(lock)]
    return {canonicalize_name(requirement.name): requirement for requirement in requirements}


@pytest.mark.parametrize("lock", LOCKS)
def test_lock_names_no_host(lock: str) -> None:
    text = (REPOSITORY / lock).read_text(encoding="utf-8")
    assert not re.findall(r"^.*(?:://|--index|--extra-index|--find-links|--trusted|(?<!\S)/).*$", text, re.MULTILINE)


@pytest.mark.parametrize("lock", LOCKS)
def test_every_locked_package_is_pinned_and_hashed(lock: str) -> None:
    entries = _entries(lock)
    assert entries
    for entry in entries:
        assert re.match(r"[a-z0-9._-]+==\S+", entry), entry
        assert re.search(r"--hash=sha256:[0-9a-f]{64}\b", entry), entry


def test_lock_and_pyproject_agree() -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    pins = _pins("requirements.lock")
    asked = [Requirement(line) for line in project["dependencies"] + extras["dev"]]
    for requirement in asked:
        pinned = pins[canonicalize_name(requirement.name)].specifier
        assert requirement.specifier.contains(str(pinned).removeprefix("==")), requirement
    everything = pins | _pins("requirements-landmarks.lock")
    assert {canonicalize_name(Requirement(line).name) for line in extras["landmarks"]} <= set(everything)


def test_this_environment_is_the_locked_one() -> None:
    stray = {}
    for name, requirement in _pins("requirements.lock").items():
        if (requirement.marker is None or requirement.marker.evaluate()) and not requirement.specifier.contains(
            version(name)
        ):
            stray[name] = version(name)
    assert not stray


def test_setup_does_nothing_when_done() -> None:
    if not list((REPOSITORY / ".venv").glob("installed-*")):
        pytest.skip("this environment was not made by `make setup`")
    done = subprocess.run(["make", "--no-print-directory", "setup"], cwd=REPOSITORY, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_examples_are_small_and_read_as_described() -> None:
    examples = REPOSITORY / "examples"
    assert not list(examples.glob("*.mp4"))
    folder = examples / "phantoms"
    recordings = sorted(folder.glob("*.mp4"))
    assert [path.name for path in recordings] == ["P0001-01.mp4", "P0002-01.mp4", "P0003-01.mp4"]
    assert sum(path.stat().st_size for path in folder.iterdir()) < 6_000_000
    for path in recordings:
        probe = ["ffprobe", "-v", "error", "-show_entries", "stream=codec_name,duration", "-of", "csv=p=0"]
        done = subprocess.run([*probe, str(path)], capture_output=True, text=True, check=True)
        streams = dict(line.split(",")[:2] for line in done.stdout.split())
        assert set(streams) == {"h264", "aac"}
        assert all(abs(float(length) - 30.0) < 0.05 for length in streams.values()), streams
    known = json.loads((folder / "expected.json").read_text(encoding="utf-8"))
    shipped = [*recordings, *folder.glob("*.csv")]
    assert known["files"] == {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in shipped}
    subjects = list(csv.DictReader((folder / "subjects.csv").read_text(encoding="utf-8").splitlines()))
    assert {subject["age_group"] for subject in subjects if subject["course"] == "procedure"} == {"neonate", "adult"}
    assert {subject["cover"] for subject in subjects} == {"none"}
