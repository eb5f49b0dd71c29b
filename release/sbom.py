"""Write the software bill of materials (CycloneDX JSON) of the runtime dependencies: part of `make release`.

cyclonedx-py reads installed metadata. It gets an environment that holds the metadata of the locked runtime packages
and no more, so that licences and the dependency graph are in the document and the tools of development are not.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import subprocess
import sys
import venv
from pathlib import Path

from release.lock_files import REPOSITORY, RUNTIME_LOCK, pinned_name, pins


def locked(lock: Path) -> dict[str, str]:
    """Version by name of the packages that a lock file gives to this interpreter and platform."""
    return {
        pinned_name(pin): str(pin.specifier).removeprefix("==")
        for pin in pins(lock)
        if pin.marker is None or pin.marker.evaluate()
    }


def link_metadata(packages: dict[str, str], target: Path) -> None:
    """Link the `.dist-info` folders of packages that this interpreter has into another site-packages folder.

    Raises:
        SystemExit: a package is absent or has another version.
    """
    for name, version in packages.items():
        try:
            found = importlib.metadata.distribution(name)
        except importlib.metadata.PackageNotFoundError:
            raise SystemExit(f"sbom: {name} {version} is locked and not installed; run make setup") from None
        if found.version != version:
            raise SystemExit(f"sbom: {name} {version} is locked, {found.version} is installed; run make setup")
        (metadata,) = [
            file for file in found.files or () if len(file.parts) == 2 and file.match("*.dist-info/METADATA")
        ]
        folder = Path(str(found.locate_file(metadata))).parent
        (target / folder.name).symlink_to(folder.resolve())


def main() -> None:
    """Command line; see --help."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tool", type=Path, required=True, help="the program cyclonedx-py")
    parser.add_argument("--work", type=Path, required=True, help="folder for the environment of metadata")
    parser.add_argument("--dist", type=Path, required=True, help="folder of the wheel, for the document")
    arguments = parser.parse_args()
    venv.create(arguments.work, clear=True, symlinks=True, with_pip=False)
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    site_packages = arguments.work / "lib" / version / "site-packages"
    link_metadata(locked(RUNTIME_LOCK), site_packages)
    (wheel,) = arguments.dist.glob("avpenet-*.whl")
    out = arguments.dist / f"avpenet-{wheel.name.split('-')[1]}.cdx.json"
    command: list[str | Path] = [arguments.tool, "environment", arguments.work / "bin" / "python"]
    command += ["--pyproject", REPOSITORY / "pyproject.toml", "--mc-type", "application"]
    command += ["--output-reproducible", "--of", "JSON", "-o", out]
    raise SystemExit(subprocess.run(command, check=False).returncode)


if __name__ == "__main__":
    main()
