"""Tables: scores, ratings, subjects, events, times, lists, rating sheets, in every format."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

from tests.fuzz.case_target import case_target
from tests.fuzz.cases import Case

_SUFFIXES = (".csv", ".jsonl", ".parquet")


def _prepare(corpus: Path) -> None:
    import pandas as pd

    from examples.make_study import make_study

    study = corpus / "study"
    study.mkdir()
    make_study(study, recordings=4, seed=3)
    scores = pd.read_csv(study / "scores.csv")
    names = scores["recording"].unique()
    times = pd.DataFrame({"recording": names, "recorded_at": [f"2026-03-0{n + 1}T10:15:00" for n in range(len(names))]})
    times.to_csv(study / "times.csv", index=False)
    ratings = pd.read_csv(study / "ratings.csv")
    points = ratings.drop(columns=["end_s"]).rename(columns={"start_s": "time_s"})
    points.to_csv(study / "points.csv", index=False)
    (study / "list.txt").write_text("".join(f"videos/{name}\n" for name in names), encoding="utf-8")
    for suffix in _SUFFIXES:
        shutil.copytree(study, corpus / f"study{suffix}")
        for path in (corpus / f"study{suffix}").glob("*.csv"):
            table = pd.read_csv(path)
            if suffix == ".jsonl":
                path.with_suffix(suffix).write_text(table.to_json(orient="records", lines=True), encoding="utf-8")
            elif suffix == ".parquet":
                table.to_parquet(path.with_suffix(suffix))
            if suffix != ".csv":
                path.unlink()


def _scores(folder: Path, suffix: str) -> object:
    from avpenet_cli.study.score_tables import read_scores, scores_digest

    return scores_digest(read_scores([folder / f"scores{suffix}"]))[:0] or None


def _ratings(folder: Path, suffix: str) -> object:
    from avpenet_cli.study.ratings import read_ratings

    return [read_ratings(folder / f"{name}{suffix}") for name in ("ratings", "points")]


def _subjects(folder: Path, suffix: str) -> object:
    from avpenet_cli.study.subjects import read_subjects

    return read_subjects(folder / f"subjects{suffix}").matched_to(["north/rec-0001.mp4"])


def _events(folder: Path, suffix: str) -> object:
    from avpenet_cli.study.ratings import read_events

    return read_events(folder / f"events{suffix}")


def _times(folder: Path, suffix: str) -> object:
    from avpenet_cli.study.recording_times import read_recording_times

    return read_recording_times(folder / f"times{suffix}")


def _list(folder: Path, suffix: str) -> object:
    from avpenet_cli.inputs.lists import read_list

    return read_list(str(folder / "list.txt"))


def _together(folder: Path, suffix: str) -> object:
    """What `report` does before it computes anything."""
    from avpenet_cli.study.ratings import read_events, read_ratings
    from avpenet_cli.study.score_tables import read_scores
    from avpenet_cli.study.subjects import read_subjects
    from avpenet_cli.study.tables import match_tables, summarise_weights

    inputs = match_tables(
        read_scores([folder / f"scores{suffix}"]),
        read_ratings(folder / f"ratings{suffix}"),
        read_subjects(folder / f"subjects{suffix}"),
        read_events(folder / f"events{suffix}"),
        read_scores([folder / f"scores-new{suffix}"]),
    )
    return summarise_weights(inputs.scores)


def _series(folder: Path, suffix: str) -> object:
    """What `trajectory` does before it computes anything."""
    from avpenet_cli.study.ratings import read_events, read_ratings
    from avpenet_cli.study.score_tables import read_scores
    from avpenet_cli.study.subjects import read_subjects
    from avpenet_cli.study.tables import match_tables
    from avpenet_cli.trajectory.reading import SeriesReader

    inputs = match_tables(
        read_scores([folder / f"scores{suffix}"]),
        read_ratings(folder / f"points{suffix}"),
        read_subjects(folder / f"subjects{suffix}"),
        read_events(folder / f"events{suffix}"),
    )
    return SeriesReader(inputs).names


def _rated_rows(folder: Path, suffix: str) -> object:
    from avpenet_cli.ratings.agreement_tables import read_rated_rows

    return read_rated_rows([folder / f"ratings{suffix}"])


_READERS: dict[str, tuple[tuple[str, ...], Callable[[Path, str], object]]] = {
    "scores": (("scores", "scores.run.json"), _scores),
    "ratings": (("ratings", "points"), _ratings),
    "subjects": (("subjects",), _subjects),
    "events": (("events",), _events),
    "times": (("times",), _times),
    "report's": (("scores", "ratings", "subjects", "events", "scores-new"), _together),
    "trajectory's": (("scores", "points", "subjects", "events"), _series),
    "raters'": (("ratings",), _rated_rows),
}


def _cases() -> list[Case]:
    cases = [Case("list", "study", ("list.txt",), lambda folder: _list(folder, ""))]
    for suffix in _SUFFIXES:
        for name, (files, read) in _READERS.items():
            damaged = tuple(file if file.endswith(".json") else f"{file}{suffix}" for file in files)

            def call(folder: Path, read: Callable[[Path, str], object] = read, suffix: str = suffix) -> object:
                read(folder, suffix)
                return None

            weight = 3.0 if suffix == ".csv" else 1.0
            cases.append(Case(f"{name} {suffix}", f"study{suffix}", damaged, call, weight=weight))
    return cases


TABLES = case_target("tables", "tables and lists in every format", _prepare, _cases(), ci_trials=100)
