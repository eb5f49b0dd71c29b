"""Draw training windows of audio: clips placed in 3 s, in surroundings, rooms and recorders, on any device.

Everything is drawn from one generator on the device of the clips, batch by batch, so that a batch depends on its seed
alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from avpenet_cli.settings import WINDOW_S
from weights.recipe.audio_front_end import FrontEnd
from weights.recipe.audio_pack import CATEGORIES, RATE_HZ, AudioSet, Teacher

WINDOW = round(WINDOW_S * RATE_HZ)
TOKENS, TOKEN_FRAMES, HOP = 10, 32, 160
GROUPS = ("burst", "cry", "speech", "silence")
"""First classes of the group head; those after them are the kinds of surroundings."""
BURST, CRY, SPEECH, SILENCE = range(4)
PAIN = {
    **{"Pain": 7.0, "Distress": 4.0, "Fear": 2.5, "Anger": 2.0, "Sadness": 2.0},
    **{"Disgust": 1.5, "Disappointment": 1.5, "Surprise (Negative)": 1.5},
    **{"Confusion": 0.5, "Contempt": 0.5, "Embarrassment": 0.5, "Guilt": 0.5, "Shame": 0.5},
}
"""Pain that a burst stands for, points; nobody rated it. All other categories have none."""
CRY_PAIN = 6.5
_CRY_S = 0.6
"""A window with this much crying has the full pain of a cry."""
_CLEAR_CRYING = 0.2
"""The teacher's probability of crying from which a cry is one without doubt; nine in ten cries have a higher one."""
_SHARES = {"burst": 0.60, "cry": 0.12, "speech": 0.06, "surroundings": 0.22}
_EMPHASIS = {
    **{"Pain": 5.0, "Distress": 3.0, "Neutral": 3.0},
    **dict.fromkeys(("Amusement", "Contentment", "Elation", "Relief"), 2.0),
}
_REVERB_SAMPLES = RATE_HZ // 2


@dataclass(frozen=True, eq=False)
class Clips:
    """The clips to draw from, on one device.

    Attributes:
        samples: (n,) int16, all clips.
        start: (clips,) int64, first sample of each.
        length: (clips,) int64, samples of each.
        group: (clips,) int64, class of the group head.
        category: (clips,) int64, index in `CATEGORIES`; -1 for what is no burst.
        pain: (clips,) float32, points.
        loud: (clips,) float32, power of the 95th percentile of the 10-ms frames.
        mate: (clips,) int64, the next clip of the same person and kind, in a circle.
        weight: (clips,) float32, probability of being drawn.
        background: (backgrounds,) int64, clips of surroundings.
        teacher: (clips, d) float32, what the teacher says of each clip; d is 0 without one.
        kinds: names of the group head's classes.
    """

    samples: Tensor
    start: Tensor
    length: Tensor
    group: Tensor
    category: Tensor
    pain: Tensor
    loud: Tensor
    mate: Tensor
    weight: Tensor
    background: Tensor
    teacher: Tensor
    kinds: tuple[str, ...]


def group_names(audio: AudioSet) -> tuple[str, ...]:
    """Classes of the group head: `GROUPS`, then the kinds of surroundings by name."""
    surroundings = audio.index["group"] == "surroundings"
    return (*GROUPS, *sorted(set(audio.index["kind"][surroundings])))


