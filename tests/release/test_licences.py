"""The list of licences is that of the lock; what the page says of FFmpeg and NVIDIA's terms is what the wheels say."""

from __future__ import annotations

import re
import tomllib
from email.message import Message
from importlib.metadata import distribution
from pathlib import Path

import pytest

from release.licences import (
    JUDGED,
    PAGE,
    UnknownLicenceError,
    filled,
    identifiers,
    licence_of,
    licensed_packages,
)
from release.lock_files import RUNTIME_LOCK, pinned_name, pinned_version, pins


def test_page_lists_every_locked_package_in_its_version() -> None:
    page = PAGE.read_text(encoding="utf-8")
    rows = re.findall(r"^\| (\S+) \| (\S+) \| [^|]+ \| [^|]+ \| [^|]+ \|$", page, re.MULTILINE)
    assert dict(rows[1:]) == {pinned_name(pin): str(pinned_version(pin)) for pin in pins(RUNTIME_LOCK)}
    assert filled(page) == page, "run make licences"


def test_nothing_judged_is_superfluous() -> None:
    judged = tomllib.loads(JUDGED.read_text(encoding="utf-8"))
    packages = licensed_packages(judged)
    assert judged["packages"].keys() <= {package.name for package in packages}
    assert judged["terms"].keys() == {part for package in packages for part in identifiers(package.licence)}


def _metadata(**fields: str) -> Message:
    message = Message()
    message["Name"] = "example"
    for name, value in fields.items():
        message[name.replace("_", "-")] = value
    return message


@pytest.mark.parametrize(
    ("fields", "licence"),
    [
        ({"License_Expression": "mit or apache-2.0"}, "MIT OR Apache-2.0"),
        ({"License": "BSD-3-Clause"}, "BSD-3-Clause"),
        ({"License": "see LICENSE", "Classifier": "License :: OSI Approved :: MIT License"}, "MIT"),
    ],
)
def test_licence_of_clear_metadata(fields: dict[str, str], licence: str) -> None:
    assert licence_of(_metadata(**fields), None) == licence


@pytest.mark.parametrize(
    "fields", [{}, {"License": "BSD"}, {"Classifier": "License :: OSI Approved :: BSD License"}, {"License": "free"}]
)
def test_doubtful_metadata_has_to_be_judged(fields: dict[str, str]) -> None:
    with pytest.raises(UnknownLicenceError, match="which names no licence; judge it"):
        licence_of(_metadata(**fields), None)


def test_changed_metadata_has_to_be_judged_again() -> None:
    judged = {"declared": "BSD License", "licence": "BSD-2-Clause", "because": "its licence file"}
    assert licence_of(_metadata(Classifier="License :: OSI Approved :: BSD License"), judged) == "BSD-2-Clause"
    with pytest.raises(UnknownLicenceError, match="now declares 'Other', not 'BSD License'; judge it again"):
        licence_of(_metadata(License="Other"), judged)


def test_licence_without_known_terms_stops_the_list() -> None:
    judged = tomllib.loads(JUDGED.read_text(encoding="utf-8"))
    del judged["terms"]["LicenseRef-NVIDIA-Proprietary"]
    with pytest.raises(UnknownLicenceError, match="what LicenseRef-NVIDIA-Proprietary asks for is not in"):
        licensed_packages(judged)


def _files(package: str, pattern: str) -> list[Path]:
    return [Path(str(file.locate())) for file in distribution(package).files or () if re.search(pattern, str(file))]


@pytest.mark.parametrize(
    ("package", "version", "licence"),
    [
        ("decord", b"FFmpeg version 4.1.6", b"libavutil license: nonfree and unredistributable"),
        ("opencv-python-headless", b"FFmpeg version 8.1.1", b"libavutil license: LGPL version 2.1 or later"),
    ],
)
def test_ffmpeg_in_wheels_says_what_the_page_says(package: str, version: bytes, licence: bytes) -> None:
    page = PAGE.read_text(encoding="utf-8")
    libraries = b"".join(path.read_bytes() for path in _files(package, r"\.libs/libav(util|format|codec)"))
    assert version in libraries
    assert licence in libraries
    assert f"{package} | {version.decode().split()[-1]} | `{licence.decode().partition(': ')[2]}`" in page


def test_terms_of_nvidia_are_those_that_the_page_quotes() -> None:
    page = PAGE.read_text(encoding="utf-8")
    quoted = " ".join(re.sub(r"^> ", "", line) for line in page.splitlines() if line.startswith("> "))
    assert "medical" in quoted
    without = set()
    for pin in pins(RUNTIME_LOCK):
        if pin.name.startswith("nvidia-"):
            texts = [path.read_text(encoding="utf-8") for path in _files(pin.name, r"dist-info/licenses/")]
            if not any(quoted in " ".join(text.split()) for text in texts):
                without.add(pin.name)
    assert without == {"nvidia-nccl-cu13", "nvidia-nvtx", "nvidia-cusparselt-cu13"}
