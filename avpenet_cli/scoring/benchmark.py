"""Measure what scoring a recording costs, beside what decoding its video alone costs."""

from __future__ import annotations

import os
import resource
import statistics
import subprocess
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import torch

from avpenet_cli.errors import AvpenetError, RecordingError
from avpenet_cli.media.confinement import confined, cpu_bound_s
from avpenet_cli.media.probe import check_file
from avpenet_cli.media.tools import SAFE_INPUT, descriptor_path, open_recording, tool
from avpenet_cli.pipeline.timer import StageTimer
from avpenet_cli.records import RecordingOutcome
from avpenet_cli.runs.device import choose_device, device_name, precision_warning
from avpenet_cli.runs.host import host_facts
from avpenet_cli.scoring.scorer import Scorer
from avpenet_cli.scoring.shared_network import load_network_for
from avpenet_cli.settings import Precision, RunSettings
from avpenet_cli.weights import WeightsEntry

_NOWHERE = ("-an", "-f", "null", "-")
_WATCH_S = 0.05
_TELLING_FLAGS = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16", "amx_int8", "asimd", "bf16")


@dataclass(frozen=True)
class Cost:
    """What one run of something took.

    Attributes:
        wall_s, cpu_s: wall-clock seconds; seconds of all cores, of this process and of its decoders.
        peak_mib: largest resident memory, MiB.
    """

    wall_s: float
    cpu_s: float
    peak_mib: float


@dataclass(frozen=True)
class Benchmark:
    """Medians of the repetitions.

    Attributes:
        decoding: `ffmpeg -i FILE -an -f null -`.
        scoring: of the recording; loading is not counted. Its peak is that of this process since it began.
        decoder_cpu_s, decoder_peak_mib: of the decoders that scoring started.
        stage_s: wall-clock seconds by stage. Stages overlap, and may add up to more than the whole.
        stage_cpu_s: CPU seconds by stage, of the thread that worked at it; torch's other threads are not in it.
    """

    device: str
    precision: str
    threads: int
    recorded_s: float
    outcome: RecordingOutcome
    decoding: Cost
    scoring: Cost
    decoder_cpu_s: float
    decoder_peak_mib: float
    stage_s: dict[str, float]
    stage_cpu_s: dict[str, float]

    @property
    def share_of_decoding_speed(self) -> tuple[float, float]:
        """Speed as a share of that of decoding alone: by CPU seconds, by wall-clock seconds."""
        return self.decoding.cpu_s / self.scoring.cpu_s, self.decoding.wall_s / self.scoring.wall_s

    def to_dict(self) -> dict[str, Any]:
        """Plain values, rounded, for JSON."""
        segments = len(self.outcome.segments)
        by_cpu, by_wall = self.share_of_decoding_speed
        return {
            "device": self.device,
            "precision": self.precision,
            "threads": self.threads,
            "recorded_s": round(self.recorded_s, 2),
            "segments": segments,
            "wall_s": round(self.scoring.wall_s, 3),
            "cpu_s": round(self.scoring.cpu_s, 3),
            "x_realtime": round(self.recorded_s / self.scoring.wall_s, 3),
            "ms_per_segment": round(1000 * self.scoring.wall_s / max(1, segments), 1),
            "decoding_wall_s": round(self.decoding.wall_s, 3),
            "decoding_cpu_s": round(self.decoding.cpu_s, 3),
            "share_of_decoding_speed_cpu": round(by_cpu, 4),
            "share_of_decoding_speed_wall": round(by_wall, 4),
            "decoder_cpu_s": round(self.decoder_cpu_s, 3),
            "peak_rss_mib": round(self.scoring.peak_mib),
            "decoder_peak_rss_mib": round(self.decoder_peak_mib),
            "decoding_peak_rss_mib": round(self.decoding.peak_mib),
            "stage_s": {name: round(seconds, 3) for name, seconds in self.stage_s.items()},
            "stage_cpu_s": {name: round(seconds, 3) for name, seconds in self.stage_cpu_s.items()},
        }


@dataclass(frozen=True)
class PrecisionDifference:
    """How another precision's scores differ from those of float32, on the same recording.

    Attributes:
        unavailable: why it was not measured; empty where it was.
        segments: scored in both.
        largest, mean: absolute difference of their scores, points.
        x_realtime: recorded seconds scored per second.
        cpu_s: CPU seconds.
    """

    precision: str
    unavailable: str = ""
    segments: int = 0
    largest: float | None = None
    mean: float | None = None
    x_realtime: float | None = None
    cpu_s: float | None = None


def measure(path: Path, weights: WeightsEntry, run: RunSettings, repeat: int = 1) -> Benchmark:
    """Decode a recording alone and score it, alternately.

    Args:
        path: a regular file with a video stream.
        repeat: repetitions; the medians count.

    Raises:
        RecordingError: it cannot be read or decoded.
        AvpenetError: weights, settings or the environment do not allow it.
    """
    check_file(path)
    scorer = Scorer(load_network_for(weights, run), run)
    decoded, scored = [], []
    for _ in range(repeat):
        decoded.append(decode_alone(path))
        scored.append(score_timed(scorer, path))
    outcome = scored[0].outcome
    return Benchmark(
        device=device_name(scorer.device),
        precision=run.precision,
        threads=torch.get_num_threads(),
        recorded_s=outcome.balance.nominal_s if outcome.balance else 0.0,
        outcome=outcome,
        decoding=_median(decoded),
        scoring=_median([sample.cost for sample in scored]),
        decoder_cpu_s=statistics.median(sample.decoder_cpu_s for sample in scored),
        decoder_peak_mib=max(sample.decoder_peak_mib for sample in scored),
        stage_s=_medians([sample.timer.seconds for sample in scored]),
        stage_cpu_s=_medians([sample.timer.cpu_seconds for sample in scored]),
    )


