"""What a reader of the page must know before any number."""

from __future__ import annotations

import pandas as pd

from avpenet_cli.report.coverage import Coverage
from avpenet_cli.report.inputs import Inputs, described_weights
from avpenet_cli.report.strata import MINIMUM_SUBJECTS

_UNTRAINED = "UNTRAINED WEIGHTS. The scores on this page mean nothing and must not be used for anything."
_DEMONSTRATION = (
    "DEMONSTRATION WEIGHTS. They were not trained on patients; the scores on this page say nothing about patients."
)
# Share of the ratings from which on something is wrong with their names or times.
_MANY_UNMATCHED = 0.05


def _few(rated: pd.DataFrame) -> list[str]:
    pairs = rated["subject"].value_counts()
    if not len(pairs):
        return []
    found = []
    if len(pairs) < MINIMUM_SUBJECTS:
        found.append(
            f"Only {len(pairs)} subjects have pairs: intervals are wide, and no verdict on so few carries far."
        )
    if len(pairs) > 1 and pairs.iloc[0] > pairs.sum() / 2:
        share = 100 * pairs.iloc[0] / pairs.sum()
        found.append(f"One subject holds {share:.0f} % of the pairs: what counts pairs is mostly about that one.")
    return found


def notices(inputs: Inputs, covered: Coverage, rated: pd.DataFrame, lost: int) -> list[dict[str, str]]:
    """In order of weight within each kind; `level` is danger, warning or note.

    Args:
        rated: the pairs.
        lost: ratings that match no segment.
    """
    found = []

    def say(level: str, text: str) -> None:
        found.append({"level": level, "text": text})

    for scores, whose in ((inputs.scores, ""), (inputs.other, "The other table: ")):
        if scores is None:
            continue
        described = described_weights(scores)
        if described["status"] == "untrained" or "UNTRAINED" in scores.weights:
            say("danger", whose + _UNTRAINED)
        elif described["status"] == "demonstration" or "demonstration" in scores.weights:
            say("danger", whose + _DEMONSTRATION)
        elif described["notice"]:
            say("warning", whose + described["notice"])
        for source in scores.sources:
            if source.manifest_state == "altered":
                say(
                    "danger",
                    f"{source.name} is not the table that its manifest vouches for: it was changed after the run.",
                )
            elif source.manifest_state != "verified":
                say("warning", f"{source.name} has no readable run manifest beside it: its origin cannot be traced.")
    for text in _few(rated):
        say("warning", text)
    if inputs.ratings is not None and lost > _MANY_UNMATCHED * inputs.ratings.file.rows:
        say("warning", f"{lost} of {inputs.ratings.file.rows} ratings match no segment: are names and times right?")
    if covered.source == "table":
        say("note", "Without verified manifests, seconds outside the segments and failed recordings are not known.")
    elif not covered.balanced:
        say("danger", f"The balance of seconds does not add up: {covered.unaccounted_s:.1f} s are missing.")
    return found
