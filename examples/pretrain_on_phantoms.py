"""Pretrain both encoders on what phantoms do and utter, before they learn what it feels like.

    .venv/bin/python -m examples.pretrain_on_phantoms STORE --phantoms PHANTOMS --out encoders.safetensors

STORE was prepared from the recordings in PHANTOMS, the folder of one `avpenet phantom make`. The article's encoders
came with ImageNet, VGGFace2 and AudioSet, then expression and audio-event recognition. Only the last two can be had
here, and only of phantoms, whose scenes are drawn again from `phantoms.json`: the face encoder learns the action units
of single frames, the sound encoder what is uttered in each 0.3 s, and how much each segment hurts. Only subjects of the
store's `train` split are used, and with `--crowd` those of `examples/phantom_crowd.py`; figures are of its `validation`
split. The result is for `avpenet train --init`; its fusion and head are as their seed made them, so its scores mean
nothing.

With `--init` the encoders begin as those of other weights in place of chance, and go on learning from people whom these
have not seen. The face encoder's first stage, which sees edges, then stays as it is: half of the time went there.

Given again after an interruption, it goes on after the last step that was finished. On a CPU, memory that is kept
instead of being given back and asked for again saves a quarter of the time: set `MALLOC_MMAP_MAX_=0`,
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

import cv2
import numpy as np
import torch
import typer
from torch import Tensor, nn
from torch.nn.functional import affine_grid, binary_cross_entropy_with_logits, grid_sample, mse_loss

from avpenet_cli.dataset.splits import Split
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
from examples.phantom_crowd import faces_of, kinds_of, seed_of, sounds_of, uttered

SLOT_S = 0.1
UNITS = 9
FACE_STEPS = "64:1500,112:700,224:150"
_TOLD_EVERY = 50
_OF_PAIN_BY_FACE = 0.005
"""Weight of the squared error of pain, in points, beside that of intensities in [0, 1]: about as large."""


@dataclass(frozen=True)
class Step:
    """Part of the pretraining: so many updates with batches of so many, the faces this large."""

    side_px: int
    updates: int
    batch: int
    rate: float


# --- what there is to learn ------------------------------------------------------------------------------------------


def load_faces(
    store: SegmentStore, known: dict[str, Scene], split: Split, side_px: int, every: int, crowd: Path | None = None
) -> tuple[Tensor, Tensor]:
    """Faces of every so many frames, none of them twice, and all of the crowd.

    Returns:
        Crops (n, 3, side, side) uint8, and (n, 10) float32: nine action units, then the segment's pain, 0 to 10, which
        is NaN for a face of the crowd.
    """
    pictures, units = [], []
    for row in store.rated(split):
        scene = known[str(store.index["recording"].iloc[row])]
        apart = max(every, math.ceil(1 / (scene.fps * SLOT_S) - 1e-6))
        segment = store.segment(int(row), range(int(row) % apart, 30, apart))
        start_s = float(store.index["start_s"].iloc[row])
        for face, place in zip(segment.faces, segment.places, strict=False):
            small = face if side_px == len(face) else cv2.resize(face, (side_px, side_px), interpolation=cv2.INTER_AREA)
            frame = int((start_s + (place + 0.5) * SLOT_S) * scene.fps)
            pictures.append(small)
            shown = scene.motion.units[min(frame, len(scene.motion.units) - 1)]
            units.append(np.append(shown, segment.reference))
    if crowd:
        more_pictures, more_units = faces_of(crowd, side_px)
        pictures += more_pictures
        units += [np.append(one, math.nan) for one in more_units]
    crops = torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2)
    return crops, torch.from_numpy(np.stack(units).astype(np.float32))


def load_sounds(
    store: SegmentStore, known: dict[str, Scene], split: Split, kinds: list[str], crowd: Path | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    """Spectrograms (n, 1, 128, 300), shares of each token that a kind takes (n, 10, kinds), pain (n,); float32."""
    mels, heard, pains = [], [], []
    for row in store.rated(split):
        segment = store.segment(int(row), ())
        mels.append(segment.spectrogram[None])
        heard.append(uttered(known[segment.recording], float(store.index["start_s"].iloc[row]), kinds))
        pains.append(segment.reference)
    if crowd:
        more_mels, more_heard, more_pains = sounds_of(crowd, kinds)
        mels += list(more_mels)
        heard += list(more_heard)
        pains += more_pains.tolist()
    return (
        torch.from_numpy(np.stack(mels)),
        torch.from_numpy(np.stack(heard)),
        torch.tensor(pains, dtype=torch.float32),
    )


# --- augmentation ----------------------------------------------------------------------------------------------------


def varied_faces(faces: Tensor, rng: torch.Generator) -> Tensor:
    """Each face by itself mirrored, turned, shifted, scaled, lit otherwise, and now and then covered in part.

    Args:
        faces: (n, 3, side, side) float32 in [0, 1].
    """
    n = len(faces)

    def drawn(low: float, high: float, *shape: int) -> Tensor:
        return low + (high - low) * torch.rand((n, *shape), generator=rng)

    angle, scale = drawn(-0.3, 0.3), drawn(0.88, 1.12)
    flip = torch.where(torch.rand(n, generator=rng) < 0.5, -1.0, 1.0)
    cosine, sine = torch.cos(angle) / scale, torch.sin(angle) / scale
    shift = drawn(-0.12, 0.12, 2)
    turn = torch.stack([flip * cosine, -sine, shift[:, 0], flip * sine, cosine, shift[:, 1]], dim=1).view(n, 2, 3)
    moved = grid_sample(faces, affine_grid(turn, list(faces.shape), align_corners=False), align_corners=False)
    mean = moved.mean(dim=(1, 2, 3), keepdim=True)
    lit = (mean + drawn(0.7, 1.3, 1, 1, 1) * (moved - mean)) * drawn(0.75, 1.25, 1, 1, 1) * drawn(0.9, 1.1, 3, 1, 1)
    side = faces.shape[-1]
    at = torch.arange(side) / side
    centre, half = drawn(0.0, 1.0, 2), drawn(0.08, 0.22, 2)
    across, down = ((at - centre[:, axis, None]).abs() < half[:, axis, None] for axis in (0, 1))
    covered = across[:, None, :] & down[:, :, None] & (torch.rand(n, generator=rng) < 0.3)[:, None, None]
    return torch.where(covered[:, None], drawn(0.0, 1.0, 3, 1, 1), lit).clamp(0.0, 1.0)


def varied_sounds(mels: Tensor, rng: torch.Generator) -> Tensor:
    """Each spectrogram with noise of its own, its contrast changed, and bands of it left out (SpecAugment, 2019)."""
    n = len(mels)
    out = mels ** (0.7 + 0.7 * torch.rand((n, 1, 1, 1), generator=rng))
    out = out + 0.06 * torch.rand((n, 1, 1, 1), generator=rng) * torch.randn(mels.shape, generator=rng)
    band = torch.arange(mels.shape[2])
    for _ in range(2):
        start = torch.randint(0, mels.shape[2], (n, 1), generator=rng)
        width = torch.randint(0, 14, (n, 1), generator=rng)
        out = out.masked_fill(((band >= start) & (band < start + width))[:, None, :, None], 0.0)
    return out.clamp(0.0, 1.0)


# --- the pretraining -------------------------------------------------------------------------------------------------


def run_step(
    name: str, step: Step, module: nn.Module, count: int, loss_of: Callable[[Tensor, torch.Generator], Tensor]
) -> None:
    """So many updates by AdamW, the rate rising and falling once; prints how it goes."""
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
        if update % _TOLD_EVERY == 0:
            minutes = (time.monotonic() - begun) / 60
            print(f"{name}: {update} of {step.updates}, loss {sums / _TOLD_EVERY:.4f}, {minutes:.1f} min", flush=True)
            sums = 0.0


def _batches(count: int, size: int, rng: torch.Generator) -> Iterator[Tensor]:
    while True:
        order = torch.randperm(count, generator=rng)
        yield from (order[start : start + size] for start in range(0, max(count - size, 0) + 1, size))


class FaceLearner(nn.Module):
    """The face encoder, asked for action units and pain.

    Args:
        state: of the encoder, to begin with.
        settled: leave its first stage, batch norms included, as it is.
    """

    def __init__(self, state: Mapping[str, Tensor], settled: bool) -> None:
        super().__init__()
        self.encoder = VisualEncoder()
        self.encoder.load_state_dict(dict(state))
        self.answers = nn.Sequential(nn.Dropout(0.2), nn.Linear(EMBEDDING, UNITS + 1))
        stem: list[nn.Module] = [self.encoder.conv1, self.encoder.bn1, self.encoder.layer1]
        self._settled = stem if settled else []
        for part in self._settled:
            part.requires_grad_(False)
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def train(self, mode: bool = True) -> FaceLearner:
        """As usual, but what is settled never trains."""
        super().train(mode)
        for part in self._settled:
            part.eval()
        return self

    def forward(self, faces: Tensor) -> Tensor:
        """(N, 3, side, side) float32, normalised -> (N, 10) float32: nine units in about [0, 1], pain in points."""
        found: Tensor = self.answers(self.encoder(faces.contiguous(memory_format=torch.channels_last)))
        return torch.cat([found[:, :UNITS], 5 + found[:, UNITS:]], dim=1).float()


def loss_of_faces(found: Tensor, known: Tensor) -> Tensor:
    """Squared error of the action units, and of the pain where it is known; both (n, 10), as `load_faces` has them."""
    pain = known[:, UNITS].isfinite()
    loss = mse_loss(found[:, :UNITS], known[:, :UNITS])
    if not pain.any():
        return loss
    return loss + _OF_PAIN_BY_FACE * mse_loss(found[pain, UNITS], known[pain, UNITS])


def learn_faces(
    store: SegmentStore,
    known: dict[str, Scene],
    steps: list[Step],
    folder: Path,
    crowd: Path | None,
    state: Mapping[str, Tensor],
    settled: bool,
) -> VisualEncoder:
    """The face encoder, on action units and pain; each step's state is kept in the folder."""
    torch.manual_seed(1)
    face = store.preprocessing.face
    mean, std = (torch.tensor(one).view(1, 3, 1, 1) for one in (face.pixel_mean, face.pixel_std))
    module = FaceLearner(state, settled)
    done = "face"
    for step in steps:
        # Named by all steps that came before, so that others do not pass for these.
        done += f"-{step.side_px}x{step.updates}x{step.batch}"
        if _read(folder / f"{done}.pt", module):
            continue
        crops, units = load_faces(store, known, "train", step.side_px, 2, crowd)

        def loss_of(rows: Tensor, rng: torch.Generator, crops: Tensor = crops, units: Tensor = units) -> Tensor:
            return loss_of_faces(module((varied_faces(crops[rows].float() / 255, rng) - mean) / std), units[rows])

        run_step(f"faces of {step.side_px} px", step, module, len(crops), loss_of)
        _write(folder / f"{done}.pt", module)
        del crops, units, loss_of
        if not len(store.rated("validation")):
            continue
        module.eval()
        seen, known_units = load_faces(store, known, "validation", step.side_px, 5)
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
            found = torch.cat([module((part.float() / 255 - mean) / std) for part in seen.split(64)])
        shares = 1 - (found - known_units).square().mean(dim=0) / known_units.var(dim=0)
        told = [round(one, 2) for one in shares.tolist()]
        print(f"faces of {step.side_px} px: R2 on validation by unit {told[:UNITS]}, of pain {told[UNITS]}", flush=True)
        del seen, known_units
    return module.encoder


