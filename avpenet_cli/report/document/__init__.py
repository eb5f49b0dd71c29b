"""What a report holds: the content of report.json, section by section, as frozen dataclasses."""

from __future__ import annotations

from dataclasses import dataclass

from avpenet_cli.report.document.agreement import (
    AgreementSection,
    CalibrationSection,
    ComparisonSection,
    ErrorSection,
)
from avpenet_cli.report.document.data import (
    CoverageSection,
    DistributionSection,
    Headline,
    PairingSection,
    QualitySection,
    RecordingSummary,
)
from avpenet_cli.report.document.groups import DriftSection, RatersSection, Stratum
from avpenet_cli.report.document.provenance import InputsSection, Provenance, SettingsSection
from avpenet_cli.report.document.review import ChecklistItem, Notice, ReviewSection, Trajectory
from avpenet_cli.report.document.sample import SampleSection
from avpenet_cli.stats.classes import Classes
from avpenet_cli.stats.detection import Detection
from avpenet_cli.stats.reliability import Icc
from avpenet_cli.stats.risk_coverage import RiskCoverage
from avpenet_cli.stats.verdict import Verdict
from avpenet_cli.study.tables import WeightsSummary

SCHEMA_VERSION = 4


@dataclass(frozen=True)
class ReportDocument:
    """A report. Scores, ratings and errors are points of the 0-10 scale; a number that cannot be computed is null.

    Attributes:
        schema_version: of this format.
        title: heading of the page.
        created: when the report was made, ISO 8601, UTC.
        command: repeats the report; empty where it was not made on the command line.
        notices: what a reader must know first; by severity of their kind.
        software: name to version.
        inputs: files the report was made from.
        weights: the weights that made the scores.
        settings: what the numbers depend on besides the tables.
        headline: counts.
        coverage: how much of the recorded time has a score.
        quality: quality flags of the segments.
        recordings: the scores of every recording, in the order of the tables, those that could not be read last.
        distribution: of scores and ratings.
        pairing: how ratings, subjects and segments were matched; null without ratings and subjects.
        sample: the sample that a pack fixed before the ratings; null without a pack.
        agreement: bias and limits of agreement; this and the next eight are null without ratings.
        error: size of the error.
        reliability: model and reference as two raters.
        classes: agreement on low, moderate and high.
        calibration: reference by score.
        detection: the score as a test for a reference above either cut point.
        risk_coverage: error when segments of low quality are set aside, by each measure of quality.
        strata: bias and error by groups.
        raters: agreement among raters; null with fewer than two raters.
        drift: bias and coverage over time; null without a column or table to order by.
        comparison: with another score table; null without one.
        verdict: limits of agreement against the acceptance limit.
        review: segments that a person should look at.
        checklist: items of reporting guidelines with their answers.
        trajectories: recordings drawn over time.
        provenance: what made the report.
    """

    schema_version: int
    title: str
    created: str
    command: str
    notices: tuple[Notice, ...]
    software: dict[str, str]
    inputs: InputsSection
    weights: WeightsSummary
    settings: SettingsSection
    headline: Headline
    coverage: CoverageSection
    quality: QualitySection
    recordings: tuple[RecordingSummary, ...]
    distribution: DistributionSection
    pairing: PairingSection | None
    sample: SampleSection | None
    agreement: AgreementSection | None
    error: ErrorSection | None
    reliability: Icc | None
    classes: Classes | None
    calibration: CalibrationSection | None
    detection: tuple[Detection, ...] | None
    risk_coverage: tuple[RiskCoverage, ...] | None
    strata: tuple[Stratum, ...] | None
    raters: RatersSection | None
    drift: DriftSection | None
    comparison: ComparisonSection | None
    verdict: Verdict
    review: ReviewSection
    checklist: tuple[ChecklistItem, ...]
    trajectories: tuple[Trajectory, ...]
    provenance: Provenance
