"""One part of the GPU check: `python -m tests.gpu.parts NAME FOLDER WORK DEVICE SECONDS [quick]`.

Every row is written to WORK/NAME.jsonl as soon as it is known.
"""

from __future__ import annotations

import contextlib
import json
import math
import sys
import traceback
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import torch

from avpenet_cli.audio.mel import log_mel
from avpenet_cli.face.detect import CHUNK_FRAMES, FaceDetector
from avpenet_cli.media.frame_image import FrameImage
from avpenet_cli.runs.callbacks import RunCallbacks
from avpenet_cli.scoring.network import Network, SegmentTokens
from avpenet_cli.scoring.shared_network import SharedNetwork
from avpenet_cli.settings import WINDOW_S, RunSettings, from_dict
from avpenet_cli.weights import default_entry
from tests.gpu.check import Row
from tests.gpu.recordings import PreparedRecordings


class PrintedWarnings(RunCallbacks):
    """Prints warnings, for the log."""

    def warning(self, message: str, **fields: object) -> None:
        """Print it."""
        print(message, file=sys.stderr)


@dataclass(frozen=True)
class Job:
    """What a part works with.

    Attributes:
        name: of the part.
        recordings: the prepared phantoms.
        work: folder that all parts share.
        device: the device under test.
        quick: one recording and few repetitions, for a rehearsal.
    """

    name: str
    recordings: PreparedRecordings
    work: Path
    device: str
    quick: bool

    @property
    def paths(self) -> list[Path]:
        """The recordings to use."""
        return self.recordings.paths[: 1 if self.quick else None]

    @property
    def on_gpu(self) -> bool:
        """Whether the device is a GPU, which a rehearsal lacks."""
        return self.device != "cpu"

    @property
    def label(self) -> str:
        """The device under test, in the rows' names."""
        return "GPU" if self.on_gpu else "rehearsal on the CPU"

    def row(self, check: str, measured: str, limit: str = "", passed: bool | None = None) -> None:
        """Write one row; `passed` is None for a measurement without a limit."""
        result = "measured" if passed is None else "pass" if passed else "fail"
        self._write(Row(check, limit, measured, result))

    def not_run(self, check: str, why: str) -> None:
        """Write a row for what cannot be done here."""
        self._write(Row(check, "", why, "not run"))

    def _write(self, row: Row) -> None:
        with (self.work / f"{self.name}.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(asdict(row)) + "\n")

    @contextlib.contextmanager
    def step(self, check: str) -> Iterator[None]:
        """A failure inside becomes a row of its own, and the part continues."""
        try:
            yield
        except Exception as error:
            traceback.print_exc()
            text = " ".join(str(error).split())[:160].replace("|", "/")
            self._write(Row(check, "", f"{type(error).__name__}: {text}", "fail"))

    def settings(self, device: str, precision: str = "float32", batch_size: int = 32) -> RunSettings:
        """How a run scores."""
        settings = {"device": device, "precision": precision, "batch_size": batch_size}
        return from_dict(RunSettings, settings, "gpu-check")

    def plain_network(self, device: str = "cpu", precision: str = "float32", batch_size: int = 32) -> Network:
        """The bundled weights as the program uses them on a CPU."""
        return Network(default_entry(), self.settings(device, precision, batch_size))

    @contextlib.contextmanager
    def network(self, precision: str = "float32", batch_size: int = 32) -> Iterator[SharedNetwork]:
        """The bundled weights on the device under test, as the program uses them on a GPU."""
        network = SharedNetwork(default_entry(), self.settings(self.device, precision, batch_size), PrintedWarnings())
        try:
            yield network
        finally:
            network.close()

    def frames(self, count: int, every: int = 1) -> list[FrameImage]:
        """Frames of the first recording."""
        return [frame.image for frame in islice(self.recordings.frames(self.paths[0]), 0, count * every, every)]

    def mels(self, count: int) -> list[np.ndarray]:
        """Spectrograms of the first recording at different places, (128, 300) float32 in [0, 1]."""
        settings = default_entry().description.preprocessing.audio
        waveform = self.recordings.audio(self.paths[0], settings.sample_rate_hz)
        length = round(WINDOW_S * settings.sample_rate_hz)
        starts = np.linspace(0, len(waveform) - length, count).astype(int)
        return [log_mel(waveform[start : start + length], settings) for start in starts]

    def crops(self, count: int) -> list[np.ndarray]:
        """Different images of 224 x 224, from the first recording and mirrored."""
        images = [frame.reduced((224, 224)) for frame in self.frames(min(count, 60))]
        return [np.roll(images[i % len(images)], 7 * (i // len(images)), axis=1) for i in range(count)]


def parity(job: Job) -> None:
    """Outputs of the networks in float32 on the same input; TF32 is off in the program's convolutions."""
    crops, spectrograms = job.crops(4 if job.quick else 60), job.mels(2 if job.quick else 8)
    with job.network() as network:
        outputs = [_outputs(tested, crops, spectrograms) for tested in (job.plain_network(), network)]
        _parity_rows(job, crops, spectrograms, *outputs)
        with job.step("detected faces, GPU against CPU"):
            _compare_faces(job, network.face_detector())


def _outputs(network: Network, crops: list[np.ndarray], spectrograms: list[np.ndarray]) -> list[np.ndarray]:
    faces, audio = network.encode_faces(crops), network.encode_audio(spectrograms)
    segments = [
        SegmentTokens(tokens, some, 0) for tokens, some in zip(audio, np.array_split(faces, len(audio)), strict=True)
    ]
    return [faces, audio, np.array([result.score for result in network.score_many(segments)])]


def _parity_rows(
    job: Job,
    crops: list[np.ndarray],
    spectrograms: list[np.ndarray],
    reference: list[np.ndarray],
    outputs: list[np.ndarray],
) -> None:
    names = (
        f"face embeddings of {len(crops)} images",
        f"audio tokens of {len(spectrograms)} segments",
        f"scores of {len(spectrograms)} segments, whole model",
    )
    for name, on_cpu, on_device in zip(names, reference, outputs, strict=True):
        difference = float(np.abs(on_cpu - on_device).max())
        text = f"{difference:.1e} (values up to {np.abs(on_cpu).max():.1f})"
        job.row(f"{job.label} against CPU, float32: {name}", text, "1e-4", difference <= 1e-4)


def _compare_faces(job: Job, detector: FaceDetector) -> None:
    settings = default_entry().description.preprocessing.face
    detectors = [FaceDetector(settings, torch.device("cpu")), detector]
    frames, differing, moved_px = 0, 0, [0.0]
    for path in job.paths:
        every_fifth = [frame.image for frame in islice(job.recordings.frames(path), 0, None, 20 if job.quick else 5)]
        # As many at a time as the program takes.
        for start in range(0, len(every_fifth), CHUNK_FRAMES):
            chunk = every_fifth[start : start + CHUNK_FRAMES]
            for on_cpu, on_device in zip(*(detector.detect(chunk) for detector in detectors), strict=True):
                frames += 1
                differing += len(on_cpu) != len(on_device)
                moved_px += [float(np.abs(a.box - b.box).max()) for a, b in zip(on_cpu, on_device, strict=False)]
    text = (
        f"{differing} of {frames} frames differ in number; boxes of {len(moved_px) - 1} faces by {max(moved_px):.1e} px"
    )
    passed = differing == 0 and len(moved_px) > 1 and max(moved_px) <= 0.5
    job.row(f"{job.label} against CPU, float32: detected faces", text, "0 frames, 0.5 px", passed)


def dropout(job: Job) -> None:
    """Monte Carlo dropout: reproducible, spread, and the same distribution as on the CPU."""
    from avpenet_cli.model.inference import mc_scores

    count = 250 if job.quick else 2000
    network = job.plain_network(job.device)
    audio, faces = network.encode_audio(job.mels(1)), network.encode_faces(job.crops(4 if job.quick else 30))[None]

    def sample(network: Network, seed: int) -> np.ndarray:
        tokens = [torch.from_numpy(array).to(network.device) for array in (audio, faces)]
        return mc_scores(network.model, tokens[0], tokens[1], None, count, seed).cpu().numpy()

    first, again, on_cpu = sample(network, 42), sample(network, 42), sample(job.plain_network(), 42)
    job.row(
        f"MC dropout, {count} samples, same seed twice: {job.label}",
        f"{int((first != again).sum())} samples differ",
        "0",
        bool(np.array_equal(first, again)),
    )
    other = float((sample(network, 43) != first).mean())
    job.row("MC dropout, another seed", f"{100 * other:.1f} % of samples differ", "over 90 %", other > 0.9)
    job.row(f"MC dropout, standard deviation: {job.label}", f"{first.std(ddof=1):.3f}", "over 0", first.std() > 0)
    # Four standard errors of the difference of two means.
    tolerance = 4 * math.sqrt((first.var(ddof=1) + on_cpu.var(ddof=1)) / count)
    moved = abs(float(first.mean() - on_cpu.mean()))
    job.row(f"MC dropout, mean: {job.label} against CPU", f"{moved:.4f}", f"{tolerance:.4f}", moved <= tolerance)
    ratio = float(first.std(ddof=1) / on_cpu.std(ddof=1))
    limit = 4 / math.sqrt(count)
    text = f"1 +/- {limit:.2f}"
    job.row(f"MC dropout, standard deviation: {job.label} over CPU", f"{ratio:.3f}", text, abs(ratio - 1) <= limit)


def main() -> None:
    """Run one part."""
    from tests.gpu import lanes, running, timing, training

    parts: dict[str, Callable[[Job], None]] = {
        "parity": parity,
        "recordings": running.recordings,
        "lanes": lanes.lanes,
        "speed": timing.speed,
        "dropout": dropout,
        "memory": running.memory,
        "training": training.training,
        "ddp": training.ddp,
    }
    name, folder, work, device, seconds, *quick = sys.argv[1:]
    recordings = PreparedRecordings(Path(folder), float(seconds))
    recordings.replace_decoders()
    parts[name](Job(name, recordings, Path(work), device, bool(quick)))


if __name__ == "__main__":
    main()