def compare_precisions(
    path: Path, weights: WeightsEntry, run: RunSettings, precisions: Sequence[Precision], reference: RecordingOutcome
) -> list[PrecisionDifference]:
    """Score a recording in other precisions, and compare the scores with those of float32.

    Args:
        reference: the outcome in float32.
    """
    return [_difference(path, weights, run, name, reference) for name in precisions]


def _difference(
    path: Path, weights: WeightsEntry, run: RunSettings, precision: Precision, reference: RecordingOutcome
) -> PrecisionDifference:
    settings = replace(run, precision=precision)
    if why := precision_warning(settings, choose_device(run.device)):
        return PrecisionDifference(precision, unavailable=why)
    try:
        sample = score_timed(Scorer(load_network_for(weights, settings), settings), path)
    except (AvpenetError, RuntimeError) as error:
        return PrecisionDifference(precision, unavailable=str(error).splitlines()[0])
    pairs = zip(reference.segments, sample.outcome.segments, strict=True)
    differences = [abs(a.score - b.score) for a, b in pairs if a.score is not None and b.score is not None]
    recorded_s = reference.balance.nominal_s if reference.balance else 0.0
    return PrecisionDifference(
        precision,
        segments=len(differences),
        largest=round(max(differences), 4) if differences else None,
        mean=round(statistics.mean(differences), 4) if differences else None,
        x_realtime=round(recorded_s / sample.cost.wall_s, 3),
        cpu_s=round(sample.cost.cpu_s, 3),
    )


def decode_alone(path: Path) -> Cost:
    """What ffmpeg takes to decode a recording's video and throw it away.

    Raises:
        RecordingError: it cannot be decoded.
    """
    source = open_recording(path)
    started = time.perf_counter()
    try:
        command = [tool("ffmpeg"), "-v", "error", "-nostdin", *SAFE_INPUT, "-i", descriptor_path(source), *_NOWHERE]
        with confined(command, source, cpu_bound_s(0.0)) as child:
            process = subprocess.Popen(
                child.command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                pass_fds=(source, *child.descriptors),
            )
        with _ChildPeak() as peak:
            _, status, usage = os.wait4(process.pid, 0)
    finally:
        os.close(source)
    process.returncode = os.waitstatus_to_exitcode(status)  # waited for already
    if process.returncode:
        raise RecordingError(
            "decoder", f"{path.name}: ffmpeg cannot decode a video stream of it", "use a recording with a video stream"
        )
    wall_s = time.perf_counter() - started
    return Cost(wall_s, usage.ru_utime + usage.ru_stime, peak.mib)


def machine() -> dict[str, object]:
    """The processor, its cores, and those of its instruction sets on which the encoders' speed depends."""
    host = host_facts()
    return {"cpu": host.cpu, "cores": host.cores, "cpu_flags": _cpu_flags()}


def _cpu_flags() -> list[str]:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []
    flags = next((set(line.split()) for line in lines if line.lower().startswith(("flags", "features"))), set())
    return [flag for flag in _TELLING_FLAGS if flag in flags]


class _ChildPeak:
    """Watches the memory of child processes within a block; what the system sums up includes their parent's.

    Attributes:
        mib: largest resident memory of one of them, MiB.
    """

    def __init__(self) -> None:
        self.mib = 0.0
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._done.wait(_WATCH_S):
            for children in Path("/proc/self/task").glob("*/children"):
                for pid in _words(children):
                    status = _words(Path("/proc", pid, "status"))
                    # Until a child has become another program, its memory is that of this process.
                    if "VmHWM:" in status and _program(pid) != _program("self"):
                        self.mib = max(self.mib, int(status[status.index("VmHWM:") + 1]) / 1024)


def _program(pid: str) -> Path:
    try:
        return Path("/proc", pid, "exe").readlink()
    except OSError:
        return Path("/proc/self/exe").readlink()  # it has ended


def _words(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8", errors="replace").split()
    except OSError:
        return []


@dataclass(frozen=True)
class TimedScore:
    """A recording scored once.

    Attributes:
        cost: of this process and its decoders.
        decoder_cpu_s, decoder_peak_mib, timer: of the decoders alone; the stages.
    """

    outcome: RecordingOutcome
    cost: Cost
    decoder_cpu_s: float
    decoder_peak_mib: float
    timer: StageTimer


def score_timed(scorer: Scorer, path: Path) -> TimedScore:
    """Score a recording and measure what it takes; raises as `Scorer.score`."""
    timer = StageTimer()
    before, own = resource.getrusage(resource.RUSAGE_CHILDREN), time.process_time()
    started = time.perf_counter()
    with _ChildPeak() as peak:
        outcome = scorer.score(path, timer)
    wall_s, own_s = time.perf_counter() - started, time.process_time() - own
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    decoder_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    peak_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return TimedScore(outcome, Cost(wall_s, own_s + decoder_s, peak_mib), decoder_s, peak.mib, timer)


def _median(costs: Sequence[Cost]) -> Cost:
    def of(value: Callable[[Cost], float]) -> float:
        return statistics.median(map(value, costs))

    return Cost(of(lambda cost: cost.wall_s), of(lambda cost: cost.cpu_s), max(cost.peak_mib for cost in costs))


def _medians(samples: Sequence[dict[str, float]]) -> dict[str, float]:
    by_name: defaultdict[str, list[float]] = defaultdict(list)
    for sample in samples:
        for name, value in sample.items():
            by_name[name].append(value)
    return {name: statistics.median(values) for name, values in by_name.items()}
