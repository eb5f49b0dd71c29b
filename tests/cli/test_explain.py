"""`avpenet explain` from end to end: a recording and weights in, figures, a page and a record out."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from avpenet_cli import schemas
from avpenet_cli.explanation.faces import FaceStyle
from avpenet_cli.explanation.map_settings import MapSettings
from avpenet_cli.explanation.run import ExplainRequest, explain
from avpenet_cli.explanation.selection import Selection
from avpenet_cli.weights import default_entry
from tests.conftest import Answer, ClipMaker
from tests.support.documented_commands import EXPLANATION_PAGES, folder_with_examples, run_commands
from tests.support.explanations import cut_phantom

Avpenet = Callable[..., Answer]

SCHEMA = json.loads((Path(schemas.__file__).parent / "explain.schema.json").read_text(encoding="utf-8"))


def checked(out: Path, *segments: int) -> dict[str, Any]:
    """The record, after checking what every explanation must fulfil."""
    figures = {f"segment-{number:04d}.{suffix}" for number in segments for suffix in ("png", "svg")}
    assert {path.name for path in out.iterdir()} == figures | {
        *("explain.html", "explain.json", "explain.json.lock", "explain.json.history.jsonl"),
    }
    assert out.stat().st_mode & 0o777 == 0o700
    assert all(path.stat().st_mode & 0o777 == 0o600 for path in out.iterdir())
    record: dict[str, Any] = json.loads((out / "explain.json").read_text())
    jsonschema.validate(record, SCHEMA)
    assert record["files"] == {
        name: hashlib.sha256((out / name).read_bytes()).hexdigest() for name in figures | {"explain.html"}
    }
    assert [segment["segment"] for segment in record["segments"]] == list(segments)
    for segment in record["segments"]:
        row = record["scores"][segment["segment"]]
        attention, saliency, shares = segment["attention"], segment["saliency"], segment["shares"]
        assert attention["reason"] or (attention["audio"] and attention["faces"])
        assert saliency["reason"] or (saliency["audio"] is not None and saliency["faces"])
        assert shares["reason"] or row["score"] == pytest.approx(
            shares["quiet"] + shares["audio"] + shares["face"], abs=0.002
        )
    return record


@pytest.mark.slow
def test_the_explanation_of_the_guide_has_everything(tmp_path: Path, avpenet_here: Avpenet) -> None:
    """The commands of the page, with the maps and checks that a user gets."""
    out = tmp_path / "why"
    outputs = run_commands(EXPLANATION_PAGES, folder_with_examples(tmp_path, seconds=18))
    record = checked(out, 3)
    (segment,) = record["segments"]
    assert segment["attention"]["reason"] == segment["saliency"]["reason"] == ""
    assert record["settings"]["threads"] >= 1
    assert sum(segment["attention"]["audio"]) == pytest.approx(1, abs=1e-3)
    assert {(check["name"], check["modality"]) for check in segment["checks"]} == {
        (name, modality) for name in ("randomisation", "deletion", "repetition") for modality in ("audio", "face")
    }
    # The segment is in clear pain.
    assert all(check["passed"] for check in segment["checks"]), [check["text"] for check in segment["checks"]]
    assert [curve["modality"] for curve in segment["curves"]] == ["audio", "face"]
    for curve in segment["curves"]:
        assert curve["share"] == pytest.approx([0, *MapSettings().deletion_shares])
        assert curve["score"][0] == pytest.approx(curve["random"][0]) == pytest.approx(curve["random_high"][0])
        lines = zip(curve["random_low"], curve["random"], curve["random_high"], strict=True)
        assert all(low <= mean <= high for low, mean, high in lines)
        assert curve["blank"] < curve["score"][0]
        assert len(curve["random_area"]) == MapSettings().random_orders
    assert "DEMONSTRATION" in record["notices"][0] and outputs[0].startswith(record["notices"][0])
    page = (out / "explain.html").read_text(encoding="utf-8")
    assert "crying.mp4" in page and str(tmp_path) not in page
    refused = avpenet_here("explain", tmp_path / "crying.mp4", "--out", out, "--device", "cpu")
    assert refused.code == 2 and "--overwrite" in refused.err
    assert checked(out, 3) == record


STYLES: dict[str, FaceStyle] = {"without a face": "blurred", "two faces without audio": "none", "rotated": "landmarks"}
QUICK = MapSettings(audio_cell=(64, 60), face_cells=3, faces_shown=1, deletion_shares=(0.4,), random_orders=2)
"""Coarse maps: here the question is whether there are any."""


@pytest.mark.slow
def test_the_highest_of_high_scores_has_nothing_clearly_lower_to_compare_with(tmp_path: Path) -> None:
    clip, out = cut_phantom(tmp_path, start_s=6.0, seconds=12.0, fps=2), tmp_path / "out"
    explain(ExplainRequest(clip, default_entry(), out, Selection(top=1), device="cpu", maps=QUICK))
    record = checked(out, 1)
    assert max(row["score"] for row in record["scores"]) == record["scores"][1]["score"]
    (segment,) = record["segments"]
    assert record["quiet"] == [] and "at least 1 point below" in segment["shares"]["reason"]


@pytest.mark.slow
@pytest.mark.parametrize("clip", sorted(STYLES))
def test_real_clips_give_figures_or_reasons_and_no_names(
    clip: str, shared: Path, clips: ClipMaker, tmp_path: Path
) -> None:
    videos = shared / "data" / "videos"
    source = {
        "without a face": videos / "pyfeat_no_face.mp4",
        "two faces without audio": videos / "intel_classroom.gif",
        "rotated": clips.ffmpeg("-i", str(videos / "grid_swiz3n.mpg"), "-vf", "transpose=1", "-r", "4"),
    }[clip]
    recording, out = tmp_path / f"Erika Mustermann{source.suffix}", tmp_path / "out"
    recording.symlink_to(source)
    explain(ExplainRequest(recording, default_entry(), out, Selection(top=1), STYLES[clip], device="cpu", maps=QUICK))
    record = checked(out, 0)
    (segment,) = record["segments"]
    modalities = {"without a face": "audio", "two faces without audio": "face", "rotated": "audio+face"}
    assert record["scores"][0]["modalities"] == modalities[clip]
    assert bool(segment["attention"]["reason"]) == (clip != "rotated")
    assert not any(b"Mustermann" in path.read_bytes() for path in out.iterdir())


def test_what_cannot_be_explained_is_said_in_one_line(tmp_path: Path, avpenet_here: Avpenet) -> None:
    text = tmp_path / "text.mp4"
    text.write_text("no recording")
    out = tmp_path / "out"
    for args, code, words in (
        ((tmp_path / "absent.mp4",), 1, "no such file"),
        ((tmp_path,), 1, "not a recording"),
        ((text,), 1, "text.mp4"),
        ((text, "--segments", "2-"), 2, "--segments 2-"),
        ((text, "--segments", "1", "--top", "2"), 2, "exclude each other"),
        ((text, "--around", "1:99"), 2, "--around 1:99"),
        ((text, "--blur-eyes", "--no-frames"), 2, "exclude each other"),
        ((text, "--stride", "0.25"), 2, "multiple of 0.1 s"),
        ((text, "--weights", "nobody"), 3, "nobody"),
        ((text, "--device", "gpu"), 2, "no such kind of device"),
    ):
        done = avpenet_here("explain", *args, "--out", out, "--quiet")
        assert (done.code, len(done.err.splitlines())) == (code, 1), done.err
        assert words in done.err
        assert not out.exists()


def test_a_recording_without_a_scored_segment_is_said_in_one_line(
    shared: Path, tmp_path: Path, avpenet_here: Avpenet
) -> None:
    short = shared / "data" / "videos" / "decord_video_90.mov"
    done = avpenet_here("explain", short, "--out", tmp_path / "out", "--quiet", "--device", "cpu")
    assert (done.code, len(done.err.splitlines())) == (1, 1), done.err
    assert "too short" in done.err
    assert not (tmp_path / "out").exists()
