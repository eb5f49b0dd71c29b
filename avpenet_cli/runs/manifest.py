"""The run's manifest: everything needed to trace a score table and to reproduce it."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from avpenet_cli.inputs import LeftAside, Recording
from avpenet_cli.records import CREATION_TIME, Flag, Modalities, RecordingOutcome, Status
from avpenet_cli.runs.history import HistoryHead
from avpenet_cli.runs.host import HostFacts, host_facts
from avpenet_cli.runs.journal import FileFacts
from avpenet_cli.runs.manifest_entries import (
    BaselineEntry,
    CalibrationEntry,
    FileEntry,
    RecordedAtEntry,
    RecordingEntry,
    SecondsEntry,
    ShardEntry,
    StoreEntry,
    TableEntry,
    Timing,
    TotalsEntry,
)
from avpenet_cli.runs.versions import software_versions
from avpenet_cli.settings import RESULTS_VERSION, Preprocessing, RunSettings, to_dict
from avpenet_cli.storage import write_json
from avpenet_cli.textfiles import parse_json
from avpenet_cli.version import MANIFEST_VERSION
from avpenet_cli.weights import WeightsDescription

_MODALITIES = tuple(kind.value for kind in Modalities)


def manifest_path(output: Path) -> Path:
    """`scores.run.json` for `scores.csv`."""
    return output.with_suffix(".run.json")


def weights_mark(description: WeightsDescription) -> str:
    """The table's `weights` column: name, first 12 digits of the digest, and the status unless it is validated."""
    status = "" if description.status == "validated" else f" {description.status}"
    return f"{description.name}@{description.digest[:12]}{status}"


