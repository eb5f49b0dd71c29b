"""What the trainings of the recipe share: a schedule by updates or by time, an average of weights, and checkpoints."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

_WARM_UP = 0.1
_FINAL_SHARE = 0.01
_SAVE_EVERY_S = 120.0
_REPORTS = 20


def half_precision(device: torch.device) -> torch.autocast:
    """Within it, a network computes in bfloat16 where the device has it; emulated, that takes ten times as long."""
    fast = device.type == "cuda" or bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
    return torch.autocast(device.type, torch.bfloat16, enabled=fast)


@dataclass(frozen=True)
class Budget:
    """How long to train.

    Attributes:
        updates: number of optimiser steps, or None to train for `seconds`.
        seconds: wall-clock time, in force where `updates` is None. A run that is timed cannot be repeated exactly; its
            number of updates is printed, and repeats it.
    """

    updates: int | None = None
    seconds: float = 60.0


class WeightAverage:
    """Exponential moving average of a module's parameters and buffers, which generalises better than the last ones."""

    def __init__(self, module: nn.Module, keep: float = 0.998) -> None:
        self.module = copy.deepcopy(module).eval().requires_grad_(False)
        self._keep = keep
        self.count = 0

    @torch.no_grad()
    def update(self, module: nn.Module) -> None:
        """Take in the module's present state."""
        self.count += 1
        # Early on, the initial parameters must not linger.
        keep = min(self._keep, self.count / (self.count + 10))
        own, new = self.module.state_dict(), module.state_dict()
        floats = [name for name, value in own.items() if value.is_floating_point()]
        torch._foreach_lerp_([own[name] for name in floats], [new[name].detach() for name in floats], 1 - keep)
        for name in own.keys() - set(floats):
            own[name].copy_(new[name])


@dataclass
class Run:
    """State of a training that can be saved and resumed.

    Attributes:
        name: for messages.
        module: what is trained.
        optimiser: with the peak learning rate of each group in `peak_lr`.
        budget: how long.
        average: of the module.
        checkpoint: file to resume from and to save to, or None.
    """

    name: str
    module: nn.Module
    optimiser: torch.optim.Optimizer
    budget: Budget
    average: WeightAverage
    checkpoint: Path | None = None
    done: int = 0
    used_s: float = 0.0

    def progress(self) -> float:
        """Share of the budget that is used, in [0, 1]."""
        if self.budget.updates is not None:
            return min(1.0, self.done / max(1, self.budget.updates))
        return min(1.0, self.used_s / max(1e-6, self.budget.seconds))

    def train(self, loss_of: Callable[[float], Tensor]) -> None:
        """Train until the budget is used.

        Args:
            loss_of: loss of a new batch at a progress in [0, 1], a scalar tensor.
        """
        self._resume()
        begun_s, saved_s, reported, sums, since = time.monotonic() - self.used_s, time.monotonic(), 0, 0.0, 0
        pending: list[Tensor] = []
        while (progress := self.progress()) < 1.0:
            for group in self.optimiser.param_groups:
                group["lr"] = group["peak_lr"] * rate_at(progress)
            self.module.train()
            loss = loss_of(progress)
            self.optimiser.zero_grad(set_to_none=True)
            loss.backward()
            nn.utils.clip_grad_norm_(self.module.parameters(), 1.0)
            self.optimiser.step()
            self.average.update(self.module)
            self.done += 1
            pending.append(loss.detach())
            if len(pending) >= 10:
                # Reading a loss waits for the device, so it is done rarely; the clock is then right, too.
                sums, since = sums + float(torch.stack(pending).sum()), since + len(pending)
                pending.clear()
            self.used_s = time.monotonic() - begun_s
            if since and int(progress * _REPORTS) > reported:
                reported = int(progress * _REPORTS)
                print(f"{self.name}: {self.done} updates, {self.used_s:.0f} s, loss {sums / since:.4f}", flush=True)
                sums, since = 0.0, 0
            if self.checkpoint and time.monotonic() - saved_s > _SAVE_EVERY_S:
                self.save()
                saved_s = time.monotonic()
        print(f"{self.name}: done after {self.done} updates, {self.used_s:.0f} s", flush=True)
        if self.checkpoint:
            self.save()

    def save(self) -> None:
        """Save everything that resuming needs, atomically."""
        assert self.checkpoint is not None
        partial = self.checkpoint.with_suffix(".tmp")
        torch.save(
            {
                "module": self.module.state_dict(),
                "average": self.average.module.state_dict(),
                "optimiser": self.optimiser.state_dict(),
                "averaged": self.average.count,
                "done": self.done,
                "used_s": self.used_s,
            },
            partial,
        )
        partial.replace(self.checkpoint)

    def _resume(self) -> None:
        if self.checkpoint is None or not self.checkpoint.exists():
            return
        state = torch.load(self.checkpoint, weights_only=True, map_location="cpu")
        self.module.load_state_dict(state["module"])
        self.average.module.load_state_dict(state["average"])
        self.average.count = int(state["averaged"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.done, self.used_s = int(state["done"]), float(state["used_s"])
        print(f"{self.name}: resumes after {self.done} updates", flush=True)


def rate_at(progress: float) -> float:
    """Learning rate at a progress in [0, 1], relative to its peak: linear warm-up, then a cosine."""
    if progress < _WARM_UP:
        return max(_FINAL_SHARE, progress / _WARM_UP)
    return _FINAL_SHARE + (1 - _FINAL_SHARE) * 0.5 * (1 + math.cos(math.pi * (progress - _WARM_UP) / (1 - _WARM_UP)))


def adamw(groups: list[tuple[nn.Module, float]], weight_decay: float) -> torch.optim.AdamW:
    """AdamW over modules with a peak learning rate each; biases and norms are not decayed."""
    parameter_groups: list[dict[str, object]] = []
    for module, rate in groups:
        parameters = [parameter for parameter in module.parameters() if parameter.requires_grad]
        for decays in (True, False):
            own = [parameter for parameter in parameters if (parameter.ndim > 1) == decays]
            if own:
                decay = weight_decay if decays else 0.0
                parameter_groups.append({"params": own, "lr": rate, "peak_lr": rate, "weight_decay": decay})
    return torch.optim.AdamW(parameter_groups)


def batches(count: int, size: int, rng: torch.Generator, device: torch.device) -> Iterator[Tensor]:
    """Endless shuffled batches of row numbers, (size,) int64 on the device; every row once before any comes again."""
    while True:
        order = torch.randperm(count, generator=rng, device=device)
        for start in range(0, max(count - size, 0) + 1, size):
            yield order[start : start + size]
