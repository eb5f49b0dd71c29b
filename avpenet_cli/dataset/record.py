"""`store.json`: how a store was made, from which files, and which subjects are in which split."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from avpenet_cli.dataset.segment_files import STORE_VERSION
from avpenet_cli.dataset.splits import Split
from avpenet_cli.errors import SettingsError
from avpenet_cli.runs.outputs import read_run_file
from avpenet_cli.settings import Preprocessing, QualitySettings, from_dict, to_dict
from avpenet_cli.storage import write_json
from avpenet_cli.version import refuse_later

STORE_FILE = "store.json"


@dataclass(frozen=True)
class RatingsRecord:
    """The ratings that a store was made with.

    Attributes:
        name, sha256, rows: name, digest and number of rows of the file.
        scales, raters: scales in order of appearance; number of raters.
        hold_s: how long a rating given at one time applies, seconds.
    """

    name: str
    sha256: str
    rows: int
    scales: list[str]
    raters: int
    hold_s: float


@dataclass(frozen=True)
class SubjectsRecord:
    """The table of subjects; `columns` besides recording and subject."""

    name: str
    sha256: str
    rows: int
    columns: list[str]


@dataclass(frozen=True)
class UnmatchedRatingsRecord:
    """Ratings that fall in no segment: how many, for which reasons, and the first hundred of them."""

    count: int
    by_reason: dict[str, int]
    examples: list[dict[str, Any]]


@dataclass(frozen=True)
class SplitsRecord:
    """The splits and how they were drawn.

    Attributes:
        seed, shares, strata: what the draw was made with.
        rated_segments, rated_subjects: scorable segments with a reference, and their subjects, by split.
        by_subject: from subject to split.
        leave_one_site_out: for each site left out, from subject to split.
    """

    seed: int
    shares: dict[str, float]
    strata: list[str]
    rated_segments: dict[str, int]
    rated_subjects: dict[str, int]
    by_subject: dict[str, Split]
    leave_one_site_out: dict[str, dict[str, Split]]


@dataclass(frozen=True)
class IndexRecord:
    """The index file: its name, SHA-256 and number of rows."""

    file: str
    sha256: str
    rows: int


@dataclass(frozen=True)
class RecordingRecord:
    """One recording.

    Attributes:
        status: `prepared` or `failed`.
        shard, shard_bytes: its segment file in the store and the file's size; empty and 0 if it failed.
        reason, message: code and description of the failure; `message` of a prepared one: decoder
            errors, and what was corrected in its audio.
        sha256: digest of the recording's file.
        nominal_s, length_s: length that its header states, and length that decodes, s.
        orientation_deg: clockwise rotation under which the patient's face was found.
        segments: number of scorable and of unscorable segments.
    """

    recording: str
    status: str
    shard: str = ""
    shard_bytes: int = 0
    reason: str = ""
    message: str = ""
    sha256: str = ""
    nominal_s: float = 0.0
    length_s: float = 0.0
    orientation_deg: int | None = None
    segments: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class StoreRecord:
    """The content of `store.json` of a complete store.

    Attributes:
        software: versions, by name.
        settings: flat; two runs share the store only if these agree.
        fingerprint: digest of the settings that change the content of a segment file.
        preprocessing: what weights trained on the store were trained to see.
        notice: what weights trained on the store must state; empty for recordings of people.
    """

    store_version: int = STORE_VERSION
    complete: bool = True
    software: dict[str, str]
    settings: dict[str, Any]
    fingerprint: str
    preprocessing: Preprocessing
    quality: QualitySettings
    ratings: RatingsRecord
    subjects: SubjectsRecord
    unmatched_ratings: UnmatchedRatingsRecord
    unrated_recordings: list[str]
    splits: SplitsRecord
    notice: str = ""
    index: IndexRecord
    recordings: list[RecordingRecord]


def read_store_file(folder: Path) -> dict[str, Any] | None:
    """The JSON of `store.json`, complete or not; None where there is none.

    Raises:
        OutputError: it cannot be read.
        SettingsError: it has another version.
    """
    content = read_run_file(folder / STORE_FILE, "choose another folder, or remove it")
    if content is not None:
        refuse_later(f"the store {folder}", content.get("store_version"), STORE_VERSION)
    if content is not None and content.get("store_version") != STORE_VERSION:
        raise SettingsError(
            f"the store {folder} has version {content.get('store_version')}; this program reads {STORE_VERSION}",
            "prepare it again",
        )
    return content


def parse_store_record(content: dict[str, Any], folder: Path) -> StoreRecord:
    """The record of a complete store, from `read_store_file`.

    Raises:
        SettingsError: a field is missing or has another type.
    """
    return from_dict(StoreRecord, content, str(folder / STORE_FILE))


def write_unfinished(folder: Path, settings: dict[str, Any]) -> None:
    """Write the `store.json` of a store whose preparation has begun; raises as `write_json`."""
    write_json(folder / STORE_FILE, {"store_version": STORE_VERSION, "complete": False, "settings": settings})


def write_store_record(folder: Path, record: StoreRecord) -> None:
    """Write the `store.json` of a complete store; raises as `write_json`."""
    write_json(folder / STORE_FILE, store_content(record))


def store_content(record: StoreRecord) -> dict[str, Any]:
    """The record as it stands in `store.json`."""
    content = to_dict(record)
    # What a failed recording does not have is left out.
    content["recordings"] = [_recording_content(recording) for recording in record.recordings]
    return content


def _recording_content(recording: RecordingRecord) -> dict[str, Any]:
    content = asdict(recording)
    if recording.status != "failed":
        return content
    known = ("recording", "shard", "shard_bytes", "status", "reason", "message")
    return {item.name: content[item.name] for item in fields(recording) if item.name in known}
