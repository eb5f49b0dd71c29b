"""Write the software bill of materials (CycloneDX JSON) of the runtime dependencies: part of `make release`.

cyclonedx-py reads installed metadata. It gets an environment that holds the metadata of the locked runtime packages
and no more, so that licences and the dependency graph are in the document and the tools of development are not.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import venv
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

REPOSITORY = Path(__file__).resolve().parents[1]


def locked(lock: Path) -> dict[str, str]:
    """Version by name of the packages that a lock file gives to this interpreter and platform."""
    lines = [line.split(" \\")[0] for line in lock.read_text(encoding="utf-8").splitlines()]
    pins = [Requirement(line) for line in lines if line[:1].isalnum()]
    return {
        canonicalize_name(pin.name): str(pin.specifier).removeprefix("==")
        for pin in pins
        if pin.marker is None or pin.marker.evaluate()
    }


def link_metadata(packages: dict[str, str], source: Path, target: Path) -> None:
    """Link the `.dist-info` folders of `packages` from one site-packages folder into another.

    Raises:
        SystemExit: a package is absent or has another version.
    """
    installed: dict[str, tuple[str, Path]] = {}
    for folder in source.glob("*.dist-info"):
        name, _, version = folder.name.removesuffix(".dist-info").partition("-")
        installed[canonicalize_name(name)] = (version, folder)
    for name, version in packages.items():
        if name not in installed or installed[name][0] != version:
            raise SystemExit(f"sbom: {name} {version} is locked and not installed; run make setup")
        folder = installed[name][1]
        (target / folder.name).symlink_to(folder.resolve())


def main() -> None:
    """Command line; see --help."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--site-packages", type=Path, required=True, help="where the locked packages are installed")
    parser.add_argument("--work", type=Path, required=True, help="folder for the environment of metadata")
    parser.add_argument("--dist", type=Path, required=True, help="folder of the wheel, for the document")
    arguments = parser.parse_args()
    venv.create(arguments.work, clear=True, symlinks=True, with_pip=False)
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    site_packages = arguments.work / "lib" / version / "site-packages"
    link_metadata(locked(REPOSITORY / "requirements-runtime.lock"), arguments.site_packages, site_packages)
    (wheel,) = arguments.dist.glob("avpenet-*.whl")
    out = arguments.dist / f"avpenet-{wheel.name.split('-')[1]}.cdx.json"
    tool = Path(sys.executable).with_name("cyclonedx-py")
    command: list[str | Path] = [tool, "environment", arguments.work / "bin" / "python"]
    command += ["--pyproject", REPOSITORY / "pyproject.toml", "--mc-type", "application"]
    command += ["--output-reproducible", "--of", "JSON", "-o", out]
    raise SystemExit(subprocess.run(command, check=False).returncode)


if __name__ == "__main__":
    main()
