"""Items of two guidelines for studies of agreement, in our own words."""

from __future__ import annotations

from avpenet_cli.report.checklist import answers
from avpenet_cli.report.checklist.answers import Answer, Item, person
from avpenet_cli.report.document import ReportDocument


def grras(doc: ReportDocument) -> list[Item]:
    """The 15 items of GRRAS (Kottner et al. 2011, J Clin Epidemiol 64:96)."""
    return _numbered(
        [
            ("The title or abstract says that agreement or reliability was studied", answers.title(doc)),
            ("The measuring device is named and described", answers.device(doc)),
            ("The population of subjects is stated", person("Say who the recorded patients are and where.")),
            ("The population of raters is stated", person("Say who the raters are and what they rate in daily work.")),
            ("What was known before, and why the study was done", person("Give the reason for this comparison.")),
            ("How the numbers of subjects, raters and repetitions were chosen", answers.sample_size(doc)),
            (
                "How subjects and raters were sampled",
                person("Say whether all eligible recordings were taken, or which."),
            ),
            ("How ratings were made: timing, available information, blinding", answers.rating_process(doc)),
            (
                "Whether ratings were made independently",
                person("The scores never use a rating. Say whether raters saw the scores or each other's ratings."),
            ),
            ("The statistical analysis is described", answers.statistical_analysis(doc)),
            ("How many subjects, raters and repetitions were included", answers.included(doc)),
            ("Characteristics of subjects and raters", answers.characteristics(doc)),
            ("Agreement and reliability are given with their uncertainty", answers.main_estimates(doc)),
            ("What the results mean in practice", answers.meaning(doc)),
            ("Detailed results are available", answers.details(doc)),
        ]
    )


def gerke(doc: ReportDocument) -> list[Item]:
    """The 13 items of Abu-Arafeh et al. 2016 (Br J Anaesth 117:569) as Gerke 2020 (Diagnostics 10:334) numbers them."""
    agreement = doc.agreement
    return _numbered(
        [
            ("Acceptable limits were set beforehand", answers.acceptance_limit(doc)),
            ("The structure of the data is described: raters, repetitions", answers.data_structure(doc)),
            ("The repeatability of each method is estimated where possible", answers.repeatability(doc)),
            ("Plots show whether differences are normal, without trend and of even spread", answers.plots(agreement)),
            ("Data were transformed where the plots call for it", answers.transformation(agreement)),
            ("The bias is plotted and given as a number", answers.bias_given(agreement, precision=False)),
            ("The bias has its precision", answers.bias_given(agreement, precision=True)),
            (
                "The limits of agreement are plotted and given as numbers",
                answers.limits_given(agreement, precision=False),
            ),
            ("The limits of agreement have their precision", answers.limits_given(agreement, precision=True)),
            ("The measured range is wide enough", answers.measured_range(doc)),
            (
                "Variance between and within subjects, or intervals that respect repeated measures",
                answers.variance(agreement),
            ),
            ("The software is named", answers.software(doc)),
            ("Assumptions on the distribution are stated", answers.assumptions(agreement)),
        ]
    )


def _numbered(items: list[tuple[str, Answer]]) -> list[Item]:
    return [(str(place), item, answer) for place, (item, answer) in enumerate(items, 1)]
