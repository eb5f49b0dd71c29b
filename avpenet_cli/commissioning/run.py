"""Check of an installation with phantoms: the entry point of `avpenet phantom check`."""

from __future__ import annotations

import errno
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from avpenet_cli.bundled import phantoms_directory
from avpenet_cli.commissioning.baseline import (
    TOLERANCE_POINTS,
    Baseline,
    KnownScores,
    ScoreChange,
    altered_files,
    baseline_to_extend,
    compare_scores,
    first_reasons,
    judge,
    make_known_scores,
    read_baseline,
    save_baseline,
)
from avpenet_cli.commissioning.phantoms import (
    EXPECTED_FILE,
    TRUTH_FILE,
    Phantoms,
    ScoredPhantom,
    journal_settings,
    read_phantoms,
    score_phantoms,
    write_scores,
)
from avpenet_cli.commissioning.protocol import (
    PROTOCOL_VERSION,
    CheckedPhantoms,
    CheckedWeights,
    Constancy,
    Installation,
    Operation,
    Protocol,
    RecordingConstancy,
    TruthErrors,
)
from avpenet_cli.errors import Interrupted, SettingsError
from avpenet_cli.runs.callbacks import NO_CALLBACKS, RunCallbacks
from avpenet_cli.runs.device import choose_device, device_name
from avpenet_cli.runs.outputs import refuse_overwriting
from avpenet_cli.runs.temporary import temporary_folder
from avpenet_cli.runs.versions import software_versions
from avpenet_cli.scoring.shared_network import load_network_for
from avpenet_cli.settings import RunSettings, from_dict, to_dict
from avpenet_cli.stats.pairs import Pairs
from avpenet_cli.storage import storage_fault, write_json
from avpenet_cli.study.pairing import pair
from avpenet_cli.study.ratings import Ratings, read_ratings
from avpenet_cli.study.score_tables import read_scores
from avpenet_cli.weights import WeightsEntry, default_entry, find


@dataclass(frozen=True)
class CheckRequest:
    """The request for one check.

    Attributes:
        weights: name or file; None for the default weights.
        baseline: file of scores to compare with; None for those that came with the phantoms.
        save: file to save today's scores in; None to save none.
        out: JSON file for the protocol; None to write none.
        phantoms: folder; None for the bundled examples.
        device: auto, cpu, cuda or cuda:N.
    """

    weights: str | None = None
    baseline: Path | None = None
    save: Path | None = None
    out: Path | None = None
    phantoms: Path | None = None
    device: str = "auto"

    @property
    def folder(self) -> Path:
        """Folder of the phantoms."""
        return self.phantoms or phantoms_directory()


@dataclass(frozen=True)
class CheckResult:
    """The outcome of a check.

    Attributes:
        explanation: one line: reasons against a pass, or what the verdict is based on.
        saved: whether today's scores were saved.
        scored: every phantom with its scores.
    """

    protocol: Protocol
    explanation: str
    saved: bool
    scored: tuple[ScoredPhantom, ...]


@dataclass(frozen=True)
class _Plan:
    """Everything that is known before anything is scored.

    Attributes:
        compare: name of the baseline, and the baseline; None where there is none.
        listed: all baselines that list these phantoms' files.
        save: file for today's scores, and the baseline that it extends.
        truth: simulated pain; None if the file is absent or altered.
        altered: from `altered_files`.
    """

    phantoms: Phantoms
    entry: WeightsEntry
    run: RunSettings
    compare: tuple[str, Baseline] | None
    listed: tuple[Baseline, ...]
    save: tuple[Path, Baseline] | None
    truth: Ratings | None
    altered: tuple[str, ...]

    @property
    def known(self) -> KnownScores | None:
        """Earlier scores by these weights."""
        return self.compare[1].weights.get(self.entry.digest) if self.compare else None


@dataclass(frozen=True)
class _Scores:
    """Today's scores, their changes (None where no earlier ones are known), and errors by recording."""

    scored: tuple[ScoredPhantom, ...]
    today: KnownScores
    changes: tuple[ScoreChange, ...] | None
    truth_errors: dict[str, TruthErrors]


