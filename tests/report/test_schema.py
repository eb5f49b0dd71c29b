"""report.json satisfies its published schema, whatever the tables."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from avpenet_cli import schemas
from examples.make_study import make_study
from tests.support.reports import (
    Avpenet,
    all_tables,
    run_report,
    twelve_recordings,
    write_ratings,
    write_scores,
)

SCHEMA = json.loads((Path(schemas.__file__).parent / "report.schema.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def complete(avpenet_here: Avpenet, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A report with every section."""
    folder = tmp_path_factory.mktemp("complete")
    make_study(folder, recordings=30, segments=10.0)
    limit = ("--limit", "2", "--limit-source", "protocol 7")
    return run_report(
        avpenet_here, folder / "r.html", *all_tables(folder), "--compare", folder / "scores-new.csv", *limit
    )


def test_a_report_with_every_section_satisfies_the_schema(complete: dict[str, Any]) -> None:
    # A report with a sample: tests/report/test_sample.py
    assert [name for name, section in complete.items() if section is None] == ["sample"]
    jsonschema.validate(complete, SCHEMA)


def test_a_report_without_ratings_satisfies_the_schema(avpenet_here: Avpenet, tmp_path: Path) -> None:
    scores = write_scores(tmp_path / "scores.csv", [("a.mp4", 3.0 * i, None) for i in range(4)])
    jsonschema.validate(run_report(avpenet_here, tmp_path / "r.html", scores), SCHEMA)


def test_a_degenerate_report_satisfies_the_schema(avpenet_here: Avpenet, tmp_path: Path) -> None:
    rows = twelve_recordings(12)[:1]
    scores = write_scores(tmp_path / "scores.csv", rows)
    reference = write_ratings(tmp_path / "ratings.csv", [(name, start, 4.0) for name, start, _ in rows])
    document = run_report(avpenet_here, tmp_path / "r.html", scores, "--reference", reference)
    assert document["agreement"]["limits"]["lower"]["value"] is None
    jsonschema.validate(document, SCHEMA)


def test_the_schema_rejects_unknown_and_missing_fields(complete: dict[str, Any]) -> None:
    with pytest.raises(jsonschema.ValidationError, match="surprise"):
        jsonschema.validate(complete | {"surprise": 1}, SCHEMA)
    without_n = {**complete["headline"]}
    del without_n["n_pairs"]
    with pytest.raises(jsonschema.ValidationError, match="n_pairs"):
        jsonschema.validate(complete | {"headline": without_n}, SCHEMA)
    with pytest.raises(jsonschema.ValidationError, match="4 was expected"):
        jsonschema.validate(complete | {"schema_version": 1}, SCHEMA)


def test_every_object_and_section_is_described() -> None:
    described = [SCHEMA, *SCHEMA["$defs"].values()]
    assert all(definition["description"] for definition in described)
    assert all("description" in section for section in SCHEMA["properties"].values())
