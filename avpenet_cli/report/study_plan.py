"""Planning a study: how many subjects and rated segments its limits of agreement need."""

from __future__ import annotations

from dataclasses import dataclass
from math import isclose, sqrt
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, TypeAdapter

from avpenet_cli.errors import SettingsError
from avpenet_cli.report.document import SCHEMA_VERSION
from avpenet_cli.report.strata import MINIMUM_SUBJECTS
from avpenet_cli.stats.agreement import Z
from avpenet_cli.stats.sample_size import (
    Spread,
    independent_segments,
    limit_half_width,
    subjects_to_fail,
    subjects_to_pass,
    upper_sd,
)
from avpenet_cli.stats.verdict import POWER
from avpenet_cli.textfiles import parse_json
from avpenet_cli.version import refuse_later

_SCALE_POINTS = 10.0
_USUAL_ICCS = (0.1, 0.3, 0.5)
_USUAL_SEGMENTS = (1, 5, 20, 50)
# One-sided confidence of the larger SD that a pilot study is also planned with.
_CAUTION = 0.8
_FIRST_VERSION = 2
"""Of report.json, whose estimates are objects with their intervals since then."""


@dataclass(frozen=True)
class PlanSettings:
    """What a study is planned for; either `sd` or `pilot` is given.

    Attributes:
        limit_points: acceptance limit for both limits of agreement, over 0 and up to 10 points.
        sd: standard deviation of the differences, over 0 and up to 10 points.
        bias: expected mean difference, under 10 points either way; of a study without a pilot.
        icc: share of the variance of the differences that lies between subjects, 0 to 1; None: the usual range.
        segments: rated segments of each subject, at least 1; None: the usual numbers.
        power: chance of the verdict, 0.5 to 0.99.
        pilot: report.json of an earlier study, which gives bias and spread.

    Raises:
        SettingsError: a value out of its range, or both or neither of `sd` and `pilot`.
    """

    limit_points: float
    sd: float | None = None
    bias: float | None = None
    icc: float | None = None
    segments: int | None = None
    power: float = POWER
    pilot: Path | None = None

    def __post_init__(self) -> None:
        if (self.sd is None) == (self.pilot is None):
            raise SettingsError(
                "--plan: needs either --sd or --pilot",
                "give the SD of the differences, or report.json of an earlier study",
            )
        if self.pilot is not None and not (self.bias is None and self.icc is None):
            raise SettingsError("--pilot with --bias or --icc", "the pilot study gives both; use --sd to set them")
        ranges: tuple[tuple[str, float | None, bool, str], ...] = (
            ("limit", self.limit_points, 0 < self.limit_points <= _SCALE_POINTS, "points, over 0 and up to 10"),
            ("sd", self.sd, self.sd is None or 0 < self.sd <= _SCALE_POINTS, "points, over 0 and up to 10"),
            ("bias", self.bias, self.bias is None or abs(self.bias) < _SCALE_POINTS, "points, under 10 either way"),
            ("icc", self.icc, self.icc is None or 0 <= self.icc <= 1, "a share from 0 to 1"),
            ("segments", self.segments, self.segments is None or self.segments >= 1, "1 or more"),
            ("power", self.power, 0.5 <= self.power <= 0.99, "a chance from 0.5 to 0.99"),
        )
        for name, value, fits, remedy in ranges:
            if not fits:
                raise SettingsError(f"--{name} {value:g}: out of range", f"give {remedy}")


@dataclass(frozen=True)
class PlanRow:
    """Subjects that one design needs.

    Attributes:
        spread: assumed.
        segments: rated segments of each subject.
        subjects: None where more than 10,000 would be needed, or where no number is enough.
        beyond: whether no number is enough, because a limit of agreement itself lies beyond the acceptance limit.
        half_width: half of the width of a limit's 95 % confidence interval with them, points.
        independent_segments: how many independent segments all of them are worth for the bias.
    """

    spread: Spread
    segments: int
    subjects: int | None
    beyond: bool
    half_width: float
    independent_segments: float


