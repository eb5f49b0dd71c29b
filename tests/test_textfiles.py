"""Text that editors, spreadsheets and shells write is decoded, or refused with its encoding and line."""

from __future__ import annotations

import codecs

import pytest

from avpenet_cli.errors import SettingsError
from avpenet_cli.textfiles import decode_text, detect_encoding, parse_json, parse_toml
from tests.conftest import REPOSITORY

NAMES = "recording,subject\r\nMüller 1.mp4,P1\r\n一郎.mp4,P2\r\n"


@pytest.mark.parametrize(
    ("mark", "codec", "name"),
    [
        (b"", "utf-8", "UTF-8"),
        (codecs.BOM_UTF8, "utf-8", "UTF-8"),
        (b"", "utf-16-le", "UTF-16 LE"),
        (codecs.BOM_UTF16_LE, "utf-16-le", "UTF-16 LE"),
        (b"", "utf-16-be", "UTF-16 BE"),
        (codecs.BOM_UTF16_BE, "utf-16-be", "UTF-16 BE"),
    ],
)
def test_unicode_text_is_read_with_and_without_a_byte_order_mark(mark: bytes, codec: str, name: str) -> None:
    decoded = decode_text(mark + NAMES.encode(codec), "t.csv")
    assert (decoded.text, decoded.encoding) == (NAMES, name)


@pytest.mark.parametrize("codec", ["utf-16-le", "utf-16-be"])
def test_utf_16_without_mark_is_recognised_when_most_letters_are_not_latin(codec: str) -> None:
    one_line_of_odd_length = "患者記録鈴木一郎二山田太郎一二.mp4\r\n"
    for text in ("患者記録/山田太郎一.mp4\r\n患者記録/鈴木一郎二.mp4\r\n", one_line_of_odd_length):
        assert decode_text(text.encode(codec), "list").text == text


@pytest.mark.parametrize("codec", ["utf-32", "utf-32-le", "utf-32-be"])
def test_utf_32_is_refused_by_name(codec: str) -> None:
    with pytest.raises(SettingsError, match=r"t\.csv is in UTF-32.*CSV UTF-8"):
        decode_text(NAMES.encode(codec), "t.csv")


def test_paths_separated_by_zero_bytes_are_not_taken_for_utf_16() -> None:
    for paths in (["x.mp4", "y.mp4"], ["/recordings/a.mp4", "/recordings/b2.mp4"], ["a.ts"], ["b.mkv\nc.mkv", "d"]):
        raw = b"\0".join(path.encode() for path in paths) + b"\0"
        assert detect_encoding(raw) == ("utf-8", 0)
    assert detect_encoding(b"") == ("utf-8", 0)


def test_8_bit_text_is_refused_with_its_line_and_how_windows_would_read_it() -> None:
    with pytest.raises(SettingsError, match=r"t\.csv: line 2 is not in UTF-8: in Windows-1252 .*'Müller 1\.mp4'"):
        decode_text("recording,subject\r\nMüller 1.mp4,P1\r\n".encode("cp1252"), "t.csv")
    with pytest.raises(SettingsError, match=r"line 3 is not in UTF-8: .*; save it as UTF-8"):
        decode_text("a\rb\rM\xfcller".encode("mac-roman"), "t.csv")


def test_utf_16_that_is_cut_off_is_refused() -> None:
    with pytest.raises(SettingsError, match="line 3 is in UTF-16 LE, but cut off or damaged"):
        decode_text(codecs.BOM_UTF16_LE + "a\nb\nc".encode("utf-16-le")[:-1], "t.csv")


def test_a_recording_is_no_text() -> None:
    with pytest.raises(SettingsError, match=r"t\.csv is not a text file; give a file of text, saved as UTF-8"):
        decode_text((REPOSITORY / "examples" / "phantoms" / "P0001-01.mp4").read_bytes(), "t.csv")


@pytest.mark.parametrize("depth", [2_000, 100_000])
def test_nesting_without_an_end_is_a_value_error_of_both_parsers(depth: int) -> None:
    with pytest.raises(ValueError, match="nested too deeply"):
        parse_json(b"[" * depth)
    with pytest.raises(ValueError, match="nested too deeply"):
        parse_toml("a = " + "[" * depth)


def test_every_reader_of_json_and_toml_takes_the_parsers_that_cannot_fail_otherwise() -> None:
    # RecursionError is no ValueError, and went past every `except ValueError`.
    own_documents = {"textfiles.py", "media/header.py", "experiment/published.py"}  # of ffprobe, and of the program
    package = REPOSITORY / "avpenet_cli"
    found = {
        path.relative_to(package).as_posix()
        for path in package.rglob("*.py")
        if any(call in path.read_text() for call in ("json.loads(", "json.load(", "tomllib.load"))
    }
    assert {name for name in found - own_documents if not name.startswith("phantom/parameters/")} == set()
