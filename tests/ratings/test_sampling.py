"""A sample for raters: the same from the same inputs, blind, spread over patients, with the right weights."""

from __future__ import annotations

import csv
import json
import stat
import xml.etree.ElementTree as ET
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
from jsonschema import Draft202012Validator

from avpenet_cli.errors import AvpenetError, OutputError, SettingsError
from avpenet_cli.ratings.sampling import Sample, SampleRequest, draw_sample
from avpenet_cli.ratings.sampling_draw import deal, draw, fill
from avpenet_cli.schemas import schemas
from avpenet_cli.study.pack import read_pack
from avpenet_cli.study.ratings import read_ratings
from tests.support.reports import twelve_recordings, write_scores

PHANTOMS = Path(__file__).resolve().parents[2] / "examples" / "phantoms"


def tables(folder: Path, rotated: int = 0) -> tuple[Path, Path]:
    """A score table of 240 segments of 12 recordings of 6 patients at two sites, and the table of subjects."""
    folder.mkdir(exist_ok=True)
    rows = twelve_recordings(240)
    scores = [score for _, _, score in rows]
    scores = scores[rotated:] + scores[:rotated]
    named = [(name, start, score) for (name, start, _), score in zip(rows, scores, strict=True)]
    table = write_scores(folder / "scores.csv", named)
    lines = [f"rec{i}.mp4,P{i // 2},{'north' if i < 6 else 'south'}" for i in range(12)]
    (folder / "subjects.csv").write_text("\n".join(["recording,subject,site", *lines]) + "\n")
    return table, folder / "subjects.csv"


HISTORY = "pack.json.history.jsonl"


def sample(folder: Path, table: Path, subjects: Path | None, **changes: object) -> Sample:
    settings: dict[str, object] = {"n": 60, "stratify": ("score", "site"), "overlap": 0.5} | changes
    return draw_sample(SampleRequest((str(table),), out=folder, subjects=subjects, **settings))  # type: ignore[arg-type]


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_the_same_inputs_and_seed_give_the_same_bytes_and_another_seed_does_not(tmp_path: Path) -> None:
    table, subjects = tables(tmp_path / "in")
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        sample(tmp_path / name, table, subjects, seed=seed)
    first, second = files(tmp_path / "a"), files(tmp_path / "b")
    # The history states when it was drawn.
    for written in (first, second):
        (line,) = written.pop(HISTORY).splitlines()
        entry = json.loads(line)
        assert (entry["event"], [file["file"] for file in entry["written"]]) == ("ratings sample", ["pack.json"])
        assert [file["content"] for file in entry["read"]] == ["scores", "subjects"]
    assert first == second
    assert first["rater-1/ratings.csv"] != files(tmp_path / "c")["rater-1/ratings.csv"]
    assert all(stat.S_IMODE((tmp_path / "a" / name).stat().st_mode) == 0o600 for name in first)


def test_what_raters_get_does_not_depend_on_the_scores(tmp_path: Path) -> None:
    """Without strata the same segments are drawn whatever the scores are: then no byte may differ."""
    folders = []
    for name, rotated in (("a", 0), ("b", 101)):
        table, subjects = tables(tmp_path / f"in-{name}", rotated)
        drawn = sample(tmp_path / name, table, subjects, stratify=())
        written = files(tmp_path / name)
        assert written.pop("pack.json")
        assert written.pop(HISTORY)
        folders.append({file: text.replace(drawn.pack.pack_id.encode(), b"") for file, text in written.items()})
    assert folders[0] == folders[1]


