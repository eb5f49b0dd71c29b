"""Views of a segment store: the same segments and ratings, with other content, made while it is read.

Everything here is the kinder kind of change: noise is added to audio that was denoised before, and faces are covered
after they were detected. `variants` has the other kind. A view differs from the conditions of `avpenet evaluate` in
that everything that reads a store can read it, training included.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated, Any, Literal

import numpy as np
import pandas as pd
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from avpenet_cli.audio.mel import NO_SIGNAL_PEAK, log_mel
from avpenet_cli.audio.voice import voice_activity
from avpenet_cli.dataset.segment_files import SCORABLE
from avpenet_cli.dataset.store import Segment, SegmentStore
from avpenet_cli.evaluation.conditions import Cover, cover_faces
from avpenet_cli.experiment.noise import WHITE, Noise, NoiseFolder
from avpenet_cli.experiment.windows import Piece, Windows
from avpenet_cli.model.architecture import Modality
from avpenet_cli.records import Status
from avpenet_cli.settings import FRAME_STEP_S, WINDOW_S, AudioSettings, digest_of, to_dict
from avpenet_cli.training.augmentation import add_noise

SHORT_WINDOW, NO_FACE = "short_window", "no_face_in_window"
"""`reason` of segments that a view cannot use: less than 80 % of the window can be made; fewer of its frames show the
patient's face than scoring asks for."""

_NOISE, _COVER = range(2)
_OF_AUDIO, _OF_FACES = ("noise_snr_db", "noise", "vad_mask", "audio"), ("cover", "faces")
_OF_BOTH = ("window_s", "seed")
"""Settings of a view by what they change."""


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class ViewSettings:
    """What a view changes; by default nothing."""

    window_s: Literal[1, 2, 3, 4, 5] = 3
    """Length of the window around the middle of each segment, s."""
    vad_mask: bool = False
    """Silence the audio outside voice activity, as Algorithm 1 of the paper could be read."""
    noise_snr_db: Annotated[float, Field(ge=-20.0, le=60.0)] | None = None
    """Signal-to-noise ratio of added noise over the window's own mean power, dB."""
    noise: str = WHITE
    """Kind of that noise: white, or the name of a folder of recordings."""
    cover: Cover | None = None
    """What covers the aligned faces."""
    audio: Literal["none"] | None = None
    """`none`: silence in place of the audio."""
    faces: Literal["none"] | None = None
    """`none`: no faces."""
    seed: Annotated[int, Field(ge=0)] = 42
    """Seed of the noise and of covered cells."""


