"""What a reader of the page must know before any number."""

from __future__ import annotations

import pandas as pd

from avpenet_cli.phrasing import counted
from avpenet_cli.report.coverage import Coverage
from avpenet_cli.report.strata import MINIMUM_SUBJECTS
from avpenet_cli.study.tables import Inputs, described_weights

_UNTRAINED = "UNTRAINED WEIGHTS. The scores on this page mean nothing and must not be used for anything."
_DEMONSTRATION = (
    "DEMONSTRATION WEIGHTS, trained on simulated recordings, not for patients. The scores on this page say nothing "
    "about patients."
)
# Share of the ratings from which on something is wrong with their names or times.
_MANY_UNMATCHED = 0.05
# Ratings of a scale that never reach further up than this, points, and how many it takes to wonder.
_LOW_ON_SCALE = 1.0
_ENOUGH_TO_DOUBT = 20
_LATE_S = 10.0


def _few(rated: pd.DataFrame) -> list[str]:
    pairs = rated["subject"].value_counts()
    if not len(pairs):
        return []
    found = []
    if len(pairs) < MINIMUM_SUBJECTS:
        few = counted(len(pairs), "subject")
        found.append(f"Only {few} with pairs: intervals are wide, and no verdict on so few carries far.")
    if len(pairs) > 1 and pairs.iloc[0] > pairs.sum() / 2:
        share = 100 * pairs.iloc[0] / pairs.sum()
        found.append(f"One subject holds {share:.0f} % of the pairs: what counts pairs is mostly about that one.")
    return found


def _doubtful(inputs: Inputs) -> list[str]:
    """Ratings that a wrong unit would explain."""
    if inputs.ratings is None:
        return []
    rows, found = inputs.ratings.rows, []
    for scale, values in rows.groupby("scale", observed=True)["value"]:
        if len(values) >= _ENOUGH_TO_DOUBT and values.max() <= _LOW_ON_SCALE:
            found.append(f"No {scale} rating lies over a tenth of its scale: is it the right scale (a VAS in cm)?")
    last_s = inputs.scores.segments.groupby("recording", observed=True)["end_s"].max()
    late = rows["end_s"] > rows["recording"].map(last_s.to_dict()) + _LATE_S
    if late.any():
        found.append(
            f"{int(late.sum())} ratings end over {_LATE_S:.0f} s after their recording does: are times in seconds?"
        )
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
    for text in _doubtful(inputs):
        say("warning", text)
    if inputs.ratings is not None and lost > _MANY_UNMATCHED * inputs.ratings.file.rows:
        say("warning", f"{lost} of {inputs.ratings.file.rows} ratings match no segment: are names and times right?")
    if covered.source == "table":
        say("note", "Without verified manifests, seconds outside the segments and failed recordings are not known.")
    elif not covered.balanced:
        say("danger", f"The balance of seconds does not add up: {covered.unaccounted_s:.1f} s are missing.")
    return found
