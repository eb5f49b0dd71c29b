"""`avpenet verify` from calibrations, pages of monitor and packs back to the tables they were made from."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from avpenet_cli.ratings.sampling import SampleRequest, draw_sample
from avpenet_cli.verification.nodes import State
from avpenet_cli.verification.run import verify_files
from tests.monitoring.archives import ArchiveFiles, make_archive
from tests.support.reports import FEW_RESAMPLES, Avpenet

DOCUMENTS = ("site.json", "monitor.html", "pack/pack.json")


@pytest.fixture(scope="module")
def made(avpenet_here: Avpenet, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Score tables, a calibration to ratings of the older one, the page that monitors the newer one, and a pack."""
    folder = tmp_path_factory.mktemp("made")
    files: ArchiveFiles = make_archive(folder, weeks=(8, 2))
    rated = ["--reference", files.ratings, "--subjects", files.subjects]
    done = avpenet_here("calibrate", files.old, *rated, *FEW_RESAMPLES, "--out", folder / "site.json")
    assert done.code == 0, done.err
    page = ["--runs", "1000", "--out", folder / "monitor.html"]
    assert avpenet_here("monitor", files.new, "--baseline", folder / "site.json", *rated, *page).code in (0, 4)
    draw_sample(SampleRequest((str(files.old),), n=12, out=folder / "pack", subjects=files.subjects))
    return folder


@pytest.fixture
def folder(made: Path, tmp_path: Path) -> Path:
    """A copy to alter."""
    return Path(shutil.copytree(made, tmp_path / "copy"))


def faults(folder: Path, *names: str) -> dict[str, State]:
    """What is altered or missing, by name."""
    result = verify_files([folder / name for name in names or DOCUMENTS], [folder], None)
    found = {node.name: node.state for root in result.files for node in root.walk()}
    return {name: state for name, state in found.items() if state in ("altered", "missing")}


def test_what_nobody_touched_is_intact_to_the_tables(made: Path) -> None:
    assert faults(made) == {}
    for name, tables in zip(DOCUMENTS, (("old", "ratings"), ("new", "old", "ratings"), ("old",)), strict=True):
        (root,) = verify_files([made / name], [made], None).files
        assert {f"{table}.csv" for table in (*tables, "subjects")} <= {node.name for node in root.walk()}, name


@pytest.mark.parametrize(
    ("table", "documents"),
    [
        ("old.csv", DOCUMENTS),
        ("new.csv", ("monitor.html",)),
        ("ratings.csv", ("site.json", "monitor.html")),
        ("subjects.csv", DOCUMENTS),
    ],
)
def test_an_edited_table_shows_in_all_that_was_made_from_it(
    folder: Path, table: str, documents: tuple[str, ...]
) -> None:
    with (folder / table).open("a") as file:
        file.write("\n")
    for name in DOCUMENTS:
        assert (faults(folder, name).get(table) == "altered") == (name in documents), name


@pytest.mark.parametrize(
    ("name", "before", "after"),
    [
        ("site.json", '"half_width": ', '"half_width": 0'),
        ("monitor.html", "</title>", " (nothing changed)</title>"),
        ("monitor.json", '"alarms": [', '"alarms":  ['),
        ("pack/pack.json", '"probability": 0.', '"probability": 0.0'),
    ],
)
def test_an_edited_document_shows(folder: Path, name: str, before: str, after: str) -> None:
    path = folder / name
    text = path.read_text()
    assert before in text
    path.write_text(text.replace(before, after, 1))
    assert faults(folder)[path.name] == "altered"


@pytest.mark.parametrize(
    ("name", "before", "after"),
    [("site.json", '"coverage": 0.9', '"coverage": 0.8'), ("pack/pack.json", '"n": 12', '"n": 13')],
)
def test_a_document_with_a_digest_of_its_own_needs_no_history(folder: Path, name: str, before: str, after: str) -> None:
    path = folder / name
    path.with_name(f"{path.name}.history.jsonl").unlink()
    intact = faults(folder, name)
    assert intact.pop(f"{path.name}.history.jsonl", "missing") == "missing"
    assert intact == {}
    text = path.read_text()
    assert before in text
    path.write_text(text.replace(before, after, 1))
    assert faults(folder, name)[path.name] == "altered"
