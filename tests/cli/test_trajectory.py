"""`avpenet trajectory` from score tables and recordings to a table, a picture, a page and alerts; what it refuses."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

import matplotlib.image
import numpy as np
import pandas as pd
import pytest

from tests.conftest import Answer, ClipMaker

Avpenet = Callable[..., Answer]

SEGMENTS = 120
RULES = """
[[rules]]
name = "strong"
kind = "above"
text = "Pain above 4 for 10 s"
of = "score"
points = 4.0
for_s = 10.0
"""


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def contents(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def recording(name: str, at: str, *, scorable: bool = True) -> pd.DataFrame:
    """A segment every second, pain from 30 s on, and 10 s without a face."""
    start_s = np.arange(SEGMENTS) * 1.0
    noise = np.random.default_rng(len(name)).normal(0, 0.3, SEGMENTS)
    score = np.clip(np.where((start_s >= 30) & (start_s < 60), 6.0, 2.0) + noise, 0, 10)
    lost = (start_s >= 80) & (start_s < 90) if scorable else np.ones(SEGMENTS, dtype=bool)
    score = np.where(lost, np.nan, score)
    times = [(datetime.fromisoformat(at) + timedelta(seconds=second)).isoformat() for second in start_s.tolist()]
    return pd.DataFrame(
        {
            "recording": name,
            "segment": range(SEGMENTS),
            "start_s": start_s,
            "end_s": start_s + 3,
            "recorded_at": times,
            "score": score,
            "status": np.where(lost, "unscorable", "scored"),
            "reason": np.where(lost, "no_face", ""),
            "score_sd": np.where(lost, np.nan, 0.3),
            "score_lo": np.clip(score - 0.6, 0, 10),
            "score_hi": np.clip(score + 0.6, 0, 10),
            "face_rate": np.where(lost, 0.0, 0.9),
            "weights": "made-up@0123456789ab demonstration",
        }
    )


@pytest.fixture(scope="module")
def made_up(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two recordings of Anna, 10 min apart, and one of Bert; ratings, events, subjects, rules."""
    folder = tmp_path_factory.mktemp("made up")
    parts = [
        recording("anna/2.mp4", "2026-03-04T10:10:00+01:00"),
        recording("anna/1.mp4", "2026-03-04T10:00:00+01:00"),
        recording("bert.mp4", "2026-03-04T11:00:00+01:00", scorable=False),
    ]
    pd.concat(parts).to_csv(folder / "scores.csv", index=False)
    texts = {
        "subjects.csv": "recording,subject\nanna/1.mp4,Anna\nanna/2.mp4,Anna\nbert.mp4,Bert\n",
        "events.csv": "recording,time_s,label\nanna/1.mp4,30,heel lance\nanna/2.mp4,61.5,analgesic\n",
        "ratings.csv": "recording,start_s,end_s,value,scale\nanna/1.mp4,30,60,7,NIPS\nanna/2.mp4,0,30,0,NIPS\n",
        "rules.toml": RULES,
        "other.csv": "recording,time_s,label\nsomebody.mp4,1,lance\n",
    }
    for name, text in texts.items():
        (folder / name).write_text(text)
    (folder / "folder.html").mkdir()
    carl = recording("carl.mp4", "2026-03-04T12:00:00+01:00").assign(weights="other@0123456789ab")
    carl.to_csv(folder / "weights.csv", index=False)
    return folder


def with_everything(folder: Path) -> list[str | Path]:
    options = {"--reference": "ratings", "--events": "events", "--subjects": "subjects"}
    words = [word for option, name in options.items() for word in (option, folder / f"{name}.csv")]
    return [folder / "scores.csv", *words, "--alerts", folder / "rules.toml"]


