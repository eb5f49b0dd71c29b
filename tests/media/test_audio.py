"""Audio decoding: timing, gaps, sampling rates, channels and precision."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from avpenet_cli.errors import RecordingError
from avpenet_cli.media.audio import WaveformStream
from avpenet_cli.media.probe import probe
from avpenet_cli.settings import DecodingSettings
from tests.conftest import ClipMaker

FLOAT_PCM = ["-c:a", "pcm_f32le"]
VIDEO = ["-f", "lavfi", "-i", "testsrc2=s=160x120:r=25:d=4"]


def expression(*channels: str, seconds: float = 4.0, rate_hz: int = 48_000, layout: str = "") -> list[str]:
    """ffmpeg's input options for audio given by one formula of time `t` and sample index `n` per channel."""
    expected = f":c={layout}" if layout else ""
    return ["-f", "lavfi", "-i", f"aevalsrc='{'|'.join(channels)}':s={rate_hz}:d={seconds}{expected}"]


RAMP = "0.1+t/10"
"""Encodes each sample's time: 0.1 at the start of the stream, 0.1 more every second, never zero."""


def read_audio(path: Path, **decoding: int) -> tuple[np.ndarray, WaveformStream]:
    """All samples of a recording that decodes without an error or a warning."""
    settings = DecodingSettings(**decoding)  # type: ignore[arg-type]
    stream = WaveformStream(path, probe(path, settings), settings)
    blocks = list(stream)
    assert (stream.decode_error, stream.decoder_warning) == ("", "")
    assert all(block.dtype == np.float32 and block.ndim == 1 for block in blocks)
    return np.concatenate(blocks), stream


def assert_ramp(samples: np.ndarray, stream: WaveformStream, start_s: float, end_s: float, tolerance_s: float) -> None:
    """`RAMP` from `start_s` on, silence before it."""
    first = round(start_s * stream.rate_hz)
    slack = round(tolerance_s * stream.rate_hz) + 1
    assert not samples[: max(0, first - slack)].any()
    times_s = np.arange(samples.size) / stream.rate_hz - start_s
    body = slice(first + slack, samples.size)
    assert np.abs((samples[body] - 0.1) * 10 - times_s[body]).max() <= tolerance_s
    assert samples.size / stream.rate_hz == pytest.approx(end_s, abs=tolerance_s)
    assert stream.end_s == pytest.approx(end_s, abs=tolerance_s)


@pytest.mark.parametrize("suffix", [".mkv", ".mov", ".wav"])
def test_audio_starts_at_zero(clips: ClipMaker, suffix: str) -> None:
    samples, stream = read_audio(clips.ffmpeg(*expression(RAMP), *FLOAT_PCM, suffix=suffix))
    assert_ramp(samples, stream, 0.0, 4.0, 1e-4)
    np.testing.assert_allclose(stream.present, [(0.0, 4.0)], atol=1e-4)


@pytest.mark.parametrize("late_s", [0.02, 0.5, 1.28])
@pytest.mark.parametrize("suffix", [".mkv", ".mov"])
def test_late_audio_keeps_its_start_time(clips: ClipMaker, suffix: str, late_s: float) -> None:
    late = ["-itsoffset", str(late_s), *expression(RAMP, seconds=2)]
    path = clips.ffmpeg(*VIDEO, *late, "-pix_fmt", "yuv420p", *FLOAT_PCM, suffix=suffix)
    samples, stream = read_audio(path)
    assert_ramp(samples, stream, late_s, late_s + 2, 0.002)
    np.testing.assert_allclose(stream.present, [(late_s, late_s + 2)], atol=0.002)
    assert stream.present_share(0, 4) == pytest.approx(0.5, abs=0.001)
    assert stream.present_share(0, late_s) == pytest.approx(0.0, abs=0.1)


@pytest.mark.parametrize("suffix", [".ts", ".mpg"])
def test_late_audio_of_a_stream_format_keeps_its_start_time(clips: ClipMaker, suffix: str) -> None:
    tone = ["-itsoffset", "1.28", *expression("0.5*sin(2*PI*440*t)", seconds=2)]
    path = clips.ffmpeg(*VIDEO, *tone, "-c:v", "mpeg2video", "-b:v", "4M", "-c:a", "mp2", suffix=suffix)
    samples, stream = read_audio(path)
    start_s = np.argmax(np.abs(samples) > 0.1) / stream.rate_hz
    assert start_s == pytest.approx(1.28, abs=0.06)
    assert stream.present[0][0] == pytest.approx(1.28, abs=0.06)


def test_audio_before_a_late_video_keeps_its_time(clips: ClipMaker) -> None:
    late = ["-itsoffset", "1.28", *VIDEO, "-map", "0:a", "-map", "1:v", "-c:v", "mpeg2video", "-b:v", "4M"]
    path = clips.ffmpeg(*expression("0.5*sin(2*PI*440*t)*gte(t,2)"), *late, "-c:a", "mp2", suffix=".ts")
    samples, stream = read_audio(path)
    assert np.argmax(np.abs(samples) > 0.1) / stream.rate_hz == pytest.approx(2.0, abs=0.06)


