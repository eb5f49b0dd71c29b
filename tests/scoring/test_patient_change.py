"""`--baseline quiet`: which minutes are quiet, whose they are, and what table and manifest say."""

from __future__ import annotations

import csv
import dataclasses
import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from avpenet_cli.records import Flag, Modalities, Quality, RecordingOutcome, SegmentScore, Status
from avpenet_cli.scoring.patient_change import NO_SUBJECT, TOO_FEW, is_candidate, patient_changes
from avpenet_cli.study.score_tables import read_scores
from avpenet_cli.tables import CHANGE_COLUMNS, COLUMNS
from tests.conftest import Answer, ClipMaker

Avpenet = Callable[..., Answer]

QUIET = SegmentScore(0, 0.0, 3.0, Status.SCORED, Quality(voiced=0.0), 2.0, "low", modalities=Modalities.BOTH)


def outcome(
    scores: Sequence[float | None], voiced: Sequence[float], made_by: str = Modalities.BOTH
) -> RecordingOutcome:
    """A recording with a segment every 3 s."""
    segments = [
        dataclasses.replace(
            QUIET,
            segment=place,
            start_s=3.0 * place,
            end_s=3.0 * place + 3.0,
            status=Status.UNSCORABLE if score is None else Status.SCORED,
            score=score,
            modalities="" if score is None else made_by,
            quality=Quality(voiced=share),
        )
        for place, (score, share) in enumerate(zip(scores, voiced, strict=True))
    ]
    return RecordingOutcome(Status.SCORED, tuple(segments))


def test_quiet_is_told_by_evidence_not_by_the_score() -> None:
    assert is_candidate(QUIET) and is_candidate(dataclasses.replace(QUIET, score=9.9))
    assert is_candidate(dataclasses.replace(QUIET, flags=(Flag.LOW_SNR, Flag.TRUNCATED)))
    for flag in (Flag.SILENT, Flag.SEVERAL_FACES, Flag.LOW_FACE_RATE, Flag.CLIPPED, Flag.SHORT_TAIL):
        assert not is_candidate(dataclasses.replace(QUIET, flags=(flag,)))
    for quality in (Quality(voiced=0.11), Quality()):
        assert not is_candidate(dataclasses.replace(QUIET, quality=quality))
    assert not is_candidate(dataclasses.replace(QUIET, score=None))


def test_change_is_the_score_less_the_mean_of_the_quiet_minutes() -> None:
    scores = [1.0, 2.0] * 6 + [7.0, None]
    result = patient_changes([("a", outcome(scores, [0.0] * 12 + [0.9, 0.0]))], None)
    change, se = result.of["a"]
    assert change.tolist()[:13] == [-0.5, 0.5] * 6 + [5.5] and np.isnan(change[13]) and np.isnan(se[13])
    assert (se[:13] > 0).all()
    assert (result.entry.by, result.entry.number, result.entry.with_baseline, result.entry.missing) == (
        "recording",
        1,
        1,
        [],
    )
    assert result.notices == ("change: 1 of 1 recording with a baseline of at least 30 s of quiet minutes",)


def test_a_patients_quiet_minutes_may_be_in_another_recording() -> None:
    rng = np.random.default_rng(1)
    recordings = [
        (f"calm{number}", outcome(rng.normal(2.0, 0.5, 12).clip(0).tolist(), [0.0] * 12)) for number in range(12)
    ]
    loud = ("loud", outcome([8.0] * 4, [0.9] * 4))
    alone = patient_changes([*recordings, loud], None)
    assert np.isnan(alone.of["loud"][0]).all()
    (lack,) = alone.entry.missing
    assert (lack.recordings, lack.quiet_s, lack.reason) == (["loud"], 0.0, TOO_FEW)
    assert alone.notices[1] == "loud: no change for scores from audio+face: 0.0 s are quiet, a baseline takes 30 s"
    subject_of = {name: f"P{place // 2}" for place, (name, _) in enumerate(recordings)} | {"loud": "P0"}
    by_patient = patient_changes([*recordings, loud], subject_of)
    assert by_patient.of["loud"][0] == pytest.approx(np.full(4, 6.0), abs=0.5)
    assert (by_patient.of["loud"][1] > 0.4).all()
    assert by_patient.entry.by == "subject" and by_patient.entry.number == 6
    del subject_of["loud"]
    (lack,) = patient_changes([*recordings, loud], subject_of).entry.missing
    assert (lack.recordings, lack.reason) == (["loud"], NO_SUBJECT)


