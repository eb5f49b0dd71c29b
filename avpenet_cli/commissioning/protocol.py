"""The commissioning protocol: installation, operation and constancy, as `avpenet phantom check --out` writes it."""

from __future__ import annotations

from dataclasses import dataclass

from avpenet_cli.commissioning.baseline import Verdict
from avpenet_cli.commissioning.phantoms import ScoredPhantom

PROTOCOL_VERSION = 2
"""1 had other names under `constancy`: `compared_with`, `found`, `with_software`, `with_device`, `largest_movement`."""


@dataclass(frozen=True)
class CheckedWeights:
    """The weights; `verified` says how."""

    name: str
    digest: str
    verified: str
    status: str
    notice: str


@dataclass(frozen=True)
class CheckedPhantoms:
    """The phantoms, without their folder's path, which describes a machine and its user.

    Attributes:
        listed: whether any baseline lists these files.
        altered: how they differ from the listed ones.
    """

    folder: str
    files_sha256: dict[str, str]
    listed: bool
    altered: list[str]


@dataclass(frozen=True)
class Installation:
    """What was checked."""

    software: dict[str, str]
    device: str
    weights: CheckedWeights
    phantoms: CheckedPhantoms


@dataclass(frozen=True)
class Operation:
    """One recording as it was scored.

    Attributes:
        seconds: nominal length.
        face_rate: share of the frames with the patient's face, [0, 1]; None without video.
        wall_s, wall_s_per_s: wall-clock time, and wall-clock time per second of recording.
        scores: scores of the segments, points; None for an unscorable segment.
    """

    recording: str
    status: str
    message: str
    seconds: float
    segments: int
    scored: int
    unscorable: int
    face_rate: float | None
    wall_s: float
    wall_s_per_s: float | None
    scores: list[float | None]

    @classmethod
    def of(cls, phantom: ScoredPhantom) -> Operation:
        """The operation part of one scored phantom."""
        outcome = phantom.outcome
        seconds = outcome.balance.nominal_s if outcome.balance else 0.0
        unscorable = sum(1 for score in phantom.scores if score is None)
        return cls(
            recording=phantom.name,
            status=outcome.status.value,
            message=outcome.message,
            seconds=round(seconds, 3),
            segments=len(phantom.scores),
            scored=len(phantom.scores) - unscorable,
            unscorable=unscorable,
            face_rate=None if phantom.face_rate is None else round(phantom.face_rate, 3),
            wall_s=round(phantom.wall_s, 2),
            wall_s_per_s=round(phantom.wall_s / seconds, 2) if seconds else None,
            scores=list(phantom.scores),
        )


@dataclass(frozen=True)
class TruthErrors:
    """Errors against the simulated pain, points, over `n_pairs` segments."""

    mae: float | None = None
    bias: float | None = None
    n_pairs: int = 0


@dataclass(frozen=True)
class RecordingConstancy:
    """One recording compared with the baseline and with the simulated pain.

    Attributes:
        largest_change: largest absolute change of a segment's score, points; None where none can be compared.
        problem: why the scores are not constant; empty where they are.
        mae, bias, n_pairs: against the simulated pain, for information.
    """

    recording: str
    largest_change: float | None
    problem: str
    mae: float | None
    bias: float | None
    n_pairs: int


@dataclass(frozen=True)
class Constancy:
    """Comparison with the baseline; its name, date, software and device are empty where there is none."""

    baseline: str
    baseline_date: str
    baseline_software: dict[str, str]
    baseline_device: str
    tolerance_points: float
    recordings: list[RecordingConstancy]


@dataclass(frozen=True)
class Protocol:
    """The whole protocol.

    Attributes:
        made: ISO 8601, local time with its offset.
        reasons: reasons against a pass.
    """

    protocol_version: int
    made: str
    installation: Installation
    operation: list[Operation]
    constancy: Constancy
    verdict: Verdict
    reasons: list[str]
