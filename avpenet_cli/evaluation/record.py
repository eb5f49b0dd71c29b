"""`evaluation.json`: what was evaluated, how, and every result."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

from avpenet_cli.dataset.splits import Split
from avpenet_cli.dataset.store import SegmentStore
from avpenet_cli.evaluation.conditions import AUDIO_ALONE, CLEAN, FACE_ALONE, METHODS
from avpenet_cli.evaluation.evaluate import RATED, Evaluation
from avpenet_cli.evaluation.results import ConditionResult
from avpenet_cli.evaluation.split import EvaluationSplit, Familiarity
from avpenet_cli.runs.device import device_name
from avpenet_cli.runs.versions import software_versions
from avpenet_cli.scoring.network import Network
from avpenet_cli.settings import WINDOW_S, Preprocessing, to_dict
from avpenet_cli.stats.bootstrap import LEVEL, Resampling
from avpenet_cli.weights import WeightsDescription

EVALUATION_VERSION = 2
"""1 had `why_not` for `not_computable`, `subjects.words` for `subjects.description`, `segments.of_the_recordings` for
`segments.total`."""
_OVERLAP = (
    "The segments overlap: report.html gives each the median of all references it overlaps, so that its figures differ "
    "from those of evaluation.json, which are of each segment's own."
)


@dataclass(frozen=True)
class StoreReference:
    """The store: its digest and its notice."""

    sha256: str
    notice: str


@dataclass(frozen=True)
class SubjectsReference:
    """Whether the subjects were seen in training, as a word and as a sentence."""

    familiarity: Familiarity
    description: str


@dataclass(frozen=True)
class SegmentCounts:
    """Segments of recordings that have a rated segment: all, rated ones, and rated ones without a clean score."""

    total: int
    rated: int
    rated_without_score: int


@dataclass(frozen=True)
class StatisticsSettings:
    """How intervals were computed; the bootstrap resamples `unit`s."""

    confidence: float
    bootstrap_replicates: int
    seed: int
    unit: str = "subject"


@dataclass(frozen=True, kw_only=True)
class EvaluationRecord:
    """The content of `evaluation.json`.

    Attributes:
        notice: what must be read before any number.
        notes: how to read the results.
        created: ISO 8601, UTC.
        weights: the description; its digest is beside it in the file.
        left_out_site: the leave-one-site-out splits that apply, if any.
        methods: how the conditions of each family are made.
        conditions: results, the clean condition first.
        files: SHA-256 of the other files of the evaluation, by name.
        seconds: wall-clock time of the scoring.
    """

    evaluation_version: int = EVALUATION_VERSION
    notice: str
    notes: list[str]
    created: str
    weights: WeightsDescription
    store: StoreReference
    preprocessing: Preprocessing
    split: Split
    left_out_site: str | None
    subjects: SubjectsReference
    segments: SegmentCounts
    methods: dict[str, str]
    statistics: StatisticsSettings
    conditions: tuple[ConditionResult, ...]
    device: str
    software: dict[str, str]
    files: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0

    @property
    def clean(self) -> ConditionResult:
        """The result of the clean condition."""
        return self.conditions[0]

    def with_files(self, files: dict[str, str]) -> EvaluationRecord:
        """A copy that names the other files of the evaluation."""
        return replace(self, files=files)

    def to_json(self) -> dict[str, Any]:
        """JSON types; `headline` repeats the results of the clean condition and of each modality alone."""
        content = {item.name: getattr(self, item.name) for item in fields(self)}
        for name in ("store", "preprocessing", "subjects", "segments", "statistics"):
            content[name] = to_dict(content[name])
        weights = to_dict(self.weights)
        weights.pop("preprocessing")
        results = [result.to_json() for result in self.conditions]
        headline = (CLEAN.name, AUDIO_ALONE.name, FACE_ALONE.name)
        return content | {
            "weights": weights | {"digest": self.weights.digest},
            "headline": {result["condition"]: result for result in results if result["condition"] in headline},
            "conditions": results,
        }


def make_evaluation_record(
    store: SegmentStore,
    split: EvaluationSplit,
    network: Network,
    evaluation: Evaluation,
    results: Sequence[ConditionResult],
    resampling: Resampling,
) -> EvaluationRecord:
    """Collect the record; files and seconds are added when they are known."""
    description = network.description
    rated = int(evaluation.segments[RATED].sum())
    overlapping = float(store.record.settings["stride_s"]) < WINDOW_S
    return EvaluationRecord(
        notice=" ".join(text for text in (description.notice, split.warning) if text),
        notes=[_OVERLAP] if overlapping else [],
        created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        weights=description,
        store=StoreReference(store.digest, store.record.notice),
        preprocessing=store.preprocessing,
        split=split.split,
        left_out_site=split.left_out_site,
        subjects=SubjectsReference(split.familiarity, split.description),
        segments=SegmentCounts(len(evaluation.segments), rated, rated - results[0].metrics.n),
        methods={family: METHODS[family] for family in dict.fromkeys(result.condition.family for result in results)},
        statistics=StatisticsSettings(LEVEL, resampling.replicates, resampling.seed),
        conditions=tuple(results),
        device=device_name(network.device),
        software=software_versions(),
        seconds=round(evaluation.seconds, 1),
    )
