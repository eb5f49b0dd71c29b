"""A decoder that is killed or hangs, or a disk that fails, does not leave half a recording's scores."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from avpenet_cli.errors import RecordingError
from avpenet_cli.pipeline.evidence import FrontEnd, RecordingEvidence
from avpenet_cli.pipeline.reading import read_reliably
from avpenet_cli.pipeline.timer import StageTimer
from avpenet_cli.runs.callbacks import RunCallbacks
from avpenet_cli.settings import DecodingSettings, Preprocessing, RunSettings
from tests.conftest import ClipMaker
from tests.pipeline.test_lengths import NoFaces
from tests.support.processes import descendants

SECONDS = 60.0
STALL_S = 4.0
"""A busy machine delivers something within this."""


class Killer(RunCallbacks):
    """Kills the decoder in the middle of a read, which asks whether to stop at every block of audio.

    Args:
        moments: numbers of the blocks, one for each read.
        number: of the signal.
    """

    def __init__(self, moments: list[int], number: int) -> None:
        self._moments, self._number, self._blocks = moments, number, 0

    def begin(self) -> None:
        self._blocks = 0

    def check_stop(self) -> None:
        self._blocks += 1
        if self._moments and self._blocks == self._moments[0]:
            self._moments.pop(0)
            for pid in descendants(os.getpid()):
                if b"ffmpeg" in Path(f"/proc/{pid}/cmdline").read_bytes():
                    os.kill(pid, self._number)


@pytest.fixture(scope="module")
def recording(clips: ClipMaker) -> Path:
    return clips.ffmpeg("-f", "lavfi", "-i", f"sine=d={SECONDS:g}:sample_rate=48000", "-ac", "1", suffix=".mp2")


def reads(callbacks: Killer, path: Path) -> Callable[[], RecordingEvidence[None]]:
    run = RunSettings(decoding=DecodingSettings(stall_s=STALL_S))
    front_end = FrontEnd(Preprocessing(), run, (), torch.device("cpu"), callbacks)

    def read() -> RecordingEvidence[None]:
        callbacks.begin()
        return front_end.read(path, NoFaces(), StageTimer())

    return read


# The first blocks are those of the survey of the channels, which says nothing of how it ended.
@pytest.mark.parametrize("moment", [3, 75])
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGSTOP])
def test_recording_whose_decoder_was_killed_or_hung_is_read_again(
    recording: Path, moment: int, number: signal.Signals
) -> None:
    killer = Killer([moment], number)
    evidence = read_reliably(recording, reads(killer, recording))
    assert killer._moments == []
    assert evidence.length_s == pytest.approx(SECONDS, abs=0.2)
    assert evidence.problems == evidence.flags == ()


@pytest.mark.parametrize(
    ("number", "cause"),
    [
        (signal.SIGKILL, "its decoder was ended by signal 9"),
        (signal.SIGSTOP, f"its decoder delivered nothing for {STALL_S:g} s"),
    ],
)
def test_recording_whose_decoders_are_killed_or_hang_again_and_again_has_failed(
    recording: Path, number: signal.Signals, cause: str
) -> None:
    with pytest.raises(RecordingError, match=f"two reads of it differ, since {cause}") as failed:
        read_reliably(recording, reads(Killer([65, 85], number), recording))
    assert failed.value.code == "unreadable"
