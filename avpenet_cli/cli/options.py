"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from avpenet_cli.errors import SettingsError

_RATINGS = typer.Option(metavar="RATINGS", help="Human ratings: recording, start_s,end_s or time_s, value.")
_SUBJECTS = typer.Option(metavar="SUBJECTS", help="Subjects: recording, subject, and columns that group them.")

Baseline = Annotated[
    str | None,
    typer.Option(
        metavar="quiet",
        help="Also write change and change_se: each score against the patient's own quiet minutes, over all "
        "recordings of a patient with --subjects, else within each recording.",
    ),
]
Bootstrap = Annotated[int, typer.Option(help="Number of bootstrap resamples of subjects.", min=200, max=100_000)]
CalibrationFile = Annotated[
    Path | None,
    typer.Option(
        metavar="SITE.json",
        help="Also write calibrated, interval_lo, interval_hi and abstained by a calibration of avpenet calibrate; "
        "with curves of groups, --subjects has to state them.",
    ),
]
CsvBom = Annotated[
    bool, typer.Option("--csv-bom", help="Begin CSV files with a byte order mark, so that Excel reads UTF-8.")
]
Debug = Annotated[bool, typer.Option("--debug", help="Show tracebacks.")]
EmbeddingsFile = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE.parquet",
        help="Also write what the network makes of each scored segment before its last layers, beside OUT. It may "
        "identify patients.",
    ),
]
Events = Annotated[
    Path | None,
    typer.Option(metavar="EVENTS", help="Events: recording, time_s, label such as analgesic; drawn on trajectories."),
]
HoldS = Annotated[float, typer.Option(help="Seconds for which a rating given as time_s applies.")]
LimitSource = Annotated[str, typer.Option(metavar="TEXT", help="Source of the acceptance limit.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing unless something fails.")]
RecordedAt = Annotated[
    str | None,
    typer.Option(
        metavar="SOURCE",
        help="Where recorded_at comes from: container, name:PATTERN, a table, or none. [default: container]",
    ),
]
Recursive = Annotated[bool, typer.Option("--recursive", help="Include subfolders.")]
Reference = Annotated[Path | None, _RATINGS]
RequiredReference = Annotated[Path, _RATINGS]
RequiredSubjectGroups = Annotated[Path, _SUBJECTS]
ResamplingSeed = Annotated[int, typer.Option(help="Seed of the resampling.", min=0)]
SubjectGroups = Annotated[Path | None, _SUBJECTS]
SubjectsTable = Annotated[
    Path | None, typer.Option(help="Table of recordings and subjects: also write a table of subjects.")
]
WeightsName = Annotated[str | None, typer.Option(help="Name or file of the weights; see avpenet weights list.")]


def named_baseline(text: str | None) -> Literal["quiet"] | None:
    """The baseline that `--baseline` names.

    Raises:
        SettingsError: there is no such baseline.
    """
    if text not in (None, "quiet"):
        raise SettingsError(f"--baseline {text}: no such baseline", "give quiet, or leave it out")
    return None if text is None else "quiet"
