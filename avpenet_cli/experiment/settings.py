"""Settings of an experiment: which systems are trained, how, and how they are evaluated; the shape of its file."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from avpenet_cli.errors import SettingsError
from avpenet_cli.evaluation.conditions import COVERS, NOISE_SNR_DB, Cover
from avpenet_cli.experiment.alteration import VariantSettings
from avpenet_cli.experiment.views import ViewSettings
from avpenet_cli.settings import from_dict, read_config, to_dict
from avpenet_cli.training.settings import TrainSettings

_STRICT = ConfigDict(extra="forbid")
PRESET_FOLDER = Path(__file__).parent / "presets"
NAME = r"^[a-z0-9][a-z0-9._-]{0,59}$"
Name = Annotated[str, Field(pattern=NAME)]
Seed = Annotated[int, Field(ge=0, lt=2**32)]


@dataclass(frozen=True, config=_STRICT)
class SystemSettings:
    """One system, as its difference from `ExperimentSettings.train`."""

    title: str
    """What tables call it."""
    group: str = "comparison"
    """Systems that are compared as one family."""
    train: dict[str, Any] = Field(default_factory=dict)
    """Settings of its training that differ, in the shape of `avpenet train --config`."""
    init: Literal["weights", "none"] = "weights"
    """`weights`: starts from the experiment's; `none`: from random numbers."""
    base: str = ""
    """The system that it is built on: its network contains that one's, trained with the same seed."""
    view: ViewSettings | None = None
    """What it sees in place of the stored segments, made while they are read."""
    variant: VariantSettings | None = None
    """How its recordings are prepared differently; needs --recordings."""
    seeds: tuple[Seed, ...] | None = None
    """By default those of the experiment."""

    def __post_init__(self) -> None:
        if self.view is not None and self.variant is not None:
            raise ValueError("view and variant: give one of them")


@dataclass(frozen=True, config=_STRICT)
class ExperimentSettings:
    """Systems that are trained and evaluated on the same splits and seeds."""

    systems: dict[Name, SystemSettings]
    """By name, in the order of the tables."""
    title: str = "Comparison of systems"
    """Heading of the page."""
    init: str = "avpenet-phantom"
    """Weights, by name or file, whose encoders the systems start from."""
    seeds: Annotated[tuple[Seed, ...], Field(min_length=1)] = (42, 43, 44)
    """Every system is trained once with each."""
    reference: str = "avpenet"
    """The system that all are compared with."""
    train: dict[str, Any] = Field(default_factory=dict)
    """Settings of every training, in the shape of `avpenet train --config`."""
    noise_snr_db: tuple[Annotated[float, Field(ge=-20.0, le=60.0)], ...] = tuple(map(float, NOISE_SNR_DB))
    """Levels of the noise under which systems are evaluated, dB."""
    covers: tuple[Cover, ...] = COVERS
    """What covers the faces when systems are evaluated."""
    robust: tuple[str, ...] = ()
    """Systems that are evaluated under noise and covers."""
    harder: bool = True
    """Also add noise before denoising and cover faces before detection; needs --recordings."""
    left_out: tuple[str, ...] = ()
    """Systems that are also trained without each site in turn, and tested on it; with the first seed only."""
    grouped: tuple[str, ...] = ()
    """Systems whose error is shown by groups; by default the reference."""
    columns: tuple[str, ...] | None = None
    """Columns by which errors are shown; by default all of the table of subjects. Intensity is always added."""
    margin_points: Annotated[float, Field(gt=0.0, le=10.0)] = 0.5
    """Groups whose errors differ by less are equivalent, points."""
    claim_margin_points: Annotated[float, Field(gt=0.0, le=10.0)] = 0.1
    """Systems whose errors differ by less have the same error, points."""
    keep_weights: Literal["first-seed", "all"] = "first-seed"
    """Of which seeds the trained weights are kept."""

    def __post_init__(self) -> None:
        if not self.systems:
            raise ValueError("systems: there are none")
        for field in ("seeds", "noise_snr_db", "covers"):
            values = getattr(self, field)
            if len(set(values)) != len(values):
                raise ValueError(f"{field}: one occurs twice")
        for field, names in (
            ("reference", (self.reference,)),
            ("robust", self.robust),
            ("left_out", self.left_out),
            ("grouped", self.grouped),
            ("base", tuple(system.base for system in self.systems.values() if system.base)),
        ):
            unknown = [name for name in names if name not in self.systems]
            if unknown:
                raise ValueError(f"{field}: there is no system {unknown[0]}")
        for name, system in self.systems.items():
            base = self.systems.get(system.base)
            if base is not None and (base.base or base.view or base.variant):
                raise ValueError(
                    f"{name}: its base {system.base} must see the stored segments, and have no base itself"
                )

    def seeds_of(self, name: str) -> tuple[int, ...]:
        """The seeds of a system; one that is built on another has no more than that."""
        system = self.systems[name]
        seeds = self.seeds if system.seeds is None else system.seeds
        return tuple(seed for seed in seeds if not system.base or seed in self.seeds_of(system.base))

    def train_settings(self, name: str, seed: int, left_out_site: str | None = None) -> TrainSettings:
        """The settings of one training.

        Raises:
            SettingsError: they are not settings of a training; names the system.
        """
        system = self.systems[name]
        plain = merged(self.train, system.train) | {"seed": seed, "left_out_site": left_out_site}
        if system.base:
            base = self.train_settings(system.base, seed, left_out_site)
            plain = merged(plain, {"architecture": {"base": to_dict(base.architecture)}})
        return from_dict(TrainSettings, plain, f"systems.{name}.train")

    def only(self, names: tuple[str, ...]) -> ExperimentSettings:
        """The settings with the named systems, what they are built on, and the reference.

        Raises:
            SettingsError: there is no such system.
        """
        unknown = [name for name in names if name not in self.systems]
        if unknown:
            raise SettingsError(f"--only: there is no system {unknown[0]}", f"name some of {', '.join(self.systems)}")
        wanted = {*names, *(self.systems[name].base for name in names), self.reference}
        return replace(
            self,
            systems={name: system for name, system in self.systems.items() if name in wanted},
            robust=tuple(name for name in self.robust if name in wanted),
            left_out=tuple(name for name in self.left_out if name in wanted),
            grouped=tuple(name for name in self.grouped if name in wanted),
        )


def merged(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """Nested dictionaries with the values of `changes` in place of those of `base`."""
    result = dict(base)
    for name, value in changes.items():
        before = result.get(name)
        result[name] = merged(before, value) if isinstance(before, dict) and isinstance(value, dict) else value
    return result


def presets() -> list[str]:
    """Names of the presets."""
    return sorted(path.stem for path in PRESET_FOLDER.glob("*.toml"))


def read_experiment(preset: str | None, config: Path | None) -> ExperimentSettings:
    """The settings of a preset, or of a file.

    Raises:
        SettingsError: both or neither is given; an unknown preset; a file that cannot be read, or with a setting that
            does not exist or is out of range.
    """
    if (preset is None) == (config is None):
        raise SettingsError("give --preset or --config, one of them", f"presets: {', '.join(presets())}")
    if preset is not None and preset not in presets():
        raise SettingsError(f"--preset {preset}: there is none of that name", f"use {' or '.join(presets())}")
    path = config if config is not None else PRESET_FOLDER / f"{preset}.toml"
    settings = from_dict(ExperimentSettings, read_config(path), str(path) if config is not None else f"preset {preset}")
    for name in settings.systems:
        settings.train_settings(name, settings.seeds[0])
    return settings