def check_installation(request: CheckRequest, callbacks: RunCallbacks = NO_CALLBACKS) -> CheckResult:
    """Score phantoms, compare with what the same weights gave before, and write the protocol.

    Today's scores are saved only when the phantoms are unaltered and every one could be read.

    Raises:
        SettingsError: phantoms, a baseline or file names that cannot be used.
        WeightsError: weights that are absent or altered.
        OutputError: the folder of `save` or `out` does not exist, or a file cannot be written.
        EnvironmentUnavailableError: no such device, or no temporary folder.
        Interrupted: the callbacks asked for it.
    """
    for path in (request.save, request.out):
        if path is not None and not path.parent.is_dir():
            raise storage_fault(path, OSError(errno.ENOENT, ""))
    folder = request.folder
    outputs = () if request.out is None else (request.out,)
    if request.out is not None and request.out.suffix != ".json":
        raise SettingsError(f"--out {request.out}: the protocol is a JSON file", "end the name in .json")
    refuse_overwriting(outputs, [request.baseline, request.save, folder / EXPECTED_FILE, folder / "phantoms.json"])
    plan = _make_plan(request)
    refuse_overwriting(outputs, [plan.entry.path.with_suffix(".json") if plan.entry.path else None])
    _refuse_replacing_baseline(plan, request)
    callbacks.set_total(len(plan.phantoms.recordings))
    scores = _score(plan, callbacks)
    saved = _save(plan, scores)
    protocol = _make_protocol(plan, scores)
    if request.out is not None:
        write_json(request.out, to_dict(protocol))
    explanation = first_reasons(protocol.reasons) or _explain(plan)
    return CheckResult(protocol, explanation, saved, scores.scored)


def _make_plan(request: CheckRequest) -> _Plan:
    run = from_dict(RunSettings, {"device": request.device}, "command line")
    choose_device(run.device)
    entry = find(request.weights) if request.weights else default_entry()
    phantoms = read_phantoms(request.folder)
    expected = request.folder / EXPECTED_FILE
    shipped = (expected.name, read_baseline(expected)) if expected.exists() else None
    own = (request.baseline.name, read_baseline(request.baseline)) if request.baseline else None
    listed = tuple(item[1] for item in (own, shipped) if item is not None)
    altered = altered_files(phantoms, listed)
    # An altered truth is not used, and need not even be readable.
    truth = request.folder / TRUTH_FILE
    intact = TRUTH_FILE in phantoms.files and not any(text.startswith(f"{TRUTH_FILE} ") for text in altered)
    return _Plan(
        phantoms=phantoms,
        entry=entry,
        run=run,
        compare=own or shipped,
        listed=listed,
        save=(request.save, baseline_to_extend(request.save, phantoms)) if request.save and not altered else None,
        truth=read_ratings(truth) if intact else None,
        altered=altered,
    )


def _refuse_replacing_baseline(plan: _Plan, request: CheckRequest) -> None:
    """Small changes saved night after night would add up to a large one that nobody sees."""
    save, baseline = request.save, request.baseline or request.folder / EXPECTED_FILE
    if save is not None and plan.known is not None and save.resolve() == baseline.resolve():
        raise SettingsError(
            f"--save {save}: today's scores are compared with these",
            "give another name, or remove the file first where they are to be forgotten",
        )


def _score(plan: _Plan, callbacks: RunCallbacks) -> _Scores:
    """Score the phantoms, and compare the scores with the known ones and with the simulated pain."""
    network = load_network_for(plan.entry, plan.run)
    settings = journal_settings(plan.entry, plan.run)
    with temporary_folder("check") as private:
        try:
            scored = tuple(score_phantoms(plan.phantoms, network, plan.run, settings, private, callbacks))
        except Interrupted as error:  # nothing is kept to resume from
            raise Interrupted(error.message, "run the same command again") from None
        table = private / "table.csv"
        write_scores(table, scored, plan.entry)
        any_segment = any(phantom.outcome.segments for phantom in scored)
        truth_errors = _truth_errors(table, plan.truth) if plan.truth is not None and any_segment else {}
    today = make_known_scores(plan.entry.name, device_name(network.device), scored)
    changes = compare_scores(today.scores, plan.known.scores) if plan.known else None
    return _Scores(scored, today, changes, truth_errors)


