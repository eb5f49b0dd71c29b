"""An experiment in a few lines and in one sentence."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from avpenet_cli.experiment.results import ClaimResult, ExperimentResult, SystemResult
from avpenet_cli.phrasing import number, plural
from avpenet_cli.stats.estimate import Estimate


def summary_lines(result: ExperimentResult) -> list[str]:
    """What a command prints at its end: plain text, points of the 0-10 scale."""
    status = Counter(item.system.status for item in result.systems)
    lines = [
        f"{plural(len(result.systems), 'system')}: "
        + ", ".join(f"{status[name]} {name}" for name in ("trained", "failed", "not run") if status[name])
    ]
    by_name = {item.system.name: item for item in result.systems}
    best, reference = by_name.get(result.best_on_validation), by_name.get(result.settings.reference)
    if best is not None:
        validation = _with_interval(best.validation.mae.mean)
        lines.append(f"best on validation: {best.system.name}, validation MAE {validation}; {_test_mae(best)}")
    else:
        lines.append("best on validation: none, no system has validation predictions")
    if reference is not None and reference is not best:
        lines.append(f"reference: {reference.system.name}, {_test_mae(reference)}")
    paper = [claim for claim in result.claims if claim.origin == "paper"]
    if paper:
        lines.append(f"the paper's claims: {verdict_counts(paper)}")
    lines += [f"  {claim.name}: {claim.verdict}, {_percent(claim)}" for claim in paper if claim.verdict != "not tested"]
    for item in result.systems:
        if item.system.status == "failed":
            lines.append(f"failed: {item.system.name}: {item.system.reason or 'no reason is known'}")
        elif item.system.status == "trained" and item.system.reason:
            lines.append(f"incomplete: {item.system.name}: {item.system.reason}")
    return lines


def best_sentence(result: ExperimentResult) -> str:
    """What the system chosen on validation achieves, in plain words for the head of the page."""
    best = next((item for item in result.systems if item.system.name == result.best_on_validation), None)
    if best is None:
        return "No system could be chosen: none has predictions for the validation split."
    mae = best.test.mae.mean
    title = best.system.title or best.system.name
    if not mae.computable:
        return f"Least error on the validation split: {title}. Its test error is not computable: {mae.reason}."
    return (
        f"{title} has the least error on the validation split. On the test split its scores lie "
        f"{number(mae.value)} points from the reference on average, on the scale of 0 to 10."
    )


def verdict_counts(claims: Sequence[ClaimResult]) -> str:
    """ "3 hold, 1 does not hold, 2 undecided, 3 not tested"."""
    counts: Counter[str] = Counter(claim.verdict for claim in claims)
    words = {
        "holds": ("holds", "hold"),
        "does not hold": ("does not hold", "do not hold"),
        "undecided": ("is undecided", "are undecided"),
        "not tested": ("was not tested", "were not tested"),
    }
    parts = [
        f"{counts[verdict]} {one if counts[verdict] == 1 else several}"
        for verdict, (one, several) in words.items()
        if counts[verdict]
    ]
    return ", ".join(parts)


def _test_mae(item: SystemResult) -> str:
    return f"test MAE {_with_interval(item.test.mae.mean)}"


def _percent(claim: ClaimResult) -> str:
    there = "" if claim.paper_percent is None else f"; paper, on its own data: {claim.paper_percent:+.1f} %"
    if not claim.percent.computable:
        return (claim.reason or claim.percent.reason) + there
    low, high = claim.percent.ci
    interval = f" [{low:+.1f}, {high:+.1f}]" if claim.percent.has_interval else ""
    return f"MAE {claim.percent.value:+.1f}{interval} %{there}"


def _with_interval(estimate: Estimate) -> str:
    if not estimate.computable:
        return f"not computable: {estimate.reason}"
    if not estimate.has_interval:
        return f"{estimate.value:.3f}" + (f" (no interval: {estimate.reason})" if estimate.reason else "")
    return f"{estimate.value:.3f} [{estimate.ci[0]:.3f}, {estimate.ci[1]:.3f}]"
