"""Outputs of frozen encoders for the segments of a store: computed once, kept in a folder, resumed after a kill.

Audio and faces are kept apart, each under a name made of everything that changes them, so that networks with the same
encoder share them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.numpy import load_file, save

from avpenet_cli.dataset.segment_files import SCORABLE
from avpenet_cli.dataset.store import SegmentStore
from avpenet_cli.errors import Interrupted, SettingsError
from avpenet_cli.model.architecture import Modality
from avpenet_cli.model.encoders import deduplicate_consecutive
from avpenet_cli.model.inference import optimise_for_inference
from avpenet_cli.model.network import FeatureNetwork, PainNetwork
from avpenet_cli.runs.callbacks import NO_CALLBACKS, RunCallbacks
from avpenet_cli.runs.device import choose_device
from avpenet_cli.settings import FRAMES_PER_WINDOW, digest_of
from avpenet_cli.storage import atomic_write, make_private_folder
from avpenet_cli.training.data import Embeddings, Item, SampleKey, SegmentDataset
from avpenet_cli.training.settings import TrainSettings

EMBEDDINGS_FOLDER = "embeddings"
_BLOCK_ROWS = 64
"""Rows of the index whose embeddings are in one file: what a kill can cost."""
_NAME_DIGITS = 24
_FACE_BATCH = 64
_READERS = 8
"""Threads that read segments for a GPU, which would wait for a single one."""
_TOGETHER = 16
"""Segments that a GPU encodes at a time: 0.3 GB of its memory for 30 faces each."""

Block = dict[str, np.ndarray]


def load_or_compute_embeddings(
    folder: Path,
    store: SegmentStore,
    network: PainNetwork,
    settings: TrainSettings,
    callbacks: RunCallbacks = NO_CALLBACKS,
    rows: np.ndarray | None = None,
) -> Embeddings:
    """Read stored embeddings, and compute and store what is missing.

    Embeddings of AVPENet's encoders take 1 kB for each audio token and each face, in memory and on disk: 20 kB for a
    segment with ten faces. Features that are measured, such as landmarks, are kept in single precision.

    Args:
        folder: may hold embeddings of other networks and stores.
        settings: faces per segment (`validation_frames`), their size, device and precision.
        rows: (n,) int64, ascending, of the store's index; by default those of `rows_to_encode`.

    Raises:
        SettingsError: there is no segment to encode.
        Interrupted: the callbacks asked for it; finished blocks are kept.
        OutputError, EnvironmentUnavailableError: they cannot be written.
    """
    make_private_folder(folder)
    rows = rows_to_encode(store) if rows is None else rows
    if not len(rows):
        raise SettingsError(f"the store {store.path} has no segment to encode", "prepare it with rated recordings")
    parts = {modality: _Blocks(folder, store, rows, network, settings, modality) for modality in network.modalities}
    missing = sum(part.missing for part in parts.values())
    if missing:
        encode = _Encoder(network, store, settings)
        done = 0
        for part in parts.values():
            for block in part.compute(encode, callbacks):
                done += block
                callbacks.progress(done, missing)
    return _joined(np.asarray(rows, np.int64), parts)


def rows_to_encode(store: SegmentStore) -> np.ndarray:
    """All segments that can be scored, of recordings that have a rated one: (n,) int64 rows of the index."""
    index = store.index
    rated = index.loc[index["reference"].notna(), "recording"].unique()
    usable = index["recording"].isin(rated) & (index["status"] == SCORABLE)
    return np.flatnonzero(usable.to_numpy(dtype=bool))


def _joined(rows: np.ndarray, parts: dict[Modality, _Blocks]) -> Embeddings:
    none = np.zeros((len(rows), 0, 0), np.float16)
    audio = np.concatenate([block["audio"] for block in parts["audio"].read()]) if "audio" in parts else none
    if "face" not in parts:
        empty = np.zeros((0, 0), np.float16)
        return Embeddings(rows, audio, empty, np.zeros(0, np.int64), np.zeros(len(rows) + 1, np.int64))
    blocks = list(parts["face"].read())
    counts = np.concatenate([block["counts"] for block in blocks])
    faces, places = (np.concatenate([block[name] for block in blocks]) for name in ("faces", "places"))
    return Embeddings(rows, audio, faces, places, np.concatenate([[0], np.cumsum(counts)]).astype(np.int64))


class _Blocks:
    """Files of one modality's embeddings, each of the rows in one range of the index."""

    def __init__(
        self,
        folder: Path,
        store: SegmentStore,
        rows: np.ndarray,
        network: PainNetwork,
        settings: TrainSettings,
        modality: Modality,
    ) -> None:
        self._modality = modality
        # Of a network without encoders, features are measurements.
        measured = isinstance(network, FeatureNetwork) and not network.encoders()
        self._type = np.float32 if measured else np.float16
        what = [store.content_digest(modality), network.encoder_digest(modality), measured, _in_bfloat16(settings)]
        if modality == "face":
            what += [_frames(network, settings), settings.face_px]
        self._folder = folder / f"{modality}-{digest_of(what)[:_NAME_DIGITS]}"
        numbers = np.asarray(rows, np.int64) // _BLOCK_ROWS
        self._rows = {int(number): rows[numbers == number] for number in np.unique(numbers)}
        self._todo = {number: missing for number in self._rows if len(missing := self._missing(number))}

    @property
    def missing(self) -> int:
        """Number of segments to compute."""
        return sum(map(len, self._todo.values()))

    def compute(self, encode: _Encoder, callbacks: RunCallbacks) -> Iterator[int]:
        """Compute and store the missing blocks; yields the number of segments of each."""
        if self._todo:
            make_private_folder(self._folder)
        for number, rows in list(self._todo.items()):
            block = {"rows": rows} | self._block(encode(rows, self._modality, callbacks))
            stored = self._stored(number)
            if stored is not None:
                block = _selected(_appended(stored, block), np.union1d(stored["rows"], rows))
            with atomic_write(self._path(number)) as file:
                # safetensors writes the memory as it lies, whatever the order of an array's dimensions.
                file.write(save({name: np.ascontiguousarray(values) for name, values in block.items()}))
            del self._todo[number]
            yield len(rows)

    def _block(self, items: Sequence[Item]) -> Block:
        if self._modality == "audio":
            return {"audio": np.stack([item.mel for item in items]).astype(self._type)}
        return {
            "faces": np.concatenate([item.faces for item in items]).astype(self._type),
            "places": np.concatenate([item.places for item in items]).astype(np.int64),
            "counts": np.array([len(item.faces) for item in items], np.int64),
        }

    def read(self) -> Iterator[Block]:
        """The blocks, in the order of the rows, with the rows that are asked for."""
        for number, rows in self._rows.items():
            block = self._stored(number)
            assert block is not None
            yield _selected(block, rows)

    def _missing(self, number: int) -> np.ndarray:
        stored = self._stored(number)
        return self._rows[number] if stored is None else np.setdiff1d(self._rows[number], stored["rows"])

    def _stored(self, number: int) -> Block | None:
        """A block; None where there is none, or an incomplete one."""
        try:
            block: Block = load_file(self._path(number))
        except (OSError, SafetensorError):
            return None
        return block if "rows" in block else None

    def _path(self, number: int) -> Path:
        return self._folder / f"{number:06d}.safetensors"


