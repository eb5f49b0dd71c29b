"""What a run leaves beside its table: journal, manifest, history, embeddings, plan and journals of shards."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Sequence
from pathlib import Path

from tests.fuzz.case_target import case_target
from tests.fuzz.cases import Case
from tests.fuzz.trials import command

_NAMES = ("a.wav", "b.wav", "bad.wav", "d.wav")
_JOURNAL = "scores.csv.journal"


def _prepare(corpus: Path) -> None:
    from avpenet_cli.cluster.jobs_record import JOBS_VERSION, JobsRecord, write_jobs
    from tests.support.shard_runs import make_recordings, requested, run, run_shard

    whole = corpus / "whole"
    whole.mkdir()
    recordings = make_recordings(whole, _NAMES)
    run(requested(whole / "scores.csv", recordings, embeddings=whole / "embeddings.parquet"))
    # The keys of recordings depend on where these were made; a trial has them elsewhere.
    (whole / "keys.json").write_text(json.dumps([recording.key for recording in recordings]), encoding="utf-8")
    sharded = corpus / "sharded"
    sharded.mkdir()
    request = requested(sharded / "scores.csv", make_recordings(sharded, _NAMES), embeddings=sharded / "e.parquet")
    for number in (1, 2):
        run_shard(request, number, 2)
    write_jobs(request.out, JobsRecord(JOBS_VERSION, "slurm", "2026-03-04T10:15:00+00:00", 2, "12", "13"))
    stored = corpus / "manifest-only"
    stored.mkdir()
    run(requested(stored / "scores.csv", make_recordings(stored, _NAMES)))
    for path in stored.glob("*journal*"):
        path.unlink()


def _status(folder: Path) -> str:
    return command("status", folder / "scores.csv")


def _failed(folder: Path) -> str:
    return command("status", folder / "scores.csv", "--failed")


def _verify(folder: Path) -> str:
    return command("verify", folder / "scores.csv", "--recordings", folder)


def _merge(folder: Path) -> str:
    return command("merge", folder / "scores.csv", "--embeddings", folder / "e.parquet")


def _resume(folder: Path) -> None:
    """What a run of `score` that resumes reads and writes, but for the network."""
    from avpenet_cli.inputs import Recording
    from tests.support.shard_runs import requested, run

    keys: Sequence[str] = json.loads((folder / "keys.json").read_text(encoding="utf-8"))
    recordings = [Recording(folder / name, name, key) for name, key in zip(_NAMES, keys, strict=True)]
    run(requested(folder / "scores.csv", recordings, embeddings=folder / "embeddings.parquet"))


def _append(folder: Path) -> None:
    """What every command that writes does with the history."""
    from datetime import UTC, datetime

    from avpenet_cli.runs.history import locked_history
    from avpenet_cli.runs.history_chain import read_chain

    out = folder / "scores.csv"
    read_chain(out)
    with locked_history(out) as history:
        history.append("score", written=[out], read=[], command="avpenet score", started=datetime.now(UTC))


def _jobs(folder: Path) -> None:
    from avpenet_cli.cluster.jobs_record import read_jobs
    from avpenet_cli.shards.plan import read_plan

    for read in (read_jobs, read_plan):
        read(folder / "scores.csv")


def _lease(folder: Path) -> None:
    from avpenet_cli.runs.holder import read_lease

    lock = folder / "lease"
    lock.mkdir()
    (folder / "holder.json").rename(lock / ("0" * 16))
    lease = read_lease(lock)
    assert lease is not None
    with contextlib.suppress(TypeError):
        str(lease.holder)
    lease.lives_here  # noqa: B018 - read for its errors


def _prepare_all(corpus: Path) -> None:
    _prepare(corpus)
    leased = corpus / "leased"
    leased.mkdir()
    facts = {"pid": 1, "host": "here", "since": "2026-03-04T10:15:00+00:00", "kernel": "k", "started": 1}
    (leased / "holder.json").write_text(json.dumps(facts | {"token": "0" * 16}), encoding="utf-8")


OUTPUTS = case_target(
    "outputs",
    "journals, manifests, histories, embeddings, shards and their plan",
    _prepare_all,
    [
        Case("status", "whole", (_JOURNAL, "scores.run.json"), _status),
        Case("status, no journal", "manifest-only", ("scores.run.json",), _status),
        Case("status --failed", "whole", (_JOURNAL,), _failed, weight=0.5),
        Case("status of shards", "sharded", ("*.shards/**/*.journal", "*.shards/*.json"), _status),
        Case("resume", "whole", (_JOURNAL, "embeddings.parquet*", "scores.run.json", "scores.history.jsonl"), _resume),
        Case("verify", "whole", ("scores*", "*.json"), _verify),
        Case("history", "whole", ("scores.csv.history.jsonl",), _append),
        Case("merge", "sharded", ("*.shards/*.*", "*.shards/.*.journal"), _merge, weight=2.0),
        Case("jobs and plan", "sharded", ("*.shards/*.json",), _jobs),
        Case("lease", "leased", ("holder.json",), _lease, weight=0.5),
    ],
    ci_trials=40,
)
