"""How far `avpenet score --dry-run --plan` is off: `python -m tests.bench.plan [--minutes 0.4] [ARCHIVE]`.

Without an archive, makes eight phantoms, four of 640x360 pixels and the same enlarged to 1920x1080. Estimates, then
scores all of them and prints both, in CPU seconds, which other work on the machine changes little, and by the clock.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import tempfile
from pathlib import Path

from tests.bench.speed import avpenet


def make_archive(folder: Path, minutes: float) -> None:
    """Four phantoms, and the same enlarged."""
    small, large = folder / "640x360", folder / "1920x1080"
    options = ["--subjects", "4", "--seed", "7", "--minutes", str(minutes), "--size", small.name, "-q"]
    avpenet("phantom", "make", "--out", small, *options)
    large.mkdir()
    for path in sorted(small.glob("*.mp4")):
        encoding = ["-c:v", "libx264", "-preset", "veryfast", "-c:a", "copy", str(large / path.name)]
        subprocess.run(["ffmpeg", "-v", "error", "-i", str(path), "-vf", "scale=1920:1080", *encoding], check=True)


def estimate(archive: Path) -> tuple[float, float, str, str]:
    """(CPU seconds of the estimate itself, CPU seconds that it foresees, its line for one run, all that it printed)."""
    _, cpu_s, printed = avpenet("score", archive, "--recursive", "--dry-run", "--plan", "--device", "cpu", "-q")
    match = re.search(r"to score them: ([\d.]+) (s|min|h) of CPU time", printed)
    assert match is not None, printed
    foreseen_s = float(match[1]) * {"s": 1, "min": 60, "h": 3600}[match[2]]
    return cpu_s, foreseen_s, printed.split("shards", 2)[2].splitlines()[1], printed


def main() -> None:
    """Estimate, score, compare."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("archive", nargs="?", type=Path)
    parser.add_argument("--minutes", type=float, default=0.4)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        archive = arguments.archive
        if archive is None:
            archive = folder / "archive"
            archive.mkdir()
            make_archive(archive, arguments.minutes)
        spent_s, foreseen_s, row, printed = estimate(archive)
        print(printed)
        wall_s, cpu_s, _ = avpenet("score", archive, "--recursive", "--out", folder / "t.csv", "--device", "cpu", "-q")
        print(f"estimate: {foreseen_s:.0f} CPU-s, {row.split(maxsplit=1)[1]}; it took {spent_s:.0f} CPU-s")
        print(f"run: {cpu_s:.0f} CPU-s, {wall_s:.0f} s; estimate / run: {foreseen_s / cpu_s:.2f} by CPU")


if __name__ == "__main__":
    main()
