"""The JSON Schema of report.json, generated from the document's dataclasses.

`.venv/bin/python -m avpenet_cli.report.schema` writes it to `avpenet_cli/schemas/report.schema.json`.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from avpenet_cli.report.document import SCHEMA_VERSION, ReportDocument

SCHEMA_FILE = Path(__file__).parents[1] / "schemas" / "report.schema.json"
_DIALECT = "https://json-schema.org/draft/2020-12/schema"
_ATTRIBUTE = re.compile(r"^    (\w+(?:, \w+)*): (.+(?:\n {8,}.+)*)", re.MULTILINE)


class _Generator(GenerateJsonSchema):
    """Floats are null where they cannot be computed, as `stats.estimate.to_json` writes them."""

    def float_schema(self, schema: core_schema.FloatSchema) -> JsonSchemaValue:
        return {"type": ["number", "null"]}


def report_schema() -> dict[str, Any]:
    """The schema: every field is required, and no others are allowed."""
    schema = TypeAdapter(ReportDocument).json_schema(schema_generator=_Generator, mode="serialization")
    for definition in (schema, *schema["$defs"].values()):
        _complete(definition)
    schema["properties"]["schema_version"]["const"] = SCHEMA_VERSION
    return {"$schema": _DIALECT, "title": "avpenet report", **schema}


def _complete(definition: dict[str, Any]) -> None:
    """Require all fields, forbid others, and describe the fields as the docstring's section `Attributes` does."""
    if "properties" not in definition:
        return
    definition["required"] = list(definition["properties"])
    definition["additionalProperties"] = False
    summary, _, attributes = definition.get("description", "").partition("\n\nAttributes:\n")
    definition["description"] = _one_line(summary)
    for names, text in _ATTRIBUTE.findall(attributes):
        for name in names.split(", "):
            definition["properties"][name]["description"] = _one_line(text)
    for field in definition["properties"].values():
        # Repeats the field's name.
        field.pop("title", None)


def _one_line(text: str) -> str:
    return " ".join(text.split())


def write_schema(path: Path = SCHEMA_FILE) -> None:
    """Write the schema that the package publishes."""
    path.write_text(json.dumps(report_schema(), indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    write_schema()
