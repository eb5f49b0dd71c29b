"""Which modalities made a score: audio and face, audio alone, or face alone."""

from __future__ import annotations

import pandas as pd

from avpenet_cli.records import Flag, Status
from avpenet_cli.report.document.data import ModalityCount

BOTH, AUDIO, FACE = "audio+face", "audio", "face"

_WITHOUT_FACE = {Flag.NO_FACE.value, Flag.NO_VIDEO.value}


def modalities_of(segments: pd.DataFrame) -> pd.Series[str]:
    """`audio+face`, `audio` or `face` for every scored segment; empty for the others and where it is not known.

    Tables without the column `modalities` (written by 0.1.0) say it by their flags.
    """
    flags = segments["flags"]
    by_flags = flags.map({text: _by_flags(text) for text in flags.dropna().unique()}).astype(object)
    stated = segments["modalities"].astype(object) if "modalities" in segments else by_flags
    known = stated.where(stated.notna() & (stated != ""), by_flags)
    return known.where(segments["status"] == Status.SCORED, "").fillna("").astype(str)


def _by_flags(text: str) -> str:
    flags = set(text.split())
    with_face, with_audio = not flags & _WITHOUT_FACE, Flag.NO_AUDIO.value not in flags
    if with_face and with_audio:
        return BOTH
    return FACE if with_face else AUDIO if with_audio else ""


def modality_counts(segments: pd.DataFrame) -> tuple[ModalityCount, ...]:
    """Number of scored segments by modalities, those that occur."""
    counts = modalities_of(segments[segments["status"] == Status.SCORED]).value_counts()
    total = int(counts.sum())
    return tuple(
        ModalityCount(name, int(counts[name]), int(counts[name]) / total)
        for name in (BOTH, AUDIO, FACE, "")
        if name in counts
    )
