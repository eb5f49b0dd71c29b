"""Functions on batches of one size. Graphs and pinned memory need a GPU: `make gpu-check` has those."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest
import torch
from torch import Tensor

from avpenet_cli.model.fixed_shape import FixedShape

CPU = torch.device("cpu")


def _function(sizes: list[int]) -> Callable[[Tensor], Tensor]:
    def double(rows: Tensor) -> Tensor:
        sizes.append(len(rows))
        return 2 * rows.float()

    return double


def _rows(*values: float) -> list[np.ndarray]:
    return [np.full((2, 3), value, np.float32) for value in values]


def test_function_sees_one_size_and_padding_is_left_out() -> None:
    sizes: list[int] = []
    fixed = FixedShape(_function(sizes), lambda rows: (rows,), CPU)
    first = fixed.launch(_rows(1, 2, 3), 4)
    second = fixed.launch(_rows(4), 4)
    np.testing.assert_array_equal(np.stack(list(first())), 2 * np.stack(_rows(1, 2, 3)))
    np.testing.assert_array_equal(np.stack(list(second())), 2 * np.stack(_rows(4)))
    assert sizes == [4, 4]


def test_another_size_or_dtype_takes_memory_of_its_own() -> None:
    sizes: list[int] = []
    fixed = FixedShape(_function(sizes), lambda rows: (rows,), CPU)
    for rows, size in ((_rows(1), 4), ([np.full((2, 3), 7, np.uint8)], 4), (_rows(2, 3), 2)):
        np.testing.assert_array_equal(np.stack(list(fixed.launch(rows, size)())), 2.0 * np.stack(rows))
    assert sizes == [4, 4, 2]


def test_several_arguments_are_padded_alike() -> None:
    def columns(pairs: Sequence[np.ndarray]) -> tuple[Sequence[np.ndarray], ...]:
        return [pair[:2] for pair in pairs], [pair[2:] for pair in pairs]

    fixed = FixedShape(lambda left, right: left.sum(1) / right.sum(1), columns, CPU)
    result = fixed.launch([np.array([1, 2, 3, 3], np.float32), np.array([4, 4, 1, 1], np.float32)], 5)
    assert list(result()) == [0.5, 4.0]


@pytest.mark.skipif(torch.cuda.is_available(), reason="shows what happens where a GPU's ways fail")
def test_failing_gpu_ways_are_reported_once_and_the_function_is_called_plainly() -> None:
    reports: list[Exception] = []
    fixed = FixedShape(_function([]), lambda rows: (rows,), CPU, reports.append)
    fixed._staged = True  # as on a GPU; on this machine the first call to CUDA raises
    for value in (1, 2):
        np.testing.assert_array_equal(np.stack(list(fixed.launch(_rows(value), 4)())), 2 * np.stack(_rows(value)))
    assert len(reports) == 1
    assert fixed.graphs == 0
