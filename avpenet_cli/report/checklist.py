"""What two reporting guidelines ask of an agreement study, answered from the document as far as possible.

GRRAS: Kottner et al. 2011, J Clin Epidemiol 64:96 (15 items). Bland-Altman items: the 13 of Abu-Arafeh et al. 2016
(Br J Anaesth 117:569) as Gerke 2020 numbers them (Diagnostics 10:334, table 2). The items are in our own words.
"""

from __future__ import annotations

from math import isfinite

from avpenet_cli.phrasing import count, counted, number
from avpenet_cli.report.document import ReportDocument
from avpenet_cli.report.document.agreement import AgreementSection
from avpenet_cli.report.document.groups import MODALITIES, QUALITY_FLAGS
from avpenet_cli.report.document.review import AnswerStatus, ChecklistItem
from avpenet_cli.report.estimates import Style, format_estimate
from avpenet_cli.stats.estimate import Estimate

GRRAS = "GRRAS 2011"
GERKE = "Gerke 2020"

_NO_PAIRS = "There are no ratings to pair with the scores."


Answer = tuple[AnswerStatus, str]
"""Where the answer comes from, and full sentences; they include what a person has to add."""


def checklist(document: ReportDocument) -> tuple[ChecklistItem, ...]:
    """The 15 and the 13 items, in the order of their guidelines.

    Args:
        document: complete except for its checklist.
    """
    return tuple(
        ChecklistItem(source, place, item, status, text)
        for source, items in ((GRRAS, _grras(document)), (GERKE, _gerke(document)))
        for place, (item, (status, text)) in enumerate(items, 1)
    )


def _grras(doc: ReportDocument) -> list[tuple[str, Answer]]:
    return [
        ("The title or abstract says that agreement or reliability was studied", _title(doc)),
        ("The measuring device is named and described", _device(doc)),
        ("The population of subjects is stated", _person("Say who the recorded patients are and where.")),
        ("The population of raters is stated", _person("Say who the raters are and what they rate in daily work.")),
        ("What was known before, and why the study was done", _person("Give the reason for this comparison.")),
        ("How the numbers of subjects, raters and repetitions were chosen", _sample_size(doc)),
        ("How subjects and raters were sampled", _person("Say whether all eligible recordings were taken, or which.")),
        ("How ratings were made: timing, available information, blinding", _process(doc)),
        (
            "Whether ratings were made independently",
            _person("The scores never use a rating. Say whether raters saw the scores or each other's ratings."),
        ),
        ("The statistical analysis is described", _analysis(doc)),
        ("How many subjects, raters and repetitions were included", _included(doc)),
        ("Characteristics of subjects and raters", _characteristics(doc)),
        ("Agreement and reliability are given with their uncertainty", _estimates(doc)),
        ("What the results mean in practice", _meaning(doc)),
        ("Detailed results are available", _details(doc)),
    ]


def _gerke(doc: ReportDocument) -> list[tuple[str, Answer]]:
    agreement = doc.agreement
    return [
        ("Acceptable limits were set beforehand", _limit(doc)),
        ("The structure of the data is described: raters, repetitions", _structure(doc)),
        ("The repeatability of each method is estimated where possible", _repeatability(doc)),
        ("Plots show whether differences are normal, without trend and of even spread", _plots(agreement)),
        ("Data were transformed where the plots call for it", _transformation(agreement)),
        ("The bias is plotted and given as a number", _bias(agreement, precision=False)),
        ("The bias has its precision", _bias(agreement, precision=True)),
        ("The limits of agreement are plotted and given as numbers", _limits(agreement, precision=False)),
        ("The limits of agreement have their precision", _limits(agreement, precision=True)),
        ("The measured range is wide enough", _range(doc)),
        ("Variance between and within subjects, or intervals that respect repeated measures", _variance(agreement)),
        ("The software is named", _software(doc)),
        ("Assumptions on the distribution are stated", _assumptions(agreement)),
    ]


def _person(text: str) -> Answer:
    return ("needs a person", text)


def _title(doc: ReportDocument) -> Answer:
    return ("from configuration", f"This report is titled \u201c{doc.title}\u201d.")


