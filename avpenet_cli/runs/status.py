"""How far the scoring of an output is: what is done, what failed and why, what is still to do, and who is at work.

Reads the journal, or where there is none the manifest, and changes nothing. A run that is writing goes on: the journal
is read one recording at a time, so that the run never waits for longer than a moment.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from pydantic import TypeAdapter

from avpenet_cli.errors import OutputError, OutputLockedError, SettingsError
from avpenet_cli.inputs import Aside, LeftAside
from avpenet_cli.runs.database import opened_to_read, refuse_later_journal
from avpenet_cli.runs.journal import journal_path
from avpenet_cli.runs.lock import LockHolder, lock_holder
from avpenet_cli.textfiles import parse_json
from avpenet_cli.version import MANIFEST_VERSION, refuse_later

STATUS_VERSION = 2

State = Literal["running", "finished", "interrupted", "unmerged", "unknown"]
ShardState = Literal["running", "finished", "interrupted", "not started", "without recordings", "unknown"]


@dataclass(frozen=True)
class ShardStatus:
    """How far one shard is.

    Attributes:
        shard: its number, from 1.
        state: `finished` with something to do where recordings were added since it ran.
        holder: the run that is scoring it; None where none is.
        recordings: number that the plan gives it.
        done: of these scored or unscorable.
        failed: of these failed.
        to_do: of these neither.
    """

    shard: int
    state: ShardState
    holder: LockHolder | None
    recordings: int
    done: int
    failed: int
    to_do: int


@dataclass(frozen=True)
class FailedRecording:
    """A recording that failed when it was last read.

    Attributes:
        recording: its name or pseudonym; None where an earlier version did not store it.
        path: absolute, as `os.fsdecode` gives it; None where it is not stored.
        reason, message: code and description of the failure.
    """

    recording: str | None
    path: str | None
    reason: str
    message: str


_LEFT_ASIDE = TypeAdapter(LeftAside)


@dataclass(frozen=True)
class OutputStatus:
    """The state of one output of `avpenet score`. `schemas/status.schema.json` in the package is its JSON Schema.

    Attributes:
        status_version: version of this format.
        output: name of the table, without a folder.
        state: `unknown` where an earlier version made the output and no run is writing it; `unmerged` where all shards
            are finished, and `avpenet merge` has not put them together since.
        holder: the run that is writing; None where none is.
        started, finished: when the latest run began and ended well, ISO 8601; None where it did not or that is not
            known.
        command: of the latest run; None where it is not known.
        pseudonymised: whether names are pseudonyms, so that no path is stored; None where that is not known.
        recordings: number by status: scored, unscorable, failed. Those that have changed since they were scored count
            as scored until a run reaches them.
        to_do: inputs of the latest run that it has not come to; None where the inputs are not known.
        not_among_inputs: recordings in the journal that the latest run does not name; None where that is not known.
        segments: number by status.
        unscorable: number of unscorable segments by reason.
        failed: number of failed recordings by reason.
        failed_recordings: each of them, in input order.
        left_aside: what was found among the inputs and is not scored; None where that is not known.
        not_known: what an earlier version, or pseudonyms, keep from being known; a sentence each.
        shards: of an archive that `score --shard` has divided; the other fields are then sums over them, until they
            are merged.
    """

    status_version: int
    output: str
    state: State
    holder: LockHolder | None
    started: str | None
    finished: str | None
    command: str | None
    pseudonymised: bool | None
    recordings: dict[str, int]
    to_do: int | None
    not_among_inputs: int | None
    segments: dict[str, int]
    unscorable: dict[str, int]
    failed: dict[str, int]
    failed_recordings: list[FailedRecording]
    left_aside: LeftAside | None
    not_known: list[str]
    shards: list[ShardStatus] = field(default_factory=list)


def read_status(output: Path) -> OutputStatus:
    """Read how far an output is.

    Args:
        output: the table that `avpenet score --out` names; it need not exist yet. Its shards are not looked at; see
            `shards.status`.

    Raises:
        SettingsError: no run of `avpenet score` has written this output, or its journal or manifest is of a later
            format.
        OutputError: its journal or manifest is damaged or cannot be read.
        OutputLockedError: another program holds the journal open.
    """
    if output.is_dir():
        raise SettingsError(
            f"{output} is a folder",
            "name the table that avpenet score --out names; of a store, avpenet merge says what is to do",
        )
    holder = lock_holder(output)
    journal = journal_path(output)
    if journal.exists():
        with _guarded(journal), opened_to_read(journal, lambda: holder is not None) as database:
            return _from_journal(output, database, holder)
    manifest = _read_manifest(output)
    if manifest is not None:
        try:
            return _from_manifest(output, manifest, holder)
        except (ValueError, LookupError, TypeError, AttributeError):
            raise _damaged_manifest(output) from None
    if holder is not None:
        return _status(output, "running", holder, not_known=["the run has only begun: it has stored nothing yet"])
    if output.exists():
        raise SettingsError(f"{output} has neither journal nor manifest", "only outputs of avpenet score have a status")
    raise SettingsError(f"{output}: no such output", "name the table that avpenet score --out names")


def _read_manifest(output: Path) -> dict[str, Any] | None:
    path = output.with_suffix(".run.json")
    try:
        content = parse_json(path.read_text(encoding="utf-8"))
        owner = content["table"]["file"]
    except FileNotFoundError:
        return None
    except (OSError, ValueError, LookupError, TypeError):
        raise _damaged_manifest(output) from None
    refuse_later(str(path), content.get("manifest_version"), MANIFEST_VERSION)
    return content if owner == output.name else None


def _damaged_manifest(output: Path) -> OutputError:
    return OutputError(f"{output.with_suffix('.run.json')} cannot be read", "it is no manifest, or it is damaged")


@contextlib.contextmanager
def _guarded(path: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        if "locked" in str(error):
            raise OutputLockedError(
                f"another program holds the journal {path} open", "close it, then try again"
            ) from None
        raise OutputError(f"the journal {path} cannot be read ({error})", "see avpenet score --overwrite") from None
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        detail = type(error).__name__
        raise OutputError(
            f"the journal {path} is damaged (an entry cannot be read: {detail})", "see avpenet score --overwrite"
        ) from None


@dataclass
class _Counts:
    """Sums over recordings."""

    recordings: Counter[str] = field(default_factory=Counter)
    segments: Counter[str] = field(default_factory=Counter)
    unscorable: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True)
class _Input:
    name: str
    path: bytes | None
    waits: bool
    """It failed before the latest run, which has not come to it yet."""


def _from_journal(output: Path, database: sqlite3.Connection, holder: LockHolder | None) -> OutputStatus:
    tables = {name for (name,) in database.execute("SELECT name FROM sqlite_master").fetchall()}
    if "finished" not in tables:  # the run is about to create them
        return _status(output, "running" if holder else "interrupted", holder, not_known=["nothing is stored yet"])
    if "run" in tables:
        stated = database.execute("SELECT value FROM run WHERE name = 'journal_format'").fetchone()
        refuse_later_journal(journal_path(output), stated[0] if stated else None)
    run: dict[str, Any] = {}
    inputs: dict[str, _Input] = {}
    if "latest_run" in tables:
        rows = database.execute("SELECT name, value FROM latest_run").fetchall()
        run = {name: parse_json(value) for name, value in rows}
        rows = database.execute("SELECT recording, name, path, retry FROM input ORDER BY position").fetchall()
        inputs = {key: _Input(name, path, bool(retry)) for key, name, path, retry in rows}
    counts, failures = _Counts(), _failures(database)
    finished = [key for (key,) in database.execute("SELECT recording FROM finished").fetchall()]
    known = bool(run)
    listed = inputs if known else dict.fromkeys([*finished, *failures])
    tallies = _tallies(database) if "tally" in tables else {}
    for key in finished:
        if key in listed and key not in failures:
            if key in tallies:
                _add_tally(tallies[key], counts)
            else:
                _add_finished(database, key, counts)
    done = {key for key in finished if key in listed and key not in failures}
    failed = {key: failures[key] for key in listed if key in failures and not (known and inputs[key].waits)}
    counts.recordings["failed"] = len(failed)
    pseudonymised = bool(run["pseudonymised"]) if known else None
    return _status(
        output,
        "running" if holder else _state_at_rest(run),
        holder,
        run=run,
        # Of a large archive the manifest takes seconds to read.
        finished_at=run.get("finished") if known else _finished_at(_read_manifest(output)),
        pseudonymised=pseudonymised,
        counts=counts,
        to_do=len(listed) - len(done) - len(failed) if known else None,
        not_among_inputs=len(set(finished) - set(listed)) if known else None,
        failed=[_failed_recording(inputs.get(key), outcome) for key, outcome in failed.items()],
        not_known=_not_known(known, pseudonymised),
    )


def _failures(database: sqlite3.Connection) -> dict[str, dict[str, Any]]:
    rows = database.execute("SELECT recording, outcome FROM failed").fetchall()
    return {key: parse_json(outcome) for key, outcome in rows}


_Tally = tuple[str, int, str]


def _tallies(database: sqlite3.Connection) -> dict[str, _Tally]:
    """Status, scored segments, and unscorable ones by reason as JSON, of finished recordings; not of those that an
    earlier version scored."""
    query = (
        "SELECT recording, tally.status, tally.scored, tally.unscorable FROM finished "
        "JOIN tally USING (recording, size, mtime_ns)"
    )
    return {key: (status, scored, unscorable) for key, status, scored, unscorable in database.execute(query)}


def _add_tally(tally: _Tally, counts: _Counts) -> None:
    status, scored, unscorable = tally
    reasons: dict[str, int] = parse_json(unscorable)
    counts.recordings[status] += 1
    counts.segments["scored"] += scored
    counts.segments["unscorable"] += sum(reasons.values())
    counts.unscorable.update(reasons)


def _add_finished(database: sqlite3.Connection, key: str, counts: _Counts) -> None:
    stored = database.execute("SELECT outcome FROM finished WHERE recording = ?", (key,)).fetchone()
    if stored is None:  # a run has pruned it just now
        return
    outcome = parse_json(stored[0])
    counts.recordings[str(outcome["status"])] += 1
    for segment in outcome.get("segments", []):
        counts.segments[str(segment["status"])] += 1
        if segment["status"] == "unscorable":
            counts.unscorable[str(segment["reason"])] += 1


def _state_at_rest(run: dict[str, Any]) -> State:
    if not run:
        return "unknown"
    return "finished" if run.get("finished") else "interrupted"


def _finished_at(manifest: dict[str, Any] | None) -> str | None:
    return str((manifest or {}).get("timing", {}).get("finished", "")) or None


def _failed_recording(source: _Input | None, outcome: dict[str, Any]) -> FailedRecording:
    path = os.fsdecode(source.path) if source and source.path is not None else None
    return FailedRecording(source.name if source else None, path, str(outcome["reason"]), str(outcome["message"]))


def _not_known(known: bool, pseudonymised: bool | None) -> list[str]:
    if not known:
        return [
            "what is still to do, what was left aside and the paths of failed recordings: version 0.1.0 did not store "
            "them"
        ]
    if pseudonymised:
        return [
            "the paths of failed recordings, since names are pseudonyms: avpenet score --dry-run with the same inputs "
            "and --pseudonymise KEYFILE lists them beside the pseudonyms"
        ]
    return []


def _from_manifest(output: Path, manifest: dict[str, Any], holder: LockHolder | None) -> OutputStatus:
    """From the manifest alone, where the journal is gone."""
    counts, failed = _Counts(), []
    for entry in manifest.get("recordings", []):
        counts.recordings[entry["status"]] += 1
        counts.segments.update(entry.get("segments", {}))
        if entry["status"] == "failed":
            recording, reason, message = (str(entry[name]) for name in ("recording", "reason", "message"))
            failed.append(FailedRecording(recording, None, reason, message))
    return _status(
        output,
        "running" if holder else "finished",
        holder,
        run={name: manifest[name] for name in ("command", "left_aside") if manifest.get(name)},
        finished_at=_finished_at(manifest),
        counts=counts,
        to_do=0,
        failed=failed,
        not_known=["reasons of unscorable segments and paths of recordings: the journal is gone"],
    )


def _status(
    output: Path,
    state: State,
    holder: LockHolder | None,
    *,
    run: dict[str, Any] | None = None,
    finished_at: str | None = None,
    pseudonymised: bool | None = None,
    counts: _Counts | None = None,
    to_do: int | None = None,
    not_among_inputs: int | None = None,
    failed: list[FailedRecording] | None = None,
    not_known: list[str] | None = None,
) -> OutputStatus:
    counts, run, failed = counts or _Counts(), run or {}, failed or []
    left_aside = _LEFT_ASIDE.validate_python(run["left_aside"]) if run.get("left_aside") else None
    if left_aside is not None and not set(left_aside.by_reason) <= set(Aside):
        raise ValueError("reasons that are none")
    stated = (run.get("started"), finished_at, run.get("command"))
    if not all(value is None or isinstance(value, str) for value in stated):
        raise TypeError("text that is none")
    return OutputStatus(
        status_version=STATUS_VERSION,
        output=output.name,
        state=state,
        holder=holder,
        started=run.get("started"),
        finished=finished_at,
        command=run.get("command"),
        pseudonymised=pseudonymised,
        recordings={name: counts.recordings[name] for name in ("scored", "unscorable", "failed")},
        to_do=to_do,
        not_among_inputs=not_among_inputs,
        segments={name: counts.segments[name] for name in ("scored", "unscorable")},
        unscorable=dict(counts.unscorable.most_common()),
        failed=dict(Counter(recording.reason for recording in failed).most_common()),
        failed_recordings=failed,
        left_aside=left_aside,
        not_known=not_known or [],
    )
