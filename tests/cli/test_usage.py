"""Wrong commands, missing weights, unusable settings: one line that says what to do, and the right exit code."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY, Answer, RunAvpenet

Avpenet = Callable[..., Answer]


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    """Never opened: what is wrong is found out before."""
    path = tmp_path / "recording.mp4"
    path.write_bytes(b"x")
    return path


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["--nonsense"], "No such option: --nonsense"),
        (["score", "a.mp4", "--nonsense"], "No such option: --nonsense"),
        (["nonsense"], "No such command 'nonsense'"),
        (["score", "--out", "t.csv"], "no recordings named"),
        (["score", "a.mp4"], "--out is missing"),
        (["score", "a.mp4", "--out"], "--out"),
        (["score", "a.mp4", "--out", "t.txt"], "cannot tell the format"),
        (["score", "a.mp4", "--out", "t.csv", "--stride", "three"], "--stride"),
        (["score", "a.mp4", "--out", "t.csv", "--stride", "0"], "stride_s"),
        (["score", "a.mp4", "--out", "t.csv", "--stride", "4"], "stride_s"),
        (["score", "a.mp4", "--out", "t.csv", "--stride", "0.25"], "multiple of 0.1 s"),
        (["score", "a.mp4", "--out", "t.csv", "--stride", "nan"], "stride_s"),
        (["score", "a.mp4", "--out", "t.csv", "--mc-samples", "-1"], "mc_samples"),
        (["score", "a.mp4", "--out", "t.csv", "--batch-size", "0"], "batch_size"),
        (["score", "a.mp4", "--out", "t.csv", "--precision", "float8"], "precision"),
        (["score", "a.mp4", "--out", "t.csv", "--weights", "untrained", "--log-format", "xml"], "--log-format xml"),
        (["score", "a.mp4", "--out", "t.csv", "--weights", "untrained", "--log-file", "no/such/log"], "--log-file"),
        (["score", "--files-from", "no/such/list", "--out", "t.csv"], "no/such/list"),
        (["score", "a.mp4", "--out", "t.csv", "--config", "no/such.toml"], "no/such.toml"),
        (["bench"], "Missing argument"),
    ],
)
def test_wrong_command_gets_one_line_and_exit_2(args: list[str], words: str, avpenet_here: Avpenet) -> None:
    answer = avpenet_here(*args)
    assert answer.code == 2
    (line,) = answer.err.splitlines()
    assert line.startswith("avpenet: ")
    assert words in line
    assert answer.out == ""


def test_no_arguments_print_the_help(avpenet_here: Avpenet) -> None:
    for args in ([], ["weights"]):
        answer = avpenet_here(*args)
        assert answer.code == 2
        assert "Usage: avpenet" in answer.out + answer.err
        assert "internal error" not in answer.err


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("strides = 1", "no setting is called strides"),
        ("[quality]\nmin_face = 0.1", "no setting is called quality.min_face"),
        ("[audio]\ndenoise = 'none'", "no setting is called audio"),  # the weights' business
        ("mc_samples = 'many'", "mc_samples = 'many'"),
        ("quality = 3", "quality"),
        ("[quality]\nmin_face_rate = 20", "quality.min_face_rate = 20"),
        ("stride_s = ", "site.toml"),
        ("\0", "site.toml"),
        ("\xff", "site.toml"),
    ],
)
def test_wrong_settings_file_is_refused(
    text: str, named: str, recording: Path, avpenet_here: Avpenet, tmp_path: Path
) -> None:
    config = tmp_path / "site.toml"
    config.write_bytes(text.encode("latin-1"))
    answer = avpenet_here("score", recording, "--out", tmp_path / "t.csv", "--config", config)
    assert answer.code == 2
    (line,) = answer.err.splitlines()
    assert named in line
    assert str(config) in line
    assert not (tmp_path / "t.csv.journal").exists()


def test_unknown_weights_are_refused(
    recording: Path, avpenet_here: Avpenet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AVPENET_WEIGHTS", str(tmp_path / "none"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "none"))
    before = sorted(tmp_path.iterdir())
    answer = avpenet_here("score", recording, "--out", tmp_path / "t.csv", "--weights", "no-such-weights")
    assert answer.code == 3
    assert "no weights are called 'no-such-weights'" in answer.last_line
    assert sorted(tmp_path.iterdir()) == before


def test_missing_gpu_is_an_error(recording: Path, avpenet_here: Avpenet, tmp_path: Path) -> None:
    import torch

    command = ["score", recording, "--out", tmp_path / "t.csv", "--weights", "untrained", "--device"]
    for device in ("nonsense", "cuda:x", "cpu:0", "CUDA", ""):
        answer = avpenet_here(*command, device)
        assert answer.code == 2, device
        assert f"--device {device}: no such kind of device" in answer.last_line
    answer = avpenet_here(*command, "cuda" if not torch.cuda.is_available() else "cuda:99")
    assert answer.code == 3
    assert "GPU" in answer.last_line
    assert not (tmp_path / "t.csv").exists()


def test_missing_output_folder_is_an_error(recording: Path, avpenet_here: Avpenet, tmp_path: Path) -> None:
    for folder in (tmp_path / "no" / "such", recording):
        answer = avpenet_here("score", recording, "--out", folder / "t.csv", "--weights", "untrained")
        assert answer.code == 2
        assert "its folder does not exist" in answer.last_line
    assert [path.name for path in tmp_path.iterdir()] == ["recording.mp4"]


def test_dry_run_lists_and_writes_nothing(recording: Path, avpenet_here: Avpenet, tmp_path: Path) -> None:
    odd = tmp_path / "a\n\x1b[31mb\udcff.mp4"
    odd.write_bytes(b"x")
    key = tmp_path / "key"
    key.write_bytes(b"0123456789abcdef")
    key.chmod(0o600)
    before = sorted(tmp_path.iterdir())
    plain = avpenet_here("score", tmp_path, REPOSITORY / "examples" / "phantoms" / "P0001-01.mp4", "--dry-run")
    assert plain.code == 1
    assert plain.err == ""
    assert "\x1b" not in plain.out
    assert any(r"a\n\x1b[31mb\xff.mp4" in line for line in plain.out.splitlines())
    assert plain.out.splitlines()[-2:-1] == ["left aside: 1 file with another suffix (none 1)"]
    assert plain.out.splitlines()[-1] == "3 recordings, 2 unreadable, 0.5 min by their headers, 10 segments"
    both = avpenet_here("score", tmp_path, "--dry-run", "--pseudonymise", key)
    (line,) = [line for line in both.out.splitlines() if "recording.mp4" in line]
    assert line.split()[0].startswith("rec-")
    assert line.split()[1] == str(recording)
    assert sorted(tmp_path.iterdir()) == before


def _piped(args: Sequence[str | Path], reader: str) -> tuple[str, str, int]:
    """(what the reader printed, stderr, exit status of `avpenet ARGS | READER`'s first half)."""
    command = f'"$0" -m avpenet_cli "$@" | {reader}; echo ${{PIPESTATUS[0]}} >&2'
    done = subprocess.run(
        ["bash", "-c", command, sys.executable, *map(str, args)],
        cwd=REPOSITORY,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    *messages, status = done.stderr.splitlines()
    return done.stdout, "\n".join(messages), int(status)


def test_reader_that_leaves_early_gets_no_traceback(tmp_path: Path) -> None:
    listed = tmp_path / "list"
    listed.write_text("".join(f"/nowhere/{number}.mp4\n" for number in range(5_000)))
    for reader in ("head -1", "true"):
        out, err, status = _piped(["score", "--dry-run", "--files-from", listed], reader)
        assert err == ""
        assert status in {0, 1}  # 1 when all went into the pipe's buffer before the reader left
        assert "\x1b" not in out
    assert _piped(["weights", "list"], "true")[1] == ""


def test_version_and_help_are_printed(run_avpenet: RunAvpenet) -> None:
    from avpenet_cli.version import __version__

    assert run_avpenet(["--version"]).stdout == f"avpenet {__version__}\n"
    listed = run_avpenet(["score", "-h"])
    assert listed.returncode == 0
    assert "Usage: avpenet score" in listed.stdout
    assert "\x1b" not in listed.stdout


def test_help_has_one_line_for_every_command_under_who_uses_it(avpenet_here: Avpenet) -> None:
    sections = [section.splitlines() for section in avpenet_here("--help").out.strip().split("\n\n")]
    groups = {head: lines for head, *lines in sections if lines and head.endswith(":") and head != "Options:"}
    assert list(groups) == ["Score:", "Audit:", "Site:", "Research:"]
    for line in (line for lines in groups.values() for line in lines):
        assert line.endswith(".") and line[2] != " " and len(line) <= 80, line
