"""Every two systems compared on the same segments, and the claims that such comparisons decide."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import combinations

from avpenet_cli.experiment.descriptions import AnalysisSettings, PublishedFigure, SystemDescription
from avpenet_cli.experiment.published import Claim
from avpenet_cli.experiment.results import ACROSS_GROUPS, ClaimResult, ClaimVerdict, PairResult, SizeVerdict
from avpenet_cli.experiment.scores import Bootstraps, RatedSegments, Scores, compare, on_common_seeds
from avpenet_cli.stats.comparisons import correct_family
from avpenet_cli.stats.estimate import Estimate, absent


def pair_results(
    systems: Sequence[SystemDescription],
    scores: Mapping[str, Scores],
    segments: RatedSegments,
    reference: str,
    bootstraps: Bootstraps,
) -> tuple[PairResult, ...]:
    """Every two systems, by family; each family is corrected for its own number of tests.

    Args:
        systems: those that have predictions.
        scores: by the system's name, of the test split.
        reference: name of the system that belongs to every family.
    """
    families: dict[str, list[PairResult]] = {}
    for first, second in combinations(systems, 2):
        family = _family(first, second, reference)
        result = _pair(family, first.name, second.name, scores, segments, bootstraps)
        families.setdefault(family, []).append(result)
    across = families.pop(ACROSS_GROUPS, [])
    results = []
    for members in [*families.values(), across]:
        corrected = correct_family([member.test for member in members])
        results += [
            replace(member, test=test, p_holm=p_holm) for member, (test, p_holm) in zip(members, corrected, strict=True)
        ]
    return tuple(results)


def _family(first: SystemDescription, second: SystemDescription, reference: str) -> str:
    if first.name == reference:
        return second.group
    if second.name == reference or first.group == second.group:
        return first.group
    return ACROSS_GROUPS


def _pair(
    family: str,
    first: str,
    second: str,
    scores: Mapping[str, Scores],
    segments: RatedSegments,
    bootstraps: Bootstraps,
) -> PairResult:
    one, other = on_common_seeds(scores[first], scores[second])
    comparison = compare(one.error, other.error, segments, bootstraps)
    return PairResult(
        family=family,
        first=first,
        second=second,
        seeds=one.seeds,
        n_segments=comparison.n,
        n_subjects=comparison.n_subjects,
        mae_first=comparison.first,
        mae_second=comparison.second,
        mae_difference=comparison.difference,
        percent_change=comparison.percent,
        test=comparison.test,
        p_holm=comparison.test.p,
    )


def claim_results(
    claims: Sequence[Claim],
    systems: Sequence[SystemDescription],
    scores: Mapping[str, Scores],
    segments: RatedSegments,
    figures: Sequence[PublishedFigure],
    settings: AnalysisSettings,
    bootstraps: Bootstraps,
) -> tuple[ClaimResult, ...]:
    """Every claim, checked where this experiment has both of its systems.

    Args:
        systems: all of them.
        scores: as for `pair_results`, of those that have predictions.
        figures: of the paper.
    """
    results = []
    for claim in claims:
        first, second = _stand_in(claim.first, systems, scores), _stand_in(claim.second, systems, scores)
        paper = claim.origin == "paper"
        paper_first = _paper_mae(claim.first, figures) if paper else None
        paper_second = _paper_mae(claim.second, figures) if paper else None
        percent = None
        if paper_first and paper_second:
            percent = 100 * (paper_first.value - paper_second.value) / paper_second.value
        reason = _not_tested(claim, first, second, systems, scores)
        if reason:
            difference = change = absent(reason)
            verdict: ClaimVerdict = "not tested"
            size: SizeVerdict = "not tested"
        else:
            one, other = on_common_seeds(scores[first], scores[second])
            comparison = compare(one.error, other.error, segments, bootstraps)
            difference, change = comparison.difference, comparison.percent
            verdict, reason = _verdict(claim, difference, settings.claim_margin_points)
            size = _size(claim, change, percent)
        results.append(
            ClaimResult(
                name=claim.name,
                statement=claim.statement,
                origin=claim.origin,
                kind=claim.kind,
                first=first,
                second=second,
                paper_first=paper_first,
                paper_second=paper_second,
                paper_percent=percent,
                difference=difference,
                percent=change,
                verdict=verdict,
                size=size,
                rule=claim_rule(claim, settings.claim_margin_points),
                reason=reason,
            )
        )
    return tuple(results)


def claim_rule(claim: Claim, margin_points: float) -> str:
    """How a claim is decided, in words; by one interval, which is not widened for the number of claims."""
    if claim.kind == "better":
        return (
            "holds where the 95 % interval of the difference of MAE lies below 0; does not hold where it lies above "
            f"{-margin_points:g} points, so that the first's advantage, if any, is smaller than that; else undecided"
        )
    return (
        f"holds where the 95 % interval of the difference of MAE lies within ±{margin_points:g} points; does not hold "
        "where it lies wholly outside; else undecided"
    )


def _stand_in(names: Sequence[str], systems: Sequence[SystemDescription], scores: Mapping[str, Scores]) -> str:
    """The first of the names that has predictions, otherwise that the experiment has; empty without one."""
    known = [name for name in names if any(system.name == name for system in systems)]
    return next((name for name in known if name in scores), known[0] if known else "")


def _not_tested(
    claim: Claim, first: str, second: str, systems: Sequence[SystemDescription], scores: Mapping[str, Scores]
) -> str:
    for name, names in ((first, claim.first), (second, claim.second)):
        if not name:
            return f"the experiment has no system {' or '.join(names)}"
        if name not in scores:
            status = next(system for system in systems if system.name == name)
            return f"{name} has no predictions" + (f": {status.reason}" if status.reason else "")
    return ""


def _verdict(claim: Claim, difference: Estimate, margin_points: float) -> tuple[ClaimVerdict, str]:
    if not difference.has_interval:
        return "undecided", difference.reason
    low, high = difference.ci
    if claim.kind == "better":
        if high < 0:
            return "holds", ""
        return ("does not hold" if low > -margin_points else "undecided"), ""
    if max(-low, high) < margin_points:
        return "holds", ""
    return ("does not hold" if low > margin_points or high < -margin_points else "undecided"), ""


def _size(claim: Claim, percent: Estimate, paper_percent: float | None) -> SizeVerdict:
    if paper_percent is None or not percent.has_interval or claim.kind != "better":
        return "not tested"
    low, high = percent.ci
    if low <= paper_percent <= high:
        return "compatible"
    return "smaller" if low > paper_percent else "larger"


def _paper_mae(names: Sequence[str], figures: Sequence[PublishedFigure]) -> PublishedFigure | None:
    return next(
        (figure for name in names for figure in figures if figure.system == name and figure.metric == "mae"), None
    )
