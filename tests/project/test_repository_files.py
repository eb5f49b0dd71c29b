"""Files that other services read: the CI workflow, issue forms, commit hooks and the citation."""

from __future__ import annotations

import re
import subprocess
import tomllib
from typing import Any

import pytest
import yaml

from tests.conftest import REPOSITORY

_PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def _read(name: str) -> Any:
    return yaml.safe_load((REPOSITORY / name).read_text(encoding="utf-8"))


def test_ci_runs_the_repository_check_on_every_python_that_the_project_names() -> None:
    job = _read(".github/workflows/ci.yml")["jobs"]["test"]
    prefix = "Programming Language :: Python :: "
    versions = [line.removeprefix(prefix) for line in _PROJECT["classifiers"] if line.startswith(prefix)]
    assert job["strategy"]["matrix"]["python-version"] == versions
    assert [step["run"] for step in job["steps"] if "run" in step] == ["bash .ci/run"]


def test_commit_hooks_are_local() -> None:
    repositories = _read(".pre-commit-config.yaml")["repos"]
    assert [repository["repo"] for repository in repositories] == ["local"]
    tools = {hook["entry"].split()[0] for hook in repositories[0]["hooks"]}
    assert tools == {".venv/bin/ruff", ".venv/bin/mypy", ".venv/bin/lint-imports"}


@pytest.mark.parametrize("form", ["bug", "recording_read_wrong", "feature"])
def test_issue_form_warns_against_patient_data(form: str) -> None:
    read = _read(f".github/ISSUE_TEMPLATE/{form}.yml")
    assert {"name", "description", "body"} <= read.keys()
    assert "Do not attach" in read["body"][0]["attributes"]["value"]
    identifiers = [field["id"] for field in read["body"] if "id" in field]
    assert len(identifiers) == len(set(identifiers)) > 1


def test_citation_names_this_version_and_the_paper() -> None:
    citation = _read("CITATION.cff")
    assert citation["version"] == _PROJECT["version"]
    assert [work["doi"] for work in citation["references"]] == ["10.1371/journal.pdig.0001301"]


def test_no_tracked_file_outside_tests_names_a_package_registry() -> None:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=REPOSITORY, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("not a git checkout")
    hosts = re.compile(rb"pypi\.org|pythonhosted\.org|docker\.io|ghcr\.io|quay\.io|download\.pytorch\.org")
    names = [name for name in listed.stdout.split("\0") if name and not name.startswith("tests/")]
    assert not [name for name in names if hosts.search((REPOSITORY / name).read_bytes())]
