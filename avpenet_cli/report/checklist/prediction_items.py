"""Items of TRIPOD+AI, the guideline for studies of prediction models, in our own words."""

from __future__ import annotations

from avpenet_cli.report.checklist import answers
from avpenet_cli.report.checklist import study_answers as study
from avpenet_cli.report.checklist.answers import Item, person
from avpenet_cli.report.checklist.study_answers import authors
from avpenet_cli.report.document import ReportDocument


def tripod_ai(doc: ReportDocument) -> list[Item]:
    """The items that concern the evaluation of a model (Collins et al. 2024, BMJ 385:e078378)."""
    return [*_introduction(doc), *_methods(doc), *_open_science(doc), *_results(doc), *_discussion(doc)]


def _introduction(doc: ReportDocument) -> list[Item]:
    titled = f"This report is titled \u201c{doc.title}\u201d."
    return [
        (
            "1",
            "Title: evaluation of a prediction model, its patients and outcome",
            person(f"{titled} Name the patients."),
        ),
        ("2", "Abstract by the guideline's list for abstracts", authors()),
        ("3a", "Clinical context, reason for the evaluation, existing models", authors()),
        ("3b", "Patients and purpose the model is meant for, and its users", study.intended_use(doc)),
        ("3c", "Known inequalities in health between groups", authors()),
        (
            "4",
            "Objectives: development, evaluation, or both",
            person(f"Evaluation only, of {study.model(doc)} To be stated by the authors: the objectives."),
        ),
    ]


def _methods(doc: ReportDocument) -> list[Item]:
    return [
        ("5a", "Sources of the data, and how representative they are", authors()),
        ("5b", "Dates between which data were collected", authors()),
        ("6a", "Setting, number and place of centres", authors()),
        ("6b", "Who could take part", authors()),
        ("6c", "Treatments received", authors("analgesia and procedures")),
        ("7", "Preparation of the data and checks of their quality", study.preparation(doc)),
        ("8a", "Outcome: definition, how and when it was assessed", answers.rating_process(doc)),
        ("8b", "Who assessed the outcome", person(_raters(doc))),
        (
            "8c",
            "Blinding of those who assessed the outcome",
            person("The scores never use a rating. To be stated by the authors: whether raters saw the scores."),
        ),
        ("9b", "Predictors: definition, how and when they were measured", study.inputs(doc)),
        (
            "9c",
            "Who assessed predictors that need judgement",
            ("from configuration", "Nobody: the program computes them."),
        ),
        ("10", "How the size of the study was chosen", answers.sample_size(doc)),
        ("11", "Missing data", study.missing(doc)),
        ("12d", "Differences between clusters such as centres", study.heterogeneity(doc)),
        ("12e", "Measures and plots of performance", study.measures(doc)),
        ("12f", "Updating of the model", ("from configuration", _NOT_UPDATED)),
        ("12g", "How predictions were computed", ("from configuration", f"By {study.model(doc)}")),
        (
            "13",
            "Methods for imbalance of classes",
            ("from configuration", "No such method was used in this evaluation."),
        ),
        ("14", "Methods for fairness", study.fairness(doc)),
        ("16", "Differences between the data for training and these", study.training_data(doc)),
        ("17", "Ethics approval and consent", authors()),
    ]


_NOT_UPDATED = (
    "The model was not updated: the scores are reported as they are. Only the probabilities of the Brier score come "
    "from a logistic curve, fitted without the subject it is applied to."
)


def _open_science(doc: ReportDocument) -> list[Item]:
    return [
        ("18a", "Funding", authors()),
        ("18b", "Conflicts of interest", authors()),
        ("18c", "Protocol", authors()),
        ("18d", "Registration", authors()),
        ("18e", "Access to the data", authors()),
        ("18f", "Access to the code of the analysis", study.code(doc)),
        ("19", "Involvement of patients and the public", authors()),
    ]


def _results(doc: ReportDocument) -> list[Item]:
    return [
        ("20a", "Flow of participants, with and without the outcome", study.flow(doc)),
        ("20b", "Characteristics of participants", answers.characteristics(doc)),
        ("20c", "Comparison with the data for training", study.training_data(doc)),
        ("21", "Participants and outcome events in each analysis", study.events(doc)),
        ("23a", "Performance with confidence intervals, also in groups", study.performance(doc)),
        ("23b", "Differences in performance between clusters", study.heterogeneity(doc)),
        ("24", "Results of updating the model", ("from configuration", _NOT_UPDATED)),
    ]


def _discussion(doc: ReportDocument) -> list[Item]:
    return [
        ("25", "Interpretation, fairness included", answers.meaning(doc)),
        ("26", "Limitations", study.limitations(doc)),
        ("27c", "Next steps, and where the model can be used", authors()),
    ]


def _raters(doc: ReportDocument) -> str:
    raters = doc.headline.n_raters
    known = f"{raters} rater{'' if raters == 1 else 's'}. " if raters else ""
    return f"{known}To be stated by the authors: their training and experience."
