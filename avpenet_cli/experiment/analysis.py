"""From predictions to statistics: systems, seeds, pairs, groups, conditions, sites and claims.

Everything but the choice of a system, which rests on validation figures, is of the test split.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from avpenet_cli.dataset.splits import SITE, SPLITS
from avpenet_cli.dataset.store import SegmentStore
from avpenet_cli.experiment.descriptions import (
    CLEAN_VIEW,
    AnalysisSettings,
    DatasetSummary,
    ExperimentRecord,
    SystemDescription,
    ViewDescription,
)
from avpenet_cli.experiment.groups import group_results, subject_mean
from avpenet_cli.experiment.notices import result_notices
from avpenet_cli.experiment.pairs import claim_results, pair_results
from avpenet_cli.experiment.predictions import Predictions
from avpenet_cli.experiment.published import claims, published_figures
from avpenet_cli.experiment.results import (
    RESULTS_VERSION,
    ConditionResult,
    ExperimentResult,
    GroupResult,
    SeedResult,
    SiteResult,
    SystemMetrics,
    SystemResult,
    ValidationMetrics,
)
from avpenet_cli.experiment.scores import (
    Bootstraps,
    Mask,
    RatedSegments,
    Scores,
    SystemScores,
    compare,
    on_common_seeds,
    subject_codes,
)
from avpenet_cli.stats.accuracy import mean_absolute_error
from avpenet_cli.stats.bootstrap import Resampling
from avpenet_cli.stats.estimate import NAN, Estimate, absent
from avpenet_cli.stats.pairs import Array, Pairs
from avpenet_cli.stats.seeds import METRICS, SeedAverage, SeedMetrics, no_metrics, seed_metrics

_ENOUGH_SCORED = 0.95
"""Share of the most segments that any system scores: one that scores fewer may have left out the difficult ones."""


def analyse(
    predictions: Predictions, index: pd.DataFrame, record: ExperimentRecord, settings: AnalysisSettings
) -> ExperimentResult:
    """Every figure of an experiment.

    Args:
        predictions: of its systems; those of others are left out.
        index: of the store.
        record: what else is known of the experiment.
        settings: of the statistics.

    Raises:
        OutputError: predictions that cannot be read or do not belong to the store.
    """
    analysis = _Analysis(RatedSegments(index), settings)
    parts = [analysis.of_system(system, predictions, record) for system in record.systems]
    scores = {part.result.system.name: part.scores for part in parts if part.scores is not None}
    predicted = [system for system in record.systems if system.name in scores]
    results = tuple(part.result for part in parts)
    segments, bootstraps, figures = analysis.segments, analysis.bootstraps, published_figures()
    return ExperimentResult(
        version=RESULTS_VERSION,
        title=record.title,
        created=record.created,
        command=record.command,
        software=record.software,
        dataset=record.dataset,
        settings=settings,
        notices=record.notices + result_notices(results, record.dataset),
        choices=record.choices,
        best_on_validation=best_on_validation(results),
        views=(CLEAN_VIEW, *record.views),
        systems=results,
        pairs=pair_results(predicted, scores, segments, settings.reference, bootstraps),
        groups=tuple(group for part in parts for group in part.groups),
        conditions=tuple(condition for part in parts for condition in part.conditions),
        sites=_all_sites(parts),
        seeds=tuple(seed for part in parts for seed in part.seeds),
        claims=claim_results(claims(), record.systems, scores, segments, figures, settings, bootstraps),
        published=figures,
    )


def dataset_summary(store: SegmentStore) -> DatasetSummary:
    """What systems are trained and tested on."""
    rated = RatedSegments(store.index)
    counts: dict[str, int] = {}
    subjects: dict[str, int] = {}
    for split in SPLITS:
        chosen = rated.in_split(split)
        counts[split], subjects[split] = int(chosen.sum()), len(set(rated.subject[chosen].tolist()))
    sites = sorted(set(store.index[SITE].astype(str))) if SITE in store.index.columns else []
    return DatasetSummary(store.digest, store.record.notice, counts, subjects, tuple(sites))


def group_columns(store: SegmentStore) -> tuple[str, ...]:
    """The columns of the table of subjects, by which errors are shown."""
    return tuple(column for column in store.record.subjects.columns if column in store.index.columns)


def best_on_validation(systems: Sequence[SystemResult]) -> str:
    """Name of the system with the least validation MAE, mean over seeds; empty without one.

    Systems that score fewer than 95 % of the most segments that any system scores do not count.
    """
    most = max((result.validation.n_segments for result in systems), default=0)
    candidates = [
        (result.validation.mae.mean.value, result.system.name)
        for result in systems
        if result.validation.n_segments >= max(1.0, _ENOUGH_SCORED * most)
    ]
    return min(candidates, default=(NAN, ""))[1]


@dataclass(frozen=True, eq=False)
class _SystemPart:
    """What one system contributes; `scores`, of the test split, are None without predictions."""

    result: SystemResult
    scores: Scores | None
    seeds: tuple[SeedResult, ...] = ()
    groups: tuple[GroupResult, ...] = ()
    conditions: tuple[ConditionResult, ...] = ()
    sites: tuple[SiteResult, ...] = ()


class _Analysis:
    """The segments, the settings and the resamples that all systems share."""

    def __init__(self, segments: RatedSegments, settings: AnalysisSettings) -> None:
        self.segments, self.settings = segments, settings
        self.bootstraps = Bootstraps(Resampling(settings.replicates, settings.seed))

    def of_system(self, system: SystemDescription, predictions: Predictions, record: ExperimentRecord) -> _SystemPart:
        scores = SystemScores(predictions, system.name, self.segments)
        test, validation = scores.of("test"), scores.of("validation")
        tested = self._metrics(system, test)
        published = tuple(figure for figure in published_figures() if figure.system == system.name)
        result = SystemResult(system, self._summary(test, tested), self._validation(system, validation), published)
        sites = tuple(self._site(system.name, site, scores) for site in scores.sites)
        if not test.seeds:
            return _SystemPart(result, None, sites=sites)
        grouped = self.settings.grouped_systems
        groups: tuple[GroupResult, ...] = ()
        if not grouped or system.name in grouped:
            groups = group_results(system.name, test, self.segments, record.columns, self.settings, self.bootstraps)
        return _SystemPart(
            result,
            test.only(self.segments.in_split("test")),
            tuple(self._seeds(system.name, test, tested, validation)),
            groups,
            tuple(self._condition(system, view, test, scores.of("test", view.name)) for view in record.views),
            sites,
        )

    def _metrics(self, system: SystemDescription, scores: Scores) -> SeedMetrics:
        use = scores.scored & self.segments.in_split("test")
        if not use.any():
            return no_metrics(_reason_without_scores(system, scores, "test"), len(scores.seeds))
        subject, n_subjects = subject_codes(self.segments.subject[use])
        return seed_metrics(
            scores.values[:, use],
            self.segments.reference[use],
            subject,
            self.bootstraps.of(n_subjects),
            self.settings.cut_points,
        )

    def _summary(self, scores: Scores, metrics: SeedMetrics) -> SystemMetrics:
        in_split = self.segments.in_split("test")
        use = scores.scored & in_split
        return SystemMetrics(
            n_segments=int(use.sum()),
            n_subjects=len(set(self.segments.subject[use].tolist())),
            n_missing=int((in_split & ~use).sum()),
            cut_points=self.settings.cut_points,
            confusion=metrics.confusion,
            **metrics.averages,
        )

    def _validation(self, system: SystemDescription, scores: Scores) -> ValidationMetrics:
        in_split = self.segments.in_split("validation")
        use = scores.scored & in_split
        n_subjects, n_missing = len(set(self.segments.subject[use].tolist())), int((in_split & ~use).sum())
        mae = self._mae(scores.error, use, _reason_without_scores(system, scores, "validation"))
        average = SeedAverage.of(mae, np.array(list(self._mae_by_seed(scores, use).values())))
        return ValidationMetrics(int(use.sum()), n_subjects, n_missing, average)

    def _mae_by_seed(self, scores: Scores, use: Mask) -> dict[int, float]:
        """Mean absolute error of each seed, points; empty without a segment."""
        if not use.any():
            return {}
        errors = np.abs(scores.values[:, use] - self.segments.reference[use]).mean(axis=1)
        return dict(zip(scores.seeds, errors.tolist(), strict=True))

    def _seeds(self, system: str, test: Scores, tested: SeedMetrics, validation: Scores) -> Iterator[SeedResult]:
        in_test = self.segments.in_split("test")
        validated = self._mae_by_seed(validation, validation.scored & self.segments.in_split("validation"))
        for place, seed in enumerate(test.seeds):
            values = {name: float(tested.by_seed[name][place]) for name in METRICS}
            reasons = {name: tested.reasons[name] for name, value in values.items() if not np.isfinite(value)}
            if seed not in validated:
                reasons["validation_mae"] = "no validation predictions of this seed"
            yield SeedResult(
                system=system,
                seed=seed,
                n_segments=int((np.isfinite(test.values[place]) & in_test).sum()),
                validation_mae=validated.get(seed, NAN),
                reasons=reasons,
                **values,
            )

    def _condition(
        self, system: SystemDescription, view: ViewDescription, clean: Scores, changed: Scores
    ) -> ConditionResult:
        clean, changed = on_common_seeds(clean, changed)
        if not clean.seeds:
            reason = _reason_without_view(system, view)
            missing = absent(reason)
            return ConditionResult(
                system.name, view.name, 0, 0, 0, missing, missing, missing, missing, missing, not_computable=reason
            )
        use = clean.scored & self.segments.in_split("test")
        both = use & changed.scored
        comparison = compare(
            np.where(both, changed.error, NAN), np.where(both, clean.error, NAN), self.segments, self.bootstraps
        )
        return ConditionResult(
            system=system.name,
            view=view.name,
            n_segments=comparison.n,
            n_subjects=comparison.n_subjects,
            n_lost=int((use & ~both).sum()),
            lost=self._share_lost(use, both),
            mae=self._mae(changed.error, both),
            clean_mae=self._mae(clean.error, both),
            change=comparison.difference,
            change_percent=comparison.percent,
        )

    def _share_lost(self, use: Mask, both: Mask) -> Estimate:
        if not use.any():
            return absent("no segment is scored clean")
        subject, n_subjects = subject_codes(self.segments.subject[use])
        lost = (~both[use]).astype(np.float64)
        sums = np.stack([np.bincount(subject, column, n_subjects) for column in (np.ones(len(lost)), lost)], axis=1)
        share = self.bootstraps.of(n_subjects).estimate(
            lambda total: total[..., 1:] / total[..., :1], sums.astype(np.float64), ("logit",), len(lost)
        )[0]
        if share.value in (0.0, 1.0):
            return Estimate(share.value, n=share.n, reason="no segment is lost" if not share.value else "all are lost")
        return share

    def _mae(
        self, error: Array, use: Mask, reason: str = "no segment is scored both clean and under the view"
    ) -> Estimate:
        if not use.any():
            return absent(reason)
        subject, n_subjects = subject_codes(self.segments.subject[use])
        pairs = Pairs(error[use], np.zeros(int(use.sum())), subject, n_subjects)
        return mean_absolute_error(pairs, self.bootstraps.of(n_subjects))

    def _site(self, system: str, site: str, scores: SystemScores) -> SiteResult:
        without, within = scores.of("test", left_out_site=site), scores.of("test")
        here = self.segments.at_site(site)
        use = without.scored & here
        if not use.any():
            return no_site(system, site, "it scores no rated segment of the site")
        subject, n_subjects = subject_codes(self.segments.subject[use])
        without_shared, within = on_common_seeds(without, within)
        shared = use & within.scored & self.segments.in_split("test")
        comparison = compare(
            np.where(shared, without_shared.error, NAN),
            np.where(shared, within.error, NAN),
            self.segments,
            self.bootstraps,
        )
        values = np.array(list(self._mae_by_seed(without, use).values()))
        reason = "the system trained on all sites has no test segment of this site"
        return SiteResult(
            system=system,
            site=site,
            n_segments=int(use.sum()),
            n_subjects=n_subjects,
            mae=SeedAverage.of(self._mae(without.error, use), values),
            bias=subject_mean(without.difference[use], subject, n_subjects),
            n_shared=comparison.n,
            within_mae=self._mae(within.error, shared, reason),
            difference=comparison.difference if comparison.n else absent(reason),
        )


def no_site(system: str, site: str, reason: str) -> SiteResult:
    """A site without figures, and why."""
    missing = absent(reason)
    return SiteResult(system, site, 0, 0, SeedAverage(missing), missing, 0, missing, missing)


def _all_sites(parts: Sequence[_SystemPart]) -> tuple[SiteResult, ...]:
    """Results of every system that was trained without any site, with a reason for sites that it lacks."""
    sites = sorted({result.site for part in parts for result in part.sites})
    results = []
    for part in parts:
        by_site = {result.site: result for result in part.sites}
        name = part.result.system.name
        for site in sites if by_site else ():
            results.append(by_site.get(site) or no_site(name, site, "it was not trained without this site"))
    return tuple(results)


def _reason_without_scores(system: SystemDescription, scores: Scores, split: str) -> str:
    if system.status != "trained":
        return system.status + (f": {system.reason}" if system.reason else "")
    if not scores.seeds:
        return f"no {split} predictions"
    return f"no rated segment of the {split} split is scored in every seed"


def _reason_without_view(system: SystemDescription, view: ViewDescription) -> str:
    if system.modalities:
        if view.family == "noise" and "audio" not in system.modalities:
            return "it does not read audio"
        if view.family == "cover" and "face" not in system.modalities:
            return "it does not read the face"
    return "no predictions under this view"