def test_raters_get_neither_strata_nor_scores_and_their_orders_differ(tmp_path: Path) -> None:
    table, subjects = tables(tmp_path / "in")
    pack = sample(tmp_path / "pack", table, subjects).pack
    names = {path.name for path in (tmp_path / "pack").iterdir()}
    assert names == {"pack.json", HISTORY, "rater-1", "rater-2", "rater-3"}
    sheets = []
    for rater in pack.design.raters:
        for name, content in files(tmp_path / "pack" / rater).items():
            text = content.decode().lower()
            assert not any(word in text for word in ("stratum", "score", "moderate", "north", "low")), name
        with (tmp_path / "pack" / rater / "ratings.csv").open() as file:
            sheets.append(list(csv.DictReader(file)))
    common = [{(row["recording"], row["start_s"]) for row in sheet} for sheet in sheets]
    assert len(common[0] & common[1] & common[2]) == 30
    assert sum(map(len, common)) == 3 * 30 + 30
    shared = [
        [key for row in sheet if (key := (row["recording"], row["start_s"])) in common[0] & common[1] & common[2]]
        for sheet in sheets
    ]
    assert shared[0] != shared[1] != shared[2]
    # The stratum of a segment cannot be read off its place in a sheet.
    for rater, sheet in zip(pack.design.raters, sheets, strict=True):
        stratum = {(s.recording, f"{s.start_s:.3f}"): s.stratum for s in pack.segments if rater in s.order}
        places = [stratum[row["recording"], row["start_s"]] for row in sheet]
        assert abs(np.corrcoef(places, np.arange(len(places)))[0, 1]) < 0.5


def test_strata_and_patients_are_sampled_evenly_and_the_pack_says_with_which_fractions(tmp_path: Path) -> None:
    table, subjects = tables(tmp_path / "in")
    pack = sample(tmp_path / "pack", table, subjects).pack
    assert [stratum.sampled for stratum in pack.strata] == [10] * 6
    assert sum(stratum.segments for stratum in pack.strata) == pack.frame.segments == 240
    assert pack.frame.most_of_one_subject <= 12
    weights = np.array([1 / segment.probability for segment in pack.segments])
    assert weights.sum() == pytest.approx(240, rel=0.1)
    Draft202012Validator(schemas()["pack.schema.json"]).validate(json.loads((tmp_path / "pack/pack.json").read_text()))


def test_weights_by_the_inverse_probability_have_no_bias() -> None:
    """Horvitz and Thompson's estimate of a total, over many draws, against the total."""
    rng = np.random.default_rng(0)
    stratum, subject = rng.integers(0, 3, 90), rng.integers(0, 8, 90) ** 2 // 8
    value = stratum * 2.0 + subject + rng.normal(size=90)
    totals = []
    for seed in range(1500):
        drawn = draw(stratum, subject, 3, 25, np.random.default_rng(seed))
        assert len(set(drawn.rows.tolist())) == 25 == drawn.sampled.sum()
        totals.append((value[drawn.rows] / drawn.probability).sum())
    error = np.std(totals) / np.sqrt(len(totals))
    assert abs(np.mean(totals) - value.sum()) < 3.5 * error


def test_dealing_is_even_and_respects_capacities() -> None:
    rng = np.random.default_rng(1)
    counts, expected = fill(np.array([1, 5, 5]), 8, rng)
    assert counts.sum() == 8
    assert sorted(counts.tolist()) == [1, 3, 4]
    assert expected.tolist() == [1, 3.5, 3.5]
    given = deal(np.repeat([0, 1], 20), 3, 0.25, rng)
    assert (given.sum(axis=1) == 3).sum() == 10
    assert given[:20].all(axis=1).sum() == 5
    assert np.ptp(given.sum(axis=0)) <= 1
    # Who rates what is left to chance, and no pattern of the rows.
    dealt = {deal(np.zeros(12, dtype=np.int64), 3, 0.0, np.random.default_rng(seed)).tobytes() for seed in range(50)}
    assert len(dealt) > 45


def test_a_filled_in_sheet_is_a_table_of_ratings(tmp_path: Path) -> None:
    table, subjects = tables(tmp_path / "in")
    sample(tmp_path / "pack", table, subjects, scale="NIPS")
    sheet = tmp_path / "pack" / "rater-2" / "ratings.csv"
    with sheet.open() as file:
        rows = list(csv.DictReader(file))
    with sheet.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0].keys())
        writer.writeheader()
        writer.writerows(row | {"value": "7"} for row in rows)
    ratings = read_ratings(sheet)
    assert ratings.raters == ("rater-2",)
    assert ratings.rows["value"].eq(10).all()


