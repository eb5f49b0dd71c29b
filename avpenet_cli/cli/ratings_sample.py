"""`avpenet ratings sample`: a blinded, stratified sample of segments for raters."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from avpenet_cli.cli.command_line import recorded_command
from avpenet_cli.cli.options import Debug, LimitSource, Quiet, SubjectGroups
from avpenet_cli.cli.run_log import printable
from avpenet_cli.errors import ExitCode, SettingsError
from avpenet_cli.phrasing import plural

if TYPE_CHECKING:
    from avpenet_cli.study.pack import Pack


def sample(
    context: typer.Context,
    sources: Annotated[
        list[str],
        typer.Argument(metavar="SCORES|RECORDINGS...", help="Score tables, or recordings and folders of recordings."),
    ],
    n: Annotated[int, typer.Option("--n", metavar="NUMBER", help="Segments to draw.")],
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder to write: pack.json and a folder for every rater.")],
    stratify: Annotated[
        str, typer.Option(metavar="COLUMNS", help="Stratify by score and columns of SUBJECTS: score,age_group,site.")
    ] = "",
    seed: Annotated[int, typer.Option(help="Seed of the sample and of the orders.", min=0)] = 42,
    subjects: SubjectGroups = None,
    raters: Annotated[int, typer.Option(help="Number of raters.")] = 3,
    overlap: Annotated[float, typer.Option(metavar="SHARE", help="Share that all raters rate; the rest is split.")] = 1,
    scale: Annotated[str, typer.Option(help="Scale that the raters use, as in a table of ratings.")] = "NRS",
    limit: Annotated[
        float | None, typer.Option(metavar="POINTS", help="Fix the acceptance limit of the later report.")
    ] = None,
    limit_source: LimitSource = "",
    allow_empty_strata: Annotated[
        bool, typer.Option("--allow-empty-strata", help="Draw although some strata have no segment.")
    ] = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> int:
    """Draw a blinded, stratified sample of segments for raters: playlists, rating sheets, and pack.json for later."""
    columns = [column.strip() for column in stratify.split(",")] if stratify.strip() else []
    if not all(columns):
        raise SettingsError(f"--stratify {stratify}: an empty name", "separate the names by single commas")

    from avpenet_cli.ratings.sampling import SampleRequest, draw_sample

    request = SampleRequest(
        sources=tuple(sources),
        n=n,
        out=out,
        stratify=tuple(columns),
        seed=seed,
        subjects=subjects,
        raters=raters,
        overlap=overlap,
        scale=scale,
        limit_points=limit,
        limit_source=limit_source,
        allow_empty_strata=allow_empty_strata,
        command=recorded_command(context, private=False),
    )
    drawn = draw_sample(request)
    if not quiet:
        for line in [*(f"note: {notice}" for notice in drawn.notices), *_summary(drawn.pack, out)]:
            typer.echo(printable(line))
    return ExitCode.OK


def _summary(pack: Pack, out: Path) -> list[str]:
    design, frame = pack.design, pack.frame
    common = sum(len(segment.order) == len(design.raters) for segment in pack.segments)
    lines = [
        f"{design.n} of {plural(frame.segments, 'segment')} of {plural(frame.subjects, 'subject')} drawn, "
        f"at most {frame.most_of_one_subject} ({100 * frame.most_of_one_subject / design.n:.0f} %) of one subject",
    ]
    for stratum in pack.strata:
        name = ", ".join(f"{column} {level}" for column, level in stratum.levels.items()) or "all segments"
        lines.append(f"  {name}: {stratum.sampled} of {stratum.segments} ({100 * stratum.fraction:.1f} %)")
    lines.append(f"{plural(len(design.raters), 'rater')}, {plural(common, 'segment')} for all of them")
    limit = "none" if pack.limit_points is None else f"{pack.limit_points:g} points ({pack.limit_source})"
    lines.append(f"acceptance limit: {limit}")
    lines.append(f"written: {out / 'pack.json'}, not for raters, and {', '.join(design.raters)}")
    lines.append(f"digest, to note down before anyone rates: {pack.digest}")
    return lines
