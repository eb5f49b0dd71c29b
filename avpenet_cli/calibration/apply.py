"""Applying a calibration to scores: a pure function on arrays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from avpenet_cli.calibration.site import Curve, SiteCalibration
from avpenet_cli.errors import SettingsError
from avpenet_cli.keys import normalise_key
from avpenet_cli.records import THIN_EVIDENCE, Flag
from avpenet_cli.study.scales import HIGHEST_POINTS

Floats = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]

THIN_FLAGS = "thin_flags"
"""Number of a segment's flags of poor, incomplete or missing evidence, in place of a column."""
_THIN = THIN_EVIDENCE | {Flag.NO_VIDEO, Flag.NO_FACE, Flag.NO_AUDIO}


@dataclass(frozen=True)
class Calibrated:
    """Calibrated scores; all arrays are (n,).

    Attributes:
        calibrated: points, 0 to 10; NaN where there is no score or no answer.
        interval_lo: lower end of the interval for a new patient, points, within 0 to 10; NaN as `calibrated`.
        interval_hi: upper end.
        abstained: true where there is a score, but the evidence is too poor for the stated risk.
        outside: true where the score lies outside the range that the calibration was fitted on: the curve is constant
            there, and its interval rests on few patients.
        pooled: true where the pooled curve applied although the calibration has curves of groups.
    """

    calibrated: Floats
    interval_lo: Floats
    interval_hi: Floats
    abstained: Mask
    outside: Mask
    pooled: Mask


def apply(
    site: SiteCalibration,
    scores: Floats,
    groups: Sequence[str] | None = None,
    measure: Floats | None = None,
) -> Calibrated:
    """Calibrate scores.

    Intervals hold for segments of a patient that the calibration has not seen, from where it was fitted: with
    abstention, for the segments that are answered.

    Args:
        site: the calibration.
        scores: (n,) points; NaN where there is none.
        groups: (n,) each segment's level of the group column, in any letter case; None or a level without a curve of
            its own: the pooled curve.
        measure: (n,) what `site.abstention` looks at, see `abstention_measure`; NaN where missing.

    Raises:
        SettingsError: the calibration abstains by a column, and no values of it were given.
    """
    scored = np.isfinite(scores)
    calibrated = np.full(scores.shape, np.nan)
    half_width, outside = np.full(scores.shape, np.nan), np.zeros(scores.shape, dtype=bool)
    own = {normalise_key(curve.group): curve for curve in site.curves[1:]}
    pooled = np.zeros(scores.shape, dtype=bool)
    for curve, rows in _rows_of_curves(site.pooled, own, scores.size, groups):
        calibrated[rows] = curve_at(curve, scores[rows])
        half_width[rows] = curve.interval.half_width
        outside[rows] = (scores[rows] < curve.knots[0].score) | (scores[rows] > curve.knots[-1].score)
        if own and curve is site.pooled:
            pooled[rows] = True
    abstained = np.zeros(scores.shape, dtype=bool)
    if site.abstention is not None:
        if measure is None:
            raise SettingsError(
                f"the calibration abstains by {site.abstention.column}, which the scores do not have",
                "score with what gives that column, or fit a calibration without abstention",
            )
        abstained = scored & ~answered(measure, site.abstention.threshold, site.abstention.answer_if)
    calibrated[abstained] = np.nan
    return Calibrated(
        calibrated,
        np.clip(calibrated - half_width, 0.0, HIGHEST_POINTS),
        np.clip(calibrated + half_width, 0.0, HIGHEST_POINTS),
        abstained,
        outside & scored,
        pooled & scored,
    )


def _rows_of_curves(
    pooled: Curve, own: Mapping[str, Curve], size: int, groups: Sequence[str] | None
) -> list[tuple[Curve, npt.NDArray[np.int64]]]:
    """Each curve that applies to some rows, with these."""
    if groups is None or not own:
        return [(pooled, np.arange(size))]
    keys = {group: normalise_key(group) for group in set(groups)}
    rows: dict[str, list[int]] = {}
    for row, group in enumerate(groups):
        key = keys[group]
        rows.setdefault(key if key in own else "", []).append(row)
    return [(own.get(key, pooled), np.array(places, dtype=np.int64)) for key, places in rows.items()]


def curve_at(curve: Curve, scores: Floats) -> Floats:
    """(n,) calibrated scores, points; NaN where a score is NaN."""
    x, y = np.array([(knot.score, knot.calibrated) for knot in curve.knots]).T
    calibrated: Floats = np.interp(scores, x, y)
    return calibrated


def answered(measure: Floats, threshold: float, answer_if: str) -> Mask:
    """(n,) whether a segment is answered; false where the measure is missing."""
    with np.errstate(invalid="ignore"):
        kept: Mask = measure <= threshold if answer_if == "at most" else measure >= threshold
    return kept


def abstention_measure(
    column: str, columns: Mapping[str, Sequence[float | None] | Floats], flags: Sequence[str]
) -> Floats:
    """(n,) what a rule of abstention looks at; NaN where missing.

    Args:
        column: `site.abstention.column`.
        columns: numeric columns of the score table by name, each (n,).
        flags: (n,) the table's column `flags`: names separated by blanks.

    Raises:
        SettingsError: the table lacks the column.
    """
    if column == THIN_FLAGS:
        return np.array([len(_THIN.intersection((text or "").split())) for text in flags], dtype=np.float64)
    if column not in columns:
        raise SettingsError(
            f"the score table has no column {column}, by which the calibration abstains",
            "fit a calibration without abstention, or by a column that the table has",
        )
    return np.array(columns[column], dtype=np.float64)
