"""Settings of the comparison system `deepfacelift`. Imports no torch."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from avpenet_cli.model.architecture import NetworkSettings

Positive = Annotated[float, Field(gt=0.0)]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


@dataclass(frozen=True, config=ConfigDict(extra="forbid", allow_inf_nan=False))
class DeepFaceLiftSettings(NetworkSettings):
    """Landmarks, and what is tried when learning; the fields from `penalty` on are filled by learning.

    Attributes:
        landmarks: `mtcnn` for five points, `mesh` for 65 points of MediaPipe's face mesh (the extra `mesh`).
        min_confidence: faces whose landmarks are less certain are left out where a segment has others.
        statistics_s: how much of a recording, from its first scored segment, its own statistics are taken from, s; None
            for all of it. With a limit, later segments do not change earlier scores.
        penalties, epsilons, gammas: values of C, of the half width of the tube without loss (points), and of the
            kernel's gamma times the number of inputs. All combinations are tried, and the best in validation is kept;
            without validation, the first of each.
        max_segments: segments to learn from; of more, so many are drawn with the seed. Time and memory grow with its
            square.
        penalty, epsilon, gamma: those kept; None before learning.
        n_support: number of support vectors.
        mesh_sha256: of the face mesh that the features were made with; another is refused.
    """

    landmarks: Literal["mtcnn", "mesh"] = "mtcnn"
    min_confidence: Annotated[float, Field(ge=0.0, le=1.0)] = 0.5
    statistics_s: Positive | None = None
    penalties: Annotated[tuple[Positive, ...], Field(min_length=1)] = (10.0, 1.0, 100.0)
    epsilons: Annotated[tuple[Positive, ...], Field(min_length=1)] = (0.1, 0.5)
    gammas: Annotated[tuple[Positive, ...], Field(min_length=1)] = (1.0, 0.3, 0.1)
    max_segments: Annotated[int, Field(ge=5, le=20_000)] = 4_000
    penalty: Positive | None = None
    epsilon: Positive | None = None
    gamma: Positive | None = None
    n_support: Annotated[int, Field(ge=0)] = 0
    mesh_sha256: Sha256 | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.may_be_missing:
            raise ValueError("may_be_missing: faces are the only input of deepfacelift")
        if self.mesh_sha256 is not None and self.landmarks != "mesh":
            raise ValueError("mesh_sha256 belongs to the landmarks `mesh`")