@dataclass(frozen=True)
class Manifest:
    """Everything known about one run. `schemas/manifest.schema.json` in the package is its JSON Schema.

    Attributes:
        manifest_version: version of this format.
        notice: what the weights must not be used for; empty if there is no restriction.
        results_version: equal for versions of this program that score alike; None in manifests before 0.2.0.
        software: versions of everything that numbers depend on.
        device: the device that scored, e.g. `cpu` or `cuda:0 (NVIDIA H200)`.
        weights: their description, with its digest.
        preprocessing: what frames and audio went through, from that description.
        settings: the settings of the run.
        recordings: in input order.
        host: what kind of computer scored; neither its name nor its user's.
        command: the command that scored, with its options; of recordings their number, of other paths the last part,
            and nothing of them under pseudonyms. Empty where the library was used without the command.
        left_aside: what was found among the inputs and is not scored, by reason and by suffix; None if `avpenet
            evaluate` wrote the table.
        summaries: the tables of recordings and of subjects and the file of embeddings, where a run wrote them.
        recorded_at: where the times come from; None if `avpenet evaluate` wrote the table.
        baseline: of the columns `change` and `change_se`; only with `--baseline`.
        calibration: of the columns `calibrated`, `interval_lo`, `interval_hi` and `abstained`; only with
            `--calibration`.
        store: the segment store; only if `avpenet evaluate` wrote the table.
        history: the last line of the table's history before this run; None if the table has no history of its own.
        shards: the runs that scored, where `avpenet merge` put their outcomes together; `software` and `host` are of
            the first of them, `device` of all.
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
    host: HostFacts
    results_version: int | None = None
    command: str = ""
    left_aside: LeftAside | None = None
    summaries: list[TableEntry] = field(default_factory=list)
    recorded_at: RecordedAtEntry | None = None
    baseline: BaselineEntry | None = None
    calibration: CalibrationEntry | None = None
    store: StoreEntry | None = None
    history: HistoryHead | None = None
    shards: list[ShardEntry] | None = None

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
        summaries: Sequence[TableEntry] = (),
        recorded_at: RecordedAtEntry | None = None,
        baseline: BaselineEntry | None = None,
        calibration: CalibrationEntry | None = None,
        command: str = "",
        left_aside: LeftAside | None = None,
        warning: str = "",
        history: HistoryHead | None = None,
        host: HostFacts | None = None,
        software: dict[str, str] | None = None,
        shards: list[ShardEntry] | None = None,
    ) -> Manifest:
        """The manifest of a run with these weights and settings.

        Args:
            warning: joins the weights' notice.
            host, software: that scored; None for this computer, and for what is running now.
        """
        notice = f"{description.notice} {warning}" if warning else description.notice
        weights = to_dict(description) | {"notice": notice}
        del weights["preprocessing"]
        return cls(
            manifest_version=MANIFEST_VERSION,
            notice=notice,
            software=software or software_versions(),
            device=device,
            weights=weights | {"digest": description.digest},
            preprocessing=description.preprocessing,
            settings=run,
            table=table,
            totals=totals,
            timing=timing,
            recordings=list(recordings),
            host=host or host_facts(),
            results_version=RESULTS_VERSION,
            command=command,
            left_aside=left_aside,
            summaries=list(summaries),
            recorded_at=recorded_at,
            baseline=baseline,
            calibration=calibration,
            history=history,
            shards=shards,
        )


def write_manifest(path: Path, manifest: Manifest) -> None:
    """Write it as JSON, a recording on each line; raises as `storage.write_json`."""
    content = to_dict(replace(manifest, recordings=[]))
    del content["recordings"]
    for name in ("store", "recorded_at", "baseline", "calibration", "history", "shards"):
        if content[name] is None:
            del content[name]
    plain = TypeAdapter(RecordingEntry).dump_python
    write_json(path, content, ("recordings", (plain(entry, mode="json") for entry in manifest.recordings)))


def read_table_name(path: Path) -> str | None:
    """Which table the manifest at `path` certifies; None where there is no readable manifest."""
    try:
        name = parse_json(path.read_text(encoding="utf-8"))["table"]["file"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return name if isinstance(name, str) else None


def read_derived(path: Path) -> tuple[str, ...]:
    """Which of `baseline` and `calibration` the table has columns of, as its manifest states it; empty without one."""
    try:
        content = parse_json(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return ()
    return tuple(name for name in ("baseline", "calibration") if isinstance(content, dict) and content.get(name))


@dataclass
class Totals:
    """Sums over a run's recordings, added up as they finish.

    Attributes:
        truncated: recordings that decode to less than their header promises.
    """

    recordings: Counter[str] = field(default_factory=Counter)
    segments: Counter[str] = field(default_factory=Counter)
    modalities: Counter[str] = field(default_factory=Counter)
    seconds: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))
    unscorable_s: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))
    truncated: int = 0

    def add(self, outcome: RecordingOutcome) -> None:
        """Count one recording."""
        self.recordings[outcome.status.value] += 1
        self.segments.update([str(segment.status) for segment in outcome.segments])
        self.modalities.update(count_modalities(outcome))
        self.truncated += any(Flag.TRUNCATED in segment.flags for segment in outcome.segments if segment.flags)
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
        return TotalsEntry(
            dict(self.recordings),
            dict(self.segments),
            dict(self.modalities),
            SecondsEntry(**rounded, unscorable=lost),
        )


def count_modalities(outcome: RecordingOutcome) -> dict[str, int]:
    """Scored segments by what made the score: `audio+face`, `audio`, `face`, in this order; without those of 0."""
    counts = Counter([segment.modalities for segment in outcome.segments])
    return {kind: counts[kind] for kind in _MODALITIES if kind in counts}


def file_entry(facts: FileFacts | None, *, with_time: bool = True) -> FileEntry | None:
    """A recording's file as the manifest states it.

    Args:
        with_time: state when it was modified, which is when most recordings ended; times can identify a patient.
    """
    if facts is None:
        return None
    modified = datetime.fromtimestamp(facts.mtime_ns // 1_000_000_000, UTC).isoformat() if with_time else ""
    return FileEntry(facts.size_bytes, modified, facts.sha256)


def recording_entry(
    recording: Recording,
    outcome: RecordingOutcome,
    reused: bool,
    recorded_at: str = "",
    file: FileEntry | None = None,
) -> RecordingEntry:
    """One recording as the manifest states it."""
    return RecordingEntry(
        recording=recording.name,
        status=outcome.status.value,
        reason=outcome.reason,
        message=outcome.message,
        orientation_deg=outcome.orientation_deg,
        segments=dict(Counter([str(segment.status) for segment in outcome.segments])),
        modalities=count_modalities(outcome),
        recorded_at=recorded_at,
        balance_s=outcome.balance,
        # The time stands in `recorded_at`, where the run's options let it be known.
        streams={name: value for name, value in outcome.facts.items() if name != CREATION_TIME},
        stage_s=outcome.stage_s,
        from_earlier_run=reused,
        file=file,
    )
