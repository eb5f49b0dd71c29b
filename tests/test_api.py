"""The public interface for notebooks: the same scores as the command, and a light import."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

import avpenet_cli
from tests.conftest import Answer, ClipMaker


def test_score_file_gives_the_scores_of_the_command(
    clips: ClipMaker, avpenet_here: Callable[..., Answer], tmp_path: Path
) -> None:
    clip = clips.brief()
    table = avpenet_cli.score_file(clip, weights="untrained", settings=avpenet_cli.RunSettings(device="cpu"))
    out = tmp_path / "scores.csv"
    assert avpenet_here("score", clip, "--weights", "untrained", "--device", "cpu", "--out", out).code == 0
    written = pd.read_csv(out)
    assert list(table.columns) == list(written.columns)
    assert table["score"].tolist() == pytest.approx(written["score"].tolist(), abs=1e-9)
    assert "UNTRAINED" in table.attrs["notice"]


def test_score_file_raises_for_what_is_no_recording(tmp_path: Path) -> None:
    (tmp_path / "empty.mp4").touch()
    with pytest.raises(avpenet_cli.RecordingError, match="empty"):
        avpenet_cli.score_file(tmp_path / "empty.mp4", weights="untrained")
    with pytest.raises(avpenet_cli.AvpenetError):
        avpenet_cli.score_file(tmp_path / "absent.mp4", weights="untrained")


def test_analyse_gives_the_error_of_scores_against_ratings() -> None:
    starts = [0.0, 3.0, 6.0]
    recordings = [f"r{number}.mp4" for number in range(6) for _ in starts]
    scores = pd.DataFrame({"recording": recordings, "segment": [0, 1, 2] * 6, "start_s": starts * 6})
    scores["end_s"] = scores["start_s"] + 3.0
    scores["score"] = [1.0 + 0.5 * number for number in range(18)]
    scores["status"] = "scored"
    ratings = scores[["recording", "start_s", "end_s"]].assign(value=scores["score"] - 0.5)
    document = avpenet_cli.analyse(scores, ratings)
    assert document.agreement is not None
    assert document.agreement.limits.bias.value == pytest.approx(0.5)


def test_every_public_name_exists() -> None:
    for name in avpenet_cli.__all__:
        assert getattr(avpenet_cli, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'score_folder'"):
        avpenet_cli.score_folder  # noqa: B018


def test_importing_the_package_loads_no_heavy_library() -> None:
    program = "import sys, avpenet_cli; print(sorted({'torch', 'pandas', 'numpy', 'pydantic'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
