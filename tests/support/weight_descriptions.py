"""Weights descriptions for tests."""

from __future__ import annotations

from typing import Any

from avpenet_cli.weights import WeightsDescription


def make_description(name: str, **others: Any) -> WeightsDescription:
    """A description of demonstration weights, with `others` in place of the default fields."""
    defaults: dict[str, Any] = {
        "status": "demonstration",
        "intended_use": "tests",
        "not_intended_use": "anything else",
        "training_data": "none",
        "licence": "MIT",
        "created_with": "tests",
        "notice": "DEMONSTRATION weights, not for patients",
    }
    return WeightsDescription(name=name, **(defaults | others))
