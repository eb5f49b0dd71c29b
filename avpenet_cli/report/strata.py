"""Groups side by side: age, site, sex, quality, batches; compared with subjects as the unit."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from avpenet_cli.stats.accuracy import mean_absolute_error
from avpenet_cli.stats.agreement import limits
from avpenet_cli.stats.bootstrap import LEVEL, Resampling
from avpenet_cli.stats.estimate import flat, plain
from avpenet_cli.stats.pairs import Array, Pairs

# Of subjects; what rests on fewer is not shown.
MINIMUM_SUBJECTS = 10
# A column of names or dates would make a table of hundreds.
_MOST_LEVELS = 30


def strata(
    table: pd.DataFrame,
    levels_of_pairs: dict[str, pd.Series[str]],
    levels_of_recordings: dict[str, pd.Series[str]],
    seconds: pd.DataFrame,
    resampling: Resampling,
) -> list[dict[str, Any]]:
    """Bias and MAE in every level of every column, and the levels compared.

    Args:
        table: one row per pair: subject, recording, model, reference.
        levels_of_pairs: by column, the level of each row of `table`.
        levels_of_recordings: by column, the level of each recording of `seconds`; columns of segments are not in it. A
            level without a pair, whose recordings all failed, keeps its row.
        seconds: index recording; nominal_s, scored_s; for the share of seconds scored.
    """
    found: list[dict[str, Any]] = []
    for column, of_pairs in levels_of_pairs.items():
        of_recordings = levels_of_recordings.get(column)
        levels = sorted({*of_pairs.unique(), *(() if of_recordings is None else of_recordings.unique())}, key=str)
        if len(levels) > _MOST_LEVELS:
            found.append({"column": column, "levels": [], "comparisons": [], "note": f"{len(levels)} levels: too many"})
            continue
        parts = {str(level): table[(of_pairs == level).to_numpy()] for level in levels}
        rows = []
        for level, part in parts.items():
            chosen = None if of_recordings is None else seconds[(of_recordings == level).to_numpy()]
            rows.append({"level": level} | _level(part, share_scored(chosen), resampling))
        compared, note = _comparisons(parts)
        found.append({"column": column, "levels": rows, "comparisons": compared, "note": note})
    return found


def share_scored(seconds: pd.DataFrame | None) -> float | None:
    """Of the seconds recorded; None where there are none, or none are known."""
    nominal = 0.0 if seconds is None else float(seconds["nominal_s"].sum())
    return float(seconds["scored_s"].sum()) / nominal if seconds is not None and nominal else None


def group(table: pd.DataFrame, resampling: Resampling) -> dict[str, Any]:
    """n, bias and MAE of some pairs; suppressed under ten subjects."""
    return _level(table, None, resampling)


def _level(table: pd.DataFrame, share: float | None, resampling: Resampling) -> dict[str, Any]:
    n_subjects = int(table["subject"].nunique())
    row: dict[str, Any] = {
        "n_subjects": n_subjects,
        "n_recordings": int(table["recording"].nunique()),
        "n_pairs": len(table),
        "coverage_share": share,
        "suppressed": n_subjects < MINIMUM_SUBJECTS,
    }
    if row["suppressed"]:
        why = f"fewer than {MINIMUM_SUBJECTS} subjects"
        empty = {name: None for name in ("bias", "mae")} | {name: [None, None] for name in ("bias_ci", "mae_ci")}
        return row | empty | {"reasons": {"bias": why, "mae": why}}
    pairs = Pairs.of(table["model"].to_numpy(), table["reference"].to_numpy(), table["subject"].to_numpy())
    bootstrap = resampling.of(pairs.n_subjects)
    # The limits' own bootstrap is not shown here.
    return row | flat(bias=limits(pairs, None).bias, mae=mean_absolute_error(pairs, bootstrap))


def subject_means(table: pd.DataFrame) -> pd.DataFrame:
    """Index subject; bias and mae of each."""
    d = table["model"] - table["reference"]
    grouped = pd.DataFrame({"subject": table["subject"], "bias": d, "mae": d.abs()}).groupby("subject", sort=True)
    return grouped[["bias", "mae"]].mean()


def _comparisons(parts: dict[str, pd.DataFrame]) -> tuple[list[dict[str, Any]], str]:
    means = {level: subject_means(part) for level, part in parts.items()}
    enough = [level for level, one in means.items() if len(one) >= MINIMUM_SUBJECTS]
    if len(enough) < 2:
        return [], f"no two groups of {MINIMUM_SUBJECTS} subjects to compare"
    everyone = [name for one in means.values() for name in one.index]
    if len(everyone) > len(set(everyone)):
        return [], "not compared: the same subjects are in several groups, which an unpaired test does not allow"
    pairs = list(combinations(enough, 2))
    number = 2 * len(pairs)
    rows = []
    for a, b in pairs:
        for measure in ("bias", "mae"):
            rows.append(
                {"a": a, "b": b, "measure": measure}
                | _welch(means[a][measure].to_numpy(), means[b][measure].to_numpy(), number)
            )
    return rows, ""


def _welch(a: Array, b: Array, n_comparisons: int) -> dict[str, Any]:
    """Unpaired t-test of subjects' means, variances not assumed equal (Welch 1947), Bonferroni."""
    if np.ptp(a) < 1e-12 and np.ptp(b) < 1e-12:
        return _test(float(a.mean() - b.mean()), (np.nan, np.nan), np.nan, np.nan, np.nan, n_comparisons)
    done = stats.ttest_ind(a, b, equal_var=False)
    ends = done.confidence_interval(LEVEL)
    return _test(
        float(a.mean() - b.mean()),
        (float(ends.low), float(ends.high)),
        float(done.statistic),
        float(done.df),
        float(done.pvalue),
        n_comparisons,
    )


def paired(a: Array, b: Array, n_comparisons: int) -> dict[str, Any]:
    """Paired t-test of subjects' means, Bonferroni, with Cohen's d of the differences (mean over SD, ddof 1).

    Args:
        a, b: (n,) of the same subjects in the same order.
    """
    difference = a - b
    n = len(difference)
    if n < 2 or np.ptp(difference) < 1e-12:
        mean = float(difference.mean()) if n else np.nan
        row = _test(mean, (np.nan, np.nan), np.nan, n - 1, np.nan, n_comparisons)
        return row | {"cohens_d": None, "n_subjects": n}
    done = stats.ttest_1samp(difference, 0.0)
    ends = done.confidence_interval(LEVEL)
    row = _test(
        float(difference.mean()),
        (float(ends.low), float(ends.high)),
        float(done.statistic),
        n - 1,
        float(done.pvalue),
        n_comparisons,
    )
    return row | {"cohens_d": float(difference.mean() / difference.std(ddof=1)), "n_subjects": n}


def _test(
    difference: float, ci: tuple[float, float], t: float, df: float, p: float, n_comparisons: int
) -> dict[str, Any]:
    row = {
        "difference": difference,
        "difference_ci": ci,
        "t": t,
        "df": df,
        "p": p,
        "p_bonferroni": min(1.0, p * n_comparisons) if np.isfinite(p) else np.nan,
        "n_comparisons": n_comparisons,
    }
    return {name: plain(value) for name, value in row.items()}
