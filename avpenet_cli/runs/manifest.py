"""The run's manifest: everything needed to trace a score table back and to make it again."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from avpenet_cli.inputs import Recording
from avpenet_cli.records import RecordingOutcome, Status
from avpenet_cli.runs.versions import software_versions
from avpenet_cli.settings import RunSettings, to_dict
from avpenet_cli.weights import WeightsDescription

MANIFEST_VERSION = 1

_MARKS = {
    "untrained": "UNTRAINED: scores mean nothing",
    "demonstration": "demonstration weights, trained on simulated recordings, not for patients",
    "imported": "imported: not validated",
    "research": "research only",
}


def manifest_path(output: Path) -> Path:
    """`scores.run.json` for `scores.csv`."""
    return output.with_suffix(".run.json")


def weights_mark(description: WeightsDescription) -> str:
    """What the table's `weights` column says: name, digest, and what these weights are not."""
    mark = _MARKS.get(description.status, "")
    return f"{description.name}@{description.digest[:12]}" + (f" ({mark})" if mark else "")


@dataclass
class Totals:
    """Sums over a run's recordings."""

    recordings: Counter[str] = field(default_factory=Counter)
    segments: Counter[str] = field(default_factory=Counter)
    seconds: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))
    unscorable_s: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))
    truncated: int = 0

    def add(self, outcome: RecordingOutcome) -> None:
        """Count one recording."""
        self.recordings[outcome.status.value] += 1
        self.segments.update(segment.status.value for segment in outcome.segments)
        self.truncated += "truncated" in {flag for segment in outcome.segments for flag in segment.flags}
        if outcome.balance is not None:
            self.seconds["nominal"] += outcome.balance.nominal_s
            self.seconds["scored"] += outcome.balance.scored_s
            self.seconds["undecodable"] += outcome.balance.undecodable_s
            for reason, lost_s in outcome.balance.unscorable_s.items():
                self.unscorable_s[reason] += lost_s

    @property
    def failed(self) -> int:
        """Recordings that could not be read."""
        return self.recordings[Status.FAILED.value]

    def plain(self) -> dict[str, Any]:
        """For the manifest."""
        return {
            "recordings": dict(self.recordings),
            "segments": dict(self.segments),
            "seconds": {name: round(value, 3) for name, value in self.seconds.items()}
            | {"unscorable": {reason: round(value, 3) for reason, value in self.unscorable_s.items()}},
        }


def recording_entry(recording: Recording, outcome: RecordingOutcome, reused: bool) -> dict[str, Any]:
    """One recording in the manifest."""
    segments = Counter(segment.status.value for segment in outcome.segments)
    return {
        "recording": recording.name,
        "status": outcome.status.value,
        "reason": outcome.reason,
        "message": outcome.message,
        "orientation_deg": outcome.orientation_deg,
        "segments": dict(segments),
        "balance_s": asdict(outcome.balance) if outcome.balance else None,
        "streams": outcome.facts,
        "stage_s": outcome.stage_s,
        "from_earlier_run": reused,
    }


def manifest(
    run: RunSettings,
    description: WeightsDescription,
    device: str,
    table: dict[str, Any],
    totals: Totals,
    timing: dict[str, Any],
    recordings: Iterable[dict[str, Any]],
) -> dict[str, Any]:
    """The whole, JSON-ready.

    Args:
        device: what scored, e.g. `cpu` or `cuda:0 (NVIDIA H200)`.
        table: the score table's file name, digest and rows.
        timing: start, end, seconds.
        recordings: from `recording_entry`, in input order.
    """
    plain_weights = to_dict(description)
    preprocessing = plain_weights.pop("preprocessing")
    return {
        "manifest_version": MANIFEST_VERSION,
        "notice": description.notice,
        "software": software_versions(),
        "device": device,
        "weights": plain_weights | {"digest": description.digest},
        "preprocessing": preprocessing,
        "settings": to_dict(run),
        "table": table,
        "totals": totals.plain(),
        "timing": timing,
        "recordings": list(recordings),
    }