@pytest.mark.parametrize("codec", ["pcm_f32le", "pcm_s24le", "flac"])
def test_gap_in_the_middle_is_filled_with_zeros(clips: ClipMaker, codec: str) -> None:
    with_gap = ["-af", "aselect='not(between(t,1,2))'", "-c:a", codec, "-pix_fmt", "yuv420p"]
    samples, stream = read_audio(clips.ffmpeg(*VIDEO, *expression(RAMP), *with_gap, suffix=".mkv"))
    # The gap's edges lie between packets, which are up to 0.1 s long.
    np.testing.assert_allclose(stream.present, [(0.0, 1.0), (2.0, 4.0)], atol=0.1)
    gap_start_s, gap_end_s = stream.present[0][1], stream.present[1][0]
    present = slice(round((gap_end_s + 0.002) * 48_000), None)
    times_s = np.arange(samples.size) / 48_000
    assert np.abs((samples[present] - 0.1) * 10 - times_s[present]).max() < 0.002
    assert not samples[round((gap_start_s + 0.002) * 48_000) : round((gap_end_s - 0.002) * 48_000)].any()
    assert stream.present_share(1.2, 1.8) == 0
    assert stream.present_share(0.0, 4.0) == pytest.approx(0.75, abs=0.02)


def test_packets_stamped_in_bursts_are_heard_whole(clips: ClipMaker) -> None:
    """A network recorder writes 5 packets of 23.2 ms at once and stamps them with the time of writing."""
    stamps = "floor(N/5)*116.1+mod(N,5)"
    tone = expression("0.5*sin(2*PI*440*t)", rate_hz=44_100)
    path = clips.ffmpeg(*tone, "-c:a", "aac", "-bsf:a", f"setts=pts='{stamps}':dts='{stamps}'", suffix=".mkv")
    samples, stream = read_audio(path)
    assert len(stream.present) == 1
    assert stream.end_s == pytest.approx(4.0, abs=0.1)
    assert stream.notes == ("timestamps jitter by up to 0.09 s; the samples were placed one after another",)
    envelope = np.abs(samples[4_410 : 4_410 + 98 * 1_690]).reshape(-1, 98).max(axis=1)
    assert envelope.min() > 0.3, "a gap would be silent"


def test_audio_that_ends_before_the_video_stays_short(clips: ClipMaker) -> None:
    path = clips.ffmpeg(*VIDEO, *expression(RAMP, seconds=1), *FLOAT_PCM, "-pix_fmt", "yuv420p", suffix=".mkv")
    samples, stream = read_audio(path)
    assert_ramp(samples, stream, 0.0, 1.0, 0.002)
    assert stream.present_share(0, 4) == pytest.approx(0.25, abs=0.001)
    assert stream.present_share(2, 4) == 0


@pytest.mark.parametrize(
    ("codec", "suffix"), [("flac", ".flac"), ("pcm_s24le", ".wav"), ("pcm_s24le", ".mov"), ("pcm_s32le", ".mkv")]
)
def test_24_bit_samples_keep_their_precision(clips: ClipMaker, codec: str, suffix: str) -> None:
    """A ramp of single 24-bit steps, which 16 bits would round to nine values."""
    ramp = expression("(mod(n,2001)-1000)/8388608", seconds=0.5)
    encoding = ["-c:a", codec, "-sample_fmt", "s32", "-bits_per_raw_sample", "24"]
    samples, stream = read_audio(clips.ffmpeg(*ramp, *encoding, suffix=suffix))
    assert stream.rate_hz == 48_000
    steps = samples[:20_000].astype(np.float64) * (1 << 23)
    expected = np.arange(20_000) % 2001 - 1000
    assert np.abs(steps - expected).max() <= 1.0
    assert np.unique(samples).size > 1900


@pytest.mark.parametrize(
    ("channels", "layout", "mean"),
    [
        (["0.5"], "mono", 0.5),
        (["0.8", "0.4"], "stereo", 0.6),
        (["1", "1"], "stereo", 1.0),
        (["1", "-1"], "stereo", 0.0),
        (["0.9", "0"], "stereo", 0.45),
        (["0.1", "0.2", "0.3", "0.4", "0.5", "0.6"], "5.1", 0.35),
        (["1"] * 6, "5.1", 1.0),
        (["0.6", "0.3", "0.3"], "2.1", 0.4),
        (["0.1"] * 10, "", 0.1),
    ],
)
def test_mono_is_the_mean_of_the_channels(clips: ClipMaker, channels: list[str], layout: str, mean: float) -> None:
    """Constant channels carry nothing that could be told empty or inverted."""
    path = clips.ffmpeg(*expression(*channels, seconds=0.5, layout=layout), *FLOAT_PCM, suffix=".wav")
    samples, _ = read_audio(path)
    np.testing.assert_allclose(samples, mean, atol=1e-6)


