"""What is run: a command line for each shard, and one that merges them."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

from avpenet_cli.shards.shard import Shard, shards_folder
from avpenet_cli.storage import make_private_folder


@dataclass(frozen=True)
class ShardedWork:
    """A command whose output is made in shards and then merged.

    Attributes:
        command: its name, `score` or `prepare`.
        out: the merged output.
        count: number of shards.
        options: of each shard, without `--shard`.
        inputs: of each shard: all recordings.
        merge_options: of the merge.
        private: neither names nor paths of inputs may be written anywhere.
    """

    command: str
    out: Path
    count: int
    options: tuple[str, ...]
    inputs: tuple[str, ...]
    merge_options: tuple[str, ...] = ()
    private: bool = False

    @property
    def shards(self) -> tuple[Shard, ...]:
        """All shards, in order."""
        return tuple(Shard(number, self.count) for number in range(1, self.count + 1))

    @property
    def written_last(self) -> Path:
        """The file by which one knows that the merge has done its work."""
        return self.out / "store.json" if self.command == "prepare" else self.out

    def shard_command(self, shard: Shard) -> list[str]:
        """Arguments of avpenet that make one shard."""
        inputs = ["--", *self.inputs] if self.inputs else []
        return [self.command, *self.options, "--shard", f"{shard.number}/{shard.count}", *inputs]

    def merge_command(self) -> list[str]:
        """Arguments of avpenet that merge the shards."""
        return ["merge", *self.merge_options, "--", str(self.out)]


def process_command(arguments: list[str]) -> list[str]:
    """What starts this program in a process of its own; -P, because a module in the current folder is no part of it."""
    return [sys.executable, "-P", "-m", "avpenet_cli", *arguments]


def jobs_folder(out: Path) -> Path:
    """`scores.shards/jobs`: logs and files of the jobs."""
    return shards_folder(out) / "jobs"


def make_jobs_folder(out: Path) -> Path:
    """Create the folder for logs, which hold the names of recordings; readable by its owner only.

    Raises:
        EnvironmentUnavailableError: the disk is full or failed.
        OutputError: it cannot be created.
    """
    for folder in (shards_folder(out), jobs_folder(out)):
        make_private_folder(folder)
    return jobs_folder(out)
