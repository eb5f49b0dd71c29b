"""Make the archive for a machine without a network: `make bundle`, after `make release`.

It holds the wheel, every locked wheel for this interpreter and platform, their licences, checksums and install.sh.
"""

from __future__ import annotations

import argparse
import csv
import email.parser
import hashlib
import platform
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Sequence
from email.message import Message
from pathlib import Path, PurePosixPath

REPOSITORY = Path(__file__).resolve().parents[1]

GPU_ONLY = (
    "cuda-bindings",
    "cuda-pathfinder",
    "cuda-toolkit",
    "nvidia-cuda-nvrtc",
    "nvidia-cusolver",
    "nvidia-nvtx",
    "triton",
)
"""What torch 2.11.0 imports and scores without on a CPU. The other nvidia libraries are linked into torch itself."""

NOT_TO_BE_PASSED_ON = ("decord",)
"""Its FFmpeg calls itself unredistributable (docs/reference/licences.md). ffmpeg reads all recordings without it."""

_LICENCE_NAME = re.compile(r"(licen[cs]e|copying|copyright|notice|authors|eula)", re.IGNORECASE)


def without(lock: str, names: Sequence[str]) -> str:
    """A lock file's text without the entries of these packages.

    Raises:
        ValueError: the lock file has no such entry.
    """
    entries = re.split(r"\n(?=\S)", lock.strip())
    kept = [entry for entry in entries if entry.split("==")[0] not in names]
    if len(entries) - len(kept) != len(names):
        raise ValueError(f"the lock file does not hold each of {', '.join(names)}")
    return "\n".join(kept) + "\n"


def download(lock: Path, wheels: Path) -> None:
    """Fetch the wheel of every entry, checked against its hashes; fails where there is no wheel."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-input", "--require-hashes"]
    command += ["--only-binary", ":all:", "--dest", str(wheels), "--requirement", str(lock)]
    subprocess.run(command, check=True)


def write_licences(wheels: Path, folder: Path) -> None:
    """Copy the licence files out of every wheel, and list the declared licences in `licences.csv`."""
    rows = []
    for wheel in sorted(wheels.glob("*.whl")):
        with zipfile.ZipFile(wheel) as archive:
            names = archive.namelist()
            (metadata_name,) = [name for name in names if re.fullmatch(r"[^/]+\.dist-info/METADATA", name)]
            metadata = email.parser.BytesParser().parsebytes(archive.read(metadata_name))
            package = f"{metadata['Name']}-{metadata['Version']}"
            files = [
                name for name in names if not name.endswith("/") and _LICENCE_NAME.search(PurePosixPath(name).name)
            ]
            files = [name for name in files if PurePosixPath(name).suffix not in {".py", ".pyi", ".h", ".hpp", ".j2"}]
            for name in files:
                target = folder / package / name
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(archive.read(name))
        rows.append([metadata["Name"], metadata["Version"], declared_licence(metadata), len(files)])
    with (folder / "licences.csv").open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(["package", "version", "declared_licence", "licence_files"])
        table.writerows(rows)


def declared_licence(metadata: Message) -> str:
    """What a wheel's metadata says of its licence: expression, classifiers or the first line of the old field."""
    if expression := metadata["License-Expression"]:
        return str(expression)
    prefix = "License :: "
    classifiers = [str(line) for line in metadata.get_all("Classifier", []) if str(line).startswith(prefix)]
    if classifiers:
        return "; ".join(line.rpartition(" :: ")[2] for line in classifiers)
    return str(metadata["License"] or "not declared").strip().splitlines()[0]


def write_checksums(folder: Path) -> None:
    """SHA256SUMS of every other file below the folder, in the form that `sha256sum --check` reads."""
    lines = []
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        lines.append(f"{digest}  {path.relative_to(folder).as_posix()}\n")
    (folder / "SHA256SUMS").write_text("".join(lines), encoding="utf-8")


