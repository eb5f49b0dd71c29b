"""What is charted of each patient: scores, evidence and, with ratings, accuracy."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pandas as pd

from avpenet_cli.records import THIN_EVIDENCE, Flag, Status


@dataclass(frozen=True)
class Measure:
    """A number of each patient and period: the mean over the segments that have it.

    Attributes:
        name: in the JSON file; a column of the score table where it is one's mean.
        label: in words.
        unit: `points`, `dB`, ...; `%` for a share, which is kept as 0 to 1.
        bounds: smallest and largest possible value.
        of_weights: whether it comes from the network, so that other weights are not comparable.
        meaning: one sentence.
    """

    name: str
    label: str
    unit: str
    bounds: tuple[float, float]
    of_weights: bool
    meaning: str

    @property
    def is_share(self) -> bool:
        """Whether it is shown in percent."""
        return self.unit == "%"


_SHARE = (0.0, 1.0)
_ANY = (-math.inf, math.inf)

MEASURES: tuple[Measure, ...] = (
    Measure("score", "score", "points", (0.0, 10.0), True, "Mean score."),
    Measure("score_sd", "spread of Monte Carlo samples", "points", (0.0, math.inf), True, "How unsure the network is."),
    Measure("unscorable", "segments without a score", "%", _SHARE, False, "Share of the segments that are unscorable."),
    Measure(
        "thin_evidence", "thin evidence", "%", _SHARE, False, "Share of the segments with a flag of poor evidence."
    ),
    Measure("abstained", "abstentions", "%", _SHARE, True, "Share of the segments for which the calibration abstains."),
    Measure("without_face", "no face", "%", _SHARE, False, "Share of the segments without video or without a face."),
    Measure("without_audio", "no audio", "%", _SHARE, False, "Share of the segments that are silent or without audio."),
    Measure("face_rate", "frames with the face", "%", _SHARE, False, "Share of the frames with the patient's face."),
    Measure("face_confidence", "confidence of the face", "", _SHARE, False, "Confidence of the face detector, 0 to 1."),
    Measure("face_px", "width of the face", "px", (0.0, math.inf), False, "Width of the face in the recording."),
    Measure("voiced", "voiced time", "%", _SHARE, False, "Share of the time with voice or a similar sound."),
    Measure("snr_db", "level over the noise", "dB", _ANY, False, "Level over the recording's own noise floor."),
    Measure("level_dbfs", "audio level", "dBFS", (-math.inf, 0.0), False, "Level before noise reduction."),
    Measure(
        "novelty",
        "distance of the embeddings",
        "",
        (0.0, math.inf),
        True,
        "Distance of the patient's mean embedding to those of the three most similar baseline patients.",
    ),
    Measure("bias", "score minus rating", "points", (-10.0, 10.0), True, "Mean of score minus rating."),
    Measure(
        "calibrated_bias",
        "calibrated score minus rating",
        "points",
        (-10.0, 10.0),
        True,
        "Mean of calibrated score minus rating.",
    ),
    Measure("coverage", "ratings within the interval", "%", _SHARE, True, "Share of the ratings within the intervals."),
)
INDEX = {measure.name: place for place, measure in enumerate(MEASURES)}

_MEANS = ("score", "score_sd", "face_rate", "face_confidence", "face_px", "voiced", "snr_db", "level_dbfs")
_FLAGS = {
    "thin_evidence": THIN_EVIDENCE,
    "without_face": frozenset({Flag.NO_VIDEO, Flag.NO_FACE}),
    "without_audio": frozenset({Flag.NO_AUDIO, Flag.SILENT}),
}


def segment_measures(segments: pd.DataFrame) -> pd.DataFrame:
    """The measures of each segment that the score table and the ratings give; all columns of `MEASURES`.

    Args:
        segments: as `study.pairing.pair` returns them, with `reference`; `calibrated`, `interval_lo`,
            `interval_hi` and `abstained` where the table has them.

    Returns:
        On the same index, float64, NaN where there is none.
    """
    columns = {name: segments[name].to_numpy(dtype=np.float64) for name in _MEANS}
    columns["unscorable"] = (segments["status"] != Status.SCORED.value).to_numpy(dtype=np.float64)
    codes, texts = pd.factorize(segments["flags"].fillna(""))
    for name, flags in _FLAGS.items():
        has = np.array([not flags.isdisjoint(str(text).split()) for text in texts], dtype=np.float64)
        columns[name] = has[codes]
    nothing = np.full(len(segments), np.nan)
    columns["abstained"] = segments["abstained"].to_numpy(dtype=np.float64) if "abstained" in segments else nothing
    reference = segments["reference"].to_numpy(dtype=np.float64)
    columns["bias"] = columns["score"] - reference
    has_calibrated = "calibrated" in segments
    columns["calibrated_bias"] = (
        segments["calibrated"].to_numpy(dtype=np.float64) - reference if has_calibrated else nothing
    )
    if {"interval_lo", "interval_hi"} <= set(segments.columns):
        low, high = (segments[name].to_numpy(dtype=np.float64) for name in ("interval_lo", "interval_hi"))
        known = np.isfinite(low) & np.isfinite(high) & np.isfinite(reference)
        columns["coverage"] = np.where(known, (low <= reference) & (reference <= high), np.nan)
    else:
        columns["coverage"] = nothing
    columns["novelty"] = nothing
    return pd.DataFrame({measure.name: columns[measure.name] for measure in MEASURES}, index=segments.index)