def test_scores_from_the_audio_alone_are_not_compared_with_those_from_both() -> None:
    recordings = [
        ("both", outcome([2.0, 3.0] * 6, [0.0] * 12)),
        ("audio", outcome([5.0] * 6, [0.0] * 6, Modalities.AUDIO)),
    ]
    result = patient_changes(recordings, {"both": "P", "audio": "P"})
    assert np.isfinite(result.of["both"][0]).all() and np.isnan(result.of["audio"][0]).all()
    (lack,) = result.entry.missing
    assert (lack.recordings, lack.modalities, lack.quiet_s) == (["audio"], "audio", 18.0)
    assert (result.entry.number, result.entry.with_baseline) == (1, 1)


def test_of_many_without_a_baseline_the_first_are_named() -> None:
    loud = [(f"r{number}", outcome([8.0], [0.9])) for number in range(14)]
    notices = patient_changes(loud, None).notices
    assert len(notices) == 12 and notices[-1] == "4 more without a change are in the manifest"


@pytest.mark.slow
def test_finished_table_gets_the_columns_without_scoring_again(
    clips: ClipMaker, avpenet_here: Avpenet, tmp_path: Path
) -> None:
    face = clips.face(3.0, "192x144", 1.0, None)
    calm = clips.ffmpeg(
        *("-stream_loop", "-1", "-i", str(face), "-f", "lavfi", "-i", "anoisesrc=a=0.002:r=16000:seed=1"),
        *("-t", "30", "-c:v", "copy", "-c:a", "pcm_s16le"),
        suffix=".mkv",
    )
    shutil.copy(calm, tmp_path / "=calm.mkv")
    shutil.copy(clips.brief("moan"), tmp_path / "moan.mp4")
    out = tmp_path / "scores.csv"
    command = ["score", tmp_path / "=calm.mkv", tmp_path / "moan.mp4", "--out", out, "--weights", "untrained"]
    assert avpenet_here(*command).code == 0
    before = out.read_text()
    answer = avpenet_here(*command, "--baseline", "quiet")
    assert answer.code == 0 and answer.err.count("scored by an earlier run") == 2
    assert "change: 1 of 2 recordings with a baseline" in answer.err
    with out.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == [column.name for column in (*COLUMNS, *CHANGE_COLUMNS)]
    calm_rows = [row for row in rows if row["recording"] == "'=calm.mkv"]
    assert sum(float(row["change"]) for row in calm_rows) == pytest.approx(0.0, abs=0.01)
    assert all(float(row["change_se"]) > 0 for row in calm_rows)
    assert rows[-1]["recording"] == "moan.mp4" and rows[-1]["change"] == rows[-1]["change_se"] == ""
    manifest = json.loads((tmp_path / "scores.run.json").read_text())
    assert (manifest["baseline"]["with_baseline"], manifest["baseline"]["number"]) == (1, 2)
    assert manifest["baseline"]["missing"][0]["recordings"] == ["moan.mp4"]
    assert "--baseline quiet" in manifest["command"]
    assert read_scores([out]).sources[0].manifest_state == "verified"
    answer = avpenet_here(*command, "--baseline", "calm")
    assert answer.code == 2 and "--baseline calm: no such baseline; give quiet, or leave it out" in answer.err
    assert avpenet_here(*command).code == 0
    assert out.read_text() == before
    assert "baseline" not in json.loads((tmp_path / "scores.run.json").read_text())
