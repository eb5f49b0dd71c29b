"""Files of later versions are refused by name: each row of the second table of docs/reference/compatibility.md."""

from __future__ import annotations

import contextlib
import json
import re
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from avpenet_cli.calibration.site import KIND, SITE_VERSION, read_site
from avpenet_cli.commissioning.baseline import BASELINE_VERSION, read_baseline
from avpenet_cli.dataset.record import read_store_file
from avpenet_cli.dataset.segment_files import STORE_VERSION
from avpenet_cli.errors import AvpenetError, OutputError, SettingsError, WeightsError
from avpenet_cli.report.document import SCHEMA_VERSION
from avpenet_cli.report.study_plan import PlanSettings, plan_study
from avpenet_cli.runs.history import HISTORY_VERSION
from avpenet_cli.runs.history_chain import chain_at
from avpenet_cli.runs.journal import Journal, journal_path
from avpenet_cli.runs.journal_source import opened_source
from avpenet_cli.runs.status import read_status
from avpenet_cli.shards.plan import PLAN_VERSION, read_plan
from avpenet_cli.shards.shard import plan_path
from avpenet_cli.study.pack import PACK_VERSION, read_pack
from avpenet_cli.study.score_tables import read_scores
from avpenet_cli.training.run_directory import RUN_VERSION, RunIdentity, prepare_run_directory
from avpenet_cli.version import JOURNAL_VERSION, MANIFEST_VERSION, USE_LATER
from avpenet_cli.weights import find
from avpenet_cli.weights.description import FORMAT_VERSION
from tests.conftest import REPOSITORY
from tests.upgrades.test_earlier import unpack

Read = Callable[[Path], object]


def _raise(path: Path, field: str, version: int) -> Path:
    path.write_text(json.dumps(json.loads(path.read_text()) | {field: version}))
    return path


def _manifest(folder: Path) -> None:
    _raise(folder / "scores.run.json", "manifest_version", MANIFEST_VERSION + 1)
    with pytest.raises(SettingsError, match="this program reads up to 3"):
        read_scores([folder / "scores.csv"])
    (folder / "scores.csv.journal").unlink()
    read_status(folder / "scores.csv")


def _journal(folder: Path) -> None:
    out = folder / "new.csv"
    Journal(out, {}).close()
    with contextlib.closing(sqlite3.connect(journal_path(out))) as database, database:
        database.execute("UPDATE run SET value = ? WHERE name = 'journal_format'", (str(JOURNAL_VERSION + 1),))
    for read in (lambda: Journal(out, {}), lambda: read_status(out)):
        with pytest.raises(SettingsError, match=f"this program reads up to {JOURNAL_VERSION}"):
            read()
    with opened_source(out):
        pass


def _pilot(folder: Path) -> None:
    path = _raise(folder / "report.json", "schema_version", SCHEMA_VERSION + 1)
    plan_study(PlanSettings(limit_points=3.0, pilot=path))


def _run(folder: Path) -> None:
    path = _raise(folder / "own.train" / "run.json", "run_version", RUN_VERSION + 1)
    prepare_run_directory(path.parent, RunIdentity(RUN_VERSION, "", {}, []), resume=True)


def _site(folder: Path) -> None:
    path = folder / "site.json"
    path.write_text(json.dumps({"kind": KIND, "format_version": SITE_VERSION + 1}))
    read_site(path)


def _pack(folder: Path) -> None:
    path = folder / "pack.json"
    path.write_text(json.dumps({"version": PACK_VERSION + 1, "design": {}, "segments": [], "digest": ""}))
    read_pack(path)


_LATER: dict[str, tuple[int, Read, type[AvpenetError], str]] = {
    "manifest, `*.run.json`": (MANIFEST_VERSION, _manifest, SettingsError, "scores.run.json has format version 4"),
    "journal, `*.journal`": (JOURNAL_VERSION, _journal, SettingsError, "new.csv.journal has format version 2"),
    "segment store": (
        STORE_VERSION,
        lambda folder: read_store_file(_raise(folder / "store" / "store.json", "store_version", 2).parent),
        SettingsError,
        "store has format version 2",
    ),
    "weights and their description": (
        FORMAT_VERSION,
        lambda folder: find(_raise(folder / "zeros.json", "format_version", 2).with_suffix(".safetensors")),
        WeightsError,
        "zeros.json has format version 2",
    ),
    "training run, `run.json`": (RUN_VERSION, _run, SettingsError, "run.json has format version 3"),
    "`report.json`": (SCHEMA_VERSION, _pilot, SettingsError, "report.json has format version 5"),
    "scores of phantoms, `phantom check --save`": (
        BASELINE_VERSION,
        lambda folder: read_baseline(_raise(folder / "baseline.json", "format_version", 3)),
        SettingsError,
        "baseline.json has format version 3",
    ),
    "calibration, `site.json`": (SITE_VERSION, _site, SettingsError, "site.json has format version 2"),
    "pack of a sample, `pack.json`": (PACK_VERSION, _pack, SettingsError, "packs of version 2 are not known"),
}


@pytest.mark.parametrize("file", _LATER)
def test_file_of_a_later_format_is_refused_with_the_way_forward(file: str, tmp_path: Path) -> None:
    unpack(tmp_path)
    _, read, error, text = _LATER[file]
    with pytest.raises(error) as refused:
        read(tmp_path)
    assert text in str(refused.value)
    assert refused.value.remedy == USE_LATER or "use the program that wrote it" in refused.value.remedy
    assert "\n" not in str(refused.value)


def test_later_line_of_a_history_is_named(tmp_path: Path) -> None:
    path = tmp_path / "scores.csv.history.jsonl"
    path.write_text(json.dumps({"history_version": HISTORY_VERSION + 1}) + "\n")
    assert chain_at(path).problems == ("line 1 cannot be read: it is of a newer version of avpenet, or was edited",)


def test_later_plan_of_shards_is_refused(tmp_path: Path) -> None:
    path = plan_path(tmp_path / "scores.csv")
    path.parent.mkdir()
    path.write_text(json.dumps({"plan_version": PLAN_VERSION + 1}))
    with pytest.raises(OutputError, match="is damaged, or of another version of avpenet"):
        read_plan(tmp_path / "scores.csv")


def test_page_states_the_versions_that_are_written() -> None:
    page = (REPOSITORY / "docs" / "reference" / "compatibility.md").read_text()
    section = page.split("## Files of a later version\n")[1]
    rows = dict(re.findall(r"^\| ([^|]+?) \| (\d+) \|", section, re.MULTILINE))
    stated = {file: str(version) for file, (version, *_) in _LATER.items()}
    stated |= {"history, `*.history.jsonl`": str(HISTORY_VERSION), "plan of shards, `plan.json`": str(PLAN_VERSION)}
    assert rows == stated
