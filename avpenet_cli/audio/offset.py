"""Remove a DC offset, constant or wandering, before anything is measured."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

CUTOFF_HZ = 20.0
"""Below hearing and below the lowest mel band (50 Hz)."""

_LEAD_IN_S = 0.5
_START_S = 0.1


def without_offset(blocks: Iterable[np.ndarray], rate_hz: int) -> Iterator[np.ndarray]:
    """High-pass a stream, second order Butterworth at `CUTOFF_HZ`.

    Samples that are exactly 0 stay so and are skipped by the filter: they are gaps, which have no offset, and the step
    into them would sound as a thump.

    Args:
        blocks: contiguous (samples,) float blocks, full scale 1, on a fixed grid: the first half second tells the
            filter the offset at the start.
        rate_hz: sampling rate of `blocks`.

    Returns:
        (samples,) float32 blocks of the same lengths.
    """
    # Imported here: it costs as much as a third of the program's start, and few recordings have an offset.
    import scipy.signal

    sections = scipy.signal.butter(2, CUTOFF_HZ, "highpass", fs=rate_hz, output="sos")
    state: np.ndarray | None = None
    for block in blocks:
        present = block != 0
        filtered = np.zeros(block.size, np.float32)
        samples = block[present].astype(np.float64)
        if samples.size:
            if state is None:
                state = _settled(sections, samples, rate_hz)
            filtered[present], state = scipy.signal.sosfilt(sections, samples, zi=state)
        yield filtered


def _settled(sections: np.ndarray, samples: np.ndarray, rate_hz: int) -> np.ndarray:
    """State of the filter after a lead-in, the first samples turned about their start, so that it does not ring."""
    import scipy.signal

    beginning = samples[: round(_START_S * rate_hz)]
    line = np.polynomial.Polynomial.fit(np.arange(beginning.size), beginning, min(1, beginning.size - 1))
    lead_in = 2 * line(0) - samples[round(_LEAD_IN_S * rate_hz) :: -1]
    state: np.ndarray = scipy.signal.sosfilt(sections, lead_in, zi=scipy.signal.sosfilt_zi(sections) * lead_in[0])[1]
    return state
