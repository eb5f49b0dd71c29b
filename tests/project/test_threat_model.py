"""The tests that the threat model names exist."""

from __future__ import annotations

import re

from tests.conftest import REPOSITORY


def test_tests_named_by_the_threat_model_exist() -> None:
    page = (REPOSITORY / "docs" / "explanation" / "threat-model.md").read_text()
    named = {name for group in re.findall(r"\(((?:`\w+`(?:, )?)+)\)", page) for name in re.findall(r"\w+", group)}
    named |= set(re.findall(r"`(test_\w+)`", page))
    assert len(named) > 5
    tests = {path.stem for path in (REPOSITORY / "tests").rglob("*") if path.is_dir() or path.suffix == ".py"}
    assert named - tests == set()
