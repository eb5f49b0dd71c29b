"""Non-maximum suppression over many images at once: of boxes that overlap, the best one is kept."""

from __future__ import annotations

import torch
from torch import Tensor

_PAIRS_AT_ONCE = 1 << 21
"""Pairs of boxes compared at once; limits memory where an image has thousands of candidates."""


def keep_best(
    boxes: Tensor,
    scores: Tensor,
    images: Tensor,
    image_count: int,
    max_overlap: float,
    labels: Tensor | None = None,
    of_smaller: bool = False,
) -> Tensor:
    """Keep a box if no better kept box of its image overlaps it by more than `max_overlap`.

    Args:
        boxes: (k, 4) left, top, right, bottom.
        scores: (k,), the higher the better; of equal ones the first is the better.
        images: (k,) int64, the image of each box, from 0.
        image_count: number of images.
        max_overlap: overlap that is allowed: the shared area as a share of the area covered by either box ...
        labels: (k,) int64; boxes with different labels do not suppress each other.
        of_smaller: ... or of the smaller box's, sides counting whole pixels, both ends included.

    Returns:
        Indices of the kept boxes, int64: by image, the best first.
    """
    if not len(boxes):
        return torch.empty(0, dtype=torch.int64, device=boxes.device)
    order = scores.argsort(descending=True, stable=True)
    order = order[images[order].argsort(stable=True)]
    image = images[order]
    counts = torch.bincount(image, minlength=image_count)
    place = torch.arange(len(order), device=boxes.device) - (counts.cumsum(0) - counts)[image]
    most = int(counts.max())
    table = boxes.new_zeros(image_count, most, 4)
    table[image, place] = boxes[order]
    present = torch.zeros(image_count, most, dtype=torch.bool, device=boxes.device)
    present[image, place] = True
    label = None
    if labels is not None:
        label = labels.new_zeros(image_count, most)
        label[image, place] = labels[order]
    step = max(1, _PAIRS_AT_ONCE // (most * most))
    kept = torch.cat(
        [
            _greedy(table[some], present[some], None if label is None else label[some], max_overlap, of_smaller)
            for some in (slice(first, first + step) for first in range(0, image_count, step))
        ]
    )
    return order[kept[image, place]]


def _greedy(boxes: Tensor, present: Tensor, labels: Tensor | None, max_overlap: float, of_smaller: bool) -> Tensor:
    """Which boxes are kept: boxes (n, most, 4), the best first; present (n, most)."""
    count, most = present.shape
    extra = 1.0 if of_smaller else 0.0
    left, top, right, bottom = boxes.unbind(2)
    area = (right - left + extra) * (bottom - top + extra)
    suppressed_by = torch.empty(count, most, most, dtype=torch.bool, device=boxes.device)
    rows = max(1, _PAIRS_AT_ONCE // (count * most))
    for first in range(0, most, rows):
        some = slice(first, min(most, first + rows))
        across = torch.minimum(right[:, some, None], right[:, None]) - torch.maximum(left[:, some, None], left[:, None])
        along = torch.minimum(bottom[:, some, None], bottom[:, None]) - torch.maximum(top[:, some, None], top[:, None])
        shared = (across + extra).clamp_(min=0) * (along + extra).clamp_(min=0)
        ours, theirs = area[:, some, None], area[:, None]
        whole = torch.minimum(ours, theirs) if of_smaller else ours + theirs - shared
        suppressed_by[:, some] = shared / whole > max_overlap
    if labels is not None:
        suppressed_by &= labels[:, :, None] == labels[:, None]
    suppressed_by = suppressed_by.tril_(-1)
    # Repeated until nothing changes, this gives what going through the boxes one by one gives: the best box is right
    # from the start, and each round makes at least the next one right.
    kept = present
    while True:
        after = present & ~(suppressed_by & kept[:, None]).any(2)
        if torch.equal(after, kept):
            return kept
        kept = after
