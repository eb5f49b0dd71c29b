"""`avpenet phantom make`: recordings that can be scored, and true pain that scores can be compared with."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from avpenet_cli.errors import SettingsError
from avpenet_cli.phantom.face.people import built_in_faces
from avpenet_cli.phantom.make import PhantomRequest, make_phantoms, scenes
from avpenet_cli.phantom.scene import draw_scene, render_audio, render_frames
from avpenet_cli.phantom.subjects import draw_subject
from avpenet_cli.study.ratings import read_events, read_ratings
from avpenet_cli.study.subjects import read_subjects
from tests.conftest import REPOSITORY, Answer

SMALL = ("--size", "160x120", "--fps", "5", "--minutes", "0.1", "-q")


def probe(path: Path) -> dict[str, dict[str, Any]]:
    command = ["ffprobe", "-v", "error", "-show_streams", "-of", "json", str(path)]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    return {stream["codec_type"]: stream for stream in json.loads(result.stdout)["streams"]}


@pytest.fixture(scope="module")
def phantoms(tmp_path_factory: pytest.TempPathFactory, avpenet_here: Callable[..., Answer]) -> Path:
    out = tmp_path_factory.mktemp("phantoms") / "set one"
    result = avpenet_here("phantom", "make", "--out", out, "--subjects", 3, "--seed", 5, "--jobs", 1, *SMALL)
    assert result.code == 0, result.err
    return out


def test_recordings_have_the_requested_format_size_and_rate(phantoms: Path) -> None:
    recordings = sorted(phantoms.glob("*.mp4"))
    assert [path.name for path in recordings] == ["P0001-01.mp4", "P0002-01.mp4", "P0003-01.mp4"]
    for path in recordings:
        streams = probe(path)
        assert (streams["video"]["codec_name"], streams["audio"]["codec_name"]) == ("h264", "aac")
        assert (streams["video"]["width"], streams["video"]["height"]) == (160, 120)
        assert streams["video"]["r_frame_rate"] == "5/1"
        assert float(streams["video"]["duration"]) == pytest.approx(6.0, abs=0.01)
        assert float(streams["audio"]["duration"]) == pytest.approx(6.0, abs=0.05)
    assert {path.stat().st_mode & 0o777 for path in phantoms.iterdir()} == {0o600}


def test_tables_are_readable_by_the_report(phantoms: Path) -> None:
    truth = read_ratings(phantoms / "truth.csv")
    assert truth.raters == ("truth",)
    assert len(truth.rows) == 3 * 6
    assert truth.rows["value"].between(0, 10).all()
    subjects = read_subjects(phantoms / "subjects.csv")
    assert set(subjects.columns) == {"age_group", "site", "sex", "skin_tone", "cover", "course"}
    assert set(subjects.subject_of) == {path.name for path in phantoms.glob("*.mp4")}
    read_events(phantoms / "events.csv")
    assert "no evidence" in json.loads((phantoms / "phantoms.json").read_text())["notice"]


def test_redrawn_scenes_equal_those_of_the_recordings(phantoms: Path, tmp_path: Path) -> None:
    again = scenes(phantoms)
    assert set(again) == {path.name for path in phantoms.glob("*.mp4")}
    rows = read_ratings(phantoms / "truth.csv").rows
    for name, start_s, value in zip(rows["recording"], rows["start_s"], rows["value"], strict=True):
        assert again[name].trajectory.mean_over(start_s, start_s + 1.0) == pytest.approx(value, abs=6e-4)
    record = json.loads((phantoms / "phantoms.json").read_text())
    (tmp_path / "phantoms.json").write_text(json.dumps(record | {"avpenet": "0.0.1"}))
    with pytest.raises(SettingsError, match=r"made by avpenet 0\.0\.1"):
        scenes(tmp_path)
    with pytest.raises(SettingsError, match="not a set of phantoms"):
        scenes(tmp_path / "none")


def test_same_seed_gives_the_same_frames_audio_and_truth(phantoms: Path, tmp_path: Path) -> None:
    request = PhantomRequest(subjects=1, seed=5, minutes=0.1, size_px=(160, 120), fps=5.0)
    make_phantoms(request, tmp_path / "again")
    first_rows = (tmp_path / "again" / "truth.csv").read_text().splitlines()
    assert first_rows == (phantoms / "truth.csv").read_text().splitlines()[: len(first_rows)]
    scenes = [draw_scene(draw_subject(0, 5, "both"), 6.0, 9, (160, 120), 5.0) for _ in range(2)]
    rendered = [list(islice(render_frames(scene, built_in_faces()), 6)) for scene in scenes]
    assert all(np.array_equal(a, b) for a, b in zip(*rendered, strict=True))
    assert np.array_equal(render_audio(scenes[0]), render_audio(scenes[1]))
    other = draw_scene(draw_subject(0, 5, "both"), 6.0, 10, (160, 120), 5.0)
    assert not np.array_equal(render_audio(scenes[0]), render_audio(other))


def test_second_run_keeps_recordings_and_refuses_another_request(
    phantoms: Path, avpenet_here: Callable[..., Answer]
) -> None:
    before = {path.name: path.stat().st_mtime_ns for path in phantoms.glob("*.mp4")}
    (phantoms / "scores.csv").write_text("recording,segment\n")
    again = avpenet_here("phantom", "make", "--out", phantoms, "--subjects", 3, "--seed", 5, "--jobs", 1, *SMALL)
    assert again.code == 0
    assert {path.name: path.stat().st_mtime_ns for path in phantoms.glob("*.mp4")} == before
    other = avpenet_here("phantom", "make", "--out", phantoms, "--subjects", 3, "--seed", 6, *SMALL)
    assert other.code == 2
    assert "holds other phantoms: order.seed was 5, now 6" in other.err


def test_folder_with_other_files_is_refused_and_unchanged(tmp_path: Path, avpenet_here: Callable[..., Answer]) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    result = avpenet_here("phantom", "make", "--out", tmp_path, "--subjects", 1, *SMALL)
    assert result.code == 2
    assert "holds other files, such as mine.txt" in result.err
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--size", "641x480"], "even sides"),
        (["--size", "wide"], "not a size"),
        (["--codec", "theora"], "no such codec"),
        (["--age-group", "child"], "no such group"),
        (["--suffix", ".gif"], "no such container"),
        (["--head-model", "absent.npz"], "no head model"),
    ],
)
def test_invalid_options_give_a_one_line_error(
    tmp_path: Path, avpenet_here: Callable[..., Answer], arguments: list[str], words: str
) -> None:
    result = avpenet_here("phantom", "make", "--out", tmp_path / "x", "--subjects", 1, "-q", *arguments)
    assert result.code == 2
    assert words in result.err
    assert len(result.err.splitlines()) == 1
    assert not (tmp_path / "x").exists()


@pytest.mark.slow
@pytest.mark.parametrize(("codec", "suffix", "name"), [("mpeg4", ".avi", "mpeg4"), ("vp9", ".webm", "vp9")])
def test_other_codecs_and_containers(
    tmp_path: Path, avpenet_here: Callable[..., Answer], codec: str, suffix: str, name: str
) -> None:
    options = ("--codec", codec, "--suffix", suffix, "--jobs", 1)
    result = avpenet_here("phantom", "make", "--out", tmp_path / "x", "--subjects", 1, *SMALL, *options)
    assert result.code == 0, result.err
    (path,) = (tmp_path / "x").glob(f"*{suffix}")
    assert probe(path)["video"]["codec_name"] == name


@pytest.mark.slow
def test_killed_run_leaves_no_partial_recording_and_resumes(tmp_path: Path) -> None:
    out = tmp_path / "killed"
    arguments = ["phantom", "make", "--out", str(out), "--subjects", "4", "--seed", "5", "--jobs", "1", *SMALL]
    command = [sys.executable, "-m", "avpenet_cli", *arguments]
    process = subprocess.Popen(command, cwd=REPOSITORY, start_new_session=True)
    while not list(out.glob("P*.mp4")):
        assert process.poll() is None
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert len(list(out.glob("P*.mp4"))) < 4
    for path in out.glob("P*.mp4"):
        assert float(probe(path)["video"]["duration"]) == pytest.approx(6.0, abs=0.01)
    assert subprocess.run(command, cwd=REPOSITORY).returncode == 0
    assert len(list(out.glob("P*.mp4"))) == 4
    assert not list(out.glob(".*"))


@pytest.mark.slow
def test_phantoms_can_be_scored_and_reported(tmp_path: Path, avpenet_here: Callable[..., Answer]) -> None:
    """Commissioning of an installation: make phantoms, score them, report."""
    request = PhantomRequest(subjects=2, seed=3, minutes=0.1, age_groups="adult", size_px=(320, 240), fps=10.0)
    make_phantoms(request, tmp_path / "set")
    out = tmp_path / "scores.csv"
    scored = avpenet_here("score", tmp_path / "set", "--weights", "untrained", "--out", out, "-q")
    assert scored.code == 0, scored.err
    tables = ("--reference", tmp_path / "set" / "truth.csv", "--subjects", tmp_path / "set" / "subjects.csv")
    events = ("--events", tmp_path / "set" / "events.csv")
    result = avpenet_here("report", out, *tables, *events, "--bootstrap", 200, "--out", tmp_path / "page.html", "-q")
    assert result.code == 0, result.err
    document = json.loads((tmp_path / "page.json").read_text())
    assert document["headline"]["n_pairs"] >= 2
    assert document["pairing"]["unmatched_ratings"]["count"] == 0
