"""Find the bursts of a voice and the pauses between them by level."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from avpenet_cli.model.acoustic.frames import HOP_S, runs

_THRESHOLD_DB = -25.0
_SHORTEST_S = 0.1
"""Below the loudest frame, and for bursts and pauses alike: Praat's defaults ("Sound: To TextGrid (silences)")."""

_FLOOR_DB = -80.0


@dataclass(frozen=True, eq=False)
class Bursts:
    """What is audible in a segment.

    Attributes:
        active: (frames,) bool, within a burst.
        starts_s: (bursts,) float64 from the segment's start, s.
        lengths_s: (bursts,) float64, s. A burst that the segment cuts counts as long as the segment has of it.
        pauses_s: (bursts - 1,) float64, from each burst to the next, s; empty with no burst.
    """

    active: np.ndarray
    starts_s: np.ndarray
    lengths_s: np.ndarray
    pauses_s: np.ndarray


def levels_db(rms: np.ndarray) -> np.ndarray:
    """(frames,) float64: level relative to the loudest frame, dB, at least -80. `rms` has a value over 0."""
    return 20 * np.log10(np.maximum(rms / rms.max(), 10 ** (_FLOOR_DB / 20)))


def find_bursts(levels: np.ndarray) -> Bursts:
    """Runs of loud frames; gaps under 0.1 s are closed, then bursts under 0.1 s dropped.

    Args:
        levels: (frames,) float64 from `levels_db`; none for a silent segment.
    """
    shortest = round(_SHORTEST_S / HOP_S)
    active = levels > _THRESHOLD_DB
    for start, stop in runs(~active):
        if start > 0 and stop < active.size and stop - start < shortest:
            active[start:stop] = True
    for start, stop in runs(active):
        if stop - start < shortest:
            active[start:stop] = False
    edges = np.array(runs(active)).reshape(-1, 2) * HOP_S
    return Bursts(active, edges[:, 0], edges[:, 1] - edges[:, 0], edges[1:, 0] - edges[:-1, 1])
