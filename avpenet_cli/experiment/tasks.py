"""The trainings of an experiment, in an order in which each finds what it is built on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from avpenet_cli.experiment.predictions import PredictionKey
from avpenet_cli.experiment.settings import ExperimentSettings

SYSTEMS_FOLDER = "systems"


@dataclass(frozen=True)
class Task:
    """One training and its evaluation.

    Attributes:
        key: system, seed and site left out.
        base: the system that this one is built on, with the same seed and site; empty for most.
    """

    key: PredictionKey
    base: str = ""

    @property
    def base_key(self) -> PredictionKey | None:
        """Of the training that this one is built on."""
        if not self.base:
            return None
        return PredictionKey(self.base, self.key.seed, self.key.left_out_site)

    @property
    def title(self) -> str:
        """For people."""
        return title_of(self.key)


def title_of(key: PredictionKey) -> str:
    """A training for people."""
    site = f", without site {key.left_out_site}" if key.left_out_site else ""
    return f"{key.system}, seed {key.seed}{site}"


def plan_tasks(settings: ExperimentSettings, sites: Sequence[str]) -> list[Task]:
    """All trainings: seed by seed, so that a run that is stopped has whole comparisons; sites last.

    Args:
        sites: that can be left out.
    """
    return list(dict.fromkeys(_tasks(settings, sites)))


def _tasks(settings: ExperimentSettings, sites: Sequence[str]) -> Iterator[Task]:
    ordered = sorted(settings.systems, key=lambda name: bool(settings.systems[name].base))
    for seed in dict.fromkeys(seed for name in ordered for seed in settings.seeds_of(name)):
        for name in ordered:
            if seed in settings.seeds_of(name):
                yield Task(PredictionKey(name, seed), settings.systems[name].base)
    for site in sites:
        for name in (name for name in ordered if name in settings.left_out):
            base, seeds = settings.systems[name].base, settings.seeds_of(name)[:1]
            for seed in seeds:
                if base:
                    yield Task(PredictionKey(base, seed, site))
                yield Task(PredictionKey(name, seed, site), base)


def task_folder(out: Path, key: PredictionKey) -> Path:
    """Where a training keeps its state and its weights."""
    return out / SYSTEMS_FOLDER / Path(key.file_name).stem


def weights_path(out: Path, key: PredictionKey) -> Path:
    """The file of a training's weights."""
    return task_folder(out, key) / f"{key.system}.safetensors"


def failure_path(out: Path, key: PredictionKey) -> Path:
    """The file that says why a training failed; not in its folder, which there may not be."""
    folder = task_folder(out, key)
    return folder.with_name(f"{folder.name}.failed.json")
