"""Exports: valid FHIR R4 that says what made it, REDCap files that fit each other, and no demonstration passed off."""

from __future__ import annotations

import csv
import hashlib
import json
import stat
from pathlib import Path
from typing import Any

import pytest
from fhir.resources.R4B.bundle import Bundle

from avpenet_cli.runs.history_chain import read_chain
from examples.make_study import make_study
from tests.support.reports import Avpenet, manifest_entry, strict_json, write_manifest, write_scores

ROWS = [
    ("a.mp4", 0.0, 2.0),
    ("a.mp4", 3.0, 9.0),
    ("dark.mp4", 0.0, None),
    ("=cmd|calc.mp4", 0.0, 4.5),
]
AIAST, HTEST = "AIAST", "HTEST"


def archive(folder: Path, recorded_at: str = "2026-03-01T10:00:00+01:00") -> Path:
    """Four recordings of weights for patients: scored, without a score, scored under an odd name, unreadable."""
    scores = write_scores(folder / "scores.csv", ROWS)
    entries = [manifest_entry(name, 6.0, 3.0) for name in ("a.mp4", "dark.mp4", "=cmd|calc.mp4")]
    entries[0]["recorded_at"] = recorded_at
    write_manifest(scores, [*entries, manifest_entry("broken.mp4", 6.0, 0.0, failed=True)])
    names = ("a.mp4", "dark.mp4", "=cmd|calc.mp4", "broken.mp4")
    lines = [f"{name},{subject}" for name, subject in zip(names, ("P1", "P1", "=P2", "P1"), strict=True)]
    (folder / "subjects.csv").write_text("\n".join(["recording,subject", *lines]) + "\n")
    return scores


CALIBRATION = {
    "digest": "ab" * 32, "created": "2026-02-01T08:00:00+00:00", "n_subjects": 40, "n_recordings": 60,
    "n_segments": 900, "n_raters": 3, "recorded_from": "2026-01-02", "recorded_to": "2026-01-30", "coverage": 0.9,
}  # fmt: skip


def calibrated_archive(folder: Path) -> Path:
    """The archive with calibrated columns, whose second segment the calibration leaves unanswered."""
    scores = archive(folder)
    manifest = json.loads(scores.with_suffix(".run.json").read_text())
    cells = ("calibrated,interval_lo,interval_hi,abstained", "3.000,1.000,5.000,0", ",,,1", ",,,", ",,,1")
    lines = [f"{line},{more}" for line, more in zip(scores.read_text().splitlines(), cells, strict=True)]
    scores.write_text("\n".join(lines) + "\n")
    manifest["calibration"] = CALIBRATION
    manifest["table"]["sha256"] = hashlib.sha256(scores.read_bytes()).hexdigest()
    scores.with_suffix(".run.json").write_text(json.dumps(manifest))
    return scores


def to_fhir(avpenet: Avpenet, scores: Path, *options: str | Path) -> dict[str, Any]:
    out = scores.with_name("bundle.json")
    done = avpenet("export", scores, "--to", "fhir", *options, "--out", out)
    assert done.code == 0, done.err
    document: dict[str, Any] = strict_json(out.read_text())
    Bundle.model_validate(document)
    return document


def resources(bundle: dict[str, Any], kind: str) -> list[dict[str, Any]]:
    found = [entry["resource"] for entry in bundle["entry"]]
    return [resource for resource in found if resource["resourceType"] == kind]


def labels(resource: dict[str, Any]) -> list[str]:
    return [label["code"] for label in resource.get("meta", {}).get("security", ())]


def values(observation: dict[str, Any]) -> dict[str, float | None]:
    return {
        component["code"]["coding"][0]["code"]: component.get("valueQuantity", {}).get("value")
        for component in observation["component"]
    }


