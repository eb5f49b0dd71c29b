"""The last line of a run of `score` or `merge`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from avpenet_cli.phrasing import plural, taken_time
from avpenet_cli.records import Modalities

if TYPE_CHECKING:
    from avpenet_cli.runs.manifest import Totals


def totals_summary(totals: Totals, taken_s: float, verb: str = "scored") -> tuple[str, dict[str, Any]]:
    """The line, and the same facts as fields."""
    unscorable = totals.segments["unscorable"]
    kinds = [f"{totals.modalities[kind]} {kind}" for kind in Modalities if totals.modalities[kind]]
    kinds += [f"{unscorable} unscorable"] if unscorable else []
    line = (
        f"{plural(sum(totals.recordings.values()), 'recording')}, {totals.failed} failed; "
        f"{totals.seconds['scored'] / 60:.1f} min {verb} in {taken_time(taken_s)}; "
        f"{plural(sum(totals.segments.values()), 'segment')}{': ' if kinds else ''}{', '.join(kinds)}"
    )
    entry = totals.entry()
    fields = {
        "recordings": entry.recordings,
        "segments": entry.segments,
        "modalities": entry.modalities,
        "seconds": entry.seconds,
        "truncated": totals.truncated,
        "elapsed_s": round(taken_s, 1),
    }
    return line, fields
