"""What a variant does to recordings while they are read: noise before denoising, covers before detection."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import cv2
import numpy as np
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from avpenet_cli.audio.framing import fixed_blocks
from avpenet_cli.evaluation.conditions import Cover, cover_area
from avpenet_cli.experiment.noise import WHITE, Noise, NoiseFolder
from avpenet_cli.face.align import crop_map
from avpenet_cli.face.detect import Face
from avpenet_cli.media.frame_image import FrameImage, RgbImage, whole
from avpenet_cli.media.video import TimedFrame
from avpenet_cli.settings import FRAMES_PER_WINDOW, FaceSettings, digest_of, flatten, to_dict

_NOISE, _COVER = range(2)
_STRETCH_S, _STRETCHES = 0.1, 10
_LOOP_S = 60.0
"""Recorded noise is repeated after at most this long, which bounds the memory it takes."""
_MAX_GAP_SLOTS = 10
"""Where the face was not found in the unaltered frame, the cover stays where it was in the nearest frame within 1 s:
otherwise a cover could vanish for a frame, and let the face be found."""


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class VariantSettings:
    """How recordings are prepared differently from the store; by default in the same way."""

    denoise: Literal["quietest-frames", "first-frames", "noisereduce", "none"] | None = None
    """Rule of the noise reduction; None for the store's."""
    align: bool | None = None
    """Whether eyes are levelled; None as in the store."""
    patient: Literal["persistent", "largest"] = "persistent"
    """`largest`: the largest face of each frame is the patient's, as in the paper."""
    noise_snr_db: Annotated[float, Field(ge=-20.0, le=60.0)] | None = None
    """Signal-to-noise ratio of noise added to the recording before its own noise is reduced, dB."""
    noise: str = WHITE
    """Kind of that noise: white, or the name of a folder of recordings."""
    cover: Cover | None = None
    """What covers the patient's face in the frames, before faces are searched in them."""
    seed: Annotated[int, Field(ge=0)] = 42
    """Seed of the noise and of covered cells."""


