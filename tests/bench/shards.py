"""What dividing an archive costs, and what random kills of shards and merges leave.

    python -m tests.bench.shards overhead FOLDER [--shards 16] [--copies 1] [--seconds N]
    python -m tests.bench.shards kills FOLDER [--shards 4] [--kills 50]

FOLDER is made, and filled with the example phantoms under as many names as there are shards.
"""

from __future__ import annotations

import argparse
import random
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

from tests.conftest import REPOSITORY
from tests.support.starter import open_starter

PHANTOMS = sorted((REPOSITORY / "examples" / "phantoms").glob("*.mp4"))
_TABLES = ("scores.csv", "scores.recordings.csv")


def make_archive(folder: Path, recordings: int, seconds: int | None = None) -> Path:
    """Copies of the example phantoms, the first `seconds` of each."""
    archive = folder / "archive"
    archive.mkdir(mode=0o700, parents=True)
    for number in range(recordings):
        source, copy = PHANTOMS[number % len(PHANTOMS)], archive / f"P{number:03d}.mp4"
        if seconds is None:
            shutil.copy(source, copy)
        else:
            cut = ["ffmpeg", "-v", "error", "-i", str(source), "-t", str(seconds), "-c", "copy", str(copy)]
            subprocess.run(cut, check=True)
    return archive


def score(archive: Path, out: Path, shard: str | None = None, *options: str) -> list[str]:
    """The command line of one run."""
    part = [] if shard is None else ["--shard", shard]
    return ["score", str(archive), "--out", str(out), "-q", *options, *part]


def cpu_seconds(command: list[str]) -> float:
    """CPU seconds of a command and its children."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-m", "avpenet_cli", *command], check=True, stderr=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def is_same(one: Path, other: Path) -> bool:
    """Whether two folders have the same tables."""
    return all((one / name).read_bytes() == (other / name).read_bytes() for name in _TABLES)


def measure_overhead(folder: Path, count: int, copies: int, seconds: int | None) -> None:
    """Print the CPU seconds of all shards in turn and their merge beside those of one run."""
    archive = make_archive(folder, count * copies, seconds)
    whole, parts = folder / "whole", folder / "parts"
    for each in (whole, parts):
        each.mkdir()
    one = cpu_seconds(score(archive, whole / "scores.csv"))
    shards = [cpu_seconds(score(archive, parts / "scores.csv", f"{number}/{count}")) for number in range(1, count + 1)]
    merge = cpu_seconds(["merge", str(parts / "scores.csv"), "-q"])
    more = sum(shards) + merge - one
    print(f"same tables: {is_same(whole, parts)}")
    print(
        f"one run {one:.0f} CPU s; {count} shards {sum(shards):.0f}, merge {merge:.1f}: {100 * more / one:.1f} % more"
    )
    print(f"{more / count:.1f} CPU s for each shard: 3 % of a shard of {more / count / 0.03:.0f} CPU s")


def kill(folder: Path, count: int, kills: int, seed: int) -> None:
    """Kill shards and merges at random moments, then finish them and compare with one run."""
    archive = make_archive(folder, 2 * count, seconds=3)
    (archive / "broken.mp4").write_bytes(b"no recording at all")
    whole, parts = folder / "whole", folder / "parts"
    for each in (whole, parts):
        each.mkdir()
    out, rng, killed, commands = parts / "scores.csv", random.Random(seed), 0, 0
    untrained = ("--weights", "untrained")
    names = [f"{number}/{count}" for number in range(1, count + 1)]
    with open_starter() as starter:
        started = time.monotonic()
        starter(score(archive, whole / "scores.csv", None, *untrained))
        shard_s = (time.monotonic() - started) / count
        for name in names:  # so that there is something to merge
            starter(score(archive, out, name, *untrained))
        started = time.monotonic()
        starter(["merge", str(out), "-q"])
        merge_s = time.monotonic() - started
        expected = {name: (whole / name).read_bytes() for name in _TABLES}
        while killed < kills:
            commands += 1
            is_merge = rng.random() < 0.4
            again = ["--overwrite"] if rng.random() < 0.8 else []
            command = (
                ["merge", str(out), "-q"] if is_merge else score(archive, out, rng.choice(names), *untrained, *again)
            )
            killed += starter(command, rng.uniform(0.0, 1.0) * (merge_s if is_merge else shard_s)) == -signal.SIGKILL
            table = out.read_bytes()
            if table != expected["scores.csv"]:
                sys.exit(f"after {killed} kills the table is another")
        codes = [starter(score(archive, out, name, *untrained)) for name in names] + [
            starter(["merge", str(out), "-q"])
        ]
    same = {name: (parts / name).read_bytes() == content for name, content in expected.items()}
    print(f"{killed} kills of {commands} commands; then exit codes {codes}; same as one run: {same}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=["overhead", "kills"])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--shards", type=int)
    parser.add_argument("--copies", type=int, default=1)
    parser.add_argument("--seconds", type=int, help="of each recording; all of it unless given")
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    if options.what == "overhead":
        measure_overhead(options.folder, options.shards or 16, options.copies, options.seconds)
    else:
        kill(options.folder, options.shards or 4, options.kills, options.seed)
