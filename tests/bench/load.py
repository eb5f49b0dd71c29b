"""One command over thousands of recordings: listing, memory, journal, tables, status, and resuming after a kill.

`python -m tests.bench.load FOLDER --recordings 10000 --scored 40`. FOLDER is made, with hard links to the example
phantoms, cut to seconds. `--scored` of them are scored, with untrained weights of the smallest network, while the
process and its workers are measured; the others get the outcome of the same file under another name, written into the
journal as a run writes it, and ten are left for a run that is killed and given again. With `--scored` as large as
`--recordings` everything is scored, which takes hours; given again, it goes on with the recordings that are left, and
CPU time is that of the last start.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import json
import os
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from avpenet_cli.inputs import collect
from tests.bench.samples import Sample, slope, take, warm

_PHANTOMS = sorted((Path(__file__).parents[2] / "examples" / "phantoms").glob("*.mp4"))
_LEFT = 10
"""Recordings that are left for the runs at the end."""
_BEFORE_KILL = 3
"""Of these, scored before the kill."""
_POLL_S = 0.2
_SAMPLE_S = 10.0
_LEAST_SAMPLES = 8


@dataclass(frozen=True)
class Cost:
    """What a command took.

    Attributes:
        cpu_s: CPU seconds of the process and its children.
        peak_mib: its largest resident memory, MiB.
        log: what it wrote to standard error.
    """

    cpu_s: float
    peak_mib: float
    log: str


class Load:
    """An archive of links, and the output of its scoring.

    Args:
        folder: is made; absolute.
        count: recordings.
        seconds: of each phantom.
        workers: processes that score.
    """

    def __init__(self, folder: Path, count: int, seconds: int, workers: int) -> None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        # Not here: a child's peak of memory begins with what its parent has when it starts it, and torch is large.
        make = "import sys; from pathlib import Path; from tests.faults.scenarios import make_originals as make; "
        subprocess.run([sys.executable, "-c", f"{make}make(Path(sys.argv[1]))", folder], check=True)
        self.folder, self.archive, self.out = folder, folder / "archive", folder / "scores.csv"
        self.archive.mkdir(exist_ok=True)
        self._sources = []
        for phantom in _PHANTOMS:
            source = folder / phantom.name
            if not source.exists():
                cut = ["ffmpeg", "-v", "error", "-i", str(phantom), "-t", str(seconds), "-c", "copy", str(source)]
                subprocess.run(cut, check=True)
            self._sources.append(source)
        for number in range(count):
            with contextlib.suppress(FileExistsError):
                os.link(self._sources[number % len(self._sources)], self.path(number))
        self._workers = workers

    def path(self, number: int) -> Path:
        """A recording's path."""
        return self.archive / f"{number // 1000:03d}-ward-{number:06d}.mp4"

    def score(self, *paths: Path, kill: Callable[[int], bool] | None = None) -> Cost:
        """Score recordings; killed as soon as `kill`, which is told the process, is true."""
        listed = self.folder / "list"
        listed.write_text("".join(f"{path}\n" for path in paths))
        options = ["--weights", str(self.folder / "originals" / "weights" / "faults.safetensors")]
        options += ["--device", "cpu", "--workers", str(self._workers)]
        return run("score", "--files-from", str(listed), "--out", str(self.out), *options, kill=kill)

    def measured(self) -> Callable[[int], bool]:
        """What takes a sample of the process every ten seconds into `samples.jsonl`, and kills nothing."""
        started = last = time.time()

        def watch(pid: int) -> bool:
            nonlocal last
            now = time.time()
            if now - last >= _SAMPLE_S:
                last = now
                sample = take(pid, started, now - started, self.finished())
                with (self.folder / "samples.jsonl").open("a", encoding="utf-8") as file:
                    file.write(json.dumps(asdict(sample)) + "\n")
            return False

        return watch

    def finished(self) -> int:
        """Number of recordings in the journal."""
        with contextlib.suppress(sqlite3.Error), contextlib.closing(self._journal("ro")) as journal:
            (count,) = journal.execute("SELECT count(*) FROM finished").fetchone()
            return int(count)
        return 0

    def _journal(self, mode: str) -> sqlite3.Connection:
        return sqlite3.connect(f"file:{self.out}.journal?mode={mode}", uri=True, isolation_level=None)

    def fill(self, first: int, last: int) -> None:
        """Write outcomes of the recordings from `first` up to `last` that have none, those of the same files."""
        keys = {item.path: item.key for item in collect([str(self.archive)], None, False, None).recordings}
        with contextlib.closing(self._journal("rw")) as journal:
            journal.execute("BEGIN")
            for number in range(first, last):
                pair = keys[self.path(number)], keys[self.path(number % len(self._sources))]
                journal.execute(
                    "INSERT OR IGNORE INTO finished "
                    "SELECT ?, size, mtime_ns, outcome FROM finished WHERE recording = ?",
                    pair,
                )
                journal.execute(
                    "INSERT OR IGNORE INTO file SELECT ?, failed, size, mtime_ns, sha256 FROM file WHERE recording = ?",
                    pair,
                )
                journal.execute(
                    "INSERT OR IGNORE INTO tally SELECT ?, size, mtime_ns, status, scored, unscorable FROM tally "
                    "WHERE recording = ?",
                    pair,
                )
            journal.execute("COMMIT")

    def check(self, count: int) -> int:
        """Check that the table has the rows of every recording; their number."""
        rows: dict[str, list[list[str]]] = {}
        with self.out.open(newline="", encoding="utf-8") as file:
            for name, *values in list(csv.reader(file))[1:]:
                rows.setdefault(name, []).append(values)
        assert len(rows) == count, len(rows)
        for number in range(count):
            assert rows[self.path(number).name] == rows[self.path(number % len(self._sources)).name]
        return sum(map(len, rows.values()))


