"""Measure the program's speed: `python -m tests.bench.speed [CLIP] [--repeat 5]`, or `make bench`.

Without a clip, one is made from an example: 60 s of 1920x1080 pixels at 30 frames per second, H.264 near 8 Mbit/s, with
sensor noise. What is compared runs in turn, so that other load meets all of it; medians count. Prints a Markdown table
for docs/explanation/benchmarks.md. CPU seconds are those of all processes, user and system.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[2]
EXAMPLE = REPOSITORY / "examples" / "phantoms" / "P0001-01.mp4"
_PART_S = 20


def make_clip(out: Path, seconds: int = 60) -> None:
    """Write the clip that is scored where none is named."""
    frames = (
        "scale=1920:1080:flags=bicubic:force_original_aspect_ratio=decrease,"
        "pad=1920:1080:(ow-iw)/2:(oh-ih)/2:color=0x405060,noise=alls=6:allf=t,fps=30"
    )
    video = ["-c:v", "libx264", "-preset", "veryfast", "-b:v", "8M", "-pix_fmt", "yuv420p"]
    audio = ["-af", "aresample=48000", "-ac", "2", "-c:a", "aac", "-b:a", "128k"]
    source = ["-stream_loop", "-1", "-i", str(EXAMPLE), "-t", str(seconds)]
    command = ["ffmpeg", "-v", "error", "-nostdin", "-y", *source, "-vf", frames, *video, *audio, str(out)]
    subprocess.run(command, check=True)


def avpenet(*arguments: str | Path, status: int = 0) -> tuple[float, float, str]:
    """Run `avpenet ARGUMENTS...`.

    Args:
        status: expected exit status.

    Returns:
        Wall-clock seconds, CPU seconds, and its standard output.
    """
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        started = time.perf_counter()
        command = [sys.executable, "-m", "avpenet_cli", *map(str, arguments)]
        process = subprocess.Popen(command, cwd=REPOSITORY, stdin=subprocess.DEVNULL, stdout=out, stderr=err)
        _, ended, usage = os.wait4(process.pid, 0)
        wall_s = time.perf_counter() - started
        process.returncode = os.waitstatus_to_exitcode(ended)
        out.seek(0)
        err.seek(0)
        if process.returncode != status:
            raise SystemExit(f"{' '.join(command)}: exit status {process.returncode}\n{err.read()}")
        return wall_s, usage.ru_utime + usage.ru_stime, out.read()


def speeds(clip: Path, repeat: int, precisions: list[str]) -> dict[str, list[dict[str, Any]]]:
    """The figures of `avpenet bench --json`, `repeat` of them for each precision, in turn."""
    samples: defaultdict[str, list[dict[str, Any]]] = defaultdict(list)
    for _ in range(repeat):
        for precision in precisions:
            _, _, figures = avpenet("bench", clip, "--device", "cpu", "--precision", precision, "--json")
            samples[precision].append(json.loads(figures))
    return samples


def workers(clip: Path, repeat: int, folder: Path) -> dict[str, tuple[float, float]]:
    """Medians of wall-clock and CPU seconds of runs with one worker and with `auto`, loading included."""
    archive = folder / "archive"
    archive.mkdir()
    part = archive / "1.mp4"
    cut = ["ffmpeg", "-v", "error", "-nostdin", "-y", "-i", str(clip), "-t", str(_PART_S), "-c", "copy", str(part)]
    subprocess.run(cut, check=True)
    for number in range(1, max(2, min(8, len(os.sched_getaffinity(0))))):
        shutil.copy(part, archive / f"{number + 1}.mp4")
    taken: defaultdict[str, list[tuple[float, float]]] = defaultdict(list)
    for _ in range(repeat):
        for count in ("1", "auto"):
            options = ["--weights", "untrained", "--device", "cpu", "--workers", count, "--overwrite", "-q"]
            wall_s, cpu_s, _ = avpenet("score", archive, "--out", folder / "scores.csv", *options)
            taken[f"{len(list(archive.iterdir()))} recordings of {_PART_S} s, --workers {count}"].append(
                (wall_s, cpu_s)
            )
    return {name: _medians(samples) for name, samples in taken.items()}


def start_up(repeat: int, folder: Path) -> dict[str, tuple[float, float]]:
    """Medians of wall-clock and CPU seconds before anything is scored."""
    empty = folder / "empty.mp4"
    empty.touch()
    out = folder / "empty.csv"
    help_s = [avpenet("--help")[:2] for _ in range(repeat)]
    options = ["--overwrite", "--device", "cpu", "-q"]
    score_s = [avpenet("score", empty, "--out", out, *options, status=1)[:2] for _ in range(repeat)]
    return {"avpenet --help": _medians(help_s), "avpenet score, an empty file": _medians(score_s)}


def _medians(samples: list[tuple[float, float]]) -> tuple[float, float]:
    walls, cpus = zip(*samples, strict=True)
    return statistics.median(walls), statistics.median(cpus)


def table(
    samples: dict[str, list[dict[str, Any]]], others: dict[str, tuple[float, float]], repeat: int, clip: str
) -> str:
    """Everything in one Markdown table, with the machine and the commit above it."""
    first = next(iter(samples.values()))[0]
    flags = " ".join(first["cpu_flags"])
    lines = [
        f"{first['cpu']}, {first['cores']} cores ({flags}); commit {_commit()}; {clip}; medians of {repeat}, in turn.",
        "",
        "| | wall s | CPU s | of the speed of decoding, by CPU | by wall | peak MiB |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
    ]

    def median(figures: list[dict[str, Any]], name: str) -> float:
        return float(statistics.median(sample[name] for sample in figures))

    every = [sample for figures in samples.values() for sample in figures]
    wall_s, cpu_s, peak = (
        median(every, name) for name in ("decoding_wall_s", "decoding_cpu_s", "decoding_peak_rss_mib")
    )
    lines.append(f"| decoding alone | {wall_s:.2f} | {cpu_s:.2f} | 1 | 1 | {peak:.0f} |")
    for precision, figures in samples.items():
        wall_s, cpu_s, peak, by_cpu, by_wall = (
            median(figures, name)
            for name in (
                "wall_s",
                "cpu_s",
                "peak_rss_mib",
                "share_of_decoding_speed_cpu",
                "share_of_decoding_speed_wall",
            )
        )
        lines.append(
            f"| scoring, {precision} | {wall_s:.2f} | {cpu_s:.2f} | {by_cpu:.3f} | {by_wall:.3f} | {peak:.0f} |"
        )
        stages = sorted({name for sample in figures for name in sample["stage_cpu_s"]})
        by_stage = [(name, statistics.median(s["stage_cpu_s"].get(name, 0.0) for s in figures)) for name in stages]
        by_stage.append(("its decoders", median(figures, "decoder_cpu_s")))
        lines += [
            f"| - {name} | | {seconds:.2f} | | | |" for name, seconds in sorted(by_stage, key=lambda item: -item[1])
        ]
    lines += [f"| {name} | {wall_s:.2f} | {cpu_s:.2f} | | | |" for name, (wall_s, cpu_s) in others.items()]
    return "\n".join(lines)


def _commit() -> str:
    command = ["git", "-C", str(REPOSITORY), "describe", "--always", "--dirty", "--abbrev=7"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout.strip() or "unknown"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("clip", nargs="?", type=Path, help="a recording of a minute; by default one is made")
    parser.add_argument("--repeat", type=int, default=5, help="of everything; medians count")
    parser.add_argument("--seconds", type=int, default=60, help="length of the clip that is made")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="avpenet-bench-") as name:
        folder = Path(name)
        clip = arguments.clip
        if clip is None:
            clip = folder / "clip.mp4"
            make_clip(clip, arguments.seconds)
        has_bfloat16 = {"avx512_bf16", "amx_bf16", "bf16"} & set(Path("/proc/cpuinfo").read_text().split())
        precisions = ["float32", *(["bfloat16"] if has_bfloat16 else []), "int8"]
        samples = speeds(clip, arguments.repeat, precisions)
        others = workers(clip, arguments.repeat, folder) | start_up(arguments.repeat, folder)
        print(table(samples, others, arguments.repeat, arguments.clip.name if arguments.clip else "made clip"))


if __name__ == "__main__":
    main()
