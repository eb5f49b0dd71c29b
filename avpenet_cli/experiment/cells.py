"""Columns and cells that the tables of results share: estimates with intervals, spreads of seeds, tests, reasons."""

from __future__ import annotations

import math
from collections.abc import Mapping

from avpenet_cli.stats.estimate import Estimate
from avpenet_cli.stats.mean_difference import MeanDifference
from avpenet_cli.stats.seeds import SeedAverage
from avpenet_cli.tables import Column, Row

REASON = Column("reason", "text", "why numbers are missing, by their names, or why the row has none; empty otherwise")


def integer_columns(**meanings: str) -> tuple[Column, ...]:
    """Columns of whole numbers: name and meaning."""
    return tuple(Column(name, "integer", meaning) for name, meaning in meanings.items())


def text_columns(**meanings: str) -> tuple[Column, ...]:
    """Columns of text: name and meaning."""
    return tuple(Column(name, "text", meaning) for name, meaning in meanings.items())


def float_column(name: str, meaning: str, decimals: int = 4) -> Column:
    """A column of numbers."""
    return Column(name, "float", meaning, decimals)


def p_column(name: str, meaning: str) -> Column:
    """A column of p-values, of kind text: as decimals, the smallest would be 0."""
    return Column(name, "text", meaning)


def interval_columns(name: str, meaning: str, interval: str = "95 % interval") -> tuple[Column, ...]:
    """A number and the ends of its interval."""
    return (
        float_column(name, meaning),
        float_column(f"{name}_low", f"lower end of its {interval}"),
        float_column(f"{name}_high", f"upper end of its {interval}"),
    )


def seed_columns(name: str, meaning: str) -> tuple[Column, ...]:
    """A mean over seeds, the ends of its interval, and the seeds' spread."""
    return (
        *interval_columns(name, f"{meaning}; mean over seeds", "95 % interval over subjects"),
        float_column(f"{name}_seed_min", "least of the seeds"),
        float_column(f"{name}_seed_max", "greatest of the seeds"),
        float_column(f"{name}_seed_sd", "standard deviation between seeds; empty with one seed"),
    )


def t_test_columns(first: str, second: str) -> tuple[Column, ...]:
    """The columns of a t-test of means of subjects."""
    return (
        *interval_columns("subject_difference", f"mean over subjects of {first} minus {second}, points"),
        float_column("t", "statistic of that t-test"),
        float_column("df", "its degrees of freedom"),
        p_column("p", "its two-sided p-value"),
        p_column("p_bonferroni", "the same, corrected for all tests of the family"),
        *integer_columns(n_comparisons="number of tests in the family"),
    )


def p_cell(p: float) -> str:
    """A p-value with six significant digits; empty where it is missing."""
    return f"{p:.6g}" if math.isfinite(p) else ""


def estimate_cells(name: str, estimate: Estimate) -> Row:
    """Cells of `interval_columns`."""
    low, high = estimate.ci
    return {name: number_cell(estimate.value), f"{name}_low": number_cell(low), f"{name}_high": number_cell(high)}


def average_cells(name: str, average: SeedAverage) -> Row:
    """Cells of `seed_columns`."""
    return estimate_cells(name, average.mean) | {
        f"{name}_seed_min": number_cell(average.low),
        f"{name}_seed_max": number_cell(average.high),
        f"{name}_seed_sd": number_cell(average.sd),
    }


def t_test_cells(test: MeanDifference) -> Row:
    """Cells of `t_test_columns`."""
    return estimate_cells("subject_difference", test.difference) | {
        "t": number_cell(test.t),
        "df": number_cell(test.df),
        "p": p_cell(test.p),
        "p_bonferroni": p_cell(test.p_bonferroni),
        "n_comparisons": test.n_comparisons,
    }


def number_cell(value: float | None) -> float | None:
    """A number, or an empty cell where it is missing."""
    return float(value) if value is not None and math.isfinite(value) else None


def reasons_cell(estimates: Mapping[str, Estimate], first: str = "") -> str:
    """Reasons with the names of what they are of; a reason that all share stands once, without names."""
    reasons = {name: estimate.reason for name, estimate in estimates.items() if estimate.reason}
    shared = set(reasons.values())
    if len(shared) == 1 and len(reasons) == len(estimates):
        texts = [*shared]
    else:
        texts = [f"{name}: {reason}" for name, reason in reasons.items()]
    return "; ".join([first] * bool(first) + [text for text in texts if text != first])
