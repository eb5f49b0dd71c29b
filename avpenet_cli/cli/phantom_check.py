"""`avpenet phantom check`: is this installation in order, does it run, and does it still give the same numbers."""

from __future__ import annotations

import contextlib
import errno
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from avpenet_cli.cli.reporter import Reporter, printable
from avpenet_cli.cli.signals import stop_on_signals
from avpenet_cli.errors import EnvironmentUnavailableError, ExitCode, Interrupted, SettingsError
from avpenet_cli.records import Status

if TYPE_CHECKING:
    from avpenet_cli.commissioning.check import Baseline, KnownScores, Movement, Phantoms, ScoredPhantom
    from avpenet_cli.settings import RunSettings
    from avpenet_cli.study.ratings import Ratings
    from avpenet_cli.weights import WeightsEntry


@dataclass(frozen=True)
class _Plan:
    """What one check is to do.

    Attributes:
        phantoms, entry, run: what is scored, with which weights and how.
        compare: the baseline that scores are held against and what it is called; None where there is none.
        listed: all baselines that list these phantoms' files.
        keep: the file to keep today's scores in, and what it holds.
        truth: of the phantoms; None where it is absent or altered.
        altered: what is not as listed.
    """

    phantoms: Phantoms
    entry: WeightsEntry
    run: RunSettings
    compare: tuple[str, Baseline] | None
    listed: tuple[Baseline, ...]
    keep: tuple[Path, Baseline] | None
    truth: Ratings | None
    altered: tuple[str, ...]

    @property
    def known(self) -> KnownScores | None:
        """What these weights gave before."""
        return self.compare[1].weights.get(self.entry.digest) if self.compare else None


@dataclass(frozen=True)
class _Examined:
    """What a check found.

    Attributes:
        now: today's scores.
        moved: how they lie beside the known ones; None where none are known.
        against_truth: of each recording, `mae` and `bias` in points and `n_pairs`.
    """

    scored: tuple[ScoredPhantom, ...]
    now: KnownScores
    moved: tuple[Movement, ...] | None
    against_truth: dict[str, dict[str, float | int]]

    @property
    def all_read(self) -> bool:
        """Could every recording be read?"""
        return all(one.outcome.status is not Status.FAILED for one in self.scored)


def check(
    weights: Annotated[str | None, typer.Option(help="Name or file of the weights; see avpenet weights list.")] = None,
    baseline: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Compare with these scores, not with those shipped.")
    ] = None,
    save: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Keep today's scores, for --baseline; other weights' stay.")
    ] = None,
    out: Annotated[Path | None, typer.Option(metavar="FILE.json", help="Write the protocol here too.")] = None,
    phantoms: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Phantoms to use in place of the bundled examples.")
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Only the verdict.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks.")] = False,
) -> int:
    """Score phantoms, compare with what the same weights gave before, and print a protocol to sign.

    Exit 0 on PASS. Exit 4 when a segment's score moved by more than 0.1, when a segment became scored or unscorable,
    when a recording failed or a file was altered; and when there was nothing to compare with, unless --save made it.
    """
    for path in (save, out):
        if path is not None and not path.parent.is_dir():
            raise _no_folder(path)
    # From here on, because loading libraries and weights takes seconds and does not take interruptions well.
    with stop_on_signals() as stop:
        from avpenet_cli.cli.protocol import print_protocol
        from avpenet_cli.commissioning.check import bundled_phantoms, judge, shortened
        from avpenet_cli.storage import write_json

        folder = phantoms or bundled_phantoms()
        _refuse_to_overwrite(out, [baseline, save, folder / "expected.json", folder / "phantoms.json"])
        plan = _plan(folder, weights, baseline, save, device)
        _refuse_to_overwrite(out, [plan.entry.path.with_suffix(".json") if plan.entry.path else None])
        _refuse_to_replace(plan, save, baseline or folder / "expected.json")
        found = _examine(plan, stop, quiet, debug)
        verdict, reasons = judge(plan.altered, found.scored, found.moved)
        kept = _keep(plan, found)
        document = _protocol(plan, found) | {"verdict": verdict, "reasons": list(reasons)}
        if out is not None:
            write_json(out, document)
    if not quiet:
        print_protocol(document)
    lines = shortened(reasons) or _explained(plan)
    if save is not None:
        lines += f"; today's scores are in {save.name}" if kept else f"; nothing was kept in {save.name}"
    typer.echo(printable(f"{verdict}: {lines}"))
    if not quiet:
        typer.echo("\nChecked by: ____________________  Date: ____________  Signature: ____________________")
    passed = verdict == "PASS" or (verdict == "NO BASELINE" and save is not None)
    return ExitCode.OK if passed else ExitCode.NOT_PASSED


