"""Shards as an array job of SLURM, through submitit, and their merge as a job that waits for them."""

from __future__ import annotations

import contextlib
import io
import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from avpenet_cli.cluster.command_job import STOP_PATIENCE_S, CommandJob
from avpenet_cli.cluster.jobs_record import JOBS_VERSION, JobsRecord, jobs_record_path, read_jobs, write_jobs
from avpenet_cli.cluster.work import ShardedWork, make_jobs_folder
from avpenet_cli.errors import EnvironmentUnavailableError, OutputLockedError, SettingsError
from avpenet_cli.runs.lock import output_lock

if TYPE_CHECKING:
    from submitit import SlurmExecutor

_MOST_TIMEOUTS = 1000
"""How often a job is started again after its time limit: an archive may take many times that long."""
_STOP_S = 30 + int(STOP_PATIENCE_S)
"""How long before the time limit a run is asked to stop."""


@dataclass(frozen=True)
class SlurmOptions:
    """What the jobs ask of SLURM.

    Attributes:
        minutes: time limit of each job; a shard that needs longer is requeued and resumes.
        at_a_time: most shards that run at the same time; None for all.
        cpus: cores of each shard's job; None for the cluster's default.
        gres: generic resources of each shard's job, such as `gpu:1`; the merge needs none.
        others: further options of sbatch, for all jobs, by their long names; True for those without a value.
    """

    minutes: int
    at_a_time: int | None = None
    cpus: int | None = None
    gres: str | None = None
    others: Mapping[str, str | bool] = field(default_factory=dict)