@pytest.mark.parametrize(
    ("rate_hz", "working_hz"),
    [(8_000, 8_000), (11_025, 11_025), (44_100, 44_100), (96_000, 96_000), (44_099, 48_000), (192_000, 192_000)],
)
def test_sampling_rate_keeps_pitch_and_length(clips: ClipMaker, rate_hz: int, working_hz: int) -> None:
    path = clips.ffmpeg(*expression("0.5*sin(2*PI*1000*t)", rate_hz=rate_hz), *FLOAT_PCM, suffix=".wav")
    samples, stream = read_audio(path)
    assert stream.rate_hz == working_hz
    assert samples.size == pytest.approx(4 * working_hz, abs=64)
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(samples.size)))
    peak_hz = np.argmax(spectrum) * working_hz / samples.size
    assert peak_hz == pytest.approx(1000, abs=0.3)
    assert np.abs(samples).max() == pytest.approx(0.5, abs=0.01)


@pytest.mark.parametrize("track", [0, 1, 2])
def test_requested_track_is_decoded(clips: ClipMaker, track: int) -> None:
    levels = [0.1, 0.3, 0.7]
    inputs = [word for level in levels for word in expression(str(level), seconds=1)]
    maps = [word for number in (1, 0, 2, 3) for word in ("-map", str(number))]
    path = clips.ffmpeg(*VIDEO, *inputs, *maps, *FLOAT_PCM, "-pix_fmt", "yuv420p", suffix=".mkv")
    samples, _ = read_audio(path, audio_track=track)
    np.testing.assert_allclose(samples, levels[track], atol=1e-6)


def test_missing_track_is_refused(clips: ClipMaker) -> None:
    path = clips.ffmpeg(*expression("0.1", seconds=1), *FLOAT_PCM, suffix=".wav")
    with pytest.raises(RecordingError, match="track 1 was requested") as refused:
        probe(path, DecodingSettings(audio_track=1))
    assert refused.value.code == "no_such_track"


@pytest.mark.parametrize(
    ("codec", "suffix", "delay_s"),
    [("aac", ".mp4", 0.03), ("aac", ".mkv", 0.03), ("libmp3lame", ".mp3", 0.03), ("libopus", ".mkv", 0.03),
     ("ac3", ".ts", 0.03), ("libvorbis", ".ogg", 0.03)],
)  # fmt: skip
def test_codec_delay_is_compensated(clips: ClipMaker, codec: str, suffix: str, delay_s: float) -> None:
    path = clips.ffmpeg(*expression("0.5*sin(2*PI*440*t)*gte(t,1)"), "-c:a", codec, suffix=suffix)
    samples, stream = read_audio(path)
    assert np.argmax(np.abs(samples) > 0.1) / stream.rate_hz == pytest.approx(1.0, abs=delay_s)
    assert stream.end_s == pytest.approx(4.0, abs=0.1)


def test_channel_count_may_change_midway(clips: ClipMaker, tmp_path: Path) -> None:
    tone = "0.5*sin(2*PI*440*t)"
    parts = [clips.ffmpeg(*expression(*[tone] * n, seconds=2), "-c:a", "aac", suffix=".ts") for n in (2, 1)]
    playlist = tmp_path / "parts.txt"
    playlist.write_text("".join(f"file '{part}'\n" for part in parts))
    path = clips.ffmpeg("-f", "concat", "-safe", "0", "-i", str(playlist), "-c", "copy", suffix=".ts")
    settings = DecodingSettings()
    stream = WaveformStream(path, probe(path, settings), settings)
    samples = np.concatenate(list(stream))
    assert stream.decode_error == ""
    assert stream.end_s == pytest.approx(4.0, abs=0.2)
    assert np.sqrt(np.mean(samples[-48_000:-4_800] ** 2)) == pytest.approx(0.5 / np.sqrt(2), rel=0.1)


def test_second_read_equals_the_first(clips: ClipMaker) -> None:
    path = clips.ffmpeg(*VIDEO, "-itsoffset", "0.5", *expression(RAMP), *FLOAT_PCM, suffix=".mkv")
    settings = DecodingSettings()
    stream = WaveformStream(path, probe(path, settings), settings)
    first, present = np.concatenate(list(stream)), stream.present
    np.testing.assert_array_equal(np.concatenate(list(stream)), first)
    assert stream.present == present


@pytest.mark.parametrize(("name", "share"), [("hu_04_f_1430045366784", 0.08), ("dc_72_f_1430706751039", 0.16)])
def test_packets_that_do_not_decode_are_not_present(shared: Path, name: str, share: float) -> None:
    """Each packet holds a dozen frames, of which the decoder gives the first: 20 ms, then a gap."""
    path = shared / "data" / "cries" / f"dac_{name}.3gp"
    settings = DecodingSettings()
    facts = probe(path, settings)
    stream = WaveformStream(path, facts, settings)
    samples = np.concatenate(list(stream))
    assert stream.present_share(0, facts.nominal_s) == pytest.approx(share, abs=0.01)
    present = np.zeros(samples.size, bool)
    for start_s, end_s in stream.present:
        present[round(start_s * stream.rate_hz) : round(end_s * stream.rate_hz)] = True
    assert not samples[~present].any()
    assert samples[present].any()
