"""Fitting a calibration: groups, intervals, abstention, and refusals."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from avpenet_cli.calibration.apply import apply
from avpenet_cli.calibration.fit import Evidence, Fitted, RiskLimit, fit_site
from avpenet_cli.calibration.site import FitSettings
from avpenet_cli.errors import SettingsError
from avpenet_cli.stats.calibration_fit import cross_fitted, patient_weights
from avpenet_cli.stats.pairs import Pairs
from tests.stats.simulated_patients import Site, simulate
from tests.support.sites import site

SETTINGS = FitSettings("monotone", "", 0.9, 10.0, 10, 200, 42)
FEW_RESAMPLES = dataclasses.replace(SETTINGS, replicates=20)
GROUPED = dataclasses.replace(SETTINGS, group_column="age_group")
NAMES = np.array(["adult", "neonate", "child"])


def shrunk(n: int, groups: int = 1, seed: int = 0) -> tuple[Pairs, np.ndarray[tuple[int], np.dtype[np.str_]]]:
    """Patients whose scores are too near the middle, and the group of each segment."""
    pairs, group = simulate(Site(most_segments=20), n, np.random.default_rng(seed), groups=groups)
    return dataclasses.replace(pairs, model=0.4 * pairs.model + 4.0), NAMES[group[pairs.subject]]


def test_a_calibration_that_helps_is_said_to_help() -> None:
    fitted = fit_site(shrunk(60)[0], None, SETTINGS)
    (pooled,) = fitted.curves
    fit = pooled.cross_fit
    assert fit.verdict == "better"
    assert abs(fit.after.bias.value) < 0.1 < abs(fit.before.bias.value)
    assert fit.after.slope.value == pytest.approx(1.0, abs=0.1)
    assert fitted.notices == ()
    assert pooled.interval.n_subjects == 60
    assert pooled.interval.mean_width <= 2 * pooled.interval.half_width
    assert pooled.band[0].score == pooled.knots[0].score
    assert pooled.band[0].calibrated.value == pytest.approx(pooled.knots[0].calibrated)


def test_a_group_with_enough_patients_has_its_own_curve_and_another_the_pooled_one() -> None:
    pairs, groups = shrunk(90, groups=3)
    few = np.isin(pairs.subject, np.arange(2, 90, 3)[15:])  # of the children 15 stay
    kept = Pairs.of(pairs.model[~few], pairs.reference[~few], pairs.subject[~few])
    fitted = fit_site(kept, groups[~few], GROUPED)
    assert [curve.group for curve in fitted.curves] == ["", "adult", "neonate"]
    child = next(entry for entry in fitted.groups if entry.group == "child")
    assert (child.own_curve, child.n_subjects, child.reason) == (False, 15, "fewer than 20 patients")
    assert any("age_group child has no curve of its own" in notice for notice in fitted.notices)
    # Neonates' errors are larger and shifted in the simulation.
    by_group = {curve.group: curve for curve in fitted.curves}
    assert by_group["neonate"].interval.half_width > by_group["adult"].interval.half_width


def test_the_level_not_stated_is_no_group() -> None:
    pairs, groups = shrunk(60, groups=2)
    groups = np.where(groups == "neonate", "(not stated)", groups)
    fitted = fit_site(pairs, groups, GROUPED)
    assert [curve.group for curve in fitted.curves] == ["", "adult"]


def test_too_few_patients_are_refused_with_the_number_it_takes() -> None:
    pairs, _ = shrunk(19)
    with pytest.raises(SettingsError, match="19 patients: a calibration takes at least 20"):
        fit_site(pairs, None, SETTINGS)
    with pytest.raises(SettingsError, match="an interval of 99 % takes 99 patients; there are 60"):
        fit_site(shrunk(60)[0], None, dataclasses.replace(SETTINGS, coverage=0.99))


def test_scores_that_fall_with_the_ratings_are_refused() -> None:
    pairs, _ = shrunk(40)
    with pytest.raises(SettingsError, match="do not rise with the ratings"):
        fit_site(dataclasses.replace(pairs, model=10 - pairs.model), None, SETTINGS)


def harmful(n: int = 40) -> Pairs:
    """Scores that are right, but for a few far too high ones, which lower a straight line for all."""
    rng = np.random.default_rng(0)
    subject = np.repeat(np.arange(n), 20)
    rating = rng.uniform(0, 6, len(subject))
    score = np.where(np.arange(len(subject)) % 20 == 0, 10.0, rating + rng.normal(0, 0.1, len(subject)))
    return Pairs(np.clip(score, 0, 10), rating, subject, n)


def test_a_calibration_that_makes_errors_larger_is_refused() -> None:
    with pytest.raises(SettingsError, match="makes the mean absolute error of new patients larger") as error:
        fit_site(harmful(), None, dataclasses.replace(SETTINGS, method="linear"))
    assert "--method none" in error.value.remedy
    as_scored = fit_site(harmful(), None, dataclasses.replace(SETTINGS, method="none"))
    assert as_scored.curves[0].cross_fit.verdict == "as scored"
    assert [(knot.score, knot.calibrated) for knot in as_scored.curves[0].knots] == [(0.0, 0.0), (10.0, 10.0)]


def spread(pairs: Pairs, seed: int = 0) -> tuple[Pairs, Evidence]:
    """The same with errors that grow with a measure of spread."""
    rng = np.random.default_rng([5, seed])
    sd = rng.uniform(0.1, 2.0, pairs.n)
    noise = rng.normal(0, 1.5, pairs.n) * sd
    return dataclasses.replace(pairs, reference=np.clip(pairs.reference + noise, 0, 10)), Evidence("score_sd", sd, True)


def abstaining(risk: RiskLimit) -> Fitted:
    pairs, evidence = spread(shrunk(120)[0])
    return fit_site(pairs, None, SETTINGS, risk, evidence)


def test_abstention_answers_what_keeps_the_limit_and_narrows_the_interval() -> None:
    pairs, _ = spread(shrunk(120)[0])
    everything = fit_site(pairs, None, SETTINGS)
    fitted = abstaining(RiskLimit("mean absolute error", 1.6))
    abstention = fitted.abstention
    assert abstention is not None
    assert (abstention.column, abstention.answer_if, abstention.large_error) == ("score_sd", "at most", None)
    assert 0.3 <= abstention.share_answered < 1
    chosen = [point for point in abstention.curve if point.accepted][-1]
    assert chosen.threshold == abstention.threshold
    assert chosen.risk_upper is not None
    assert chosen.risk < chosen.risk_upper <= 1.6
    assert fitted.curves[0].interval.half_width < everything.curves[0].interval.half_width


@pytest.mark.slow
def test_intervals_hold_for_the_answered_segments_of_new_patients() -> None:
    covered, risks, shares = [], [], []
    for seed in range(25):
        pairs, evidence = spread(shrunk(80, seed=seed)[0], seed)
        try:
            fitted = fit_site(pairs, None, FEW_RESAMPLES, RiskLimit("mean absolute error", 1.7), evidence)
        except SettingsError:  # no threshold keeps the limit
            continue
        calibration = dataclasses.replace(site(), curves=fitted.curves, abstention=fitted.abstention)
        new, new_evidence = spread(shrunk(300, seed=1000 + seed)[0], 1000 + seed)
        result = apply(calibration, new.model, measure=new_evidence.measure)
        answered = ~result.abstained
        shares.append(answered.mean())
        inside = (result.interval_lo <= new.reference) & (new.reference <= result.interval_hi)
        weight = patient_weights(new)[answered]
        covered.append(np.average(inside[answered], weights=weight))
        risks.append(np.average(np.abs(result.calibrated - new.reference)[answered], weights=weight))
    assert np.mean(shares) < 0.9
    assert 0.88 <= np.mean(covered) <= 0.93
    assert len(risks) > 15
    assert sum(risk > 1.7 for risk in risks) <= 4  # 5 % of 25 on average


def test_a_group_that_is_hardly_answered_takes_the_pooled_curve_also_in_the_risk() -> None:
    pairs, groups = shrunk(120, groups=2)
    adult, answered = groups == "adult", (groups == "adult") | (pairs.subject % 12 == 1)
    noise = np.where(answered, 0.0, np.random.default_rng(3).normal(0, 4, pairs.n))
    reference = pairs.reference + np.where(adult, 0.0, 1.5) + noise
    pairs = dataclasses.replace(pairs, reference=np.clip(reference, 0, 10))
    evidence = Evidence("score_sd", np.where(answered, 0.5, 2.0), True)
    fitted = fit_site(pairs, groups, GROUPED, RiskLimit("mean absolute error", 1.5), evidence)
    assert [curve.group for curve in fitted.curves] == ["", "adult"]
    assert fitted.groups[1].reason == "fewer than 20 patients with an answered segment"
    assert fitted.abstention is not None
    calibrated = cross_fitted(pairs, "monotone", SETTINGS.seed, SETTINGS.folds)
    adults = Pairs.of(pairs.model[adult], pairs.reference[adult], pairs.subject[adult])
    calibrated[adult] = cross_fitted(adults, "monotone", SETTINGS.seed, SETTINGS.folds)
    error = np.abs(calibrated - pairs.reference)
    risk = np.average(error[answered], weights=patient_weights(pairs)[answered])
    assert fitted.abstention.curve[0].risk == pytest.approx(risk)


def test_abstention_by_the_share_of_large_errors() -> None:
    abstention = abstaining(RiskLimit("share of large errors", 0.2, large_error=2.5)).abstention
    assert abstention is not None
    assert abstention.large_error == 2.5
    assert all(0 <= point.risk <= 1 for point in abstention.curve)


def test_a_column_in_which_low_is_poor_gives_a_lower_threshold() -> None:
    pairs, evidence = spread(shrunk(120)[0])
    turned = Evidence("face_rate", 3.0 - evidence.measure, higher_is_worse=False)
    one, other = (
        fit_site(pairs, None, SETTINGS, RiskLimit("mean absolute error", 1.6), e).abstention for e in (evidence, turned)
    )
    assert one is not None
    assert other is not None
    assert other.answer_if == "at least"
    assert other.threshold == pytest.approx(3.0 - one.threshold)
    assert other.share_answered == one.share_answered


def test_a_limit_that_no_threshold_keeps_is_refused() -> None:
    with pytest.raises(SettingsError, match=r"no threshold of score_sd keeps a mean absolute error of 0\.2 points"):
        abstaining(RiskLimit("mean absolute error", 0.2))


def test_a_column_without_values_is_refused() -> None:
    pairs, _ = shrunk(40)
    evidence = Evidence("score_sd", np.full(pairs.n, np.nan), higher_is_worse=True)
    with pytest.raises(SettingsError, match="no segment has a value of score_sd"):
        fit_site(pairs, None, SETTINGS, RiskLimit("mean absolute error", 2.0), evidence)
