"""A network that several recordings use at a time, each in a thread of its own: their batches are run together."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence

import numpy as np
import torch
from torch import Tensor

from avpenet_cli.errors import RecordingError
from avpenet_cli.face.deduplicate import deduplicate_consecutive
from avpenet_cli.face.detect import FaceDetector, new_cascade
from avpenet_cli.face.mtcnn.cascade import ImageFaces
from avpenet_cli.model.architecture import Architecture
from avpenet_cli.model.avpenet import AVPENet
from avpenet_cli.model.batching import BatchingService, BatchKind, Finish
from avpenet_cli.model.encoders import EMBEDDING
from avpenet_cli.model.fixed_shape import FixedShape
from avpenet_cli.model.inference import mc_scores
from avpenet_cli.runs.callbacks import NO_CALLBACKS, RunCallbacks
from avpenet_cli.runs.device import choose_device
from avpenet_cli.scoring.network import Network, SegmentResult, SegmentTokens
from avpenet_cli.settings import FRAMES_PER_WINDOW, RunSettings
from avpenet_cli.weights import WeightsEntry

AUDIO_BATCH = 16
"""Spectrograms encoded together."""
FRAME_BATCH = 64
"""Frames in which faces are detected together."""
_FRAMES_PER_PASS = 32
SEGMENT_BATCH = 32
"""Segments scored together."""
_AUDIO_TOKENS = 10
_SEGMENT = np.dtype(
    [
        ("audio", np.float32, (_AUDIO_TOKENS, EMBEDDING)),
        ("faces", np.float32, (FRAMES_PER_WINDOW, EMBEDDING)),
        ("mask", np.bool_, (FRAMES_PER_WINDOW,)),
        ("has_audio", np.bool_),
        ("n_faces", np.int64),
        ("seed", np.int64),
    ]
)
"""One segment in a fixed shape. `mask` is True where there is a face; a missing modality is zeros, and its mask has one
True. `seed` is that of its Monte Carlo samples."""


def load_network_for(entry: WeightsEntry, run: RunSettings, callbacks: RunCallbacks = NO_CALLBACKS) -> Network:
    """The kind of network that a run of `avpenet score` has on the device of the settings; arguments as `Network`."""
    return (SharedNetwork if can_be_shared(entry, run) else Network)(entry, run, callbacks)


def can_be_shared(entry: WeightsEntry, run: RunSettings) -> bool:
    """Whether recordings can share a network on the device of the settings: AVPENet as published, or over tokens."""
    architecture = entry.description.architecture
    published = isinstance(architecture, Architecture) and architecture.fusion in ("single", "tokens")
    return published and choose_device(run.device).type == "cuda"


class SharedNetwork(Network):
    """As `Network`, safe to use in several threads, with batches of fixed sizes.

    A number depends neither on how many threads there are nor on what they ask for at the same time. It may differ in
    its last digits from that of a `Network`, which takes batches as they come.

    Args:
        entry: the weights to load.
        run: device, precision, batch size, Monte Carlo samples, seed.
        callbacks: told, in the service's thread, when the GPU's memory ran out, or when graphs cannot be used.
        with_embeddings: as for `Network`.

    Attributes:
        faces, audio, segments: run the batches of the encoders and of the fusion.
    """

    model: AVPENet

    def __init__(
        self,
        entry: WeightsEntry,
        run: RunSettings,
        callbacks: RunCallbacks = NO_CALLBACKS,
        *,
        with_embeddings: bool = False,
    ) -> None:
        super().__init__(entry, run, callbacks, with_embeddings=with_embeddings)
        # Whole batches only: the parts of a split one would differ in size.
        self.model.face_micro_batch = None
        self._warned = False
        self.faces = self._fixed(self._embed, lambda crops: (crops,))
        self.audio = self._fixed(self._encode_spectrograms, lambda mels: (mels,))
        self.segments = self._fixed(self._fuse, _columns)
        self._cascade = new_cascade(self.description.preprocessing.face, self.device, fixed_shapes=True)
        self._service = BatchingService(
            {
                "faces": BatchKind(self.faces.launch, run.batch_size, self.faces.release),
                "audio": BatchKind(self.audio.launch, AUDIO_BATCH, self.audio.release),
                "segments": BatchKind(self.segments.launch, SEGMENT_BATCH, self.segments.release),
                "samples": BatchKind(self._sample, 1),
                "frames": BatchKind(self._detect, FRAME_BATCH),
                "tracked frames": BatchKind(self._measure, FRAME_BATCH),
            },
            self._halved,
        )

    @property
    def encoder_threads(self) -> int:
        """One, which waits for the device meanwhile."""
        return 1

    @property
    def crops_per_task(self) -> int:
        """A whole batch: a smaller one would be padded to it."""
        return self._run.batch_size

    @property
    def service(self) -> BatchingService:
        """Runs the batches."""
        return self._service

    @property
    def graphs(self) -> int:
        """Number of CUDA graphs in use; 0 on a CPU, and where a graph could not be captured."""
        return self.faces.graphs + self.audio.graphs + self.segments.graphs

    def face_detector(self) -> FaceDetector:
        """A detector for one thread, whose frames are processed together with those of the others."""
        return FaceDetector(self.description.preprocessing.face, self.device, SharedCascade(self._service))

    def encode_faces(self, crops: Sequence[np.ndarray]) -> np.ndarray:
        """As `Network.encode_faces`."""
        distinct, positions = deduplicate_consecutive(crops)
        return np.stack(self._service.run("faces", distinct))[positions]

    def encode_audio(self, inputs: Sequence[np.ndarray]) -> np.ndarray:
        """As `Network.encode_audio`."""
        return np.stack(self._service.run("audio", inputs))

    def score(
        self,
        audio: np.ndarray | None,
        faces: np.ndarray | None,
        first_slot: int,
        places: np.ndarray | None = None,
    ) -> SegmentResult:
        """As `Network.score`."""
        return self.score_many([SegmentTokens(audio, faces, first_slot, places)])[0]

    def score_many(self, segments: Iterable[SegmentTokens]) -> list[SegmentResult]:
        """As `Network.score_many`; the device is waited for once for all the segments."""
        packed = [self._packed(audio, faces, first_slot) for audio, faces, first_slot, _ in segments]
        scores = self._service.submit("segments", packed)
        samples = self._service.submit("samples", packed) if self._run.mc_samples else None
        rows = [np.atleast_1d(row) for row in scores.result()]
        results = [float(row[0]) for row in rows]
        if not all(map(math.isfinite, results)):
            raise RecordingError(
                "not_a_number", "the network's output is not a number", "check the weights and report it"
            )
        drawn = [np.empty(0, np.float32)] * len(rows) if samples is None else samples.result()
        embeddings = [row[1:] if self.with_embeddings else None for row in rows]
        return [SegmentResult(*result) for result in zip(results, drawn, embeddings, strict=True)]

    def close(self) -> None:
        """End the service's thread; threads that still wait get `Interrupted`."""
        self._service.close()

    def _fixed(
        self,
        function: Callable[..., Tensor],
        columns: Callable[[Sequence[np.ndarray]], tuple[Sequence[np.ndarray], ...]],
    ) -> FixedShape:
        return FixedShape(function, columns, self.device, self._without_staging)

    def _embed(self, crops: Tensor) -> Tensor:
        """(n, crop_px, crop_px, 3) uint8 or float32 in [0, 255] -> (n, 512) float32."""
        return self.model.encode_faces((crops.permute(0, 3, 1, 2).float() / 255 - self._mean) / self._std).float()

    def _encode_spectrograms(self, mels: Tensor) -> Tensor:
        """(n, 128, 300) float32 -> (n, 10, 512) float32."""
        return self.model.encode_audio(mels[:, None]).float()

    def _fuse(self, audio: Tensor, faces: Tensor, mask: Tensor) -> Tensor:
        """The columns of `_SEGMENT` -> (n,) float32 scores, or (n, 1 + 512): score, then embedding."""
        fused = self.model.fuse_present(audio, faces, mask).fused
        scores: Tensor = self.model.head(fused)
        return torch.cat([scores[:, None], fused], dim=1) if self.with_embeddings else scores

    def _packed(self, audio: np.ndarray | None, faces: np.ndarray | None, first_slot: int) -> np.ndarray:
        packed = np.zeros((), _SEGMENT)
        if audio is None:
            self.model.allow_missing("audio")
        else:
            packed["audio"], packed["has_audio"] = audio, True
        if faces is None:
            self.model.allow_missing("face")
            packed["mask"][0] = True
        else:
            packed["faces"][: len(faces)], packed["mask"][: len(faces)], packed["n_faces"] = faces, True, len(faces)
        packed["seed"] = self._run.seed + first_slot
        return packed

    @torch.inference_mode()
    def _sample(self, segments: Sequence[np.ndarray], size: int) -> Finish:
        """Start the Monte Carlo samples of one segment, not padded: padding would take random numbers."""
        assert len(segments) == size == 1
        segment = segments[0]
        count = int(segment["n_faces"])
        audio = torch.from_numpy(segment["audio"])[None].to(self.device) if segment["has_audio"] else None
        faces = torch.from_numpy(segment["faces"][:count])[None].to(self.device) if count else None
        samples = mc_scores(self.model, audio, faces, None, self._run.mc_samples, int(segment["seed"]))
        return lambda: [samples.float().cpu().numpy()]

    def _detect(self, images: Sequence[np.ndarray], size: int) -> Finish:
        faces = self._cascade.detect(np.stack(images), min(size, _FRAMES_PER_PASS))
        return lambda: faces

    def _measure(self, pairs: Sequence[tuple[np.ndarray, np.ndarray]], size: int) -> Finish:
        faces = self._cascade.measure(np.stack([image for image, _ in pairs]), [squares for _, squares in pairs])
        return lambda: faces

    def _halved(self, kind: str, before: int, now: int) -> None:
        if kind == "faces":
            self.batch_size = now
        self._callbacks.warning(
            f"the GPU's memory ran out with batches of {before} {kind}: now {now}; scores are the same"
            + (f", and --batch-size {now} avoids the retry" if kind == "faces" else ""),
            batch_size=now,
        )

    def _without_staging(self, error: Exception) -> None:
        if not self._warned:
            self._warned = True
            reason = " ".join(str(error).split())[:200]
            self._callbacks.warning(f"the faster way to use this GPU failed; scores are the same without it: {reason}")


class SharedCascade:
    """MTCNN for one of several threads. The device computes with fixed shapes, so a frame's faces do not depend on the
    others' frames.

    Args:
        service: of the `SharedNetwork`.
    """

    def __init__(self, service: BatchingService) -> None:
        self._service = service

    def detect(self, images: np.ndarray) -> list[ImageFaces]:
        """As `Cascade.detect`."""
        return self._service.run("frames", list(images))

    def measure(self, images: np.ndarray, squares: Sequence[np.ndarray]) -> list[ImageFaces]:
        """As `Cascade.measure`."""
        return self._service.run("tracked frames", list(zip(images, squares, strict=True)))


def _columns(segments: Sequence[np.ndarray]) -> tuple[Sequence[np.ndarray], ...]:
    return tuple([segment[name] for segment in segments] for name in ("audio", "faces", "mask"))
