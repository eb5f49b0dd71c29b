"""Features of a segment from the landmarks of its faces, and personal statistics of a recording."""

from __future__ import annotations

import torch
from torch import Tensor

from avpenet_cli.model.landmarks import LandmarkLayout

_LEAST_EYE_DISTANCE = 0.02
"""As a share of the crop. Landmarks with the eyes closer together are nonsense; this bounds what they give."""

STATISTICS = 5
"""Mean, standard deviation, least, largest, mean change per frame."""


def n_measures(layout: LandmarkLayout) -> int:
    """Number of measures of one face."""
    return 2 * len(layout.free) + len(layout.distances) + 3


def face_measures(points: Tensor, layout: LandmarkLayout) -> Tensor:
    """Measures of each face, F in all.

    Positions and distances refer to the midpoint of the eyes, with the eyes level, and are shares of the distance
    between the eyes; then come that distance and the midpoint as shares of the crop, which say where the detector's box
    lies about the face.

    Args:
        points: (..., K, 2) float, x and y as shares of the crop.
        layout: what they mean.

    Returns:
        (..., F) of the same type.
    """
    left, right = points[..., layout.left_eye, :].mean(-2), points[..., layout.right_eye, :].mean(-2)
    between, middle = right - left, (left + right) / 2
    length = torch.linalg.vector_norm(between, dim=-1, keepdim=True)
    across = between / length.clamp(min=_LEAST_EYE_DISTANCE)
    down = torch.stack([-across[..., 1], across[..., 0]], -1)
    relative = (points - middle[..., None, :]) / length.clamp(min=_LEAST_EYE_DISTANCE)[..., None]
    level = torch.stack([(relative * axis[..., None, :]).sum(-1) for axis in (across, down)], -1)
    measures = [level[..., layout.free, :].flatten(-2)]
    for distance in layout.distances:
        first, second = zip(*distance.pairs, strict=True)
        steps = level[..., second, :] - level[..., first, :]
        lengths = steps[..., 1] if distance.vertical else torch.linalg.vector_norm(steps, dim=-1)
        measures.append(lengths.mean(-1, keepdim=True))
    return torch.cat([*measures, length, middle], -1)


def segment_features(measures: Tensor, present: Tensor, places: Tensor | None) -> Tensor:
    """Statistics of each segment's faces: mean, standard deviation, least, largest, mean absolute change per frame.

    The change of each face from the one before is divided by the frames between them. The standard deviation and the
    change of a single face are 0.

    Args:
        measures: (B, T, F) float64.
        present: (B, T) bool, with at least one True per row; the others have no effect.
        places: (B, T) int64, index of each face among the segment's frames; None for 0 to T - 1.

    Returns:
        (B, 5 F) float64, all means first.
    """
    if places is None:
        places = torch.arange(measures.shape[1], device=measures.device).expand(measures.shape[:2])
    last = torch.iinfo(torch.int64).max
    order = torch.where(present, places, last).argsort(dim=1, stable=True)
    present, places = present.gather(1, order), places.gather(1, order)
    measures = torch.where(present[..., None], measures.gather(1, order[..., None].expand_as(measures)), 0.0)
    shown, count = present[..., None], present.sum(1, keepdim=True)
    mean = measures.sum(1) / count
    sd = (torch.where(shown, measures - mean[:, None], 0.0).square().sum(1) / count).sqrt()
    least = torch.where(shown, measures, torch.inf).amin(1)
    largest = torch.where(shown, measures, -torch.inf).amax(1)
    frames = (places[:, 1:] - places[:, :-1]).clamp(min=1)
    steps = (measures[:, 1:] - measures[:, :-1]).abs() / frames[..., None]
    change = torch.where(shown[:, 1:], steps, 0.0).sum(1) / (count - 1).clamp(min=1)
    return torch.cat([mean, sd, least, largest, change], 1)


def own_statistics(features: Tensor, starts_s: Tensor, statistics_s: float | None) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of one recording's features, without any rating.

    Args:
        features: (S, E) float64, S at least 1.
        starts_s: (S,) float64, ascending.
        statistics_s: how much of the recording counts, from its first segment; None for all.

    Returns:
        (E,) and (E,) float64.
    """
    if statistics_s is not None:
        features = features[starts_s < starts_s[0] + statistics_s]
    return features.mean(0), features.std(0, unbiased=False)


def personal_features(features: Tensor, starts_s: Tensor, within_sd: Tensor, statistics_s: float | None) -> Tensor:
    """A recording's segments as they differ from its own statistics, as they are, and those statistics.

    Args:
        features: (S, E) float64, from `segment_features`.
        starts_s, statistics_s: as `own_statistics`.
        within_sd: (E,) float64, by which the differences are divided.

    Returns:
        (S, 2 E + 2 F) float64; of the statistics, only those of the segments' means are included.
    """
    mean, sd = own_statistics(features, starts_s, statistics_s)
    f = features.shape[1] // STATISTICS
    own = torch.cat([mean[:f], sd[:f]]).expand(len(features), -1)
    return torch.cat([(features - mean) / within_sd, features, own], 1)
