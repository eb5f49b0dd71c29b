"""Reading the filled-in list of segments to review, and checking that it is the list that was handed out."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from avpenet_cli.errors import OutputError, SettingsError
from avpenet_cli.keys import match_names, shown, tidy
from avpenet_cli.report.document.review import Verdict
from avpenet_cli.report.review import ANSWERS, COLUMNS, ReviewList
from avpenet_cli.study.readers import read_sheet
from avpenet_cli.study.scales import HIGHEST_POINTS, ScaleError, parse_scale
from avpenet_cli.study.sheets import Floats, Sheet, quoted

_DESCRIPTION = "filled-in list of segments to review"
_IDENTITY = ("recording", "start_s", "end_s")
_SPELLINGS: dict[str, Verdict] = {
    **dict.fromkeys(("agree", "agreed", "agrees", "ok", "okay", "correct", "right", "yes"), "agree"),
    **dict.fromkeys(("too high", "toohigh", "high", "score too high"), "too high"),
    **dict.fromkeys(("too low", "toolow", "low", "score too low"), "too low"),
    **dict.fromkeys(("cannot tell", "can not tell", "cant tell", "can t tell", "cannottell", "?"), "cannot tell"),
    **dict.fromkeys(("unclear", "unsure", "do not know", "don t know", "dont know"), "cannot tell"),
}
"""Verdicts in lower case, with blanks for dashes, underscores and apostrophes."""
_EITHER = "fix one of them"
_HANDED_OUT = "give the list of a report on the same tables with the same options, --subjects and --seed among them"
# Times and scores have three decimals in the file.
_HALF_A_STEP = 0.0005 + 1e-9


@dataclass(frozen=True)
class ReviewAnswers:
    """A filled-in list, each row correct by itself.

    Attributes:
        sheet: the file.
        rows: `recording`, `start_s`, `end_s`, `score` as the file has them (NaN where empty), `verdict` (empty without
            one), `value` (points of the 0-10 scale, NaN without one), `comment`.
    """

    sheet: Sheet
    rows: pd.DataFrame


def read_answers(path: Path) -> ReviewAnswers:
    """Read a filled-in list in any form in which a spreadsheet saves it; values on the NRS or the scale named beside.

    Raises:
        SettingsError: a table that cannot be read or lacks columns; a row whose verdict is none of the four, whose
            value is outside its scale, or which says that one cannot tell and has a value.
    """
    sheet = read_sheet(path, (*COLUMNS, *ANSWERS, "scale"), _DESCRIPTION, _IDENTITY)
    sheet.require((*_IDENTITY, "score", *ANSWERS), _DESCRIPTION, "fill in a copy of the file that ends in .review.csv")
    sheet.filled("recording")
    rows = pd.DataFrame(
        {
            "recording": sheet.strings("recording"),
            **{name: sheet.numbers(name) for name in ("start_s", "end_s", "score")},
            "verdict": _verdicts(sheet),
            "value": _values(sheet),
            "comment": sheet.strings("comment").fillna("").map(tidy),
        }
    )
    contradictory = ((rows["verdict"] == "cannot tell") & rows["value"].notna()).to_numpy()
    if contradictory.any():
        raise sheet.fault(contradictory, "verdict is cannot tell, and there is a value", "keep one of them")
    return ReviewAnswers(sheet, rows)


def _verdicts(sheet: Sheet) -> pd.Series[str]:
    written = sheet.strings("verdict").fillna("")
    known = {text: _verdict(text) for text in map(str, written.unique())}
    wrong = [text for text, verdict in known.items() if verdict is None]
    if wrong:
        problem = f"verdict is {quoted(wrong[0])}"
        raise sheet.fault(written.isin(wrong).to_numpy(), problem, "write agree, too high, too low or cannot tell")
    return written.map({text: verdict or "" for text, verdict in known.items()}).astype("str")


def _verdict(text: str) -> str | None:
    """The verdict that a cell means; empty for an empty cell, None where it is none."""
    words = " ".join(re.sub(r"[-_'’`.!]+", " ", tidy(text).casefold()).split())
    return _SPELLINGS.get(words) if words else ""


def _values(sheet: Sheet) -> Floats:
    value = sheet.numbers("value")
    stated = "scale" in sheet.columns
    names = sheet.strings("scale").fillna("") if stated else pd.Series([""] * sheet.rows, dtype="str")
    points = np.full(sheet.rows, np.nan)
    for name in map(str, names.unique()):
        place = (names == name).to_numpy()
        try:
            scale = parse_scale(tidy(name))
        except ScaleError as error:
            raise sheet.fault(place, error.problem, error.remedy) from None
        wrong = place & ~np.isnan(value) & ~((value >= scale.lowest) & (value <= scale.highest))
        if wrong.any():
            first = value[int(np.flatnonzero(wrong)[0])]
            problem = f"value {first:g} is outside its scale, {scale.label} from {scale.lowest:g} to {scale.highest:g}"
            raise sheet.fault(wrong, problem, "fix the value, or name its scale in a column `scale`")
        points[place] = (value[place] - scale.lowest) * HIGHEST_POINTS / (scale.highest - scale.lowest)
    return points


def match_answers(answers: ReviewAnswers, listed: ReviewList) -> pd.DataFrame:
    """The answers beside the rows of the list.

    Returns:
        One row for each of `listed.rows()`, with their labels: `control` (bool), `score` of the table (NaN without
        one), `subject`, `verdict`, `value` and `comment`; rows that the file lacks are without an answer.

    Raises:
        SettingsError: a row that is not in the list, is there twice, has another score than the list, or contradicts
            itself; a verdict on a score that the list does not show.
    """
    sheet, rows = answers.sheet, answers.rows
    handed_out = listed.rows()
    labels = _find(answers, handed_out)
    repeated = pd.Series(labels).duplicated().to_numpy()
    if repeated.any():
        raise sheet.fault(repeated, "the same segment as in an earlier row", "keep one of them")
    control = np.isin(labels, listed.control.rows)
    shown_score = handed_out.loc[labels, "score"].to_numpy()
    _check_scores(sheet, rows["score"].to_numpy(), shown_score)
    score = listed.segments.loc[labels, "score"].to_numpy()
    verdict, value = rows["verdict"].to_numpy(dtype=object), rows["value"].to_numpy()
    on_score = np.isin(verdict, ("agree", "too high", "too low"))
    directed = np.isin(verdict, ("too high", "too low"))
    checks: tuple[tuple[npt.NDArray[np.bool_], str, str], ...] = (
        (
            control & on_score,
            "a verdict on a score that the list does not show",
            "write what the segment shows into value, or cannot tell",
        ),
        (directed & np.isnan(score), "the verdict is on a score, and the segment has none", "agree that it has none"),
        ((verdict == "too high") & (value > score), "verdict is too high, and the value is above the score", _EITHER),
        ((verdict == "too low") & (value < score), "verdict is too low, and the value is below the score", _EITHER),
    )
    for wrong, problem, remedy in checks:
        if wrong.any():
            raise sheet.fault(wrong, problem, remedy)
    answered = rows[list(ANSWERS)].set_axis(labels, axis=0).reindex(handed_out.index)
    segments = listed.segments.loc[handed_out.index]
    return answered.assign(
        verdict=answered["verdict"].fillna(""),
        comment=answered["comment"].fillna(""),
        control=np.isin(handed_out.index, listed.control.rows),
        score=segments["score"],
        subject=segments["subject"],
    )


def _find(answers: ReviewAnswers, handed_out: pd.DataFrame) -> npt.NDArray[np.int64]:
    """The label of each row's segment in the list."""
    sheet, rows = answers.sheet, answers.rows
    known = handed_out["recording"].astype(str)
    names = match_names(rows["recording"].unique(), known.unique(), sheet.path.name).names
    label_of = dict(zip(_keys(known, handed_out), handed_out.index, strict=True))
    labels = [label_of.get(key, -1) for key in _keys(rows["recording"].map(names), rows)]
    foreign = np.array(labels) < 0
    if foreign.any():
        first = shown(str(rows["recording"].iloc[int(np.argmax(foreign))]))
        raise sheet.fault(foreign, f"this segment of {first} is not in the report's list for review", _HANDED_OUT)
    return np.array(labels, dtype=np.int64)


