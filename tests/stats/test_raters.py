"""Agreement among raters against pingouin."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from avpenet_cli.stats.bootstrap import Resampling
from avpenet_cli.stats.pairs import Pairs
from avpenet_cli.stats.raters import pairwise_agreement, rater_sets
from tests.stats.test_statistics import CUT, pingouin_icc, study


def test_rater_sets_agree_with_pingouin_and_leave_out_single_raters() -> None:
    rng = np.random.default_rng(2)
    truth = rng.normal(5, 2, 60)
    common = np.column_stack([truth + rng.normal(bias, 0.8, 60) for bias in (0, 0.5, -1)])
    ratings = np.full((90, 4), np.nan)
    ratings[:60, :3] = common
    ratings[60:, 3] = rng.normal(5, 2, 30)
    (complete,) = rater_sets(ratings, np.arange(90), Resampling(300, 1))
    assert (complete.raters, complete.icc.n_targets, complete.n_subjects) == ((0, 1, 2), 60, 60)
    long = pd.DataFrame(common, columns=["a", "b", "c"]).reset_index().melt("index")
    theirs = pingouin_icc(long, "index", "variable", "value")
    assert complete.icc.icc_a1.value == pytest.approx(theirs.loc["ICC(A,1)", "ICC"], abs=1e-6)
    assert complete.icc.icc_a1.ci == pytest.approx(theirs["CI95"].loc["ICC(A,1)"].tolist(), abs=5e-3)


def test_pairwise_agreement_is_that_of_its_parts() -> None:
    pairs = study()
    row = pairwise_agreement(pairs, CUT, Resampling(300, 1))
    assert row.mae.value == pytest.approx(np.abs(pairs.difference).mean())
    assert row.lower.value < row.bias.value < row.upper.value
    swapped = pairwise_agreement(Pairs.of(pairs.reference, pairs.model, pairs.subject), CUT, Resampling(300, 1))
    assert swapped.bias.value == pytest.approx(-row.bias.value)
    assert swapped.icc_a1.value == pytest.approx(row.icc_a1.value)
