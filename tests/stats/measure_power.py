"""How often do simulated studies PASS or FAIL? Normal differences, verdicts as the report gives them.

`.venv/bin/python -m tests.stats.measure_power 4000` prints the chances that `stats/sample_size.py` computes beside
the shares of 4000 simulated studies. `test_sample_size.py` checks two of them.
"""

from __future__ import annotations

import sys
from collections import Counter

import numpy as np

from avpenet_cli.stats.agreement import limits
from avpenet_cli.stats.pairs import Pairs
from avpenet_cli.stats.sample_size import Spread, verdict_chances
from avpenet_cli.stats.verdict import verdict

STUDIES = (
    (Spread(0.0, 0.4, 0.7), 2.0, 20, 10),
    (Spread(0.3, 0.5, 0.6), 2.3, 30, 20),
    (Spread(0.0, 0.7, 0.3), 2.0, 40, 5),
    (Spread(0.0, 0.8, 0.0), 2.0, 60, 1),
    (Spread(0.2, 0.9, 0.9), 2.2, 40, 20),
    (Spread(0.0, 1.4, 0.0), 2.2, 60, 1),
)
"""Spread, acceptance limit, subjects, segments per subject."""


def simulated_chances(
    spread: Spread, limit_points: float, n_subjects: int, segments: int, studies: int, seed: int
) -> tuple[float, float]:
    """Shares of PASS and FAIL among simulated studies."""
    rng = np.random.default_rng(seed)
    subject = np.repeat(np.arange(n_subjects), segments)
    results: Counter[str] = Counter()
    for _ in range(studies):
        d = spread.bias + rng.normal(0, spread.between_sd, n_subjects)[subject]
        d = d + rng.normal(0, spread.within_sd, len(subject))
        found = limits(Pairs(d, np.zeros(len(d)), subject, n_subjects), None)
        results[verdict(found, None, limit_points, "simulation").result] += 1
    return results["PASS"] / studies, results["FAIL"] / studies


if __name__ == "__main__":
    print("between within limit subjects segments   PASS simulated   FAIL simulated")
    for spread_, limit_, n_, segments_ in STUDIES:
        passes, fails = simulated_chances(spread_, limit_, n_, segments_, int(sys.argv[1]), seed=1)
        computed = verdict_chances(spread_, limit_, n_, segments_)
        print(
            f"{spread_.between_sd:7.2f} {spread_.within_sd:6.2f} {limit_:5.2f} {n_:8d} {segments_:8d}  "
            f"{computed.passes:5.3f} {passes:9.3f}  {computed.fails:5.3f} {fails:9.3f}"
        )
