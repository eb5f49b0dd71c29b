"""`avpenet doctor`: check that everything needed for scoring is installed, and say how to install what is missing."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from avpenet_cli.cli.options import Debug
from avpenet_cli.errors import AvpenetError, ExitCode

_COMMON_DECODERS = (
    "h264",
    "hevc",
    "mpeg4",
    "mpeg1video",
    "mpeg2video",
    "mjpeg",
    "vp9",
    "aac",
    "mp3",
    "mp2",
    "pcm_s16le",
    "pcm_s24le",
    "amrnb",
)
_LOW_DISK_GIB = 1.0


@dataclass(frozen=True)
class Finding:
    """Result of a check."""

    state: Literal["ok", "warning", "missing"]
    detail: str
    remedy: str = ""


def doctor(
    folder: Annotated[Path, typer.Option(help="Folder for the output tables.")] = Path(),
    debug: Debug = False,
) -> int:
    """Check ffmpeg, codecs, libraries, device, weights, disk and write access; exit 3 if something is missing."""
    checks: dict[str, Callable[[], Finding]] = {
        "ffmpeg": lambda: _tool("ffmpeg"),
        "ffprobe": lambda: _tool("ffprobe"),
        "codecs": _codecs,
        "confinement": _confinement,
        "face detector": _detector,
        "audio": _audio,
        "decord": _decord,
        "device": _device,
        "weights": _weights,
        "disk": lambda: _disk(folder),
        "write access": lambda: _write_access(folder),
        "temporary files": _temporary,
    }
    table = Table(box=None, pad_edge=False)
    for heading in ("check", "", "found", "what to do"):
        table.add_column(heading, overflow="fold")
    worst = "ok"
    for name, check in checks.items():
        try:
            finding = check()
        except AvpenetError as error:
            finding = Finding("missing", error.message, error.remedy)
        except Exception as error:  # a broken library must not prevent the other checks
            if debug:
                raise
            finding = Finding("missing", f"{type(error).__name__}: {error}", "install again, e.g. with make setup")
        style = {"ok": "green", "warning": "yellow", "missing": "red"}[finding.state]
        table.add_row(name, Text(finding.state, style=style), Text(finding.detail), Text(finding.remedy))
        worst = "missing" if "missing" in (worst, finding.state) else worst
    console = Console() if Console().is_terminal else Console(width=10_000)
    console.print(table)
    return ExitCode.ENVIRONMENT if worst == "missing" else ExitCode.OK


def _tool(name: str) -> Finding:
    from avpenet_cli.media.tools import MIN_FFMPEG, ffmpeg_version, tool

    path = tool(name)
    version = ffmpeg_version()
    if version < MIN_FFMPEG:
        return Finding(
            "missing", f"{path} {version[0]}.{version[1]}", f"install {MIN_FFMPEG[0]}.{MIN_FFMPEG[1]} or newer"
        )
    return Finding("ok", f"{path} {version[0]}.{version[1]}")


def _codecs() -> Finding:
    from avpenet_cli.media.tools import tool

    listing = subprocess.run(
        [tool("ffmpeg"), "-v", "error", "-decoders"], capture_output=True, text=True, timeout=30, check=False
    )
    known = {line.split()[1] for line in listing.stdout.splitlines() if len(line.split()) > 1}
    missing = [name for name in _COMMON_DECODERS if name not in known]
    if missing:
        return Finding("warning", f"no decoder for {', '.join(missing)}", "install your system's full build of ffmpeg")
    return Finding("ok", f"all {len(_COMMON_DECODERS)} common decoders, {len(known)} in total")


def _confinement() -> Finding:
    from avpenet_cli.media.confinement import MEMORY_BYTES, landlock_abi, missing_parts
    from avpenet_cli.media.tools import tool

    missing = {part: None for name in ("ffmpeg", "ffprobe") for part in missing_parts(tool(name))}
    if missing:
        return Finding("warning", "; ".join(missing), "see docs/explanation/robustness.md, Decoders are confined")
    return Finding(
        "ok", f"decoders run confined: Landlock {landlock_abi()}, seccomp, {MEMORY_BYTES >> 30} GiB of memory each"
    )


def _detector() -> Finding:
    import numpy as np
    import torch

    from avpenet_cli.face.detect import FaceDetector
    from avpenet_cli.media.frame_image import RgbImage
    from avpenet_cli.settings import FaceSettings

    FaceDetector(FaceSettings(), torch.device("cpu")).detect([RgbImage(np.zeros((64, 64, 3), np.uint8))])
    return Finding("ok", "MTCNN runs")


def _audio() -> Finding:
    import numpy as np

    from avpenet_cli.audio.mel import log_mel
    from avpenet_cli.settings import AudioSettings

    try:
        log_mel(np.zeros(16_000, np.float32), AudioSettings())
    except RuntimeError as error:
        # numba, below librosa, refuses to load where it can keep nothing: a read-only install and no writable home.
        if "no locator available" not in str(error):
            raise
        return Finding("missing", "numba has no folder for its cache", "set NUMBA_CACHE_DIR to a writable folder")
    return Finding("ok", "mel spectrograms are computed")


def _decord() -> Finding:
    from importlib.util import find_spec

    if find_spec("decord") is None:
        return Finding("warning", "not installed", "not needed: ffmpeg reads everything")
    return Finding("ok", "installed; used only when a settings file asks for it")


def _device() -> Finding:
    import torch

    if torch.cuda.is_available():
        names = ", ".join(torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count()))
        return Finding("ok", f"GPU: {names}")
    return Finding("ok", f"CPU with {len(os.sched_getaffinity(0))} cores; no GPU that torch can use")


def _weights() -> Finding:
    from avpenet_cli.weights import default_entry, list_entries

    unusable = [entry for entry in list_entries() if hasattr(entry, "problem")]
    entry = default_entry()
    if unusable:
        return Finding("warning", f"{entry.name}; {len(unusable)} unusable", "see avpenet weights list")
    return Finding("ok", f"{entry.name}@{entry.digest[:12]}")


def _disk(folder: Path) -> Finding:
    try:
        free_gib = shutil.disk_usage(folder).free / 2**30
    except OSError as error:
        return Finding("missing", f"{folder.absolute()}: {error.strerror}", "name a folder that exists")
    if free_gib < _LOW_DISK_GIB:
        return Finding(
            "warning", f"{free_gib:.2f} GiB free in {folder.absolute()}", "free some space before a long run"
        )
    return Finding("ok", f"{free_gib:.1f} GiB free")


def _write_access(folder: Path) -> Finding:
    try:
        with tempfile.TemporaryFile(dir=folder):
            return Finding("ok", str(folder.absolute()))
    except OSError as error:
        return Finding("missing", f"{folder.absolute()}: {error.strerror}", "choose another folder for --out")


def _temporary() -> Finding:
    try:
        with tempfile.TemporaryFile():
            return Finding("ok", tempfile.gettempdir())
    except OSError as error:
        return Finding("warning", str(error.strerror), "not needed for scoring")
