"""With --pseudonymise nothing that a run leaves behind says whose recording it was."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.conftest import Answer, ClipMaker

Avpenet = Callable[..., Answer]

FOLDER = "Zebulon-Quince"
NAMES = [
    "Xanthippe Yarrow.mp4",
    "Vashti\nUlverston.mp4",
    os.fsdecode(b"Wilhelm\xfcna.mp4"),
    "Thaddeus.mkv",
    "Osbert.mp4",
]
RECORDED = "2019-08-07T06:05:04Z"
"""Creation time of the good recording. Times identify people."""
TELLING = [
    b"2019-08-0",
    b"Zebulon",
    b"Quince",
    b"Xanthippe",
    b"Yarrow",
    b"Vashti",
    b"Ulverston",
    b"Wilhelm",
    b"Thaddeus",
    b"Osbert",
]


@dataclass(frozen=True)
class Secret:
    archive: Path
    key: Path
    out: Path
    answer: Answer


def _key(path: Path, key: bytes) -> Path:
    path.write_bytes(key)
    path.chmod(0o600)
    return path


def _command(secret_archive: Path, key: Path, out: Path) -> list[str | Path]:
    options: list[str | Path] = ["--debug", "-v", "--log-file", out.with_suffix(".log"), "--weights", "untrained"]
    options += ["--embeddings", out.with_name("embeddings.parquet")]
    return ["score", secret_archive, "--out", out, "--pseudonymise", key, *options]


@pytest.fixture(scope="module")
def secret(clips: ClipMaker, avpenet_here: Avpenet, tmp_path_factory: pytest.TempPathFactory) -> Secret:
    """One good recording; one that is none, one cut short, one whose decoder complains, one with no permission."""
    folder = tmp_path_factory.mktemp("secret")
    archive = folder / FOLDER
    archive.mkdir()
    dated = clips.ffmpeg("-i", str(clips.brief()), "-c", "copy", "-metadata", f"creation_time={RECORDED}")
    whole = dated.read_bytes()
    (archive / NAMES[0]).write_bytes(whole)
    (archive / NAMES[1]).write_text("no recording")
    (archive / NAMES[2]).write_bytes(whole[: len(whole) // 2])
    long = clips.ffmpeg("-i", str(clips.face(4.6, "160x120", 10.0)), "-c", "copy", suffix=".mkv").read_bytes()
    third = len(long) // 3
    (archive / NAMES[3]).write_bytes(long[:third] + bytes(len(long) // 50) + long[third + len(long) // 50 : 2 * third])
    damaged = bytearray(whole)
    damaged[2_000:2_400] = b"\xa5" * 400
    (archive / NAMES[4]).write_bytes(damaged)
    out = folder / "out" / "scores.csv"
    out.parent.mkdir()
    key = _key(folder / "key", b"one key of enough bytes")
    return Secret(archive, key, out, avpenet_here(*_command(archive, key, out)))


@pytest.mark.slow
def test_names_appear_in_no_output(secret: Secret) -> None:
    assert secret.answer.code == 1
    assert "Traceback" in secret.answer.err or 'File "' in secret.answer.err  # --debug was heard
    left = {path.name: path.read_bytes() for path in secret.out.parent.iterdir()}
    assert set(left) == {
        "scores.csv",
        "scores.csv.history.jsonl",
        "scores.csv.journal",
        "scores.csv.lock",
        "scores.recordings.csv",
        "scores.run.json",
        "scores.log",
        "embeddings.parquet",
        "embeddings.parquet.journal",
    }
    said = {"stdout": secret.answer.out.encode(), "stderr": secret.answer.err.encode()}
    for where, raw in (left | said).items():
        # A name may be cut in a line of ffmpeg's; half of it tells enough.
        leaked = [name for name in TELLING if name[:5] in raw]
        assert not leaked, (where, leaked)


def test_pseudonyms_are_stable_and_depend_on_the_key(secret: Secret, avpenet_here: Avpenet, tmp_path: Path) -> None:
    def names(table: Path) -> list[str]:
        return sorted({line.split(",")[0] for line in table.read_text().splitlines()[1:]})

    out = tmp_path / "scores.csv"
    for path in secret.out.parent.iterdir():
        shutil.copy(path, tmp_path)
    again = avpenet_here(*_command(secret.archive, secret.key, out))
    assert "scored by an earlier run" in again.err
    assert names(out) == names(secret.out)
    assert all(name.startswith("rec-") and len(name) == 24 for name in names(out))
    other = _key(tmp_path / "key", b"another key of enough bytes")
    pairs = [
        avpenet_here("score", secret.archive, "--dry-run", "--pseudonymise", key).out.splitlines()
        for key in (secret.key, other)
    ]
    first, second = ({line.split()[0] for line in lines if line.startswith("rec-")} for lines in pairs)
    assert set(names(out)) <= first
    assert len(first) == len(second) == len(NAMES)
    assert first.isdisjoint(second)
    # This list is how a site finds the recording behind a pseudonym.
    (line,) = [line for line in pairs[0] if "Xanthippe Yarrow.mp4" in line]
    assert str(secret.archive) in line


def test_times_are_left_out_unless_asked_for(secret: Secret, avpenet_here: Avpenet, tmp_path: Path) -> None:
    for path in secret.out.parent.iterdir():
        shutil.copy(path, tmp_path)
    out = tmp_path / "scores.csv"
    assert RECORDED[:-1] not in secret.out.read_text()
    dated = avpenet_here(*_command(secret.archive, secret.key, out), "--recorded-at", "container")
    assert "scored by an earlier run" in dated.err
    assert f"{RECORDED[:-1]}.000+00:00," in out.read_text()
    assert b"2019-08" not in (tmp_path / "scores.csv.journal").read_bytes()


def test_plain_names_do_not_replace_pseudonyms(secret: Secret, avpenet_here: Avpenet) -> None:
    before = secret.out.read_bytes()
    answer = avpenet_here("score", secret.archive, "--out", secret.out, "--weights", "untrained")
    assert answer.code == 2
    assert "recordings' names was" in answer.last_line
    assert secret.out.read_bytes() == before


@pytest.mark.parametrize(("key", "mode", "words"), [(b"short", 0o600, "under 16"), (b"k" * 32, 0o640, "chmod 600")])
def test_weak_key_is_refused(
    key: bytes, mode: int, words: str, secret: Secret, avpenet_here: Avpenet, tmp_path: Path
) -> None:
    path = tmp_path / "key"
    path.write_bytes(key)
    path.chmod(mode)
    answer = avpenet_here("score", secret.archive, "--out", tmp_path / "scores.csv", "--pseudonymise", path)
    assert answer.code == 2
    assert words in answer.last_line
    assert [path.name for path in tmp_path.iterdir()] == ["key"]
