"""Recordings scored for their trajectories, as `avpenet score` scores them; nothing is written."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import pandas as pd

from avpenet_cli.errors import RecordingError, SettingsError
from avpenet_cli.inputs import Inputs, Recording
from avpenet_cli.media.probe import check_file
from avpenet_cli.phrasing import plural
from avpenet_cli.records import RecordingOutcome
from avpenet_cli.runs.callbacks import NO_CALLBACKS, RunCallbacks
from avpenet_cli.runs.manifest import weights_mark
from avpenet_cli.scoring.lanes.lane import Job, score_job
from avpenet_cli.scoring.network import Network
from avpenet_cli.scoring.recorded_at import iso, start_times
from avpenet_cli.scoring.scorer import Scorer, failed_outcome
from avpenet_cli.scoring.shared_network import load_network_for
from avpenet_cli.settings import RunSettings
from avpenet_cli.study.score_tables import Scores, read_scores
from avpenet_cli.tables import COLUMNS, Row, row
from avpenet_cli.weights import WeightsEntry

STRIDE_S = 1.0
MC_SAMPLES = 50


@dataclass(frozen=True)
class ScoredRecordings:
    """Recordings as a score table in memory.

    Attributes:
        failed: names of those that could not be scored; they are not in the table.
        weights_notice: must be shown with every score; may be empty.
        notices: what else a reader of the scores must know.
    """

    scores: Scores
    failed: tuple[str, ...]
    weights_notice: str
    notices: tuple[str, ...]


def score_for_trajectories(
    inputs: Inputs,
    weights: WeightsEntry,
    settings: RunSettings,
    recorded_at: str | None = None,
    callbacks: RunCallbacks = NO_CALLBACKS,
) -> ScoredRecordings:
    """Score recordings one after the other and keep their segments in memory.

    Where the network has no dropout, its scores have no Monte Carlo samples, and a notice says so.

    Args:
        inputs: from `inputs.collect`.
        weights: from `weights.find` or `weights.default_entry`.
        settings: how to score, with Monte Carlo samples.
        recorded_at: where the recordings' times come from; see `recorded_at.start_times`.

    Raises:
        SettingsError: `recorded_at` cannot be used.
        RecordingError: no recording could be scored.
        WeightsError: the weights were altered or do not fit this version.
        EnvironmentUnavailableError: the device or ffmpeg is missing.
        Interrupted: the callbacks requested it.
    """
    names = [recording.name for recording in inputs.recordings]
    starts = start_times(recorded_at, settings.decoding, pseudonymised=False, names=names)
    network, settings, without_samples = _loaded(weights, settings, callbacks)
    notices = [*starts.notices, *([without_samples] if without_samples else [])]
    for note in inputs.notes:
        callbacks.warning(note)
    callbacks.set_total(len(names))
    scorer = Scorer(network, settings, callbacks)
    mark = weights_mark(weights.description)
    rows: list[Row] = []
    failed, empty = [], []
    for recording, outcome in _outcomes(inputs, scorer, callbacks):
        if outcome.reason:
            failed.append(recording.name)
            callbacks.error(f"{recording.name}: failed: {outcome.message}", event="recording", reason=outcome.reason)
            continue
        if outcome.message:
            callbacks.warning(f"{recording.name}: {outcome.message}")
        if not outcome.segments:
            empty.append(recording.name)
        start = starts.find(recording, outcome)
        rows += [row(recording.name, segment, mark, iso(start, segment.start_s)) for segment in outcome.segments]
    if empty:
        notices.append(f"too short for a segment: {plural(len(empty), 'recording')}, {', '.join(empty[:5])}")
    if not rows:
        raise RecordingError("no_recordings", "no recording could be scored, and nothing was written")
    table = pd.DataFrame(rows, columns=[column.name for column in COLUMNS])
    scores = replace(read_scores([table]), cut_points=weights.description.cut_points)
    return ScoredRecordings(scores, tuple(failed), weights.description.notice, tuple(notices))


def _loaded(weights: WeightsEntry, settings: RunSettings, callbacks: RunCallbacks) -> tuple[Network, RunSettings, str]:
    """The network, with which settings it scores, and why without Monte Carlo samples; empty with them."""
    try:
        return load_network_for(weights, settings, callbacks), settings, ""
    except SettingsError as error:
        # Anything else that is wrong with the settings is wrong without samples, too.
        settings = replace(settings, mc_samples=0)
        return load_network_for(weights, settings, callbacks), settings, error.message


def _outcomes(inputs: Inputs, scorer: Scorer, callbacks: RunCallbacks) -> Iterator[tuple[Recording, RecordingOutcome]]:
    for position, recording in enumerate(inputs.recordings):
        callbacks.check_stop()
        callbacks.item_started(recording.name)
        try:
            if recording.problem:
                raise RecordingError("no_recordings", recording.problem)
            job = Job(position, recording.name, recording.path, check_file(recording.path))
            result = score_job(job, scorer, callbacks.should_stop)
            outcome, error = result.outcome, result.error
        except RecordingError as refused:
            outcome, error = failed_outcome(refused), refused
        if error is not None:
            callbacks.failure(error)
        callbacks.item_done()
        yield recording, outcome
