"""A segment store and settings -> an experiment: the entry point of `avpenet experiment`."""

from __future__ import annotations

import datetime
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from avpenet_cli.dataset.splits import STRATA
from avpenet_cli.dataset.store import SegmentStore
from avpenet_cli.errors import (
    AvpenetError,
    EnvironmentUnavailableError,
    Interrupted,
    OutputError,
    SettingsError,
)
from avpenet_cli.experiment.analysis import analyse, dataset_summary
from avpenet_cli.experiment.descriptions import (
    AnalysisSettings,
    Choice,
    ExperimentRecord,
    SystemDescription,
)
from avpenet_cli.experiment.estimate import Estimate, estimate
from avpenet_cli.experiment.identity import RUN_FILE, ExperimentIdentity, begin_or_resume
from avpenet_cli.experiment.inputs import VARIANTS_FOLDER, Condition, Inputs
from avpenet_cli.experiment.page import write_page
from avpenet_cli.experiment.predictions import PredictionKey, Predictions
from avpenet_cli.experiment.results import ExperimentResult
from avpenet_cli.experiment.settings import ExperimentSettings
from avpenet_cli.experiment.tables import write_tables
from avpenet_cli.experiment.tasks import SYSTEMS_FOLDER, Task, plan_tasks
from avpenet_cli.experiment.train import EMBEDDINGS_FOLDER, PREDICTIONS_FOLDER, SystemTrainer, Trained
from avpenet_cli.model.registry import network_entry
from avpenet_cli.phrasing import plural
from avpenet_cli.runs.callbacks import NO_CALLBACKS, RunCallbacks
from avpenet_cli.runs.device import choose_device
from avpenet_cli.runs.lock import output_lock
from avpenet_cli.runs.outputs import prepare_output_directory, refuse_existing
from avpenet_cli.runs.versions import software_versions
from avpenet_cli.settings import flatten, to_dict
from avpenet_cli.stats.estimate import to_json
from avpenet_cli.storage import make_private_folder, write_json

RESULT_FILE, PAGE_FILE, TABLES_FOLDER = "experiment.json", "experiment.html", "tables"
_OWN_FILES = {
    *(RUN_FILE, RESULT_FILE, PAGE_FILE, TABLES_FOLDER, f"{RUN_FILE}.lock", f"{RUN_FILE}.holder"),
    *(SYSTEMS_FOLDER, EMBEDDINGS_FOLDER, PREDICTIONS_FOLDER, VARIANTS_FOLDER),
}
_INTENSITY = "intensity"


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
        command: repeats the experiment, for the page.
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
    settings = request.settings.only(request.only) if request.only else request.settings
    store = SegmentStore.open(request.store)
    choose_device(request.device)
    prepare_output_directory(request.out, lambda name: name in _OWN_FILES)
    if not request.resume:
        remedy = "give --resume to continue it, or choose another --out"
        refuse_existing(request.out / RUN_FILE, remedy)
    with output_lock(request.out / RUN_FILE):
        quiet = _Quiet(callbacks)
        inputs = Inputs(store, request.out, request.recordings, request.noise, quiet, request.device)
        begin_or_resume(request.out, ExperimentIdentity.of(request.settings, inputs))
        return _run(request, settings, inputs, callbacks, quiet)


def plan_experiment(request: ExperimentRequest, callbacks: RunCallbacks = NO_CALLBACKS) -> Estimate:
    """What would be trained, and how long it takes on this machine; writes nothing.

    Raises:
        SettingsError: a store, recordings or settings that cannot be used.
        Interrupted: the callbacks asked for it.
    """
    settings = request.settings.only(request.only) if request.only else request.settings
    store = SegmentStore.open(request.store)
    quiet = _Quiet(callbacks)
    inputs = Inputs(store, request.out, request.recordings, request.noise, quiet, request.device)
    absent = not_run(settings, inputs)
    for name, reason in absent.items():
        callbacks.warning(f"{name} would not be run: {reason}")
    tasks = [
        task
        for task in plan_tasks(settings, list(store.record.splits.leave_one_site_out))
        if task.key.system not in absent and not (request.out / PREDICTIONS_FOLDER / task.key.file_name).exists()
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
) -> ExperimentResult:
    conditions = inputs.conditions(settings)
    absent = not_run(settings, inputs)
    for name, reason in absent.items():
        callbacks.warning(f"{name} is not run: {reason}")
    sites = list(inputs.store.record.splits.leave_one_site_out)
    if settings.left_out and not sites:
        callbacks.warning("no site can be left out: the store has fewer than two")
    tasks = [task for task in plan_tasks(settings, sites) if task.key.system not in absent]
    trainer = SystemTrainer(request.out, settings, inputs, conditions, request.device, quiet)
    callbacks.set_total(len(tasks))
    outcomes: dict[PredictionKey, Trained] = {}
    failures: dict[PredictionKey, str] = {}
    for number, task in enumerate(tasks, start=1):
        callbacks.check_stop()
        trained = trainer.finished(task)
        if trained is None:
            callbacks.item_started(task.title)
            try:
                trained = trainer.run(task)
                callbacks.info(f"{task.title}: trained ({number} of {len(tasks)})")
            except (Interrupted, EnvironmentUnavailableError, OutputError):
                raise
            except Exception as error:  # a system that fails must not stop the others; --debug shows the traceback
                failures[task.key] = _reason(error, inputs.store)
                callbacks.error(f"{task.title}: failed: {error.message if isinstance(error, AvpenetError) else error}")
                callbacks.failure(error)
        if trained is not None:
            outcomes[task.key] = trained
        _remove_weights(trainer, settings, tasks[:number], tasks[number:])
        callbacks.item_done()
    callbacks.info("computing the statistics")
    record = _record(request, settings, inputs, conditions, outcomes, failures, absent)
    analysis = AnalysisSettings(
        reference=settings.reference,
        margin_points=settings.margin_points,
        claim_margin_points=settings.claim_margin_points,
        grouped_systems=settings.grouped or (settings.reference,),
    )
    result = analyse(Predictions(request.out / PREDICTIONS_FOLDER), inputs.store.index, record, analysis)
    make_private_folder(request.out / TABLES_FOLDER)
    write_tables(request.out / TABLES_FOLDER, result)
    write_page(request.out / PAGE_FILE, result)
    write_json(request.out / RESULT_FILE, to_json(result))
    return result


