"""Decode an audio stream into contiguous mono blocks, counted from the container's start.

Where the stream starts late or has gaps, zeros fill in, and `present` lists the intervals that the stream covered:
absent audio must not pass for a quiet patient.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import ffmpeg
import numpy as np

from avpenet_cli.errors import RecordingError
from avpenet_cli.media.child import DecoderChild, DecoderStalled
from avpenet_cli.media.header import last_line
from avpenet_cli.media.probe import AudioStream, Probe
from avpenet_cli.media.tools import tool
from avpenet_cli.media.video import complete_command
from avpenet_cli.settings import DecodingSettings

_JITTER_S = 0.04
"""Timestamps within this distance of the running sample count are rounding; beyond it the stream has a jump."""
_RUNAWAY_S = 60.0
_RATE_STEP_HZ = 25
_FALLBACK_RATE_HZ = 48_000
"""ffmpeg converts rates that are no multiple of 25 Hz to this one; resampling them later would take filters of tens of
thousands of taps."""
_BLOCK_SAMPLES = 1 << 16


class WaveformStream:
    """Iterate over the audio of one recording; the attributes describe what was decoded.

    Yields blocks (samples,) float32 in [-1, 1], mono as the mean of the channels, contiguous from the container's
    start. 24-bit samples keep their precision.

    Args:
        path: the recording.
        facts: its header, from `probe`.
        decoding: stall timeout.
        while_waiting: called several times a second while the decoder delivers nothing; may raise to abort.

    Raises:
        RecordingError: `no_audio`, a recording without an audio stream.

    Attributes:
        rate_hz: samples per second of the blocks.
        present: [(start_s, end_s), ...], the intervals in which the stream delivered audio.
        decode_error: one line when the decoder crashed, stalled or failed; empty on success.
        decoder_warning: the decoder's last message about damage; empty without damage.
    """

    def __init__(
        self, path: Path, facts: Probe, decoding: DecodingSettings, while_waiting: Callable[[], None] = lambda: None
    ) -> None:
        if facts.audio is None:
            raise RecordingError("no_audio", "no audio stream", "")
        self._while_waiting = while_waiting
        self._path, self._decoding, self._audio = path, decoding, facts.audio
        self._promised_s = facts.nominal_s
        self.rate_hz = working_rate(facts.audio)
        self.present: list[tuple[float, float]] = []
        self.decode_error = ""
        self.decoder_warning = ""

    @property
    def end_s(self) -> float:
        """End of the last sample delivered, seconds from the container's start."""
        return self.present[-1][1] if self.present else 0.0

    def __iter__(self) -> Iterator[np.ndarray]:
        self.present, self.decode_error, self.decoder_warning = [], "", ""
        child = DecoderChild(self._path, self._command, self._decoding.stall_s, self._while_waiting)
        try:
            yield from _joined(self._until_stalled(self._placed(child)))
            if not self.decode_error:
                status = child.finish()
                if status < 0:
                    self.decode_error = f"the audio decoder crashed (signal {-status})"
                elif status > 0:
                    detail = last_line(child.messages) or f"status {status}"
                    self.decode_error = f"the audio decoder gave up ({detail})"
        finally:
            child.close()
            self.decoder_warning = last_line(child.messages)

    def _until_stalled(self, packets: Iterator[np.ndarray]) -> Iterator[np.ndarray]:
        """A stall ends the packets like any other end, so that the packets before it are kept."""
        try:
            yield from packets
        except DecoderStalled:
            self.decode_error = f"the audio decoder delivered nothing for {self._decoding.stall_s:g} s and was stopped"

    def _placed(self, child: DecoderChild) -> Iterator[np.ndarray]:
        """Place packets on the timeline: gaps filled with zeros, overlaps dropped."""
        position, rate = 0, self.rate_hz
        last = (2 * self._promised_s + _RUNAWAY_S) * rate if self._promised_s > 0 else float("inf")
        while (line := child.next_line()) is not None:
            if line.startswith("#"):
                continue
            fields = line.split(",")
            time, size = int(fields[2]), int(fields[4])
            packet = np.empty(size // 4, np.float32)
            if child.read_into(packet.data.cast("B")) < packet.nbytes:
                return
            if time > last:
                self.decode_error = f"timestamps run far beyond the {self._promised_s:.1f} s that the header promises"
                return
            jump = time - position
            if position == 0 or abs(jump) > _JITTER_S * rate:
                if jump > 0:
                    for start in range(0, jump, _BLOCK_SAMPLES):
                        yield np.zeros(min(_BLOCK_SAMPLES, jump - start), np.float32)
                    position += jump
                elif jump < 0:
                    packet = packet[-jump:]
            if packet.size:
                self._note(position / rate, (position + packet.size) / rate)
                position += packet.size
                yield packet

    def _note(self, start_s: float, end_s: float) -> None:
        if self.present and start_s - self.present[-1][1] < _JITTER_S:
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
        # pan's `<` divides by the number of channels.
        mean = "+".join(f"c{c}" for c in range(self._audio.channels))
        stream = (
            stream.filter("aformat", sample_fmts="fltp")
            .filter("pan", f"mono|c0<{mean}")
            .filter("aresample", self.rate_hz)
            .filter("aformat", sample_fmts="flt", sample_rates=self.rate_hz, channel_layouts="mono")
            .filter_multi_output("asplit")
        )
        samples = stream[0].output("pipe:1", format="f32le", acodec="pcm_f32le")
        clock = stream[1].output(f"pipe:{side}", format="framecrc", acodec="pcm_f32le", flush_packets=1)
        command: list[str] = ffmpeg.merge_outputs(samples, clock).compile(cmd=tool("ffmpeg"))
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
