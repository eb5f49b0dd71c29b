"""The run's manifest: everything needed to trace a score table and to reproduce it."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from avpenet_cli.inputs import Recording
from avpenet_cli.records import Balance, RecordingOutcome, Status
from avpenet_cli.runs.versions import software_versions
from avpenet_cli.settings import Preprocessing, RunSettings, to_dict
from avpenet_cli.storage import write_json
from avpenet_cli.weights import WeightsDescription

MANIFEST_VERSION = 2

_STATUS_NOTES = {
    "untrained": "UNTRAINED: scores mean nothing",
    "demonstration": "demonstration weights, trained on simulated recordings, not for patients",
    "imported": "imported: not validated",
    "research": "research only",
}


def manifest_path(output: Path) -> Path:
    """`scores.run.json` for `scores.csv`."""
    return output.with_suffix(".run.json")


def weights_mark(description: WeightsDescription) -> str:
    """The table's `weights` column: name, first 12 digits of the digest, and what the weights must not be used for."""
    note = _STATUS_NOTES.get(description.status, "")
    return f"{description.name}@{description.digest[:12]}" + (f" ({note})" if note else "")


@dataclass(frozen=True)
class TableEntry:
    """The score table that a manifest certifies.

    Attributes:
        file: its name, without a folder.
        sha256: digest of the file, hexadecimal.
        rows: number of segments in it.
    """

    file: str
    sha256: str
    rows: int


@dataclass(frozen=True)
class SecondsEntry:
    """What happened to the recorded seconds of a run; `unscorable` by reason."""

    nominal: float = 0.0
    scored: float = 0.0
    undecodable: float = 0.0
    unscorable: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class TotalsEntry:
    """Sums over a run: recordings and segments by status, seconds by outcome."""

    recordings: dict[str, int]
    segments: dict[str, int]
    seconds: SecondsEntry


@dataclass(frozen=True)
class Timing:
    """When a run finished (ISO 8601 with offset) and how many seconds of wall clock it took."""

    finished: str
    seconds: float


@dataclass(frozen=True)
class RecordingEntry:
    """One recording in the manifest.

    Attributes:
        recording: its name or pseudonym.
        status: scored, unscorable or failed.
        reason: a stable code if it failed, else empty; `message` says the same in a sentence.
        orientation_deg: clockwise rotation under which the patient's face was found; None without a face.
        segments: number by status.
        balance_s: what happened to its seconds; None if that is not known.
        streams: container, codecs and decoders.
        stage_s: seconds spent by stage.
        from_earlier_run: not scored by this run.
    """

    recording: str
    status: str
    reason: str
    message: str
    orientation_deg: int | None
    segments: dict[str, int]
    balance_s: Balance | None
    streams: dict[str, object]
    stage_s: dict[str, float]
    from_earlier_run: bool


@dataclass(frozen=True)
class StoreEntry:
    """Where `avpenet evaluate` took its segments from.

    Attributes:
        sha256: digest of the segment store.
        split: train, validation or test.
        left_out_site: the site kept out of training, where one was.
    """

    sha256: str
    split: str
    left_out_site: str | None


@dataclass(frozen=True)
class Manifest:
    """Everything known about one run. `schemas/manifest.schema.json` in the package is its JSON Schema.

    Attributes:
        manifest_version: version of this format.
        notice: what the weights must not be used for; empty if there is no restriction.
        software: versions of everything that numbers depend on.
        device: the device that scored, e.g. `cpu` or `cuda:0 (NVIDIA H200)`.
        weights: their description, with its digest.
        preprocessing: what frames and audio went through, from that description.
        settings: the settings of the run.
        recordings: in input order.
        store: the segment store; only if `avpenet evaluate` wrote the table.
    """

    manifest_version: int
    notice: str
    software: dict[str, str]
    device: str
    weights: dict[str, Any]
    preprocessing: Preprocessing
    settings: RunSettings
    table: TableEntry
    totals: TotalsEntry
    timing: Timing
    recordings: list[RecordingEntry]
    store: StoreEntry | None = None

    @classmethod
    def of(
        cls,
        run: RunSettings,
        description: WeightsDescription,
        *,
        device: str,
        table: TableEntry,
        totals: TotalsEntry,
        timing: Timing,
        recordings: Sequence[RecordingEntry],
        warning: str = "",
    ) -> Manifest:
        """The manifest of a run with these weights and settings, made by the software that is running now.

        Args:
            warning: joins the weights' notice.
        """
        notice = f"{description.notice} {warning}".strip()
        weights = to_dict(description) | {"notice": notice}
        del weights["preprocessing"]
        return cls(
            manifest_version=MANIFEST_VERSION,
            notice=notice,
            software=software_versions(),
            device=device,
            weights=weights | {"digest": description.digest},
            preprocessing=description.preprocessing,
            settings=run,
            table=table,
            totals=totals,
            timing=timing,
            recordings=list(recordings),
        )


def write_manifest(path: Path, manifest: Manifest) -> None:
    """Write it as JSON; raises as `storage.write_json`."""
    content = to_dict(manifest)
    if manifest.store is None:
        del content["store"]
    write_json(path, content)


def read_table_name(path: Path) -> str | None:
    """Which table the manifest at `path` certifies; None where there is no readable manifest."""
    try:
        name = json.loads(path.read_text(encoding="utf-8"))["table"]["file"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return name if isinstance(name, str) else None


@dataclass
class Totals:
    """Sums over a run's recordings, added up as they finish.

    Attributes:
        truncated: recordings that decode to less than their header promises.
    """

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

    def entry(self) -> TotalsEntry:
        """The sums as the manifest states them, seconds rounded to milliseconds."""
        rounded = {name: round(value, 3) for name, value in self.seconds.items()}
        lost = {reason: round(value, 3) for reason, value in self.unscorable_s.items()}
        return TotalsEntry(dict(self.recordings), dict(self.segments), SecondsEntry(**rounded, unscorable=lost))


def recording_entry(recording: Recording, outcome: RecordingOutcome, reused: bool) -> RecordingEntry:
    """One recording as the manifest states it."""
    return RecordingEntry(
        recording=recording.name,
        status=outcome.status.value,
        reason=outcome.reason,
        message=outcome.message,
        orientation_deg=outcome.orientation_deg,
        segments=dict(Counter(segment.status.value for segment in outcome.segments)),
        balance_s=outcome.balance,
        streams=outcome.facts,
        stage_s=outcome.stage_s,
        from_earlier_run=reused,
    )
