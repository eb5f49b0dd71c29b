"""What two reporting guidelines ask of an agreement study, answered from the document as far as it can.

GRRAS: Kottner et al. 2011, J Clin Epidemiol 64:96 (15 items). Bland-Altman items: the 13 of Abu-Arafeh et al. 2016
(Br J Anaesth 117:569) as Gerke 2020 numbers them (Diagnostics 10:334, table 2). The items are in our own words.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from avpenet_cli.phrasing import count, counted, number, worded

Document = Mapping[str, Any]
Status = Literal["from data", "from configuration", "needs a person"]

GRRAS = "GRRAS 2011"
GERKE = "Gerke 2020"

_NO_PAIRS = "There are no ratings to pair with the scores."


@dataclass(frozen=True)
class Answer:
    """To one item.

    Attributes:
        status: where the answer comes from; `needs a person` where the program cannot know all of it.
        text: full sentences; what a person has to add is said in it.
    """

    status: Status
    text: str


def checklist(document: Document) -> list[dict[str, Any]]:
    """The 15 and the 13 items, in their guidelines' order.

    Args:
        document: of the report, all but its checklist.

    Returns:
        source, number, item, status and answer of each; all JSON-ready.
    """
    found = []
    for source, items in ((GRRAS, _grras(document)), (GERKE, _gerke(document))):
        for place, (item, answer) in enumerate(items, 1):
            found.append(
                {"source": source, "number": place, "item": item, "status": answer.status, "answer": answer.text}
            )
    return found


def _grras(doc: Document) -> list[tuple[str, Answer]]:
    return [
        ("The title or abstract says that agreement or reliability was studied", _title(doc)),
        ("The measuring device is named and described", _device(doc)),
        ("The population of subjects is stated", _person("Say who the recorded patients are and where.")),
        ("The population of raters is stated", _person("Say who the raters are and what they rate in daily work.")),
        ("What is known already, and why the study was done", _person("Give the reason for this comparison.")),
        ("How the numbers of subjects, raters and repetitions were chosen", _sample_size(doc)),
        ("How subjects and raters were sampled", _person("Say whether all eligible recordings were taken, or which.")),
        ("How ratings were made: timing, information at hand, blinding", _process(doc)),
        (
            "Whether ratings were made independently",
            _person("The scores never use a rating. Say whether raters saw the scores or each other's ratings."),
        ),
        ("The statistical analysis is described", _analysis(doc)),
        ("How many subjects, raters and repetitions were included in the end", _included(doc)),
        ("What subjects and raters were like", _characteristics(doc)),
        ("Agreement and reliability are given with their uncertainty", _estimates(doc)),
        ("What the results mean in practice", _meaning(doc)),
        ("Detailed results are available", _details(doc)),
    ]


def _gerke(doc: Document) -> list[tuple[str, Answer]]:
    agreement = doc.get("agreement")
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
    return Answer("needs a person", text)


def _title(doc: Document) -> Answer:
    return Answer("from configuration", f"This report is titled \u201c{doc['title']}\u201d.")


def _device(doc: Document) -> Answer:
    weights = doc["weights"]
    text = f"avpenet {doc['software'].get('avpenet', '')} with the weights {weights['mark'] or 'of unknown name'}."
    if weights["intended_use"]:
        return Answer("from configuration", f"{text} Intended use: {weights['intended_use']}")
    return _person(f"{text} Their intended use is not known: no manifest describes them.")


def _sample_size(doc: Document) -> Answer:
    head = doc["headline"]
    return _person(
        f"Included were {counted(head['n_subjects'], 'subject')}, {counted(head['n_recordings'], 'recording')} and "
        f"{counted(head['n_raters'], 'rater')}. Say how these numbers were chosen."
    )


def _process(doc: Document) -> Answer:
    reference = doc["inputs"].get("reference")
    if not reference:
        return _person(_NO_PAIRS)
    hold = number(doc["settings"]["hold_s"], 1)
    scales = ", ".join(map(str, reference["scales"]))
    return _person(
        f"Scales: {scales}, all rescaled to 0-10. A rating of one moment holds for {hold} s. A segment's reference is "
        "the median of the ratings that fall in it, over raters too. Say what the raters saw and heard, and when."
    )


def _analysis(doc: Document) -> Answer:
    agreement = doc.get("agreement")
    if not agreement:
        return Answer("from configuration", "Description only; see Methods and sources.")
    settings = doc["settings"]
    return Answer(
        "from configuration",
        f"Bland-Altman analysis ({agreement['method']}), {100 * settings['confidence']:g} % confidence intervals with "
        f"the subject as the unit, {count(settings['bootstrap_replicates'])} bootstrap resamples (seed "
        f"{settings['seed']}); see Methods and sources.",
    )


def _included(doc: Document) -> Answer:
    head = doc["headline"]
    text = (
        f"{counted(head['n_subjects'], 'subject')}, {counted(head['n_recordings'], 'recording')}, "
        f"{counted(head['n_segments'], 'segment')} of which {count(head['n_scored'])} scored, "
        f"{counted(head['n_raters'], 'rater')}, {counted(head['n_pairs'], 'pair')} of score and rating."
    )
    return Answer("from data", text)


def _characteristics(doc: Document) -> Answer:
    columns = [str(one["column"]) for one in doc.get("strata") or () if one["column"] not in {"quality", "modality"}]
    known = f"Subjects are described by {', '.join(columns)}; see Subjects and groups. " if columns else ""
    return _person(f"{known}Describe the raters' training and experience{'.' if known else ' and the subjects.'}")


def _estimates(doc: Document) -> Answer:
    if not doc.get("agreement"):
        return _person(_NO_PAIRS)
    bias, icc = worded(doc["agreement"], "bias", "signed"), worded(doc["reliability"], "icc_a1", "coefficient")
    kappa = worded(doc["classes"], "kappa_quadratic", "coefficient")
    return Answer("from data", f"Bias {bias} points; ICC(A,1) {icc}; quadratically weighted kappa {kappa}.")


def _meaning(doc: Document) -> Answer:
    verdict = doc["verdict"]
    if verdict["result"] == "NOT ASKED":
        return _person("No acceptance limit was given. Say what differences of this size mean for patients.")
    return _person(
        f"Verdict {verdict['result']} against \u00b1{number(verdict['limit_points'])} points. Say what it means for "
        "patients."
    )


def _details(doc: Document) -> Answer:
    return Answer(
        "from configuration",
        "The .json file beside this page holds every number, the .review.csv file every segment to look at.",
    )


def _limit(doc: Document) -> Answer:
    verdict = doc["verdict"]
    if verdict["limit_points"] is None:
        return _person("No limit was given to this report. If there is one, say where and when it was set.")
    return _person(
        f"\u00b1{number(verdict['limit_points'])} points, source: {verdict['limit_source'] or 'not stated'}. Confirm "
        "that it was set before the scores were seen."
    )


def _structure(doc: Document) -> Answer:
    agreement = doc.get("agreement")
    if not agreement:
        return Answer("from data", _NO_PAIRS)
    each = agreement["n_pairs"] / agreement["n_subjects"] if agreement["n_subjects"] else None
    return Answer(
        "from data",
        f"{counted(agreement['n_pairs'], 'pair')} of {counted(agreement['n_subjects'], 'subject')} "
        f"({number(each, 1)} per subject on average), {counted(doc['headline']['n_raters'], 'rater')}; treated as "
        f"{agreement['method']}.",
    )


def _repeatability(doc: Document) -> Answer:
    model = "A run repeated with the same software, weights and device gives the same scores."
    raters = doc.get("raters")
    if not raters or not raters["sets"]:
        return _person(f"{model} No segment has two raters: their repeatability cannot be estimated from these data.")
    most = raters["sets"][0]
    return Answer(
        "from data",
        f"{model} Between raters: ICC(A,1) {worded(most, 'icc_a1', 'coefficient')} over "
        f"{counted(most['n_segments'], 'segment')} of {counted(len(most['raters']), 'rater')}. Repeated ratings by the "
        "same rater are not in these data.",
    )


def _plots(agreement: Document | None) -> Answer:
    if not agreement:
        return Answer("from data", _NO_PAIRS)
    slope = worded(agreement["proportional"], "slope", "slope")
    spread = worded(agreement["heteroscedasticity"], "slope", "slope")
    skew = worded(agreement["normality"], "skew")
    return Answer(
        "from data",
        f"See the Bland-Altman plots, the histogram and the normal plot. Slope of the difference on the mean {slope}, "
        f"of its spread {spread}; skew {skew}.",
    )


def _transformation(agreement: Document | None) -> Answer:
    if not agreement:
        return Answer("from data", _NO_PAIRS)
    return Answer(
        "from configuration",
        "No transformation: the scale has ends at 0 and 10. Limits that follow the trend and limits from percentiles "
        "are given beside the plain ones.",
    )


def _bias(agreement: Document | None, *, precision: bool) -> Answer:
    if not agreement:
        return Answer("from data", _NO_PAIRS)
    if precision:
        return Answer(
            "from data", f"Bias {_points(agreement, 'bias')}; SD of the differences {_points(agreement, 'sd')}."
        )
    return Answer(
        "from data", f"Bias {number(agreement['bias'], signed=True)} points; drawn in both Bland-Altman plots."
    )


def _limits(agreement: Document | None, *, precision: bool) -> Answer:
    if not agreement:
        return Answer("from data", _NO_PAIRS)
    lower, upper = agreement["loa_lower"], agreement["loa_upper"]
    if precision or lower is None or upper is None:
        text = f"Lower limit {_points(agreement, 'loa_lower')}; upper limit {_points(agreement, 'loa_upper')}."
        return Answer("from data", text)
    both = f"{number(lower, signed=True)} and {number(upper, signed=True)} points"
    return Answer("from data", f"{both}; drawn in both Bland-Altman plots.")


def _points(agreement: Document, name: str) -> str:
    said = worded(agreement, name, "points" if name == "sd" else "signed")
    return f"{said} points" if said.computable and (said.bounded or not said.interval) else str(said)


def _range(doc: Document) -> Answer:
    reference = doc["distribution"].get("reference")
    if not reference or reference["min"] is None:
        return Answer("from data", _NO_PAIRS)
    note = doc["distribution"].get("range_note") or ""
    return Answer(
        "from data",
        f"The reference runs from {number(reference['min'], 1)} to {number(reference['max'], 1)} of 0 to 10, its "
        f"middle half from {number(reference['q25'], 1)} to {number(reference['q75'], 1)}. {note}".rstrip(),
    )


def _variance(agreement: Document | None) -> Answer:
    if not agreement:
        return Answer("from data", _NO_PAIRS)
    if agreement["between_sd"] is None or agreement["within_sd"] is None:
        return Answer("from data", f"Method: {agreement['method']}; the subject is the unit of every interval.")
    return Answer(
        "from data",
        f"SD of the difference between subjects {number(agreement['between_sd'])}, within subjects "
        f"{number(agreement['within_sd'])} points; the subject is the unit of every interval.",
    )


def _software(doc: Document) -> Answer:
    listed = ", ".join(f"{name} {version}" for name, version in doc["software"].items())
    return Answer("from configuration", f"{listed}.")


def _assumptions(agreement: Document | None) -> Answer:
    if not agreement:
        return Answer("from data", _NO_PAIRS)
    return Answer(
        "from configuration",
        "Limits of agreement and their intervals take differences to be normal around each subject's own mean; the "
        "limits from percentiles beside them do not.",
    )
