"""What YAMNet hears in the clips of a pack, for the audio encoder to learn: an embedding of each clip, and crying.

    python -m weights.recipe.audio_teacher PACK yamnet_spectra_in.tflite

Needs `ai-edge-litert`, which is not in the environment of the program. Writes PACK/teacher.npz.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from weights.recipe.audio_pack import RATE_HZ, TEACHER_FILE, read_pack

DIMENSIONS = 64
_CRYING = slice(19, 23)
"""Classes of AudioSet: crying, baby cry, whimper, wail."""
_PATCH, _HOP, _BANDS = 96, 48, 64
_EMBEDDING, _SCORES = 90, 93
"""Tensors of this file."""


def mel_bank() -> np.ndarray:
    """YAMNet's triangles: 64 bands, 125 to 7500 Hz on the HTK scale, (257, 64) float32."""

    def mel(hz: np.ndarray | float) -> np.ndarray:
        return 1127 * np.log1p(np.asarray(hz) / 700)

    at, edges = mel(np.linspace(0, RATE_HZ / 2, 257))[:, None], np.linspace(mel(125.0), mel(7500.0), _BANDS + 2)
    rising = (at - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - at) / (edges[2:] - edges[1:-1])
    bank: np.ndarray = np.maximum(0, np.minimum(rising, falling)).astype(np.float32)
    return bank


def patches(audio: np.ndarray, bank: np.ndarray) -> np.ndarray:
    """(samples,) float32 at 16 kHz -> (patches, 96, 64) float32, log-mel of 0.96 s every 0.48 s."""
    audio = np.pad(audio, (0, max(0, 400 + 160 * (_PATCH - 1) - audio.size)))
    frames = np.lib.stride_tricks.sliding_window_view(audio, 400)[::160]
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(400) / 400)
    logs = np.log(np.abs(np.fft.rfft(frames * window, 512, axis=1)) @ bank + 0.001).astype(np.float32)
    return np.stack([logs[start : start + _PATCH] for start in range(0, len(logs) - _PATCH + 1, _HOP)])


def reduced(embeddings: np.ndarray, fitted: np.ndarray) -> np.ndarray:
    """Principal components, at a mean variance of 1, (rows, 64) float16.

    Args:
        embeddings: (rows, 1024).
        fitted: (rows,) bool, rows that the components are fitted on.
    """
    centred = embeddings - embeddings[fitted].mean(axis=0)
    components = np.linalg.svd(centred[fitted], full_matrices=False)[2][:DIMENSIONS]
    projected = centred @ components.T
    scaled: np.ndarray = (projected / np.sqrt(projected[fitted].var(axis=0).mean())).astype(np.float16)
    return scaled


def main(
    pack: Annotated[Path, typer.Argument(help="Of weights/recipe/audio_pack.py.")],
    network: Annotated[Path, typer.Argument(help="yamnet_spectra_in.tflite.")],
) -> None:
    """Run the teacher on every clip."""
    from ai_edge_litert.interpreter import Interpreter  # type: ignore[import-not-found, unused-ignore]

    interpreter = Interpreter(str(network), experimental_preserve_all_tensors=True, num_threads=1)
    interpreter.allocate_tensors()
    scale, zero = interpreter._get_tensor_details(_EMBEDDING, 0)["quantization"]
    audio, bank = read_pack(pack, 2), mel_bank()
    embeddings, crying = [], []
    for start, samples in zip(audio.index["start"], audio.index["samples"], strict=True):
        rows, scores = [], []
        for patch in patches(audio.samples[start : start + samples].astype(np.float32) / 32768, bank):
            interpreter.set_tensor(0, patch[None])
            interpreter.invoke()
            rows.append((interpreter.get_tensor(_EMBEDDING).ravel() - np.float32(zero)) * np.float32(scale))
            scores.append(interpreter.get_tensor(_SCORES)[0, _CRYING].max())
        embeddings.append(np.mean(rows, axis=0))
        crying.append(max(scores))
    fitted = (audio.index["part"] == "train").to_numpy()
    np.savez_compressed(
        pack / TEACHER_FILE,
        embedding=reduced(np.array(embeddings), fitted),
        crying=np.array(crying, np.float16),
    )


if __name__ == "__main__":
    typer.run(main)
