"""Rows of the table: a figure with its interval, the goal, and what earlier weights had."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

from avpenet_cli.report.estimates import Style, format_estimate
from avpenet_cli.stats.estimate import Estimate, to_json

Relation = Literal["at least", "below", "within"]
COLUMNS = ("measure", "figure", "goal", "met", "earlier weights", "units", "notes")


@dataclass(frozen=True)
class Goal:
    """What a figure should be.

    Attributes:
        relation: `at least` and `below` compare the figure itself, `within` its distance from 0.
        limit: in the figure's unit.
        earlier: the figure of the weights with the digest 5d1577f5401d, as text.
    """

    relation: Relation
    limit: float
    earlier: str

    def met(self, value: float) -> bool:
        """Whether a figure meets the goal. NaN does not."""
        if self.relation == "at least":
            return value >= self.limit
        return (value if self.relation == "below" else abs(value)) <= self.limit

    def __str__(self) -> str:
        return f"{self.relation} {self.limit:g}"


@dataclass(frozen=True)
class Row:
    """One row.

    Attributes:
        measure: what was measured.
        figure: with a 95 % interval where there is one.
        units: how many people, devices or files it rests on.
        style: how to print the figure.
        goal: None for figures that explain others.
        notes: what to know, such as recordings without a score.
    """

    measure: str
    figure: Estimate
    units: str
    style: Style = "points"
    goal: Goal | None = None
    notes: str = ""

    def to_dict(self) -> dict[str, Any]:
        """JSON types; `met` is null without a goal."""
        goal = self.goal
        return {
            "measure": self.measure,
            "figure": to_json(self.figure),
            "text": str(format_estimate(self.figure, self.style)),
            "goal": str(goal) if goal else "",
            "met": goal.met(self.figure.value) if goal else None,
            "earlier": goal.earlier if goal else "",
            "units": self.units,
            "notes": self.notes,
        }


def cells(rows: Iterable[dict[str, Any]]) -> list[tuple[str, ...]]:
    """Rows of `Row.to_dict` as the texts of `COLUMNS`."""
    met = {None: "", True: "yes", False: "no"}
    return [
        (row["measure"], row["text"], row["goal"], met[row["met"]], row["earlier"], row["units"], row["notes"])
        for row in rows
    ]
