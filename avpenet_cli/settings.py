"""Settings that can change a result, as frozen dataclasses with the unit in the field's name.

There are two kinds:

- `Preprocessing` (`AudioSettings` and `FaceSettings`) is what a network was trained with. It is part of the weights'
  description; scoring reads it from there and it cannot be overridden.
- `RunSettings` (with `QualitySettings` and `DecodingSettings`) is how a site wants to run. It comes from the command
  line and from `--config FILE.toml`.

Values out of range are rejected with the range, never clamped.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BeforeValidator, ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from avpenet_cli.errors import SettingsError
from avpenet_cli.textfiles import parse_toml

_STRICT = ConfigDict(extra="forbid")

T = TypeVar("T")
Share = Annotated[float, Field(ge=0.0, le=1.0)]
Positive = Annotated[float, Field(gt=0.0)]
Count = Annotated[int, Field(ge=1)]
Precision = Literal["float32", "bfloat16", "int8"]

WINDOW_S = 3.0
"""Length of a segment, s (paper, section Data)."""

FRAME_STEP_S = 0.1
"""Step of the frame grid, s: frame i of a segment is the one displayed at t0 + (i + 0.5) * FRAME_STEP_S."""

MAX_HOLD_S = 1.0
"""A frame displayed for longer is a frozen image, s: no evidence of what the patient does."""

FRAMES_PER_WINDOW = round(WINDOW_S / FRAME_STEP_S)
"""30 of the paper's 90 frames a segment."""


@dataclass(frozen=True, config=_STRICT)
class AudioSettings:
    """Algorithm 1 of the paper: native-rate waveform -> (128, 300) log-mel in [0, 1]."""

    denoise: Literal["quietest-frames", "first-frames", "noisereduce", "none"] = "quietest-frames"
    """How the noise is learnt that is subtracted."""
    noise_frames: Count = 20
    """For `first-frames`, the rule of the authors' code: this many STFT frames from the start are noise."""
    quiet_share: Annotated[float, Field(gt=0.0, le=0.5)] = 0.1
    """For `quietest-frames`: this share of the recording's STFT frames, the quietest, is noise."""
    over_subtraction: Annotated[float, Field(ge=0.0, le=10.0)] = 1.0
    """Times the noise spectrum that is subtracted."""
    spectral_floor: Share = 0.1
    """At least this share of each spectral magnitude stays."""
    denoise_fft_samples: Count = 400
    """STFT length of the noise reduction, samples of the recording."""
    denoise_hop_samples: Count = 160
    """STFT hop of the noise reduction, samples of the recording."""
    sample_rate_hz: Count = 16_000
    """After resampling."""
    fft_samples: Count = 400
    """STFT length of the spectrogram, samples at `sample_rate_hz`."""
    hop_samples: Count = 160
    """STFT hop of the spectrogram, samples at `sample_rate_hz`."""
    mel_bands: Count = 128
    """Rows of the log-mel spectrogram."""
    mel_low_hz: Annotated[float, Field(ge=0.0)] = 50.0
    """Lower edge of the lowest mel band."""
    mel_high_hz: Positive = 8_000.0
    """Upper edge of the highest mel band; at most half the sample rate."""
    log_offset: Positive = 1e-6
    """Added before the logarithm."""
    vad_frame_samples: Count = 512
    """Frame of the voice activity detection, samples."""
    vad_hop_samples: Count = 160
    """Hop of the voice activity detection, samples."""
    vad_energy: Positive = 0.02
    """A voiced frame has more energy than this, sum of squares."""
    vad_flatness: Share = 0.5
    """A voiced frame has less spectral flatness than this."""

    @property
    def mel_frames(self) -> int:
        """300 for a 3-s segment at 16 kHz and a hop of 160."""
        return round(WINDOW_S * self.sample_rate_hz / self.hop_samples)


@dataclass(frozen=True, config=_STRICT)
class FaceSettings:
    """Algorithm 2 of the paper: frame -> aligned (224, 224, 3) face."""

    detect_long_side_px: Annotated[int, Field(ge=64, le=4096)] = 480
    """Detection runs on a copy reduced to this long side; smaller frames are not enlarged."""
    min_face_px: Annotated[int, Field(ge=12, le=1000)] = 24
    """Smallest face to detect, in pixels of the reduced copy."""
    stage_thresholds: tuple[Share, Share, Share] = (0.6, 0.7, 0.7)
    """Confidence that each of MTCNN's three stages asks for."""
    pyramid_factor: Annotated[float, Field(ge=0.3, le=0.95)] = 0.709
    """Ratio of neighbouring sizes in MTCNN's image pyramid."""
    min_confidence: Share = 0.7
    """Detections below this confidence are dropped."""
    box_margin: Annotated[float, Field(ge=0.0, le=2.0)] = 0.2
    """The face box is enlarged by this share of its width and height, half of it on each side."""
    align: bool = True
    """Rotate about the midpoint of the eyes so that they are level."""
    landmarks: Literal["mtcnn", "dlib68"] = "mtcnn"
    """MTCNN's five points, or dlib's 68 (optional extra, not for commercial use)."""
    crop_px: Annotated[int, Field(ge=32, le=1024)] = 224
    """Side of the aligned face."""
    pixel_mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    """Subtracted from red, green and blue in [0, 1]; ImageNet."""
    pixel_std: tuple[Positive, Positive, Positive] = (0.229, 0.224, 0.225)
    """Divides red, green and blue after that; ImageNet."""
    rotations_deg: tuple[Literal[0, 90, 180, 270], ...] = (0, 90, 180, 270)
    """Clockwise rotations of the frame that detection tries, the first one first."""


