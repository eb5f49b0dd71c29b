"""Answers to checklist items from the document, as far as it has them."""

from __future__ import annotations

from math import isfinite

from avpenet_cli.phrasing import count, counted, number
from avpenet_cli.report.document import ReportDocument
from avpenet_cli.report.document.agreement import AgreementSection
from avpenet_cli.report.document.groups import MODALITIES, QUALITY_FLAGS
from avpenet_cli.report.document.review import AnswerStatus
from avpenet_cli.report.estimates import Style, format_estimate
from avpenet_cli.stats.estimate import Estimate

NO_PAIRS = "There are no ratings to pair with the scores."

Answer = tuple[AnswerStatus, str]
"""Where the answer comes from, and full sentences; they include what a person has to add."""
Item = tuple[str, str, Answer]
"""Number in the guideline, empty where not given here; the item in our words; the answer."""


def person(text: str) -> Answer:
    """An answer that the authors have to give or complete."""
    return ("needs a person", text)


def title(doc: ReportDocument) -> Answer:
    """Title of the report."""
    return ("from configuration", f"This report is titled \u201c{doc.title}\u201d.")


def device(doc: ReportDocument) -> Answer:
    """The program and its weights."""
    text = f"avpenet {doc.software['avpenet']} with the weights {doc.weights.mark or 'of unknown name'}."
    if doc.weights.intended_use:
        return ("from configuration", f"{text} Intended use: {doc.weights.intended_use}")
    return person(f"{text} Their intended use is not known: no manifest describes them.")


def subjects(doc: ReportDocument) -> str:
    """Number of subjects, and whether it is one for each recording because no table says whose they are."""
    assumed = "" if doc.inputs.subjects else " (one for each recording, without a table of subjects)"
    return f"{counted(doc.headline.n_subjects, 'subject')}{assumed}"


def sample_size(doc: ReportDocument) -> Answer:
    """Numbers included; the reason for them is the authors'."""
    head = doc.headline
    return person(
        f"Included were {subjects(doc)}, {counted(head.n_recordings, 'recording')} and "
        f"{counted(head.n_raters, 'rater')}. Say how these numbers were chosen."
    )


def rating_process(doc: ReportDocument) -> Answer:
    """Scales, times and the reference."""
    reference = doc.inputs.reference
    if reference is None:
        return person(NO_PAIRS)
    hold = number(doc.settings.hold_s, 1)
    return person(
        f"Scales: {', '.join(reference.scales)}, all rescaled to 0-10. A rating given at one time holds for {hold} s. "
        "A segment's reference is the median over raters of the median of each rater's ratings in it. Say what the "
        "raters saw and heard, and when."
    )


def statistical_analysis(doc: ReportDocument) -> Answer:
    """Method and intervals."""
    agreement = doc.agreement
    if not agreement:
        return ("from configuration", "Description only; see Methods and sources.")
    settings = doc.settings
    return (
        "from configuration",
        f"Bland-Altman analysis ({agreement.limits.method}), {100 * settings.confidence:g} % confidence intervals with "
        f"the subject as the unit, {count(settings.bootstrap_replicates)} bootstrap resamples (seed {settings.seed}); "
        "see Methods and sources.",
    )


def included(doc: ReportDocument) -> Answer:
    """Numbers included."""
    head = doc.headline
    text = (
        f"{subjects(doc)}, {counted(head.n_recordings, 'recording')}, "
        f"{counted(head.n_segments, 'segment')} of which {count(head.n_scored)} scored, "
        f"{counted(head.n_raters, 'rater')}, {counted(head.n_pairs, 'pair')} of score and rating."
    )
    return ("from data", text)


def characteristics(doc: ReportDocument) -> Answer:
    """Columns that describe subjects."""
    columns = [stratum.column for stratum in doc.strata or () if stratum.column not in (QUALITY_FLAGS, MODALITIES)]
    known = f"Subjects are described by {', '.join(columns)}; see Subjects and groups. " if columns else ""
    return person(f"{known}Describe the raters' training and experience{'.' if known else ' and the subjects.'}")


def main_estimates(doc: ReportDocument) -> Answer:
    """Bias, ICC and kappa with their intervals."""
    if doc.agreement is None or doc.reliability is None or doc.classes is None:
        return person(NO_PAIRS)
    bias = format_estimate(doc.agreement.limits.bias, "signed")
    icc = format_estimate(doc.reliability.icc_a1, "coefficient")
    kappa = format_estimate(doc.classes.kappa_quadratic, "coefficient")
    return ("from data", f"Bias {bias} points; ICC(A,1) {icc}; quadratically weighted kappa {kappa}.")


def meaning(doc: ReportDocument) -> Answer:
    """The verdict."""
    verdict = doc.verdict
    if verdict.result == "NOT ASKED":
        return person("No acceptance limit was given. Say what differences of this size mean for patients.")
    return person(
        f"Verdict {verdict.result} against \u00b1{number(verdict.limit_points)} points. Say what it means for patients."
    )


def details(doc: ReportDocument) -> Answer:
    """Files with all numbers."""
    return (
        "from configuration",
        "The .json file beside this page has every number, the .review.csv file every segment to review, and the "
        ".review.m3u8 file plays them.",
    )


