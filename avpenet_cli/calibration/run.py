"""`avpenet calibrate` as a library: from tables to site.json."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from avpenet_cli.calibration.apply import THIN_FLAGS, abstention_measure
from avpenet_cli.calibration.fit import Evidence, RiskLimit, fit_site
from avpenet_cli.calibration.site import (
    KIND,
    SITE_VERSION,
    FitSettings,
    FittedGroup,
    FittedOn,
    FittedWeights,
    InputFile,
    Method,
    SiteCalibration,
    sealed,
    write_site,
)
from avpenet_cli.errors import SettingsError
from avpenet_cli.phrasing import plural
from avpenet_cli.runs.history import ReadFile, history_path, locked_history, refuse_unusable_history
from avpenet_cli.runs.outputs import refuse_existing, refuse_overwriting, refuse_unwritable_file
from avpenet_cli.stats.bootstrap import Resampling
from avpenet_cli.stats.calibration_fit import FOLDS
from avpenet_cli.stats.pairs import Pairs
from avpenet_cli.study.pairing import HOLD_S, Pairing, pair
from avpenet_cli.study.ratings import Ratings, read_ratings
from avpenet_cli.study.score_tables import Scores, read_scores, scored_differently, scores_digest
from avpenet_cli.study.sheets import quoted
from avpenet_cli.study.subjects import Subjects, read_subjects
from avpenet_cli.study.tables import Inputs, match_tables, summarise_weights
from avpenet_cli.version import __version__

HIGHER_IS_WORSE: dict[str, bool] = {
    "score_sd": True,
    THIN_FLAGS: True,
    "face_rate": False,
    "face_confidence": False,
    "face_px": False,
    "snr_db": False,
}
"""What abstention may look at, and whether a high value means poor evidence."""
RESAMPLING = Resampling(replicates=1000)
_SAME_STRIDE_S = 1e-3


@dataclass(frozen=True)
class CalibrateRequest:
    """A calibration to fit and write.

    Attributes:
        scores: score tables of one weights; at least one.
        reference: table of human ratings.
        subjects: table of the recordings' patients.
        out: the calibration, ending in .json.
        method: monotone, linear or none.
        group_column: of the table of subjects; empty: one curve for all.
        coverage: of the intervals for new patients, over 0.5 and under 1.
        risk: that answered segments may have; None: no abstention.
        abstain_on: a key of `HIGHER_IS_WORSE`; empty: score_sd where every segment has it, otherwise thin_flags.
        hold_s: seconds for which a rating given at one time applies.
        resampling: of patients; its seed is that of the folds, too.
        command: that repeats it, without folders.
        overwrite: replace a calibration at `out`.

    Raises:
        SettingsError: a setting out of its range, or an output that is an input.
        OutputError: `out` exists or cannot be written.
    """

    scores: tuple[Path, ...]
    reference: Path
    subjects: Path
    out: Path
    method: Method = "monotone"
    group_column: str = ""
    coverage: float = 0.9
    risk: RiskLimit | None = None
    abstain_on: str = ""
    hold_s: float = HOLD_S
    resampling: Resampling = field(default=RESAMPLING)
    command: str = ""
    overwrite: bool = False

    def __post_init__(self) -> None:
        if self.out.suffix != ".json":
            raise SettingsError(f"--out {self.out}: a calibration is a JSON file", "end the name in .json")
        if self.method not in ("monotone", "linear", "none"):
            raise SettingsError(f"--method {self.method}", "use monotone, linear or none")
        if not 0.5 <= self.coverage < 1.0:
            raise SettingsError(f"--coverage {self.coverage:g}", "give a share from 0.5 to below 1, such as 0.9")
        if self.abstain_on and self.abstain_on not in HIGHER_IS_WORSE:
            raise SettingsError(f"--abstain-on {self.abstain_on}", f"use one of {', '.join(HIGHER_IS_WORSE)}")
        if self.abstain_on and self.risk is None:
            raise SettingsError("--abstain-on without a limit", "give --max-error or --max-large-errors")
        manifests = [path.with_suffix(".run.json") for path in self.scores]
        histories = [history_path(path) for path in self.scores]
        refuse_overwriting([self.out], [*self.scores, *manifests, *histories, self.reference, self.subjects])
        refuse_unwritable_file(self.out)
        if not self.overwrite:
            refuse_existing(self.out, "choose another --out, or add --overwrite")


def run_calibrate(request: CalibrateRequest) -> tuple[SiteCalibration, tuple[str, ...]]:
    """Read the tables, fit, and write the calibration.

    Returns:
        The calibration as written; what was merged or matched in spite of its spelling, which may name patients and
        is not written.

    Raises:
        SettingsError: a table cannot be read, the tables do not belong together, a rated recording has no patient, or
            nothing can be fitted, see `fit_site`.
        EnvironmentUnavailableError, OutputError: the file cannot be written.
        OutputLockedError: another run writes it.
    """
    refuse_unusable_history(request.out)
    started = datetime.now(UTC)
    ratings, subjects = read_ratings(request.reference), read_subjects(request.subjects)
    inputs = match_tables(read_scores(request.scores), ratings, subjects)
    site = fit_tables(inputs, request)
    with locked_history(request.out) as history:
        site = sealed(replace(site, history=history.head))
        write_site(request.out, site)
        read = [ReadFile(file.role, file.name, file.sha256, file.scores_digest) for file in site.fitted_on.inputs]
        history.append("calibrate", written=[request.out], read=read, command=request.command, started=started)
    return site, inputs.notices


def fit_tables(inputs: Inputs, request: CalibrateRequest) -> SiteCalibration:
    """The calibration of tables that name recordings alike; raises as `run_calibrate`."""
    scores, ratings, subjects = inputs.scores, inputs.ratings, inputs.subjects
    if ratings is None or subjects is None:
        raise SettingsError("a calibration needs ratings and a table of subjects", "patients are its unit")
    pairing = pair(scores, ratings, subjects, request.hold_s)
    rows = _rated(pairing)
    pairs = Pairs.of(rows["score"].to_numpy(), rows["reference"].to_numpy(), rows["subject"].to_numpy())
    settings = FitSettings(
        method=request.method,
        group_column=request.group_column,
        coverage=request.coverage,
        hold_s=request.hold_s,
        folds=min(FOLDS, pairs.n_subjects),
        replicates=request.resampling.replicates,
        seed=request.resampling.seed,
    )
    groups = _groups(rows, subjects, request.group_column) if request.group_column else None
    evidence = None if request.risk is None else _evidence(rows, request.abstain_on)
    fitted = fit_site(pairs, groups, settings, request.risk, evidence)
    weights = _weights(scores)
    return sealed(
        SiteCalibration(
            kind=KIND,
            format_version=SITE_VERSION,
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            software=__version__,
            command=request.command,
            weights=weights,
            settings=settings,
            fitted_on=_fitted_on(rows, pairing, scores, ratings, subjects, fitted.groups),
            curves=fitted.curves,
            abstention=fitted.abstention,
            notices=(*_source_notices(scores, weights), *_rating_notices(ratings), *fitted.notices),
            results_version=_results_version(scores),
        )
    )


def _rated(pairing: Pairing) -> pd.DataFrame:
    """The scored segments with a rating.

    Raises:
        SettingsError: there is none, or a rated recording has no patient.
    """
    segments = pairing.segments
    rows = segments[segments["score"].notna() & segments["reference"].notna()]
    if rows.empty:
        raise SettingsError("no scored segment has a rating", "check the times of the ratings")
    without = set(pairing.recordings_without_subject)
    rated = [name for name in map(str, rows["recording"].unique()) if name in without]
    if rated:
        raise SettingsError(
            f"the table of subjects does not say whose recording {quoted(rated[0])} is "
            f"({plural(len(rated), 'such recording')} with ratings)",
            "add a row for each: patients are the unit of a calibration",
        )
    return rows


def _groups(rows: pd.DataFrame, subjects: Subjects, column: str) -> npt.NDArray[np.str_]:
    """(n,) level of each segment's recording."""
    if column not in subjects.columns:
        there = ", ".join(map(quoted, subjects.columns)) or "none"
        raise SettingsError(
            f"{subjects.file.name} has no column {quoted(column)} to group by (columns beside recording and subject: "
            f"{there})",
            "give --group one of its columns",
        )
    levels = subjects.table[column].to_dict()
    return np.array([levels[name] for name in map(str, rows["recording"])], dtype=np.str_)


