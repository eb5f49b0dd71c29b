"""`explain.json`: what was explained, how, and every figure that the page shows, as frozen dataclasses.

`avpenet_cli.stats.estimate.to_json` turns them into JSON types: NaN becomes null. Scores and what is computed of them
are points of the 0-10 scale.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from avpenet_cli.explanation.explained import (
    Attention,
    DeletionCurve,
    ExplainedSegment,
    Explanation,
    Facts,
    Float32,
    ModalityShares,
    Saliency,
    SanityCheck,
)
from avpenet_cli.records import SegmentScore

EXPLAIN_VERSION = 1
"""Version of explain.json; raised with every change of the dataclasses in this module and of those it uses."""


@dataclass(frozen=True)
class SegmentRow:
    """A segment of the recording, as in the score table.

    Attributes:
        segment: number, from 0.
        start_s: seconds from the beginning of the recording.
        end_s: seconds from the beginning of the recording.
        score: points; None where there is none.
        label: `low`, `moderate` or `high`.
        modalities: what made the score: `audio+face`, `audio` or `face`.
        reason: why there is no score.
        flags: what a reader of the score should know.
    """

    segment: int
    start_s: float
    end_s: float
    score: float | None
    label: str
    modalities: str
    reason: str
    flags: tuple[str, ...]

    @classmethod
    def of(cls, record: SegmentScore) -> SegmentRow:
        """The row of a segment."""
        return cls(
            record.segment,
            record.start_s,
            record.end_s,
            record.score,
            record.label,
            record.modalities,
            record.reason,
            tuple(flag.value for flag in record.flags),
        )


@dataclass(frozen=True)
class Unexplained:
    """A segment that was asked for and has no score.

    Attributes:
        segment: its number.
        reason: why it has no score.
    """

    segment: int
    reason: str


@dataclass(frozen=True)
class AttentionWeights:
    """Weights of attention between audio and faces.

    Attributes:
        audio: what the faces attend to, for equal parts of the segment in order of time, with a sum of 1; None without.
        faces: what the audio attends to, for each face, with a sum of 1; None without.
        places: index of each face among the segment's 30 frames.
        reason: why one or both are None.
        spatial_reason: why the figure shows no attention within the faces.
    """

    audio: tuple[float, ...] | None
    faces: tuple[float, ...] | None
    places: tuple[int, ...]
    reason: str
    spatial_reason: str


@dataclass(frozen=True)
class SaliencyMaps:
    """The maps: the score minus the score with one cell of the input blanked, points.

    Attributes:
        audio: rows of cells, lowest frequencies first, each in order of time; None without a map.
        faces: for each face shown, rows of cells from the top, each from the left.
        shown: indices of these faces among those of the segment.
        reason: why there is no map of audio, faces or both.
    """

    audio: tuple[tuple[float, ...], ...] | None
    faces: tuple[tuple[tuple[float, ...], ...], ...]
    shown: tuple[int, ...]
    reason: str


@dataclass(frozen=True)
class SegmentExplanation:
    """What explains one segment.

    Attributes:
        segment: its number; its score stands among `scores`.
        attention: of the network.
        saliency: of the score.
        shares: what each modality adds to the score.
        facts: measured without the network.
        checks: of the maps.
        curves: of deletion.
        figures: names of its files.
    """

    segment: int
    attention: AttentionWeights
    saliency: SaliencyMaps
    shares: ModalityShares
    facts: Facts
    checks: tuple[SanityCheck, ...]
    curves: tuple[DeletionCurve, ...]
    figures: tuple[str, ...]


@dataclass(frozen=True)
class ExplainRecord:
    """The content of explain.json.

    Attributes:
        version: of the format.
        notices: what must be read before any map.
        created: ISO 8601, UTC.
        recording: name of the recording, or words in its place where faces are not shown as they are.
        weights: name, digest and status, as in the score table.
        status: of the weights.
        network: its name in the registry.
        chosen: how the segments were chosen.
        faces: how faces are drawn: `shown`, `blurred`, `landmarks` or `none`.
        settings: of scoring and of the maps.
        quiet: numbers of the segments that shares compare with.
        scores: all segments of the recording.
        segments: those explained.
        unexplained: those chosen that have no score.
        files: SHA-256 of the other files, by name.
        software: versions.
    """

    version: int
    notices: tuple[str, ...]
    created: str
    recording: str
    weights: str
    status: str
    network: str
    chosen: str
    faces: str
    settings: dict[str, object]
    quiet: tuple[int, ...]
    scores: tuple[SegmentRow, ...]
    segments: tuple[SegmentExplanation, ...]
    unexplained: tuple[Unexplained, ...]
    files: dict[str, str]
    software: dict[str, str]


def segment_record(segment: ExplainedSegment, figures: tuple[str, ...]) -> SegmentExplanation:
    """The record of a segment, made while its maps are there."""
    return SegmentExplanation(
        segment=segment.inputs.record.segment,
        attention=_attention(segment.attention, segment.inputs.places),
        saliency=_saliency(segment.saliency),
        shares=segment.shares,
        facts=segment.facts,
        checks=segment.checks,
        curves=segment.curves,
        figures=figures,
    )


def explain_record(
    explanation: Explanation, segments: tuple[SegmentExplanation, ...], files: dict[str, str]
) -> ExplainRecord:
    """The record of an explanation.

    Args:
        explanation: all of it; of its segments only their records are taken.
        segments: these.
        files: SHA-256 of the other files, by name.
    """
    return ExplainRecord(
        version=EXPLAIN_VERSION,
        notices=explanation.notices,
        created=explanation.created,
        recording=explanation.recording,
        weights=explanation.weights,
        status=explanation.status,
        network=explanation.network,
        chosen=explanation.chosen,
        faces=explanation.faces,
        settings=explanation.settings,
        quiet=explanation.quiet,
        scores=tuple(SegmentRow.of(record) for record in explanation.scores),
        segments=segments,
        unexplained=tuple(Unexplained(segment, reason) for segment, reason in explanation.unexplained),
        files=files,
        software=explanation.software,
    )


def _attention(attention: Attention, places: np.ndarray) -> AttentionWeights:
    audio, faces = (
        None if weights is None else tuple(round(float(weight), 5) for weight in weights)
        for weights in (attention.audio, attention.faces)
    )
    return AttentionWeights(audio, faces, tuple(places.tolist()), attention.reason, attention.spatial_reason)


def _saliency(saliency: Saliency) -> SaliencyMaps:
    return SaliencyMaps(
        audio=None if saliency.audio is None else _rows(saliency.audio),
        faces=() if saliency.faces is None else tuple(_rows(face) for face in saliency.faces),
        shown=saliency.shown,
        reason=saliency.reason,
    )


def _rows(cells: Float32) -> tuple[tuple[float, ...], ...]:
    return tuple(tuple(round(float(value), 5) for value in row) for row in cells)
