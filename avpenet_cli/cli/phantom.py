"""`avpenet phantom`: make synthetic patients with a known pain trajectory."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from avpenet_cli.cli.options import Debug
from avpenet_cli.cli.phantom_check import check
from avpenet_cli.errors import ExitCode, SettingsError

if TYPE_CHECKING:
    from avpenet_cli.phantom.camera.effects import CameraChoice
    from avpenet_cli.phantom.subjects import AgeGroups

app = typer.Typer(
    no_args_is_help=True,
    help="Synthetic patients with a known pain trajectory for commissioning, teaching and demonstration; not evidence.",
)

app.command("check", short_help="Check that scores are the same as before.")(check)

_ENCODERS = {
    "h264": ("libx264", ()),
    "hevc": ("libx265", ("-x265-params", "log-level=error:pools=1")),
    "mpeg4": ("mpeg4", ("-q:v", "4")),
    "vp9": ("libvpx-vp9", ("-deadline", "realtime", "-cpu-used", "8", "-b:v", "1M")),
}
_SUFFIXES = (".mp4", ".mkv", ".mov", ".avi", ".webm")


@app.callback()
def _phantom() -> None:
    """Synthetic patients."""


@app.command("make", short_help="Make recordings of synthetic patients.")
def make(
    out: Annotated[Path, typer.Option(help="Output folder.", show_default=False)],
    subjects: Annotated[int, typer.Option(help="Number of synthetic patients.", min=1, max=100_000)] = 10,
    seed: Annotated[int, typer.Option(help="The same seed makes the same patients.", min=0)] = 1,
    minutes: Annotated[float, typer.Option(help="Length of each recording.", min=0.1, max=120.0)] = 1.0,
    recordings: Annotated[int, typer.Option(help="Recordings per patient.", min=1, max=1000)] = 1,
    age_group: Annotated[str, typer.Option(help="neonate, adult or both.")] = "both",
    head_model: Annotated[
        Path | None,
        typer.Option(
            metavar="PATH",
            help="Faces in place of the built-in head: ict_facekit_light.npz, a folder of photographs with points.csv, "
            "or a MakeHuman folder with 3dobjs/base.obj and targets/. The last have photographic skin if the folder, "
            "or another one beside it (then give the folder that holds both), has skins/, hair/, eyes/, eyebrows/, "
            "eyelashes/, teeth/ and tongue/ of MakeHuman's assets.",
        ),
    ] = None,
    voices: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="DIR", help="Folder of recorded voices to use in place of the synthetic; may be repeated."
        ),
    ] = None,
    size: Annotated[str, typer.Option(metavar="WxH", help="Frame size; by default that of each site's camera.")] = "",
    fps: Annotated[
        float | None, typer.Option(help="Frames per second; by default those of each site's camera.")
    ] = None,
    camera: Annotated[
        str, typer.Option(help="site, or ward: infrared, low light, phototherapy, 300 kbit/s, patients on their side.")
    ] = "site",
    codec: Annotated[str, typer.Option(help=f"Video codec: {', '.join(_ENCODERS)}.")] = "h264",
    suffix: Annotated[str, typer.Option(help=f"Container: {', '.join(_SUFFIXES)}.")] = ".mp4",
    jobs: Annotated[int | None, typer.Option(help="Number of processes; by default one per core.", min=1)] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing.")] = False,
    debug: Debug = False,
) -> int:
    """Make recordings of synthetic patients, with truth.csv, subjects.csv and events.csv for `avpenet report`.

    The same command resumes an interrupted run.
    """
    groups: dict[str, AgeGroups] = {"neonate": "neonate", "adult": "adult", "both": "both"}
    if age_group not in groups:
        raise SettingsError(f"--age-group {age_group}: no such group", "use neonate, adult or both")
    cameras: dict[str, CameraChoice] = {"site": "site", "ward": "ward"}
    if camera not in cameras:
        raise SettingsError(f"--camera {camera}: no such camera", "use site or ward")
    if codec not in _ENCODERS:
        raise SettingsError(f"--codec {codec}: no such codec", f"use one of {', '.join(_ENCODERS)}")
    if suffix not in _SUFFIXES:
        raise SettingsError(f"--suffix {suffix}: no such container", f"use one of {', '.join(_SUFFIXES)}")
    if fps is not None and not 1 <= fps <= 120:
        raise SettingsError(f"--fps {fps:g}: out of range", "give 1 to 120")

    from avpenet_cli.cli.progress import progress_bar
    from avpenet_cli.phantom.make import PhantomRequest, make_phantoms

    encoder, options = _ENCODERS[codec]
    request = PhantomRequest(
        subjects=subjects,
        seed=seed,
        minutes=minutes,
        recordings=recordings,
        age_groups=groups[age_group],
        head_file=head_model,
        voices=tuple(voices or ()),
        size_px=_size(size),
        fps=fps,
        suffix=suffix,
        encoding=("-c:v", encoder, *options) + (("-c:a", "libopus") if suffix == ".webm" else ()),
        camera=cameras[camera],
    )
    with progress_bar("phantoms", subjects * recordings, quiet) as advance:
        counts = make_phantoms(request, out, jobs or os.cpu_count() or 1, lambda name: advance())
    if not quiet:
        typer.echo(f"recordings: {counts['made']} made, {counts['kept']} kept in {out}", err=True)
    return ExitCode.OK


def _size(text: str) -> tuple[int, int] | None:
    if not text:
        return None
    match = re.fullmatch(r"(\d+)x(\d+)", text)
    sides = (int(match[1]), int(match[2])) if match else (0, 0)
    if not all(96 <= side <= 4096 and side % 2 == 0 for side in sides):
        raise SettingsError(f"--size {text}: not a size", "give WxH with even sides of 96 to 4096, e.g. 640x480")
    return sides
