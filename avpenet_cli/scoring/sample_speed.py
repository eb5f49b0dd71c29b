"""Score pieces of an archive to see how fast this machine is with it."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from avpenet_cli.errors import AvpenetError, RecordingError
from avpenet_cli.media.excerpt import excerpt
from avpenet_cli.media.probe import Probe, VideoStream
from avpenet_cli.runs.callbacks import NO_CALLBACKS, RunCallbacks
from avpenet_cli.runs.device import device_name, resolve_settings
from avpenet_cli.runs.resources import usable_cores
from avpenet_cli.scoring.benchmark import TimedScore, score_timed
from avpenet_cli.scoring.lanes.worker_count import plan_workers
from avpenet_cli.scoring.scorer import Scorer
from avpenet_cli.scoring.shared_network import load_network_for
from avpenet_cli.settings import RunSettings
from avpenet_cli.shards.estimate import Cost, MeasuredPiece, SizedRecording
from avpenet_cli.shards.plan import expected_seconds
from avpenet_cli.weights import WeightsEntry

_PIECES = 8
_PIECE_S = {"cpu": 12.0, "cuda": 60.0}
_SHORT_S = 3.0
"""Of the beginning of a piece that is scored alone, too."""
_TWICE = 3
"""Pieces whose beginning is."""
_BUDGET_S = 180.0
_FEWEST = 4
"""Pieces that are scored even where they take longer than the budget."""
_SUBSTITUTES = 8
"""Recordings that are tried where no piece can be scored."""
_ASSUMED_FPS = 25.0
"""Where a header does not state a rate."""


@dataclass(frozen=True)
class SampleRecording:
    """A recording whose header could be read.

    Attributes:
        sized: its length and size.
        path: where it is.
        facts: its header.
    """

    sized: SizedRecording
    path: Path
    facts: Probe


@dataclass(frozen=True)
class SpeedSample:
    """What was measured.

    Attributes:
        pieces: at least one.
        startup: what a run takes before its first recording: loading the libraries and the networks.
        taken_s: seconds by the clock, all together.
        peak_mib: largest memory of this process, MiB; its decoders take more.
        device, precision: what computed.
        workers: recordings that a run with these settings scores at a time; the pieces were scored one at a time.
        speedup: of a run by its workers, by calculation; 1 where nothing can be said.
        unscored: pieces that could not be scored.
    """

    pieces: tuple[MeasuredPiece, ...]
    startup: Cost
    taken_s: float
    peak_mib: float
    device: str
    precision: str
    workers: int
    speedup: float
    unscored: int


def mpixel_per_s(video: VideoStream | None) -> float | None:
    """Millions of pixels that a video's decoder makes in a second; None without a video."""
    return None if video is None else video.width_px * video.height_px * (video.fps or _ASSUMED_FPS) / 1e6


def measure_sample(
    recordings: Sequence[SampleRecording],
    weights: WeightsEntry,
    settings: RunSettings,
    callbacks: RunCallbacks = NO_CALLBACKS,
) -> SpeedSample:
    """Score pieces that lie evenly over an archive's seconds, sorted by their pixels. Writes nothing.

    Args:
        recordings: of the archive, any order.
        weights, settings: as for the run.

    Raises:
        RecordingError: nothing of the archive can be scored.
        AvpenetError: weights, settings or the environment do not allow it.
        Interrupted: the callbacks asked for it.
    """
    began, cpu_began = time.monotonic(), time.process_time()
    settings = resolve_settings(settings)
    scorer = Scorer(load_network_for(weights, settings, callbacks), settings, callbacks)
    # What loaded before, the program itself, counts by the CPU seconds that it took.
    startup = Cost(time.monotonic() - began + cpu_began, time.process_time())
    length_s = _PIECE_S[scorer.device.type]
    chosen = _choose(recordings, length_s)
    callbacks.set_total(len(chosen))
    sampler = _Sampler(scorer, callbacks)
    unscored = 0
    for recording, start_s in chosen:
        if time.monotonic() - began > _BUDGET_S and len(sampler.pieces) >= _FEWEST:
            break
        unscored += not sampler.measure(recording, start_s, length_s)
    if not sampler.pieces:
        tried = {recording.path for recording, _ in chosen}
        others = [recording for recording in recordings if recording.path not in tried]
        for recording in others[:_SUBSTITUTES]:
            if sampler.measure(recording, 0.0, length_s):
                break
    if not sampler.pieces:
        raise RecordingError(
            "decoder", "nothing of these recordings can be scored, so that nothing can be estimated", "check the files"
        )
    workers = plan_workers(settings.workers, len(recordings), scorer.device).workers
    return SpeedSample(
        tuple(sorted(sampler.pieces, key=lambda piece: (piece.name, piece.start_s))),
        startup,
        time.monotonic() - began,
        sampler.peak_mib,
        device_name(scorer.device),
        settings.precision,
        workers,
        _speedup(sampler.pieces, workers) if scorer.device.type == "cpu" else 1.0,
        unscored,
    )


