"""Decode a video stream into the frames of the 0.1-s grid, by presentation time.

Slot k of a recording is the frame on screen at (k + 0.5) * 0.1 s after the container's start. The grid is the same
for every frame rate, so windows at any stride share frames. Two decoders share one interface, both as child
processes with the same protocol:

- ffmpeg through a pipe reads everything: rotation, pixel aspect, interlacing, any bit depth, any container.
- decord reads plain progressive files only.
"""

from __future__ import annotations

import importlib.util
import math
import sys
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import ffmpeg
import numpy as np

from avpenet_cli.errors import RecordingError
from avpenet_cli.media.child import DecoderChild, DecoderStalled
from avpenet_cli.media.confinement import cpu_bound_s
from avpenet_cli.media.frame_image import FrameImage, RgbImage
from avpenet_cli.media.header import last_line
from avpenet_cli.media.probe import AudioStream, Probe, VideoStream
from avpenet_cli.media.tools import SAFE_INPUT, blanked_input, passthrough_option, tool
from avpenet_cli.media.yuv_image import YuvImage, yuv_format
from avpenet_cli.settings import FRAME_STEP_S, MAX_HOLD_S, DecodingSettings

_TICKS_PER_S = 1_000_000
"""Time base of the source frames' clock."""
_SOURCE_CLOCK = 1
"""Stream number of the source clock in the side channel; the grid has 0."""
_RUNAWAY_S = 60.0
"""Frames this many seconds beyond twice the stated duration come from broken timestamps."""

_LEAST_UNPAIRED, _UNPAIRED_BYTES = 16, 1 << 30
"""Frames kept without their times. ffmpeg is a few ahead; a decoder that was taken over could fill the memory."""


@dataclass(frozen=True)
class TimedFrame:
    """One frame of the grid.

    Attributes:
        slot: index on the grid; on screen at (slot + 0.5) * 0.1 s after the container's start.
        image: its pixels, as displayed.
    """

    slot: int
    image: FrameImage


