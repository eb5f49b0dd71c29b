"""How often do intervals for new patients cover, and how often does an abstention break its limit?

Each prints a table from so many simulated sites of each kind and size; `test_conformal.py` checks the same with fewer:

- `.venv/bin/python -m tests.stats.measure_conformal coverage 200`: coverage of new patients' segments;
- `... groups 100`: the same of two groups, with intervals of their own and with pooled ones;
- `... band 100`: coverage of the curve's 95 % intervals;
- `... abstention 300`: how often the risk beyond a chosen threshold is over its limit;
- `... answered 200`: coverage in the answered segments, with the chosen threshold and with a fixed one;
- `... phantoms PREDICTIONS INDEX 20`: coverage on held-out patients, in the tables of predictions of `avpenet
  experiment`, with the age groups of the store's `index.parquet`.
"""

from __future__ import annotations

import sys
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from avpenet_cli.stats.abstention import choose_threshold
from avpenet_cli.stats.bootstrap import Resampling
from avpenet_cli.stats.calibration_fit import Method, cross_fitted, curve_band, fit_curve
from avpenet_cli.stats.conformal import conformal_half_width
from avpenet_cli.stats.pairs import Array, Pairs
from tests.stats.simulated_patients import SITES, Site, segment_quantile, simulate

COVERAGE = 0.9
NEW_PATIENTS = 400


def fitted_half_widths(pairs: Pairs, method: Method, seed: int) -> tuple[float, float]:
    """Half widths of the interval by patients and of the naive one by segments."""
    error = np.abs(cross_fitted(pairs, method, seed) - pairs.reference)
    by_patient = conformal_half_width(error, pairs.subject, pairs.n_subjects, COVERAGE)
    return by_patient, segment_quantile(error, COVERAGE)


def covered(pairs: Pairs, predicted: Array, half_width: float) -> Array:
    """(patients,) share of each patient's segments within the interval."""
    inside = (np.abs(predicted - pairs.reference) <= half_width).astype(np.float64)
    shares: Array = np.bincount(pairs.subject, inside) / np.bincount(pairs.subject)
    return shares


def coverage(site: Site, n_patients: int, repeats: int, method: Method = "monotone", seed: int = 1) -> Array:
    """(repeats, 3): coverage of new patients' segments by patients, the naive one, and the width by patients."""
    results = []
    for number in range(repeats):
        rng = np.random.default_rng([seed, n_patients, number])
        pairs, _ = simulate(site, n_patients, rng)
        new, _ = simulate(site, NEW_PATIENTS, rng)
        by_patient, naive = fitted_half_widths(pairs, method, number)
        predicted = fit_curve(pairs, method).at(new.model)
        results.append([*(covered(new, predicted, width).mean() for width in (by_patient, naive)), 2 * by_patient])
    return np.array(results)


def group_coverage(n_per_group: int, repeats: int, groups: int = 2, seed: int = 1) -> tuple[Array, Array]:
    """(groups,) mean coverage of new patients by group with group-conditional intervals, and with pooled ones."""
    site = Site()
    own: list[list[float]] = []
    pooled: list[list[float]] = []
    for number in range(repeats):
        rng = np.random.default_rng([seed, n_per_group, number])
        pairs, group = simulate(site, groups * n_per_group, rng, groups=groups)
        new, new_group = simulate(site, groups * NEW_PATIENTS, rng, groups=groups)
        half_width, _ = fitted_half_widths(pairs, "monotone", number)
        shares = covered(new, fit_curve(pairs, "monotone").at(new.model), half_width)
        pooled.append([shares[new_group == level].mean() for level in range(groups)])
        own.append([])
        for level in range(groups):
            part, new_part = of_patients(pairs, group == level), of_patients(new, new_group == level)
            half_width, _ = fitted_half_widths(part, "monotone", number)
            own[-1].append(covered(new_part, fit_curve(part, "monotone").at(new_part.model), half_width).mean())
    return np.mean(own, axis=0), np.mean(pooled, axis=0)