def _appended(first: Block, second: Block) -> Block:
    return {name: np.concatenate([first[name], second[name]]) for name in first}


def _selected(block: Block, rows: np.ndarray) -> Block:
    """The rows of a block that has them all, in any order."""
    if np.array_equal(block["rows"], rows):
        return block
    place_of = {row: place for place, row in enumerate(block["rows"].tolist())}
    places = np.array([place_of[row] for row in rows.tolist()], np.int64)
    if "audio" in block:
        return {"rows": rows, "audio": block["audio"][places]}
    ends = np.cumsum(block["counts"])
    faces = np.concatenate([np.arange(ends[place] - block["counts"][place], ends[place]) for place in places])
    return {
        "rows": rows,
        "faces": block["faces"][faces],
        "places": block["places"][faces],
        "counts": block["counts"][places],
    }


def _in_bfloat16(settings: TrainSettings) -> bool:
    automatic = settings.precision == "auto" and choose_device(settings.device).type == "cuda"
    return settings.precision == "bfloat16" or automatic


def _frames(network: PainNetwork, settings: TrainSettings) -> int:
    return FRAMES_PER_WINDOW if network.all_frames else settings.validation_frames


class _Encoder:
    """Encodes segments: on a CPU one at a time in several threads, each of which computes alone; on a GPU, which one
    segment leaves idle for most of the time, several together.

    Args:
        together: whether segments are encoded together; by default on a GPU. Outputs agree to rounding.
    """

    def __init__(
        self, network: PainNetwork, store: SegmentStore, settings: TrainSettings, together: bool | None = None
    ) -> None:
        self._device = choose_device(settings.device)
        self._together = self._device.type != "cpu" if together is None else together
        self._network = optimise_for_inference(network, str(self._device), "float32")
        self._half = _in_bfloat16(settings)
        # As in validation: without augmentation, faces evenly spaced.
        plain = replace(settings, cache_embeddings=False)
        frames = _frames(network, settings)
        self._dataset = SegmentDataset(store, plain, False, frames, audio_input=network.audio_input)
        face = store.preprocessing.face
        self._mean, self._std = (
            torch.tensor(value, device=self._device).view(1, 3, 1, 1) for value in (face.pixel_mean, face.pixel_std)
        )
        self._threads = _READERS if self._together else torch.get_num_threads()

    def __call__(self, rows: np.ndarray, modality: Modality, callbacks: RunCallbacks) -> list[Item]:
        """Segments with encoder outputs in place of one modality; raises Interrupted."""

        def read(row: int) -> Item:
            callbacks.check_stop()
            return self._dataset[SampleKey(0, row)]

        def encode(row: int) -> Item:
            return self._encode([read(row)], modality)[0]

        try:
            if not self._together:
                return list(_in_threads(encode, rows.tolist(), self._threads))
            items = list(_in_threads(read, rows.tolist(), self._threads))
            return [encoded for batch in self._batches(items, modality) for encoded in self._encode(batch, modality)]
        except Interrupted:
            raise Interrupted("interrupted while encoding", "run the same command again with --resume") from None

    def _batches(self, items: list[Item], modality: Modality) -> list[list[Item]]:
        """What can be encoded together: nothing of a network that measures features, and no audio of unequal lengths,
        which windows at the ends of a recording have."""
        alike = modality == "face" or len({item.mel.shape for item in items}) == 1
        size = _TOGETHER if alike and self._network.encoders() else 1
        return [items[first : first + size] for first in range(0, len(items), size)]

    @torch.inference_mode()
    def _encode(self, items: Sequence[Item], modality: Modality) -> list[Item]:
        with torch.autocast(self._device.type, torch.bfloat16, enabled=self._half):
            if modality == "audio":
                audio = torch.from_numpy(np.stack([item.mel for item in items])).to(self._device)
                tokens = self._network.encode_audio(audio).float().cpu().numpy()
                return [item._replace(mel=own) for item, own in zip(items, tokens, strict=True)]
            if self._network.architecture.pools_images:
                return [self._encode_mean(item) for item in items]
            counts = [len(item.faces) for item in items]
            faces = self._pixels(np.concatenate([item.faces for item in items]))
            distinct, inverse = deduplicate_consecutive(faces)
            parts = [self._network.encode_faces(part) for part in distinct.split(_FACE_BATCH)]
            rows = torch.cat(parts)[inverse] if len(faces) else self._network.encode_faces(faces)
            own = np.split(rows.float().cpu().numpy(), np.cumsum(counts)[:-1])
            return [item._replace(faces=values) for item, values in zip(items, own, strict=True)]

    def _encode_mean(self, item: Item) -> Item:
        if not len(item.faces):
            return item._replace(faces=self._network.encode_faces(self._pixels(item.faces)).float().cpu().numpy())
        mean = self._network.encode_faces(self._pixels(item.faces).mean(dim=0, keepdim=True)).float().cpu().numpy()
        return item._replace(faces=mean, places=np.zeros(1, np.int64))

    def _pixels(self, faces: np.ndarray) -> torch.Tensor:
        """(n, 3, side, side) uint8 -> float32 on the device, normalised."""
        return (torch.from_numpy(np.ascontiguousarray(faces)).to(self._device).float() / 255 - self._mean) / self._std


def _in_threads(function: Callable[[int], Item], rows: list[int], threads: int) -> Iterator[Item]:
    if threads <= 1:
        yield from map(function, rows)
        return
    before = torch.get_num_threads()
    with ThreadPoolExecutor(threads, "encoder", initializer=torch.set_num_threads, initargs=(1,)) as executor:
        try:
            yield from executor.map(function, rows)
        except BaseException:
            executor.shutdown(wait=False, cancel_futures=True)
            raise
        finally:
            torch.set_num_threads(before)
