"""Records that the packages exchange: recordings, segments, their quality and scores."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

CREATION_TIME = "creation_time"
"""In `RecordingOutcome.facts`: when the recording was made according to its container, ISO 8601, or empty."""


class Status(StrEnum):
    """Outcome of a recording or a segment."""

    SCORED = "scored"
    UNSCORABLE = "unscorable"
    FAILED = "failed"


class Flag(StrEnum):
    """What a reader of the score table should know about a segment."""

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
    AUDIO_CORRECTED = "audio_corrected"
    SHORT_TAIL = "short_tail"
    TRUNCATED = "truncated"
    DAMAGED = "damaged"
    UNREADABLE_STREAM = "unreadable_stream"
    PIXEL_ASPECT = "pixel_aspect"


THIN_EVIDENCE: frozenset[Flag] = frozenset(
    {
        Flag.VIDEO_GAP,
        Flag.LOW_FACE_RATE,
        Flag.LOW_CONFIDENCE,
        Flag.SMALL_FACE,
        Flag.SEVERAL_FACES,
        Flag.OTHER_FACE,
        Flag.AUDIO_GAP,
        Flag.SILENT,
        Flag.CLIPPED,
        Flag.LOW_SNR,
        Flag.DAMAGED,
    }
)
"""Flags of segments whose evidence was poor or incomplete."""

FLAG_MEANINGS: dict[Flag, str] = {
    Flag.NO_VIDEO: "the recording has no video stream, or no frame in this segment",
    Flag.VIDEO_GAP: "the video stream covers only part of this segment; the rest counts as frames without a face",
    Flag.NO_FACE: "the patient's face was found in no frame",
    Flag.LOW_FACE_RATE: "the patient's face was found in less than half of the frames",
    Flag.LOW_CONFIDENCE: "mean detector confidence under 0.85",
    Flag.SMALL_FACE: "the face is less than 48 px wide and was enlarged for the network",
    Flag.SEVERAL_FACES: "more than one face was visible at once",
    Flag.OTHER_FACE: "another face was visible while the patient's was not",
    Flag.ROTATED: "the face was found only after the frame was rotated",
    Flag.NO_AUDIO: "the recording has no audio stream, or no audio in this segment",
    Flag.AUDIO_GAP: "the audio stream covers only part of this segment; the rest counts as silence",
    Flag.SILENT: "level under -60 dBFS; a quiet patient, or a dead microphone",
    Flag.CLIPPED: "more than 0.1 % of the samples are at full scale",
    Flag.LOW_SNR: "signal-to-noise ratio under 5 dB",
    Flag.AUDIO_CORRECTED: "the recording's audio was corrected: inverted or empty channels, a DC offset, or jittering "
    "timestamps; the log and the manifest say which",
    Flag.SHORT_TAIL: "the recording's last window, padded to full length",
    Flag.TRUNCATED: "the recording is shorter than its header states, or its decoder stopped early",
    Flag.DAMAGED: "the decoder reported damage; video or audio may be distorted",
    Flag.UNREADABLE_STREAM: "the recording has a video or an audio track, but it cannot be read; the message says why",
    Flag.PIXEL_ASPECT: "the header states pixels over four times as wide as high, or the reverse; taken as square",
}


class Reason(StrEnum):
    """Why a segment has no score, or why seconds are not covered by one."""

    NO_VIDEO = "no_video"
    """The recording has no video stream, or none on screen in this segment, and the weights or `--require` ask for a
    face."""
    NO_FACE = "no_face"
    """The patient's face is in too few of the segment's frames (`quality.min_face_rate`)."""
    NO_AUDIO = "no_audio"
    """The audio stream covers too little of the segment (`quality.min_audio_rate`)."""
    TAIL = "tail_too_short"
    """Manifest only: the last seconds of a recording, too few to be padded (`quality.short_tail_share`)."""


@dataclass(frozen=True)
class Quality:
    """Evidence behind one segment; None where the stream it describes is absent.

    Attributes:
        face_rate: share of the segment's 30 frames with the patient's face, [0, 1].
        face_confidence: mean detector confidence of those, [0, 1].
        face_px: median width of the patient's face box in pixels of the source frame.
        faces: largest number of faces visible at once.
        voiced: share of the segment's voice-activity frames that are voiced, [0, 1].
        snr_db: level of the segment over the recording's noise floor, dB.
        level_dbfs: RMS level of the segment before noise reduction, dB re full scale.
    """

    face_rate: float | None = None
    face_confidence: float | None = None
    face_px: float | None = None
    faces: int | None = None
    voiced: float | None = None
    snr_db: float | None = None
    level_dbfs: float | None = None


class Modalities(StrEnum):
    """Which modalities made a score."""

    BOTH = "audio+face"
    AUDIO = "audio"
    FACE = "face"

    @classmethod
    def of(cls, audio: bool, face: bool) -> Modalities:
        """The modalities that the network was given; at least one."""
        return cls.BOTH if audio and face else cls.AUDIO if audio else cls.FACE


@dataclass(frozen=True)
class SegmentScore:
    """One row of the score table. `score` is None exactly when `status` is unscorable.

    Attributes:
        modalities: what made the score, a value of `Modalities`; empty where there is no score.
    """

    segment: int
    start_s: float
    end_s: float
    status: Status
    quality: Quality
    score: float | None = None
    label: str = ""
    reason: str = ""
    modalities: str = ""
    score_sd: float | None = None
    score_lo: float | None = None
    score_hi: float | None = None
    flags: tuple[Flag, ...] = ()


@dataclass(frozen=True)
class Balance:
    """Balance of a recording's seconds: nominal = scored + sum(unscorable by reason) + undecodable."""

    nominal_s: float
    scored_s: float
    unscorable_s: dict[str, float] = field(default_factory=dict)
    undecodable_s: float = 0.0

    @property
    def unaccounted_s(self) -> float:
        """Seconds that the balance does not explain; under 0.1 s."""
        return self.nominal_s - self.scored_s - sum(self.unscorable_s.values()) - self.undecodable_s


@dataclass(frozen=True)
class RecordingOutcome:
    """Outcome of one recording.

    Attributes:
        reason: a stable word when `status` is failed, e.g. `empty_file`; else empty.
        message: the same in a sentence, with what to do; also decoder errors of a recording that was scored.
        orientation_deg: clockwise rotation under which the patient's face was found; None without a face.
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