def _no_folder(path: Path) -> Exception:
    from avpenet_cli.storage import storage_fault

    return storage_fault(path, OSError(errno.ENOENT, ""))


def _refuse_to_overwrite(out: Path | None, others: Sequence[Path | None]) -> None:
    if out is None:
        return
    if out.suffix != ".json":
        raise SettingsError(f"--out {out}: the protocol is a JSON file", "end the name in .json")
    if any(other is not None and out.resolve() == other.resolve() for other in others):
        raise SettingsError(
            f"--out {out}: would overwrite a baseline, the phantoms' order or the weights' description",
            "give another name",
        )


def _refuse_to_replace(plan: _Plan, save: Path | None, compared_with: Path) -> None:
    """Small movements kept night after night would add up to a large one that nobody sees."""
    if save is not None and plan.known is not None and save.resolve() == compared_with.resolve():
        raise SettingsError(
            f"--save {save}: these are the scores that today's are compared with",
            "give another name, or remove the file first where they are to be forgotten",
        )


def _plan(folder: Path, weights: str | None, baseline: Path | None, save: Path | None, device: str) -> _Plan:
    """Everything that can be found wrong before anything is scored."""
    from avpenet_cli.commissioning import check as com
    from avpenet_cli.runs.device import choose_device
    from avpenet_cli.settings import RunSettings, from_dict
    from avpenet_cli.study.ratings import read_ratings
    from avpenet_cli.weights import default_entry, find, verify

    run = from_dict(RunSettings, {"device": device}, "command line")
    choose_device(run.device)
    entry = find(weights) if weights else default_entry()
    verify(entry)
    phantoms = com.phantoms_in(folder)
    expected = folder / com.EXPECTED
    shipped = (expected.name, com.read_baseline(expected)) if expected.exists() else None
    own = (baseline.name, com.read_baseline(baseline)) if baseline else None
    listed = tuple(one[1] for one in (own, shipped) if one is not None)
    altered = com.alterations(phantoms, listed)
    # A truth that was altered is no truth, and need not even be readable.
    truth = folder / com.TRUTH
    sound = com.TRUTH in phantoms.files and not any(one.startswith(f"{com.TRUTH} ") for one in altered)
    return _Plan(
        phantoms=phantoms,
        entry=entry,
        run=run,
        compare=own or shipped,
        listed=listed,
        keep=(save, com.baseline_to_extend(save, phantoms)) if save and not altered else None,
        truth=read_ratings(truth) if sound else None,
        altered=altered,
    )


def _examine(plan: _Plan, stop: Callable[[], bool], quiet: bool, debug: bool) -> _Examined:
    """Score the phantoms and lay the scores beside the known ones and the truth."""
    from avpenet_cli.commissioning import check as com
    from avpenet_cli.scoring.network import Network
    from avpenet_cli.scoring.scorer import Scorer

    network = Network(plan.entry, plan.run)
    settings = com.journal_settings(plan.entry, plan.run)
    scored: list[ScoredPhantom] = []
    total = len(plan.phantoms.recordings)
    with _private_folder() as private, Reporter("text", None, quiet, False, total, should_stop=stop) as reporter:
        scorer = Scorer(network, plan.run, reporter)
        try:
            for one in com.score_phantoms(plan.phantoms, scorer, settings, private):
                scored.append(one)
                reporter.item_done()
                if one.error is not None and debug:
                    reporter.trace(one.error, names_allowed=True)
        except Interrupted:
            raise Interrupted(
                f"interrupted after {len(scored)} of {total} recordings", "run the same command again"
            ) from None
        table = private / "table.csv"
        com.write_scores(table, scored, plan.entry)
        truth = _against_truth(table, plan.truth) if any(one.outcome.segments for one in scored) else {}
    now = com.found_now(network, plan.entry, scored)
    moved = com.movements(now.scores, plan.known.scores) if plan.known else None
    return _Examined(tuple(scored), now, moved, truth)


@contextlib.contextmanager
def _private_folder() -> Iterator[Path]:
    try:
        folder = tempfile.TemporaryDirectory(prefix="avpenet-check-")
    except OSError as error:
        raise EnvironmentUnavailableError(
            f"no temporary folder can be made: {error.strerror or error}", "set TMPDIR to a folder you may write to"
        ) from None
    with folder as name:
        yield Path(name)


