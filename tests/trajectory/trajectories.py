"""Made-up trajectories with everything that a page can show."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np

from avpenet_cli.stats.estimate import Estimate, absent
from avpenet_cli.trajectory.analysed import (
    AfterEvent,
    AgainstRatings,
    Alert,
    ChangePoint,
    Level,
    Peak,
    Span,
    State,
    Trajectory,
)
from avpenet_cli.trajectory.series import Event, Part, RatedSpan, Series

NAN = float("nan")
HOSTILE = "</script><script>alert('1')</script>&amp;\"><!-- \U0001f600 ]]> \udc80\x00"
STATES: tuple[State, ...] = ("stable", "rising", "falling", "unstable", "indeterminate")


def series(
    lengths: tuple[int, ...] = (300,),
    breaks: tuple[float, ...] = (),
    *,
    name: str = "ward-a/clip 1.mp4",
    clock: str = "2026-03-04T10:15:00+01:00",
    seed: int = 0,
) -> Series:
    """Recordings of so many segments at a stride of 1 s, with breaks between them, s, and a gap in each."""
    random = np.random.default_rng(seed)
    parts, start, part = [], [], []
    offset = 0.0
    for index, length in enumerate(lengths):
        parts.append(Part(f"{name.removesuffix('.mp4')} {index + 1}.mp4", offset, length + 2.0))
        start += (offset + np.arange(length)).tolist()
        part += [index] * length
        offset += length + 2.0 + (breaks[index] if index < len(breaks) else 0.0)
    starts = np.array(start)
    n = starts.size
    score = np.clip(4 + 3 * np.sin(starts / 60) + random.normal(0, 0.5, n), 0, 10)
    reason = [""] * n
    for first, last, why in ((n // 5, n // 4, "no_face"), (3 * n // 5, 3 * n // 5 + 2 + n // 60, "no_audio")):
        score[first:last] = NAN
        reason[first:last] = [why] * (last - first)
    sd = np.where(np.isnan(score), NAN, 0.4)
    end = float(starts[-1])
    ratings = [
        RatedSpan(at, at + 30.0, round(4 + 3 * np.sin(at / 60)), "nurse A") for at in np.arange(0.0, end - 60, 30)
    ]
    ratings += [RatedSpan(at, at, 5.0, HOSTILE) for at in np.arange(20.0, end, max(end / 6, 60))]
    return Series(
        name=name,
        parts=tuple(parts),
        clock=clock,
        part=np.array(part),
        start_s=starts,
        end_s=starts + 3,
        score=score,
        sd=sd,
        low=score - 2 * sd,
        high=score + 2 * sd,
        reason=tuple(reason),
        quality=np.clip(0.8 + random.normal(0, 0.1, n), 0, 1),
        stride_s=1.0,
        window_s=3.0,
        events=(Event(0.2 * end, "heel lance"), Event(0.5 * end, HOSTILE), Event(0.52 * end, "analgesic")),
        ratings=tuple(sorted(ratings, key=lambda rating: rating.start_s)),
        cut_points=(3.0, 6.0),
    )


def trajectory(of: Series | None = None) -> Trajectory:
    """A series with changes, peaks, states, gaps and alerts at made-up places."""
    of = of or series()
    n, end = of.score.size, float(of.end_s[-1])
    mean = 4 + 3 * np.sin(of.start_s / 60)
    mean[np.isnan(of.score)] = NAN
    cuts = np.linspace(0, end, 11)
    states = [Span(float(a), float(b), STATES[index % 5]) for index, (a, b) in enumerate(pairwise(cuts))]
    gaps = [
        Span(float(of.start_s[n // 5]), float(of.end_s[n // 4 - 1]), "no_face"),
        Span(float(of.start_s[3 * n // 5]), float(of.end_s[3 * n // 5 + 1 + n // 60]), "no_audio"),
    ]
    for earlier, later in pairwise(of.parts):
        gaps.append(Span(earlier.offset_s + earlier.length_s, later.offset_s, "between recordings"))
    known = Estimate(4.21, (3.9, 4.5), n)
    return Trajectory(
        series=of,
        level=Level(mean, mean - 0.5, mean + 0.5),
        changes=(ChangePoint(0.3 * end, 0.28 * end, 0.33 * end, 3.1, 6.2),),
        peaks=(Peak(0.31 * end, 6.9, 6.2, 7.5, 3.1), Peak(0.8 * end, 5.0, 4.2, 5.9, 1.0)),
        states=tuple(states),
        gaps=tuple(sorted(gaps, key=lambda gap: gap.start_s)),
        scored_s=0.8 * end,
        above=((3.0, Estimate(120.0, (100.0, 130.0), n)), (6.0, absent("no score is above it"))),
        area=Estimate(1234.5, (1200.0, 1300.0), n),
        mean=known,
        highest=replace(known, value=6.9),
        after_events=tuple(
            AfterEvent(event.time_s, event.label, known, replace(known, value=6.0), absent("no decline within 10 min"))
            for event in of.events
        ),
        against_ratings=(
            AgainstRatings(
                "nurse A", 8, Estimate(2.0, (0.0, 4.0), 8), Estimate(0.7, (0.5, 0.9), 8), Estimate(0.8, (0.5, 0.9), 8)
            ),
            AgainstRatings(HOSTILE, 3, absent("3 pairs"), absent("3 pairs"), absent("3 pairs")),
        ),
        alerts=(
            Alert("score-above-6", 0.31 * end, 0.4 * end, 0.34 * end, "score above 6 for 30 s"),
            Alert("low-confidence", 0.7 * end, 0.72 * end, 0.72 * end, HOSTILE),
        ),
        notices=("made up",),
    )
