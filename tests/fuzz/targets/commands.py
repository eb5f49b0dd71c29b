"""Commands that read tables and documents, from end to end, in this process."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from tests.fuzz.case_target import case_target
from tests.fuzz.cases import Case
from tests.fuzz.targets.documents import reseal_content
from tests.fuzz.trials import Limits, command

_EXAMPLES = Path(__file__).resolve().parents[3] / "examples"


def _prepare(corpus: Path) -> None:
    import pandas as pd

    from examples.make_study import make_study
    from tests.monitoring.archives import make_archive, write_embeddings

    study = corpus / "study"
    study.mkdir()
    make_study(study, recordings=40, seed=3)
    with (study / "subjects.csv").open("a", encoding="utf-8") as file:
        file.write("north/rec-0041.mp4,S0041,adult,north,female,2026-03\n")  # the recording that failed
    shutil.copy(_EXAMPLES / "alerts.toml", study)
    command("calibrate", study / "scores.csv", *_tables(study)[:4], "--bootstrap", "200", "--out", study / "site.json")
    command("ratings", "sample", study / "scores.csv", "--n", "12", "--out", study / "pack", "--seed", "1")
    for sheet in study.glob("pack/*/ratings.csv"):
        pd.read_csv(sheet).assign(value=lambda rows: rows.index % 9).to_csv(sheet, index=False)
    command("ratings", "join", *sorted(study.glob("pack/*/ratings.csv")), "--out", study / "sampled.csv")
    command("report", study / "scores.csv", "--out", study / "old.html", "--bootstrap", "200", *_tables(study))
    scores, subjects = (pd.read_csv(study / name) for name in ("scores.csv", "subjects.csv"))
    later = [rows.assign(recording=rows["recording"].str.replace("rec-", "later-")) for rows in (scores, subjects)]
    later[0].to_csv(study / "later-scores.csv", index=False)
    pd.concat([subjects, later[1]]).to_csv(study / "every-subject.csv", index=False)
    archive = corpus / "archive"
    archive.mkdir()
    make_archive(archive, weeks=(8, 4), a_week=3)
    for name in ("old", "new"):
        table = pd.read_csv(archive / f"{name}.csv")
        table["embedding"] = [[float(row), 1.0, 2.0] for row in range(len(table))]
        write_embeddings(archive / f"{name}.parquet", table)


def _tables(folder: Path) -> tuple[str | Path, ...]:
    names = {"reference": "ratings.csv", "subjects": "subjects.csv", "events": "events.csv"}
    return tuple(part for name, file in names.items() for part in (f"--{name}", folder / file))


def _report(folder: Path) -> str:
    return command("report", folder / "scores.csv", *_tables(folder), "--out", folder / "r.html", "--bootstrap", "200")


def _review(folder: Path) -> str:
    return command(
        *("report", folder / "scores.csv", *_tables(folder), "--out", folder / "r.html", "--bootstrap", "200"),
        *("--review", folder / "old.review.csv"),
    )


def _pack(folder: Path) -> str:
    return command(
        *("report", folder / "scores.csv", "--reference", folder / "sampled.csv", *_tables(folder)[2:]),
        *("--out", folder / "r.html", "--bootstrap", "200", "--compare", folder / "scores-new.csv"),
        *("--pack", folder / "pack" / "pack.json"),
    )


def _plan(folder: Path) -> str:
    return command("report", "--plan", "--limit", "2.5", "--limit-source", "x", "--pilot", folder / "old.json")


def _trajectory(folder: Path) -> str:
    options = ("--alerts", folder / "alerts.toml", "--out", folder / "t.html")
    return command("trajectory", folder / "scores.csv", *_tables(folder), *options)


def _calibrate(folder: Path) -> str:
    options = ("--group", "age_group", "--bootstrap", "200", "--out", folder / "s.json", "--max-error", "3")
    return command("calibrate", folder / "scores.csv", *_tables(folder)[:4], *options)


def _agreement(folder: Path) -> str:
    options = ("--subjects", folder / "subjects.csv", "--bootstrap", "200", "--out", folder / "a.json")
    return command("ratings", "agreement", folder / "ratings.csv", *options)


def _sample(folder: Path) -> str:
    options = ("--stratify", "score,age_group", "--subjects", folder / "subjects.csv", "--allow-empty-strata")
    return command("ratings", "sample", folder / "scores.csv", "--n", "12", "--out", folder / "p", *options)


def _join(folder: Path) -> str:
    sheets = sorted((folder / "pack").glob("*/ratings.csv"))
    return command("ratings", "join", *sheets, "--out", folder / "joined.csv")


def _fhir(folder: Path) -> str:
    return command(
        *("export", folder / "scores.csv", "--to", "fhir", "--out", folder / "f.json", "--allow-demonstration"),
        *("--subjects", folder / "subjects.csv"),
    )


def _redcap(folder: Path) -> str:
    return command(
        *("export", folder / "scores.csv", "--to", "redcap", "--out", folder / "f.csv", "--allow-demonstration"),
        *("--subjects", folder / "subjects.csv"),
    )


def _monitor(folder: Path) -> str:
    return command(
        *("monitor", folder / "new.csv", "--baseline", folder / "old.csv", "--subjects", folder / "subjects.csv"),
        *("--reference", folder / "ratings.csv", "--runs", "1000", "--out", folder / "m.html"),
        *("--embeddings", folder / "new.parquet", "--baseline-embeddings", folder / "old.parquet"),
    )


def _monitor_site(folder: Path) -> str:
    options = ("--subjects", folder / "every-subject.csv", "--runs", "1000", "--out", folder / "m.html")
    return command("monitor", folder / "later-scores.csv", "--baseline", folder / "site.json", *options)


def _verify(folder: Path) -> str:
    return command("verify", folder / "old.html", "--json")


def _reseal(content: Any) -> Any:
    return reseal_content(content) if "digest" in content else content


_STUDY = ("scores.csv", "scores.run.json", "ratings.csv", "subjects.csv", "events.csv")
_ARCHIVE = ("*.csv", "*.parquet")

COMMANDS = case_target(
    "commands",
    "report, trajectory, calibrate, monitor, export, ratings and verify",
    _prepare,
    [
        Case("report", "study", _STUDY, _report),
        Case("report --review", "study", ("old.review.csv",), _review),
        Case("report --pack", "study", ("pack/pack.json", "sampled.csv", "scores-new.*"), _pack, _reseal),
        Case("report --plan", "study", ("old.json",), _plan, _reseal),
        Case("trajectory", "study", (*_STUDY, "alerts.toml"), _trajectory),
        Case("calibrate", "study", _STUDY[:4], _calibrate),
        Case("agreement", "study", ("ratings.csv", "subjects.csv"), _agreement),
        Case("sample", "study", _STUDY[:2] + _STUDY[3:4], _sample),
        Case("join", "study", ("pack/*/ratings.csv",), _join),
        Case("export fhir", "study", _STUDY[:2] + _STUDY[3:4], _fhir),
        Case("export redcap", "study", _STUDY[:2] + _STUDY[3:4], _redcap),
        Case("monitor", "archive", _ARCHIVE, _monitor),
        Case("monitor site", "study", ("site.json", "later-scores.csv", "every-subject.csv"), _monitor_site, _reseal),
        Case("verify", "study", ("old*", "scores*", "*.csv"), _verify, _reseal),
    ],
    limits=Limits(seconds=120.0),
    ci_trials=3,
)
