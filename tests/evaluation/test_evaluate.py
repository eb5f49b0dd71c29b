"""Conditions are what they say, chance belongs to the segment, and the figures are the report's."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest

from avpenet_cli.audio.mel import log_mel
from avpenet_cli.dataset.shards import SCORABLE
from avpenet_cli.dataset.store import STORE_FILE, SegmentStore
from avpenet_cli.errors import Interrupted, OutputError, SettingsError
from avpenet_cli.evaluation.conditions import (
    AUDIO_ALONE,
    CLEAN,
    CONDITIONS,
    COVERS,
    FACE_ALONE,
    chosen_conditions,
    why_not_computable,
    with_cover,
)
from avpenet_cli.evaluation.evaluate import (
    RATED,
    Evaluation,
    EvaluationTold,
    check_preprocessing,
    evaluate,
    figures_of,
    identify_split,
    paired_difference,
)
from avpenet_cli.evaluation.figures import draw_conditions
from avpenet_cli.evaluation.outputs import FILES, prepare_output_directory, scoring_settings, write_evaluation
from avpenet_cli.model.architecture import MODALITIES, Architecture
from avpenet_cli.scoring.network import Network
from avpenet_cli.stats.bootstrap import Resampling
from avpenet_cli.stats.pairs import Pairs
from avpenet_cli.training.augmentation import with_noise
from avpenet_cli.training.training_record import splits_digest
from avpenet_cli.weights import WeightsDescription, WeightsEntry, find, load_network, save
from tests.support.training_stores import CROP_PX, SETTINGS, make_store, tone
from tests.support.weight_descriptions import described


def description(name: str, architecture: Architecture) -> WeightsDescription:
    return described(name, architecture=architecture, preprocessing=SETTINGS.preprocessing)


@pytest.fixture(scope="module")
def entry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WeightsEntry]:
    """Weights that know nothing, but fit the small stores and can do without audio; 200 MB, removed afterwards."""
    folder = tmp_path_factory.mktemp("weights")
    state = dict(load_network(find("untrained")).state_dict())
    lenient = description("small", Architecture(may_be_missing=("audio",)))
    yield save(state, lenient, folder / "small.safetensors")
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> SegmentStore:
    return SegmentStore.open(make_store(tmp_path_factory.mktemp("store"), subjects=8, segments=2, faces=2))


@pytest.fixture(scope="module")
def network(entry: WeightsEntry, store: SegmentStore) -> Network:
    return Network(entry, scoring_settings(store, "cpu"))


# --- conditions ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("snr_db", [30, 5])
def test_the_noise_is_louder_or_softer_than_it_says(snr_db: int) -> None:
    audio = 0.3 * tone(5.0)
    noise = with_noise(audio, snr_db, np.random.default_rng(1).standard_normal(len(audio), np.float32)) - audio
    found_db = 10 * np.log10(np.mean(audio**2, dtype=np.float64) / np.mean(noise**2, dtype=np.float64))
    assert found_db == pytest.approx(snr_db, abs=0.1)
    assert abs(np.corrcoef(noise[:-1], noise[1:])[0, 1]) < 0.02  # white


def test_silence_is_filled_with_noise() -> None:
    silent = np.zeros(48_000, np.float32)
    assert not with_noise(silent, 5, np.random.default_rng(1).standard_normal(len(silent), np.float32)).any()


def test_a_cover_hides_another_part_than_it_says() -> None:
    side = 224
    faces = np.full((2, side, side, 3), 200, np.uint8)
    covered = {one: with_cover(faces, one, 0.2, np.random.default_rng(3)) for one in COVERS}
    assert (faces == 200).all()  # it was a copy
    for one in covered.values():
        assert (one[0] == one[1]).all()
    hidden = {name: (one[0] != 200).any(axis=2) for name, one in covered.items()}
    assert hidden["upper"][:112].all() and not hidden["upper"][112:].any()
    assert hidden["lower"][112:].all() and not hidden["lower"][:112].any()
    assert hidden["random"].mean() == 0.5
    cells = hidden["random"].reshape(16, 14, 16, 14)
    assert (cells.all(axis=(1, 3)) | ~cells.any(axis=(1, 3))).all()
    for name in ("upper", "lower", "random"):
        assert not covered[name][0][hidden[name]].any()
    # Where MTCNN puts eyes, nose and mouth in its box, brought into the crop with its margin.
    x, y = (round(side * (0.5 + (at - 0.5) / 1.2)) for at in (0.26, 0.38))
    assert not hidden["mask"][y, x] and not hidden["mask"][y, side - x]
    for at in (0.58, 0.77, 0.98):
        assert hidden["mask"][round(side * (0.5 + (at - 0.5) / 1.2)), side // 2]
    red, green, blue = covered["mask"][0][150, 112]
    assert red < green < blue


def test_a_larger_margin_leaves_the_mask_where_it_was() -> None:
    faces = np.zeros((1, 224, 224, 3), np.uint8)
    areas = [(with_cover(faces, "mask", margin, np.random.default_rng(0)) > 0).mean() for margin in (0.2, 0.5)]
    assert areas[1] == pytest.approx(areas[0] * (1.2 / 1.5) ** 2, rel=0.03)


def test_conditions_are_left_out_or_taken_for_others() -> None:
    assert chosen_conditions("none") == (CLEAN,)
    assert len(chosen_conditions("all")) == 1 + 4 + 4 + 2
    assert chosen_conditions("modality, noise") == (CLEAN, *CONDITIONS["noise"], *CONDITIONS["modality"])
    for wrong in ("dark", "noise,", "all,noise"):
        with pytest.raises(SettingsError, match="there is no"):
            chosen_conditions(wrong)


def test_a_modality_is_taken_away_that_the_weights_need() -> None:
    assert "without audio" in why_not_computable(FACE_ALONE, MODALITIES, ())
    assert why_not_computable(FACE_ALONE, MODALITIES, ("audio",)) == ""
    assert "without the face" in why_not_computable(AUDIO_ALONE, MODALITIES, ("audio",))
    for family in ("noise", "occlusion"):
        (one, *_) = CONDITIONS[family]
        assert why_not_computable(one, MODALITIES, ()) == ""
    assert "do not read audio" in why_not_computable(CONDITIONS["noise"][0], ("face",), ())
    assert "do not read the face" in why_not_computable(FACE_ALONE, ("audio",), ())
    assert "clean condition" in why_not_computable(AUDIO_ALONE, ("audio",), ())


# --- whom ------------------------------------------------------------------------------------------------------------


def test_subjects_of_the_training_pass_for_unseen(store: SegmentStore) -> None:
    trained = f"Phantoms: store sha256 {store.digest}, splits sha256 {splits_digest(store, None)}. validation: ..."
    assert identify_split(store, "test", trained).familiarity == "unseen"
    assert (
        "not checked" not in identify_split(store, "test", trained, "train; started from seeded initialisation").words
    )
    assert "not checked" in identify_split(store, "test", trained, f"train; started from {'a' * 64}").words
    for split in ("train", "validation"):
        found = identify_split(store, split, trained)
        assert found.familiarity == "seen" and "SEEN" in found.warning
    elsewhere = trained.replace(store.digest, "0" * 64)
    assert identify_split(store, "train", elsewhere).familiarity == "unknown"
    otherwise = trained.replace(splits_digest(store, None), "0" * 64)
    assert "divided otherwise" in identify_split(store, "test", otherwise).words


def test_weights_trained_without_a_site_are_tested_on_another_division(store: SegmentStore) -> None:
    subjects = store.about["splits"]["by_subject"]
    by_site = {name: ("test" if name in ("s0", "s1", "s2") else "train") for name in subjects}
    about = store.about | {"splits": store.about["splits"] | {"leave_one_site_out": {"north": by_site}}}
    other = SegmentStore(store.path, about, store.index)
    trained = f"store sha256 {other.digest}, splits sha256 {splits_digest(other, 'north')}"
    division = identify_split(other, "test", trained)
    assert (division.left_out_site, division.familiarity) == ("north", "unseen")
    assert set(other.index.loc[other.rated("test", "north"), "subject"]) == {"s0", "s1", "s2"}


def test_weights_of_other_preprocessing_are_evaluated(store: SegmentStore, entry: WeightsEntry) -> None:
    check_preprocessing(store, entry.description)
    face = dataclasses.replace(entry.description.preprocessing.face, crop_px=CROP_PX + 1, align=False)
    other = dataclasses.replace(entry.description.preprocessing, face=face)
    with pytest.raises(SettingsError, match=r"face.align is True, the weights need False; face.crop_px is 64"):
        check_preprocessing(store, dataclasses.replace(entry.description, preprocessing=other))


# --- scores ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def found(store: SegmentStore, network: Network) -> Evaluation:
    return evaluate(store, identify_split(store, "test", ""), network, chosen_conditions("all"), 42)


def test_a_condition_changes_what_it_should_not(store: SegmentStore, network: Network, found: Evaluation) -> None:
    assert set(found.why_not) == {"audio_alone"}
    assert len(found.segments) == 4
    assert found.scores.notna().all(axis=None)
    row = int(store.rated("test")[1])
    segment = store.segment(row)
    audio, faces = network.encode_audio([segment.spectrogram])[0], network.encode_faces(list(segment.faces))
    scores = found.scores.iloc[1]
    assert scores["clean"] == pytest.approx(network.score(audio, faces, 0)[0], abs=6e-4)
    assert scores["face_alone"] == pytest.approx(network.score(None, faces, 0)[0], abs=6e-4)
    upper = segment.faces.copy()
    upper[:, : CROP_PX // 2] = 0
    dark = network.encode_faces(list(upper))
    assert scores["occlusion_upper"] == pytest.approx(network.score(audio, dark, 0)[0], abs=6e-4)


def test_chance_depends_on_what_else_is_computed(store: SegmentStore, network: Network, found: Evaluation) -> None:
    division = identify_split(store, "test", "")
    alone = evaluate(store, division, network, (CLEAN, CONDITIONS["noise"][3]), 42)
    assert alone.scores["noise_5_db"].equals(found.scores["noise_5_db"])
    other = evaluate(store, division, network, (CLEAN, CONDITIONS["noise"][3]), 43)
    assert not other.scores["noise_5_db"].equals(found.scores["noise_5_db"])
    assert other.scores["clean"].equals(found.scores["clean"])


def test_noise_of_nothing_is_not_the_clean_spectrogram(store: SegmentStore) -> None:
    """The noise curve begins at the clean point: both go through one front end."""
    segment = store.segment(0)
    white = np.random.default_rng(0).standard_normal(len(segment.waveform), np.float32)
    again = log_mel(with_noise(segment.waveform, 120, white), store.preprocessing.audio)
    assert np.abs(again - segment.spectrogram).max() < 0.01


def test_segments_without_faces_get_a_score_from_weights_that_need_them(
    tmp_path: Path, network: Network, store: SegmentStore
) -> None:
    faceless = SegmentStore.open(make_store(tmp_path, subjects=4, segments=1, faces=0))
    with pytest.raises(SettingsError, match="can score none of the rated segments in test; they need face"):
        evaluate(faceless, identify_split(faceless, "test", ""), network, (CLEAN,), 42)


def test_it_goes_on_when_asked_to_stop(store: SegmentStore, network: Network) -> None:
    with pytest.raises(Interrupted):
        evaluate(store, identify_split(store, "test", ""), network, (CLEAN,), 42, EvaluationTold(stop=lambda: True))


def test_a_split_with_nobody_gives_figures(store: SegmentStore, network: Network) -> None:
    empty = SegmentStore(store.path, store.about, store.index.assign(split="train"))
    with pytest.raises(SettingsError, match="no rated segment of anybody in test"):
        evaluate(empty, identify_split(empty, "test", ""), network, (CLEAN,), 42)


# --- figures ---------------------------------------------------------------------------------------------------------


def invented(subjects: int, segments: int = 6) -> Evaluation:
    """Scores that are off by about one point, and by about two in noise of 5 dB."""
    draw = np.random.default_rng(5)
    n = subjects * segments
    truth = draw.uniform(1, 9, n)
    rows = pd.DataFrame({"subject": np.repeat([f"s{k}" for k in range(subjects)], segments), "reference": truth})
    clean = np.clip(truth + draw.normal(0, 1, n), 0, 10)
    noisy = np.clip(truth + draw.normal(0, 2, n), 0, 10)
    noisy[0] = np.nan
    scores = pd.DataFrame({"clean": clean, "noise_5_db": noisy})
    return Evaluation(rows.assign(**{RATED: True}), scores, {"audio_alone": "these weights need the face"})


def test_the_paired_difference_is_not_that_of_the_same_segments() -> None:
    evaluation = invented(12)
    conditions = (CLEAN, CONDITIONS["noise"][3], AUDIO_ALONE)
    clean, noisy, alone = figures_of(evaluation, conditions, Resampling())
    use = np.isfinite(evaluation.scores["noise_5_db"])
    errors = evaluation.scores[use].sub(evaluation.segments.loc[use, "reference"], axis=0).abs()
    assert noisy["n"] == 71 and clean["n"] == 72
    assert noisy["mae"] == pytest.approx(errors["noise_5_db"].mean())
    assert noisy["mae_minus_clean"] == pytest.approx((errors["noise_5_db"] - errors["clean"]).mean())
    low, high = noisy["mae_minus_clean_ci"]
    assert 0 < low < noisy["mae_minus_clean"] < high
    assert clean["mae_minus_clean"] is None
    assert (alone["n"], alone["mae"], alone["why_not"]) == (0, None, "these weights need the face")
    json.dumps([clean, noisy, alone], allow_nan=False)


def test_the_interval_forgets_that_segments_are_paired() -> None:
    """Both are off by the same five points and a hair: the difference is known far better than either error."""
    draw = np.random.default_rng(2)
    truth = draw.uniform(0, 5, 60)
    subject = np.repeat(np.arange(12), 5)
    first = truth + np.repeat(draw.uniform(0, 5, 12), 5)
    second = first + 0.1 + draw.normal(0, 0.01, 60)
    found = paired_difference(Pairs.of(second, truth, subject), Pairs.of(first, truth, subject), Resampling().of(12))
    assert found.ci[1] - found.ci[0] < 0.02
    assert found.ci[0] < 0.1 < found.ci[1]


def test_one_subject_gets_an_interval() -> None:
    (clean,) = figures_of(invented(1), (CLEAN,), Resampling())
    assert clean["mae"] is not None
    assert clean["mae_ci"] == [None, None]
    assert "one subject" in clean["reasons"]["mae"]


def test_the_picture_cannot_be_drawn_without_intervals_or_conditions() -> None:
    conditions = (CLEAN, CONDITIONS["noise"][3], AUDIO_ALONE)
    for evaluation, those in ((invented(1), conditions), (invented(12), conditions), (invented(12), (CLEAN,))):
        picture = draw_conditions(figures_of(evaluation, those, Resampling()), "a headline", ["a warning " * 20])
        shape = cv2.imdecode(np.frombuffer(picture, np.uint8), cv2.IMREAD_COLOR)
        assert shape is not None and shape.shape[1] == 1440


# --- files -----------------------------------------------------------------------------------------------------------


def test_a_folder_of_other_things_is_written_to(tmp_path: Path) -> None:
    folder = tmp_path / "out"
    prepare_output_directory(folder, False)
    prepare_output_directory(folder, False)
    assert folder.stat().st_mode & 0o777 == 0o700
    (folder / "scores.csv").write_text("x")
    with pytest.raises(OutputError, match="holds an evaluation already"):
        prepare_output_directory(folder, False)
    prepare_output_directory(folder, True)
    (folder / "thesis.docx").write_text("x")
    with pytest.raises(OutputError, match=r"holds other things, such as thesis\.docx"):
        prepare_output_directory(folder, True)
    with pytest.raises(OutputError, match="is a file"):
        prepare_output_directory(folder / "thesis.docx", False)
    with pytest.raises(OutputError, match="create the folder first"):
        prepare_output_directory(tmp_path / "none" / "out", False)


def test_seconds_and_seen_subjects_go_missing_in_the_tables(
    store: SegmentStore, network: Network, tmp_path: Path
) -> None:
    """An unrated and an unscorable segment keep their rows; what was trained on says so in every output."""
    index = store.index.copy()
    first, _, third, _ = store.rated("test")
    index.loc[first, "reference"] = np.nan
    index.loc[third, ["status", "reason"]] = ["unscorable", "no_face"]
    altered = SegmentStore(store.path, store.about, index)
    conditions = (CLEAN, *CONDITIONS["modality"])
    trained = f"store sha256 {altered.digest}, splits sha256 {splits_digest(altered, None)}"
    division = dataclasses.replace(identify_split(altered, "train", trained), split="test")
    evaluation = evaluate(altered, division, network, conditions, 42)
    folder = tmp_path / "out"
    prepare_output_directory(folder, False)
    run = scoring_settings(altered, "cpu")
    record = write_evaluation(folder, altered, division, network, run, evaluation, conditions, 42, 1.0)
    assert {path.name for path in folder.iterdir()} == set(FILES)
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o600}
    scores = pd.read_csv(folder / "scores.csv")
    assert list(scores["status"]) == ["scored", "scored", "unscorable", "scored"]
    assert len(pd.read_csv(folder / "ratings.csv")) == len(pd.read_csv(folder / "predictions.csv")) == 3
    assert record["segments"] == {"of_the_recordings": 4, "rated": 3, "rated_without_score": 1}
    totals = json.loads((folder / "scores.run.json").read_text())["totals"]
    assert totals["seconds"]["scored"] == 9.0 and totals["seconds"]["unscorable"] == {"no_face": 3.0}
    for name in (
        "scores.csv",
        "scores.run.json",
        "report.html",
        "predictions.csv",
        "conditions.csv",
        "evaluation.json",
    ):
        assert "SEEN SUBJECTS" in (folder / name).read_text(), name
    report = json.loads((folder / "report.json").read_text())
    assert report["error"]["accuracy"]["mae"]["value"] == pytest.approx(record["conditions"][0]["mae"], abs=1e-5)
    assert report["agreement"]["limits"]["bias"]["value"] == pytest.approx(record["conditions"][0]["bias"], abs=1e-5)
    assert report["pairing"]["unmatched_ratings"]["count"] == 0
    assert record["conditions"][1]["why_not"]
    assert SCORABLE in index["status"].unique()
    assert (store.path / STORE_FILE).exists()
