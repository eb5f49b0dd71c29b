"""Signatures of weights: only the right key's, of these very contents, made for this purpose, is accepted."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from avpenet_cli import weights
from avpenet_cli.errors import EnvironmentUnavailableError, ExitCode, WeightsError
from avpenet_cli.settings import digest_of
from tests.conftest import REPOSITORY, Answer

Program = Callable[..., Answer]

_NAME = "avpenet-phantom"


def sign(key: Path, description: Path, namespace: str = "avpenet-weights") -> Path:
    """As a site does it."""
    signature = description.with_name(f"{description.name}.sig")
    signature.unlink(missing_ok=True)  # ssh-keygen would ask
    subprocess.run(["ssh-keygen", "-q", "-Y", "sign", "-f", key, "-n", namespace, description], check=True)
    return signature


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two pairs of keys, `site` and `other`."""
    folder = tmp_path_factory.mktemp("keys")
    for name in ("site", "other"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", folder / name], check=True)
    return folder


@pytest.fixture
def signed(tmp_path: Path, keys: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The tensors of the bundled weights, copied and signed with the key `site`; the user's store is empty."""
    monkeypatch.setenv(weights.FOLDER_VARIABLE, str(tmp_path / "store"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    for suffix in (".json", ".safetensors"):
        shutil.copy(REPOSITORY / "weights" / f"{_NAME}{suffix}", tmp_path)
    sign(keys / "site", tmp_path / f"{_NAME}.json")
    yield tmp_path / f"{_NAME}.safetensors"
    for path in tmp_path.rglob("*.safetensors"):
        path.unlink()


def _verify(program: Program, tensors: Path, key: Path) -> Answer:
    answer = program("weights", "verify", tensors, "--key", key)
    assert len(answer.out.splitlines()) == 1
    return answer


def test_signed_weights_are_verified_with_the_key_that_signed(signed: Path, keys: Path, avpenet_here: Program) -> None:
    answer = _verify(avpenet_here, signed, keys / "site.pub")
    assert answer.code == ExitCode.OK
    shown = subprocess.run(["ssh-keygen", "-l", "-f", keys / "site.pub"], capture_output=True, text=True, check=True)
    (fingerprint,) = re.findall(r"SHA256:\S+", shown.stdout)
    assert answer.out == (
        f"{_NAME}: intact, digest {weights.find(signed).digest}, signed with ED25519 key {fingerprint}\n"
    )
    # One of several keys that a site trusts.
    several = keys / "several.pub"
    several.write_text(f"# our keys\n\n{(keys / 'other.pub').read_text()}{(keys / 'site.pub').read_text()}")
    assert _verify(avpenet_here, signed, several).code == ExitCode.OK


def test_checking_writes_no_file_and_connects_to_no_address(signed: Path, keys: Path, tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from avpenet_cli import weights; "
        "weights.verify_signature(weights.find(sys.argv[1]), weights.read_public_keys(Path(sys.argv[2])))"
    )
    log = tmp_path / "calls"
    trace: list[str | Path] = ["strace", "-f", "-qq", "-e", "trace=openat,creat,connect", "-o", log]
    subprocess.run([*trace, sys.executable, "-B", "-c", code, signed, keys / "site.pub"], cwd=REPOSITORY, check=True)
    calls = log.read_text().splitlines()
    assert [line for line in calls if f"{signed.stem}.json.sig" in line]
    opened = [line for line in calls if re.search(r"O_WRONLY|O_RDWR|O_CREAT|creat\(", line)]
    assert [line for line in opened if '"/dev/' not in line] == []
    assert [line for line in calls if "sa_family=AF_INET" in line] == []


def test_another_key_is_refused_by_its_fingerprint(signed: Path, keys: Path, avpenet_here: Program) -> None:
    answer = _verify(avpenet_here, signed, keys / "other.pub")
    assert answer.code == ExitCode.ENVIRONMENT
    assert re.search(r"NOT usable: .*\.json\.sig was made with another key \(ED25519 key SHA256:\S+\); ", answer.out)


def test_description_altered_together_with_its_digest_is_noticed(
    signed: Path, keys: Path, avpenet_here: Program
) -> None:
    """What the digest alone does not notice: somebody who computes it anew."""
    path = signed.with_suffix(".json")
    fields = json.loads(path.read_text())
    del fields["digest"]
    fields["notice"] = "approved for patients"
    path.write_text(json.dumps(fields | {"digest": digest_of(fields)}))
    assert avpenet_here("weights", "verify", signed).code == ExitCode.OK
    answer = _verify(avpenet_here, signed, keys / "site.pub")
    assert answer.code == ExitCode.ENVIRONMENT
    assert "is no signature of avpenet-phantom.json for avpenet-weights: one of them was altered" in answer.out


def test_altered_tensors_are_noticed_in_spite_of_the_signature(signed: Path, keys: Path, avpenet_here: Program) -> None:
    with signed.open("r+b") as file:
        file.seek(-1, os.SEEK_END)
        byte = file.read(1)[0]
        file.seek(-1, os.SEEK_END)
        file.write(bytes([byte ^ 1]))
    answer = _verify(avpenet_here, signed, keys / "site.pub")
    assert answer.code == ExitCode.ENVIRONMENT
    assert "was altered or is incomplete: its digest differs" in answer.out


@pytest.mark.parametrize("damage", ["missing", "empty", "other purpose", "of another file"])
def test_what_is_no_signature_of_these_weights_is_refused(
    damage: str, signed: Path, keys: Path, avpenet_here: Program
) -> None:
    description = signed.with_suffix(".json")
    signature = description.with_name(f"{description.name}.sig")
    if damage == "missing":
        signature.unlink()
    elif damage == "empty":
        signature.write_text("")
    elif damage == "other purpose":
        sign(keys / "site", description, namespace="file")
    else:
        (signed.parent / "other.json").write_text("{}")
        sign(keys / "site", signed.parent / "other.json").replace(signature)
    answer = _verify(avpenet_here, signed, keys / "site.pub")
    assert answer.code == ExitCode.ENVIRONMENT
    assert ("does not exist; get it from whoever signed" if damage == "missing" else "is no signature of") in answer.out


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ("site", "is a private key; give the public key"),
        ("nowhere.pub", "cannot be read: No such file"),
        ("text.pub", "holds no OpenSSH public key"),
        ("options.pub", "holds no OpenSSH public key"),
    ],
)
def test_file_that_is_no_public_key_is_a_usage_error(
    key: str, message: str, signed: Path, keys: Path, avpenet_here: Program
) -> None:
    (keys / "text.pub").write_text("my key\n")
    # Options of an allowed signer, such as another purpose, are not the file's to give.
    (keys / "options.pub").write_text('namespaces="file" ' + (keys / "site.pub").read_text())
    answer = avpenet_here("weights", "verify", signed, "--key", keys / key)
    assert (answer.code, answer.out) == (ExitCode.USAGE, "")
    assert message in answer.last_line


def test_key_without_names_and_built_in_weights_are_refused(keys: Path, avpenet_here: Program) -> None:
    assert avpenet_here("weights", "verify", "--key", keys / "site.pub").code == ExitCode.USAGE
    answer = avpenet_here("weights", "verify", "untrained", "--key", keys / "site.pub")
    assert answer.code == ExitCode.ENVIRONMENT
    assert "untrained is built in and has no signature" in answer.out


def test_signature_is_installed_with_the_weights(signed: Path, keys: Path, avpenet_here: Program) -> None:
    description = signed.with_suffix(".json")
    # Other spaces than this program writes: the signature is of the bytes.
    description.write_text(json.dumps(json.loads(description.read_text())))
    signature = description.with_name(f"{description.name}.sig")
    signature.rename(signed.parent / "aside")
    answer = avpenet_here("weights", "install", signed, "--key", keys / "site.pub")
    assert answer.code == ExitCode.ENVIRONMENT
    assert not (signed.parent / "store").exists()
    assert avpenet_here("weights", "install", signed).code == ExitCode.OK
    # The same weights, now signed.
    sign(keys / "site", description)
    assert avpenet_here("weights", "install", signed, "--key", keys / "site.pub").code == ExitCode.OK
    assert _verify(avpenet_here, Path(_NAME), keys / "site.pub").code == ExitCode.OK
    installed = signed.parent / "store"
    assert {path.stat().st_mode & 0o777 for path in installed.iterdir()} == {0o600}
    assert sorted(path.name for path in installed.iterdir()) == sorted([description.name, signature.name, signed.name])
    # Weights without a signature do not inherit the one that they replace.
    signature.unlink()
    weights.install(signed, overwrite=True)
    with pytest.raises(WeightsError, match="does not exist"):
        weights.verify_signature(weights.find(_NAME), weights.read_public_keys(keys / "site.pub"))


def test_missing_openssh_is_named(signed: Path, keys: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    public = weights.read_public_keys(keys / "site.pub")
    monkeypatch.setenv("PATH", str(signed.parent))
    with pytest.raises(EnvironmentUnavailableError, match="ssh-keygen is missing"):
        weights.verify_signature(weights.find(signed), public)
