"""How malloc is told to behave."""

from __future__ import annotations

import ctypes
import os

import pytest

from avpenet_cli.cli.memory import keep_freed_memory


class Library:
    """Stands for the C library, which cannot be asked what it was told."""

    def __init__(self) -> None:
        self.told: list[tuple[int, int]] = []

    def mallopt(self, parameter: int, value: int) -> int:
        self.told.append((parameter, value))
        return 1


@pytest.mark.parametrize(
    ("name", "value", "kept"),
    [
        ("UNRELATED", "1", True),
        ("MALLOC_ARENA_MAX", "2", False),
        ("GLIBC_TUNABLES", "glibc.malloc.mmap_max=65536", False),
        ("GLIBC_TUNABLES", "glibc.cpu.x86_ibt=off", True),
    ],
)
def test_the_callers_own_settings_are_overruled(
    name: str, value: str, kept: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    for one in [name for name in os.environ if name.startswith("MALLOC_") or name == "GLIBC_TUNABLES"]:
        monkeypatch.delenv(one)
    monkeypatch.setenv(name, value)
    library = Library()
    monkeypatch.setattr(ctypes, "CDLL", lambda name: library)
    keep_freed_memory()
    assert bool(library.told) is kept


def test_another_c_library_stops_the_program(monkeypatch: pytest.MonkeyPatch) -> None:
    for one in [name for name in os.environ if name.startswith("MALLOC_") or name == "GLIBC_TUNABLES"]:
        monkeypatch.delenv(one)
    monkeypatch.setattr(ctypes, "CDLL", lambda name: object())
    keep_freed_memory()
