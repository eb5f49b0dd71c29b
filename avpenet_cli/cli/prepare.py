"""`avpenet prepare`: turn recordings and ratings into a segment store to train on."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from avpenet_cli.cli.command_line import recorded_command
from avpenet_cli.cli.options import Debug, Quiet, Recursive
from avpenet_cli.cli.reporter import run_callbacks
from avpenet_cli.errors import ExitCode, SettingsError
from avpenet_cli.phrasing import plural, taken_time
from avpenet_cli.runs.memory import loading_libraries
from avpenet_cli.shards.shard import Shard

if TYPE_CHECKING:
    from avpenet_cli.dataset.prepare import PreparedRecording
    from avpenet_cli.dataset.run import PrepareResult


def prepare(
    context: typer.Context,
    paths: Annotated[
        list[str],
        typer.Argument(metavar="RECORDINGS...", help="Recordings, folders, or quoted patterns.", show_default=False),
    ],
    ratings: Annotated[
        Path,
        typer.Option(metavar="RATINGS", help="recording, start_s,end_s or time_s, value, scale, rater; as for report."),
    ],
    subjects: Annotated[
        Path, typer.Option(metavar="SUBJECTS", help="recording, subject; age_group and site to stratify by.")
    ],
    out: Annotated[Path, typer.Option(metavar="STORE", help="The folder to create, or to resume.")],
    recursive: Recursive = False,
    stride: Annotated[float | None, typer.Option(help="Seconds between segment starts. [default: 3]")] = None,
    hold_s: Annotated[
        float | None, typer.Option(help="Seconds for which a rating given as time_s applies. [default: 10]")
    ] = None,
    jpeg_quality: Annotated[
        int | None, typer.Option(help="JPEG quality of the stored faces, 50 to 100. [default: 95]")
    ] = None,
    split: Annotated[
        str | None, typer.Option(help="Shares of subjects: train, validation, test. [default: 0.7,0.15,0.15]")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of the splits. [default: 42]")] = None,
    device: Annotated[str | None, typer.Option(help="auto, cpu, cuda or cuda:N. [default: auto]")] = None,
    config: Annotated[
        Path | None, typer.Option(metavar="FILE.toml", help="The other settings: audio, face, quality, decoding.")
    ] = None,
    shard: Annotated[
        str | None,
        typer.Option(
            metavar="K/N",
            help="Prepare only part K of N of the recordings; when all are done, avpenet merge STORE finishes it.",
        ),
    ] = None,
    prune: Annotated[
        bool, typer.Option("--prune", help="Drop from STORE what is no longer among the inputs or cannot be read.")
    ] = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> int:
    """Prepare recordings for training: faces, audio and ratings of every segment, split by subject.

    An interrupted run resumes when the same command is given again.
    """
    options = {
        "stride_s": stride,
        "hold_s": hold_s,
        "jpeg_quality": jpeg_quality,
        "split": None if split is None else _shares(split),
        "seed": seed,
        "device": device,
    }
    started = time.monotonic()
    with run_callbacks(quiet, debug=debug) as callbacks:
        with loading_libraries():
            from avpenet_cli.dataset.prepare import PrepareSettings
            from avpenet_cli.dataset.run import PrepareRequest, prepare_dataset
            from avpenet_cli.dataset.sharded import prepare_shard
            from avpenet_cli.settings import read_settings

        part = None if shard is None else Shard.parse(shard)
        settings = read_settings(PrepareSettings, config, options)
        command = recorded_command(context, private=False)
        request = PrepareRequest(tuple(paths), ratings, subjects, out, settings, recursive, prune, command)
        if part is None:
            result = prepare_dataset(request, callbacks)
            line, failed = last_line(result), result.failed
        else:
            recordings = prepare_shard(request, part, callbacks)
            failed = sum(1 for recording in recordings if recording.failure is not None)
            line = _shard_line(part, recordings, failed)
        code = ExitCode.SOME_FAILED if failed else ExitCode.OK
        callbacks.summary(f"{line}; in {taken_time(time.monotonic() - started)}", code)
    return code


def _shares(text: str) -> list[float]:
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        raise SettingsError(f"--split {text}: not numbers", "give three, such as 0.7,0.15,0.15") from None


def last_line(result: PrepareResult) -> str:
    """What a finished store holds."""
    summary = result.summary
    rated = ", ".join(f"{split} {count} of {summary.subjects[split]}" for split, count in summary.rated.items())
    return (
        f"{plural(len(result.recordings), 'recording')}, {result.failed} failed, "
        f"{plural(sum(summary.segments.values()), 'segment')}; rated segments of subjects: {rated}"
    )


def _shard_line(shard: Shard, recordings: Sequence[PreparedRecording], failed: int) -> str:
    segments = sum(recording.segments for recording in recordings)
    return (
        f"shard {shard}: {plural(len(recordings), 'recording')}, {failed} failed, {plural(segments, 'segment')}; "
        "avpenet merge finishes the store when all shards are prepared"
    )
