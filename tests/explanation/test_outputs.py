"""The files of an explanation appear together, and an earlier one stays until then."""

from __future__ import annotations

from pathlib import Path

import pytest

from avpenet_cli.errors import Interrupted, OutputError, OutputLockedError
from avpenet_cli.explanation.outputs import explanation_folder
from avpenet_cli.runs.lock import output_lock

NAMES = {"explain.html", "explain.json", "segment-0003.png", "segment-0003.svg"}


def write(folder: Path, text: str, *names: str) -> None:
    for name in names:
        (folder / name).write_text(text)


def visible(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in folder.iterdir() if not path.name.endswith(".lock")}


def test_an_interrupt_leaves_nothing_behind(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with pytest.raises(Interrupted), explanation_folder(out, overwrite=False) as folder:
        assert folder.parent == out and out.stat().st_mode & 0o777 == folder.stat().st_mode & 0o777 == 0o700
        write(folder, "half", "segment-0000.png")
        raise Interrupted("interrupted")
    assert not out.exists()


def test_an_earlier_explanation_stays_until_the_new_one_is_whole(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with explanation_folder(out, overwrite=False) as folder:
        write(folder, "old", *NAMES)
    assert visible(out) == dict.fromkeys(NAMES, "old")
    with pytest.raises(OutputError, match="--overwrite"), explanation_folder(out, overwrite=False):
        pytest.fail("it must be refused")
    with pytest.raises(Interrupted), explanation_folder(out, overwrite=True) as folder:
        write(folder, "half", "segment-0000.png")
        raise Interrupted("interrupted")
    assert visible(out) == dict.fromkeys(NAMES, "old")
    (out / ".explain.killed").mkdir()
    (out / ".explain.killed" / "segment-0001.png").write_text("of a run that was killed")
    with explanation_folder(out, overwrite=True) as folder:
        write(folder, "new", "explain.json", "explain.html", "segment-0000.png")
    assert visible(out) == dict.fromkeys(("explain.json", "explain.html", "segment-0000.png"), "new")


def test_a_folder_with_other_files_is_refused_and_left_alone(tmp_path: Path) -> None:
    write(tmp_path, "mine", "notes.txt", "segment-0001.png")
    with pytest.raises(OutputError, match=r"notes\.txt"), explanation_folder(tmp_path, overwrite=True):
        pytest.fail("it must be refused")
    assert visible(tmp_path) == {"notes.txt": "mine", "segment-0001.png": "mine"}


def test_the_permissions_of_a_folder_that_exists_stay(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir(mode=0o750)
    with explanation_folder(out, overwrite=False) as folder:
        assert folder.stat().st_mode & 0o777 == 0o700
        write(folder, "new", "explain.json")
    assert out.stat().st_mode & 0o777 == 0o750
    with pytest.raises(OutputError, match="explanation, or choose"), explanation_folder(out, overwrite=False):
        pytest.fail("it must be refused")
    assert visible(out) == {"explain.json": "new"}


def test_a_run_that_loses_the_race_for_a_new_folder_leaves_it_to_the_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    with explanation_folder(out, overwrite=False) as folder:
        write(folder, "first", "explain.json")
        # The second run looked before the first one created the folder.
        with monkeypatch.context() as patch:
            patch.setattr(Path, "exists", lambda path: False)
            with pytest.raises(OutputLockedError), explanation_folder(out, overwrite=False):
                pytest.fail("it must be refused")
        assert visible(folder) == {"explain.json": "first"}
    assert visible(out) == {"explain.json": "first"}


def test_a_run_that_created_the_folder_leaves_it_to_one_that_took_the_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"

    def finished_meanwhile(path: Path, is_own_file: object) -> None:
        with output_lock(path / "explain.json"):
            write(path, "first", "explain.json")

    monkeypatch.setattr("avpenet_cli.explanation.outputs.prepare_output_directory", finished_meanwhile)
    with pytest.raises(OutputError, match="already exists"), explanation_folder(out, overwrite=False):
        pytest.fail("it must be refused")
    assert visible(out) == {"explain.json": "first"}


def test_a_run_whose_lock_was_taken_over_writes_and_removes_nothing(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with pytest.raises(OutputLockedError), explanation_folder(out, overwrite=False) as folder:
        (lease,) = (out / "explain.json.holder").iterdir()
        of_another = lease.rename(lease.with_name("0" * 16))
        write(out, "of another", "explain.html")
        write(folder, "late", *NAMES)
    assert of_another.exists()
    assert {path.name for path in out.iterdir()} == {"explain.html", "explain.json.lock", "explain.json.holder"}
    assert (out / "explain.html").read_text() == "of another"