def of_patients(pairs: Pairs, chosen: NDArray[np.bool_]) -> Pairs:
    """The pairs of some patients; `chosen` is (patients,)."""
    rows = chosen[pairs.subject]
    return Pairs.of(pairs.model[rows], pairs.reference[rows], pairs.subject[rows])


def band_coverage(n_patients: int, repeats: int, method: Method, replicates: int = 400) -> Array:
    """(5,) share of sites whose curve's 95 % intervals hold the curve of 20,000 patients at 3, 4, ... 7 points."""
    site, places = SITES["heteroscedastic patients"], np.arange(3.0, 8.0)
    many, _ = simulate(site, 20_000, np.random.default_rng(0))
    truth, hits = fit_curve(many, method).at(places), []
    for number in range(repeats):
        pairs, _ = simulate(site, n_patients, np.random.default_rng([2, n_patients, number]))
        band = curve_band(pairs, method, places, Resampling(replicates, number))
        hits.append([low <= value <= high for (low, high), value in zip((e.ci for e in band), truth, strict=True)])
    shares: Array = np.array(hits).mean(axis=0)
    return shares


def simulated_losses(n_patients: int, rng: np.random.Generator) -> tuple[Array, Array, NDArray[np.int64]]:
    """Absolute errors that rise with badness, skewed over patients: loss, badness, subject."""
    counts = np.exp(rng.uniform(0, np.log(60), n_patients)).round().astype(np.int64)
    subject = np.repeat(np.arange(n_patients), counts)
    badness = rng.gamma(2.0, 0.5, len(subject))
    size = np.exp(0.6 * rng.normal(size=n_patients))[subject]
    return np.abs(rng.normal(size=len(subject))) * size * (0.3 + 0.5 * badness), badness, subject


@cache
def true_risk() -> tuple[Array, Array]:
    """Badness, increasing, of the segments of 100,000 patients, and the mean loss of those up to each."""
    loss, badness, subject = simulated_losses(100_000, np.random.default_rng(0))
    order = np.argsort(badness)
    weight = (1.0 / np.bincount(subject)[subject])[order]
    return badness[order], np.cumsum(weight * loss[order]) / np.cumsum(weight)


def abstention_failures(n_patients: int, repeats: int, limit: float) -> tuple[float, float]:
    """Share of sites with a threshold whose true risk is over the limit, and share with a threshold at all."""
    badness, risk = true_risk()
    over, found = 0, 0
    for number in range(repeats):
        tested = choose_threshold(
            *simulated_losses(n_patients, np.random.default_rng([3, n_patients, number])), n_patients, limit
        )
        accepted = [point for point in tested if point.accepted]
        if accepted:
            found += 1
            true = risk[np.searchsorted(badness, accepted[-1].threshold, side="right") - 1]
            over += bool(true > limit)
    return over / repeats, found / repeats


Segments = tuple[Array, Array, NDArray[np.int64]]


def share_covered(fitted: Segments, new: Segments, threshold: float) -> float:
    """Of new patients' answered segments, each patient with equal weight; segments as `simulated_losses`."""
    (loss, badness, subject), (new_loss, new_badness, new_subject) = fitted, new
    kept, new_kept = badness <= threshold, new_badness <= threshold
    patients, code = np.unique(subject[kept], return_inverse=True)
    half_width = conformal_half_width(loss[kept], code, len(patients), COVERAGE)
    new_code = np.unique(new_subject[new_kept], return_inverse=True)[1]
    return float((np.bincount(new_code, new_loss[new_kept] <= half_width) / np.bincount(new_code)).mean())