def test_elan_and_redcap_files_hold_the_segments(tmp_path: Path) -> None:
    table, subjects = tables(tmp_path / "in")
    pack = sample(tmp_path / "pack", table, subjects, scale="NIPS").pack
    wanted = {(s.recording, s.start_s, s.end_s) for s in pack.segments if "rater-1" in s.order}
    folder = tmp_path / "pack" / "rater-1"
    found = set()
    for path in (folder / "elan").iterdir():
        root = ET.parse(path).getroot()
        recording = root.find("HEADER/MEDIA_DESCRIPTOR").attrib["MEDIA_URL"].removeprefix("./")  # type: ignore[union-attr]
        at = {slot.attrib["TIME_SLOT_ID"]: int(slot.attrib["TIME_VALUE"]) / 1000 for slot in root.iter("TIME_SLOT")}
        for annotation in root.iter("ALIGNABLE_ANNOTATION"):
            found.add((recording, at[annotation.attrib["TIME_SLOT_REF1"]], at[annotation.attrib["TIME_SLOT_REF2"]]))
            assert not annotation.findtext("ANNOTATION_VALUE")
    assert found == wanted
    with (folder / "redcap-import.csv").open() as file:
        records = list(csv.DictReader(file))
    assert {(row["recording"], float(row["start_s"]), float(row["end_s"])) for row in records} == wanted
    with (folder / "redcap-dictionary.csv").open() as file:
        fields = {row["Variable / Field Name"]: row for row in csv.DictReader(file)}
    assert list(fields) == list(records[0])
    assert fields["value"]["Text Validation Max"] == "7"


def test_recordings_are_sampled_before_they_have_scores(tmp_path: Path) -> None:
    pack = draw_sample(SampleRequest((str(PHANTOMS),), n=9, out=tmp_path / "pack", raters=1)).pack
    assert pack.scores == ()
    assert all(segment.end_s - segment.start_s == 3 for segment in pack.segments)
    assert {segment.recording for segment in pack.segments} == {path.name for path in PHANTOMS.glob("*.mp4")}
    with pytest.raises(SettingsError, match="score without scores"):
        draw_sample(SampleRequest((str(PHANTOMS),), n=9, out=tmp_path / "other", stratify=("score",)))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"n": 241}, "only 240 segments can be drawn"),
        ({"n": 5}, "fewer than the 6 strata"),
        ({"stratify": ("ward",)}, "no such column .to stratify by: 'site'"),
        ({"stratify": ("site",), "subjects": None}, "site without --subjects"),
        ({"overlap": 1.5}, "not a share"),
        ({"limit_points": 2.0}, "without --limit-source"),
        ({"scale": "pain"}, "unknown scale"),
    ],
)
def test_what_cannot_be_sampled_is_refused(tmp_path: Path, changes: dict[str, object], message: str) -> None:
    table, subjects = tables(tmp_path / "in")
    with pytest.raises(AvpenetError, match=message):
        sample(tmp_path / "pack", table, **({"subjects": subjects} | changes))  # type: ignore[arg-type]
    assert not (tmp_path / "pack").exists()


def test_an_empty_stratum_is_refused_unless_accepted(tmp_path: Path) -> None:
    _, subjects = tables(tmp_path / "in")
    low = write_scores(tmp_path / "low.csv", twelve_recordings(60, 1.0))
    with pytest.raises(SettingsError, match="4 of 6 strata have no segment to draw: score moderate, site north"):
        sample(tmp_path / "pack", low, subjects, n=20)
    pack = sample(tmp_path / "pack", low, subjects, n=20, allow_empty_strata=True).pack
    assert [stratum.fraction > 0 for stratum in pack.strata] == [True, True] + [False] * 4


def test_a_pack_is_not_written_over(tmp_path: Path) -> None:
    table, subjects = tables(tmp_path / "in")
    sample(tmp_path / "pack", table, subjects)
    with pytest.raises(OutputError, match=r"holds other files, such as pack\.json"):
        sample(tmp_path / "pack", table, subjects)


def test_a_changed_pack_is_recognised(tmp_path: Path) -> None:
    table, subjects = tables(tmp_path / "in")
    pack = sample(tmp_path / "pack", table, subjects, limit_points=2.0, limit_source="protocol").pack
    path = tmp_path / "pack" / "pack.json"
    assert read_pack(path) == pack
    changed = asdict(replace(pack, limit_points=3.0))
    for content, message in (
        (json.dumps(changed), "was changed after it was written"),
        (path.read_text()[:500], "not JSON"),
        ("[]", "lacks what a pack.json holds"),
        (json.dumps(changed | {"version": 2}), "packs of version 2"),
    ):
        path.write_text(content)
        with pytest.raises(SettingsError, match=message):
            read_pack(path)
