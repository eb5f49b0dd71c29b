"""A chart in words: its caption, and what stands for it where it cannot be seen."""

from __future__ import annotations

import numpy as np

from avpenet_cli import phrasing
from avpenet_cli.report.figures.wording import in_sentence
from avpenet_cli.trajectory.analysed import Trajectory
from avpenet_cli.trajectory.time_axis import TimeAxis


def caption(trajectory: Trajectory, axis: TimeAxis, *, numbered: bool) -> str:
    """How to read it; `numbered` where events have numbers in place of labels."""
    series = trajectory.series
    n_scored = int(np.isfinite(series.score).sum())
    text = (
        f"{phrasing.count(n_scored)} of {phrasing.counted(series.score.size, 'segment')} have a score, each drawn at"
        f" the middle of its {phrasing.number(series.window_s, 1)} s. Dotted: cut points of the classes."
    )
    if trajectory.level.reason:
        text += f" No smoothed level: {trajectory.level.reason}."
    if numbered:
        text += " Events are numbered as in the table of events; without a number where they are too close together."
    first, last = axis.span
    outside = sum(not first <= event.time_s <= last for event in series.events)
    if outside:
        text += f" {phrasing.counted(outside, 'event')} outside the recorded time not drawn."
    if any(piece.cut for piece in axis.pieces):
        text += " Long breaks between recordings are cut out of the time axis, between dotted lines."
    if trajectory.alerts:
        text += " Alerts: thin while a rule was being met, thick from when it could be known."
    return text


def alternative(trajectory: Trajectory, axis: TimeAxis) -> str:
    """What the chart shows, with its main numbers."""
    series = trajectory.series
    name = in_sentence(series.name) or "the series"
    known = np.flatnonzero(np.isfinite(series.score))
    if not known.size:
        return f"{name}: none of {phrasing.counted(series.score.size, 'segment')} has a score."
    score = series.score[known]
    top = known[int(np.argmax(score))]
    text = (
        f"{name}, {axis.when(axis.span[0])} to {axis.when(axis.span[1])}: scores from"
        f" {phrasing.number(float(score.min()))} to {phrasing.number(float(score.max()))} points, highest at"
        f" {axis.when(float(series.middle_s[top]))}; {phrasing.counted(len(trajectory.changes), 'change')} of the"
        f" level, {phrasing.counted(len(trajectory.gaps), 'gap')}, {phrasing.counted(len(trajectory.alerts), 'alert')}."
    )
    if trajectory.mean.computable:
        text += f" Mean of the level {phrasing.number(trajectory.mean.value)} points."
    return text + " The tables below the chart have the numbers."
