"""Change of a patient's scores against the mean of the same patient's quiet segments, with its standard error.

The change of segment t is a contrast of scores whose weights add up to 0: x_t - mean(x_j), j quiet. Its variance needs
neither the level nor the sill of the process, only the semivariogram g(d) = E (x_i - x_j)^2 / 2 of segments d seconds
apart (Cressie, Statistics for Spatial Data, rev. ed. 1993, section 3.2):

    2 / n * sum_j g(t, j) - 1 / n^2 * sum_ij g(i, j).

So the correlation of neighbours, the input that overlapping segments share, the error of the baseline, and a segment's
own part in the baseline are all in it. The semivariogram is fitted to the quiet segments of all patients, as a
non-negative sum of valid ones: noise of the input, which windows that overlap share, and fluctuations that die away
exponentially. How much a patient fluctuates is the patient's own estimate, drawn to that of all. What varies from one
recording to another is added. Both variances are estimates: Student's t with the degrees of freedom of their sum
(Satterthwaite 1946, Biometrics Bulletin 2:110) widens the standard error.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

FEWEST_QUIET_S = 30.0
"""Seconds of quiet segments, overlaps counted once, that a baseline takes: ten segments that share nothing."""
SHORTEST_STRETCH_S = 15.0
"""Quiet segments count in unbroken stretches of at least this length, s: a pause between cries is no quiet minute."""
FEWEST_OTHER_RECORDINGS = 5
"""Quiet recordings beyond each patient's first, over all patients, that the variance between recordings takes."""

Z = 1.959963984540054

_LONGEST_LAG_S = 60.0
_DECAYS_S = (3.0, 6.0, 12.0, 24.0, 48.0)
"""Time constants of the exponential parts of the semivariogram, s; NNLS finds how much of each there is."""
_LAG_STEP_S = 0.1
# Scores are written with three decimals; so much variance, points^2, is always there.
_LEAST_VARIANCE = 1e-6
_NEGLIGIBLE = 1e-3
_PRIOR_DF = 10.0
"""How many independent quiet segments the variance of all patients weighs in that of one; chosen."""
_LEAST_DF = 3.0
_CLOCK_S = 1e-6


@dataclass(frozen=True, eq=False)
class PatientScores:
    """The scored segments of one patient, of one kind of evidence; all arrays are (n,).

    Attributes:
        recording: int64, number of each segment's recording, ascending.
        start_s, end_s: of the segments, s; starts ascend within a recording.
        score: points, finite.
        quiet: which are quiet, from `in_quiet_stretches`.
    """

    recording: Integers
    start_s: Floats
    end_s: Floats
    score: Floats
    quiet: Mask

    @property
    def quiet_s(self) -> float:
        """Seconds of the quiet segments, overlaps counted once."""
        return covered_s(self.recording[self.quiet], self.start_s[self.quiet], self.end_s[self.quiet])

    @property
    def has_baseline(self) -> bool:
        """Whether the quiet segments suffice."""
        return self.quiet_s >= FEWEST_QUIET_S - _CLOCK_S


@dataclass(frozen=True)
class Fluctuations:
    """How scores fluctuate in quiet segments without any change, over all patients.

    Attributes:
        input_noise: points^2, of noise that is the same in what overlapping windows share.
        decaying: points^2 for each time constant of `decays_s`.
        decays_s: time constants, s.
        window_s: length of a segment, s.
        between_recordings: points^2 added from one recording of a patient to another; None where too few patients have
            quiet segments in several recordings.
        between_variance: of the estimate `between_recordings`, points^4; 0 without one.
        df: degrees of freedom of the variance within recordings, over all patients.
    """

    input_noise: float
    decaying: tuple[float, ...]
    decays_s: tuple[float, ...]
    window_s: float
    between_recordings: float | None
    between_variance: float
    df: float

    @property
    def variance(self) -> float:
        """Of a score about its level in a recording, points^2."""
        return self.input_noise + sum(self.decaying)

    def covariance(self, lag_s: Floats) -> Floats:
        """Of the scores of segments so many seconds apart in a recording, points^2; any shape."""
        shared: Floats = self.input_noise * np.clip(1 - lag_s / self.window_s, 0.0, None)
        for part, decay_s in zip(self.decaying, self.decays_s, strict=True):
            if part > 0:
                shared = shared + part * np.exp(-lag_s / decay_s)
        return shared


@dataclass(frozen=True, eq=False)
class Changes:
    """The changes of one patient's segments.

    Attributes:
        change: (n,) points.
        se: (n,) standard error, points, such that change +- 1.96 se is a 95 % interval; NaN where it would need the
            variance between recordings and that is not known.
        baseline: mean score of the quiet segments, points.
    """

    change: Floats
    se: Floats
    baseline: float


def covered_s(recording: Integers, start_s: Floats, end_s: Floats) -> float:
    """Seconds that segments cover, overlaps counted once; arrays as in `PatientScores`."""
    if not len(start_s):
        return 0.0
    follows = np.append(recording[1:] == recording[:-1], False)
    until_s = np.where(follows, np.minimum(end_s, np.append(start_s[1:], np.inf)), end_s)
    return float((until_s - start_s).sum())


