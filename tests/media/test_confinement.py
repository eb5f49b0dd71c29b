"""A decoder that a recording has taken over gets at nothing else; ffmpeg and decord work as ever."""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from avpenet_cli.errors import RecordingError
from avpenet_cli.media import child as child_module
from avpenet_cli.media import confinement, video
from avpenet_cli.media.audio import WaveformStream
from avpenet_cli.media.child import DecoderChild
from avpenet_cli.media.confinement import confined, landlock_abi, missing_parts, seccomp_filter, unconfined_warning
from avpenet_cli.media.probe import Probe, VideoStream, probe
from avpenet_cli.media.tools import open_recording, tool
from avpenet_cli.media.video import FrameStream
from avpenet_cli.settings import DecodingSettings
from tests.conftest import ClipMaker

TAKEN_OVER = r"""#!/usr/bin/perl
# Stands for ffmpeg after a recording has made it run foreign code: tries all that could do harm, says what worked.
exit 0 if $ARGV[0] eq "-version";
my ($own, $archive, $parent) = @ARGV;
sub try { my ($what, $done) = @_; print STDERR "$what: ", ($done ? "done" : "refused"), "\n"; }
sub can_open { my ($mode, $path) = @_; return open(my $file, $mode, $path); }
try("read own recording", can_open("<", $own));
try("read another recording", can_open("<", "$archive/other.mp4"));
try("read the users", can_open("<", "/etc/passwd"));
try("read the environment of the program", can_open("<", "/proc/$parent/environ"));
try("list the archive", opendir(my $folder, $archive));
try("list the processes", opendir(my $processes, "/proc"));
try("write a file", can_open(">", "$archive/new"));
try("write to another recording", can_open(">>", "$archive/other.mp4"));
try("write to its own recording", can_open(">>", $own));
try("empty another recording", truncate("$archive/other.mp4", 1));
try("link another recording", link("$archive/other.mp4", "$archive/linked.mp4"));
try("let all read another recording", chmod(0644, "$archive/other.mp4"));
try("change the time of another recording", utime(1, 1, "$archive/other.mp4"));
try("rename another recording", rename("$archive/other.mp4", "$archive/moved.mp4"));
try("remove a folder", rmdir("$archive/empty"));
try("open a TCP socket", socket(my $tcp, 2, 1, 0));
try("open a UDP socket", socket(my $udp, 2, 2, 0));
try("open a local socket", socket(my $local, 1, 1, 0));
try("signal the program", kill(0, $parent));
my $pid = fork();
exit 0 if defined $pid && $pid == 0;
try("start a process", defined $pid);
"""
HARMLESS = "read own recording"

TAKE_MEMORY = r"""#!/usr/bin/perl
exit 0 if $ARGV[0] eq "-version";
my $size = $ARGV[0] ? 9 << 30 : 0;
my $memory = "x" x $size;
print STDERR "has the memory\n";
"""

needs_all = pytest.mark.skipif(
    landlock_abi() < 3 or not seccomp_filter(),
    reason="this kernel has no Landlock of version 3, or libseccomp is missing",
)


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    folder = tmp_path / "archive"
    (folder / "empty").mkdir(parents=True)
    (folder / "own.mp4").write_bytes(b"the recording being decoded")
    (folder / "other.mp4").write_bytes(b"another recording")
    (folder / "other.mp4").chmod(0o600)
    return folder


