"""What a segment's evidence is like: its flags and its quality."""

from __future__ import annotations

from typing import Any

from avpenet_cli.audio.segments import SegmentAudio
from avpenet_cli.pipeline.faces import FaceEvidence
from avpenet_cli.records import Flag, Quality
from avpenet_cli.settings import FRAME_STEP_S, WINDOW_S, QualitySettings

FULL_COVERAGE = 1 - 1.01 * FRAME_STEP_S / WINDOW_S
"""Share of a segment that a stream must cover: a shortfall of one step of the frame grid is rounding, more is a gap."""


def face_flags(face_evidence: FaceEvidence[Any] | None, limits: QualitySettings) -> set[Flag]:
    """Flags of a segment's frames and faces; `face_evidence` is None without a video stream."""
    if face_evidence is None or face_evidence.video_coverage == 0:
        return {Flag.NO_VIDEO}
    flags = set()
    if face_evidence.video_coverage < FULL_COVERAGE:
        flags.add(Flag.VIDEO_GAP)
    if face_evidence.rate == 0:
        flags.add(Flag.NO_FACE)
    elif face_evidence.rate < limits.low_face_rate:
        flags.add(Flag.LOW_FACE_RATE)
    if face_evidence.confidence is not None and face_evidence.confidence < limits.low_confidence:
        flags.add(Flag.LOW_CONFIDENCE)
    if face_evidence.width_px is not None and face_evidence.width_px < limits.small_face_px:
        flags.add(Flag.SMALL_FACE)
    if face_evidence.max_faces > 1:
        flags.add(Flag.SEVERAL_FACES)
    if face_evidence.non_patient_visible:
        flags.add(Flag.OTHER_FACE)
    if face_evidence.rotated:
        flags.add(Flag.ROTATED)
    return flags


def audio_flags(segment_audio: SegmentAudio | None, present: float, limits: QualitySettings) -> set[Flag]:
    """Flags of a segment's audio.

    Args:
        segment_audio: None without an audio stream.
        present: share of the segment that the audio stream covers, [0, 1].
        limits: from which on a flag is set.
    """
    if segment_audio is None or present == 0:
        return {Flag.NO_AUDIO}
    flags = set()
    if present < FULL_COVERAGE:
        flags.add(Flag.AUDIO_GAP)
    if segment_audio.level_dbfs is None or segment_audio.level_dbfs < limits.silent_dbfs:
        flags.add(Flag.SILENT)
    if segment_audio.clipped_share > limits.clipped_share:
        flags.add(Flag.CLIPPED)
    if segment_audio.snr_db is not None and segment_audio.snr_db < limits.low_snr_db:
        flags.add(Flag.LOW_SNR)
    return flags


def quality(face_evidence: FaceEvidence[Any] | None, segment_audio: SegmentAudio | None) -> Quality:
    """The quality columns of a segment; None for a stream that it lacks."""
    return Quality(
        face_rate=face_evidence.rate if face_evidence else None,
        face_confidence=face_evidence.confidence if face_evidence else None,
        face_px=face_evidence.width_px if face_evidence else None,
        faces=face_evidence.max_faces if face_evidence else None,
        voiced=segment_audio.voiced if segment_audio else None,
        snr_db=segment_audio.snr_db if segment_audio else None,
        level_dbfs=segment_audio.level_dbfs if segment_audio else None,
    )
