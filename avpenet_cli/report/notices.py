"""What a reader of the page must know before any number."""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd

from avpenet_cli.keys import shown
from avpenet_cli.phrasing import count, counted, percent
from avpenet_cli.report.document.data import CoverageSection
from avpenet_cli.report.document.review import Notice
from avpenet_cli.report.modalities import AUDIO
from avpenet_cli.report.strata import MINIMUM_SUBJECTS
from avpenet_cli.study.score_tables import Scores, scored_differently
from avpenet_cli.study.tables import Inputs, summarise_weights

_UNTRAINED = "UNTRAINED WEIGHTS: the scores mean nothing and must not be used."
_DEMONSTRATION = "DEMONSTRATION WEIGHTS: not trained on patients, and not to be used for them."
_NO_SUBJECTS = (
    "Whose recordings these are is not known (no --subjects): each is counted as a separate subject. If a patient has "
    "several, there are fewer subjects than stated and the intervals are too narrow."
)
# Share of the ratings above which their names or times are probably wrong.
_MANY_UNMATCHED = 0.05
# A scale whose ratings never exceed this, points, is probably wrong where there are enough ratings.
_LOW_ON_SCALE = 1.0
_ENOUGH_TO_DOUBT = 20
_LATE_S = 10.0
# Share of the scores that rest on audio alone from which on a reader must know it.
_MANY_WITHOUT_FACE = 0.1


def notices(inputs: Inputs, coverage: CoverageSection, rated: pd.DataFrame, n_unmatched: int) -> tuple[Notice, ...]:
    """Notices about weights, tables, names, modalities, subjects, ratings and time, in this order.

    Args:
        inputs: all tables.
        coverage: of the recorded time.
        rated: the pairs.
        n_unmatched: ratings that match no segment.
    """
    collected = [*_about_weights(inputs), *manifest_notices(*filter(None, (inputs.scores, inputs.other)))]
    warnings = [*inputs.notices, *_about_modalities(coverage)]
    if inputs.ratings is not None and inputs.subjects is None:
        warnings.append(_NO_SUBJECTS)
    warnings += [*_about_recordings_without_subject(inputs), *_about_subjects(rated), *_about_ratings(inputs)]
    n_ratings = inputs.ratings.file.rows if inputs.ratings is not None else 0
    if n_unmatched > _MANY_UNMATCHED * n_ratings:
        warnings.append(f"{n_unmatched} of {n_ratings} ratings match no segment: are names and times right?")
    collected += [Notice("warning", text) for text in warnings]
    if coverage.source == "table":
        text = "Without verified run manifests, time outside the segments and unreadable recordings are not known."
        collected.append(Notice("note", text))
    elif not coverage.balanced:
        text = f"The balance of seconds does not add up: {coverage.unaccounted_s:.1f} s are missing."
        collected.append(Notice("danger", text))
    return tuple(collected)


def _about_weights(inputs: Inputs) -> Iterator[Notice]:
    first = weights_notice(inputs.scores)
    second = None if inputs.other is None else weights_notice(inputs.other)
    if first is not None and first == second:
        yield Notice(first.level, f"Both score tables: {first.text}")
        return
    if first is not None:
        yield first
    if second is not None:
        yield Notice(second.level, f"The other score table: {second.text}")


def weights_notice(scores: Scores) -> Notice | None:
    """What the weights of the scores must not be used for; None where that is not stated."""
    weights = summarise_weights(scores)
    if weights.status == "untrained" or "untrained" in scores.weights.lower():
        return Notice("danger", _UNTRAINED)
    if weights.status == "demonstration" or "demonstration" in scores.weights:
        return Notice("danger", _DEMONSTRATION)
    return Notice("warning", weights.notice) if weights.notice else None


def manifest_notices(*tables: Scores) -> Iterator[Notice]:
    """Which score tables their manifests do not certify, and whether tables were not scored alike."""
    for source in (source for scores in tables for source in scores.sources):
        if source.manifest_state == "altered":
            text = f"{source.name} is not the table that its manifest certifies: it was changed after the run."
            yield Notice("danger", text)
        elif source.manifest_state != "verified":
            text = f"{source.name} has no readable run manifest beside it: its origin cannot be traced."
            yield Notice("warning", text)
    if different := scored_differently([source for scores in tables for source in scores.sources]):
        yield Notice("danger", f"{different}.")


def _about_modalities(coverage: CoverageSection) -> list[str]:
    audio = next((row for row in coverage.modalities if row.modalities == AUDIO), None)
    if audio is None or audio.share < _MANY_WITHOUT_FACE:
        return []
    total = round(audio.segments / audio.share)
    return [
        f"{count(audio.segments)} of {counted(total, 'score')} ({percent(audio.share, 0)}) "
        f"{'rests' if audio.segments == 1 else 'rest'} on audio alone: no face was used in those segments."
    ]


def _about_recordings_without_subject(inputs: Inputs) -> list[str]:
    if inputs.subjects is None:
        return []
    known = inputs.subjects.subject_of
    without = [name for name in map(str, inputs.scores.segments["recording"].unique()) if name not in known]
    if not without:
        return []
    file, first = inputs.subjects.file.name, shown(without[0])
    if len(without) == 1:
        text = f"{file}: {first} has no subject and is counted as a separate one. If it is of a patient who is counted"
    else:
        text = (
            f"{file}: {counted(len(without), 'recording')}, such as {first}, have no subject, and each is counted as a "
            "separate one. If they are of patients who are counted"
        )
    return [f"{text} already, there are too many subjects, and intervals are too narrow."]


def _about_subjects(rated: pd.DataFrame) -> list[str]:
    pairs_of_subject = rated["subject"].value_counts()
    if not len(pairs_of_subject):
        return []
    n_subjects, most, total = len(pairs_of_subject), pairs_of_subject.iloc[0], pairs_of_subject.sum()
    texts = []
    if n_subjects == 1:
        texts.append("Only 1 subject with pairs: nothing on this page says how the scores do in other patients.")
    elif n_subjects < MINIMUM_SUBJECTS:
        few = counted(n_subjects, "subject")
        texts.append(f"Only {few} with pairs: intervals are wide, and a verdict on so few means little.")
    if n_subjects > 1 and most > total / 2:
        share = 100 * most / total
        texts.append(
            f"One subject has {share:.0f} % of the pairs: numbers in which all pairs count equally mainly describe it."
        )
    return texts


def _about_ratings(inputs: Inputs) -> list[str]:
    """Ratings that a wrong unit would explain."""
    if inputs.ratings is None:
        return []
    rows, texts = inputs.ratings.rows, []
    for scale, values in rows.groupby("scale", observed=True)["value"]:
        if len(values) >= _ENOUGH_TO_DOUBT and values.max() <= _LOW_ON_SCALE:
            texts.append(f"No {scale} rating exceeds a tenth of its scale: is it the right scale (a VAS in cm)?")
    last_s = inputs.scores.segments.groupby("recording", observed=True)["end_s"].max()
    late = int((rows["end_s"] > rows["recording"].map(last_s.to_dict()) + _LATE_S).sum())
    if late:
        verb = "ends" if late == 1 else "end"
        texts.append(
            f"{counted(late, 'rating')} {verb} more than {_LATE_S:.0f} s after the recording: are times in seconds?"
        )
    return texts
