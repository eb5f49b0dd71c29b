"""Score many recordings into one table: finished recordings are kept, failures are recorded, and the run continues."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import Any

from avpenet_cli.errors import AvpenetError, EnvironmentUnavailableError, Interrupted, OutputError, RecordingError
from avpenet_cli.inputs import Recording
from avpenet_cli.media.confinement import unconfined_warning
from avpenet_cli.media.probe import check_file
from avpenet_cli.media.tools import tool
from avpenet_cli.phrasing import plural
from avpenet_cli.records import RecordingOutcome
from avpenet_cli.runs.callbacks import NO_CALLBACKS, RunCallbacks
from avpenet_cli.runs.device import choose_device, device_name, precision_warning, resolve_settings
from avpenet_cli.runs.guard import refuse_dropping, require_inputs, unreadable
from avpenet_cli.runs.history import Outcome, refuse_unusable_history
from avpenet_cli.runs.journal import Journal, count_unfinished
from avpenet_cli.runs.lock import Lease, output_lock
from avpenet_cli.scoring.embeddings import (
    EmbeddingStore,
    check_embeddings_path,
    count_without_embeddings,
    opened_store,
)
from avpenet_cli.scoring.lanes.lane import InProcessLane, Job, Lanes, unexpected_outcome
from avpenet_cli.scoring.lanes.threads import ThreadLanes
from avpenet_cli.scoring.lanes.worker_count import plan_workers
from avpenet_cli.scoring.lanes.worker_process import WorkerSetup
from avpenet_cli.scoring.lanes.workers import WorkerLanes
from avpenet_cli.scoring.network import Network
from avpenet_cli.scoring.output_files import (
    check_manifest_owner,
    refuse_replacing_others,
    remove_leftovers,
)
from avpenet_cli.scoring.recorded_at import CONTAINER
from avpenet_cli.scoring.request import ScoreRequest
from avpenet_cli.scoring.results import Results, RunFacts
from avpenet_cli.scoring.scorer import Scorer, failed_outcome
from avpenet_cli.scoring.shared_network import can_be_shared
from avpenet_cli.settings import result_settings
from avpenet_cli.tables import check_format
from avpenet_cli.version import __version__

_MAX_AHEAD = 1000
"""Finished recordings that may wait in memory for a long one before them."""


@dataclass(frozen=True)
class ScoredRecording:
    """One recording, scored or failed.

    Attributes:
        reused: whether an earlier run scored it.
        error: what failed, with its traceback; None otherwise.
        spent_s: seconds that this run spent on it; stages overlap, so that theirs may add up to more.
    """

    recording: Recording
    outcome: RecordingOutcome
    reused: bool = False
    error: Exception | None = None
    spent_s: float = 0.0


def score_recordings(
    request: ScoreRequest, callbacks: RunCallbacks = NO_CALLBACKS, open_lanes: Callable[..., Lanes] | None = None
) -> Iterator[ScoredRecording]:
    """Score recordings into a table with a manifest beside it.

    Each recording is in the journal before it is yielded, so a run that is stopped or killed resumes when the same
    request is made again. Table and manifest are written when the last recording has been yielded: exhaust the
    iterator.

    Args:
        open_lanes: called with the request, the callbacks and `with_times`, for lanes elsewhere than on this machine.

    Yields:
        Every recording, in the order of the inputs.

    Raises:
        SettingsError: the output has an unknown suffix, no input exists, `recorded_at` cannot be used, the settings
            require a modality that the weights do not take, or the weights give no embeddings.
        OutputLockedError: another run is writing this output.
        OutputError: the output belongs to other weights or settings, would lose recordings without `prune`, would
            replace files beside it that are not its own, or cannot be written.
        WeightsError: the weights were altered or do not fit this version.
        EnvironmentUnavailableError: the device, ffmpeg or disk space is missing.
        Interrupted: the callbacks requested it; what was yielded before is kept.
    """
    check_format(request.out)
    require_inputs(request.collection, pseudonymised=request.pseudonymised)
    started = datetime.now().astimezone()
    request = replace(request, settings=resolve_settings(request.settings))
    if request.embeddings is not None:
        check_embeddings_path(request.embeddings, request.out, replacing=request.overwrite)
    results = Results(request)
    with output_lock(request.out, callbacks) as lease:
        check_manifest_owner(request.out)
        refuse_replacing_others(request.out, with_subjects=request.subjects is not None)
        refuse_unusable_history(request.out)
        with_times = not request.pseudonymised or results.starts.source == CONTAINER
        # Weights and settings are verified here, before anything of an earlier run is removed.
        with contextlib.closing((open_lanes or _open_lanes)(request, callbacks, with_times=with_times)) as lanes:
            remove_leftovers(request.out, request.embeddings, journal_too=request.overwrite)
            journal = Journal(request.out, fingerprint(request), replacing=request.overwrite)
            with (
                contextlib.closing(journal),
                opened_store(request.embeddings, request.out, fingerprint(request)) as store,
            ):
                yield from _score_into(journal, store, lanes, results, request, callbacks, started, lease)


def _open_lanes(request: ScoreRequest, callbacks: RunCallbacks, *, with_times: bool) -> Lanes:
    """The lanes that the settings ask for, with the networks loaded."""
    settings, recordings = request.settings, request.inputs.recordings
    device = choose_device(settings.device)
    to_score = 1
    if settings.workers != 1:
        to_score = len(recordings) if request.overwrite else count_unfinished(request.out, recordings)
        if request.embeddings is not None:
            to_score = max(to_score, count_without_embeddings(request.embeddings, recordings))
    plan = plan_workers(settings.workers, to_score, device)
    wanted = request.embeddings is not None
    if can_be_shared(request.weights, settings):
        return ThreadLanes(
            request.weights, settings, plan.workers, callbacks, with_times=with_times, with_embeddings=wanted
        )
    if device.type == "cuda" and plan.workers > 1:
        network_name = request.weights.description.network
        callbacks.warning(f"weights of the network {network_name} score one recording at a time on a GPU")
    elif plan.workers > 1:
        callbacks.detail(f"loading {plural(plan.workers, 'worker')} with {plural(plan.threads, 'thread')} each")
        setup = WorkerSetup(request.weights, settings, with_times, plan.threads, with_embeddings=wanted)
        return WorkerLanes(setup, plan.workers, callbacks)
    network = Network(request.weights, settings, callbacks, with_embeddings=wanted)
    return InProcessLane(Scorer(network, settings, callbacks, with_times=with_times), callbacks)


def fingerprint(request: ScoreRequest) -> dict[str, Any]:
    """What two runs must have in common to share a journal; of settings whose precision is that of their device."""
    return {
        "weights": f"{request.weights.name}@{request.weights.digest}",
        "recordings' names": "pseudonyms" if request.pseudonymised else "plain",
        **result_settings(request.settings),
    }


def _score_into(
    journal: Journal,
    store: EmbeddingStore | None,
    lanes: Lanes,
    results: Results,
    request: ScoreRequest,
    callbacks: RunCallbacks,
    started: datetime,
    lease: Lease,
) -> Iterator[ScoredRecording]:
    """Score into the journal, then write the tables and the manifest; raises as `score_recordings`."""
    if not request.prune:
        _check_nothing_is_dropped(request, journal)
    _begin(request, journal, started)
    _announce(request, lanes, callbacks)
    if store is not None and (again := len(journal.held() - store.held())):
        callbacks.info(f"{plural(again, 'recording')} without embeddings: scored again")
    seen, reused = set[str](), set[str]()
    try:
        recordings = request.inputs.recordings
        for scored in iter_scored(
            recordings, lanes, journal, callbacks, digests=request.digests, store=store, check=lease.check
        ):
            seen.add(scored.recording.key)
            if scored.reused:
                reused.add(scored.recording.key)
            yield scored
    except Interrupted as stop:
        lease.check()
        finished = _write_partial(results, journal, seen, started, "interrupted")
        remedy = "run it again without --overwrite to resume" if request.overwrite else stop.remedy
        raise Interrupted(f"{stop.message}{f'; {finished}' if finished else ''}", remedy) from None
    lease.check()
    if not request.prune and (names := _held_but_failed(request, journal)):
        finished = _write_partial(results, journal, seen, started, "failed")
        refuse_dropping(request.out, [], names, kept=f", and {finished}")
    facts = RunFacts(device_name(lanes.device), reused, started)
    journal.end_run(results.write(journal, facts, callbacks, store))
    if request.prune:
        if store is not None:
            store.prune(request.inputs.recordings)
        if dropped := journal.prune(request.inputs.recordings):
            callbacks.info(f"{plural(dropped, 'recording')} dropped from {request.out.name} (--prune)")


def iter_scored(
    recordings: Sequence[Recording],
    lanes: Lanes,
    journal: Journal,
    callbacks: RunCallbacks = NO_CALLBACKS,
    *,
    digests: bool = False,
    store: EmbeddingStore | None = None,
    check: Callable[[], None] = lambda: None,
) -> Generator[ScoredRecording, None, None]:
    """Score every recording that is not in the journal yet; each is stored as soon as it is finished.

    Args:
        digests: store the digests of the scored files, too.
        store: where embeddings go; a recording without its embeddings in there is scored again.
        check: raises where this run may no longer write to the journal.

    Yields:
        Every recording in order. Where a run ends early, recordings that were finished before others in front of them
        come last.

    Raises:
        Interrupted: on request; says how many recordings were finished.
        AvpenetError: the journal cannot be written, or the run cannot go on.
    """
    waiting: dict[int, ScoredRecording] = {}
    yielded = begun = 0
    try:
        while yielded < len(recordings):
            if yielded in waiting:
                yield _reported(waiting.pop(yielded), callbacks)
                yielded += 1
            elif begun < len(recordings) and len(waiting) < _MAX_AHEAD and lanes.has_room():
                callbacks.check_stop()
                known = _known_or_submitted(begun, recordings[begun], lanes, journal, store, callbacks, digests, check)
                if known is not None:
                    waiting[begun] = known
                begun += 1
            else:
                result = lanes.take()
                if result.outcome.reason or result.outcome.message:
                    callbacks.check_stop_of_decoder()
                check()
                recording = recordings[result.job.position]
                if store is not None and result.embeddings is not None:
                    store.note(recording, result.outcome, result.embeddings)
                journal.note(recording, result.job.file_state, result.outcome, result.sha256)
                callbacks.item_done(result.lane)
                waiting[result.job.position] = ScoredRecording(
                    recording, result.outcome, error=result.error, spent_s=result.spent_s
                )
    except AvpenetError as error:
        finished = yielded + len(waiting)
        for position in sorted(waiting):
            yield _reported(waiting[position], callbacks)
        if not isinstance(error, Interrupted):
            raise
        raise Interrupted(
            f"interrupted after {finished} of {plural(len(recordings), 'recording')}",
            "run the same command again to resume",
        ) from None


def _reported(scored: ScoredRecording, callbacks: RunCallbacks) -> ScoredRecording:
    if scored.error is not None:
        callbacks.failure(scored.error)
    return scored


def _known_or_submitted(
    position: int,
    recording: Recording,
    lanes: Lanes,
    journal: Journal,
    store: EmbeddingStore | None,
    callbacks: RunCallbacks,
    digests: bool,
    check: Callable[[], None],
) -> ScoredRecording | None:
    """A recording that needs no scoring, because it is in the journal or cannot be read; else submit it."""
    file_state: os.stat_result | None = None
    try:
        if recording.problem:
            raise RecordingError("no_recordings", recording.problem)
        file_state = check_file(recording.path)
        check()
        known = journal.finished(recording, file_state)
        if known is None or (store is not None and not store.holds(recording, known)):
            lanes.submit(Job(position, recording.name, recording.path, file_state, digests))
            return None
        scored = ScoredRecording(recording, known, reused=True)
    except RecordingError as error:
        scored = ScoredRecording(recording, failed_outcome(error), error=error)
    except AvpenetError:
        raise
    except Exception as error:
        scored = ScoredRecording(recording, unexpected_outcome(error), error=error)
    if not scored.reused:
        check()
        journal.note(recording, file_state, scored.outcome)
    callbacks.item_done(None)
    return scored


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


def _write_partial(results: Results, journal: Journal, seen: set[str], started: datetime, outcome: Outcome) -> str:
    """Write what is finished as tables; the journal has it in any case.

    Returns:
        Where it is, as a clause; empty where nothing is finished.
    """
    try:
        path = results.write_partial(journal, seen, started, outcome)
    except AvpenetError as error:
        return error.message
    return f"what is finished is in {path.name}" if path else ""


def _check_nothing_is_dropped(request: ScoreRequest, journal: Journal) -> None:
    """Raise where the output holds recordings that are not among the inputs, or that can no longer be read."""
    held = journal.held()
    missing = unreadable([recording for recording in request.inputs.recordings if recording.key in held])
    others = held - {recording.key for recording in request.inputs.recordings}
    if moved := others & {recording.key for recording in request.collection.recordings}:
        raise OutputError(
            f"{request.out} holds {plural(len(moved), 'recording')} that the plan has given to another shard since",
            "give --prune to drop them from this one",
        )
    names = journal.names() if others else {}
    refuse_dropping(
        request.out, [names.get(key, "") for key in sorted(others)], [recording.name for recording in missing]
    )


def _held_but_failed(request: ScoreRequest, journal: Journal) -> list[str]:
    """Names of recordings that the output holds and that failed in this run, as when a share goes away."""
    failed = journal.held_but_failed()
    return [recording.name for recording in request.inputs.recordings if recording.key in failed]


def _announce(request: ScoreRequest, lanes: Lanes, callbacks: RunCallbacks) -> None:
    inputs = request.inputs
    callbacks.set_total(len(inputs.recordings))
    for note in inputs.notes:
        callbacks.warning(note)
    if left_aside := inputs.left_aside.describe():
        callbacks.info(f"left aside: {left_aside}")
    if warning := precision_warning(request.settings, lanes.device):
        callbacks.warning(warning)
    with contextlib.suppress(EnvironmentUnavailableError):  # without ffmpeg, each recording says so
        if warning := unconfined_warning([tool("ffmpeg"), tool("ffprobe")]):
            callbacks.warning(warning)
    number, precision = len(inputs.recordings), request.settings.precision
    callbacks.info(
        f"scoring {plural(number, 'recording')} on {device_name(lanes.device)} in {precision}",
        event="start",
        recordings=number,
        device=str(lanes.device),
        precision=precision,
    )
