"""A shard: one of several parts of an archive, each scored or prepared by a run of its own."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from avpenet_cli.errors import SettingsError

MOST_SHARDS = 10_000


@dataclass(frozen=True, order=True)
class Shard:
    """Part `number` of `count` parts.

    Attributes:
        number: 1 to `count`.
        count: 1 to 10,000.
    """

    number: int
    count: int

    def __str__(self) -> str:
        return f"{self.number} of {self.count}"

    @classmethod
    def parse(cls, text: str) -> Shard:
        """From `3/16`.

        Raises:
            SettingsError: it is something else.
        """
        match = re.fullmatch(r"([0-9]{1,5})/([0-9]{1,5})", text)
        shard = cls(int(match[1]), int(match[2])) if match else cls(0, 0)
        if not 1 <= shard.number <= shard.count <= MOST_SHARDS:
            raise SettingsError(f"--shard {text} is no shard", "give its number and how many there are, such as 3/16")
        return shard


def shards_folder(output: Path) -> Path:
    """`scores.shards` for `scores.csv`, `store.shards` for a folder `store`: where the shards of an output lie."""
    return output.with_suffix(".shards")


def plan_path(output: Path) -> Path:
    """The file that says which recording belongs to which shard."""
    return shards_folder(output) / "plan.json"


def shard_output(output: Path, shard: Shard) -> Path:
    """`scores.shards/03-of-16.csv`: what the run of one shard writes, with all that lies beside it."""
    return shard_file(output, shard, output.suffix)


def shard_file(output: Path, shard: Shard, ending: str) -> Path:
    """A file of one shard: with the ending `.embeddings.parquet`, `scores.shards/03-of-16.embeddings.parquet`."""
    digits = len(str(shard.count))
    return shards_folder(output) / f"{shard.number:0{digits}}-of-{shard.count}{ending}"


def shard_of_output(name: str) -> Shard | None:
    """The shard whose output has this name, which may have suffixes; None where it is no shard's."""
    match = re.match(r"([0-9]{1,5})-of-([0-9]{1,5})(\.|$)", name)
    return Shard(int(match[1]), int(match[2])) if match else None
