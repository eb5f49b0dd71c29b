"""Header facts of recordings, and the errors for files that are no recordings."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from avpenet_cli.errors import RecordingError
from avpenet_cli.media.header import last_line
from avpenet_cli.media.probe import Probe, check_file, probe
from avpenet_cli.settings import DecodingSettings
from tests.conftest import ClipMaker

DECODING = DecodingSettings(probe_timeout_s=20)
TESTSRC = ["-f", "lavfi", "-i", "testsrc2=s=64x48:r=10:d=2", "-pix_fmt", "yuv420p"]
TONE = ["-f", "lavfi", "-i", "sine=d=2"]
NOBODY = 65534


def refusal(path: Path, decoding: DecodingSettings = DECODING) -> RecordingError:
    with pytest.raises(RecordingError) as refused:
        probe(path, decoding)
    assert refused.value.message
    assert refused.value.remedy
    assert path.name not in str(refused.value), "a file's name may be a patient's"
    return refused.value


def facts_of(path: Path) -> Probe:
    return probe(path, DECODING)


def test_empty_file_is_refused_as_empty(tmp_path: Path) -> None:
    path = tmp_path / "ward.mp4"
    path.touch()
    assert refusal(path).code == "empty_file"


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".txt", ".nfo", ".bin", ""])
@pytest.mark.parametrize(
    "text",
    [
        "Dear colleague,\nplease find the recording elsewhere.\n" * 40,
        "1\n00:00:00,000 --> 00:00:01,000\nhello\n\n2\n00:00:01,000 --> 00:00:02,000\nthere\n",
        "<!DOCTYPE html><html><body>404 not found</body></html>\n" * 20,
    ],
    ids=["letter", "subtitles", "web-page"],
)
def test_text_is_refused(tmp_path: Path, suffix: str, text: str) -> None:
    path = tmp_path / f"ward{suffix}"
    path.write_text(text)
    assert refusal(path).code in {"unreadable", "no_streams"}


@pytest.mark.parametrize("content", [b"\0" * 5000, b"\xff" * 5000, bytes(range(256)) * 40, b"x"])
def test_arbitrary_bytes_are_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "ward.mp4"
    path.write_bytes(content)
    assert refusal(path).code == "unreadable"


@pytest.mark.parametrize("suffix", [".mp4", ".png", ".jpg", "%03d.png", ""])
@pytest.mark.parametrize("kind", [".png", ".jpg", ".bmp", ".webp", ".tiff"])
def test_image_is_refused(clips: ClipMaker, tmp_path: Path, kind: str, suffix: str) -> None:
    image = clips.ffmpeg(*TESTSRC[:4], "-frames:v", "1", "-update", "1", suffix=kind)
    path = tmp_path / f"ward{suffix}"
    path.write_bytes(image.read_bytes())
    assert refusal(path).code in {"image", "unreadable"}
    if suffix == ".mp4":
        assert refusal(path).code == "image"


def test_file_truncated_before_its_index_is_refused(clips: ClipMaker, tmp_path: Path) -> None:
    whole = clips.ffmpeg(*TESTSRC).read_bytes()
    path = tmp_path / "ward.mp4"
    path.write_bytes(whole[: whole.index(b"moov") - 4])
    refused = refusal(path)
    assert refused.code == "unreadable"
    assert "the index at its end is missing" in refused.message


@pytest.mark.parametrize("suffix", [".mkv", ".ts", ".avi"])
def test_file_truncated_after_its_header_is_accepted(clips: ClipMaker, tmp_path: Path, suffix: str) -> None:
    whole = clips.ffmpeg(*TESTSRC, "-c:v", "mpeg2video", "-b:v", "2M", suffix=suffix).read_bytes()
    path = tmp_path / f"ward{suffix}"
    path.write_bytes(whole[: len(whole) // 2])
    assert facts_of(path).video is not None


def test_fifo_is_refused_without_blocking(tmp_path: Path) -> None:
    path = tmp_path / "ward.mp4"
    os.mkfifo(path)
    assert refusal(path).code == "not_a_file"


def test_socket_device_and_folder_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # a socket's path may not be long
    with socket.socket(socket.AF_UNIX) as end:
        end.bind("ward.mp4")
        assert refusal(Path("ward.mp4")).code == "not_a_file"
    (tmp_path / "folder.mp4").mkdir()
    assert refusal(tmp_path / "folder.mp4").code == "not_a_file"
    (tmp_path / "endless.mp4").symlink_to("/dev/zero")
    assert refusal(tmp_path / "endless.mp4").code == "not_a_file"


def test_broken_link_is_told_from_a_missing_file(tmp_path: Path) -> None:
    (tmp_path / "ward.mp4").symlink_to(tmp_path / "nowhere.mp4")
    assert refusal(tmp_path / "ward.mp4").code == "broken_link"
    assert refusal(tmp_path / "other.mp4").code == "missing"


def test_circular_link_is_unreadable(tmp_path: Path) -> None:
    (tmp_path / "ward.mp4").symlink_to(tmp_path / "ward.mp4")
    assert refusal(tmp_path / "ward.mp4").code == "unreadable"


def test_impossible_paths_are_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    assert refusal(tmp_path / "file" / "ward.mp4").code in {"missing", "unreadable"}
    with pytest.raises(RecordingError):
        probe(tmp_path / ("x" * 300 + ".mp4"), DECODING)


def test_nul_byte_in_a_name_is_refused() -> None:
    with pytest.raises(RecordingError) as refused:
        probe(Path("/tmp/ward\0.mp4"), DECODING)
    assert refused.value.code in {"missing", "unreadable"}


def test_link_to_a_recording_is_accepted(clips: ClipMaker, tmp_path: Path) -> None:
    (tmp_path / "ward.mp4").symlink_to(clips.ffmpeg(*TESTSRC))
    assert facts_of(tmp_path / "ward.mp4").video is not None


@contextmanager
def as_nobody() -> Iterator[None]:
    """Run the block as an unprivileged user: root may read everything."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


