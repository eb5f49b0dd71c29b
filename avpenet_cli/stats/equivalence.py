"""Equivalence of two means by two one-sided t-tests: that no difference was found does not show that there is none.

Two one-sided tests (TOST; Schuirmann 1987, J Pharmacokinet Biopharm 15:657): the means are equivalent where a
difference of the margin or more is rejected on both sides, which is where the 90 % interval lies within the margins.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy import stats

from avpenet_cli.stats.bootstrap import LEVEL
from avpenet_cli.stats.estimate import NAN, NO_INTERVAL, Interval
from avpenet_cli.stats.mean_difference import MeanDifference

EQUIVALENCE_LEVEL = 2 * LEVEL - 1
"""Confidence level of the interval that corresponds to two one-sided tests at 0.05."""

EquivalenceVerdict = Literal["equivalent", "different", "different within the margin", "undecided", "not computable"]


@dataclass(frozen=True)
class Equivalence:
    """Two one-sided tests of a difference of means, beside the test for a difference.

    Attributes:
        margin: largest difference that counts as none, in the unit of the values; chosen before the data were seen.
        interval: 90 % confidence interval of the difference; NaN, NaN where it cannot be computed.
        p: the larger of the two one-sided p-values, not corrected for the number of comparisons: to state that all
            groups are equivalent, each test has to reject (Berger 1982, Technometrics 24:295). NaN where not
            computable.
        verdict: equivalent: p under 0.05 and no difference found; different: the test for a difference has a
            Bonferroni-corrected p under 0.05; different within the margin: both; undecided: neither; not computable:
            without a test.
        explanation: the verdict in words, such as "equivalent within 0.5".
    """

    margin: float
    interval: Interval
    p: float
    verdict: EquivalenceVerdict
    explanation: str


def equivalence(test: MeanDifference, margin: float) -> Equivalence:
    """Two one-sided tests from the standard error and degrees of freedom of a t-test for a difference.

    Args:
        test: from `paired_test` or `welch_test`.
        margin: over 0, in the unit of the values.
    """
    difference = test.difference
    if not np.isfinite(test.p):
        return Equivalence(margin, NO_INTERVAL, NAN, "not computable", difference.reason)
    reach_95 = (difference.ci[1] - difference.ci[0]) / 2
    error = reach_95 / float(stats.t.ppf((1 + LEVEL) / 2, test.df))
    below = float(stats.t.sf((difference.value + margin) / error, test.df))
    above = float(stats.t.cdf((difference.value - margin) / error, test.df))
    reach = error * float(stats.t.ppf((1 + EQUIVALENCE_LEVEL) / 2, test.df))
    interval = (difference.value - reach, difference.value + reach)
    p = max(below, above)
    verdict = _verdict(p < 1 - LEVEL, test.p_bonferroni < 1 - LEVEL)
    return Equivalence(margin, interval, p, verdict, _explain(verdict, margin))


def _verdict(within: bool, different: bool) -> EquivalenceVerdict:
    if within:
        return "different within the margin" if different else "equivalent"
    return "different" if different else "undecided"


def _explain(verdict: EquivalenceVerdict, margin: float) -> str:
    shown = f"{margin:g}"
    return {
        "equivalent": f"equivalent within {shown}",
        "different": "different",
        "different within the margin": f"different, but by less than {shown}",
        "undecided": f"undecided: neither a difference nor equivalence within {shown} is shown",
    }[verdict]