class RecordingAlteration:
    """Implements `pipeline.alteration.Alteration` for the settings of a variant.

    Noise: white Gaussian over the whole band of the recording, or one excerpt of a recording of noise, of up to a
    minute, repeated to the end. Its power relates to the mean power of the recording where it is not silent: over those
    stretches of 0.1 s that have, without a DC offset, at least the level below which scoring flags silence. A recording
    that is silent throughout gets none. White noise reaches up to half the native sampling rate, so that of a recording
    at 48 kHz two thirds of it are gone at 16 kHz. Sums are not clipped at full scale.

    Covers: in the crop that the unaltered frame gives, as in `evaluation.conditions`, so that where detection is not
    affected the face looks as in the kinder condition, up to what compression and alignment change. Covered cells stay
    the same for 3 s.

    Args:
        settings: of the variant.
        face: settings of crop and alignment.
        silent_dbfs: level below which a stretch is silent.
        names: of the recordings by path; part of the seed, so that no two share random numbers.
        folder: recordings of noise; None for white noise.

    Raises:
        SettingsError: noise without recordings of it.
    """

    def __init__(
        self,
        settings: VariantSettings,
        face: FaceSettings,
        silent_dbfs: float,
        names: Mapping[Path, str],
        folder: NoiseFolder | None = None,
    ) -> None:
        self._settings, self._face, self._silent_dbfs, self._names = settings, face, silent_dbfs, names
        self._noise = Noise(settings.noise, folder) if settings.noise_snr_db is not None else None
        self._powers: dict[Path, float | None] = {}
        self._key = int(digest_of(self.fingerprint_fields)[:16], 16)

    @property
    def fingerprint_fields(self) -> dict[str, Any]:
        """Flat settings that identify the change; of noise recordings, their digest."""
        plain = flatten({"variant": to_dict(self._settings)})
        return plain | ({"variant.noise_digest": self._noise.digest} if self._noise else {})

    @property
    def takes_largest_face(self) -> bool:
        """As in `Alteration`."""
        return self._settings.patient == "largest"

    @property
    def alters_frames(self) -> bool:
        """As in `Alteration`."""
        return self._settings.cover is not None

    def alter_audio(self, path: Path, read: Callable[[], Iterable[np.ndarray]], rate_hz: int) -> Iterable[np.ndarray]:
        """Add the noise; the first call for a recording reads it once more, for its power."""
        if self._noise is None or self._settings.noise_snr_db is None:
            return read()
        if path not in self._powers:
            self._powers[path] = sounding_power(read(), rate_hz, self._silent_dbfs)
        power = self._powers[path]
        if power is None:
            return read()
        amplitude = np.float32(np.sqrt(power / 10 ** (self._settings.noise_snr_db / 10)))
        return _with_noise(read(), self._noise, amplitude, rate_hz, self._rng(path, _NOISE))

    def alter_frames(self, path: Path, frames: Sequence[TimedFrame], faces: Mapping[int, Face]) -> list[TimedFrame]:
        """Cover the patient's face."""
        altered = []
        for frame in frames:
            face = _nearest_face(faces, frame.slot)
            if face is None or self._settings.cover is None:
                altered.append(frame)
                continue
            rng = self._rng(path, _COVER, frame.slot // FRAMES_PER_WINDOW)
            area, color = cover_area(self._settings.cover, self._face.crop_px, self._face.box_margin, rng)
            altered.append(TimedFrame(frame.slot, cover_frame(frame.image, face, area, color, self._face)))
        return altered

    def _rng(self, path: Path, *purpose: int) -> np.random.Generator:
        name = int(digest_of(self._names[path])[:16], 16)
        return np.random.default_rng([self._settings.seed, self._key, name, *purpose])


def sounding_power(blocks: Iterable[np.ndarray], rate_hz: int, silent_dbfs: float) -> float | None:
    """Mean power of a recording where it is not silent.

    Args:
        blocks: contiguous (samples,) float blocks, full scale 1.
        rate_hz: sampling rate of `blocks`.
        silent_dbfs: stretches of 0.1 s below this level do not count.

    Returns:
        Mean square without a DC offset; None where there is nothing but silence.
    """
    stretch = max(1, round(_STRETCH_S * rate_hz))
    total, count = 0.0, 0
    for block in fixed_blocks(blocks, _STRETCHES * stretch):
        stretches = block[: block.size // stretch * stretch].reshape(-1, stretch).astype(np.float64)
        powers = stretches.var(axis=1)
        sounding = powers[powers >= 10 ** (silent_dbfs / 10)]
        total, count = total + float(sounding.sum()), count + sounding.size
    return total / count if count else None


def cover_frame(
    image: FrameImage, face: Face, area: np.ndarray, color: tuple[int, int, int], settings: FaceSettings
) -> RgbImage:
    """Draw a cover over a face in a frame.

    Args:
        area: (crop_px, crop_px) bool, what to cover of the aligned crop of the face.
        color: RGB.
        settings: of the crop.

    Returns:
        A copy of the frame.
    """
    rgb: np.ndarray = np.array(whole(image))
    matrix = crop_map(face, settings)
    side = settings.crop_px
    corners = matrix @ np.array([[0, side, 0, side], [0, 0, side, side], [1, 1, 1, 1]], np.float64)
    left, top = (int(edge) for edge in np.floor(corners.min(axis=1)).clip(0))
    right, bottom = (
        min(int(edge) + 1, end) for edge, end in zip(np.ceil(corners.max(axis=1)), image.size, strict=True)
    )
    if left < right and top < bottom:
        matrix[:, 2] -= [left, top]
        size = (right - left, bottom - top)
        covered = cv2.warpAffine(area.astype(np.uint8), matrix, size, flags=cv2.INTER_NEAREST)
        rgb[top:bottom, left:right][covered > 0] = color
    return RgbImage(rgb)


def _with_noise(
    blocks: Iterable[np.ndarray], noise: Noise, amplitude: np.float32, rate_hz: int, rng: np.random.Generator
) -> Iterator[np.ndarray]:
    loop = None if noise.is_white else noise.draw(round(_LOOP_S * rate_hz), rate_hz, rng)
    position = 0
    for block in blocks:
        if loop is None:
            added = noise.draw(block.size, rate_hz, rng)
        else:
            added = loop.take(np.arange(position, position + block.size), mode="wrap")
            position += block.size
        yield block + amplitude * added


def _nearest_face(faces: Mapping[int, Face], slot: int) -> Face | None:
    for distance in range(_MAX_GAP_SLOTS + 1):
        for other in (slot - distance, slot + distance):
            if other in faces:
                return faces[other]
    return None