def test_unreadable_file_or_folder_is_a_permission_error(clips: ClipMaker, tmp_path: Path) -> None:
    ours = tmp_path / "ours"
    ours.mkdir()
    recording = ours / "ward.mp4"
    recording.write_bytes(clips.ffmpeg(*TESTSRC).read_bytes())
    for folder in (ours, *ours.parents[:-1]):
        if folder.is_relative_to("/tmp") and folder != Path("/tmp"):
            folder.chmod(0o755)
    recording.chmod(0)
    with as_nobody():
        assert refusal(recording).code == "no_permission"
    recording.chmod(0o644)
    with as_nobody():
        assert check_file(recording).st_size > 0
    ours.chmod(0)
    with as_nobody():
        assert refusal(recording).code == "no_permission"
    ours.chmod(0o755)


def test_hanging_ffprobe_is_stopped(tmp_path: Path) -> None:
    """A helper process suspends ffprobe by a signal as soon as it appears."""
    path = tmp_path / "ward.mp4"
    path.write_bytes(b"\0" * 400_000_000)
    stopper = (
        "import os, pathlib, signal, sys, time\n"
        "parent, end = int(sys.argv[1]), time.monotonic() + 10\n"
        "print('ready', flush=True)\n"
        "while time.monotonic() < end:\n"
        "    for task in pathlib.Path(f'/proc/{parent}/task').iterdir():\n"
        "        for child in (task / 'children').read_text().split():\n"
        "            name = pathlib.Path(f'/proc/{child}/comm')\n"
        "            if name.exists() and name.read_text().strip() == 'ffprobe':\n"
        "                os.kill(int(child), signal.SIGSTOP)\n"
        "                raise SystemExit\n"
    )
    with subprocess.Popen([sys.executable, "-c", stopper, str(os.getpid())], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        error = refusal(path, DecodingSettings(probe_timeout_s=1.5))
        assert process.wait(timeout=10) == 0, "ffprobe was too quick to be stopped"
    assert error.code == "probe_timeout"
    # Other tests may have left helpers in this process; a killed ffprobe must not remain, even as a zombie.
    tasks = Path("/proc/self/task").iterdir()
    names = [Path(f"/proc/{child}/comm") for task in tasks for child in (task / "children").read_text().split()]
    assert "ffprobe" not in {name.read_text().strip() for name in names if name.exists()}


def test_subtitles_alone_are_refused(clips: ClipMaker, tmp_path: Path) -> None:
    text = tmp_path / "words.srt"
    text.write_text("1\n00:00:00,000 --> 00:00:01,000\nhello\n")
    assert refusal(clips.ffmpeg("-i", str(text), suffix=".mkv")).code == "no_streams"


def test_gigantic_frame_size_is_refused(clips: ClipMaker) -> None:
    path = clips.ffmpeg("-f", "lavfi", "-i", "color=s=16384x8192:r=1:d=1", "-c:v", "mjpeg", suffix=".mkv")
    assert refusal(path).code == "too_large"


def test_audio_only_and_video_only_are_accepted(clips: ClipMaker) -> None:
    audio_only = facts_of(clips.ffmpeg(*TONE, suffix=".mp4"))
    assert audio_only.video is None
    assert audio_only.audio is not None
    video_only = facts_of(clips.ffmpeg(*TESTSRC))
    assert video_only.audio is None
    assert video_only.audio_tracks == 0
    assert video_only.nominal_s == pytest.approx(2.0)


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".mov", ".avi", ".ts", ".mpg", ".webm"])
def test_header_facts_of_common_containers(clips: ClipMaker, suffix: str) -> None:
    codecs = {
        ".webm": ["-c:v", "libvpx", "-c:a", "libvorbis"],
        ".mpg": ["-c:v", "mpeg2video", "-r", "25", "-c:a", "mp2"],
    }.get(suffix, [])
    audio = ["-f", "lavfi", "-i", "aevalsrc='sin(n)|0.5':s=48000:d=2"]
    facts = facts_of(clips.ffmpeg(*TESTSRC[:4], *audio, "-pix_fmt", "yuv420p", *codecs, suffix=suffix))
    assert facts.video is not None
    assert facts.audio is not None
    assert (facts.video.width_px, facts.video.height_px, facts.video.rotation_deg) == (64, 48, 0)
    assert facts.video.fps == pytest.approx(25 if suffix == ".mpg" else 10)
    assert not facts.video.interlaced
    assert (facts.audio.sample_rate_hz, facts.audio.channels, facts.audio_tracks) == (48_000, 2, 1)
    assert facts.nominal_s == pytest.approx(2.0, abs=0.12)
    assert min(facts.video.start_s, facts.audio.start_s) == pytest.approx(0, abs=1e-6)