def test_a_bundle_has_scores_device_and_provenance(avpenet_here: Avpenet, tmp_path: Path) -> None:
    scores = archive(tmp_path)
    bundle = to_fhir(avpenet_here, scores, "--subjects", tmp_path / "subjects.csv")
    first, dark, odd, broken = resources(bundle, "Observation")
    assert values(first) == {
        "mean-score": 5.5, "peak-score": 9.0, "share-high": 0.5, "segments": 2, "scored-segments": 2
    }  # fmt: skip
    assert first["subject"]["type"] == "Patient" and first["subject"]["identifier"]["value"] == "P1"
    assert odd["identifier"][0]["value"] == "=cmd|calc.mp4"
    assert first["effectiveDateTime"] == "2026-03-01T10:00:00+01:00" and "effectiveDateTime" not in dark
    assert first["status"] == "preliminary" and "dataAbsentReason" not in first
    assert dark["status"] == broken["status"] == "cancelled"
    assert dark["dataAbsentReason"]["text"] == "no_face"
    assert broken["dataAbsentReason"]["coding"][0]["code"] == "error"
    assert values(dark)["mean-score"] is None and values(dark)["segments"] == 1
    assert set(values(broken).values()) == {None}
    assert all("valueQuantity" in part or "dataAbsentReason" in part for part in broken["component"])
    (device,) = resources(bundle, "Device")
    assert device["identifier"][0]["value"] == "0123456789ab"
    assert device["property"][1]["valueQuantity"][0]["value"] == 6.0
    (provenance,) = resources(bundle, "Provenance")
    digests = [entity["what"]["identifier"]["value"] for entity in provenance["entity"]]
    files = (scores, scores.with_suffix(".run.json"))
    assert digests == [hashlib.sha256(path.read_bytes()).hexdigest() for path in files]


def test_calibrated_scores_stand_beside_the_raw_ones_with_their_calibration(
    avpenet_here: Avpenet, tmp_path: Path
) -> None:
    scores = calibrated_archive(tmp_path)
    bundle = to_fhir(avpenet_here, scores)
    first, dark, odd, broken = resources(bundle, "Observation")
    names = ("mean-score", "mean-calibrated", "calibrated-segments", "abstained-segments")
    assert [values(first)[name] for name in names] == [5.5, 3.0, 1, 1]
    assert [values(dark)[name] for name in names] == [None, None, 0, 0]
    assert [values(odd)[name] for name in names] == [4.5, None, 0, 1]
    assert "mean-calibrated" not in values(broken)
    (unanswered,) = [part for part in odd["component"] if part["code"]["coding"][0]["code"] == "mean-calibrated"]
    assert unanswered["dataAbsentReason"]["text"] == "no segment has a calibrated score"
    (device,) = resources(bundle, "Device")
    assert {row["type"]["text"]: row["value"] for row in device["version"]}["calibration-digest"] == "ab" * 32
    out = tmp_path / "import.csv"
    done = avpenet_here("export", scores, "--to", "redcap", "--subjects", tmp_path / "subjects.csv", "--out", out)
    assert done.code == 0 and "means calibrated by abababababab" in done.out
    with out.open(newline="") as file:
        rows = list(csv.DictReader(file))
    cells = [(row["avp_mean"], row["avp_calibrated_mean"], row["avp_calibrated"], row["avp_abstained"]) for row in rows]
    assert cells == [("5.500", "3.000", "1", "1"), ("", "", "0", "0"), ("4.500", "", "0", "1"), ("", "", "", "")]
    assert {row["avp_calibration"] for row in rows} == {"ab" * 32}


def test_a_recording_of_the_same_name_from_elsewhere_replaces_nothing(avpenet_here: Avpenet, tmp_path: Path) -> None:
    scores = archive(tmp_path)

    def identifier(sha256: str) -> str:
        manifest = json.loads(scores.with_suffix(".run.json").read_text())
        manifest["recordings"][0]["file"] = {"size_bytes": 1, "modified": "", "sha256": sha256}
        scores.with_suffix(".run.json").write_text(json.dumps(manifest))
        return str(resources(to_fhir(avpenet_here, scores), "Observation")[0]["id"])

    here = identifier("1" * 64)
    assert here == identifier("1" * 64) != identifier("2" * 64)


