"""`avpenet verify` on an archive that the program wrote, and on what people can do to it."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import jsonschema
import pytest

from avpenet_cli import schemas
from avpenet_cli.errors import SettingsError
from avpenet_cli.report.document.provenance import SignedBy
from avpenet_cli.report.signing import sign_existing
from avpenet_cli.runs.history import digest_of_line, history_path
from avpenet_cli.verification.recordings import RecordingFolder, check_recordings
from tests.conftest import Answer
from tests.verification.archives import Archive, N, make_archive, nodes, report, score

Avpenet = Callable[..., Answer]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Archive:
    return make_archive(tmp_path_factory.mktemp("archive"))


@pytest.fixture
def archive(made: Archive, tmp_path: Path) -> Archive:
    """A copy to alter."""
    return Archive(Path(shutil.copytree(made.folder, tmp_path / "archive")))


def edit(path: Path, before: str, after: str) -> None:
    text = path.read_text()
    assert before in text
    path.write_text(text.replace(before, after, 1))


def remove_lines(path: Path, first: int, last: int) -> None:
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[: first - 1] + lines[last:]))


def test_untouched_archive_is_intact_to_its_recordings(made: Archive) -> None:
    result = made.verify(with_recordings=True)
    assert (result.intact, result.counts["altered"], result.counts["missing"], result.counts["not checked"]) == (
        *(True, 0, 0),
        0,
    )
    found = nodes(result)
    assert {
        *("report.html", "report.html.history.jsonl", "report.json", "report.review.csv", "report.review.m3u8"),
        *("scores.csv", "scores.csv.history.jsonl", "scores.run.json", "scores.recordings.csv", "own"),
        *("ratings.csv", "subjects.csv", f"{N} recordings"),
    } == set(found)
    assert found["own"].content == "weights"


def test_recordings_are_not_checked_unless_they_are_asked_for(made: Archive) -> None:
    result = made.verify()
    assert result.intact
    assert result.counts["not checked"] == 1
    assert nodes(result)[f"{N} recordings"].detail.startswith("give --recordings FOLDER")


def test_edited_cell_of_the_score_table_shows(archive: Archive) -> None:
    edit(archive.scores, ",5.000,", ",4.000,")
    problem = "no line of scores.csv.history.jsonl has its digest; line 1 wrote it last"
    assert archive.faults(archive.scores) == {"scores.csv": ("altered", problem)}
    assert archive.faults() == {"scores.csv": ("altered", f"{problem}; report.json has another digest of it")}


@pytest.mark.parametrize("name", ["ratings.csv", "subjects.csv", "report.review.csv", "report.json", "scores.run.json"])
def test_edited_file_shows(archive: Archive, name: str) -> None:
    with (archive.folder / name).open("a") as file:
        file.write("\n")
    assert archive.faults().keys() == {name}
    assert archive.faults()[name][0] == "altered"


def test_edited_page_shows(archive: Archive) -> None:
    edit(archive.report, "</title>", " (approved)</title>")
    assert archive.faults().keys() == {"report.html"}


def test_swapped_weights_show(archive: Archive) -> None:
    (archive.folder / "own.safetensors").write_bytes(b"other tensors")
    assert archive.faults() == {"own": ("altered", "the tensors have another digest than their description states")}
    assert archive.faults(archive.folder / "own.safetensors").keys() == {"own.safetensors"}
    (archive.folder / "own.safetensors").unlink()
    assert archive.faults()["own"][0] == "missing"


def test_a_recording_that_failed_has_no_digest_and_is_not_altered(tmp_path: Path) -> None:
    (tmp_path / "bad.mp4").write_bytes(b"no video")
    failed = {"recording": "bad.mp4", "file": {"size_bytes": 8, "sha256": ""}}
    scored = {"recording": "good.mp4", "file": {"size_bytes": 4, "sha256": "5" * 64}}
    (tmp_path / "good.mp4").write_bytes(b"good")
    node = check_recordings([failed, scored], RecordingFolder(tmp_path), lambda path: "5" * 64)
    assert node is not None and (node.state, node.links) == ("intact", ())
    assert node.detail == "1 intact; 1 recording without a digest in the manifest"


def test_altered_and_missing_recordings_are_named(archive: Archive) -> None:
    (archive.recordings / "03.mp4").write_bytes(b"another video")
    (archive.recordings / "07.mp4").unlink()
    faults = archive.faults(with_recordings=True)
    assert faults.keys() == {f"{N} recordings", "03.mp4", "07.mp4"}
    assert (faults["03.mp4"][0], faults["07.mp4"][0]) == ("altered", "missing")
    with pytest.raises(SettingsError, match="no such folder"):
        Archive(archive.folder / "absent").verify(archive.report, with_recordings=True)


def test_inputs_elsewhere_are_missing_until_their_folder_is_named(archive: Archive, avpenet_here: Avpenet) -> None:
    elsewhere = archive.folder / "tables"
    elsewhere.mkdir()
    shutil.move(archive.folder / "ratings.csv", elsewhere)
    done = avpenet_here("verify", archive.report)
    assert (done.code, done.out.splitlines()[-1][:10]) == (4, "NOT INTACT")
    assert "ratings ratings.csv: missing" in done.out
    done = avpenet_here("verify", archive.report, "--inputs", elsewhere, "--recordings", archive.recordings)
    assert done.code == 0
    assert done.out.splitlines()[-1].startswith("INTACT: ")


def test_history_survives_another_run_and_says_which_bytes_are_whose(archive: Archive) -> None:
    first = archive.scores.read_bytes()
    score(archive, 1.0)
    assert len(history_path(archive.scores).read_bytes().splitlines()) == 2
    assert archive.faults(archive.scores) == {}
    manifest = json.loads((archive.folder / "scores.run.json").read_text())
    assert manifest["history"]["line"] == 1
    # The report was made from the first table and its manifest.
    assert archive.faults() == {
        name: ("altered", "report.json has another digest of it") for name in ("scores.csv", "scores.run.json")
    }
    archive.scores.write_bytes(first)
    assert archive.faults(archive.scores)["scores.csv"][1] == "line 1 wrote these bytes, but line 2 wrote others later"


def test_table_that_got_columns_has_the_scores_that_the_report_states(archive: Archive) -> None:
    before = archive.scores.read_bytes()
    score(archive, baseline="quiet")
    assert archive.scores.read_bytes() != before
    assert archive.faults() == {}
    details = [node.detail for root in archive.verify().files for node in root.walk()]
    for scores in ("scores", "scores of its table"):
        end = f"the {scores} that report.json states; line 2 rewrote the rest"
        assert any(detail.endswith(end) for detail in details), end
    # The history alone is no witness: it does not say what was scored.
    text = archive.scores.read_text()
    score(archive, 1.0, baseline="quiet")
    assert archive.scores.read_text() != text
    assert archive.faults().keys() == {"scores.csv", "scores.run.json"}
    # Nor are equal scores, without a run that wrote what the report was made from.
    score(archive, baseline="quiet")
    remove_lines(history_path(archive.scores), 1, 1)
    assert archive.faults().keys() == {"scores.csv", "scores.run.json", "scores.csv.history.jsonl"}


def test_lines_that_are_removed_show(archive: Archive) -> None:
    for points in (1.0, 2.0, 3.0):
        score(archive, points)
    history = history_path(archive.scores)
    whole = history.read_bytes()
    for first, last, problem in (
        (1, 1, "removed from the beginning"),
        (2, 2, "lines before it were removed"),
        (4, 4, "was written after line 3; lines were removed from the end"),
        (3, 4, "was written after line 3; lines were removed from the end"),
    ):
        history.write_bytes(whole)
        remove_lines(history, first, last)
        faults = archive.faults(archive.scores)
        assert problem in faults[history.name][1], (first, last)
        assert ("scores.csv" in faults) == (last == 4)
    history.unlink()
    assert archive.faults(archive.scores)[history.name] == ("missing", "scores.run.json states that there is one")


def test_rewritten_chain_does_not_fit_what_the_manifest_states(archive: Archive) -> None:
    def sealed(line: bytes) -> bytes:
        body = line[: line.index(b', "sha256": "', line.index(b'"read": '))] + b"}"
        return body[:-1] + f', "sha256": "{digest_of_line(body)}"}}'.encode()

    score(archive, 1.0)
    history = history_path(archive.scores)
    first, second = history.read_bytes().splitlines()
    first = sealed(first.replace(b'"operator": "', b'"operator": "not '))
    second = sealed(second.replace(json.loads(second)["previous"].encode(), digest_of_line(first).encode()))
    history.write_bytes(first + b"\n" + second + b"\n")
    assert archive.faults(archive.scores) == {
        history.name: ("altered", "line 1 is not the one that scores.run.json states")
    }


def test_last_line_cannot_be_edited_unseen(archive: Archive) -> None:
    sign_existing(archive.report, SignedBy("Dr. X", "QA"))
    history = history_path(archive.report)
    edit(history, "Dr. X", "Dr. Y")
    assert "line 2 was edited" in archive.faults()[history.name][1]


@pytest.mark.parametrize("kind", ["pipe", "folder", "link"])
def test_histories_that_are_no_files_are_neither_read_nor_waited_for(archive: Archive, kind: str) -> None:
    for name in ("scores.csv.history.jsonl", "another.history.jsonl"):
        path = archive.folder / name
        path.unlink(missing_ok=True)
        if kind == "pipe":
            os.mkfifo(path)
        elif kind == "folder":
            path.mkdir()
        else:
            path.symlink_to("elsewhere")
    # The other one is nobody's business.
    assert archive.faults().keys() == {"scores.csv", "scores.csv.history.jsonl"}


def test_copy_elsewhere_does_not_hide_what_was_altered_here(archive: Archive, made: Archive) -> None:
    for name in ("ratings.csv", "report.review.csv"):
        (archive.folder / name).write_text("other")
    found = nodes(archive.verify(archive.report, made.report))
    assert found["report.review.csv"].state == "altered"
    assert found["ratings.csv"].state == "intact"
    assert "the one beside report.json has another digest" in found["ratings.csv"].detail


@pytest.mark.parametrize(
    "content",
    [
        {"recordings": [{"recording": "a.mp4", "file": "a"}, {"file": {"sha256": "0" * 64}}], "weights": {"name": "/"}},
        {"history": {"line": -5, "sha256": ""}, "inputs": {"name": "x" * 5000, "sha256": "0" * 64}},
    ],
)
def test_manifest_of_another_form_is_altered(archive: Archive, content: dict[str, object]) -> None:
    manifest = archive.folder / "scores.run.json"
    manifest.write_text(json.dumps(json.loads(manifest.read_text()) | content))
    assert archive.faults(with_recordings=True)["scores.run.json"][0] == "altered"


def test_documents_that_name_one_another_end(archive: Archive) -> None:
    def document(name: str, of: str) -> Path:
        (archive.folder / name).write_text(json.dumps({"inputs": [{"name": of, "sha256": "0" * 64}]}))
        return archive.folder / name

    document("p.json", "q.json")
    assert archive.faults(document("q.json", "p.json")).keys() == {"p.json", "q.json"}
    for number in range(400):
        document(f"{number}.json", f"{number + 1}.json")
    with pytest.raises(SettingsError, match="further than can be followed"):
        archive.verify(archive.folder / "0.json")


def test_folder_is_refused_with_the_name_of_a_file_in_it(archive: Archive) -> None:
    with pytest.raises(SettingsError, match=r"is a folder"):
        archive.verify(archive.folder)


def test_sign_off_holds_until_the_report_changes(archive: Archive) -> None:
    sign_existing(archive.report, SignedBy("Dr. X", "QA"))
    result = archive.verify()
    assert result.intact
    assert nodes(result)["Dr. X, QA"].content == "sign-off"
    report(archive)
    assert "line 3 replaced it" in archive.faults()["Dr. X, QA"][1]
    sign_existing(archive.report, SignedBy("Dr. Y", "head"))
    assert archive.faults() == {}
    assert "line 4 signs the present one" in nodes(archive.verify())["Dr. X, QA"].detail
    edit(archive.report, "</title>", " (approved)</title>")
    assert archive.faults().keys() == {"report.html", "Dr. X, QA", "Dr. Y, head"}
    with pytest.raises(SettingsError, match=r"report\.html is not as the last line"):
        sign_existing(archive.report, SignedBy("Dr. Z", "QA"))


def test_report_without_an_intact_history_is_not_signed(archive: Archive) -> None:
    history = history_path(archive.report)
    edit(history, '"operator": "', '"unknown": "", "operator": "')
    with pytest.raises(SettingsError, match="not intact"):
        sign_existing(archive.report, SignedBy("Dr. X", "QA"))
    history.unlink()
    with pytest.raises(SettingsError, match="is not as the last line of its history states it"):
        sign_existing(archive.report, SignedBy("Dr. X", "QA"))
    assert not history.exists()


def test_file_that_nothing_certifies_is_no_success(archive: Archive) -> None:
    assert archive.faults(archive.folder / "ratings.csv") == {
        "ratings.csv": ("missing", "neither a history nor a manifest beside it certifies it")
    }
    with pytest.raises(SettingsError, match="no such file"):
        archive.verify(archive.folder / "absent.html")


def test_pseudonyms_keep_every_name_of_an_input_out_of_the_history(archive: Archive) -> None:
    (archive.folder / "subjects.csv").write_text(
        "recording,subject\n" + "".join(f"rec-{number:02},P{number}\n" for number in range(N))
    )
    for path in archive.folder.glob("scores*"):
        path.unlink()
    score(archive, pseudonymised=True, subjects=True)
    text = history_path(archive.scores).read_text()
    (line,) = map(json.loads, text.splitlines())
    assert [(file["content"], file["file"]) for file in line["read"]] == [("subjects", "")]
    assert not any(word in text for word in (".mp4", "rec-", str(archive.folder), '"subjects.csv"'))
    result = archive.verify(archive.scores, with_recordings=True)
    assert result.intact
    assert nodes(result)["(name not recorded)"].state == "not checked"


def test_json_follows_its_schema(archive: Archive, avpenet_here: Avpenet) -> None:
    (archive.folder / "ratings.csv").unlink()
    done = avpenet_here("verify", archive.report, archive.scores, "--json")
    assert done.code == 4
    content = json.loads(done.out)
    folder = Path(schemas.__file__).parent
    jsonschema.validate(content, json.loads((folder / "verify.schema.json").read_text()))
    assert content["intact"] is False
    line = json.loads(history_path(archive.scores).read_text())
    jsonschema.validate(line, json.loads((folder / "history.schema.json").read_text()))
