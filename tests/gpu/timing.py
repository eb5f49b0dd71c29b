"""The part of the GPU check that times networks and detection."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import torch

from avpenet_cli.face.detect import CHUNK_FRAMES, FaceDetector
from avpenet_cli.model.inference import mc_scores
from avpenet_cli.scoring.network import Network, SegmentTokens
from avpenet_cli.scoring.shared_network import AUDIO_BATCH, FRAME_BATCH, SEGMENT_BATCH
from avpenet_cli.settings import FRAMES_PER_WINDOW

if TYPE_CHECKING:
    from tests.gpu.parts import Job

_SEGMENT_GOAL_MS = 5.0
_DROPOUT_GOAL_MS = 2.0
_DROPOUT_SAMPLES = 50
_TOGETHER = 8
_MIB = 1 << 20


def median_ms(call: Callable[[], object], device: torch.device, repeats: int) -> float:
    """Median wall-clock time of a call in ms, the device synchronised before and after, after two calls untimed."""
    times_s = []
    for number in range(repeats + 2):
        _synchronise(device)
        started = time.perf_counter()
        call()
        _synchronise(device)
        if number >= 2:
            times_s.append(time.perf_counter() - started)
    return 1000 * statistics.median(times_s)


def _synchronise(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def speed(job: Job) -> None:
    """Time by part of the network and for detection; the GPU, then the CPU for comparison."""
    repeats = 2 if job.quick else 30
    for precision in ("float32", "bfloat16") if job.on_gpu or not job.quick else ("float32",):
        with job.step(f"network time, {precision}, in the program's batches"):
            _time_batches(job, precision, repeats)
        for segments in (1, _TOGETHER) if not job.quick else (1,):
            with job.step(f"network time, {precision}, {segments} segments"):
                _time_network(job, job.device, precision, segments, repeats)
    for precision in ("float32", "bfloat16") if not job.quick else ("float32",):
        with job.step(f"network time on the CPU, {precision}"):
            _time_network(job, "cpu", precision, 1, min(repeats, 3))
    with job.step("detection"):
        with job.network() as network:
            _time_detection(job, network.face_detector(), job.label, repeats)
        _time_detection(job, job.plain_network().face_detector(), "CPU", min(repeats, 3))


def _time_batches(job: Job, precision: str, repeats: int) -> None:
    """The program's way: batches of fixed sizes, as CUDA graphs where those can be captured."""
    with job.network(precision) as network:
        crops, mels = job.crops(FRAMES_PER_WINDOW), job.mels(AUDIO_BATCH)
        faces, audio = network.encode_faces(crops), network.encode_audio(mels)
        segments = [SegmentTokens(audio[0], faces, 0)] * SEGMENT_BATCH
        network.score_many(segments)
        parts = (
            ("faces", network.faces, network.batch_size / FRAMES_PER_WINDOW),
            ("audio", network.audio, AUDIO_BATCH),
            ("fusion", network.segments, SEGMENT_BATCH),
        )
        spent = {
            name: median_ms(part.compute, network.device, repeats) / segments_in_batch
            for name, part, segments_in_batch in parts
        }
        whole_ms = sum(spent.values())
        text = f"{whole_ms:.2f} ms: {', '.join(f'{name} {spent_ms:.2f}' for name, spent_ms in spent.items())}"
        goal = f"under {_SEGMENT_GOAL_MS:g} ms" if job.on_gpu and precision == "bfloat16" else ""
        name = f"{job.label}, {precision}, in the program's batches"
        passed = whole_ms < _SEGMENT_GOAL_MS if goal else None
        job.row(f"network time per segment of 30 faces: {name}", text, goal, passed)
        copied_ms = (
            median_ms(lambda: network.encode_faces(crops), network.device, repeats)
            + median_ms(lambda: network.encode_audio(mels), network.device, repeats) / AUDIO_BATCH
            + median_ms(lambda: network.score_many(segments), network.device, repeats) / SEGMENT_BATCH
        )
        job.row(f"the same with upload, download and the wait: {name}", f"{copied_ms:.2f} ms")
        check = f"CUDA graphs: {precision}"
        if job.on_gpu:
            job.row(check, f"{network.graphs} of {len(parts)} captured", f"{len(parts)}", network.graphs == len(parts))
        else:
            job.not_run(check, "needs a GPU")


@torch.inference_mode()
def _time_network(job: Job, device_name: str, precision: str, segments: int, repeats: int) -> None:
    """The networks called operation by operation, without graphs."""
    network = job.plain_network(device_name, precision, batch_size=segments * FRAMES_PER_WINDOW)
    device, model = network.device, network.model
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    crops = job.crops(segments * FRAMES_PER_WINDOW)
    pixels = torch.from_numpy(np.stack(crops)).to(device).permute(0, 3, 1, 2).float() / 255
    mel = torch.rand(segments, 1, 128, 300, device=device)
    faces_ms = median_ms(lambda: model.encode_faces(pixels), device, repeats) / segments
    audio_ms = median_ms(lambda: model.encode_audio(mel), device, repeats) / segments
    face_tokens = model.encode_faces(pixels).float().unflatten(0, (segments, FRAMES_PER_WINDOW))
    audio_tokens = model.encode_audio(mel).float()
    fusion_ms = median_ms(lambda: model.score(audio_tokens, face_tokens, None), device, repeats) / segments
    where = "GPU" if device.type == "cuda" else "CPU"
    name = f"{where}, {precision}, {segments} {'segment' if segments == 1 else 'segments'} at once, no graphs"
    text = (
        f"{faces_ms + audio_ms + fusion_ms:.2f} ms: faces {faces_ms:.2f}, audio {audio_ms:.2f}, fusion {fusion_ms:.2f}"
    )
    peak = f"; GPU memory {torch.cuda.max_memory_allocated(device) / _MIB:.0f} MiB" if where == "GPU" else ""
    job.row(f"network time per segment of 30 faces: {name}", text + peak)
    if segments == 1 and precision == "float32":  # fusion and head always are
        _time_dropout(job, network, audio_tokens, face_tokens, where, repeats)


def _time_dropout(
    job: Job, network: Network, audio: torch.Tensor, faces: torch.Tensor, where: str, repeats: int
) -> None:
    def sample() -> torch.Tensor:
        return mc_scores(network.model, audio, faces, None, _DROPOUT_SAMPLES, 1)

    dropout_ms = median_ms(sample, network.device, repeats)
    goal = f"under {_DROPOUT_GOAL_MS:g} ms" if where == "GPU" else ""
    passed = dropout_ms < _DROPOUT_GOAL_MS if goal else None
    job.row(f"MC dropout of {_DROPOUT_SAMPLES} samples, per segment: {where}", f"{dropout_ms:.2f} ms", goal, passed)


def _time_detection(job: Job, detector: FaceDetector, where: str, repeats: int) -> None:
    for count in (CHUNK_FRAMES, FRAME_BATCH) if where != "CPU" else (CHUNK_FRAMES,):
        # Different frames: the detector looks once at those that follow equal ones.
        frames = job.frames(count)
        call = partial(detector.detect, frames)
        spent_ms = median_ms(call, torch.device(job.device), min(repeats, 10)) / len(frames)
        width, height = frames[0].size
        job.row(f"detection per frame of {width} x {height}, {len(frames)} at once: {where}", f"{spent_ms:.2f} ms")