def acceptance_limit(doc: ReportDocument) -> Answer:
    """The limit and its source."""
    verdict = doc.verdict
    if verdict.result == "NOT ASKED":
        return person("No limit was given to this report. If there is one, say where and when it was set.")
    return person(
        f"\u00b1{number(verdict.limit_points)} points, source: {verdict.limit_source or 'not stated'}. Confirm "
        "that it was set before the scores were seen."
    )


def data_structure(doc: ReportDocument) -> Answer:
    """Pairs per subject."""
    agreement = doc.agreement
    if not agreement:
        return ("from data", NO_PAIRS)
    limits = agreement.limits
    return (
        "from data",
        f"{counted(limits.n_pairs, 'pair')} of {counted(limits.n_subjects, 'subject')} "
        f"({number(limits.n_pairs / limits.n_subjects, 1)} per subject on average), "
        f"{counted(doc.headline.n_raters, 'rater')}; treated as {limits.method}.",
    )


def repeatability(doc: ReportDocument) -> Answer:
    """Of the program and between raters."""
    model = "A run repeated with the same software, weights and device gives the same scores."
    if doc.raters is None or not doc.raters.sets:
        return person(f"{model} No segment has two raters: their repeatability cannot be estimated from these data.")
    largest = doc.raters.sets[0]
    return (
        "from data",
        f"{model} Between raters: ICC(A,1) {format_estimate(largest.icc.icc_a1, 'coefficient')} over "
        f"{counted(largest.icc.n_targets, 'segment')} by {counted(len(largest.raters), 'rater')}. "
        "Repeated ratings by the same rater are not in these data.",
    )


def plots(agreement: AgreementSection | None) -> Answer:
    """Plots and slopes."""
    if not agreement:
        return ("from data", NO_PAIRS)
    slope = format_estimate(agreement.proportional_bias.slope, "slope")
    spread = format_estimate(agreement.heteroscedasticity.slope, "slope")
    skew = format_estimate(agreement.shape.skew)
    return (
        "from data",
        f"See the Bland-Altman plots, the histogram and the normal plot. Slope of the difference on the mean {slope}, "
        f"of its spread {spread}; skew {skew}.",
    )


def transformation(agreement: AgreementSection | None) -> Answer:
    """None is made."""
    if not agreement:
        return ("from data", NO_PAIRS)
    return (
        "from configuration",
        "No transformation: the scale has ends at 0 and 10. Limits that follow the trend and limits from percentiles "
        "are given as well.",
    )


def bias_given(agreement: AgreementSection | None, *, precision: bool) -> Answer:
    """The bias, with or without its precision."""
    if not agreement:
        return ("from data", NO_PAIRS)
    limits = agreement.limits
    if precision:
        sd = _points(limits.sd_estimate, "points")
        return ("from data", f"Bias {_points(limits.bias)}; SD of the differences {sd}.")
    return ("from data", f"Bias {number(limits.bias.value, signed=True)} points; drawn in both Bland-Altman plots.")


def limits_given(agreement: AgreementSection | None, *, precision: bool) -> Answer:
    """The limits of agreement, with or without their precision."""
    if not agreement:
        return ("from data", NO_PAIRS)
    lower, upper = agreement.limits.lower, agreement.limits.upper
    if precision or not (lower.computable and upper.computable):
        return ("from data", f"Lower limit {_points(lower)}; upper limit {_points(upper)}.")
    both = f"{number(lower.value, signed=True)} and {number(upper.value, signed=True)} points"
    return ("from data", f"{both}; drawn in both Bland-Altman plots.")


def _points(estimate: Estimate, style: Style = "signed") -> str:
    text = format_estimate(estimate, style)
    return f"{text} points" if text.computable and (text.bounded or not text.interval) else str(text)


def measured_range(doc: ReportDocument) -> Answer:
    """Range of the reference."""
    reference = doc.distribution.reference
    if reference is None or not reference.n:
        return ("from data", NO_PAIRS)
    return (
        "from data",
        f"The reference runs from {number(reference.min, 1)} to {number(reference.max, 1)} of 0 to 10, the "
        f"middle half from {number(reference.q25, 1)} to {number(reference.q75, 1)}. "
        f"{doc.distribution.range_note}".rstrip(),
    )


def variance(agreement: AgreementSection | None) -> Answer:
    """Spread between and within subjects."""
    if not agreement:
        return ("from data", NO_PAIRS)
    limits = agreement.limits
    if not (isfinite(limits.between_sd) and isfinite(limits.within_sd)):
        return ("from data", f"Method: {limits.method}; the subject is the unit of every interval.")
    return (
        "from data",
        f"SD of the difference between subjects {number(limits.between_sd)}, within subjects "
        f"{number(limits.within_sd)} points; the subject is the unit of every interval.",
    )


def software(doc: ReportDocument) -> Answer:
    """Names and versions."""
    listed = ", ".join(f"{name} {version}" for name, version in doc.software.items())
    return ("from configuration", f"{listed}.")


def assumptions(agreement: AgreementSection | None) -> Answer:
    """On the distribution of the differences."""
    if not agreement:
        return ("from data", NO_PAIRS)
    return (
        "from configuration",
        "Limits of agreement and their intervals assume that differences are normal around each subject's mean; the "
        "limits from percentiles do not.",
    )