def learn_sounds(
    store: SegmentStore,
    known: dict[str, Scene],
    step: Step,
    folder: Path,
    crowd: Path | None,
    state: Mapping[str, Tensor],
) -> AudioEncoder:
    """The sound encoder, on utterances and pain."""
    torch.manual_seed(0)
    encoder = AudioEncoder()
    encoder.load_state_dict(dict(state))
    kinds = kinds_of(known.values())
    heads = nn.ModuleList([nn.Linear(EMBEDDING, len(kinds)), nn.Linear(EMBEDDING, 1)])
    module = nn.ModuleDict({"encoder": encoder, "heads": heads})
    module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    kept = folder / f"sound-{step.updates}x{step.batch}.pt"
    if _read(kept, module):
        return encoder
    mels, heard, pains = load_sounds(store, known, "train", kinds, crowd)

    def answers(given: Tensor) -> tuple[Tensor, Tensor]:
        tokens = nn.functional.dropout(encoder(given), 0.2, encoder.training)
        return heads[0](tokens).float(), 5 + heads[1](tokens.mean(dim=1))[:, 0].float()

    def loss_of(rows: Tensor, rng: torch.Generator) -> Tensor:
        events, pain = answers(varied_sounds(mels[rows], rng))
        return binary_cross_entropy_with_logits(events, heard[rows]) + 0.05 * mse_loss(pain, pains[rows])

    run_step("sounds", step, module, len(mels), loss_of)
    _write(kept, module)
    if not len(store.rated("validation")):
        return encoder
    module.eval()
    mels, heard, pains = load_sounds(store, known, "validation", kinds)
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        events, pain = (torch.cat(parts) for parts in zip(*map(answers, mels.split(64)), strict=True))
    found = binary_cross_entropy_with_logits(events, heard)
    mae = (pain - pains).abs().mean()
    print(f"sounds: validation cross-entropy {found:.3f}, MAE of pain by sound alone {mae:.2f}", flush=True)
    return encoder