def in_quiet_stretches(recording: Integers, start_s: Floats, end_s: Floats, candidate: Mask) -> Mask:
    """(n,) which candidates lie in an unbroken stretch of candidates of at least SHORTEST_STRETCH_S.

    Args:
        recording, start_s, end_s: (n,) of all segments, also of those without a score; as in `PatientScores`.
        candidate: (n,) whether a segment is quiet if its neighbours are.
    """
    if not len(start_s):
        return candidate.copy()
    begins = np.ones(len(start_s), np.bool_)
    begins[1:] = (
        ~candidate[:-1] | ~candidate[1:] | (recording[1:] != recording[:-1]) | (start_s[1:] > end_s[:-1] + _CLOCK_S)
    )
    stretch = np.cumsum(begins) - 1
    first = np.flatnonzero(begins)
    last = np.append(first[1:], len(start_s)) - 1
    long_enough = end_s[last] - start_s[first] >= SHORTEST_STRETCH_S - _CLOCK_S
    quiet: Mask = candidate & long_enough[stretch]
    return quiet


def fit_fluctuations(patients: Sequence[PatientScores]) -> Fluctuations | None:
    """How the scores of quiet segments fluctuate, each patient with equal weight; None without a baseline."""
    with_baseline = [patient for patient in patients if patient.has_baseline]
    if not with_baseline:
        return None
    window_s = float(np.median(np.concatenate([p.end_s[p.quiet] - p.start_s[p.quiet] for p in with_baseline])))
    bins = round(_LONGEST_LAG_S / _LAG_STEP_S) + 1
    total, weight = np.zeros(bins), np.zeros(bins)
    for patient in with_baseline:
        sums, pairs = _squared_differences(patient, bins)
        if pairs.sum():
            total += sums / pairs.sum()
            weight += pairs / pairs.sum()
    seen = weight > 0
    lag_s = np.flatnonzero(seen).astype(np.float64) * _LAG_STEP_S
    parts = _fit_parts(lag_s, total[seen] / weight[seen], weight[seen], window_s)
    fitted = Fluctuations(parts[0], tuple(parts[1:]), _DECAYS_S, window_s, None, 0.0, 0.0)
    df = sum(_own_variance(patient, fitted)[1] for patient in with_baseline)
    between, between_variance = _between_recordings(with_baseline, fitted)
    return replace(fitted, between_recordings=between, between_variance=between_variance, df=df)


def changes(patient: PatientScores, fluctuations: Fluctuations) -> Changes:
    """The changes of a patient's segments against the patient's baseline.

    Args:
        patient: with a baseline.
        fluctuations: of all patients, this one among them.
    """
    quiet, n = patient.quiet, int(patient.quiet.sum())
    baseline = float(patient.score[quiet].mean())
    ratio, df = _own_variance(patient, fluctuations)
    scale = (_PRIOR_DF + df * ratio) / (_PRIOR_DF + df)
    df = max(df + min(_PRIOR_DF, max(0.0, fluctuations.df - df)), _LEAST_DF)
    within = _contrast(scale * (n * fluctuations.variance - _covariance_with_quiet(patient, fluctuations)), quiet)
    quiet_in = np.bincount(patient.recording[quiet], minlength=int(patient.recording.max()) + 1)
    elsewhere = n - quiet_in[patient.recording]
    recordings = _contrast(elsewhere.astype(np.float64), quiet)
    between = np.nan if fluctuations.between_recordings is None else fluctuations.between_recordings
    variance = within + np.where(recordings > 0, recordings * between, 0.0)
    # Of an estimate of the variance v with the error e^2, 2 v^2 / e^2 (Satterthwaite).
    error = 2 * within**2 / df + recordings**2 * fluctuations.between_variance
    of_sum = np.divide(2 * variance**2, error, out=np.full(len(variance), df), where=error > 0)
    se = _t_quantile(of_sum) / Z * np.sqrt(variance)
    return Changes(patient.score - baseline, se, baseline)


def _contrast(semivariance: Floats, quiet: Mask) -> Floats:
    """(n,) variance of each score minus the mean of the quiet ones, from its summed semivariances with these, (n,)."""
    n = int(quiet.sum())
    variance: Floats = np.maximum(2 / n * semivariance - semivariance[quiet].sum() / n**2, 0.0)
    return variance


def _t_quantile(df: Floats) -> Floats:
    from scipy.stats import t

    quantile: Floats = np.asarray(t.ppf(0.975, df))
    return quantile


def _pairs(patient: PatientScores, longest_s: float) -> Iterator[tuple[Integers, Integers, Floats]]:
    """Pairs (earlier, later, lag in s) of a recording's segments up to a lag, every unordered pair once."""
    index = np.arange(len(patient.score))
    for step in range(1, len(index)):
        lag_s = patient.start_s[step:] - patient.start_s[:-step]
        near = (patient.recording[step:] == patient.recording[:-step]) & (lag_s <= longest_s + _CLOCK_S)
        if not near.any():
            return
        yield index[:-step][near], index[step:][near], lag_s[near]