def test_a_table_has_every_segment_of_both_recordings_on_one_clock(
    made_up: Path, avpenet_here: Avpenet, tmp_path: Path
) -> None:
    out = tmp_path / "patients.csv"
    answer = avpenet_here("trajectory", *with_everything(made_up), "--out", out)
    assert answer.code == 0, answer.err
    table = rows(out)
    anna = [row for row in table if row["series"] == "Anna"]
    assert len(anna) == 2 * SEGMENTS and len(table) == 3 * SEGMENTS
    assert [row["recording"] for row in anna] == ["anna/1.mp4"] * SEGMENTS + ["anna/2.mp4"] * SEGMENTS
    last = anna[-1]
    assert (last["start_s"], last["recording_start_s"]) == ("719.000", "119.000")
    assert last["recorded_at"] == "2026-03-04T10:11:59.000+01:00"
    events = {row["start_s"]: row["event"] for row in anna if row["event"]}
    assert events == {"30.000": "heel lance", "661.000": "analgesic"}
    assert {row["rating"] for row in anna} == {"", "0.000", "10.000"}
    gap = [row for row in anna if row["reason"]]
    assert [row["recording_start_s"] for row in gap] == [f"{second}.000" for second in range(80, 90)] * 2
    assert {row["score"] for row in gap} == {""}
    high = [float(row["level"]) for row in anna if row["start_s"] in ("40.000", "45.000", "50.000")]
    assert high == pytest.approx([6.0] * 3, abs=0.5)
    assert {row["level"] for row in table if row["series"] == "Bert"} == {""}
    alerts = rows(tmp_path / "patients.alerts.csv")
    assert [(row["series"], row["recording"], row["start_s"]) for row in alerts] == [
        ("Anna", "anna/1.mp4", "30.000"),
        ("Anna", "anna/2.mp4", "630.000"),
    ]
    assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {0o600}
    assert {path.name for path in tmp_path.iterdir()} == {
        *("patients.csv", "patients.alerts.csv", "patients.csv.history.jsonl"),
    }
    lines = answer.out.splitlines()
    assert lines[0] == "2 series, 360 segments, 220 scored; 95 % intervals"
    assert lines[1].startswith("  Anna  3.") and lines[1].endswith("2 alerts")
    assert lines[2] == "  Bert  no score in 120 segments"
    assert lines[-1] == "written: patients.csv, patients.alerts.csv"
    assert "DEMONSTRATION WEIGHTS" in answer.err


def test_the_same_tables_give_the_same_file(made_up: Path, avpenet_here: Avpenet, tmp_path: Path) -> None:
    for name in ("first.csv", "second.csv"):
        assert avpenet_here("trajectory", made_up / "scores.csv", "--out", tmp_path / name, "-q").code == 0
    assert (tmp_path / "first.csv").read_bytes() == (tmp_path / "second.csv").read_bytes()
    assert {row["series"] for row in rows(tmp_path / "first.csv")} == {"anna/1.mp4", "anna/2.mp4", "bert.mp4"}


def test_a_picture_shows_a_panel_for_each_series(made_up: Path, avpenet_here: Avpenet, tmp_path: Path) -> None:
    heights = []
    for chosen in ([], ["--subject", "anna"]):
        out = tmp_path / f"{len(chosen)}.png"
        answer = avpenet_here("trajectory", *with_everything(made_up), *chosen, "--out", out)
        assert answer.code == 0, answer.err
        assert out.stat().st_mode & 0o777 == 0o600
        image = matplotlib.image.imread(out)
        heights.append(image.shape[0])
        assert 1600 < image.shape[1] < 2400
        # Ink in each quarter of the picture, and white paper around it.
        quarters = [float((part[:, :, :3].min(axis=2) < 0.5).mean()) for part in np.array_split(image, 4)]
        assert min(quarters) > 0.003, quarters
        assert float(image[:8, :, :3].min()) == 1.0
    assert heights[0] > 1.5 * heights[1]


