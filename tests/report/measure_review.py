"""How often the intervals of a review's control sample hold the true value, by simulation.

Run `python -m tests.report.measure_review 500`: so many archives of 60 patients with 2 to 120 scores each, some of whom
have far worse scores than others. From each, a control sample is drawn as by `avpenet report`, and a reviewer who does
not err gives every value. The true values are those of the archive.
"""

from __future__ import annotations

import sys

import numpy as np
import pandas as pd

from avpenet_cli.report.review_results import TOLERANCE_POINTS, estimate_from_control
from avpenet_cli.report.review_sample import draw_control
from avpenet_cli.stats.bootstrap import Resampling

_PATIENTS = 60


def archive(rng: np.random.Generator) -> pd.DataFrame:
    """Scores and values of an archive: `recording`, `subject`, `start_s`, `end_s`, `score`, `value`, `verdict`."""
    lengths = np.exp(rng.uniform(np.log(2), np.log(120), _PATIENTS)).astype(int)
    subject = np.repeat(np.arange(_PATIENTS), lengths)
    start_s = 3.0 * np.arange(subject.size)
    value = rng.uniform(0, 10, subject.size)
    # Bias and spread of the error differ between patients.
    error = rng.normal(0.3, 0.8, _PATIENTS)[subject] + rng.gamma(2, 0.6, _PATIENTS)[subject] * rng.normal(
        size=subject.size
    )
    score = np.clip(value + error, 0, 10)
    verdict = np.where(np.abs(score - value) > TOLERANCE_POINTS, "too high", "agree")
    columns = {"start_s": start_s, "end_s": start_s + 3, "score": score, "value": value, "verdict": verdict}
    return pd.DataFrame({"recording": [f"{name}.mp4" for name in subject], "subject": subject.astype(str)} | columns)


def measure(archives: int) -> dict[str, tuple[float, float]]:
    """Share of the archives whose interval holds the true value, and mean of estimate minus truth, by measure."""
    rng = np.random.default_rng(1)
    held: dict[str, list[bool]] = {name: [] for name in ("share of wrong scores", "bias", "mean absolute error")}
    off: dict[str, list[float]] = {name: [] for name in held}
    for seed in range(archives):
        scored = archive(rng)
        difference = scored["score"] - scored["value"]
        truth = ((scored["verdict"] != "agree").mean(), difference.mean(), difference.abs().mean())
        sample = scored.loc[draw_control(scored, seed).rows]
        estimates = estimate_from_control(sample, len(sample), Resampling(1000), subjects_known=True)
        for name, estimate, true_value in zip(held, estimates, truth, strict=True):
            held[name].append(estimate.ci[0] <= true_value <= estimate.ci[1])
            off[name].append(estimate.value - true_value)
    return {name: (float(np.mean(held[name])), float(np.mean(off[name]))) for name in held}


if __name__ == "__main__":
    for measured, (coverage, error) in measure(int(sys.argv[1])).items():
        print(f"{measured:24} interval holds it in {coverage:.3f}, mean error of the estimate {error:+.3f}")
