"""From tables to the report's document."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd

from avpenet_cli.errors import SettingsError
from avpenet_cli.report import review
from avpenet_cli.report.checklist import checklist
from avpenet_cli.report.comparison import ComparedTables, align, comparison_section
from avpenet_cli.report.coverage import Coverage, flag_counts, measure_coverage
from avpenet_cli.report.data_sections import distribution_section, headline, pairing_section
from avpenet_cli.report.document import SCHEMA_VERSION, ReportDocument
from avpenet_cli.report.document.data import QualitySection
from avpenet_cli.report.document.provenance import ReviewFile, SettingsSection
from avpenet_cli.report.document.review import ControlSample, ReviewSection
from avpenet_cli.report.grouping import drift, groups
from avpenet_cli.report.notices import notices
from avpenet_cli.report.provenance import created_now, inputs_section, provenance, software
from avpenet_cli.report.raters import raters_section
from avpenet_cli.report.recordings import recording_summaries
from avpenet_cli.report.review_answers import ReviewAnswers
from avpenet_cli.report.review_results import review_results
from avpenet_cli.report.review_sample import draw_control
from avpenet_cli.report.sample import match_pack, only_sampled, sample_notices, sample_section
from avpenet_cli.report.sections import (
    agreement_section,
    calibration_section,
    error_section,
    pairs_of,
    reliability_section,
    risk_coverage_section,
)
from avpenet_cli.stats.agreement import Z
from avpenet_cli.stats.bootstrap import LEVEL, Resampling
from avpenet_cli.stats.classes import LABELS, class_of, classes
from avpenet_cli.stats.detection import detections
from avpenet_cli.stats.pairs import Pairs
from avpenet_cli.stats.verdict import verdict
from avpenet_cli.study.pairing import HOLD_S, Pairing, pair
from avpenet_cli.study.score_tables import Scores
from avpenet_cli.study.tables import Inputs, summarise_weights

# Scores are rounded in the table: within this distance of a cut point, points, a label may be of either class.
_ROUNDING_POINTS = 0.001
_LONGEST_HOLD_S = 3600.0
_SCALE_POINTS = 10.0


@dataclass(frozen=True)
class ReportSettings:
    """What the numbers depend on besides the tables.

    Attributes:
        hold_s: how long a rating given at one time holds, 0 to 3600 s.
        constant_truth: the true value is the same in all segments of a subject.
        limit_points: acceptance limit for both limits of agreement, over 0 and up to 10 points; None: no verdict.
        limit_source: where the acceptance limit comes from; not empty where there is one.
        resampling: for the bootstrap.
        command: repeats the report.

    Raises:
        SettingsError: a value out of its range, or a limit without a source.
    """

    hold_s: float = HOLD_S
    constant_truth: bool = False
    limit_points: float | None = None
    limit_source: str = ""
    resampling: Resampling = field(default_factory=Resampling)
    command: str = ""

    def __post_init__(self) -> None:
        limit = self.limit_points
        if limit is not None and not 0 < limit <= _SCALE_POINTS:
            raise SettingsError(
                f"--limit {limit:g}: not a distance on the 0-10 scale", "give points, over 0 and up to 10"
            )
        if limit is not None and not self.limit_source.strip():
            raise SettingsError("--limit without --limit-source", "say where the limit comes from, for the page")
        if not 0 <= self.hold_s <= _LONGEST_HOLD_S:
            raise SettingsError(f"--hold-s {self.hold_s:g}: out of range", "give 0 to 3600 seconds")


@dataclass(frozen=True)
class Analysis:
    """The document, and the tables that figures and files need besides it.

    Attributes:
        document: as written to report.json, but without trajectories.
        inputs: all tables.
        segments: the score table with subject and reference.
        rated: segments with a score and a reference.
        pairs: of `rated`; None without any.
        compared: segments of both score tables; None without another one.
        review: every segment to look at, as in .review.csv; the document has the first targeted ones.
    """

    document: ReportDocument
    inputs: Inputs
    segments: pd.DataFrame
    rated: pd.DataFrame
    pairs: Pairs | None
    compared: pd.DataFrame | None
    review: pd.DataFrame


def analyse_tables(inputs: Inputs, settings: ReportSettings, answers: ReviewAnswers | None = None) -> Analysis:
    """Compute every number of a report.

    Args:
        inputs: all tables.
        settings: what the numbers depend on besides the tables.
        answers: to the list of segments to review that the same tables and settings give; None: none yet.

    Raises:
        SettingsError: the tables do not belong together, or the answers are not to this list.
    """
    for scores in filter(None, (inputs.scores, inputs.other)):
        _check_labels(scores)
    if settings.limit_points is not None and inputs.ratings is None:
        raise SettingsError("--limit without --reference", "a limit needs ratings to be compared with")
    of_rating = match_pack(inputs, inputs.pack, settings.limit_points) if inputs.pack else None
    pairing = pair(inputs.scores, inputs.ratings, inputs.subjects, settings.hold_s)
    of_segment = None
    if inputs.pack is not None:
        pairing, of_segment = only_sampled(pairing, inputs.pack)
    segments = pairing.segments
    rated = segments[(segments["status"] == "scored") & segments["reference"].notna()]
    if inputs.ratings is not None and not (segments["status"] == "scored").any():
        raise SettingsError(
            "--reference: no segment has a score to compare with a rating",
            "leave out --reference for a page that says why",
        )
    if inputs.ratings is not None and not len(rated):
        raise SettingsError(
            "--reference: no scored segment has a rating", "check that times are seconds from the recording's start"
        )
    pairs = pairs_of(rated) if len(rated) else None
    compared = None if inputs.other is None else align(segments, inputs.other)
    coverage = measure_coverage(inputs.scores)
    document = _describe(inputs, settings, pairing, rated, coverage)
    if pairs is not None:
        document = _add_agreement(document, inputs, settings, pairing, rated, pairs, coverage)
    if inputs.pack is not None and of_rating is not None and of_segment is not None:
        sample = sample_section(inputs.pack, inputs, pairing, of_rating, of_segment, settings.resampling)
        document = replace(document, sample=sample, notices=(*document.notices, *sample_notices(sample)))
    if compared is not None and inputs.other is not None:
        tables = ComparedTables(compared, inputs.scores.cut_points, inputs.other)
        comparison = comparison_section(tables, settings.resampling, settings.constant_truth)
        document = replace(document, comparison=comparison)
    targeted, criterion = _segments_to_review(document, inputs, settings, segments, rated)
    control = draw_control(segments[segments["status"] == "scored"], settings.resampling.seed)
    listed = review.ReviewList(targeted, control, segments)
    document = _add_review(document, inputs, settings, listed, criterion, answers)
    document = replace(document, checklist=checklist(document))
    return Analysis(document, inputs, segments, rated, pairs, compared, listed.rows())


def _check_labels(scores: Scores) -> None:
    """Without a manifest the cut points are assumed; the table's labels show where the assumption is wrong."""
    labelled = scores.segments[["score", "label"]].dropna()
    labelled = labelled[labelled["label"] != ""]
    values = labelled["score"].to_numpy()
    clear = np.min([np.abs(values - cut) for cut in scores.cut_points], axis=0) > _ROUNDING_POINTS
    expected = np.array(LABELS)[class_of(values, scores.cut_points)]
    wrong = clear & (expected != labelled["label"].to_numpy(dtype=object))
    if wrong.any():
        row = int(np.argmax(wrong))
        low, high = scores.cut_points
        raise SettingsError(
            f"{scores.sources[0].name}: a score of {values[row]:g} is labelled {labelled['label'].iloc[row]}, which "
            f"the cut points {low:g} and {high:g} do not give",
            "put the run's manifest (.run.json) beside the table, which names the cut points",
        )


