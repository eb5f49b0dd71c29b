"""AUROC, Brier score, risk-coverage curve and error gaps against published numbers and independent computations."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import brier_score_loss, roc_auc_score

from avpenet_cli.stats.bootstrap import Resampling, SubjectBootstrap
from avpenet_cli.stats.detection import auroc, auroc_value, detections, recalibrated_probabilities
from avpenet_cli.stats.error_gap import error_gap
from avpenet_cli.stats.pairs import Pairs
from avpenet_cli.stats.risk_coverage import risk_coverage


def study(n_subjects: int = 24, segments: int = 15, seed: int = 1) -> Pairs:
    rng = np.random.default_rng(seed)
    subject = np.repeat(np.arange(n_subjects), segments)
    truth = np.clip(4 + rng.normal(0, 2, n_subjects)[subject] + rng.normal(0, 2, len(subject)), 0, 10)
    score = np.clip(truth + rng.normal(0, 0.5, n_subjects)[subject] + rng.normal(0, 1.5, len(subject)), 0, 10)
    return Pairs.of(np.round(score, 2), np.round(truth).astype(np.float64), subject)


def test_auroc_of_hanley_and_mcneil_1982() -> None:
    """109 CT images rated 1 to 5: published area 0.893."""
    normal, abnormal = np.repeat(np.arange(1, 6), [33, 6, 6, 11, 2]), np.repeat(np.arange(1, 6), [3, 2, 2, 11, 33])
    score, event = np.concatenate([normal, abnormal]).astype(np.float64), np.arange(109) >= 58
    assert round(auroc_value(score, event), 3) == 0.893
    found = auroc(Pairs.of(score, event.astype(np.float64), np.arange(109)), event, SubjectBootstrap(109, 400, 1))
    # Published standard error 0.032.
    assert found.ci == pytest.approx((0.893 - 1.96 * 0.032, 0.893 + 1.96 * 0.032), abs=0.02)


def test_auroc_and_brier_score_are_those_of_scikit_learn() -> None:
    pairs = study()
    for found, cut in zip(detections(pairs, SubjectBootstrap(24, 200, 1), (3.0, 6.0)), (3.0, 6.0), strict=True):
        event = pairs.reference > cut
        assert found.auroc.value == pytest.approx(roc_auc_score(event, pairs.model))
        assert (found.n_events, found.n_others) == (event.sum(), (~event).sum())
        probability = np.empty(pairs.n)
        for subject in range(24):
            rest, own = pairs.subject != subject, pairs.subject == subject
            x, y = pairs.model[rest], event[rest]
            high, low = (y.sum() + 1) / (y.sum() + 2), 1 / ((~y).sum() + 2)
            target = np.where(y, high, low)
            fit = LogisticRegression(C=1e12, tol=1e-10, max_iter=1000)
            fit.fit(np.tile(x, 2)[:, None], np.repeat([1, 0], len(x)), np.concatenate([target, 1 - target]))
            probability[own] = fit.predict_proba(pairs.model[own][:, None])[:, 1]
        assert recalibrated_probabilities(pairs, event) == pytest.approx(probability, abs=1e-5)
        assert found.brier.value == pytest.approx(brier_score_loss(event, probability), abs=1e-6)
        share = event.mean()
        assert found.brier_scaled.value == pytest.approx(1 - found.brier.value / (share * (1 - share)))
        assert found.auroc.ci[0] < found.auroc.value < found.auroc.ci[1] < 1
        assert found.brier.ci[0] < found.brier.value < found.brier.ci[1]


def test_segments_that_repeat_do_not_narrow_the_interval_of_the_auroc() -> None:
    pairs = study(n_subjects=30, segments=4)
    many = Pairs(np.tile(pairs.model, 5), np.tile(pairs.reference, 5), np.tile(pairs.subject, 5), 30)
    bootstrap = SubjectBootstrap(30, 300, 1)
    once, repeated = (auroc(each, each.reference > 3, bootstrap) for each in (pairs, many))
    assert repeated.value == pytest.approx(once.value)
    assert repeated.ci == pytest.approx(once.ci)


def test_perfect_separation_is_finite_and_has_a_reason() -> None:
    reference = np.tile([1.0, 8.0], 12)
    pairs = Pairs(reference, reference, np.repeat(np.arange(12), 2), 12)
    low, _ = detections(pairs, SubjectBootstrap(12, 200, 1), (3.0, 6.0))
    assert low.auroc.value == 1.0 and "end of its range" in low.auroc.reason
    assert 0 < low.brier.value < 0.01


def test_a_reference_never_above_the_cut_point_has_a_reason() -> None:
    pairs = Pairs(np.linspace(0, 9, 10), np.full(10, 2.0), np.arange(10), 10)
    low, high = detections(pairs, SubjectBootstrap(10, 200, 1), (3.0, 6.0))
    assert "never moderate or high" in low.auroc.reason
    assert "never high" in high.brier.reason


def test_events_of_a_single_subject_have_no_brier_score() -> None:
    pairs = Pairs(np.linspace(0, 9, 20), np.where(np.arange(20) < 2, 5.0, 1.0), np.repeat(np.arange(10), 2), 10)
    low, _ = detections(pairs, SubjectBootstrap(10, 200, 1), (3.0, 6.0))
    assert low.auroc.computable and not low.brier.computable
    assert "of one subject" in low.brier.reason


def test_area_under_the_risk_coverage_curve_is_the_mean_over_random_orders_of_ties() -> None:
    pairs = study(n_subjects=8, segments=3)
    rng = np.random.default_rng(2)
    quality = np.round(rng.uniform(0, 4, pairs.n))
    quality[rng.permutation(pairs.n)[:4]] = np.nan
    found = risk_coverage("face_rate", pairs, quality, SubjectBootstrap(8, 200, 1))
    error, areas = np.abs(pairs.difference), []
    for _ in range(4000):
        order = rng.permutation(pairs.n)
        order = order[np.argsort(-np.nan_to_num(quality[order], nan=-1), kind="stable")]
        areas.append((np.cumsum(error[order]) / np.arange(1, pairs.n + 1)).mean())
    assert found.area.value == pytest.approx(np.mean(areas), abs=0.01)
    assert found.n_missing == 4
    assert found.gain.value == pytest.approx(error.mean() - found.area.value)
    assert found.curve[0].mae == pytest.approx(error.mean())
    assert found.area.ci[0] < found.area.value < found.area.ci[1]


def test_quality_that_tells_the_error_gains_and_chance_does_not() -> None:
    pairs = study()
    bootstrap = SubjectBootstrap(24, 300, 1)
    told = risk_coverage("score_sd", pairs, -np.abs(pairs.difference), bootstrap)
    assert told.gain.ci[0] > 0
    assert [point.mae for point in told.curve] == sorted((point.mae for point in told.curve), reverse=True)
    chance = risk_coverage("snr_db", pairs, np.random.default_rng(3).normal(size=pairs.n), bootstrap)
    assert chance.gain.ci[0] < 0 < chance.gain.ci[1]


@pytest.mark.parametrize(("quality", "reason"), [(np.nan, "no values"), (1.0, "the same in every pair")])
def test_quality_without_variation_has_a_reason(quality: float, reason: str) -> None:
    pairs = study()
    found = risk_coverage("score_sd", pairs, np.full(pairs.n, quality), SubjectBootstrap(24, 200, 1))
    assert reason in found.area.reason and found.curve == ()


def test_the_gap_of_two_groups_is_the_difference_of_what_the_table_shows() -> None:
    pairs = study()
    group, against = pairs.subject < 12, pairs.subject >= 12
    bias, mae = error_gap(pairs, group, against, Resampling(300, 1))
    means = np.array([pairs.difference[pairs.subject == subject].mean() for subject in range(24)])
    assert bias.value == pytest.approx(means[:12].mean() - means[12:].mean())
    error = np.abs(pairs.difference)
    assert mae.value == pytest.approx(error[group].mean() - error[against].mean())
    assert bias.ci[0] < bias.value < bias.ci[1]
    half = np.sqrt(means[:12].var(ddof=1) / 12 + means[12:].var(ddof=1) / 12) * 2.07
    assert bias.ci[1] - bias.ci[0] == pytest.approx(2 * half, rel=0.25)


def test_groups_may_share_subjects() -> None:
    pairs = study()
    group = np.arange(pairs.n) % 3 == 0
    _, mae = error_gap(pairs, group, ~group, Resampling(300, 1))
    error = np.abs(pairs.difference)
    assert mae.value == pytest.approx(error[group].mean() - error[~group].mean())
    assert mae.has_interval
