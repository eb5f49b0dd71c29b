"""Fit a correction of AVPENet's scores to a table of embeddings."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from avpenet_cli.errors import SettingsError
from avpenet_cli.model.corrected import Correction, corrected_scores
from avpenet_cli.model.correction_settings import LearningSettings
from avpenet_cli.model.network import FeatureTable

_HUBER_POINTS = 1.0
"""Errors above this count linearly, as in the MAE by which an epoch is chosen."""


class _Recording(NamedTuple):
    """The segments of one recording by time; `weight` is 1.0 where the loss is taken, else 0.0."""

    features: Tensor
    truth: Tensor
    weight: Tensor
    relations: tuple[Tensor, ...]


def fit_correction(correction: Correction, table: FeatureTable, settings: LearningSettings, seed: int) -> None:
    """Fit a correction on the CPU, in place.

    Args:
        correction: on the CPU; its parameters are set anew.
        table: as for `FeatureNetwork.learn`.
        settings: of the fit.
        seed: of everything that is random.

    Raises:
        SettingsError: there is no rated training or validation segment.
    """
    rated = np.isfinite(table.truth)
    for name, part in (("training", table.train), ("validation", table.validation)):
        if not bool((part & rated).any()):
            raise SettingsError(f"no rated {name} segment to fit the correction with", "use a store with more subjects")
    with _one_thread(), torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        correction.initialise()
        correction.standardise.fit(torch.from_numpy(table.features[table.train & rated]))
        _descend(
            correction,
            _recordings(correction, table, table.train & rated),
            _recordings(correction, table, table.validation & rated),
            settings,
            np.random.default_rng(seed),
        )
    correction.eval()


def _descend(
    correction: Correction,
    train: Sequence[_Recording],
    validation: Sequence[_Recording],
    settings: LearningSettings,
    rng: np.random.Generator,
) -> None:
    """AdamW down to the state with the least validation error, which is loaded at the end."""
    optimiser = torch.optim.AdamW(
        correction.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay
    )
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, settings.max_epochs)
    held_out = _batches(validation, settings.batch_segments)
    best_error, best_epoch, best = _mae(correction, held_out), 0, copy.deepcopy(correction.state_dict())
    for epoch in range(1, settings.max_epochs + 1):
        correction.train()
        order = rng.permutation(len(train))
        for batch in _batches([train[i] for i in order], settings.batch_segments):
            scores = _scores(correction, batch)
            losses = nn.functional.smooth_l1_loss(scores, batch.truth, beta=_HUBER_POINTS, reduction="none")
            optimiser.zero_grad()
            ((losses * batch.weight).sum() / batch.weight.sum()).backward()
            optimiser.step()
        schedule.step()
        error = _mae(correction, held_out)
        if error < best_error:
            best_error, best_epoch, best = error, epoch, copy.deepcopy(correction.state_dict())
        elif epoch - best_epoch >= settings.patience:
            break
    correction.load_state_dict(best)


def _recordings(correction: Correction, table: FeatureTable, counted: npt.NDArray[np.bool_]) -> list[_Recording]:
    """The recordings that have a segment of `counted`, whole, so that the others serve as context."""
    recordings = []
    order = np.lexsort((table.starts_s, table.recording))
    bounds = np.flatnonzero(np.diff(table.recording[order])) + 1
    for rows in np.split(order, bounds):
        if not counted[rows].any():
            continue
        features = table.features[rows].astype(np.float32)
        recordings.append(
            _Recording(
                torch.from_numpy(features),
                torch.from_numpy(np.nan_to_num(table.truth[rows]).astype(np.float32)),
                torch.from_numpy(counted[rows].astype(np.float32)),
                correction.relations(features, table.starts_s[rows]),
            )
        )
    return recordings


def _batches(recordings: Sequence[_Recording], size: int) -> list[_Recording]:
    """Recordings below each other, as many as it takes for `size` segments."""
    batches: list[_Recording] = []
    group: list[_Recording] = []
    for recording in recordings:
        group.append(recording)
        if sum(len(member.truth) for member in group) >= size:
            batches.append(_stack(group))
            group = []
    return batches + ([_stack(group)] if group else [])


def _stack(group: Sequence[_Recording]) -> _Recording:
    features, truth, weight, relations = zip(*group, strict=True)
    stacked = tuple(torch.cat(parts) for parts in zip(*relations, strict=True))
    return _Recording(torch.cat(features), torch.cat(truth), torch.cat(weight), stacked)


def _scores(correction: Correction, batch: _Recording) -> Tensor:
    rows = torch.arange(len(batch.features))
    summaries = correction.summarise(batch.features)
    return corrected_scores(batch.features, correction(summaries, rows, batch.relations))


@torch.no_grad()
def _mae(correction: Correction, batches: Sequence[_Recording]) -> float:
    """Mean absolute error of the counted segments, points."""
    correction.eval()
    sums = [
        torch.stack([((_scores(correction, batch) - batch.truth).abs() * batch.weight).sum(), batch.weight.sum()])
        for batch in batches
    ]
    error, count = torch.stack(sums).double().sum(dim=0)
    return float(error / count)


@contextlib.contextmanager
def _one_thread() -> Iterator[None]:
    """One thread for torch's CPU operations: sums are then always taken in the same order."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
