"""Run a function of tensors on batches of one shape: on a GPU from pinned memory and as a CUDA graph.

A graph replays all the operations of a function at once, where starting them one by one takes longer than computing
them. It needs the same shapes and the same memory every time, which is also what makes a row's result independent of
the other rows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from avpenet_cli.model.batching import Finish

_WARM_UP_CALLS = 3
"""Calls before a graph is captured: the first ones allocate and choose kernels, which no graph may contain."""

Columns = Callable[[Sequence[np.ndarray]], tuple[Sequence[np.ndarray], ...]]
"""Takes the items of a batch; returns for each argument of the function its rows."""


class _Buffers:
    """Memory for batches of one size: two sets on the host, so that one is filled while the other is in use.

    Args:
        rows: for each argument, a row of it.
        size: rows in a batch.
        device: of the function.

    Attributes:
        inputs, output: on a GPU, the memory that the graph reads and writes.
        results: the output on the host.
    """

    def __init__(self, rows: Sequence[np.ndarray], size: int, device: torch.device) -> None:
        self.size = size
        templates = [torch.from_numpy(np.asarray(row)) for row in rows]
        # Ones, because padding must be valid input: a segment without any token would divide by zero.
        self.host = [
            tuple(pinned(torch.ones((size, *row.shape), dtype=row.dtype), device) for row in templates)
            for _ in range(2)
        ]
        self.inputs: tuple[Tensor, ...] = ()
        self.graph: torch.cuda.CUDAGraph | None = None
        self.output: Tensor | None = None
        self.results: list[Tensor] = []


def pinned(tensor: Tensor, device: torch.device) -> Tensor:
    """The tensor in memory that a GPU reads while the processor goes on; as it is where that cannot be had."""
    if device.type != "cuda":
        return tensor
    try:
        return tensor.pin_memory()
    except RuntimeError:  # a limit on locked memory
        return tensor


class FixedShape:
    """A function that always sees batches of one size.

    Args:
        function: takes one tensor (size, ...) per column and returns one tensor (size, ...). Each row of the result
            depends on that row of the arguments alone. It must not make the processor wait for the device.
        columns: from the items of a batch to the rows of each argument.
        device: of the function.
        on_fallback: told why, where a GPU's faster ways fail and the function is called as on a CPU instead.
    """

    def __init__(
        self,
        function: Callable[..., Tensor],
        columns: Columns,
        device: torch.device,
        on_fallback: Callable[[Exception], None] | None = None,
    ) -> None:
        self._function, self._columns, self._device, self._on_fallback = function, columns, device, on_fallback
        self._buffers: dict[tuple[object, ...], _Buffers] = {}
        self._last: _Buffers | None = None
        self._turn = 0
        self._staged = self._capture = device.type == "cuda"

    @property
    def graphs(self) -> int:
        """Number of CUDA graphs in use."""
        return sum(buffers.graph is not None for buffers in self._buffers.values())

    @torch.inference_mode()
    def launch(self, items: Sequence[np.ndarray], size: int) -> Finish:
        """Start one batch; at most one that was started before may be unfinished. As `batching.Launch`.

        Raises:
            torch.OutOfMemoryError: the batch does not fit into the GPU's memory.
        """
        columns = self._columns(items)
        key = tuple((np.shape(rows[0]), np.asarray(rows[0]).dtype) for rows in columns)
        buffers = self._buffers.get(key)
        if buffers is None or buffers.size != size:
            # The memory of another size first: it may be what the new one needs.
            self._buffers.pop(key, None)
            self._last = None
            buffers = self._buffers[key] = _Buffers([rows[0] for rows in columns], size, self._device)
        self._last, self._turn = buffers, 1 - self._turn
        host = buffers.host[self._turn]
        for part, rows in zip(host, columns, strict=True):
            values = part.numpy()
            for place, row in enumerate(rows):
                values[place] = row
        if self._staged:
            try:
                return self._launch_staged(buffers, host, len(items))
            except torch.OutOfMemoryError:
                self._buffers.pop(key)
                self._last = None
                raise
            except Exception as error:
                self._staged = False
                self._report(error)
        result = self._function(*(part.to(self._device) for part in host)).cpu().numpy()[: len(items)]
        return lambda: result

    def release(self) -> bool:
        """Give up the memory of its graphs, which nothing else can use meanwhile; returns whether there was any.

        The device must be idle. Results that nobody has taken yet stay good.
        """
        held = any(buffers.inputs for buffers in self._buffers.values())
        self._buffers.clear()
        self._last = None
        return held

    @torch.inference_mode()
    def compute(self) -> None:
        """Compute what was last launched once more, without copying anything: for timing."""
        buffers = self._last
        assert buffers is not None
        if buffers.graph is not None:
            buffers.graph.replay()
        else:
            self._function(*(buffers.inputs or buffers.host[self._turn]))

    def _launch_staged(self, buffers: _Buffers, host: tuple[Tensor, ...], count: int) -> Finish:
        """Copy, compute and copy back in one stream, without waiting for any of it."""
        with torch.cuda.device(self._device):
            if not buffers.inputs:
                buffers.inputs = tuple(torch.ones_like(part, device=self._device) for part in host)
                if self._capture:
                    self._prepare(buffers)
            for argument, part in zip(buffers.inputs, host, strict=True):
                argument.copy_(part, non_blocking=True)
            if buffers.graph is not None:
                buffers.graph.replay()
                output = buffers.output
            else:
                output = self._function(*buffers.inputs)
            assert output is not None
            if not buffers.results:
                buffers.results = [pinned(torch.empty_like(output, device="cpu"), self._device) for _ in range(2)]
            result = buffers.results[self._turn]
            result.copy_(output, non_blocking=True)
            done = torch.cuda.Event()
            done.record()

        def finish() -> np.ndarray:
            done.synchronize()
            # The buffer is used again two batches later.
            return result[:count].numpy().copy()

        return finish

    def _prepare(self, buffers: _Buffers) -> None:
        """Capture the function as a graph, as torch documents it: after calls on another stream."""
        current, aside = torch.cuda.current_stream(), torch.cuda.Stream()
        aside.wait_stream(current)
        with torch.cuda.stream(aside):
            for _ in range(_WARM_UP_CALLS):
                self._function(*buffers.inputs)
        current.wait_stream(aside)
        try:
            graph = torch.cuda.CUDAGraph()
            # Other threads may use the GPU meanwhile; only what this one does must be allowed in a graph.
            with torch.cuda.graph(graph, capture_error_mode="thread_local"):
                output = self._function(*buffers.inputs)
        except Exception as error:
            # A capture that fails leaves its stream in place.
            torch.cuda.set_stream(current)
            self._capture = False
            self._report(error)
            return
        buffers.graph, buffers.output = graph, output

    def _report(self, error: Exception) -> None:
        if self._on_fallback is not None:
            self._on_fallback(error)
