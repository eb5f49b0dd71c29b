"""What a manifest states about the tables, the recordings and the columns of a run."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from avpenet_cli.records import Balance
from avpenet_cli.runs.host import HostFacts
from avpenet_cli.tables import SCHEMA_VERSION


@dataclass(frozen=True)
class TableEntry:
    """A table that a manifest certifies.

    Attributes:
        file: its name, without a folder.
        sha256: digest of the file, hexadecimal.
        rows: number of rows; in the score table, of segments.
        schema_version: of its columns, `tables.SCHEMA_VERSION`.
        escaped_names: in a CSV file, names of recordings or subjects before which an apostrophe stands, see
            `tables.escape_cell`.
    """

    file: str
    sha256: str
    rows: int
    schema_version: int = SCHEMA_VERSION
    escaped_names: int = 0


@dataclass(frozen=True)
class RecordedAtEntry:
    """Where the column `recorded_at` comes from.

    Attributes:
        source: `container`, `name:PATTERN`, `table FILE (sha256 ...)` or `none`. A container's creation time may be
            when the file was written or exported, or when the recording ended.
        known: recordings whose start is known.
        unknown: the other recordings.
    """

    source: str
    known: int
    unknown: int


@dataclass(frozen=True)
class FluctuationsEntry:
    """How scores fluctuate in quiet minutes without any change, points^2; see `stats.patient_baseline`.

    Attributes:
        modalities: what made these scores.
        input_noise: noise that is the same in what overlapping segments share.
        decaying: fluctuations by their time constant, s.
        between_recordings: from one recording of a patient to another, in addition; None where that is not known.
    """

    modalities: str
    input_noise: float
    decaying: dict[str, float]
    between_recordings: float | None


@dataclass(frozen=True)
class MissingBaseline:
    """Scores that no change is stated for.

    Attributes:
        recordings: of one patient, or one recording.
        modalities: what made these scores.
        quiet_s: quiet seconds that were found, overlaps counted once.
        reason: `too_few_quiet_seconds` or `no_subject`.
    """

    recordings: list[str]
    modalities: str
    quiet_s: float
    reason: str


@dataclass(frozen=True)
class BaselineEntry:
    """What the columns `change` and `change_se` are measured against.

    Attributes:
        rule: `quiet`.
        by: `subject` (over all of a patient's recordings) or `recording`.
        most_voiced: largest share of voice in a quiet segment.
        shortest_stretch_s: shortest stretch of quiet segments that counts, s.
        fewest_quiet_s: quiet seconds that a baseline takes.
        number: patients, or recordings, with a score.
        with_baseline: of these, with a baseline.
        fluctuations: by the modalities that made the scores.
        missing: what has no baseline, and why.
    """

    rule: str
    by: str
    most_voiced: float
    shortest_stretch_s: float
    fewest_quiet_s: float
    number: int
    with_baseline: int
    fluctuations: list[FluctuationsEntry]
    missing: list[MissingBaseline]


@dataclass(frozen=True)
class CalibrationEntry:
    """The site's calibration behind the columns `calibrated`, `interval_lo`, `interval_hi` and `abstained`.

    Attributes:
        file: its name, without a folder; empty under pseudonyms.
        sha256: of the file, hexadecimal.
        digest: of its content, as it states itself.
        created: when it was fitted, ISO 8601.
        weights: whose scores it is for, as in the column `weights`.
        demonstration: true where those weights are, so that nothing in it is about patients.
        method: `monotone`, `linear` or `none`.
        coverage: of the intervals for new patients, a share.
        group_column: of the table of subjects; empty where it has one curve.
        groups: patients of each group with a curve of its own.
        n_subjects, n_recordings, n_segments, n_raters: what it was fitted on.
        scales: of the ratings.
        recorded_from, recorded_to: dates of those recordings; empty where not known.
        abstains_by: column by which segments are left without a calibrated score; empty where it does not abstain.
        calibrated: segments of this table with a calibrated score.
        abstained: with a score, but no calibrated one.
        outside: calibrated, with a score outside those it was fitted on.
        pooled: of a group without a curve of its own.
        without_group: recordings that have no group, and so no calibrated score.
    """

    file: str
    sha256: str
    digest: str
    created: str
    weights: str
    demonstration: bool
    method: str
    coverage: float
    group_column: str
    groups: dict[str, int]
    n_subjects: int
    n_recordings: int
    n_segments: int
    n_raters: int
    scales: list[str]
    recorded_from: str
    recorded_to: str
    abstains_by: str
    calibrated: int
    abstained: int
    outside: int
    pooled: int
    without_group: list[str]


@dataclass(frozen=True)
class SecondsEntry:
    """What happened to the recorded seconds of a run; `unscorable` by reason."""

    nominal: float = 0.0
    scored: float = 0.0
    undecodable: float = 0.0
    unscorable: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class TotalsEntry:
    """Sums over a run: recordings and segments by status, scored segments by modalities, seconds by outcome."""

    recordings: dict[str, int]
    segments: dict[str, int]
    modalities: dict[str, int]
    seconds: SecondsEntry


@dataclass(frozen=True)
class Timing:
    """When a run began and finished (ISO 8601 with offset), and how many seconds passed between."""

    started: str
    finished: str
    seconds: float

    @classmethod
    def between(cls, started: datetime, finished: datetime) -> Timing:
        """From two times with offsets."""
        seconds = round((finished - started).total_seconds(), 1)
        return cls(started.isoformat(timespec="seconds"), finished.isoformat(timespec="seconds"), seconds)


@dataclass(frozen=True)
class FileEntry:
    """The file of a recording as it was when it was read.

    Attributes:
        size_bytes: its size.
        modified: when it was last modified, ISO 8601 in UTC; empty under pseudonyms, unless the times of recordings
            were asked for.
        sha256: its digest, hexadecimal; empty where it was not computed (`--no-digests`, a failed recording, or one at
            whose end the run was interrupted).
    """

    size_bytes: int
    modified: str
    sha256: str


@dataclass(frozen=True)
class RecordingEntry:
    """One recording in the manifest.

    Attributes:
        recording: its name or pseudonym.
        status: scored, unscorable or failed.
        reason: a stable code if it failed, else empty; `message` says the same in a sentence.
        orientation_deg: clockwise rotation under which the patient's face was found; None without a face.
        segments: number by status.
        modalities: number of scored segments by what made the score.
        recorded_at: when the recording started, ISO 8601; empty where that is not known.
        balance_s: what happened to its seconds; None if that is not known.
        streams: container, codecs and decoders.
        stage_s: seconds spent by stage.
        from_earlier_run: not scored by this run.
        file: its file; None where there is none, or where that is not known.
    """

    recording: str
    status: str
    reason: str
    message: str
    orientation_deg: int | None
    segments: dict[str, int]
    modalities: dict[str, int]
    recorded_at: str
    balance_s: Balance | None
    streams: dict[str, object]
    stage_s: dict[str, float]
    from_earlier_run: bool
    file: FileEntry | None = None


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
class ShardEntry:
    """A shard of a merged table: which run scored its recordings, where and when.

    Attributes:
        shard: such as `3 of 16`.
        sha256: digest of its manifest, hexadecimal.
        recordings: number of its recordings.
        device: that scored.
        host: the kind of computer.
        version: of avpenet.
        timing: of its latest run; a run that was killed and resumed began earlier.
    """

    shard: str
    sha256: str
    recordings: int
    device: str
    host: HostFacts
    version: str
    timing: Timing
