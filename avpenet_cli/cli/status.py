"""`avpenet status`: how far the scoring of a table is, also while it runs."""

from __future__ import annotations

import json
import os
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from avpenet_cli.cli.options import Debug
from avpenet_cli.cli.run_log import printable
from avpenet_cli.errors import ExitCode, SettingsError
from avpenet_cli.phrasing import plural

if TYPE_CHECKING:
    from avpenet_cli.runs.status import OutputStatus, ShardStatus

_NAMED = 10


def status(
    out: Annotated[Path, typer.Argument(metavar="OUT", help="Table of avpenet score.", show_default=False)],
    failed: Annotated[
        bool, typer.Option("--failed", help="Print the paths of the failed recordings, one per line, and nothing else.")
    ] = False,
    print0: Annotated[
        bool, typer.Option("--print0", help="With --failed: end each path with a NUL byte, for names with line breaks.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print everything as JSON.")] = False,
    debug: Debug = False,
) -> int:
    """Show what is done, what failed and why, what is still to do, and which run is at work; changes nothing."""
    from avpenet_cli.shards.status import read_whole_status

    if print0 and not failed:
        raise SettingsError("--print0 without --failed", "add --failed")
    if failed and as_json:
        raise SettingsError("--failed and --json together", "--json holds the failed recordings: give one of them")
    state = read_whole_status(out)
    if failed:
        _print_paths(state, b"\0" if print0 else b"\n")
    elif as_json:
        # Escapes keep the bytes of names that are not UTF-8.
        typer.echo(json.dumps(asdict(state), indent=1))
    else:
        for line in _lines(state):
            typer.echo(printable(line))
    return ExitCode.OK


def _print_paths(state: OutputStatus, end: bytes) -> None:
    paths = [recording.path for recording in state.failed_recordings if recording.path is not None]
    if len(paths) < len(state.failed_recordings):
        missing = plural(len(state.failed_recordings) - len(paths), "failed recording")
        raise SettingsError(f"the paths of {missing} are not known", "; ".join(state.not_known))
    if end == b"\n" and any("\n" in path for path in paths):
        raise SettingsError("a path has a line break in it", "give --print0, which --files-from and xargs -0 read")
    sys.stdout.flush()
    sys.stdout.buffer.write(b"".join(os.fsencode(path) + end for path in paths))
    sys.stdout.buffer.flush()


def _lines(state: OutputStatus) -> Iterator[str]:
    yield f"{state.output}: {_state(state)}"
    yield from _shards(state.shards)
    if state.command:
        yield f"command: {state.command}"
    done = state.recordings["scored"] + state.recordings["unscorable"]
    to_do = "not known" if state.to_do is None else str(state.to_do)
    yield f"recordings: {done} done, {state.recordings['failed']} failed, still to do: {to_do}"
    if state.recordings["unscorable"]:
        yield f"done without any score: {plural(state.recordings['unscorable'], 'recording')}"
    if state.failed:
        yield f"failed: {_by_reason(state.failed)}"
    for recording in state.failed_recordings[:_NAMED]:
        yield f"  {recording.recording or '(name not known)'}: {recording.message}"
    if (more := len(state.failed_recordings) - _NAMED) > 0:
        yield f"  and {more} more; --failed lists their paths, --json everything"
    if state.segments["scored"] or state.segments["unscorable"]:
        reasons = f": {_by_reason(state.unscorable)}" if state.unscorable else ""
        yield f"segments: {state.segments['scored']} scored, {state.segments['unscorable']} unscorable{reasons}"
    if state.left_aside is not None:
        yield f"left aside: {state.left_aside.describe() or 'nothing'}"
    if state.not_among_inputs:
        yield f"in the journal, not among the inputs: {plural(state.not_among_inputs, 'recording')}"
    for text in state.not_known:
        yield f"not known: {text}"


def _shards(shards: Sequence[ShardStatus]) -> Iterator[str]:
    """How many shards are in each state, and those that are not finished."""
    if not shards:
        return
    states = Counter(_shard_state(shard) for shard in shards)
    yield f"{plural(len(shards), 'shard')}: {', '.join(f'{number} {state}' for state, number in states.items())}"
    open_ones = [shard for shard in shards if shard.to_do or shard.holder]
    for shard in open_ones[:_NAMED]:
        by_whom = f", {shard.holder}" if shard.holder else ""
        counts = f"{shard.done} done, {shard.failed} failed, {shard.to_do} to do"
        yield f"  shard {shard.shard}: {_shard_state(shard)}{by_whom}: {counts}"
    if (more := len(open_ones) - _NAMED) > 0:
        yield f"  and {more} more"


def _shard_state(shard: ShardStatus) -> str:
    return "finished, with new recordings" if shard.state == "finished" and shard.to_do else shard.state


def _state(state: OutputStatus) -> str:
    if state.state == "unmerged":
        return f"all shards finished, not merged: avpenet merge {state.output}"
    if state.shards and state.holder is None and state.state == "running":
        return "running: shards"
    if state.shards and state.state == "interrupted":
        return "not running; shards are not finished"
    if state.holder is not None:
        return f"running: {state.holder}"
    if state.state == "interrupted":
        began = f" (begun {state.started})" if state.started else ""
        without = " without --overwrite" if "--overwrite" in (state.command or "").split() else ""
        return f"not running; interrupted{began}, the same command{without} resumes"
    finished = f"finished {state.finished}" if state.finished else "whether it was finished is not known"
    return f"not running; {finished}"


def _by_reason(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{number} {reason}" for reason, number in counts.items())
