"""Pretrain both encoders on phantoms: action units for the face, utterances and pain for the audio.

    .venv/bin/python -m weights.recipe.pretrain_encoders STORE --phantoms PHANTOMS --out encoders.safetensors

STORE was prepared from the recordings in PHANTOMS, the folder of one `avpenet phantom make`. The paper's encoders came
with ImageNet, VGGFace2 and AudioSet, then expression and audio-event recognition. Here only the last two are possible,
and only on phantoms, whose scenes are drawn again from `phantoms.json`: the face encoder learns the action units of
single frames, the audio encoder the utterances in each 0.3 s and the pain of each segment. Only subjects of the store's
`train` split are used, and with `--extra` those of `weights/recipe/extra_subjects.py`; metrics are of its `validation`
split. The result is for `avpenet train --init`; its fusion and head have random parameters, so its scores mean nothing.

With `--init` the encoders start from other weights, and continue to learn from subjects that these have not seen. The
first stage of the face encoder, which sees edges, is then frozen: it takes half of the time.

Given again after an interruption, it resumes after the last finished step. On a CPU, memory that is kept instead of
being returned to the system saves a quarter of the time: set `MALLOC_MMAP_MAX_=0`,
`MALLOC_TRIM_THRESHOLD_=100000000000` and `THP_MEM_ALLOC_ENABLE=1`.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import torch
import typer
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, mse_loss

from avpenet_cli.dataset.store import SegmentStore
from avpenet_cli.model.architecture import Architecture
from avpenet_cli.model.encoders import EMBEDDING, AudioEncoder, VisualEncoder
from avpenet_cli.model.initialise import seeded_state
from avpenet_cli.model.registry import build
from avpenet_cli.phantom.make import scenes
from avpenet_cli.phantom.scene import Scene
from avpenet_cli.settings import digest_of
from avpenet_cli.training.initial import NETWORK_NAME
from avpenet_cli.training.training_record import is_of_phantoms
from avpenet_cli.weights import WeightsDescription, WeightsEntry, find, load_network, save
from weights.recipe.extra_subjects import seed_of, utterance_kinds
from weights.recipe.pretraining_data import augment_faces, augment_spectrograms, load_audio, load_faces

UNITS = 9
FACE_STEPS = "64:1500,112:700,224:150"
_REPORT_EVERY = 50
_PAIN_WEIGHT = 0.005
"""Weight of the squared error of pain, points, against that of action units in [0, 1]; makes both about equal."""


@dataclass(frozen=True)
class Step:
    """Part of the pretraining: side of the faces, number of updates, batch size and peak learning rate."""

    side_px: int
    updates: int
    batch: int
    rate: float


def run_step(
    name: str, step: Step, module: nn.Module, count: int, loss_of: Callable[[Tensor, torch.Generator], Tensor]
) -> None:
    """Train with AdamW and one cycle of the learning rate; prints the loss."""
    rng = torch.Generator().manual_seed(step.side_px)
    torch.manual_seed(step.side_px)
    optimiser = torch.optim.AdamW(module.parameters(), lr=step.rate, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, step.rate, total_steps=step.updates, pct_start=0.15)
    module.train()
    begun, sums = time.monotonic(), 0.0
    for update, rows in zip(range(1, step.updates + 1), _batches(count, step.batch, rng), strict=False):
        with torch.autocast("cpu", torch.bfloat16):
            loss = loss_of(rows, rng)
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(module.parameters(), 1.0)
        optimiser.step()
        schedule.step()
        sums += loss.item()
        if update % _REPORT_EVERY == 0:
            minutes = (time.monotonic() - begun) / 60
            print(f"{name}: {update} of {step.updates}, loss {sums / _REPORT_EVERY:.4f}, {minutes:.1f} min", flush=True)
            sums = 0.0


def _batches(count: int, size: int, rng: torch.Generator) -> Iterator[Tensor]:
    while True:
        order = torch.randperm(count, generator=rng)
        yield from (order[start : start + size] for start in range(0, max(count - size, 0) + 1, size))


class FaceLearner(nn.Module):
    """The face encoder with a head for action units and pain.

    Args:
        state: initial parameters of the encoder.
        freeze_stem: leave its first stage unchanged, batch norm included.
    """

    def __init__(self, state: Mapping[str, Tensor], freeze_stem: bool) -> None:
        super().__init__()
        self.encoder = VisualEncoder()
        self.encoder.load_state_dict(dict(state))
        self.head = nn.Sequential(nn.Dropout(0.2), nn.Linear(EMBEDDING, UNITS + 1))
        stem: list[nn.Module] = [self.encoder.conv1, self.encoder.bn1, self.encoder.layer1]
        self._frozen = stem if freeze_stem else []
        for part in self._frozen:
            part.requires_grad_(False)
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def train(self, mode: bool = True) -> FaceLearner:
        """Set the mode; frozen parts stay in evaluation mode."""
        super().train(mode)
        for part in self._frozen:
            part.eval()
        return self

    def forward(self, faces: Tensor) -> Tensor:
        """(N, 3, side, side) float32, normalised -> (N, 10) float32: nine units in about [0, 1], pain in points."""
        output: Tensor = self.head(self.encoder(faces.contiguous(memory_format=torch.channels_last)))
        return torch.cat([output[:, :UNITS], 5 + output[:, UNITS:]], dim=1).float()


def face_loss(output: Tensor, target: Tensor) -> Tensor:
    """Squared error of the action units, and of the pain where it is known; both (n, 10), as in `load_faces`."""
    pain = target[:, UNITS].isfinite()
    loss = mse_loss(output[:, :UNITS], target[:, :UNITS])
    if not pain.any():
        return loss
    return loss + _PAIN_WEIGHT * mse_loss(output[pain, UNITS], target[pain, UNITS])


def pretrain_faces(
    store: SegmentStore,
    scenes: dict[str, Scene],
    steps: list[Step],
    folder: Path,
    extra: Path | None,
    state: Mapping[str, Tensor],
    freeze_stem: bool,
) -> VisualEncoder:
    """Pretrain the face encoder on action units and pain; the state after each step is kept in the folder."""
    torch.manual_seed(1)
    face = store.preprocessing.face
    mean, std = (torch.tensor(value).view(1, 3, 1, 1) for value in (face.pixel_mean, face.pixel_std))
    module = FaceLearner(state, freeze_stem)
    name = "face"
    for step in steps:
        # The name holds all earlier steps, so that other steps are not mistaken for these.
        name += f"-{step.side_px}x{step.updates}x{step.batch}"
        if _read(folder / f"{name}.pt", module):
            continue
        crops, units = load_faces(store, scenes, "train", step.side_px, 2, extra)

        def loss_of(rows: Tensor, rng: torch.Generator, crops: Tensor = crops, units: Tensor = units) -> Tensor:
            return face_loss(module((augment_faces(crops[rows].float() / 255, rng) - mean) / std), units[rows])

        run_step(f"faces of {step.side_px} px", step, module, len(crops), loss_of)
        _write(folder / f"{name}.pt", module)
        del crops, units, loss_of
        if not len(store.rated("validation")):
            continue
        module.eval()
        crops, units = load_faces(store, scenes, "validation", step.side_px, 5)
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
            output = torch.cat([module((part.float() / 255 - mean) / std) for part in crops.split(64)])
        shares = 1 - (output - units).square().mean(dim=0) / units.var(dim=0)
        r2 = [round(share, 2) for share in shares.tolist()]
        print(f"faces of {step.side_px} px: R2 on validation by unit {r2[:UNITS]}, of pain {r2[UNITS]}", flush=True)
        del crops, units
    return module.encoder


def pretrain_audio(
    store: SegmentStore,
    scenes: dict[str, Scene],
    step: Step,
    folder: Path,
    extra: Path | None,
    state: Mapping[str, Tensor],
) -> AudioEncoder:
    """Pretrain the audio encoder on utterances and pain; its state is kept in the folder."""
    torch.manual_seed(0)
    encoder = AudioEncoder()
    encoder.load_state_dict(dict(state))
    kinds = utterance_kinds(scenes.values())
    heads = nn.ModuleList([nn.Linear(EMBEDDING, len(kinds)), nn.Linear(EMBEDDING, 1)])
    module = nn.ModuleDict({"encoder": encoder, "heads": heads})
    module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    path = folder / f"audio-{step.updates}x{step.batch}.pt"
    if _read(path, module):
        return encoder
    mels, shares, pain = load_audio(store, scenes, "train", kinds, extra)

    def forward(batch: Tensor) -> tuple[Tensor, Tensor]:
        tokens = nn.functional.dropout(encoder(batch), 0.2, encoder.training)
        return heads[0](tokens).float(), 5 + heads[1](tokens.mean(dim=1))[:, 0].float()

    def loss_of(rows: Tensor, rng: torch.Generator) -> Tensor:
        events, scores = forward(augment_spectrograms(mels[rows], rng))
        return binary_cross_entropy_with_logits(events, shares[rows]) + 0.05 * mse_loss(scores, pain[rows])

    run_step("audio", step, module, len(mels), loss_of)
    _write(path, module)
    if not len(store.rated("validation")):
        return encoder
    module.eval()
    mels, shares, pain = load_audio(store, scenes, "validation", kinds)
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        events, scores = (torch.cat(parts) for parts in zip(*map(forward, mels.split(64)), strict=True))
    entropy = binary_cross_entropy_with_logits(events, shares)
    mae = (scores - pain).abs().mean()
    print(f"audio: validation cross-entropy {entropy:.3f}, MAE of pain by audio alone {mae:.2f}", flush=True)
    return encoder


def _parameters_of(state: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in state.items() if name.startswith(prefix)}


def _steps_folder(
    out: Path, store: SegmentStore, phantoms: Path, extra: Path | None, entry: WeightsEntry | None
) -> Path:
    """The folder for the steps of this run; its name depends on store, extra subjects and initial weights."""
    run: dict[str, object] = {"store": store.digest, "init": entry.digest if entry else ""}
    if extra:
        own = json.loads((phantoms / "phantoms.json").read_text(encoding="utf-8"))["order"]["seed"]
        for kind in ("faces", "audio"):
            if seed_of(extra / kind) == own:
                raise typer.BadParameter(f"{extra / kind} has the subjects of {phantoms}: make it with another seed")
            run[kind] = [seed_of(extra / kind), sorted(path.name for path in (extra / kind).iterdir())]
    folder = out.with_suffix(".steps") / digest_of(run)[:16]
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _read(path: Path, module: nn.Module) -> bool:
    if path.exists():
        module.load_state_dict(torch.load(path, weights_only=True))
    return path.exists()


def _write(path: Path, module: nn.Module) -> None:
    partial = path.with_suffix(".tmp")
    torch.save(module.state_dict(), partial)
    partial.replace(path)


def _steps(text: str, batch: int) -> list[Step]:
    steps = []
    for part in text.split(","):
        side_px, updates = (int(number) for number in part.split(":"))
        rate = 1e-3 if side_px < 100 else 6e-4 if side_px < 200 else 3e-4
        # Square root scaling with the batch size (Malladi et al. 2022); the rates were chosen for 64.
        steps.append(Step(side_px, updates, batch, rate * math.sqrt(batch / 64)))
    return steps


def main(
    store: Annotated[Path, typer.Argument(help="From avpenet prepare.")],
    phantoms: Annotated[Path, typer.Option(help="The folder of avpenet phantom make.")],
    out: Annotated[Path, typer.Option(help="NAME.safetensors, for avpenet train --init.")],
    extra: Annotated[Path | None, typer.Option(help="Folder of weights.recipe.extra_subjects.")] = None,
    init: Annotated[str | None, typer.Option(help="Name or file of weights with the initial encoders.")] = None,
    face_steps: Annotated[str, typer.Option(help="Steps in order, SIDE_PX:UPDATES each.")] = FACE_STEPS,
    audio_updates: int = 400,
    batch: Annotated[int, typer.Option(help="Faces per batch; half as many audio segments.")] = 64,
) -> None:
    """Pretrain both encoders on phantoms."""
    opened, scene_of = SegmentStore.open(store), scenes(phantoms)
    if not is_of_phantoms(opened):
        raise typer.BadParameter(f"{store} was not made of phantoms")
    network = build(NETWORK_NAME, Architecture())
    state = seeded_state(network, 42)
    entry = find(init) if init else None
    initial = load_network(entry).state_dict() if entry else state
    folder = _steps_folder(out, opened, phantoms, extra, entry)
    audio = pretrain_audio(
        opened,
        scene_of,
        Step(0, audio_updates, max(batch // 2, 2), 1e-3),
        folder,
        extra,
        _parameters_of(initial, "audio_encoder."),
    )
    face = pretrain_faces(
        opened,
        scene_of,
        _steps(face_steps, batch),
        folder,
        extra,
        _parameters_of(initial, "visual_encoder."),
        freeze_stem=entry is not None,
    )
    for prefix, encoder in (("audio_encoder.", audio), ("visual_encoder.", face)):
        state |= {prefix + name: tensor for name, tensor in encoder.state_dict().items()}
    start = f"encoders from {entry.name}, digest {entry.digest}" if entry else "encoders from random parameters"
    sources = [f"Simulated patients (phantoms): store sha256 {opened.digest}, split train"]
    if extra:
        seeds = ", ".join(f"{kind} of seed {seed_of(extra / kind)}" for kind in ("faces", "audio"))
        sources.append(f"Extra synthetic subjects: {seeds}")
    if entry:
        sources.append(f"Before that: {entry.description.training_data}")
    description = WeightsDescription(
        name=out.stem,
        status="demonstration",
        intended_use="Initial parameters for avpenet train.",
        not_intended_use="Scoring anything: fusion and head are untrained.",
        training_data=". ".join(sources),
        licence=entry.description.licence if entry else "MIT",
        created_with=(
            f"weights/recipe/pretrain_encoders.py, faces {face_steps}, audio {audio_updates}, batch {batch}; {start}"
        ),
        preprocessing=opened.preprocessing,
        notice="ENCODERS pretrained on simulated recordings; fusion and head are untrained: scores mean nothing",
    )
    save(state, description, out, overwrite=True)


if __name__ == "__main__":
    typer.run(main)