def load_clips(audio: AudioSet, part: str, device: torch.device, teacher: Teacher | None = None) -> Clips:
    """The clips of one part; where the teacher hears no crying, a cry stands for less pain."""
    kinds = group_names(audio)
    chosen = np.flatnonzero(audio.index["part"] == part)
    index = audio.index.iloc[chosen].reset_index(drop=True)
    group = [kinds.index(kind if group == "surroundings" else group) for group, kind in _pairs(index)]
    category = [CATEGORIES.index(kind) if group == "burst" else -1 for group, kind in _pairs(index)]
    pain = np.array([{"burst": PAIN.get(kind, 0.0), "cry": CRY_PAIN}.get(group, 0.0) for group, kind in _pairs(index)])
    weight = np.array([_EMPHASIS.get(kind, 1.0) if group == "burst" else 1.0 for group, kind in _pairs(index)])
    for kind in set(index["kind"][index["group"] == "surroundings"]):
        weight[index["kind"] == kind] /= (index["kind"] == kind).sum()
    for name, share in _SHARES.items():
        of_group = (index["group"] == name).to_numpy()
        weight[of_group] *= share / max(weight[of_group].sum(), 1e-9)
    mate = np.arange(len(index))
    for rows in index.groupby(["person", "kind"]).indices.values():
        mate[rows] = np.roll(rows, -1)
    loud = [_loud(audio.samples[at : at + n]) for at, n in zip(index["start"], index["samples"], strict=True)]
    described = np.zeros((len(index), 0))
    if teacher is not None:
        described = teacher.embedding[chosen]
        heard = np.clip(teacher.crying[chosen] / _CLEAR_CRYING, 0.3, 1.0)
        pain = np.where(index["group"] == "cry", pain * heard, pain)

    def on_device(values: object, dtype: torch.dtype) -> Tensor:
        return torch.from_numpy(np.array(values)).to(device, dtype)

    return Clips(
        samples=torch.from_numpy(audio.samples).to(device),
        start=on_device(index["start"], torch.int64),
        length=on_device(index["samples"], torch.int64),
        group=on_device(group, torch.int64),
        category=on_device(category, torch.int64),
        pain=on_device(pain, torch.float32),
        loud=on_device(loud, torch.float32),
        mate=on_device(mate, torch.int64),
        weight=on_device(weight, torch.float32),
        background=on_device(np.flatnonzero(index["group"] == "surroundings"), torch.int64),
        teacher=on_device(described, torch.float32),
        kinds=kinds,
    )


def _pairs(index: object) -> list[tuple[str, str]]:
    return list(zip(index["group"], index["kind"], strict=True))  # type: ignore[index]


