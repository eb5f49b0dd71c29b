"""The quality of the evidence behind a score, from the columns of a score table."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd

from avpenet_cli.records import Flag, Modalities, Status

FLAGGED = 0.5
"""Quality of evidence that a flag calls incomplete or distorted. The table states no share of it."""
AUDIO_FLAGS = frozenset({Flag.AUDIO_GAP, Flag.CLIPPED, Flag.DAMAGED})
"""`silent` and `low_snr` are not among them: a quiet patient has both."""


def qualities(segments: pd.DataFrame) -> npt.NDArray[np.float64]:
    """Quality of each segment's evidence.

    It is the lowest of what the table states about the modalities that made the score:

    - face: `face_rate` and `face_confidence`;
    - audio: 0.5 with the flag `audio_gap`, `clipped` or `damaged`, else 1.

    A modality that did not contribute lowers nothing: `modalities` tells that. Without that column, both count.

    Args:
        segments: rows of a score table, as in `Scores.segments`.

    Returns:
        (n,) float64 in [0, 1]; 0 for an unscorable segment, whose evidence was not enough for a score; NaN where the
        table has none of these columns.
    """
    count = len(segments)
    made_by = segments["modalities"].to_numpy(dtype=object)
    face = ~np.isin(made_by, [Modalities.AUDIO.value])
    audio = ~np.isin(made_by, [Modalities.FACE.value])
    quality = np.full(count, np.nan)
    for name in ("face_rate", "face_confidence"):
        stated = segments[name].to_numpy(dtype=np.float64)
        quality = np.fmin(quality, np.where(face, stated, np.nan))
    flags = segments["flags"]
    known = flags.notna().to_numpy(dtype=bool)
    share_of = {text: FLAGGED if _flagged(text) else 1.0 for text in flags.dropna().unique()}
    share = np.array([share_of.get(text, np.nan) for text in flags])
    quality = np.fmin(quality, np.where(audio & known, share, np.nan))
    quality = np.clip(quality, 0.0, 1.0)
    unscorable = (segments["status"] == Status.UNSCORABLE.value).to_numpy(dtype=bool)
    return np.where(unscorable, 0.0, quality)


def _flagged(text: str) -> bool:
    return not AUDIO_FLAGS.isdisjoint(text.split())
