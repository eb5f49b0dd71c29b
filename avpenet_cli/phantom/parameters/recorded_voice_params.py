"""Parameters of recorded voices: `parameters/recorded_voices.toml` as dataclasses."""

from __future__ import annotations

from functools import cache

from pydantic import ConfigDict
from pydantic.dataclasses import dataclass

from avpenet_cli.phantom.parameters.voice_params import AgeGroup, AtPain, Range, read_params
from avpenet_cli.settings import Positive

_STRICT = ConfigDict(extra="forbid")

KindGroups = tuple[tuple[str, ...], ...]
"""Groups of clip kinds by preference; the kinds of a group are equals."""


@dataclass(frozen=True, config=_STRICT)
class FillParams:
    """Kinds of clips that fill a kind of utterance, at strong and at weaker or no pain."""

    strong: KindGroups
    weak: KindGroups


@dataclass(frozen=True, config=_STRICT)
class FitParams:
    """How clips are changed, joined and levelled."""

    strong_from_pain: float
    stretch: Range
    semitones: Range
    semitones_at_pain: AtPain
    semitones_spread: float
    join_s: Positive
    min_piece_s: Positive
    natural_attack_s: Positive
    natural_release_s: Positive
    cut_attack_s: Positive
    cut_release_s: Positive
    loudness_window_s: Positive
    crest_db: float


@dataclass(frozen=True, config=_STRICT)
class ClipParams:
    """How silence around a voice is removed."""

    highpass_hz: Positive
    frame_s: Positive
    floor_db: Positive
    silent_dbfs: float
    gap_s: Positive
    max_s: Positive


@dataclass(frozen=True, config=_STRICT)
class StretchParams:
    """How the voiced stretches of a recording of an infant are found."""

    highpass_hz: Positive
    frame_s: Positive
    hop_s: Positive
    f0_hz: Range
    periodicity: Positive
    below_loudest_db: Positive
    gap_s: Positive
    min_s: Positive
    margin_s: Positive
    whimper_below_db: float


@dataclass(frozen=True, config=_STRICT)
class RecordedVoiceParams:
    """`parameters/recorded_voices.toml`."""

    kinds: tuple[str, ...]
    burst_categories: dict[str, str]
    cry_ages: dict[str, AgeGroup]
    fill: dict[str, FillParams]
    fit: FitParams
    clips: ClipParams
    stretches: StretchParams

    def __post_init__(self) -> None:
        used = {kind for fill in self.fill.values() for group in (*fill.strong, *fill.weak) for kind in group}
        for kind in (*used, *self.burst_categories.values()):
            if kind not in self.kinds:
                raise ValueError(f"{kind} is not a kind of clip")


@cache
def recorded_voice_params() -> RecordedVoiceParams:
    """Read the parameters of recorded voices.

    Raises:
        SettingsError: a parameter is missing, unknown or out of range; the message names it.
    """
    return read_params(RecordedVoiceParams, "recorded_voices.toml")
