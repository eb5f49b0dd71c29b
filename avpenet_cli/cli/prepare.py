"""`avpenet prepare`: recordings and ratings in, a segment store to train on out."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from avpenet_cli.cli.reporter import Reporter
from avpenet_cli.cli.signals import stop_on_signals
from avpenet_cli.errors import ExitCode, Interrupted, OutputError, SettingsError

if TYPE_CHECKING:
    from avpenet_cli.dataset.index import Summary, Truth
    from avpenet_cli.dataset.prepare import Prepared, PrepareSettings
    from avpenet_cli.inputs import Inputs

_NAMED = 10


def prepare(
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
    out: Annotated[Path, typer.Option(metavar="STORE", help="The folder to make, or to go on with.")],
    recursive: Annotated[bool, typer.Option("--recursive", help="Look into folders of folders.")] = False,
    stride: Annotated[float | None, typer.Option(help="Seconds between segment starts. [default: 3]")] = None,
    hold_s: Annotated[
        float | None, typer.Option(help="Seconds for which a rating given as time_s holds. [default: 10]")
    ] = None,
    jpeg_quality: Annotated[int | None, typer.Option(help="Of the stored faces, 50 to 100. [default: 95]")] = None,
    split: Annotated[
        str | None, typer.Option(help="Shares of subjects: train, validation, test. [default: 0.7,0.15,0.15]")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Of the splits. [default: 42]")] = None,
    device: Annotated[str | None, typer.Option(help="auto, cpu, cuda or cuda:N. [default: auto]")] = None,
    config: Annotated[
        Path | None, typer.Option(metavar="FILE.toml", help="The rest: audio, face, quality, decoding.")
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Only warnings, errors and the last line.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks.")] = False,
) -> int:
    """Prepare recordings for training: faces, sound and ratings of every segment, divided by subject.

    A run that was stopped or killed goes on when the same command is given again.
    """
    from avpenet_cli.inputs import collect

    given = {
        "stride_s": stride,
        "hold_s": hold_s,
        "jpeg_quality": jpeg_quality,
        "split": None if split is None else _shares(split),
        "seed": seed,
        "device": device,
    }
    inputs = collect(paths, None, recursive, None)
    begun = time.monotonic()
    with stop_on_signals() as stop:
        settings = _settings(config, given)
        from avpenet_cli.dataset.index import read_truth

        truth = read_truth(ratings, subjects, inputs.recordings, settings)
        with Reporter("text", None, quiet, False, len(inputs.recordings)) as reporter:
            if inputs.repeated:
                reporter.info(f"{inputs.repeated} inputs were named more than once and are prepared once")
            prepared, summary = _run(out, inputs, truth, settings, reporter, stop, debug)
    failed = sum(1 for one in prepared if one.failure is not None)
    typer.echo(_last_line(prepared, failed, summary, time.monotonic() - begun), err=True)
    return ExitCode.SOME_FAILED if failed else ExitCode.OK


def _shares(text: str) -> list[float]:
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        raise SettingsError(f"--split {text}: not numbers", "give three, such as 0.7,0.15,0.15") from None


def _settings(config: Path | None, given: dict[str, Any]) -> PrepareSettings:
    """The settings file, with what was given on the command line on top."""
    from avpenet_cli.dataset.prepare import PrepareSettings
    from avpenet_cli.settings import from_dict, read_config

    plain = read_config(config) if config else {}
    from_dict(PrepareSettings, plain, str(config))
    options = {name: value for name, value in given.items() if value is not None}
    return from_dict(PrepareSettings, plain | options, "command line")


def _run(
    out: Path,
    inputs: Inputs,
    truth: Truth,
    settings: PrepareSettings,
    reporter: Reporter,
    stop: Callable[[], bool],
    debug: bool,
) -> tuple[list[Prepared], Summary]:
    from avpenet_cli.dataset.index import begin, finish, leftovers, unused
    from avpenet_cli.dataset.prepare import Preparer, prepare_all
    from avpenet_cli.dataset.store import SHARD_FOLDER, STORE_FILE, read_about
    from avpenet_cli.runs.device import choose_device
    from avpenet_cli.runs.lock import output_lock
    from avpenet_cli.storage import storage_fault

    choose_device(settings.device)
    about = read_about(out)
    shards = out / SHARD_FOLDER
    _make_folders(out, shards)
    with output_lock(out / STORE_FILE):
        about = read_about(out)
        begin(out, about, settings)
        try:
            for path in [*leftovers(out), *leftovers(shards)]:
                path.unlink(missing_ok=True)
        except OSError as error:
            raise storage_fault(out, error) from None
        reporter.info(f"preparing {len(inputs.recordings)} recordings on {choose_device(settings.device)}")
        preparer = Preparer(settings, shards, reporter)
        prepared = list(_said(prepare_all(inputs.recordings, preparer), inputs, reporter, stop, debug))
        summary = finish(out, about, prepared, truth, settings, _notice(inputs))
        _warn(summary, settings.split, len(unused(shards, prepared)), reporter)
    return prepared, summary


def _notice(inputs: Inputs) -> str:
    """Recordings that lie beside a phantoms' account are phantoms, and weights trained on them say so."""
    folders = {recording.path.parent for recording in inputs.recordings}
    for note in sorted(folder / "phantoms.json" for folder in folders):
        if note.is_file():
            return "PHANTOMS: made of synthetic patients; weights trained on it are a demonstration"
    return ""


