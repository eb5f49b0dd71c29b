"""How soon `avpenet monitor` finds a camera that goes dark, a failing microphone, a new site and an upgrade.

Phantoms are altered with ffmpeg as a hospital's equipment would alter its recordings, and scored with the bundled
weights; every set of recordings has patients of its own. From these scores, archives are drawn by patient, without
repeating any: a baseline of 24 patients in 4 weeks, 3 weeks in control and 3 weeks of an altered set, with 4 patients
each. Baseline and weeks in control are of the same set, so that every alarm in those is a false one.

    python -m tests.bench.monitoring make PHANTOMS WORK
    python -m tests.bench.monitoring score WORK [--upgrade WEIGHTS.safetensors]
    python -m tests.bench.monitoring run WORK
"""

from __future__ import annotations

import argparse
import csv
import datetime
import random
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from avpenet_cli.monitoring.analysis import MonitorOptions, analyse
from avpenet_cli.monitoring.archive import Files, read_archive
from avpenet_cli.monitoring.document import MonitorDocument
from tests.monitoring.archives import write_embeddings

SEED = 1
START_S, LENGTH_S = 6.0, 9.0
"""The part of each phantom that is used: around its first painful event."""

START = datetime.date(2026, 1, 5)
BASELINE, BASELINE_WEEKS, IN_CONTROL_WEEKS, WEEKLY = 24, 4, 3, 4
"""Patients of the baseline; weeks; patients a week after it."""

IN_CONTROL_ARCHIVES = 300

SITES = ("A", "B")
NEW_SITE = "C"


@dataclass(frozen=True)
class Kind:
    """One set of recordings.

    Attributes:
        drawn: patients drawn from the phantoms.
        patients: the first of these by name, who are used.
        video: ffmpeg's filters of the video.
        audio: of the audio.
        upgrade: scored with other weights than the rest.
        sites: that its patients come from.
    """

    drawn: int
    patients: int
    video: str = "null"
    audio: str = "anull"
    upgrade: bool = False
    sites: tuple[str, ...] = SITES


KINDS = {
    "usual": Kind(60, 36),
    # A tenth of the light and the noise that a camera adds by gain.
    "dark": Kind(20, 12, video="lutyuv=y=16+(val-16)*0.1:u=128+(val-128)*0.1:v=128+(val-128)*0.1,noise=alls=6:allf=t"),
    "muted": Kind(20, 12, audio="volume=0"),
    "new-site": Kind(20, 12, sites=(NEW_SITE,)),
    # What is left of a cable that is loose: hiss, and the voice 30 dB lower.
    "hiss": Kind(20, 12, audio="volume=-30dB,aeval=val(0)+0.01*(random(0)*2-1):c=same"),
    "upgrade": Kind(20, 12, upgrade=True),
}