def _loud(clip: np.ndarray) -> float:
    frames = clip[: clip.size // HOP * HOP].reshape(-1, HOP).astype(np.float32) / 32768
    return float(np.quantile((frames**2).mean(axis=1), 0.95)) if len(frames) else 0.0


@dataclass(frozen=True, eq=False)
class Batch:
    """Windows and their targets.

    Attributes:
        mels: (B, 1, 128, 300) float32 in [0, 1].
        group: (B,) int64.
        category: (B,) int64, -1 for what is no burst.
        pain: (B,) float32, points.
        active: (B, 10, 2) float32, whether a voice, and something else, sounds within a token.
        teacher: (B, d) float32.
    """

    mels: Tensor
    group: Tensor
    category: Tensor
    pain: Tensor
    active: Tensor
    teacher: Tensor


class Draw:
    """Random numbers on one device, one per window of a batch."""

    def __init__(self, windows: int, rng: torch.Generator) -> None:
        self.windows, self.rng, self.device = windows, rng, rng.device

    def between(self, low: float, high: float) -> Tensor:
        """(B,) float32, uniform."""
        return low + (high - low) * torch.rand(self.windows, generator=self.rng, device=self.device)

    def chance(self, probability: float) -> Tensor:
        """(B,) bool."""
        return torch.rand(self.windows, generator=self.rng, device=self.device) < probability

    def normal(self, samples: int) -> Tensor:
        """(B, samples) float32, standard normal."""
        return torch.randn((self.windows, samples), generator=self.rng, device=self.device)


def draw_batch(clips: Clips, front_end: FrontEnd, windows: int, rng: torch.Generator, *, blank: bool = True) -> Batch:
    """Draw windows with their targets.

    Args:
        rng: its device is that of the clips and of the front end.
        blank: blank bands of some spectrograms.
    """
    draw = Draw(windows, rng)
    rows = torch.multinomial(clips.weight, windows, replacement=True, generator=rng)
    silent = draw.chance(0.04)
    voice, end = place(clips, rows, draw)
    frame_power = voice.view(windows, -1, HOP).square().mean(dim=2)
    crying_s = (frame_power > 0.01 * clips.loud[rows][:, None]).sum(dim=1) * (HOP / RATE_HZ)
    group = torch.where(silent, SILENCE, clips.group[rows])
    share = torch.where(group == CRY, (crying_s / _CRY_S).clamp(max=1.0), 1.0)
    pain = torch.where(silent, 0.0, clips.pain[rows] * share)
    voice = voice / voice.abs().amax(dim=1, keepdim=True).clamp(min=1e-4)
    voice = voice * torch.where(silent, 0.0, 10 ** (draw.between(-36.0, -2.0) / 20))[:, None]
    room = background(clips, voice, silent, draw)
    within = torch.arange(WINDOW, device=draw.device) < end[:, None]
    response = recorder_response(draw)
    voice, room = (torch.where(within, _filtered(audio, response), 0.0) for audio in (voice, room))
    mels = front_end(*_recorded(voice, room, end, front_end, draw))
    return Batch(
        mels=mask(mels, draw) if blank else mels,
        group=group,
        category=torch.where(silent, -1, clips.category[rows]),
        pain=pain,
        active=activity(voice, group),
        teacher=torch.where(silent[:, None], torch.nan, clips.teacher[rows]),
    )


def place(clips: Clips, rows: Tensor, draw: Draw) -> tuple[Tensor, Tensor]:
    """Place one to three clips of one person and kind in each window, at speeds of 0.89 to 1.12.

    Half of the windows are short recordings: a clip from its start, and nothing after its end.

    Returns:
        (B, 48000) float32, full scale 1, and (B,) int64, where the recording ends.
    """
    speed = torch.where(draw.chance(0.6), draw.between(0.89, 1.12), 1.0)
    from_start = draw.chance(0.5)
    # What is long, such as a cry, is as often cut to the length of a burst: length must not tell them apart.
    cut = torch.where(draw.chance(0.45), draw.between(0.5, 2.7) * RATE_HZ, float(WINDOW))
    time = torch.arange(WINDOW, device=draw.device)
    source = torch.zeros((draw.windows, WINDOW), device=draw.device)
    first = torch.zeros((draw.windows, WINDOW), dtype=torch.int64, device=draw.device)
    last = torch.full_like(first, -1)
    begin, end, clip, present = torch.zeros_like(speed), torch.zeros_like(speed), rows, torch.ones_like(from_start)
    for slot in range(3):
        length = clips.length[clip]
        take = torch.minimum(length / speed, cut)
        if slot == 0:
            begin = torch.where(
                from_start, 0.0, -0.15 * take + draw.between(0.0, 1.0) * (WINDOW - 0.5 * take).clamp(min=0)
            )
        begin = begin.floor()
        # The later part of a clip only where the whole does not fit.
        offset = (draw.between(0.0, 1.0) * (length - take * speed).clamp(min=0)).long()
        inside = present[:, None] & (time >= begin[:, None]) & (time < (begin + take)[:, None])
        source = torch.where(inside, (time - begin[:, None]) * speed[:, None], source)
        first = torch.where(inside, (clips.start[clip] + offset)[:, None], first)
        last = torch.where(inside, (clips.start[clip] + length - 1)[:, None], last)
        end = torch.where(present, begin + take, end)
        begin = begin + take + draw.between(0.05, 0.6) * RATE_HZ
        clip = clips.mate[clip]
        present = present & torch.where(from_start, draw.chance(0.3), draw.chance(0.6))
    audio = _resampled(clips.samples, source, first, last)
    # A recording may end anywhere after its clip; one in four of the others ends within the window too.
    tail = torch.where(draw.chance(0.3), draw.between(0.0, 1.5), 0.0) * RATE_HZ
    early = torch.where(draw.chance(0.25), draw.between(0.4, 1.0), 1.0) * WINDOW
    ends = torch.where(from_start, end + tail, early).clamp(1, WINDOW).long()
    return torch.where(time < ends[:, None], audio, 0.0), ends


def _resampled(samples: Tensor, source: Tensor, first: Tensor, last: Tensor) -> Tensor:
    """Cubic interpolation (Catmull and Rom 1974) at `first + source`, not beyond `last`; 0 where `last` is negative."""
    whole = source.floor()
    t = source - whole
    at = first + whole.long()
    weights = (
        ((-0.5 * t + 1.0) * t - 0.5) * t,
        (1.5 * t - 2.5) * t * t + 1.0,
        ((-1.5 * t + 2.0) * t + 0.5) * t,
        (0.5 * t - 0.5) * t * t,
    )
    audio = torch.zeros_like(source)
    for shift, weight in zip((-1, 0, 1, 2), weights, strict=True):
        index = torch.minimum((at + shift).clamp(min=0), last.clamp(min=0))
        audio += weight * samples[index].float()
    return torch.where(last < 0, 0.0, audio / 32768)


def background(clips: Clips, voice: Tensor, silent: Tensor, draw: Draw) -> Tensor:
    """Nothing, coloured noise, or surroundings around a voice, (B, 48000) float32.

    Noise is 5 to 55 dB below the voice, surroundings 0 to 30 dB; without a voice at -75 to -20 dBFS.
    """
    choice = draw.between(0.0, 1.0)
    audio = _coloured(draw)
    if len(clips.background):
        pick = torch.randint(len(clips.background), (draw.windows,), generator=draw.rng, device=draw.device)
        clip = clips.background[pick]
        begin = (draw.between(0.0, 1.0) * clips.length[clip]).long()
        index = (begin[:, None] + torch.arange(WINDOW, device=draw.device)) % clips.length[clip][:, None]
        real = clips.samples[clips.start[clip][:, None] + index].float() / 32768
        audio = torch.where((choice > 0.7)[:, None], real, audio)
    active = voice.abs() > 0.05 * voice.abs().amax(dim=1, keepdim=True).clamp(min=1e-9)
    level = (voice.square() * active).sum(dim=1).div(active.sum(dim=1).clamp(min=1)).sqrt()
    snr_db = torch.where(choice > 0.7, draw.between(0.0, 30.0), draw.between(5.0, 55.0))
    wanted = torch.where(silent, 10 ** (draw.between(-75.0, -20.0) / 20), level * 10 ** (-snr_db / 20))
    wanted = torch.where(choice < 0.35, 0.0, wanted)
    return audio * (wanted / audio.square().mean(dim=1).sqrt().clamp(min=1e-6))[:, None]


def _coloured(draw: Draw) -> Tensor:
    """White to red noise, (B, 48000): power falls by 0 to 9 dB an octave."""
    spectra = torch.fft.rfft(draw.normal(WINDOW))
    frequency = torch.linspace(0.0, 1.0, spectra.shape[1], device=draw.device).clamp(min=20 / 8000)
    slope = draw.between(0.0, 1.5)
    noise: Tensor = torch.fft.irfft(spectra * frequency[None] ** -slope[:, None], n=WINDOW)
    return noise


def recorder_response(draw: Draw) -> Tensor:
    """Frequency responses of room and recorder: reverberation, tilt, band limits; (B, frequencies) complex64."""
    size = WINDOW + _REVERB_SAMPLES
    time_s = torch.arange(_REVERB_SAMPLES, device=draw.device) / RATE_HZ
    decay = torch.exp(-6.9 * time_s / draw.between(0.1, 0.9)[:, None])
    tail = draw.normal(_REVERB_SAMPLES) * decay
    wet = torch.where(draw.chance(0.3), 10 ** (draw.between(-15.0, 3.0) / 20), 0.0)
    tail = tail * (wet / tail.square().sum(dim=1).sqrt())[:, None]
    response = 1.0 + torch.fft.rfft(tail, n=size)
    hz = torch.linspace(0.0, RATE_HZ / 2, response.shape[1], device=draw.device).clamp(min=1.0)
    octaves = torch.log2(hz.clamp(min=60.0) / 1000)
    tilt_db = torch.where(draw.chance(0.6), draw.between(-4.0, 4.0), 0.0)[:, None] * octaves
    choice = draw.between(0.0, 1.0)
    top_hz = torch.where(choice < 0.15, 3400.0, torch.where(choice < 0.3, draw.between(4000.0, 7500.0), 1e6))
    bottom_hz = torch.where(draw.chance(0.35), draw.between(30.0, 300.0), 1e-3)
    gain = 10 ** (tilt_db / 20) / torch.sqrt(1 + (hz / top_hz[:, None]) ** 24)
    combined: Tensor = response * (gain / torch.sqrt(1 + (bottom_hz[:, None] / hz) ** 6))
    return combined


def _filtered(audio: Tensor, response: Tensor) -> Tensor:
    size = WINDOW + _REVERB_SAMPLES
    filtered: Tensor = torch.fft.irfft(torch.fft.rfft(audio, n=size) * response, n=size)[:, :WINDOW]
    return filtered


def _recorded(
    voice: Tensor, room: Tensor, end: Tensor, front_end: FrontEnd, draw: Draw
) -> tuple[Tensor, Tensor, Tensor]:
    """Arguments of the front end: recordings of 16 bits, some clipped; their ends; the noise to subtract.

    In a long recording the quietest tenth lies outside the window: the noise of a third is that of the room alone.
    """
    audio = voice + room
    peak = audio.abs().amax(dim=1, keepdim=True)
    limit = torch.where(draw.chance(0.06), draw.between(0.2, 0.8), 1.0)[:, None] * peak
    audio = torch.minimum(torch.maximum(audio, -limit), limit) / peak.clamp(min=1.0)
    audio = torch.round(audio * 32767) / 32767
    own = front_end.noise_magnitude(audio, end)
    rooms = front_end.noise_magnitude(torch.round(room * 32767) / 32767, torch.full_like(end, WINDOW))
    return audio, end, torch.where(draw.chance(0.35)[:, None], rooms, own)


def activity(voice: Tensor, group: Tensor) -> Tensor:
    """(B, 10, 2) float32: whether a voice, and whether something else, sounds in over a tenth of a token."""
    power = voice.view(len(voice), -1, HOP).square().mean(dim=2)
    active = (power > 1e-3 * power.amax(dim=1, keepdim=True)).float()
    padded = torch.nn.functional.pad(active, (0, TOKENS * TOKEN_FRAMES - active.shape[1]))
    sounds = (padded.view(len(voice), TOKENS, TOKEN_FRAMES).mean(dim=2) > 0.1).float()
    return torch.stack([sounds * (group < SILENCE)[:, None], sounds * (group > SILENCE)[:, None]], dim=2)


def mask(mels: Tensor, draw: Draw) -> Tensor:
    """Blank two bands of frequency and two of time in half of the spectrograms (SpecAugment, Park et al. 2019)."""
    chosen = draw.chance(0.5)
    for axis, widest in ((2, 16), (2, 16), (3, 30), (3, 30)):
        size = mels.shape[axis]
        at = torch.arange(size, device=mels.device)
        start, width = draw.between(0.0, size), draw.between(0.0, widest)
        blank = chosen[:, None] & (at >= start[:, None]) & (at < (start + width)[:, None])
        mels = mels.masked_fill(blank[:, None, :, None] if axis == 2 else blank[:, None, None, :], 0.0)
    return mels
