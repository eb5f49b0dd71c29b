"""The same recording gives the same numbers, whatever it is scored with."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import Answer, ClipMaker

EVIDENCE = ["face_rate", "face_confidence", "face_px", "faces", "voiced", "snr_db", "level_dbfs"]


class Scored:
    """Runs `avpenet score` into files of its own and reads the rows."""

    def __init__(self, avpenet: Callable[..., Answer], folder: Path) -> None:
        self._avpenet, self._folder, self._runs = avpenet, folder, 0

    def __call__(self, *args: str | Path) -> list[dict[str, str]]:
        self._runs += 1
        out = self._folder / f"{self._runs}.csv"
        answer = self._avpenet("score", *args, "--weights", "untrained", "--device", "cpu", "--out", out)
        assert answer.code == 0, answer.err
        with out.open(encoding="utf-8", newline="") as file:
            return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def scored(avpenet_here: Callable[..., Answer], tmp_path_factory: pytest.TempPathFactory) -> Scored:
    return Scored(avpenet_here, tmp_path_factory.mktemp("numbers"))


@pytest.fixture(scope="module")
def long(clips: ClipMaker) -> Path:
    return clips.face(4.6, "160x120", 10.0)


@pytest.fixture(scope="module")
def short(clips: ClipMaker) -> Path:
    return clips.brief("moan")


@pytest.fixture(scope="module")
def crowd(scored: Scored, long: Path, short: Path) -> list[dict[str, str]]:
    """Two segments of `long` and row of `short`."""
    return scored(long, short)


def _same(row: dict[str, str], other: dict[str, str], names: list[str]) -> None:
    for name in names:
        assert float(row[name]) == pytest.approx(float(other[name]), abs=1.01e-3), name


@pytest.mark.slow
def test_scores_do_not_depend_on_other_recordings_order_or_batch(
    scored: Scored, crowd: list[dict[str, str]], long: Path, short: Path
) -> None:
    assert len(crowd) == 3
    alone = scored(short, "--batch-size", "1")
    backwards = scored(short, long, "--batch-size", "64")
    for row, other in [
        (crowd[0], backwards[1]),
        (crowd[1], backwards[2]),
        (crowd[2], backwards[0]),
        (crowd[2], alone[0]),
    ]:
        _same(row, other, ["start_s", "end_s", "score", *EVIDENCE])
        assert row["flags"] == other["flags"]


@pytest.mark.slow
def test_shared_windows_score_the_same_at_every_stride(scored: Scored, crowd: list[dict[str, str]], long: Path) -> None:
    apart, close = crowd[:2], scored(long, "--stride", "1")
    assert [float(row["start_s"]) for row in apart] == [0, 3]
    assert [float(row["start_s"]) for row in close] == [0, 1, 2, 3]
    for row in apart:
        (other,) = [candidate for candidate in close if candidate["start_s"] == row["start_s"]]
        _same(row, other, ["end_s", "score", *EVIDENCE])
        assert row["flags"] == other["flags"]
    assert len({row["score"] for row in close}) == 4


@pytest.mark.slow
def test_monte_carlo_intervals_repeat(scored: Scored, crowd: list[dict[str, str]], short: Path) -> None:
    (once,), (again,) = scored(short, "--mc-samples", "8"), scored(short, "--mc-samples", "8")
    for name in ("score", "score_sd", "score_lo", "score_hi"):
        assert once[name] == again[name]
    assert float(once["score_lo"]) < float(once["score_hi"])
    assert float(once["score_sd"]) > 0
    assert once["score"] == crowd[2]["score"]
