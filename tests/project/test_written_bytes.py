"""The search for names finds them wherever a process puts them, so that `test_privacy` can fail."""

from __future__ import annotations

import base64
import os
import sqlite3
import sys
import urllib.parse
from contextlib import closing
from pathlib import Path

import pytest

from tests.support.hosts import need
from tests.support.written_bytes import find, leaks, trace

NAME = "Übel, Xanthippe"
_WRITES = """
import os, socket, subprocess, sys
with open("removed", "w") as file:
    file.write("of " + sys.argv[1])
os.remove("removed")
os.mkdir(sys.argv[2])
os.rmdir(sys.argv[2])
subprocess.run(["true", sys.argv[3]])
subprocess.run(["cat"], input=b"to a child: " + sys.argv[4].encode(), stdout=subprocess.DEVNULL)
socket.socket().close()
print(sys.argv[5])
"""


@pytest.mark.parametrize(
    "raw",
    [
        NAME.encode(),
        NAME.upper().encode(),
        NAME.encode("utf-16"),
        NAME.encode("utf-16-be"),
        urllib.parse.quote(NAME).encode(),
        NAME.encode("unicode_escape"),
        NAME.encode().hex().encode(),
        *(base64.b64encode(b"x" * before + NAME.encode() + b"yyy") for before in range(3)),
    ],
)
def test_word_is_found_in_each_form(raw: bytes) -> None:
    assert find(["Xanthippe"], b"before" + raw + b"after")
    assert not find(["Xunthippe"], b"before" + raw + b"after")


def test_names_of_files_links_and_free_pages_of_a_database_are_searched(tmp_path: Path) -> None:
    (tmp_path / "one-xanthippe").touch()
    (tmp_path / "two").symlink_to("Xanthippe")
    with closing(sqlite3.connect(tmp_path / "three")) as database, database:
        database.execute("PRAGMA secure_delete = OFF")
        database.execute("CREATE TABLE names (name TEXT)")
        database.execute("INSERT INTO names VALUES ('Xanthippe' || hex(zeroblob(9000)))")
        database.commit()
        database.execute("DROP TABLE names")
    (tmp_path / "four").write_text("nothing")
    assert set(leaks([tmp_path], ["Xanthippe"])) == {str(tmp_path / name) for name in ("one-xanthippe", "two", "three")}


def test_trace_holds_what_was_written_and_shown_to_others(tmp_path: Path) -> None:
    need("strace")
    words = ["Removed-Name", "Folder-Name", "Argument-Name", "Pipe-Name", "Printed-Name"]
    program = tmp_path / "program.py"
    program.write_text(_WRITES)
    folder = tmp_path / "here"
    folder.mkdir()
    traced = trace([sys.executable, program, *words], tmp_path / "calls", dict(os.environ), folder)
    assert traced.code == 0
    assert list(folder.iterdir()) == []
    assert [word for word in words if find([word], traced.calls)] == words[:2]
    assert [word for word in words if find([word], b"".join(traced.commands))] == [words[2]]
    assert [word for word in words if find([word], traced.printed)] == [words[4]]
    assert len(traced.sockets) == 1