def _device(doc: ReportDocument) -> Answer:
    text = f"avpenet {doc.software['avpenet']} with the weights {doc.weights.mark or 'of unknown name'}."
    if doc.weights.intended_use:
        return ("from configuration", f"{text} Intended use: {doc.weights.intended_use}")
    return _person(f"{text} Their intended use is not known: no manifest describes them.")


def _sample_size(doc: ReportDocument) -> Answer:
    head = doc.headline
    return _person(
        f"Included were {counted(head.n_subjects, 'subject')}, {counted(head.n_recordings, 'recording')} and "
        f"{counted(head.n_raters, 'rater')}. Say how these numbers were chosen."
    )


def _process(doc: ReportDocument) -> Answer:
    reference = doc.inputs.reference
    if reference is None:
        return _person(_NO_PAIRS)
    hold = number(doc.settings.hold_s, 1)
    return _person(
        f"Scales: {', '.join(reference.scales)}, all rescaled to 0-10. A rating given at one time holds for {hold} s. "
        "A segment's reference is the median over raters of the median of each rater's ratings in it. Say what the "
        "raters saw and heard, and when."
    )


def _analysis(doc: ReportDocument) -> Answer:
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


def _included(doc: ReportDocument) -> Answer:
    head = doc.headline
    text = (
        f"{counted(head.n_subjects, 'subject')}, {counted(head.n_recordings, 'recording')}, "
        f"{counted(head.n_segments, 'segment')} of which {count(head.n_scored)} scored, "
        f"{counted(head.n_raters, 'rater')}, {counted(head.n_pairs, 'pair')} of score and rating."
    )
    return ("from data", text)


def _characteristics(doc: ReportDocument) -> Answer:
    columns = [stratum.column for stratum in doc.strata or () if stratum.column not in (QUALITY_FLAGS, MODALITIES)]
    known = f"Subjects are described by {', '.join(columns)}; see Subjects and groups. " if columns else ""
    return _person(f"{known}Describe the raters' training and experience{'.' if known else ' and the subjects.'}")


def _estimates(doc: ReportDocument) -> Answer:
    if doc.agreement is None or doc.reliability is None or doc.classes is None:
        return _person(_NO_PAIRS)
    bias = format_estimate(doc.agreement.limits.bias, "signed")
    icc = format_estimate(doc.reliability.icc_a1, "coefficient")
    kappa = format_estimate(doc.classes.kappa_quadratic, "coefficient")
    return ("from data", f"Bias {bias} points; ICC(A,1) {icc}; quadratically weighted kappa {kappa}.")


def _meaning(doc: ReportDocument) -> Answer:
    verdict = doc.verdict
    if verdict.result == "NOT ASKED":
        return _person("No acceptance limit was given. Say what differences of this size mean for patients.")
    return _person(
        f"Verdict {verdict.result} against \u00b1{number(verdict.limit_points)} points. Say what it means for patients."
    )


def _details(doc: ReportDocument) -> Answer:
    return (
        "from configuration",
        "The .json file beside this page has every number, the .review.csv file every segment to review, and the "
        ".review.m3u8 file plays them.",
    )


def _limit(doc: ReportDocument) -> Answer:
    verdict = doc.verdict
    if verdict.result == "NOT ASKED":
        return _person("No limit was given to this report. If there is one, say where and when it was set.")
    return _person(
        f"\u00b1{number(verdict.limit_points)} points, source: {verdict.limit_source or 'not stated'}. Confirm "
        "that it was set before the scores were seen."
    )


def _structure(doc: ReportDocument) -> Answer:
    agreement = doc.agreement
    if not agreement:
        return ("from data", _NO_PAIRS)
    limits = agreement.limits
    return (
        "from data",
        f"{counted(limits.n_pairs, 'pair')} of {counted(limits.n_subjects, 'subject')} "
        f"({number(limits.n_pairs / limits.n_subjects, 1)} per subject on average), "
        f"{counted(doc.headline.n_raters, 'rater')}; treated as {limits.method}.",
    )


