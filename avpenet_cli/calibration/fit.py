"""Fitting a calibration to scores with ratings: curves, their error, intervals for new patients, abstention."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from avpenet_cli.calibration.site import (
    Abstention,
    Accuracy,
    BandPoint,
    ConformalInterval,
    CrossFit,
    Curve,
    FitSettings,
    FittedGroup,
    Knot,
    RiskAtThreshold,
    RiskKind,
    Verdict,
)
from avpenet_cli.errors import SettingsError
from avpenet_cli.phrasing import plural
from avpenet_cli.stats.abstention import CONFIDENCE, FEWEST_ANSWERED, ThresholdRisk, choose_threshold
from avpenet_cli.stats.bootstrap import Resampling
from avpenet_cli.stats.calibration_fit import (
    FEWEST_PATIENTS,
    CalibrationCurve,
    cross_fitted,
    curve_band,
    fit_curve,
    mae_change,
    patient_weights,
    weighted_accuracy,
)
from avpenet_cli.stats.conformal import conformal_half_width, expected_coverage_at_most, fewest_subjects
from avpenet_cli.stats.pairs import Array, Pairs
from avpenet_cli.study.scales import HIGHEST_POINTS
from avpenet_cli.study.subjects import NOT_STATED

Mask = npt.NDArray[np.bool_]

_MEAN_ERROR: RiskKind = "mean absolute error"
_LARGE_ERRORS: RiskKind = "share of large errors"


@dataclass(frozen=True)
class RiskLimit:
    """The risk that answered segments may have.

    Attributes:
        kind: mean absolute error, or share of errors above `large_error`.
        limit: points or a share.
        large_error: points.
    """

    kind: RiskKind
    limit: float
    large_error: float = 2.0

    def loss(self, error: Array) -> Array:
        """(n,) what is averaged, of absolute errors in points."""
        return error if self.kind == _MEAN_ERROR else (error > self.large_error).astype(np.float64)

    @property
    def text(self) -> str:
        """`a mean absolute error of 1 point`."""
        if self.kind == _MEAN_ERROR:
            return f"a mean absolute error of {self.limit:g} points"
        return f"{100 * self.limit:g} % of errors above {self.large_error:g} points"


@dataclass(frozen=True)
class Evidence:
    """What abstention looks at.

    Attributes:
        column: of the score table, or thin_flags.
        measure: (n,) its values; NaN where missing.
        higher_is_worse: whether a high value means poor evidence.
    """

    column: str
    measure: Array
    higher_is_worse: bool

    @property
    def badness(self) -> Array:
        """(n,) the higher the poorer the evidence; infinity where it is missing."""
        signed = self.measure if self.higher_is_worse else -self.measure
        return np.where(np.isnan(signed), np.inf, signed)


@dataclass(frozen=True)
class Fitted:
    """What was fitted.

    Attributes:
        curves: the pooled one first.
        groups: every level of the group column.
        abstention: None where no limit was given.
        notices: what a reader must know.
    """

    curves: tuple[Curve, ...]
    groups: tuple[FittedGroup, ...]
    abstention: Abstention | None
    notices: tuple[str, ...]


@dataclass(frozen=True)
class _CurveFit:
    """A curve before its interval: its pairs are the rows `rows` of all pairs; `calibrated` is cross-fitted."""

    group: str
    rows: npt.NDArray[np.int64]
    pairs: Pairs
    curve: CalibrationCurve
    calibrated: Array


def fit_site(
    pairs: Pairs,
    groups: npt.NDArray[np.str_] | None,
    settings: FitSettings,
    risk: RiskLimit | None = None,
    evidence: Evidence | None = None,
) -> Fitted:
    """Fit curves and intervals.

    Args:
        pairs: scores, ratings and patients of the rated and scored segments.
        groups: (n,) each segment's level of the group column; None without one.
        settings: how.
        risk: the risk that answered segments may have; None: everything is answered.
        evidence: by which to abstain; needed with `risk`.

    Raises:
        SettingsError: too few patients; scores that do not rise with the ratings; a calibration that makes the error of
            new patients larger; no threshold keeps the risk.
    """
    _check_enough(pairs.n_subjects, settings.coverage)
    pooled = _fit("", np.arange(pairs.n), pairs, settings)
    if pooled.curve.flat:
        raise SettingsError(
            "the scores do not rise with the ratings: there is nothing to calibrate",
            "check that ratings and scores are of the same recordings and times, with avpenet report",
        )
    fits, levels = [pooled], []
    for level in [] if groups is None else sorted(set(groups.tolist())):
        fit, entry = _fit_group(level, np.flatnonzero(groups == level), pairs, settings)
        fits += [] if fit is None else [fit]
        levels.append(entry)
    abstention, intervals = _answer(fits, pairs, settings, risk, evidence)
    while any(interval is None for interval in intervals):
        if intervals[0] is None:
            raise _too_few_answered()
        # Without its own curve a group has other errors, by which the threshold is chosen anew.
        dropped = {fit.group for fit, interval in zip(fits, intervals, strict=True) if interval is None}
        why = f"fewer than {FEWEST_PATIENTS} patients with an answered segment"
        levels = [_pooled(entry, why) if entry.group in dropped else entry for entry in levels]
        fits = [fit for fit in fits if fit.group not in dropped]
        abstention, intervals = _answer(fits, pairs, settings, risk, evidence)
    resampling = Resampling(settings.replicates, settings.seed)
    curves = [
        _described(fit, interval, settings, resampling)
        for fit, interval in zip(fits, intervals, strict=True)
        if interval is not None
    ]
    _refuse_worse(curves[0], settings)
    return Fitted(tuple(curves), tuple(levels), abstention, tuple(_notices(curves, levels, settings)))


def _answer(
    fits: list[_CurveFit], pairs: Pairs, settings: FitSettings, risk: RiskLimit | None, evidence: Evidence | None
) -> tuple[Abstention | None, list[ConformalInterval | None]]:
    """The rule of abstention, if any, and the interval of each curve for the segments that are answered."""
    answered = np.ones(pairs.n, dtype=bool)
    abstention = None
    if risk is not None and evidence is not None:
        abstention = _abstention(_errors(fits, pairs), pairs, risk, evidence)
        answered = evidence.badness <= abstention.threshold * (1 if evidence.higher_is_worse else -1)
    return abstention, [_interval(fit, answered[fit.rows], settings.coverage) for fit in fits]


def _check_enough(n_subjects: int, coverage: float) -> None:
    if n_subjects < FEWEST_PATIENTS:
        raise SettingsError(
            f"rated and scored segments of {plural(n_subjects, 'patient')}: a calibration takes at least "
            f"{FEWEST_PATIENTS}",
            "rate segments of more patients; more segments of the same patients do not help",
        )
    if n_subjects < fewest_subjects(coverage):
        raise SettingsError(
            f"an interval of {100 * coverage:g} % takes {fewest_subjects(coverage)} patients; there are {n_subjects}",
            "rate more patients, or give a lower --coverage",
        )


def _fit(group: str, rows: npt.NDArray[np.int64], pairs: Pairs, settings: FitSettings) -> _CurveFit:
    part = Pairs.of(pairs.model[rows], pairs.reference[rows], pairs.subject[rows])
    calibrated = cross_fitted(part, settings.method, settings.seed, settings.folds)
    return _CurveFit(group, rows, part, fit_curve(part, settings.method), calibrated)


def _fit_group(
    level: str, rows: npt.NDArray[np.int64], pairs: Pairs, settings: FitSettings
) -> tuple[_CurveFit | None, FittedGroup]:
    """The group's own fit where it has enough patients, and what is said about it."""
    n_subjects = len(np.unique(pairs.subject[rows]))
    enough = max(FEWEST_PATIENTS, fewest_subjects(settings.coverage))
    entry = FittedGroup(level, n_subjects, len(rows), own_curve=True, reason="")
    if level == NOT_STATED:
        return None, _pooled(entry, "the level is not stated")
    if n_subjects < enough:
        return None, _pooled(entry, f"fewer than {enough} patients")
    fit = _fit(level, rows, pairs, settings)
    if fit.curve.flat:
        return None, _pooled(entry, "its scores do not rise with the ratings")
    return fit, entry


