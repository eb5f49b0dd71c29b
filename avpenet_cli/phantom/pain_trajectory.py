"""Draw the pain trajectory of a recording and its clinical events."""

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
    """A clinical event, as `avpenet report --events` reads it: time in seconds and label."""

    time_s: float
    label: str


@dataclass(frozen=True)
class PainTrajectory:
    """The true pain of a recording.

    Attributes:
        pain: (n,) float64 in [0, 10] at 10 Hz.
        kind: `procedure`, `sustained` or `pain_free`.
        events: by increasing time.
    """

    pain: Floats
    kind: str
    events: tuple[Event, ...]

    def mean_over(self, start_s: float, end_s: float) -> float:
        """Mean pain between two times (s), points."""
        return float(self.pain[round(start_s * PAIN_RATE_HZ) : max(1, round(end_s * PAIN_RATE_HZ))].mean())


def draw_pain_trajectory(duration_s: float, rng: np.random.Generator) -> PainTrajectory:
    """Draw a pain trajectory: baseline, procedure, plateau, analgesic, decline, repositioning, recovery, or part of it.

    Modelled on the paper's figure 7, with the parameters of `parameters/trajectory.toml`.

    Args:
        duration_s: length of the recording, at least 1.
        rng: source of randomness.
    """
    params = trajectory_params().trajectory
    n = round(duration_s * PAIN_RATE_HZ)
    time_s = np.arange(n) / PAIN_RATE_HZ
    kind_draw = rng.random()
    baseline = _draw(params.baseline_pain, rng)
    events: list[Event] = []
    if kind_draw < params.pain_free_share:
        kind, pain = "pain_free", np.full(n, baseline)
    elif kind_draw < params.pain_free_share + params.sustained_share:
        kind, pain = "sustained", np.full(n, _draw(params.sustained_pain, rng))
    else:
        kind = "procedure"
        start_s = duration_s * _draw(params.procedure_at, rng)
        pain = _procedure(time_s, start_s, baseline, params, rng)
        events.append(Event(round(start_s, 1), "procedure"))
    if kind != "pain_free":
        pain, later = _with_relief(time_s, pain, baseline, params, rng)
        events += later
    pain = pain + random_drift(n, params.drift_points, params.drift_s, PAIN_RATE_HZ, rng)
    return PainTrajectory(np.clip(pain, 0.0, PAIN_MAX), kind, tuple(events))


def _procedure(
    time_s: Floats, start_s: float, baseline: float, params: TrajectoryParams, rng: np.random.Generator
) -> Floats:
    peak = _draw(params.peak_pain, rng)
    plateau = max(baseline, peak * _draw(params.plateau_share, rng))
    rise_s, settle_s = _draw(params.rise_s, rng), _draw(params.settle_s, rng)
    since = np.maximum(time_s - start_s, 0.0)
    rising = np.minimum(since / rise_s, 1.0)
    settling = np.exp(-np.maximum(since - rise_s, 0.0) / settle_s)
    return np.asarray(baseline + rising * (plateau + (peak - plateau) * settling - baseline))


def _with_relief(
    time_s: Floats, pain: Floats, baseline: float, params: TrajectoryParams, rng: np.random.Generator
) -> tuple[Floats, list[Event]]:
    """Add an analgesic with the decline of pain after it, and a painful repositioning."""
    duration_s, events = float(time_s[-1]), []
    analgesic_s = duration_s * _draw(params.analgesic_at, rng)
    decline_s = _draw(params.decline_s, rng)
    if rng.random() < params.analgesic_chance:
        remaining = np.exp(-np.maximum(time_s - analgesic_s, 0.0) / decline_s)
        pain = baseline + (pain - baseline) * remaining
        events.append(Event(round(analgesic_s, 1), "analgesic"))
    repositioning_s, length_s = duration_s * _draw(params.repositioning_at, rng), _draw(params.repositioning_s, rng)
    extra_pain = _draw(params.repositioning_pain, rng)
    if rng.random() < params.repositioning_chance:
        within = np.clip((time_s - repositioning_s) / length_s, 0.0, 1.0)
        pain = pain + extra_pain * np.sin(np.pi * within)
        events.append(Event(round(repositioning_s, 1), "repositioning"))
    return pain, events


def random_drift(n: int, spread: float, time_s: float, rate_hz: float, rng: np.random.Generator) -> Floats:
    """Ornstein-Uhlenbeck process: (n,) float64, mean 0, standard deviation `spread`, correlation time `time_s`."""
    keep = np.exp(-1.0 / (time_s * rate_hz))
    noise = rng.standard_normal(n) * spread
    noise[1:] *= np.sqrt(1.0 - keep**2)
    return np.asarray(lfilter([1.0], [1.0, -keep], noise))


def _draw(values: Range, rng: np.random.Generator) -> float:
    return float(rng.uniform(*values))
