"""Pretrain the audio encoder on real voices and sounds of surroundings.

    .venv/bin/python -m weights.recipe.audio_train PACK --out FOLDER --device cuda --seconds 150

PACK is of `weights/recipe/audio_pack.py`. The encoder learns what a clip is (30 categories of bursts, cry, speech,
kinds of surroundings), when it sounds, what a teacher says of it, and the pain that it stands for. FOLDER gets
`audio_encoder.safetensors` (parameters of `AudioEncoder`), `audio_heads.safetensors`, `audio_metrics.json`,
and `bursts.npz`: windows of the training part with their pain, for the fusion.

The time counts training only, not the loading of clips or the metrics. Interrupted, or ended by `--piece-seconds`, it
resumes from its checkpoint. The learning rate follows the time that has passed: any device takes the time it is given.
"""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy, smooth_l1_loss, softplus

from avpenet_cli.model.encoders import EMBEDDING, AudioEncoder
from avpenet_cli.settings import AudioSettings
from weights.recipe.audio_batches import BURST, CRY, SILENCE, Batch, Clips, draw_batch, group_names, load_clips
from weights.recipe.audio_front_end import FrontEnd
from weights.recipe.audio_metrics import measure
from weights.recipe.audio_pack import CATEGORIES, read_pack, read_teacher
from weights.recipe.learning import half_precision

_REPORT_S = 10.0
_CHECKPOINT_S = 120.0


@dataclass(frozen=True)
class AudioTraining:
    """Settings of the pretraining.

    Attributes:
        seconds: time to train for, s.
        batch: windows per update.
        rate: peak of the learning rate of AdamW.
        decay: weight decay.
        smoothing: share of the moving average of the parameters that each update leaves.
        mixup: alpha of mixup, which every second update uses.
        dropout: of the embedding.
        seed: of everything random.
    """

    seconds: float
    batch: int = 512
    rate: float = 1.2e-3
    decay: float = 0.05
    smoothing: float = 0.993
    mixup: float = 0.4
    dropout: float = 0.25
    seed: int = 20261126


class AudioLearner(nn.Module):
    """The encoder with its heads.

    Args:
        groups: number of classes of the group head.
        teacher: size of what the teacher says.
    """

    def __init__(self, groups: int, teacher: int, dropout: float) -> None:
        super().__init__()
        self.encoder = AudioEncoder()
        self.dropout = nn.Dropout(dropout)
        self.category = nn.Linear(EMBEDDING, len(CATEGORIES))
        self.group = nn.Linear(EMBEDDING, groups)
        self.pain = nn.Linear(EMBEDDING, 1)
        self.active = nn.Linear(EMBEDDING, 2)
        self.teacher = nn.Linear(EMBEDDING, teacher) if teacher else None

    def forward(self, mels: Tensor) -> dict[str, Tensor]:
        """(B, 1, 128, 300) -> float32 logits of `category`, `group` and `active` (B, 10, 2), `pain` (B,), `teacher`."""
        tokens = self.encoder(mels)
        embedding = self.dropout(tokens.mean(dim=1))
        outputs = {
            "category": self.category(embedding).float(),
            "group": self.group(embedding).float(),
            "pain": self.pain(embedding)[:, 0].float(),
            "active": self.active(self.dropout(tokens)).float(),
        }
        if self.teacher is not None:
            outputs["teacher"] = self.teacher(embedding).float()
        return outputs


def loss_of(outputs: Mapping[str, Tensor], batch: Batch, pain_category: int) -> Tensor:
    """Sum of the losses of a batch; one without bursts, or without pairs, has no loss of these."""
    burst = (batch.category >= 0).float()
    by_category = cross_entropy(outputs["category"], batch.category.clamp(min=0), reduction="none", label_smoothing=0.1)
    loss = (by_category * burst).sum() / burst.sum().clamp(min=1)
    loss = loss + 0.5 * cross_entropy(outputs["group"], batch.group, label_smoothing=0.05)
    loss = loss + 0.3 * smooth_l1_loss(outputs["pain"], batch.pain)
    loss = loss + 0.3 * binary_cross_entropy_with_logits(outputs["active"], batch.active)
    loss = loss + 0.5 * ranking_loss(outputs["pain"], batch, pain_category)
    if "teacher" in outputs:
        known = batch.teacher.isfinite()
        error = smooth_l1_loss(outputs["teacher"], batch.teacher.nan_to_num(), reduction="none")
        loss = loss + (error * known).sum() / known.sum().clamp(min=1)
    return loss