@dataclass(frozen=True)
class StudyPlan:
    """A planned study.

    Attributes:
        expected: verdict that the study is planned for.
        assumptions: sentences.
        rows: designs.
        conclusions: sentences.
    """

    expected: Literal["PASS", "FAIL"]
    assumptions: tuple[str, ...]
    rows: tuple[PlanRow, ...]
    conclusions: tuple[str, ...]


@dataclass(frozen=True)
class _Pilot:
    spread: Spread
    n_subjects: int
    segments: float


def plan_study(settings: PlanSettings) -> StudyPlan:
    """Subjects for each design.

    Raises:
        SettingsError: the pilot's report cannot be read, or has no spread to plan from.
    """
    pilot = None if settings.pilot is None else _read_pilot(settings.pilot)
    spreads = _spreads(settings, pilot)
    nearest = min(spreads, key=lambda spread: spread.outermost)
    expected: Literal["PASS", "FAIL"] = "PASS" if nearest.outermost < settings.limit_points else "FAIL"
    rows: list[PlanRow] = []
    for spread in spreads:
        for segments in _numbers_of_segments(settings, pilot):
            # With one segment of each subject it does not matter where the variance lies.
            if segments > 1 or not any(isclose(row.spread.sd, spread.sd) for row in rows if row.segments == 1):
                rows.append(_row(spread, segments, expected, settings))
    return StudyPlan(
        expected,
        _assumptions(settings, spreads, pilot),
        tuple(rows),
        _conclusions(settings, nearest, expected, rows),
    )


def _spreads(settings: PlanSettings, pilot: _Pilot | None) -> list[Spread]:
    if pilot is not None:
        spread, factor = pilot.spread, upper_sd(pilot.spread, pilot.n_subjects, pilot.segments, _CAUTION)
        factor /= spread.sd
        return [spread, Spread(spread.bias, factor * spread.between_sd, factor * spread.within_sd)]
    sd, bias = settings.sd or 0.0, settings.bias or 0.0
    iccs = _USUAL_ICCS if settings.icc is None else (settings.icc,)
    return [Spread(bias, sd * sqrt(icc), sd * sqrt(1 - icc)) for icc in iccs]


def _numbers_of_segments(settings: PlanSettings, pilot: _Pilot | None) -> list[int]:
    if settings.segments is not None:
        return [settings.segments]
    return sorted({*_USUAL_SEGMENTS, *([] if pilot is None else [max(1, round(pilot.segments))])})


def _row(spread: Spread, segments: int, expected: str, settings: PlanSettings) -> PlanRow:
    search = subjects_to_pass if expected == "PASS" else subjects_to_fail
    subjects = search(spread, settings.limit_points, segments, settings.power)
    beyond = expected == "PASS" and spread.outermost >= settings.limit_points
    if subjects is None:
        return PlanRow(spread, segments, None, beyond, float("nan"), float("nan"))
    subjects = max(subjects, MINIMUM_SUBJECTS)
    half_width = limit_half_width(spread, subjects, segments)
    return PlanRow(spread, segments, subjects, beyond, half_width, independent_segments(spread, subjects, segments))


def _signed(points: float) -> str:
    return f"{points:+.2f}" if round(points, 2) else "0.00"


def _assumptions(settings: PlanSettings, spreads: list[Spread], pilot: _Pilot | None) -> tuple[str, ...]:
    spread = spreads[0]
    low, high = spread.bias - Z * spread.sd, spread.bias + Z * spread.sd
    source = "" if pilot is None else f", from a pilot study of {pilot.n_subjects} subjects"
    texts = [
        f"Assumed: bias {_signed(spread.bias)} and SD of the differences {spread.sd:.2f} points{source}; the limits of "
        f"agreement are then {_signed(low)} and {_signed(high)} points."
    ]
    if pilot is not None:
        texts.append(
            f"A pilot study knows the SD only roughly: the table also has its upper {100 * _CAUTION:.0f} % confidence "
            f"limit, {spreads[1].sd:.2f} points (Browne 1995). Plan with that one."
        )
        if not spread.within_sd:
            texts.append(
                "It had one rated segment of each subject and cannot say how alike several are. Where the table has "
                "several, it assumes the worst: that they all differ from their ratings by the same (ICC 1)."
            )
    elif settings.icc is None:
        texts.append(
            "ICC: share of the variance of the differences that lies between subjects. It is not known here, so "
            "the table has three; --icc sets it, and a pilot study's report gives it."
        )
    return tuple(texts)


