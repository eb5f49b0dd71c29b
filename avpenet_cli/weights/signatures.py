"""Check the detached signature of a set of weights with a site's public key.

Who signs runs `ssh-keygen -Y sign -f KEY -n avpenet-weights NAME.json`, which writes `NAME.json.sig` beside the
description. The description holds the digest of the tensors, so the signature covers both files. OpenSSH makes and
checks signatures (its `PROTOCOL.sshsig`): no cryptography of this program's own, and no further library.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

from avpenet_cli.errors import EnvironmentUnavailableError, SettingsError, WeightsError, reason
from avpenet_cli.storage import memory_file
from avpenet_cli.weights.description import WeightsEntry
from avpenet_cli.weights.finding import description_path, parse_description

NAMESPACE = "avpenet-weights"
"""What a signature is for: one that the same key made for another purpose does not count."""

SIGNATURE_SUFFIX = ".sig"
"""Added to the whole name of the description, as ssh-keygen does."""

_SIGNER = "site"
_FINGERPRINT = re.compile(r"with (\S+ key SHA256:\S+)")
_KEY_LINE = re.compile(r"(?:ssh|ecdsa|sk-ssh|sk-ecdsa)-[a-z0-9@.-]+ [A-Za-z0-9+/]+=*(?: .*)?")


def signature_path(path: Path) -> Path:
    """Where the signature of the weights in this file of tensors is."""
    location = description_path(path)
    return location.with_name(location.name + SIGNATURE_SUFFIX)


def read_beside(path: Path) -> bytes:
    """Contents of a file beside the tensors.

    Raises:
        WeightsError: it cannot be read.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise WeightsError(f"{path} cannot be read: {reason(error)}", "check the file's permissions") from None


def read_public_keys(path: Path) -> tuple[str, ...]:
    """The keys of an OpenSSH public key file, one a line; empty lines and lines that begin with `#` are skipped.

    Raises:
        SettingsError: it cannot be read, or holds something else.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"the public key {path} cannot be read: {reason(error)}", "give the .pub file") from None
    if "PRIVATE KEY" in text:
        raise SettingsError(f"{path} is a private key", "give the public key, the .pub file; keep this one secret")
    lines = [line.strip() for line in text.splitlines()]
    keys = tuple(line for line in lines if line and not line.startswith("#"))
    if not keys or not all(_KEY_LINE.fullmatch(key) for key in keys):
        raise SettingsError(f"{path} holds no OpenSSH public key", "give the .pub file that ssh-keygen wrote")
    return keys


def verify_signature(entry: WeightsEntry, keys: tuple[str, ...]) -> str:
    """Check that one of these keys signed the description of the weights.

    It covers the tensors only together with `verify`, which compares them with the description.

    Args:
        entry: weights, as `find` returns them.
        keys: of `read_public_keys`.

    Returns:
        Kind and fingerprint of the key that signed.

    Raises:
        WeightsError: there is no signature, another key made it, it is of other contents, or the weights are built in.
        EnvironmentUnavailableError: OpenSSH is missing or older than 8.2.
    """
    if entry.path is None:
        raise WeightsError(f"{entry.name} is built in and has no signature", "name weights that have a file")
    location, signature = description_path(entry.path), signature_path(entry.path)
    if not signature.is_file():
        raise WeightsError(f"the signature {signature} does not exist", "get it from whoever signed these weights")
    content = read_beside(location)
    read_beside(signature)
    if parse_description(content, location).digest != entry.digest:
        raise WeightsError(f"the description {location} changed while it was checked", "try again")
    allowed = "".join(f'{_SIGNER} namespaces="{NAMESPACE}" {key}\n' for key in keys)
    verified = _ssh_keygen("verify", signature, content, allowed)
    fingerprint = _FINGERPRINT.search(verified.stdout)
    if verified.returncode == 0 and fingerprint is not None:
        return fingerprint[1]
    # Valid but for who made it?
    anybody = _FINGERPRINT.search(_ssh_keygen("check-novalidate", signature, content).stdout)
    if anybody is not None:
        raise WeightsError(
            f"{signature} was made with another key ({anybody[1]})", "get weights signed with the key that you trust"
        )
    raise WeightsError(
        f"{signature} is no signature of {location.name} for {NAMESPACE}: one of them was altered or belongs to others",
        "get these weights and their signature again from their source",
    )


def _ssh_keygen(action: str, signature: Path, content: bytes, allowed: str = "") -> subprocess.CompletedProcess[str]:
    """`ssh-keygen -Y ACTION` on `content`, with the allowed signers in memory: nothing is written."""
    program = shutil.which("ssh-keygen")
    if program is None:
        raise EnvironmentUnavailableError(
            "ssh-keygen is missing, which checks signatures", "install OpenSSH (Debian: apt-get install openssh-client)"
        )
    signers = memory_file("allowed-signers")
    try:
        os.write(signers, allowed.encode())
        command = [program, "-Y", action, "-n", NAMESPACE, "-s", os.fspath(signature.absolute())]
        if allowed:
            command += ["-I", _SIGNER, "-f", f"/proc/self/fd/{signers}"]
        done = subprocess.run(command, input=content, capture_output=True, pass_fds=[signers], check=False)
    finally:
        os.close(signers)
    if b"illegal option" in done.stderr or b"unknown option" in done.stderr:
        raise EnvironmentUnavailableError("this ssh-keygen cannot check signatures", "install OpenSSH 8.2 or newer")
    return subprocess.CompletedProcess(
        command, done.returncode, done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace")
    )
