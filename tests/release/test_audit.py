"""The lock against a database of vulnerabilities: what it reports, and that a bad database never looks clean."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest
from packaging.version import Version

from release.advisories import Advisory, read_database
from release.lock_files import LOCKS, RUNTIME_LOCK, pinned_name, pinned_version, pins
from tests.conftest import REPOSITORY

_TORCH = next(str(pinned_version(pin)) for pin in pins(RUNTIME_LOCK) if pin.name == "torch")


def _advisory(name: str = "GHSA-aaaa-bbbb-cccc", package: str = "torch", **fields: Any) -> dict[str, Any]:
    """An advisory on every version up to and including the locked one of torch, unless told otherwise."""
    ranges = fields.pop("ranges", [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"last_affected": _TORCH}]}])
    affected = {"package": {"ecosystem": "PyPI", "name": package}, "ranges": ranges} | fields.pop("affected", {})
    return {
        "schema_version": "1.6.0",
        "id": name,
        "modified": "2026-11-20T08:00:00Z",
        "summary": "a made-up fault",
        "affected": [affected],
    } | fields


def _audit(database: Path, *options: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "release.audit", database, *options]
    return subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True)


def _written(path: Path, *advisories: object) -> Path:
    path.write_text(json.dumps(advisories[0] if len(advisories) == 1 else advisories))
    return path


def test_vulnerable_package_is_reported_once_with_its_aliases_lock_files_and_fix(tmp_path: Path) -> None:
    fixed = [{"type": "ECOSYSTEM", "events": [{"introduced": "1.0"}, {"fixed": "999.1"}]}]
    database = tmp_path / "all.zip"
    with zipfile.ZipFile(database, "w") as archive:
        for advisory in (
            _advisory(aliases=["CVE-2026-0001"]),
            _advisory("PYSEC-2026-1", aliases=["CVE-2026-0001"], ranges=fixed, modified="2026-11-21T00:00:00Z"),
            _advisory("GHSA-other", package="no-such-package"),
        ):
            archive.writestr(f"{advisory['id']}.json", json.dumps(advisory))
    done = _audit(database)
    assert (done.returncode, done.stderr) == (1, "")
    first, finding, count, *_ = done.stdout.splitlines()
    assert first.endswith("advisories: 3, the newest of 2026-11-21")
    assert finding == (
        f"torch {_TORCH} (requirements-runtime.lock, requirements.lock): CVE-2026-0001, GHSA-aaaa-bbbb-cccc, "
        "PYSEC-2026-1: a made-up fault; fixed in 999.1"
    )
    assert count == "known vulnerabilities: 1, and 0 accepted"


def test_nothing_known_is_exit_code_0(tmp_path: Path) -> None:
    past = [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": _TORCH}]}]
    others = _advisory("GHSA-npm")
    others["affected"][0]["package"]["ecosystem"] = "npm"
    withdrawn = _advisory("GHSA-withdrawn", withdrawn="2026-01-01T00:00:00Z")
    done = _audit(_written(tmp_path / "database.json", _advisory(ranges=past), others, withdrawn))
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[1] == "known vulnerabilities: 0, and 0 accepted"


def test_every_package_of_every_lock_is_looked_at(tmp_path: Path) -> None:
    names = {pinned_name(pin): str(pinned_version(pin)) for lock in LOCKS for pin in pins(lock)}
    assert {"torch", "dlib-bin", "twine", "pytest"} <= names.keys()
    for number, name in enumerate(names):
        _written(
            tmp_path / f"{number}.json", _advisory(f"GHSA-{number}", package=name.replace("-", "_").upper(), ranges=[])
        )
    done = _audit(tmp_path)
    assert done.returncode == 1
    assert {line.split()[0] for line in done.stdout.splitlines()[1:-2]} == names.keys()


def test_accepted_advisory_does_not_count_until_its_date(tmp_path: Path) -> None:
    database = _written(tmp_path / "database.json", _advisory(aliases=["CVE-2026-0001"]))
    accepted = tmp_path / "accepted.toml"
    for until, code in (("9999-12-31", 0), ("2020-01-01", 1)):
        accepted.write_text(f'[[accepted]]\nid = "CVE-2026-0001"\nreason = "not used here"\nuntil = {until}\n')
        done = _audit(database, "--accepted", accepted)
        assert done.returncode == code
        assert ("; accepted: not used here" in done.stdout) is (code == 0)
    accepted.write_text('[[accepted]]\nid = "CVE-2026-0001"\n')
    assert _audit(database, "--accepted", accepted).returncode == 2


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("database.json", "[]", "holds no advisory on a PyPI package"),
        ("database.json", "{", "is not JSON, or is damaged"),
        ("database.json", '{"vulnerabilities": []}', "is no advisory in the OSV format"),
        ("database.json", '{"id": "X", "affected": [{"package": {"ecosystem": "PyPI"}}]}', "does not keep to the OSV"),
        ("database.json", '{"id": "X", "affected": 3}', "does not keep to the OSV"),
        ("database.zip", "PK", "is not a zip file, or is damaged"),
        ("nowhere.zip", None, "cannot be read: No such file"),
    ],
)
def test_database_that_cannot_be_used_is_exit_code_2_and_one_line(
    tmp_path: Path, name: str, content: str | None, message: str
) -> None:
    if content is not None:
        (tmp_path / name).write_text(content)
    done = _audit(tmp_path / name)
    assert (done.returncode, done.stdout) == (2, "")
    assert message in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_zip_with_damaged_contents_is_exit_code_2_and_one_line(tmp_path: Path) -> None:
    database = tmp_path / "all.zip"
    with zipfile.ZipFile(database, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("one.json", json.dumps(_advisory()))
    content = bytearray(database.read_bytes())
    start = 30 + len("one.json")  # the local header of the only member ends here
    content[start : start + 20] = b"\xff" * 20
    database.write_bytes(content)
    done = _audit(database)
    assert (done.returncode, done.stdout) == (2, "")
    assert "is not a zip file, or is damaged" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def _read(tmp_path: Path, **fields: Any) -> Advisory:
    (advisory,) = read_database(_written(tmp_path / "one.json", _advisory(**fields)))
    return advisory


@pytest.mark.parametrize(
    ("events", "affected", "unaffected"),
    [
        ([{"introduced": "0"}, {"fixed": "1.10"}], ["0.dev1", "1.9", "1.10rc1"], ["1.10", "1.10.post1", "2"]),
        ([{"introduced": "1.0"}, {"last_affected": "1.2"}], ["1.0", "1.2", "1.2+cu130"], ["0.9", "1.2.post1", "1.3"]),
        # Of two branches, in any order.
        (
            [{"fixed": "2.5"}, {"introduced": "2.0"}, {"fixed": "1.5"}, {"introduced": "0"}],
            ["1.4", "2.0", "2.4"],
            ["1.5", "1.9", "2.5"],
        ),
        ([{"introduced": "0"}, {"limit": "1.5"}], ["1.4"], ["1.5", "2"]),
        ([{"introduced": "1.0"}], ["1.0", "99"], ["0.9"]),
        # What cannot be compared counts as affected.
        ([{"introduced": "0"}, {"fixed": "r123"}], ["1.0", "99"], []),
    ],
)
def test_versions_within_ranges(
    tmp_path: Path, events: list[dict[str, str]], affected: list[str], unaffected: list[str]
) -> None:
    advisory = _read(tmp_path, ranges=[{"type": "ECOSYSTEM", "events": events}])
    assert [text for text in affected + unaffected if advisory.affects(Version(text))] == affected


def test_listed_versions_count_and_an_advisory_without_versions_affects_all(tmp_path: Path) -> None:
    commits = [{"type": "GIT", "repo": "somewhere", "events": [{"introduced": "0"}, {"fixed": "abcdef"}]}]
    listed = _read(tmp_path, ranges=commits, affected={"versions": ["1.0", "1.1.0", "2004d"]})
    assert [text for text in ("1.0.0", "1.1", "1.2") if listed.affects(Version(text))] == ["1.0.0", "1.1"]
    assert _read(tmp_path, ranges=commits).affects(Version("1.0"))
