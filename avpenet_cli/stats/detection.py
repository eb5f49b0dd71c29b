"""How well a score tells pain above a cut point from less: AUROC, and Brier score after recalibration."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import special, stats

from avpenet_cli.stats.bootstrap import FEWEST_SUBJECTS, SubjectBootstrap, studentised_interval
from avpenet_cli.stats.estimate import NO_INTERVAL, Estimate, absent
from avpenet_cli.stats.levels import count_table, levels
from avpenet_cli.stats.pairs import Array, Pairs

Events = NDArray[np.bool_]

# Levels of the score in the resamples; the value itself is exact.
_LEVELS = 200
_CHUNK = 250
# Recalibration sees scores to a hundredth of a point.
_STEP_POINTS = 0.01
_MOST_STEPS = 50
_LONGEST_STEP = 2.0


@dataclass(frozen=True)
class Detection:
    """The score as a test for a reference above one cut point; all pairs with equal weight.

    Attributes:
        level: what the reference is above the cut point: moderate or high, or high.
        above_points: the cut point, which itself belongs to the class below.
        n_events: pairs whose reference lies above it.
        n_others: pairs whose reference does not.
        auroc: area under the ROC curve, 0 to 1: chance that the score of an event is higher than that of another pair,
            ties counting half (Hanley and McNeil 1982, Radiology 143:29).
        brier: mean squared distance of event (1 or 0) and predicted probability (Brier 1950, Mon Weather Rev 78:1),
            the probability being that of `recalibrated_probabilities`.
        brier_scaled: 1 - Brier score / p (1 - p), p the share of events: 1 is perfect, 0 as good as the share alone.
    """

    level: str
    above_points: float
    n_events: int
    n_others: int
    auroc: Estimate
    brier: Estimate
    brier_scaled: Estimate


def detections(pairs: Pairs, bootstrap: SubjectBootstrap, cut_points: tuple[float, float]) -> tuple[Detection, ...]:
    """Both cut points; `bootstrap` is of the pairs' subjects."""
    return tuple(
        _detection(pairs, bootstrap, level, cut)
        for level, cut in zip(("moderate or high", "high"), cut_points, strict=True)
    )


def _detection(pairs: Pairs, bootstrap: SubjectBootstrap, level: str, cut: float) -> Detection:
    event = pairs.reference > cut + 1e-9
    n_events = int(event.sum())
    counts = (level, cut, n_events, pairs.n - n_events)
    if n_events in (0, pairs.n):
        missing = absent(f"the reference is {'never' if not n_events else 'always'} {level}", pairs.n)
        return Detection(*counts, missing, missing, missing)
    brier, scaled = _brier(pairs, event, bootstrap)
    return Detection(*counts, auroc(pairs, event, bootstrap), brier, scaled)


def auroc(pairs: Pairs, event: Events, bootstrap: SubjectBootstrap) -> Estimate:
    """Area under the ROC curve with its interval: bootstrap-t of subjects on the logit scale.

    Standard errors come from the subjects' shares in the U statistic (Obuchowski 1997, Biometrics 53:567).

    Args:
        pairs: `model` is the score.
        event: (n,) whether each pair is an event; at least one is, and one is not.
        bootstrap: resamples of the pairs' subjects.
    """
    value = auroc_value(pairs.model, event)
    n_subjects = pairs.n_subjects
    if n_subjects < FEWEST_SUBJECTS:
        return Estimate(value, NO_INTERVAL, pairs.n, f"fewer than {FEWEST_SUBJECTS} subjects: too few to resample")
    code, size = levels(pairs.model, _LEVELS)
    tables = [count_table(pairs.subject[which], code[which], (n_subjects, size)) for which in (event, ~event)]
    totals = [np.asarray(table.sum(axis=0)).reshape(1, -1) for table in tables]
    with np.errstate(all="ignore"):
        centre = float(special.logit(_areas(*totals))[0, 0])
        without = np.concatenate(
            [special.logit(_areas(*rest)) for rest in _leaving_out(tables, totals)],
        )
        spread = float(np.sqrt((n_subjects - 1) / n_subjects * ((without - without.mean()) ** 2).sum()))
        errors = np.concatenate([_studentised(drawn, tables, centre) for drawn in bootstrap.weights_for_ranks()])
    ci, reason = studentised_interval(centre, spread, errors, "logit")
    return Estimate(value, ci, pairs.n, reason)


def auroc_value(score: Array, event: Events) -> float:
    """Area under the ROC curve by ranks."""
    n_events, n_others = int(event.sum()), int((~event).sum())
    ranks = stats.rankdata(score)[event].sum()
    return float((ranks - n_events * (n_events + 1) / 2) / (n_events * n_others))


def _leaving_out(tables: list[Any], totals: list[Array]) -> Iterator[list[Array]]:
    """Counts of events and others by level without each subject, in chunks of (subjects, levels)."""
    for first in range(0, tables[0].shape[0], _CHUNK):
        yield [total - table[first : first + _CHUNK].toarray() for total, table in zip(totals, tables, strict=True)]


