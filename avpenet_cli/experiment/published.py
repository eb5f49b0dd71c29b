"""The paper's figures and claims, from `published.toml`."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from typing import Any, Literal

from avpenet_cli.experiment.descriptions import ClaimKind, PublishedFigure
from avpenet_cli.stats.estimate import NAN

_METRICS = ("mae", "pearson", "icc_a1", "accuracy", "bias", "lower_limit", "upper_limit")


@dataclass(frozen=True)
class Claim:
    """A claim about two systems.

    Attributes:
        name: short, unique.
        statement: the claim.
        origin: `paper`, or `this project` where the paper does not claim it.
        kind: better: the first's MAE is smaller; matches: both are the same within a margin.
        first, second: names of the systems that may stand for either; the first of them that an experiment has does.
    """

    name: str
    statement: str
    origin: Literal["paper", "this project"]
    kind: ClaimKind
    first: tuple[str, ...]
    second: tuple[str, ...]


@lru_cache(maxsize=1)
def published_figures() -> tuple[PublishedFigure, ...]:
    """Every figure for every system that corresponds to the paper's."""
    content = _content()
    return tuple(
        PublishedFigure(system, metric, *_with_interval(entry[metric]), entry["label"], content["source"])
        for entry in content["figures"]
        for system in entry["systems"]
        for metric in _METRICS
        if metric in entry
    )


@lru_cache(maxsize=1)
def claims() -> tuple[Claim, ...]:
    """Every claim, in the order in which they are shown."""
    return tuple(
        Claim(**entry | {"first": tuple(entry["first"]), "second": tuple(entry["second"])})
        for entry in _content()["claims"]
    )


def _content() -> dict[str, Any]:
    return tomllib.loads(resources.files(__package__).joinpath("published.toml").read_text(encoding="utf-8"))


def _with_interval(numbers: list[float]) -> tuple[float, float, float]:
    value, *interval = numbers
    low, high = interval or (NAN, NAN)
    return value, low, high