def run(*arguments: str, kill: Callable[[int], bool] | None = None) -> Cost:
    """Run `avpenet`, or kill it as soon as `kill` is true."""
    command = [sys.executable, "-m", "avpenet_cli", *arguments]
    killed = False
    with (
        tempfile.TemporaryFile() as lines,
        subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=lines) as process,
    ):
        while kill is not None and not killed and not _has_ended(process.pid):
            time.sleep(_POLL_S)
            killed = kill(process.pid)
        if killed:
            process.kill()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        lines.seek(0)
        log = lines.read().decode()
    assert killed or process.returncode == 0, log[-2000:]
    return Cost(usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024, log)


def memory_rows(samples: list[Sample]) -> list[tuple[str, str]]:
    """Rows on memory, descriptors and threads over a run, of the start that was measured longest."""
    longest = max({sample.started for sample in samples}, key=lambda start: sum(s.started == start for s in samples))
    own = [sample for sample in samples if sample.started == longest]
    steady = warm(own)
    done = [sample.recordings for sample in steady]
    quarters = np.array_split([sample.rss_mib for sample in own], 4)
    workers: dict[str, list[tuple[float, float]]] = {}
    for sample in own:
        for pid, mib in sample.workers_mib.items():
            workers.setdefault(pid, []).append((sample.recordings, mib))
    rows = [
        ("seconds, and recordings in the journal at the end", f"{own[-1].seconds:.0f}, {own[-1].recordings:,}"),
        ("memory of the process, mean of each quarter, MiB", ", ".join(f"{np.mean(part):.0f}" for part in quarters)),
        (
            "its slope after the first quarter, MiB per 1,000 recordings",
            f"{1000 * slope(done, [sample.rss_mib for sample in steady]):+.1f}",
        ),
    ]
    for points in workers.values():
        if len(points) < _LEAST_SAMPLES:  # a worker's decoder, before it is another program
            continue
        shown = ", ".join(f"{np.mean(part):.0f}" for part in np.array_split([mib for _, mib in points], 4))
        grows = 1000 * slope(*zip(*warm(points), strict=True))
        rows.append(("the same of a worker", f"{shown}; {grows:+.1f}"))
    descriptors = [sample.descriptors for sample in steady]
    threads = [sample.threads for sample in steady]
    rows += [
        ("descriptors, least and most after the first quarter", f"{min(descriptors)}, {max(descriptors)}"),
        ("threads, the same", f"{min(threads)}, {max(threads)}"),
    ]
    return rows


def _has_ended(pid: int) -> bool:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"


def main() -> None:
    """Measure, and print a Markdown table."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.load")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--recordings", type=int, default=10_000)
    parser.add_argument("--scored", type=int, default=40, help="of them; the others get the same outcomes")
    parser.add_argument("--seconds", type=int, default=6, help="of each recording")
    parser.add_argument("--workers", type=int, default=1)
    options = parser.parse_args()
    folder, count = options.folder.absolute(), options.recordings
    load = Load(folder, count, options.seconds, options.workers)
    before = time.process_time()
    listed = len(collect([str(load.archive)], None, False, None).recordings)
    listing_s = time.process_time() - before
    assert listed == count
    scored = min(options.scored, count - _LEFT)
    everything = [load.path(number) for number in range(count)]
    rows = [
        ("recordings, of these scored here", f"{count:,}, {scored + _LEFT:,}"),
        ("listing the folder, CPU s", f"{listing_s:.1f}"),
    ]
    if load.finished() < scored:
        first = load.score(*everything[:scored], kill=load.measured())
        rows.append((f"scoring {scored} recordings, CPU s and peak MiB", f"{first.cpu_s:.0f}, {first.peak_mib:.0f}"))
    if load.finished() < count - _LEFT:
        load.fill(scored, count - _LEFT)
    if load.finished() < count - _LEFT + _BEFORE_KILL:
        killed = load.score(*everything, kill=lambda _: load.finished() >= count - _LEFT + _BEFORE_KILL)
        rows.append(("run that was killed, CPU s and peak MiB", f"{killed.cpu_s:.0f}, {killed.peak_mib:.0f}"))
    kept = load.finished()
    last = load.score(*everything)
    segments = load.check(count)
    again = load.score(*everything)
    status = run("status", str(load.out))
    mib = {path.name: path.stat().st_size / (1 << 20) for path in sorted(folder.iterdir()) if path.is_file()}
    rows += [
        ("recordings in the journal after the kill", f"{kept:,}"),
        ("run that resumed, CPU s and peak MiB", f"{last.cpu_s:.0f}, {last.peak_mib:.0f}"),
        ("recordings that it took from the journal", f"{last.log.count('scored by an earlier run'):,}"),
        ("run with nothing to score, CPU s and peak MiB", f"{again.cpu_s:.0f}, {again.peak_mib:.0f}"),
        ("`avpenet status`, CPU s and peak MiB", f"{status.cpu_s:.1f}, {status.peak_mib:.0f}"),
        ("segments in the table", f"{segments:,}"),
        *((f"`{name}`, MiB", f"{size:.1f}") for name, size in mib.items() if name.startswith("scores.")),
    ]
    lines = folder / "samples.jsonl"
    if lines.exists():
        rows += memory_rows([Sample(**json.loads(line)) for line in lines.read_text(encoding="utf-8").splitlines()])
    print("| measured | |\n| --- | --- |")
    for name, value in rows:
        print(f"| {name} | {value} |")


if __name__ == "__main__":
    main()
