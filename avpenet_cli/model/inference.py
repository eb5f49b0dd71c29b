"""Prepare networks for inference (folded batch norm, memory layout) and run Monte Carlo dropout."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Iterator
from typing import TypeVar

import torch
from torch import Tensor, nn

from avpenet_cli.model import int8, onednn
from avpenet_cli.model.encoders import AudioEncoder, ResNetTrunk, VisualEncoder
from avpenet_cli.model.network import PainNetwork
from avpenet_cli.settings import Precision

N = TypeVar("N", bound=PainNetwork)

CPU_FACE_MICRO_BATCH = 8
"""Faces per pass through ResNet-50 on a CPU. From 4 to 15 the time per face is equal; a power of two leaves no rest."""

CPU_AUDIO_BATCH = 16
"""Segments per pass through ResNet-34 for which its weights are laid out."""

MC_PASSES_AT_ONCE = 250
"""Monte Carlo passes per batch, which bounds memory. Changing it changes the samples of a seed."""

_ROWS = 8

_VECTOR = 64
"""Values; a multiple of what a CPU computes at a time."""

_IMAGE_DIMENSIONS = 4
"""Dimensions of the weights of a 2-D convolution."""

_CONVOLUTIONAL = ("conv1", "layer1", "layer2", "layer3", "layer4")
"""Parts of a trunk that run in the encoder's precision; attention, pooling and projection stay float32."""


def optimise_for_inference(model: N, device: str, precision: Precision) -> N:
    """Copy a network for inference: evaluation mode, no gradients, batch norm folded, channels last.

    The scores of the copy differ from the network's by less than 1e-4 in float32. The parameter names in its state dict
    differ from the checkpoint's.

    Args:
        model: any registered network; not modified.
        device: `cpu`, `cuda` or `cuda:N`.
        precision: of the encoders' convolutions; everything else stays float32.

    Raises:
        ValueError: int8, on a device that has no 8-bit convolutions.
    """
    return convert_for_inference(copy.deepcopy(model), device, precision)


@torch.no_grad()
def convert_for_inference(model: N, device: str, precision: Precision) -> N:
    """Convert a network as `optimise_for_inference` does, without a second copy of its parameters.

    Args:
        model: is modified; use what is returned.
    """
    if precision == "int8" and not onednn.is_available(torch.device(device), precision):
        raise ValueError(f"no 8-bit convolutions on {device}")
    model.requires_grad_(False)
    for trunk in [module for module in model.modules() if isinstance(module, ResNetTrunk)]:
        _fold_batch_norm(trunk)
        if precision == "bfloat16":
            for name in _CONVOLUTIONAL:
                getattr(trunk, name).to(torch.bfloat16)
    model = model.eval().to(torch.device(device))
    if torch.device(device).type == "cpu":
        model.face_micro_batch = CPU_FACE_MICRO_BATCH
    if torch.device(device).type == "cpu" and precision == "int8":
        model.face_micro_batch = 1
    fused = onednn.is_available(torch.device(device), precision)
    for encoder in list(model.modules()):
        if isinstance(encoder, VisualEncoder):
            _convert_visual(encoder, device, precision, fused)
        elif isinstance(encoder, AudioEncoder) and fused:
            onednn.fuse(encoder, (CPU_AUDIO_BATCH, 1, 128, 300))
    # What is left: fused convolutions have their own order. Not `model.to(memory_format=...)`, which refuses the
    # parameters of 3-D convolutions.
    for parameter in model.parameters():
        if parameter.ndim == _IMAGE_DIMENSIONS:
            parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)
    return model.eval().requires_grad_(False)


def _convert_visual(encoder: VisualEncoder, device: str, precision: Precision, fused: bool) -> None:
    if torch.device(device).type == "cpu":
        encoder.projector = _FixedRows(encoder.projector)
        encoder.spatial_attention.sigmoid = _WholeVectors(nn.Sigmoid())
    if fused and precision == "int8":
        int8.quantise(encoder, (1, 3, 224, 224))
    elif fused:
        onednn.fuse(encoder, (CPU_FACE_MICRO_BATCH, 3, 224, 224))


class _FixedRows(nn.Module):
    """A linear layer that always multiplies the same number of rows, so that a row's bits do not depend on others.

    A matrix product chooses its order of summation by its size.
    """

    def __init__(self, linear: nn.Module) -> None:
        super().__init__()
        self.linear = linear

    def forward(self, x: Tensor) -> Tensor:
        """(N, in) float32 -> (N, out) float32; N at least 1."""
        padded = (nn.functional.pad(part, (0, 0, 0, _ROWS - len(part))) for part in x.split(_ROWS))
        return torch.cat([self.linear(part) for part in padded])[: len(x)]


