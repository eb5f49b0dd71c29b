"""Batches from several threads: what they ask of one device is gathered and run together, in one thread."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from itertools import count
from typing import Any

import numpy as np
import torch

from avpenet_cli.errors import EnvironmentUnavailableError, Interrupted

Finish = Callable[[], Iterable[Any]]
Launch = Callable[[Sequence[Any], int], Finish]
"""Starts a batch: takes at least one array, all of one shape and dtype, and the batch size, to which it pads them.
Returns a function that waits for the batch and returns one result per array. What else belongs to an array may come
with it as a tuple."""

NO_MEMORY = (
    "the GPU's memory is too small even for a batch of one",
    "end other programs on this GPU, or use --device cpu",
)
"""Message and remedy of the error for a batch that cannot be halved any more."""


@dataclass(frozen=True)
class BatchKind:
    """One kind of work.

    Attributes:
        launch: starts one batch.
        batch_size: largest number of arrays in a batch. The batch always has this size, so that the result for an
            array depends neither on how many others there are nor on which.
        release: gives up the GPU memory that is kept between batches, a graph's for example; returns whether there was
            any. Called in the service's thread while the device is idle; the next batch takes memory anew.
    """

    launch: Launch
    batch_size: int
    release: Callable[[], bool] | None = None


@dataclass
class _Request:
    """Arrays that one thread waits for.

    Attributes:
        future: for their results.
        results: of the arrays, as far as they are known.
        missing: how many are not.
        alone: run them apart from those of others, because a batch with both failed.
    """

    future: Future[list[Any]]
    results: list[Any]
    missing: int
    alone: bool = False


@dataclass
class _Item:
    """One array of a request; `number` counts the items of the service."""

    request: _Request
    place: int
    array: Any
    number: int


_Key = tuple[str, tuple[int, ...], str]
"""Kind of work, shape and dtype: what can be run together."""


@dataclass
class _Batch:
    """Items that are run together, at the batch size of that time."""

    key: _Key
    size: int
    items: list[_Item]
    finish: Finish | None = None


class BatchingService:
    """Runs batches of several kinds, one after the other in a thread of its own.

    No request waits for others to come: a batch starts as soon as the device is free, with what is there, and what
    comes while it runs makes up the next one. While a batch runs, the next is started only if it is full.

    A batch for which the GPU's memory runs out is halved, and so are all of its kind after it; what other kinds keep
    between batches is released, so that the kinds come to sizes that fit beside each other. Any other error reaches
    only those whose own arrays cause it.

    Args:
        kinds: by name.
        on_halved: told the kind's name, the old batch size and the new one, in the service's thread.
    """

    def __init__(
        self, kinds: Mapping[str, BatchKind], on_halved: Callable[[str, int, int], None] | None = None
    ) -> None:
        self._kinds, self._on_halved = dict(kinds), on_halved
        self._sizes = {name: kind.batch_size for name, kind in kinds.items()}
        self._queues: dict[_Key, deque[_Item]] = {}
        self._unanswered: set[Future[list[Any]]] = set()
        self._numbers = count()
        self._closed = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._work, name="batching", daemon=True)
        self._thread.start()

    def submit(self, kind: str, arrays: Sequence[Any]) -> Future[list[Any]]:
        """Ask for the results of some arrays.

        Args:
            kind: name of the kind of work.
            arrays: any number, all of one shape and dtype, or tuples that begin with such arrays; they must not change
                before the results are there.

        Returns:
            One result per array, in order. Cancelling it drops the arrays that no batch has taken yet. Its errors are
            those of the kind's function, `EnvironmentUnavailableError` where memory is too small for a single array,
            and `Interrupted` where the service is closed before.
        """
        future: Future[list[Any]] = Future()
        if not arrays:
            future.set_result([])
            return future
        request = _Request(future, [None] * len(arrays), len(arrays))
        first: np.ndarray = arrays[0][0] if isinstance(arrays[0], tuple) else arrays[0]
        key = (kind, first.shape, str(first.dtype))
        with self._changed:
            if self._closed:
                future.set_exception(Interrupted("interrupted"))
                return future
            items = [_Item(request, place, array, next(self._numbers)) for place, array in enumerate(arrays)]
            self._queues.setdefault(key, deque()).extend(items)
            self._unanswered.add(future)
            self._changed.notify()
        future.add_done_callback(self._unanswered.discard)
        return future

    def run(self, kind: str, arrays: Sequence[Any]) -> list[Any]:
        """As `submit`, but wait for the results."""
        return self.submit(kind, arrays).result()

    def batch_size(self, kind: str) -> int:
        """The batch size of a kind: as it was given, or less where the GPU's memory ran out."""
        return self._sizes[kind]

    def close(self) -> None:
        """End the thread once its running batches are done; whoever still waits gets `Interrupted`."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join()

    def _work(self) -> None:
        reason: Exception = Interrupted("interrupted")
        try:
            self._run_batches()
        except Exception as error:  # nobody may wait for a thread that has ended
            reason = error
        with self._changed:
            self._closed = True
        self._refuse_all(reason)

    def _run_batches(self) -> None:
        running: _Batch | None = None
        while True:
            with self._changed:
                while not (self._closed or running or any(self._queues.values())):
                    self._changed.wait()
                batch = None if self._closed else self._take(full=running is not None)
            started = batch is not None and self._start(batch)
            if running is not None:
                self._end(running)
            running = batch if started else None
            if self._closed and running is None:
                break

    def _take(self, *, full: bool) -> _Batch | None:
        """Take the batch that has waited longest; with `full`, only one that fills its size."""
        ready = [
            (items[0].number, key)
            for key, items in self._queues.items()
            if items and (not full or len(items) >= self._sizes[key[0]])
        ]
        if not ready:
            return None
        key = min(ready)[1]
        batch, waiting = _Batch(key, self._sizes[key[0]], []), self._queues[key]
        while waiting and len(batch.items) < batch.size:
            apart = waiting[0].request.alone or (batch.items and batch.items[0].request.alone)
            if apart and batch.items and batch.items[0].request is not waiting[0].request:
                break
            item = waiting.popleft()
            if not item.request.future.done():
                batch.items.append(item)
        return batch

    def _start(self, batch: _Batch) -> bool:
        """Start a batch; False where there is nothing to wait for."""
        if not batch.items:
            return False
        try:
            batch.finish = self._kinds[batch.key[0]].launch([item.array for item in batch.items], batch.size)
        except Exception as error:
            # The error's frames keep the batch's tensors alive.
            self._failed(batch, error.with_traceback(None) if isinstance(error, torch.OutOfMemoryError) else error)
        return batch.finish is not None

    def _end(self, batch: _Batch) -> None:
        assert batch.finish is not None
        try:
            results = batch.finish()
        except Exception as error:
            self._failed(batch, error)
            return
        for item, result in zip(batch.items, results, strict=True):
            request = item.request
            request.results[item.place] = result
            request.missing -= 1
            if not request.missing and request.future.set_running_or_notify_cancel():
                request.future.set_result(request.results)

    def _failed(self, batch: _Batch, error: Exception) -> None:
        """Run it in two halves where memory ran out, otherwise request by request, to see whose arrays fail."""
        batch.finish = None
        if isinstance(error, torch.OutOfMemoryError):
            released = self._release_memory()
            if batch.size == 1 and not released:
                _fail([item.request.future for item in batch.items], EnvironmentUnavailableError(*NO_MEMORY))
                return
            self._halve(batch)
        elif len({id(item.request) for item in batch.items}) == 1:
            _fail([item.request.future for item in batch.items], error)
            return
        else:
            for item in batch.items:
                item.request.alone = True
        with self._changed:
            self._queues[batch.key].extendleft(reversed(batch.items))

    def _release_memory(self) -> bool:
        """Give up all GPU memory that is kept between batches; returns whether a batch has any chance more now."""
        if torch.cuda.is_available():
            torch.cuda.synchronize()  # a batch of another kind may still use its memory
        released = [kind.release() for kind in self._kinds.values() if kind.release is not None]
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        return any(released)

    def _halve(self, batch: _Batch) -> None:
        kind = batch.key[0]
        before, now = self._sizes[kind], max(1, batch.size // 2)
        if now < before:
            self._sizes[kind] = now
            if self._on_halved is not None:
                self._on_halved(kind, before, now)

    def _refuse_all(self, reason: Exception) -> None:
        with self._changed:
            self._queues.clear()
            unanswered = list(self._unanswered)
        _fail(unanswered, reason)


def _fail(futures: Iterable[Future[list[Any]]], error: Exception) -> None:
    for future in futures:
        if not future.done() and future.set_running_or_notify_cancel():
            future.set_exception(error)
