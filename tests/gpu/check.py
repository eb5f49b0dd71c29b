"""`make gpu-check`: what the program does on a GPU, compared with the CPU and timed, as one table.

    python3 tests/gpu/check.py FOLDER [--device cuda] [--out FOLDER] [--only PART ...] [--seconds S] [--quick]

FOLDER is from `make gpu-check-data`. Runs where there is no ffmpeg. Each part is a process of its own with a time
limit: a crash or a hang ends that part only. Writes gpu-check.md and gpu-check.json to --out.

Exit status: the number of rows that failed; 2, after one line, where there is no such device.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
TOTAL_S = 345.0
"""Under six minutes in all; a part that would begin later is not run."""
_SHORTEST_S = 20.0
_REHEARSAL_FACTOR = 6.0
"""On a CPU everything may take this many times as long."""
PARTS = {
    "parity": 60.0,
    "recordings": 100.0,
    "lanes": 75.0,
    "speed": 75.0,
    "dropout": 40.0,
    "memory": 60.0,
    "training": 100.0,
    "ddp": 75.0,
}
"""In order, with their time limits, s."""


@dataclass(frozen=True)
class Row:
    """One line of the table.

    Attributes:
        check: what was checked or measured.
        limit: what it must keep; empty for a measurement without one.
        measured: the number, with its unit, or what went wrong.
        result: pass, fail, not run, or measured.
    """

    check: str
    limit: str
    measured: str
    result: str


def run_part(name: str, options: argparse.Namespace, work: Path, time_limit_s: float) -> list[Row]:
    """Run one part in a process of its own; a part that does not end well adds a row that says so."""
    rows_file = work / f"{name}.jsonl"
    command = [sys.executable, "-m", "tests.gpu.parts", name, str(options.folder), str(work), options.device]
    command += [str(options.seconds), *(["quick"] if options.quick else [])]
    started = time.monotonic()
    # Its own process group: loading processes of a part that hangs end with it.
    process = subprocess.Popen(
        command, cwd=ROOT, env=_environment(), start_new_session=True, stderr=subprocess.PIPE, text=True
    )
    problem = ""
    try:
        messages = process.communicate(timeout=time_limit_s)[1]
        if process.returncode:
            last = messages.strip().splitlines()[-1:] or [f"status {process.returncode}"]
            problem = f"ended early: {last[0]}"
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        messages = process.communicate()[1]
        problem = f"stopped after {time_limit_s:.0f} s"
    with (options.out / "gpu-check.log").open("a", encoding="utf-8") as log:
        log.write(f"--- {name}\n{messages}\n")
    rows = [Row(**json.loads(line)) for line in rows_file.read_text().splitlines()] if rows_file.exists() else []
    if problem:
        rows.append(Row(f"{name}, the rest", "ends by itself", problem.replace("|", "/"), "fail"))
    print(f"gpu-check: {name}: {len(rows)} rows in {time.monotonic() - started:.0f} s", file=sys.stderr, flush=True)
    return rows


def _environment() -> dict[str, str]:
    """Threads wait as the program sets it for itself; NCCL finds an interface on a machine without a network."""
    return {"OMP_WAIT_POLICY": "PASSIVE", "NCCL_SOCKET_IFNAME": "lo", "PYTHONNOUSERSITE": "1"} | os.environ


def machine_of(device: str) -> dict[str, Any]:
    """Facts about this machine and its device.

    Raises:
        SystemExit: with status 2, there is no such device.
    """
    command = [sys.executable, "-m", "tests.gpu.machine", device]
    try:
        completed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    except subprocess.TimeoutExpired:
        print("gpu-check: torch did not start within 120 s", file=sys.stderr)
        raise SystemExit(2) from None
    if completed.returncode:
        lines = completed.stderr.strip().splitlines() or ["torch cannot be imported"]
        print(f"gpu-check: {lines[-1]}", file=sys.stderr)
        raise SystemExit(2)
    facts: dict[str, Any] = json.loads(completed.stdout)
    return facts


def as_table(machine: dict[str, Any], rows: list[Row]) -> str:
    """The rows as one Markdown table, under a line about the machine."""
    lines = [", ".join(f"{name} {value}" for name, value in machine.items()), ""]
    lines += ["| check | limit | measured | result |", "| --- | --- | --- | --- |"]
    lines += [f"| {row.check} | {row.limit or '-'} | {row.measured or '-'} | {row.result} |" for row in rows]
    return "\n".join(lines) + "\n"


def main() -> int:
    """Run the parts and write the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path, help="from make gpu-check-data")
    parser.add_argument("--out", type=Path, default=Path("build/gpu-check-results"), help="folder for the results")
    parser.add_argument("--device", default="cuda", help="cuda, or cpu to rehearse")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS), help="these parts only")
    parser.add_argument("--seconds", type=float, default=24.0, help="use this much of each recording")
    parser.add_argument("--quick", action="store_true", help="one recording, few repetitions")
    options = parser.parse_args()
    options.folder, options.out = options.folder.resolve(), options.out.resolve()
    if not (options.folder / "recordings.json").is_file():
        print(f"gpu-check: {options.folder} holds no recordings: run `make gpu-check-data` first", file=sys.stderr)
        return 2
    started = time.monotonic()
    machine = machine_of(options.device)
    options.out.mkdir(parents=True, exist_ok=True)
    machine["commit"] = json.loads((options.folder / "recordings.json").read_text())["commit"]
    (options.out / "gpu-check.log").unlink(missing_ok=True)
    factor = _REHEARSAL_FACTOR if options.device == "cpu" else 1.0
    rows: list[Row] = []
    with tempfile.TemporaryDirectory(prefix="avpenet-gpu-check-") as work:
        for name in options.only:
            left_s = factor * TOTAL_S - (time.monotonic() - started)
            if left_s < _SHORTEST_S:
                rows.append(Row(name, "", f"no time left of {factor * TOTAL_S:.0f} s", "not run"))
                continue
            rows += run_part(name, options, Path(work), min(factor * PARTS[name], left_s))
            # After every part, so that a command that is stopped keeps what it measured.
            (options.out / "gpu-check.md").write_text(as_table(machine, rows), encoding="utf-8")
    taken_s = round(time.monotonic() - started)
    failed = sum(row.result == "fail" for row in rows)
    report = {"machine": machine, "seconds": taken_s, "failed": failed, "rows": [vars(row) for row in rows]}
    (options.out / "gpu-check.json").write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    print(as_table(machine, rows))
    print(f"{len(rows)} rows, {failed} failed, {taken_s} s")
    return failed


if __name__ == "__main__":
    sys.exit(main())
