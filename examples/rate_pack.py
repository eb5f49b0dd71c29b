"""Simulates raters who rate a pack of `avpenet ratings sample` in BORIS: a BORIS project for each of them.

Run `.venv/bin/python -m examples.rate_pack pack --truth ward/truth.csv` in the repository's root. A simulated rater
sees the true pain of a synthetic patient, with an error of her own that is the same in all segments, and one of the
moment. No person rated anything.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

BIAS_SD, MOMENT_SD = 0.4, 0.7
"""Standard deviations of a rater's own error and of that of the moment, points."""


def project(sheet: pd.DataFrame, truth: pd.DataFrame, rater: str, random: np.random.Generator) -> dict[str, object]:
    """A BORIS project with an observation of each recording: a state `NRS` for each segment, its value a modifier.

    Args:
        sheet: a rater's segments: recording, start_s, end_s.
        truth: true pain: recording, start_s, end_s, value in points.
    """
    bias = random.normal(0.0, BIAS_SD)
    observations: dict[str, object] = {}
    for name, segments in sheet.groupby("recording", sort=False):
        true = truth[truth["recording"] == name]
        events: list[list[object]] = []
        spans = segments[["start_s", "end_s"]].astype(float).sort_values("start_s")
        for start_s, end_s in spans.to_numpy().tolist():
            within = true[(true["end_s"] > start_s) & (true["start_s"] < end_s)]
            seen = within["value"].mean() + bias + random.normal(0.0, MOMENT_SD)
            value = str(int(np.clip(np.round(seen), 0, 10)))
            events += [[time_s, "", "NRS", value, ""] for time_s in (start_s, end_s)]
        observations[f"{Path(str(name)).stem} {rater}"] = {
            "type": "MEDIA",
            "file": {"1": [name]},
            "media_info": {"length": {name: float(true["end_s"].max())}},
            "time offset": 0.0,
            "independent_variables": {"rater": rater},
            "events": events,
        }
    return {
        "project_format_version": "7.0",
        "project_name": f"ratings of {rater}",
        "behaviors_conf": {"0": {"type": "State event", "code": "NRS", "modifiers": {}}},
        "subjects_conf": {},
        "independent_variables": {"0": {"label": "rater", "type": "text"}},
        "observations": observations,
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Write `ratings.boris` into every rater's folder."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("pack", type=Path)
    parser.add_argument("--truth", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args(arguments)
    truth = pd.read_csv(options.truth)
    random = np.random.default_rng(options.seed)
    for sheet in sorted(options.pack.glob("rater-*/ratings.csv")):
        rated = project(pd.read_csv(sheet), truth, sheet.parent.name, random)
        (sheet.parent / "ratings.boris").write_text(json.dumps(rated, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
