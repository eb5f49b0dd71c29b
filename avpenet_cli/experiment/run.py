"""A segment store and settings -> an experiment: the entry point of `avpenet experiment`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from avpenet_cli.dataset.record import STORE_FILE
from avpenet_cli.dataset.store import SegmentStore
from avpenet_cli.errors import (
    AvpenetError,
    Interrupted,
    NoSpaceError,
)
from avpenet_cli.experiment.analysis import analyse
from avpenet_cli.experiment.descriptions import (
    AnalysisSettings,
)
from avpenet_cli.experiment.estimate import Estimate, estimate
from avpenet_cli.experiment.identity import RUN_FILE, ExperimentIdentity, begin_or_resume, check_same
from avpenet_cli.experiment.inputs import VARIANTS_FOLDER, Inputs
from avpenet_cli.experiment.page import write_page
from avpenet_cli.experiment.predictions import Predictions
from avpenet_cli.experiment.reasons import without_names
from avpenet_cli.experiment.record import columns_shown, experiment_record, record_notices
from avpenet_cli.experiment.results import ExperimentResult
from avpenet_cli.experiment.settings import ExperimentSettings
from avpenet_cli.experiment.tables import write_tables
from avpenet_cli.experiment.tasks import SYSTEMS_FOLDER, Task, plan_tasks, task_folder
from avpenet_cli.experiment.train import (
    EMBEDDINGS_FOLDER,
    PREDICTIONS_FOLDER,
    TRAINED_FILE,
    SystemTrainer,
)
from avpenet_cli.phrasing import plural
from avpenet_cli.runs.callbacks import NO_CALLBACKS, RunCallbacks
from avpenet_cli.runs.device import choose_device
from avpenet_cli.runs.history import history_path, read_file, record_run, refuse_unusable_history
from avpenet_cli.runs.lock import Lease, output_lock
from avpenet_cli.runs.outputs import prepare_output_directory, refuse_existing
from avpenet_cli.stats.estimate import to_json
from avpenet_cli.storage import make_private_folder, write_json

RESULT_FILE, PAGE_FILE, TABLES_FOLDER = "experiment.json", "experiment.html", "tables"
_OWN_FILES = {
    *(RUN_FILE, RESULT_FILE, PAGE_FILE, TABLES_FOLDER, f"{RUN_FILE}.lock", f"{RUN_FILE}.holder"),
    *(SYSTEMS_FOLDER, EMBEDDINGS_FOLDER, PREDICTIONS_FOLDER, VARIANTS_FOLDER),
    history_path(Path(RESULT_FILE)).name,
}


@dataclass(frozen=True)
class ExperimentRequest:
    """The request for one experiment.

    Attributes:
        store: folder of the segment store.
        out: folder to write to: new, empty, or with `resume` an earlier experiment.
        settings: from `read_experiment`.
        recordings: paths of the recordings that the store was made of, for what must be prepared again.
        noise: folder with recordings of noise.
        only: names of the systems to train; all by default.
        resume: resume the experiment in `out`.
        device: auto, cpu, cuda or cuda:N.
        command: repeats the experiment, for the page and the history.
    """

    store: Path
    out: Path
    settings: ExperimentSettings
    recordings: tuple[str, ...] = ()
    noise: Path | None = None
    only: tuple[str, ...] = ()
    resume: bool = False
    device: str = "auto"
    command: str = ""


def run_experiment(request: ExperimentRequest, callbacks: RunCallbacks = NO_CALLBACKS) -> ExperimentResult:
    """Train and evaluate every system on the same splits and seeds; write tables, numbers and the page.

    A system that fails does not stop the others; the result names it.

    Raises:
        SettingsError: a store, recordings or settings that cannot be used.
        WeightsError: weights to start from that are not found.
        OutputError: `out` contains other files, another experiment, or one without `resume`.
        OutputLockedError: another run writes to it.
        Interrupted: the callbacks asked for it; what is finished is kept.
    """
    started = datetime.now(UTC)
    settings = request.settings.only(request.only) if request.only else request.settings
    store = SegmentStore.open(request.store)
    choose_device(request.device)
    prepare_output_directory(request.out, lambda name: name in _OWN_FILES)
    if not request.resume:
        remedy = "give --resume to continue it, or choose another --out"
        refuse_existing(request.out / RUN_FILE, remedy)
    with output_lock(request.out / RUN_FILE, callbacks) as lease:
        refuse_unusable_history(request.out / RESULT_FILE)
        quiet = _Quiet(callbacks)
        inputs = Inputs(store, request.out, request.recordings, request.noise, quiet, request.device)
        begin_or_resume(request.out, ExperimentIdentity.of(request.settings, inputs))
        result = _run(request, settings, inputs, callbacks, quiet, lease)
        record_run(
            request.out / RESULT_FILE,
            "experiment",
            written=[request.out / RESULT_FILE, request.out / PAGE_FILE],
            read=[read_file("segment store", request.store / STORE_FILE)],
            command=request.command,
            started=started,
        )
        return result


def plan_experiment(request: ExperimentRequest, callbacks: RunCallbacks = NO_CALLBACKS) -> Estimate:
    """What would be trained, and how long it takes on this machine; writes nothing.

    Raises:
        SettingsError: a store, recordings or settings that cannot be used.
        OutputError: `out` has another experiment.
        Interrupted: the callbacks asked for it.
    """
    settings = request.settings.only(request.only) if request.only else request.settings
    store = SegmentStore.open(request.store)
    quiet = _Quiet(callbacks)
    inputs = Inputs(store, request.out, request.recordings, request.noise, quiet, request.device)
    check_same(request.out, ExperimentIdentity.of(request.settings, inputs))
    absent = not_run(settings, inputs)
    for name, reason in absent.items():
        callbacks.warning(f"{name} would not be run: {reason}")
    tasks = [
        task
        for task in plan_tasks(settings, list(store.record.splits.leave_one_site_out))
        if task.key.system not in absent and not (task_folder(request.out, task.key) / TRAINED_FILE).exists()
    ]
    return estimate(settings, inputs, tasks, inputs.conditions(settings), request.device, quiet)


def not_run(settings: ExperimentSettings, inputs: Inputs) -> dict[str, str]:
    """Systems that cannot be trained here, and why."""
    reasons = {}
    for name, system in settings.systems.items():
        if system.variant is not None and not inputs.has_recordings:
            reasons[name] = "it needs recordings that are prepared differently: give --recordings"
    return reasons


def _run(
    request: ExperimentRequest,
    settings: ExperimentSettings,
    inputs: Inputs,
    callbacks: RunCallbacks,
    quiet: RunCallbacks,
    lease: Lease,
) -> ExperimentResult:
    columns_shown(settings, inputs.store)
    conditions, absent = inputs.conditions(settings), not_run(request.settings, inputs)
    for name in [name for name in absent if name in settings.systems]:
        callbacks.warning(f"{name} is not run: {absent[name]}")
    notices = record_notices(settings, inputs)
    for notice in notices:
        (callbacks.info if notice.level == "note" else callbacks.warning)(notice.text)
    sites = list(inputs.store.record.splits.leave_one_site_out)
    # Those of the whole settings count, those of --only are run now.
    planned = [task for task in plan_tasks(request.settings, sites) if task.key.system not in absent]
    tasks = [task for task in plan_tasks(settings, sites) if task.key.system not in absent]
    trainer = SystemTrainer(request.out, settings, inputs, conditions, request.device, quiet)
    callbacks.set_total(len(tasks))
    for number, task in enumerate(tasks, start=1):
        callbacks.check_stop()
        lease.check()
        if not trainer.is_finished(task):
            callbacks.item_started(task.title)
            _run_task(trainer, task, f"({number} of {len(tasks)})", inputs, callbacks)
        _tidy_weights(trainer, request.settings, tasks[:number], tasks[number:])
        callbacks.item_done()
    lease.check()
    callbacks.info("computing the statistics")
    outcomes = {task.key: trained for task in planned if (trained := trainer.known(task)) is not None}
    failures = {task.key: reason for task in planned if (reason := trainer.failure(task))}
    record = experiment_record(
        request.settings, request.command, inputs, conditions, outcomes, failures, absent, notices
    )
    analysis = AnalysisSettings(
        reference=settings.reference,
        margin_points=settings.margin_points,
        claim_margin_points=settings.claim_margin_points,
        grouped_systems=settings.grouped or (settings.reference,),
    )
    predictions = Predictions(request.out / PREDICTIONS_FOLDER, outcomes)
    result = analyse(predictions, inputs.store.index, record, analysis)
    make_private_folder(request.out / TABLES_FOLDER)
    write_tables(request.out / TABLES_FOLDER, result)
    write_page(request.out / PAGE_FILE, result)
    write_json(request.out / RESULT_FILE, to_json(result))
    return result


def _run_task(trainer: SystemTrainer, task: Task, place: str, inputs: Inputs, callbacks: RunCallbacks) -> None:
    try:
        trainer.run(task)
        callbacks.info(f"{task.title}: trained {place}")
    except (Interrupted, NoSpaceError):
        raise
    except Exception as error:  # a system that fails must not stop the others; --debug shows the traceback
        callbacks.error(f"{task.title}: failed: {error.message if isinstance(error, AvpenetError) else error}")
        callbacks.failure(error)
        trainer.note_failure(task, without_names(error, inputs.store))


def _tidy_weights(
    trainer: SystemTrainer, settings: ExperimentSettings, done: Sequence[Task], to_do: Sequence[Task]
) -> None:
    """Weights take up to 0.2 GB each: those that are not to be kept go when nothing is built on them any more."""
    needed = {task.base_key for task in to_do}
    for task in done:
        first = task.key.seed == settings.seeds_of(task.key.system)[0] and not task.key.left_out_site
        if first or settings.keep_weights == "all":
            trainer.keep_weights(task)
        elif task.key not in needed:
            trainer.remove_weights(task)


class _Quiet(RunCallbacks):
    """Callbacks of one training within the experiment: its lines are for diagnosis, and it has no items."""

    def __init__(self, callbacks: RunCallbacks) -> None:
        self._callbacks = callbacks

    def info(self, message: str, **fields: object) -> None:
        """Only -v shows it."""
        self._callbacks.detail(message, **fields)

    def detail(self, message: str, **fields: object) -> None:
        """Only -v shows it."""
        self._callbacks.detail(message, **fields)

    def warning(self, message: str, **fields: object) -> None:
        """Hand it on."""
        self._callbacks.warning(message, **fields)

    def error(self, message: str, **fields: object) -> None:
        """Hand it on."""
        self._callbacks.error(message, **fields)

    def failure(self, error: Exception) -> None:
        """Hand it on."""
        self._callbacks.failure(error)

    def progress(self, done: float, total: float, lane: int = 0) -> None:
        """Hand it on."""
        self._callbacks.progress(done, total, lane)

    def should_stop(self) -> bool:
        """Whether the experiment should end."""
        return self._callbacks.should_stop()


def summary_text(result: ExperimentResult) -> str:
    """One line on the outcome."""
    trained = sum(item.system.status == "trained" for item in result.systems)
    text = f"{plural(trained, 'system')} trained"
    if result.failed:
        text += f", {len(result.failed)} failed: {', '.join(system.name for system in result.failed)}"
    return text