def _repeatability(doc: ReportDocument) -> Answer:
    model = "A run repeated with the same software, weights and device gives the same scores."
    if doc.raters is None or not doc.raters.sets:
        return _person(f"{model} No segment has two raters: their repeatability cannot be estimated from these data.")
    largest = doc.raters.sets[0]
    return (
        "from data",
        f"{model} Between raters: ICC(A,1) {format_estimate(largest.icc.icc_a1, 'coefficient')} over "
        f"{counted(largest.icc.n_targets, 'segment')} by {counted(len(largest.raters), 'rater')}. "
        "Repeated ratings by the same rater are not in these data.",
    )


def _plots(agreement: AgreementSection | None) -> Answer:
    if not agreement:
        return ("from data", _NO_PAIRS)
    slope = format_estimate(agreement.proportional_bias.slope, "slope")
    spread = format_estimate(agreement.heteroscedasticity.slope, "slope")
    skew = format_estimate(agreement.shape.skew)
    return (
        "from data",
        f"See the Bland-Altman plots, the histogram and the normal plot. Slope of the difference on the mean {slope}, "
        f"of its spread {spread}; skew {skew}.",
    )


def _transformation(agreement: AgreementSection | None) -> Answer:
    if not agreement:
        return ("from data", _NO_PAIRS)
    return (
        "from configuration",
        "No transformation: the scale has ends at 0 and 10. Limits that follow the trend and limits from percentiles "
        "are given as well.",
    )


def _bias(agreement: AgreementSection | None, *, precision: bool) -> Answer:
    if not agreement:
        return ("from data", _NO_PAIRS)
    limits = agreement.limits
    if precision:
        sd = _points(limits.sd_estimate, "points")
        return ("from data", f"Bias {_points(limits.bias)}; SD of the differences {sd}.")
    return ("from data", f"Bias {number(limits.bias.value, signed=True)} points; drawn in both Bland-Altman plots.")


def _limits(agreement: AgreementSection | None, *, precision: bool) -> Answer:
    if not agreement:
        return ("from data", _NO_PAIRS)
    lower, upper = agreement.limits.lower, agreement.limits.upper
    if precision or not (lower.computable and upper.computable):
        return ("from data", f"Lower limit {_points(lower)}; upper limit {_points(upper)}.")
    both = f"{number(lower.value, signed=True)} and {number(upper.value, signed=True)} points"
    return ("from data", f"{both}; drawn in both Bland-Altman plots.")


def _points(estimate: Estimate, style: Style = "signed") -> str:
    text = format_estimate(estimate, style)
    return f"{text} points" if text.computable and (text.bounded or not text.interval) else str(text)


def _range(doc: ReportDocument) -> Answer:
    reference = doc.distribution.reference
    if reference is None or not reference.n:
        return ("from data", _NO_PAIRS)
    return (
        "from data",
        f"The reference runs from {number(reference.min, 1)} to {number(reference.max, 1)} of 0 to 10, the "
        f"middle half from {number(reference.q25, 1)} to {number(reference.q75, 1)}. "
        f"{doc.distribution.range_note}".rstrip(),
    )


def _variance(agreement: AgreementSection | None) -> Answer:
    if not agreement:
        return ("from data", _NO_PAIRS)
    limits = agreement.limits
    if not (isfinite(limits.between_sd) and isfinite(limits.within_sd)):
        return ("from data", f"Method: {limits.method}; the subject is the unit of every interval.")
    return (
        "from data",
        f"SD of the difference between subjects {number(limits.between_sd)}, within subjects "
        f"{number(limits.within_sd)} points; the subject is the unit of every interval.",
    )


def _software(doc: ReportDocument) -> Answer:
    listed = ", ".join(f"{name} {version}" for name, version in doc.software.items())
    return ("from configuration", f"{listed}.")


def _assumptions(agreement: AgreementSection | None) -> Answer:
    if not agreement:
        return ("from data", _NO_PAIRS)
    return (
        "from configuration",
        "Limits of agreement and their intervals assume that differences are normal around each subject's mean; the "
        "limits from percentiles do not.",
    )