def test_names_of_files_stay_out_of_the_bundle(avpenet_here: Avpenet, tmp_path: Path) -> None:
    scores = archive(tmp_path)
    scores.with_suffix(".run.json").rename(tmp_path / "miller.run.json")
    bundle = to_fhir(avpenet_here, scores.rename(tmp_path / "miller.csv"))
    assert "miller" not in json.dumps(bundle)


def test_labels_codes_and_references(avpenet_here: Avpenet, tmp_path: Path) -> None:
    bundle = to_fhir(avpenet_here, archive(tmp_path))
    observations = resources(bundle, "Observation")
    assert all(labels(resource) == [AIAST] for resource in (bundle, *observations))
    assert all(not labels(resource) for resource in resources(bundle, "Device"))
    text = json.dumps(bundle)
    assert "loinc" not in text.lower() and HTEST not in text
    assert all("subject" not in observation for observation in observations)
    known = {entry["fullUrl"] for entry in bundle["entry"]}
    (provenance,) = resources(bundle, "Provenance")
    targets = [target["reference"] for target in provenance["target"]]
    assert targets == [f"urn:uuid:{observation['id']}" for observation in observations]
    assert {observation["device"]["reference"] for observation in observations} <= known and len(known) == 7
    (system,) = resources(bundle, "CodeSystem")
    codes = {concept["code"] for concept in system["concept"]}
    assert {name for observation in observations for name in values(observation)} <= codes


def test_the_same_table_gives_the_same_bytes_and_a_private_file(avpenet_here: Avpenet, tmp_path: Path) -> None:
    scores, out = archive(tmp_path), tmp_path / "bundle.json"
    to_fhir(avpenet_here, scores)
    first = out.read_bytes()
    assert stat.S_IMODE(out.stat().st_mode) == 0o600
    to_fhir(avpenet_here, scores)
    assert out.read_bytes() == first


def test_a_time_without_offset_is_stated_as_a_day(avpenet_here: Avpenet, tmp_path: Path) -> None:
    bundle = to_fhir(avpenet_here, archive(tmp_path, "2026-03-01T10:00:00"))
    assert resources(bundle, "Observation")[0]["effectiveDateTime"] == "2026-03-01"


def test_demonstration_weights_are_refused_or_marked_as_test_data(avpenet_here: Avpenet, tmp_path: Path) -> None:
    make_study(tmp_path, recordings=12, segments=5.0)
    for target, name in (("fhir", "out.json"), ("redcap", "out.csv")):
        done = avpenet_here("export", tmp_path / "scores.csv", "--to", target, "--out", tmp_path / name)
        assert done.code == 2 and "demonstration weights" in done.err and not (tmp_path / name).exists()
    bundle = to_fhir(avpenet_here, tmp_path / "scores.csv", "--allow-demonstration")
    assert labels(bundle) == [AIAST, HTEST]
    marked = [row["resource"]["resourceType"] for row in bundle["entry"] if HTEST in labels(row["resource"])]
    assert len(marked) == len(bundle["entry"]) - 1 and "CodeSystem" not in marked
    for resource in (*resources(bundle, "Observation"), *resources(bundle, "Device")):
        assert any("DEMONSTRATION WEIGHTS: not trained on patients" in note["text"] for note in resource["note"])
    (device,) = resources(bundle, "Device")
    assert device["property"][0]["valueCode"][0]["text"] == "demonstration"


