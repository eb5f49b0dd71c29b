"""A description for weights that only a test uses."""

from __future__ import annotations

from typing import Any

from avpenet_cli.weights import WeightsDescription


def described(name: str, **others: Any) -> WeightsDescription:
    """Demonstration weights, but for what is said otherwise."""
    usual: dict[str, Any] = {
        "status": "demonstration",
        "intended_use": "tests",
        "not_intended_use": "anything else",
        "training_data": "none",
        "licence": "MIT",
        "created_with": "tests",
        "notice": "DEMONSTRATION weights, not for patients",
    }
    return WeightsDescription(name=name, **(usual | others))
