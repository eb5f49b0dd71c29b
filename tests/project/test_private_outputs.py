"""Outputs are their owner's alone under any umask, and links that others put in their place divert nothing."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from avpenet_cli.cli.run_log import LogOptions, make_log
from avpenet_cli.errors import SettingsError
from avpenet_cli.storage import atomic_write
from tests.conftest import Answer, ClipMaker

Avpenet = Callable[..., Answer]


def test_link_in_place_of_an_output_is_replaced_and_what_it_leads_to_is_untouched(tmp_path: Path) -> None:
    target, link = tmp_path / "target", tmp_path / "out.csv"
    target.write_text("of someone else")
    link.symlink_to(target)
    with atomic_write(link) as file:
        file.write(b"scores")
    assert target.read_text() == "of someone else"
    assert not link.is_symlink()
    assert link.read_text() == "scores"


def test_folder_that_is_exchanged_while_a_file_is_written_diverts_nothing(tmp_path: Path) -> None:
    folder, elsewhere = tmp_path / "folder", tmp_path / "elsewhere"
    folder.mkdir()
    elsewhere.mkdir()
    with atomic_write(folder / "out.csv") as file:
        moved = folder.rename(tmp_path / "moved")
        folder.symlink_to(elsewhere)
        file.write(b"scores")
    assert list(elsewhere.iterdir()) == []
    assert [path.read_text() for path in moved.iterdir()] == ["scores"]


def test_a_linked_output_folder_is_written_to(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "link").symlink_to("disk")
    with atomic_write(tmp_path / "link" / "out.csv") as file:
        file.write(b"scores")
    assert (tmp_path / "disk" / "out.csv").read_text() == "scores"
    assert (tmp_path / "link").is_symlink()


@pytest.mark.parametrize("name", ["scores.csv.journal", "scores.csv.lock", "scores.csv.history.jsonl"])
@pytest.mark.parametrize("exists", [True, False])
def test_link_in_place_of_a_journal_lock_or_history_is_refused(
    name: str, exists: bool, clips: ClipMaker, avpenet_here: Avpenet, tmp_path: Path
) -> None:
    folder, target = tmp_path / "out", tmp_path / "target"
    folder.mkdir()
    if exists:
        target.touch(mode=0o666)
    (folder / name).symlink_to(target)
    answer = avpenet_here("score", clips.brief(), "--out", folder / "scores.csv", "--weights", "untrained")
    assert answer.code == 2
    assert "is a link" in answer.last_line
    assert target.exists() == exists
    assert not exists or target.stat().st_size == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a link to another user")
def test_link_of_another_user_is_no_log_file(avpenet_here: Avpenet, tmp_path: Path) -> None:
    target, link = tmp_path / "target", tmp_path / "log"
    link.symlink_to(target)
    score = ("score", tmp_path / "none.mp4", "--out", tmp_path / "scores.csv", "--log-file", link)
    avpenet_here(*score)
    target.unlink()  # its own link was followed
    os.lchown(link, 12345, 12345)
    answer = avpenet_here(*score)
    assert answer.code == 2
    assert "a link that another user made" in answer.last_line
    assert not target.exists()


def test_link_that_is_put_in_place_of_a_log_file_while_it_is_opened_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target, log = tmp_path / "target", tmp_path / "log"

    def has_just_looked(path: Path) -> bool:
        log.symlink_to(target)
        return False

    monkeypatch.setattr(Path, "is_symlink", has_just_looked)
    with pytest.raises(SettingsError, match="a link that another user made"):
        make_log(LogOptions(file=log), None)
    assert not target.exists()
