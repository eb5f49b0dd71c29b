"""Noise that is added to audio: white, or excerpts of recordings in a folder (`--noise DIR`)."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from avpenet_cli.audio.levels import DIGITAL_SILENCE_POWER, mean_square
from avpenet_cli.errors import AvpenetError, SettingsError, reason
from avpenet_cli.inputs.suffixes import is_recording_name
from avpenet_cli.media.audio import WaveformStream
from avpenet_cli.media.probe import probe
from avpenet_cli.settings import DecodingSettings, digest_of

WHITE = "white"
"""Name of Gaussian noise with the same power at all frequencies."""

_REMEDY = "remove or replace it"


@dataclass(frozen=True)
class NoiseFile:
    """One recording of noise.

    Attributes:
        path, name: where it is, and its path below the folder.
        sha256: of its bytes, hexadecimal.
        rate_hz, samples: sampling rate and length.
        needs_ffmpeg: libsndfile cannot read it.
    """

    path: Path
    name: str
    sha256: str
    rate_hz: int
    samples: int
    needs_ffmpeg: bool

    def read(self, first: int, samples: int) -> np.ndarray:
        """Decode a part of the file.

        Returns:
            (samples,) float32, mono, at `rate_hz`; fewer samples at its end.

        Raises:
            SettingsError: it can no longer be decoded, or has samples that are not finite.
        """
        audio = (
            _decoded_by_ffmpeg(self.path)[1][first : first + samples]
            if self.needs_ffmpeg
            else _read_part(self.path, first, samples)
        )
        if not np.isfinite(audio).all():
            raise SettingsError(f"{self.path} has samples that are not finite", _REMEDY)
        return audio


@dataclass(frozen=True)
class NoiseFolder:
    """Recordings of noise, such as a ward's alarms, voices and air conditioning.

    Attributes:
        name: the folder's name.
        files: in the order of their names; at least one.
    """

    name: str
    files: tuple[NoiseFile, ...]

    @classmethod
    def open(cls, path: Path) -> NoiseFolder:
        """Find the recordings in a folder and below it, by suffix, and read their headers.

        Raises:
            SettingsError: no folder, no recording in it, or one that cannot be decoded.
        """
        if path.resolve().name == WHITE:
            raise SettingsError(f"--noise {path}: {WHITE} is the name of white noise", "give the folder another name")
        if not path.is_dir():
            raise SettingsError(f"--noise {path} is not a folder", "name a folder with recordings of noise")
        try:
            paths = sorted(
                file for file in path.rglob("*") if is_recording_name(file.name) and not file.name.startswith(".")
            )
        except OSError as error:
            raise SettingsError(f"--noise {path} cannot be read: {reason(error)}", "check its permissions") from None
        files = tuple(_open_file(file, file.relative_to(path).as_posix()) for file in paths if file.is_file())
        if not files:
            raise SettingsError(
                f"--noise {path} has no recording", "name a folder with .wav, .flac or other recordings"
            )
        return cls(path.resolve().name, files)

    @property
    def digest(self) -> str:
        """SHA-256 over the names and contents of the files, hexadecimal."""
        return digest_of([[file.name, file.sha256] for file in self.files])

    def excerpt(self, samples: int, rate_hz: int, rng: np.random.Generator) -> np.ndarray:
        """Draw an excerpt: a file, each as probable as the others, and a position in it. A short file is repeated,
        from a position within it.

        Args:
            samples: length of the excerpt.
            rate_hz: its sampling rate; band-limited where the file has a higher one.

        Returns:
            (samples,) float32 with mean 0 and mean power 1.

        Raises:
            SettingsError: a file that cannot be decoded; nothing but silence in all of them.
        """
        order, position = rng.permutation(len(self.files)), rng.random()
        for number in order:
            audio = _cut(self.files[number], samples, rate_hz, position)
            audio = audio - audio.mean(dtype=np.float64)
            power = mean_square(audio)
            if power >= DIGITAL_SILENCE_POWER:  # else the next file: silence has no power to scale
                return np.asarray(audio / math.sqrt(power), np.float32)
        raise SettingsError(f"--noise {self.name}: silence in all of its files", "name a folder with audible noise")


class Noise:
    """Noise of one kind.

    Args:
        name: `WHITE`, or the name of `folder`.
        folder: recordings of noise; None for white noise.

    Raises:
        SettingsError: the two do not belong together.
    """

    def __init__(self, name: str, folder: NoiseFolder | None) -> None:
        if name != WHITE and (folder is None or folder.name != name):
            raise SettingsError(f"there is no folder for the noise {name}", f"give it with --noise, or use {WHITE}")
        self._folder = None if name == WHITE else folder

    @property
    def digest(self) -> str:
        """Digest of the recordings of noise; the name of white noise."""
        return WHITE if self._folder is None else self._folder.digest

    def draw(self, samples: int, rate_hz: int, rng: np.random.Generator) -> np.ndarray:
        """(samples,) float32 of unit power; raises as `NoiseFolder.excerpt`."""
        if self._folder is None:
            white: np.ndarray = rng.standard_normal(samples, np.float32)
            return white
        return self._folder.excerpt(samples, rate_hz, rng)

    @property
    def is_white(self) -> bool:
        """Whether samples are independent of each other, so that noise of any length can be drawn piece by piece."""
        return self._folder is None


def _open_file(path: Path, name: str) -> NoiseFile:
    import soundfile

    try:
        with path.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        facts = soundfile.info(path)
        rate_hz, samples, needs_ffmpeg = facts.samplerate, facts.frames, False
    except OSError as error:
        raise SettingsError(f"{path} cannot be read: {reason(error)}", _REMEDY) from None
    except (RuntimeError, ValueError):  # not a format of libsndfile
        rate_hz, audio = _decoded_by_ffmpeg(path)
        samples, needs_ffmpeg = audio.size, True
    if not samples:
        raise SettingsError(f"{path} has no audio", _REMEDY)
    return NoiseFile(path, name, sha256, rate_hz, samples, needs_ffmpeg)


def _read_part(path: Path, first: int, samples: int) -> np.ndarray:
    import soundfile

    try:
        with soundfile.SoundFile(path) as file:
            file.seek(first)
            channels: np.ndarray = file.read(samples, dtype="float32", always_2d=True)
    except (OSError, RuntimeError, ValueError) as error:
        raise SettingsError(f"{path} cannot be decoded: {reason(error)}", _REMEDY) from None
    mono: np.ndarray = channels.mean(axis=1)
    return mono


@lru_cache(maxsize=4)
def _decoded_by_ffmpeg(path: Path) -> tuple[int, np.ndarray]:
    """Sampling rate and all samples, (samples,) float32."""
    decoding = DecodingSettings()
    try:
        stream = WaveformStream(path, probe(path, decoding), decoding)
        blocks = list(stream)
    except AvpenetError as error:
        raise SettingsError(f"{path} cannot be decoded: {error.message}", _REMEDY) from None
    if stream.decode_error and not blocks:
        raise SettingsError(f"{path} cannot be decoded: {stream.decode_error}", _REMEDY)
    audio = np.concatenate(blocks) if blocks else np.zeros(0, np.float32)
    audio.setflags(write=False)
    return stream.rate_hz, audio


def _cut(file: NoiseFile, samples: int, rate_hz: int, position: float) -> np.ndarray:
    """(samples,) float32 at `rate_hz` from a position in [0, 1): of what the file has to spare, or of its loop."""
    import soxr

    needed = math.ceil(samples * file.rate_hz / rate_hz)
    audio = file.read(round(position * max(0, file.samples - needed)), needed)
    if not audio.size:
        raise SettingsError(f"{file.path} is shorter than its header says", _REMEDY)
    if file.rate_hz != rate_hz:
        audio = soxr.resample(audio, file.rate_hz, rate_hz, "HQ")
    first = int(position * audio.size) if file.samples < needed else 0
    return audio.take(np.arange(first, first + samples), mode="wrap")
