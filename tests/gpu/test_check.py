"""The GPU check's own parts that work without a GPU: its input, its table, and how it ends."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import ClipMaker
from tests.gpu.check import ROOT, Row, as_table, run_part
from tests.gpu.prepare import frame_numbers, frames_by_opencv, pack_audio, prepare, unpack_audio

CHECK = ROOT / "tests" / "gpu" / "check.py"


def test_prepared_frames_are_those_that_the_program_decodes(clips: ClipMaker) -> None:
    clip = clips.face(seconds=1.0)
    numbers = frame_numbers(clip)
    assert [slot for slot, _ in numbers] == list(range(10))
    assert len(list(frames_by_opencv(clip))) > numbers[-1][1]


def test_prepared_audio_is_rounded_to_16_bits_and_nothing_else() -> None:
    waveform = np.linspace(-1, 1, 1001, dtype=np.float32)
    unpacked = unpack_audio(pack_audio(waveform))
    assert unpacked.dtype == np.float32
    # Full scale itself, +1, is one step above the largest 16-bit sample.
    assert np.abs(unpacked - waveform)[:-1].max() <= 0.5 / 32_768
    assert unpacked[-1] == 32_767 / 32_768


@pytest.mark.slow
def test_prepared_recordings_are_read_without_ffmpeg(tmp_path: Path) -> None:
    """As on a machine with a GPU but without ffmpeg: everything that the program decodes is replaced."""
    prepare(tmp_path)
    # A process of its own, because the decoders stay replaced.
    code = (
        "import sys; from pathlib import Path; from tests.gpu.recordings import PreparedRecordings\n"
        "from avpenet_cli.scoring.network import Network; from avpenet_cli.scoring.scorer import Scorer\n"
        "from avpenet_cli.settings import RunSettings; from avpenet_cli.weights import find\n"
        "prepared = PreparedRecordings(Path(sys.argv[1]), 3.0); prepared.replace_decoders()\n"
        "run = RunSettings(device='cpu'); scorer = Scorer(Network(find('untrained'), run), run)\n"
        "print([segment.modalities for segment in scorer.score(prepared.paths[0]).segments])\n"
    )
    completed = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)],
        cwd=ROOT,
        env=os.environ | {"PATH": ""},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert completed.stdout == "['audio+face']\n", completed.stderr


def test_table_has_a_line_for_every_row_and_a_dash_for_what_is_empty() -> None:
    table = as_table({"device": "cpu", "cores": 2}, [Row("speed", "", "3 ms", "measured"), Row("a", "1", "2", "fail")])
    assert table.splitlines() == [
        "device cpu, cores 2",
        "",
        "| check | limit | measured | result |",
        "| --- | --- | --- | --- |",
        "| speed | - | 3 ms | measured |",
        "| a | 1 | 2 | fail |",
    ]


@pytest.mark.slow
def test_part_that_crashes_becomes_a_failed_row(tmp_path: Path) -> None:
    options = argparse.Namespace(folder=tmp_path, out=tmp_path, device="cpu", seconds=1.0, quick=True)
    rows = run_part("parity", options, tmp_path, 60.0)
    assert [(row.check, row.result) for row in rows] == [("parity, the rest", "fail")]
    assert "recordings.json" in rows[0].measured


@pytest.mark.slow
def test_device_that_is_not_there_ends_with_one_line_and_status_2(tmp_path: Path) -> None:
    (tmp_path / "recordings.json").write_text("{}")
    command = [sys.executable, str(CHECK), str(tmp_path), "--out", str(tmp_path / "out"), "--device", "cuda:99"]
    completed = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert completed.returncode == 2
    assert completed.stdout == ""
    assert completed.stderr.startswith("gpu-check: --device cuda:99: ")
    assert len(completed.stderr.splitlines()) == 1
    assert not (tmp_path / "out").exists()
