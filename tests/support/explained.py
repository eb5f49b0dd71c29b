"""Explained segments: what the network was given is real, maps and checks are made up in their true shapes."""

from __future__ import annotations

import base64
import re
from dataclasses import replace

import cv2
import numpy as np
import numpy.typing as npt

from avpenet_cli.explanation.explained import (
    Attention,
    DeletionCurve,
    ExplainedSegment,
    Facts,
    ModalityShares,
    Saliency,
    SanityCheck,
    SegmentInputs,
)
from avpenet_cli.records import Modalities

_EDGE_PX = 3
_IMAGE = re.compile(r"data:image/png;base64,([A-Za-z0-9+/=\s]+)")


def explained(inputs: SegmentInputs) -> ExplainedSegment:
    """A segment with audio and faces, all panels of its figure, and one check of each outcome."""
    rng = np.random.default_rng(5)
    n_faces = len(inputs.crops)
    shown = (n_faces - 1, 0, n_faces // 2, n_faces // 3)
    audio_weights: npt.NDArray[np.float64] = rng.uniform(0.5, 2.0, (10,))
    face_weights: npt.NDArray[np.float64] = rng.uniform(0.5, 2.0, (n_faces,))
    curves = tuple(
        DeletionCurve(
            name,
            (0.0, 0.05, 0.15, 0.4),
            (8.0, 5.0, 3.0, 2.0),
            (8.0, 7.5, 6.9, 5.5),
            (8.0, 7.2, 6.0, 4.1),
            (8.0, 7.9, 7.6, 6.8),
            1.0,
            4.1,
            (1.2, 1.4, 1.3),
            True,
        )
        for name in ("audio", "face")
    )
    checks = tuple(
        SanityCheck(
            name, modality, None if (name, modality) == ("repetition", "face") else True, 0.1, 0.5, "A sentence."
        )
        for modality in ("audio", "face")
        for name in ("randomisation", "deletion", "repetition")
    )
    return ExplainedSegment(
        inputs,
        Attention(
            (audio_weights / audio_weights.sum()).astype(np.float32),
            (face_weights / face_weights.sum()).astype(np.float32),
            rng.uniform(0, 0.8, (n_faces, 7, 7)).astype(np.float32),
        ),
        Saliency(
            rng.normal(0, 0.1, (8, 20)).astype(np.float32),
            rng.normal(0, 0.1, (len(shown), 8, 8)).astype(np.float32),
            shown,
        ),
        ModalityShares(0.6, 4.9, (inputs.record.score or 0.0) - 5.5, 3),
        Facts(440.0, (400.0, 520.0), 0.7, -23.0, audio_reason="", face_reason="the face mesh is not installed"),
        checks,
        curves,
    )


def without_faces(segment: ExplainedSegment) -> ExplainedSegment:
    """The same segment, scored by its audio alone."""
    reason = "only audio made this score"
    record = replace(segment.inputs.record, modalities=Modalities.AUDIO)
    none = segment.inputs.crops[:0, :0, :0]
    return replace(
        segment,
        inputs=replace(segment.inputs, record=record, crops=none, places=segment.inputs.places[:0]),
        attention=Attention(reason=reason, spatial_reason=reason),
        saliency=replace(segment.saliency, faces=None, shown=(), reason=reason),
        shares=ModalityShares(reason=reason),
        checks=segment.checks[:3],
        curves=segment.curves[:1],
    )


def without_audio(segment: ExplainedSegment) -> ExplainedSegment:
    """The same segment, scored by its faces alone."""
    reason = "only the face made this score"
    record = replace(segment.inputs.record, modalities=Modalities.FACE)
    return replace(
        segment,
        inputs=replace(segment.inputs, record=record, mel=None, waveform=None),
        attention=Attention(spatial=segment.attention.spatial, reason=reason),
        saliency=replace(segment.saliency, audio=None, reason=reason),
        shares=ModalityShares(reason=reason),
        checks=segment.checks[3:],
        curves=segment.curves[1:],
    )


def with_flat_maps(segment: ExplainedSegment) -> ExplainedSegment:
    """The same segment with maps of the face that are the same everywhere: only a face could give an image detail."""
    assert segment.attention.spatial is not None and segment.saliency.faces is not None
    return replace(
        segment,
        attention=replace(segment.attention, spatial=np.ones_like(segment.attention.spatial)),
        saliency=replace(segment.saliency, faces=np.zeros_like(segment.saliency.faces)),
    )


def drawn_faces(text: str) -> list[npt.NDArray[np.uint8]]:
    """The images of faces in an SVG or a page, the only square ones, without their edges."""
    images = []
    for data in _IMAGE.findall(text):
        image = cv2.imdecode(np.frombuffer(base64.b64decode(data), np.uint8), cv2.IMREAD_COLOR)
        if image is not None and image.shape[0] > 100 and abs(image.shape[0] - image.shape[1]) <= 2:
            # SVG counts from below.
            images.append(image[::-1][_EDGE_PX:-_EDGE_PX, _EDGE_PX:-_EDGE_PX].astype(np.uint8))
    return images


def number_of_colours(image: npt.NDArray[np.uint8]) -> int:
    """Different colours of an image."""
    return len(np.unique(image.reshape(-1, image.shape[-1]), axis=0))
