"""Decode an audio stream into contiguous mono blocks, counted from the container's start.

Where the stream starts late or has gaps, zeros fill in, and `present` lists the intervals that the stream covered:
absent audio must not pass for a quiet patient. How the channels become one is decided in a decode of its own.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from pathlib import Path

import ffmpeg
import numpy as np

from avpenet_cli.errors import RecordingError
from avpenet_cli.media.channels import BLOCK_S, ChannelStatistics, Mixdown
from avpenet_cli.media.child import DecoderChild, DecoderStalled
from avpenet_cli.media.confinement import cpu_bound_s
from avpenet_cli.media.header import last_line
from avpenet_cli.media.probe import AudioStream, Probe
from avpenet_cli.media.timeline import TOLERANCE_S, Packet, PacketPlacer
from avpenet_cli.media.tools import tool
from avpenet_cli.media.video import complete_command
from avpenet_cli.settings import DecodingSettings

_RUNAWAY_S = 60.0
_RATE_STEP_HZ = 25
_FALLBACK_RATE_HZ = 48_000
"""ffmpeg converts rates that are no multiple of 25 Hz to this one; resampling them later would take filters of tens of
thousands of taps."""
_PACKET_BYTES = 1 << 28
"""Largest believable size of one packet of decoded samples."""
_BLOCK_SAMPLES = 1 << 16
_SURVEYED_BLOCKS = 10
_AU_HEADER = struct.Struct(">6I")
"""Of the AU format: magic number, length of the header, of the data, encoding, sampling rate, channels."""


class WaveformStream:
    """Iterate over the audio of one recording; the attributes describe what was decoded.

    Yields blocks (samples,) float32 in [-1, 1], mono, contiguous from the container's start. Mono is the mean of the
    channels that carry audio, where one that is inverted counts with its sign changed. 24-bit samples keep their
    precision. A DC offset stays in: clipping shows only in the samples as recorded.

    Args:
        path: the recording.
        facts: its header, from `probe`.
        decoding: stall timeout.
        while_waiting: called several times a second while the decoder delivers nothing; may raise to abort.
        mixdown: how to mix, from an earlier read of the same recording; None to find out in a first decode.

    Raises:
        RecordingError: `no_audio`, a recording without an audio stream.

    Attributes:
        rate_hz: samples per second of the blocks.
        mixdown: how the channels are mixed, and whether there is a DC offset; None before the first block.
        jitter_s: by how much timestamps left the running sample count and returned to it, s.
        present: [(start_s, end_s), ...], the intervals in which the stream delivered audio.
        decode_error: one line when the decoder crashed, stalled or failed; empty on success.
        decoder_warning: the decoder's last message about damage; empty without damage.
        suspected_read_error: why the file may hold something else than what was read, in any decode of it; empty where
            nothing says so.
    """

    def __init__(
        self,
        path: Path,
        facts: Probe,
        decoding: DecodingSettings,
        while_waiting: Callable[[], None] = lambda: None,
        mixdown: Mixdown | None = None,
    ) -> None:
        if facts.audio is None:
            raise RecordingError("no_audio", "no audio stream", "")
        self._while_waiting = while_waiting
        self._path, self._decoding, self._audio = path, decoding, facts.audio
        self._promised_s = facts.nominal_s
        self.rate_hz = working_rate(facts.audio)
        self.mixdown = mixdown
        self.jitter_s = 0.0
        self.present: list[tuple[float, float]] = []
        self.decode_error = ""
        self.decoder_warning = ""
        self.suspected_read_error = ""

    @property
    def end_s(self) -> float:
        """End of the last sample delivered, seconds from the container's start."""
        return self.present[-1][1] if self.present else 0.0

    @property
    def notes(self) -> tuple[str, ...]:
        """What had to be corrected in this audio, one phrase each."""
        mixed = self.mixdown.notes if self.mixdown else ()
        jittering = f"timestamps jitter by up to {self.jitter_s:.2f} s; the samples were placed one after another"
        return (*mixed, jittering) if self.jitter_s else mixed

    def __iter__(self) -> Iterator[np.ndarray]:
        self.survey_channels()
        self.jitter_s = 0.0
        self.present, self.decode_error, self.decoder_warning = [], "", ""
        child = self._start(self._command)
        try:
            yield from _joined(self._placed(child))
            if not self.decode_error:
                self.decode_error = child.describe_end("audio", child.finish(), last_line(child.messages))
        finally:
            child.close()
            self.decoder_warning = last_line(child.messages)
            self.suspected_read_error = self.suspected_read_error or child.suspected_read_error

    def _until_stalled(self, packets: Iterator[Packet]) -> Iterator[Packet]:
        """A stall ends the packets like any other end, so that the packets before it are kept."""
        try:
            yield from packets
        except DecoderStalled:
            self.decode_error = f"the audio decoder delivered nothing for {self._decoding.stall_s:g} s and was stopped"

    def survey_channels(self) -> Mixdown:
        """Decide how the channels are mixed, in a decode of its own, unless that is known."""
        if self.mixdown is None:
            self.mixdown = self._survey_channels()
        return self.mixdown

    def _survey_channels(self) -> Mixdown:
        """Where this decode stops early, what was decoded decides; the next one reports the cause."""
        statistics = ChannelStatistics()
        child = self._start(self._survey_command)
        try:
            header = bytearray(_AU_HEADER.size)
            if child.read_into(memoryview(header)) < len(header):
                return Mixdown()
            _, header_bytes, _, _, rate_hz, channels = _AU_HEADER.unpack(header)
            child.read_into(memoryview(bytearray(header_bytes - len(header))))
            if channels != self._audio.channels:
                # The first packets are not what the header says: statistics of other channels would mislead.
                return Mixdown()
            block = max(1, round(BLOCK_S * rate_hz))
            buffer = np.empty((_SURVEYED_BLOCKS * block, channels), ">f4")
            while frames := child.read_into(buffer.data.cast("B")) // (4 * channels):
                self._while_waiting()
                size = min(block, frames)
                blocks = frames // size
                statistics.add(buffer[: blocks * size].reshape(blocks, size, channels))
        except DecoderStalled:
            pass
        finally:
            child.close()
            self.suspected_read_error = self.suspected_read_error or child.suspected_read_error
        return statistics.decide()

    def _start(self, command: Callable[[int, str], list[str]]) -> DecoderChild:
        cpu_s = cpu_bound_s(self._promised_s)
        return DecoderChild(self._path, command, self._decoding.stall_s, self._while_waiting, cpu_s)

    def _placed(self, child: DecoderChild) -> Iterator[np.ndarray]:
        """Place packets on the timeline: gaps filled with zeros, overlaps dropped."""
        end, placer = 0, PacketPlacer(self._until_stalled(self._packets(child)), self.rate_hz)
        for position, samples in placer:
            for start in range(end, position, _BLOCK_SAMPLES):
                yield np.zeros(min(_BLOCK_SAMPLES, position - start), np.float32)
            end = position + samples.size
            self._note(position / self.rate_hz, end / self.rate_hz)
            self.jitter_s = placer.jitter_s
            yield samples

    def _packets(self, child: DecoderChild) -> Iterator[Packet]:
        last = (2 * self._promised_s + _RUNAWAY_S) * self.rate_hz if self._promised_s > 0 else float("inf")
        while (line := child.next_line()) is not None:
            if line.startswith("#"):
                continue
            fields = line.split(",")
            try:
                time, size = int(fields[2]), int(fields[4])
            except (ValueError, IndexError):
                size = -1
            if not 0 <= size <= _PACKET_BYTES:
                self.decode_error = "the audio decoder delivers no audio"
                return
            samples = np.empty(size // 4, np.float32)
            if child.read_into(samples.data.cast("B")) < samples.nbytes:
                return
            if time > last:
                self.decode_error = f"timestamps run far beyond the {self._promised_s:.1f} s that the header promises"
                return
            yield Packet(time, samples)

    def _note(self, start_s: float, end_s: float) -> None:
        if self.present and start_s - self.present[-1][1] < TOLERANCE_S:
            self.present[-1] = (self.present[-1][0], end_s)
        else:
            self.present.append((start_s, end_s))

    def present_share(self, start_s: float, end_s: float) -> float:
        """Share of [start_s, end_s) in which the stream delivered audio, [0, 1]."""
        covered = sum(max(0.0, min(end_s, b) - max(start_s, a)) for a, b in self.present)
        return min(1.0, covered / (end_s - start_s)) if end_s > start_s else 0.0

    def _command(self, side: int, source: str) -> list[str]:
        stream = ffmpeg.input(source, nostdin=None, v="error")[str(self._audio.index)]
        # The mean of the channels, as in the authors' loader; swresample's own float downmix sums them to over
        # full scale. Float before mixing, so that nothing is rounded to 16 bits.
        mean = (self.mixdown or Mixdown()).pan(self._audio.channels)
        stream = (
            stream.filter("aformat", sample_fmts="fltp")
            .filter("pan", mean)
            .filter("aresample", self.rate_hz)
            .filter("aformat", sample_fmts="flt", sample_rates=self.rate_hz, channel_layouts="mono")
            .filter_multi_output("asplit")
        )
        # The muxer of the samples refuses times that do not increase, though it writes none.
        counted = stream[0].filter("asetpts", "N/SR/TB")
        samples = counted.output("pipe:1", format="f32le", acodec="pcm_f32le")
        clock = stream[1].output(f"pipe:{side}", format="framecrc", acodec="pcm_f32le", flush_packets=1)
        command: list[str] = ffmpeg.merge_outputs(samples, clock).compile(cmd=tool("ffmpeg"))
        return complete_command(command, self._audio)

    def _survey_command(self, _side: int, source: str) -> list[str]:
        # AU states the number of channels that follow.
        stream = ffmpeg.input(source, nostdin=None, v="error")[str(self._audio.index)]
        command: list[str] = stream.output("pipe:1", format="au", acodec="pcm_f32be").compile(cmd=tool("ffmpeg"))
        return complete_command(command, self._audio)


def working_rate(audio: AudioStream) -> int:
    """Sampling rate of the decoded blocks, Hz: the stream's own, or 48000 where that is no multiple of 25 Hz."""
    return audio.sample_rate_hz if audio.sample_rate_hz % _RATE_STEP_HZ == 0 else _FALLBACK_RATE_HZ


def _joined(packets: Iterator[np.ndarray]) -> Iterator[np.ndarray]:
    """Join codec packets of about a thousand samples; larger blocks cost less per sample."""
    pending: list[np.ndarray] = []
    count = 0
    for packet in packets:
        pending.append(packet)
        count += packet.size
        if count >= _BLOCK_SAMPLES:
            yield np.concatenate(pending)
            pending, count = [], 0
    if pending:
        yield np.concatenate(pending)
