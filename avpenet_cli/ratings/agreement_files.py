"""The agreement of raters as files: every number as JSON, or one row for each number as a table."""

from __future__ import annotations

import math
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

from avpenet_cli.errors import SettingsError
from avpenet_cli.ratings.agreement_document import AgreementDocument, ItemAgreement
from avpenet_cli.runs.history import ReadFile, locked_history
from avpenet_cli.stats.estimate import Estimate, to_json
from avpenet_cli.storage import write_json
from avpenet_cli.tables import SUFFIXES, Column, Row, write_table

SET_STATISTICS = ("icc_a1", "icc_c1", "icc_11")
PAIR_STATISTICS = ("bias", "lower", "upper", "mae", "icc_a1", "icc_c1", "kappa_classes", "kappa_values")
AGREEMENT_COLUMNS = (
    Column("item", "text", "item of a scale; empty for whole scales"),
    Column("raters", "text", "names, separated by ` | `"),
    Column("statistic", "text", "as in agreement.json; `drift` is the change from first to last rating"),
    Column("value", "float", "points, or a coefficient of at most 1; empty where not computed", 6),
    Column("ci_low", "float", "lower end of its 95 % interval", 6),
    Column("ci_high", "float", "upper end", 6),
    Column("p", "float", "of no drift, two-sided, corrected for the number of raters (Holm)", 6),
    Column("n_segments", "integer", "that it rests on"),
    Column("n_subjects", "integer", "of those"),
    Column("reason", "text", "why value or interval is missing"),
)


def check_suffix(out: Path) -> None:
    """Check that agreement can be written in the format of a file's suffix.

    Raises:
        SettingsError: it is neither .json nor one of `tables.SUFFIXES`.
    """
    if out.suffix not in (".json", *SUFFIXES):
        raise SettingsError(f"--out {out}: cannot tell the format", f"end it in .json, {', '.join(SUFFIXES)}")


def write_agreement(out: Path, document: AgreementDocument, *, command: str, started: datetime) -> None:
    """Write the document as JSON, or its numbers as a table, and a line of its history; readable by its owner only.

    Args:
        out: .json, or one of `tables.SUFFIXES`.
        document: to write.
        command: for the history, without folders.
        started: when the run began.

    Raises:
        OutputError, EnvironmentUnavailableError: it cannot be written.
    """
    read = [ReadFile("ratings", file.name, file.sha256) for file in document.files]
    if document.subjects is not None:
        read.append(ReadFile("subjects", document.subjects.name, document.subjects.sha256))
    with locked_history(out) as history:
        if out.suffix == ".json":
            write_json(out, to_json(document))
        else:
            write_table(out, (row for item in document.items for row in _rows(item)), AGREEMENT_COLUMNS)
        history.append("ratings agreement", written=[out], read=read, command=command, started=started)


def _rows(item: ItemAgreement) -> Iterator[Row]:
    for raters in item.sets:
        for name in SET_STATISTICS:
            yield _row(item.item, raters.raters, name, getattr(raters, name), raters.n_segments, raters.n_subjects)
    for pair in item.pairs:
        for name in PAIR_STATISTICS:
            both = (pair.first, pair.second)
            yield _row(item.item, both, name, getattr(pair, name), pair.n_segments, pair.n_subjects)
    for drift in item.drift:
        row = _row(item.item, (drift.rater,), "drift", drift.change, drift.n_segments, drift.n_subjects)
        yield row | {"p": _known(drift.p_holm)}


def _row(
    item: str, raters: tuple[str, ...], statistic: str, estimate: Estimate, n_segments: int, n_subjects: int
) -> Row:
    low, high = estimate.ci
    return {
        "item": item,
        "raters": " | ".join(raters),
        "statistic": statistic,
        "value": _known(estimate.value),
        "ci_low": _known(low),
        "ci_high": _known(high),
        "p": None,
        "n_segments": n_segments,
        "n_subjects": n_subjects,
        "reason": estimate.reason,
    }


def _known(value: float) -> float | None:
    return value if math.isfinite(value) else None
