"""Measuring weights: who is measured, what the table says, and that one part's failure leaves the others."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import soundfile
from typer.testing import CliRunner, Result

from avpenet_cli.stats.estimate import Estimate, absent
from tests.support.portraits import CRY, MOAN, utter
from weights.recipe.measure import app
from weights.recipe.measures.audio import WITHOUT_PAIN, join
from weights.recipe.measures.estimates import auc_between, mean, share
from weights.recipe.measures.faces import pain_expression
from weights.recipe.measures.rows import Goal, Row
from weights.recipe.splits import part_of_contributor, part_of_device


def measure(*args: object) -> Result:
    """Run the program in this process."""
    return CliRunner().invoke(app, list(map(str, args)))


def write_ogg(path: Path, samples: np.ndarray) -> None:
    """Write 48-kHz samples in [-1, 1] as mono Opus."""
    path.parent.mkdir(parents=True, exist_ok=True)
    command = ["ffmpeg", "-v", "error", "-y", "-f", "f32le", "-ar", "48000", "-ac", "1", "-i", "-", "-c:a", "libopus"]
    subprocess.run([*command, path], input=samples.astype("<f4").tobytes(), check=True)


@pytest.fixture(scope="module")
def voices_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six contributors, of whom two are for testing: Pain, Distress and Neutral, a second each, and sounds."""
    folder = tmp_path_factory.mktemp("data")
    moan, cry = utter(MOAN, 1.2, seed=1), utter(CRY, 1.2, seed=2)
    write_ogg(folder / "moan.ogg", moan)
    write_ogg(folder / "cry.ogg", cry)
    for number in range(1, 7):
        for category, clip in (("19", "cry"), ("11", "cry"), ("18", "moan")):
            out = folder / "emogator" / f"{number:06d}" / f"{category}-1.ogg"
            out.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(folder / f"{clip}.ogg", out)
    write_ogg(folder / "noise" / "hiss.ogg", 0.1 * np.random.default_rng(1).standard_normal(48_000))
    for name in ("saw", "rooster"):
        write_ogg(folder / "more" / "machines" / f"{name}.ogg", 0.1 * np.random.default_rng(2).standard_normal(48_000))
    (folder / "more" / "index.csv").write_text(
        "file,group,split\nmachines/saw.ogg,machines,test\nmachines/rooster.ogg,machines,train\n../moan.ogg,speech,test\n"
    )
    return folder


