"""`avpenet submit`: score in shards, as jobs of a batch system or processes of this machine, or with actors of Ray."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperArgument

from avpenet_cli.cli.options import Debug, Quiet
from avpenet_cli.cli.reporter import Reporter, run_callbacks
from avpenet_cli.errors import ExitCode, OutputError, SettingsError
from avpenet_cli.phrasing import plural

if TYPE_CHECKING:
    from avpenet_cli.cluster.work import ShardedWork

_SHARDS = 16
_FOR_MERGE_ONLY = {"score": {"subjects", "baseline", "calibration", "csv_bom"}, "prepare": set[str]()}
"""Options that need all recordings."""
_FOR_MERGE_TOO = {
    "score": {"recorded_at", "embeddings", "prune", "quiet", "debug"},
    "prepare": {"ratings", "subjects", "prune", "quiet", "debug"},
}
"""Options that the merge has as well."""
_FILE_OPTIONS = frozenset({"files_from", "config", "subjects", "calibration", "ratings"})
_REFUSED = {
    "shard": "each job gets its own",
    "overwrite": "a job that is started again would start over; to do that, remove the folder .shards",
    "dry_run": "give it to submit, before --, or to score alone",
}
_REFUSED_WITH_RAY = {
    "shard": "its actors divide the recordings among themselves as they go",
    "dry_run": "give it to score alone",
}


@dataclass(frozen=True)
class EngineOptions:
    """Options of `submit` for its engines; None where they were not given."""

    jobs: int | None
    quiet: bool
    debug: bool
    slurm: dict[str, Any]


def submit(
    context: typer.Context,
    command: Annotated[
        list[str],
        typer.Argument(metavar="-- COMMAND", help="score or prepare, with its inputs and options, --out among them."),
    ],
    engine: Annotated[
        str,
        typer.Option(
            metavar="slurm|local|ray",
            help="slurm: an array job. local: processes of this machine. ray: actors of a Ray cluster, which opens "
            "ports; this command is their run, and there are no shards.",
        ),
    ],
    array: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Number of shards. [default: those there are, else 16]")
    ] = None,
    jobs: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="K",
            help="Shards at a time. [default: slurm: all; local: one for each GPU, else what cores and memory allow]",
        ),
    ] = None,
    time: Annotated[
        str | None,
        typer.Option(metavar="LIMIT", help="slurm: time limit of a job, which is then requeued. [default: 4:00:00]"),
    ] = None,
    partition: Annotated[str | None, typer.Option(help="slurm: partition of all jobs.")] = None,
    account: Annotated[str | None, typer.Option(help="slurm: account that is charged.")] = None,
    qos: Annotated[str | None, typer.Option(help="slurm: quality of service.")] = None,
    gres: Annotated[str | None, typer.Option(help="slurm: resources of a shard's job, such as gpu:1.")] = None,
    mem: Annotated[str | None, typer.Option(help="slurm: memory of a job, such as 8G.")] = None,
    cpus: Annotated[int | None, typer.Option(min=1, help="slurm: cores of a shard's job.")] = None,
    sbatch: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME[=VALUE]", help="slurm: another option of sbatch, for all jobs; can be repeated."),
    ] = None,
    address: Annotated[
        str | None,
        typer.Option(
            metavar="HOST:PORT|local", help="ray: a cluster of which this host is a node, or one of this host alone."
        ),
    ] = None,
    actors: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help="ray: at most so many. [default: one for each GPU, else core]"),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only print the command of each job.")] = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> int:
    """Score in shards as jobs, and merge them; jobs that are stopped, preempted or lost resume.

    Everything after -- is the command that would do it on one machine. Follow the jobs with avpenet status OUT.
    """
    slurm = {
        "time": time,
        "partition": partition,
        "account": account,
        "qos": qos,
        "gres": gres,
        "mem": mem,
        "cpus": cpus,
        "sbatch": sbatch,
    }
    shards = {"array": array, "jobs": jobs, "dry-run": dry_run, "quiet": quiet}
    _check_engine(engine, slurm, {"address": address, "actors": actors}, shards)
    if engine == "ray":
        return _ray(context, command, address, actors)
    parsed = parse_command(context, command)
    work = _sharded_work(parsed, array)
    if dry_run:
        for arguments in [*map(work.shard_command, work.shards), work.merge_command()]:
            print(shlex.join(["avpenet", *arguments]))
        return ExitCode.OK
    _check_files(parsed)
    return _SHARD_ENGINES[engine](work, parsed, EngineOptions(jobs, quiet, debug, slurm))


def _check_engine(engine: str, slurm: dict[str, Any], ray: dict[str, Any], shards: dict[str, Any]) -> None:
    """Raise where there is no such engine, or where an option was given that it does not have."""
    if engine not in {*_SHARD_ENGINES, "ray"}:
        raise SettingsError(f"--engine {engine}: no such engine", "use slurm, local or ray")
    for owner, options in (("slurm", slurm), ("ray", ray)):
        if engine != owner and (name := _first_set(options)):
            raise SettingsError(f"--{name} is for --engine {owner}", f"leave it out with --engine {engine}")
    if engine == "ray" and (name := _first_set(shards)):
        raise SettingsError(f"--{name} is not for --engine ray", "give score's own options after --")


def _first_set(options: Mapping[str, Any]) -> str | None:
    return next((name for name, value in options.items() if value not in (None, [], False)), None)


def parse_command(context: typer.Context, words: Sequence[str], refused: Mapping[str, str] = _REFUSED) -> typer.Context:
    """Parse the command to be run, by its own rules, without running it.

    Args:
        refused: options that cannot be given here, and why.

    Raises:
        SettingsError: it is no command that can be divided, or has an option that cannot be given here.
        TyperException: an option is wrong.
    """
    name, *arguments = words
    if name == "avpenet" and arguments:
        name, *arguments = arguments
    command = _command(context, name) if name in ("score", "prepare") else None
    if command is None or not any(parameter.name == "shard" for parameter in command.params):
        raise SettingsError(f"submit {name}: cannot be divided into shards", "give score with its options after --")
    parsed: typer.Context = command.make_context(f"avpenet {name}", arguments)
    for parameter in command.params:
        advice = refused.get(parameter.name or "")
        if advice is not None and _is_given(parsed, parameter.name):
            raise SettingsError(f"{parameter.opts[0]} cannot be submitted: {advice}", "leave it out")
    if parsed.params.get("files_from") == "-":
        raise SettingsError(
            "--files-from - cannot be submitted: jobs have no standard input", "write the list to a file"
        )
    if parsed.params.get("out") is None:
        raise SettingsError("--out is missing", "name the output after --, e.g. -- score ... --out scores.csv")
    return parsed


def _check_files(parsed: typer.Context) -> None:
    """Raise where what the jobs will read is not there now; a mistyped name would be found out in a queue, or at last
    by the merge."""
    for parameter in parsed.command.params:
        value = parsed.params.get(parameter.name or "")
        if parameter.name in _FILE_OPTIONS and value is not None and not Path(value).is_file():
            raise SettingsError(f"{parameter.opts[0]} {value}: no such file", "correct its name")
    if weights := parsed.params.get("weights"):
        from avpenet_cli.weights import find

        find(weights)


def _sharded_work(parsed: typer.Context, array: int | None) -> ShardedWork:
    """The command divided: options that need all recordings go to the merge alone."""
    from avpenet_cli.cluster.work import ShardedWork
    from avpenet_cli.shards.plan import read_plan
    from avpenet_cli.shards.shard import MOST_SHARDS, shards_folder
    from avpenet_cli.tables import check_format

    name, out = str(parsed.command.name), Path(parsed.params["out"])
    if name == "score":
        check_format(out)
    plan = read_plan(out)
    count = array or (plan.count if plan else _SHARDS)
    if count > MOST_SHARDS:
        raise SettingsError(f"--array {count}: too many shards", f"at most {MOST_SHARDS}")
    if plan is not None and plan.count != count:
        folder = shards_folder(out)
        raise OutputError(
            f"{folder} is divided into {plural(plan.count, 'shard')}, not {count}",
            f"leave --array out, choose another --out, or remove {folder} to start over",
        )
    options: list[str] = []
    merge_options: list[str] = []
    inputs: list[str] = []
    for parameter in parsed.command.params:
        if not _is_given(parsed, parameter.name):
            continue
        value = parsed.params[parameter.name or ""]
        values = value if isinstance(value, list | tuple) else [value]
        if isinstance(parameter, TyperArgument):
            inputs += map(str, values)
            continue
        words = [word for item in values for word in _option(parameter, item)]
        if parameter.name not in _FOR_MERGE_ONLY[name]:
            options += words
        if parameter.name in _FOR_MERGE_ONLY[name] | _FOR_MERGE_TOO[name]:
            merge_options += words
    private = parsed.params.get("pseudonymise") is not None
    return ShardedWork(name, out, count, tuple(options), tuple(inputs), tuple(merge_options), private)


def _option(parameter: Any, value: object) -> list[str]:
    if isinstance(value, bool):
        return [parameter.opts[0] if value else parameter.secondary_opts[0]]
    # With =, because a value may begin with a dash.
    return [f"{parameter.opts[0]}={value}"]


def _is_given(parsed: typer.Context, name: str | None) -> bool:
    source = parsed.get_parameter_source(name or "")
    return source is not None and source.name == "COMMANDLINE" and parsed.params.get(name or "") is not None


def _command(context: typer.Context, name: str) -> Any:
    commands: dict[str, Any] = getattr(context.find_root().command, "commands", {})
    return commands.get(name)


def _slurm(work: ShardedWork, parsed: typer.Context, options: EngineOptions) -> int:
    from avpenet_cli.cluster.slurm import SlurmOptions, parse_minutes, submit_to_slurm
    from avpenet_cli.cluster.work import jobs_folder

    slurm = options.slurm
    others: dict[str, str | bool] = {
        name: slurm[name] for name in ("partition", "account", "qos", "mem") if slurm[name] is not None
    }
    for text in slurm["sbatch"] or []:
        name, has_value, value = text.lstrip("-").partition("=")
        others[name] = value if has_value else True
    record = submit_to_slurm(
        work,
        SlurmOptions(parse_minutes(slurm["time"] or "4:00:00"), options.jobs, slurm["cpus"], slurm["gres"], others),
    )
    if not options.quiet:
        out, log = shlex.quote(str(work.out)), jobs_folder(work.out)
        print(f"shards:  job {record.array_job}, {plural(work.count, 'task')}; task 0 is shard 1")
        print(f"merge:   job {record.merge_job}, when no shard runs or waits any more")
        print(f"logs:    {log}")
        print(f"follow:  avpenet status {out}; squeue --me")
        print(f"cancel:  scancel {record.array_job} {record.merge_job}")
        print("resume:  the same command again")
    return ExitCode.OK


def _local(work: ShardedWork, parsed: typer.Context, options: EngineOptions) -> int:
    from avpenet_cli.cluster.local import LocalOptions, default_options, run_locally

    with run_callbacks(options.quiet, ("shards", "shard"), debug=options.debug) as callbacks:
        if options.jobs is not None:
            local = LocalOptions(options.jobs)
        else:
            local = default_options(_workers(parsed), use_gpus=parsed.params.get("device") in (None, "auto", "cuda"))
        code = run_locally(work, local, callbacks)
        _summarise(work, code, callbacks)
    return code


def _ray(context: typer.Context, command: Sequence[str], address: str | None, actors: int | None) -> int:
    if address is None:
        raise SettingsError("--engine ray without --address", "give HOST:PORT of a cluster, or local")
    parsed = parse_command(context, command, _REFUSED_WITH_RAY)
    if parsed.command.name != "score":
        raise SettingsError(f"--engine ray cannot {parsed.command.name}", "use --engine slurm or local")
    if parsed.params.get("workers") is not None:
        raise SettingsError("--workers is not for --engine ray", "use --actors, before --")

    def open_lanes(*arguments: Any, **options: Any) -> Any:
        from avpenet_cli.scoring.lanes.ray_lanes import open_ray_lanes

        return open_ray_lanes(*arguments, **options, address=address, actors=actors)

    parsed.obj = open_lanes
    code: int = parsed.command.invoke(parsed)
    return code


def _workers(parsed: typer.Context) -> int:
    """Recordings that each shard takes at a time; `auto` takes the whole machine."""
    text = str(parsed.params.get("workers") or 1)
    return int(text) if text.isdecimal() else 10_000


def _summarise(work: ShardedWork, code: ExitCode, callbacks: Reporter) -> None:
    failed = "; recordings failed, see avpenet status" if code else ""
    callbacks.summary(f"{plural(work.count, 'shard')} merged into {work.out}{failed}", code)


_SHARD_ENGINES: dict[str, Callable[[ShardedWork, typer.Context, EngineOptions], int]] = {
    "slurm": _slurm,
    "local": _local,
}
