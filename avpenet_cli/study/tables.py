"""All tables of a report together, and what they say about the weights."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from avpenet_cli.study.pack import Pack, PackFile
from avpenet_cli.study.ratings import Events, Ratings
from avpenet_cli.study.score_tables import Scores, described_identity, weights_identity
from avpenet_cli.study.subjects import Subjects


@dataclass(frozen=True)
class Inputs:
    """All tables of a report; `other` are score tables of the same segments by other weights, `pack` the sample that
    was rated, and `pack_file` where it comes from."""

    scores: Scores
    ratings: Ratings | None = None
    subjects: Subjects | None = None
    events: Events | None = None
    other: Scores | None = None
    pack: Pack | None = None
    pack_file: PackFile | None = None

    @property
    def notices(self) -> tuple[str, ...]:
        """What was merged, or matched in spite of its spelling, in every table."""
        tables = (self.ratings, self.subjects, self.events, self.other)
        return tuple(notice for table in tables if table is not None for notice in table.notices)


def match_tables(
    scores: Scores,
    ratings: Ratings | None = None,
    subjects: Subjects | None = None,
    events: Events | None = None,
    other: Scores | None = None,
) -> Inputs:
    """Bring all tables to the score tables' spelling of the recordings' names.

    Raises:
        SettingsError: several recordings could be meant by a name; rows of different spellings contradict each other.
    """
    names = list(dict.fromkeys(_recordings(scores)))
    return Inputs(
        scores,
        ratings and ratings.matched_to(names),
        subjects and subjects.matched_to(names),
        events and events.matched_to(names),
        other and other.matched_to(names),
    )


def _recordings(scores: Scores) -> Iterator[str]:
    """Recordings of the tables, then those of which only the manifests tell: they failed."""
    yield from map(str, scores.segments["recording"].cat.categories)
    for source in scores.sources:
        for entry in (source.manifest or {}).get("recordings", ()):
            yield str(entry["recording"])


@dataclass(frozen=True)
class WeightsSummary:
    """The weights that made a score table, as its manifest describes them; texts are empty where nothing is stated.

    Attributes:
        mark: as in the score table: name, start of the digest, status.
        name: of the weights.
        digest: SHA-256, hexadecimal; its first 12 characters without a manifest.
        cut_points: upper ends of the classes low and moderate, points.
        status: untrained, demonstration, ...
        notice: must be shown with every score.
        intended_use: what the weights are for.
        not_intended_use: what they are not for.
        training_data: what they were trained on.
        licence: of the weights.
    """

    mark: str
    name: str
    digest: str
    cut_points: tuple[float, float]
    status: str
    notice: str
    intended_use: str
    not_intended_use: str
    training_data: str
    licence: str


def summarise_weights(scores: Scores) -> WeightsSummary:
    """What the first manifest of these weights says about them."""
    identity = weights_identity(scores.weights)
    name, _, digest = identity.rpartition("@")
    described: dict[str, Any] = {}
    for source in scores.sources:
        candidate = (source.manifest or {}).get("weights", {})
        # A manifest of other weights that was left in the folder does not describe these.
        if described_identity(candidate) == identity:
            described = candidate
            break

    def text(key: str) -> str:
        return str(described.get(key, ""))

    return WeightsSummary(
        mark=scores.weights,
        name=described.get("name", name),
        digest=described.get("digest", digest),
        cut_points=scores.cut_points,
        status=text("status"),
        notice=text("notice"),
        intended_use=text("intended_use"),
        not_intended_use=text("not_intended_use"),
        training_data=text("training_data"),
        licence=text("licence"),
    )
