"""Collecting recordings from files, folders, patterns and lists, and their names and pseudonyms."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path

import pytest

from avpenet_cli.errors import SettingsError
from avpenet_cli.inputs import Inputs, collect
from tests.support.privileges import drop_file_capabilities

KEY = b"0123456789abcdef0123456789abcdef"


def _make(folder: Path, *names: str) -> list[Path]:
    paths = [folder / name for name in names]
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    return paths


def _collect(*paths: str | Path, files_from: Path | str | None = None, recursive: bool = False) -> Inputs:
    return collect([str(path) for path in paths], str(files_from) if files_from else None, recursive, None)


def _names(inputs: Inputs) -> list[str]:
    return [recording.name for recording in inputs.recordings]


def _key_file(folder: Path, key: bytes = KEY, mode: int = 0o600) -> Path:
    path = folder / "key"
    path.write_bytes(key)
    path.chmod(mode)
    return path


def test_equal_names_are_told_apart_by_their_folders(tmp_path: Path) -> None:
    a, b = _make(tmp_path, "ward a/1.mp4", "ward b/1.mp4")
    inputs = _collect(b, a)
    assert _names(inputs) == ["ward b/1.mp4", "ward a/1.mp4"]
    assert len({recording.key for recording in inputs.recordings}) == 2
    assert _names(_collect(a)) == ["1.mp4"]


def test_repeated_file_is_collected_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    a, b = _make(tmp_path, "a.mp4", "b.mp4")
    monkeypatch.chdir(tmp_path)
    inputs = _collect(b, "./b.mp4", tmp_path, f"{tmp_path}/x/../a.mp4")
    assert [recording.path for recording in inputs.recordings] == [b, a]
    assert inputs.repeated == 3


def test_links_to_one_file_are_separate_recordings(tmp_path: Path) -> None:
    (a,) = _make(tmp_path, "a.mp4")
    (tmp_path / "b.mp4").symlink_to(a)
    assert _names(_collect(tmp_path)) == ["a.mp4", "b.mp4"]


def test_folder_gives_its_recordings_only(tmp_path: Path) -> None:
    _make(tmp_path, "b.MP4", "a.mkv", "notes.txt", ".hidden.mp4", "deep/c.mp4", ".cache/d.mp4", "scores.csv")
    (tmp_path / "folder.mp4").mkdir()
    flat = _collect(tmp_path)
    assert _names(flat) == ["a.mkv", "b.MP4"]
    assert flat.other_files == 3
    assert _names(_collect(tmp_path, recursive=True)) == ["a.mkv", "b.MP4", "deep/c.mp4"]


def test_folder_without_recordings_is_a_problem(tmp_path: Path) -> None:
    _make(tmp_path, "deep/a.mp4")
    (only,) = _collect(tmp_path).recordings
    assert only.path == tmp_path
    assert "--recursive looks deeper" in only.problem


def test_explicitly_named_file_may_have_any_suffix(tmp_path: Path) -> None:
    (odd,) = _make(tmp_path, "recording.bin")
    assert _names(_collect(odd)) == ["recording.bin"]


def test_quoted_pattern_is_expanded(tmp_path: Path) -> None:
    _make(tmp_path, "2.mp4", "1.mp4", "x/3.mp4")
    (tmp_path / "4.mp4").mkdir()
    assert _names(_collect(f"{tmp_path}/*.mp4")) == ["1.mp4", "2.mp4"]
    assert _names(_collect(f"{tmp_path}/**/*.mp4")) == ["1.mp4", "2.mp4", "x/3.mp4"]
    (nothing,) = _collect(f"{tmp_path}/*.mkv").recordings
    assert nothing.problem == "a pattern that matches nothing"


def test_existing_name_that_looks_like_a_pattern_is_a_file(tmp_path: Path) -> None:
    (odd, _) = _make(tmp_path, "take[1].mp4", "take1.mp4")
    assert _names(_collect(odd)) == ["take[1].mp4"]


@pytest.mark.parametrize("separator", ["\n", "\r\n", "\0"])
def test_list_of_files_is_read_with_every_separator(separator: str, tmp_path: Path) -> None:
    names = ["-dash.mp4", " two  blanks .mp4", 'quote"s.mp4', "müde.mp4", "#1.mp4"]
    if separator == "\0":
        names.append("line\nbreak.mp4")
    paths = _make(tmp_path, *names)
    listed = tmp_path / "list"
    listed.write_bytes(separator.join([*map(str, paths), ""]).encode())
    assert [recording.path for recording in _collect(files_from=listed).recordings] == paths


def test_dash_reads_the_list_from_standard_input(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (path,) = _make(tmp_path, "a.mp4")
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(f"{path}\n\n".encode())))
    assert [recording.path for recording in _collect(files_from="-").recordings] == [path]


def test_name_that_is_not_utf8_is_escaped(tmp_path: Path) -> None:
    (path,) = _make(tmp_path, os.fsdecode(b"m\xfcde.mp4"))
    listed = tmp_path / "list"
    listed.write_bytes(os.fsencode(path))
    for inputs in (_collect(path), _collect(files_from=listed), _collect(tmp_path)):
        assert _names(inputs) == ["m\\xfcde.mp4"]
        assert inputs.recordings[0].path == path


def test_name_too_long_does_not_end_the_run(tmp_path: Path) -> None:
    (good,) = _make(tmp_path, "a.mp4")
    assert len(_collect(good, f"{tmp_path}/{'x' * 300}.mp4", f"{good}/b.mp4").recordings) == 3


def test_no_inputs_are_an_error(tmp_path: Path) -> None:
    empty = tmp_path / "list"
    empty.write_text("\n \n")
    for files_from in (None, empty):
        with pytest.raises(SettingsError, match="no recordings named"):
            _collect(files_from=files_from)
    with pytest.raises(SettingsError, match="No such file"):
        _collect(files_from=tmp_path / "none")


_PRINT_RECORDINGS = """
import sys
from avpenet_cli.inputs import collect
for recording in collect(sys.argv[1:], None, True, None).recordings:
    print(f"{recording.name}|{recording.problem}")
