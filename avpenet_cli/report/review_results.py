"""What a filled-in review says: counts, and for the control sample an estimate for all scores."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd

from avpenet_cli.phrasing import plural
from avpenet_cli.report.document.review import FilledReview, ReviewCounts, ReviewedSegment, Verdict
from avpenet_cli.report.review import ReviewList
from avpenet_cli.report.review_answers import ReviewAnswers, match_answers
from avpenet_cli.stats.bootstrap import FEWEST_SUBJECTS, Resampling
from avpenet_cli.stats.estimate import NO_INTERVAL, Estimate, absent
from avpenet_cli.stats.pairs import Array, Pairs
from avpenet_cli.stats.survey import sampled_share

FEWEST_VALUES = 20
"""Values of the control sample from which on an estimate is made."""
TOLERANCE_POINTS = 2.0
"""A change of about two points is clinically important (Farrar et al. 2001, Pain 94:149)."""
_TOLERANCE_SOURCE = (
    "about the change on a 0-10 scale that is clinically important (Farrar et al. 2001, Pain 94:149); with --limit, "
    "the accepted difference is taken instead"
)
_ROUNDING_POINTS = 1e-9


def review_results(
    answers: ReviewAnswers,
    listed: ReviewList,
    limit_points: float | None,
    resampling: Resampling,
    *,
    subjects_known: bool,
) -> FilledReview:
    """Count the answers and estimate from the control sample.

    Args:
        answers: as read.
        listed: the list that was handed out.
        limit_points: accepted difference, points; None: 2 points.
        resampling: for the intervals of bias and error.
        subjects_known: whether a table of subjects says whose recordings these are; without one, no interval.

    Raises:
        SettingsError: the answers are not to this list, or contradict themselves.
    """
    tolerance = TOLERANCE_POINTS if limit_points is None else limit_points
    rows = _judged(match_answers(answers, listed), tolerance)
    control, targeted = rows[rows["control"]], rows[~rows["control"]]
    rated = control[control["value"].notna()]
    wrong_share, bias, mae = estimate_from_control(rated, len(control), resampling, subjects_known=subjects_known)
    differences = targeted["difference"].dropna()
    return FilledReview(
        tolerance_points=tolerance,
        tolerance_source=_TOLERANCE_SOURCE if limit_points is None else "the accepted difference of this report",
        targeted=_counts(targeted),
        targeted_mean_difference=float(differences.mean()) if len(differences) else None,
        control=_counts(control),
        n_control_subjects=int(rated["subject"].nunique()),
        wrong_share=wrong_share,
        bias=bias,
        mae=mae,
        segments=_reviewed(rows, listed),
    )


def _judged(rows: pd.DataFrame, tolerance: float) -> pd.DataFrame:
    """With `difference`, and the verdict from the value where the reviewer gave none."""
    difference = rows["score"] - rows["value"]
    from_value = pd.Series("agree", index=rows.index, dtype="str")
    from_value[difference > tolerance + _ROUNDING_POINTS] = "too high"
    from_value[difference < -tolerance - _ROUNDING_POINTS] = "too low"
    given = rows["verdict"] != ""
    verdict = rows["verdict"].where(given, from_value.where(difference.notna(), ""))
    return rows.assign(difference=difference, by_reviewer=given, verdict=verdict)


def _counts(rows: pd.DataFrame) -> ReviewCounts:
    without_score = rows["score"].isna() & ((rows["verdict"] != "") | rows["value"].notna())
    of_verdict = rows.loc[~without_score, "verdict"].value_counts()
    answered = int(((rows["verdict"] != "") | rows["value"].notna()).sum())
    return ReviewCounts(
        listed=len(rows),
        answered=answered,
        missing=len(rows) - answered,
        agree=int(of_verdict.get("agree", 0)),
        too_high=int(of_verdict.get("too high", 0)),
        too_low=int(of_verdict.get("too low", 0)),
        cannot_tell=int(of_verdict.get("cannot tell", 0)),
        values=int(rows["value"].notna().sum()),
        without_score=int(without_score.sum()),
    )


def estimate_from_control(
    rated: pd.DataFrame, n_control: int, resampling: Resampling, *, subjects_known: bool
) -> tuple[Estimate, Estimate, Estimate]:
    """Share of wrong scores, bias and mean absolute error over all scores.

    Args:
        rated: segments of the control sample with a value: `score`, `value`, `subject`, `verdict`.
        n_control: segments of the control sample.
        resampling: for the intervals of bias and error.
        subjects_known: whether `subject` comes from a table of subjects; otherwise there is no interval.
    """
    n = len(rated)
    if n < FEWEST_VALUES:
        reason = f"of {plural(n_control, 'control segment')}, {n} with a value; an estimate takes {FEWEST_VALUES}"
        return absent(reason, n), absent(reason, n), absent(reason, n)
    subject = rated["subject"].to_numpy(dtype=object)
    pairs = Pairs.of(rated["score"].to_numpy(), rated["value"].to_numpy(), subject)
    if subjects_known and pairs.n_subjects < FEWEST_SUBJECTS:
        reason = f"the values are of {plural(pairs.n_subjects, 'subject')}; an estimate takes {FEWEST_SUBJECTS}"
        return absent(reason, n), absent(reason, n), absent(reason, n)
    # With equal inclusion probabilities, sums over the sample are design-weighted sums.
    columns = (pairs.difference, np.abs(pairs.difference), np.ones(n))
    by_subject = [np.bincount(pairs.subject, column, pairs.n_subjects).astype(np.float64) for column in columns]
    sums = np.stack(by_subject, axis=1)
    bias, mae = resampling.of(pairs.n_subjects).estimate(_means, sums, ("identity", "log"), n)
    wrong = np.isin(rated["verdict"].to_numpy(dtype=object), ("too high", "too low"))
    share = sampled_share(wrong, pairs.subject)
    if subjects_known:
        return share, bias, mae
    reason = "no table of subjects (--subjects), and intervals take the subject as the unit"
    unknown = [Estimate(estimate.value, NO_INTERVAL, n, reason) for estimate in (share, bias, mae)]
    return unknown[0], unknown[1], unknown[2]


def _means(sums: Array) -> npt.NDArray[np.float64]:
    means: Array = sums[..., :2] / sums[..., 2:]
    return means


def _reviewed(rows: pd.DataFrame, listed: ReviewList) -> tuple[ReviewedSegment, ...]:
    answered = rows[(rows["verdict"] != "") | rows["value"].notna() | (rows["comment"] != "")]
    segments = listed.segments.loc[answered.index]
    targeted = answered.index.isin(listed.targeted.index)
    return tuple(
        ReviewedSegment(
            recording=str(recording),
            start_s=float(start_s),
            end_s=float(end_s),
            score=_known(row["score"]),
            sample=("both" if is_targeted else "control") if row["control"] else "targeted",
            verdict=_verdict(row["verdict"]),
            verdict_from="reviewer" if row["by_reviewer"] else "value",
            value=_known(row["value"]),
            difference=_known(row["difference"]),
            comment=str(row["comment"]),
        )
        for row, recording, start_s, end_s, is_targeted in zip(
            answered.to_dict("records"),
            *(segments[name] for name in ("recording", "start_s", "end_s")),
            targeted,
            strict=True,
        )
    )


def _known(value: float) -> float | None:
    return None if np.isnan(value) else float(value)


def _verdict(text: str) -> Verdict | None:
    return next((known for known in _VERDICTS if known == text), None)


_VERDICTS: tuple[Verdict, ...] = ("agree", "too high", "too low", "cannot tell")
