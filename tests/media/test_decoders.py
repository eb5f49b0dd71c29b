"""Decoders that crash, hang, are abandoned, or are led to a network address."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from avpenet_cli.errors import EnvironmentUnavailableError, Interrupted, RecordingError
from avpenet_cli.media.audio import WaveformStream
from avpenet_cli.media.child import DecoderChild, DecoderStalled
from avpenet_cli.media.prefetch import prefetch
from avpenet_cli.media.probe import Probe, VideoStream, probe
from avpenet_cli.media.tools import passthrough_option
from avpenet_cli.media.video import FrameStream, ffmpeg_command
from avpenet_cli.settings import DecodingSettings
from tests.conftest import ClipMaker

SHORT_STALL_S = 0.6
BACKENDS = ["ffmpeg", "decord"]


def children() -> set[int]:
    """Child processes of this one, zombies included."""
    pids: set[int] = set()
    for task in Path("/proc/self/task").iterdir():
        try:
            pids |= {int(word) for word in (task / "children").read_text().split()}
        except FileNotFoundError:  # the thread ended meanwhile
            continue
    return pids


def open_files() -> set[str]:
    """Targets of this process's file descriptors, except that of the listing itself."""
    files = set()
    for entry in Path("/proc/self/fd").iterdir():
        try:
            target = str(entry.readlink())
        except FileNotFoundError:
            continue
        if not target.startswith("/proc/"):
            files.add(f"{entry.name} {target}")
    return files


@pytest.fixture
def no_leaks() -> Iterator[None]:
    """No process, thread or descriptor outlives the test."""
    before = children(), open_files(), threading.active_count()
    yield
    deadline = time.monotonic() + 2
    while (children(), open_files(), threading.active_count()) != before and time.monotonic() < deadline:
        time.sleep(0.05)
    assert children() == before[0]
    assert open_files() == before[1]
    assert threading.active_count() == before[2]


pytestmark = pytest.mark.usefixtures("no_leaks")


def long_video(clips: ClipMaker) -> Path:
    """20 s of 320x240: far more than pipes and queues hold."""
    return clips.ffmpeg("-f", "lavfi", "-i", "testsrc2=s=320x240:r=10:d=20", "-pix_fmt", "yuv420p")


def long_audio(clips: ClipMaker) -> Path:
    return clips.ffmpeg("-f", "lavfi", "-i", "sine=d=120:sample_rate=48000", "-ac", "2", suffix=".mp2")


def frames_of(path: Path, stall_s: float = 60.0, backend: str = "ffmpeg") -> FrameStream:
    decoding = DecodingSettings(stall_s=stall_s, backend=backend)  # type: ignore[arg-type]
    stream = FrameStream(path, probe(path, decoding), decoding)
    assert stream.backend == backend
    return stream


def audio_of(path: Path, stall_s: float = 60.0) -> WaveformStream:
    decoding = DecodingSettings(stall_s=stall_s)
    return WaveformStream(path, probe(path, decoding), decoding)


def the_child(before: set[int]) -> int:
    (child,) = children() - before
    return child


@pytest.mark.parametrize("backend", BACKENDS)
def test_crashed_video_decoder_keeps_the_frames_before(clips: ClipMaker, backend: str) -> None:
    stream, before, slots = frames_of(long_video(clips), backend=backend), children(), []
    for frame in stream:
        slots.append(frame.slot)
        if len(slots) == 5:
            os.kill(the_child(before), signal.SIGKILL)
    assert stream.decode_error == "the video decoder crashed (signal 9)"
    assert slots == list(range(len(slots)))
    assert 5 <= len(slots) < 100
    assert stream.slots_end == len(slots)


@pytest.mark.parametrize("backend", BACKENDS)
def test_hanging_video_decoder_is_stopped(clips: ClipMaker, backend: str) -> None:
    # decord's process imports libraries before its first frame, slowly on a busy machine.
    stall_s = SHORT_STALL_S if backend == "ffmpeg" else 5.0
    stream, before, slots = frames_of(long_video(clips), stall_s, backend), children(), []
    for frame in stream:
        slots.append(frame.slot)
        if len(slots) == 5:
            os.kill(the_child(before), signal.SIGSTOP)
    assert stream.decode_error == f"the video decoder delivered nothing for {stall_s:g} s and was stopped"
    assert slots == list(range(len(slots)))
    assert 5 <= len(slots) < 100


