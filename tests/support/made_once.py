"""What the program makes afresh in every process, made once for all commands that run in one: parser and templates."""

from __future__ import annotations

import functools

import pytest
import typer.main
from jinja2 import BytecodeCache, Environment
from jinja2.bccache import Bucket

from avpenet_cli.report import page


class _CompiledTemplates(BytecodeCache):
    """Templates as Python's bytecode, in memory; one whose source has changed is compiled again."""

    def __init__(self) -> None:
        self._code: dict[str, bytes] = {}

    def load_bytecode(self, bucket: Bucket) -> None:
        if bucket.key in self._code:
            bucket.bytecode_from_string(self._code[bucket.key])

    def dump_bytecode(self, bucket: Bucket) -> None:
        self._code[bucket.key] = bucket.bytecode_to_string()


def make_once(patch: pytest.MonkeyPatch) -> None:
    """Keep the parser of the command line, a tenth of a second, and the compiled templates of pages, nearly half."""
    patch.setattr(typer.main, "get_command", functools.cache(typer.main.get_command))
    patch.setattr(page, "Environment", functools.partial(Environment, bytecode_cache=_CompiledTemplates()))