class StoreView(SegmentStore):
    """A view of a store; can be read wherever a store can.

    Rows, references, subjects and splits are those of the store. Segments that the view cannot use, because its window
    is longer than what is stored around them or shows no face, are unscorable in its `index` with a reason of their
    own, and `rated` leaves them out. `crops` counts the view's frames.

    A segment has a spectrogram of (128, 100 * window_s), a waveform of 16000 * window_s samples, and `frame_indices`
    among 10 * window_s frames. A window that had to shrink begins with what there is; its spectrogram is padded at the
    end, its waveform is shorter.

    Each segment has random numbers of its own, from its row and the settings of the modality that they change: the same
    in every order and process, and in two views that differ in the other modality only.

    Args:
        store: prepared segments, or a variant of them.
        settings: what to change.
        folder: recordings of noise; None for white noise.

    Raises:
        SettingsError: noise without recordings of it; a segment file that cannot be read.
        ValueError: `store` is a view.
    """

    def __init__(self, store: SegmentStore, settings: ViewSettings, folder: NoiseFolder | None = None) -> None:
        if isinstance(store, StoreView):
            raise ValueError("a view is made of a store, not of a view")
        self._store, self.settings, self._folder = store, settings, folder
        self._noise = Noise(settings.noise, folder) if settings.noise_snr_db is not None else None
        content = {
            "store": store.digest,
            "view": to_dict(settings),
            "noise": self._noise.digest if self._noise else None,
        }
        self._seeds = {purpose: self._seeds_for(purpose) for purpose in (_NOISE, _COVER)}
        self._windows = Windows(store.index, settings.window_s) if settings.window_s != WINDOW_S else None
        index = store.index if self._windows is None else self._view_index(store, self._windows)
        if settings.faces == "none":
            index = index.assign(crops=np.int32(0))
        super().__init__(store.path, store.record, index, digest_of(content))

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__.copy()  # `_store` opens its own segment files; there are none here

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)

    def content_digest(self, modality: Modality) -> str:
        """As in `SegmentStore`: noise changes no face, and a cover no audio."""
        changed = to_dict(self.settings)
        names = _OF_AUDIO if modality == "audio" else _OF_FACES
        plain = to_dict(ViewSettings())
        content = {name: value for name, value in changed.items() if name in (*names, *_OF_BOTH)}
        if {name: plain[name] for name in content} == content:
            return self._store.content_digest(modality)
        noise = self._noise.digest if self._noise and modality == "audio" else None
        return digest_of({"store": self._store.digest, "view": content, "noise": noise, "of": modality})

    @property
    def frames_per_window(self) -> int:
        """Positions on the frame grid that a window has, with and without a face."""
        return super().frames_per_window if self._windows is None else self._windows.frames

    def usable(self, rows: np.ndarray) -> np.ndarray:
        """Which of these rows the view can give: (n,) bool; those common to several views can be compared."""
        usable: np.ndarray = (self.index["status"].iloc[rows] == SCORABLE).to_numpy(dtype=bool)
        return usable

    def unusable_counts(self, rows: np.ndarray) -> dict[str, int]:
        """How many of these rows cannot be given, by reason."""
        taken = self.index.iloc[rows]
        counts = taken.loc[taken["status"] != SCORABLE, "reason"].value_counts()
        return {str(name): int(count) for name, count in counts.items()}

    def stored_frames(self, number: int) -> np.ndarray:
        """As in `SegmentStore`, among the window's frames."""
        self._scorable_row(number)
        if self.settings.faces == "none":
            return np.empty(0, np.int64)
        if self._windows is None:
            return self._store.stored_frames(number)
        return _frames_of(self._store, self._windows.pieces(number))

    def segment(self, number: int, frame_indices: Sequence[int] | None = None) -> Segment:
        """Read one segment as this view shows it; arguments and errors as in `SegmentStore`."""
        self._scorable_row(number)
        wanted: Sequence[int] | None = () if self.settings.faces == "none" else frame_indices
        if self._windows is None:
            segment = self._store.segment(number, wanted)
        else:
            segment = self._joined(number, self._windows.pieces(number), wanted)
        if self.settings.cover is not None and len(segment.faces):
            margin = self.preprocessing.face.box_margin
            faces = cover_faces(segment.faces, self.settings.cover, margin, self._rng(_COVER, number))
            segment = replace(segment, faces=faces)
        return self._with_audio(segment, number)

    def _joined(self, number: int, pieces: Sequence[Piece], wanted: Sequence[int] | None) -> Segment:
        """The window around a segment, from the stored segments that cover it; without its spectrogram."""
        offset, parts, audio, frame_indices = 0, [], [], []
        for piece in pieces:
            # From the frames of the window to those of the segment, and back.
            shift = piece.first - offset
            frames = range(piece.first, piece.end)
            chosen = frames if wanted is None else [frame + shift for frame in wanted if frame + shift in frames]
            part = self._store.segment(piece.row, chosen)
            first, end = (_samples(frame, self.preprocessing.audio) for frame in (piece.first, piece.end))
            parts.append(part)
            audio.append(part.waveform[first:end] * np.float32(part.peak))
            frame_indices.append(part.frame_indices - shift)
            offset += piece.end - piece.first
        return replace(
            parts[[piece.row for piece in pieces].index(number)],
            waveform=np.concatenate(audio),
            peak=1.0,
            faces=np.concatenate([part.faces for part in parts]),
            frame_indices=np.concatenate(frame_indices),
        )

    def _with_audio(self, segment: Segment, number: int) -> Segment:
        """Change the audio, and make its spectrogram again where that is necessary."""
        settings, audio_settings = self.settings, self.preprocessing.audio
        if self._windows is None and self._noise is None and not settings.vad_mask and settings.audio is None:
            return segment
        audio = segment.waveform * np.float32(segment.peak)
        if settings.audio == "none":
            audio = np.zeros_like(audio)
        if self._noise is not None and settings.noise_snr_db is not None and audio.any():
            noise = self._noise.draw(audio.size, audio_settings.sample_rate_hz, self._rng(_NOISE, number))
            audio = add_noise(audio, settings.noise_snr_db, noise)
        if settings.vad_mask:
            audio = silence_unvoiced(audio, audio_settings)
        peak = float(np.max(np.abs(audio), initial=0.0))
        if peak < NO_SIGNAL_PEAK:
            audio, peak = np.zeros_like(audio), 0.0
        mel_frames = round(settings.window_s * audio_settings.sample_rate_hz / audio_settings.hop_samples)
        spectrogram = log_mel(audio, audio_settings, mel_frames)
        waveform = audio / np.float32(peak) if peak else audio
        return replace(segment, spectrogram=spectrogram, waveform=waveform, peak=peak)

    def _rng(self, purpose: int, number: int) -> np.random.Generator:
        return np.random.default_rng([*self._seeds[purpose], number])

    def _seeds_for(self, purpose: int) -> list[int]:
        """Of what is drawn for one modality: independent of what is changed in the other."""
        names = _OF_AUDIO if purpose == _NOISE else _OF_FACES
        content = {name: value for name, value in to_dict(self.settings).items() if name in (*names, *_OF_BOTH)}
        noise = self._noise.digest if self._noise and purpose == _NOISE else None
        return [self.settings.seed, int(digest_of({"view": content, "noise": noise})[:16], 16), purpose]

    def _view_index(self, store: SegmentStore, windows: Windows) -> pd.DataFrame:
        """The store's index with the segments that the view cannot use."""
        min_rate = store.record.quality.min_face_rate if self.settings.faces is None else 0.0
        status, reason = store.index["status"].to_list(), store.index["reason"].to_list()
        crops = store.index["crops"].to_numpy(copy=True)
        for row in np.flatnonzero(store.index["status"] == SCORABLE).tolist():
            pieces = windows.pieces(row)
            crops[row] = len(_frames_of(store, pieces))
            if not pieces:
                status[row], reason[row] = Status.UNSCORABLE.value, SHORT_WINDOW
            elif crops[row] < min_rate * sum(piece.end - piece.first for piece in pieces) - 1e-9:
                status[row], reason[row] = Status.UNSCORABLE.value, NO_FACE
        return store.index.assign(status=status, reason=reason, crops=crops)