def _keys(recording: pd.Series[str], rows: pd.DataFrame) -> list[tuple[str, str, str]]:
    """Segments by name and times, the times as the file has them."""
    return [
        (str(name), f"{start_s:.3f}", f"{end_s:.3f}")
        for name, start_s, end_s in zip(recording, rows["start_s"], rows["end_s"], strict=True)
    ]


def _check_scores(sheet: Sheet, written: Floats, handed_out: Floats) -> None:
    added = ~np.isnan(written) & np.isnan(handed_out)
    if added.any():
        problem = f"score is {written[int(np.argmax(added))]:g}, where the list has none"
        raise sheet.fault(added, problem, "write the reviewer's number into value, and leave score as it is")
    altered = ~np.isnan(handed_out) & ~(np.abs(written - handed_out) <= _HALF_A_STEP)
    if altered.any():
        row = int(np.argmax(altered))
        now = "empty" if np.isnan(written[row]) else f"{written[row]:g}"
        raise sheet.fault(altered, f"score is {now}, in the score table {handed_out[row]:g}", _HANDED_OUT)


def refuse_losing_answers(path: Path) -> None:
    """Raise if the list that a report would replace has been filled in.

    Raises:
        OutputError: it has.
    """
    if not path.is_file():
        return
    try:
        sheet = read_sheet(path, (*COLUMNS, *ANSWERS), _DESCRIPTION, ())
        filled = any(sheet.strings(name).notna().any() for name in ANSWERS if name in sheet.columns)
    except SettingsError:
        # Not a list of this program, or one without a row.
        return
    if filled:
        raise OutputError(
            f"{path} has been filled in, and a report would replace it", "rename it and give it with --review"
        )