def _pooled(entry: FittedGroup, why: str) -> FittedGroup:
    return FittedGroup(entry.group, entry.n_subjects, entry.n_segments, own_curve=False, reason=why)


def _errors(fits: list[_CurveFit], pairs: Pairs) -> Array:
    """(n,) absolute cross-fitted errors of the curves that apply, points."""
    calibrated = np.empty(pairs.n)
    for fit in fits:  # the pooled one first
        calibrated[fit.rows] = fit.calibrated
    return np.abs(calibrated - pairs.reference)


def _abstention(error: Array, pairs: Pairs, risk: RiskLimit, evidence: Evidence) -> Abstention:
    tested = choose_threshold(risk.loss(error), evidence.badness, pairs.subject, pairs.n_subjects, risk.limit)
    if not tested:
        raise SettingsError(
            f"no segment has a value of {evidence.column}, by which to abstain",
            "name another column with --abstain-on",
        )
    accepted = [point for point in tested if point.accepted]
    if not accepted:
        raise _no_threshold(tested[0], risk, evidence)
    sign = 1.0 if evidence.higher_is_worse else -1.0
    curve = tuple(
        RiskAtThreshold(
            sign * point.threshold + 0.0,
            point.share_answered,
            point.n_subjects,
            point.risk,
            point.risk_upper if np.isfinite(point.risk_upper) else None,
            point.accepted,
        )
        for point in tested
    )
    return Abstention(
        column=evidence.column,
        answer_if="at most" if evidence.higher_is_worse else "at least",
        threshold=sign * accepted[-1].threshold + 0.0,
        risk_kind=risk.kind,
        limit=risk.limit,
        large_error=risk.large_error if risk.kind == _LARGE_ERRORS else None,
        confidence=CONFIDENCE,
        share_answered=accepted[-1].share_answered,
        curve=curve,
    )


