"""The columns `calibrated`, `interval_lo`, `interval_hi` and `abstained` (`--calibration`), from a site's calibration.

They are applied to what the table states, rounded as there, so that they are the same whoever applies them to it. A
calibration is for scores of its weights. The stride does not matter, because a segment's score depends on the segment;
neither do Monte Carlo samples, unless it abstains by their spread.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from avpenet_cli.calibration.apply import abstention_measure, apply
from avpenet_cli.calibration.site import SiteCalibration, read_site
from avpenet_cli.errors import SettingsError, reason
from avpenet_cli.phrasing import plural
from avpenet_cli.records import Status
from avpenet_cli.runs.manifest import weights_mark
from avpenet_cli.runs.manifest_entries import CalibrationEntry
from avpenet_cli.settings import RESULTS_VERSION
from avpenet_cli.study.subjects import NOT_STATED, Subjects
from avpenet_cli.tables import CALIBRATED_COLUMNS, Columns, Value
from avpenet_cli.weights import WeightsDescription

_OF_SAMPLES = frozenset({"score_sd", "score_lo", "score_hi"})
_NUMBERS = (*sorted(_OF_SAMPLES), "face_rate", "face_confidence", "face_px", "faces", "voiced", "snr_db", "level_dbfs")
_WHOLE_DIGEST = 64


@dataclass(frozen=True)
class Calibration:
    """A calibration that fits a run.

    Attributes:
        site: its content.
        file: name without its folder; empty under pseudonyms.
        sha256: of the file, hexadecimal.
        group_of: each recording's level of the calibration's group column; None where it has no groups.
    """

    site: SiteCalibration
    file: str
    sha256: str
    group_of: Mapping[str, str] | None

    def start(self) -> CalibratedColumns:
        """A new pass over the segments."""
        return CalibratedColumns(self)


def read_calibration(
    path: Path, weights: WeightsDescription, mc_samples: int, subjects: Subjects | None, *, pseudonymised: bool
) -> Calibration:
    """Read a calibration and check that it fits a run.

    Args:
        path: site.json.
        weights: that score.
        mc_samples: Monte Carlo samples of each score.
        subjects: table with the recordings' groups, matched to their names.
        pseudonymised: no name that somebody gave to a file may be stated.

    Raises:
        SettingsError: it cannot be read or was altered, is for other weights or for scores of a version that scores
            differently, abstains by a spread that the run does not compute, or has groups that are not known.
    """
    try:
        sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise SettingsError(
            f"--calibration {path}: cannot be read: {reason(error)}", "give a file that `avpenet calibrate` wrote"
        ) from None
    site = read_site(path)
    site.check_weights(weights_mark(weights), "this run")
    if len(site.weights.digest) == _WHOLE_DIGEST and site.weights.digest != weights.digest:
        raise SettingsError(
            f"--calibration {path}: is for weights with another digest, {site.weights.digest}",
            "fit a calibration for these weights with `avpenet calibrate`",
        )
    if site.results_version not in (None, RESULTS_VERSION):
        raise SettingsError(
            f"--calibration {path}: was fitted on scores of another version of avpenet (results version "
            f"{site.results_version}), which scores differently from this one ({RESULTS_VERSION})",
            "score the rated recordings again, then fit it again with `avpenet calibrate`",
        )
    if site.abstention is not None and site.abstention.column in _OF_SAMPLES and not mc_samples:
        raise SettingsError(
            f"--calibration {path}: it abstains by {site.abstention.column}, which this run does not compute",
            "score with --mc-samples, or fit a calibration without abstention",
        )
    return Calibration(site, "" if pseudonymised else path.name, sha256, _groups(path, site, subjects))


def _groups(path: Path, site: SiteCalibration, subjects: Subjects | None) -> Mapping[str, str] | None:
    column = site.settings.group_column
    if not column:
        return None
    if subjects is None:
        raise SettingsError(
            f"--calibration {path}: has curves by {column}, and the recordings' {column} is not known",
            f"give --subjects, a table with the columns recording, subject and {column}",
        )
    if column not in subjects.columns:
        raise SettingsError(
            f"--subjects {subjects.file.name}: has no column {column}, by which {path.name} has its curves",
            "add the column, or fit a calibration without groups",
        )
    levels = subjects.table[column]
    return {str(name): str(level) for name, level in levels.items() if level != NOT_STATED}


@dataclass
class CalibratedColumns:
    """One pass over the segments of a table, with counts for the manifest."""

    calibration: Calibration
    calibrated: int = 0
    abstained: int = 0
    outside: int = 0
    pooled: int = 0
    without_group: list[str] = field(default_factory=list)

    columns = CALIBRATED_COLUMNS

    def values(self, recording: str, stated: Columns) -> Columns:
        """The columns' values in the rows of a recording; empty where it has no score, or no group is known."""
        number = len(stated["status"])
        group_of, site = self.calibration.group_of, self.calibration.site
        if not number or (group_of is not None and recording not in group_of):
            if Status.SCORED.value in stated["status"]:
                self.without_group.append(recording)
            return {column.name: [None] * number for column in CALIBRATED_COLUMNS}
        scores = _numbers(stated["score"])
        measure = None
        if site.abstention is not None:
            numbers = {name: _numbers(stated[name]) for name in _NUMBERS}
            measure = abstention_measure(site.abstention.column, numbers, [str(flags) for flags in stated["flags"]])
        result = apply(site, scores, None if group_of is None else [group_of[recording]] * number, measure)
        scored = np.isfinite(scores)
        self.calibrated += int(np.isfinite(result.calibrated).sum())
        self.abstained += int(result.abstained.sum())
        self.outside += int((result.outside & ~result.abstained).sum())
        self.pooled += int(result.pooled.sum())
        return {
            "calibrated": [_number(value) for value in result.calibrated],
            "interval_lo": [_number(value) for value in result.interval_lo],
            "interval_hi": [_number(value) for value in result.interval_hi],
            "abstained": [
                int(abstained) if has_score else None
                for abstained, has_score in zip(result.abstained, scored, strict=True)
            ],
        }

    def entry(self) -> CalibrationEntry:
        """What the manifest states; after the pass."""
        site = self.calibration.site
        fitted, weights, abstention = site.fitted_on, site.weights, site.abstention
        return CalibrationEntry(
            file=self.calibration.file,
            sha256=self.calibration.sha256,
            digest=site.digest,
            created=site.created,
            weights=weights.mark,
            demonstration=weights.demonstration,
            method=site.settings.method,
            coverage=site.settings.coverage,
            group_column=site.settings.group_column,
            groups={group.group: group.n_subjects for group in fitted.groups if group.own_curve},
            n_subjects=fitted.n_subjects,
            n_recordings=fitted.n_recordings,
            n_segments=fitted.n_segments,
            n_raters=fitted.n_raters,
            scales=list(fitted.scales),
            recorded_from=fitted.recorded_from,
            recorded_to=fitted.recorded_to,
            abstains_by="" if abstention is None else abstention.column,
            calibrated=self.calibrated,
            abstained=self.abstained,
            outside=self.outside,
            pooled=self.pooled,
            without_group=self.without_group,
        )

    def notices(self) -> list[str]:
        """What a person should know, one sentence each; after the pass."""
        site = self.calibration.site
        fitted = site.fitted_on
        lines = [
            f"calibrated: {plural(self.calibrated, 'segment')}, by a calibration fitted on "
            f"{plural(fitted.n_subjects, 'patient')} (digest {site.digest[:12]}); score is as the weights gave it"
        ]
        if site.weights.demonstration:
            lines.append("the calibration is of DEMONSTRATION weights: nothing in it is about patients")
        if site.results_version is None:
            lines.append(
                "the calibration does not state which version of avpenet scored the recordings that it was fitted on: "
                "if that one scores differently from this one, score them and fit it again"
            )
        if self.abstained:
            lines.append(f"{plural(self.abstained, 'segment')} without a calibrated score: the calibration abstains")
        if self.outside:
            lines.append(
                f"{plural(self.outside, 'segment')} with a score outside {fitted.lowest_score:g} to "
                f"{fitted.highest_score:g}, where the calibration was fitted: it is constant there"
            )
        column = site.settings.group_column
        if self.pooled:
            lines.append(f"{plural(self.pooled, 'segment')} by the curve of all patients: no curve for their {column}")
        if self.without_group:
            number = len(self.without_group)
            lines.append(f"{plural(number, 'recording')} not calibrated: no {column} in the table of subjects")
        return lines


def _numbers(values: Sequence[Value]) -> npt.NDArray[np.float64]:
    return np.array([np.nan if value is None else value for value in values], np.float64)


def _number(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