def _reason(error: Exception, store: SegmentStore) -> str:
    """Why a system failed, for a page that may be shared: without names of recordings and folders."""
    if not isinstance(error, AvpenetError):
        return f"{type(error).__name__}; the log and --debug say more"
    text = error.message.replace(str(store.path), "the store")
    for name in sorted((record.recording for record in store.record.recordings), key=len, reverse=True):
        text = text.replace(name, "a recording")
    return text


def _remove_weights(
    trainer: SystemTrainer, settings: ExperimentSettings, done: Sequence[Task], to_do: Sequence[Task]
) -> None:
    """Weights take 0.2 GB each: those that are not to be kept go when nothing is built on them any more."""
    needed = {task.base_key for task in to_do}
    for task in done:
        first = task.key.seed == settings.seeds[0] and not task.key.left_out_site
        if not first and settings.keep_weights != "all" and task.key not in needed:
            trainer.remove_weights(task)


def _record(
    request: ExperimentRequest,
    settings: ExperimentSettings,
    inputs: Inputs,
    conditions: Sequence[Condition],
    outcomes: Mapping[PredictionKey, Trained],
    failures: Mapping[PredictionKey, str],
    absent: Mapping[str, str],
) -> ExperimentRecord:
    store = inputs.store
    subject_columns = store.record.subjects.columns
    columns = settings.columns
    if columns is None:
        columns = (*(name for name in (*STRATA, *subject_columns) if name in store.index.columns), _INTENSITY)
    unknown = [name for name in columns if name != _INTENSITY and name not in store.index.columns]
    if unknown:
        raise SettingsError(
            f"columns: the store has no column {unknown[0]}", f"name some of {', '.join(subject_columns)}"
        )
    return ExperimentRecord(
        title=settings.title,
        created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        command=request.command,
        software=software_versions(),
        dataset=dataset_summary(store),
        columns=tuple(dict.fromkeys(columns)),
        systems=tuple(_descriptions(request, settings, outcomes, failures, absent)),
        views=tuple(condition.description for condition in conditions),
        choices=_choices(settings),
    )


def _descriptions(
    request: ExperimentRequest,
    settings: ExperimentSettings,
    outcomes: Mapping[PredictionKey, Trained],
    failures: Mapping[PredictionKey, str],
    absent: Mapping[str, str],
) -> list[SystemDescription]:
    """All systems of the request, those that were not asked for among them."""
    trained: defaultdict[str, dict[int, Trained]] = defaultdict(dict)
    for key, outcome in outcomes.items():
        if not key.left_out_site:
            trained[key.system][key.seed] = outcome
    descriptions = []
    for name, system in request.settings.systems.items():
        own = trained.get(name, {})
        failed = [
            f"seed {key.seed}{f' without site {key.left_out_site}' if key.left_out_site else ''}: {reason}"
            for key, reason in failures.items()
            if key.system == name
        ]
        description = SystemDescription(
            name=name,
            title=system.title,
            group=system.group,
            differs=_differs(request.settings, name),
            modalities=network_entry(request.settings.train_settings(name, settings.seeds[0]).network).modalities,
            seeds=tuple(sorted(own)),
        )
        if own:
            first = own[min(own)]
            reason = "; ".join(failed)
            description = replace(
                description, parameters=first.parameters, ms_per_segment=first.ms_per_segment, reason=reason
            )
        elif failed:
            description = replace(description, status="failed", reason=_without_repeats(failed))
        else:
            description = replace(description, status="not run", reason=absent.get(name, "not asked for"))
        descriptions.append(description)
    return descriptions


def _without_repeats(failed: Sequence[str]) -> str:
    """Reasons that are the same for every seed once."""
    reasons = {text.split(": ", 1)[1] for text in failed}
    return next(iter(reasons)) if len(reasons) == 1 else "; ".join(failed)


def _differs(settings: ExperimentSettings, name: str) -> dict[str, str]:
    """The settings in which a system differs from the reference."""
    seed = settings.seeds[0]
    system, reference = settings.systems[name], settings.systems[settings.reference]
    own, other = (flatten(to_dict(settings.train_settings(item, seed))) for item in (name, settings.reference))
    differs = {key: str(value) for key, value in own.items() if other.get(key, value) != value or key not in other}
    for label in ("view", "variant"):
        part = getattr(system, label)
        if part is not None:
            plain, default = to_dict(part), to_dict(type(part)())
            differs |= {key: str(value) for key, value in plain.items() if value != default[key]}
    if system.base:
        differs["base"] = system.base
    if system.init != reference.init:
        differs["init"] = system.init
    return differs


def _choices(settings: ExperimentSettings) -> tuple[Choice, ...]:
    return (
        Choice("systems, their settings and seeds, views and rules of the claims", "fixed beforehand"),
        Choice("the epoch whose parameters are kept, of networks that are trained by epochs", "validation"),
        Choice("settings that a network tries out while it learns, such as those of support vectors", "validation"),
        Choice("the weights that systems start from", "fixed beforehand", settings.init),
    )


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
