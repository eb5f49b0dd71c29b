"""Answers to items on diagnostic accuracy and prediction that the document has."""

from __future__ import annotations

from math import isfinite

from avpenet_cli.phrasing import count, counted, number, percent
from avpenet_cli.report.checklist.answers import NO_PAIRS, Answer, person, subjects
from avpenet_cli.report.document import ReportDocument
from avpenet_cli.report.document.groups import MODALITIES, QUALITY_FLAGS
from avpenet_cli.report.estimates import format_estimate
from avpenet_cli.stats.classes import LABELS


def authors(what: str = "") -> Answer:
    """An answer that the files do not have any part of."""
    return person(f"To be stated by the authors{': ' if what else ''}{what}.")


def _sentence(text: str) -> str:
    return text if text.endswith((".", "!", "?")) else f"{text}."


def model(doc: ReportDocument) -> str:
    """Program and weights, in a sentence."""
    weights = doc.weights
    named = f"{weights.name or 'unnamed'}, digest {weights.digest[:12] or 'not known'}"
    return f"avpenet {doc.software['avpenet']} with the weights {named}."


def intended_use(doc: ReportDocument) -> Answer:
    """What the weights' description says they are for."""
    if not doc.weights.intended_use:
        return authors("purpose, place in care, and users")
    return person(
        f"According to the weights' description: {_sentence(doc.weights.intended_use)} "
        "To be stated by the authors: place in care, and users."
    )


def training_data(doc: ReportDocument) -> Answer:
    """What the weights' description says they were trained on."""
    if not doc.weights.training_data:
        return authors("what the weights were trained on, and how those data differ from these")
    return person(
        f"According to the weights' description, they were trained on: {_sentence(doc.weights.training_data)} "
        "To be stated by the authors: how those data differ from these, and that no patient is in both."
    )


def inputs(doc: ReportDocument) -> Answer:
    """What a score is computed from."""
    made_from = ", ".join(
        f"{row.modalities.replace('+', ' and ') or 'not known'} {count(row.segments)}"
        for row in doc.coverage.modalities
    )
    length_s = doc.headline.segment_s
    length = "" if length_s is None else f" of {round(length_s, 1):g} s"
    text = f"Frames and audio of segments{length}; no ratings and no data of the patient record."
    return ("from data", f"{text} Scored segments by what they were made from: {made_from}." if made_from else text)


def preparation(doc: ReportDocument) -> Answer:
    """Where settings and quality flags are."""
    kinds = len(doc.quality.flags)
    flagged = f"{counted(kinds, 'kind')} of quality flag{' occurs' if kinds == 1 else 's occur'}; see What was scored."
    verified = [file.manifest_state == "verified" for file in doc.inputs.scores]
    if verified == [True]:
        return ("from configuration", f"By the settings in the run manifest, for all recordings. {flagged}")
    if all(verified):
        return person(
            "By the settings in the run manifests, each for all recordings of its table. "
            f"{flagged} To be stated by the authors: whether the settings of all tables are the same."
        )
    return person(f"Not every score table has a verified run manifest, which gives the settings. {flagged}")


def missing(doc: ReportDocument) -> Answer:
    """Segments and recordings without a score or a rating."""
    head, coverage = doc.headline, doc.coverage
    from_manifests = coverage.source == "manifest"
    time = "recorded time" if from_manifests else "segments' time"
    share = "" if coverage.share_scored is None else f" ({percent(coverage.share_scored)} of the {time} has a score)"
    unreadable = (
        f"{counted(len(coverage.failed_recordings), 'recording')} could not be read"
        if from_manifests
        else "how many recordings could not be read is not known without run manifests"
    )
    rated = (
        ""
        if doc.pairing is None or doc.agreement is None
        else (f" {count(head.n_scored - head.n_pairs)} scored segments have no rating.")
    )
    return (
        "from data",
        f"{count(head.n_segments - head.n_scored)} of {counted(head.n_segments, 'segment')} have no score{share}; "
        f"{unreadable}.{rated} They are left out of the comparison, nothing is imputed; What was scored has the "
        "reasons.",
    )


def flow(doc: ReportDocument) -> Answer:
    """From recordings to pairs."""
    head = doc.headline
    return (
        "from data",
        f"{counted(head.n_recordings, 'recording')} of {subjects(doc)}, "
        f"{counted(head.n_segments, 'segment')}, {count(head.n_scored)} of them scored, "
        f"{counted(head.n_pairs, 'pair')} of score and rating of {counted(head.n_pair_subjects, 'subject')}.",
    )


