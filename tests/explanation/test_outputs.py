"""The files of an explanation appear together, and an earlier one stays until then."""

from __future__ import annotations

from pathlib import Path

import pytest

from avpenet_cli.errors import Interrupted, OutputError
from avpenet_cli.explanation.outputs import explanation_folder

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