def _areas(events: Array, others: Array) -> Array:
    """(rows, 1) area of each row of counts by level, (rows, levels)."""
    below = np.cumsum(others, axis=1) - others / 2
    total: Array = events.sum(axis=1, keepdims=True) * others.sum(axis=1, keepdims=True)
    area: Array = (events * below).sum(axis=1, keepdims=True) / total
    return area


def _studentised(drawn: Array, tables: list[Any], centre: float) -> Array:
    """(resamples,) deviation of the area's logit from `centre` over its standard error."""
    events, others = (drawn @ table for table in tables)
    n_events, n_others = events.sum(axis=1, keepdims=True), others.sum(axis=1, keepdims=True)
    below = (np.cumsum(others, axis=1) - others / 2) / n_others
    above = 1 - (np.cumsum(events, axis=1) - events / 2) / n_events
    area = _areas(events, others)
    shares = ((below - area) @ tables[0].T) / n_events + ((above - area) @ tables[1].T) / n_others
    n_subjects = drawn.shape[1]
    error = np.sqrt((drawn * shares**2).sum(axis=1, keepdims=True) * n_subjects / (n_subjects - 1))
    deviation: Array = (special.logit(area) - centre) / (error / (area * (1 - area)))
    return deviation[:, 0]


def _brier(pairs: Pairs, event: Events, bootstrap: SubjectBootstrap) -> tuple[Estimate, Estimate]:
    for which, name in ((event, "events"), (~event, "pairs that are not events")):
        if len(np.unique(pairs.subject[which])) < 2:
            missing = absent(f"all {name} are of one subject: without it there is nothing to learn from", pairs.n)
            return missing, missing
    if np.ptp(pairs.model) < 1e-12:
        missing = absent("all scores are equal", pairs.n)
        return missing, missing
    probability = recalibrated_probabilities(pairs, event)
    outcome = event.astype(np.float64)
    sums = pairs.per_subject(np.ones(pairs.n), (probability - outcome) ** 2, outcome)

    def statistic(total: Array) -> Array:
        n, error, events = np.moveaxis(total, -1, 0)
        share = events / n
        return np.stack([error / n, 1 - error / n / (share * (1 - share))], axis=-1)

    brier, scaled = bootstrap.estimate(statistic, sums, ("logit", "identity"), pairs.n)
    return brier, scaled


def recalibrated_probabilities(pairs: Pairs, event: Events) -> Array:
    """Probability of an event given the score, for each pair by a logistic curve fitted to all other subjects.

    A score is no probability. The curve p = 1 / (1 + exp(-(a + b score))) is fitted by maximum likelihood with the
    targets of Platt 1999 (Advances in Large Margin Classifiers, 61), (events + 1) / (events + 2) and
    1 / (others + 2), which keep it finite; no subject's own pairs are used for its probabilities.

    Args:
        pairs: `model` is the score; not all equal.
        event: (n,) of at least two subjects, and so are the others.

    Returns:
        (n,) probabilities, 0 to 1.
    """
    step = np.round(pairs.model / _STEP_POINTS).astype(np.int64)
    code, size = levels(step.astype(np.float64), int(np.ptp(step)) + 1)
    score = np.zeros(size)
    score[code] = step * _STEP_POINTS - 5
    shape = (pairs.n_subjects, size)
    counts = count_table(pairs.subject, code, shape)
    events = count_table(pairs.subject[event], code[event], shape)
    all_counts, all_events = (np.asarray(table.sum(axis=0)).reshape(1, -1) for table in (counts, events))
    start = _logistic_fits(score, all_counts, all_events, np.zeros((1, 2)))
    curves = []
    for first in range(0, pairs.n_subjects, _CHUNK):
        own = slice(first, first + _CHUNK)
        rest = all_counts - counts[own].toarray(), all_events - events[own].toarray()
        curves.append(_logistic_fits(score, *rest, np.repeat(start, len(rest[0]), axis=0)))
    a, b = np.concatenate(curves)[pairs.subject].T
    probabilities: Array = special.expit(a + b * score[code])
    return probabilities


def _logistic_fits(score: Array, counts: Array, events: Array, start: Array) -> Array:
    """Intercept and slope of each row's curve, (rows, 2), by Newton's method.

    Args:
        score: (levels,).
        counts, events: (rows, levels) pairs and events at each level.
        start: (rows, 2).
    """
    n_events = events.sum(axis=1, keepdims=True)
    n_others = counts.sum(axis=1, keepdims=True) - n_events
    target = events * (n_events + 1) / (n_events + 2) + (counts - events) / (n_others + 2)
    curve = start.copy()
    for _ in range(_MOST_STEPS):
        p = special.expit(curve[:, :1] + curve[:, 1:] * score)
        missed, weight = target - counts * p, counts * p * (1 - p)
        gradient = np.stack([missed.sum(axis=1), missed @ score], axis=1)
        h0, h1, h2 = weight.sum(axis=1), weight @ score, weight @ score**2
        determinant = np.maximum(h0 * h2 - h1**2, 1e-12)
        move = np.stack([h2 * gradient[:, 0] - h1 * gradient[:, 1], h0 * gradient[:, 1] - h1 * gradient[:, 0]], axis=1)
        move = np.clip(move / determinant[:, None], -_LONGEST_STEP, _LONGEST_STEP)
        curve += move
        if np.abs(move).max() < 1e-9:
            break
    return curve
