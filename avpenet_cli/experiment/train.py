"""Train one system with one seed, and predict every segment that it is evaluated on."""

from __future__ import annotations

import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from avpenet_cli.dataset.splits import Split
from avpenet_cli.dataset.store import SegmentStore
from avpenet_cli.errors import AvpenetError
from avpenet_cli.experiment.descriptions import CLEAN_VIEW
from avpenet_cli.experiment.inputs import Condition, Inputs
from avpenet_cli.experiment.predictions import write_predictions
from avpenet_cli.experiment.settings import ExperimentSettings
from avpenet_cli.experiment.tasks import SYSTEMS_FOLDER, Task, task_folder, weights_path
from avpenet_cli.model.inference import optimise_for_inference
from avpenet_cli.model.network import PainNetwork
from avpenet_cli.model.registry import build
from avpenet_cli.runs.callbacks import RunCallbacks
from avpenet_cli.runs.outputs import read_run_file
from avpenet_cli.settings import from_dict, to_dict
from avpenet_cli.storage import make_private_folder, write_json
from avpenet_cli.training.data import SampleKey, SegmentDataset
from avpenet_cli.training.fit import FitResult, fit
from avpenet_cli.training.initial import digest_of_files, locate_initial_file
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
from avpenet_cli.weights import save

EMBEDDINGS_FOLDER, PREDICTIONS_FOLDER = "embeddings", "predictions"
TRAINED_FILE = "trained.json"
_TIMED_SEGMENTS = 3
_CHECKPOINT_INTERVAL_S = 60.0


@dataclass(frozen=True)
class Trained:
    """What a training is known by besides its predictions.

    Attributes:
        parameters: number of learnt parameters.
        ms_per_segment: wall-clock time of encoding and scoring one segment, median of three, ms.
        modalities: inputs of the network.
    """

    parameters: int
    ms_per_segment: float | None
    modalities: tuple[str, ...]