def silence_unvoiced(audio: np.ndarray, settings: AudioSettings) -> np.ndarray:
    """Set samples that lie in no voiced frame to 0.

    Voice activity is that of Algorithm 1, stage 3; see `audio.voice.voice_activity`. The threshold of its energy is
    absolute, so the audio must have its original level. The band of the recording is not known here: unlike in scoring,
    noise of a recording at under 16 kHz can count as voiced.

    Args:
        audio: (samples,) float32, full scale 1, at `settings.sample_rate_hz`, denoised.

    Returns:
        A copy, same shape and type.
    """
    voiced = np.zeros(audio.size, bool)
    for frame in np.flatnonzero(voice_activity(audio, settings)).tolist():
        start = frame * settings.vad_hop_samples
        voiced[start : start + settings.vad_frame_samples] = True
    return np.where(voiced, audio, np.float32(0.0))


def _frames_of(store: SegmentStore, pieces: Sequence[Piece]) -> np.ndarray:
    """(k,) int64, the frames of a window in which the patient's face was found."""
    offset, frames = 0, [np.empty(0, np.int64)]
    for piece in pieces:
        stored = store.stored_frames(piece.row)
        inside = stored[(stored >= piece.first) & (stored < piece.end)]
        frames.append(inside - piece.first + offset)
        offset += piece.end - piece.first
    return np.concatenate(frames)


def _samples(frames: int, settings: AudioSettings) -> int:
    return round(frames * FRAME_STEP_S * settings.sample_rate_hz)