@pytest.mark.slow
def test_measures_test_contributors_only_and_resumes(voices_folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    command = [voices_folder, "--out", out, "--jobs", 1]
    command += ["--surroundings", voices_folder / "more"]
    done = measure(*command, "--only", "voices,cries,surroundings")
    # Without cries that part fails; the parts before and after it are measured.
    assert done.exit_code == 1, done.stderr
    assert "cries" in done.stderr
    (path,) = out.glob("scores-*/measures.json")
    measured = json.loads(path.read_text())
    assert "error" in measured["cries"]
    row = measured["voices"]["rows"][0]
    assert row["measure"] == "AUC of Pain over Neutral, takes joined"
    assert row["units"] == "2 contributors; 2 and 2 recordings"
    assert measured["voices"]["rows"][-1]["notes"] == "6 of 6 recordings have no score"
    sounds = measured["surroundings"]["rows"]
    assert [(row["measure"].split()[-1], row["units"]) for row in sounds if "mean score" in row["measure"]] == [
        ("surroundings", "2 sounds"),
        ("machines", "1 sound"),
        ("data)", "1 sound"),
        ("speech", "1 sound"),
    ]
    table = (path.parent / "voices.csv").read_text()
    assert {line.split("/")[0] for line in table.splitlines()[1:]} == {"000001", "000006"}
    assert "Pain over Neutral" in done.stdout

    journal = (path.parent / "voices.jsonl").read_text()
    torn = journal[: journal.rindex('"start_s"')]
    (path.parent / "voices.jsonl").write_text(torn)
    assert measure(*command, "--only", "voices").exit_code == 0
    assert (path.parent / "voices.csv").read_text() == table
    again = json.loads(path.read_text())
    assert again["voices"]["rows"] == measured["voices"]["rows"]
    assert "error" in again["cries"], "parts that were not asked for keep their figures"


def test_an_unknown_part_is_refused_before_anything_is_scored(tmp_path: Path) -> None:
    done = measure(tmp_path, "--out", tmp_path / "out", "--only", "voices,voice")
    assert done.exit_code == 2
    assert "no such part: voice" in done.stderr
    assert not (tmp_path / "out").exists()


def test_short_recordings_are_joined_and_repeated_to_a_segment(voices_folder: Path, tmp_path: Path) -> None:
    cry, moan = voices_folder / "cry.ogg", voices_folder / "moan.ogg"
    joined, _ = soundfile.read(join([cry, moan], tmp_path / "joined.wav"))
    single, rate = soundfile.read(join([cry], tmp_path / "single.wav", least_s=0.1))
    assert rate == 16_000
    assert len(joined) >= 3 * rate
    np.testing.assert_allclose(joined[: len(single)], single, atol=1e-3)
    assert not np.allclose(joined[len(single) : 2 * len(single)], single, atol=0.05)
    assert join([tmp_path / "absent.ogg"], tmp_path / "none.wav") == tmp_path / "absent.ogg"


def test_auc_counts_ties_half_and_resamples_people() -> None:
    higher = {f"p{number}": float(number) for number in range(1, 7)}
    lower = {f"n{number}": float(number) for number in range(6)}
    unit = {name: name[1:] for name in (*higher, *lower)}
    figure = auc_between(higher, lower, unit)
    pairs = [(a > b) + 0.5 * (a == b) for a in higher.values() for b in lower.values()]
    assert figure.value == pytest.approx(np.mean(pairs))
    assert figure.ci[0] < figure.value < figure.ci[1]
    assert auc_between(higher, {}, unit).reason == "no scores on one side"


def test_shares_and_means_have_intervals() -> None:
    # Newcombe 1998, Stat Med 17:857, table I: 81 of 263 and 0 of 20, Wilson's method.
    assert share([True] * 81 + [False] * 182).ci == pytest.approx((0.2553, 0.3662), abs=5e-5)
    assert share([False] * 20).ci == pytest.approx((0.0, 0.1611), abs=5e-5)
    assert mean([1.0, 2.0, 3.0]).ci == pytest.approx((2 - 2.4841, 2 + 2.4841), abs=1e-4)
    assert not mean([]).computable


@pytest.mark.parametrize(
    ("goal", "value", "met"),
    [
        (Goal("at least", 0.93, ""), 0.94, True),
        (Goal("at least", 0.93, ""), 0.92, False),
        (Goal("below", 0.1, ""), 0.11, False),
        (Goal("within", 0.15, ""), -0.1, True),
        (Goal("within", 0.15, ""), -0.2, False),
    ],
)
def test_a_row_says_whether_its_goal_is_met(goal: Goal, value: float, met: bool) -> None:
    assert Row("x", Estimate(value, (0.0, 1.0)), "3 people", goal=goal).to_dict()["met"] is met
    assert Row("x", absent("none"), "0 people", goal=goal).to_dict()["met"] is False


def test_pain_expressions_begin_at_none_and_grow() -> None:
    none, half, full = (pain_expression(pain).weights() for pain in (0.0, 5.0, 10.0))
    assert not none.any()
    assert (half <= full).all()
    assert half.sum() < full.sum()


def test_the_measured_are_neither_trained_on_nor_validated_on() -> None:
    assert [n for n in range(1, 13) if part_of_contributor(n) == "test"] == [1, 6, 11]
    assert [n for n in range(1, 10) if part_of_device(n) == "test"] == [1, 5, 9]
    assert "19" not in WITHOUT_PAIN
