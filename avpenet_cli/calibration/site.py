"""`site.json`: a calibration of one site's scores, what it was fitted on and how well it does, as frozen dataclasses.

Scores, ratings and errors are points of the 0-10 scale. `digest` is the SHA-256 of everything else in the file; where a
calibration was edited by hand, it is refused.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from avpenet_cli.errors import SettingsError, reason
from avpenet_cli.runs.history import HistoryHead
from avpenet_cli.stats.estimate import NAN, Estimate, to_json
from avpenet_cli.storage import content_digest, write_json
from avpenet_cli.study.score_tables import weights_identity
from avpenet_cli.textfiles import parse_json
from avpenet_cli.version import refuse_later

SITE_VERSION = 1
"""Version of site.json; raised with every change of the dataclasses in this module and of those it uses."""
KIND = "avpenet site calibration"

Method = Literal["monotone", "linear", "none"]
RiskKind = Literal["mean absolute error", "share of large errors"]
Verdict = Literal["better", "worse", "unclear", "as scored"]
Role = Literal["scores", "ratings", "subjects"]

_REMEDY = "give a file that `avpenet calibrate` wrote"
_ESTIMATE_FIELDS = frozenset({"value", "ci", "n", "reason"})


@dataclass(frozen=True)
class InputFile:
    """A table that the calibration was fitted on.

    Attributes:
        role: what it holds.
        name: without its folder.
        sha256: of its bytes, hexadecimal.
        rows: number of rows.
        scores_digest: of scores: SHA-256 over recording, times and score of every segment, which stays the same when
            the table gets further columns, such as those of this calibration; empty for other tables.
    """

    role: Role
    name: str
    sha256: str
    rows: int
    scores_digest: str = ""


@dataclass(frozen=True)
class FittedWeights:
    """The weights that made the scores; the calibration is for scores of these weights only.

    Attributes:
        mark: as in the score tables' column `weights`.
        name: of the weights.
        digest: SHA-256, hexadecimal; its first 12 characters where no manifest lay beside the tables.
        status: such as demonstration; empty where it is not stated.
        demonstration: true where the weights were trained on synthetic patients, so that nothing here is about people.
    """

    mark: str
    name: str
    digest: str
    status: str
    demonstration: bool


@dataclass(frozen=True)
class FittedGroup:
    """Patients of one level of the group column.

    Attributes:
        group: the level.
        n_subjects: patients with a rated and scored segment.
        n_segments: their rated and scored segments.
        own_curve: true where the group has a curve and an interval of its own; otherwise the pooled ones apply to it.
        reason: why it has none; empty otherwise.
    """

    group: str
    n_subjects: int
    n_segments: int
    own_curve: bool
    reason: str


@dataclass(frozen=True)
class FittedOn:
    """Where the calibration was fitted.

    Attributes:
        n_subjects: patients with a rated and scored segment; patients are the unit of every interval.
        n_recordings: their recordings.
        n_segments: their rated and scored segments.
        n_unrated: scored segments without a rating, which were left out.
        n_unmatched_ratings: ratings that match no segment.
        scales: of the ratings, rescaled to 0 to 10 points.
        n_raters: number of raters.
        lowest_score: points.
        highest_score: points; outside this range the curve is constant.
        lowest_rating: points.
        highest_rating: points.
        stride_s: seconds from one segment to the next; None where tables differ or recordings have one segment.
        recorded_from: first date on which a segment was recorded, ISO 8601; empty where the tables have no dates.
        recorded_to: last date.
        groups: one for each level of the group column; empty without one.
        inputs: the tables, with their digests.
    """

    n_subjects: int
    n_recordings: int
    n_segments: int
    n_unrated: int
    n_unmatched_ratings: int
    scales: tuple[str, ...]
    n_raters: int
    lowest_score: float
    highest_score: float
    lowest_rating: float
    highest_rating: float
    stride_s: float | None
    recorded_from: str
    recorded_to: str
    groups: tuple[FittedGroup, ...]
    inputs: tuple[InputFile, ...]


@dataclass(frozen=True)
class FitSettings:
    """What was asked for.

    Attributes:
        method: monotone, linear, or none: the scores as they are, with intervals.
        group_column: of the table of subjects, whose levels have curves of their own; empty without one.
        coverage: of the intervals for new patients, a share.
        hold_s: seconds for which a rating given at one time applies.
        folds: into which the patients were divided for cross-fitting.
        replicates: number of resamples of patients.
        seed: of folds and resamples.
    """

    method: Method
    group_column: str
    coverage: float
    hold_s: float
    folds: int
    replicates: int
    seed: int


@dataclass(frozen=True)
class Knot:
    """A point between which and the next the curve is straight.

    Attributes:
        score: points.
        calibrated: points.
    """

    score: float
    calibrated: float


@dataclass(frozen=True)
class BandPoint:
    """The curve at one score.

    Attributes:
        score: points.
        calibrated: points, with its interval by patient.
    """

    score: float
    calibrated: Estimate


@dataclass(frozen=True)
class Accuracy:
    """Scores against ratings, each patient with equal weight.

    Attributes:
        mae: mean absolute error, points.
        bias: mean of score minus rating, points.
        slope: of the rating on the score; 1 where scores are calibrated, below 1 where high scores are too high and low
            ones too low.
    """

    mae: Estimate
    bias: Estimate
    slope: Estimate


@dataclass(frozen=True)
class CrossFit:
    """What the calibration does for patients that it was not fitted on, by patient in folds.

    Attributes:
        before: of the raw scores.
        after: of scores calibrated by a curve that was fitted without the patient.
        mae_change: after minus before, points; below 0 where calibration helps.
        verdict: `better` where the interval of the change is below 0, `worse` where it is above, otherwise `unclear`;
            `as scored` with method none.
    """

    before: Accuracy
    after: Accuracy
    mae_change: Estimate
    verdict: Verdict


@dataclass(frozen=True)
class ConformalInterval:
    """Half the width of the interval for a segment of a new patient.

    Attributes:
        half_width: points; the interval is the calibrated score plus and minus this, within 0 to 10.
        n_subjects: patients whose errors it rests on.
        mean_width: mean width of the interval within 0 to 10 over the patients' segments, points.
        coverage_at_most: the largest coverage that can be expected, a share: coverage x (1 + 1 / patients).
    """

    half_width: float
    n_subjects: int
    mean_width: float
    coverage_at_most: float


@dataclass(frozen=True)
class Curve:
    """A calibration curve with its error and its interval for new patients.

    Attributes:
        group: the level it is for; empty for the pooled curve, which applies to all other patients.
        knots: by increasing score; outside the first and the last the curve is constant.
        band: the curve at whole points and at its ends, with intervals by patient.
        n_subjects: patients it was fitted on.
        cross_fit: error before and after.
        interval: for a segment of a new patient.
    """

    group: str
    knots: tuple[Knot, ...]
    band: tuple[BandPoint, ...]
    n_subjects: int
    cross_fit: CrossFit
    interval: ConformalInterval


@dataclass(frozen=True)
class RiskAtThreshold:
    """Segments that would be answered with one threshold.

    Attributes:
        threshold: value of the column.
        share_answered: share of the segments on the right side of it, each patient with equal weight.
        n_subjects: patients with an answered segment.
        risk: in the answered segments.
        risk_upper: its one-sided upper confidence limit, by patient; None where too few patients have an answered
            segment.
        accepted: true where this threshold and every stricter one that was tested keep the limit.
    """

    threshold: float
    share_answered: float
    n_subjects: int
    risk: float
    risk_upper: float | None
    accepted: bool


@dataclass(frozen=True)
class Abstention:
    """Which segments are left without a calibrated score.

    Attributes:
        column: that the rule looks at: a column of the score table, or `thin_flags`, the number of flags of poor,
            incomplete or missing evidence.
        answer_if: `at most` or `at least` the threshold; a segment without a value there is not answered.
        threshold: value of the column.
        risk_kind: mean absolute error, or share of errors above `large_error`.
        limit: that the risk was to keep, points or a share.
        large_error: points; None for the mean absolute error.
        confidence: with which the limit is kept by patients like these, a share.
        share_answered: share of the segments answered, each patient with equal weight.
        curve: every threshold that was looked at, the strictest first.
    """

    column: str
    answer_if: Literal["at most", "at least"]
    threshold: float
    risk_kind: RiskKind
    limit: float
    large_error: float | None
    confidence: float
    share_answered: float
    curve: tuple[RiskAtThreshold, ...]


@dataclass(frozen=True)
class SiteCalibration:
    """The content of site.json.

    Attributes:
        kind: what the file is.
        format_version: of the file.
        created: when it was fitted, ISO 8601, UTC.
        software: version of avpenet.
        command: that repeats it, without folders.
        weights: whose scores it is for.
        settings: what was asked for.
        fitted_on: patients, segments, tables.
        curves: the pooled curve first, then those of groups.
        abstention: None where it was not asked for.
        notices: what a reader must know, in sentences.
        history: last line of the file's history before the line of this calibration; None in memory.
        results_version: of the scores that it was fitted on, as in their manifests; None where these do not say, or
            differ, and in calibrations before 0.2.0.
        digest: SHA-256 over the rest of the file, hexadecimal; see `content_digest`.
    """

    kind: str
    format_version: int
    created: str
    software: str
    command: str
    weights: FittedWeights
    settings: FitSettings
    fitted_on: FittedOn
    curves: tuple[Curve, ...]
    abstention: Abstention | None
    notices: tuple[str, ...]
    history: HistoryHead | None = None
    results_version: int | None = None
    digest: str = ""

    @property
    def pooled(self) -> Curve:
        """The curve of all patients."""
        return self.curves[0]

    def check_weights(self, mark: str, where: str) -> None:
        """Check that scores are of the weights that the calibration was fitted with.

        Args:
            mark: of the column `weights` of a score table.
            where: the table's name, for the message.

        Raises:
            SettingsError: they are of others.
        """
        if weights_identity(mark) != weights_identity(self.weights.mark):
            raise SettingsError(
                f"{where} has scores of {mark or 'weights it does not name'}, the calibration is for "
                f"{self.weights.mark or 'weights that its tables did not name'}",
                "fit a calibration for these weights with `avpenet calibrate`",
            )


def sealed(site: SiteCalibration) -> SiteCalibration:
    """The same with its digest."""
    return replace(site, digest=content_digest(to_json(site)))


def write_site(path: Path, site: SiteCalibration) -> None:
    """Write a sealed calibration, readable by its owner only; raises as `storage.atomic_write`."""
    write_json(path, to_json(site))


def read_site(path: Path) -> SiteCalibration:
    """Read a calibration and verify its version and its digest.

    Raises:
        SettingsError: it cannot be read, is not a calibration, is of a newer version, or was changed after it was
            fitted.
    """
    try:
        content = parse_json(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        detail = reason(error) if isinstance(error, OSError) else "not JSON"
        raise SettingsError(f"{path} cannot be read: {detail}", _REMEDY) from None
    if not isinstance(content, dict) or content.get("kind") != KIND:
        raise SettingsError(f"{path} is not a calibration", _REMEDY)
    version = content.get("format_version")
    refuse_later(str(path), version, SITE_VERSION)
    if version != SITE_VERSION:
        raise SettingsError(
            f"{path} is a calibration of format version {version}; this program reads version {SITE_VERSION}",
            "fit it again with this program",
        )
    try:
        intact = content.get("digest") == content_digest(content)
    except ValueError:
        intact = False
    if not intact:
        raise SettingsError(f"{path} was changed after it was fitted: its digest does not fit", "fit it again")
    return _to_site(path, content)


def _to_site(path: Path, content: dict[str, Any]) -> SiteCalibration:
    from pydantic import TypeAdapter, ValidationError

    try:
        return TypeAdapter(SiteCalibration).validate_python(_with_nan(content))
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(map(str, first["loc"]))
        raise SettingsError(f"{path} is not a calibration: {field}: {first['msg']}", _REMEDY) from None


def _with_nan(value: Any) -> Any:
    """JSON with NaN where an estimate has null, as `stats.estimate.to_json` wrote it."""
    if isinstance(value, list):
        return [_with_nan(item) for item in value]
    if not isinstance(value, dict):
        return value
    if value.keys() == _ESTIMATE_FIELDS and isinstance(value["ci"], list):
        ends = tuple(NAN if end is None else end for end in value["ci"])
        return value | {"value": NAN if value["value"] is None else value["value"], "ci": ends}
    return {key: _with_nan(item) for key, item in value.items()}