def _choose(recordings: Sequence[SampleRecording], length_s: float) -> list[tuple[SampleRecording, float]]:
    """Recordings and where their pieces begin: the first of them are as even as all."""
    seconds = expected_seconds([recording.sized.planned for recording in recordings])
    ordered = sorted(recordings, key=lambda item: (item.sized.mpixel_per_s or 0.0, item.sized.planned.key))
    lengths = [seconds(recording.sized.planned) for recording in ordered]
    total_s = sum(lengths)
    count = max(1, min(_PIECES, math.ceil(total_s / length_s)))
    chosen: dict[tuple[Path, float], SampleRecording] = {}
    for position in _evenly(count):
        wanted_s = position * total_s
        for recording, recording_s in zip(ordered, lengths, strict=True):
            if wanted_s < recording_s or recording is ordered[-1]:
                start_s = max(0.0, min(wanted_s - length_s / 2, recording_s - length_s))
                if not recording.sized.planned.seconds or recording_s < 1.5 * length_s:
                    start_s = 0.0
                chosen.setdefault((recording.path, start_s), recording)
                break
            wanted_s -= recording_s
    if not any(recording.sized.mpixel_per_s is None for recording in chosen.values()):
        audio_only = [recording for recording in ordered if recording.sized.mpixel_per_s is None]
        chosen |= {(recording.path, 0.0): recording for recording in audio_only[:1]}
    return [(recording, start_s) for (_, start_s), recording in chosen.items()]


def _evenly(count: int) -> list[float]:
    """Middles of `count` equal parts of 0 to 1, those far from one another first."""
    bits = max(1, (count - 1).bit_length())
    order = [int(f"{number:0{bits}b}"[::-1], 2) for number in range(1 << bits)]
    return [(number + 0.5) / count for number in order if number < count]


def _speedup(pieces: Sequence[MeasuredPiece], workers: int) -> float:
    """Of several recordings at a time on a CPU: the cores are the limit."""
    wall_s, cpu_s = sum(piece.cost.wall_s for piece in pieces), sum(piece.cost.cpu_s for piece in pieces)
    return max(1.0, min(workers, wall_s * usable_cores() / cpu_s))


class _Sampler:
    """Scores pieces.

    Attributes:
        pieces: those that could be scored.
        peak_mib: largest memory so far.
    """

    def __init__(self, scorer: Scorer, callbacks: RunCallbacks) -> None:
        self._scorer, self._callbacks = scorer, callbacks
        self._warm = False
        self.pieces: list[MeasuredPiece] = []
        self.peak_mib = 0.0

    def measure(self, recording: SampleRecording, start_s: float, length_s: float) -> bool:
        """Score a piece; False where it cannot be."""
        name = recording.sized.planned.name
        self._callbacks.check_stop()
        self._callbacks.item_started(name)
        try:
            with self._piece(recording, start_s, _SHORT_S) as path:
                if not self._warm:
                    self._score(path)  # the first one also builds what later ones find
                    self._warm = True
                short = self._score(path) if len(self.pieces) < _TWICE else None
            with self._piece(recording, start_s, length_s) as path:
                scored = self._score(path)
        except RecordingError:
            return False
        except AvpenetError:
            raise
        except Exception as error:  # a run would go on with the next recording, too
            self._callbacks.failure(error)
            return False
        finally:
            self._callbacks.item_done()
        if not (recorded_s := _length(scored)):
            return False
        self.pieces.append(
            MeasuredPiece(
                name,
                start_s,
                recorded_s,
                recording.sized.mpixel_per_s,
                Cost(scored.cost.wall_s, scored.cost.cpu_s),
                _length(short) if short else 0.0,
                Cost(short.cost.wall_s, short.cost.cpu_s) if short else None,
            )
        )
        return True

    def _score(self, path: Path) -> TimedScore:
        scored = score_timed(self._scorer, path)
        self.peak_mib = max(self.peak_mib, scored.cost.peak_mib + scored.decoder_peak_mib)
        return scored

    @contextlib.contextmanager
    def _piece(self, recording: SampleRecording, start_s: float, length_s: float) -> Iterator[Path]:
        seconds = recording.sized.planned.seconds
        if seconds is not None and seconds < 1.5 * length_s:
            yield recording.path
            return
        with excerpt(recording.path, recording.facts, start_s, length_s) as path:
            yield path


def _length(scored: TimedScore) -> float:
    return scored.outcome.balance.nominal_s if scored.outcome.balance else 0.0
