"""How long an archive takes on computers like this one, from a few of its pieces that were scored here."""

from __future__ import annotations

import math
import statistics
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from avpenet_cli.shards.plan import PlannedRecording, divide, expected_seconds

SHARD_COUNTS = (1, 2, 4, 8, 16, 32)
COVERAGE = 0.9
"""Of the ranges, were pieces of recordings normally distributed about the costs that the model gives."""
_BYTES_PER_SEGMENT = 700
"""In table, manifest and journal of a run; see the documentation."""
_BYTES_PER_RECORDING = 4000


@dataclass(frozen=True)
class SizedRecording:
    """A recording that can be read.

    Attributes:
        planned: its length and size.
        mpixel_per_s: pixels of the frames that its decoder makes in a second, millions; None without video.
    """

    planned: PlannedRecording
    mpixel_per_s: float | None


@dataclass(frozen=True)
class Cost:
    """Seconds by the clock, and of all cores."""

    wall_s: float
    cpu_s: float


@dataclass(frozen=True)
class MeasuredPiece:
    """A piece of a recording that was scored.

    Attributes:
        name: of the recording.
        start_s: where the piece begins.
        length_s: recorded seconds.
        mpixel_per_s: as in `SizedRecording`.
        cost: of scoring it.
        short_length_s, short_cost: of its beginning scored alone; 0 and None where it was not.
    """

    name: str
    start_s: float
    length_s: float
    mpixel_per_s: float | None
    cost: Cost
    short_length_s: float = 0.0
    short_cost: Cost | None = None


@dataclass(frozen=True)
class Line:
    """Seconds that a recorded second costs: `base + slope * mpixel_per_s`; `audio` where there is no video."""

    base: float
    slope: float
    audio: float

    def of(self, mpixel_per_s: float | None) -> float:
        """Seconds for a recorded second."""
        return self.audio if mpixel_per_s is None else self.base + self.slope * mpixel_per_s


@dataclass(frozen=True)
class SpeedModel:
    """What recordings cost.

    Attributes:
        wall, cpu: for each recorded second.
        per_recording: for each recording, whatever its length.
        startup: for each run, before its first recording.
        spread: relative standard deviation of pieces about the line; None where there are too few to tell.
        pieces: number of pieces.
        degrees_of_freedom: of the spread.
    """

    wall: Line
    cpu: Line
    per_recording: Cost
    startup: Cost
    spread: float | None
    pieces: int
    degrees_of_freedom: int


@dataclass(frozen=True)
class ShardEstimate:
    """One way to divide an archive.

    Attributes:
        count: number of shards.
        longest_s: seconds by the clock of the shard that takes longest.
        low_s, high_s: range of it; None where the pieces do not tell.
        bytes_per_s: read from the archive by all shards together.
    """

    count: int
    longest_s: float
    low_s: float | None
    high_s: float | None
    bytes_per_s: float


def fit(pieces: Sequence[MeasuredPiece], startup: Cost) -> SpeedModel:
    """The costs that fit pieces best.

    Args:
        pieces: at least one.
        startup: of a run.
    """
    per_recording = Cost(
        _per_recording(pieces, lambda cost: cost.wall_s), _per_recording(pieces, lambda cost: cost.cpu_s)
    )
    wall, parameters = _line(pieces, lambda piece: (piece.cost.wall_s - per_recording.wall_s) / piece.length_s)
    cpu, _ = _line(pieces, lambda piece: (piece.cost.cpu_s - per_recording.cpu_s) / piece.length_s)
    degrees_of_freedom = len(pieces) - parameters
    # By whichever varies more: the clock also shows what else the machine had to do.
    squares = max(
        _squares(pieces, wall, lambda piece: (piece.cost.wall_s - per_recording.wall_s) / piece.length_s),
        _squares(pieces, cpu, lambda piece: (piece.cost.cpu_s - per_recording.cpu_s) / piece.length_s),
    )
    spread = math.sqrt(squares / degrees_of_freedom) if degrees_of_freedom > 0 else None
    return SpeedModel(wall, cpu, per_recording, startup, spread, len(pieces), degrees_of_freedom)


def _squares(pieces: Sequence[MeasuredPiece], line: Line, rate: Callable[[MeasuredPiece], float]) -> float:
    """Sum of squares of the pieces' relative distances from the line."""
    return sum((rate(piece) / expected - 1.0) ** 2 for piece in pieces if (expected := line.of(piece.mpixel_per_s)) > 0)


