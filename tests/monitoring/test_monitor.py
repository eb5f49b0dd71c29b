"""`avpenet monitor` on archives in which something changes, and what it refuses."""

from __future__ import annotations

import hashlib
import html
import json
import re
import stat
from pathlib import Path
from typing import Any

import jsonschema
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from avpenet_cli.monitoring.analysis import MonitorOptions, analyse
from avpenet_cli.monitoring.archive import Files, read_archive
from avpenet_cli.schemas import schemas
from avpenet_cli.stats.estimate import to_json
from tests.monitoring.archives import MARK, OTHER_MARK, ArchiveFiles, Change, Patient, make_archive, write_embeddings
from tests.support.browser import render_in_browser
from tests.support.reports import Avpenet, strict_json


def monitor(avpenet_here: Avpenet, folder: Path, *arguments: str | Path, code: int = 0) -> dict[str, Any]:
    done = avpenet_here("monitor", *arguments, "--out", folder / "monitor.html")
    assert done.code == code, done.err + done.out
    document: dict[str, Any] = strict_json((folder / "monitor.json").read_text())
    return document


def analysed(
    files: ArchiveFiles, *, new: tuple[Path, ...] = (), ratings: Path | None = None, every: float | None = None
) -> dict[str, Any]:
    """What the command would write to monitor.json, without its page: drawing takes most of the time."""
    archive = read_archive(Files(new or (files.new,), (files.old,), files.subjects, ratings))
    options = MonitorOptions(false_alarm_every=every, runs=1000)
    document: dict[str, Any] = strict_json(json.dumps(to_json(analyse(archive, options))))
    return document


def dark_camera(patient: Patient) -> None:
    if patient.site == "north":
        patient.face_rate *= 0.3


def dead_microphone(patient: Patient) -> None:
    patient.level_dbfs, patient.snr_db = None, 0.0


def new_site(patient: Patient) -> None:
    patient.site = "west"


def upgrade(patient: Patient) -> None:
    patient.mark, patient.bias = OTHER_MARK, 2.0


def drifting_scores(patient: Patient) -> None:
    patient.bias = 2.5


def test_nothing_changed(avpenet_here: Avpenet, tmp_path: Path) -> None:
    files = make_archive(tmp_path)
    arguments = files.arguments("--reference", files.ratings)
    done = avpenet_here("monitor", *arguments, "--out", tmp_path / "monitor.html")
    assert done.code == 0, done.err + done.out
    document = strict_json((tmp_path / "monitor.json").read_text())
    assert document["alarms"] == []
    rate = document["false_alarms"]
    assert "and weeks differ by no more than their patients explain" in rate
    assert "52 weeks on average. The baseline's own weeks do not clearly differ by more, but" in rate
    assert rate in done.out
    assert html.unescape((tmp_path / "monitor.html").read_text()).count(rate) == 2, "wherever the rate stands"
    jsonschema.validate(document, schemas()["monitor.schema.json"])
    assert document["settings"]["false_alarm_every"] == 52
    score = next(chart for chart in document["charts"] if chart["measure"] == "score" and not chart["level"])
    assert score["baseline_patients"] == 48
    assert [point["patients"] for point in score["points"]] == [6] * 12
    assert {row["part"] for row in document["accuracy"]} == {"baseline", "new"}
    for name in ("monitor.html", "monitor.json"):
        assert stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o600
        assert "P0001" not in (tmp_path / name).read_text()


@pytest.mark.parametrize(
    ("change", "measures", "levels"),
    [
        (dark_camera, {"face_rate", "thin_evidence"}, ["north"]),
        (dead_microphone, {"without_audio", "thin_evidence", "snr_db"}, []),
    ],
)
def test_a_failing_device_is_found_and_placed(
    tmp_path: Path, change: Change, measures: set[str], levels: list[str]
) -> None:
    files = make_archive(tmp_path, change)
    document = analysed(files)
    found = {alarm["measure"]: alarm for alarm in document["alarms"]}
    assert measures <= found.keys()
    # Week 6 after 8 weeks of baseline from 2026-01-05.
    changed = "2026-04-13"
    for measure in measures:
        alarm = found[measure]
        assert alarm["since_earliest"] <= changed <= alarm["since_latest"]
        assert alarm["levels"] == levels
        assert alarm["ongoing"]
        # Face lost and evidence gained: by an amount without a sign, as "fell" and "rose" have one.
        assert re.search(r" (fell|rose) by \d+\.\d ", alarm["text"])
        assert (" fell " in alarm["text"]) == (alarm["after"] < alarm["before"])
        first = min(
            point["period"]
            for chart in document["charts"]
            if chart["measure"] == measure
            for point in chart["points"]
            if point["signal"]
        )
        assert first <= "2026-04-27", "found within three weeks"


