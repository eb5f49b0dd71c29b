"""Agreement among raters, from tables of ratings to the document, with the statistics of the report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from avpenet_cli.errors import SettingsError
from avpenet_cli.keys import shown
from avpenet_cli.phrasing import plural
from avpenet_cli.ratings.agreement_document import (
    AGREEMENT_VERSION,
    MINIMUM_SEGMENTS,
    MINIMUM_SUBJECTS,
    AgreementDocument,
    ItemAgreement,
    PairAgreement,
    SetAgreement,
)
from avpenet_cli.ratings.agreement_tables import TOTAL, RatedRows, read_rated_rows, target_of
from avpenet_cli.ratings.drift import drifts, too_few
from avpenet_cli.stats.bootstrap import LEVEL, Resampling
from avpenet_cli.stats.estimate import absent
from avpenet_cli.stats.pairs import Array, Pairs
from avpenet_cli.stats.raters import pairwise_agreement, rater_sets
from avpenet_cli.stats.reliability import icc
from avpenet_cli.stats.value_kappa import kappa_of_values
from avpenet_cli.study.pairing import subjects_of
from avpenet_cli.study.score_tables import DEFAULT_CUT_POINTS
from avpenet_cli.study.subjects import Subjects, read_subjects
from avpenet_cli.version import __version__

_OF_WHOLE_SCALES = "of whole scales only"
_NO_SUBJECTS = (
    "whose recordings these are is not known (no --subjects): each counts as a patient, and if a patient has several, "
    "the intervals are too narrow"
)


@dataclass(frozen=True)
class AgreementRequest:
    """Ratings whose agreement is wanted.

    Attributes:
        ratings: tables, at least one; together at least two raters.
        subjects: table of subjects; None: every recording counts as a patient.
        resampling: for the intervals.
    """

    ratings: tuple[Path, ...]
    subjects: Path | None = None
    resampling: Resampling = field(default_factory=Resampling)


def measure_agreement(request: AgreementRequest) -> AgreementDocument:
    """Agreement of every set and every two raters, and each rater's drift, on whole scales and on each item.

    Raises:
        SettingsError: a table that cannot be used; fewer than two raters, or no segment that two of them rated.
    """
    table = read_rated_rows(request.ratings)
    recordings = list(dict.fromkeys(table.rows["recording"]))
    subjects = None
    if request.subjects is not None:
        subjects = read_subjects(request.subjects).matched_to(recordings, "the ratings")
    rows = _with_subjects(table, recordings, subjects)
    raters = rows["rater"].unique()
    if len(raters) < 2:
        raise SettingsError(
            f"all ratings are by {shown(str(raters[0]))}: agreement takes two raters",
            "give the tables of all raters, with their names in a column `rater`",
        )
    names = [str(item) for item in rows["item"].unique()]
    items = tuple(
        _item(item, rows[rows["item"] == item], request.resampling)
        for item in sorted(names, key=lambda name: (name != TOTAL, names.index(name)))
    )
    if not any(item.n_common for item in items):
        raise SettingsError(
            f"no two of {plural(len(raters), 'rater')} rated the same segment at the same times",
            "give ratings of segments with start_s and end_s; avpenet report compares raters by the segments of scores",
        )
    notices = [*table.notices, *(() if subjects is None else subjects.notices)]
    if subjects is None:
        notices.append(_NO_SUBJECTS)
    if table.empty:
        notices.append(f"{plural(table.empty, 'row')} without a value left out")
    return AgreementDocument(
        version=AGREEMENT_VERSION,
        software=f"avpenet {__version__}",
        files=table.files,
        subjects=None if subjects is None else subjects.file,
        subjects_known=subjects is not None,
        minimum_subjects=MINIMUM_SUBJECTS,
        minimum_segments=MINIMUM_SEGMENTS,
        cut_points=DEFAULT_CUT_POINTS,
        confidence=LEVEL,
        bootstrap_replicates=request.resampling.replicates,
        seed=request.resampling.seed,
        empty=table.empty,
        notices=tuple(notices),
        items=items,
    )


def _with_subjects(table: RatedRows, recordings: Sequence[str], subjects: Subjects | None) -> pd.DataFrame:
    subject_of = dict(zip(recordings, subjects_of(list(recordings), subjects), strict=True))
    return table.rows.assign(subject=table.rows["recording"].map(subject_of), target=target_of(table.rows))


def _item(item: str, rows: pd.DataFrame, resampling: Resampling) -> ItemAgreement:
    raters = tuple(map(str, rows["rater"].unique()))
    wide = rows.pivot_table(index="target", columns="rater", values="value", aggfunc="median")[list(raters)]
    subject_of = rows.drop_duplicates("target").set_index("target")["subject"]
    # In order of appearance, as the report has it: the resamples of patients are then the same.
    wide = wide.reindex(subject_of.index)
    subject = pd.factorize(subject_of)[0].astype(np.int64)
    values = wide.to_numpy(np.float64)
    pairs = tuple(
        _pair((raters[first], raters[second]), values[:, [first, second]], subject, resampling, is_total=item == TOTAL)
        for first, second in combinations(range(len(raters)), 2)
    )
    return ItemAgreement(
        item=item,
        scales=tuple(map(str, rows["scale"].unique())),
        raters=raters,
        n_ratings=len(rows),
        n_segments=len(wide),
        n_common=int((np.isfinite(values).sum(axis=1) >= 2).sum()),
        sets=_sets(values, raters, subject, resampling),
        pairs=pairs,
        drift=drifts(rows),
    )


def _sets(
    values: Array, raters: tuple[str, ...], subject: NDArray[np.int64], resampling: Resampling
) -> tuple[SetAgreement, ...]:
    result = []
    for found in rater_sets(values, subject, resampling):
        n, n_subjects = found.icc.n_targets, found.n_subjects
        estimates = (found.icc.icc_a1, found.icc.icc_c1, found.icc.icc_11)
        if n < MINIMUM_SEGMENTS or n_subjects < MINIMUM_SUBJECTS:
            estimates = (absent(too_few(n, n_subjects), n),) * 3
        result.append(SetAgreement(tuple(raters[place] for place in found.raters), n, n_subjects, *estimates))
    return tuple(result)


def _pair(
    names: tuple[str, str], values: Array, subject: NDArray[np.int64], resampling: Resampling, *, is_total: bool
) -> PairAgreement:
    both = np.isfinite(values).all(axis=1)
    n, n_subjects = int(both.sum()), len(np.unique(subject[both]))
    if n < MINIMUM_SEGMENTS or n_subjects < MINIMUM_SUBJECTS:
        missing = absent(too_few(n, n_subjects), n)
        return PairAgreement(*names, n, n_subjects, *(missing,) * 8)
    pairs = Pairs.of(values[both, 0], values[both, 1], subject[both])
    bootstrap = resampling.of(n_subjects)
    agreement = pairwise_agreement(pairs, DEFAULT_CUT_POINTS, resampling)
    return PairAgreement(
        *names,
        n,
        n_subjects,
        bias=agreement.bias,
        lower=agreement.lower,
        upper=agreement.upper,
        mae=agreement.mae,
        icc_a1=agreement.icc_a1,
        icc_c1=icc(values[both], pairs.subject, bootstrap).icc_c1,
        kappa_classes=agreement.kappa_quadratic if is_total else absent(_OF_WHOLE_SCALES, n),
        kappa_values=kappa_of_values(pairs, bootstrap),
    )