def _against_truth(table: Path, truth: Ratings | None) -> dict[str, dict[str, float | int]]:
    """MAE and bias of each recording, points, over the segments that `avpenet report` would pair with the truth."""
    if truth is None:
        return {}
    from avpenet_cli.stats.pairs import Pairs
    from avpenet_cli.study.pairing import pair
    from avpenet_cli.study.score_tables import read_scores

    segments = pair(read_scores([table]), truth, None).segments.dropna(subset=["score", "reference"])
    found: dict[str, dict[str, float | int]] = {}
    for name, rows in segments.groupby("recording", observed=True):
        pairs = Pairs.of(rows["score"].to_numpy(), rows["reference"].to_numpy(), rows["subject"].to_numpy())
        mae, bias = float(abs(pairs.difference).mean()), float(pairs.difference.mean())
        found[str(name)] = {"mae": round(mae, 3), "bias": round(bias, 3), "n_pairs": pairs.n}
    return found


def _protocol(plan: _Plan, found: _Examined) -> dict[str, Any]:
    """JSON-ready; without the folders' names, which say something of a machine and its user."""
    from avpenet_cli.commissioning.check import TOLERANCE_POINTS
    from avpenet_cli.runs.versions import software_versions

    description = plan.entry.description
    beside = {one.recording: one for one in found.moved or ()}
    names = dict.fromkeys([*(one.name for one in found.scored), *beside])
    return {
        "protocol_version": 1,
        "made": datetime.now().astimezone().isoformat(timespec="seconds"),
        "installation": {
            "software": software_versions(),
            "device": found.now.device,
            "weights": {
                "name": plan.entry.name,
                "digest": plan.entry.digest,
                "verified": "built in" if plan.entry.path is None else "digest verified",
                "status": description.status,
                "notice": description.notice,
            },
            "phantoms": {
                "folder": plan.phantoms.folder.name,
                "files_sha256": plan.phantoms.files,
                "listed": bool(plan.listed),
                "altered": list(plan.altered),
            },
        },
        "operation": [_operation(one) for one in found.scored],
        "constancy": {
            "compared_with": plan.compare[0] if plan.compare and plan.known else "",
            "found": plan.known.found if plan.known else "",
            "with_software": plan.known.software if plan.known else {},
            "with_device": plan.known.device if plan.known else "",
            "tolerance_points": TOLERANCE_POINTS,
            "recordings": [
                {
                    "recording": name,
                    "largest_movement": beside[name].largest_points if name in beside else None,
                    "problem": beside[name].problem if name in beside else "",
                    "mae": None,
                    "bias": None,
                    "n_pairs": 0,
                }
                | found.against_truth.get(name, {})
                for name in names
            ],
        },
    }


def _operation(one: ScoredPhantom) -> dict[str, Any]:
    outcome = one.outcome
    seconds = outcome.balance.nominal_s if outcome.balance else 0.0
    unscorable = sum(1 for score in one.scores if score is None)
    return {
        "recording": one.name,
        "status": outcome.status.value,
        "message": outcome.message,
        "seconds": round(seconds, 3),
        "segments": len(one.scores),
        "scored": len(one.scores) - unscorable,
        "unscorable": unscorable,
        "face_rate": None if one.face_rate is None else round(one.face_rate, 3),
        "wall_s": round(one.wall_s, 2),
        "wall_s_per_s": round(one.wall_s / seconds, 2) if seconds else None,
        "scores": list(one.scores),
    }


def _keep(plan: _Plan, found: _Examined) -> bool:
    """Save today's scores, unless a recording could not be read; says whether."""
    from avpenet_cli.commissioning.check import save_baseline

    if plan.keep is None or not found.all_read:
        return False
    path, there = plan.keep
    save_baseline(path, there, plan.entry.digest, found.now)
    return True


def _explained(plan: _Plan) -> str:
    """What a verdict without reasons against it rests on."""
    from avpenet_cli.commissioning.check import TOLERANCE_POINTS

    called = f"{plan.entry.name}@{plan.entry.digest[:12]}"
    if plan.compare is None or plan.known is None:
        held = f"{plan.compare[0]} holds none" if plan.compare else "these phantoms came with none"
        advice = "" if plan.keep else "; make them with --save FILE, then give --baseline FILE"
        return f"no earlier scores of {called} to compare with, {held}{advice}"
    return f"no score of {called} moved by more than {TOLERANCE_POINTS:g} from {plan.compare[0]} of {plan.known.found}"
