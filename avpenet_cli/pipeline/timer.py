"""Seconds by stage of the pipeline."""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

T = TypeVar("T")


class StageTimer:
    """Adds up seconds by stage.

    Several threads may use one timer. Stages that run side by side overlap: their seconds may add up to more than the
    recording took.

    Attributes:
        seconds: wall-clock seconds.
        cpu_seconds: CPU seconds of the thread that works at the stage, without threads that help it.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.seconds: defaultdict[str, float] = defaultdict(float)
        self.cpu_seconds: defaultdict[str, float] = defaultdict(float)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time a block."""
        start, start_cpu = time.perf_counter(), time.thread_time()
        try:
            yield
        finally:
            spent_s, spent_cpu_s = time.perf_counter() - start, time.thread_time() - start_cpu
            with self._lock:
                self.seconds[name] += spent_s
                self.cpu_seconds[name] += spent_cpu_s

    def waiting(self, name: str, source: Iterable[T]) -> Iterator[T]:
        """Time how long `source` takes to deliver each item."""
        iterator = iter(source)
        while True:
            with self.stage(name):
                try:
                    item = next(iterator)
                except StopIteration:
                    return
            yield item

    def rounded(self) -> dict[str, float]:
        """Seconds by stage, to the millisecond, for the manifest."""
        return {name: round(seconds, 3) for name, seconds in self.seconds.items()}
