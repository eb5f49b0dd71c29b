"""Baselines: changes of scores are judged, other weights' scores stay, and version 1 can be read."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from avpenet_cli.commissioning.baseline import (
    Baseline,
    KnownScores,
    altered_files,
    baseline_to_extend,
    compare_scores,
    judge,
    read_baseline,
    save_baseline,
)
from avpenet_cli.commissioning.phantoms import Phantoms
from avpenet_cli.errors import SettingsError
from tests.conftest import REPOSITORY

PHANTOMS = Phantoms(Path("phantoms"), (), {"a.mp4": "0" * 64, "truth.csv": "1" * 64})
KNOWN = KnownScores("small", "2026-01-31", "cpu", {"torch": "2"}, {"a.mp4": (5.0, None)})


@pytest.mark.parametrize(
    ("now", "before", "problem"),
    [
        ((5.0, 4.1), (5.1, 4.0), ""),
        ((5.0, 4.0), (5.0, 4.101), "segment 1 changed by 0.10, from 4.10 to 4.00"),
        ((5.0, None), (5.0, 4.0), "segment 1 is unscorable and was scored"),
        ((5.0, 4.0), (None, 4.0), "segment 0 is scored and was unscorable"),
        ((None,), (None,), ""),
        ((5.0,), (5.0, 4.0), "has 1 segment and had 2"),
        (None, (5.0,), "was scored before and is not there"),
        ((5.0,), None, "has no known scores"),
    ],
)
def test_changes_of_scores_are_judged(
    now: tuple[float | None, ...] | None, before: tuple[float | None, ...] | None, problem: str
) -> None:
    (change,) = compare_scores({} if now is None else {"a": now}, {} if before is None else {"a": before})
    assert change.problem == problem


def test_saving_keeps_the_scores_of_other_weights(tmp_path: Path) -> None:
    path = tmp_path / "baseline.json"
    save_baseline(path, baseline_to_extend(path, PHANTOMS), "2" * 64, KNOWN)
    save_baseline(path, baseline_to_extend(path, PHANTOMS), "3" * 64, KNOWN)
    assert read_baseline(path) == Baseline(2, PHANTOMS.files, {"2" * 64: KNOWN, "3" * 64: KNOWN})
    with pytest.raises(SettingsError, match="holds scores of other phantoms"):
        baseline_to_extend(path, Phantoms(PHANTOMS.folder, (), {"b.mp4": "0" * 64}))


def test_a_baseline_of_version_1_can_be_read(tmp_path: Path) -> None:
    path = tmp_path / "baseline.json"
    save_baseline(path, baseline_to_extend(path, PHANTOMS), "2" * 64, KNOWN)
    expected = read_baseline(path)
    content = json.loads(path.read_text())
    for known in content["weights"].values():
        known["found"] = known.pop("date")
    path.write_text(json.dumps(content | {"format_version": 1}))
    assert read_baseline(path) == expected


def test_the_bundled_baseline_can_be_read() -> None:
    baseline = read_baseline(REPOSITORY / "examples" / "phantoms" / "expected.json")
    assert all(known.date and known.scores for known in baseline.weights.values())


def test_altered_added_and_missing_files_fail_the_check() -> None:
    baseline = Baseline(2, {"a.mp4": "9" * 64, "b.mp4": "0" * 64}, {})
    altered = altered_files(PHANTOMS, [baseline])
    assert altered == ("a.mp4 was altered", "b.mp4 is not there", "truth.csv was added")
    assert judge(altered, (), None) == ("FAIL", altered)
    assert judge((), (), None) == ("NO BASELINE", ())
    assert judge((), (), ()) == ("PASS", ())
