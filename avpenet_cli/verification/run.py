"""Files, and everything they were made from -> what is intact: the entry point of `avpenet verify`."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from avpenet_cli.errors import SettingsError
from avpenet_cli.verification.nodes import VERIFY_VERSION, State, Verification
from avpenet_cli.verification.recordings import RecordingFolder
from avpenet_cli.verification.verifier import Verifier


def verify_files(files: Sequence[Path], inputs: Sequence[Path] = (), recordings: Path | None = None) -> Verification:
    """Compute every digest on the way from outputs back to their inputs again. Changes nothing.

    Args:
        files: reports, score tables, pages, documents or histories of avpenet.
        inputs: folders in which inputs are looked for, with their subfolders, besides those of `files`.
        recordings: a folder with the recordings, or with subfolders of them; None: recordings are not checked.

    Raises:
        SettingsError: a file or a folder that is not there.
        OutputError: a file that cannot be read.
    """
    folders = [*(path.parent for path in files), *(folder for path in inputs for folder in _with_subfolders(path))]
    verifier = Verifier(folders, None if recordings is None else RecordingFolder(recordings))
    try:
        nodes = tuple(verifier.verify(path) for path in files)
    except RecursionError:
        raise SettingsError(
            "the documents name one another further than can be followed", "name those that avpenet wrote"
        ) from None
    counts = Counter(node.state for root in nodes for node in root.walk())
    states: tuple[State, ...] = ("intact", "altered", "missing", "not checked")
    return Verification(
        VERIFY_VERSION,
        not counts["altered"] and not counts["missing"],
        {state: counts[state] for state in states},
        nodes,
    )


def _with_subfolders(folder: Path) -> list[Path]:
    """A folder and all below it, in a fixed order; links to folders are not followed."""
    return sorted(Path(parent) for parent, _, _ in os.walk(folder)) or [folder]