def answered_coverage(n_patients: int, repeats: int, limit: float, fixed: float = 1.0) -> tuple[float, float]:
    """Coverage in the answered segments, with the threshold chosen on the same patients, and with a fixed one."""
    chosen, as_fixed = [], []
    for number in range(repeats):
        rng = np.random.default_rng([7, n_patients, number])
        fitted, new = simulated_losses(n_patients, rng), simulated_losses(5 * NEW_PATIENTS, rng)
        accepted = [point for point in choose_threshold(*fitted, n_patients, limit) if point.accepted]
        chosen += [share_covered(fitted, new, accepted[-1].threshold)] if accepted else []
        as_fixed.append(share_covered(fitted, new, fixed))
    return float(np.mean(chosen)), float(np.mean(as_fixed))


def phantoms(predictions: Path, index: Path, repeats: int, n_fit: int = 60) -> None:
    """Print coverage on held-out patients: of all, naive, width; of each age group with its own curve and interval."""
    import pandas as pd

    recordings = pd.read_parquet(index, columns=["recording", "age_group"]).drop_duplicates("recording")
    for path in sorted(predictions.glob("*.parquet")):
        table = pd.read_parquet(path, columns=["view", "recording", "subject", "score", "reference"])
        table = table[table["view"] == "clean"].merge(recordings, on="recording")
        columns = (table[name].to_numpy() for name in ("score", "reference", "subject"))
        pairs = Pairs.of(*columns)
        adult = np.bincount(pairs.subject, table["age_group"] == "adult", pairs.n_subjects) > 0
        found = []
        for number in range(repeats):
            chosen = np.random.default_rng([4, number]).permutation(pairs.n_subjects) < n_fit
            row = list(held_out_coverage(of_patients(pairs, chosen), of_patients(pairs, ~chosen), number))
            for level in (adult, ~adult):
                parts = of_patients(pairs, chosen & level), of_patients(pairs, ~chosen & level)
                row.append(held_out_coverage(*parts, number)[0])
            found.append(row)
        print(path.stem, pairs.n_subjects, np.mean(found, axis=0).round(3), flush=True)


def held_out_coverage(part: Pairs, rest: Pairs, seed: int) -> tuple[float, float, float]:
    """Coverage of the patients of `rest` by intervals of those of `part`, the naive one, and the width by patients."""
    by_patient, naive = fitted_half_widths(part, "monotone", seed)
    predicted = fit_curve(part, "monotone").at(rest.model)
    shares = [float(covered(rest, predicted, width).mean()) for width in (by_patient, naive)]
    return shares[0], shares[1], 2 * by_patient


def main(what: str, *arguments: str) -> None:
    """Print one table."""
    if what == "coverage":
        for name, site in SITES.items():
            for n_patients in (20, 40, 80):
                mean = coverage(site, n_patients, int(arguments[0])).mean(axis=0)
                print(f"{name:26} {n_patients:4} {mean[0]:.3f} {mean[1]:.3f} {mean[2]:.2f}", flush=True)
    elif what == "groups":
        for n_per_group in (20, 40, 80):
            own, pooled = group_coverage(n_per_group, int(arguments[0]))
            print(f"groups, {n_per_group} each: own {own.round(3)}, pooled {pooled.round(3)}", flush=True)
    elif what == "band":
        for method in ("monotone", "linear"):
            for n_patients in (20, 40, 80):
                print(method, n_patients, band_coverage(n_patients, int(arguments[0]), method).round(3), flush=True)
    elif what == "abstention":
        for n_patients in (30, 60, 120):
            for limit in (0.6, 0.7, 0.8):
                over, some = abstention_failures(n_patients, int(arguments[0]), limit)
                print(f"{n_patients:4} {limit} over {over:.3f} found {some:.3f}", flush=True)
    elif what == "answered":
        for n_patients in (30, 60, 120):
            for limit in (0.6, 0.7, 0.8):
                shares = answered_coverage(n_patients, int(arguments[0]), limit)
                print(f"{n_patients:4} {limit} chosen {shares[0]:.3f} fixed {shares[1]:.3f}", flush=True)
    else:
        phantoms(Path(arguments[0]), Path(arguments[1]), int(arguments[2]))


if __name__ == "__main__":
    main(*sys.argv[1:])