def events(doc: ReportDocument) -> Answer:
    """Pairs above each cut point."""
    if doc.detection is None:
        return ("from data", NO_PAIRS)
    parts = [
        f"{count(row.n_events)} of {count(row.n_events + row.n_others)} pairs are {row.level} "
        f"(reference above {number(row.above_points, 1)})"
        for row in doc.detection
    ]
    return ("from data", f"{'; '.join(parts)}; of {counted(doc.headline.n_pair_subjects, 'subject')}.")


def cut_points(doc: ReportDocument) -> Answer:
    """Cut points, which come with the weights."""
    low, high = (number(cut, 1) for cut in doc.weights.cut_points)
    return person(
        f"{LABELS[0].capitalize()} up to {low}, {LABELS[1]} up to {high}, {LABELS[2]} above, on both sides, as the "
        "weights define them. To be stated by the authors: whether they were set before the study, and why."
    )


def measures(doc: ReportDocument) -> Answer:
    """Statistics of the report."""
    if doc.agreement is None:
        return ("from configuration", "Description only; see Methods and sources.")
    return (
        "from configuration",
        "Bias and limits of agreement, mean absolute error, correlations, ICCs, kappa and per-class sensitivity and "
        "specificity, AUROC and Brier score at the cut points, calibration; 95 % confidence intervals with the subject "
        "as the unit; see Methods and sources.",
    )


def performance(doc: ReportDocument) -> Answer:
    """Accuracy with intervals."""
    if doc.agreement is None or doc.error is None or doc.detection is None:
        return ("from data", NO_PAIRS)
    bias, mae = format_estimate(doc.agreement.limits.bias, "signed"), format_estimate(doc.error.accuracy.mae)
    areas = "; ".join(f"AUROC {row.level} {format_estimate(row.auroc, 'coefficient')}" for row in doc.detection)
    return ("from data", f"Bias {bias} points; mean absolute error {mae} points; {areas}. Groups: Subjects and groups.")


def cross_table(doc: ReportDocument) -> Answer:
    """The confusion matrix."""
    if doc.classes is None:
        return ("from data", NO_PAIRS)
    rows = zip(doc.classes.labels, doc.classes.confusion, strict=True)
    cells = "; ".join(f"{label}: {', '.join(map(count, row))}" for label, row in rows)
    columns = ", ".join(doc.classes.labels)
    return ("from data", f"Pairs by class of the reference, each by class of the score ({columns}): {cells}.")


def fairness(doc: ReportDocument) -> Answer:
    """Gaps between groups of subjects."""
    strata = [row for row in doc.strata or () if row.column not in (QUALITY_FLAGS, MODALITIES)]
    shown = [row.column for row in strata if row.gaps]
    if not shown:
        return person(
            "No groups of subjects could be compared. To be stated by the authors: which groups, and why not."
        )
    return person(
        f"Error gaps between groups, with intervals, by {', '.join(shown)}; see Subjects and groups. To be stated by "
        "the authors: which groups matter, and what the gaps mean."
    )


def heterogeneity(doc: ReportDocument) -> Answer:
    """Spread between subjects, and groups."""
    if doc.agreement is None:
        return ("from data", NO_PAIRS)
    between_sd = doc.agreement.limits.between_sd
    between = f"SD of the difference between subjects: {number(between_sd)}" if isfinite(between_sd) else ""
    columns = [row.column for row in doc.strata or () if row.groups and row.column not in (QUALITY_FLAGS, MODALITIES)]
    if not columns:
        known = f"{between}. " if between else ""
        return person(f"{known}To be stated by the authors: centres or other clusters, which these data do not name.")
    groups = f"bias and error by {', '.join(columns)}"
    return ("from data", f"{'; '.join(filter(None, (between, groups)))}; see Subjects and groups.")


def distribution(doc: ReportDocument) -> Answer:
    """How severe the pain was, by the reference."""
    reference = doc.distribution.reference
    if reference is None or not reference.n:
        return ("from data", NO_PAIRS)
    return (
        "from data",
        f"Reference from {number(reference.min, 1)} to {number(reference.max, 1)} points, the middle half from "
        f"{number(reference.q25, 1)} to {number(reference.q75, 1)}; see Range and spread of the scores.",
    )


def limitations(doc: ReportDocument) -> Answer:
    """The notices of the page, which are limitations."""
    texts = [notice.text for notice in doc.notices]
    known = f"Noticed by the program: {' '.join(texts)} " if texts else ""
    return person(f"{known}To be stated by the authors: limitations of sample, ratings and setting.")


def code(doc: ReportDocument) -> Answer:
    """Program and command."""
    return person(
        f"Analysis: avpenet {doc.software['avpenet']}; Provenance has the command. To be stated by the authors: where "
        "the program and the weights can be had."
    )
