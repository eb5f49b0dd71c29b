"""Collecting recordings from files, folders, patterns and lists, and their names and pseudonyms."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import unicodedata
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
    assert inputs.left_aside.repeated == 3


def test_recording_and_a_link_to_it_are_collected_once_under_the_real_name(tmp_path: Path) -> None:
    (b,) = _make(tmp_path, "b.mp4")
    (tmp_path / "a.mp4").symlink_to(b)
    (tmp_path / "c.mp4").symlink_to(b)
    inputs = _collect(tmp_path)
    assert _names(inputs) == ["b.mp4"]
    assert inputs.left_aside.by_reason == {"repeated": 2}
    # Without its target among the inputs, a recording keeps the name of the link.
    assert _names(_collect(tmp_path / "c.mp4", tmp_path / "a.mp4")) == ["c.mp4"]


def test_hard_links_are_separate_recordings(tmp_path: Path) -> None:
    (a,) = _make(tmp_path, "a.mp4")
    (tmp_path / "b.mp4").hardlink_to(a)
    assert _names(_collect(tmp_path)) == ["a.mp4", "b.mp4"]


def test_linked_folder_is_followed_once(tmp_path: Path) -> None:
    _make(tmp_path, "study/ward/1.mp4", "archive/2.mp4", "archive/deep/3.mp4")
    study = tmp_path / "study"
    for link, target in {"a first": "ward", "other": "../archive", "again": "../archive", "loop": "."}.items():
        (study / link).symlink_to(target)
    (tmp_path / "archive" / "back").symlink_to(study)
    inputs = _collect(study, recursive=True)
    assert _names(inputs) == ["ward/1.mp4", "again/2.mp4", "again/deep/3.mp4"]
    assert inputs.left_aside.by_reason == {"repeated": 4}
    flat = _collect(study)
    assert "5 subfolders (--recursive includes them)" in flat.recordings[0].problem


def test_recording_reached_by_two_folders_is_collected_once(tmp_path: Path) -> None:
    _make(tmp_path, "real/1.mp4")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    inputs = _collect(tmp_path / "link", tmp_path / "real")
    assert _names(inputs) == ["1.mp4"]
    assert inputs.recordings[0].path == tmp_path / "real" / "1.mp4"
    assert inputs.left_aside.repeated == 1


def test_broken_links_are_counted_or_fail(tmp_path: Path) -> None:
    _make(tmp_path, "1.mp4")
    (tmp_path / "ward not mounted").symlink_to(tmp_path / "nowhere")
    (tmp_path / "2.mp4").symlink_to(tmp_path / "nowhere.mp4")
    (tmp_path / "3.mp4").symlink_to(tmp_path / "nowhere.mp4")
    inputs = _collect(tmp_path, recursive=True)
    assert _names(inputs) == ["1.mp4", "2.mp4", "3.mp4"]
    assert inputs.left_aside.by_reason == {"broken_link": 1}


def test_folder_gives_its_recordings_only(tmp_path: Path) -> None:
    _make(tmp_path, "b.MP4", "a.mkv", "notes.txt", ".hidden.mp4", "deep/c.mp4", ".cache/d.mp4", "scores.csv")
    (tmp_path / "folder.mp4").mkdir()
    flat = _collect(tmp_path)
    assert _names(flat) == ["a.mkv", "b.MP4"]
    assert flat.left_aside.by_reason == {"other_suffix": 2, "hidden": 2, "subfolder": 2}
    assert flat.left_aside.by_suffix == {".csv": 1, ".txt": 1}
    deep = _collect(tmp_path, recursive=True)
    assert _names(deep) == ["a.mkv", "b.MP4", "deep/c.mp4"]
    assert deep.left_aside.describe() == "2 files with other suffixes (.csv 1, .txt 1), 2 hidden files or folders"


def test_recordings_of_cameras_recorders_and_phones_are_found(tmp_path: Path) -> None:
    names = [
        "1.dav",
        "2.h264",
        "3.h265",
        "4.m2t",
        "5.dv",
        "6.3g2",
        "7.MTS",
        "a.wav",
        "b.ogg",
        "c.mp3",
        "d.m4a",
        "e.amr",
    ]
    _make(tmp_path, *names)
    assert _names(_collect(tmp_path)) == names


def test_files_left_aside_are_counted_by_suffix_without_names_under_pseudonyms(tmp_path: Path) -> None:
    _make(tmp_path, "1.mp4", "letter to Mrs.Doe", "about Mr.J Smith", "README", "2.JPG", "3.jpg", "4.insv")
    left_aside = _collect(tmp_path).left_aside
    assert left_aside.by_suffix == {".jpg": 2, ".doe": 1, ".insv": 1, "none": 1, "uncommon": 1}
    assert left_aside.describe() == "6 files with other suffixes (.jpg 2, .doe 1, .insv 1, none 1, uncommon 1)"
    (tmp_path / "1.mp4").unlink()
    empty = collect([str(tmp_path)], None, False, _key_file(tmp_path))
    assert empty.left_aside.by_suffix == {"uncommon": 3, ".jpg": 2, "none": 2}
    assert "doe" not in empty.recordings[0].problem


def test_folder_without_recordings_is_a_problem(tmp_path: Path) -> None:
    _make(tmp_path, "deep/a.mp4")
    (only,) = _collect(tmp_path).recordings
    assert only.path == tmp_path
    assert only.problem == "a folder without recordings: 1 subfolder (--recursive includes them)"


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


@pytest.mark.parametrize(
    ("encoding", "mark"),
    [
        ("utf-8", b"\xef\xbb\xbf"),
        ("utf-16-le", b"\xff\xfe"),
        ("utf-16-be", b"\xfe\xff"),
        ("utf-16-le", b""),
        ("utf-16-be", b""),
    ],
)
@pytest.mark.parametrize("separator", ["\r\n", "\n", "\0"])
def test_list_of_files_is_read_in_utf8_and_utf16(encoding: str, mark: bytes, separator: str, tmp_path: Path) -> None:
    paths = _make(tmp_path, "müde.mp4", "患者/一号.mp4", "a\u2028b.mp4")
    listed = tmp_path / "list"
    listed.write_bytes(mark + separator.join([*map(str, paths), ""]).encode(encoding))
    assert [recording.path for recording in _collect(files_from=listed).recordings] == paths


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        ("a.mp4\nb.mp4\n".encode("utf-16-le")[:-1], "is in UTF-16 LE, but cut off or damaged"),
        ("a.mp4\nb.mp4\n".encode("utf-32"), "is in UTF-32"),
        ("/録音/鈴木一郎二山田太郎一二.mp4".encode("utf-16-le"), "is neither UTF-8 nor recognised as UTF-16"),
    ],
)
def test_list_that_cannot_be_decoded_gets_one_line(raw: bytes, message: str, tmp_path: Path) -> None:
    listed = tmp_path / "list"
    listed.write_bytes(raw)
    with pytest.raises(SettingsError, match=rf"--files-from .*{message}; write the list as UTF-8") as refusal:
        _collect(files_from=listed)
    assert "\n" not in str(refusal.value)


def test_quotes_and_white_space_around_a_listed_path_are_left_out(tmp_path: Path) -> None:
    one, two, three, spaced = _make(tmp_path, "a b.mp4", "c.mp4", "d.mp4", "e.mp4 ")
    listed = tmp_path / "list"
    listed.write_text(f'"{one}"\r\n\'{two}\'\r\n\t{three}   \r\n{spaced}\r\n"{tmp_path}/none.mp4"\r\n')
    paths = [recording.path for recording in _collect(files_from=listed).recordings]
    assert paths == [one, two, three, spaced, tmp_path / "none.mp4"]


def test_list_in_an_old_encoding_is_pointed_out(tmp_path: Path) -> None:
    _make(tmp_path, "müde.mp4", "1.mp4")
    listed = tmp_path / "list"
    listed.write_bytes(f"{tmp_path}/müde.mp4\r\n{tmp_path}/1.mp4\r\n".encode("cp1252"))
    (note,) = _collect(files_from=listed).notes
    assert note.startswith("1 name in the list of files not in UTF-8, and not on the disk")


def test_name_in_another_unicode_form_finds_its_file(tmp_path: Path) -> None:
    (path,) = _make(tmp_path, unicodedata.normalize("NFD", "Zoë/müde.mp4"))
    other = unicodedata.normalize("NFC", str(path))
    inputs = _collect(path, other, Path(other).parent)
    assert [recording.path for recording in inputs.recordings] == [path]
    assert inputs.left_aside.repeated == 2
    assert inputs.notes == ("2 inputs found under the same name in another Unicode form (NFC or NFD)",)


def test_folder_is_read_once_for_many_names_in_another_unicode_form(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = _make(tmp_path, *(unicodedata.normalize("NFD", f"müde {number}.mp4") for number in range(9)))
    read: list[object] = []
    listdir = os.listdir

    def counted(folder: Path) -> list[str]:
        read.append(folder)
        return listdir(folder)

    monkeypatch.setattr(os, "listdir", counted)
    inputs = _collect(*(unicodedata.normalize("NFC", str(path)) for path in paths))
    assert [recording.path for recording in inputs.recordings] == paths
    assert read == [tmp_path]


def test_two_files_whose_names_look_alike_are_both_kept_and_said(tmp_path: Path) -> None:
    paths = _make(tmp_path, *(unicodedata.normalize(form, "müde.mp4") for form in ("NFC", "NFD")))
    inputs = _collect(*paths)
    assert [recording.path for recording in inputs.recordings] == paths
    (note,) = inputs.notes
    assert "two files whose names differ in their Unicode form only" in note
    pseudonymised = collect([str(tmp_path)], None, False, _key_file(tmp_path))
    assert len(pseudonymised.recordings) == 2
    assert "müde" not in unicodedata.normalize("NFC", pseudonymised.notes[0])


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
    assert inputs.left_aside.repeated == 10_000


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
