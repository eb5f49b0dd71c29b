"""Read a recording again where its disk, its share or its decoder failed: a score of half a file must not stay.

A damaged file and a disk that fails look the same to a decoder, and so do a share that hangs and a file on which a
decoder hangs. A damaged file gives the same again, though, and all of its bytes can be read before and after.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from avpenet_cli.errors import RecordingError
from avpenet_cli.pipeline.evidence import RecordingEvidence

T = TypeVar("T")

_BLOCK_BYTES = 1 << 20
_REMEDY = "check its disk or share, then run the same command again"


def read_reliably(path: Path, read: Callable[[], RecordingEvidence[T]]) -> RecordingEvidence[T]:
    """Evidence that another read of the file confirms, where there is any doubt about it.

    Args:
        path: the recording.
        read: reads it from its start, with a new pool each time.

    Raises:
        RecordingError: `unreadable`, where two reads differ or bytes cannot be read; as `read`.
    """
    evidence = read()
    if not evidence.suspected_read_error:
        return evidence
    _check_bytes(path)  # waits for a share that hangs, which would stop another decoder at the same place
    again = read()
    if not again.suspected_read_error:
        return again
    if not again.agrees_with(evidence):
        raise RecordingError("unreadable", f"two reads of it differ, since {again.suspected_read_error}", _REMEDY)
    _check_bytes(path)
    return again


def _check_bytes(path: Path) -> None:
    try:
        with path.open("rb", buffering=0) as file:
            while file.read(_BLOCK_BYTES):
                pass
    except OSError as error:
        raise RecordingError("unreadable", f"cannot be read to its end: {error.strerror or error}", _REMEDY) from None
