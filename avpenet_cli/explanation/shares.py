"""Which modality moved the score: Shapley values of audio and face against the recording's lowest-scoring ones.

A modality is absent where that of a lowest-scoring segment stands in its place: the network is never asked about inputs
that no recording has. With two modalities the Shapley value (Shapley 1953; for predictions Lundberg and Lee 2017) is
the mean of what a modality adds to such a segment and of what it adds to the other modality. "Quiet" in names means
lowest-scoring, not silent.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from avpenet_cli.explanation.explained import ModalityShares
from avpenet_cli.explanation.scorer import SegmentNetwork
from avpenet_cli.records import Modalities, SegmentScore
from avpenet_cli.scoring.network import SegmentTokens

QUIET_SHARE = 0.1
"""Compared with is this share of a recording's segments with both modalities, those with the lowest scores, ..."""
MIN_QUIET = 3
"""... but at least so many, ..."""
MAX_QUIET = 60
"""... and at most so many, which bounds the time that an hour takes."""
MIN_BELOW = 1.0
"""Points by which the highest of them must be below the explained segment: where a recording scores high throughout,
so do its lowest-scoring segments, and a difference from these says little of what made the score."""


def quiet_segments(records: Sequence[SegmentScore], explained: SegmentScore) -> tuple[SegmentScore, ...]:
    """The segments that one segment is compared with, the lowest score first; of equal scores the earlier one first.

    Args:
        records: all segments of the recording.
        explained: the segment; itself and segments that overlap it are left out.

    Returns:
        At least `MIN_QUIET`, or none where there are not as many.
    """
    others = [
        record
        for record in records
        if record.score is not None
        and record.modalities == Modalities.BOTH
        and (record.end_s <= explained.start_s or record.start_s >= explained.end_s)
    ]
    if len(others) < MIN_QUIET:
        return ()
    count = min(max(MIN_QUIET, math.ceil(QUIET_SHARE * len(others))), MAX_QUIET)
    return tuple(sorted(others, key=lambda record: (record.score, record.segment))[:count])


@torch.no_grad()
def modality_shares(
    network: SegmentNetwork,
    tokens: tuple[Tensor | None, Tensor | None, Tensor | None],
    quiet: Sequence[SegmentScore],
    tokens_of: Callable[[int], SegmentTokens],
) -> ModalityShares:
    """Shapley values of audio and face for one segment: score = quiet + audio + face.

    Args:
        network: with the other segments of the recording, where it takes them.
        tokens: of the explained segment, from `SegmentNetwork.tokens`.
        quiet: from `quiet_segments`.
        tokens_of: encoder outputs of a segment by its number.
    """
    audio, faces, places = tokens
    if len(network.network.modalities) == 1:
        return ModalityShares(reason="the network takes one modality: the whole score is its own")
    if audio is None or faces is None:
        made = "the face" if audio is None else "audio"
        return ModalityShares(reason=f"only {made} made this score: there is no other modality to compare with")
    if len(quiet) < MIN_QUIET:
        return ModalityShares(
            reason=f"the recording has fewer than {MIN_QUIET} other segments with audio and a face to compare with"
        )
    score = float(network.score(audio, faces, places))
    scores = [record.score for record in quiet if record.score is not None]
    if score - max(scores) < MIN_BELOW:
        return ModalityShares(
            reason=f"the {len(quiet)} lowest-scoring segments to compare with score {min(scores):.2f} to "
            f"{max(scores):.2f}, not all at least {MIN_BELOW:g} point below this one"
        )
    neither, audio_alone, face_alone = [], [], []
    for record in quiet:
        kept = tokens_of(record.segment)
        assert kept.audio is not None
        assert kept.faces is not None
        quiet_audio, quiet_faces = (
            torch.tensor(part, device=network.device)[None] for part in (kept.audio, kept.faces)
        )
        quiet_places = None if kept.places is None else torch.tensor(kept.places, device=network.device)[None]
        neither.append(network.score(quiet_audio, quiet_faces, quiet_places))
        audio_alone.append(network.score(audio, quiet_faces, quiet_places))
        face_alone.append(network.score(quiet_audio, faces, places))
    nothing, by_audio, by_face = (float(torch.cat(part).double().mean()) for part in (neither, audio_alone, face_alone))
    return ModalityShares(
        quiet=nothing,
        audio=((by_audio - nothing) + (score - by_face)) / 2,
        face=((by_face - nothing) + (score - by_audio)) / 2,
        n_quiet=len(quiet),
        quiet_lowest=min(scores),
        quiet_highest=max(scores),
        audio_replaced=by_face,
        face_replaced=by_audio,
    )
