"""Whether the shards of a table can be merged, and what each of them still lacks."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from avpenet_cli.errors import AvpenetError, OutputError, OutputLockedError, ShardsUnfinishedError
from avpenet_cli.phrasing import plural
from avpenet_cli.runs.journal import journal_path
from avpenet_cli.runs.journal_source import JournalSource, opened_source
from avpenet_cli.runs.lock import lock_holder
from avpenet_cli.runs.manifest import manifest_path
from avpenet_cli.settings import describe_differences
from avpenet_cli.shards.plan import ShardPlan
from avpenet_cli.shards.shard import Shard, shard_file, shard_of_output, shard_output, shards_folder

_NAMED = 8
"""Problems, and shards in a list, that a message names."""
_NOT_STARTED = "was not started"


@dataclass(frozen=True)
class FinishedShard:
    """A shard that can be merged.

    Attributes:
        shard: which one.
        keys: of its recordings by the plan.
        finished: when its latest run ended, as its journal states it; tells whether it has run since.
        manifest: without its recordings; empty where the shard has none.
        sha256: of the file of the manifest, hexadecimal.
        paths: of the recordings by their keys; without those of pseudonyms.
        reused: keys of the recordings that an earlier run of the shard had scored.
        dropped: names of recordings that it holds and the plan no longer has.
    """

    shard: Shard
    keys: frozenset[str]
    finished: str = ""
    manifest: Mapping[str, Any] = field(default_factory=dict)
    sha256: str = ""
    paths: Mapping[str, Path] = field(default_factory=dict)
    reused: frozenset[str] = frozenset()
    dropped: tuple[str, ...] = ()


class _Problem(Exception):
    """Why a shard cannot be merged.

    Attributes:
        what: a clause without the shard.
        kind: `running`, `unfinished`, or `wrong` where more than another run is needed.
    """

    def __init__(self, what: str, kind: Literal["running", "unfinished", "wrong"]) -> None:
        super().__init__(what)
        self.what, self.kind = what, kind


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
    shards, problems = [], list(_foreign_files(out, plan))
    for shard in plan.shards:
        try:
            shards.append(check.shard(shard))
        except _Problem as problem:
            problems.append((shard, problem))
    if problems:
        raise _refusal(out, problems)
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
            _Problem: it cannot be merged.
        """
        output, keys = shard_output(self._out, shard), frozenset(self._keys[shard.number])
        if holder := lock_holder(output):
            raise _Problem(f"is being written by {holder}", "running")
        if not journal_path(output).exists():
            if keys:
                raise _Problem(_NOT_STARTED, "unfinished")
            return FinishedShard(shard, keys)
        try:
            with opened_source(output) as source:
                return self._finished(shard, keys, source)
        except OutputLockedError as error:
            raise _Problem(f"cannot be read: {error.message}", "running") from None
        except OutputError as error:
            raise _Problem(f"cannot be read: {error.message}", "wrong") from None

    def _finished(self, shard: Shard, keys: frozenset[str], source: JournalSource) -> FinishedShard:
        if not source.run:
            if keys:
                raise _Problem("has stored nothing yet", "unfinished")
            return FinishedShard(shard, keys)
        source.check_intact()
        if differences := describe_differences(self._settings, source.settings):
            raise _Problem(f"has other weights or settings: {differences}", "wrong")
        dropped = self._not_in_plan(shard, source)
        held = source.finished | source.failed
        done = {key for key in held if key in source.inputs and not source.inputs[key].waits}
        if to_do := len(keys - done):
            raise _Problem(f"has {to_do} of {plural(len(keys), 'recording')} to do", "unfinished")
        finished = str(source.run.get("finished") or "")
        if not finished:
            raise _Problem("was interrupted before it wrote its table", "unfinished")
        if not keys:
            return FinishedShard(shard, keys, finished, dropped=dropped)
        manifest, sha256 = _read_manifest(shard_output(self._out, shard), finished)
        self._check_embeddings(shard, manifest)
        by_name = {item.name: key for key, item in source.inputs.items()}
        again = (by_name.get(entry["recording"]) for entry in manifest.pop("recordings") if entry["from_earlier_run"])
        return FinishedShard(
            shard,
            keys,
            finished,
            manifest,
            sha256,
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
            raise _Problem(f"holds {plural(others.total(), 'recording')} of shard {min(others)}", "wrong")
        keys = sorted(source.finished - self._owners.keys())
        names = tuple(source.inputs[key].name if key in source.inputs else "" for key in keys)
        if names and not self._prune:
            example = next((f" (such as {name})" for name in names if name), "")
            number = plural(len(names), "recording")
            raise _Problem(f"holds {number} not in the plan{example}, which --prune leaves out", "wrong")
        return names

    def _check_embeddings(self, shard: Shard, manifest: Mapping[str, Any]) -> None:
        if self._embeddings is None:
            return
        name = shard_file(self._out, shard, f".{self._embeddings}").name
        if name not in {entry.get("file") for entry in manifest.get("summaries", [])}:
            raise _Problem(f"was scored without --embeddings {self._embeddings}", "unfinished")


def _read_manifest(output: Path, finished: str) -> tuple[dict[str, Any], str]:
    """The manifest of the run that the journal states, and its digest."""
    path = manifest_path(output)
    try:
        content = path.read_bytes()
        manifest = json.loads(content)
        facts = manifest["table"]["file"], manifest["timing"]["finished"]
        if not {"weights", "preprocessing", "settings", "software", "device", "host", "recordings"} <= manifest.keys():
            raise ValueError
    except FileNotFoundError:
        raise _Problem(f"has lost its manifest {path.name}", "unfinished") from None
    except (OSError, ValueError, LookupError, TypeError):
        raise _Problem(f"has a manifest that cannot be read, {path.name}", "unfinished") from None
    if facts != (output.name, finished):
        raise _Problem(f"has a manifest of another run, {path.name}", "unfinished")
    return manifest, hashlib.sha256(content).hexdigest()


def _foreign_files(out: Path, plan: ShardPlan) -> Iterator[tuple[Shard | None, _Problem]]:
    """Files that look like those of a shard, but belong to no shard of the plan."""
    for path in sorted(shards_folder(out).iterdir()):
        shard = shard_of_output(path.name)
        if shard is None:
            continue
        known = shard.count == plan.count and 1 <= shard.number <= plan.count
        if not known or not path.name.startswith(shard_file(out, shard, ".").name):
            yield None, _Problem(f"{path.name} is of no shard of {plan.count}", "wrong")


def _refusal(out: Path, problems: Sequence[tuple[Shard | None, _Problem]]) -> AvpenetError:
    """All problems in one error; the worst decides its kind."""
    clauses = [
        f"shard {shard} {problem.what}" if shard else problem.what
        for shard, problem in problems
        if problem.what != _NOT_STARTED
    ]
    not_started = [shard for shard, problem in problems if shard and problem.what == _NOT_STARTED]
    if len(not_started) == 1:
        clauses.append(f"shard {not_started[0]} {_NOT_STARTED}")
    elif not_started:
        clauses.append(f"shards {_listed([str(shard.number) for shard in not_started])} were not started")
    named = "; ".join(clauses[:_NAMED])
    more = f"; and {len(clauses) - _NAMED} more" if len(clauses) > _NAMED else ""
    message = f"{shards_folder(out)} cannot be merged, and nothing was changed: {named}{more}"
    kinds = {problem.kind for _, problem in problems}
    if "wrong" in kinds:
        return OutputError(message, "move away what does not belong there, or score a shard again with --overwrite")
    if "unfinished" in kinds:
        again = [shard for shard, problem in problems if shard and problem.kind == "unfinished"]
        options = _listed([f"--shard {shard.number}/{shard.count}" for shard in again])
        return ShardsUnfinishedError(message, f"give the command of these again: {options}")
    return OutputLockedError(message, "wait for them")


def _listed(items: Sequence[str]) -> str:
    more = len(items) - _NAMED
    return ", ".join(items[:_NAMED]) + (f" and {more} more" if more > 0 else "")
