"""What makes an experiment the same one: a run can resume another only if these agree."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from avpenet_cli.errors import OutputError
from avpenet_cli.experiment.inputs import Inputs
from avpenet_cli.experiment.settings import ExperimentSettings
from avpenet_cli.runs.outputs import read_run_file
from avpenet_cli.settings import describe_differences, flatten, from_dict, to_dict
from avpenet_cli.storage import write_json
from avpenet_cli.training.initial import digest_of_files, locate_initial_file

RUN_FILE = "experiment.run.json"
RUN_VERSION = 1
_MAY_CHANGE = {
    *("title", "keep_weights", "grouped", "columns", "margin_points", "claim_margin_points"),
    *("seeds", "left_out", "reference", "systems"),
}
"""Settings of the page, and of which trainings there are: they change none that is finished, nor do more systems, or
fewer."""
_MAY_CHANGE_IN_SYSTEM = {"title", "group", "seeds"}


@dataclass(frozen=True)
class ExperimentIdentity:
    """`experiment.run.json`.

    Attributes:
        run_version: of the file.
        store: digest of the store.
        noise: digest of the recordings of noise; empty without.
        init: SHA-256 of the weights that systems start from.
        settings: flat, as text; those that change what is finished.
        systems: the same of each system, by its name.
    """

    run_version: int
    store: str
    noise: str
    init: str
    settings: dict[str, str]
    systems: dict[str, dict[str, str]]

    @classmethod
    def of(cls, settings: ExperimentSettings, inputs: Inputs) -> ExperimentIdentity:
        """The identity of an experiment that is about to start."""
        plain = to_dict(settings)
        return cls(
            RUN_VERSION,
            inputs.store.digest,
            inputs.noise.digest if inputs.noise else "",
            digest_of_files([locate_initial_file(settings.init)])[0],
            _text(plain, _MAY_CHANGE),
            {name: _text(system, _MAY_CHANGE_IN_SYSTEM) for name, system in plain["systems"].items()},
        )

    def differences(self, earlier: ExperimentIdentity) -> str:
        """How this experiment differs from an earlier one; empty where it may resume that."""
        if self.store != earlier.store:
            return "another store, or one prepared again since"
        if self.init != earlier.init:
            return "other weights to start from"
        if self.noise != earlier.noise:
            return "other recordings of noise"
        before, now = dict(earlier.settings), dict(self.settings)
        for name in self.systems.keys() & earlier.systems.keys():
            before |= {f"systems.{name}.{key}": value for key, value in earlier.systems[name].items()}
            now |= {f"systems.{name}.{key}": value for key, value in self.systems[name].items()}
        return describe_differences(before, now)


def _text(plain: Mapping[str, object], leave_out: set[str]) -> dict[str, str]:
    chosen = {name: value for name, value in plain.items() if name not in leave_out}
    return {name: str(value) for name, value in flatten(chosen).items()}


def check_same(folder: Path, identity: ExperimentIdentity) -> ExperimentIdentity | None:
    """The identity of the experiment in a folder; None where there is none.

    Raises:
        OutputError: it is another one, or its file cannot be read.
    """
    content = read_run_file(folder / RUN_FILE, "remove the folder, or choose another --out")
    if content is None:
        return None
    earlier = from_dict(ExperimentIdentity, content, str(folder / RUN_FILE))
    differences = identity.differences(earlier)
    if differences:
        raise OutputError(
            f"{folder} holds another experiment: {differences}",
            "give the settings it began with, or choose another --out",
        )
    return earlier


def begin_or_resume(folder: Path, identity: ExperimentIdentity) -> None:
    """Note what the experiment is, or check that it is the one that was begun, and note its further systems.

    Raises:
        OutputError: it is another one, or the file cannot be read or written.
    """
    earlier = check_same(folder, identity)
    if earlier is not None:
        identity = replace(identity, systems=earlier.systems | identity.systems)
    write_json(folder / RUN_FILE, to_dict(identity))