def test_an_altered_table_is_said_first_and_a_suffix_in_capitals_is_one(
    made_up: Path, avpenet_here: Avpenet, tmp_path: Path
) -> None:
    shutil.copy(made_up / "scores.csv", tmp_path / "scores.csv")
    manifest = {
        "table": {"file": "scores.csv", "sha256": "0" * 64},
        "recordings": [],
        "weights": {"name": "made-up", "digest": "0" * 64},
        "timing": {"finished": ""},
        "software": {},
    }
    (tmp_path / "scores.run.json").write_text(json.dumps(manifest))
    answer = avpenet_here(
        "trajectory", tmp_path / "scores.csv", "--recording", "bert.mp4", "--out", tmp_path / "p.HTML"
    )
    assert answer.code == 0, answer.err
    altered = "scores.csv is not the table that its manifest certifies: it was changed after the run."
    assert altered in answer.err and altered in (tmp_path / "p.HTML").read_text(encoding="utf-8")


def test_a_page_names_every_series_and_asks_for_nothing_from_outside(
    made_up: Path, avpenet_here: Avpenet, tmp_path: Path
) -> None:
    out = tmp_path / "page.html"
    answer = avpenet_here("trajectory", *with_everything(made_up), "--out", out)
    assert answer.code == 0, answer.err
    page = out.read_text(encoding="utf-8")
    assert all(text in page for text in ("Anna", "Bert", "heel lance", "strong", "DEMONSTRATION WEIGHTS"))
    assert "Content-Security-Policy" in page
    assert 'src="http' not in page and "@import" not in page
    assert out.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (["{scores}", "clip.mp4"], "scores.csv is a score table and clip.mp4 is not; give either"),
        (["{folder}/rep.html"], "rep.html is neither a score table nor a recording; give what avpenet score wrote"),
        (["{folder}/scores.run.json"], "scores.run.json is neither a score table nor a recording"),
        (["{scores}", "--out", "page.pdf"], "cannot tell the format"),
        (["{scores}", "--out", "{folder}/folder.html"], "folder.html is a folder; give the name of a file"),
        (["{scores}", "--out", f"{'a' * 245}.csv", "--alerts", "{folder}/rules.toml"], "name too long"),
        (["{scores}", "--out", f"{'a' * 240}.csv"], "name too long"),
        (["{scores}", "{folder}/weights.csv"], "use scores of the same weights together"),
        (["{scores}", "--out", "no/such/folder/x.csv"], "its folder does not exist"),
        (["{scores}", "--events", "{folder}/other.csv"], "other.csv has no recording in common with the scores"),
        (["{scores}", "--reference", "{folder}/events.csv"], "events.csv is not a table of ratings"),
        (["{scores}", "--subjects", "{folder}/events.csv"], "events.csv is not a table of subjects"),
        (["{scores}", "--alerts", "{folder}/events.csv"], "cannot read the rules"),
        (["{folder}/events.csv"], "events.csv is not a score table: no column start_s, end_s, score, status"),
        (["{scores}", "--recording", "carl.mp4"], "--recording carl.mp4: not in the scores; there are anna/2.mp4"),
        (["{scores}", "--subject", "Anna"], "--subject without --subjects"),
        (["{scores}", "--weights", "untrained"], "--weights with score tables"),
        (["{folder}/none.csv"], "no such file"),
        (["{folder}/none.mp4"], "no such file"),
    ],
)
def test_what_cannot_be_used_gets_one_line_and_nothing_is_written(
    words: list[str], problem: str, made_up: Path, avpenet_here: Avpenet, tmp_path: Path
) -> None:
    known = {"scores": made_up / "scores.csv", "folder": made_up}
    out = [] if "--out" in words else ["--out", tmp_path / "out.csv"]
    before = contents(made_up)
    answer = avpenet_here("trajectory", *(word.format(**known) for word in words), *out)
    assert answer.code == 2
    (line,) = [line for line in answer.err.splitlines() if line.startswith("avpenet: ")]
    assert problem.lower() in line.lower()
    assert answer.out == ""
    assert list(tmp_path.iterdir()) == []
    assert contents(made_up) == before