def parse_minutes(text: str) -> int:
    """A time limit as sbatch takes it (`90`, `4:00:00`, `2-12`), in minutes, rounded up.

    Raises:
        SettingsError: it is something else, or 0.
    """
    match = re.fullmatch(r"(?:(\d+)-)?(\d+)(?::(\d+))?(?::(\d+))?", text)
    seconds = 0
    if match is not None:
        days, *clock = match.groups()
        first, second, third = (int(part or 0) for part in clock)
        if days is not None or clock[2] is not None:  # hours lead
            seconds = ((24 * int(days or 0) + first) * 60 + second) * 60 + third
        else:
            seconds = first * 60 + second
    if seconds <= 0:
        raise SettingsError(f"--time {text}: no time limit", "give minutes, or hours such as 4:00:00, or days: 2-12")
    return -(-seconds // 60)


def submit_to_slurm(work: ShardedWork, options: SlurmOptions) -> JobsRecord:
    """Submit a task for each shard, and the merge, which runs when no shard runs or waits any more.

    The merge waits for the end of the shards, not for their success: it says by name what is missing, where a job whose
    dependency fails would only vanish from the queue.

    Raises:
        EnvironmentUnavailableError: no submitit, no SLURM, or sbatch refused a job; says why.
        OutputLockedError: jobs of this output are still queued or running.
        SettingsError: recordings are pseudonymised, or the output's path cannot be used.
    """
    if work.private:
        raise SettingsError(
            "--pseudonymise with --engine slurm: the jobs' files and logs would keep the recordings' paths",
            "submit a job of your own that runs avpenet submit --engine local",
        )
    if "%" in str(work.out.absolute()):
        raise SettingsError(f"{work.out}: SLURM gives % in a path a meaning", "choose another --out")
    submitit = _submitit()
    make_jobs_folder(work.out)
    with output_lock(jobs_record_path(work.out)):
        _refuse_active(work.out)
        with _private_files(), _sbatch_errors():
            executor = _executor(submitit, work, options, f"avpenet-{work.command}")
            executor.update_parameters(
                array_parallelism=options.at_a_time or work.count,
                **({"gres": options.gres} if options.gres else {}),
                **(
                    {"cpus_per_task": options.cpus, "srun_args": [f"--cpus-per-task={options.cpus}"]}
                    if options.cpus
                    else {}
                ),
            )
            jobs = executor.submit_array([CommandJob(work.shard_command(shard)) for shard in work.shards])
            array_job = jobs[0].job_id.split("_")[0]
            merge = _executor(submitit, work, options, "avpenet-merge")
            merge.update_parameters(dependency=f"afterany:{array_job}")
            try:
                merge_job = merge.submit(CommandJob(work.merge_command(), str(work.written_last))).job_id
            except BaseException:
                subprocess.run(["scancel", array_job], check=False)
                raise
        record = JobsRecord(
            jobs_version=JOBS_VERSION,
            engine="slurm",
            submitted=datetime.now().astimezone().isoformat(timespec="seconds"),
            shards=work.count,
            array_job=array_job,
            merge_job=merge_job,
        )
        write_jobs(work.out, record)
    return record


def active_jobs(record: JobsRecord) -> list[str]:
    """Ids of the submitted jobs that are queued or running, as squeue writes them.

    Raises:
        EnvironmentUnavailableError: squeue is missing or has no answer.
    """
    found = []
    for job in (record.array_job, record.merge_job):
        try:
            shown = subprocess.run(
                ["squeue", "--noheader", "--format=%i", f"--jobs={job}"], capture_output=True, text=True, check=False
            )
        except OSError as error:
            raise EnvironmentUnavailableError(f"squeue: {error.strerror}", "see whether SLURM is installed") from None
        if shown.returncode and "Invalid job id" not in shown.stderr:  # which it says of jobs that ended long ago
            raise EnvironmentUnavailableError(f"squeue: {_last_line(shown.stderr)}", "see whether SLURM is running")
        found += shown.stdout.split()
    return found


def _submitit() -> Any:
    try:
        import submitit
    except ImportError:
        raise EnvironmentUnavailableError(
            "--engine slurm needs submitit", "install avpenet[cluster], or pip install submitit"
        ) from None
    if missing := [name for name in ("sbatch", "srun", "squeue") if shutil.which(name) is None]:
        raise EnvironmentUnavailableError(
            f"--engine slurm: no {missing[0]} on this machine", "submit on a login node of the cluster"
        )
    return submitit


def _executor(submitit: Any, work: ShardedWork, options: SlurmOptions, name: str) -> SlurmExecutor:
    executor: SlurmExecutor = submitit.SlurmExecutor(make_jobs_folder(work.out), max_num_timeout=_MOST_TIMEOUTS)
    executor.update_parameters(
        job_name=name,
        time=options.minutes,
        stderr_to_stdout=True,
        signal_delay_s=min(_STOP_S, options.minutes * 60 // 4),
        additional_parameters={"requeue": True, **options.others},
    )
    return executor


def _refuse_active(out: Path) -> None:
    record = read_jobs(out)
    if record is not None and (active := active_jobs(record)):
        jobs = f"{record.array_job} {record.merge_job}"
        raise OutputLockedError(
            f"{out} has jobs in the queue: {', '.join(active)}", f"wait for them, or cancel them: scancel {jobs}"
        )


@contextlib.contextmanager
def _private_files() -> Iterator[None]:
    """What is written meanwhile, and by the jobs, which inherit this, is readable by its owner only."""
    before = os.umask(0o077)
    try:
        yield
    finally:
        os.umask(before)


@contextlib.contextmanager
def _sbatch_errors() -> Iterator[None]:
    """One line for what sbatch refuses, which submitit also prints."""
    from submitit.core.utils import FailedJobError, FailedSubmissionError

    try:
        with contextlib.redirect_stderr(io.StringIO()):
            yield
    except (FailedJobError, FailedSubmissionError) as error:
        message = _last_line(str(error)).removeprefix("sbatch: ").removeprefix("error: ")
        raise EnvironmentUnavailableError(
            f"sbatch: {message}", "see its manual and that of the cluster, and change the options of submit"
        ) from None


def _last_line(text: str) -> str:
    lines = text.strip().splitlines()
    return lines[-1].strip() if lines else "no message"
