"""What each recording's scores look like, and which modalities made them."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pandas as pd

from avpenet_cli.report.document.data import FailedRecording, ModalityCount, RecordingSummary
from avpenet_cli.report.modalities import modalities_of, modality_counts
from avpenet_cli.report.recordings import recording_summaries
from tests.support.reports import Avpenet, run_report

SEGMENTS = pd.DataFrame(
    [
        ("b.mp4", 2.0, "scored", ""),
        ("b.mp4", 6.0, "scored", "no_face silent"),
        ("b.mp4", 7.0, "scored", "no_audio short_tail"),
        ("b.mp4", None, "unscorable", "no_face"),
        ("a.mp4", None, "unscorable", "no_video"),
    ],
    columns=["recording", "score", "status", "flags"],
).astype({"recording": pd.CategoricalDtype(["b.mp4", "a.mp4"])})


def test_recordings_have_counts_mean_peak_and_shares() -> None:
    broken = FailedRecording("c.mp4", "empty_file", "the file is empty")
    first, second, third = recording_summaries(SEGMENTS, [broken], (3.0, 6.0))
    share = 1 / 3
    assert first == RecordingSummary("b.mp4", 4, 3, 5.0, 7.0, 2 * share, share, share, "")
    assert second == RecordingSummary("a.mp4", 1, 0, None, None, None, None, None, "")
    assert third == RecordingSummary("c.mp4", 0, 0, None, None, None, None, None, "empty_file")


def test_flags_say_the_modalities_of_a_table_without_the_column() -> None:
    assert modalities_of(SEGMENTS).tolist() == ["audio+face", "audio", "face", "", ""]
    counts = tuple(ModalityCount(name, 1, 1 / 3) for name in ("audio+face", "audio", "face"))
    assert modality_counts(SEGMENTS) == counts


def test_the_column_outranks_the_flags() -> None:
    stated = SEGMENTS.assign(modalities=np.array(["audio", "audio", None, "", ""], dtype=object))
    assert modalities_of(stated).tolist() == ["audio", "audio", "face", "", ""]


def test_modalities_are_not_guessed_without_column_and_flags() -> None:
    assert modality_counts(SEGMENTS.assign(flags=None)) == (ModalityCount("", 3, 1.0),)


def test_scores_that_rest_on_audio_alone_are_counted_reviewed_and_noticed(
    avpenet_here: Avpenet, tmp_path: Path
) -> None:
    rows = [("audio", "no_face silent"), ("audio+face", "silent"), *[("audio+face", "")] * 3]
    lines = [
        f"a.mp4,{place},{3 * place},{3 * place + 3},5.0,moderate,scored,,{made_from},{flags},w@0123456789ab"
        for place, (made_from, flags) in enumerate(rows)
    ]
    header = "recording,segment,start_s,end_s,score,label,status,reason,modalities,flags,weights"
    (tmp_path / "scores.csv").write_text("\n".join([header, *lines]) + "\n")
    found = run_report(avpenet_here, tmp_path / "r.html", tmp_path / "scores.csv")
    counted = {row["modalities"]: row["segments"] for row in found["coverage"]["modalities"]}
    assert counted == {"audio+face": 4, "audio": 1}
    assert [row["modalities"] for row in found["review"]["rows"]] == ["audio", "audio+face"]
    with (tmp_path / "r.review.csv").open(newline="") as file:
        listed: list[dict[str, str]] = list(csv.DictReader(file))
    # All five scores are in the control sample, whose modalities are not shown.
    assert len(listed) == 5 and {row["modalities"] for row in listed} == {""}
    assert any("1 of 5 scores" in notice["text"] and "audio alone" in notice["text"] for notice in found["notices"])