def test_slow_consumer_is_no_stall(clips: ClipMaker) -> None:
    stream = frames_of(long_video(clips), SHORT_STALL_S)
    count = 0
    for frame in stream:
        count += 1
        if frame.slot in {3, 150}:
            time.sleep(2 * SHORT_STALL_S)
    assert (count, stream.decode_error) == (200, "")


def test_crashed_audio_decoder_keeps_the_audio_before(clips: ClipMaker) -> None:
    stream, before, count = audio_of(long_audio(clips)), children(), 0
    for block in stream:
        if count == 0:
            os.kill(the_child(before), signal.SIGKILL)
        count += block.size
    assert stream.decode_error == "the audio decoder crashed (signal 9)"
    assert 65_536 <= count < 100 * 48_000
    assert stream.end_s == pytest.approx(count / 48_000, abs=1e-6)


def test_hanging_audio_decoder_is_stopped(clips: ClipMaker) -> None:
    stream, before, count = audio_of(long_audio(clips), SHORT_STALL_S), children(), 0
    for block in stream:
        if count == 0:
            os.kill(the_child(before), signal.SIGSTOP)
        count += block.size
    assert stream.decode_error == "the audio decoder delivered nothing for 0.6 s and was stopped"
    assert 65_536 <= count < 100 * 48_000
    assert stream.end_s == pytest.approx(count / 48_000, abs=1e-6)


@pytest.mark.parametrize("backend", BACKENDS)
def test_abandoned_video_stream_ends_its_decoder(clips: ClipMaker, backend: str) -> None:
    before = children()
    frames = iter(frames_of(long_video(clips), backend=backend))
    next(frames)
    child = the_child(before)
    frames.close()  # type: ignore[attr-defined]
    with pytest.raises(ProcessLookupError):
        os.kill(child, 0)


def test_abandoned_audio_stream_ends_its_decoder(clips: ClipMaker) -> None:
    blocks = iter(audio_of(long_audio(clips)))
    next(blocks)
    blocks.close()  # type: ignore[attr-defined]


def test_closed_prefetch_ends_thread_and_decoder(clips: ClipMaker) -> None:
    frames = prefetch(frames_of(long_video(clips)), 3)
    assert next(frames).slot == 0
    frames.close()


def test_prefetch_keeps_order_and_raises_the_error(clips: ClipMaker) -> None:
    stream = frames_of(long_video(clips))
    assert [frame.slot for frame in prefetch(stream, 3)] == list(range(200))
    assert stream.decode_error == ""

    def breaking() -> Iterator[int]:
        yield 1
        raise RecordingError("unreadable", "broke")

    ahead = prefetch(breaking(), 2)
    assert next(ahead) == 1
    with pytest.raises(RecordingError, match="broke"):
        next(ahead)


def test_prefetch_reads_no_further_than_its_depth(clips: ClipMaker) -> None:
    taken = []

    def endless() -> Iterator[int]:
        for number in range(1_000):
            taken.append(number)
            yield number

    ahead = prefetch(endless(), 4)
    next(ahead)
    time.sleep(0.3)
    assert len(taken) <= 1 + 4 + 2
    ahead.close()


def test_recordings_release_their_descriptors(clips: ClipMaker) -> None:
    path = clips.ffmpeg("-f", "lavfi", "-i", "testsrc2=s=64x64:r=10:d=0.5", "-pix_fmt", "yuv420p")
    before = len(open_files())
    for _ in range(6):
        assert len(list(frames_of(path))) == 5
    assert len(open_files()) == before


def test_vanished_recording_is_an_error_without_its_name(clips: ClipMaker, tmp_path: Path) -> None:
    path = tmp_path / "gone.mp4"
    path.write_bytes(clips.ffmpeg("-f", "lavfi", "-i", "testsrc2=s=64x64:r=10:d=1", "-pix_fmt", "yuv420p").read_bytes())
    stream = frames_of(path)
    path.unlink()
    with pytest.raises(RecordingError, match="No such file") as failure:
        list(stream)
    assert "gone.mp4" not in str(failure.value)


