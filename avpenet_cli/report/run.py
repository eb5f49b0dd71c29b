"""The report as a library: `run_report` from files to files, `analyse` from tables to the document."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pandas as pd

from avpenet_cli.errors import SettingsError
from avpenet_cli.report.analysis import ReportSettings, analyse_tables
from avpenet_cli.report.document import ReportDocument
from avpenet_cli.report.document.provenance import SignedBy
from avpenet_cli.report.review_answers import read_answers, refuse_losing_answers
from avpenet_cli.report.writing import output_paths, write_report
from avpenet_cli.runs.history import history_path, refuse_unusable_history
from avpenet_cli.runs.outputs import refuse_overwriting
from avpenet_cli.study.pack import pack_file, read_pack
from avpenet_cli.study.ratings import read_events, read_ratings
from avpenet_cli.study.score_tables import read_scores
from avpenet_cli.study.sheets import Table
from avpenet_cli.study.subjects import read_subjects
from avpenet_cli.study.tables import Inputs, match_tables


@dataclass(frozen=True)
class ReportRequest:
    """A report to write.

    Attributes:
        scores: score tables, .csv, .parquet or .jsonl; at least one.
        out: the page, ending in .html; .json, .review.csv and .review.m3u8 are written beside it.
        reference: table of human ratings.
        subjects: table of the recordings' subjects.
        events: table of events.
        compare: score tables of the same segments by other weights.
        show: recordings whose trajectories are drawn in addition to those the program chooses.
        settings: what the numbers depend on besides the tables.
        pack: pack.json of the sample that was rated.
        csv_bom: begin the table of segments to review with a byte order mark, by which Excel recognises UTF-8.
        review: filled-in copy of the .review.csv that a report on the same tables wrote.
        sign_off: who signs the report as it is made; None: nobody.

    Raises:
        SettingsError: `out` does not end in .html, or the report would overwrite one of its inputs.
    """

    scores: tuple[Path, ...]
    out: Path
    reference: Path | None = None
    subjects: Path | None = None
    events: Path | None = None
    compare: tuple[Path, ...] = ()
    show: tuple[str, ...] = ()
    settings: ReportSettings = field(default_factory=ReportSettings)
    csv_bom: bool = False
    pack: Path | None = None
    review: Path | None = None
    sign_off: SignedBy | None = None

    def __post_init__(self) -> None:
        if self.out.suffix != ".html":
            raise SettingsError(f"--out {self.out}: the report is a web page", "end the name in .html")
        if self.pack is not None and self.reference is None:
            raise SettingsError("--pack without --reference", "a pack is compared with the ratings of its sample")
        if self.settings.limit_points is not None and self.reference is None:
            raise SettingsError("--limit without --reference", "a limit needs ratings to be compared with")
        tables = [*self.scores, *self.compare]
        given = (self.reference, self.subjects, self.events, self.pack, self.review)
        others = [path for path in given if path is not None]
        manifests = [path.with_suffix(".run.json") for path in tables]
        journals = [path.with_name(path.name + ".journal") for path in self.scores]
        histories = [history_path(path) for path in self.scores]
        refuse_overwriting(self.outputs, [*tables, *others, *manifests, *journals, *histories])

    @property
    def outputs(self) -> tuple[Path, Path, Path, Path]:
        """The page, its numbers, and the segments to review as a table and as a playlist."""
        return output_paths(self.out)


def run_report(request: ReportRequest) -> ReportDocument:
    """Read the tables, analyse them and write the report.

    Returns:
        The document, as written to the JSON file.

    Raises:
        SettingsError: a table cannot be read, the tables do not belong together, or a recording to show is not there;
            the filled-in list is not to this report's list of segments to review.
        EnvironmentUnavailableError, OutputError: a file cannot be written; the list that would be replaced has been
            filled in.
    """
    refuse_unusable_history(request.out, request.outputs)
    refuse_losing_answers(request.outputs[2])
    answers = None if request.review is None else read_answers(request.review)
    inputs = _read_inputs(request.scores, request.reference, request.subjects, request.events, request.compare)
    if request.pack is not None:
        inputs = replace(inputs, pack=read_pack(request.pack), pack_file=pack_file(request.pack))
    return write_report(
        inputs,
        request.settings,
        request.out,
        request.show,
        csv_bom=request.csv_bom,
        answers=answers,
        sign_off=request.sign_off,
    )


def analyse(
    scores: Table | str | Sequence[Table | str],
    ratings: Table | str | None = None,
    subjects: Table | str | None = None,
    *,
    events: Table | str | None = None,
    compare: Table | str | Sequence[Table | str] = (),
    settings: ReportSettings | None = None,
    review: Path | str | None = None,
) -> ReportDocument:
    """Analyse score tables, with human ratings or without, and write nothing.

    Args:
        scores: one or several score tables: paths (.csv, .parquet, .jsonl) or DataFrames with at least `recording`,
            `start_s`, `end_s`, `score` (0 to 10 points, missing where unscorable) and `status`.
        ratings: `recording`, `time_s` or `start_s` and `end_s`, `value`, optionally `scale` and `rater`.
        subjects: `recording`, `subject` and columns to stratify by; None: every recording is a separate subject.
        events: `recording`, `time_s`, `label`.
        compare: score tables of the same segments by other weights.
        settings: None: the defaults.
        review: filled-in copy of the .review.csv of a report on the same tables.

    Returns:
        The report's document; `document.agreement.limits.bias.value` is the bias in points.

    Raises:
        SettingsError: a table cannot be read, or the tables do not belong together.
    """
    inputs = _read_inputs(_tables(scores), _table(ratings), _table(subjects), _table(events), _tables(compare))
    answers = None if review is None else read_answers(Path(review))
    return analyse_tables(inputs, settings or ReportSettings(), answers).document


def _tables(tables: Table | str | Sequence[Table | str]) -> tuple[Table, ...]:
    if isinstance(tables, str | Path | pd.DataFrame):
        tables = (tables,)
    return tuple(Path(table) if isinstance(table, str) else table for table in tables)


def _table(table: Table | str | None) -> Table | None:
    return Path(table) if isinstance(table, str) else table


def _read_inputs(
    scores: Sequence[Table],
    ratings: Table | None,
    subjects: Table | None,
    events: Table | None,
    compare: Sequence[Table],
) -> Inputs:
    return match_tables(
        read_scores(scores),
        None if ratings is None else read_ratings(ratings),
        None if subjects is None else read_subjects(subjects),
        None if events is None else read_events(events),
        read_scores(compare) if compare else None,
    )
