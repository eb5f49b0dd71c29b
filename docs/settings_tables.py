"""Settings as rows of a Markdown table, and as a settings file."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from typing import Any

from pydantic import TypeAdapter

from docs.markdown_tables import code
from docs.program_source import attribute_docs


def defaults(settings: Any) -> dict[str, Any]:
    """A settings object as nested dictionaries."""
    plain: dict[str, Any] = TypeAdapter(type(settings)).dump_python(settings, mode="json")
    return plain


def settings_rows(settings: Any, prefix: str = "") -> Iterator[list[str]]:
    """[name, allowed values, default, meaning] of every setting, those of inner tables by dotted names."""
    kind = type(settings)
    schema = TypeAdapter(kind).json_schema()
    documented, values = attribute_docs(kind), defaults(settings)
    for name, field in schema["properties"].items():
        value = getattr(settings, name)
        if hasattr(value, "__dataclass_fields__"):
            yield from settings_rows(value, f"{prefix}{name}.")
        else:
            default = "not set" if values[name] is None else code(toml_value(values[name]))
            if name in schema.get("required", ()):
                default = "required"
            yield [code(prefix + name), allowed(field), default, documented.get(name, "")]


def allowed(field: dict[str, Any]) -> str:
    """The values that a setting may have, from its JSON schema."""
    if "$ref" in field or field.get("type") == "object":
        return "table"
    if "enum" in field:
        return ", ".join(code(word) for word in field["enum"])
    if "const" in field:
        return code(field["const"])
    if "anyOf" in field:
        choices = ("left out" if choice.get("type") == "null" else allowed(choice) for choice in field["anyOf"])
        return ", or ".join(choices)
    if field["type"] == "array":
        inner = field.get("prefixItems") or [field["items"]]
        each = allowed(inner[0])
        return f"{len(inner)} of: {each}" if "prefixItems" in field else f"list of: {each}"
    words = {"integer": "integer", "number": "number", "boolean": "`true`, `false`", "string": "text"}
    limits = [
        f"{sign}\N{NO-BREAK SPACE}{field[key]:.10g}"
        for key, sign in (("minimum", "≥"), ("exclusiveMinimum", ">"), ("maximum", "≤"), ("exclusiveMaximum", "<"))
        if key in field
    ]
    return " ".join([words[field["type"]], ", ".join(limits)]).strip()


def toml_value(value: Any) -> str:
    """A value as a settings file has it, tables on one line."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return f"[{', '.join(map(toml_value, value))}]"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{name} = {toml_value(inner)}' for name, inner in value.items())}}}"
    return f'"{value}"' if isinstance(value, str) else repr(value)


def toml(settings: Any) -> str:
    """The defaults as a settings file. What has no value is left out."""

    def lines(plain: dict[str, Any], where: str) -> Iterator[str]:
        tables = {name: value for name, value in plain.items() if isinstance(value, dict)}
        for name, value in plain.items():
            if name not in tables and value is not None:
                yield f"{name} = {toml_value(value)}"
        for name, inner in tables.items():
            yield from ("", f"[{where}{name}]")
            yield from lines(inner, f"{where}{name}.")

    text = "\n".join(lines(defaults(settings), ""))
    assert tomllib.loads(text)
    return text