@dataclass(frozen=True, config=_STRICT)
class Preprocessing:
    """Preprocessing that a network was trained with; part of its weights' description."""

    audio: AudioSettings = Field(default_factory=AudioSettings)
    face: FaceSettings = Field(default_factory=FaceSettings)


@dataclass(frozen=True, config=_STRICT)
class QualitySettings:
    """When a segment is flagged, and when there is too little evidence for a score."""

    min_face_rate: Share = 0.2
    """Below this share of the segment's frames with the patient's face: unscorable."""
    min_audio_rate: Share = 0.2
    """Below this share of the segment covered by the audio stream: unscorable."""
    low_face_rate: Share = 0.5
    """Below this share of frames with the face: flag `low_face_rate`."""
    low_confidence: Share = 0.85
    """Below this mean detector confidence: flag `low_confidence`."""
    low_snr_db: float = 5.0
    """Below this signal-to-noise ratio: flag `low_snr`."""
    silent_dbfs: Annotated[float, Field(le=0.0)] = -60.0
    """Below this level: flag `silent`."""
    clipped_share: Share = 0.001
    """Above this share of clipped samples: flag `clipped`."""
    full_scale: Share = 0.999
    """Samples of at least this magnitude count as clipped; 1 is full scale."""
    small_face_px: Annotated[int, Field(ge=0)] = 48
    """Below this face width in pixels of the recording: flag `small_face`."""
    short_tail_share: Share = 0.5
    """A last window with at least this share of its length is padded and scored; a shorter one is dropped."""


@dataclass(frozen=True, config=_STRICT)
class DecodingSettings:
    """How recordings are read."""

    backend: Literal["auto", "ffmpeg", "decord"] = "auto"
    """`auto` is ffmpeg; decord reads plain files only."""
    video_track: Annotated[int, Field(ge=0)] | None = None
    """Which video stream to read, counted from 0 among those that are no cover image; if left out, the one marked
    default, else the first that can be decoded."""
    audio_track: Annotated[int, Field(ge=0)] | None = None
    """Which audio stream to read, counted from 0; if left out, the one marked default, else the first that can be
    decoded."""
    stall_s: Positive = 60.0
    """A decoder that delivers nothing for this long is stopped."""
    probe_timeout_s: Positive = 60.0
    """Reading a header may take this long."""
    queue_frames: Annotated[int, Field(ge=1, le=256)] = 12
    """Frames decoded ahead of detection."""
    threads: Annotated[int, Field(ge=0, le=64)] = 0
    """Threads of the video decoder; 0 lets it choose. One costs the least processor time."""


_MAX_WORKERS = 1024


def _check_workers(value: object) -> object:
    whole = isinstance(value, int) and not isinstance(value, bool)
    if value != "auto" and not (whole and 1 <= int(str(value)) <= _MAX_WORKERS):
        raise ValueError(f"must be auto or a number from 1 to {_MAX_WORKERS}")
    return value


@dataclass(frozen=True, config=_STRICT)
class RunSettings:
    """How a run scores. All of it is in the manifest; what can change results is in the fingerprint."""

    stride_s: Annotated[float, Field(gt=0.0, le=WINDOW_S)] = WINDOW_S
    """Seconds from one segment start to the next, a multiple of 0.1 s."""
    require: tuple[Literal["audio", "face"], ...] = ()
    """A segment without one of these is unscorable, even where the weights can do without it."""
    mc_samples: Annotated[int, Field(ge=0, le=10_000)] = 0
    """Monte Carlo dropout samples per segment for `score_sd`, `score_lo`, `score_hi`; none if 0."""
    seed: Annotated[int, Field(ge=0)] = 42
    """Of the Monte Carlo dropout samples."""
    precision: Literal["auto", "float32", "bfloat16", "int8"] = "float32"
    """Arithmetic of the encoders. `auto` is bfloat16 where the processor computes in it, which is faster and changes
    scores by less than 0.1, else float32; it is resolved before a run, so no output mixes the two. `int8` is for the
    faces, on a CPU, and never taken unasked."""
    device: str = "auto"
    """`auto` (a GPU where there is one), `cpu`, `cuda` or `cuda:N`."""
    batch_size: Annotated[int, Field(ge=1, le=4096)] = 32
    """Faces encoded together; changes speed and memory, not scores."""
    workers: Annotated[int | Literal["auto"], BeforeValidator(_check_workers)] = 1
    """Recordings scored at the same time: on a CPU each in a process of its own, on a GPU in threads of one process;
    `auto` takes what cores and free memory allow. Changes speed and memory, not scores."""
    quality: QualitySettings = Field(default_factory=QualitySettings)
    decoding: DecodingSettings = Field(default_factory=DecodingSettings)

    def __post_init__(self) -> None:
        steps = self.stride_s / FRAME_STEP_S
        if abs(steps - round(steps)) > 1e-6:
            raise ValueError(f"stride_s must be a multiple of {FRAME_STEP_S} s, the frame grid; got {self.stride_s}")

    @property
    def stride_frames(self) -> int:
        """The stride in steps of the frame grid, 1 to 30."""
        return round(self.stride_s / FRAME_STEP_S)


