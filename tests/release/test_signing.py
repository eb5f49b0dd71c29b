"""A release is signed as the guide says, and its commands notice what was altered."""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY
from tests.support.documented_commands import BLOCK

_GUIDE = REPOSITORY / "docs" / "how-to" / "verify-a-release.md"


def _make(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["make", "--no-print-directory", "sign", *arguments],
        cwd=REPOSITORY,
        env={"PATH": os.environ["PATH"]},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )


def _key(path: Path) -> Path:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", path], check=True)
    return path


def _check(dist: Path) -> subprocess.CompletedProcess[str]:
    """The guide's commands for who installs."""
    blocks = [text for language, _, text in BLOCK.findall(_GUIDE.read_text(encoding="utf-8")) if language == "sh"]
    wanted = [text for text in blocks if re.search(r"release-signers|sha256sum", text)]
    assert len(wanted) == 3
    return subprocess.run(["bash", "-euc", "".join(wanted)], cwd=dist, capture_output=True, text=True)


@pytest.fixture
def release(tmp_path: Path) -> Path:
    """A folder like `dist`, signed, with the public key in it."""
    dist, key = tmp_path / "a release", _key(tmp_path / "release-key")
    dist.mkdir()
    for name, content in (("avpenet-1.whl", b"wheel"), ("avpenet-1-cpu.tar", b"bundle")):
        (dist / name).write_bytes(content)
        sums = dist / ("SHA256SUMS" if name.endswith(".whl") else f"{name}.sha256")
        sums.write_text(f"{hashlib.sha256(content).hexdigest()}  {name}\n")
    done = _make(f"DIST={dist}", f"KEY={key}")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    (dist / "release-key.pub").write_text(key.with_suffix(".pub").read_text())
    return dist


def test_signed_release_is_verified_by_the_commands_of_the_guide(release: Path) -> None:
    done = _check(release)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count('Good "avpenet-release" signature for avpenet with ED25519 key SHA256:') == 2
    assert done.stdout.count(": OK") == 2


@pytest.mark.parametrize("name", ["avpenet-1.whl", "SHA256SUMS", "avpenet-1-cpu.tar", "avpenet-1-cpu.tar.sha256"])
def test_altered_file_is_noticed(release: Path, name: str) -> None:
    (release / name).write_bytes((release / name).read_bytes() + b"\n")
    assert _check(release).returncode != 0


def test_another_key_and_another_purpose_are_noticed(release: Path, tmp_path: Path) -> None:
    other = _key(tmp_path / "other")
    assert _make(f"DIST={release}", f"KEY={other}").returncode == 0
    done = _check(release)
    assert done.returncode != 0
    assert "Could not verify signature" in done.stdout
    (release / "SHA256SUMS.sig").unlink()
    sign: list[str | Path] = ["ssh-keygen", "-q", "-Y", "sign", "-f", tmp_path / "release-key", "-n", "avpenet-weights"]
    subprocess.run([*sign, release / "SHA256SUMS"], check=True)
    assert _check(release).returncode != 0


def test_signing_again_replaces_the_signatures(release: Path, tmp_path: Path) -> None:
    other = _key(tmp_path / "other")
    assert _make(f"DIST={release}", f"KEY={other}").returncode == 0
    (release / "release-key.pub").write_text(other.with_suffix(".pub").read_text())
    assert _check(release).returncode == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [(["DIST=nowhere"], "name the private key"), (["DIST=nowhere", "KEY=key"], "make release first")],
)
def test_what_is_missing_for_signing_is_said(arguments: list[str], message: str) -> None:
    done = _make(*arguments)
    assert done.returncode != 0
    assert message in done.stderr
