"""The document's sections that compare pairs of scores."""

from __future__ import annotations

import numpy as np
import pandas as pd

from avpenet_cli.records import THIN_EVIDENCE
from avpenet_cli.report.document.agreement import AgreementSection, CalibrationSection, ErrorSection, LimitsAtMean
from avpenet_cli.stats.accuracy import accuracy, by_intensity
from avpenet_cli.stats.agreement import independent_limits, limits, percentile_limits
from avpenet_cli.stats.bootstrap import Resampling
from avpenet_cli.stats.calibration import calibration_bins, calibration_line
from avpenet_cli.stats.distribution import shape
from avpenet_cli.stats.pairs import Pairs
from avpenet_cli.stats.regression import heteroscedasticity, proportional_bias, regression_limits
from avpenet_cli.stats.reliability import Icc, icc
from avpenet_cli.stats.risk_coverage import RiskCoverage, risk_coverage

_MEANS_POINTS = range(0, 11, 2)
# Columns that measure quality, and whether quality rises or falls with them.
_QUALITY = {"face_rate": 1, "face_confidence": 1, "face_px": 1, "snr_db": 1, "score_sd": -1}


def pairs_of(rows: pd.DataFrame, model: str = "score", reference: str = "reference") -> Pairs:
    """Pairs from two columns of a table with the column `subject`."""
    return Pairs.of(rows[model].to_numpy(), rows[reference].to_numpy(), rows["subject"].to_numpy())


def agreement_section(pairs: Pairs, resampling: Resampling, constant_truth: bool) -> AgreementSection:
    """Bias and limits by the method that fits the data, and by the other methods."""
    bootstrap = resampling.of(pairs.n_subjects)
    bias = proportional_bias(pairs)
    spread = heteroscedasticity(pairs, bias)
    following = regression_limits(bias, spread)
    at_means = tuple(LimitsAtMean(float(mean), *following.at(mean)) for mean in _MEANS_POINTS) if following else ()
    return AgreementSection(
        limits=limits(pairs, bootstrap, constant_truth),
        naive=independent_limits(pairs.difference),
        percentiles=percentile_limits(pairs, bootstrap),
        proportional_bias=bias,
        heteroscedasticity=spread,
        regression_limits=following,
        regression_limits_at=at_means,
        shape=shape(pairs.difference),
    )


def error_section(pairs: Pairs, resampling: Resampling) -> ErrorSection:
    """Errors and correlations, and the error along the scale."""
    return ErrorSection(pairs.n, accuracy(pairs, resampling.of(pairs.n_subjects)), by_intensity(pairs, resampling))


def reliability_section(pairs: Pairs, resampling: Resampling) -> Icc:
    """ICCs of model and reference as two raters."""
    both_sides = np.stack([pairs.model, pairs.reference], axis=1)
    return icc(both_sides, pairs.subject, resampling.of(pairs.n_subjects))


def risk_coverage_section(rated: pd.DataFrame, pairs: Pairs, resampling: Resampling) -> tuple[RiskCoverage, ...]:
    """Error when segments are set aside by each measure of quality in the score table.

    Args:
        rated: the pairs' rows of the score table.
        pairs: of `rated`, in its order.
        resampling: for the intervals.
    """
    bootstrap = resampling.of(pairs.n_subjects)
    measures = {name: sign * rated[name].to_numpy(dtype=np.float64) for name, sign in _QUALITY.items()}
    flags = rated["flags"].fillna("").astype(str)
    thin = flags.map({text: len(THIN_EVIDENCE.intersection(text.split())) for text in flags.unique()})
    measures["flags"] = -thin.to_numpy(dtype=np.float64)
    return tuple(risk_coverage(name, pairs, quality, bootstrap) for name, quality in measures.items())


def calibration_section(pairs: Pairs, resampling: Resampling) -> CalibrationSection:
    """Line of the reference on the score, and the mean reference in bins of the score."""
    return CalibrationSection(calibration_line(pairs), calibration_bins(pairs, resampling))
