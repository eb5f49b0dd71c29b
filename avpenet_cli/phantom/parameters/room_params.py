"""Parameters of equipment, rooms and microphones: `parameters/rooms.toml` as dataclasses.

The file has units and sources.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Annotated

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from avpenet_cli.errors import SettingsError
from avpenet_cli.phantom.parameters.voice_params import CountRange, Range, read_params
from avpenet_cli.settings import Count, Positive, Share

_STRICT = ConfigDict(extra="forbid")


@dataclass(frozen=True, config=_STRICT)
class BeepParams:
    """Tone of a monitor at each heartbeat."""

    length_s: Range
    edge_s: Positive
    harmonics_db: tuple[float, ...]
    rate_variation: Share


@dataclass(frozen=True, config=_STRICT)
class AlarmParams:
    """Alarms: bursts of pulses after IEC 60601-1-8."""

    pulse_hz: Range
    drawn_hz: Range
    harmonics_db: tuple[float, ...]
    high_pulse_s: Range
    high_gap_s: Range
    high_groups: tuple[Count, ...]
    high_middle_gap_s: Range
    medium_pulse_s: Range
    medium_gap_s: Range
    medium_pulses: Count
    high_share: Share
    bursts: CountRange
    between_bursts_s: Range
    melody_semitones: tuple[int, ...]
    edge_share: Share

    def __post_init__(self) -> None:
        highest_hz = self.drawn_hz[1] * 2.0 ** (max(self.melody_semitones) / 12.0)
        if self.drawn_hz[0] < self.pulse_hz[0] or highest_hz > self.pulse_hz[1]:
            raise ValueError(f"alarms of {self.drawn_hz[0]:g} to {highest_hz:g} Hz exceed the range {self.pulse_hz} Hz")


@dataclass(frozen=True, config=_STRICT)
class StepParams:
    """Footsteps of a person who walks past."""

    steps: CountRange
    step_hz: Range
    thump_hz: Range
    thump_decay_s: Positive
    click_hz: Range
    click_decay_s: Positive
    click_db: float
    walk_db: float


@dataclass(frozen=True, config=_STRICT)
class VentilationParams:
    """Spectrum and level variation of the ventilation."""

    lowest_hz: Positive
    drift_db: float
    drift_s: Positive
    hum_harmonics: Count


@dataclass(frozen=True, config=_STRICT)
class EquipmentParams:
    """Sound sources of all rooms."""

    beep: BeepParams
    alarm: AlarmParams
    steps: StepParams
    ventilation: VentilationParams


@dataclass(frozen=True, config=_STRICT)
class RoomModel:
    """Properties that all rooms and recorders share."""

    voice_reference_dbfs: Annotated[float, Field(le=0.0)]
    first_reflection_s: Positive
    early_until_s: Positive
    early_reflections: Count
    high_decay_share: Share
    crossover_hz: Positive
    tail_share: Positive
    limit_knee: Share
    limit_ceiling: Share
    agc_block_s: Positive
    band_order: Count


@dataclass(frozen=True, config=_STRICT)
class Microphone:
    """The microphone and recorder of a site.

    Attributes:
        low_hz, high_hz: band, -3 dB.
        noise_dbfs: RMS of its noise.
        gain_db: range of a recording's gain.
        agc: whether the recorder has automatic gain control.
        agc_target_dbfs: RMS that it aims at.
        agc_max_db: largest amplification.
        agc_attack_s, agc_release_s: time constants of lowering and raising the gain.
    """

    low_hz: Positive
    high_hz: Positive
    noise_dbfs: float
    gain_db: Range
    agc: bool
    agc_target_dbfs: float
    agc_max_db: Annotated[float, Field(ge=0.0)]
    agc_attack_s: Positive
    agc_release_s: Positive


@dataclass(frozen=True, config=_STRICT)
class Room:
    """Reverberation of a site: reverberation time, and level of the direct sound over the reverberation."""

    rt60_s: Positive
    direct_to_reverberant_db: float


@dataclass(frozen=True, config=_STRICT)
class Ventilation:
    """Ventilation noise: level relative to the voice, corner frequency, and hum."""

    level_db: Range
    corner_hz: Positive
    hum_hz: Range
    hum_db: float


@dataclass(frozen=True, config=_STRICT)
class Monitor:
    """Heart monitor: probability in a recording, heart rate, pitch, and level relative to the voice."""

    chance: Share
    rate_hz: Range
    tone_hz: Range
    level_db: Range


@dataclass(frozen=True, config=_STRICT)
class PerMinute:
    """Rates of events per minute."""

    alarms: Annotated[float, Field(ge=0.0)]
    walks: Annotated[float, Field(ge=0.0)]
    voices: Annotated[float, Field(ge=0.0)]


@dataclass(frozen=True, config=_STRICT)
class EventLevels:
    """Levels of events, dB relative to the voice."""

    alarms: Range
    walks: Range
    voices: Range


@dataclass(frozen=True, config=_STRICT)
class Site:
    """A simulated recording site: microphone, room and sound sources."""

    name: str
    title: str
    microphone: Microphone
    room: Room
    ventilation: Ventilation
    monitor: Monitor
    per_minute: PerMinute
    event_level_db: EventLevels


@dataclass(frozen=True, config=_STRICT)
class RoomParams:
    """`parameters/rooms.toml`."""

    equipment: EquipmentParams
    rooms: RoomModel
    sites: tuple[Site, ...]


@lru_cache(maxsize=1)
def room_params() -> RoomParams:
    """Read the parameters of the rooms.

    Raises:
        SettingsError: a parameter is missing, unknown or out of range; the message names it.
    """
    return read_params(RoomParams, "rooms.toml")


def sites() -> tuple[Site, ...]:
    """The simulated sites: A neonatal intensive care, B emergency department, C pain clinic."""
    return room_params().sites


def site_named(name: str) -> Site:
    """Look up a simulated site.

    Raises:
        SettingsError: there is no such site.
    """
    for site in sites():
        if site.name == name:
            return site
    known = ", ".join(site.name for site in sites())
    raise SettingsError(f"no simulated site is called {name!r}", f"the sites are {known}")