def _evidence(rows: pd.DataFrame, column: str) -> Evidence:
    if not column:
        column = "score_sd" if rows["score_sd"].notna().all() else THIN_FLAGS
    numbers = {name: rows[name].to_numpy() for name in HIGHER_IS_WORSE if name in rows.columns}
    flags = [text if isinstance(text, str) else "" for text in rows["flags"]]
    return Evidence(column, abstention_measure(column, numbers, flags), HIGHER_IS_WORSE[column])


def _weights(scores: Scores) -> FittedWeights:
    summary = summarise_weights(scores)
    status = summary.status or summary.mark.partition(" ")[2]
    return FittedWeights(summary.mark, summary.name, summary.digest, status, status.startswith("demonstration"))


def _fitted_on(
    rows: pd.DataFrame,
    pairing: Pairing,
    scores: Scores,
    ratings: Ratings,
    subjects: Subjects,
    groups: tuple[FittedGroup, ...],
) -> FittedOn:
    dates = sorted(text[:10] for text in rows["recorded_at"] if isinstance(text, str) and text)
    files = [
        InputFile("scores", source.name, source.sha256, source.rows, scores_digest(scores, place))
        for place, source in enumerate(scores.sources)
    ]
    files.append(InputFile("ratings", ratings.file.name, ratings.file.sha256, ratings.file.rows))
    files.append(InputFile("subjects", subjects.file.name, subjects.file.sha256, subjects.file.rows))
    score, reference = rows["score"], rows["reference"]
    return FittedOn(
        n_subjects=int(rows["subject"].nunique()),
        n_recordings=int(rows["recording"].nunique()),
        n_segments=len(rows),
        n_unrated=int(pairing.segments["score"].notna().sum()) - len(rows),
        n_unmatched_ratings=len(pairing.unmatched_ratings),
        scales=ratings.scales,
        n_raters=len(ratings.raters),
        lowest_score=float(score.min()),
        highest_score=float(score.max()),
        lowest_rating=float(reference.min()),
        highest_rating=float(reference.max()),
        stride_s=_stride_s(pairing.segments),
        recorded_from=dates[0] if dates else "",
        recorded_to=dates[-1] if dates else "",
        groups=groups,
        inputs=tuple(files),
    )