def write_archive(folder: Path, archive: Path, epoch_s: int) -> None:
    """A tar file of the folder that depends on its contents and on `epoch_s` only. Wheels are compressed already."""

    def plain(member: tarfile.TarInfo) -> tarfile.TarInfo:
        member.uid = member.gid = 0
        member.uname = member.gname = ""
        member.mtime = epoch_s
        member.mode = 0o755 if member.isdir() or member.name.endswith(".sh") else 0o644
        return member

    with tarfile.open(archive, "w", format=tarfile.PAX_FORMAT) as tar:
        tar.add(folder, folder.name, recursive=False, filter=plain)
        for path in sorted(folder.rglob("*")):
            tar.add(path, f"{folder.name}/{path.relative_to(folder).as_posix()}", recursive=False, filter=plain)


def fill(folder: Path, dist: Path, left_out: Sequence[str]) -> None:
    """Put everything that the bundle holds, but for these packages, into an empty folder."""
    (wheel,) = dist.glob("avpenet-*.whl")
    wheels = folder / "wheels"
    wheels.mkdir(parents=True)
    lock = (REPOSITORY / "requirements-runtime.lock").read_text(encoding="utf-8")
    requirements = folder / "requirements.lock"
    requirements.write_text(without(lock, left_out), encoding="utf-8")
    download(requirements, wheels)
    shutil.copy(wheel, wheels)
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    with requirements.open("a", encoding="utf-8") as file:
        file.write(f"avpenet=={wheel.name.split('-')[1]} --hash=sha256:{digest}\n")
    shutil.copy(REPOSITORY / "LICENSE", folder)
    for document in dist.glob("*.cdx.json"):
        shutil.copy(document, folder)
    (folder / "licences").mkdir()
    write_licences(wheels, folder / "licences")
    script = (REPOSITORY / "release" / "install.sh").read_text(encoding="utf-8")
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    script = script.replace("@PYTHON@", version).replace("@MACHINE@", platform.machine())
    (folder / "install.sh").write_text(script, encoding="utf-8")


def main() -> None:
    """Command line; see --help."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--dist", type=Path, required=True, help="what `make release` wrote; the archive goes there too"
    )
    parser.add_argument("--work", type=Path, required=True, help="folder to fill; it is emptied first")
    parser.add_argument("--epoch", type=int, required=True, help="time of the archive's members, seconds since 1970")
    parser.add_argument("--gpu", choices=("yes", "no"), default="yes", help="no: leave out what torch does not need")
    parser.add_argument(
        "--decord", choices=("yes", "no"), default="yes", help="no: leave out what may not be passed on"
    )
    arguments = parser.parse_args()
    (wheel,) = arguments.dist.glob("avpenet-*.whl")
    tag = f"cp{sys.version_info.major}{sys.version_info.minor}-linux_{platform.machine()}"
    name = f"avpenet-{wheel.name.split('-')[1]}-{tag}"
    left_out: list[str] = []
    if arguments.decord == "no":
        name, left_out = f"{name}-nodecord", [*left_out, *NOT_TO_BE_PASSED_ON]
    if arguments.gpu == "no":
        name, left_out = f"{name}-cpu", [*left_out, *GPU_ONLY]
    shutil.rmtree(arguments.work, ignore_errors=True)
    fill(arguments.work / name, arguments.dist, left_out)
    write_checksums(arguments.work / name)
    archive = arguments.dist / f"{name}.tar"
    write_archive(arguments.work / name, archive, arguments.epoch)
    shutil.rmtree(arguments.work)
    with archive.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    archive.with_suffix(".tar.sha256.sig").unlink(missing_ok=True)  # of an earlier bundle of that name
    archive.with_suffix(".tar.sha256").write_text(f"{digest}  {archive.name}\n", encoding="utf-8")
    print(f"{archive}: {archive.stat().st_size / 2**20:.0f} MiB")


if __name__ == "__main__":
    main()
