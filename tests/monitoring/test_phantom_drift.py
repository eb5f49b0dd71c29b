"""A phantom's recording, as it is and with a dark camera, scored and monitored: what really changes is found and named.

How soon, for every kind of change and with patients that differ, is measured by `python -m tests.bench.monitoring`.
"""

from __future__ import annotations

import datetime
import json
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tests.bench.monitoring import KINDS
from tests.conftest import REPOSITORY
from tests.monitoring.archives import write_embeddings
from tests.support.reports import Avpenet

SECONDS = 3
WEEKS_BEFORE, WEEKS_OF_CHANGE = 3, 3
WEEKLY = 6
VARYING = ("score", "face_rate", "face_confidence", "face_px", "voiced", "snr_db", "level_dbfs")
START = datetime.date(2026, 1, 5)


@pytest.fixture(scope="module")
def scored(avpenet_here: Avpenet, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tables `usual.csv` and `dark.csv` of one recording, with their embeddings."""
    folder = tmp_path_factory.mktemp("scored")
    source = REPOSITORY / "examples" / "phantoms" / "P0001-01.mp4"
    for kind in ("usual", "dark"):
        clip = folder / f"{kind}.mp4"
        cut = ["-ss", "9", "-t", str(SECONDS), "-i", str(source), "-vf", f"{KINDS[kind].video},fps=3", "-c:a", "copy"]
        subprocess.run(["ffmpeg", "-v", "error", "-nostdin", *cut, str(clip)], check=True)
        files = ["--out", folder / f"{kind}.csv", "--embeddings", folder / f"{kind}.parquet"]
        assert avpenet_here("score", clip, "--device", "cpu", *files).code == 0
    return folder


def patients(folder: Path, kind: str, first: int, weeks: range, rng: np.random.Generator) -> pd.DataFrame:
    """The recording's rows for several patients a week, whose values vary by a tenth, with their embeddings."""
    table = pd.read_csv(folder / f"{kind}.csv", keep_default_na=False, na_values=[""])
    embeddings = pd.read_parquet(folder / f"{kind}.parquet")
    made = []
    for number in range(len(weeks) * WEEKLY):
        week = weeks[number // WEEKLY]
        vectors = {
            number: vector * rng.normal(1, 0.1, len(vector))
            for number, vector in zip(embeddings["segment"], embeddings["embedding"], strict=True)
        }
        rows = table.assign(
            recording=f"P{first + number}.mp4",
            recorded_at=f"{START + datetime.timedelta(weeks=week)}T10:00:00",
            **{name: table[name] * rng.normal(1, 0.1, len(table)) for name in VARYING},
            embedding=table["segment"].map(vectors),
        )
        for name in ("face_rate", "face_confidence", "voiced"):
            rows[name] = rows[name].clip(0, 1)
        made.append(rows.assign(score=rows["score"].clip(0, 10)))
    return pd.concat(made)


def monitored(avpenet_here: Avpenet, folder: Path, baseline: pd.DataFrame, new: pd.DataFrame) -> tuple[int, Any]:
    for name, part in (("baseline", baseline), ("new", new)):
        part.drop(columns="embedding").to_csv(folder / f"{name}.csv", index=False)
        write_embeddings(folder / f"{name}.parquet", part[part["status"] == "scored"], part["weights"].iloc[0])
    recordings = pd.concat([baseline, new])["recording"].unique()
    subjects = pd.DataFrame({"recording": recordings, "subject": [name.removesuffix(".mp4") for name in recordings]})
    subjects.to_csv(folder / "subjects.csv", index=False)
    answer = avpenet_here(
        *("monitor", folder / "new.csv", "--baseline", folder / "baseline.csv", "--subjects", folder / "subjects.csv"),
        *("--embeddings", folder / "new.parquet", "--baseline-embeddings", folder / "baseline.parquet"),
        *("--out", folder / "monitor.html", "--runs", "1000"),
    )
    return answer.code, json.loads((folder / "monitor.json").read_text())


@pytest.mark.slow
def test_dark_camera_is_found_and_named(avpenet_here: Avpenet, scored: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    baseline = patients(scored, "usual", 100, range(4), rng)
    usual = patients(scored, "usual", 200, range(4, 4 + WEEKS_BEFORE), rng)
    code, document = monitored(avpenet_here, tmp_path, baseline, usual)
    assert (code, document["alarms"]) == (0, [])
    change = 4 + WEEKS_BEFORE
    dark = patients(scored, "dark", 300, range(change, change + WEEKS_OF_CHANGE), rng)
    code, document = monitored(avpenet_here, tmp_path, baseline, pd.concat([usual, dark]))
    assert code == 4
    first = document["alarms"][0]
    assert (first["kind"], first["since"]) == ("drift", str(START + datetime.timedelta(weeks=change)))
    measures = {alarm["measure"] for alarm in document["alarms"]}
    # What the camera sees, and the embeddings, which nobody told what a face is; not the microphone.
    assert measures & {"face_rate", "face_confidence", "without_face"}
    assert "novelty" in measures
    assert not measures & {"voiced", "snr_db", "level_dbfs", "without_audio"}
