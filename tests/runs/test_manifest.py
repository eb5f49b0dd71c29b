"""The run's manifest is what its published schema promises."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import socket
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from avpenet_cli import schemas
from avpenet_cli.media.tools import ffmpeg_version, tool
from avpenet_cli.runs.versions import software_versions
from tests.conftest import Answer, ClipMaker

FOLDER = Path(schemas.__file__).parent


@pytest.fixture(scope="module")
def manifest(
    avpenet_here: Callable[..., Answer], clips: ClipMaker, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Answer, dict[str, Any]]:
    """Of a run over a good recording and a broken one."""
    folder = tmp_path_factory.mktemp("manifest")
    broken = folder / "broken.mp4"
    broken.write_bytes(b"no recording")
    answer = avpenet_here("score", clips.brief(), broken, "--weights", "untrained", "--out", folder / "scores.csv")
    return answer, json.loads((folder / "scores.run.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", sorted(schemas.schemas()))
def test_published_schemas_are_generated_from_the_code(name: str) -> None:
    assert (FOLDER / name).read_text(encoding="utf-8") == schemas.schema_text(name), "run python -m avpenet_cli.schemas"


def test_manifest_satisfies_its_schema(manifest: tuple[Answer, dict[str, Any]]) -> None:
    answer, content = manifest
    assert answer.code == 1  # one recording failed
    jsonschema.validate(content, json.loads((FOLDER / "manifest.schema.json").read_text(encoding="utf-8")))
    assert [entry["status"] for entry in content["recordings"]] == ["scored", "failed"]


def test_manifest_says_what_was_scored_where_and_when_without_names(manifest: tuple[Answer, dict[str, Any]]) -> None:
    content = manifest[1]
    assert content["command"] == "avpenet score [2 inputs] --out scores.csv --weights untrained"
    timing = content["timing"]
    assert datetime.fromisoformat(timing["started"]) <= datetime.fromisoformat(timing["finished"])
    assert datetime.fromisoformat(timing["started"]).tzinfo is not None
    assert content["host"]["cores"] >= 1
    assert content["host"]["memory_bytes"] > 1e8
    assert content["host"]["cpu"]
    text = json.dumps(content)
    assert socket.gethostname() not in text
    assert content["left_aside"] == {"by_reason": {}, "by_suffix": {}}


def test_manifest_holds_the_digests_of_the_files(manifest: tuple[Answer, dict[str, Any]], clips: ClipMaker) -> None:
    scored, failed = (entry["file"] for entry in manifest[1]["recordings"])
    facts = clips.brief().stat()
    assert scored["sha256"] == hashlib.sha256(clips.brief().read_bytes()).hexdigest()
    assert scored["size_bytes"] == facts.st_size
    assert datetime.fromisoformat(scored["modified"]).timestamp() == int(facts.st_mtime)
    assert (failed["size_bytes"], failed["sha256"]) == (12, "")


def test_resumed_run_keeps_digests_and_pseudonyms_keep_paths_out(
    avpenet_here: Callable[..., Answer], clips: ClipMaker, tmp_path: Path
) -> None:
    patient, key = tmp_path / "Jane Doe.mp4", tmp_path / "Jane Doe.key"
    shutil.copy(clips.brief(), patient)
    key.write_bytes(b"0123456789abcdef")
    key.chmod(0o600)
    out = tmp_path / "scores.csv"
    command = ["score", patient, "--out", out, "--weights", "untrained", "--pseudonymise", key, "--prune"]
    assert avpenet_here(*command).code == 0
    assert avpenet_here(*command, "--no-digests").code == 0
    content = json.loads((tmp_path / "scores.run.json").read_text(encoding="utf-8"))
    assert content["recordings"][0]["from_earlier_run"]
    assert content["recordings"][0]["file"]["sha256"] == hashlib.sha256(patient.read_bytes()).hexdigest()
    assert "--no-digests --pseudonymise ..." in content["command"]
    for path in (tmp_path / "scores.run.json", tmp_path / "scores.csv.journal", out):
        assert b"Jane" not in path.read_bytes()
    os.utime(patient, ns=(1, 1))
    assert avpenet_here(*command, "--no-digests").code == 0
    content = json.loads((tmp_path / "scores.run.json").read_text(encoding="utf-8"))
    assert content["recordings"][0]["file"] | {"size_bytes": 0} == {
        "size_bytes": 0,
        "modified": "",
        "sha256": "",
    }
    patient.unlink()
    (tmp_path / "other.mp4").write_bytes(b"no recording")
    command[1] = tmp_path / "other.mp4"
    assert avpenet_here(*command).code == 1
    state = avpenet_here("status", out)
    assert "--pseudonymise KEYFILE lists" in state.out
    refused = avpenet_here("status", out, "--failed")
    assert refused.code == 2
    assert "the paths of 1 failed recording are not known" in refused.last_line


def test_schema_rejects_a_manifest_without_its_table(manifest: tuple[Answer, dict[str, Any]]) -> None:
    content = dict(manifest[1])
    del content["table"]
    with pytest.raises(jsonschema.ValidationError, match="table"):
        jsonschema.validate(content, json.loads((FOLDER / "manifest.schema.json").read_text(encoding="utf-8")))


def test_versions_without_ffmpeg(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a machine that only trains on a store, hours of training ended with an error when the record was written."""
    monkeypatch.setattr(shutil, "which", lambda *_arguments, **_options: None)
    tool.cache_clear()
    ffmpeg_version.cache_clear()
    assert software_versions()["ffmpeg"] == "absent"
