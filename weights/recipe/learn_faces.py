"""Pretrain the face encoder on the action units of single frames, and on pain.

    .venv/bin/python -m weights.recipe.learn_faces subjects --out face.safetensors --device cuda

The steps go from small crops to 224 px, each within a share of the time. The encoder learns nine action units of every
crop, and, at a small weight, the pain of the segment that the crop is from. The result is a moving average of the
weights. Metrics are of subjects that are not trained on. Given again after an interruption it resumes.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import torch
import typer
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn.functional import mse_loss, smooth_l1_loss

from avpenet_cli.model.encoders import EMBEDDING, VisualEncoder
from weights.recipe.augment_faces import FaceAugmenter
from weights.recipe.learning import Budget, Run, WeightAverage, adamw, batches, half_precision
from weights.recipe.load_subjects import KINDS, Faces, load_faces

UNITS = 9
_PAIN_WEIGHT = 0.02
_WEIGHT_DECAY = 0.05


@dataclass(frozen=True)
class FaceStep:
    """Part of the pretraining.

    Attributes:
        side_px: of the crops.
        share: of the whole budget.
        batch: crops per update.
        rate: peak learning rate.
    """

    side_px: int
    share: float
    batch: int
    rate: float


STEPS = (FaceStep(96, 0.35, 512, 2e-3), FaceStep(160, 0.35, 384, 1e-3), FaceStep(224, 0.3, 256, 4e-4))


class UnitLearner(nn.Module):
    """The face encoder with a head for action units and pain."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = VisualEncoder()
        self.head = nn.Sequential(nn.Dropout(0.2), nn.Linear(EMBEDDING, UNITS + 1))

    def forward(self, faces: Tensor) -> Tensor:
        """(n, 3, side, side) float32, normalised -> (n, 10) float32: nine units in about [0, 1], pain in tenths."""
        embeddings = self.encoder(faces.contiguous(memory_format=torch.channels_last))
        output: Tensor = self.head(embeddings).float()
        return output


def unit_loss(output: Tensor, units: Tensor, pain: Tensor) -> Tensor:
    """Squared error of the units; that of pain, where it is known (not NaN), at a small weight.

    Args:
        output: (n, 10) of `UnitLearner`.
        units: (n, 9) in [0, 1].
        pain: (n,) in [0, 10], NaN where unknown.
    """
    known = pain.isfinite()
    error = smooth_l1_loss(output[:, UNITS], torch.where(known, pain, 0.0) / 10, reduction="none", beta=0.1)
    pain_loss = torch.where(known, error, 0.0).sum() / known.sum().clamp(min=1)
    return mse_loss(output[:, :UNITS], units) + _PAIN_WEIGHT * pain_loss


@dataclass(frozen=True)
class _StepData:
    crops: Tensor
    units: Tensor
    pain: Tensor
    rows: Tensor
    drawn: Iterator[Tensor]
    augment: FaceAugmenter


def learn_faces(
    load: Callable[[], Faces], out: Path, device: torch.device, budget: Budget, steps: tuple[FaceStep, ...] = STEPS
) -> VisualEncoder:
    """Pretrain the encoder; checkpoints stand beside `out`.

    Args:
        load: gives the faces; called before each step, since more may have been rendered meanwhile.
        out: file for the encoder's state dict; its metrics go to `out` with suffix .json.
        device: to train on.
        budget: of all steps.
    """
    torch.manual_seed(12)
    module = UnitLearner().to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    rng = torch.Generator(device).manual_seed(13)
    average = WeightAverage(module)
    for number, step in enumerate(steps):
        faces = load()
        trained_rows = (~faces.validates).nonzero()[:, 0].to(device)
        crops, units = faces.crops.to(device), faces.units.to(device)
        # Faces of no segment have the row -1, which is the last.
        pain = torch.cat([faces.pain, torch.tensor([torch.nan])])[faces.segment].to(device)
        print(f"{len(crops)} faces of {len(faces.subject.unique())} subjects", flush=True)
        augment = FaceAugmenter(step.side_px, device, 100 + number)
        drawn = batches(len(trained_rows), min(step.batch, len(trained_rows)), rng, device)

        data = _StepData(crops, units, pain, trained_rows, drawn, augment)

        def loss_of(progress: float, data: _StepData = data) -> Tensor:
            rows = data.rows[next(data.drawn)]
            with half_precision(device):
                output = module(data.augment(data.crops[rows]))
            return unit_loss(output, data.units[rows], data.pain[rows])

        own = Budget(
            None if budget.updates is None else max(1, round(step.share * budget.updates)), step.share * budget.seconds
        )
        run = Run(
            f"faces at {step.side_px} px",
            module,
            adamw([(module, step.rate)], _WEIGHT_DECAY),
            own,
            average,
            out.with_suffix(f".{number}.ckpt"),
        )
        run.train(loss_of)
    best = average.module
    assert isinstance(best, UnitLearner)
    save_file({name: tensor.contiguous().cpu() for name, tensor in best.encoder.state_dict().items()}, out)
    metrics = unit_metrics(best, faces, device, steps[-1].side_px)
    out.with_suffix(".json").write_text(json.dumps(metrics, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(metrics), flush=True)
    return best.encoder


@torch.inference_mode()
def unit_metrics(module: UnitLearner, faces: Faces, device: torch.device, side_px: int) -> dict[str, list[float]]:
    """R2 of each unit on the subjects that validate, by kind of face, with their number last."""
    augment = FaceAugmenter(side_px, device, 0)
    rows = faces.validates.nonzero()[:, 0]
    module.eval()
    outputs = []
    for part in rows.split(256):
        with half_precision(device):
            outputs.append(module(augment.plain(faces.crops[part].to(device))).float().cpu())
    if not outputs:
        return {}
    output, units, kinds = torch.cat(outputs)[:, :UNITS], faces.units[rows], faces.kind[rows]
    metrics = {}
    for number, kind in enumerate(KINDS):
        own = kinds == number
        if int(own.sum()) > 1:
            shares = 1 - (output[own] - units[own]).square().mean(0) / units[own].var(0).clamp(min=1e-6)
            metrics[kind] = [*(round(float(share), 3) for share in shares), int(own.sum())]
    return metrics


def main(
    subjects: Annotated[Path, typer.Argument(help="Folder of weights.recipe.subjects.")],
    out: Annotated[Path, typer.Option(help="File for the encoder.")],
    device: str = "cpu",
    updates: Annotated[int | None, typer.Option(help="Number of updates in all.")] = None,
    seconds: Annotated[float, typer.Option(help="Time, where --updates is not given.")] = 240.0,
    threads: int = 8,
) -> None:
    """Pretrain the face encoder."""
    learn_faces(lambda: load_faces(subjects, 224, threads), out, torch.device(device), Budget(updates, seconds))


if __name__ == "__main__":
    typer.run(main)
