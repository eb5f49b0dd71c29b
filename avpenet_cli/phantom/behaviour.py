"""Draw the facial expressions and head motion of a recording: expressed pain, and behaviour that is not pain."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt
from scipy.signal import lfilter

from avpenet_cli.phantom.head.model import Expression
from avpenet_cli.phantom.pain_trajectory import PainTrajectory, random_drift
from avpenet_cli.phantom.parameters.trajectory_params import trajectory_params
from avpenet_cli.phantom.parameters.voice_params import PAIN_MAX, PAIN_RATE_HZ, Range
from avpenet_cli.phantom.subjects import Subject
from avpenet_cli.phantom.voice.utterance import Utterance

Floats = npt.NDArray[np.float64]

_UNITS = tuple(unit.name for unit in fields(Expression))

# Action units of behaviour that is not pain, at its peak. Some of it resembles pain.
_NON_PAIN_BEHAVIOUR: dict[str, dict[str, float]] = {
    "blink": {"eyes_closed": 1.0},
    "smile": {"lip_corner_pull": 0.9, "orbit_tighten": 0.25},
    "surprise": {"brow_raise": 0.9, "mouth_open": 0.3},
    "yawn": {"mouth_open": 1.0, "eyes_closed": 0.85, "brow_raise": 0.3},
    "grimace": {"brow_lower": 0.6, "orbit_tighten": 0.4},
}


@dataclass(frozen=True)
class Motion:
    """Facial expression and head motion of a recording, frame by frame.

    Attributes:
        units: (frames, 9) float64 action unit intensities in [0, 1], in the order of `Expression`.
        yaw_deg, pitch_deg, roll_deg: (frames,) float64 head pose.
        sway: (frames, 2) float64 horizontal and vertical shift, as shares of the face's width.
    """

    units: Floats
    yaw_deg: Floats
    pitch_deg: Floats
    roll_deg: Floats
    sway: Floats

    def expression(self, frame: int) -> Expression:
        """The expression in one frame."""
        return Expression(*(float(value) for value in self.units[frame]))


def draw_motion(
    subject: Subject, trajectory: PainTrajectory, utterances: Sequence[Utterance], fps: float, rng: np.random.Generator
) -> Motion:
    """Draw a subject's motion over a pain trajectory.

    Args:
        subject: whose motion.
        trajectory: its pain.
        utterances: all utterances, of pain and not; the mouth opens with them.
        fps: frames per second.
        rng: source of randomness.
    """
    duration_s = len(trajectory.pain) / PAIN_RATE_HZ
    time_s: Floats = (np.arange(round(duration_s * fps), dtype=np.float64) + 0.5) / fps
    expressed = _expressed_pain(subject, trajectory, time_s)
    units = np.zeros((len(time_s), len(_UNITS)))
    _pain_expression(units, subject, expressed, fps, rng)
    _non_pain_behaviour(units, subject, time_s, expressed, rng)
    _mouth_opening(units, utterances, time_s)
    motion = trajectory_params().head
    restlessness = 1.0 + (motion.pain_factor - 1.0) * expressed / PAIN_MAX
    angles = []
    for spread, correlation_s in (motion.yaw_deg, motion.pitch_deg, motion.roll_deg):
        angles.append(random_drift(len(time_s), spread, correlation_s, fps, rng) * restlessness)
    turns_deg = sum(
        (rng.choice([-1.0, 1.0]) * rng.uniform(*motion.turn_deg) * _bell(time_s, start_s, length_s, flat=True))
        for start_s, length_s in _event_times(motion.turn_per_minute, motion.turn_s, duration_s, rng)
    )
    tilt_deg = rng.normal(0.0, motion.lying_roll_deg[subject.age_group])
    yaw, pitch, roll = (values + base for values, base in zip(angles, (turns_deg, 0.0, tilt_deg), strict=True))
    sway_spread, sway_s = motion.sway_share
    sway = np.stack([random_drift(len(time_s), sway_spread, sway_s, fps, rng) * restlessness for _ in range(2)], axis=1)
    limit = motion.max_deg
    return Motion(
        np.clip(units, 0.0, 1.0),
        np.clip(yaw, -limit[0], limit[0]),
        np.clip(pitch, -limit[1], limit[1]),
        np.clip(roll, -limit[2], limit[2]),
        sway,
    )


def _expressed_pain(subject: Subject, trajectory: PainTrajectory, time_s: Floats) -> Floats:
    """The pain that the face expresses: delayed and smoothed by the subject's reaction."""
    keep = np.exp(-1.0 / (subject.smoothing_s * PAIN_RATE_HZ))
    smooth = lfilter([1.0 - keep], [1.0, -keep], trajectory.pain, zi=[keep * trajectory.pain[0]])[0]
    at_s = (np.arange(len(trajectory.pain)) + 0.5) / PAIN_RATE_HZ
    return np.asarray(np.interp(time_s - subject.delay_s, at_s, smooth))


