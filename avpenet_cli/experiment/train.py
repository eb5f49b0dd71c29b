"""Train one system with one seed, and predict every segment that it is evaluated on."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from safetensors.torch import load_file as load_tensors
from safetensors.torch import save as serialise

from avpenet_cli.dataset.segment_files import SCORABLE
from avpenet_cli.dataset.splits import Split
from avpenet_cli.dataset.store import SegmentStore
from avpenet_cli.errors import AvpenetError, Interrupted, NoSpaceError
from avpenet_cli.experiment.descriptions import CLEAN_VIEW
from avpenet_cli.experiment.inputs import Condition, Inputs
from avpenet_cli.experiment.predictions import Predictions, prediction_rows, write_predictions
from avpenet_cli.experiment.reasons import without_names
from avpenet_cli.experiment.settings import ExperimentSettings
from avpenet_cli.experiment.tasks import SYSTEMS_FOLDER, Task, failure_path, task_folder, weights_path
from avpenet_cli.experiment.timing import time_ms
from avpenet_cli.experiment.views import StoreView
from avpenet_cli.model.network import PainNetwork
from avpenet_cli.model.registry import build, network_entry, settings_of
from avpenet_cli.phrasing import plural
from avpenet_cli.runs.callbacks import RunCallbacks
from avpenet_cli.runs.outputs import read_run_file
from avpenet_cli.settings import from_dict, to_dict
from avpenet_cli.storage import atomic_write, make_private_folder, write_json
from avpenet_cli.training.fit import FitResult, fit
from avpenet_cli.training.initial import digest_of_files, initial_network, locate_initial_file
from avpenet_cli.training.learn import learn
from avpenet_cli.training.metrics import Metrics, segment_metrics
from avpenet_cli.training.predict import predict
from avpenet_cli.training.run_directory import CHECKPOINT_FILE, RunIdentity, prepare_run_directory, usable_rows
from avpenet_cli.training.settings import TrainSettings
from avpenet_cli.training.training_record import (
    describe_weights,
    is_of_phantoms,
    make_training_record,
    write_training_record,
)
from avpenet_cli.version import __version__
from avpenet_cli.weights import WeightsDescription, save

EMBEDDINGS_FOLDER, PREDICTIONS_FOLDER = "embeddings", "predictions"
TRAINED_FILE, LEARNT_FILE = "trained.json", "learnt.safetensors"
_CHECKPOINT_INTERVAL_S = 60.0


@dataclass(frozen=True)
class Trained:
    """`trained.json`: what a training is known by besides its predictions. Where it exists, the training is finished.

    Attributes:
        parameters: number of learnt parameters.
        ms_per_segment: wall-clock time of encoding and scoring one segment, median of three, ms; None without any, and
            where it is that of a system's first seed.
        architecture: settings of the network, with sizes that depend on what was learnt.
        version: of the program that trained it.
        views: names of the views that it is evaluated under, besides the clean one.
        problems: by the name of a view, why it could not be evaluated under it.
    """

    parameters: int
    ms_per_segment: float | None
    architecture: dict[str, Any]
    version: str
    views: tuple[str, ...] = ()
    problems: dict[str, str] = field(default_factory=dict)


class SystemTrainer:
    """Trains the systems of one experiment.

    Of every training, what it changed in the network that it started from is kept: that is small where encoders are
    frozen, and the whole network can be made again from it.

    Args:
        out: folder of the experiment.
        settings: of the experiment.
        inputs: what systems see.
        conditions: under which the systems of `settings.robust` are evaluated.
        device: auto, cpu, cuda or cuda:N.
        callbacks: told about progress; may end the run.
    """

    def __init__(
        self,
        out: Path,
        settings: ExperimentSettings,
        inputs: Inputs,
        conditions: Sequence[Condition],
        device: str,
        callbacks: RunCallbacks,
    ) -> None:
        self._out, self._settings, self._inputs = out, settings, inputs
        self._conditions, self._device, self._callbacks = conditions, device, callbacks
        self._init = locate_initial_file(settings.init)
        for folder in (SYSTEMS_FOLDER, EMBEDDINGS_FOLDER, PREDICTIONS_FOLDER):
            make_private_folder(out / folder)

    def known(self, task: Task) -> Trained | None:
        """What is known of a training; None where it is not finished."""
        path = task_folder(self._out, task.key) / TRAINED_FILE
        content = read_run_file(path, "remove this folder and resume")
        return None if content is None else from_dict(Trained, content, str(path))

    def failure(self, task: Task) -> str:
        """Why a training failed when it was last tried; empty where it did not."""
        content = read_run_file(failure_path(self._out, task.key), "remove this file and resume")
        return "" if content is None else str(content.get("reason", ""))

    def note_failure(self, task: Task, reason: str) -> None:
        """Keep why a training failed, for the page of a later run that does not try it again."""
        write_json(failure_path(self._out, task.key), {"reason": reason})

    def is_finished(self, task: Task) -> bool:
        """Whether nothing is left to do: trained, and evaluated under every condition."""
        trained = self.known(task)
        return trained is not None and not self._conditions_left(task, trained)

    def run(self, task: Task) -> Trained:
        """Train unless that is done, then evaluate under the conditions that are left; every step is kept.

        Raises:
            AvpenetError: it cannot be trained.
            Interrupted: the callbacks asked for it.
        """
        trained, network = self.known(task), None
        if trained is None:
            trained, network = self._train(task)
        settings, folder = self._train_settings(task), task_folder(self._out, task.key)
        failure_path(self._out, task.key).unlink(missing_ok=True)
        embeddings = self._embeddings_folder(settings, folder)
        for condition in self._conditions_left(task, trained):
            self._callbacks.check_stop()
            network = network or self._rebuilt(task, trained)
            trained = self._evaluate(task, trained, network, condition, settings, embeddings)
        self._clean_up(folder)
        return trained

    def keep_weights(self, task: Task) -> None:
        """Write the weights of a finished training again where they were removed."""
        trained, path = self.known(task), weights_path(self._out, task.key)
        description = path.with_suffix(".json")
        if trained is None or path.exists() or not description.exists():
            return
        fields = read_run_file(description, "remove this folder and resume") or {}
        fields.pop("digest", None)
        state = self._rebuilt(task, trained).state_dict()
        save(state, from_dict(WeightsDescription, fields, str(description)), path, overwrite=True)

    def remove_weights(self, task: Task) -> None:
        """Remove the weights of a finished training; `keep_weights` makes them again."""
        weights_path(self._out, task.key).unlink(missing_ok=True)

    def _train_settings(self, task: Task) -> TrainSettings:
        settings = self._settings.train_settings(task.key.system, task.key.seed, task.key.left_out_site or None)
        return replace(settings, device=self._device)

    def _train(self, task: Task) -> tuple[Trained, PainNetwork]:
        system, settings = self._settings.systems[task.key.system], self._train_settings(task)
        store = self._inputs.store_for(system.view, system.variant)
        rows = usable_rows(store, settings.left_out_site)
        if isinstance(store, StoreView):
            rated = np.flatnonzero(store.index["reference"].notna().to_numpy(dtype=bool))
            for reason, count in store.unusable_counts(rated).items():
                self._callbacks.warning(f"{task.title}: {plural(count, 'rated segment')} cannot be used: {reason}")
        folder, init = task_folder(self._out, task.key), self._initial_files(task)
        network, fitted = self._fitted(store, rows, folder, settings, init)
        network.eval()
        embeddings = self._embeddings_folder(settings, folder)
        scores = dict(zip(*predict(network, store, settings, embeddings, self._callbacks), strict=True))
        if self._sees_the_store(task):
            self._write_weights(task, store, rows, settings, init, fitted, scores)
        start = initial_network(settings, init).state_dict()
        learnt = {
            name: value.contiguous()
            for name, value in fitted.state.items()
            if name not in start or not torch.equal(start[name], value)
        }
        with atomic_write(folder / LEARNT_FILE) as file:
            file.write(serialise(learnt))
        trained = Trained(
            sum(parameter.numel() for parameter in network.parameters()) or _stored_values(network),
            time_ms(network, store, rows["test"], settings) if self._is_first(task) else None,
            to_dict(network.architecture),
            __version__,
        )
        table = prediction_rows(store, rows, scores, CLEAN_VIEW.name)
        write_predictions(self._out / PREDICTIONS_FOLDER, task.key, table)
        write_json(folder / TRAINED_FILE, to_dict(trained))
        return trained, network

    def _rebuilt(self, task: Task, trained: Trained) -> PainNetwork:
        """The network of a finished training."""
        settings = self._train_settings(task)
        state = initial_network(settings, self._initial_files(task)).state_dict()
        state |= load_tensors(task_folder(self._out, task.key) / LEARNT_FILE)
        with torch.device("meta"):
            network = build(settings.network, settings_of(settings.network, trained.architecture))
        network.load_state_dict(state, assign=True)
        return network.eval()

    def _is_first(self, task: Task) -> bool:
        """Whether it has the system's first seed and all sites."""
        return task.key.seed == self._settings.seeds_of(task.key.system)[0] and not task.key.left_out_site

    def _sees_the_store(self, task: Task) -> bool:
        """Whether it sees what `avpenet score` would give it; only then it may have weights that others use."""
        system = self._settings.systems[task.key.system]
        return system.view is None and system.variant is None

    def _conditions_left(self, task: Task, trained: Trained) -> list[Condition]:
        if task.key.left_out_site or task.key.system not in self._settings.robust or not self._sees_the_store(task):
            return []
        modalities = network_entry(self._train_settings(task).network).modalities
        return [
            condition
            for condition in self._conditions
            if condition.modality in modalities and condition.description.name not in trained.views
        ]

    def _evaluate(
        self,
        task: Task,
        trained: Trained,
        network: PainNetwork,
        condition: Condition,
        settings: TrainSettings,
        embeddings: Path,
    ) -> Trained:
        """Predict the test segments under a condition and keep that; a condition that fails costs nothing else."""
        name = condition.description.name
        self._callbacks.detail(f"{task.title}: {condition.description.title}")
        try:
            store = self._inputs.under(condition)
            scorable = np.flatnonzero((store.index["status"] == SCORABLE).to_numpy(dtype=bool))
            chosen = np.intersect1d(self._inputs.test_rows(), scorable)
            scores: dict[int, float] = {}
            if len(chosen):
                scores = dict(zip(*predict(network, store, settings, embeddings, self._callbacks, chosen), strict=True))
        except (Interrupted, NoSpaceError):
            raise
        except AvpenetError as error:
            self._callbacks.error(f"{task.title}: not evaluated under {condition.description.title}: {error.message}")
            trained = replace(trained, problems=trained.problems | {name: without_names(error, self._inputs.store)})
        else:
            rows: dict[Split, np.ndarray] = {"test": self._inputs.store.rated("test")}
            folder = self._out / PREDICTIONS_FOLDER
            before = Predictions(folder, [task.key]).read(task.key)
            table = pd.concat([before, prediction_rows(self._inputs.store, rows, scores, name)], ignore_index=True)
            write_predictions(folder, task.key, table.drop_duplicates(["view", "split", "row"], keep="last"))
            problems = {view: reason for view, reason in trained.problems.items() if view != name}
            trained = replace(trained, views=(*trained.views, name), problems=problems)
        write_json(task_folder(self._out, task.key) / TRAINED_FILE, to_dict(trained))
        return trained

    def _clean_up(self, folder: Path) -> None:
        """Remove what only an unfinished training needs."""
        for path in (folder / CHECKPOINT_FILE, *folder.glob("best-*.safetensors")):
            path.unlink(missing_ok=True)
        shutil.rmtree(folder / EMBEDDINGS_FOLDER, ignore_errors=True)

    def _initial_files(self, task: Task) -> list[Path]:
        base = task.base_key
        if base is not None:
            self.keep_weights(Task(base))
            path = weights_path(self._out, base)
            if not path.exists():
                raise AvpenetError(
                    f"{task.title}: {base.system}, which it is built on, was not trained", "see why it failed"
                )
            return [path]
        return [self._init] if self._settings.systems[task.key.system].init == "weights" else []

    def _embeddings_folder(self, settings: TrainSettings, folder: Path) -> Path:
        """Outputs of encoders that a system trains for itself are of no use to others."""
        trains_encoders = any(stage.epochs and stage.encoder_rate for stage in (settings.stage_1, settings.stage_2))
        return folder / EMBEDDINGS_FOLDER if trains_encoders else self._out / EMBEDDINGS_FOLDER

    def _fitted(
        self,
        store: SegmentStore,
        rows: dict[Split, np.ndarray],
        folder: Path,
        settings: TrainSettings,
        init: list[Path],
    ) -> tuple[PainNetwork, FitResult]:
        identity = RunIdentity.of(store, settings, digest_of_files(init))
        resume = prepare_run_directory(folder, identity, resume=True)
        shared = self._out / EMBEDDINGS_FOLDER
        if settings.on_features:
            network: PainNetwork = learn(store, rows, folder, settings, init, self._callbacks, shared)
            return network, FitResult(network.state_dict(), network.architecture)
        fitted = fit(store, rows, folder, settings, init, resume, self._callbacks, shared, _CHECKPOINT_INTERVAL_S)
        with torch.device("meta"):
            network = build(settings.network, fitted.architecture)
        network.load_state_dict(fitted.state, assign=True)
        return network, fitted

    def _write_weights(
        self,
        task: Task,
        store: SegmentStore,
        rows: dict[Split, np.ndarray],
        settings: TrainSettings,
        init: list[Path],
        fitted: FitResult,
        scores: dict[int, float],
    ) -> None:
        metrics: dict[Split, Metrics] = {
            split: segment_metrics(store, numbers, np.array([scores[row] for row in numbers.tolist()]))
            for split in ("validation", "test")
            for numbers in [rows[split][np.isfinite([scores[row] for row in rows[split].tolist()])]]
        }
        faces = settings.validation_frames
        record = make_training_record(store, settings, fitted, metrics, digest_of_files(init), faces)
        write_training_record(task_folder(self._out, task.key), record)
        description = describe_weights(task.key.system, store, settings, fitted, record, is_of_phantoms(store))
        save(fitted.state, description, weights_path(self._out, task.key), overwrite=True)


def _stored_values(network: PainNetwork) -> int:
    """Of a network without parameters in torch's sense, such as a forest: the values that it has learnt."""
    return sum(tensor.numel() for tensor in network.state_dict().values())
