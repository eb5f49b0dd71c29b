"""Whether the shards of a table can be merged, and what each of them still lacks."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from avpenet_cli.errors import OutputError, OutputLockedError, SettingsError
from avpenet_cli.phrasing import plural
from avpenet_cli.runs.host import HostFacts
from avpenet_cli.runs.journal import journal_path
from avpenet_cli.runs.journal_source import JournalSource, opened_source
from avpenet_cli.runs.lock import lock_holder
from avpenet_cli.runs.manifest import manifest_path
from avpenet_cli.runs.manifest_entries import ShardEntry, Timing
from avpenet_cli.settings import describe_differences, from_dict
from avpenet_cli.shards.plan import ShardPlan
from avpenet_cli.shards.problems import NOT_STARTED, ShardProblem, foreign_files, refusal
from avpenet_cli.shards.shard import Shard, shard_file, shard_output
from avpenet_cli.textfiles import parse_json

_REPAIR = "move away what does not belong there, or score a shard again with --overwrite"


@dataclass(frozen=True)
class FinishedShard:
    """A shard that can be merged.

    Attributes:
        shard: which one.
        keys: of its recordings by the plan.
        finished: when its latest run ended, as its journal states it; tells whether it has run since.
        manifest: without its recordings; empty where the shard has none.
        entry: what the manifest of the merged table states of it; None where it has no recordings.
        paths: of the recordings by their keys; without those of pseudonyms.
        reused: keys of the recordings that an earlier run of the shard had scored.
        dropped: names of recordings that it holds and the plan no longer has.
    """

    shard: Shard
    keys: frozenset[str]
    finished: str = ""
    manifest: Mapping[str, Any] = field(default_factory=dict)
    entry: ShardEntry | None = None
    paths: Mapping[str, Path] = field(default_factory=dict)
    reused: frozenset[str] = frozenset()
    dropped: tuple[str, ...] = ()


def check_shards(out: Path, plan: ShardPlan, *, embeddings: str | None, prune: bool) -> list[FinishedShard]:
    """Check all shards, and what else lies in their folder; those that have recordings, in order.

    Args:
        embeddings: name of the file of embeddings that the merge writes; None without.
        prune: shards may hold recordings that the plan no longer has.

    Raises:
        ShardsUnfinishedError: some have not begun, were interrupted or have new recordings.
        OutputLockedError: runs are writing them.
        OutputError: some are foreign, damaged, or of other weights or settings.
    """
    check = _Check(out, plan, embeddings, prune)
    shards, problems = [], list(foreign_files(out, plan))
    for shard in plan.shards:
        try:
            shards.append(check.shard(shard))
        except ShardProblem as problem:
            problems.append((shard, problem))
    if problems:
        raise refusal(out, problems, _REPAIR)
    return [shard for shard in shards if shard.keys]


class _Check:
    """Checks one shard after the other; arguments as of `check_shards`."""

    def __init__(self, out: Path, plan: ShardPlan, embeddings: str | None, prune: bool) -> None:
        self._out, self._embeddings, self._prune = out, embeddings, prune
        self._settings = {name: json.dumps(value) for name, value in plan.settings.items()}
        self._owners = {item.key: item.shard for item in plan.recordings}
        self._keys: dict[int, set[str]] = {shard.number: set() for shard in plan.shards}
        for key, number in self._owners.items():
            self._keys[number].add(key)

    def shard(self, shard: Shard) -> FinishedShard:
        """What a shard holds.

        Raises:
            ShardProblem: it cannot be merged.
        """
        output, keys = shard_output(self._out, shard), frozenset(self._keys[shard.number])
        if holder := lock_holder(output):
            raise ShardProblem(f"is being written by {holder}", "running")
        if not journal_path(output).exists():
            if keys:
                raise ShardProblem(NOT_STARTED, "unfinished")
            return FinishedShard(shard, keys)
        try:
            with opened_source(output) as source:
                return self._finished(shard, keys, source)
        except OutputLockedError as error:
            raise ShardProblem(f"cannot be read: {error.message}", "running") from None
        except OutputError as error:
            raise ShardProblem(f"cannot be read: {error.message}", "wrong") from None

    def _finished(self, shard: Shard, keys: frozenset[str], source: JournalSource) -> FinishedShard:
        if not source.run:
            if keys:
                raise ShardProblem("has stored nothing yet", "unfinished")
            return FinishedShard(shard, keys)
        source.check_intact()
        if differences := describe_differences(self._settings, source.settings):
            raise ShardProblem(f"has other weights or settings: {differences}", "wrong")
        dropped = self._not_in_plan(shard, source)
        held = source.finished | source.failed
        done = {key for key in held if key in source.inputs and not source.inputs[key].waits}
        if to_do := len(keys - done):
            raise ShardProblem(f"has {to_do} of {plural(len(keys), 'recording')} to do", "unfinished")
        finished = str(source.run.get("finished") or "")
        if not finished:
            raise ShardProblem("was interrupted before it wrote its table", "unfinished")
        if not keys:
            return FinishedShard(shard, keys, finished, dropped=dropped)
        manifest, entry = _read_manifest(shard, shard_output(self._out, shard), len(keys), finished)
        self._check_embeddings(shard, manifest)
        by_name = {item.name: key for key, item in source.inputs.items()}
        again = (by_name.get(entry["recording"]) for entry in manifest.pop("recordings") if entry["from_earlier_run"])
        return FinishedShard(
            shard,
            keys,
            finished,
            manifest,
            entry,
            {key: item.path for key, item in source.inputs.items() if item.path is not None and key in keys},
            frozenset(key for key in again if key is not None),
            dropped,
        )

    def _not_in_plan(self, shard: Shard, source: JournalSource) -> tuple[str, ...]:
        """Names of recordings that a shard holds and no shard has by the plan; empty where a name is not known."""
        others = Counter(
            self._owners[key]
            for key in source.finished | source.failed
            if self._owners.get(key, shard.number) != shard.number
        )
        if others:
            raise ShardProblem(f"holds {plural(others.total(), 'recording')} of shard {min(others)}", "wrong")
        keys = sorted(source.finished - self._owners.keys())
        names = tuple(source.inputs[key].name if key in source.inputs else "" for key in keys)
        if names and not self._prune:
            example = next((f" (such as {name})" for name in names if name), "")
            number = plural(len(names), "recording")
            raise ShardProblem(f"holds {number} not in the plan{example}, which --prune leaves out", "wrong")
        return names

    def _check_embeddings(self, shard: Shard, manifest: Mapping[str, Any]) -> None:
        if self._embeddings is None:
            return
        name = shard_file(self._out, shard, f".{self._embeddings}").name
        if name not in {entry.get("file") for entry in manifest.get("summaries", [])}:
            raise ShardProblem(f"was scored without --embeddings {self._embeddings}", "unfinished")


def _read_manifest(shard: Shard, output: Path, recordings: int, finished: str) -> tuple[dict[str, Any], ShardEntry]:
    """The manifest of the run that the journal states, and what the merged table's manifest states of it."""
    path = manifest_path(output)
    try:
        content = path.read_bytes()
        manifest = parse_json(content)
        owner = manifest["table"]["file"]
        entry = ShardEntry(
            shard=str(shard),
            sha256=hashlib.sha256(content).hexdigest(),
            recordings=recordings,
            device=str(manifest["device"]),
            host=from_dict(HostFacts, manifest["host"], path.name),
            version=str(manifest["software"]["avpenet"]),
            timing=from_dict(Timing, manifest["timing"], path.name),
        )
        if not {"weights", "preprocessing", "settings", "recordings"} <= manifest.keys():
            raise ValueError
    except FileNotFoundError:
        raise ShardProblem(f"has lost its manifest {path.name}", "unfinished") from None
    except (OSError, ValueError, LookupError, TypeError, SettingsError):
        raise ShardProblem(f"has a manifest that cannot be read, {path.name}", "unfinished") from None
    if (owner, entry.timing.finished) != (output.name, finished):
        raise ShardProblem(f"has a manifest of another run, {path.name}", "unfinished")
    return manifest, entry
