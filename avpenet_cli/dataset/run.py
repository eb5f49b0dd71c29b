"""Recordings, ratings and subjects -> a segment store: the entry point of `avpenet prepare`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from avpenet_cli.dataset.annotations import Annotations, read_annotations
from avpenet_cli.dataset.index import INDEX_FILE, StoreSummary, finish_store
from avpenet_cli.dataset.prepare import PreparedRecording, Preparer, PrepareSettings, prepare_all
from avpenet_cli.dataset.record import STORE_FILE, read_store_file, write_unfinished
from avpenet_cli.dataset.segment_files import SEGMENT_FILE_SUFFIX, SEGMENT_FILES_FOLDER
from avpenet_cli.dataset.shard_records import refuse_running_shards
from avpenet_cli.errors import Interrupted, OutputError
from avpenet_cli.inputs import Inputs, Recording, collect
from avpenet_cli.phrasing import plural
from avpenet_cli.runs.callbacks import NO_CALLBACKS, RunCallbacks
from avpenet_cli.runs.device import choose_device
from avpenet_cli.runs.guard import refuse_dropping, require_inputs
from avpenet_cli.runs.history import ReadFile, history_path, record_run, refuse_unusable_history
from avpenet_cli.runs.lock import output_lock
from avpenet_cli.runs.outputs import prepare_output_directory
from avpenet_cli.settings import describe_differences
from avpenet_cli.storage import storage_fault

_OWN_FILES = {
    *(INDEX_FILE, SEGMENT_FILES_FOLDER, STORE_FILE, f"{STORE_FILE}.lock", f"{STORE_FILE}.holder"),
    history_path(Path(STORE_FILE)).name,
}
_PHANTOM_FILE = "phantoms.json"
_PHANTOM_NOTICE = "PHANTOMS: made of synthetic patients; weights trained on it are a demonstration"
_NAMED = 10


@dataclass(frozen=True)
class PrepareRequest:
    """The request for one run.

    Attributes:
        recordings: files, folders, or patterns.
        ratings, subjects: the two tables; .csv, .parquet or .jsonl.
        out: the store, a folder to create or to resume.
        settings: how to make the store.
        recursive: include subfolders.
        prune: drop from the store what is no longer among the inputs or can no longer be read.
        command: that was given, for the history; without folders.
    """

    recordings: tuple[str, ...]
    ratings: Path
    subjects: Path
    out: Path
    settings: PrepareSettings = field(default_factory=PrepareSettings)
    recursive: bool = False
    prune: bool = False
    command: str = ""


@dataclass(frozen=True)
class PrepareResult:
    """A finished store.

    Attributes:
        recordings: all of them, in input order, failed ones included.
        summary: what the store contains.
        unused_files: segment files of recordings, or of earlier states of them, that are not among the inputs.
    """

    recordings: tuple[PreparedRecording, ...]
    summary: StoreSummary
    unused_files: int

    @property
    def failed(self) -> int:
        """How many recordings could not be prepared."""
        return sum(1 for recording in self.recordings if recording.failure is not None)


def prepare_dataset(request: PrepareRequest, callbacks: RunCallbacks = NO_CALLBACKS) -> PrepareResult:
    """Prepare recordings for training: faces, audio and ratings of every segment, split by subject.

    A run that was interrupted or killed resumes when the same request is given again. A recording that cannot be read
    is reported and left out.

    Raises:
        SettingsError: tables or settings that cannot be used; no input exists; the same file under two subjects.
        OutputError: `out` contains something else, or a store made with other settings, or one that would lose
            recordings without `prune`.
        OutputLockedError: another run writes to it, or a shard of it.
        EnvironmentUnavailableError: no such device, no space.
        Interrupted: the callbacks asked for it; what was done is kept.
    """
    settings, started = request.settings, datetime.now(UTC)
    inputs = collect(request.recordings, None, request.recursive, None)
    require_inputs(inputs)
    annotations = read_annotations(request.ratings, request.subjects, inputs.recordings, settings.split, settings.seed)
    device = choose_device(settings.device)
    files = request.out / SEGMENT_FILES_FOLDER
    make_store_folders(request.out, files)
    callbacks.set_total(len(inputs.recordings))
    with output_lock(request.out / STORE_FILE, callbacks) as lease:
        refuse_running_shards(request.out)
        refuse_unusable_history(request.out / STORE_FILE)
        before = read_store_file(request.out)
        start_store(request.out, before, settings.store_fingerprint_fields)
        remove_temporary_files(request.out, files)
        report_inputs(inputs, annotations, callbacks)
        callbacks.info(f"preparing {plural(len(inputs.recordings), 'recording')} on {device}")
        recordings = prepare_recordings(inputs.recordings, Preparer(settings, files, callbacks), callbacks)
        lease.check()
        finish = StoreFinish(request.out, before, recordings, annotations, settings, phantom_notice(inputs.recordings))
        run = StoreRun("prepare", request.command, started)
        return finish_checked(finish, run, callbacks, prune=request.prune)


@dataclass(frozen=True)
class StoreRun:
    """The run that finishes a store, for its history.

    Attributes:
        event: the command, such as `prepare`.
        command: that was given, without folders.
        started: UTC.
    """

    event: str
    command: str
    started: datetime


@dataclass(frozen=True)
class StoreFinish:
    """All that the index and `store.json` are made from.

    Attributes:
        out: the store.
        before: the content of its `store.json`, complete or not; None where there was none.
        recordings: all of them, in input order, failed ones included.
        annotations, settings: of the whole store.
        notice: what weights trained on it must state.
    """

    out: Path
    before: dict[str, Any] | None
    recordings: Sequence[PreparedRecording]
    annotations: Annotations
    settings: PrepareSettings
    notice: str


def finish_checked(finish: StoreFinish, run: StoreRun, callbacks: RunCallbacks, *, prune: bool) -> PrepareResult:
    """Write index, `store.json` and history, unless the store would lose recordings; report what a person should check.

    Args:
        prune: let it lose them.

    Raises:
        OutputError: it would.
        AvpenetError: as `finish_store`.
    """
    before = finish.before or {}
    if not prune:
        _check_nothing_is_dropped(finish.out, before, finish.recordings)
    summary = finish_store(
        finish.out,
        finish.recordings,
        finish.annotations,
        finish.settings,
        finish.notice,
        (before.get("splits") or {}).get("by_subject"),
    )
    tables = (("ratings", finish.annotations.ratings.file), ("subjects", finish.annotations.subjects.file))
    record_run(
        finish.out / STORE_FILE,
        run.event,
        written=[finish.out / STORE_FILE, finish.out / INDEX_FILE],
        read=[ReadFile(content, table.name, table.sha256) for content, table in tables],
        command=run.command,
        started=run.started,
    )
    unused = _unused_files(finish.out / SEGMENT_FILES_FOLDER, finish.recordings)
    result = PrepareResult(tuple(finish.recordings), summary, len(unused))
    _report_warnings(result, finish.settings.split, callbacks)
    return result


def report_inputs(inputs: Inputs, annotations: Annotations, callbacks: RunCallbacks) -> None:
    """What a person should know of the inputs and of the tables."""
    for note in (*inputs.notes, *annotations.notices):
        callbacks.warning(note)
    if left_aside := inputs.left_aside.describe():
        callbacks.info(f"left aside: {left_aside}")


def make_store_folders(out: Path, files: Path) -> None:
    """Create the folders of a store, or check that nothing else is in them; raises as `prepare_output_directory`."""
    prepare_output_directory(out, lambda name: name in _OWN_FILES)
    try:
        files.mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        raise storage_fault(out, error) from None


def start_store(out: Path, before: dict[str, object] | None, fields: dict[str, object]) -> None:
    """Check that the folder's store was made with these settings; start one if there is none.

    Args:
        before: the content of its `store.json`; None where there is none.
        fields: all flat settings that change the store.

    Raises:
        OutputError: other settings; names what differs.
    """
    if before is None:
        write_unfinished(out, fields)
        return
    stored = before.get("settings")
    differences = describe_differences(stored if isinstance(stored, dict) else {}, fields)
    if differences:
        raise OutputError(f"{out} was made with other settings: {differences}", "choose another --out")


def remove_temporary_files(*folders: Path) -> None:
    """Remove what killed runs left behind; the caller must have the lock."""
    try:
        for folder in folders:
            for path in folder.glob(".*.tmp"):
                path.unlink(missing_ok=True)
    except OSError as error:
        raise storage_fault(folder, error) from None


def prepare_recordings(
    recordings: Sequence[Recording], preparer: Preparer, callbacks: RunCallbacks
) -> list[PreparedRecording]:
    """Prepare all recordings; an interruption states how many are done."""
    prepared: list[PreparedRecording] = []
    try:
        for item in prepare_all(recordings, preparer):
            prepared.append(item)
            callbacks.item_done()
            _report_recording(item, callbacks)
    except Interrupted:
        raise Interrupted(
            f"interrupted after {len(prepared)} of {plural(len(recordings), 'recording')}",
            "run the same command again to resume",
        ) from None
    return prepared


def _report_recording(item: PreparedRecording, callbacks: RunCallbacks) -> None:
    name = item.recording.name
    if item.failure is not None or item.header is None:
        callbacks.error(f"{name}: failed: {item.failure}")
        if item.error is not None:
            callbacks.failure(item.error)
        return
    counts = plural(item.segments, "segment") + (f", {item.unscorable} unscorable" if item.unscorable else "")
    source = "from an earlier run" if item.reused else f"{item.header.nominal_s:.1f} s in {item.seconds_spent:.1f} s"
    callbacks.info(f"{name}: {counts}, {source}")
    if item.header.message:
        callbacks.warning(f"{name}: {item.header.message}")


def _check_nothing_is_dropped(out: Path, before: dict[str, Any], recordings: Sequence[PreparedRecording]) -> None:
    """Raise where the finished store holds recordings that are not in the new one, neither by name nor by content."""
    names = {item.recording.name: item.header is not None for item in recordings}
    digests = {item.header.sha256 for item in recordings if item.header is not None}
    lost = [
        entry["recording"]
        for entry in before.get("recordings") or []
        if entry.get("status") != "failed" and not names.get(entry["recording"]) and entry.get("sha256") not in digests
    ]
    not_named = [name for name in lost if name not in names]
    not_readable = [name for name in lost if name in names]
    refuse_dropping(out, not_named, not_readable, kept=", and what was prepared now is kept for the next run")


def phantom_notice(recordings: Iterable[Recording]) -> str:
    """Recordings beside a `phantoms.json` are phantoms, and weights trained on them state it."""
    folders = {recording.path.parent for recording in recordings}
    return _PHANTOM_NOTICE if any((folder / _PHANTOM_FILE).is_file() for folder in folders) else ""


def _unused_files(folder: Path, recordings: Iterable[PreparedRecording]) -> list[Path]:
    used = {recording.file.name for recording in recordings if recording.file is not None}
    return sorted(path for path in folder.glob(f"*{SEGMENT_FILE_SUFFIX}") if path.name not in used)


def _report_warnings(result: PrepareResult, shares: tuple[float, float, float], callbacks: RunCallbacks) -> None:
    """What a person should check before training."""
    summary = result.summary
    unmatched = summary.unmatched_ratings
    for row in unmatched.head(_NAMED).itertuples():
        callbacks.warning(f"rating in line {row.line} ({row.recording} at {row.start_s:g} s): {row.why}")
    if len(unmatched) > _NAMED:
        more = plural(len(unmatched) - _NAMED, "more rating")
        callbacks.warning(f"{more} without a segment; see {STORE_FILE}")
    if summary.unrated_recordings:
        unrated = plural(len(summary.unrated_recordings), "recording")
        callbacks.warning(f"no rating for {unrated}, such as {summary.unrated_recordings[0]}")
    for (split, count), share in zip(summary.subjects.items(), shares, strict=True):
        if share and not count:
            callbacks.warning(f"no subject with a rated segment in {split}")
    if summary.moved:
        callbacks.warning(
            f"another split than before for {plural(len(summary.moved), 'subject')}, such as {summary.moved[0]}: "
            "weights trained on this store earlier must not be tested on it now"
        )
    if result.unused_files:
        callbacks.warning(
            f"{plural(result.unused_files, 'segment file')} of recordings that are not among the inputs now, unused; "
            f"those that {STORE_FILE} does not name may be removed"
        )