RESULTS_VERSION = 3
"""Incremented whenever a change to the program changes scores, so that no table mixes the two."""

_NOT_IN_FINGERPRINT = {
    "device",
    "batch_size",
    "workers",
    "decoding.stall_s",
    "decoding.probe_timeout_s",
    "decoding.queue_frames",
    "decoding.threads",
}
"""Settings that change speed or timeouts, not scores."""
_OF_SAMPLES_ONLY = {"mc_samples", "seed"}
"""Settings that change the columns of Monte Carlo samples only."""


def to_dict(settings: Any) -> dict[str, Any]:
    """A settings dataclass as JSON-ready nested dictionaries."""
    plain: dict[str, Any] = TypeAdapter(type(settings)).dump_python(settings, mode="json")
    return plain


def from_dict(kind: type[T], plain: object, where: str) -> T:
    """Build and validate a settings dataclass from nested dictionaries.

    Raises:
        SettingsError: naming the field, the value and the allowed range.
    """
    try:
        return TypeAdapter(kind).validate_python(plain)
    except ValidationError as error:
        raise SettingsError(f"{where}: {_first_problem(error)}", "correct it or leave it out") from None


def _first_problem(error: ValidationError) -> str:
    first = error.errors()[0]
    field = ".".join(str(part) for part in first["loc"]) or "settings"
    if first["type"] in {"unexpected_keyword_argument", "extra_forbidden"}:
        return f"no setting is called {field}"
    return f"{field} = {first.get('input')!r}: {first['msg'].removeprefix('Value error, ')}"


def read_config(path: Path) -> dict[str, Any]:
    """A TOML file as nested dictionaries in the shape of `RunSettings`.

    Raises:
        SettingsError: unreadable file or TOML that does not parse.
    """
    try:
        return parse_toml(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise SettingsError(
            f"cannot read the settings file {path}: {error}", "correct it or leave --config out"
        ) from None


def read_settings(kind: type[T], config: Path | None, options: Mapping[str, object]) -> T:
    """Settings from a file with command-line options on top.

    Args:
        kind: the settings dataclass; the file has its shape.
        config: a TOML file, or None for the defaults.
        options: field name to value; None stands for an option that was not given.

    Raises:
        SettingsError: an unreadable file, an unknown name, or a value out of its range in the file or an option.
    """
    content = read_config(config) if config else {}
    from_dict(kind, content, str(config))
    chosen = {name: value for name, value in options.items() if value is not None}
    return from_dict(kind, content | chosen, "command line")


_NAMED_DIFFERENCES = 4


def describe_differences(before: Mapping[str, object], now: Mapping[str, object]) -> str:
    """Say which settings differ: `stride_s was 3.0, now 1.0; ...`, at most four of them by name; empty where none do.

    Args:
        before, now: flat settings as JSON gives them back.
    """
    differing = [name for name in {**now, **before} if before.get(name, "unset") != now.get(name, "unset")]
    if not differing:
        return ""
    named = "; ".join(
        f"{name} was {before.get(name, 'unset')}, now {now.get(name, 'unset')}"
        for name in differing[:_NAMED_DIFFERENCES]
    )
    more = len(differing) - _NAMED_DIFFERENCES
    return named + (f" and {more} more" if more > 0 else "")


def flatten(plain: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested dictionaries as one level with dotted names: {"quality.low_snr_db": 5.0, ...}."""
    flat: dict[str, Any] = {}
    for name, value in plain.items():
        if isinstance(value, dict):
            flat |= flatten(value, f"{prefix}{name}.")
        else:
            flat[prefix + name] = value
    return flat


def result_settings(run: RunSettings) -> dict[str, Any]:
    """Flat settings that can change scores; two runs with the same ones may share a journal."""
    return {"results_version": RESULTS_VERSION} | {
        name: value for name, value in flatten(to_dict(run)).items() if name not in _NOT_IN_FINGERPRINT
    }


def scoring_settings(stated: dict[str, Any]) -> dict[str, Any]:
    """The flat settings that can change scores themselves, of those that a manifest states."""
    others = _NOT_IN_FINGERPRINT | _OF_SAMPLES_ONLY
    return {name: value for name, value in flatten(stated).items() if name not in others}


def digest_of(plain: object) -> str:
    """SHA-256 of the canonical JSON of plain values, hexadecimal."""
    canonical = json.dumps(plain, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(canonical.encode()).hexdigest()
