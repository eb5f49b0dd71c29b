"""The files of a run from its journal: after a complete run, and after an interrupted one."""

from __future__ import annotations

import csv
import json
import resource
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from avpenet_cli.errors import EnvironmentUnavailableError, OutputError, SettingsError
from avpenet_cli.inputs import Inputs, LeftAside, Recording
from avpenet_cli.records import Balance, Quality, RecordingOutcome, SegmentScore, Status
from avpenet_cli.runs.callbacks import RunCallbacks
from avpenet_cli.runs.journal import Journal, journal_path
from avpenet_cli.scoring.output_files import refuse_replacing_others
from avpenet_cli.scoring.request import ScoreRequest
from avpenet_cli.scoring.results import Results, RunFacts
from avpenet_cli.settings import RunSettings
from avpenet_cli.weights import WeightsEntry
from tests.support.weight_descriptions import make_description

NOW = datetime.now(UTC)
NAMES = ("a.mp4", "=b.mp4", "c.mp4")
SCORED = RecordingOutcome(
    Status.SCORED,
    (SegmentScore(0, 0.0, 3.0, Status.SCORED, Quality(), 7.0, "high", modalities="audio"),),
    Balance(3.0, 3.0),
    facts={"container": "mp4", "creation_time": "2026-03-04T10:15:00+00:00"},
)
FAILED = RecordingOutcome(Status.FAILED, reason="empty_file", message="an empty file")


class Lines(RunCallbacks):
    def __init__(self) -> None:
        self.lines: list[str] = []

    def info(self, message: str, **fields: object) -> None:
        self.lines.append(message)

    warning = info


def requested(folder: Path, **options: object) -> ScoreRequest:
    recordings = tuple(Recording(folder / name, name, f"key of {name}") for name in NAMES)
    weights = WeightsEntry(make_description("w"), None)
    inputs = Inputs(recordings, LeftAside())
    return ScoreRequest(inputs, folder / "scores.csv", weights, RunSettings(), **options)  # type: ignore[arg-type]


Note = Callable[[str, RecordingOutcome], None]


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    opened = Journal(tmp_path / "scores.csv", {})
    yield opened
    opened.close()


@pytest.fixture
def note(journal: Journal, tmp_path: Path) -> Note:
    def note(name: str, outcome: RecordingOutcome) -> None:
        (tmp_path / name).write_bytes(b"x")
        journal.note(Recording(tmp_path / name, name, f"key of {name}"), (tmp_path / name).stat(), outcome)

    return note


