"""Train the fusion on pretrained encoders, then everything together at 224 px (the paper's two stages).

    .venv/bin/python -m weights.recipe.learn_fusion subjects --face face.safetensors \
        --audio audio/audio_encoder.safetensors --bursts audio/bursts.npz --out network.pt --device cuda

Training items are segments of phantoms with audio and face, audio alone (bursts, cries and sounds of surroundings, with
pain by construction) and faces alone (photographs of people without pain). Segments of phantoms lose a modality at
random, and segments without pain exchange their audio or their face for another's without pain, so that neither a voice
nor a face is taken for pain because of whom it belongs to.

The first stage freezes the encoders and trains on embeddings of several augmented views, computed once; the second
trains all parameters on fresh views. Batch norm keeps its statistics in both. Metrics are of subjects that are not
trained on.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn.functional import smooth_l1_loss

from avpenet_cli.model.architecture import Architecture
from avpenet_cli.model.avpenet import AVPENet
from avpenet_cli.model.initialise import seeded_state
from avpenet_cli.model.losses import boundary_loss, ordinal_loss
from weights.recipe.augment_faces import FaceAugmenter
from weights.recipe.learning import Budget, Run, WeightAverage, adamw, half_precision
from weights.recipe.load_subjects import KINDS, Audio, Faces, load_audio, load_faces, pairs, validates

FRAMES = 8
NONE = -1
_NO_PAIN = 0.7
"""Pain, points, under which a segment counts as one without."""
_DROP_AUDIO, _DROP_FACE = 0.25, 0.25
_EXCHANGE = 0.3
_ORDINAL, _BOUNDARY = 0.3, 0.02
"""Weights of the paper's terms beside the error; the paper's boundary term of 0.1 would push faces at rest up to 1."""
_MIX = {"phantoms": 0.6, "audio": 0.25, "faces": 0.15}


@dataclass(frozen=True)
class Material:
    """What the fusion learns from; everything on one device.

    Attributes:
        mels: (Ka, 1, 128, 300) uint8.
        crops: (n, 3, 224, 224) uint8.
        clips: (Kf, 8) int64 rows of `crops`.
        audio, face: (m,) int64 rows of `mels` and `clips` of each item, or -1.
        pain: (m,) float32 of each item.
        group: (m,) int64: 0 phantom, 1 audio alone, 2 face alone.
        validates: (m,) bool items that are not trained on.
    """

    mels: Tensor
    crops: Tensor
    clips: Tensor
    audio: Tensor
    face: Tensor
    pain: Tensor
    group: Tensor
    validates: Tensor


def gather(faces: Faces, audio: Audio, bursts: tuple[Tensor, Tensor], device: torch.device) -> Material:
    """Join phantoms, bursts and still faces.

    Args:
        faces, audio: of the same subjects.
        bursts: (Kb, 1, 128, 300) uint8 spectrograms and (Kb,) float32 pain.
        device: for all tensors.
    """
    clips: list[Tensor] = []
    items: list[tuple[int, int, float, int, bool]] = []
    for row, own in pairs(faces, audio):
        items.append((row, len(clips), float(audio.pain[row]), 0, bool(validates(audio.subject[row]))))
        clips.append(own[torch.arange(FRAMES) % len(own)])
    stills = faces.kind == KINDS.index("stills")
    for subject in faces.subject[stills].unique().tolist():
        own = ((faces.subject == subject) & stills).nonzero()[:, 0]
        for part in own.split(FRAMES):
            items.append((NONE, len(clips), 0.0, 2, subject % 20 == 19))
            clips.append(part[torch.arange(FRAMES) % len(part)])
    known = len(audio.mels)
    items += [(known + number, NONE, float(pain), 1, False) for number, pain in enumerate(bursts[1].tolist())]
    columns = list(zip(*items, strict=True))
    return Material(
        mels=torch.cat([audio.mels, bursts[0]]).to(device),
        crops=faces.crops.to(device),
        clips=torch.stack(clips).to(device),
        audio=torch.tensor(columns[0], device=device),
        face=torch.tensor(columns[1], device=device),
        pain=torch.tensor(columns[2], device=device, dtype=torch.float32),
        group=torch.tensor(columns[3], device=device),
        validates=torch.tensor(columns[4], device=device),
    )


@dataclass(frozen=True)
class Items:
    """Items of a batch: rows of `mels` and `clips` or -1, and pain; (B,) each."""

    audio: Tensor
    face: Tensor
    pain: Tensor


class ItemSampler:
    """Draws batches of training items, with modalities dropped and exchanged."""

    def __init__(self, material: Material, seed: int) -> None:
        device = material.pain.device
        self._rng = torch.Generator(device).manual_seed(seed)
        self._material = material
        trained = ~material.validates
        self._rows = [(trained & (material.group == group)).nonzero()[:, 0] for group in range(3)]
        quiet = trained & (material.pain < _NO_PAIN)
        self._quiet_audio = material.audio[quiet & (material.audio != NONE)]
        self._quiet_faces = material.face[quiet & (material.face != NONE)]

    def draw(self, size: int) -> Items:
        """A batch of about `size` items; at least one modality is left of each."""
        chosen = []
        for rows, share in zip(self._rows, _MIX.values(), strict=True):
            if len(rows):
                chosen.append(rows[self._integers(len(rows), round(size * share))])
        rows = torch.cat(chosen)
        audio, face, pain = (getattr(self._material, name)[rows].clone() for name in ("audio", "face", "pain"))
        quiet = pain < _NO_PAIN
        for own, others in ((audio, self._quiet_audio), (face, self._quiet_faces)):
            if len(others):
                exchanged = quiet & (self._uniform(len(rows)) < _EXCHANGE)
                own[exchanged] = others[self._integers(len(others), int(exchanged.sum()))]
        both = (audio != NONE) & (face != NONE)
        fate = self._uniform(len(rows))
        audio[both & (fate < _DROP_AUDIO)] = NONE
        face[both & (fate > 1 - _DROP_FACE)] = NONE
        return Items(audio, face, pain)

    def _integers(self, high: int, count: int) -> Tensor:
        return torch.randint(high, (count,), generator=self._rng, device=self._material.pain.device)

    def _uniform(self, count: int) -> Tensor:
        return torch.rand(count, generator=self._rng, device=self._material.pain.device)


def augment_mels(mels: Tensor, rng: torch.Generator) -> Tensor:
    """Change contrast, add noise, shift in time, and mask bands of spectrograms (SpecAugment, Park et al. 2019).

    Args:
        mels: (n, 1, 128, 300) uint8.

    Returns:
        Same shape, float32 in [0, 1].
    """
    n, device = len(mels), mels.device

    def draw(low: float, high: float) -> Tensor:
        return low + (high - low) * torch.rand((n, 1, 1, 1), generator=rng, device=device)

    out = (mels.float() / 255) ** draw(0.8, 1.25)
    noise = torch.randn(out.shape, generator=rng, device=device)
    out = torch.where(out > 0, out + draw(0.0, 0.05) * noise, out)
    band = torch.arange(out.shape[2], device=device)
    for _ in range(2):
        start = torch.randint(0, out.shape[2], (n, 1), generator=rng, device=device)
        width = torch.randint(0, 12, (n, 1), generator=rng, device=device)
        out = out.masked_fill(((band >= start) & (band < start + width))[:, None, :, None], 0.0)
    return out.clamp(0.0, 1.0)


class FusionTraining:
    """Both stages on one material.

    Args:
        network: with pretrained encoders, on the device.
        material: on the same device.
        folder: for checkpoints.
        views: augmented views of each item for the first stage.
        side_px: of the crops that the network sees.
    """

    def __init__(self, network: AVPENet, material: Material, folder: Path, views: int = 4, side_px: int = 224) -> None:
        self.network = network
        self._material = material
        self._device = material.pain.device
        self._folder = folder
        self._views = views
        self._side_px = side_px
        self._augment = FaceAugmenter(side_px, self._device, 7)
        self._rng = torch.Generator(self._device).manual_seed(8)
        self._sampler = ItemSampler(material, 9)
        self.average = WeightAverage(network, 0.995)

    def first_stage(self, budget: Budget, rate: float = 4e-4, batch: int = 512) -> None:
        """Train fusion and head on embeddings of frozen encoders."""
        network = self.network
        network.eval()
        views = [(self._embed_audio(), self._embed_faces()) for _ in range(self._views)]
        heads = nn.ModuleList([network.fusion, network.head, network.audio_dropout, network.visual_dropout])
        numbers = torch.Generator().manual_seed(10)

        def loss_of(progress: float) -> Tensor:
            network.audio_encoder.eval()
            network.visual_encoder.eval()
            items = self._sampler.draw(batch)
            audio, face = views[int(torch.randint(self._views, (1,), generator=numbers))]
            audio_tokens = audio[items.audio.clamp(min=0)].float()
            face_tokens = face[items.face.clamp(min=0)].float()
            return self._loss(audio_tokens, face_tokens, items)

        run = Run(
            "fusion on frozen encoders",
            network,
            adamw([(heads, rate)], 0.05),
            budget,
            self.average,
            self._folder / "fusion-1.ckpt",
        )
        run.train(loss_of)
        self.network.load_state_dict(self.average.module.state_dict())

    def second_stage(self, budget: Budget, encoder_rate: float = 3e-5, rate: float = 1e-4, batch: int = 96) -> None:
        """Train all parameters on fresh views."""
        network = self.network
        network.requires_grad_(True)
        heads = nn.ModuleList([network.fusion, network.head])
        encoders = nn.ModuleList([network.audio_encoder, network.visual_encoder])

        def loss_of(progress: float) -> Tensor:
            network.audio_encoder.eval()
            network.visual_encoder.eval()
            items = self._sampler.draw(batch)
            with half_precision(self._device):
                heard, seen = items.audio != NONE, items.face != NONE
                mels = augment_mels(self._material.mels[items.audio[heard]], self._rng)
                crops = self._material.crops[self._material.clips[items.face[seen]].flatten()]
                own_audio = network.encode_audio(mels)
                views = self._augment(crops, same=FRAMES).contiguous(memory_format=torch.channels_last)
                own_faces = network.encode_faces(views)
            audio_tokens = own_audio.new_zeros((len(items.pain), *own_audio.shape[1:]), dtype=torch.float32)
            audio_tokens = audio_tokens.index_put((heard.nonzero()[:, 0],), own_audio.float())
            face_tokens = own_faces.new_zeros((len(items.pain), FRAMES, own_faces.shape[1]), dtype=torch.float32)
            face_tokens = face_tokens.index_put((seen.nonzero()[:, 0],), own_faces.float().unflatten(0, (-1, FRAMES)))
            return self._loss(audio_tokens, face_tokens, items)

        run = Run(
            f"everything at {self._side_px} px",
            network,
            adamw([(encoders, encoder_rate), (heads, rate)], 0.05),
            budget,
            self.average,
            self._folder / "fusion-2.ckpt",
        )
        run.train(loss_of)
        self.network.load_state_dict(self.average.module.state_dict())

    def _loss(self, audio_tokens: Tensor, face_tokens: Tensor, items: Items) -> Tensor:
        audio_tokens = audio_tokens * (items.audio != NONE)[:, None, None]
        mask = (items.face != NONE)[:, None].expand(-1, face_tokens.shape[1])
        scores = self.network.score(audio_tokens, face_tokens, mask)
        error = smooth_l1_loss(scores, items.pain, beta=0.5)
        return error + _ORDINAL * ordinal_loss(scores, items.pain, 0.5) + _BOUNDARY * boundary_loss(scores, 1.0)

    @torch.inference_mode()
    def _embed_audio(self) -> Tensor:
        tokens = []
        for part in self._material.mels.split(512):
            with half_precision(self._device):
                tokens.append(self.network.encode_audio(augment_mels(part, self._rng)).to(torch.bfloat16))
        return torch.cat(tokens).clone()

    @torch.inference_mode()
    def _embed_faces(self) -> Tensor:
        tokens = []
        for part in self._material.clips.split(64):
            with half_precision(self._device):
                views = self._augment(self._material.crops[part.flatten()], same=FRAMES)
                views = views.contiguous(memory_format=torch.channels_last)
                tokens.append(self.network.encode_faces(views).to(torch.bfloat16).unflatten(0, (-1, FRAMES)))
        return torch.cat(tokens).clone()

    @torch.inference_mode()
    def metrics(self) -> dict[str, dict[str, float]]:
        """MAE, bias and correlation of the items that validate, with both modalities and with each alone."""
        material, network = self._material, self.network.eval()
        rows = (material.validates & (material.group == 0)).nonzero()[:, 0]
        scores: dict[str, list[Tensor]] = {"both": [], "audio": [], "face": []}
        plain = FaceAugmenter(self._side_px, self._device, 0).plain
        for part in rows.split(64):
            crops = plain(material.crops[material.clips[material.face[part]].flatten()])
            with half_precision(self._device):
                audio = network.encode_audio(material.mels[material.audio[part]].float() / 255).float()
                face = network.encode_faces(crops.contiguous(memory_format=torch.channels_last)).float()
            face = face.unflatten(0, (-1, FRAMES))
            scores["both"].append(network.score(audio, face).cpu())
            scores["audio"].append(network.score(audio, None).cpu())
            scores["face"].append(network.score(None, face).cpu())
        truth = material.pain[rows].cpu().numpy()
        return {
            name: _metrics_of(torch.cat(values).numpy(), truth) for name, values in scores.items() if len(truth) > 2
        }


def _metrics_of(scores: np.ndarray, truth: np.ndarray) -> dict[str, float]:
    error = scores - truth
    free = truth < _NO_PAIN
    return {
        "segments": len(truth),
        "mae": round(float(np.abs(error).mean()), 3),
        "bias": round(float(error.mean()), 3),
        "bias_without_pain": round(float(error[free].mean()), 3) if free.any() else float("nan"),
        "pearson": round(float(np.corrcoef(scores, truth)[0, 1]), 3),
    }


def initial_network(face: Path, audio: Path, device: torch.device) -> AVPENet:
    """The network with pretrained encoders; its fusion and head are random."""
    network = AVPENet(Architecture(may_be_missing=("audio", "face")))
    network.load_state_dict(seeded_state(network, 42))
    network.visual_encoder.load_state_dict(load_file(face))
    network.audio_encoder.load_state_dict(load_file(audio))
    return network.to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]


def load_bursts(path: Path) -> tuple[Tensor, Tensor]:
    """Spectrograms (K, 1, 128, 300) uint8 and pain (K,) float32 of audio alone."""
    with np.load(path) as stored:
        return torch.from_numpy(stored["mels"]), torch.from_numpy(stored["pain"].astype(np.float32))


def main(
    subjects: Annotated[Path, typer.Argument(help="Folder of weights.recipe.subjects.")],
    face: Annotated[Path, typer.Option(help="Encoder of weights.recipe.learn_faces.")],
    audio: Annotated[Path, typer.Option(help="Encoder of weights.recipe.audio_train.")],
    bursts: Annotated[Path, typer.Option(help="Windows of weights.recipe.audio_train, .npz.")],
    out: Annotated[Path, typer.Option(help="File for the network's state dict.")],
    device: str = "cpu",
    updates: Annotated[str, typer.Option(help="Updates of the two stages.")] = "",
    seconds: Annotated[str, typer.Option(help="Time of the two stages, where --updates is not given.")] = "40,120",
    threads: int = 8,
) -> None:
    """Train the fusion, then everything."""
    where = torch.device(device)
    network = initial_network(face, audio, where)
    material = gather(load_faces(subjects, 224, threads), load_audio(subjects, threads), load_bursts(bursts), where)
    training = FusionTraining(network, material, out.parent)
    counts = [int(value) for value in updates.split(",")] if updates else [None, None]
    times = [float(value) for value in seconds.split(",")]
    training.first_stage(Budget(counts[0], times[0]))
    report = {"first": training.metrics()}
    training.second_stage(Budget(counts[1], times[1]))
    report["second"] = training.metrics()
    torch.save(training.network.state_dict(), out)
    out.with_suffix(".json").write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(report), flush=True)


if __name__ == "__main__":
    typer.run(main)
