"""The page's first sentence: what the numbers mean for a single segment, in plain words."""

from __future__ import annotations

import re

from avpenet_cli.phrasing import number
from avpenet_cli.report.document import ReportDocument
from avpenet_cli.report.document.agreement import AgreementSection
from avpenet_cli.report.document.provenance import RatingsFile
from avpenet_cli.stats.agreement import Limits

_HOW_OFTEN = " This holds for about 95 of 100 segments."
_HOW_OFTEN_IN_SAMPLE = " This holds for about 95 of 100 segments of the sample, whose mix is not the archive's."
_UNRATED = "There are no human ratings in this report. Nothing on this page says how right or wrong the scores are."
# Names of raters that say who rated, and the rating in words for one such rater and for several.
_KINDS = (
    (r"self\b.*|patients?\b.*", "the patients' own rating", "the patients' own rating"),
    (r"nurse.*", "the nurse's rating", "the nurses' rating"),
    (r"(physician|doctor).*", "the physician's rating", "the physicians' rating"),
    (r"(parent|mother|father).*", "the parent's rating", "the parents' rating"),
    (r"truth", "the known true value", "the known true value"),
)


def summary(document: ReportDocument) -> str:
    """How far a score may lie from the rating, or why that is not known."""
    comparison = document.comparison
    if document.agreement is not None and document.inputs.reference is not None:
        return _against_ratings(document, document.agreement, rating_in_words(document.inputs.reference))
    if comparison is None:
        return _UNRATED
    if comparison.agreement is None:
        return f"No segment has a score in both tables. {_UNRATED}"
    limits = comparison.agreement.limits
    if not _known(limits):
        return f"How far the two tables differ for a single segment is not known: {limits.lower.reason}. {_UNRATED}"
    distance = _distance(limits, _segment(document), "the other table's score", "this table's")
    return f"{distance} There are no human ratings: nothing on this page says how right or wrong either is."


def rating_in_words(reference: RatingsFile) -> str:
    """The reference by who rated, as far as the raters' names say: "the nurses' rating"; else "the human rating"."""
    raters = [rater.strip().casefold() for rater in reference.raters]
    for pattern, one, several in _KINDS:
        if all(re.fullmatch(pattern, rater) for rater in raters):
            return one if len(raters) == 1 else several
    return "the human rating"


def _against_ratings(document: ReportDocument, agreement: AgreementSection, rating: str) -> str:
    limits = agreement.limits
    if _known(limits):
        of_archive = document.sample is None or document.sample.equal_fractions
        how_often = _HOW_OFTEN if of_archive else _HOW_OFTEN_IN_SAMPLE
        return _distance(limits, _segment(document), "the score", rating) + how_often
    if limits.n_subjects > 1 or document.error is None:
        return f"How far a single score may lie from {rating} is not known: {limits.lower.reason}."
    mae = document.error.accuracy.mae
    if not mae.computable:
        return f"How far a single score may lie from {rating} is not known: only one segment was rated."
    rating = rating.replace("patients'", "patient's")
    return (
        f"Only one subject was rated. There, the score differs from {rating} by {number(mae.value, 1)} points on "
        "average; one subject cannot show how far it differs in others."
    )


def _known(limits: Limits) -> bool:
    return limits.lower.computable and limits.upper.computable


def _segment(document: ReportDocument) -> str:
    length_s = document.headline.segment_s
    return "segment" if length_s is None else f"{round(length_s, 1):g}-second segment"


def _distance(limits: Limits, segment: str, score: str, rating: str) -> str:
    """Where `score` lies around `rating`, from the limits of agreement."""
    segment = f"For a single {segment}, {score}"
    lower, upper = limits.lower.value, limits.upper.value
    if lower < 0 < upper:
        return f"{segment} may lie up to {number(upper, 1)} points above or {number(-lower, 1)} below {rating}."
    side, near, far = ("above", lower, upper) if lower >= 0 else ("below", -upper, -lower)
    if number(near, 1) == number(far, 1):
        return f"{segment} lies {number(near, 1)} points {side} {rating}."
    return f"{segment} lies between {number(near, 1)} and {number(far, 1)} points {side} {rating}."