class _WholeVectors(nn.Module):
    """An element-wise function of rows padded to whole vectors, so that a value's bits do not depend on its position.

    What is left over of a tensor after whole vectors is computed by another implementation, which rounds differently.
    """

    def __init__(self, function: nn.Module) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        """Any shape with at least two dimensions -> the same shape."""
        rows = x.flatten(1)
        width = rows.shape[1]
        values: Tensor = self.function(nn.functional.pad(rows, (0, -width % _VECTOR)))
        return values[:, :width].reshape(x.shape)


def _fold_batch_norm(trunk: ResNetTrunk) -> None:
    """Fold every `bnN` into its `convN`, and the second module of a `downsample` into the first."""
    for module in list(trunk.modules()):
        children = dict(module.named_children())
        for name, child in children.items():
            norm_name = name.replace("conv", "bn")
            if isinstance(child, nn.Conv2d) and isinstance(norm := children.get(norm_name), nn.BatchNorm2d):
                _fold(child, norm)
                setattr(module, norm_name, nn.Identity())
            elif name == "downsample" and isinstance(child, nn.Sequential):
                convolution, norm = child
                assert isinstance(convolution, nn.Conv2d)
                assert isinstance(norm, nn.BatchNorm2d)
                _fold(convolution, norm)
                module.downsample = convolution


def _fold(convolution: nn.Conv2d, norm: nn.BatchNorm2d) -> None:
    """Multiply a convolution without bias by the batch norm that follows it, in place, in evaluation mode."""
    assert norm.running_mean is not None
    assert norm.running_var is not None
    factor = torch.rsqrt(norm.running_var + norm.eps)
    convolution.weight.mul_((norm.weight * factor).view(-1, 1, 1, 1))
    convolution.bias = nn.Parameter(norm.bias - norm.running_mean * factor * norm.weight, requires_grad=False)


@torch.inference_mode()
def mc_scores(
    model: PainNetwork,
    audio_tokens: Tensor | None,
    face_tokens: Tensor | None,
    face_mask: Tensor | None,
    samples: int,
    seed: int,
    face_places: Tensor | None = None,
) -> Tensor:
    """Monte Carlo dropout: score one segment repeatedly with active dropout, on encoder outputs computed once.

    The same seed gives the same samples independently of earlier calls, and torch's generators keep their state. Batch
    norm stays in evaluation mode. Not thread-safe on one model.

    Args:
        model: any registered network; its mode is restored afterwards.
        audio_tokens: (1, Ta, 512) float32 or None, as for `PainNetwork.score`.
        face_tokens: (1, Tv, 512) float32 or None.
        face_mask: (1, Tv) bool or None.
        face_places: (1, Tv) int64 or None.
        samples: number of passes, at least 1.
        seed: of the dropout masks.

    Returns:
        (samples,) float32 in [0, 10].

    Raises:
        ValueError: `samples` under 1, more than one segment, or a missing modality as in `PainNetwork.score`.
    """
    if samples < 1:
        raise ValueError(f"samples must be at least 1; got {samples}")
    for tokens in (audio_tokens, face_tokens):
        if tokens is not None and len(tokens) != 1:
            raise ValueError(f"Monte Carlo dropout takes one segment at a time; got {len(tokens)}")
    device = next(tokens.device for tokens in (audio_tokens, face_tokens) if tokens is not None)
    scores = []
    with _dropout_on(model), _seeded(device, seed):
        for start in range(0, samples, MC_PASSES_AT_ONCE):
            passes = min(MC_PASSES_AT_ONCE, samples - start)
            audio, face, mask, places = (
                None if tensor is None else tensor.expand(passes, *tensor.shape[1:])
                for tensor in (audio_tokens, face_tokens, face_mask, face_places)
            )
            scores.append(model.score(audio, face, mask, places))
    return torch.cat(scores)


@contextlib.contextmanager
def _dropout_on(model: nn.Module) -> Iterator[None]:
    dropouts = [module for module in model.modules() if isinstance(module, nn.Dropout)]
    before = [module.training for module in dropouts]
    try:
        for module in dropouts:
            module.training = True
        yield
    finally:
        for module, training in zip(dropouts, before, strict=True):
            module.training = training


@contextlib.contextmanager
def _seeded(device: torch.device, seed: int) -> Iterator[None]:
    """Seed the device's generator and restore its state afterwards; `torch.manual_seed` would reseed every device."""
    if device.type == "cuda":
        with torch.random.fork_rng(devices=[device]), torch.cuda.device(device):
            torch.cuda.manual_seed(seed)
            yield
    else:
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)
            yield