def test_neither_inputs_nor_existing_files_are_overwritten(
    made_up: Path, avpenet_here: Avpenet, tmp_path: Path
) -> None:
    scores, out = tmp_path / "scores.csv", tmp_path / "out.csv"
    shutil.copy(made_up / "scores.csv", scores)
    out.write_text("mine")
    for target, words in ((out, "already exists; give --overwrite"), (scores, "would overwrite")):
        answer = avpenet_here("trajectory", scores, "--out", target)
        assert answer.code == 2
        assert words in answer.last_line
    assert avpenet_here("trajectory", scores, "--out", scores, "--overwrite").code == 2
    assert out.read_text() == "mine"
    assert avpenet_here("trajectory", scores, "--out", out, "--overwrite").code == 0
    assert len(rows(out)) == 3 * SEGMENTS


def test_a_page_with_too_many_series_says_how_to_choose_and_a_table_takes_them(
    avpenet_here: Avpenet, tmp_path: Path
) -> None:
    few = recording("a.mp4", "2026-03-04T10:00:00+01:00").iloc[:4]
    scores = tmp_path / "many.parquet"
    pd.concat([few.assign(recording=f"{number:02d}.mp4") for number in range(41)]).to_parquet(scores)
    answer = avpenet_here("trajectory", scores, "--out", tmp_path / "page.html")
    assert answer.code == 2
    assert "41 series, and it holds 40; choose with --recording NAME" in answer.last_line
    assert avpenet_here("trajectory", scores, "--out", tmp_path / "all.csv").code == 0
    assert len({row["series"] for row in rows(tmp_path / "all.csv")}) == 41
    chosen = ["--recording", "07.mp4", "--recording", "40.mp4"]
    assert avpenet_here("trajectory", scores, *chosen, "--out", tmp_path / "two.csv").code == 0
    assert [row["series"] for row in rows(tmp_path / "two.csv")] == ["07.mp4"] * 4 + ["40.mp4"] * 4


@pytest.mark.slow
def test_a_recording_is_scored_as_score_does_every_second_and_nothing_else_is_written(
    clips: ClipMaker, avpenet_here: Avpenet, tmp_path: Path
) -> None:
    clip = tmp_path / "clip.mp4"
    shutil.copy(clips.ffmpeg("-i", "examples/phantoms/P0001-01.mp4", "-t", "6", "-c", "copy"), clip)
    (tmp_path / "broken.mp4").write_bytes(b"no video")
    out = tmp_path / "out.csv"
    answer = avpenet_here("trajectory", clip, tmp_path / "broken.mp4", "--out", out)
    assert answer.code == 1
    assert "broken.mp4: failed: " in answer.err
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        *("broken.mp4", "clip.mp4", "out.csv", "out.csv.history.jsonl"),
    ]
    scores = tmp_path / "scores.csv"
    assert avpenet_here("score", clip, "--stride", "1", "--mc-samples", "50", "--out", scores).code == 0
    columns = ("score", "score_lo", "score_hi", "reason", "recorded_at", "start_s")
    expected = [[row[name] for name in columns] for row in rows(scores)]
    assert [[row[name] for name in columns] for row in rows(out)] == expected
    assert len(expected) >= 4 and all(row[1] for row in expected)


@pytest.mark.slow
def test_a_network_without_dropout_is_scored_without_samples_and_says_so(
    clips: ClipMaker, avpenet_here: Avpenet, tmp_path: Path
) -> None:
    from avpenet_cli.weights import save
    from tests.support.network_cases import CASES, contract_network
    from tests.support.weight_descriptions import make_description

    case = next(case for case in CASES if case.name == "cry-analyzer")
    network = contract_network(case)
    weights = tmp_path / "cry.safetensors"
    description = make_description(
        "cry", network=case.name, architecture=network.architecture, modalities=network.modalities
    )
    save(network.state_dict(), description, weights)
    clip = clips.face(4.6, "160x120", 10.0)
    answer = avpenet_here("trajectory", clip, "--weights", weights, "--out", tmp_path / "out.csv")
    assert answer.code == 0, answer.err
    assert "no interval by Monte Carlo dropout" in answer.err
    table = rows(tmp_path / "out.csv")
    assert all(row["score"] and not row["score_lo"] for row in table)