def _conclusions(settings: PlanSettings, spread: Spread, expected: str, rows: list[PlanRow]) -> tuple[str, ...]:
    limit, texts = settings.limit_points, []
    if expected == "FAIL":
        room = limit - abs(spread.bias)
        least = f"an SD under {room / Z:.2f} points, or " if room > 0 else ""
        texts.append(
            f"No number of subjects makes PASS likely: the limits of agreement themselves lie beyond +-{limit:g} "
            f"points. PASS needs {least}an acceptance limit over {spread.outermost:.2f}. The table has the subjects "
            "that would show FAIL."
        )
    if any(row.beyond for row in rows):
        texts.append(f"none: with that SD the limits of agreement themselves lie beyond +-{limit:g} points.")
    approximate = subjects_to_pass(spread, limit, 1, settings.power, "approximate")
    if approximate is not None and any(row.segments == 1 for row in rows):
        texts.append(
            f"For comparison, with the approximate intervals that Lu et al. (2016) plan with: {approximate} subjects "
            "of one segment each. The report's own intervals are exact, and wider."
        )
    texts.append(
        f"At least {MINIMUM_SUBJECTS} subjects are planned, because a verdict on fewer means little. A subject counts "
        "with scored and rated segments: recruit more, for recordings that cannot be scored."
    )
    texts.append(
        "Independent segments: how many of different subjects would give the bias with the same precision (Kish 1965)."
    )
    texts.append(
        "Method: chance of the verdict by the report's own rule, with normal differences and equal numbers of segments."
    )
    return tuple(texts)


_Count = Annotated[int, Field(ge=1, le=10_000_000)]
_Sd = Annotated[float, Field(ge=0, le=10 * _SCALE_POINTS, allow_inf_nan=False)] | None


@dataclass(frozen=True)
class _PilotLimits:
    """What is read of the limits of agreement in a report; files of people may hold anything."""

    n_subjects: _Count
    n_pairs: _Count
    sd: _Sd
    bias: Annotated[float, Field(ge=-_SCALE_POINTS, le=_SCALE_POINTS)] | None
    between_sd: _Sd
    within_sd: _Sd
    pairs_per_subject: Annotated[float, Field(gt=0, le=10_000_000)] | None = None


def _read_pilot(path: Path) -> _Pilot:
    """Bias and spread of a report.

    Raises:
        SettingsError: it cannot be read, is no report, has no ratings, or has no spread.
    """
    remedy = "give report.json of a report with --reference"
    try:
        content = parse_json(path.read_text(encoding="utf-8"))
        if isinstance(content, dict):
            _check_version(path, content.get("schema_version", content.get("report_version")))
        limits = content["agreement"]["limits"]
        stated = TypeAdapter(_PilotLimits).validate_python({**limits, "bias": limits["bias"]["value"]})
    except OSError as error:
        raise SettingsError(f"--pilot {path}: cannot be read: {error.strerror}", remedy) from None
    except (ValueError, KeyError, TypeError):
        raise SettingsError(f"--pilot {path}: is not a report on agreement with ratings", remedy) from None
    bias, sd, between, within = stated.bias, stated.sd, stated.between_sd, stated.within_sd
    if bias is None or not sd or stated.n_subjects < 2:
        raise SettingsError(f"--pilot {path}: has no spread between subjects to plan from", "give --sd instead")
    if between is None or within is None:
        return _Pilot(Spread(bias, sd, 0.0), stated.n_subjects, 1.0)
    segments = stated.pairs_per_subject or stated.n_pairs / stated.n_subjects
    return _Pilot(Spread(bias, between, within), stated.n_subjects, max(1.0, segments))


def _check_version(path: Path, version: object) -> None:
    """Raise for a report whose numbers another version of this program wrote in another form."""
    refuse_later(f"--pilot {path}", version, SCHEMA_VERSION)
    if isinstance(version, int) and version < _FIRST_VERSION:
        raise SettingsError(
            f"--pilot {path} has format version {version}; this program reads {_FIRST_VERSION} to {SCHEMA_VERSION}",
            "make the report again from its tables",
        )