def make(phantoms: Path, work: Path) -> None:
    """Cut and alter the phantoms, each of another patient, into a folder for each kind."""
    with (phantoms / "subjects.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    random.Random(SEED).shuffle(rows)
    for name, kind in KINDS.items():
        folder = work / name
        folder.mkdir(parents=True, exist_ok=True)
        drawn = [row for row in rows if row["site"] in kind.sites][: kind.drawn]
        rows = [row for row in rows if row not in drawn]
        chosen = sorted(drawn, key=lambda row: row["recording"])[: kind.patients]
        with (work / f"{name}.subjects.csv").open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(chosen)
        for row in chosen:
            out = folder / row["recording"]
            if out.exists():
                continue
            command = ["ffmpeg", "-nostdin", "-loglevel", "error", "-y", "-ss", f"{START_S}", "-t", f"{LENGTH_S}"]
            command += ["-i", str(phantoms / row["recording"]), "-vf", kind.video, "-af", kind.audio]
            command += ["-c:v", "libx264", "-preset", "veryfast", "-crf", "18", "-c:a", "aac", "-b:a", "96k"]
            subprocess.run([*command, "-threads", "1", str(out)], check=True)


def score(work: Path, upgrade: Path | None) -> None:
    """Score every kind with embeddings; resumes."""
    for name, kind in KINDS.items():
        if kind.upgrade and upgrade is None:
            continue
        command = [sys.executable, "-m", "avpenet_cli", "score", str(work / name), "--device", "cpu", "--no-digests"]
        command += ["--out", str(work / f"{name}.csv"), "--embeddings", str(work / f"{name}.embeddings.parquet")]
        command += ["--weights", str(upgrade)] if kind.upgrade else []
        subprocess.run(command, check=True)


@dataclass(frozen=True)
class Scored:
    """The scores of one kind.

    Attributes:
        table: as `avpenet score` wrote it.
        embeddings: as it wrote them.
        subjects: with recording, subject and site.
    """

    table: pd.DataFrame
    embeddings: pd.DataFrame
    subjects: pd.DataFrame

    @classmethod
    def read(cls, work: Path, name: str) -> Scored:
        """Read what `score` has made."""
        table = pd.read_csv(work / f"{name}.csv", dtype=str, keep_default_na=False)
        embeddings = pd.read_parquet(work / f"{name}.embeddings.parquet")
        return cls(table, embeddings, pd.read_csv(work / f"{name}.subjects.csv", dtype=str))

    def shuffled(self, rng: np.random.Generator) -> list[str]:
        """The recordings in random order."""
        return [str(name) for name in rng.permutation(self.subjects["recording"].to_numpy(dtype=str))]

    def in_weeks(self, recordings: Sequence[str], first_week: int, patients: int) -> pd.DataFrame:
        """The rows of these recordings, so many patients a week."""
        days = {
            name: START + datetime.timedelta(weeks=first_week + place // patients, days=place % patients)
            for place, name in enumerate(recordings)
        }
        rows = self.table[self.table["recording"].isin(days)]
        return rows.assign(recorded_at=[f"{days[name].isoformat()}T10:00:00" for name in rows["recording"]])


def write_archive(folder: Path, usual: Scored, altered: Scored | None, rng: np.random.Generator) -> Files:
    """Draw one archive, and write its tables; without altered recordings, all of it is in control."""
    names = usual.shuffled(rng)
    baseline, in_control = names[:BASELINE], names[BASELINE:]
    usual.in_weeks(baseline, 0, BASELINE // BASELINE_WEEKS).to_csv(folder / "baseline.csv", index=False)
    usual.in_weeks(in_control, BASELINE_WEEKS, WEEKLY).to_csv(folder / "new.csv", index=False)
    new = [folder / "new.csv"]
    parts = [usual] if altered is None else [usual, altered]
    if altered is not None:
        new.append(folder / "last.csv")
        last = altered.in_weeks(altered.shuffled(rng), BASELINE_WEEKS + IN_CONTROL_WEEKS, WEEKLY)
        last.to_csv(new[1], index=False)
    columns = ["recording", "subject", "site"]
    pd.concat([part.subjects[columns] for part in parts]).to_csv(folder / "subjects.csv", index=False)
    of_baseline = usual.embeddings["recording"].isin(baseline)
    mark = usual.table["weights"].iloc[0]
    write_embeddings(folder / "baseline.parquet", usual.embeddings[of_baseline], mark)
    # Those of other weights would not be compared.
    others = [part.embeddings for part in parts[1:] if part.table["weights"].iloc[0] == mark]
    write_embeddings(folder / "new.parquet", pd.concat([usual.embeddings[~of_baseline], *others]), mark)
    return Files(
        tuple(new),
        (folder / "baseline.csv",),
        folder / "subjects.csv",
        None,
        folder / "new.parquet",
        folder / "baseline.parquet",
    )


@dataclass(frozen=True)
class Found:
    """What the monitor said of one archive.

    Attributes:
        delay: weeks with altered recordings until a chart left its limits, at least 1; None where none did.
        measure: of the alarm by drift that comes first.
        dated: whether that says that the change began in the week in which it did.
        kinds: of all alarms.
    """

    delay: int | None
    measure: str
    dated: bool
    kinds: frozenset[str]


def find(document: MonitorDocument) -> Found:
    """Compare charts and alarms with what was done."""
    signals = [
        any(chart.points[week].signal for chart in document.charts) for week in range(len(document.charts[0].points))
    ]
    late = [week for week, signal in enumerate(signals) if signal and week >= IN_CONTROL_WEEKS]
    drifts = [alarm for alarm in document.alarms if alarm.kind == "drift"]
    change = str(START + datetime.timedelta(weeks=BASELINE_WEEKS + IN_CONTROL_WEEKS))
    return Found(
        late[0] - IN_CONTROL_WEEKS + 1 if late else None,
        drifts[0].measure if drifts else "",
        bool(drifts) and drifts[0].since == change,
        frozenset(alarm.kind for alarm in document.alarms),
    )


def run(work: Path, archives: int, runs: int) -> None:
    """Draw archives in control, then of every kind, monitor them, and print what was found."""
    usual = Scored.read(work, "usual")
    rng, options = np.random.default_rng(SEED), MonitorOptions(runs=runs)
    false_alarms = 0
    for _ in range(IN_CONTROL_ARCHIVES):
        with tempfile.TemporaryDirectory() as folder:
            document = analyse(read_archive(write_archive(Path(folder), usual, None, rng)), options)
            false_alarms += any(chart.signal for chart in document.charts)
    weeks = f"in control for {IN_CONTROL_WEEKS} weeks"
    print(f"{weeks}: {false_alarms} of {IN_CONTROL_ARCHIVES} archives with a false alarm", flush=True)
    kinds = [name for name in KINDS if name != "usual" and (work / f"{name}.csv").exists()]
    print("| altered | found in week 1 | by week 2 | by week 3 | right week | first alarm by drift | other alarms |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for name in kinds:
        altered, results = Scored.read(work, name), list[Found]()
        rng = np.random.default_rng(SEED)
        for _ in range(archives):
            with tempfile.TemporaryDirectory() as folder:
                files = write_archive(Path(folder), usual, altered, rng)
                results.append(find(analyse(read_archive(files), options)))
        by = [sum(1 for r in results if r.delay is not None and r.delay <= week) / archives for week in (1, 2, 3)]
        first = Counter(result.measure or "none" for result in results)
        others = Counter(kind for result in results for kind in result.kinds if kind != "drift")
        cells = [f"{share:.0%}" for share in (*by, sum(result.dated for result in results) / archives)]
        cells += [
            ", ".join(f"{what} {n / archives:.0%}" for what, n in counts.most_common()) for counts in (first, others)
        ]
        print(f"| {' | '.join([name, *cells])} |", flush=True)


def main() -> None:
    """Run a step."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    steps = parser.add_subparsers(dest="step", required=True)
    made = steps.add_parser("make")
    made.add_argument("phantoms", type=Path)
    made.add_argument("work", type=Path)
    scored = steps.add_parser("score")
    scored.add_argument("work", type=Path)
    scored.add_argument("--upgrade", type=Path)
    drawn = steps.add_parser("run")
    drawn.add_argument("work", type=Path)
    drawn.add_argument("--archives", type=int, default=100)
    drawn.add_argument("--runs", type=int, default=1000)
    arguments = parser.parse_args()
    if arguments.step == "make":
        make(arguments.phantoms, arguments.work)
    elif arguments.step == "score":
        score(arguments.work, arguments.upgrade)
    else:
        run(arguments.work, arguments.archives, arguments.runs)


if __name__ == "__main__":
    main()