def table(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


def complete(request: ScoreRequest, journal: Journal) -> list[str]:
    lines = Lines()
    Results(request).write(journal, RunFacts("cpu", set(), datetime.now(UTC)), lines)
    return lines.lines


def test_interrupted_run_leaves_tables_of_what_is_finished(journal: Journal, note: Note, tmp_path: Path) -> None:
    request = requested(tmp_path)
    request.out.write_text("the table of yesterday")
    results = Results(request)
    assert results.write_partial(journal, set(), NOW) is None
    assert not list(tmp_path.glob("*.partial*"))
    note("a.mp4", SCORED)
    note("c.mp4", FAILED)  # in an earlier run: it will be tried again
    assert results.write_partial(journal, {"key of a.mp4"}, NOW) == tmp_path / "scores.partial.csv"
    assert request.out.read_text() == "the table of yesterday"
    (row,) = table(tmp_path / "scores.partial.csv")
    assert (row["recording"], row["score"], row["recorded_at"]) == ("a.mp4", "7.000", "2026-03-04T10:15:00.000+00:00")
    states = table(tmp_path / "scores.partial.recordings.csv")
    assert [(row["recording"], row["status"], row["segments"], row["peak"]) for row in states] == [
        ("a.mp4", "scored", "1", "7.000"),
        ("'=b.mp4", "to do", "", ""),
        ("c.mp4", "to do", "", ""),
    ]
    assert {path.stat().st_mode & 0o777 for path in tmp_path.glob("*.partial*")} == {0o600}
    assert not (tmp_path / "scores.run.json").exists()
    note("=b.mp4", SCORED)
    complete(request, journal)
    assert not list(tmp_path.glob("*.partial*"))
    assert [row["recording"] for row in table(request.out)] == ["a.mp4", "'=b.mp4"]


def test_tables_of_recordings_and_subjects_are_certified(journal: Journal, note: Note, tmp_path: Path) -> None:
    subjects = tmp_path / "who.csv"
    subjects.write_text("recording,subject\na.mp4,P2\n'=b.mp4,=P1\n")
    for name in NAMES[:2]:
        note(name, SCORED)
    note("c.mp4", FAILED)
    lines = complete(requested(tmp_path, subjects=subjects, csv_bom=True), journal)
    assert lines == [
        "1 recording without a subject in who.csv",
        "2 names with = + - @ or a tab in front: CSV files have an apostrophe before it, so that spreadsheets "
        "do not take it for a formula",
    ]
    content = json.loads((tmp_path / "scores.run.json").read_text())
    assert [entry["escaped_names"] for entry in (content["table"], *content["summaries"])] == [1, 1, 1]
    assert [(entry["file"], entry["rows"]) for entry in content["summaries"]] == [
        ("scores.recordings.csv", 3),
        ("scores.subjects.csv", 2),
    ]
    assert content["recorded_at"] == {"source": "container", "known": 2, "unknown": 1}
    assert [entry["recording"] for entry in content["recordings"]] == list(NAMES)
    assert all("creation_time" not in entry["streams"] for entry in content["recordings"])
    rows = table(tmp_path / "scores.subjects.csv")
    assert [(row["subject"], row["recordings"], row["audio"], row["peak"]) for row in rows] == [
        ("P2", "1", "1", "7.000"),
        ("'=P1", "1", "1", "7.000"),
    ]
    for name in ("scores.csv", "scores.recordings.csv", "scores.subjects.csv"):
        assert (tmp_path / name).read_bytes().startswith(b"\xef\xbb\xbf")


def test_table_of_subjects_of_an_earlier_run_is_reported(journal: Journal, note: Note, tmp_path: Path) -> None:
    subjects = tmp_path / "who.csv"
    subjects.write_text("recording,subject\na.mp4,P1\n")
    note("a.mp4", SCORED)
    request = requested(tmp_path, subjects=subjects)
    complete(request, journal)
    Results(request).write_partial(journal, set(), NOW)
    Results(requested(tmp_path)).write_partial(journal, set(), NOW)
    assert not (tmp_path / "scores.partial.subjects.csv").exists()
    line = "scores.subjects.csv is of an earlier run: give --subjects to renew it, or remove it"
    assert complete(requested(tmp_path), journal)[-1] == line
    (tmp_path / "scores.subjects.csv").write_text("recording,subject\n")
    assert line not in complete(requested(tmp_path), journal)


def test_subjects_of_other_recordings_are_refused(tmp_path: Path) -> None:
    subjects = tmp_path / "who.csv"
    subjects.write_text("recording,subject\nx.mp4,P1\n")
    with pytest.raises(SettingsError, match=r"who\.csv: names none of the recordings"):
        Results(requested(tmp_path, subjects=subjects))


@pytest.mark.parametrize("option", ["subjects", "recorded_at"])
def test_tables_that_a_run_reads_are_not_replaced(option: str, tmp_path: Path) -> None:
    path = tmp_path / "scores.recordings.csv"
    path.write_text("recording,recorded_at,subject\na.mp4,2026-03-04T10:15:00,P1\n")
    with pytest.raises(SettingsError, match=r"would overwrite .*scores\.recordings\.csv"):
        Results(requested(tmp_path, **{option: path if option == "subjects" else str(path)}))


def test_files_beside_the_table_are_replaced_only_if_they_are_its_own(
    journal: Journal, note: Note, tmp_path: Path
) -> None:
    subjects = tmp_path / "who.csv"
    subjects.write_text("recording,subject\na.mp4,P1\n")
    note("a.mp4", SCORED)
    request = requested(tmp_path, subjects=subjects, csv_bom=True)
    complete(request, journal)
    Results(request).write_partial(journal, set(), NOW)
    refuse_replacing_others(request.out, with_subjects=True)
    (tmp_path / "scores.subjects.csv").write_text("recording,subject\n")
    refuse_replacing_others(request.out, with_subjects=False)
    with pytest.raises(OutputError, match=r"scores\.subjects\.csv exists, and avpenet score did not write it"):
        refuse_replacing_others(request.out, with_subjects=True)
    journal_path(tmp_path / "scores.partial.csv").touch()
    with pytest.raises(OutputError, match=r"scores\.partial\.csv is the output of another run"):
        refuse_replacing_others(request.out, with_subjects=False)


def test_pseudonyms_keep_the_times_of_files_out_of_the_manifest(journal: Journal, note: Note, tmp_path: Path) -> None:
    note("a.mp4", SCORED)
    for options, stated in (({}, False), ({"recorded_at": "container"}, True)):
        complete(requested(tmp_path, pseudonymised=True, **options), journal)
        (entry,) = json.loads((tmp_path / "scores.run.json").read_text())["recordings"]
        assert bool(entry["recorded_at"]) is bool(entry["file"]["modified"]) is stated


@pytest.mark.parametrize(("room_bytes", "where"), [(280, "scores.csv"), (2000, "scores.run.json")])
def test_full_disk_leaves_the_old_files_whole(
    room_bytes: int, where: str, journal: Journal, note: Note, tmp_path: Path
) -> None:
    note("a.mp4", SCORED)
    results = Results(requested(tmp_path))
    facts = RunFacts("cpu", set(), datetime.now(UTC))
    results.write(journal, facts, Lines())
    before = (tmp_path / where).read_bytes()
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (room_bytes, limit[1]))
    try:
        with pytest.raises(EnvironmentUnavailableError, match=rf"no space left to write .*{where};"):
            results.write(journal, facts, Lines())
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    assert (tmp_path / where).read_bytes() == before
    assert not list(tmp_path.glob("*.tmp")) + list(tmp_path.glob(".*.tmp"))
