"""Tables of embeddings whose truth is known, for networks that are fitted to such tables."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from avpenet_cli.model.network import FeatureTable

EMBEDDING = 512
STEP_S = 3.0


def make_table(
    seed: int = 0,
    subjects: int = 60,
    segments: int = 50,
    memory_s: float = 40.0,
    noise: float = 0.8,
    bias: float = 0.0,
    validation: float = 0.2,
    test: float = 0.2,
) -> FeatureTable:
    """Recordings, one a subject, of rows as `CorrectedNetwork.embed` gives them.

    Args:
        seed: of everything.
        subjects: of which the last are for validation and before them those for testing (neither column set).
        segments: of each recording, 3 s apart.
        memory_s: correlation time of the true pain, 0 for white noise; its spread is the same.
        noise: standard deviation of the base's error in each segment, as a logit.
        bias: standard deviation of the base's error in all of a subject's segments, as a logit.
        validation: share of the subjects.
        test: share of the subjects.
    """
    rng = np.random.default_rng(seed)
    keep = np.exp(-STEP_S / memory_s) if memory_s else 0.0
    true_logit = np.empty((subjects, segments))
    true_logit[:, 0] = rng.standard_normal(subjects)
    for i in range(1, segments):
        true_logit[:, i] = keep * true_logit[:, i - 1] + np.sqrt(1 - keep**2) * rng.standard_normal(subjects)
    true_logit = 1.2 * true_logit - 0.5
    error = noise * rng.standard_normal((subjects, segments)) + bias * rng.standard_normal((subjects, 1))
    base_logit = (true_logit + error).ravel()
    features = np.concatenate(
        [
            _embeddings(base_logit, np.repeat(rng.standard_normal((subjects, 6)), segments, axis=0), rng),
            _points(base_logit)[:, None],
            np.ones((subjects * segments, 2)),
        ],
        axis=1,
    ).astype(np.float32)
    subject = np.repeat(np.arange(subjects), segments)
    return FeatureTable(
        features=features,
        starts_s=np.tile(np.arange(segments) * STEP_S, subjects),
        recording=subject,
        subject=subject,
        truth=_points(true_logit).ravel(),
        train=subject < round(subjects * (1 - validation - test)),
        validation=subject >= round(subjects * (1 - validation)),
    )


def _points(logit: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return 10.0 / (1.0 + np.exp(-logit))


def _embeddings(
    logit: npt.NDArray[np.float64], person: npt.NDArray[np.float64], rng: np.random.Generator
) -> npt.NDArray[np.float64]:
    """(n, 512): the logit, who it is and what else happens, mixed, with noise; normalised as by a LayerNorm."""
    latent = np.concatenate([logit[:, None], person, rng.standard_normal((len(logit), 20))], axis=1)
    mixed = latent @ rng.standard_normal((latent.shape[1], EMBEDDING)) + rng.standard_normal((len(logit), EMBEDDING))
    return np.asarray((mixed - mixed.mean(axis=1, keepdims=True)) / mixed.std(axis=1, keepdims=True))
