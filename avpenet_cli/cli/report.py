"""`avpenet report`: agreement statistics and a page that a QA audit can sign."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from avpenet_cli.cli.reporter import printable
from avpenet_cli.errors import ExitCode, SettingsError

if TYPE_CHECKING:
    from avpenet_cli.study.tables import Inputs


def report(
    scores: Annotated[
        list[Path],
        typer.Argument(metavar="SCORES...", help="Score tables: .csv, .parquet, .jsonl.", show_default=False),
    ],
    out: Annotated[Path, typer.Option(help="The page, .html; .json and .review.csv go beside it.", show_default=False)],
    reference: Annotated[
        Path | None, typer.Option(metavar="RATINGS", help="Human ratings: recording, start_s,end_s or time_s, value.")
    ] = None,
    compare: Annotated[
        list[Path] | None, typer.Option(metavar="SCORES", help="Score tables of the same segments by other weights.")
    ] = None,
    subjects: Annotated[
        Path | None, typer.Option(metavar="SUBJECTS", help="recording, subject and columns to stratify by.")
    ] = None,
    events: Annotated[
        Path | None, typer.Option(metavar="EVENTS", help="recording, time_s, label: drawn on trajectories.")
    ] = None,
    limit: Annotated[
        float | None,
        typer.Option(metavar="POINTS", help="Both limits of agreement must lie within +- this, set beforehand."),
    ] = None,
    limit_source: Annotated[str, typer.Option(metavar="TEXT", help="Where that limit comes from.")] = "",
    fail_on_limit: Annotated[bool, typer.Option("--fail-on-limit", help="Exit 4 unless the verdict is PASS.")] = False,
    hold_s: Annotated[float, typer.Option(help="Seconds for which a rating given as time_s holds.")] = 10.0,
    constant_truth: Annotated[
        bool,
        typer.Option("--constant-truth", help="The true value is the same in all segments of a subject."),
    ] = False,
    show: Annotated[
        list[str] | None, typer.Option(metavar="RECORDING", help="Draw this recording's trajectory; may be repeated.")
    ] = None,
    bootstrap: Annotated[int, typer.Option(help="Resamples of subjects.", min=200, max=100_000)] = 2000,
    seed: Annotated[int, typer.Option(help="Of the resampling.", min=0)] = 42,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print no summary.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks.")] = False,
) -> int:
    """Describe score tables and hold them against human ratings: a page, its numbers as JSON, segments to review."""
    if out.suffix != ".html":
        raise SettingsError(f"--out {out}: the report is a web page", "end the name in .html")
    if limit is not None and not 0 < limit <= 10:
        raise SettingsError(f"--limit {limit:g}: not a distance on the 0-10 scale", "give points, over 0 and up to 10")
    if limit is not None and not limit_source.strip():
        raise SettingsError("--limit without --limit-source", "say where the limit comes from, for the page")
    if limit is not None and reference is None:
        raise SettingsError("--limit without --reference", "there is nothing to hold against it")
    if fail_on_limit and limit is None:
        raise SettingsError("--fail-on-limit without --limit", "give the limit and its source")
    if not 0 <= hold_s <= 3600:
        raise SettingsError(f"--hold-s {hold_s:g}: out of range", "give 0 to 3600 seconds")

    outputs = [out, out.with_suffix(".json"), out.with_suffix(".review.csv")]
    given = [*scores, *(compare or []), *(one for one in (reference, subjects, events) if one)]
    kept = [one.with_suffix(".run.json") for one in (*scores, *(compare or []))]
    kept += [one.with_name(one.name + ".journal") for one in scores]
    _refuse_to_overwrite(outputs, given + kept)

    from avpenet_cli.report.analysis import ReportSettings
    from avpenet_cli.report.writing import write_report
    from avpenet_cli.stats.bootstrap import Resampling

    settings = ReportSettings(
        hold_s=hold_s,
        constant_truth=constant_truth,
        limit_points=limit,
        limit_source=limit_source.strip(),
        resampling=Resampling(bootstrap, seed),
        command=_command(sys.argv[1:]),
    )
    document = write_report(_read(scores, reference, compare, subjects, events), settings, out, tuple(show or ()))
    if not quiet:
        for line in _summary(document, outputs):
            typer.echo(printable(line))
    if fail_on_limit and document["verdict"]["result"] != "PASS":
        return ExitCode.NOT_PASSED
    return ExitCode.OK


def _refuse_to_overwrite(outputs: list[Path], inputs: list[Path]) -> None:
    for output in outputs:
        for one in inputs:
            if output.exists() and one.exists() and output.samefile(one):
                raise SettingsError(
                    f"--out {outputs[0]}: would overwrite {one}, which belongs to the scores or ratings",
                    "give another name",
                )


def _command(arguments: list[str]) -> str:
    """To repeat the report; without folders, which say something of a machine and its user."""

    def bare(text: str) -> str:
        option, equals, value = text.partition("=") if text.startswith("--") else ("", "", text)
        # A text with a slash is not always a path.
        named = Path(value).name if "/" in value and Path(value).parent.is_dir() else value
        return option + equals + named

    return shlex.join(["avpenet", *map(bare, arguments)])


def _read(
    scores: list[Path], reference: Path | None, compare: list[Path] | None, subjects: Path | None, events: Path | None
) -> Inputs:
    from avpenet_cli.study.ratings import read_events, read_ratings, read_subjects
    from avpenet_cli.study.score_tables import read_scores
    from avpenet_cli.study.tables import Inputs

    return Inputs(
        read_scores(scores),
        read_ratings(reference) if reference else None,
        read_subjects(subjects) if subjects else None,
        read_events(events) if events else None,
        read_scores(compare) if compare else None,
    )


def _summary(document: dict[str, Any], outputs: list[Path]) -> list[str]:
    head, seconds = document["headline"], document["coverage"]
    lines = [one["text"] for one in document["notices"] if one["level"] == "danger"]
    lines.append(
        f"{head['n_recordings']} recordings of {head['n_subjects']} subjects, {head['n_segments']} segments, "
        f"{head['n_scored']} scored; {seconds['scored_s'] / 60:.1f} of {seconds['nominal_s'] / 60:.1f} min scored"
    )
    found = document["agreement"]
    if found:
        lines.append(f"{found['n_pairs']} pairs of {found['n_subjects']} subjects, {found['method']}; 95 % intervals")
        for name, key in (("bias", "bias"), ("lower limit of agreement", "loa_lower"), ("upper limit", "loa_upper")):
            lines.append(f"  {name:26} {_points(found, key)}")
        lines.append(f"  {'mean absolute error':26} {_points(document['error'], 'mae')}")
        lines.append(f"  {'ICC(A,1)':26} {_points(document['reliability'], 'icc_a1')}")
        lines.append(f"  {'weighted kappa (quadratic)':26} {_points(document['classes'], 'kappa_quadratic')}")
    pairing = document["pairing"]
    if pairing and pairing["unmatched_ratings"]["count"]:
        lines.append(f"{pairing['unmatched_ratings']['count']} ratings match no segment; the page lists them")
    if document["verdict"]["result"] != "NOT ASKED":
        lines.append(f"verdict: {document['verdict']['result']}: {document['verdict']['explanation']}")
    lines.append(f"written: {', '.join(one.name for one in outputs)}")
    return lines


def _points(section: dict[str, Any], key: str) -> str:
    value, (low, high) = section[key], section[f"{key}_ci"]
    reason = section["reasons"].get(key, "")
    if value is None:
        return f"not computable: {reason}"
    if low is None or high is None:
        return f"{value:.2f} (no interval: {reason})"
    return f"{value:.2f} [{low:.2f}, {high:.2f}]"
