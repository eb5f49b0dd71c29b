"""The run's manifest is what its published schema promises."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from avpenet_cli import schemas
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


def test_schema_rejects_a_manifest_without_its_table(manifest: tuple[Answer, dict[str, Any]]) -> None:
    content = dict(manifest[1])
    del content["table"]
    with pytest.raises(jsonschema.ValidationError, match="table"):
        jsonschema.validate(content, json.loads((FOLDER / "manifest.schema.json").read_text(encoding="utf-8")))