"""


def test_folder_without_read_permission_is_a_problem(tmp_path: Path) -> None:
    _make(tmp_path, "open/a.mp4", "closed/b.mp4", "closed too/c.mp4")
    closed = [tmp_path / "closed", tmp_path / "closed too"]
    for folder in closed:
        folder.chmod(0)
    inputs = [tmp_path, closed[0], closed[0] / "b.mp4"]
    try:
        completed = subprocess.run(
            [sys.executable, "-c", _PRINT_RECORDINGS, *map(str, inputs)],
            preexec_fn=drop_file_capabilities,
            capture_output=True,
            text=True,
        )
    finally:
        for folder in closed:
            folder.chmod(0o700)
    if "prctl" in completed.stderr:
        pytest.skip("root may not give up its privileges here")
    assert completed.returncode == 0, completed.stderr
    assert set(completed.stdout.splitlines()) == {
        "open/a.mp4|",
        "closed|a folder without read permission",
        "closed too|a folder without read permission",
        "closed/b.mp4|",
    }


def test_ten_thousand_files_have_distinct_names(tmp_path: Path) -> None:
    _make(tmp_path, "0.mp4")
    for number in range(1, 10_000):
        (tmp_path / f"{number}.mp4").hardlink_to(tmp_path / "0.mp4")
    inputs = collect([str(tmp_path), f"{tmp_path}/*.mp4"], None, False, _key_file(tmp_path))
    assert len({recording.name for recording in inputs.recordings}) == 10_000
    assert inputs.repeated == 10_000


def test_pseudonym_is_stable_and_hides_the_name(tmp_path: Path) -> None:
    (path,) = _make(tmp_path, "Jane Doe 1970/baby.mp4")
    key = _key_file(tmp_path)
    first, again = (collect([str(path)], None, False, key).recordings[0] for _ in range(2))
    assert first == again
    assert first.name.startswith("rec-")
    assert not any(word in first.name + first.key for word in ["Jane", "Doe", "1970", "baby"])
    other = collect([str(path)], None, False, _key_file(tmp_path, KEY[::-1])).recordings[0]
    assert other.name != first.name
    assert other.key != first.key
    # Without the key nobody can check a guess at the path against the journal.
    assert first.key != _collect(path).recordings[0].key


def test_pseudonyms_depend_on_the_whole_path(tmp_path: Path) -> None:
    a, b = _make(tmp_path, "Doe/cry.mp4", "Roe/cry.mp4")
    key = _key_file(tmp_path)
    alone, other = (collect([str(path)], None, False, key).recordings[0].name for path in (a, b))
    assert alone != other
    assert [recording.name for recording in collect([str(a), str(b)], None, False, key).recordings] == [alone, other]


@pytest.mark.parametrize(
    ("key", "mode", "message"),
    [(b"short\n", 0o600, "5 bytes, under 16"), (b"", 0o600, "0 bytes"), (KEY, 0o644, "chmod 600")],
)
def test_weak_key_is_refused(key: bytes, mode: int, message: str, tmp_path: Path) -> None:
    (path,) = _make(tmp_path, "a.mp4")
    with pytest.raises(SettingsError, match=message):
        collect([str(path)], None, False, _key_file(tmp_path, key, mode))
    with pytest.raises(SettingsError, match="No such file"):
        collect([str(path)], None, False, tmp_path / "no key")
