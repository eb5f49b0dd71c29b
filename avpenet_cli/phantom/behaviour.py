"""What a face and a head do over a recording: pain through the subject's expressiveness, and what is not pain."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt
from scipy.signal import lfilter

from avpenet_cli.phantom.head.model import Expression
from avpenet_cli.phantom.pain_trajectory import Course, random_drift
from avpenet_cli.phantom.parameters.trajectory_params import trajectory_params
from avpenet_cli.phantom.parameters.voice_params import PAIN_MAX, PAIN_RATE_HZ, Range
from avpenet_cli.phantom.subjects import Subject
from avpenet_cli.phantom.voice.utterance import Utterance

Floats = npt.NDArray[np.float64]

_UNITS = tuple(one.name for one in fields(Expression))

# What an act moves, at its height: no pain, though some of it looks like it.
_ACTS: dict[str, dict[str, float]] = {
    "blink": {"eyes_closed": 1.0},
    "smile": {"lip_corner_pull": 0.9, "orbit_tighten": 0.25},
    "surprise": {"brow_raise": 0.9, "mouth_open": 0.3},
    "yawn": {"mouth_open": 1.0, "eyes_closed": 0.85, "brow_raise": 0.3},
    "grimace": {"brow_lower": 0.6, "orbit_tighten": 0.4},
}


@dataclass(frozen=True)
class Motion:
    """A recording's motion, frame by frame.

    Attributes:
        units: (frames, 9) float64 intensities in [0, 1], in the order of `Expression`.
        yaw_deg, pitch_deg, roll_deg: (frames,) float64.
        sway: (frames, 2) float64, shares of the face's width.
    """

    units: Floats
    yaw_deg: Floats
    pitch_deg: Floats
    roll_deg: Floats
    sway: Floats

    def expression(self, frame: int) -> Expression:
        """Of one frame."""
        return Expression(*(float(value) for value in self.units[frame]))


def draw_motion(
    subject: Subject, course: Course, utterances: Sequence[Utterance], fps: float, rng: np.random.Generator
) -> Motion:
    """The motion of a subject who goes through a course and utters these things.

    Args:
        utterances: of pain and not; the mouth opens with them.
        fps: frames per second.
    """
    duration_s = len(course.pain) / PAIN_RATE_HZ
    time_s: Floats = (np.arange(round(duration_s * fps), dtype=np.float64) + 0.5) / fps
    shown = _shown_pain(subject, course, time_s)
    units = np.zeros((len(time_s), len(_UNITS)))
    _pain(units, subject, shown, fps, rng)
    _acts(units, subject, time_s, shown, rng)
    _mouth(units, utterances, time_s)
    motion = trajectory_params().head
    more = 1.0 + (motion.pain_factor - 1.0) * shown / PAIN_MAX
    angles = []
    for (spread, slow_s), most in zip(
        (motion.yaw_deg, motion.pitch_deg, motion.roll_deg), motion.most_deg, strict=True
    ):
        angles.append((random_drift(len(time_s), spread, slow_s, fps, rng) * more, most))
    turns = sum(
        (rng.choice([-1.0, 1.0]) * rng.uniform(*motion.turn_deg) * _bell(time_s, start_s, length_s, flat=True))
        for start_s, length_s in _times(motion.turn_per_minute, motion.turn_s, duration_s, rng)
    )
    lying = rng.normal(0.0, motion.lying_roll_deg[subject.age_group])
    yaw, pitch, roll = (values + base for (values, _), base in zip(angles, (turns, 0.0, lying), strict=True))
    sway_spread, sway_s = motion.sway_share
    sway = np.stack([random_drift(len(time_s), sway_spread, sway_s, fps, rng) * more for _ in range(2)], axis=1)
    limit = [most for _, most in angles]
    return Motion(
        np.clip(units, 0.0, 1.0),
        np.clip(yaw, -limit[0], limit[0]),
        np.clip(pitch, -limit[1], limit[1]),
        np.clip(roll, -limit[2], limit[2]),
        sway,
    )


def _shown_pain(subject: Subject, course: Course, time_s: Floats) -> Floats:
    """The pain that the face is at: later and smoother than the pain itself."""
    keep = np.exp(-1.0 / (subject.smoothing_s * PAIN_RATE_HZ))
    smooth = lfilter([1.0 - keep], [1.0, -keep], course.pain, zi=[keep * course.pain[0]])[0]
    at_s = (np.arange(len(course.pain)) + 0.5) / PAIN_RATE_HZ
    return np.asarray(np.interp(time_s - subject.delay_s, at_s, smooth))


def _pain(units: Floats, subject: Subject, shown: Floats, fps: float, rng: np.random.Generator) -> None:
    numbers = trajectory_params()
    for name, unit in numbers.pain_units.items():
        above = (shown - unit.from_pain - subject.threshold_points) / (PAIN_MAX - unit.from_pain)
        strength = subject.gains[name] * subject.expressiveness * np.clip(above, 0.0, 1.0) ** unit.curve
        noise = random_drift(len(shown), numbers.unit_noise.spread, numbers.unit_noise.time_s, fps, rng)
        units[:, _UNITS.index(name)] = np.clip(strength + noise, 0.0, 1.0)


def _acts(units: Floats, subject: Subject, time_s: Floats, shown: Floats, rng: np.random.Generator) -> None:
    numbers = trajectory_params().behaviour
    duration_s = float(time_s[-1])
    for act, moves in _ACTS.items():
        rate = getattr(numbers, f"{act}_per_minute")[subject.age_group]
        for start_s, length_s in _times(rate, getattr(numbers, f"{act}_s"), duration_s, rng):
            at = int(np.searchsorted(time_s, start_s).clip(0, len(time_s) - 1))
            # Who is in strong pain neither smiles nor yawns.
            if act != "blink" and rng.random() < shown[at] / PAIN_MAX:
                continue
            height = _bell(time_s, start_s, length_s, flat=act not in ("blink", "grimace")) * rng.uniform(0.6, 1.0)
            for unit, most in moves.items():
                column = units[:, _UNITS.index(unit)]
                np.maximum(column, most * (height if act != "blink" else height > 0.0), out=column)
    if rng.random() < numbers.sleepy_share[subject.age_group]:
        column = units[:, _UNITS.index("eyes_closed")]
        np.maximum(column, np.clip(2.5 - shown, 0.0, 1.0), out=column)


def _mouth(units: Floats, utterances: Iterable[Utterance], time_s: Floats) -> None:
    numbers = trajectory_params().behaviour
    column = units[:, _UNITS.index("mouth_open")]
    for one in utterances:
        opening = one.mouth_open * _bell(time_s, one.start_s, one.length_s, flat=True)
        if one.kind == "talk":
            syllables = 0.5 - 0.5 * np.cos(2 * np.pi * numbers.syllable_hz * (time_s - one.start_s))
            opening = numbers.talk_open * _bell(time_s, one.start_s, one.length_s, flat=True) * syllables
        np.maximum(column, opening, out=column)


def _times(
    per_minute: float, length_s: Range, duration_s: float, rng: np.random.Generator
) -> Iterator[tuple[float, float]]:
    """Start and length of the events of a Poisson process."""
    for _ in range(rng.poisson(per_minute * duration_s / 60.0)):
        yield float(rng.uniform(0.0, duration_s)), float(rng.uniform(*length_s))


def _bell(time_s: Floats, start_s: float, length_s: float, flat: bool) -> Floats:
    """0 outside, smoothly up to 1 and down again; flat in the middle half, or not at all."""
    within = np.clip((time_s - start_s) / length_s, 0.0, 1.0)
    wave = np.sin(np.pi * within) ** 2
    return np.asarray(np.minimum(2.0 * wave, 1.0) if flat else wave)
