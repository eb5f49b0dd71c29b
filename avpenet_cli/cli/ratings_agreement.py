"""`avpenet ratings agreement`: how well raters agree, on whole scales and on items, and whether one drifts."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from avpenet_cli.cli.command_line import recorded_command
from avpenet_cli.cli.options import Bootstrap, Debug, Quiet, ResamplingSeed
from avpenet_cli.cli.run_log import printable
from avpenet_cli.errors import ExitCode

if TYPE_CHECKING:
    from avpenet_cli.ratings.agreement_document import AgreementDocument, ItemAgreement, PairAgreement
    from avpenet_cli.stats.estimate import Estimate


def agreement(
    context: typer.Context,
    ratings: Annotated[
        list[Path],
        typer.Argument(
            metavar="RATINGS...", help="Ratings of all raters: recording, times, value, rater; item, order."
        ),
    ],
    subjects: Annotated[
        Path | None, typer.Option(metavar="SUBJECTS", help="Subjects of the recordings: recording, subject.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Also write every number: .json, .csv, .parquet or .jsonl.")
    ] = None,
    bootstrap: Bootstrap = 2000,
    seed: ResamplingSeed = 42,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace FILE.")] = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> int:
    """Measure how well raters agree: ICC, kappa, limits of agreement, drift; on whole scales and on items."""
    from avpenet_cli.ratings.agreement import AgreementRequest, measure_agreement
    from avpenet_cli.ratings.agreement_files import check_suffix, write_agreement
    from avpenet_cli.ratings.outputs import check_outputs
    from avpenet_cli.stats.bootstrap import Resampling

    started = datetime.now(UTC)
    if out is not None:
        check_suffix(out)
        check_outputs([out], [*ratings, subjects], overwrite=overwrite)
    document = measure_agreement(AgreementRequest(tuple(ratings), subjects, Resampling(bootstrap, seed)))
    if out is not None:
        write_agreement(out, document, command=recorded_command(context, private=False), started=started)
    if not quiet:
        _print(document)
        if out is not None:
            typer.echo(printable(f"written: {out.name}"))
    return ExitCode.OK


def _print(document: AgreementDocument) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console() if Console().is_terminal else Console(width=10_000)

    def table(title: str, heads: Iterable[str], rows: Iterable[Iterable[str]]) -> None:
        drawn = Table(box=None, pad_edge=False)
        for head in heads:
            drawn.add_column(head, overflow="fold")
        for row in rows:
            drawn.add_row(*(Text(printable(cell)) for cell in row))
        console.print(Text(printable(title), style="bold"))
        console.print(drawn)
        console.print()

    for notice in document.notices:
        console.print(Text(printable(f"note: {notice}"), style="yellow"))
    for item in document.items:
        _print_item(item, table)
    console.print(
        Text(
            "Points of the 0-10 scale; 95 % intervals, subjects being the unit. A coefficient takes "
            f"{document.minimum_segments} segments of {document.minimum_subjects} subjects."
        )
    )


def _print_item(item: ItemAgreement, table: Callable[[str, Iterable[str], Iterable[Iterable[str]]], None]) -> None:
    name = f"Item {item.item}" if item.item else "Whole scales"
    common = f"{item.n_common} of {item.n_segments} segments by two raters or more"
    table(
        f"{name}, {', '.join(item.scales)}: {item.n_ratings} ratings, {common}",
        ("raters of the same segments", "segments (subjects)", "ICC(A,1)", "ICC(C,1)"),
        (
            (", ".join(row.raters), f"{row.n_segments} ({row.n_subjects})", _cell(row.icc_a1), _cell(row.icc_c1))
            for row in item.sets
        ),
    )
    heads = ("first minus second", "segments (subjects)", "bias", "limits of agreement", "ICC(A,1)", "ICC(C,1)")
    kappa = ("kappa of classes", "kappa of values") if not item.item else ("kappa of values",)
    table(
        "Every two raters",
        (*heads, *kappa),
        (
            (f"{row.first} - {row.second}", f"{row.n_segments} ({row.n_subjects})", *_pair_cells(row, item))
            for row in item.pairs
        ),
    )
    table(
        "Drift: change of rating minus the others', from a rater's first to last rating",
        ("rater", "by", "segments (subjects)", "change", "p (Holm)"),
        (
            (row.rater, row.by or "-", f"{row.n_segments} ({row.n_subjects})", _cell(row.change), _p(row.p_holm))
            for row in item.drift
        ),
    )


def _pair_cells(pair: PairAgreement, item: ItemAgreement) -> tuple[str, ...]:
    """What is known of two raters: bias, limits and coefficients; the reason once where nothing can be computed."""
    classes = () if item.item else (pair.kappa_classes,)
    coefficients = (pair.icc_a1, pair.icc_c1, *classes, pair.kappa_values)
    if not pair.bias.computable:
        return (_cell(pair.bias), *("-" for _ in ("limits", *coefficients)))
    return (_cell(pair.bias), _limits(pair.lower, pair.upper), *map(_cell, coefficients))


def _cell(estimate: Estimate) -> str:
    if not estimate.computable:
        return f"not computed: {estimate.reason}"
    if not estimate.has_interval:
        return f"{estimate.value:z.2f} (no interval: {estimate.reason})"
    low, high = estimate.ci
    return f"{estimate.value:z.2f} [{low:z.2f}, {high:z.2f}]"


def _limits(lower: Estimate, upper: Estimate) -> str:
    if not (lower.computable and upper.computable):
        return "-"
    return f"{lower.value:z.2f} to {upper.value:z.2f}"


def _p(p: float) -> str:
    return "-" if p != p else "< 0.001" if p < 0.001 else f"{p:.3f}"
