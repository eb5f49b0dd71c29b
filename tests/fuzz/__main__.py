"""`python -m tests.fuzz TARGET... --seed S --trials N --seconds T --state FOLDER`: tries damaged files, and resumes."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from tests.fuzz.campaign import Campaign
from tests.fuzz.mutations import Rng
from tests.fuzz.targets import TARGETS

_EPILOG = "\n".join(f"  {target.name:10} {target.description}" for target in TARGETS.values())


def main() -> int:
    """Run campaigns; 1 where anything was found, now or before."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.fuzz",
        description="Read damaged files with the program, and resume where the last call with this state ended.",
        epilog=f"targets:\n{_EPILOG}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("targets", nargs="*", choices=[*TARGETS, "all"], default="all", metavar="TARGET")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--trials", type=int, help="numbers to try of each target, those of earlier calls included")
    parser.add_argument("--seconds", type=float, default=60.0, help="of all targets together; 0: no limit")
    parser.add_argument("--state", type=Path, default=Path("build/fuzz"), help="folder that is made and kept")
    parser.add_argument("--again", type=int, metavar="TRIAL", help="try one number again, and keep its files")
    options = parser.parse_args()
    names = list(TARGETS) if "all" in options.targets or options.targets == "all" else list(options.targets)
    options.state.mkdir(parents=True, exist_ok=True)
    if options.again is not None:
        return _again(names[0], options.seed, options.again, options.state)
    seconds = options.seconds or float("inf")
    if seconds == float("inf") and options.trials is None:
        parser.error("--seconds 0 needs --trials")
    end, found = time.monotonic() + seconds, 0
    for place, name in enumerate(names):
        campaign = Campaign(TARGETS[name], options.seed, options.state)
        share = (end - time.monotonic()) / (len(names) - place)
        campaign.run(sys.maxsize if options.trials is None else options.trials, share)
        progress = campaign.progress
        found += len(progress.findings)
        print(
            f"{name}: {progress.next} trials, {len(progress.findings)} findings, {progress.cpu_s:.0f} s of "
            f"processor time, peak {progress.peak_mib:.0f} MiB, of a child {progress.child_mib:.0f} MiB",
            flush=True,
        )
        for signature, finding in progress.findings.items():
            print(f"  {finding['count']} x {signature} (trial {finding['trial']}, {finding['label']})")
    return 1 if found else 0


def _again(name: str, seed: int, trial: int, state: Path) -> int:
    campaign = Campaign(TARGETS[name], seed, state)
    campaign.prepare()
    folder = state / "again" / f"{name}-{seed}-{trial}"
    outcome = TARGETS[name].trial(Rng(name, seed, trial), campaign.corpus, folder)
    print(f"{outcome.label}; its files are in {folder}")
    if outcome.finding is not None:
        print(outcome.finding.kind, outcome.finding.signature, outcome.finding.detail, sep="\n")
    return 1 if outcome.finding else 0


if __name__ == "__main__":
    sys.exit(main())
