"""The description of a set of weights, stored as `NAME.json`."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, SerializeAsAny, ValidationInfo, field_validator
from pydantic.dataclasses import dataclass

from avpenet_cli.model.architecture import MODALITIES, Modality, NetworkSettings
from avpenet_cli.model.registry import NetworkName, settings_of
from avpenet_cli.settings import Preprocessing, digest_of, to_dict

FORMAT_VERSION = 1

UNTRAINED = "untrained"
"""Name of the built-in weights; reserved."""

UNTRAINED_SEED = 42

Status = Literal["untrained", "demonstration", "research", "imported", "validated"]
Label = Literal["low", "moderate", "high"]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
_NAME = r"[A-Za-z0-9][A-Za-z0-9._-]{0,79}"
Name = Annotated[str, Field(pattern=f"^{_NAME}$")]

_MUST_HAVE_NOTICE: frozenset[Status] = frozenset({"untrained", "demonstration", "imported"})
_NO_DIGEST = "0" * 64


@dataclass(frozen=True, config=ConfigDict(extra="forbid", allow_inf_nan=False))
class WeightsDescription:
    """Contents of `NAME.json`.

    Attributes:
        name: of the weights, and the stem of both files.
        status: how far these weights are validated.
        intended_use: one sentence.
        not_intended_use: one sentence.
        training_data: what they were trained on.
        licence: of the weights.
        created_with: the program that wrote them, and their source.
        network: name of their network in the registry.
        architecture: variant of the network, of its own settings class.
        preprocessing: of the network's training data; scoring uses the same.
        cut_points: on the 0-10 scale; low up to and including the first, moderate up to and including the second.
        modalities: inputs of the network.
        notice: included in every output; may be empty only for `research` and `validated`.
        n_parameters: number of learnable parameters of the network.
        tensors_sha256: SHA-256 of `NAME.safetensors`, hexadecimal.
    """

    name: Name
    status: Status
    intended_use: str
    not_intended_use: str
    training_data: str
    licence: str
    created_with: str
    format_version: Literal[1] = 1
    network: NetworkName = "avpenet"
    architecture: SerializeAsAny[NetworkSettings] = Field(default_factory=dict, validate_default=True)
    preprocessing: Preprocessing = Field(default_factory=Preprocessing)
    cut_points: tuple[float, float] = (3.0, 6.0)
    modalities: tuple[Modality, ...] = MODALITIES
    notice: str = ""
    n_parameters: Annotated[int, Field(ge=0)] = 0
    tensors_sha256: Sha256 = _NO_DIGEST

    @field_validator("architecture", mode="before")
    @classmethod
    def _of_network(cls, value: object, info: ValidationInfo) -> NetworkSettings:
        # A network that is not known is refused by its own field.
        return settings_of(str(info.data.get("network", "avpenet")), {} if "network" not in info.data else value)

    def __post_init__(self) -> None:
        low, high = self.cut_points
        if not 0.0 < low < high < 10.0:
            raise ValueError(f"cut_points must increase within 0 to 10; got {low}, {high}")
        if self.status in _MUST_HAVE_NOTICE and not self.notice.strip():
            raise ValueError(f"weights with status {self.status} need a notice")
        optional = set(self.architecture.may_be_missing)
        if optional and (len(self.modalities) < 2 or not optional <= set(self.modalities)):
            raise ValueError("may_be_missing names a modality that the network does not take, or its only one")

    @property
    def modalities_needed(self) -> tuple[Modality, ...]:
        """Modalities that every segment must have; of the others it must have at least one."""
        return tuple(name for name in self.modalities if name not in self.architecture.may_be_missing)

    @property
    def digest(self) -> str:
        """SHA-256 of the canonical description, hexadecimal; it covers both files through `tensors_sha256`."""
        return digest_of(to_dict(self))

    def label(self, score: float) -> Label:
        """Class of a score in [0, 10]; the upper end of each class is inclusive."""
        low, high = self.cut_points
        return "low" if score <= low else "moderate" if score <= high else "high"


@dataclasses.dataclass(frozen=True)
class WeightsEntry:
    """A set of weights whose description was read and is intact.

    Attributes:
        path: file of the tensors; None for the built-in weights.
    """

    description: WeightsDescription
    path: Path | None

    @property
    def name(self) -> str:
        """The description's name."""
        return self.description.name

    @property
    def digest(self) -> str:
        """The description's digest: SHA-256 over both files, hexadecimal."""
        return self.description.digest


def is_valid_name(name: str) -> bool:
    """Whether weights can have this name: at most 80 letters, digits, dots, dashes and underscores."""
    return re.fullmatch(_NAME, name) is not None


def untrained_entry() -> WeightsEntry:
    """The built-in weights: seeded initialisation, no file. Their scores mean nothing."""
    from avpenet_cli.model.initialise import SCHEME

    return WeightsEntry(
        WeightsDescription(
            name=UNTRAINED,
            status="untrained",
            intended_use="Trying out and testing the program.",
            not_intended_use="Anything else: the network has learnt nothing.",
            training_data="none",
            licence="MIT",
            created_with=f"built in, {SCHEME}, seed {UNTRAINED_SEED}",
            notice="UNTRAINED weights: these scores mean nothing and must not be used",
            n_parameters=51_247_459,
            tensors_sha256=digest_of({"scheme": SCHEME, "seed": UNTRAINED_SEED, "network": "avpenet"}),
        ),
        path=None,
    )


def describe(entry: WeightsEntry) -> dict[str, Any]:
    """The description as JSON-ready nested dictionaries with its digest, as `NAME.json` holds it."""
    return to_dict(entry.description) | {"digest": entry.digest}
