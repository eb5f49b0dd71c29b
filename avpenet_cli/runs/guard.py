"""A run must not empty or shrink what an earlier run has finished: a mistyped folder or a share that is not mounted
would otherwise cost a night's work."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from avpenet_cli.errors import OutputError, SettingsError
from avpenet_cli.inputs import Inputs, Recording, display_name
from avpenet_cli.phrasing import plural


def require_inputs(inputs: Inputs, *, pseudonymised: bool = False) -> None:
    """Check that at least one input leads to a file.

    Args:
        pseudonymised: the message must not show a path.

    Raises:
        SettingsError: none does.
    """
    if not all(map(_absence, inputs.recordings)):
        return
    first = inputs.recordings[0]
    name = first.name if pseudonymised else display_name(str(first.path))
    count = len(inputs.recordings)
    subject = name if count == 1 else f"none of the {count} inputs can be read, such as {name}"
    raise SettingsError(
        f"nothing to do, and nothing was changed: {subject}: {_absence(first)}",
        "check the path, and that its disk or share is mounted",
    )


def _absence(recording: Recording) -> str:
    """Why an input leads to no file; empty if it leads to one."""
    return recording.problem or ("" if os.path.exists(recording.path) else "no such file or folder")  # noqa: PTH110


def unreadable(recordings: Sequence[Recording]) -> list[Recording]:
    """Recordings that are missing, empty or may not be read. Looks at the folders' entries and opens no file."""
    return [recording for recording in recordings if recording.problem or not _is_readable(recording.path)]


def _is_readable(path: Path) -> bool:
    try:
        return path.is_file() and path.stat().st_size > 0 and os.access(path, os.R_OK)
    except (OSError, ValueError):
        return False


def refuse_dropping(out: Path, not_named: Sequence[str], not_readable: Sequence[str], *, kept: str = "") -> None:
    """Stop a run that would drop recordings from an output.

    Args:
        out: the output that holds them.
        not_named: names of those that are not among the inputs; empty where a name is not known.
        not_readable: names of inputs that can no longer be read.
        kept: what the run has done nevertheless; empty at its start.

    Raises:
        OutputError: there are such recordings.
    """
    if not not_named and not not_readable:
        return
    count = len(not_named) + len(not_readable)
    parts = []
    if not_named:
        parts.append(f"{len(not_named)} not among the inputs{_example(not_named)}")
    if not_readable:
        parts.append(f"{len(not_readable)} missing or unreadable now{_example(not_readable)}")
    raise OutputError(
        f"{out} would lose {plural(count, 'recording')} that it holds: {', '.join(parts)}; it is unchanged{kept}",
        "check the inputs and that their disk or share is mounted, or give --prune to drop these recordings",
    )


def _example(names: Sequence[str]) -> str:
    known = [name for name in names if name]
    return f" (such as {known[0]})" if known else ""
