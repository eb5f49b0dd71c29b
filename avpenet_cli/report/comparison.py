"""Two score tables of the same segments: what an upgrade of weights or software changed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from avpenet_cli.errors import SettingsError
from avpenet_cli.report import sections
from avpenet_cli.report.strata import paired, subject_means
from avpenet_cli.stats.bootstrap import Resampling
from avpenet_cli.stats.classes import class_of
from avpenet_cli.stats.estimate import plain
from avpenet_cli.stats.pairs import Pairs
from avpenet_cli.study.score_tables import Scores

_KEY = ["recording", "start_s", "end_s"]


def align(these: pd.DataFrame, other: Scores, names: tuple[str, str]) -> pd.DataFrame:
    """`these` segments with the columns `other_score` and `other_status`.

    Args:
        names: of the two tables, for the message.

    Raises:
        SettingsError: the two do not describe the same segments.
    """
    left, right = _keyed(these), _keyed(other.segments)
    for keyed, name in ((left, names[0]), (right, names[1])):
        if not keyed.is_unique:
            recording, start_s, _ = keyed[keyed.duplicated()][0]
            raise SettingsError(
                f"--compare: {name} has two segments of {recording} at {start_s:g} s", "give a table with one of them"
            )
    missing, extra = left.difference(right), right.difference(left)
    if len(missing) or len(extra):
        recording, start_s, _ = (missing if len(missing) else extra)[0]
        where = names[0] if len(missing) else names[1]
        raise SettingsError(
            f"--compare: the tables do not describe the same segments: {len(missing)} only in {names[0]}, {len(extra)} "
            f"only in {names[1]}, for example {recording} at {start_s:g} s only in {where}",
            "score the same recordings with the same stride",
        )
    place = right.get_indexer(left)
    columns = other.segments[["score", "status"]].iloc[place]
    return these.assign(other_score=columns["score"].to_numpy(), other_status=columns["status"].to_numpy())


def _keyed(segments: pd.DataFrame) -> pd.MultiIndex:
    return pd.MultiIndex.from_arrays(
        [segments["recording"].astype(str), segments["start_s"].round(3), segments["end_s"].round(3)], names=_KEY
    )


def compare(
    table: pd.DataFrame,
    cut_points: tuple[tuple[float, float], tuple[float, float]],
    resampling: Resampling,
    constant_truth: bool,
) -> dict[str, Any]:
    """Agreement of the other table with this one (other - this), changes of class and status, and both against ratings.

    Args:
        table: from `align`, with `subject` and `reference` (NaN where none).
        cut_points: of this table's weights, and of the other's; each side is classified by its own.
    """
    this, other = table["status"] == "scored", table["other_status"] == "scored"
    both = table[this & other]
    section: dict[str, Any] = {
        "status_changes": {
            "both_scored": int((this & other).sum()),
            "only_this": int((this & ~other).sum()),
            "only_other": int((~this & other).sum()),
            "neither": int((~this & ~other).sum()),
        },
        "agreement": None,
        "error": None,
        "class_changes": None,
        "cut_points": {"this": list(cut_points[0]), "other": list(cut_points[1])},
        "against_reference": None,
    }
    if not len(both):
        return section
    pairs = Pairs.of(both["other_score"].to_numpy(), both["score"].to_numpy(), both["subject"].to_numpy())
    section["agreement"] = sections.agreement(pairs, resampling, False)[0]
    section["error"] = sections.error(pairs, resampling)
    changes = np.zeros((3, 3), dtype=np.int64)
    np.add.at(changes, (class_of(pairs.reference, cut_points[0]), class_of(pairs.model, cut_points[1])), 1)
    section["class_changes"] = plain(changes)
    rated = both[both["reference"].notna()]
    if len(rated):
        section["against_reference"] = _against_reference(rated, resampling, constant_truth)
    return section


def _against_reference(rated: pd.DataFrame, resampling: Resampling, constant_truth: bool) -> dict[str, Any]:
    found: dict[str, Any] = {"n_pairs": len(rated)}
    means = {}
    for side, column in (("this", "score"), ("other", "other_score")):
        one = rated.assign(model=rated[column])
        pairs = Pairs.of(one["model"].to_numpy(), one["reference"].to_numpy(), one["subject"].to_numpy())
        error = sections.error(pairs, resampling)
        agreement, _ = sections.agreement(pairs, resampling, constant_truth)
        reliability = sections.reliability(pairs, resampling)
        found[side] = (
            {name: error[name] for name in ("mae", "mae_ci", "rmse", "rmse_ci")}
            | {name: agreement[name] for name in _LIMITS}
            | {name: reliability[name] for name in ("icc_a1", "icc_a1_ci")}
            | {"reasons": error["reasons"] | agreement["reasons"] | reliability["reasons"]}
        )
        means[side] = subject_means(one)
    found["tests"] = [
        {"measure": measure} | paired(means["this"][column].to_numpy(), means["other"][column].to_numpy(), 2)
        for measure, column in (("mae", "mae"), ("bias", "bias"))
    ]
    return found


_LIMITS = ("bias", "bias_ci", "loa_lower", "loa_upper", "loa_lower_ci", "loa_upper_ci")
