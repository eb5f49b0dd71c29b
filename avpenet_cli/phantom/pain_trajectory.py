"""How pain runs over a recording, and what happens meanwhile."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.signal import lfilter

from avpenet_cli.phantom.parameters.trajectory_params import TrajectoryParams, trajectory_params
from avpenet_cli.phantom.parameters.voice_params import PAIN_MAX, PAIN_RATE_HZ, Range

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Event:
    """Something that happened, as `avpenet report --events` reads it."""

    time_s: float
    label: str


@dataclass(frozen=True)
class Course:
    """The truth of one recording.

    Attributes:
        pain: (n,) float64 in [0, 10] at 10 Hz.
        kind: procedure, sustained or pain_free.
        events: in order of time.
    """

    pain: Floats
    kind: str
    events: tuple[Event, ...]

    def mean_over(self, start_s: float, end_s: float) -> float:
        """Mean pain between two times, points."""
        return float(self.pain[round(start_s * PAIN_RATE_HZ) : max(1, round(end_s * PAIN_RATE_HZ))].mean())


def draw_course(duration_s: float, rng: np.random.Generator) -> Course:
    """A course: baseline, procedure, sustained pain, analgesic, decline, repositioning, recovery; or some of it.

    After the article's figure 7, with the numbers of `parameters/trajectory.toml`.

    Args:
        duration_s: of the recording, at least 1.
    """
    numbers = trajectory_params().course
    n = round(duration_s * PAIN_RATE_HZ)
    time_s = np.arange(n) / PAIN_RATE_HZ
    dice = rng.random()
    baseline = _drawn(numbers.baseline_pain, rng)
    events: list[Event] = []
    if dice < numbers.pain_free_share:
        kind, pain = "pain_free", np.full(n, baseline)
    elif dice < numbers.pain_free_share + numbers.sustained_share:
        kind, pain = "sustained", np.full(n, _drawn(numbers.sustained_pain, rng))
    else:
        kind = "procedure"
        begins_s = duration_s * _drawn(numbers.procedure_at, rng)
        pain = _procedure(time_s, begins_s, baseline, numbers, rng)
        events.append(Event(round(begins_s, 1), "procedure"))
    if kind != "pain_free":
        pain, later = _relieved(time_s, pain, baseline, numbers, rng)
        events += later
    pain = pain + random_drift(n, numbers.wander_points, numbers.wander_s, PAIN_RATE_HZ, rng)
    return Course(np.clip(pain, 0.0, PAIN_MAX), kind, tuple(events))


def _procedure(
    time_s: Floats, begins_s: float, baseline: float, numbers: TrajectoryParams, rng: np.random.Generator
) -> Floats:
    peak = _drawn(numbers.peak_pain, rng)
    plateau = max(baseline, peak * _drawn(numbers.plateau_share, rng))
    rise_s, settle_s = _drawn(numbers.rise_s, rng), _drawn(numbers.settle_s, rng)
    since = np.maximum(time_s - begins_s, 0.0)
    rising = np.minimum(since / rise_s, 1.0)
    settling = np.exp(-np.maximum(since - rise_s, 0.0) / settle_s)
    return np.asarray(baseline + rising * (plateau + (peak - plateau) * settling - baseline))


def _relieved(
    time_s: Floats, pain: Floats, baseline: float, numbers: TrajectoryParams, rng: np.random.Generator
) -> tuple[Floats, list[Event]]:
    """An analgesic and the decline after it, and a turn in bed that hurts."""
    duration_s, events = float(time_s[-1]), []
    given_s = duration_s * _drawn(numbers.analgesic_at, rng)
    decline_s = _drawn(numbers.decline_s, rng)
    if rng.random() < numbers.analgesic_chance:
        left = np.exp(-np.maximum(time_s - given_s, 0.0) / decline_s)
        pain = baseline + (pain - baseline) * left
        events.append(Event(round(given_s, 1), "analgesic"))
    moved_s, length_s = duration_s * _drawn(numbers.repositioning_at, rng), _drawn(numbers.repositioning_s, rng)
    more = _drawn(numbers.repositioning_pain, rng)
    if rng.random() < numbers.repositioning_chance:
        within = np.clip((time_s - moved_s) / length_s, 0.0, 1.0)
        pain = pain + more * np.sin(np.pi * within)
        events.append(Event(round(moved_s, 1), "repositioning"))
    return pain, events


def random_drift(n: int, spread: float, time_s: float, rate_hz: float, rng: np.random.Generator) -> Floats:
    """(n,) float64: an Ornstein-Uhlenbeck process of standard deviation `spread` about 0."""
    keep = np.exp(-1.0 / (time_s * rate_hz))
    noise = rng.standard_normal(n) * spread
    noise[1:] *= np.sqrt(1.0 - keep**2)
    return np.asarray(lfilter([1.0], [1.0, -keep], noise))


def _drawn(values: Range, rng: np.random.Generator) -> float:
    return float(rng.uniform(*values))
