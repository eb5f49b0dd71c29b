"""Configuration of malloc, unless the environment configures it; when the collector of unused objects runs."""

from __future__ import annotations

import ctypes
import gc
import os
import weakref

import pytest

from avpenet_cli.runs.memory import keep_freed_memory, loading_libraries


class Library:
    """Records calls in place of the C library, whose malloc settings cannot be queried."""

    def __init__(self) -> None:
        self.calls: list[tuple[int, int]] = []

    def mallopt(self, parameter: int, value: int) -> int:
        self.calls.append((parameter, value))
        return 1


@pytest.mark.parametrize(
    ("name", "value", "configured"),
    [
        ("UNRELATED", "1", True),
        ("MALLOC_ARENA_MAX", "2", False),
        ("GLIBC_TUNABLES", "glibc.malloc.mmap_max=65536", False),
        ("GLIBC_TUNABLES", "glibc.cpu.x86_ibt=off", True),
    ],
)
def test_settings_in_the_environment_win(
    name: str, value: str, configured: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable in [name for name in os.environ if name.startswith("MALLOC_") or name == "GLIBC_TUNABLES"]:
        monkeypatch.delenv(variable)
    monkeypatch.setenv(name, value)
    library = Library()
    monkeypatch.setattr(ctypes, "CDLL", lambda name: library)
    keep_freed_memory()
    assert bool(library.calls) is configured


def test_other_c_library_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in [name for name in os.environ if name.startswith("MALLOC_") or name == "GLIBC_TUNABLES"]:
        monkeypatch.delenv(variable)
    monkeypatch.setattr(ctypes, "CDLL", lambda name: object())
    keep_freed_memory()


class Ring:
    """Refers to itself, so that only the collector ends it."""

    def __init__(self) -> None:
        self.ring = self


def test_nothing_is_collected_while_libraries_are_loaded_and_everything_again_later() -> None:
    with pytest.raises(ImportError), loading_libraries():
        assert not gc.isenabled()
        with loading_libraries():
            pass
        assert not gc.isenabled()
        raise ImportError
    assert gc.isenabled()
    ring = weakref.ref(Ring())
    with loading_libraries():
        pass
    gc.collect()
    assert ring() is None, "what was unused before is kept for ever"
