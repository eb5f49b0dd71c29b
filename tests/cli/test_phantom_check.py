"""`avpenet phantom check`: changed scores, altered files and missing baselines are reported and never pass."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from avpenet_cli.phantom.make import PhantomRequest, make_phantoms
from tests.conftest import REPOSITORY, Answer

Avpenet = Callable[..., Answer]

UNTRAINED = ("phantom", "check", "--weights", "untrained", "--phantoms")
RECORDING = "P0001-01.mp4"


@dataclass(frozen=True)
class FirstCheck:
    """A folder of one short phantom, the baseline that the first check saved, and its answer."""

    phantoms: Path
    baseline: Path
    answer: Answer


@pytest.fixture(scope="module")
def phantoms(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("check") / "phantoms"
    request = PhantomRequest(subjects=1, seed=3, minutes=0.05, age_groups="adult", size_px=(320, 240), fps=5.0)
    make_phantoms(request, out)
    return out


@pytest.fixture(scope="module")
def first(phantoms: Path, avpenet_here: Avpenet) -> FirstCheck:
    baseline = phantoms.parent / "site.json"
    return FirstCheck(phantoms, baseline, avpenet_here(*UNTRAINED, phantoms, "--save", baseline))


def _altered_baseline(first: FirstCheck, path: Path, step: float) -> Path:
    plain = json.loads(first.baseline.read_text())
    (known,) = plain["weights"].values()
    scores = known["scores"][RECORDING]
    scores[0] += step if scores[0] < 5 else -step
    path.write_text(json.dumps(plain))
    return path


def _verdict(answer: Answer) -> str:
    (line,) = [text for text in answer.out.splitlines() if text.startswith(("PASS", "FAIL", "NO BASELINE"))]
    return line


def test_without_a_baseline_only_save_passes(first: FirstCheck, avpenet_here: Avpenet) -> None:
    """Without a baseline the check passes only where it saves one."""
    assert first.answer.code == 0, first.answer.err
    assert _verdict(first.answer).startswith("NO BASELINE")
    assert "today's scores are in site.json" in _verdict(first.answer)
    assert first.baseline.stat().st_mode & 0o777 == 0o600
    without = avpenet_here(*UNTRAINED, first.phantoms, "-q")
    assert without.code == 4
    assert "--save FILE" in _verdict(without)
    assert without.out.count("\n") == 1


def test_an_unchanged_installation_passes(first: FirstCheck, avpenet_here: Avpenet, tmp_path: Path) -> None:
    out = tmp_path / "protocol.json"
    answer = avpenet_here(*UNTRAINED, first.phantoms, "--baseline", first.baseline, "--out", out)
    assert answer.code == 0, answer.out + answer.err
    assert _verdict(answer).startswith("PASS")
    assert [line for line in answer.out.splitlines() if line in ("Installation", "Operation", "Constancy")] == [
        "Installation",
        "Operation",
        "Constancy",
    ]
    assert "as listed, by SHA-256" in answer.out
    assert "mean nothing: these weights are untrained" in answer.out
    assert answer.out.rstrip().splitlines()[-1].startswith("Checked by: ___")
    assert "\x1b" not in answer.out
    assert out.stat().st_mode & 0o777 == 0o600
    protocol = json.loads(out.read_text())
    assert protocol["verdict"] == "PASS"
    (operation,), (constancy,) = protocol["operation"], protocol["constancy"]["recordings"]
    assert (operation["segments"], operation["scored"]) == (1, 1)
    assert operation["seconds"] == pytest.approx(3.0, abs=0.1)
    assert operation["face_rate"] > 0.9
    assert constancy["n_pairs"] == 1
    assert constancy["mae"] == pytest.approx(abs(constancy["bias"]))
    assert constancy["largest_change"] == pytest.approx(0.0, abs=1e-3)
    assert str(tmp_path) not in out.read_text()


def test_a_changed_score_fails(first: FirstCheck, avpenet_here: Avpenet, tmp_path: Path) -> None:
    answer = avpenet_here(
        *UNTRAINED, first.phantoms, "--baseline", _altered_baseline(first, tmp_path / "changed.json", 0.2), "-q"
    )
    assert answer.code == 4
    assert _verdict(answer).startswith(f"FAIL: {RECORDING}: segment 0 changed by 0.20")


def test_a_baseline_that_is_compared_with_is_not_replaced(
    first: FirstCheck, avpenet_here: Avpenet, tmp_path: Path
) -> None:
    """Otherwise a small drift every night would never be seen."""
    changed = _altered_baseline(first, tmp_path / "changed.json", 0.2)
    before = changed.read_bytes()
    answer = avpenet_here(*UNTRAINED, first.phantoms, "--baseline", changed, "--save", changed)
    assert answer.code == 2
    assert "scores are compared with these" in answer.err
    assert changed.read_bytes() == before


def test_an_altered_recording_fails(first: FirstCheck, avpenet_here: Avpenet, tmp_path: Path) -> None:
    """Video and audio decode as before, but the file has changed."""
    folder = tmp_path / "phantoms"
    shutil.copytree(first.phantoms, folder)
    with (folder / RECORDING).open("ab") as file:
        file.write(b"\0\0\0\x08free")
    shutil.copy(first.baseline, folder / "expected.json")
    saved = tmp_path / "saved.json"
    answer = avpenet_here(*UNTRAINED, folder, "--save", saved)
    assert answer.code == 4
    assert f"FAIL: {RECORDING} was altered" in _verdict(answer)
    assert "nothing was saved in saved.json" in _verdict(answer)
    assert not saved.exists()


def test_a_recording_that_cannot_be_read_fails(first: FirstCheck, avpenet_here: Avpenet, tmp_path: Path) -> None:
    """Also where no baseline lists it, and the truth is missing as well."""
    folder = tmp_path / "phantoms"
    folder.mkdir()
    (folder / RECORDING).write_bytes(b"no video")
    answer = avpenet_here(*UNTRAINED, folder, "--save", tmp_path / "saved.json")
    assert answer.code == 4
    assert f"FAIL: {RECORDING} failed: " in _verdict(answer)
    assert not (tmp_path / "saved.json").exists()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--phantoms", "{tmp}/none"], "no such folder"),
        (["--phantoms", "{tmp}"], "it holds no recordings"),
        (["--out", "{tmp}/protocol.txt"], "end the name in .json"),
        (["--out", "{tmp}/b.json", "--baseline", "{tmp}/b.json"], "would overwrite"),
        (["--save", "{tmp}/none/b.json"], "its folder does not exist"),
        (["--baseline", "{tmp}/none.json"], "cannot be read"),
        (["--baseline", "{tmp}/text.json"], "is not JSON"),
        (["--baseline", "{tmp}/other.json"], "no setting is called colour"),
        (["--save", "{phantoms}/phantoms.json"], "phantoms.json"),
        (["--device", "abacus"], "no such kind of device"),
    ],
)
def test_invalid_arguments_are_refused_before_scoring(
    options: list[str], words: str, phantoms: Path, avpenet_here: Avpenet, tmp_path: Path
) -> None:
    (tmp_path / "text.json").write_text("scores")
    (tmp_path / "other.json").write_text('{"format_version": 1, "files": {}, "weights": {}, "colour": 1}')
    filled = [option.format(tmp=tmp_path, phantoms=phantoms) for option in options]
    answer = avpenet_here(*UNTRAINED, phantoms, *filled)
    assert answer.code == 2
    assert answer.out == ""
    (line,) = answer.err.splitlines()
    assert words in line


def test_scores_of_other_phantoms_are_not_mixed_in(first: FirstCheck, avpenet_here: Avpenet, tmp_path: Path) -> None:
    plain: dict[str, Any] = json.loads(first.baseline.read_text())
    plain["files"]["truth.csv"] = "0" * 64
    other = tmp_path / "other.json"
    other.write_text(json.dumps(plain))
    answer = avpenet_here(*UNTRAINED, first.phantoms, "--save", other)
    assert answer.code == 2
    assert "holds scores of other phantoms" in answer.err
    assert json.loads(other.read_text()) == plain


@pytest.mark.slow
def test_shipped_scores_are_reproduced(avpenet_here: Avpenet, tmp_path: Path) -> None:
    """One of the bundled recordings, to save time; `make demo` checks them all."""
    bundled, folder = REPOSITORY / "examples" / "phantoms", tmp_path / "phantoms"
    folder.mkdir()
    plain = json.loads((bundled / "expected.json").read_text())
    wanted = {RECORDING, "truth.csv"}
    for name in wanted:
        shutil.copy(bundled / name, folder / name)
    plain["files"] = {name: digest for name, digest in plain["files"].items() if name in wanted}
    for known in plain["weights"].values():
        known["scores"] = {RECORDING: known["scores"][RECORDING]}
    (folder / "expected.json").write_text(json.dumps(plain))
    answer = avpenet_here(*UNTRAINED, folder)
    assert answer.code == 0, answer.out + answer.err
    assert _verdict(answer).startswith("PASS")