@pytest.mark.parametrize("cut", [0.3, 0.7])
@pytest.mark.parametrize("suffix", [".mkv", ".ts", ".avi", ".mpg"])
def test_truncated_recording_gives_what_is_left(clips: ClipMaker, tmp_path: Path, suffix: str, cut: float) -> None:
    moving = ["-f", "lavfi", "-i", "testsrc2=s=160x120:r=25:d=4", "-f", "lavfi", "-i", "sine=d=4", "-g", "12"]
    whole = clips.ffmpeg(*moving, "-c:v", "mpeg2video", "-c:a", "mp2", "-b:v", "2M", suffix=suffix).read_bytes()
    path = tmp_path / f"cut{suffix}"
    path.write_bytes(whole[: int(len(whole) * cut)])
    stream = frames_of(path)
    slots = [frame.slot for frame in stream]
    assert slots == list(range(len(slots)))
    assert len(slots) == pytest.approx(40 * cut, abs=10)
    audio = audio_of(path)
    assert sum(block.size for block in audio) / audio.rate_hz == pytest.approx(4 * cut, abs=1)


def test_damage_is_reported_as_a_warning(clips: ClipMaker, tmp_path: Path) -> None:
    whole = bytearray(
        clips.ffmpeg("-f", "lavfi", "-i", "testsrc2=s=320x240:r=25:d=4", "-g", "12", "-pix_fmt", "yuv420p").read_bytes()
    )
    media = whole.index(b"mdat")
    rng = np.random.default_rng(1)
    for at in rng.integers(media + 5_000, media + len(whole) // 2, 60):
        whole[at] ^= 0xFF
    path = tmp_path / "damaged.mp4"
    path.write_bytes(whole)
    stream = frames_of(path)
    slots = [frame.slot for frame in stream]
    assert len(slots) > 20
    assert stream.decoder_warning
    assert "damaged.mp4" not in stream.decoder_warning


def test_timestamps_far_in_the_future_end_decoding(clips: ClipMaker) -> None:
    far = ["-vf", "setpts='PTS+gte(N,10)*100000/TB'", *passthrough_option(), "-pix_fmt", "yuv420p"]
    path = clips.ffmpeg("-f", "lavfi", "-i", "testsrc2=s=64x64:r=10:d=2", *far, suffix=".mkv")
    decoding = DecodingSettings()
    facts = probe(path, decoding)
    promised = Probe(facts.container, 2.0, facts.start_s, facts.video, None, 0)
    stream = FrameStream(path, promised, decoding)
    count = sum(1 for _ in stream)
    assert stream.decode_error == "timestamps run far beyond the 2.0 s that the header promises"
    assert count <= 10 * (2 * 2 + 60) + 1


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    """A server that would notice a connection."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.2)
        yield server


PLAYLISTS = {
    "hls": "#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:2\n#EXTINF:2.0,\n{url}/a.ts\n#EXT-X-ENDLIST\n",
    "concat": "ffconcat version 1.0\nfile '{url}/a.mp4'\nduration 2\n",
    "dash": '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static" '
    'mediaPresentationDuration="PT2S"><Period><AdaptationSet mimeType="video/mp4"><Representation id="1" '
    'bandwidth="1" codecs="avc1"><BaseURL>{url}/a.mp4</BaseURL></Representation></AdaptationSet></Period></MPD>',
    "sdp": "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video {port} RTP/AVP 96\n"
    "a=rtpmap:96 H264/90000\n",
    "rtsp": "RTSPtextRTSP://127.0.0.1:{port}/a",
    "asx": '<asx version="3.0"><entry><ref href="{url}/a.asf"/></entry></asx>',
}


@pytest.mark.parametrize("kind", PLAYLISTS)
@pytest.mark.parametrize("suffix", [".mp4", ".m3u8"])
def test_playlist_disguised_as_a_recording_opens_no_connection(
    tmp_path: Path, listener: socket.socket, kind: str, suffix: str
) -> None:
    port = listener.getsockname()[1]
    path = tmp_path / f"ward{suffix}"
    path.write_text(PLAYLISTS[kind].format(url=f"http://127.0.0.1:{port}", port=port))
    decoding = DecodingSettings(probe_timeout_s=5, stall_s=5)
    with pytest.raises(RecordingError):
        probe(path, decoding)
    video = VideoStream(0, "h264", 64, 64, 0, 1.0, 25.0, "yuv420p", False, 0.0)
    assert list(FrameStream(path, Probe("mp4", 2.0, 0.0, video, None, 0), decoding)) == []
    with pytest.raises(TimeoutError):
        listener.accept()


def test_playlist_connects_where_the_protocol_is_allowed(tmp_path: Path, listener: socket.socket) -> None:
    """Shows that the test above would notice a connection."""
    path = tmp_path / "ward.m3u8"
    path.write_text(PLAYLISTS["hls"].format(url=f"http://127.0.0.1:{listener.getsockname()[1]}"))
    command = ["ffprobe", "-v", "quiet", "-protocol_whitelist", "file,http,tcp", str(path)]
    direct = {**os.environ, "no_proxy": "127.0.0.1"}
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, env=direct) as free:
        listener.settimeout(5)
        connection, _ = listener.accept()
        connection.close()
        free.kill()


def test_safe_input_options_precede_the_input() -> None:
    video = VideoStream(0, "h264", 64, 64, 0, 1.0, 25.0, "yuv420p", False, 0.0)
    command = ffmpeg_command("/dev/fd/9", video, 5)
    at = command.index("-i")
    assert command[command.index("-protocol_whitelist") + 1] == "file,pipe"
    assert command.index("-protocol_whitelist") < at
    assert command[at + 1] == "/dev/fd/9"


def test_missing_decoder_is_an_environment_error() -> None:
    with pytest.raises(EnvironmentUnavailableError, match="cannot start a decoder"):
        DecoderChild(Path("/dev/null"), lambda side, source: ["/nowhere/ffmpeg", str(side)], 1.0)


def test_end_of_the_clock_stays_the_end() -> None:
    child = DecoderChild(Path("/dev/null"), lambda side, source: ["true"], 5.0)
    assert [child.next_line() for _ in range(3)] == [None, None, None]
    child.close()


def test_closing_during_a_wait_ends_it() -> None:
    child = DecoderChild(
        Path("/dev/null"), lambda side, source: [sys.executable, "-c", "import time; time.sleep(60)"], 60.0
    )
    closer = threading.Timer(0.3, child.close)
    closer.start()
    assert child.next_line() is None
    closer.join()


def test_killed_decoder_takes_its_children_with_it(tmp_path: Path) -> None:
    note = tmp_path / "pid"
    program = (
        "import subprocess, sys, time;"
        f"p = subprocess.Popen(['sleep', '60']); open({str(note)!r}, 'w').write(str(p.pid)); time.sleep(60)"
    )
    child = DecoderChild(Path("/dev/null"), lambda side, source: [sys.executable, "-c", program], 1.0)
    with pytest.raises(DecoderStalled):
        child.read_into(memoryview(bytearray(10)))
    child.close()
    # The signal is sent by now; the kernel delivers it some time later.
    deadline = time.monotonic() + 60
    while alive(int(note.read_text())) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not alive(int(note.read_text()))


def alive(pid: int) -> bool:
    """Whether the process exists and is no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_request_to_stop_ends_the_wait_for_a_hanging_decoder(clips: ClipMaker) -> None:
    path, stop_requested, before = long_video(clips), threading.Event(), children()

    def check() -> None:
        if stop_requested.is_set():
            raise Interrupted("stopped")

    decoding = DecodingSettings(stall_s=60.0)
    frames = prefetch(FrameStream(path, probe(path, decoding), decoding, check), 3)
    next(frames)
    child = the_child(before)
    os.kill(child, signal.SIGSTOP)
    stop_requested.set()
    with pytest.raises(Interrupted):
        list(frames)
    assert child not in children()