def ranking_loss(score: Tensor, batch: Batch, pain_category: int) -> Tensor:
    """A smooth bound of 1 - AUC: logistic loss of all pairs of what should score higher and what lower.

    Pairs are Pain over every other burst, and cries over surroundings.
    """
    pain, burst, cry = batch.category == pain_category, batch.group == BURST, batch.group == CRY
    higher = torch.stack([pain, cry & (batch.pain > 3)])
    lower = torch.stack([burst & ~pain, batch.group >= SILENCE])
    # Products of 0 and 1 instead of selections, whose sizes the host would have to wait for.
    pairs = softplus(score[None, :] - score[:, None])
    weights = (higher.float()[:, :, None] * lower.float()[:, None, :]).mean(dim=0)
    return (pairs * weights).sum() / weights.sum().clamp(min=1)


def mixed_loss(module: nn.Module, batch: Batch, alpha: float, rng: torch.Generator, pain_category: int) -> Tensor:
    """Loss of windows mixed with others in the same batch (mixup), one share for all."""
    share = float(np.random.default_rng(rng.initial_seed()).beta(alpha, alpha))
    order = torch.randperm(len(batch.mels), generator=rng, device=batch.mels.device)
    other = Batch(*(getattr(batch, name)[order] for name in Batch.__dataclass_fields__))
    outputs = module(share * batch.mels + (1 - share) * other.mels)
    return share * loss_of(outputs, batch, pain_category) + (1 - share) * loss_of(outputs, other, pain_category)


def rate_at(fraction: float, peak: float) -> float:
    """One cycle: a linear rise over the first 8 % of the time, then half a cosine to a hundredth."""
    if fraction < 0.08:
        return peak * (0.04 + 0.96 * fraction / 0.08)
    return peak * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * min(1.0, (fraction - 0.08) / 0.92))))


class Run:
    """A training with its state: parameters, their average, optimiser, and the time that has passed."""

    def __init__(self, clips: Clips, device: torch.device, settings: AudioTraining, checkpoint: Path) -> None:
        torch.manual_seed(settings.seed)
        self.settings, self.device, self.clips, self._checkpoint = settings, device, clips, checkpoint
        module = AudioLearner(len(clips.kinds), clips.teacher.shape[1], settings.dropout)
        self.module = module.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.average = deepcopy(self.module).requires_grad_(False)
        decayed = [p for p in self.module.parameters() if p.ndim > 1]
        others = [p for p in self.module.parameters() if p.ndim <= 1]
        self._optimiser = torch.optim.AdamW(
            [{"params": decayed, "weight_decay": settings.decay}, {"params": others, "weight_decay": 0.0}],
            lr=settings.rate,
            betas=(0.9, 0.98),
        )
        self._front_end = FrontEnd(AudioSettings()).to(device)
        self._pain = CATEGORIES.index("Pain")
        self.updates, self.elapsed_s = 0, 0.0
        if checkpoint.exists():
            # On the CPU, where the optimiser keeps its counts of steps.
            state = torch.load(checkpoint, map_location="cpu", weights_only=True)
            self.module.load_state_dict(state["module"])
            self.average.load_state_dict(state["average"])
            self._optimiser.load_state_dict(state["optimiser"])
            self.updates, self.elapsed_s = state["updates"], state["elapsed_s"]

    def save(self) -> None:
        """Write the checkpoint."""
        partial = self._checkpoint.with_suffix(".part")
        torch.save(
            {
                "module": self.module.state_dict(),
                "average": self.average.state_dict(),
                "optimiser": self._optimiser.state_dict(),
                "updates": self.updates,
                "elapsed_s": self.elapsed_s,
            },
            partial,
        )
        partial.replace(self._checkpoint)

    def train(self, piece_s: float) -> bool:
        """Train until the time, or this piece of it, is over; returns whether all of it is."""
        begun, before_s = time.monotonic(), self.elapsed_s
        reported_s = saved_s = before_s
        losses: list[Tensor] = []
        self.module.train()
        while self.elapsed_s < self.settings.seconds and self.elapsed_s - before_s < piece_s:
            losses.append(self._update())
            self.elapsed_s = before_s + time.monotonic() - begun
            if self.elapsed_s - reported_s > _REPORT_S:
                # The mean waits for the device, so the clock is read again.
                mean = torch.stack(losses).mean().item()
                self.elapsed_s = before_s + time.monotonic() - begun
                print(f"audio: {self.elapsed_s:.0f} s, {self.updates} updates, loss {mean:.3f}", flush=True)
                losses, reported_s = [], self.elapsed_s
                if not math.isfinite(mean):
                    raise RuntimeError("the loss is not finite: lower the learning rate")
            if self.elapsed_s - saved_s > _CHECKPOINT_S:
                self.save()
                saved_s = self.elapsed_s
        self.save()
        return self.elapsed_s >= self.settings.seconds

    def _update(self) -> Tensor:
        settings = self.settings
        rng = torch.Generator(self.device).manual_seed(settings.seed * 1_000_003 + self.updates)
        for group in self._optimiser.param_groups:
            group["lr"] = rate_at(self.elapsed_s / settings.seconds, settings.rate)
        with torch.no_grad():
            batch = draw_batch(self.clips, self._front_end, settings.batch, rng)
        with half_precision(self.device):
            if self.updates % 2:
                loss = mixed_loss(self.module, batch, settings.mixup, rng, self._pain)
            else:
                loss = loss_of(self.module(batch.mels), batch, self._pain)
        self._optimiser.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(self.module.parameters(), 2.0)
        self._optimiser.step()
        self.updates += 1
        # Early averages would remember the random start.
        keep = min(settings.smoothing, self.updates / (self.updates + 10))
        with torch.no_grad():
            for mean, value in zip(self.average.state_dict().values(), self.module.state_dict().values(), strict=True):
                if mean.is_floating_point():
                    mean.lerp_(value, 1 - keep)
                else:
                    mean.copy_(value)
        if self.device.type == "cuda" and self.updates % 10 == 0:
            # Without it the host would run ahead, and the clock with it.
            torch.cuda.synchronize(self.device)
        return loss.detach()