def _truth_errors(table: Path, truth: Ratings) -> dict[str, TruthErrors]:
    """Errors of each recording, over the segments that `avpenet report` would pair with the simulated pain."""
    segments = pair(read_scores([table]), truth, None).segments.dropna(subset=["score", "reference"])
    errors: dict[str, TruthErrors] = {}
    for name, rows in segments.groupby("recording", observed=True):
        pairs = Pairs.of(rows["score"].to_numpy(), rows["reference"].to_numpy(), rows["subject"].to_numpy())
        mae, bias = float(abs(pairs.difference).mean()), float(pairs.difference.mean())
        errors[str(name)] = TruthErrors(round(mae, 3), round(bias, 3), pairs.n)
    return errors


def _save(plan: _Plan, scores: _Scores) -> bool:
    """Save today's scores, unless a recording could not be read; returns whether."""
    if plan.save is None or any(phantom.failed for phantom in scores.scored):
        return False
    path, baseline = plan.save
    save_baseline(path, baseline, plan.entry.digest, scores.today)
    return True


def _make_protocol(plan: _Plan, scores: _Scores) -> Protocol:
    verdict, reasons = judge(plan.altered, scores.scored, scores.changes)
    entry, known = plan.entry, plan.known
    return Protocol(
        protocol_version=PROTOCOL_VERSION,
        made=datetime.now().astimezone().isoformat(timespec="seconds"),
        installation=Installation(
            software=software_versions(),
            device=scores.today.device,
            weights=CheckedWeights(
                name=entry.name,
                digest=entry.digest,
                verified="built in" if entry.path is None else "digest verified",
                status=entry.description.status,
                notice=entry.description.notice,
            ),
            phantoms=CheckedPhantoms(
                folder=plan.phantoms.folder.name,
                files_sha256=plan.phantoms.files,
                listed=bool(plan.listed),
                altered=list(plan.altered),
            ),
        ),
        operation=[Operation.of(phantom) for phantom in scores.scored],
        constancy=Constancy(
            baseline=plan.compare[0] if plan.compare and known else "",
            baseline_date=known.date if known else "",
            baseline_software=known.software if known else {},
            baseline_device=known.device if known else "",
            tolerance_points=TOLERANCE_POINTS,
            recordings=_recordings_constancy(scores.scored, scores.changes or (), scores.truth_errors),
        ),
        verdict=verdict,
        reasons=list(reasons),
    )


def _recordings_constancy(
    scored: Sequence[ScoredPhantom], changes: Sequence[ScoreChange], truth_errors: Mapping[str, TruthErrors]
) -> list[RecordingConstancy]:
    change_of = {change.recording: change for change in changes}
    names = dict.fromkeys([*(phantom.name for phantom in scored), *change_of])
    recordings = []
    for name in names:
        change = change_of.get(name, ScoreChange(name, None))
        errors = truth_errors.get(name, TruthErrors())
        recordings.append(
            RecordingConstancy(name, change.largest_points, change.problem, errors.mae, errors.bias, errors.n_pairs)
        )
    return recordings


def _explain(plan: _Plan) -> str:
    """The basis of a verdict that has no reasons against it."""
    weights = f"{plan.entry.name}@{plan.entry.digest[:12]}"
    if plan.compare is None or plan.known is None:
        where = f"{plan.compare[0]} holds none" if plan.compare else "these phantoms came with none"
        advice = "" if plan.save else "; make them with --save FILE, then give --baseline FILE"
        return f"no earlier scores of {weights} to compare with, {where}{advice}"
    return (
        f"no score of {weights} changed by more than {TOLERANCE_POINTS:g} from {plan.compare[0]} of {plan.known.date}"
    )