def _describe(
    inputs: Inputs, settings: ReportSettings, pairing: Pairing, rated: pd.DataFrame, coverage: Coverage
) -> ReportDocument:
    """The document without anything that compares pairs."""
    segments, has_ratings = pairing.segments, inputs.ratings is not None
    has_pairing = has_ratings or inputs.subjects is not None
    return ReportDocument(
        schema_version=SCHEMA_VERSION,
        title="Agreement of pain scores with human ratings" if has_ratings else "Pain scores: description and coverage",
        created=created_now(),
        command=settings.command,
        notices=notices(inputs, coverage.section, rated, len(pairing.unmatched_ratings)),
        software=software(),
        inputs=inputs_section(inputs),
        weights=summarise_weights(inputs.scores),
        settings=_settings_section(settings),
        headline=headline(segments, rated, inputs, len(coverage.by_recording)),
        coverage=coverage.section,
        quality=QualitySection(flag_counts(segments)),
        recordings=recording_summaries(segments, coverage.section.failed_recordings, inputs.scores.cut_points),
        distribution=distribution_section(segments, has_ratings),
        pairing=pairing_section(pairing, settings.hold_s, has_ratings) if has_pairing else None,
        sample=None,
        agreement=None,
        error=None,
        reliability=None,
        classes=None,
        calibration=None,
        detection=None,
        risk_coverage=None,
        strata=None,
        raters=None,
        drift=drift(rated, segments, inputs, coverage, settings.resampling),
        comparison=None,
        verdict=verdict(None, None, settings.limit_points, settings.limit_source),
        review=ReviewSection("", 0, (), ControlSample(0, 0.0, 0, settings.resampling.seed, ()), None),
        checklist=(),
        trajectories=(),
        provenance=provenance(),
    )


