"""Whom a training run speaks to while it goes on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from avpenet_cli.training.curves import EpochRow


@dataclass(frozen=True)
class Told:
    """Whom a run tells how it goes, and who may stop it.

    Attributes:
        epoch: called after each, with its row and whether it is the best so far.
        batch: called after each batch of training, with how many are done and how many an epoch has.
        stop: asked after each batch; True ends the run with `Interrupted`.
    """

    epoch: Callable[[EpochRow, bool], None] = lambda row, best: None
    batch: Callable[[int, int], None] = lambda done, total: None
    stop: Callable[[], bool] = lambda: False


NOBODY = Told()