def _make_folders(out: Path, shards: Path) -> None:
    from avpenet_cli.dataset.store import INDEX_FILE, SHARD_FOLDER, STORE_FILE
    from avpenet_cli.storage import storage_fault

    try:
        known = {INDEX_FILE, SHARD_FOLDER, STORE_FILE, f"{STORE_FILE}.lock", f"{STORE_FILE}.holder"}
        if out.is_dir():
            foreign = sorted(path.name for path in out.iterdir() if path.name not in known and path.suffix != ".tmp")
            if foreign:
                raise OutputError(f"{out} holds other things, such as {foreign[0]}", "choose an empty or new folder")
        out.mkdir(mode=0o700, exist_ok=True)
        shards.mkdir(mode=0o700, exist_ok=True)
    except FileExistsError:
        raise OutputError(f"{out} is a file", "a store is a folder: choose another --out") from None
    except OSError as error:
        raise storage_fault(out, error) from None


def _said(
    outcomes: Iterator[Prepared], inputs: Inputs, reporter: Reporter, stop: Callable[[], bool], debug: bool
) -> Iterator[Prepared]:
    """The recordings as they are dealt with, each with its line; an interruption says how far it got."""
    total, done = len(inputs.recordings), 0
    try:
        while done < total:
            if stop():
                raise Interrupted("")
            one = next(outcomes)
            done += 1
            reporter.item_done()
            if one.error is not None and debug:
                reporter.trace(one.error, True)
            _say(one, reporter)
            yield one
    except Interrupted:
        raise Interrupted(
            f"interrupted after {done} of {total} recordings", "run the same command again to go on"
        ) from None


def _say(one: Prepared, reporter: Reporter) -> None:
    name = one.recording.name
    if one.failure is not None or one.header is None:
        reporter.warning(f"{name}: failed: {one.failure}")
        return
    counts = f"{one.segments} segments" + (f", {one.unscorable} unscorable" if one.unscorable else "")
    seconds = one.header.nominal_s
    how = "known from an earlier run" if one.reused else f"{seconds:.1f} s in {one.seconds_spent:.1f} s"
    reporter.info(f"{name}: {counts}, {how}")
    if one.header.message:
        reporter.warning(f"{name}: {one.header.message}")


def _warn(summary: Summary, shares: tuple[float, float, float], unused: int, reporter: Reporter) -> None:
    """What a person should look at before training."""
    lost = summary.unmatched_ratings
    for one in lost.head(_NAMED).itertuples():
        reporter.warning(f"rating in line {one.line} ({one.recording} at {one.start_s:g} s): {one.why}")
    if len(lost) > _NAMED:
        reporter.warning(f"and {len(lost) - _NAMED} more ratings that match no segment; store.json lists them")
    if summary.unrated_recordings:
        reporter.warning(
            f"{len(summary.unrated_recordings)} recordings have no rating, such as {summary.unrated_recordings[0]}"
        )
    for (split, count), share in zip(summary.subjects.items(), shares, strict=True):
        if share and not count:
            reporter.warning(f"nobody with a rated segment is in {split}")
    if summary.moved:
        reporter.warning(
            f"{len(summary.moved)} subjects are in another split than before, such as {summary.moved[0]}: "
            "weights trained on this store earlier must not be tested on it now"
        )
    if unused:
        reporter.warning(
            f"{unused} shards of recordings that are not among the inputs now lie in the store, unused; "
            "those that store.json does not name may be removed"
        )


def _last_line(prepared: list[Prepared], failed: int, summary: Summary, taken_s: float) -> str:
    rated = ", ".join(f"{split} {count} of {summary.subjects[split]}" for split, count in summary.rated.items())
    return (
        f"avpenet: {len(prepared)} recordings, {failed} failed, {sum(summary.segments.values())} segments; "
        f"rated segments of subjects: {rated}; in {taken_s / 60:.1f} min"
    )
