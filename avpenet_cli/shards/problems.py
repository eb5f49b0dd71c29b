"""Why shards cannot be merged yet: all of it in one message."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

from avpenet_cli.errors import AvpenetError, OutputError, OutputLockedError, ShardsUnfinishedError
from avpenet_cli.shards.plan import ShardPlan
from avpenet_cli.shards.shard import Shard, shard_file, shard_of_output, shards_folder

NOT_STARTED = "was not started"
_NAMED = 8
"""Problems, and shards in a list, that a message names."""


class ShardProblem(Exception):
    """Why a shard cannot be merged.

    Attributes:
        what: a clause without the shard.
        kind: `running`, `unfinished`, or `wrong` where more than another run is needed.
    """

    def __init__(self, what: str, kind: Literal["running", "unfinished", "wrong"]) -> None:
        super().__init__(what)
        self.what, self.kind = what, kind


def foreign_files(out: Path, plan: ShardPlan) -> Iterator[tuple[Shard | None, ShardProblem]]:
    """Files that look like those of a shard, but belong to no shard of the plan."""
    for path in sorted(shards_folder(out).iterdir()):
        shard = shard_of_output(path.name)
        if shard is None:
            continue
        known = shard.count == plan.count and 1 <= shard.number <= plan.count
        if not known or not path.name.startswith(shard_file(out, shard, ".").name):
            yield None, ShardProblem(f"{path.name} is of no shard of {plan.count}", "wrong")


def refusal(out: Path, problems: Sequence[tuple[Shard | None, ShardProblem]], repair: str) -> AvpenetError:
    """All problems in one error; the worst decides its kind.

    Args:
        repair: what to do where another run is not enough.
    """
    clauses = [
        f"shard {shard} {problem.what}" if shard else problem.what
        for shard, problem in problems
        if problem.what != NOT_STARTED
    ]
    not_started = [shard for shard, problem in problems if shard and problem.what == NOT_STARTED]
    if len(not_started) == 1:
        clauses.append(f"shard {not_started[0]} {NOT_STARTED}")
    elif not_started:
        clauses.append(f"shards {_listed([str(shard.number) for shard in not_started])} were not started")
    named = "; ".join(clauses[:_NAMED])
    more = f"; and {len(clauses) - _NAMED} more" if len(clauses) > _NAMED else ""
    message = f"{shards_folder(out)} cannot be merged, and nothing was changed: {named}{more}"
    kinds = {problem.kind for _, problem in problems}
    if "wrong" in kinds:
        return OutputError(message, repair)
    if "unfinished" in kinds:
        again = [shard for shard, problem in problems if shard and problem.kind == "unfinished"]
        options = _listed([f"--shard {shard.number}/{shard.count}" for shard in again])
        return ShardsUnfinishedError(message, f"give the command of these again: {options}")
    return OutputLockedError(message, "wait for them")


def _listed(items: Sequence[str]) -> str:
    more = len(items) - _NAMED
    return ", ".join(items[:_NAMED]) + (f" and {more} more" if more > 0 else "")
