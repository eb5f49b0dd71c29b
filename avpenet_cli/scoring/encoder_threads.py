"""Encode faces in threads beside the one that finds them."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Self

import numpy as np
import torch

from avpenet_cli.face.deduplicate import deduplicate_consecutive
from avpenet_cli.pipeline.timer import StageTimer
from avpenet_cli.scoring.network import Network

_WAITING_TASKS = 4
"""Tasks for each thread that are done or waiting; the search for faces is quicker and would run far ahead."""


def _one_thread() -> None:
    torch.set_num_threads(1)


class EncoderThreads:
    """Encodes crops in several threads, each of which computes alone: together they waste less than one network pass
    whose every layer is shared among cores that then wait for each other.

    The embeddings are those of `Network.encode_faces`, to the bit. Leaving the `with` block ends the threads; what has
    not begun by then is dropped.

    Args:
        network: must allow as many threads as `network.encoder_threads` says; with 0 crops are encoded at once, by the
            thread that brings them.
        timer: adds up the stages `encode_faces`, over all threads, and `wait_for_encoder`.
    """

    def __init__(self, network: Network, timer: StageTimer) -> None:
        self._network, self._timer = network, timer
        count = network.encoder_threads
        self._crops_per_task = network.crops_per_task
        # One thread alone waits for a device or a service, which has threads of its own.
        self._compute_apart = count > 1
        self._room = threading.BoundedSemaphore(max(1, count * _WAITING_TASKS))
        self._executor = (
            ThreadPoolExecutor(count, "encoder", initializer=_one_thread if self._compute_apart else None)
            if count
            else None
        )
        self._threads_before = torch.get_num_threads()

    def __enter__(self) -> Self:
        if self._compute_apart:
            torch.set_num_threads(1)  # the other cores are the encoders'
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        if self._executor is not None:
            self._executor.shutdown(cancel_futures=True)
        if self._compute_apart:
            torch.set_num_threads(self._threads_before)

    def submit(self, crops: Sequence[np.ndarray]) -> list[Future[np.ndarray]]:
        """Encode crops as `Network.encode_faces` takes them; waits while the threads are far behind.

        Returns:
            The embeddings of consecutive crops, each (n, 512) float32, together those of all.
        """
        if self._executor is None:
            done: Future[np.ndarray] = Future()
            done.set_result(self._encode(crops))
            return [done]
        tasks = []
        # Not split between two crops that are the same, because they are encoded once.
        _, distinct = deduplicate_consecutive(crops)
        for _, places in itertools.groupby(range(len(crops)), lambda place: distinct[place] // self._crops_per_task):
            with self._timer.stage("wait_for_encoder"):
                self._room.acquire()
            task = self._executor.submit(self._encode, [crops[place] for place in places])
            task.add_done_callback(lambda _: self._room.release())
            tasks.append(task)
        return tasks

    def results(self, tasks: Sequence[Future[np.ndarray]]) -> list[np.ndarray]:
        """Wait for tasks; the embedding of each crop, (512,) float32. Raises what encoding raised.

        They stay where they are: in one array, those of hours would be there twice for a moment.
        """
        with self._timer.stage("wait_for_encoder"):
            return [embedding for task in tasks for embedding in task.result()]

    def _encode(self, crops: Sequence[np.ndarray]) -> np.ndarray:
        with self._timer.stage("encode_faces"):
            return self._network.encode_faces(crops)