def _per_recording(pieces: Sequence[MeasuredPiece], seconds: Callable[[Cost], float]) -> float:
    """What a recording costs beside its seconds, from pieces that were scored twice: whole, and their beginning."""
    rests = [
        (seconds(piece.short_cost) * piece.length_s - seconds(piece.cost) * piece.short_length_s)
        / (piece.length_s - piece.short_length_s)
        for piece in pieces
        if piece.short_cost is not None and piece.length_s >= 2 * piece.short_length_s > 0
    ]
    # No more than half of what the cheapest piece cost: the rest is for its seconds.
    ceiling = 0.5 * min(seconds(piece.cost) for piece in pieces)
    return min(max(0.0, statistics.median(rests)), ceiling) if rests else 0.0


def _line(pieces: Sequence[MeasuredPiece], rate: Callable[[MeasuredPiece], float]) -> tuple[Line, int]:
    """Least squares through the pieces, and the number of parameters that were fitted."""
    with_video = [(piece.mpixel_per_s, rate(piece)) for piece in pieces if piece.mpixel_per_s is not None]
    audio_only = [rate(piece) for piece in pieces if piece.mpixel_per_s is None]
    audio = statistics.mean(audio_only) if audio_only else 0.0
    if not with_video:
        return Line(audio, 0.0, audio), 1
    x, y = (np.array(values, dtype=float) for values in zip(*with_video, strict=True))
    parameters = 1 + bool(audio_only)
    if not audio_only:
        audio = float(y.mean())  # too much rather than too little
    if len(set(x.tolist())) > 1 and len(x) > 2:
        slope = float(np.cov(x, y, bias=True)[0, 1] / x.var())
        base = float(y.mean() - slope * x.mean())
        if slope > 0 and base >= 0:
            return Line(base, slope, audio), parameters + 1
        if slope > 0:
            return Line(0.0, float(y.mean() / x.mean()), audio), parameters
    return Line(float(y.mean()), 0.0, audio), parameters


def estimate_shards(
    recordings: Sequence[SizedRecording],
    model: SpeedModel,
    counts: Sequence[int] = SHARD_COUNTS,
    speedup: float = 1.0,
    cores_at_best: int | None = None,
) -> list[ShardEstimate]:
    """How long the longest shard takes, divided as `avpenet score --shard` divides a new archive.

    Args:
        recordings: at least one.
        model: from `fit`.
        counts: numbers of shards.
        speedup: of each shard, by scoring several recordings at a time.
        cores_at_best: where other work slowed the measurement down, the cores that a shard may keep busy without it:
            the range begins there.
    """
    plans = [recording.planned for recording in recordings]
    seconds = expected_seconds(plans)
    rates = {recording.planned.key: recording.mpixel_per_s for recording in recordings}
    size_bytes = sum(plan.size_bytes for plan in plans)
    estimates = []
    for count in counts:
        shards: defaultdict[int, list[PlannedRecording]] = defaultdict(list)
        for plan in divide(plans, count):
            shards[plan.shard].append(plan)

        def wall_s(members: Sequence[PlannedRecording]) -> float:
            return sum(model.per_recording.wall_s + seconds(plan) * model.wall.of(rates[plan.key]) for plan in members)

        longest = max(shards.values(), key=wall_s)
        longest_s = model.startup.wall_s + wall_s(longest) / speedup
        low_s = high_s = None
        if (margin := relative_margin(model, len(longest))) is not None:
            low_s, high_s = longest_s / (1 + margin), longest_s * (1 + margin)
            if cores_at_best:
                cpu_s = sum(
                    model.per_recording.cpu_s + seconds(plan) * model.cpu.of(rates[plan.key]) for plan in longest
                )
                low_s = min(low_s, (model.startup.cpu_s + cpu_s / cores_at_best) / (1 + margin))
        estimates.append(ShardEstimate(count, longest_s, low_s, high_s, size_bytes / longest_s))
    return estimates


def relative_margin(model: SpeedModel, recordings: int) -> float | None:
    """How far off an estimate for so many recordings may be, as a share; None where the pieces do not tell.

    The pieces' mean may be off, and so may the mean of the recordings: a piece varies more than a recording, so that
    this is rather too wide.
    """
    if model.spread is None:
        return None
    factor = float(stats.t.ppf(0.5 + COVERAGE / 2, model.degrees_of_freedom))
    return factor * model.spread * math.sqrt(1 / model.pieces + 1 / max(1, recordings))


def total_cpu_s(recordings: Sequence[SizedRecording], model: SpeedModel) -> float:
    """CPU seconds of one run over all recordings."""
    seconds = expected_seconds([recording.planned for recording in recordings])
    return model.startup.cpu_s + sum(
        model.per_recording.cpu_s + seconds(recording.planned) * model.cpu.of(recording.mpixel_per_s)
        for recording in recordings
    )


def output_bytes(recordings: int, segments: int) -> int:
    """Roughly what a run writes: table, manifest and journal. Shards write as much again."""
    return recordings * _BYTES_PER_RECORDING + segments * _BYTES_PER_SEGMENT