def test_raw_stream_says_which_frame_rate_is_assumed(clips: ClipMaker) -> None:
    source = ["-f", "lavfi", "-i", "testsrc2=s=64x48:d=1:r=10"]
    raw = clips.ffmpeg(*source, "-c:v", "libx264", "-preset", "ultrafast", suffix=".h264")
    (problem,) = probe(raw, DECODING).problems
    assert problem.startswith("a raw h264 stream holds no times: 10 frames per second are assumed")
    mjpeg = clips.ffmpeg(*source, "-c:v", "mjpeg", "-f", "mjpeg", suffix=".mjpeg")
    assert "25 frames per second are assumed" in probe(mjpeg, DECODING).problems[0]
    assert probe(clips.ffmpeg("-i", str(raw), "-c", "copy", suffix=".mkv"), DECODING).problems == ()


def test_header_without_a_duration_gives_zero(clips: ClipMaker) -> None:
    live = ["-f", "matroska", "-live", "1"]
    made = subprocess.run(
        ["ffmpeg", "-v", "error", "-nostdin", *TESTSRC, *live, "pipe:1"], capture_output=True, check=True
    )
    path = clips.folder / "live.mkv"
    path.write_bytes(made.stdout)
    assert facts_of(path).nominal_s == 0.0


@pytest.mark.parametrize(
    ("suffix", "tags", "expected"),
    [
        (".mp4", ["creation_time=2026-03-01T07:08:09Z"], "2026-03-01T07:08:09+00:00"),
        (".mkv", ["creation_time=2026-03-01T07:08:09Z"], "2026-03-01T07:08:09+00:00"),
        (".mkv", ["DATE=2026-03-01 07:08:09"], "2026-03-01T07:08:09"),
        (
            ".mov",
            ["creation_time=2026-03-01T07:08:09Z", "com.apple.quicktime.creationdate=2026-03-01T09:08:09+0200"],
            "2026-03-01T09:08:09+02:00",
        ),
        (".mkv", ["creation_time=1970-01-01T00:00:00Z"], ""),
        (".mkv", ["creation_time=1904-01-01T00:00:00Z"], ""),
        (".mkv", ["DATE=2026"], ""),
        (".mkv", ["DATE=2026-03-01"], ""),
        (".mkv", ["DATE=Monday morning"], ""),
        (".mkv", [], ""),
    ],
)
def test_creation_time_is_what_the_container_states(
    clips: ClipMaker, suffix: str, tags: list[str], expected: str
) -> None:
    metadata = [word for tag in tags for word in ("-metadata", tag)]
    movflags = ["-movflags", "use_metadata_tags"] if suffix == ".mov" else []
    assert facts_of(clips.ffmpeg(*TONE, *metadata, *movflags, suffix=suffix)).creation_time == expected


def test_last_line_omits_descriptors_and_addresses() -> None:
    assert last_line("first\n/dev/fd/9: Invalid data found\n\n") == "Invalid data found"
    assert last_line("[mov,mp4 @ 0x55d0c8a1] moov atom not found") == "[mov,mp4] moov atom not found"
    assert last_line("") == ""
    assert (
        last_line("[h264 @ 0x1] no frame!\n    Last message repeated 12 times\nConversion failed!\n")
        == "[h264] no frame!"
    )
    assert last_line("    Last message repeated 1 times\n") == ""


@pytest.mark.parametrize("name", [b"Jane\nDoe.mp4", b"M\xfcller Hans.mp4", b"Jane: Doe %d.mp4"])
def test_message_of_an_unreadable_file_omits_its_name(tmp_path: Path, name: bytes) -> None:
    path = tmp_path / os.fsdecode(name)
    path.write_bytes(b"no recording at all" * 100)
    with pytest.raises(RecordingError) as failure:
        probe(path, DecodingSettings())
    assert not any(part in str(failure.value) for part in ("Jane", "Doe", "Hans", "ller", tmp_path.name))


@pytest.mark.parametrize(
    "name",
    ["-i.mp4", "new\nline.mp4", "it's.mp4", 'quo"te.mp4', "Zoë 猫.mp4", "a%03d.mp4", "a:b.mp4", "http:x.mp4"],
)
def test_odd_names_are_probed(clips: ClipMaker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.chdir(tmp_path)
    Path(name).write_bytes(clips.ffmpeg(*TESTSRC).read_bytes())
    assert facts_of(Path(name)).nominal_s == pytest.approx(2.0)
    assert facts_of(Path(name).absolute()).nominal_s == pytest.approx(2.0)
