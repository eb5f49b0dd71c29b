"""The parts of an explanation, from what the network was given to what the page shows."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from avpenet_cli.records import SegmentScore

Float32 = npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class SegmentInputs:
    """What the network was given of one segment.

    Attributes:
        record: the segment's row in the score table.
        mel: (128, 300) float32 in [0, 1], low frequencies first; None where no audio made the score.
        waveform: (48000,) float32, denoised, 16 kHz; None like `mel`.
        crops: (n, crop_px, crop_px, 3) uint8 RGB, aligned, in time order; n is 0 where no face made the score. With
            pooling by image, the one mean crop of each track, float32 in [0, 255].
        places: (n,) int64, index of each crop among the segment's 30 frames; of mean crops, that of the middle frame.
        counts: (n,) int64, with pooling by image: frames behind each mean crop, by which embeddings are averaged.
    """

    record: SegmentScore
    mel: Float32 | None
    waveform: Float32 | None
    crops: npt.NDArray[np.uint8] | Float32
    places: npt.NDArray[np.int64]
    counts: npt.NDArray[np.int64] | None = None


@dataclass(frozen=True, eq=False)
class Attention:
    """Weights of attention; each is None where the network has none, or one that cannot vary.

    Attributes:
        audio: (Ta,) float32, sums to 1: what the faces attend to in the audio, mean over heads and faces.
        faces: (n,) float32, sums to 1: what the audio attends to in the faces, mean over heads and audio tokens.
        spatial: (n, h, w) float32 in [0, 1]: spatial attention of the visual encoder on each crop.
        reason: why `audio` and `faces` are None.
        spatial_reason: why `spatial` is None.
    """

    audio: Float32 | None = None
    faces: Float32 | None = None
    spatial: Float32 | None = None
    reason: str = ""
    spatial_reason: str = ""


@dataclass(frozen=True, eq=False)
class Saliency:
    """How far the score depends on each part of the input: the score minus the score with that part blanked, points.

    Attributes:
        audio: (rows, columns) float32, cells of frequency, lowest first, and time; positive where the cell raises the
            score; None without.
        faces: (k, rows, columns) float32, cells of each crop `shown`, as if every frame showed it; None without.
        shown: indices of these crops, those with the most attention first; without attention, spread over the segment.
        reason: why there is none of audio or faces, or of both.
    """

    audio: Float32 | None = None
    faces: Float32 | None = None
    shown: tuple[int, ...] = ()
    reason: str = ""


@dataclass(frozen=True)
class ModalityShares:
    """Shapley values of the two modalities against the recording's lowest-scoring segments, points (Shapley 1953).

    score = quiet + audio + face, exactly. Every number is NaN where not computed.

    Attributes:
        quiet: score with both modalities replaced by those of lowest-scoring segments, mean over these.
        audio: what the audio adds.
        face: what the face adds.
        n_quiet: number of lowest-scoring segments.
        reason: why it was not computed.
        quiet_lowest: lowest score of these segments.
        quiet_highest: highest score of these segments.
        audio_replaced: score with the audio alone replaced by that of these segments, mean over these.
        face_replaced: score with the face alone replaced by that of these segments, mean over these.
    """

    quiet: float = float("nan")
    audio: float = float("nan")
    face: float = float("nan")
    n_quiet: int = 0
    reason: str = ""
    quiet_lowest: float = float("nan")
    quiet_highest: float = float("nan")
    audio_replaced: float = float("nan")
    face_replaced: float = float("nan")


@dataclass(frozen=True)
class Facts:
    """What was measured beside the network's view; None where it cannot be measured.

    Attributes:
        f0_hz: median fundamental frequency of the voiced frames.
        f0_range_hz: their 10th and 90th percentiles.
        voiced_share: share of the frames with a fundamental frequency, [0, 1].
        level_dbfs: of the segment before noise reduction.
        brow: distance of the brows from the eyes, relative, median over the crops.
        eyes: opening of the lids over the eyes' width, median over the crops.
        mouth: opening of the lips over the mouth's width, median over the crops.
        audio_reason: why nothing was measured of the audio.
        face_reason: why nothing was measured of the face.
    """

    f0_hz: float | None = None
    f0_range_hz: tuple[float, float] | None = None
    voiced_share: float | None = None
    level_dbfs: float | None = None
    brow: float | None = None
    eyes: float | None = None
    mouth: float | None = None
    audio_reason: str = ""
    face_reason: str = ""


@dataclass(frozen=True)
class DeletionCurve:
    """The score as the most salient cells of an input are blanked, and as random ones are.

    Attributes:
        modality: `audio` or `face`.
        share: (m,) share of the cells that is blanked, from 0.
        score: (m,) points, most salient first.
        random: (m,) points, mean over random orders.
        random_low: (m,) points, lowest of the random orders.
        random_high: (m,) points, highest of the random orders.
        blank: score with all of it blanked, points.
        area: mean over `share` of how far the score moves towards `blank`, points; negative where it moves away.
        random_area: (r,) the same of each random order.
        passed: the area is larger than that of every random order.
    """

    modality: str
    share: tuple[float, ...]
    score: tuple[float, ...]
    random: tuple[float, ...]
    random_low: tuple[float, ...]
    random_high: tuple[float, ...]
    blank: float
    area: float
    random_area: tuple[float, ...]
    passed: bool


@dataclass(frozen=True)
class SanityCheck:
    """One check of a map.

    Attributes:
        name: `randomisation`, `deletion` or `repetition`.
        modality: `audio` or `face`.
        passed: None where it could not be made.
        value: what was computed; its meaning is in `text`.
        limit: what it was compared with.
        text: one sentence for the page.
    """

    name: str
    modality: str
    passed: bool | None
    value: float
    limit: float
    text: str


@dataclass(frozen=True, eq=False)
class ExplainedSegment:
    """One segment with everything that explains it."""

    inputs: SegmentInputs
    attention: Attention
    saliency: Saliency
    shares: ModalityShares
    facts: Facts
    checks: tuple[SanityCheck, ...] = ()
    curves: tuple[DeletionCurve, ...] = ()


@dataclass(frozen=True, eq=False)
class Explanation:
    """The explanation of chosen segments of one recording.

    Attributes:
        recording: its name for the page.
        weights: name, digest and status, as in the score table's column `weights`.
        status: of the weights: `demonstration`, `untrained`, `imported`, `research` or `validated`.
        network: name in the registry.
        chosen: how the segments were chosen, in words.
        scores: all segments of the recording, in order.
        segments: those explained, in time order; see `unexplained` for chosen ones that have no score.
        unexplained: (segment, reason) of chosen segments without a score.
        quiet: numbers of the lowest-scoring segments that any of them was compared with.
        settings: what the maps were computed with, for `explain.json`.
        software: versions.
        created: ISO 8601, UTC.
        notices: what a reader has to know, plain text.
        faces: how faces are drawn, a `FaceStyle`.
    """

    recording: str
    weights: str
    status: str
    network: str
    chosen: str
    scores: tuple[SegmentScore, ...]
    segments: tuple[ExplainedSegment, ...]
    unexplained: tuple[tuple[int, str], ...]
    quiet: tuple[int, ...]
    settings: dict[str, object] = field(default_factory=dict)
    software: dict[str, str] = field(default_factory=dict)
    created: str = ""
    notices: tuple[str, ...] = ()
    faces: str = "shown"