def test_a_share_of_all_patients_alike_has_an_interval_within_what_is_possible(tmp_path: Path) -> None:
    def covered(patient: Patient) -> None:
        patient.face_rate, patient.site = -1.0, "north"

    files = make_archive(tmp_path, covered, at=10)
    document = analysed(files)
    alarms = {alarm["measure"]: alarm for alarm in document["alarms"]}
    for measure in ("unscorable", "face_rate"):
        low, high = sorted(abs(end) for end in alarms[measure]["difference"]["ci"])
        assert 0.5 < low < abs(alarms[measure]["difference"]["value"]) <= high <= 1.0
    # Nobody knows of the other site, which has no recording since.
    assert "confined" not in alarms["face_rate"]["text"]
    assert "only at" not in alarms["face_rate"]["text"]


def test_ratings_show_that_scores_drift(tmp_path: Path) -> None:
    files = make_archive(tmp_path, drifting_scores)
    document = analysed(files, ratings=files.ratings)
    bias = next(alarm for alarm in document["alarms"] if alarm["measure"] == "bias")
    assert bias["difference"]["ci"][0] < 2.3 < bias["difference"]["ci"][1] + 0.3
    new = next(row for row in document["accuracy"] if row["part"] == "new")
    assert new["rated_patients"] == 72


def test_a_new_site_is_named(tmp_path: Path) -> None:
    files = make_archive(tmp_path, new_site, at=8)
    document = analysed(files)
    alarm = document["alarms"][0]
    assert (alarm["kind"], alarm["column"], alarm["levels"]) == ("new level", "site", ["west"])
    assert alarm["since"] == "2026-04-27"
    west = [chart for chart in document["charts"] if chart["level"] == "west"]
    assert {chart["compared_with"] for chart in west} == {"all"}


def test_other_weights_are_an_alarm_and_not_compared(tmp_path: Path) -> None:
    files = make_archive(tmp_path, upgrade)
    document = analysed(files, new=(files.upgraded, files.new))
    assert [alarm["kind"] for alarm in document["alarms"]] == ["other weights"]
    assert OTHER_MARK in document["alarms"][0]["text"]
    points = {
        chart["measure"]: [point["patients"] for point in chart["points"]]
        for chart in document["charts"]
        if not chart["level"]
    }
    assert points["score"] == [6] * 6 + [0] * 6
    assert points["face_rate"] == [6] * 12


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _write_manifest(table: Path, **more: object) -> None:
    """Write what monitor reads of the manifest of a score table of `MARK`."""
    manifest: dict[str, object] = {
        "table": {"file": table.name, "sha256": _sha256(table)},
        "recordings": [],
        "software": {},
    }
    weights = {"name": "mine", "digest": MARK.split("@")[1], "cut_points": [3.0, 6.0]}
    manifest |= {"weights": weights, "timing": {"finished": ""}, **more}
    table.with_suffix(".run.json").write_text(json.dumps(manifest))


def test_embeddings_that_move_away_are_found(avpenet_here: Avpenet, tmp_path: Path) -> None:
    import numpy as np

    files = make_archive(tmp_path)
    rng = np.random.default_rng(1)
    late = set(pd.read_csv(files.new).query("recorded_at >= '2026-04-13'")["recording"])
    made = {}
    for table in ("old", "new"):
        rows = pd.read_csv(tmp_path / f"{table}.csv").query("status == 'scored'")
        centre = {name: rng.normal(size=8) + (4.0 * (name in late)) for name in rows["recording"].unique()}
        vectors = [centre[name] + 0.1 * rng.normal(size=8) for name in rows["recording"]]
        made[table] = rows.assign(embedding=pd.Series(vectors, rows.index))
        write_embeddings(tmp_path / f"{table}.parquet", made[table])
    embeddings: list[str | Path] = [
        "--embeddings",
        tmp_path / "new.parquet",
        "--baseline-embeddings",
        tmp_path / "old.parquet",
    ]
    new = tmp_path / "new.parquet"
    _write_manifest(files.new, summaries=[{"file": "new.parquet", "sha256": _sha256(new)}])
    document = monitor(avpenet_here, tmp_path, *files.arguments(*embeddings), code=4)
    (alarm,) = document["alarms"]
    assert (alarm["measure"], alarm["difference"]["value"] > 5) == ("novelty", True)
    assert alarm["since_earliest"] <= "2026-04-13" <= alarm["since_latest"]
    done = avpenet_here("monitor", *files.arguments(*embeddings[:2]), "--out", tmp_path / "monitor.html")
    assert done.code == 2
    assert "--baseline-embeddings" in done.err
    _write_manifest(files.new, summaries=[{"file": "first.parquet", "sha256": "0" * 64}])
    done = avpenet_here("monitor", *files.arguments(*embeddings), "--out", tmp_path / "monitor.html")
    assert (done.code, "new.parquet is not of the run that made new.csv" in done.err) == (2, True), done.err
    files.new.with_suffix(".run.json").unlink()
    with_gaps = made["new"]["embedding"].map(lambda vector: np.where(vector > 4, np.nan, vector))
    holed = made["new"].assign(embedding=with_gaps)
    swapped = made["new"].assign(segment=made["new"]["segment"] + 100)
    for wrong, expected in (
        (lambda: pq.write_table(pa.table({"recording": ["a"], "segment": [1]}), new), "no column embedding"),
        (lambda: made["new"][["recording", "segment", "embedding"]].to_parquet(new), "does not say which weights"),
        (
            lambda: write_embeddings(new, made["new"], OTHER_MARK),
            f"is of {OTHER_MARK}, but the new scores are of {MARK}",
        ),
        (lambda: write_embeddings(new, made["new"].iloc[3:]), "has 6 scored segments and 3 embeddings"),
        (lambda: write_embeddings(new, swapped), "6 embeddings, of other segments"),
        (lambda: write_embeddings(new, made["old"]), "and 0 embeddings"),
        (lambda: write_embeddings(new, holed), "missing values"),
    ):
        wrong()
        done = avpenet_here("monitor", *files.arguments(*embeddings), "--out", tmp_path / "monitor.html")
        assert (done.code, len(done.err.splitlines()), expected in done.err) == (2, 1, True), done.err


