"""Phantoms end to end: those of the program, with photographic heads and real voices, and with other heads."""

from __future__ import annotations

import itertools
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd

from avpenet_cli.errors import EnvironmentUnavailableError
from avpenet_cli.phrasing import plural
from avpenet_cli.stats.accuracy import mean_absolute_error
from avpenet_cli.stats.agreement import limits
from avpenet_cli.stats.bootstrap import Resampling
from avpenet_cli.stats.error_gap import error_gap
from avpenet_cli.stats.estimate import absent
from avpenet_cli.stats.pairs import Pairs
from avpenet_cli.stats.reliability import icc
from avpenet_cli.study.pairing import pair
from avpenet_cli.study.ratings import read_ratings
from avpenet_cli.study.score_tables import read_scores
from avpenet_cli.study.subjects import read_subjects
from weights.recipe.measures.estimates import auc
from weights.recipe.measures.inputs import Inputs
from weights.recipe.measures.rows import Goal, Row
from weights.recipe.splits import part_of_contributor, part_of_device

_MAE = Goal("below", 0.75, "0.90 (24 subjects)")
_ICC = Goal("at least", 0.92, "0.83 (24 subjects)")
_BIAS = Goal("within", 0.15, "0.15 (24 subjects)")
_PAIN_FREE = Goal("within", 0.2, "0.56")
_GAP = Goal("below", 0.2, "0.34")
_OTHER_AUC = Goal("at least", 0.97, "0.87")
_OTHER_MAE = Goal("below", 1.2, "2.1")

_MOST_OTHER_HEADS = 24
_IN_PAIN, _WITHOUT = 4.0, 1.0
_STRATA = {"skin_tone": "skin tones", "age_group": "ages", "site": "sites", "sex": "sexes"}


def phantoms(inputs: Inputs) -> list[Row]:
    """New phantoms with the built-in head and voice."""
    return _figures(inputs, "phantoms", "phantoms", [])


def photographic(inputs: Inputs) -> list[Row]:
    """New phantoms with MakeHuman's heads and the voices of people who are kept out of training."""
    options = ["--head-model", inputs.data / "mesh", "--voices", _test_voices(inputs)]
    return _figures(inputs, "photographic", "photographic heads, real voices", options)


def _test_voices(inputs: Inputs) -> Path:
    """A folder with links to the voices of test contributors and devices."""
    folder = inputs.folder("test-voices")
    people = [path for path in inputs.data.glob("emogator/[0-9]*") if part_of_contributor(int(path.name)) == "test"]
    cries = [path for path in inputs.data.glob("cries_more/d*.ogg") if part_of_device(int(path.name[1:4])) == "test"]
    for path in (*people, *cries):
        link = folder / path.parent.name / path.name
        link.parent.mkdir(exist_ok=True)
        if not link.is_symlink():
            link.symlink_to(path.absolute())
    return folder


def other_heads(inputs: Inputs) -> list[Row]:
    """The same with heads of a kind that is not trained on: ICT-FaceKit's, adults only."""
    head = inputs.data / "mesh" / "ict_facekit" / "ict_facekit_light.npz"
    table, notes = _scored(inputs, "other-heads", ["--head-model", head, "--age-group", "adult"])
    pain, score = table["reference"].to_numpy(), table["score"].to_numpy()
    chosen = (pain >= _IN_PAIN) | (pain < _WITHOUT)
    area = auc(score[chosen], pain[chosen] >= _IN_PAIN, table["subject"].to_numpy()[chosen])
    pairs = _pairs(table)
    subjects = plural(pairs.n_subjects, "subject")
    count = f"{subjects}; {int((pain >= _IN_PAIN).sum())} and {int((pain < _WITHOUT).sum())} segments"
    mae = mean_absolute_error(pairs, Resampling().of(pairs.n_subjects))
    return [
        Row("ICT-FaceKit heads: AUC of pain (4 and more) over none (under 1)", area, count, "coefficient", _OTHER_AUC),
        Row("ICT-FaceKit heads: MAE", mae, f"{subjects}, {plural(pairs.n, 'segment')}", "points", _OTHER_MAE, notes),
    ]


