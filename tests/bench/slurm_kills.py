"""What losses of nodes, requeues and kills of jobs leave of an array on a real SLURM.

    OMP_NUM_THREADS=1 python -m tests.bench.slurm_kills FOLDER [--kills 50] [--minutes 6]

FOLDER is made, and filled with short cuts of the example phantoms. Needs slurm-wlm and munge.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from avpenet_cli.shards.shard import shards_folder
from tests.bench.shards import PHANTOMS, is_same, score
from tests.support.slurm_cluster import SlurmCluster

_ENDED = frozenset({"COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL"})
_PROGRAM = (sys.executable, "-m", "avpenet_cli")
_UNTRAINED = ("--weights", "untrained")


def make_small_archive(folder: Path, recordings: int) -> Path:
    """Two seconds of each example phantom, small and with few frames, so that starts and strikes take the time."""
    archive = folder / "archive"
    archive.mkdir(mode=0o700, parents=True)
    for number in range(recordings):
        source = PHANTOMS[number % len(PHANTOMS)]
        cut = ["-t", "2", "-vf", "scale=320:-2,fps=5", "-c:a", "copy", str(archive / f"P{number:03d}.mp4")]
        subprocess.run(["ffmpeg", "-v", "error", "-i", str(source), *cut], check=True)
    return archive


class Array:
    """An array of shards and its merge; submitted again each time it ends without a table.

    Attributes:
        submissions: how often it was submitted.
        struck: what was done to its tasks.
    """

    def __init__(self, cluster: SlurmCluster, archive: Path, out: Path, shards: int) -> None:
        options = ["--array", str(shards), "--time", "30", "--cpus", "1", "--mem", "500M"]
        command = score(archive, out, None, *_UNTRAINED)
        self._command = [*_PROGRAM, "submit", "--engine", "slurm", *options, "--", *command]
        self._cluster, self._out = cluster, out
        self.submissions = 0
        self.struck: Counter[str] = Counter()
        self.submit()

    def submit(self) -> None:
        """Submit what is still to do."""
        environment = {**os.environ, **self._cluster.environment}
        subprocess.run(self._command, check=True, env=environment, stdout=subprocess.DEVNULL)
        jobs = json.loads((shards_folder(self._out) / "jobs.json").read_text())
        self._array, self._merge = jobs["array_job"], jobs["merge_job"]
        self.submissions += 1

    def merge_state(self) -> str:
        """State of the merge, in SLURM's words."""
        self._cluster.release_requeued()
        return self._cluster.jobs()[self._merge]["JobState"]

    def strike(self, rng: random.Random) -> None:
        """Do something bad to one of the tasks that run, if any does."""
        jobs = self._cluster.jobs()
        running = [job for job in jobs if job.startswith(f"{self._array}_") and jobs[job]["JobState"] == "RUNNING"]
        if not running:
            return
        job, kind = rng.choice(running), rng.choice(["node lost", "task requeued", "task killed"])
        match kind:
            case "node lost":
                node = jobs[job]["BatchHost"]
                self._cluster.lose_node(node)
                self._cluster.start_node(node)
            case "task requeued":
                self._cluster.run("scontrol", "requeue", job)
            case "task killed":
                self._cluster.run("scancel", "--full", "--signal=KILL", job)
        self.struck[kind] += 1
        print(f"{kind}: {job}", flush=True)


def strike(folder: Path, options: argparse.Namespace) -> None:
    """Strike an array at random moments, let it end and compare its tables with those of one run."""
    archive = make_small_archive(folder, options.recordings)
    whole, parts = folder / "whole", folder / "parts"
    for each in (whole, parts):
        each.mkdir()
    out, rng = parts / "scores.csv", random.Random(options.seed)
    subprocess.run([*_PROGRAM, *score(archive, whole / "scores.csv", None, *_UNTRAINED)], check=True)
    # A short path, because a socket's may have no more than 107 bytes.
    cluster = SlurmCluster(Path(tempfile.mkdtemp(prefix="slurm")))
    try:
        cluster.start()
        array = Array(cluster, archive, out, options.shards)
        deadline = time.monotonic() + 60 * options.minutes
        next_strike = time.monotonic()
        while (state := array.merge_state()) != "COMPLETED":
            if state in _ENDED:
                array.submit()
            now = time.monotonic()
            if next_strike <= now < deadline and array.struck.total() < options.kills:
                array.strike(rng)
                next_strike = now + rng.uniform(0, 2 * options.every)
            time.sleep(0.5)
    finally:
        cluster.stop()
        shutil.rmtree(cluster.folder, ignore_errors=True)
    done = ", ".join(f"{number} x {kind}" for kind, number in sorted(array.struck.items()))
    print(f"{array.struck.total()} strikes ({done}), submitted {array.submissions} times")
    print(f"same tables as one run: {is_same(whole, parts)}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--recordings", type=int, default=9)
    parser.add_argument("--shards", type=int, default=3)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--minutes", type=float, default=6.0, help="after which nothing more is struck")
    parser.add_argument("--every", type=float, default=10.0, help="seconds between strikes, on average")
    parser.add_argument("--seed", type=int, default=1)
    strike(parser.parse_args().folder, parser.parse_args())
