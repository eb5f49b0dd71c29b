"""`avpenet calibrate`: a calibration of scores to a site's own ratings."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from avpenet_cli.cli.command_line import recorded_command
from avpenet_cli.cli.options import Bootstrap, Debug, HoldS, Quiet, RequiredReference, RequiredSubjectGroups
from avpenet_cli.cli.run_log import printable
from avpenet_cli.errors import ExitCode, SettingsError
from avpenet_cli.phrasing import plural
from avpenet_cli.runs.memory import loading_libraries

if TYPE_CHECKING:
    from avpenet_cli.calibration.fit import RiskLimit
    from avpenet_cli.calibration.site import Abstention, Curve, Method, SiteCalibration
    from avpenet_cli.stats.estimate import Estimate


def calibrate(
    context: typer.Context,
    scores: Annotated[
        list[Path],
        typer.Argument(
            metavar="SCORES...", help="Score tables of one weights: .csv, .parquet, .jsonl.", show_default=False
        ),
    ],
    reference: RequiredReference,
    subjects: RequiredSubjectGroups,
    out: Annotated[Path, typer.Option(metavar="FILE", help="The calibration (.json), for score --calibration.")],
    method: Annotated[
        str, typer.Option(help="monotone, linear, or none: intervals of the scores as they are.")
    ] = "monotone",
    group: Annotated[
        str,
        typer.Option(metavar="COLUMN", help="Column of SUBJECTS whose levels get curves and intervals of their own."),
    ] = "",
    coverage: Annotated[float, typer.Option(help="Of the intervals for new patients, a share.")] = 0.9,
    max_error: Annotated[
        float | None,
        typer.Option(metavar="POINTS", help="Abstain, so that the others' mean absolute error is at most this."),
    ] = None,
    max_large_errors: Annotated[
        float | None,
        typer.Option(metavar="SHARE", help="Abstain, so that at most this share of the others has a large error."),
    ] = None,
    large_error: Annotated[
        float, typer.Option(metavar="POINTS", help="With --max-large-errors: errors above this are large.", min=0.0)
    ] = 2.0,
    abstain_on: Annotated[
        str,
        typer.Option(
            metavar="COLUMN",
            help="What abstention looks at: score_sd, thin_flags, face_rate, face_confidence, face_px or snr_db; "
            "score_sd where the scores have it, else thin_flags.",
        ),
    ] = "",
    hold_s: HoldS = 10.0,
    bootstrap: Bootstrap = 1000,
    seed: Annotated[int, typer.Option(help="Seed of folds and resampling.", min=0)] = 42,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace FILE.")] = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> int:
    """Fit a calibration of scores to a site's own ratings, with intervals that hold for new patients."""
    risk = _risk(max_error, max_large_errors, large_error)

    with loading_libraries():
        from avpenet_cli.calibration.run import CalibrateRequest, run_calibrate
        from avpenet_cli.stats.bootstrap import Resampling

    request = CalibrateRequest(
        scores=tuple(scores),
        reference=reference,
        subjects=subjects,
        out=out,
        method=cast("Method", method),
        group_column=group.strip(),
        coverage=coverage,
        risk=risk,
        abstain_on=abstain_on.strip(),
        hold_s=hold_s,
        resampling=Resampling(bootstrap, seed),
        command=recorded_command(context, private=False),
        overwrite=overwrite,
    )
    site, spellings = run_calibrate(request)
    if not quiet:
        for line in [*(f"note: {notice}" for notice in spellings), *_summary(site, out)]:
            typer.echo(printable(line))
    return ExitCode.OK


def _risk(max_error: float | None, max_large_errors: float | None, large_error: float) -> RiskLimit | None:
    if max_error is None and max_large_errors is None:
        return None
    if max_error is not None and max_large_errors is not None:
        raise SettingsError("--max-error with --max-large-errors", "give one of them")

    from avpenet_cli.calibration.fit import RiskLimit

    if max_error is not None:
        if not 0 < max_error <= 10:
            raise SettingsError(f"--max-error {max_error:g}", "give points over 0, up to 10")
        return RiskLimit("mean absolute error", max_error)
    share = cast("float", max_large_errors)
    if not 0 < share < 1:
        raise SettingsError(f"--max-large-errors {share:g}", "give a share over 0 and under 1, such as 0.1")
    return RiskLimit("share of large errors", share, large_error)


def _summary(site: SiteCalibration, out: Path) -> list[str]:
    fitted, settings = site.fitted_on, site.settings
    lines = [f"note: {notice}" for notice in site.notices]
    lines.append(
        f"{settings.method} calibration of {site.weights.mark or 'weights that the tables do not name'}, on "
        f"{plural(fitted.n_subjects, 'patient')}, {plural(fitted.n_recordings, 'recording')}, "
        f"{plural(fitted.n_segments, 'segment')}; each patient has equal weight"
    )
    if fitted.n_unrated or fitted.n_unmatched_ratings:
        lines.append(
            f"left out: {plural(fitted.n_unrated, 'scored segment')} without a rating, "
            f"{plural(fitted.n_unmatched_ratings, 'rating')} without a segment"
        )
    for curve in site.curves:
        lines += _curve_lines(curve, settings.coverage, settings.method)
    lines.append(
        f"scores from {fitted.lowest_score:.1f} to {fitted.highest_score:.1f}; beyond them the calibrated "
        "score stays as at the end"
    )
    if site.abstention is not None:
        lines.append(_abstention_line(site.abstention))
    lines.append(f"written: {out.name}")
    return lines


def _curve_lines(curve: Curve, coverage: float, method: str) -> list[str]:
    name = curve.group or "all patients"
    fit, interval = curve.cross_fit, curve.interval
    lines = [f"{name} ({plural(curve.n_subjects, 'patient')}), error for patients left out of the fit, 95 % intervals:"]
    for label, attribute in (("mean absolute error", "mae"), ("bias", "bias"), ("slope", "slope")):
        before = _estimate(getattr(fit.before, attribute))
        after = "" if method == "none" else f"  ->  {_estimate(getattr(fit.after, attribute))}"
        lines.append(f"  {label:20} {before}{after}")
    if method != "none":
        lines.append(f"  {'change of the error':20} {_estimate(fit.mae_change)}: {fit.verdict}")
    lines.append(
        f"  {100 * coverage:g} % interval for a segment of a new patient: +- {interval.half_width:.2f} points, on "
        f"average {interval.mean_width:.2f} wide within 0 to 10; expected coverage {100 * coverage:g} to "
        f"{100 * interval.coverage_at_most:.1f} %"
    )
    return lines


def _abstention_line(abstention: Abstention) -> str:
    if abstention.large_error is None:
        risk = f"mean absolute error at most {abstention.limit:g} points"
    else:
        risk = f"at most {100 * abstention.limit:g} % of errors above {abstention.large_error:g} points"
    return (
        f"answered where {abstention.column} is {abstention.answer_if} {abstention.threshold:g}: "
        f"{100 * abstention.share_answered:.0f} % of the segments; {risk} with {100 * abstention.confidence:g} % "
        "confidence"
    )


def _estimate(estimate: Estimate) -> str:
    if not estimate.computable:
        return f"not computable: {estimate.reason}"
    if not estimate.has_interval:
        return f"{estimate.value:z.2f} (no interval: {estimate.reason})"
    low, high = estimate.ci
    return f"{estimate.value:z.2f} [{low:z.2f}, {high:z.2f}]"
