"""JSON Schemas of report.json and its like, generated from dataclasses and their docstrings."""

from __future__ import annotations

import re
from typing import Any

from pydantic import TypeAdapter
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from avpenet_cli.report.document import SCHEMA_VERSION, ReportDocument

_ATTRIBUTE = re.compile(r"^    (\w+): (.+(?:\n {8,}.+)*)", re.MULTILINE)


class _Generator(GenerateJsonSchema):
    """Floats are null where they cannot be computed, as `stats.estimate.to_json` writes them."""

    def float_schema(self, schema: core_schema.FloatSchema) -> JsonSchemaValue:
        return {"type": ["number", "null"]}


def report_schema() -> dict[str, Any]:
    """The schema of report.json."""
    schema = document_schema(ReportDocument, f"avpenet report (report.json), version {SCHEMA_VERSION}")
    schema["properties"]["schema_version"]["const"] = SCHEMA_VERSION
    return schema


def document_schema(kind: type, title: str) -> dict[str, Any]:
    """The schema of a dataclass as `to_json` writes it; every field is required and no others are allowed.

    Args:
        kind: it and every dataclass within it have docstrings, with their fields under `Attributes`.
        title: of the schema, with its version.
    """
    schema = TypeAdapter(kind).json_schema(schema_generator=_Generator, mode="serialization")
    for definition in (schema, *schema["$defs"].values()):
        _complete(definition)
    return schema | {"title": title}


def _complete(definition: dict[str, Any]) -> None:
    """Require all fields, forbid others, and describe the fields with the docstring's section `Attributes`."""
    definition["required"] = list(definition["properties"])
    definition["additionalProperties"] = False
    summary, _, attributes = definition["description"].partition("\n\nAttributes:\n")
    definition["description"] = _in_json_terms(summary)
    for field in definition["properties"].values():
        # The field's name again, and a value that a required field never takes.
        field.pop("title", None)
        field.pop("default", None)
    for name, text in _ATTRIBUTE.findall(attributes):
        definition["properties"][name]["description"] = _in_json_terms(text)


def _in_json_terms(text: str) -> str:
    """A docstring on one line, with null where Python has NaN or None."""
    return re.sub(r"\b(NaN|None)\b", "null", " ".join(text.split()))
