"""Segments that a person should look at: the targeted ones, and a control sample drawn at random."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from avpenet_cli.records import THIN_EVIDENCE
from avpenet_cli.report.document.review import ControlSample, ControlSegment, FilledReview, ReviewRow, ReviewSection
from avpenet_cli.report.modalities import modalities_of
from avpenet_cli.report.review_sample import ControlDraw
from avpenet_cli.stats.classes import class_of
from avpenet_cli.storage import atomic_write
from avpenet_cli.tables import escape_cell

COLUMNS = ["recording", "start_s", "end_s", "score", "reference", "difference", "modalities", "flags", "why"]
ANSWERS = ["verdict", "value", "comment"]
"""Columns of the file that a reviewer fills in."""
BLIND = "score not shown: write the pain you see, 0 to 10, into value"
"""Stands as the reason of a segment of the control sample."""

# Rows on the page and in report.json.
_ON_PAGE = 25
# Differences of decimal fractions miss a limit by a rounding error.
_ROUNDING_POINTS = 1e-9

RATED_CRITERION = (
    "Scored segments that lie outside the limits of agreement, beyond the accepted difference where one was given, or "
    "low on one side and high on the other; the largest differences first."
)
UNRATED_CRITERION = "Segments without a score, and scored segments flagged for thin evidence; the highest scores first."


def disagreements(
    rated: pd.DataFrame,
    loa: tuple[float, float],
    cut_points: tuple[float, float],
    limit_points: float | None,
) -> pd.DataFrame:
    """With ratings: segments outside the limits of agreement or the acceptance limit, or two classes apart.

    Args:
        rated: scored segments with a reference.
        loa: lower and upper limit of agreement, points; NaN: not known.
        cut_points: upper ends of the classes low and moderate, points.
        limit_points: acceptance limit, points; None without one.
    """
    difference = rated["score"].to_numpy() - rated["reference"].to_numpy()
    class_steps = np.abs(
        class_of(rated["score"].to_numpy(), cut_points) - class_of(rated["reference"].to_numpy(), cut_points)
    )
    outside = (difference < loa[0] - _ROUNDING_POINTS) | (difference > loa[1] + _ROUNDING_POINTS)
    beyond = np.abs(difference) > (np.inf if limit_points is None else limit_points + _ROUNDING_POINTS)
    reasons = (
        (outside, "outside the limits of agreement"),
        (beyond, "beyond the accepted difference"),
        (class_steps == 2, "two classes apart"),
    )
    why = np.full(len(rated), "", dtype=object)
    for applies, text in reasons:
        why[applies] = why[applies] + np.where(why[applies] == "", "", "; ") + text
    selected = rated.assign(difference=difference, why=why)[why != ""]
    selected = selected.assign(modalities=modalities_of(selected))
    order = np.lexsort((selected["start_s"], selected["recording"].astype(str), -selected["difference"].abs()))
    rows: pd.DataFrame = selected.iloc[order].reindex(columns=COLUMNS)
    return rows


def thin_evidence(segments: pd.DataFrame) -> pd.DataFrame:
    """Without ratings: segments without a score, and scored segments flagged for thin evidence."""
    flags = segments["flags"].fillna("").astype(str)
    reasons = {text: _thin(text.split()) for text in flags.unique()}
    unscorable = segments["status"] != "scored"
    why = np.where(unscorable, "no score: " + segments["reason"].fillna("").astype(str), flags.map(reasons))
    selected = segments.assign(why=why, difference=np.nan)
    selected = selected[selected["why"] != ""]
    selected = selected.assign(modalities=modalities_of(selected))
    order = np.lexsort((selected["start_s"], selected["recording"].astype(str), -selected["score"].fillna(-1)))
    return selected.iloc[order].reindex(columns=COLUMNS)


@dataclass(frozen=True)
class ReviewList:
    """The segments of a review.

    Attributes:
        targeted: rows with `COLUMNS`, the most telling first; labels are those of the table of segments.
        control: drawn from the scored segments of the same table.
        segments: the table: `recording`, `start_s`, `end_s`, `score`, `subject`.
    """

    targeted: pd.DataFrame
    control: ControlDraw
    segments: pd.DataFrame

    def rows(self) -> pd.DataFrame:
        """Rows of the file: the control sample in random order, then the targeted segments that are not in it.

        A reviewer who sees a score agrees with it too often, so the control sample has none, nor anything else that
        tells of it: not even whether the segment is targeted too. It comes first, before worse segments have set a
        standard.
        """
        drawn = self.segments.loc[self.control.rows]
        blind = pd.DataFrame({name: drawn[name] for name in ("recording", "start_s", "end_s")}).assign(
            score=np.nan, reference=np.nan, difference=np.nan, modalities="", flags="", why=BLIND
        )
        others = self.targeted[~self.targeted.index.isin(self.control.rows)]
        parts = [part.fillna({"flags": ""}).astype({"recording": str}) for part in (blind, others) if len(part)]
        return pd.concat(parts) if parts else self.targeted


def review_section(listed: ReviewList, criterion: str, filled: FilledReview | None = None) -> ReviewSection:
    """The control sample, and the first targeted rows, for the page and report.json."""
    control, targeted = listed.control, listed.targeted
    first = targeted.head(_ON_PAGE).astype({"recording": str})
    both = first.index.isin(control.rows).tolist()
    drawn = listed.segments.loc[control.rows]
    segments = tuple(
        ControlSegment(str(recording), float(start_s), float(end_s), "both" if label in targeted.index else "control")
        for label, recording, start_s, end_s in zip(
            drawn.index, drawn["recording"], drawn["start_s"], drawn["end_s"], strict=True
        )
    )
    return ReviewSection(
        criterion=criterion,
        total=len(targeted),
        rows=tuple(_review_row(row, is_both) for row, is_both in zip(first.to_dict("records"), both, strict=True)),
        control=ControlSample(control.population, control.probability, control.n_subjects, control.seed, segments),
        filled=filled,
    )


def _review_row(row: dict[Any, Any], both: bool) -> ReviewRow:
    def known(name: str) -> float | None:
        return None if pd.isna(row[name]) else float(row[name])

    return ReviewRow(
        recording=row["recording"],
        start_s=float(row["start_s"]),
        end_s=float(row["end_s"]),
        score=known("score"),
        reference=known("reference"),
        difference=known("difference"),
        modalities=str(row["modalities"]),
        flags="" if pd.isna(row["flags"]) else str(row["flags"]),
        why=str(row["why"]),
        sample="both" if both else "targeted",
    )


def _thin(flags: Iterable[str]) -> str:
    return ", ".join(flag for flag in flags if flag in THIN_EVIDENCE)


def write_review(path: Path, rows: pd.DataFrame, *, byte_order_mark: bool = False) -> None:
    """Write CSV atomically, readable by its owner only, with empty columns for the answers; text goes through
    `tables.escape_cell`."""
    text = [name for name in rows.columns if name in ("recording", "modalities", "flags", "why")]
    escaped = {name: rows[name].astype(str).map(escape_cell) for name in text} | dict.fromkeys(ANSWERS, "")
    csv = "\ufeff" * byte_order_mark + rows.assign(**escaped).to_csv(
        index=False, float_format="%.3f", lineterminator="\n"
    )
    with atomic_write(path) as file:
        file.write(csv.encode("utf-8", "surrogateescape"))