class FrameStream:
    """Iterate over the grid's frames of one recording; the attributes describe how decoding ended.

    Slots increase. Slots before the stream starts or after it ends are left out, and so are those at which the frame on
    screen is older than `MAX_HOLD_S`: a frozen video says nothing about the patient.

    Args:
        path: the recording.
        facts: its header, from `probe`.
        decoding: decoder and stall timeout.
        while_waiting: called several times a second while the decoder delivers nothing; may raise to abort.

    Raises:
        RecordingError: `no_video`, a recording without a video stream.

    Attributes:
        slots_end: one past the last slot in which the stream had a frame.
        decode_error: one line when the decoder crashed, stalled or failed; empty on success.
        decoder_warning: the decoder's last message about damage; empty without damage.
        suspected_read_error: why the file may hold something else than what was read; empty where nothing says so.
    """

    def __init__(
        self, path: Path, facts: Probe, decoding: DecodingSettings, while_waiting: Callable[[], None] = lambda: None
    ) -> None:
        if facts.video is None:
            raise RecordingError("no_video", "no video stream", "")
        self._while_waiting = while_waiting
        self._path, self._facts, self._decoding = path, facts, decoding
        self._video = facts.video
        self.slots_end = 0
        self.decode_error = ""
        self.decoder_warning = ""
        self.suspected_read_error = ""
        self.backend = choose_backend(facts, decoding)

    def _command(self, side: int, source: str) -> list[str]:
        if self.backend == "decord":
            return decord_command(source, self._video, side, self._decoding.threads)
        return ffmpeg_command(source, self._video, side, self._decoding.threads)

    def __iter__(self) -> Iterator[TimedFrame]:
        self.slots_end, self.decode_error, self.decoder_warning = 0, "", ""
        promised = self._facts.nominal_s
        last_slot = (2 * promised + _RUNAWAY_S) / FRAME_STEP_S if promised > 0 else float("inf")
        child = DecoderChild(
            self._path, self._command, self._decoding.stall_s, self._while_waiting, cpu_bound_s(promised)
        )
        try:
            for slot, frozen, image in self._paired(child):
                if slot > last_slot:
                    self.decode_error = f"timestamps run far beyond the {promised:.1f} s that the header promises"
                    break
                if slot >= self.slots_end:
                    self.slots_end = slot + 1
                    if not frozen:
                        yield TimedFrame(slot, image)
            if not self.decode_error:
                self.decode_error = child.describe_end("video", child.finish(), last_line(child.messages))
        except DecoderStalled:
            self.decode_error = f"the video decoder delivered nothing for {self._decoding.stall_s:g} s and was stopped"
        finally:
            child.close()
            self.decoder_warning = last_line(child.messages)
            self.suspected_read_error = child.suspected_read_error

    def _paired(self, child: DecoderChild) -> Iterator[tuple[int, bool, FrameImage]]:
        """Pair frames with their slots and with whether the video is frozen there.

        Waiting for a frame's line before reading on could deadlock: ffmpeg may be blocked writing that frame,
        or the next one, before it writes the line.
        """
        layout = yuv_format(self._video) if self.backend == "ffmpeg" else None
        frame_bytes = layout.frame_bytes if layout else 3 * self._video.width_px * self._video.height_px
        most_unpaired = max(_LEAST_UNPAIRED, _UNPAIRED_BYTES // frame_bytes)
        frames: deque[FrameImage] = deque()
        slots: deque[tuple[int, bool]] = deque()
        last_source_s = -math.inf
        payload_ended = False
        while True:
            if not payload_ended:
                pixels = np.empty(frame_bytes, np.uint8)
                payload_ended = child.read_into(pixels.data) < frame_bytes
                if not payload_ended:
                    frames.append(YuvImage(pixels, layout) if layout else self._rgb_image(pixels))
            while (
                line := child.next_line(wait=len(frames) - len(slots) > (0 if payload_ended else most_unpaired))
            ) is not None:
                clock = parse_clock(line)
                if clock is None:
                    continue
                stream, time = clock
                if stream == _SOURCE_CLOCK:
                    last_source_s = time / _TICKS_PER_S
                else:
                    slots.append((time, time * FRAME_STEP_S - last_source_s > MAX_HOLD_S))
            while frames and slots:
                yield *slots.popleft(), frames.popleft()
            if payload_ended:
                return

    def _rgb_image(self, pixels: np.ndarray) -> RgbImage:
        return RgbImage(pixels.reshape(self._video.height_px, self._video.width_px, 3))


def parse_clock(line: str) -> tuple[int, int] | None:
    """Stream number and presentation time in its time base from a line of ffmpeg's framecrc; None for any other."""
    if line.startswith("#"):
        return None
    fields = line.split(",")
    try:
        return int(fields[0]), int(fields[2])
    except (ValueError, IndexError):
        return None


def choose_backend(facts: Probe, decoding: DecodingSettings) -> str:
    """Choose the decoder for a file, `ffmpeg` or `decord`.

    `auto` is ffmpeg: decord is not faster (docs/explanation/benchmarks.md) and ignores start offsets, pixel aspect and
    interlacing. A request for `decord` is honoured only where it gives the same frames, and where it is installed:
    there are no wheels for some machines, and it may not be passed on in bundles (docs/reference/licences.md).
    """
    if decoding.backend == "decord" and decord_reads_well(facts) and importlib.util.find_spec("decord") is not None:
        return "decord"
    return "ffmpeg"


def decord_reads_well(facts: Probe) -> bool:
    """Whether decord gives the same frames as ffmpeg for this file."""
    video = facts.video
    return (
        video is not None
        and video.rotation_deg == 0
        and video.pixel_aspect == 1.0
        and not video.has_implausible_aspect
        and video.reduction == 1.0
        and facts.video_tracks <= 1
        and not video.interlaced
        and video.codec in {"h264", "hevc"}
        and video.pixel_format in {"yuv420p", "yuvj420p"}
        and any(name in facts.container.split(",") for name in ("mp4", "mov", "matroska"))
    )


def ffmpeg_command(source: str, video: VideoStream, side: int, threads: int = 0) -> list[str]:
    """Build the ffmpeg command that writes the grid's frames and their clocks.

    Raw frames go to stdout, as RGB or in the layout of `yuv_format`, and two clocks to the file descriptor `side`: the
    frames' slots as stream 0, the times of their source frames in microseconds as stream 1.

    Args:
        source: descriptor path of the recording.
        video: the stream to decode.
        side: file descriptor of the side channel.
        threads: of the decoder and its filters; 0 lets ffmpeg choose.
    """
    # ffmpeg-python cannot address a stream by bare index through .video; the label form can.
    stream = ffmpeg.input(source, nostdin=None, v="error")[str(video.index)]
    if video.interlaced:
        stream = stream.filter("bwdif", mode="send_frame", deint="interlaced")
    # fps with round=up gives slot k the latest frame whose time is at or before the slot's; the shift by half
    # a step centres slots in their tenth of a second. Microseconds first: a coarse time base would round the shift.
    decoded = (
        stream.filter("settb", f"1/{_TICKS_PER_S}")
        .filter("setpts", f"PTS-{FRAME_STEP_S / 2}/TB")
        .filter_multi_output("split")
    )
    grid = decoded[0].filter("fps", fps=round(1 / FRAME_STEP_S), round="up")
    if video.access.end_s is not None:
        grid = grid.filter("trim", end=video.access.end_s)
    stream = (
        grid.filter("scale", w=video.width_px, h=video.height_px)
        .filter("setsar", 1)
        .filter("format", "rgb24" if yuv_format(video) is None else video.pixel_format)
        .filter_multi_output("split")
    )
    frames = stream[0].output("pipe:1", format="rawvideo", vcodec="rawvideo")
    clocks = [stream[1].filter("crop", 2, 2), decoded[1].filter("crop", 2, 2)]
    # By default the encoder rounds times to the stream's nominal rate.
    ticks = {f"enc_time_base:v:{_SOURCE_CLOCK}": f"1/{_TICKS_PER_S}"}
    clock = ffmpeg.output(*clocks, f"pipe:{side}", format="framecrc", vcodec="rawvideo", flush_packets=1, **ticks)
    command: list[str] = ffmpeg.merge_outputs(frames, clock).compile(cmd=tool("ffmpeg"))
    # A frame size that changes midway would reinitialise the filters and lose the frames in them. All filters but the
    # deinterlacer and the rotation that ffmpeg inserts handle the change.
    changeable = not video.interlaced and video.rotation_deg == 0
    per_input = ["-reinit_filter", "0"] if changeable else []
    if threads:
        command[1:1] = ["-filter_complex_threads", str(threads)]
        per_input += ["-threads", str(threads)]
    return complete_command(command, video, per_input, passthrough_option())


def complete_command(
    command: list[str],
    stream: VideoStream | AudioStream,
    per_input: Sequence[str] = (),
    per_output: Sequence[str] = (),
) -> list[str]:
    """Add the options that ffmpeg-python cannot express.

    Args:
        command: as ffmpeg-python compiled it.
        stream: the stream decoded.
        per_input: options before the input, besides those that make it safe and find the stream.
        per_output: options before each output.
    """
    access = stream.access
    blank, safe, result = access.blank_bytes, list(SAFE_INPUT), []
    options = [*access.options, *(["-t", str(access.end_s)] if access.end_s is not None else []), *per_input]
    if blank is not None:
        at = command.index("-i") + 1
        safe, blanked = blanked_input(command[at], *blank)
        command = [*command[:at], blanked, *command[at + 1 :]]
    for word in command:
        if word == "-i":
            result += [*safe, *options]
        elif word == "-map":
            result += per_output
        result.append(word)
    if stream.start_s > 0:
        # In program and transport streams ffmpeg counts from the first of the streams in use, not from the
        # container's start. So all are in use; copying packets to a null output costs almost nothing.
        for index in access.clock_streams:
            result += ["-map", f"0:{index}"]
        result += ["-c", "copy", "-f", "null", "-"]
    return result


def decord_command(source: str, video: VideoStream, side: int, threads: int = 0) -> list[str]:
    """Build the command that runs decord with the same protocol; arguments as in `ffmpeg_command`."""
    return [sys.executable, "-m", "avpenet_cli.media.decord_child", source, str(video.start_s), str(side), str(threads)]
