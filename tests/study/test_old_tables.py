"""Score tables of version 0.1.0 are read, alone and beside today's of the same weights."""

from __future__ import annotations

from pathlib import Path

import pytest

from avpenet_cli.errors import SettingsError
from avpenet_cli.report.analysis import ReportSettings
from avpenet_cli.report.run import analyse
from avpenet_cli.stats.bootstrap import Resampling
from avpenet_cli.study.score_tables import read_scores
from avpenet_cli.study.tables import Inputs, summarise_weights

OLD = """\
recording,segment,start_s,end_s,score,label,status,reason,score_sd,score_lo,score_hi,face_rate,face_confidence,face_px,\
faces,voiced,snr_db,level_dbfs,flags,weights
old.mp4,0,0.000,3.000,3.206,moderate,scored,,,,,0.922,0.835,101.1,1,0.189,14.9,-22.1,low_confidence,{mark}
old.mp4,1,3.000,6.000,,,unscorable,no_face,,,,0.000,,,0,0.320,37.4,-16.8,no_face,{mark}
old.mp4,2,6.000,9.000,7.100,high,scored,,,,,0.900,0.955,99.0,2,0.300,21.4,-18.8,several_faces short_tail,{mark}
"""
NEW = """\
recording,segment,start_s,end_s,recorded_at,score,label,status,reason,modalities,flags,weights
new.mp4,0,0.000,3.000,2026-11-26T10:00:00.000+01:00,1.500,low,scored,,audio+face,,{mark}
new.mp4,1,3.000,6.000,2026-11-26T10:00:03.000+01:00,,,unscorable,no_face,,no_face,{mark}
"""
MARKS = (
    "w@0123456789ab (demonstration: not for patients)",
    "w@0123456789ab (demonstration weights, trained on simulated recordings, not for patients)",
)


def tables(folder: Path, old_mark: str, new_mark: str) -> list[Path]:
    paths = [folder / "old.csv", folder / "new.csv"]
    for path, text, mark in zip(paths, (OLD, NEW), (old_mark, new_mark), strict=True):
        path.write_text(text.format(mark=f'"{mark}"'))
    return paths


@pytest.mark.parametrize("mark", MARKS)
def test_old_and_new_tables_of_the_same_weights_make_one_report(tmp_path: Path, mark: str) -> None:
    paths = tables(tmp_path, mark, "w@0123456789ab demonstration")
    scores = read_scores(paths)
    assert scores.segments["score"].dropna().to_list() == [3.206, 7.1, 1.5]
    assert scores.segments["modalities"].isna().to_list() == [True] * 3 + [False] * 2
    weights = summarise_weights(scores)
    assert (weights.name, weights.digest, weights.mark) == ("w", "0123456789ab", mark)
    settings = ReportSettings(resampling=Resampling(200, 1))
    for inputs in (paths, paths[:1]):
        document = analyse(inputs, settings=settings)
        assert document.headline.n_scored == (3 if inputs is paths else 2)
        assert "DEMONSTRATION" in document.notices[0].text.upper()


def test_tables_of_other_weights_are_not_joined(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="was scored with"):
        read_scores(tables(tmp_path, MARKS[1], "w@0123456789ac demonstration"))
    # Weights without remarks are the same weights.
    scores = read_scores(tables(tmp_path, "w@0123456789ab", "w@0123456789ab demonstration"))
    assert summarise_weights(scores).mark == "w@0123456789ab demonstration"


def test_an_old_table_is_compared_with_a_new_one_of_the_same_segments(tmp_path: Path) -> None:
    old, new = tables(tmp_path, MARKS[1], "w@999999999999 demonstration")
    new.write_text(OLD.format(mark="w@999999999999 demonstration").replace("7.100", "6.100"))
    settings = ReportSettings(resampling=Resampling(200, 1))
    document = analyse(new, compare=old, settings=settings)
    assert document.comparison is not None and document.comparison.status_changes.both_scored == 2
    assert document.comparison.other_weights == MARKS[1]
    assert Inputs(read_scores([new])).notices == ()
