"""What a reader must know before any figure of an experiment."""

from __future__ import annotations

from collections.abc import Sequence

from avpenet_cli.experiment.descriptions import DatasetSummary
from avpenet_cli.experiment.results import SystemResult
from avpenet_cli.phrasing import counted
from avpenet_cli.report.document.review import Notice

FEW_SUBJECTS = 20
"""With fewer test subjects, intervals are wide and their coverage falls."""


def result_notices(systems: Sequence[SystemResult], dataset: DatasetSummary) -> tuple[Notice, ...]:
    """Notices that follow from the results, the most serious first."""
    notices = []
    failed = [result.system for result in systems if result.system.status == "failed"]
    if failed:
        names = ", ".join(system.name for system in failed)
        notices.append(Notice("danger", f"{counted(len(failed), 'system')} failed to train: {names}."))
    partial = [result.system for result in systems if result.system.status == "trained" and result.system.reason]
    notices += [Notice("warning", f"{system.name}: {system.reason}.") for system in partial]
    if dataset.notice:
        notices.append(Notice("warning", dataset.notice))
    predicted = [result for result in systems if result.test.n_segments]
    subjects = max((result.test.n_subjects for result in predicted), default=0)
    if not predicted:
        notices.append(Notice("danger", "No system has a score for a rated segment of the test split."))
    elif subjects < FEW_SUBJECTS:
        text = f"The test split has {counted(subjects, 'subject')} with a score: intervals are wide, and rough."
        notices.append(Notice("warning", text))
    if predicted and max(result.test.mae.n_seeds for result in predicted) < 2:
        text = "Systems were trained with one seed: how much their figures depend on it is not known."
        notices.append(Notice("warning", text))
    missing = _missing_scores(predicted)
    if missing:
        notices.append(Notice("note", missing))
    return tuple(notices)


def _missing_scores(results: Sequence[SystemResult]) -> str:
    """That systems do not score all of the same segments; empty where they do."""
    missing = {result.system.name: result.test.n_missing for result in results}
    if len(set(missing.values())) < 2:
        return ""
    least = min(missing.values())
    names = ", ".join(f"{name} {count}" for name, count in missing.items() if count > least)
    return (
        "Systems do not score the same segments, so their own figures cannot be compared; pairs are compared on "
        f"segments that both score. Rated test segments without a score: {names}; the others {least}."
    )
