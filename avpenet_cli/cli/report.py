"""`avpenet report`: agreement statistics and a page for a quality audit."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from avpenet_cli.cli.options import (
    Bootstrap,
    CsvBom,
    Debug,
    Events,
    HoldS,
    LimitSource,
    Reference,
    ResamplingSeed,
    SubjectGroups,
)
from avpenet_cli.cli.plan import PlanOptions, plan_lines
from avpenet_cli.cli.run_log import printable
from avpenet_cli.errors import ExitCode, SettingsError
from avpenet_cli.phrasing import plural
from avpenet_cli.runs.memory import loading_libraries

if TYPE_CHECKING:
    from avpenet_cli.report.document import ReportDocument
    from avpenet_cli.report.document.provenance import SignedBy
    from avpenet_cli.report.run import ReportRequest
    from avpenet_cli.stats.estimate import Estimate


def report(
    scores: Annotated[
        list[Path] | None,
        typer.Argument(metavar="SCORES...", help="Score tables: .csv, .parquet, .jsonl.", show_default=False),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="The page (.html); .json, .review.csv and .review.m3u8 go beside it.", show_default=False),
    ] = None,
    reference: Reference = None,
    compare: Annotated[
        list[Path] | None, typer.Option(metavar="SCORES", help="Score tables of the same segments from other weights.")
    ] = None,
    subjects: SubjectGroups = None,
    events: Events = None,
    pack: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="pack.json: check that sample and limit were fixed before the ratings."),
    ] = None,
    review: Annotated[
        Path | None,
        typer.Option(metavar="FILLED.csv", help="Filled-in copy of .review.csv: verdicts are counted, never ratings."),
    ] = None,
    limit: Annotated[
        float | None,
        typer.Option(
            metavar="POINTS", help="Acceptance limit, set in advance: both limits of agreement must lie within +- this."
        ),
    ] = None,
    limit_source: LimitSource = "",
    fail_on_limit: Annotated[bool, typer.Option("--fail-on-limit", help="Exit 4 unless the verdict is PASS.")] = False,
    hold_s: HoldS = 10.0,
    constant_truth: Annotated[
        bool,
        typer.Option("--constant-truth", help="The true value is the same in all segments of a subject."),
    ] = False,
    show: Annotated[
        list[str] | None, typer.Option(metavar="RECORDING", help="Plot this recording's trajectory; may be repeated.")
    ] = None,
    bootstrap: Bootstrap = 2000,
    seed: ResamplingSeed = 42,
    plan: Annotated[
        bool,
        typer.Option(
            "--plan", help="Print how many subjects a study needs; with --limit and --sd or --pilot, no tables."
        ),
    ] = False,
    sd: Annotated[
        float | None, typer.Option(metavar="POINTS", help="With --plan: SD of the differences of score and rating.")
    ] = None,
    bias: Annotated[
        float | None, typer.Option(metavar="POINTS", help="With --plan --sd: their mean; 0 unless given.")
    ] = None,
    icc: Annotated[
        float | None,
        typer.Option(metavar="SHARE", help="With --plan --sd: share of their variance between subjects, 0 to 1."),
    ] = None,
    segments: Annotated[
        int | None, typer.Option(metavar="NUMBER", help="With --plan: rated segments of each subject.")
    ] = None,
    power: Annotated[
        float | None, typer.Option(metavar="SHARE", help="With --plan: chance of the verdict; 0.8 unless given.")
    ] = None,
    pilot: Annotated[
        Path | None, typer.Option(metavar="FILE", help="With --plan: report.json of an earlier study, instead of --sd.")
    ] = None,
    sign_off: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="Sign the report, with --role; without SCORES, the one that --out names, as it is."
        ),
    ] = None,
    role: Annotated[str | None, typer.Option(metavar="ROLE", help="With --sign-off: in which role.")] = None,
    csv_bom: CsvBom = False,
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="Print no summary, and the verdict only if it fails.")
    ] = False,
    debug: Debug = False,
) -> int:
    """Describe score tables and compare them with human ratings: a page, its numbers as JSON, segments to review."""
    options = PlanOptions(sd, bias, icc, segments, power, pilot)
    if plan:
        if any(table is not None for table in (scores, out, reference, compare, subjects, events, pack, review)):
            raise SettingsError("--plan with tables or --out", "a plan reads no tables and writes no file")
        for line in plan_lines(limit, options):
            typer.echo(printable(line))
        return ExitCode.OK
    options.refuse()
    signatory = _signatory(sign_off, role)
    if signatory is not None and not scores and out is not None:
        if (
            any(option is not None for option in (reference, compare, subjects, events, limit, show, pack, review))
            or fail_on_limit
        ):
            raise SettingsError("--sign-off without SCORES signs a report as it is", "leave out the other options")
        return _sign_existing(out, signatory, quiet=quiet)
    if not scores or out is None:
        raise SettingsError(
            "no score table was given" if not scores else "no --out was given",
            "avpenet report SCORES... --out report.html; for a plan, avpenet report --plan --limit 2 --sd 1",
        )
    if fail_on_limit and limit is None:
        raise SettingsError("--fail-on-limit without --limit", "give the limit and its source")

    with loading_libraries():
        from avpenet_cli.report.analysis import ReportSettings
        from avpenet_cli.report.run import ReportRequest, run_report
        from avpenet_cli.stats.bootstrap import Resampling

    request = ReportRequest(
        scores=tuple(scores),
        out=out,
        reference=reference,
        subjects=subjects,
        events=events,
        compare=tuple(compare or ()),
        show=tuple(show or ()),
        settings=ReportSettings(
            hold_s=hold_s,
            constant_truth=constant_truth,
            limit_points=limit,
            limit_source=limit_source.strip(),
            resampling=Resampling(bootstrap, seed),
            command=_command(sys.argv[1:]),
        ),
        csv_bom=csv_bom,
        pack=pack,
        review=review,
        sign_off=signatory,
    )
    document = run_report(request)
    if not quiet:
        for line in _summary(document, request):
            typer.echo(printable(line))
    if fail_on_limit and document.verdict.result != "PASS":
        if quiet:
            typer.echo(printable(_verdict(document)))
        return ExitCode.NOT_PASSED
    return ExitCode.OK


def _signatory(name: str | None, role: str | None) -> SignedBy | None:
    """Who signs; None without `--sign-off`."""
    if name is None and role is None:
        return None
    if name is None or role is None:
        given, missing = ("--role", "--sign-off") if name is None else ("--sign-off", "--role")
        raise SettingsError(f"{given} without {missing}", "give the name and the role of whoever signs")
    from avpenet_cli.report.document.provenance import SignedBy
    from avpenet_cli.runs.history import checked_signature

    return SignedBy(*checked_signature(name, role))


def _sign_existing(page: Path, signatory: SignedBy, *, quiet: bool) -> int:
    from avpenet_cli.report.signing import sign_existing

    signed = sign_existing(page, signatory, _command(sys.argv[1:]))
    if not quiet:
        for file in signed.files:
            typer.echo(printable(f"signed: {file.file}, SHA-256 {file.sha256}"))
        typer.echo("an attestation in the history beside the page, not a cryptographic signature")
    return ExitCode.OK


def _command(arguments: list[str]) -> str:
    """The command that repeats the report, without folders, which describe a machine and its user."""

    def without_folder(text: str) -> str:
        option, equals, value = text.partition("=") if text.startswith("--") else ("", "", text)
        # A text with a slash is not always a path.
        name = Path(value).name if "/" in value and Path(value).parent.is_dir() else value
        return option + equals + name

    return shlex.join(["avpenet", *map(without_folder, arguments)])


def _summary(document: ReportDocument, request: ReportRequest) -> list[str]:
    head, coverage = document.headline, document.coverage
    lines = [notice.text for notice in document.notices if notice.level == "danger"]
    lines.append(
        f"{plural(head.n_recordings, 'recording')} of {plural(head.n_subjects, 'subject')}, "
        f"{plural(head.n_segments, 'segment')}, {head.n_scored} scored; "
        f"{coverage.scored_s / 60:.1f} of {coverage.nominal_s / 60:.1f} min scored"
    )
    if document.agreement and document.error and document.reliability and document.classes:
        limits = document.agreement.limits
        pairs = f"{plural(limits.n_pairs, 'pair')} of {plural(limits.n_subjects, 'subject')}"
        lines.append(f"{pairs}, {limits.method}; 95 % intervals")
        estimates = {
            "bias": limits.bias,
            "lower limit of agreement": limits.lower,
            "upper limit": limits.upper,
            "mean absolute error": document.error.accuracy.mae,
            "ICC(A,1)": document.reliability.icc_a1,
            "weighted kappa (quadratic)": document.classes.kappa_quadratic,
        }
        lines += [f"  {name:26} {_estimate(estimate)}" for name, estimate in estimates.items()]
    if document.sample is not None:
        sample = document.sample
        lines.append(
            f"sample {sample.digest[:12]}, as fixed beforehand: {sample.found} of {sample.planned} planned ratings"
        )
        if not sample.equal_fractions:
            lines += [
                "the figures above are of this sample; weighted, for the archive:",
                f"  {'bias':26} {_estimate(sample.weighted_bias)}",
                f"  {'mean absolute error':26} {_estimate(sample.weighted_mae)}",
            ]
    unmatched = document.pairing.unmatched_ratings.count if document.pairing else 0
    if unmatched:
        verb = "matches" if unmatched == 1 else "match"
        lines.append(f"{plural(unmatched, 'rating')} {verb} no segment; the page lists the first of them")
    if document.review.filled is not None:
        filled = document.review.filled
        lines += [
            f"review: {part.answered} of {plural(part.listed, name + ' segment')} answered"
            for name, part in (("control", filled.control), ("targeted", filled.targeted))
        ]
        lines.append(f"  {'share of wrong scores':26} {_estimate(filled.wrong_share)}")
    if document.verdict.result != "NOT ASKED":
        lines.append(_verdict(document))
        if document.verdict.more_subjects is not None:
            lines.append(f"how many more patients? {document.verdict.more_subjects.explanation}")
    lines.append(f"written: {', '.join(path.name for path in request.outputs)}")
    return lines


def _verdict(document: ReportDocument) -> str:
    return f"verdict: {document.verdict.result}: {document.verdict.explanation}"


def _estimate(estimate: Estimate) -> str:
    if not estimate.computable:
        return f"not computable: {estimate.reason}"
    if not estimate.has_interval:
        return f"{estimate.value:z.2f} (no interval: {estimate.reason})"
    low, high = estimate.ci
    return f"{estimate.value:z.2f} [{low:z.2f}, {high:z.2f}]"
