"""The document's sections on pairs of scores: every statistic under its key."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from scipy import stats

from avpenet_cli.stats.accuracy import accuracy, by_intensity
from avpenet_cli.stats.agreement import Limits, independent_limits, limits, nonparametric_limits
from avpenet_cli.stats.bootstrap import Resampling
from avpenet_cli.stats.classes import LABELS, classes
from avpenet_cli.stats.estimate import Estimate, flat, plain
from avpenet_cli.stats.pairs import Array, Pairs
from avpenet_cli.stats.regression import (
    Line,
    calibration,
    heteroscedasticity,
    proportional_bias,
    regression_limits,
)
from avpenet_cli.stats.reliability import icc


def distribution(values: Array) -> dict[str, Any]:
    """Of scores, (n,) points; floor and ceiling within half a point of the scale's ends."""
    if not len(values):
        return {"n": 0} | dict.fromkeys((*_QUANTILES, "mean", "sd", "floor_share", "ceiling_share"))
    quantiles = np.quantile(values, [0, 0.25, 0.5, 0.75, 1])
    found: dict[str, Any] = plain(
        {
            "n": len(values),
            "mean": float(values.mean()),
            "sd": float(values.std(ddof=1)) if len(values) > 1 else np.nan,
            **dict(zip(_QUANTILES, map(float, quantiles), strict=True)),
            "floor_share": float((values <= 0.5).mean()),
            "ceiling_share": float((values >= 9.5).mean()),
        }
    )
    return found


_QUANTILES = ("min", "q25", "median", "q75", "max")


def agreement(pairs: Pairs, resampling: Resampling, constant_truth: bool) -> tuple[dict[str, Any], Limits]:
    """Bias and limits by the fitting method, and everything beside them."""
    found = limits(pairs, resampling.of(pairs.n_subjects), constant_truth)
    naive = independent_limits(pairs.difference)
    lower, upper = nonparametric_limits(pairs, resampling.of(pairs.n_subjects))
    bias = proportional_bias(pairs)
    spread = heteroscedasticity(pairs, bias)
    section = {
        "n_pairs": pairs.n,
        "n_subjects": pairs.n_subjects,
        "method": found.method,
        "sd": found.sd,
        "between_sd": found.between_sd,
        "within_sd": found.within_sd,
        "approximate": _side_by_side(found.approximate_lower_ci, found.approximate_upper_ci),
        "bootstrap": _side_by_side(found.bootstrap_lower_ci, found.bootstrap_upper_ci),
        "naive": {"n_pairs": pairs.n, "sd": naive.sd} | _limits(naive),
        "nonparametric": flat(loa_lower=lower, loa_upper=upper),
        "proportional": _line(bias) | {"regression_limits": _regression_limits(bias, spread)},
        "heteroscedasticity": _line(spread),
        "normality": _normality(pairs.difference),
    }
    return plain(section) | _limits(found), found


def _limits(found: Limits) -> dict[str, Any]:
    return flat(bias=found.bias, loa_lower=found.lower, loa_upper=found.upper)


def _side_by_side(lower: tuple[float, float], upper: tuple[float, float]) -> dict[str, Any] | None:
    return {"loa_lower_ci": lower, "loa_upper_ci": upper} if np.isfinite([*lower, *upper]).all() else None


def _line(found: Line) -> dict[str, Any]:
    return flat(intercept=found.intercept, slope=found.slope) | {"p": plain(found.p), "method": found.method}


def _regression_limits(bias: Line, spread: Line) -> dict[str, Any] | None:
    found = regression_limits(bias, spread)
    if found is None:
        return None
    table = [{"mean": mean} | dict(zip(("lower", "upper"), found.at(mean), strict=True)) for mean in range(0, 11, 2)]
    return {"b0": found.b0, "b1": found.b1, "c0": found.c0, "c1": found.c1, "table": table}


def _normality(d: Array) -> dict[str, Any]:
    if len(d) < 3 or np.ptp(d) < 1e-12:
        return {"skew": None, "excess_kurtosis": None, "reason": "too few differences, or all the same"}
    return {"skew": float(stats.skew(d)), "excess_kurtosis": float(stats.kurtosis(d)), "reason": ""}


def error(pairs: Pairs, resampling: Resampling) -> dict[str, Any]:
    """MAE, RMSE, correlations, shares within a distance, and the error along the scale."""
    found = accuracy(pairs, resampling.of(pairs.n_subjects))
    return {"n": pairs.n} | flat(**found.__dict__) | {"by_intensity": plain(by_intensity(pairs, resampling))}


def reliability(pairs: Pairs, resampling: Resampling) -> dict[str, Any]:
    """The three ICCs of model and reference."""
    both = np.stack([pairs.model, pairs.reference], axis=1)
    found = icc(both, pairs.subject, resampling.of(pairs.n_subjects))
    return {"n_targets": found.n_targets, "n_raters": found.n_raters, "method": found.method} | flat(
        icc_a1=found.icc_a1, icc_c1=found.icc_c1, icc_11=found.icc_11
    )


def class_agreement(pairs: Pairs, resampling: Resampling, cut_points: tuple[float, float]) -> dict[str, Any]:
    """Confusion and everything read from it."""
    found = classes(pairs, resampling.of(pairs.n_subjects), cut_points)
    estimates = {name: value for name, value in found.__dict__.items() if isinstance(value, Estimate)}
    return {
        "cut_points": list(cut_points),
        "labels": list(LABELS),
        "confusion": plain(found.confusion),
        "per_class": {label: flat(**three) for label, three in found.per_class.items()},
    } | flat(**estimates)


def calibration_section(pairs: Pairs, resampling: Resampling) -> dict[str, Any]:
    """Line of the reference on the score, and the reference's mean in bins of one point of the score."""
    found = calibration(pairs)
    which = np.clip(np.floor(pairs.model), 0, 9)
    bins = []
    for low in range(10):
        chosen = which == low
        if not chosen.any():
            continue
        part = Pairs.of(pairs.model[chosen], pairs.reference[chosen], pairs.subject[chosen])
        # As a share of the scale, whose logit keeps the interval within it.
        sums = part.per_subject(np.ones(part.n), part.reference / 10)
        bootstrap = resampling.of(part.n_subjects)
        share = bootstrap.estimate(lambda total: total[..., 1:] / total[..., :1], sums, ("logit",), part.n)[0]
        mean = replace(share, value=10 * share.value, ci=(10 * share.ci[0], 10 * share.ci[1]))
        bins.append(
            {"from": low, "to": low + 1, "mean_score": float(part.model.mean()), "n_pairs": part.n}
            | {"n_subjects": part.n_subjects}
            | flat(mean_reference=mean)
        )
    return _line(found) | {"bins": plain(bins)}
