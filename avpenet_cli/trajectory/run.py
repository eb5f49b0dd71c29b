"""Trajectories as a library: from recordings or score tables to a page, a picture or a table."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from avpenet_cli.errors import AvpenetError, ExitCode, SettingsError
from avpenet_cli.report.document.review import Notice
from avpenet_cli.report.notices import manifest_notices, weights_notice
from avpenet_cli.runs.callbacks import NO_CALLBACKS, RunCallbacks
from avpenet_cli.runs.history import ReadFile, record_run, refuse_unusable_history
from avpenet_cli.runs.outputs import refuse_existing, refuse_overwriting, refuse_unwritable_file
from avpenet_cli.stats.estimate import Estimate, absent
from avpenet_cli.study.ratings import read_events, read_ratings
from avpenet_cli.study.score_tables import Scores, read_scores, scores_digest
from avpenet_cli.study.subjects import read_subjects
from avpenet_cli.study.tables import match_tables
from avpenet_cli.tables import SUFFIXES, Row, write_table
from avpenet_cli.trajectory.alert_accuracy import AccuracyCounts, AlertAccuracy
from avpenet_cli.trajectory.alert_rules import Rule, read_rules_file
from avpenet_cli.trajectory.alert_table import ALERT_COLUMNS, alert_rows
from avpenet_cli.trajectory.alerts import alert_notices, raise_alerts
from avpenet_cli.trajectory.analysed import Level, Trajectory
from avpenet_cli.trajectory.analysis import analyse
from avpenet_cli.trajectory.reading import Selection, SeriesReader
from avpenet_cli.trajectory.series import Series
from avpenet_cli.trajectory.table import write_trajectories

if TYPE_CHECKING:
    from avpenet_cli.trajectory.page import SourceFile
    from avpenet_cli.trajectory.scoring import ScoredRecordings

FORMATS = (".html", ".png", ".csv")
OTHER_FILES = (
    ".html",
    ".json",
    ".log",
    ".md",
    ".ods",
    ".pdf",
    ".png",
    ".svg",
    ".toml",
    ".tsv",
    ".txt",
    ".xls",
    ".xlsx",
)
"""Suffixes of what lies beside score tables and recordings."""
MOST_SERIES = {".html": 40, ".png": 12}
"""What a page or a picture can hold; a table holds any number."""


@dataclass(frozen=True)
class TrajectoryRequest:
    """Trajectories to write.

    Attributes:
        inputs: score tables (.csv, .parquet, .jsonl), or recordings, folders and patterns.
        out: ends in .html, .png or .csv.
        reference: table of human ratings.
        events: table of events.
        subjects: table of the recordings' subjects: a series for each patient instead of each recording.
        alerts: file of rules; alerts are written beside `out`, too.
        selection: which recordings and subjects; all of them where it is empty.
        weights: name or file of the weights with which recordings are scored.
        device: on which.
        recorded_at: where the recordings' times come from; see `scoring.recorded_at.start_times`.
        recursive: include subfolders.
        seed: of the draws from which intervals come.
        command: that was given, for the page; without paths.
        csv_bom: begin CSV files with a byte order mark, by which Excel recognises UTF-8.
        overwrite: replace what is there.

    Raises:
        SettingsError: another suffix; recordings together with tables; options for recordings with tables; an output
            that is an input.
        OutputError: an output exists, and `overwrite` is not set; its folder does not exist.
    """

    inputs: tuple[str, ...]
    out: Path
    reference: Path | None = None
    events: Path | None = None
    subjects: Path | None = None
    alerts: Path | None = None
    selection: Selection = field(default_factory=Selection)
    weights: str | None = None
    device: str | None = None
    recorded_at: str | None = None
    recursive: bool = False
    seed: int = 42
    command: str = ""
    csv_bom: bool = False
    overwrite: bool = False

    def __post_init__(self) -> None:
        if self.format not in FORMATS:
            raise SettingsError(f"--out {self.out}: cannot tell the format", f"end the name in {', '.join(FORMATS)}")
        if not self.inputs:
            raise SettingsError("no recording and no score table was given", "name at least one")
        for name in self.inputs:
            if Path(name).suffix.lower() in OTHER_FILES and not Path(name).is_dir():
                raise SettingsError(
                    f"{name} is neither a score table nor a recording",
                    f"give what avpenet score wrote ({', '.join(SUFFIXES)}), or recordings",
                )
        if 0 < len(self.tables) < len(self.inputs):
            other = next(name for name in self.inputs if not _is_table(name))
            raise SettingsError(
                f"{self.tables[0]} is a score table and {other} is not",
                "give either score tables or recordings; make a table of recordings with avpenet score",
            )
        for option, given in (("--weights", self.weights), ("--recorded-at", self.recorded_at)):
            if self.tables and given is not None:
                raise SettingsError(f"{option} with score tables", "it is for recordings; leave it out")
        manifests = [path.with_suffix(".run.json") for path in self.tables]
        others = [path for path in (self.reference, self.events, self.subjects, self.alerts) if path is not None]
        recordings = [] if self.tables else [Path(name) for name in self.inputs]
        # Before an hour of scoring, not after it.
        for path in self.outputs:
            refuse_unwritable_file(path)
        refuse_unusable_history(self.out, self.outputs)
        refuse_overwriting(self.outputs, [*self.tables, *manifests, *others, *recordings])
        if not self.overwrite:
            for path in self.outputs:
                refuse_existing(path, "give --overwrite to replace it, or choose another --out")

    @property
    def format(self) -> str:
        """Of `out`: its suffix in lower case."""
        return self.out.suffix.lower()

    @property
    def tables(self) -> tuple[Path, ...]:
        """The inputs that are score tables."""
        return tuple(Path(name) for name in self.inputs if _is_table(name))

    @property
    def outputs(self) -> tuple[Path, ...]:
        """What is written: `out` and, with rules, the table of alerts."""
        return (self.out, self.out.with_suffix(".alerts.csv")) if self.alerts is not None else (self.out,)


@dataclass(frozen=True)
class SeriesSummary:
    """What the command says of a series.

    Attributes:
        scored: number of segments with a score.
        mean, highest: of the level, points; `highest` is a median over the draws, so the drawn line does not have it at
            any one time.
    """

    name: str
    segments: int
    scored: int
    scored_s: float
    mean: Estimate
    highest: Estimate
    alerts: int


@dataclass(frozen=True)
class TrajectorySummary:
    """What became of a request.

    Attributes:
        accuracy: of the rules of alerts, where there are ratings.
        failed: recordings that could not be scored, and series that could not be analysed.
    """

    series: tuple[SeriesSummary, ...]
    accuracy: tuple[AlertAccuracy, ...]
    failed: tuple[str, ...]
    written: tuple[Path, ...]

    @property
    def exit_code(self) -> ExitCode:
        """`SOME_FAILED` if a recording was not scored or a series not analysed."""
        return ExitCode.SOME_FAILED if self.failed else ExitCode.OK


def write_all(request: TrajectoryRequest, callbacks: RunCallbacks = NO_CALLBACKS) -> TrajectorySummary:
    """Read or score, analyse and write.

    A table is written series by series, so memory does not grow with their number; a page and a picture hold as many as
    `MOST_SERIES`.

    Raises:
        SettingsError: a table or the rules cannot be read, tables do not belong together, or there are too many series.
        RecordingError: no recording could be scored.
        WeightsError: the weights are absent or altered.
        EnvironmentUnavailableError, OutputError: the device or ffmpeg is missing, or a file cannot be written.
        Interrupted: the callbacks requested it; nothing is written.
    """
    return _Run(request, callbacks).write()


def trajectories(request: TrajectoryRequest, callbacks: RunCallbacks = NO_CALLBACKS) -> list[Trajectory]:
    """The trajectories of a request, with their alerts; nothing is written. Raises as `write_all`."""
    return list(_Run(request, callbacks).trajectories())


class _Run:
    """One request: its series, and what was found in those that have been analysed."""

    def __init__(self, request: TrajectoryRequest, callbacks: RunCallbacks) -> None:
        self._request, self._callbacks = request, callbacks
        self._started = datetime.now(UTC)
        # Small tables first: a mistake in them must not cost an hour of scoring.
        self._rules_file = None if request.alerts is None else read_rules_file(request.alerts)
        self._rules: tuple[Rule, ...] = () if self._rules_file is None else self._rules_file.rules
        ratings = None if request.reference is None else read_ratings(request.reference)
        events = None if request.events is None else read_events(request.events)
        subjects = None if request.subjects is None else read_subjects(request.subjects)
        self._summaries: list[SeriesSummary] = []
        self._alerts: list[Row] = []
        self._counts = AccuracyCounts(self._rules)
        self._failed: list[str] = []
        self._notices: list[Notice] = []
        scores = self._scores()
        self._inputs = match_tables(scores, ratings, subjects, events)
        self._reader = SeriesReader(self._inputs, request.selection)
        self._notices += [Notice("warning", notice) for notice in self._reader.notices]
        most = MOST_SERIES.get(request.format, len(self._reader))
        if len(self._reader) > most:
            raise SettingsError(
                f"--out {request.out}: {len(self._reader)} series, and it holds {most}",
                "choose with --recording NAME or --subject NAME, or write a table: --out FILE.csv",
            )

    def _scores(self) -> Scores:
        if self._request.tables:
            scores, of_weights = read_scores(self._request.tables), ""
            self._notices += manifest_notices(scores)
        else:
            scored = self._scored()
            scores, of_weights = scored.scores, scored.weights_notice
            self._notices += [Notice("warning", notice) for notice in scored.notices]
            self._failed += scored.failed
        notice = weights_notice(scores) or (Notice("warning", of_weights) if of_weights else None)
        self._notices[:0] = [] if notice is None else [notice]
        return scores

    def _scored(self) -> ScoredRecordings:
        from avpenet_cli.inputs import collect
        from avpenet_cli.runs.guard import require_inputs

        request = self._request
        inputs = collect(request.inputs, None, request.recursive, None)
        require_inputs(inputs)
        # After that, because they load torch.
        from avpenet_cli.settings import RunSettings, read_settings
        from avpenet_cli.trajectory.scoring import MC_SAMPLES, STRIDE_S, score_for_trajectories
        from avpenet_cli.weights import default_entry, find

        options = {"stride_s": STRIDE_S, "mc_samples": MC_SAMPLES, "device": request.device}
        settings = read_settings(RunSettings, None, options)
        weights = find(request.weights) if request.weights else default_entry()
        return score_for_trajectories(inputs, weights, settings, request.recorded_at, self._callbacks)

    def trajectories(self) -> Iterator[Trajectory]:
        """Analyse one series after the other."""
        # With recordings, progress is that of scoring them.
        progress = self._callbacks if self._request.tables else NO_CALLBACKS
        progress.set_total(len(self._reader))
        for series in self._reader:
            self._callbacks.check_stop()
            progress.item_started(series.name)
            trajectory = self._with_alerts(self._analysed(series))
            self._summaries.append(_summary(trajectory))
            self._alerts += alert_rows(trajectory)
            self._count(trajectory)
            progress.item_done()
            yield trajectory

    def _analysed(self, series: Series) -> Trajectory:
        try:
            trajectory = analyse(series, self._request.seed)
        except AvpenetError:
            raise
        except Exception as error:  # one series must not cost all the others; --debug shows the traceback
            self._callbacks.failure(error)
            problem = f"could not be analysed ({type(error).__name__}), please report it"
            self._callbacks.error(f"{series.name}: {problem}")
            self._failed.append(series.name)
            trajectory = _not_analysed(series, problem)
        return replace(trajectory, notices=(*series.notices, *trajectory.notices))

    def _with_alerts(self, trajectory: Trajectory) -> Trajectory:
        if not self._rules:
            return trajectory
        series, level = trajectory.series, trajectory.level
        notices = (*trajectory.notices, *alert_notices(series, level, self._rules))
        return replace(trajectory, alerts=raise_alerts(series, level, self._rules), notices=notices)

    def _count(self, trajectory: Trajectory) -> None:
        """Compare the alerts with those of the same rules on the ratings."""
        # All recordings of a series are of the same patient.
        recording, subjects = trajectory.series.parts[0].recording, self._inputs.subjects
        subject = recording if subjects is None else subjects.subject_of.get(recording, recording)
        self._counts.add(subject, trajectory.series, trajectory.level)

    def _accuracy(self) -> tuple[AlertAccuracy, ...]:
        """Of each rule, in the series so far; empty without ratings."""
        return () if self._inputs.ratings is None else self._counts.accuracy()

    def write(self) -> TrajectorySummary:
        """Write the files."""
        request = self._request
        for notice in self._notices:
            self._callbacks.warning(notice.text)
        writers: dict[str, Callable[[], None]] = {
            ".csv": self._write_table,
            ".html": self._write_page,
            ".png": self._write_picture,
        }
        writers[request.format]()
        if request.alerts is not None:
            write_table(request.outputs[1], self._alerts, ALERT_COLUMNS, byte_order_mark=request.csv_bom)
        read = [
            ReadFile(source.content, source.name, source.sha256, source.scores_digest)
            for source in self._sources()
            if source.sha256
        ]
        written, command = request.outputs, request.command
        record_run(request.out, "trajectory", written=written, read=read, command=command, started=self._started)
        return TrajectorySummary(tuple(self._summaries), self._accuracy(), tuple(self._failed), request.outputs)

    def _write_table(self) -> None:
        write_trajectories(self._request.out, self.trajectories(), byte_order_mark=self._request.csv_bom)

    def _write_page(self) -> None:
        from avpenet_cli.trajectory.page import PageContext, write_page

        found = list(self.trajectories())
        context = PageContext(
            notices=tuple(self._notices),
            weights=self._inputs.scores.weights,
            sources=tuple(self._sources()),
            accuracy=self._accuracy(),
            rules={rule.name: rule.text for rule in self._rules},
            seed=self._request.seed,
            command=self._request.command,
        )
        write_page(self._request.out, found, context)

    def _sources(self) -> Iterator[SourceFile]:
        """The files that were read."""
        from avpenet_cli.trajectory.page import SourceFile

        inputs = self._inputs
        if self._request.tables:
            for place, source in enumerate(inputs.scores.sources):
                digest = scores_digest(inputs.scores, place)
                yield SourceFile(source.name, "scores", source.sha256, source.rows, digest)
        else:
            for name in self._reader.recordings:
                yield SourceFile(name, "recording, scored for this page")
        for content, table in (("ratings", inputs.ratings), ("events", inputs.events), ("subjects", inputs.subjects)):
            if table is not None:
                yield SourceFile(table.file.name, content, table.file.sha256, table.file.rows)
        if self._request.alerts is not None and self._rules_file is not None:
            yield SourceFile(self._request.alerts.name, "rules of alerts", self._rules_file.sha256)

    def _write_picture(self) -> None:
        from avpenet_cli.trajectory.picture import write_picture

        notices = [notice.text for notice in self._notices]
        write_picture(self._request.out, list(self.trajectories()), notices)


def _is_table(name: str) -> bool:
    return Path(name).suffix.lower() in SUFFIXES


def _summary(trajectory: Trajectory) -> SeriesSummary:
    series = trajectory.series
    scored = np.isfinite(series.score)
    return SeriesSummary(
        name=series.name,
        segments=scored.size,
        scored=int(scored.sum()),
        scored_s=trajectory.scored_s,
        mean=trajectory.mean,
        highest=trajectory.highest,
        alerts=len(trajectory.alerts),
    )


def _not_analysed(series: Series, problem: str) -> Trajectory:
    """The series alone."""
    missing = np.full(series.start_s.size, np.nan)
    nothing = absent(problem)
    return Trajectory(
        series=series,
        level=Level(missing, missing, missing, problem, filtered=Level(missing, missing, missing, problem)),
        changes=(),
        peaks=(),
        states=(),
        gaps=(),
        scored_s=float("nan"),
        above=tuple((cut_point, nothing) for cut_point in series.cut_points),
        area=nothing,
        mean=nothing,
        highest=nothing,
        after_events=(),
        against_ratings=(),
        notices=(problem,),
    )