def _figures(inputs: Inputs, part: str, what: str, options: list[object]) -> list[Row]:
    table, notes = _scored(inputs, part, options)
    pairs = _pairs(table)
    bootstrap = Resampling().of(pairs.n_subjects)
    count = f"{plural(pairs.n_subjects, 'subject')}, {plural(pairs.n, 'segment')}"
    agreement = icc(np.stack([pairs.model, pairs.reference], axis=1), pairs.subject, bootstrap).icc_a1
    rows = [
        Row(f"{what}: MAE", mean_absolute_error(pairs, bootstrap), count, "points", _MAE, notes),
        Row(f"{what}: ICC(A,1)", agreement, count, "coefficient", _ICC),
        Row(f"{what}: bias", limits(pairs, bootstrap).bias, count, "signed", _BIAS),
    ]
    for label, free, goal in (
        ("patients without pain", table["course"] == "pain_free", _PAIN_FREE),
        ("segments with pain under 1", table["reference"] < _WITHOUT, None),
    ):
        chosen = table[free]
        if chosen.empty:
            rows.append(Row(f"{what}: mean error of {label}", absent("none among the subjects"), "0", "signed", goal))
            continue
        of_free = _pairs(chosen)
        bias = limits(of_free, Resampling().of(of_free.n_subjects)).bias
        count = f"{plural(of_free.n_subjects, 'subject')}, {plural(of_free.n, 'segment')}"
        rows.append(Row(f"{what}: mean error of {label}", bias, count, "signed", goal))
    return rows + [_gap(table, pairs, column, f"{what}: {label}") for column, label in _STRATA.items()]


def _gap(table: pd.DataFrame, pairs: Pairs, column: str, what: str) -> Row:
    """Largest difference of MAE between two levels of a column."""
    level = table[column].to_numpy()
    error = (table["score"] - table["reference"]).abs()
    maes = error.groupby(table[column]).mean()
    subjects = table.groupby(column)["subject"].nunique()
    count = ", ".join(f"{name} {maes[name]:.2f} ({subjects[name]})" for name in maes.index)
    if len(maes) < 2:
        return Row(f"{what}, largest gap of MAE", absent("one group only"), count, "points", _GAP)
    worst, best = max(itertools.permutations(maes.index, 2), key=lambda two: maes[two[0]] - maes[two[1]])
    _, gap = error_gap(pairs, level == worst, level == best, Resampling())
    return Row(f"{what}, largest gap of MAE", gap, count, "points", _GAP, "MAE and number of subjects by group")


def _pairs(table: pd.DataFrame) -> Pairs:
    return Pairs.of(
        table["score"].to_numpy(np.float64),
        table["reference"].to_numpy(np.float64),
        table["subject"].to_numpy(dtype=object),
    )


def _scored(inputs: Inputs, part: str, options: list[object]) -> tuple[pd.DataFrame, str]:
    """Segments with score, reference and subject, and the columns of `subjects.csv`; notes on the others."""
    folder = _made(inputs, part, options)
    recordings = {path.name: path for path in sorted(folder.glob("*.mp4"))}
    scored = inputs.scorer.score(folder.name, recordings)
    subjects = read_subjects(folder / "subjects.csv")
    pairing = pair(read_scores([scored.segments]), read_ratings(folder / "truth.csv"), subjects)
    table = pairing.segments.dropna(subset=["score", "reference"])
    strata = subjects.table.reindex(table["recording"].astype(str)).reset_index(drop=True)
    table = pd.concat([table.reset_index(drop=True), strata], axis=1)
    lost = len(pairing.segments) - len(table)
    return table, f"{lost} of {len(pairing.segments)} segments have no score" if lost else ""


def _made(inputs: Inputs, part: str, options: list[object]) -> Path:
    """The folder of a set of phantoms; an interrupted run resumes, a set of another size is made in another folder."""
    subjects = min(inputs.subjects, 6) if inputs.quick else inputs.subjects
    if part == "other-heads":
        subjects = min(subjects, _MOST_OTHER_HEADS)
    name = f"{part}-{subjects}x{inputs.minutes:g}min-{inputs.seed}"
    if inputs.fps:
        name, options = f"{name}-{inputs.fps:g}fps", [*options, "--fps", inputs.fps]
    command = [sys.executable, "-m", "avpenet_cli", "phantom", "make", "--out", inputs.clips / name]
    command += ["--subjects", subjects, "--seed", inputs.seed, "--minutes", inputs.minutes, "--jobs", inputs.jobs]
    done = subprocess.run(list(map(str, [*command, *options, "-q"])), capture_output=True, text=True, check=False)
    if done.returncode:
        raise EnvironmentUnavailableError(f"phantom make: {done.stderr.strip() or done.returncode}")
    return inputs.clips / name
