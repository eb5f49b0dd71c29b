"""How quiet minutes and changes do on phantoms whose audio is heard as in scoring, and whose scores are simulated.

`python -m tests.bench.quiet_minutes --patients 20 --minutes 5`. The voice of each phantom is rendered and goes through
the audio front end, whose `voiced`, level and SNR choose the quiet minutes as `avpenet score --baseline quiet` does. No
face is rendered: a score is the true pain times a slope, plus a level of the patient and errors whose size differs
between patients, shared by overlapping windows and lasting over neighbouring ones.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from avpenet_cli.audio.noise import survey
from avpenet_cli.audio.segments import segments
from avpenet_cli.phantom.parameters.voice_params import SAMPLE_RATE_HZ
from avpenet_cli.phantom.scene import draw_scene, render_audio
from avpenet_cli.phantom.subjects import draw_subject
from avpenet_cli.pipeline.flags import audio_flags, quality
from avpenet_cli.pipeline.windows import windows
from avpenet_cli.records import Modalities, SegmentScore, Status
from avpenet_cli.scoring.patient_change import is_candidate
from avpenet_cli.settings import WINDOW_S, AudioSettings, QualitySettings
from avpenet_cli.stats.patient_baseline import (
    PatientScores,
    Z,
    changes,
    fit_fluctuations,
    in_quiet_stretches,
)

Floats = npt.NDArray[np.float64]

_SHARED_SD, _SLOW_SD, _SLOW_S = 0.6, 0.5, 8.0
"""Errors of a simulated score: of the input, and of what lasts about so many seconds, points."""
_SIZES = (0.6, 1.5)
"""Between which factors of those the patients differ."""


@dataclass(frozen=True, eq=False)
class Heard:
    """A phantom's segments, as heard; arrays are (n,).

    Attributes:
        start_s: of the segments, s.
        pain: mean true pain of each, points.
        quiet: which lie in quiet minutes.
    """

    start_s: Floats
    pain: Floats
    quiet: npt.NDArray[np.bool_]

    @property
    def scored(self) -> PatientScores:
        """With the true pain for a score."""
        n = len(self.start_s)
        return PatientScores(np.zeros(n, np.int64), self.start_s, self.start_s + WINDOW_S, self.pain, self.quiet)


def main() -> None:
    """Print how quiet the quiet minutes are, and how near changes are to the true ones."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--patients", type=int, default=20)
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--stride", type=float, default=3.0)
    parser.add_argument("--seed", type=int, default=16)
    parser.add_argument("--repeats", type=int, default=100)
    options = parser.parse_args()
    heard = [hear(n, options.seed, 60 * options.minutes, options.stride) for n in range(options.patients)]
    kept = [patient for patient in heard if patient.scored.has_baseline]
    print(f"{len(kept)} of {len(heard)} phantoms with a baseline")
    print("mean pain: all minutes, quiet minutes, highest in a quiet segment")
    for patient in kept:
        quiet = patient.pain[patient.quiet]
        print(f"  {patient.pain.mean():.2f} {quiet.mean():.2f} {quiet.max():.2f}  quiet {patient.scored.quiet_s:.0f} s")
    print(f"mean pain in quiet minutes: {np.mean([p.pain[p.quiet].mean() for p in kept]):.2f}")
    print("slope  chosen by  bias  coverage  coverage outside quiet minutes")
    for slope in (1.0, 0.8):
        for by_score in (False, True):
            found = measured(kept, slope, options.repeats, by_score=by_score)
            print(
                f"{slope:.1f}    {'score' if by_score else 'evidence'}  " + "  ".join(f"{value:.3f}" for value in found)
            )


def hear(number: int, seed: int, length_s: float, stride_s: float) -> Heard:
    """A phantom's quiet minutes, from its audio."""
    scene = draw_scene(draw_subject(number, seed, "both"), length_s, seed * 1_000_003 + number)
    audio = render_audio(scene)
    settings, limits = AudioSettings(), QualitySettings()
    blocks = [audio[start : start + 48_000] for start in range(0, len(audio), 48_000)]
    places = [window for window in windows(length_s, stride_s, limits.short_tail_share) if not window.short]
    spans = [(window.start_s, WINDOW_S) for window in places]
    profile = survey(iter(blocks), SAMPLE_RATE_HZ, settings)
    parts = segments(iter(blocks), SAMPLE_RATE_HZ, spans, profile, settings, limits.full_scale)
    candidate = []
    for window, part in zip(places, parts, strict=True):
        flags = tuple(audio_flags(part, 1.0, limits))
        candidate.append(
            is_candidate(
                SegmentScore(
                    window.index,
                    window.start_s,
                    window.end_s,
                    Status.SCORED,
                    quality(None, part),
                    score=0.0,
                    modalities=Modalities.BOTH,
                    flags=flags,
                )
            )
        )
    start_s = np.array([window.start_s for window in places])
    pain = np.array([scene.trajectory.mean_over(window.start_s, window.end_s) for window in places])
    quiet = in_quiet_stretches(np.zeros(len(pain), np.int64), start_s, start_s + WINDOW_S, np.array(candidate))
    return Heard(start_s, pain, quiet)


def measured(patients: list[Heard], slope: float, repeats: int, *, by_score: bool) -> tuple[float, float, float]:
    """Each patient with equal weight: the bias of the change, points; coverage of the true change
    times the slope by 1.96 standard errors; the same outside the quiet minutes.

    Args:
        patients: with a baseline.
        slope: of the score on the true pain.
        repeats: simulated tables.
        by_score: take the segments with the lowest scores for quiet, as many as are quiet.
    """
    rng = np.random.default_rng(1)
    bias, covered, outside = [], [], []
    for _ in range(repeats):
        table = []
        for patient in patients:
            score = rng.normal(1.0, 0.5) + slope * patient.pain + _errors(patient.start_s, rng)
            quiet = patient.quiet
            if by_score:
                quiet = np.zeros(len(score), np.bool_)
                quiet[np.argsort(score)[: int(patient.quiet.sum())]] = True
            table.append(replace(patient.scored, score=score, quiet=quiet))
        fluctuations = fit_fluctuations(table)
        assert fluctuations is not None
        for patient, scores in zip(patients, table, strict=True):
            if not scores.has_baseline:
                continue
            result = changes(scores, fluctuations)
            error = result.change - slope * (patient.pain - patient.pain[scores.quiet].mean())
            within = np.abs(error) <= Z * result.se
            bias.append(error.mean())
            covered.append(within.mean())
            outside.append(within[~scores.quiet].mean() if not scores.quiet.all() else np.nan)
    return float(np.mean(bias)), float(np.mean(covered)), float(np.nanmean(outside))


def _errors(start_s: Floats, rng: np.random.Generator) -> Floats:
    """(n,) errors of one patient's scores."""
    first = np.rint(start_s * 10).astype(np.int64)
    sums = np.concatenate([[0.0], np.cumsum(rng.normal(0.0, np.sqrt(30.0), first[-1] + 30))])
    slow = rng.normal(size=len(start_s))
    kept = np.exp(-np.diff(start_s) / _SLOW_S)
    for place, share in enumerate(kept, 1):
        slow[place] = share * slow[place - 1] + np.sqrt(1 - share**2) * slow[place]
    errors: Floats = rng.uniform(*_SIZES) * (_SHARED_SD * (sums[first + 30] - sums[first]) / 30 + _SLOW_SD * slow)
    return errors


if __name__ == "__main__":
    main()
