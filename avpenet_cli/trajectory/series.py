"""A patient's series of scores: one recording, or several on one clock time."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Part:
    """One recording of a series.

    Attributes:
        recording: its name in the score table.
        offset_s: where it starts on the series' time axis, s.
        length_s: end of its last segment, s after its start.
    """

    recording: str
    offset_s: float
    length_s: float


@dataclass(frozen=True)
class Event:
    """Something that happened: `time_s` on the series' time axis, s."""

    time_s: float
    label: str


@dataclass(frozen=True)
class RatedSpan:
    """A human rating on the series' time axis: points, 0 to 10, from `start_s` to `end_s`; equal for one moment."""

    start_s: float
    end_s: float
    value: float
    rater: str


@dataclass(frozen=True, eq=False)
class Series:
    """The segments of one patient, or of one recording, in time order; all arrays are (n,).

    Attributes:
        name: of the patient, or of the recording where that is the unit.
        parts: the recordings, in time order.
        clock: ISO 8601 time of 0 s, with its offset from UTC where known; empty where times are not clock times.
        part: int64, index into `parts` of each segment.
        start_s, end_s: on the series' time axis, s.
        score: points, 0 to 10; NaN where unscorable.
        sd: standard deviation of the Monte Carlo samples, points; NaN without.
        low, high: their 2.5th and 97.5th percentiles; NaN without.
        reason: why there is no score, such as `no_face`; empty where there is one.
        quality: of the evidence behind each score, in [0, 1], see `quality.qualities`; NaN where the table states none.
        stride_s: time between starts of neighbouring segments, s.
        window_s: length of a segment, s.
        events, ratings: in time order.
        cut_points: upper ends of the classes low and moderate, points.
        notices: what a reader must know about these recordings and their times.
    """

    name: str
    parts: tuple[Part, ...]
    clock: str
    part: npt.NDArray[np.int64]
    start_s: Floats
    end_s: Floats
    score: Floats
    sd: Floats
    low: Floats
    high: Floats
    reason: tuple[str, ...]
    quality: Floats
    stride_s: float
    window_s: float
    events: tuple[Event, ...]
    ratings: tuple[RatedSpan, ...]
    cut_points: tuple[float, float]
    notices: tuple[str, ...] = ()

    @property
    def middle_s(self) -> Floats:
        """Middle of each segment, s."""
        return (self.start_s + self.end_s) / 2
