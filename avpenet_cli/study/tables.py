"""All tables of a report together, and what they say of the weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from avpenet_cli.study.ratings import Events, Ratings, Subjects
from avpenet_cli.study.score_tables import Scores


@dataclass(frozen=True)
class Inputs:
    """All tables of a report."""

    scores: Scores
    ratings: Ratings | None = None
    subjects: Subjects | None = None
    events: Events | None = None
    other: Scores | None = None


_WEIGHTS = ("status", "notice", "intended_use", "not_intended_use", "training_data", "licence")


def described_weights(scores: Scores) -> dict[str, Any]:
    """Name, digest and what they are for; empty where no manifest of these weights says so."""
    name, _, rest = scores.weights.partition("@")
    shown = f"{name}@{rest.partition(' ')[0]}"
    said: dict[str, Any] = {}
    for one in scores.sources:
        described = (one.manifest or {}).get("weights", {})
        # A manifest of other weights, left beside a table, says nothing of these.
        if f"{described.get('name')}@{str(described.get('digest'))[:12]}" == shown:
            said = described
            break
    return {
        "mark": scores.weights,
        "name": said.get("name", name),
        "digest": said.get("digest", rest.partition(" ")[0]),
        "cut_points": list(scores.cut_points),
    } | {key: str(said.get(key, "")) for key in _WEIGHTS}