def _stride_s(segments: pd.DataFrame) -> float | None:
    """Seconds from one segment to the next; None where tables differ or there are no two segments of a recording."""
    code, start_s = segments["recording"].cat.codes.to_numpy(), segments["start_s"].to_numpy()
    source = segments["source"].to_numpy()
    following = code[1:] == code[:-1]
    steps_s = np.diff(start_s)[following]
    medians = [float(np.median(steps_s[source[1:][following] == table])) for table in np.unique(source[1:][following])]
    if not medians or max(medians) - min(medians) > _SAME_STRIDE_S:
        return None
    return round(medians[0], 3)


def _rating_notices(ratings: Ratings) -> list[str]:
    if not ratings.packs:
        return []
    return [
        "the rated segments are a sample of the archive: the intervals hold for segments in the mix of that sample, "
        "and errors are those of the sample"
    ]


def _results_version(scores: Scores) -> int | None:
    """Results version of the tables; None where a manifest states none, or two state different ones."""
    stated = {(source.manifest or {}).get("results_version") for source in scores.sources}
    version = stated.pop() if len(stated) == 1 else None
    return version if isinstance(version, int) else None


def _source_notices(scores: Scores, weights: FittedWeights) -> list[str]:
    notices = []
    if weights.demonstration:
        notices.append(
            "the scores are of DEMONSTRATION weights, trained on synthetic patients: this calibration shows how one "
            "works and is not for patients"
        )
    for source in scores.sources:
        if source.manifest_state == "altered":
            notices.append(f"{source.name} was altered after it was scored")
        elif source.manifest_state != "verified":
            notices.append(f"{source.name} has no manifest that certifies it ({source.manifest_state})")
    if different := scored_differently(scores.sources):
        notices.append(different)
    return notices
