"""The results of an experiment as CSV tables, one row per system, pair, group, condition, site, seed or claim.

Text that a spreadsheet would take for a formula is escaped; files appear whole and are readable by their owner only. A
number that cannot be computed is an empty cell, and its reason stands in the column `reason`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from avpenet_cli.experiment.cells import (
    REASON,
    average_cells,
    estimate_cells,
    float_column,
    integer_columns,
    interval_columns,
    number_cell,
    p_cell,
    p_column,
    reasons_cell,
    seed_columns,
    t_test_cells,
    t_test_columns,
    text_columns,
)
from avpenet_cli.experiment.descriptions import PublishedFigure, SystemDescription
from avpenet_cli.experiment.results import ExperimentResult, GroupLevel
from avpenet_cli.stats.estimate import Estimate
from avpenet_cli.stats.seeds import METRICS
from avpenet_cli.tables import Column, Row, Value, write_table


@dataclass(frozen=True)
class Table:
    """A table of results: its file, its columns, and how its rows are made."""

    file: str
    columns: tuple[Column, ...]
    rows: Callable[[ExperimentResult], Iterator[Row]]


def write_tables(folder: Path, result: ExperimentResult) -> dict[str, str]:
    """Write every table of `TABLES`.

    Args:
        folder: exists.

    Returns:
        SHA-256 of each file, hexadecimal, by its name.

    Raises:
        EnvironmentUnavailableError, OutputError: a file cannot be written.
    """
    return {table.file: write_table(folder / table.file, table.rows(result), table.columns) for table in TABLES}


_METRIC_MEANINGS = {
    "mae": "mean absolute error, points",
    "rmse": "root mean square error, points",
    "bias": "mean over subjects of score minus reference, points",
    "pearson": "Pearson's correlation",
    "icc_a1": "ICC(A,1)",
    "accuracy": "share of segments in the same class",
    "macro_f1": "mean F1 over the three classes",
    "kappa": "Cohen's kappa, unweighted",
    "kappa_linear": "Cohen's kappa with linear weights",
}

_SYSTEM_COLUMNS = (
    *text_columns(
        system="name",
        title="for people",
        group="systems that are compared as one family",
        differs="settings in which it differs from the reference system",
        status="`trained`, `failed` or `not run`",
    ),
    *integer_columns(parameters="number of learnt parameters"),
    float_column("ms_per_segment", "time to score a segment, ms; empty where not measured", 2),
    *integer_columns(
        n_seeds="number of seeds",
        n_segments="rated test segments that every seed scores",
        n_subjects="their subjects",
        n_missing="rated test segments that it does not score",
    ),
    *(column for name in METRICS for column in seed_columns(name, _METRIC_MEANINGS[name])),
    *seed_columns("validation_mae", "mean absolute error on the validation split, points"),
    *interval_columns(
        "published_mae", "the paper's MAE for this system, ON ITS OWN DATA; not a result of this experiment"
    ),
    *text_columns(published_source="where it stands"),
    REASON,
)


def _system_rows(result: ExperimentResult) -> Iterator[Row]:
    for item in result.systems:
        averages = dict(item.test.averages())
        row = _description(item.system) | {
            "n_seeds": item.test.mae.n_seeds,
            "n_segments": item.test.n_segments,
            "n_subjects": item.test.n_subjects,
            "n_missing": item.test.n_missing,
        }
        for name, average in averages.items():
            row |= average_cells(name, average)
        estimates = {name: average.mean for name, average in averages.items()}
        yield (
            row
            | average_cells("validation_mae", item.validation.mae)
            | _published(item.published_mae)
            | {"reason": reasons_cell(estimates, item.system.reason)}
        )


def _description(system: SystemDescription) -> Row:
    return {
        "system": system.name,
        "title": system.title,
        "group": system.group,
        "differs": "; ".join(f"{name}: {value}" for name, value in system.differs.items()),
        "status": system.status,
        "parameters": system.parameters,
        "ms_per_segment": number_cell(system.ms_per_segment),
    }


def _published(figure: PublishedFigure | None) -> Row:
    names = ("published_mae", "published_mae_low", "published_mae_high")
    values: Iterable[Value] = (
        (None,) * len(names) if figure is None else map(number_cell, (figure.value, figure.low, figure.high))
    )
    return dict(zip(names, values, strict=True)) | {"published_source": "" if figure is None else figure.source}


_PAIR_COLUMNS = (
    *text_columns(family="group whose pairs were tested together", first="system", second="system"),
    *integer_columns(
        n_seeds="seeds that both were trained with; only these are compared",
        n_segments="segments that both score",
        n_subjects="their subjects",
    ),
    float_column("mae_first", "MAE of the first on these segments, points"),
    float_column("mae_second", "MAE of the second"),
    *interval_columns("mae_difference", "first minus second, points; negative favours the first"),
    *interval_columns("percent_change", "the same over the second's MAE, per cent"),
    *t_test_columns("the first's mean absolute error", "the second's"),
    p_column("p_holm", "the p-value, corrected by Holm's method"),
    float_column("cohens_d", "mean of the subjects' differences over their standard deviation"),
    REASON,
)


def _pair_rows(result: ExperimentResult) -> Iterator[Row]:
    for pair in result.pairs:
        row: Row = {
            "family": pair.family,
            "first": pair.first,
            "second": pair.second,
            "n_seeds": len(pair.seeds),
            "n_segments": pair.n_segments,
            "n_subjects": pair.n_subjects,
            "mae_first": number_cell(pair.mae_first),
            "mae_second": number_cell(pair.mae_second),
            "p_holm": p_cell(pair.p_holm),
            "cohens_d": number_cell(pair.test.cohens_d),
            "reason": reasons_cell(
                {
                    "mae_difference": pair.mae_difference,
                    "percent_change": pair.percent_change,
                    "subject_difference": pair.test.difference,
                }
            ),
        }
        row |= estimate_cells("mae_difference", pair.mae_difference)
        yield row | estimate_cells("percent_change", pair.percent_change) | t_test_cells(pair.test)


_GROUP_COLUMNS = (
    *text_columns(
        system="name", column="of the table of subjects, or `intensity`: class of the reference", level="its value"
    ),
    *integer_columns(n_segments="scored test segments", n_subjects="their subjects"),
    *interval_columns("mae", _METRIC_MEANINGS["mae"]),
    *interval_columns("bias", _METRIC_MEANINGS["bias"]),
    REASON,
)


def _group_rows(result: ExperimentResult) -> Iterator[Row]:
    for group in result.groups:
        if not group.levels:
            empty = GroupLevel("", 0, 0, True, Estimate(math.nan), Estimate(math.nan))
            yield _level(group.system, group.column, empty) | {"reason": group.note}
        for level in group.levels:
            yield _level(group.system, group.column, level)


def _level(system: str, column: str, level: GroupLevel) -> Row:
    row: Row = {
        "system": system,
        "column": column,
        "level": level.level,
        "n_segments": level.n_segments,
        "n_subjects": level.n_subjects,
        "reason": reasons_cell({"mae": level.mae, "bias": level.bias}),
    }
    return row | estimate_cells("mae", level.mae) | estimate_cells("bias", level.bias)


_LEVEL_COMPARISON_COLUMNS = (
    *text_columns(
        system="name",
        column="of the table of subjects, or `intensity`",
        first="level",
        second="level",
        measure="`mae` or `bias`",
        design="`unpaired`: Welch's t-test; `paired`: subjects with segments in both levels",
    ),
    *t_test_columns("the first level", "the second"),
    float_column("margin", "largest difference that counts as none, points"),
    float_column("equivalence_low", "lower end of the 90 % interval of the difference, points"),
    float_column("equivalence_high", "upper end"),
    p_column("p_equivalence", "of two one-sided tests; not corrected"),
    *text_columns(verdict="`equivalent`, `different`, `different within the margin`, `undecided` or `not computable`"),
    REASON,
)


def _level_comparison_rows(result: ExperimentResult) -> Iterator[Row]:
    for group in result.groups:
        for item in group.comparisons:
            low, high = item.equivalence.interval
            row: Row = {
                "system": group.system,
                "column": group.column,
                "first": item.first,
                "second": item.second,
                "measure": item.measure,
                "design": item.design,
                "margin": item.equivalence.margin,
                "equivalence_low": number_cell(low),
                "equivalence_high": number_cell(high),
                "p_equivalence": p_cell(item.equivalence.p),
                "verdict": item.equivalence.verdict,
                "reason": item.test.difference.reason,
            }
            yield row | t_test_cells(item.test)


_CONDITION_COLUMNS = (
    *text_columns(
        system="name",
        view="name of the change",
        family="`noise`, `cover`, `modality` or `preparation`",
        kind="such as `white` or `upper`",
        level="such as `20 dB`",
        place="at which step of the preparation the change was made",
    ),
    *integer_columns(
        n_segments="segments that are scored clean and under the view",
        n_subjects="their subjects",
        n_lost="segments that are scored clean only",
    ),
    *interval_columns("lost", "share of the segments scored clean that are lost, 0 to 1"),
    *interval_columns("mae", "under the view, points"),
    *interval_columns("clean_mae", "of the same segments clean, points"),
    *interval_columns("change", "mae minus clean_mae, points; positive is worse"),
    *interval_columns("change_percent", "the same over clean_mae, per cent"),
    REASON,
)


def _condition_rows(result: ExperimentResult) -> Iterator[Row]:
    views = {view.name: view for view in result.views}
    for item in result.conditions:
        view = views[item.view]
        estimates = {
            "lost": item.lost,
            "mae": item.mae,
            "clean_mae": item.clean_mae,
            "change": item.change,
            "change_percent": item.change_percent,
        }
        row: Row = {
            "system": item.system,
            "view": item.view,
            "family": view.family,
            "kind": view.kind,
            "level": view.level,
            "place": view.place,
            "n_segments": item.n_segments,
            "n_subjects": item.n_subjects,
            "n_lost": item.n_lost,
            "reason": reasons_cell(estimates, item.not_computable),
        }
        for name, estimate in estimates.items():
            row |= estimate_cells(name, estimate)
        yield row


_SITE_COLUMNS = (
    *text_columns(system="name", site="left out of training, and tested on"),
    *integer_columns(n_seeds="number of seeds", n_segments="rated segments of the site", n_subjects="their subjects"),
    *seed_columns("mae", _METRIC_MEANINGS["mae"]),
    *interval_columns("bias", _METRIC_MEANINGS["bias"]),
    *integer_columns(n_shared="segments that the system trained on all sites is tested on as well"),
    *interval_columns("within_mae", "of that system, on the shared segments, points"),
    *interval_columns("difference", "MAE without the site minus MAE with it, on the shared segments, points"),
    REASON,
)


def _site_rows(result: ExperimentResult) -> Iterator[Row]:
    for item in result.sites:
        estimates = {
            "mae": item.mae.mean,
            "bias": item.bias,
            "within_mae": item.within_mae,
            "difference": item.difference,
        }
        row: Row = {
            "system": item.system,
            "site": item.site,
            "n_seeds": item.mae.n_seeds,
            "n_segments": item.n_segments,
            "n_subjects": item.n_subjects,
            "n_shared": item.n_shared,
            "reason": reasons_cell(estimates),
        }
        for name in ("bias", "within_mae", "difference"):
            row |= estimate_cells(name, estimates[name])
        yield row | average_cells("mae", item.mae)


_SEED_COLUMNS = (
    *text_columns(system="name"),
    *integer_columns(seed="of the training", n_segments="rated test segments that it scores"),
    float_column("validation_mae", "mean absolute error on the validation split, points"),
    *(float_column(name, meaning) for name, meaning in _METRIC_MEANINGS.items()),
    REASON,
)


def _seed_rows(result: ExperimentResult) -> Iterator[Row]:
    for item in result.seeds:
        row: Row = {"system": item.system, "seed": item.seed, "n_segments": item.n_segments}
        for name in ("validation_mae", *METRICS):
            row[name] = number_cell(getattr(item, name))
        yield row | {"reason": "; ".join(f"{name}: {reason}" for name, reason in item.reasons.items())}


_CLAIM_COLUMNS = (
    *text_columns(
        claim="name",
        statement="what is claimed",
        origin="`paper` or `this project`",
        first="system",
        second="system",
        verdict="`holds`, `does not hold`, `undecided` or `not tested`",
        size="whether the paper's per cent lies within our interval: `compatible`, `smaller`, `larger` or `not tested`",
    ),
    *interval_columns("difference", "MAE of first minus second, points; negative favours the first"),
    *interval_columns("percent", "the same over the second's MAE, per cent"),
    float_column("published_first", "the paper's MAE of the first, ON ITS OWN DATA; not a result of this experiment"),
    float_column("published_second", "the paper's MAE of the second, likewise"),
    float_column("published_percent", "the paper's difference in per cent, likewise"),
    *text_columns(rule="how the verdict is reached"),
    REASON,
)


def _claim_rows(result: ExperimentResult) -> Iterator[Row]:
    for item in result.claims:
        row: Row = {
            "claim": item.name,
            "statement": item.statement,
            "origin": item.origin,
            "first": item.first,
            "second": item.second,
            "verdict": item.verdict,
            "size": item.size,
            "published_first": item.paper_first.value if item.paper_first else None,
            "published_second": item.paper_second.value if item.paper_second else None,
            "published_percent": number_cell(item.paper_percent),
            "rule": item.rule,
            "reason": reasons_cell({"difference": item.difference, "percent": item.percent}, item.reason),
        }
        yield row | estimate_cells("difference", item.difference) | estimate_cells("percent", item.percent)


TABLES = (
    Table("systems.csv", _SYSTEM_COLUMNS, _system_rows),
    Table("pairs.csv", _PAIR_COLUMNS, _pair_rows),
    Table("groups.csv", _GROUP_COLUMNS, _group_rows),
    Table("group_comparisons.csv", _LEVEL_COMPARISON_COLUMNS, _level_comparison_rows),
    Table("conditions.csv", _CONDITION_COLUMNS, _condition_rows),
    Table("sites.csv", _SITE_COLUMNS, _site_rows),
    Table("seeds.csv", _SEED_COLUMNS, _seed_rows),
    Table("claims.csv", _CLAIM_COLUMNS, _claim_rows),
)
"""Every table; columns have their meanings, for the documentation."""