def _no_threshold(strictest: ThresholdRisk, risk: RiskLimit, evidence: Evidence) -> SettingsError:
    kept = f"even the {100 * strictest.share_answered:.0f} % of segments with the best {evidence.column}"
    if not np.isfinite(strictest.risk_upper):
        found = f"are of {plural(strictest.n_subjects, 'patient')}, too few of the {FEWEST_ANSWERED} that it takes"
    elif risk.kind == _MEAN_ERROR:
        found = f"may have one of {strictest.risk_upper:.2f} (estimate {strictest.risk:.2f})"
    else:
        found = f"may have {100 * strictest.risk_upper:.0f} % (estimate {100 * strictest.risk:.0f} %)"
    return SettingsError(
        f"no threshold of {evidence.column} keeps {risk.text}: {kept} {found}",
        "allow a larger error, name another column with --abstain-on, or leave abstention out",
    )


def _too_few_answered() -> SettingsError:
    return SettingsError(
        f"fewer than {FEWEST_PATIENTS} patients have a segment that would be answered",
        "allow a larger error, or leave abstention out",
    )


def _interval(fit: _CurveFit, answered: Mask, coverage: float) -> ConformalInterval | None:
    """The interval for the answered segments of a new patient; None where too few patients have one."""
    part = Pairs.of(fit.pairs.model[answered], fit.pairs.reference[answered], fit.pairs.subject[answered])
    if part.n_subjects < max(FEWEST_PATIENTS, fewest_subjects(coverage)):
        return None
    calibrated = fit.calibrated[answered]
    error = np.abs(calibrated - part.reference)
    half_width = conformal_half_width(error, part.subject, part.n_subjects, coverage)
    width = np.clip(calibrated + half_width, 0, HIGHEST_POINTS) - np.clip(calibrated - half_width, 0, HIGHEST_POINTS)
    return ConformalInterval(
        half_width=half_width,
        n_subjects=part.n_subjects,
        mean_width=float(np.average(width, weights=patient_weights(part))),
        coverage_at_most=expected_coverage_at_most(coverage, part.n_subjects),
    )


def _described(fit: _CurveFit, interval: ConformalInterval, settings: FitSettings, resampling: Resampling) -> Curve:
    pairs, curve = fit.pairs, fit.curve
    before, after = (weighted_accuracy(scores, pairs, resampling) for scores in (pairs.model, fit.calibrated))
    change = mae_change(pairs.model, fit.calibrated, pairs, resampling)
    low, high = change.ci
    verdict: Verdict = "better" if high < 0 else "worse" if low > 0 else "unclear"
    ends = curve.score[[0, -1]]
    places = np.unique([*ends, *np.arange(np.ceil(ends[0]), np.floor(ends[1]) + 1)])
    band = curve_band(pairs, settings.method, places, resampling)
    return Curve(
        group=fit.group,
        knots=tuple(Knot(float(x), float(y)) for x, y in zip(curve.score, curve.calibrated, strict=True)),
        band=tuple(BandPoint(float(score), estimate) for score, estimate in zip(places, band, strict=True)),
        n_subjects=pairs.n_subjects,
        cross_fit=CrossFit(
            Accuracy(before.mae, before.bias, before.slope),
            Accuracy(after.mae, after.bias, after.slope),
            change,
            "as scored" if settings.method == "none" else verdict,
        ),
        interval=interval,
    )


def _refuse_worse(pooled: Curve, settings: FitSettings) -> None:
    if pooled.cross_fit.verdict == "worse":
        change = pooled.cross_fit.mae_change
        line = "" if settings.method == "linear" else "--method linear needs fewer patients; "
        raise SettingsError(
            f"{settings.method} calibration makes the mean absolute error of new patients larger, by "
            f"{change.value:.2f} points [{change.ci[0]:.2f}, {change.ci[1]:.2f}]",
            f"{line}--method none gives intervals of the scores as they are",
        )


def _notices(curves: list[Curve], levels: list[FittedGroup], settings: FitSettings) -> list[str]:
    notices = []
    for curve in curves:
        verdict, name = curve.cross_fit.verdict, f" of {curve.group}" if curve.group else ""
        if verdict == "unclear":
            notices.append(
                f"the calibration{name} is not shown to help: with new patients the mean absolute error may be smaller "
                "or larger than that of the scores"
            )
        elif verdict == "worse":
            notices.append(f"the calibration{name} makes the mean absolute error of new patients larger")
    for level in levels:
        if not level.own_curve:
            notices.append(
                f"{settings.group_column} {level.group} has no curve of its own ({level.reason}): the pooled curve "
                "applies, and its interval is not shown to hold for that group alone"
            )
    return notices