def test_batches_are_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    files = make_archive(tmp_path, new_site, at=6, timed=False)
    subjects = pd.read_csv(files.subjects).drop(columns="month")
    subjects["batch"] = [f"run {number // 6 + 1}" for number in range(len(subjects))]
    subjects.to_csv(files.subjects, index=False)
    document = analysed(files)
    assert (document["period"], document["settings"]["false_alarm_every"]) == ("batch", 20)
    assert [document["new"][end] for end in ("first", "last")] == ["run 9", "run 20"]
    assert document["alarms"][0]["since"] == "run 15"


def test_months_of_the_subjects_give_the_time(tmp_path: Path) -> None:
    files = make_archive(tmp_path, dark_camera, weeks=(12, 24), at=12, timed=False)
    document = analysed(files)
    assert (document["period"], document["time_column"]) == ("month", "month")
    assert document["settings"]["false_alarm_every"] == 12
    assert {"face_rate", "thin_evidence"} <= {alarm["measure"] for alarm in document["alarms"]}


def test_a_growing_table_is_compared_with_its_own_beginning(tmp_path: Path) -> None:
    files = make_archive(tmp_path)
    both = pd.concat([pd.read_csv(files.old, dtype=str), pd.read_csv(files.new, dtype=str)])
    both.to_csv(tmp_path / "all.csv", index=False)
    document = analysed(files, new=(files.all,))
    assert document["new"]["patients"] == 72
    assert any("in the baseline" in notice["text"] for notice in document["notices"])


def test_a_calibration_stands_for_the_tables_it_was_fitted_on(avpenet_here: Avpenet, tmp_path: Path) -> None:
    files = make_archive(tmp_path, drifting_scores, at=0)
    site = tmp_path / "site.json"
    rated: list[str | Path] = ["--reference", files.ratings, "--subjects", files.subjects]
    done = avpenet_here("calibrate", files.old, *rated, "--out", site)
    assert done.code == 0, done.err
    for name in ("old", "new"):
        table = pd.read_csv(tmp_path / f"{name}.csv")
        table["interval_lo"], table["interval_hi"] = table["score"] - 3.0, table["score"] + 3.0
        table["calibrated"] = table["score"] - 2.5
        if name == "new":
            table["abstained"] = 0
        # As score --calibration does: the baseline's table has other bytes than when the calibration was fitted.
        table.to_csv(tmp_path / f"{name}.csv", index=False)
    document = monitor(avpenet_here, tmp_path, files.new, "--baseline", site, *rated, code=4)
    assert document["baseline"]["patients"] == 48
    assert {(file["name"], file["content"]) for file in document["files"]} >= {
        ("site.json", "calibration"),
        ("old.csv", "baseline scores"),
    }
    new = next(row for row in document["accuracy"] if row["part"] == "new")
    assert new["coverage"]["value"] < 0.8
    assert new["calibrated_bias"]["value"] == pytest.approx(new["bias"]["value"] - 2.5)
    assert "abstentions" in {row["measure"] for row in document["not_charted"]}
    pd.read_csv(files.old).head(200).to_csv(files.old, index=False)
    done = avpenet_here("monitor", files.new, "--baseline", site, *rated, "--out", tmp_path / "monitor.html")
    assert (done.code, "were changed after site.json was fitted" in done.err) == (2, True)
    files.old.unlink()
    done = avpenet_here("monitor", files.new, "--baseline", site, *rated, "--out", tmp_path / "monitor.html")
    assert (done.code, "not beside it" in done.err) == (2, True)


