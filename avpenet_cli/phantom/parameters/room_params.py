"""The numbers of equipment, rooms and microphones: `parameters/rooms.toml` as dataclasses.

Units and sources stand beside the numbers, in that file.
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
    """A tone at each heart beat."""

    length_s: Range
    edge_s: Positive
    harmonics_db: tuple[float, ...]
    rate_wander: Share


@dataclass(frozen=True, config=_STRICT)
class AlarmParams:
    """Bursts of pulses, as IEC 60601-1-8 has them."""

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
            raise ValueError(f"alarms of {self.drawn_hz[0]:g} to {highest_hz:g} Hz leave {self.pulse_hz} Hz")


@dataclass(frozen=True, config=_STRICT)
class StepParams:
    """Someone walks past."""

    steps: CountRange
    step_hz: Range
    thump_hz: Range
    thump_decay_s: Positive
    click_hz: Range
    click_decay_s: Positive
    click_db: float
    walk_db: float


@dataclass(frozen=True, config=_STRICT)
class DriftParams:
    """How steady the ventilation is."""

    lowest_hz: Positive
    wander_db: float
    wander_s: Positive
    hum_harmonics: Count


@dataclass(frozen=True, config=_STRICT)
class EquipmentParams:
    """What sounds in any of the rooms."""

    beep: BeepParams
    alarm: AlarmParams
    steps: StepParams
    ventilation: DriftParams


@dataclass(frozen=True, config=_STRICT)
class RoomModel:
    """What all rooms and recorders have in common."""

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
    """What a site records with.

    Attributes:
        low_hz, high_hz: band, -3 dB.
        noise_dbfs: RMS of its own noise.
        gain_db: what a recording's gain is drawn from.
        agc: whether the recorder turns its gain by itself.
        agc_target_dbfs: RMS it aims at.
        agc_most_db: how much it amplifies at most.
        agc_attack_s, agc_release_s: how fast it turns down and up.
    """

    low_hz: Positive
    high_hz: Positive
    noise_dbfs: float
    gain_db: Range
    agc: bool
    agc_target_dbfs: float
    agc_most_db: Annotated[float, Field(ge=0.0)]
    agc_attack_s: Positive
    agc_release_s: Positive


@dataclass(frozen=True, config=_STRICT)
class Room:
    """How a site echoes: reverberation time, and how far the direct sound is above the reverberation."""

    rt60_s: Positive
    direct_to_reverberant_db: float


@dataclass(frozen=True, config=_STRICT)
class Ventilation:
    """Air and fans: level re the voice, where the noise begins to fall, and a hum."""

    level_db: Range
    corner_hz: Positive
    hum_hz: Range
    hum_db: float


@dataclass(frozen=True, config=_STRICT)
class Monitor:
    """The beep of a heart: in which share of recordings, how fast, at which pitch and level re the voice."""

    chance: Share
    rate_hz: Range
    tone_hz: Range
    level_db: Range


@dataclass(frozen=True, config=_STRICT)
class PerMinute:
    """How often something happens."""

    alarms: Annotated[float, Field(ge=0.0)]
    walks: Annotated[float, Field(ge=0.0)]
    voices: Annotated[float, Field(ge=0.0)]


@dataclass(frozen=True, config=_STRICT)
class EventLevels:
    """How loud it is, dB re the voice."""

    alarms: Range
    walks: Range
    voices: Range


@dataclass(frozen=True, config=_STRICT)
class Site:
    """A place where phantoms are recorded: its microphone, its room and what sounds there."""

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
    """The rooms' numbers.

    Raises:
        SettingsError: naming the number that is missing, unknown or out of range.
    """
    return read_params(RoomParams, "rooms.toml")


def sites() -> tuple[Site, ...]:
    """The simulated sites: A neonatal intensive care, B emergency department, C pain clinic."""
    return room_params().sites


def site_named(name: str) -> Site:
    """One of `sites`.

    Raises:
        SettingsError: no such site.
    """
    for site in sites():
        if site.name == name:
            return site
    known = ", ".join(site.name for site in sites())
    raise SettingsError(f"no simulated site is called {name!r}", f"the sites are {known}")
