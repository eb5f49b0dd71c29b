"""`avpenet explain`: what the network used of chosen segments of a recording."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from avpenet_cli.cli.command_line import recorded_command
from avpenet_cli.cli.options import Debug, Quiet, WeightsName
from avpenet_cli.cli.reporter import run_callbacks
from avpenet_cli.cli.run_log import printable
from avpenet_cli.errors import ExitCode, SettingsError
from avpenet_cli.runs.memory import loading_libraries

if TYPE_CHECKING:
    from avpenet_cli.explanation.explained import Explanation
    from avpenet_cli.explanation.faces import FaceStyle


def explain(
    context: typer.Context,
    recording: Annotated[
        Path, typer.Argument(metavar="RECORDING", help="The recording to explain.", show_default=False)
    ],
    out: Annotated[
        Path, typer.Option(metavar="DIR", help="The folder to write to: new or empty, unless --overwrite is given.")
    ],
    weights: WeightsName = None,
    segments: Annotated[
        str | None, typer.Option(metavar="3,7-9", help="Numbers of segments, as in the score table.")
    ] = None,
    top: Annotated[
        int | None,
        typer.Option(metavar="N", help="The N highest scores that do not overlap.  [default: 5]", show_default=False),
    ] = None,
    around: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="The segments at this time, such as 2:31, and those before and after."),
    ] = None,
    stride: Annotated[float, typer.Option(help="Seconds from one segment start to the next, at most 3.")] = 3.0,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
    seed: Annotated[int, typer.Option(help="Seed of the checks of the maps.", min=0)] = 42,
    blur_eyes: Annotated[bool, typer.Option("--blur-eyes", help="Draw faces with the eyes blurred.")] = False,
    landmarks_only: Annotated[bool, typer.Option("--landmarks-only", help="Draw landmarks in place of faces.")] = False,
    no_frames: Annotated[bool, typer.Option("--no-frames", help="Draw no faces.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the explanation in DIR.")] = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> int:
    """Show what the network used for the scores of some segments: attention, saliency, and which modality counted.

    A map shows what the network used, not what hurts. Figures show the patient's face, unless one of --blur-eyes,
    --landmarks-only and --no-frames is given; these also leave out the recording's name.
    """
    started = time.monotonic()
    with run_callbacks(quiet, ("steps", "parts"), debug=debug) as callbacks:
        with loading_libraries():
            from avpenet_cli.explanation.outputs import PAGE_FILE
            from avpenet_cli.explanation.run import ExplainRequest
            from avpenet_cli.explanation.run import explain as explain_recording
            from avpenet_cli.explanation.selection import Selection, parse_segments, parse_time
            from avpenet_cli.weights import default_entry, find

        faces = _face_style(blur_eyes, landmarks_only, no_frames)
        request = ExplainRequest(
            recording=recording,
            weights=default_entry() if weights is None else find(weights),
            out=out,
            selection=Selection(
                segments=() if segments is None else parse_segments(segments),
                top=top,
                around_s=None if around is None else parse_time(around),
            ),
            faces=faces,
            stride_s=stride,
            seed=seed,
            device=device,
            overwrite=overwrite,
            command=recorded_command(context, private=faces != "shown"),
        )
        explanation = explain_recording(request, callbacks)
        callbacks.close_progress()
        if not quiet:
            for line in _summary(explanation):
                typer.echo(printable(line))
        minutes = (time.monotonic() - started) / 60
        callbacks.summary(f"{out / PAGE_FILE}: {explanation.chosen}; in {minutes:.1f} min", ExitCode.OK)
    return ExitCode.OK


def _face_style(blur_eyes: bool, landmarks_only: bool, no_frames: bool) -> FaceStyle:
    if blur_eyes + landmarks_only + no_frames > 1:
        raise SettingsError("--blur-eyes, --landmarks-only and --no-frames exclude each other", "give one of them")
    return "blurred" if blur_eyes else "landmarks" if landmarks_only else "none" if no_frames else "shown"


def _summary(explanation: Explanation) -> list[str]:
    from avpenet_cli.phrasing import clock

    lines = list(explanation.notices)
    for segment in explanation.segments:
        record, shares = segment.inputs.record, segment.shares
        parts = shares.reason or (
            f"lowest-scoring segments {shares.quiet:.2f}, audio {shares.audio:+.2f}, face {shares.face:+.2f}"
        )
        lines.append(f"segment {record.segment} at {clock(record.start_s)}: {record.score:.2f}; {parts}")
        lines += [
            f"  {item.name} of {item.modality} not passed: {item.text}"
            for item in segment.checks
            if item.passed is False
        ]
    lines += [f"segment {number} is not explained: {reason}" for number, reason in explanation.unexplained]
    return lines
