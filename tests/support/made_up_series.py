"""Series of made-up scores for the rules of alerts."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from avpenet_cli.trajectory.analysed import Level
from avpenet_cli.trajectory.series import Event, Part, RatedSpan, Series

NAN = float("nan")


def series_of(
    *recordings: Sequence[float],
    stride_s: float = 3.0,
    pause_s: float = 60.0,
    quality: Sequence[float] | float = 1.0,
    half_width: Sequence[float] | float = 0.5,
    events: Sequence[tuple[float, str]] = (),
    ratings: Sequence[tuple[float, float, float]] = (),
    name: str = "P1",
) -> Series:
    """Segments of 3 s with these scores, NaN for none, `pause_s` between recordings; ratings: start, end, value."""
    parts, starts = [], []
    offset_s = 0.0
    for number, scores in enumerate(recordings):
        length_s = (len(scores) - 1) * stride_s + 3.0
        parts.append(Part(f"{number}.mp4", offset_s, length_s))
        starts.append(offset_s + stride_s * np.arange(len(scores)))
        offset_s += length_s + pause_s
    start_s, score = np.concatenate(starts), np.concatenate([np.array(own, dtype=np.float64) for own in recordings])
    width = np.broadcast_to(np.asarray(half_width, dtype=np.float64), score.shape)
    return Series(
        name=name,
        parts=tuple(parts),
        clock="",
        part=np.repeat(np.arange(len(recordings)), [len(own) for own in recordings]),
        start_s=start_s,
        end_s=start_s + 3.0,
        score=score,
        sd=np.where(np.isnan(score), NAN, width / 2),
        low=score - width,
        high=score + width,
        reason=tuple("no_face" if np.isnan(value) else "" for value in score),
        quality=np.array(np.broadcast_to(np.asarray(quality, dtype=np.float64), score.shape)),
        stride_s=stride_s,
        window_s=3.0,
        events=tuple(Event(*event) for event in events),
        ratings=tuple(RatedSpan(*rating, "A") for rating in ratings),
        cut_points=(3.0, 6.0),
    )


def level_of(series: Series) -> Level:
    """A smoothed level of 9 throughout, which no alert may depend on, and the scores as the filter's."""
    nine = np.full(series.score.shape, 9.0)
    return Level(nine, nine, nine, filtered=Level(series.score, series.low, series.high))
