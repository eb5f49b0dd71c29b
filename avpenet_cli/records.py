"""What travels between the rooms: recordings, segments, their quality, their scores."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum


class Status(StrEnum):
    """What became of a recording or a segment."""

    SCORED = "scored"
    UNSCORABLE = "unscorable"
    FAILED = "failed"


class Flag(StrEnum):
    """What a reader should know of a segment. `FLAG_MEANINGS` has their meanings."""

    NO_VIDEO = "no_video"
    VIDEO_GAP = "video_gap"
    NO_FACE = "no_face"
    LOW_FACE_RATE = "low_face_rate"
    LOW_CONFIDENCE = "low_confidence"
    SMALL_FACE = "small_face"
    SEVERAL_FACES = "several_faces"
    OTHER_FACE = "other_face"
    ROTATED = "rotated"
    NO_AUDIO = "no_audio"
    AUDIO_GAP = "audio_gap"
    SILENT = "silent"
    CLIPPED = "clipped"
    LOW_SNR = "low_snr"
    SHORT_TAIL = "short_tail"
    TRUNCATED = "truncated"
    DAMAGED = "damaged"


FLAG_MEANINGS: dict[Flag, str] = {
    Flag.NO_VIDEO: "the recording has no video stream, or none on screen in this segment",
    Flag.VIDEO_GAP: "the video stream covers only part of this segment; the rest counts as without a face",
    Flag.NO_FACE: "the patient's face was found in none of the frames",
    Flag.LOW_FACE_RATE: "the patient's face was found in under half of the frames",
    Flag.LOW_CONFIDENCE: "mean detector confidence under 0.85",
    Flag.SMALL_FACE: "the face is under 48 px wide; the network saw an enlargement",
    Flag.SEVERAL_FACES: "more than one face was on screen at once",
    Flag.OTHER_FACE: "a face that is not the patient's was on screen while the patient's was not",
    Flag.ROTATED: "the face was found only after turning the picture",
    Flag.NO_AUDIO: "no audio stream, or nothing of it in this segment",
    Flag.AUDIO_GAP: "the audio stream covers only part of this segment; the rest was taken as silence",
    Flag.SILENT: "level under -60 dBFS; a quiet patient, or a dead microphone",
    Flag.CLIPPED: "over 0.1 % of the samples at full scale",
    Flag.LOW_SNR: "signal-to-noise ratio under 5 dB",
    Flag.SHORT_TAIL: "the last window of the recording, padded to full length",
    Flag.TRUNCATED: "the recording decodes to less than its header promises, or its decoder broke off",
    Flag.DAMAGED: "the decoder reported damage in the recording; picture or sound may be distorted",
}


class Reason(StrEnum):
    """Why a segment has no score, or why seconds were lost. The docstring below a member is documentation."""

    NO_VIDEO = "no_video"
    """The recording has no video stream, or none on screen in this segment, and the weights cannot score without."""
    NO_FACE = "no_face"
    """The patient's face is in too few of the segment's frames (`quality.min_face_rate`)."""
    NO_AUDIO = "no_audio"
    """The audio stream covers too little of the segment (`quality.min_audio_rate`)."""
    TAIL = "tail_too_short"
    """Manifest only: the last seconds of a recording, too few to be padded (`quality.short_tail_share`)."""


@dataclass(frozen=True)
class Quality:
    """Evidence behind one segment. None where the stream it speaks of is absent.

    Attributes:
        face_rate: share of the segment's 30 frames with the patient's face, [0, 1].
        face_confidence: mean detector confidence of those, [0, 1].
        face_px: median width of the patient's face box in pixels of the source frame.
        faces: most faces on screen at once.
        voiced: share of the segment's voice-activity frames that are voiced, [0, 1].
        snr_db: level of the segment over the recording's noise floor, dB.
        level_dbfs: RMS level of the segment before any processing, dB re full scale.
    """

    face_rate: float | None = None
    face_confidence: float | None = None
    face_px: float | None = None
    faces: int | None = None
    voiced: float | None = None
    snr_db: float | None = None
    level_dbfs: float | None = None


@dataclass(frozen=True)
class SegmentScore:
    """One row of the score table. `score` is None exactly when `status` is unscorable."""

    segment: int
    start_s: float
    end_s: float
    status: Status
    quality: Quality
    score: float | None = None
    label: str = ""
    reason: str = ""
    score_sd: float | None = None
    score_lo: float | None = None
    score_hi: float | None = None
    flags: tuple[Flag, ...] = ()


@dataclass(frozen=True)
class Balance:
    """Where a recording's seconds went: nominal = scored + sum(unscorable) + undecodable."""

    nominal_s: float
    scored_s: float
    unscorable_s: dict[str, float] = field(default_factory=dict)
    undecodable_s: float = 0.0

    @property
    def unaccounted_s(self) -> float:
        """What the sum misses; a test and the manifest hold it under 0.1 s."""
        return self.nominal_s - self.scored_s - sum(self.unscorable_s.values()) - self.undecodable_s


@dataclass(frozen=True)
class RecordingOutcome:
    """What became of one recording.

    Attributes:
        reason: a stable word when `status` is failed, e.g. `empty_file`; else empty.
        message: the same in a sentence, with what to do.
        orientation_deg: clockwise turn of the picture under which the patient's face was found; None without a face.
        stage_s: seconds spent per stage (decode wait, detect, encode, ...).
    """

    status: Status
    segments: tuple[SegmentScore, ...] = ()
    balance: Balance | None = None
    reason: str = ""
    message: str = ""
    orientation_deg: int | None = None
    facts: dict[str, object] = field(default_factory=dict)
    stage_s: dict[str, float] = field(default_factory=dict)
