"""What was compared: systems, views of the segments, settings of the statistics, choices, and the paper's figures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from avpenet_cli.report.document.review import Notice

SystemStatus = Literal["trained", "failed", "not run"]
ViewFamily = Literal["clean", "noise", "cover", "modality", "preparation"]
ClaimKind = Literal["better", "matches"]
Place = Literal["", "before denoising", "after denoising", "before detection", "after detection"]


@dataclass(frozen=True)
class SystemDescription:
    """A system as it was configured and run.

    Attributes:
        name: in files, tables and on the command line.
        title: for people.
        group: systems that are compared as one family: comparison, fusion, tokens, loss, window, encoders,
            preprocessing, frames, ours, or another word.
        differs: the settings in which it differs from the reference system, such as `fusion: concatenation`.
        modalities: what it reads, such as audio and face.
        parameters: number of learnt parameters; None where not known.
        ms_per_segment: time to score a segment, ms; None where not measured.
        seeds: those that were trained, in order.
        status: `trained` where at least one seed was; `failed`; `not run`, because it was not asked for or cannot be.
        reason: why it failed or was not run, or which of its seeds failed; empty otherwise.
    """

    name: str
    title: str
    group: str
    differs: dict[str, str]
    modalities: tuple[str, ...]
    parameters: int | None = None
    ms_per_segment: float | None = None
    seeds: tuple[int, ...] = ()
    status: SystemStatus = "trained"
    reason: str = ""


@dataclass(frozen=True)
class ViewDescription:
    """The same segments with other content, under which systems trained on clean segments are evaluated.

    Attributes:
        name: in predictions and tables, such as `noise_white_20_db`.
        title: for people.
        family: what kind of change.
        kind: which: white, real; upper, lower, mask, random; empty where there is only one.
        level: how strong, such as `20 dB`; empty where there is only one.
        place: at which step of the preparation the change was made; empty where that does not apply.
        note: how it was made, for the page.
    """

    name: str
    title: str
    family: ViewFamily
    kind: str = ""
    level: str = ""
    place: Place = ""
    note: str = ""


CLEAN_VIEW = ViewDescription("clean", "as recorded", "clean")


@dataclass(frozen=True)
class PublishedFigure:
    """A figure of the paper, obtained on its own data; never to be shown as a figure of this experiment.

    Attributes:
        system: the system of this program that corresponds to the paper's.
        metric: mae, pearson, icc_a1 (the paper's ICC(2,1)), accuracy, bias, lower_limit, upper_limit.
        value: in the metric's unit; points for mae, bias and limits, 0 to 1 for accuracy.
        low: lower end of the paper's 95 % interval; NaN where it gives none.
        high: upper end.
        label: what the paper calls the system.
        source: where it stands.
    """

    system: str
    metric: str
    value: float
    low: float
    high: float
    label: str
    source: str


@dataclass(frozen=True)
class Choice:
    """A decision, and the split whose figures it rests on.

    Attributes:
        what: was decided, such as the epoch whose weights are kept.
        on: the split, or `fixed beforehand`.
        result: what was chosen; empty where it differs from system to system.
    """

    what: str
    on: Literal["training", "validation", "fixed beforehand"]
    result: str = ""


@dataclass(frozen=True)
class AnalysisSettings:
    """What the statistics depend on besides the predictions.

    Attributes:
        reference: name of the system that belongs to every family of pairs.
        cut_points: low up to and including the first, moderate up to and including the second, points.
        margin_points: equivalence of groups, points.
        claim_margin_points: a difference of MAE below it counts as none in claims, points.
        replicates: of the bootstrap.
        seed: of the bootstrap.
        grouped_systems: systems whose error is shown by groups; empty: every system.
    """

    reference: str = "avpenet"
    cut_points: tuple[float, float] = (3.0, 6.0)
    margin_points: float = 0.5
    claim_margin_points: float = 0.1
    replicates: int = 2000
    seed: int = 42
    grouped_systems: tuple[str, ...] = ()


@dataclass(frozen=True)
class DatasetSummary:
    """The segment store that the systems were trained and tested on.

    Attributes:
        sha256: digest of the store, hexadecimal.
        notice: what weights trained on it must state; empty for most stores.
        rated_segments: number by split.
        subjects: number of their subjects by split.
        sites: names.
    """

    sha256: str
    notice: str
    rated_segments: dict[str, int]
    subjects: dict[str, int]
    sites: tuple[str, ...]


@dataclass(frozen=True)
class ExperimentRecord:
    """What is known of an experiment besides its predictions.

    Attributes:
        title: heading of the page.
        created: ISO 8601, UTC.
        command: repeats the experiment.
        software: name to version.
        dataset: what the systems were trained and tested on.
        columns: of the store's index, by which errors are shown; intensity is added.
        systems: in the order of the configuration, with those that failed or were not run.
        views: besides the clean one, under which systems are evaluated.
        choices: what was chosen on what.
        notices: what a reader must know first; the analysis adds those that follow from the results and the dataset.
    """

    title: str
    created: str
    command: str
    software: dict[str, str]
    dataset: DatasetSummary
    columns: tuple[str, ...]
    systems: tuple[SystemDescription, ...]
    views: tuple[ViewDescription, ...]
    choices: tuple[Choice, ...] = ()
    notices: tuple[Notice, ...] = ()