def _pain_expression(units: Floats, subject: Subject, expressed: Floats, fps: float, rng: np.random.Generator) -> None:
    params = trajectory_params()
    for name, unit in params.pain_units.items():
        above = (expressed - unit.from_pain - subject.threshold_points) / (PAIN_MAX - unit.from_pain)
        strength = subject.gains[name] * subject.expressiveness * np.clip(above, 0.0, 1.0) ** unit.curve
        noise = random_drift(len(expressed), params.unit_noise.spread, params.unit_noise.time_s, fps, rng)
        units[:, _UNITS.index(name)] = np.clip(strength + noise, 0.0, 1.0)


def _non_pain_behaviour(
    units: Floats, subject: Subject, time_s: Floats, expressed: Floats, rng: np.random.Generator
) -> None:
    params = trajectory_params().behaviour
    duration_s = float(time_s[-1])
    for behaviour, units_at_peak in _NON_PAIN_BEHAVIOUR.items():
        rate = getattr(params, f"{behaviour}_per_minute")[subject.age_group]
        for start_s, length_s in _event_times(rate, getattr(params, f"{behaviour}_s"), duration_s, rng):
            at = int(np.searchsorted(time_s, start_s).clip(0, len(time_s) - 1))
            # Subjects in strong pain neither smile nor yawn.
            if behaviour != "blink" and rng.random() < expressed[at] / PAIN_MAX:
                continue
            height = _bell(time_s, start_s, length_s, flat=behaviour not in ("blink", "grimace")) * rng.uniform(
                0.6, 1.0
            )
            for unit, peak in units_at_peak.items():
                column = units[:, _UNITS.index(unit)]
                # By the interval, since the sine at its end is not exactly 0.
                shut = (time_s > start_s) & (time_s < start_s + length_s)
                np.maximum(column, peak * (height if behaviour != "blink" else shut), out=column)
    if rng.random() < params.sleepy_share[subject.age_group]:
        column = units[:, _UNITS.index("eyes_closed")]
        np.maximum(column, np.clip(2.5 - expressed, 0.0, 1.0), out=column)


def _mouth_opening(units: Floats, utterances: Iterable[Utterance], time_s: Floats) -> None:
    params = trajectory_params().behaviour
    column = units[:, _UNITS.index("mouth_open")]
    for utterance in utterances:
        start_s, length_s = utterance.start_s, utterance.length_s
        opening = utterance.mouth_open * _bell(time_s, start_s, length_s, flat=True)
        if utterance.kind == "talk":
            syllables = 0.5 - 0.5 * np.cos(2 * np.pi * params.syllable_hz * (time_s - start_s))
            opening = params.talk_open * _bell(time_s, start_s, length_s, flat=True) * syllables
        np.maximum(column, opening, out=column)


def _event_times(
    per_minute: float, length_s: Range, duration_s: float, rng: np.random.Generator
) -> Iterator[tuple[float, float]]:
    """Start and length, s, of the events of a Poisson process."""
    for _ in range(rng.poisson(per_minute * duration_s / 60.0)):
        yield float(rng.uniform(0.0, duration_s)), float(rng.uniform(*length_s))


def _bell(time_s: Floats, start_s: float, length_s: float, flat: bool) -> Floats:
    """Smooth pulse from 0 to 1 and back within the interval, 0 outside; `flat`: 1 in its middle half."""
    within = np.clip((time_s - start_s) / length_s, 0.0, 1.0)
    wave = np.sin(np.pi * within) ** 2
    return np.asarray(np.minimum(2.0 * wave, 1.0) if flat else wave)
