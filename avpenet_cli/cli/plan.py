"""`avpenet report --plan`: the plan as a table and sentences."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING

from avpenet_cli.errors import SettingsError

if TYPE_CHECKING:
    from avpenet_cli.report.study_plan import PlanRow, StudyPlan

_WIDTH = 100
_HEADS = (
    "SD",
    "ICC",
    "segments per subject",
    "subjects",
    "segments in all",
    "95 % CI of a limit",
    "independent segments",
)


@dataclass(frozen=True)
class PlanOptions:
    """Options that only a plan has; None where not given."""

    sd: float | None
    bias: float | None
    icc: float | None
    segments: int | None
    power: float | None
    pilot: Path | None

    def refuse(self) -> None:
        """Raise if an option was given, for a report that is no plan.

        Raises:
            SettingsError: one was.
        """
        for option in fields(self):
            if getattr(self, option.name) is not None:
                raise SettingsError(f"--{option.name} without --plan", "add --plan, or leave it out")


def plan_lines(limit_points: float | None, options: PlanOptions) -> list[str]:
    """The plan, line by line.

    Raises:
        SettingsError: no limit, a value out of its range, or a pilot's report that cannot be used.
    """
    if limit_points is None:
        raise SettingsError("--plan without --limit", "give the acceptance limit, in points")

    from avpenet_cli.report.study_plan import PlanSettings, plan_study

    given = {option.name: getattr(options, option.name) for option in fields(options)}
    settings = PlanSettings(limit_points, **{name: value for name, value in given.items() if value is not None})
    plan = plan_study(settings)
    return [
        f"Subjects for limits of agreement within +-{settings.limit_points:g} points",
        "",
        *_wrapped(plan.assumptions),
        "",
        f"Subjects for {plan.expected} with a chance of {100 * settings.power:g} %:",
        "",
        *_table(plan),
        "",
        *_wrapped(plan.conclusions),
    ]


def _wrapped(sentences: Iterable[str]) -> list[str]:
    return [line for text in sentences for line in textwrap.wrap(text, _WIDTH)]


def _table(plan: StudyPlan) -> list[str]:
    rows = [_HEADS, *(_cells(row) for row in plan.rows)]
    widths = [max(len(cells[place]) for cells in rows) for place in range(len(_HEADS))]
    return ["  ".join(cell.rjust(width) for cell, width in zip(cells, widths, strict=True)).rstrip() for cells in rows]


def _cells(row: PlanRow) -> tuple[str, ...]:
    icc = "any" if row.segments == 1 else f"{row.spread.icc:.2f}"
    design = (f"{row.spread.sd:.2f}", icc, str(row.segments))
    if row.subjects is None:
        return (*design, "none" if row.beyond else "over 10000", "", "", "")
    return (
        *design,
        str(row.subjects),
        str(row.subjects * row.segments),
        f"+-{row.half_width:.2f}",
        f"{row.independent_segments:.0f}",
    )
