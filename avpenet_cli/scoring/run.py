"""Score many recordings into one table: finished recordings are kept, failures are recorded, and the run continues."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path

from avpenet_cli.errors import AvpenetError, Interrupted, OutputError, RecordingError
from avpenet_cli.inputs import Inputs, Recording
from avpenet_cli.media.probe import check_file
from avpenet_cli.phrasing import plural
from avpenet_cli.records import RecordingOutcome
from avpenet_cli.runs.callbacks import NO_CALLBACKS, RunCallbacks
from avpenet_cli.runs.device import choose_device, device_name
from avpenet_cli.runs.guard import refuse_dropping, require_inputs, unreadable
from avpenet_cli.runs.journal import Journal, journal_path
from avpenet_cli.runs.lock import output_lock
from avpenet_cli.runs.manifest import (
    Totals,
    manifest_path,
    read_table_name,
)
from avpenet_cli.scoring.network import Network
from avpenet_cli.scoring.recorded_at import CONTAINER
from avpenet_cli.scoring.results import Results, RunFacts, partial_path, refuse_replacing_others, tables_of
from avpenet_cli.scoring.scorer import Scorer, failed_outcome
from avpenet_cli.settings import RunSettings, result_settings
from avpenet_cli.storage import storage_fault, temporary_prefix
from avpenet_cli.tables import check_format
from avpenet_cli.version import __version__
from avpenet_cli.weights import WeightsEntry

_DIGEST_BLOCK_BYTES = 1 << 20


@dataclass(frozen=True)
class ScoreRequest:
    """The request for one run.

    Attributes:
        inputs: the recordings, from `inputs.collect`.
        out: the table to write; .csv, .parquet or .jsonl.
        weights: from `weights.find` or `weights.default_entry`.
        settings: how to score.
        pseudonymised: the recordings' names are pseudonyms, so no other name may appear in any output.
        overwrite: start over, whatever `out` and its journal contain.
        prune: drop from `out` what is no longer among the inputs or can no longer be read.
        recorded_at: where the recordings' times come from; see `recorded_at.start_times`.
        subjects: a table of recordings and subjects, for a table of subjects.
        csv_bom: begin CSV files with a byte order mark, by which Excel recognises UTF-8.
        digests: read every scored file once more, for its SHA-256 in the manifest.
        command: the command line, for the manifest; without paths.
    """

    inputs: Inputs
    out: Path
    weights: WeightsEntry
    settings: RunSettings
    pseudonymised: bool = False
    overwrite: bool = False
    prune: bool = False
    recorded_at: str | None = None
    subjects: Path | None = None
    csv_bom: bool = False
    digests: bool = True
    command: str = ""


@dataclass(frozen=True)
class ScoredRecording:
    """One recording, scored or failed.

    Attributes:
        reused: whether an earlier run scored it.
        error: what failed, with its traceback; None otherwise.
    """

    recording: Recording
    outcome: RecordingOutcome
    reused: bool = False
    error: Exception | None = None


def score_recordings(request: ScoreRequest, callbacks: RunCallbacks = NO_CALLBACKS) -> Iterator[ScoredRecording]:
    """Score recordings into a table with a manifest beside it.

    Each recording is in the journal before it is yielded, so a run that is stopped or killed resumes when the same
    request is made again. Table and manifest are written when the last recording has been yielded: exhaust the
    iterator.

    Yields:
        Every recording, in the order of the inputs.

    Raises:
        SettingsError: the output has an unknown suffix, no input exists, `recorded_at` cannot be used, or the settings
            require a modality that the weights do not take.
        OutputLockedError: another run is writing this output.
        OutputError: the output belongs to other weights or settings, would lose recordings without `prune`, would
            replace files beside it that are not its own, or cannot be written.
        WeightsError: the weights were altered or do not fit this version.
        EnvironmentUnavailableError: the device, ffmpeg or disk space is missing.
        Interrupted: the callbacks requested it; what was yielded before is kept.
    """
    check_format(request.out)
    require_inputs(request.inputs, pseudonymised=request.pseudonymised)
    started = datetime.now().astimezone()
    results = Results(request)
    choose_device(request.settings.device)
    with output_lock(request.out):
        _check_manifest_owner(request.out)
        refuse_replacing_others(request.out, with_subjects=request.subjects is not None)
        # Weights and settings are verified here, before anything of an earlier run is removed.
        network = Network(request.weights, request.settings, callbacks)
        with_times = not request.pseudonymised or results.starts.source == CONTAINER
        scorer = Scorer(network, request.settings, callbacks, with_times=with_times)
        _remove_leftovers(request.out, journal_too=request.overwrite)
        fingerprint = {
            "weights": f"{request.weights.name}@{request.weights.digest}",
            "recordings' names": "pseudonyms" if request.pseudonymised else "plain",
            **result_settings(request.settings),
        }
        journal = Journal(request.out, fingerprint, replacing=request.overwrite)
        try:
            if not request.prune:
                _check_nothing_is_dropped(request, journal)
            _begin(request, journal, started)
            _announce(request, network, callbacks)
            totals, seen, reused = Totals(), set[str](), set[str]()
            try:
                recordings = request.inputs.recordings
                for scored in iter_scored(recordings, scorer, journal, callbacks, digests=request.digests):
                    totals.add(scored.outcome)
                    seen.add(scored.recording.key)
                    if scored.reused:
                        reused.add(scored.recording.key)
                    yield scored
            except Interrupted as stop:
                finished = _write_partial(results, journal, seen)
                remedy = "run it again without --overwrite to resume" if request.overwrite else stop.remedy
                raise Interrupted(f"{stop.message}{f'; {finished}' if finished else ''}", remedy) from None
            if not request.prune and (names := _held_but_failed(request, journal)):
                refuse_dropping(request.out, [], names, kept=f", and {_write_partial(results, journal, seen)}")
            facts = RunFacts(device_name(network.device), totals, reused, started)
            journal.end_run(results.write(journal, facts, callbacks))
            if request.prune and (dropped := journal.prune(request.inputs.recordings)):
                callbacks.info(f"{plural(dropped, 'recording')} dropped from {request.out.name} (--prune)")
        finally:
            journal.close()


def iter_scored(
    recordings: Sequence[Recording],
    scorer: Scorer,
    journal: Journal,
    callbacks: RunCallbacks = NO_CALLBACKS,
    *,
    digests: bool = False,
) -> Generator[ScoredRecording, None, None]:
    """Score every recording that is not in the journal yet, in order; each is stored before it is yielded.

    Args:
        digests: store the digests of the scored files, too.

    Raises:
        Interrupted: on request; says how many recordings were finished.
        AvpenetError: the journal cannot be written.
    """
    for position, recording in enumerate(recordings):
        try:
            callbacks.check_stop()
            callbacks.item_started(recording.name)
            scored = _score_one(recording, scorer, journal, callbacks.should_stop if digests else None)
        except Interrupted:
            raise Interrupted(
                f"interrupted after {position} of {plural(len(recordings), 'recording')}",
                "run the same command again to resume",
            ) from None
        if scored.error is not None:
            callbacks.failure(scored.error)
        callbacks.item_done()
        yield scored


def _score_one(
    recording: Recording, scorer: Scorer, journal: Journal, stop_digest: Callable[[], bool] | None
) -> ScoredRecording:
    file_state: os.stat_result | None = None
    sha256 = ""
    try:
        if recording.problem:
            raise RecordingError("no_recordings", recording.problem)
        file_state = check_file(recording.path)
        known = journal.finished(recording, file_state)
        if known is not None:
            return ScoredRecording(recording, known, reused=True)
        scored = ScoredRecording(recording, scorer.score(recording.path))
        if stop_digest is not None:
            sha256 = _digest(recording.path, file_state, stop_digest)
    except RecordingError as error:
        scored = ScoredRecording(recording, failed_outcome(error), error=error)
    except AvpenetError:
        raise
    except Exception as error:  # one recording must not end a night's run; --debug shows the traceback
        failure = RecordingError.from_unexpected(error, "scored")
        scored = ScoredRecording(recording, failed_outcome(failure), error=error)
    journal.note(recording, file_state, scored.outcome, sha256)
    return scored


def _digest(path: Path, file_state: os.stat_result, should_stop: Callable[[], bool]) -> str:
    """SHA-256 of a file that was read a moment ago, so that most of it is still in memory.

    Returns:
        Hexadecimal; empty where the file has changed since `file_state`, can no longer be read, or the run should end.
    """
    digest = hashlib.sha256()
    try:
        with path.open("rb", buffering=0) as file:
            while block := file.read(_DIGEST_BLOCK_BYTES):
                digest.update(block)
                if should_stop():
                    return ""
            now = os.fstat(file.fileno())
    except OSError:
        return ""
    unchanged = (now.st_size, now.st_mtime_ns) == (file_state.st_size, file_state.st_mtime_ns)
    return digest.hexdigest() if unchanged else ""


def _begin(request: ScoreRequest, journal: Journal, started: datetime) -> None:
    """Note in the journal what this run is asked to do, for `avpenet status`."""
    inputs = request.inputs
    facts = {
        "started": started.isoformat(timespec="seconds"),
        "version": __version__,
        "command": request.command,
        "left_aside": asdict(inputs.left_aside),
        "pseudonymised": request.pseudonymised,
    }
    journal.begin_run(inputs.recordings, facts, with_paths=not request.pseudonymised)


def _write_partial(results: Results, journal: Journal, seen: set[str]) -> str:
    """Write what is finished as tables; the journal has it in any case.

    Returns:
        Where it is, as a clause; empty where nothing is finished.
    """
    try:
        path = results.write_partial(journal, seen)
    except AvpenetError as error:
        return error.message
    return f"what is finished is in {path.name}" if path else ""


def _check_manifest_owner(out: Path) -> None:
    """Raise where `scores.csv` and `scores.parquet` would share a manifest, which can certify only one of them."""
    path = manifest_path(out)
    owner = read_table_name(path)
    if owner is not None and owner != out.name:
        raise OutputError(f"{path} belongs to {owner}", "choose an --out whose name differs in more than its suffix")


def _remove_leftovers(out: Path, *, journal_too: bool) -> None:
    """Remove the temporary files of killed runs; an old table and manifest stay until new ones replace them."""
    written = (manifest_path(out), *tables_of(out), *tables_of(partial_path(out)))
    prefixes = tuple(map(temporary_prefix, written))
    try:
        leftovers = [p for p in out.parent.iterdir() if p.name.startswith(prefixes) and p.suffix == ".tmp"]
        if journal_too:
            leftovers += [journal_path(out), *tables_of(partial_path(out))]
        for path in leftovers:
            path.unlink(missing_ok=True)
    except OSError as error:
        raise storage_fault(out, error) from None


def _check_nothing_is_dropped(request: ScoreRequest, journal: Journal) -> None:
    """Raise where the output holds recordings that are not among the inputs, or that can no longer be read."""
    held = journal.held()
    missing = unreadable([recording for recording in request.inputs.recordings if recording.key in held])
    others = held - {recording.key for recording in request.inputs.recordings}
    names = journal.names() if others else {}
    refuse_dropping(
        request.out, [names.get(key, "") for key in sorted(others)], [recording.name for recording in missing]
    )


def _held_but_failed(request: ScoreRequest, journal: Journal) -> list[str]:
    """Names of recordings that the output holds and that failed in this run, as when a share goes away."""
    failed = journal.held_but_failed()
    return [recording.name for recording in request.inputs.recordings if recording.key in failed]


def _announce(request: ScoreRequest, network: Network, callbacks: RunCallbacks) -> None:
    inputs = request.inputs
    callbacks.set_total(len(inputs.recordings))
    for note in inputs.notes:
        callbacks.warning(note)
    if left_aside := inputs.left_aside.describe():
        callbacks.info(f"left aside: {left_aside}")
    number = len(inputs.recordings)
    callbacks.info(
        f"scoring {plural(number, 'recording')} on {device_name(network.device)}",
        event="start",
        recordings=number,
        device=str(network.device),
    )