def test_redcap_files_fit_each_other(avpenet_here: Avpenet, tmp_path: Path) -> None:
    scores, out = archive(tmp_path), tmp_path / "import.csv"
    done = avpenet_here("export", scores, "--to", "redcap", "--subjects", tmp_path / "subjects.csv", "--out", out)
    assert done.code == 0, done.err
    with out.open(newline="") as file:
        rows = list(csv.DictReader(file))
    with (tmp_path / "import.dictionary.csv").open(newline="") as file:
        fields = [row["Variable / Field Name"] for row in csv.DictReader(file)]
    keys = ["redcap_repeat_instrument", "redcap_repeat_instance", "avpenet_scores_complete"]
    assert [name for name in rows[0] if name not in keys] == fields
    assert [(row["record_id"], row["redcap_repeat_instance"]) for row in rows] == [
        ("P1", "1"), ("P1", "2"), ("'=P2", "1"), ("P1", "3")
    ]  # fmt: skip
    assert {row["redcap_repeat_instrument"] for row in rows} == {"avpenet_scores"}
    assert rows[0]["avp_mean"] == "5.500" and rows[1]["avp_mean"] == "" and rows[1]["avp_reason"] == "no_face"
    assert (rows[3]["avp_segments"], rows[3]["avp_reason"]) == ("", "undecodable")
    assert {row["avp_ai_label"] for row in rows} == {"AIAST"}


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--to", "hl7", "--out", "x.json"], "--to hl7: no such format"),
        (["--to", "fhir", "--out", "x.csv"], "end the name in .json"),
        (["--to", "redcap", "--out", "x.csv"], "no --subjects"),
        (["--to", "redcap", "--subjects", "some.csv", "--out", "x.csv"], "has no row for 3 recordings such as"),
        (["--to", "fhir", "--subjects", "others.csv", "--out", "x.json"], "no recording in common"),
        (["--to", "fhir", "--out", "scores.run.json"], "would overwrite"),
        (["--to", "fhir", "--out", "absent/x.json"], "its folder does not exist"),
    ],
)
def test_wrong_options_give_one_line_and_no_file(
    avpenet_here: Avpenet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: list[str], words: str
) -> None:
    archive(tmp_path)
    (tmp_path / "some.csv").write_text("recording,subject\na.mp4,P1\n")
    (tmp_path / "others.csv").write_text("recording,subject\nz.mp4,P1\n")
    monkeypatch.chdir(tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    done = avpenet_here("export", "scores.csv", *options)
    assert done.code == 2 and words in done.err and len(done.err.splitlines()) == 1
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_an_altered_table_and_one_without_manifest_are_refused(avpenet_here: Avpenet, tmp_path: Path) -> None:
    scores = archive(tmp_path)
    arguments = ("export", scores, "--to", "fhir", "--out", tmp_path / "x.json")
    scores.write_text(scores.read_text().replace("9.000", "1.000").replace("high", "low"))
    done = avpenet_here(*arguments)
    assert done.code == 2 and "was altered after the run" in done.err
    archive(tmp_path, "yesterday")
    done = avpenet_here(*arguments)
    assert done.code == 2 and "has a time that is none" in done.err
    scores.with_suffix(".run.json").unlink()
    done = avpenet_here(*arguments)
    assert done.code == 2 and "has no manifest beside it" in done.err


@pytest.mark.parametrize(("target", "name"), [("fhir", "bundle.json"), ("redcap", "scores-redcap.csv")])
def test_history_leads_back_to_the_table_and_shows_an_edited_export(
    avpenet_here: Avpenet, tmp_path: Path, target: str, name: str
) -> None:
    scores, out = archive(tmp_path), tmp_path / name
    for _ in range(2):
        done = avpenet_here("export", scores, "--to", target, "--subjects", tmp_path / "subjects.csv", "--out", out)
        assert done.code == 0, done.err
    chain = read_chain(out)
    assert ([line.event for line in chain.lines], chain.problems) == (["export", "export"], ())
    assert [file.content for file in chain.lines[0].read] == ["scores", "manifest", "subjects"]
    assert "--subjects subjects.csv" in chain.lines[0].command
    traced = avpenet_here("verify", out)
    assert all(f"{file}: intact" in traced.out for file in (name, "scores.csv", "scores.run.json", "subjects.csv"))
    out.write_text(out.read_text().replace("P1", "P9"))
    assert f"{name}: altered" in avpenet_here("verify", out).out