def _part(state: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in state.items() if name.startswith(prefix)}


def _claimed(out: Path, store: SegmentStore, phantoms: Path, crowd: Path | None, entry: WeightsEntry | None) -> Path:
    """The folder for the steps of this run: another store, crowd or beginning has another."""
    run: dict[str, object] = {"store": store.digest, "began": entry.digest if entry else ""}
    if crowd:
        own = json.loads((phantoms / "phantoms.json").read_text(encoding="utf-8"))["order"]["seed"]
        for kind in ("faces", "sounds"):
            if seed_of(crowd / kind) == own:
                raise typer.BadParameter(f"{crowd / kind} are the people of {phantoms}: make it with another seed")
            run[kind] = [seed_of(crowd / kind), sorted(path.name for path in (crowd / kind).iterdir())]
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
        # As the noise of a batch goes (Malladi et al 2022): these rates were chosen for 64 at a time.
        steps.append(Step(side_px, updates, batch, rate * math.sqrt(batch / 64)))
    return steps


def main(
    store: Annotated[Path, typer.Argument(help="From avpenet prepare.")],
    phantoms: Annotated[Path, typer.Option(help="The folder of avpenet phantom make.")],
    out: Annotated[Path, typer.Option(help="NAME.safetensors, for avpenet train --init.")],
    crowd: Annotated[Path | None, typer.Option(help="More to learn from: the folder of phantom_crowd.")] = None,
    init: Annotated[str | None, typer.Option(help="Name or file of weights whose encoders to begin with.")] = None,
    face_steps: Annotated[str, typer.Option(help="Side of the faces:updates, in this order.")] = FACE_STEPS,
    sound_updates: int = 400,
    batch: Annotated[int, typer.Option(help="Faces at a time; half as many segments of sound.")] = 64,
) -> None:
    """Pretrain both encoders on phantoms."""
    opened, known = SegmentStore.open(store), scenes(phantoms)
    if not is_of_phantoms(opened):
        raise typer.BadParameter(f"{store} was not made of phantoms")
    network = build(NETWORK_NAME, Architecture())
    state = seeded_state(network, 42)
    entry = find(init) if init else None
    first = load_network(entry).state_dict() if entry else state
    folder = _claimed(out, opened, phantoms, crowd, entry)
    sound = learn_sounds(
        opened, known, Step(0, sound_updates, max(batch // 2, 2), 1e-3), folder, crowd, _part(first, "audio_encoder.")
    )
    face = learn_faces(
        opened,
        known,
        _steps(face_steps, batch),
        folder,
        crowd,
        _part(first, "visual_encoder."),
        settled=entry is not None,
    )
    for prefix, encoder in (("audio_encoder.", sound), ("visual_encoder.", face)):
        state |= {prefix + name: tensor for name, tensor in encoder.state_dict().items()}
    begun = f"encoders begun as those of {entry.name}, digest {entry.digest}" if entry else "begun by chance"
    learnt_from = [f"Simulated patients (phantoms): store sha256 {opened.digest}, split train"]
    if crowd:
        learnt_from.append(
            "A crowd of others: " + ", ".join(f"{k} of seed {seed_of(crowd / k)}" for k in ("faces", "sounds"))
        )
    if entry:
        learnt_from.append(f"Before that: {entry.description.training_data}")
    told = WeightsDescription(
        name=out.stem,
        status="demonstration",
        intended_use="A start for avpenet train.",
        not_intended_use="Scoring anything: fusion and head have learnt nothing.",
        training_data=". ".join(learnt_from),
        licence=entry.description.licence if entry else "MIT",
        created_with=(
            f"examples/pretrain_on_phantoms.py, faces {face_steps}, sounds {sound_updates}, batch {batch}; {begun}"
        ),
        preprocessing=opened.preprocessing,
        notice="ENCODERS pretrained on simulated recordings; fusion and head are untrained: scores mean nothing",
    )
    save(state, told, out, overwrite=True)


if __name__ == "__main__":
    typer.run(main)