def test_tables_of_two_calibrations_are_said(tmp_path: Path) -> None:
    files = make_archive(tmp_path)
    for digests, said in ((("a", "b"), True), (("a", "a"), False)):
        for name, digest in zip(("old", "new"), digests, strict=True):
            _write_manifest(tmp_path / f"{name}.csv", calibration={"digest": digest})
        document = analysed(files)
        assert any("by the same calibration" in notice["text"] for notice in document["notices"]) is said


def test_quiet_prints_nothing_without_an_alarm_and_keeps_what_weights_are_not_for(
    avpenet_here: Avpenet, tmp_path: Path
) -> None:
    files = make_archive(tmp_path, dark_camera)
    arguments = [*files.arguments("--quiet"), "--out", tmp_path / "monitor.html"]
    for table in (files.old, files.new):
        table.write_text(table.read_text().replace(MARK, f"{MARK} demonstration"))
    done = avpenet_here("monitor", *arguments)
    assert done.code == 4
    alarms = strict_json((tmp_path / "monitor.json").read_text())["alarms"]
    first, *texts = done.out.splitlines()
    assert first.startswith("DEMONSTRATION WEIGHTS")
    assert alarms and texts == [alarm["text"] for alarm in alarms]
    make_archive(tmp_path)
    done = avpenet_here("monitor", *arguments)
    assert (done.code, done.out) == (0, "")


def test_a_baseline_whose_own_weeks_differ_is_said(tmp_path: Path) -> None:
    files = make_archive(tmp_path, dead_microphone, at=-4)
    document = analysed(files, every=100.0)
    warning = next(notice["text"] for notice in document["notices"] if "own weeks differ" in notice["text"])
    assert "level over the noise" in warning
    assert "frames with the face" not in warning
    assert document["false_alarms"].endswith(
        "The baseline's own weeks do differ by more, so false alarms are more frequent."
    )


def test_the_rate_says_where_the_baseline_cannot_show_what_it_supposes(tmp_path: Path) -> None:
    files = make_archive(tmp_path)
    pd.read_csv(files.old, dtype=str).assign(recorded_at="").to_csv(files.old, index=False)
    assert "The baseline cannot show whether its own weeks differ by more" in analysed(files)["false_alarms"]


def test_what_is_refused(avpenet_here: Avpenet, tmp_path: Path) -> None:
    files = make_archive(tmp_path, timed=False)
    scores = pd.read_csv(files.old, dtype=str)
    few = scores["recording"].drop_duplicates().head(19)
    scores[scores["recording"].isin(few)].to_csv(tmp_path / "few.csv", index=False)
    pd.read_csv(files.subjects).drop(columns="month").to_csv(tmp_path / "timeless.csv", index=False)
    out = ["--out", tmp_path / "monitor.html"]
    for arguments, expected in (
        ([files.new, "--baseline", files.old], "--subjects"),
        ([files.new, "--baseline", files.few, "--subjects", files.subjects], "19 patients; charts need 20"),
        ([files.new, "--baseline", files.old, "--subjects", files.timeless], "no column date, month or batch"),
        ([files.old, "--baseline", files.old, "--subjects", files.subjects], "no recording is new"),
        ([files.new, "--baseline", files.subjects, "--subjects", files.subjects], "is not a score table"),
        ([*files.arguments(), "--false-alarm-every", "0.5"], "cannot be kept"),
        ([*files.arguments(), "--false-alarm-every", "0"], "cannot be kept"),
    ):
        done = avpenet_here("monitor", *arguments, *out)
        assert done.code == 2
        assert len(done.err.splitlines()) == 1
        assert expected in done.err
    assert not (tmp_path / "monitor.html").exists()


def test_the_page_loads_nothing_fits_a_phone_and_shows_names_as_text(avpenet_here: Avpenet, tmp_path: Path) -> None:
    files = make_archive(tmp_path / "data", dark_camera)
    subjects = pd.read_csv(files.subjects)
    subjects["site"] = subjects["site"].replace("north", "<script>alert(1)</script>")
    subjects.to_csv(files.subjects, index=False)
    monitor(avpenet_here, tmp_path, *files.arguments("--reference", files.ratings), code=4)
    page = tmp_path / "monitor.html"
    text = page.read_text()
    assert "<script" not in text
    assert "&lt;script&gt;" in text
    assert "an interval without 0 is no proof that an alarm is true" in text
    rendering = render_in_browser(page)
    assert rendering.messages == []
    assert rendering.requested <= {"/monitor.html", "/harness.html"}
    assert all(used <= available for available, used in rendering.widths.items())