class SystemTrainer:
    """Trains the systems of one experiment.

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

    def run(self, task: Task) -> Trained:
        """Train, write weights and predictions; resumes what a kill interrupted.

        Raises:
            AvpenetError: it cannot be trained.
            Interrupted: the callbacks asked for it.
        """
        system = self._settings.systems[task.key.system]
        site = task.key.left_out_site or None
        settings = self._settings.train_settings(task.key.system, task.key.seed, site)
        settings = replace(settings, device=self._device)
        store = self._inputs.store_for(system.view, system.variant)
        rows = usable_rows(store, site)
        folder = task_folder(self._out, task.key)
        init = self._initial_files(task)
        network, fitted = self._fitted(store, rows, folder, settings, init)
        network.eval()
        embeddings = self._embeddings_folder(settings, folder)
        scores = dict(zip(*predict(network, store, settings, embeddings, self._callbacks), strict=True))
        stored_inputs = system.view is None and system.variant is None
        if stored_inputs:
            self._write_weights(task, store, rows, settings, init, fitted, scores)
        table = [_table(store, rows, scores, CLEAN_VIEW.name)]
        if stored_inputs and site is None and task.key.system in self._settings.robust:
            table += self._under_conditions(network, settings, embeddings)
        trained = Trained(
            sum(parameter.numel() for parameter in network.parameters()) or _stored_values(network),
            _time_ms(network, store, rows["test"], settings),
            network.modalities,
        )
        write_json(folder / TRAINED_FILE, to_dict(trained))
        # Last, because a training whose predictions exist is finished.
        write_predictions(self._out / PREDICTIONS_FOLDER, task.key, pd.concat(table, ignore_index=True))
        for name in (CHECKPOINT_FILE, *(path.name for path in folder.glob("best-*.safetensors"))):
            (folder / name).unlink(missing_ok=True)
        if embeddings != self._out / EMBEDDINGS_FOLDER:
            shutil.rmtree(embeddings, ignore_errors=True)
        return trained

    def finished(self, task: Task) -> Trained | None:
        """What is known of a training whose predictions are written; None where it is still to do."""
        if not (self._out / PREDICTIONS_FOLDER / task.key.file_name).exists():
            return None
        path = task_folder(self._out, task.key) / TRAINED_FILE
        return from_dict(Trained, read_run_file(path, "remove the experiment's folder and start over"), str(path))

    def remove_weights(self, task: Task) -> None:
        """Remove the weights of a training, which can be made again."""
        path = weights_path(self._out, task.key)
        for file in (path, path.with_suffix(".json")):
            file.unlink(missing_ok=True)

    def _initial_files(self, task: Task) -> list[Path]:
        base = task.base_key
        if base is not None:
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

    def _under_conditions(self, network: PainNetwork, settings: TrainSettings, embeddings: Path) -> list[pd.DataFrame]:
        tables = []
        for condition in self._conditions:
            description = condition.description
            read = {"noise": "audio", "cover": "face"}[description.family]
            if read not in network.modalities:
                continue
            store = self._inputs.under(condition)
            scorable = np.flatnonzero((store.index["status"] == "scorable").to_numpy(dtype=bool))
            chosen = np.intersect1d(self._inputs.test_rows(), scorable)
            if not len(chosen):
                continue
            self._callbacks.detail(f"evaluating under {description.title}")
            scores = dict(zip(*predict(network, store, settings, embeddings, self._callbacks, chosen), strict=True))
            rated: dict[Split, np.ndarray] = {"test": self._inputs.store.rated("test")}
            tables.append(_table(self._inputs.store, rated, scores, description.name))
        return tables

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


def _table(store: SegmentStore, rows: dict[Split, np.ndarray], scores: dict[int, float], view: str) -> pd.DataFrame:
    """Predictions of the rated segments of validation and test."""
    parts = []
    for split in ("validation", "test"):
        if split not in rows:
            continue
        numbers = rows[split]
        part = store.index.iloc[numbers][["recording", "segment", "subject", "reference"]].copy()
        part["row"], part["split"], part["view"] = numbers, split, view
        part["score"] = [scores.get(row, np.nan) for row in numbers.tolist()]
        parts.append(part)
    return pd.concat(parts, ignore_index=True)


def _stored_values(network: PainNetwork) -> int:
    """Of a network without parameters in torch's sense, such as a forest: the values that it has learnt."""
    return sum(tensor.numel() for tensor in network.state_dict().values())


@torch.inference_mode()
def _time_ms(network: PainNetwork, store: SegmentStore, rows: np.ndarray, settings: TrainSettings) -> float | None:
    """Median time of encoding a segment's audio and faces and scoring it, on the CPU, with the faces of a training."""
    if not len(rows):
        return None
    fast = optimise_for_inference(network, "cpu", "float32")
    dataset = SegmentDataset(store, settings, False, settings.validation_frames, audio_input=network.audio_input)
    face = store.preprocessing.face
    mean, std = (torch.tensor(value).view(1, 3, 1, 1) for value in (face.pixel_mean, face.pixel_std))
    spent_ms = []
    for row in [rows[0], *rows[:_TIMED_SEGMENTS]]:
        item = dataset[SampleKey(0, int(row))]
        started = time.perf_counter()
        audio = faces = places = None
        if "audio" in network.modalities:
            audio = fast.encode_audio(torch.from_numpy(item.mel)[None])
        if "face" in network.modalities and len(item.faces):
            pixels = (torch.from_numpy(np.ascontiguousarray(item.faces)).float() / 255 - mean) / std
            if network.architecture.pools_images:
                pixels = pixels.mean(dim=0, keepdim=True)
            else:
                places = torch.from_numpy(item.places)[None]
            faces = fast.encode_faces(pixels)[None]
        fast.score(audio, faces, None, places)
        spent_ms.append(1000 * (time.perf_counter() - started))
    # The first one is for warming up.
    return float(np.median(spent_ms[1:]))
