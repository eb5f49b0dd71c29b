"""Where a report comes from: files, settings, software."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from avpenet_cli.runs.history import HistoryHead
from avpenet_cli.study.score_tables import ManifestState


@dataclass(frozen=True)
class CalibrationUsed:
    """The calibration behind a score table's column `calibrated`, which the report does not compare.

    Attributes:
        digest: of its content, hexadecimal.
        created: when it was fitted, ISO 8601.
        n_subjects, n_recordings, n_segments, n_raters: what it was fitted on.
        recorded_from, recorded_to: dates of those recordings; empty where not known.
        coverage: of its intervals for new patients, a share.
    """

    digest: str
    created: str
    n_subjects: int
    n_recordings: int
    n_segments: int
    n_raters: int
    recorded_from: str
    recorded_to: str
    coverage: float


@dataclass(frozen=True)
class RunSummary:
    """What a run manifest says about the run that wrote a score table.

    Attributes:
        device: CPU or GPU; null where the manifest does not say.
        software: name to version.
        notice: about the weights; null where there is none.
        finished: when the run ended, ISO 8601.
        wall_s: how long the run took, seconds; null where the manifest does not say.
        calibration: that the table was written with; null where there is none.
    """

    device: str | None
    software: dict[str, str]
    notice: str | None
    finished: str
    wall_s: float | None
    calibration: CalibrationUsed | None = None


@dataclass(frozen=True)
class ScoresFile:
    """A score table.

    Attributes:
        name: file name without its folder.
        sha256: digest of the file, hexadecimal.
        rows: below the header.
        manifest_state: verified: the manifest holds the file's digest; altered: it holds another one.
        manifest_sha256: digest of the manifest; empty where it cannot be read.
        run: from the manifest; null where it is absent or unreadable.
        scores_digest: SHA-256 over recording, times and score of every segment, which stays the same when the table
            gets further columns.
    """

    name: str
    sha256: str
    rows: int
    manifest_state: ManifestState
    manifest_sha256: str
    run: RunSummary | None
    scores_digest: str


@dataclass(frozen=True)
class RatingsFile:
    """The table of ratings.

    Attributes:
        name: file name without its folder.
        sha256: digest of the file, hexadecimal.
        rows: below the header.
        scales: of the ratings, in order of appearance.
        raters: in order of appearance.
    """

    name: str
    sha256: str
    rows: int
    scales: tuple[str, ...]
    raters: tuple[str, ...]


@dataclass(frozen=True)
class SubjectsFile:
    """The table of subjects.

    Attributes:
        name: file name without its folder.
        sha256: digest of the file, hexadecimal.
        rows: below the header.
        columns: besides recording and subject.
    """

    name: str
    sha256: str
    rows: int
    columns: tuple[str, ...]


@dataclass(frozen=True)
class EventsFile:
    """The table of events.

    Attributes:
        name: file name without its folder.
        sha256: digest of the file, hexadecimal.
        rows: below the header.
        unknown_recordings: recordings with events that are not in the scores.
    """

    name: str
    sha256: str
    rows: int
    unknown_recordings: tuple[str, ...]


@dataclass(frozen=True)
class PackInput:
    """The pack that fixed the sample.

    Attributes:
        name: file name.
        sha256: of its bytes, hexadecimal.
        rows: sampled segments.
        digest: over its content, as it states it.
    """

    name: str
    sha256: str
    rows: int
    digest: str


@dataclass(frozen=True)
class ReviewFile:
    """The filled-in list of segments to review.

    Attributes:
        name: file name without its folder.
        sha256: digest of the file, hexadecimal.
        rows: below the header.
    """

    name: str
    sha256: str
    rows: int


@dataclass(frozen=True)
class InputsSection:
    """All files that the report was made from."""

    scores: tuple[ScoresFile, ...]
    reference: RatingsFile | None
    subjects: SubjectsFile | None
    events: EventsFile | None
    compare: tuple[ScoresFile, ...] | None
    pack: PackInput | None
    review: ReviewFile | None = None


@dataclass(frozen=True)
class SettingsSection:
    """What the numbers depend on besides the tables.

    Attributes:
        confidence: of the intervals, 0 to 1.
        z: multiple of the SD in the limits of agreement.
        bootstrap_replicates: number of resamples.
        seed: of the resampling.
        hold_s: how long a rating given at one time holds, seconds.
        truth: whether the true value is the same in all segments of a subject.
        limit_points: acceptance limit, points; null without one.
        limit_source: where it comes from.
    """

    confidence: float
    z: float
    bootstrap_replicates: int
    seed: int
    hold_s: float
    truth: Literal["constant", "changing"]
    limit_points: float | None
    limit_source: str


@dataclass(frozen=True)
class SignedBy:
    """A signature that was given with the command that made the report: an attestation, not a cryptographic one.

    Attributes:
        name: of the person, as given.
        role: in which they sign, as given.
    """

    name: str
    role: str


@dataclass(frozen=True)
class Provenance:
    """The program and the platform that made the report, and the place of the report in its history.

    Attributes:
        created_by: program, version and command.
        platform: operating system and processor.
        history: the last line of the history beside the page before this report; null where the report is part of an
            evaluation, which has a history.
        sign_off: who signed with the same command; null without. Later ones stand in the history only.
    """

    created_by: str
    platform: str
    history: HistoryHead | None = None
    sign_off: SignedBy | None = None
