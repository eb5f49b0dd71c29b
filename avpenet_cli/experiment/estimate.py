"""How long an experiment will take on this machine, from a few segments that are encoded and trained on."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from avpenet_cli.dataset.segment_files import SCORABLE
from avpenet_cli.dataset.store import SegmentStore
from avpenet_cli.experiment.descriptions import CLEAN_VIEW
from avpenet_cli.experiment.inputs import Condition, Inputs
from avpenet_cli.experiment.settings import ExperimentSettings
from avpenet_cli.experiment.tasks import Task
from avpenet_cli.model.architecture import Modality
from avpenet_cli.model.inference import optimise_for_inference
from avpenet_cli.model.network import FeatureNetwork, PainNetwork
from avpenet_cli.runs.callbacks import NO_CALLBACKS, RunCallbacks
from avpenet_cli.runs.device import choose_device
from avpenet_cli.settings import to_dict
from avpenet_cli.training.data import Item, SampleKey, SegmentDataset, collate
from avpenet_cli.training.embeddings import rows_to_encode
from avpenet_cli.training.initial import initial_network
from avpenet_cli.training.lightning_module import PainLightningModule
from avpenet_cli.training.settings import TrainSettings

_SEGMENTS = 2
"""Encoded of every kind of encoder, after one to warm up."""
_STEPS = 2
_LEARN_S = 20.0
"""Of a network that learns from features, once they are there; seconds to two minutes for some thousand segments."""
_OVERHEAD_S = 8.0
"""Of each training: to make its network, write its weights and time it."""
_PREPARE_SHARE = 0.5
"""Seconds for one second of recording, to prepare it again on two cores at a moderate resolution."""


@dataclass(frozen=True)
class Step:
    """A part of the experiment and how long it takes at most, s; early stopping may end trainings before."""

    name: str
    seconds: float


@dataclass(frozen=True)
class Estimate:
    """The steps of an experiment, and the disk space that its weights take, bytes."""

    steps: tuple[Step, ...]
    weights_bytes: int

    @property
    def seconds(self) -> float:
        """All steps together."""
        return sum(step.seconds for step in self.steps)


def estimate(
    settings: ExperimentSettings,
    inputs: Inputs,
    tasks: Sequence[Task],
    conditions: Sequence[Condition],
    device: str = "auto",
    callbacks: RunCallbacks = NO_CALLBACKS,
) -> Estimate:
    """Measure this machine for half a minute or so, and add up.

    Args:
        tasks: that are still to do.

    Raises:
        Interrupted: the callbacks asked for it.
        SettingsError: there is nothing to measure with.
    """
    measured = _Measured(settings, inputs.store, device)
    store = inputs.store
    everything, tested = len(rows_to_encode(store)), len(inputs.test_rows())
    steps: list[Step] = []
    encoded: set[tuple[str, str, Modality]] = set()
    prepared: set[str] = set()
    weights = 0

    def encode(network: PainNetwork, training: TrainSettings, view: str, rows: int) -> float:
        """Seconds for what has not been encoded by an earlier step."""
        spent = 0.0
        for modality in network.modalities:
            key = (measured.digest(network, modality, training), view, modality)
            if key not in encoded:
                encoded.add(key)
                spent += rows * measured.encoding_s(network, training, modality)
        return spent

    for task in tasks:
        callbacks.check_stop()
        system = settings.systems[task.key.system]
        training = replace(
            settings.train_settings(task.key.system, task.key.seed, task.key.left_out_site or None), device=device
        )
        network = measured.network(task.key.system, training)
        what = str(to_dict(system.view or system.variant)) if system.view or system.variant else CLEAN_VIEW.name
        seconds = encode(network, training, what, everything)
        if system.variant is not None and what not in prepared:
            prepared.add(what)
            seconds += _PREPARE_SHARE * _recorded_s(store, np.arange(len(store.index)))
        rows = len(store.rated("train", task.key.left_out_site or None))
        seconds += _OVERHEAD_S + measured.training_s(network, training, rows)
        if task.key.system in settings.robust and not task.key.left_out_site:
            for condition in conditions:
                name = condition.description.name
                seconds += encode(network, training, name, tested)
                if condition.variant is not None and name not in prepared:
                    prepared.add(name)
                    seconds += _PREPARE_SHARE * _recorded_s(store, inputs.test_rows())
        if task.key.seed == settings.seeds[0] or settings.keep_weights == "all":
            weights += sum(4 * tensor.numel() for tensor in network.state_dict().values())
        steps.append(Step(task.title, seconds))
    return Estimate(tuple(steps), weights)


def _recorded_s(store: SegmentStore, rows: np.ndarray) -> float:
    names = set(store.index["recording"].iloc[rows])
    return sum(record.length_s for record in store.record.recordings if record.recording in names)


class _Measured:
    """Times of this machine, each measured once."""

    def __init__(self, settings: ExperimentSettings, store: SegmentStore, device: str) -> None:
        self._settings, self._store, self._device = settings, store, choose_device(device)
        self._rows = np.flatnonzero((store.index["status"] == SCORABLE).to_numpy(dtype=bool))[: 1 + _SEGMENTS]
        self._networks: dict[str, PainNetwork] = {}
        self._encoding: dict[str, float] = {}
        self._steps: dict[str, float] = {}

    def network(self, name: str, training: TrainSettings) -> PainNetwork:
        """An untrained network of a system."""
        if name not in self._networks:
            self._networks[name] = initial_network(training, ()).eval()
        return self._networks[name]

    def digest(self, network: PainNetwork, modality: Modality, training: TrainSettings) -> str:
        """Of what encodes: systems with the same kind of encoder share its outputs unless they train it."""
        encoder = "audio_encoder" if modality == "audio" else "visual_encoder"
        built_on = getattr(network, "base", network)
        kind = type(getattr(built_on, encoder, network)).__name__
        own = _trains_encoders(training) and bool(network.encoders())
        frames = training.validation_frames if modality == "face" else 0
        return f"{kind} {network.architecture.pools_images} {frames} {id(network) if own else ''}"

    @torch.inference_mode()
    def encoding_s(self, network: PainNetwork, training: TrainSettings, modality: Modality) -> float:
        """Seconds to encode one segment, with the threads of the run."""
        key = self.digest(network, modality, training)
        if key not in self._encoding:
            fast = optimise_for_inference(network, str(self._device), "float32")
            dataset = self._dataset(network, training)
            spent = []
            for row in self._rows.tolist():
                item = dataset[SampleKey(0, row)]
                started = time.perf_counter()
                _encode(fast, item, modality, self._device)
                spent.append(time.perf_counter() - started)
            self._encoding[key] = float(np.mean(spent[1:] or spent))
        return self._encoding[key]

    def training_s(self, network: PainNetwork, training: TrainSettings, rows: int) -> float:
        """Seconds of all epochs of one training on so many segments."""
        if isinstance(network, FeatureNetwork):
            return _LEARN_S
        steps = -(-rows // training.batch_size)
        seconds = 0.0
        for stage, epochs in ((training.stage_1, training.stage_1.epochs), (training.stage_2, training.stage_2.epochs)):
            frozen = not stage.encoder_rate
            seconds += epochs * steps * self._step_s(network, training, frozen) if epochs else 0.0
        return seconds

    def _step_s(self, network: PainNetwork, training: TrainSettings, frozen: bool) -> float:
        """Seconds of one batch; of encoders that are trained, of two segments and scaled."""
        key = f"{type(network).__name__} {network.architecture} {frozen} {training.batch_size}"
        if key not in self._steps:
            module = PainLightningModule(network, training, self._store).to(self._device).train()
            frames = training.validation_frames if frozen else training.frames_per_segment
            dataset = self._dataset(network, replace(training, validation_frames=frames))
            items = [dataset[SampleKey(0, row)] for row in self._rows.tolist()]
            size = training.batch_size if frozen else len(items)
            if frozen:
                items = [_encoded(network, item, self._device) for item in items]
                items = [items[number % len(items)] for number in range(size)]
            batch = collate(items).to(self._device)
            spent = []
            for _ in range(_STEPS):
                started = time.perf_counter()
                tokens = module._tokens(batch, None, None, frozen)
                network.predictions(*tokens).sum().backward()
                spent.append(time.perf_counter() - started)
            network.zero_grad(set_to_none=True)
            network.eval()
            self._steps[key] = min(spent) * training.batch_size / size
        return self._steps[key]

    def _dataset(self, network: PainNetwork, training: TrainSettings) -> SegmentDataset:
        frames = training.validation_frames
        return SegmentDataset(self._store, training, False, frames, audio_input=network.audio_input)


def _trains_encoders(training: TrainSettings) -> bool:
    return any(stage.epochs and stage.encoder_rate for stage in (training.stage_1, training.stage_2))


@torch.inference_mode()
def _encode(network: PainNetwork, item: Item, modality: Modality, device: torch.device) -> np.ndarray:
    if modality == "audio":
        return network.encode_audio(torch.from_numpy(item.mel)[None].to(device))[0].float().cpu().numpy()
    faces = torch.unique_consecutive(torch.from_numpy(np.ascontiguousarray(item.faces)).to(device), dim=0)
    return network.encode_faces(faces.float() / 255).float().cpu().numpy()


def _encoded(network: PainNetwork, item: Item, device: torch.device) -> Item:
    """An item with encoder outputs, of repeated faces too."""
    audio, faces = item.mel[:0].reshape(0, 0), item.faces.reshape(len(item.faces), -1)[:, :0]
    if "audio" in network.modalities:
        audio = _encode(network, item, "audio", device)
    places = item.places
    if "face" in network.modalities:
        rows = _encode(network, item, "face", device)
        faces = rows[np.arange(len(item.places)) % max(1, len(rows))] if len(rows) else rows
    return Item(audio, faces, places, item.truth, item.row)