@pytest.fixture
def standing_for_ffmpeg(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where to write a program that the PATH gives in place of ffmpeg."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder), prepend=os.pathsep)
    tool.cache_clear()
    yield folder / "ffmpeg"
    tool.cache_clear()


def attempts(archive: Path) -> dict[str, str]:
    """What the stand-in says of each of its attempts, `done` or `refused`."""
    parent = str(os.getpid())
    child = DecoderChild(
        archive / "own.mp4", lambda side, source: [tool("ffmpeg"), source, str(archive), parent], stall_s=30
    )
    assert child.finish() == 0, child.messages
    return dict(line.rsplit(": ", 1) for line in child.messages.splitlines())


@needs_all
def test_decoder_that_is_taken_over_reads_and_changes_nothing(archive: Path, standing_for_ffmpeg: Path) -> None:
    standing_for_ffmpeg.write_text(TAKEN_OVER)
    standing_for_ffmpeg.chmod(0o700)
    before = {path.name: (path.stat(), path.is_dir() or path.read_bytes()) for path in sorted(archive.iterdir())}
    outcomes = attempts(archive)
    assert len(outcomes) == 20
    assert {what for what, outcome in outcomes.items() if outcome == "done"} == {HARMLESS}
    after = {path.name: (path.stat(), path.is_dir() or path.read_bytes()) for path in sorted(archive.iterdir())}
    assert [name for name in after if after[name][1] != before[name][1]] == []
    assert after["other.mp4"][0].st_mode == before["other.mp4"][0].st_mode


def test_without_confinement_the_same_attempts_succeed(
    archive: Path, standing_for_ffmpeg: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Shows that the test above would notice."""
    standing_for_ffmpeg.write_text(TAKEN_OVER)
    standing_for_ffmpeg.chmod(0o700)
    monkeypatch.setenv("AVPENET_UNCONFINED_DECODERS", "1")
    outcomes = attempts(archive)
    assert "refused" not in outcomes.values()
    assert missing_parts(tool("ffmpeg")) == ["switched off by AVPENET_UNCONFINED_DECODERS"]


def test_decoder_that_takes_memory_without_end_is_ended(archive: Path, standing_for_ffmpeg: Path) -> None:
    standing_for_ffmpeg.write_text(TAKE_MEMORY)
    standing_for_ffmpeg.chmod(0o700)
    child = DecoderChild(archive / "own.mp4", lambda side, source: [tool("ffmpeg"), source], stall_s=30)
    status = child.finish()
    assert child.describe_end("video", status, "") == (
        "the video decoder needs more than the 8 GiB of memory that it may have"
    )


def test_decoder_that_computes_without_end_is_ended(archive: Path, standing_for_ffmpeg: Path) -> None:
    standing_for_ffmpeg.write_text('#!/usr/bin/perl\nexit 0 if $ARGV[0] eq "-version";\nwhile (1) {}\n')
    standing_for_ffmpeg.chmod(0o700)
    child = DecoderChild(archive / "own.mp4", lambda side, source: [tool("ffmpeg"), source], stall_s=60, cpu_s=0)
    status = child.finish()
    assert "s of processor time that it may have" in child.describe_end("audio", status, "")


def test_decoder_that_delivers_times_without_end_is_ended(archive: Path, standing_for_ffmpeg: Path) -> None:
    standing_for_ffmpeg.write_text(
        '#!/usr/bin/perl\nexit 0 if $ARGV[0] eq "-version";\n'
        'open(my $side, ">&=", $ARGV[0]); my $lines = "0, 1, 1, 1, 1, 0\\n" x 4096;\nprint $side $lines while (1);\n'
    )
    standing_for_ffmpeg.chmod(0o700)
    child = DecoderChild(archive / "own.mp4", lambda side, source: [tool("ffmpeg"), str(side)], stall_s=60)
    assert child.finish() < 0
    assert "times without end" in child.messages


@needs_all
@pytest.mark.parametrize("reads_own", [True, False])
def test_ffmpeg_itself_opens_its_recording_only(clips: ClipMaker, tmp_path: Path, reads_own: bool) -> None:
    own, other = clips.brief(), tmp_path / "other.mp4"
    shutil.copy(own, other)

    def command(_side: int, source: str) -> list[str]:
        return [tool("ffmpeg"), "-v", "error", "-i", source if reads_own else str(other), "-f", "null", "-"]

    child = DecoderChild(own, command, stall_s=30)
    assert (child.finish() == 0) == reads_own
    assert ("Permission denied" in child.messages) != reads_own


@pytest.mark.parametrize("is_confined", [pytest.param(True, marks=needs_all), False])
def test_list_of_other_recordings_is_none(
    clips: ClipMaker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_confined: bool
) -> None:
    other = clips.ffmpeg("-i", str(clips.brief()), "-c", "copy", suffix=".ts")
    path = tmp_path / "ward.m3u8"
    path.write_text(f"#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2.0,\nfile://{other}\n#EXT-X-ENDLIST\n")
    if not is_confined:
        monkeypatch.setenv("AVPENET_UNCONFINED_DECODERS", "1")
    with pytest.raises(RecordingError, match="ffmpeg can read" if is_confined else "a list of other files"):
        probe(path, DecodingSettings())


def test_recording_that_needs_too_much_memory_fails_with_one_line(
    clips: ClipMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, decoding = clips.brief(), DecodingSettings()
    facts = probe(path, decoding)
    assert not {part for name in ("ffmpeg", "ffprobe") for part in missing_parts(tool(name)) if "does not run" in part}
    monkeypatch.setattr(confinement, "MEMORY_BYTES", 8 << 20)
    frames, audio = FrameStream(path, facts, decoding), WaveformStream(path, facts, decoding)
    assert list(frames) == []
    assert "needs more than" in frames.decode_error
    assert sum(block.size for block in audio) == 0
    assert "needs more than" in audio.decode_error
    with pytest.raises(RecordingError, match="needs more than"):
        probe(path, decoding)


def test_frames_without_times_do_not_fill_the_memory(
    archive: Path, standing_for_ffmpeg: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    standing_for_ffmpeg.write_text(
        '#!/usr/bin/perl\nif ($ARGV[0] eq "-version") { print "ffmpeg version 5.1\n"; exit 0; }\n'
        'my $frames = "x" x 65536;\nprint STDOUT $frames while (1);\n'
    )
    standing_for_ffmpeg.chmod(0o700)
    monkeypatch.setattr(video, "_UNPAIRED_BYTES", 1 << 20)
    stream = VideoStream(0, "h264", 64, 64, 0, 1.0, 25.0, "yuv420p", False, 0.0)
    frames = FrameStream(archive / "own.mp4", Probe("mp4", 2.0, 0.0, stream, None, 0), DecodingSettings(stall_s=1))
    assert list(frames) == []
    assert "delivered nothing" in frames.decode_error


def test_description_without_end_is_cut(archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    endless = tmp_path / "ffprobe"
    endless.write_text(
        '#!/usr/bin/perl\nexit 0 if $ARGV[0] eq "-version";\nmy $text = " " x 65536;\nprint $text while 1;\n'
    )
    endless.chmod(0o700)
    monkeypatch.setattr(child_module, "_CAPTURED_BYTES", 1 << 20)
    done = child_module.run_captured([str(endless)], archive / "own.mp4", cpu_s=30, timeout_s=60)
    assert len(done.stdout) == 1 << 20
    assert confinement.passed_bound(done.returncode, "", 30) == "writes more than it may"


WITHOUT_LANDLOCK = """
import ctypes
library = ctypes.CDLL("libseccomp.so.2")
library.seccomp_init.restype = ctypes.c_void_p
context = ctypes.c_void_p(library.seccomp_init(ctypes.c_uint32(0x7FFF0000)))
call = library.seccomp_syscall_resolve_name(b"landlock_create_ruleset")
assert library.seccomp_rule_add_array(context, ctypes.c_uint32(0x00050000 | 38), call, 0, None) == 0
assert library.seccomp_load(context) == 0
"""
HEADER_READ = """
import sys
from pathlib import Path
from avpenet_cli.media.confinement import missing_parts
from avpenet_cli.media.header import read_headers
from avpenet_cli.media.tools import tool
assert read_headers(Path(sys.argv[1]), 60)[-1].streams
print("; ".join(missing_parts(tool("ffprobe"))))
"""


@needs_all
@pytest.mark.parametrize("lacking", ["Landlock", "libseccomp"])
def test_what_the_machine_lacks_is_stated_and_recordings_are_read(
    clips: ClipMaker, tmp_path: Path, lacking: str
) -> None:
    """The kernel's refusal of Landlock's calls is what a kernel without it answers; a damaged library is none."""
    environment = dict(os.environ)
    if lacking == "libseccomp":
        (tmp_path / "libseccomp.so.2").write_bytes(b"")
        environment["LD_LIBRARY_PATH"] = str(tmp_path)
    program = (WITHOUT_LANDLOCK if lacking == "Landlock" else "") + HEADER_READ
    done = subprocess.run(
        [sys.executable, "-c", program, clips.brief()], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"no {lacking}") and ";" not in done.stdout


@needs_all
def test_child_in_python_confines_itself(archive: Path) -> None:
    """As decord's does once its libraries are loaded."""
    program = (
        "import os, socket, sys; from avpenet_cli.media.restrict import restrict\n"
        "restrict(sys.argv[-1])\n"
        "open(sys.argv[1]).close()\n"
        "for attempt in (lambda: open(sys.argv[2]), socket.socket, os.fork):\n"
        "    try:\n"
        "        attempt()\n"
        "    except PermissionError:\n"
        "        print('refused', file=sys.stderr)\n"
    )
    child = DecoderChild(
        archive / "own.mp4",
        lambda side, source: [sys.executable, "-c", program, source, str(archive / "other.mp4")],
        stall_s=30,
    )
    assert child.finish() == 0, child.messages
    assert child.messages.splitlines() == ["refused"] * 3


def test_program_that_does_not_run_confined_runs_as_before(tmp_path: Path, standing_for_ffmpeg: Path) -> None:
    """As one does that is started by a program with privileges, or by a script that starts others."""
    standing_for_ffmpeg.write_text('#!/bin/sh\ngrep -q "NoNewPrivs:.*0" /proc/self/status || exit 1\necho here\n')
    standing_for_ffmpeg.chmod(0o700)
    recording = tmp_path / "r.mp4"
    recording.write_bytes(b"r")
    child = DecoderChild(recording, lambda side, source: [tool("ffmpeg")], stall_s=30)
    assert child.finish() == 0
    assert missing_parts(tool("ffmpeg")) == [f"{tool('ffmpeg')} does not run confined"]
    assert unconfined_warning([tool("ffmpeg"), tool("ffprobe")]).startswith(f"{tool('ffmpeg')} cannot be confined")
    assert unconfined_warning([tool("ffprobe")]) == ""


def test_program_outside_the_systems_folders_finds_its_libraries(clips: ClipMaker, tmp_path: Path) -> None:
    copy = tmp_path / "ffprobe"
    shutil.copy(tool("ffprobe"), copy)
    assert missing_parts(str(copy)) == missing_parts(tool("ffprobe"))


def test_crashed_decoder_starts_no_handler_of_core_dumps(archive: Path) -> None:
    """Which a limit of 0 would allow (core(5)): Ubuntu's keeps frames and samples in /var/crash."""
    program = "import resource, sys; print(*resource.getrlimit(resource.RLIMIT_CORE), file=sys.stderr)"
    start = "import sys; from avpenet_cli.media.restrict import restrict; restrict(sys.argv[-1]); "
    child = DecoderChild(archive / "own.mp4", lambda side, source: [sys.executable, "-c", start + program], stall_s=30)
    assert child.finish() == 0, child.messages
    hard = resource.getrlimit(resource.RLIMIT_CORE)[1]
    assert child.messages == ("0 0" if hard == 0 else "1 1")


REFUSED_FILTER = """
import ctypes, sys
library = ctypes.CDLL("libseccomp.so.2")
library.seccomp_init.restype = ctypes.c_void_p
context = ctypes.c_void_p(library.seccomp_init(ctypes.c_uint32(0x7FFF0000)))
class Comparison(ctypes.Structure):
    _fields_ = (("arg", ctypes.c_uint), ("op", ctypes.c_int), ("a", ctypes.c_uint64), ("b", ctypes.c_uint64))
call = library.seccomp_syscall_resolve_name(b"prctl")
is_filter = (Comparison * 1)(Comparison(0, 4, 22, 0))
assert library.seccomp_rule_add_array(context, ctypes.c_uint32(0x00050000 | 22), call, 1, is_filter) == 0
assert library.seccomp_load(context) == 0
from pathlib import Path
from avpenet_cli.media.child import DecoderChild
program = "import sys; from avpenet_cli.media.restrict import restrict; sys.argv[-1] and restrict(sys.argv[-1])"
child = DecoderChild(Path(sys.argv[1]), lambda side, source: [sys.executable, "-c", program], stall_s=30)
assert child.finish() == 0, child.messages
"""


@needs_all
def test_child_in_python_runs_where_the_kernel_refuses_to_confine_it(archive: Path) -> None:
    """As kernels without filters and emulated ones do."""
    done = subprocess.run([sys.executable, "-c", REFUSED_FILTER, archive / "own.mp4"], capture_output=True, check=False)
    assert done.returncode == 0, done.stderr


def test_nothing_stays_open(archive: Path) -> None:
    before = sorted(Path("/proc/self/fd").iterdir())
    source = open_recording(archive / "own.mp4")
    for _ in range(3):
        with confined([tool("ffprobe")], source, 1.0) as child:
            assert all(os.get_inheritable(descriptor) is False for descriptor in child.descriptors)
    os.close(source)
    assert sorted(Path("/proc/self/fd").iterdir()) == before