def save_windows(clips: Clips, windows: int, path: Path, settings: AudioTraining) -> None:
    """Draw windows as for training, without blanked bands: spectrograms (n, 1, 128, 300) uint8 and pain (n,)."""
    device = clips.samples.device
    front_end, mels, pain = FrontEnd(AudioSettings()).to(device), [], []
    for first in range(0, windows, settings.batch):
        rng = torch.Generator(device).manual_seed(settings.seed + 7 + first)
        batch = draw_batch(clips, front_end, min(settings.batch, windows - first), rng, blank=False)
        mels.append((batch.mels * 255).round().to(torch.uint8).cpu().numpy())
        pain.append(batch.pain.cpu().numpy())
    np.savez(path, mels=np.concatenate(mels), pain=np.concatenate(pain))


def train_audio(
    pack: Path,
    device: str,
    settings: AudioTraining,
    out: Path,
    piece_s: float = math.inf,
    jobs: int = 0,
    windows: int = 8192,
) -> bool:
    """Pretrain the audio encoder; returns False where a piece ended before the time was over.

    Args:
        pack: of `audio_pack.py`.
        device: "cuda", "cpu", ...
        out: folder for the results and the checkpoint.
        piece_s: stop after this much training, to be resumed by the same call.
        jobs: threads that decode; 0 for all cores.
        windows: how many windows to keep for the fusion.
    """
    out.mkdir(parents=True, exist_ok=True)
    where = torch.device(device)
    begun = time.monotonic()
    audio, teacher = read_pack(pack, jobs or os.cpu_count() or 1), read_teacher(pack)
    clips = load_clips(audio, "train", where, teacher)
    print(f"audio: {len(clips.start)} clips to learn from, read in {time.monotonic() - begun:.1f} s", flush=True)
    if where.type == "cuda":
        torch.backends.cudnn.benchmark = True
    run = Run(clips, where, settings, out / "audio_checkpoint.pt")
    if not run.train(piece_s):
        return False
    average = run.average.eval()
    state = {name: tensor.contiguous().cpu() for name, tensor in average.state_dict().items()}
    encoder = {n.removeprefix("encoder."): t for n, t in state.items() if n.startswith("encoder.")}
    save_file(encoder, out / "audio_encoder.safetensors")
    save_file({n: t for n, t in state.items() if not n.startswith("encoder.")}, out / "audio_heads.safetensors")
    save_windows(clips, windows, out / "bursts.npz", settings)
    metrics = {part: measure(average, audio, part, where) for part in ("validation", "test")}
    record = {
        "settings": asdict(settings),
        "device": device,
        "updates": run.updates,
        "groups": list(group_names(audio)),
        "metrics": metrics,
    }
    (out / "audio_metrics.json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(metrics, indent=1), flush=True)
    return True


def main(
    pack: Annotated[Path, typer.Argument(help="Of weights/recipe/audio_pack.py.")],
    out: Annotated[Path, typer.Option(help="Folder for the results.")],
    device: str = "cpu",
    seconds: Annotated[float, typer.Option(help="Time to train for.")] = 9000.0,
    batch: Annotated[int, typer.Option(help="Windows per update.")] = 64,
    rate: Annotated[float, typer.Option(help="Peak of the learning rate.")] = 6e-4,
    smoothing: Annotated[float, typer.Option(help="Of the average of the parameters.")] = 0.993,
    piece_seconds: Annotated[float, typer.Option(help="Stop after this much, to be resumed.")] = math.inf,
    windows: Annotated[int, typer.Option(help="Windows to keep for the fusion.")] = 8192,
) -> None:
    """Pretrain the audio encoder."""
    settings = AudioTraining(seconds, batch=batch, rate=rate, smoothing=smoothing)
    if not train_audio(pack, device, settings, out, piece_seconds, windows=windows):
        print("not finished: give the same command again", flush=True)


if __name__ == "__main__":
    typer.run(main)
