"""Simulates raters who rate a pack of `avpenet ratings sample` in BORIS: a BORIS project for each of them.

Run `.venv/bin/python -m examples.rate_pack pack --truth ward/truth.csv` in the repository's root. A simulated rater
sees the true pain of a synthetic patient, with an error that is the same in all segments, and one of the moment. No
person rated anything.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import pandas as pd

from examples.make_rating_files import boris_project

BIAS_SD, MOMENT_SD = 0.4, 0.7
"""Standard deviations of a rater's own error and of that of the moment, points."""


def rate(sheet: pd.DataFrame, truth: pd.DataFrame, random: np.random.Generator) -> pd.DataFrame:
    """A sheet with a whole number of points, 0 to 10, for each segment.

    Args:
        sheet: a rater's segments, all of text: recording, start_s, end_s, value, scale, rater.
        truth: true pain: recording, start_s, end_s, value in points.
    """
    bias = random.normal(0.0, BIAS_SD)
    values = []
    for recording, start_s, end_s in sheet[["recording", "start_s", "end_s"]].itertuples(index=False):
        within = (truth["end_s"] > float(start_s)) & (truth["start_s"] < float(end_s))
        seen = truth.loc[within & (truth["recording"] == recording), "value"].mean()
        values.append(f"{np.clip(np.round(seen + bias + random.normal(0.0, MOMENT_SD)), 0, 10):.0f}")
    return sheet.assign(value=values)


def main() -> None:
    """Write `ratings.boris` into every rater's folder."""
    parser = argparse.ArgumentParser(
        description="Rate a pack of `avpenet ratings sample` as simulated raters, in BORIS."
    )
    parser.add_argument("pack", type=Path)
    parser.add_argument("--truth", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    truth, random = pd.read_csv(arguments.truth), np.random.default_rng(arguments.seed)
    for sheet in sorted(arguments.pack.glob("rater-*/ratings.csv")):
        rated = rate(pd.read_csv(sheet, dtype=str), truth, random)
        rated = rated.sort_values("start_s", key=lambda times: times.astype(float))
        project = boris_project(
            [{str(name): str(cell) for name, cell in row.items()} for row in rated.to_dict("records")]
        )
        (sheet.parent / "ratings.boris").write_text(json.dumps(project, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
