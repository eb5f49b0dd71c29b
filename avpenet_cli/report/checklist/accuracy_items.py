"""Topics of STARD-AI, the guideline for studies of diagnostic accuracy of AI systems, in our own words.

Its numbers are left out: take them from the published checklist.
"""

from __future__ import annotations

from avpenet_cli.phrasing import number
from avpenet_cli.report.checklist import answers
from avpenet_cli.report.checklist import study_answers as study
from avpenet_cli.report.checklist.answers import Answer, Item, person
from avpenet_cli.report.checklist.study_answers import authors
from avpenet_cli.report.document import ReportDocument


def stard_ai(doc: ReportDocument) -> list[Item]:
    """Topics of the guideline (Sounderajah et al. 2025, Nat Med, doi 10.1038/s41591-025-03953-8), without numbers."""
    return [("", item, answer) for item, answer in [*_before(doc), *_methods(doc), *_results(doc), *_other(doc)]]


def _before(doc: ReportDocument) -> list[tuple[str, Answer]]:
    return [
        ("Title or abstract: accuracy of an AI system, with a measure of accuracy", person(_title(doc))),
        ("Structured abstract", authors()),
        ("Background, intended use and role of the system", study.intended_use(doc)),
        ("Objectives and hypotheses", authors()),
    ]


def _methods(doc: ReportDocument) -> list[tuple[str, Answer]]:
    return [
        ("Design: data collected before or after system and reference were planned", authors()),
        ("Ethics approval", authors()),
        ("Who could take part", authors()),
        ("How, where and when participants were found", authors()),
        ("Consecutive, random or convenience series", authors()),
        ("Datasets: source, preparation, annotation", study.preparation(doc)),
        ("Separation of the data for training from these", study.training_data(doc)),
        ("The system: version, input, output, hardware", person(f"{study.model(doc)} {_device(doc)}")),
        ("Input of the system, and what it cannot use", study.inputs(doc)),
        ("Reference standard, and why it was chosen", answers.rating_process(doc)),
        ("Cut points of system and reference, set beforehand or not", study.cut_points(doc)),
        (
            "What was known to those who ran the system and to the raters",
            person("The scores never use a rating. To be stated by the authors: whether raters saw the scores."),
        ),
        ("Measures of accuracy and how they were compared", study.measures(doc)),
        ("Results that cannot be used, and missing data", study.missing(doc)),
        ("Variation between groups, algorithmic bias and fairness", study.fairness(doc)),
        ("Intended sample size", answers.sample_size(doc)),
    ]


def _results(doc: ReportDocument) -> list[tuple[str, Answer]]:
    return [
        ("Flow of participants", study.flow(doc)),
        ("Characteristics of participants", answers.characteristics(doc)),
        ("Severity in those with the condition", study.distribution(doc)),
        (
            "Time between system and reference",
            (
                "from configuration",
                "A score is compared with ratings of the same seconds; a rating given at one time holds for "
                f"{number(doc.settings.hold_s, 1)} s.",
            ),
        ),
        ("Cross table of system and reference", study.cross_table(doc)),
        ("Accuracy and its precision", study.performance(doc)),
        ("Errors of the system looked at", answers.details(doc)),
        ("Adverse events of system or reference", authors()),
    ]


def _other(doc: ReportDocument) -> list[tuple[str, Answer]]:
    return [
        ("Limitations, bias and applicability", study.limitations(doc)),
        ("Implications for practice", answers.meaning(doc)),
        ("Registration", authors()),
        ("Protocol", authors()),
        ("Funding and conflicts of interest", authors()),
        ("Access to data, code and model", study.code(doc)),
    ]


def _title(doc: ReportDocument) -> str:
    return f"This report is titled \u201c{doc.title}\u201d. To be stated by the authors: that the system uses AI."


def _device(doc: ReportDocument) -> str:
    devices = sorted({file.run.device for file in doc.inputs.scores if file.run is not None and file.run.device})
    known = f"Device: {', '.join(devices)}. " if devices else ""
    return f"{known}To be stated by the authors: cameras and microphones."
