"""How near `change` is to the true change, where the true pain is known.

`python -m tests.bench.patient_change SCORES.csv TRUTH.csv`. SCORES is of `avpenet score --baseline quiet`, without
`--subjects`; TRUTH is the `truth.csv` of `avpenet phantom make`. The true change of a segment is its mean pain minus
the mean pain of the recording's quiet segments, which are found again by the rule of the program. For comparison, the
same with the quarter of the segments that have the lowest scores for a baseline.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from avpenet_cli.scoring.patient_change import MOST_VOICED, UNFIT
from avpenet_cli.stats.patient_baseline import Z, in_quiet_stretches

Floats = npt.NDArray[np.float64]


def main() -> None:
    """Print a row for each recording, then all of them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("scores", type=Path)
    parser.add_argument("truth", type=Path)
    options = parser.parse_args()
    scores, truth = pd.read_csv(options.scores), pd.read_csv(options.truth)
    rows = []
    for recording, segments in scores.groupby("recording"):
        pain = _pain(segments, truth[truth["recording"] == recording])
        row = {"recording": recording, "segments": len(segments), **_measured(segments, pain)}
        rows.append(row)
    table = pd.DataFrame(rows)
    print(table.round(2).to_string(index=False))
    print(table.drop(columns=["recording", "segments"]).mean().round(3).to_string())


def _pain(segments: pd.DataFrame, truth: pd.DataFrame) -> Floats:
    """(n,) mean true pain of each segment, points."""
    start_s, value = truth["start_s"].to_numpy(), truth["value"].to_numpy()
    spans = zip(segments["start_s"], segments["end_s"], strict=True)
    return np.array([value[(start_s >= begin - 1e-6) & (start_s < end - 1e-6)].mean() for begin, end in spans])


def _measured(segments: pd.DataFrame, pain: Floats) -> dict[str, float]:
    start_s, end_s = segments["start_s"].to_numpy(), segments["end_s"].to_numpy()
    fit = [UNFIT.isdisjoint(str(flags).split()) for flags in segments["flags"].fillna("")]
    candidate = segments["score"].notna().to_numpy() & (segments["voiced"] <= MOST_VOICED).to_numpy() & np.array(fit)
    quiet = in_quiet_stretches(np.zeros(len(segments), np.int64), start_s, end_s, candidate)
    change, se = segments["change"].to_numpy(), segments["change_se"].to_numpy()
    score = segments["score"].to_numpy()
    if np.isnan(change).all():
        return {"quiet": quiet.sum()}
    error = change - (pain - pain[quiet].mean())
    lowest = np.argsort(score)[: max(1, len(score) // 4)]
    by_score = (score - score[lowest].mean()) - (pain - pain[lowest].mean())
    return {
        "quiet": quiet.sum(),
        "pain in quiet": pain[quiet].mean(),
        "most pain in quiet": pain[quiet].max(),
        "bias": np.nanmean(error),
        "mae": np.nanmean(np.abs(error)),
        "mae of score": np.nanmean(np.abs(score - pain)),
        "change_se": np.nanmean(se),
        "coverage": np.nanmean(np.abs(error) <= Z * se),
        "coverage, not quiet": np.nanmean((np.abs(error) <= Z * se)[~quiet]),
        "bias by lowest scores": np.nanmean(by_score),
    }


if __name__ == "__main__":
    main()
