"""Remove a DC offset, constant or wandering, before anything is measured."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import scipy.signal

CUTOFF_HZ = 20.0
"""Below hearing and below the lowest mel band (50 Hz)."""


def without_offset(blocks: Iterable[np.ndarray], rate_hz: int) -> Iterator[np.ndarray]:
    """High-pass a stream, second order Butterworth at `CUTOFF_HZ`.

    Samples that are exactly 0 stay so and are skipped by the filter: they are gaps, which have no offset, and the step
    into them would sound as a thump.

    Args:
        blocks: contiguous (samples,) float blocks, full scale 1. The first must not be shorter than the filter needs to
            know the offset at the start, about a second.
        rate_hz: sampling rate of `blocks`.

    Returns:
        (samples,) float32 blocks of the same lengths.
    """
    sections = scipy.signal.butter(2, CUTOFF_HZ, "highpass", fs=rate_hz, output="sos")
    state: np.ndarray | None = None
    for block in blocks:
        present = block != 0
        filtered = np.zeros(block.size, np.float32)
        samples = block[present].astype(np.float64)
        if samples.size:
            if state is None:
                state = scipy.signal.sosfilt_zi(sections) * samples.mean()
            filtered[present], state = scipy.signal.sosfilt(sections, samples, zi=state)
        yield filtered