def _settings_section(settings: ReportSettings) -> SettingsSection:
    return SettingsSection(
        confidence=LEVEL,
        z=Z,
        bootstrap_replicates=settings.resampling.replicates,
        seed=settings.resampling.seed,
        hold_s=settings.hold_s,
        truth="constant" if settings.constant_truth else "changing",
        limit_points=settings.limit_points,
        limit_source=settings.limit_source,
    )


def _add_agreement(
    document: ReportDocument,
    inputs: Inputs,
    settings: ReportSettings,
    pairing: Pairing,
    rated: pd.DataFrame,
    pairs: Pairs,
    coverage: Coverage,
) -> ReportDocument:
    resampling, cut_points = settings.resampling, inputs.scores.cut_points
    agreement = agreement_section(pairs, resampling, settings.constant_truth)
    return replace(
        document,
        agreement=agreement,
        error=error_section(pairs, resampling),
        reliability=reliability_section(pairs, resampling),
        classes=classes(pairs, resampling.of(pairs.n_subjects), cut_points),
        calibration=calibration_section(pairs, resampling),
        detection=detections(pairs, resampling.of(pairs.n_subjects), cut_points),
        risk_coverage=risk_coverage_section(rated, pairs, resampling),
        strata=groups(rated, inputs.subjects, coverage, resampling),
        raters=raters_section(pairing.by_rater, pairing.segments, cut_points, resampling),
        verdict=verdict(agreement.limits, agreement.percentiles, settings.limit_points, settings.limit_source),
    )


def _segments_to_review(
    document: ReportDocument,
    inputs: Inputs,
    settings: ReportSettings,
    segments: pd.DataFrame,
    rated: pd.DataFrame,
) -> tuple[pd.DataFrame, str]:
    if document.agreement is None:
        return review.thin_evidence(segments), review.UNRATED_CRITERION
    limits = document.agreement.limits
    loa = (limits.lower.value, limits.upper.value)
    rows = review.disagreements(rated, loa, inputs.scores.cut_points, settings.limit_points)
    return rows, review.RATED_CRITERION


def _add_review(
    document: ReportDocument,
    inputs: Inputs,
    settings: ReportSettings,
    listed: review.ReviewList,
    criterion: str,
    answers: ReviewAnswers | None,
) -> ReportDocument:
    if answers is None:
        return replace(document, review=review.review_section(listed, criterion))
    filled = review_results(
        answers, listed, settings.limit_points, settings.resampling, subjects_known=inputs.subjects is not None
    )
    file = answers.sheet.file
    files = replace(document.inputs, review=ReviewFile(file.name, file.sha256, file.rows))
    return replace(document, inputs=files, review=review.review_section(listed, criterion, filled))