def _quiet_only(patient: PatientScores) -> PatientScores:
    quiet = patient.quiet
    return PatientScores(
        patient.recording[quiet], patient.start_s[quiet], patient.end_s[quiet], patient.score[quiet], quiet[quiet]
    )


def _squared_differences(patient: PatientScores, bins: int) -> tuple[Floats, Floats]:
    """(bins,) sums of half squared differences of quiet scores by lag, and (bins,) numbers of pairs."""
    sums, pairs = np.zeros(bins), np.zeros(bins)
    quiet = _quiet_only(patient)
    for first, second, lag_s in _pairs(quiet, _LONGEST_LAG_S):
        place = np.rint(lag_s / _LAG_STEP_S).astype(np.int64).clip(0, bins - 1)
        sums += np.bincount(place, (quiet.score[first] - quiet.score[second]) ** 2 / 2, bins)
        pairs += np.bincount(place, minlength=bins)
    return sums, pairs


def _fit_parts(lag_s: Floats, semivariance: Floats, weight: Floats, window_s: float) -> list[float]:
    """Non-negative parts of the semivariogram by weighted least squares: input noise, then the decaying ones."""
    from scipy.optimize import nnls

    # What takes longer than about half of what is seen could be of any size.
    decays = [decay_s for decay_s in _DECAYS_S if 2 * decay_s <= lag_s.max(initial=0.0)]
    shapes = [np.minimum(lag_s / window_s, 1.0), *(1 - np.exp(-lag_s / decay_s) for decay_s in decays)]
    root = np.sqrt(weight)
    parts, _ = nnls(np.stack(shapes, axis=1) * root[:, None], semivariance * root)
    if parts.sum() < _LEAST_VARIANCE:
        parts[0] += _LEAST_VARIANCE
    return [float(part) for part in parts] + [0.0] * (len(_DECAYS_S) - len(decays))


def _covariance_with_quiet(patient: PatientScores, fluctuations: Fluctuations) -> Floats:
    """(n,) sum of each segment's covariances with the quiet segments of its recording, itself included if quiet."""
    total = np.where(patient.quiet, fluctuations.variance, 0.0)
    for first, second, lag_s in _pairs(patient, _reach_s(fluctuations)):
        covariance = fluctuations.covariance(lag_s)
        np.add.at(total, first, covariance * patient.quiet[second])
        np.add.at(total, second, covariance * patient.quiet[first])
    return total


def _reach_s(fluctuations: Fluctuations) -> float:
    """Lag from which on the covariance is negligible, s."""
    lag_s = np.arange(0.0, 8 * max(_DECAYS_S), 1.0)
    near = fluctuations.covariance(lag_s) > _NEGLIGIBLE * fluctuations.variance
    return float(lag_s[near][-1]) + 1.0


def _own_variance(patient: PatientScores, fluctuations: Fluctuations) -> tuple[float, float]:
    """(variance of the patient's quiet scores within recordings re that expected by the fluctuations; its degrees of
    freedom, after correlation)."""
    quiet = _quiet_only(patient)
    covariances = _covariance_with_quiet(quiet, fluctuations)
    squares = expected = df = 0.0
    for number in np.unique(quiet.recording):
        rows = quiet.recording == number
        n = int(rows.sum())
        of_mean = float(covariances[rows].sum()) / n**2
        squares += float(((quiet.score[rows] - quiet.score[rows].mean()) ** 2).sum())
        expected += n * (fluctuations.variance - of_mean)
        df += max(fluctuations.variance / of_mean - 1, 0.0)
    return (squares / expected if expected > 0 else 1.0), df


def _between_recordings(patients: Sequence[PatientScores], fluctuations: Fluctuations) -> tuple[float | None, float]:
    """(variance from one recording of a patient to another beyond that within recordings, points^2, at least 0, None
    where it is not known; the variance of this estimate, points^4)."""
    total, count = 0.0, 0
    expected: list[tuple[int, float]] = []
    for patient in patients:
        quiet = _quiet_only(patient)
        covariances = _covariance_with_quiet(quiet, fluctuations)
        numbers = np.unique(quiet.recording)
        if len(numbers) < 2:
            continue
        means = np.array([quiet.score[quiet.recording == number].mean() for number in numbers])
        errors = np.array(
            [covariances[quiet.recording == n].sum() / (quiet.recording == n).sum() ** 2 for n in numbers]
        )
        others, error = len(numbers) - 1, float(errors.mean())
        count += others
        total += others * (float(means.var(ddof=1)) - error)
        expected.append((others, error))
    if count < FEWEST_OTHER_RECORDINGS:
        return None, 0.0
    between = max(total / count, 0.0)
    # The variance of normal means is known with an error of 2 variance^2 / df; that of their own errors is neglected.
    return between, sum(2 * others * (between + error) ** 2 for others, error in expected) / count**2
