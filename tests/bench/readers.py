"""Compare ways to read the frames of a recording's grid: `python -m tests.bench.readers CLIP [--repeats N]`.

Prints processor seconds (user and system, of this process and its children), peak memory of the process that decodes,
and how many frames equal those of ffmpeg, for each way. PyAV is no dependency of this program; its rows appear where
`av` can be imported. Wall-clock times are not taken: they depend on what else runs.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib
import importlib.util
import multiprocessing
import resource
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from avpenet_cli.media.frame_image import RgbImage, whole
from avpenet_cli.media.probe import Probe, probe
from avpenet_cli.media.video import FrameStream
from avpenet_cli.settings import FRAME_STEP_S, DecodingSettings

Digests = dict[int, str]
"""By slot, of the luma plane or of the RGB frame."""
Reader = Callable[[Path], Iterator[tuple[int, np.ndarray]]]


def ffmpeg_yuv(path: Path) -> Iterator[tuple[int, np.ndarray]]:
    """The program's own frames; RGB where it does not keep YUV."""
    decoding = DecodingSettings(backend="ffmpeg", threads=1)
    for frame in FrameStream(path, probe(path, decoding), decoding):
        is_rgb = isinstance(frame.image, RgbImage)
        yield frame.slot, whole(frame.image) if is_rgb else frame.image._luma  # type: ignore[attr-defined]


def ffmpeg_rgb(path: Path) -> Iterator[tuple[int, np.ndarray]]:
    """Frames that ffmpeg converts to RGB."""
    yield from _rgb(path, DecodingSettings(backend="ffmpeg", threads=1))


def ffmpeg_rgb_automatic(path: Path) -> Iterator[tuple[int, np.ndarray]]:
    """The same with as many decoder threads as ffmpeg chooses."""
    yield from _rgb(path, DecodingSettings(backend="ffmpeg"))


def decord_rgb(path: Path) -> Iterator[tuple[int, np.ndarray]]:
    """Frames of decord, which converts every frame to RGB."""
    yield from _rgb(path, DecodingSettings(backend="decord", threads=1))


def _rgb(path: Path, decoding: DecodingSettings) -> Iterator[tuple[int, np.ndarray]]:
    facts: Probe = probe(path, decoding)
    assert facts.video is not None
    if decoding.backend == "ffmpeg":
        facts = replace(facts, video=replace(facts.video, pixel_format="rgb24"))
    stream = FrameStream(path, facts, decoding)
    if stream.backend != decoding.backend:
        raise SystemExit("decord does not read this file as ffmpeg does")
    for frame in stream:
        yield frame.slot, whole(frame.image)


def pyav_all(path: Path) -> Iterator[tuple[int, np.ndarray]]:
    """Frames of PyAV in this process, every packet decoded."""
    yield from _pyav(path, skipping=False)


def pyav_skipping(path: Path) -> Iterator[tuple[int, np.ndarray]]:
    """The same without the packets that no other frame needs and that are not on the grid."""
    yield from _pyav(path, skipping=True)


def _pyav(path: Path, *, skipping: bool) -> Iterator[tuple[int, np.ndarray]]:
    av: Any = importlib.import_module("av")
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        stream.codec_context.thread_count = 1
        base = float(stream.time_base)
        packets = [packet for packet in container.demux(stream) if packet.pts is not None]
        starts_s = np.sort([float(packet.pts) * base for packet in packets])
        slots = np.arange(int((starts_s[-1] + 2 * FRAME_STEP_S) / FRAME_STEP_S))
        on_screen = np.searchsorted(starts_s, (slots + 0.5) * FRAME_STEP_S + 1e-6, side="right") - 1
        end_s = starts_s[-1] + (starts_s[-1] - starts_s[0]) / max(1, len(starts_s) - 1)
        kept = (on_screen >= 0) & ((slots + 0.5) * FRAME_STEP_S < end_s)
        slots_of: dict[int, list[int]] = {}
        for slot, index in zip(slots[kept], on_screen[kept], strict=True):
            slots_of.setdefault(round(starts_s[index] / base), []).append(int(slot))
        for packet in [*packets, None]:
            if packet is not None and skipping and packet.is_disposable and packet.pts not in slots_of:
                continue
            for frame in stream.codec_context.decode(packet):
                for slot in slots_of.get(frame.pts, []):
                    plane = frame.planes[0]
                    luma = np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)
                    yield slot, np.ascontiguousarray(luma[: frame.height, : frame.width])


def _measured(reader: Reader, path: Path, results: multiprocessing.Queue[tuple[float, float, Digests]]) -> None:
    digests = {slot: hashlib.blake2b(pixels.data, digest_size=16).hexdigest() for slot, pixels in reader(path)}
    before = _cpu_s()
    for _ in reader(path):
        pass
    decoders = (resource.RUSAGE_CHILDREN,) if reader not in (pyav_all, pyav_skipping) else (resource.RUSAGE_SELF,)
    peak_mib = max(resource.getrusage(who).ru_maxrss for who in decoders) / 1024
    results.put((_cpu_s() - before, peak_mib, digests))


def _cpu_s() -> float:
    spent = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in spent)


def measure(reader: Reader, path: Path) -> tuple[float, float, Digests]:
    """Processor seconds, peak MiB of the decoding process and the frames' digests, in a process of its own."""
    context = multiprocessing.get_context("spawn")
    results: multiprocessing.Queue[tuple[float, float, Digests]] = context.Queue()
    process = context.Process(target=_measured, args=(reader, path, results))
    process.start()
    while process.is_alive() and results.empty():
        process.join(0.1)
    if results.empty():
        raise SystemExit(f"{reader.__name__} failed")
    result = results.get()
    process.join()
    return result


def main() -> None:
    """Measure every way in turn, `--repeats` times, and print the medians."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("clip", type=Path)
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    path: Path = arguments.clip
    readers: list[tuple[Reader, Reader]] = [(ffmpeg_yuv, ffmpeg_yuv), (ffmpeg_rgb, ffmpeg_rgb)]
    readers += [(ffmpeg_rgb_automatic, ffmpeg_rgb)]
    decoding = DecodingSettings(backend="decord")
    if FrameStream(path, probe(path, decoding), decoding).backend == "decord":
        readers.append((decord_rgb, ffmpeg_rgb))
    if importlib.util.find_spec("av"):
        readers += [(pyav_all, ffmpeg_yuv), (pyav_skipping, ffmpeg_yuv)]
    rounds = [{reader: measure(reader, path) for reader, _ in readers} for _ in range(arguments.repeats)]
    print("| reader | CPU-s | peak MiB | frames | equal to ffmpeg's |\n| --- | --- | --- | --- | --- |")
    for reader, reference in readers:
        cpu_s = median(result[reader][0] for result in rounds)
        _, peak_mib, digests = rounds[0][reader]
        expected = rounds[0][reference][2]
        equal = sum(expected.get(slot) == digest for slot, digest in digests.items())
        print(f"| {reader.__name__} | {cpu_s:.2f} | {peak_mib:.0f} | {len(digests)} | {equal} of {len(expected)} |")


if __name__ == "__main__":
    main()
