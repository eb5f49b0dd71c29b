"""Conditions change what they state, every segment has its own seed, and the statistics are those of the report."""

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
from avpenet_cli.dataset.record import STORE_FILE
from avpenet_cli.dataset.segment_files import SCORABLE
from avpenet_cli.dataset.splits import Split
from avpenet_cli.dataset.store import SegmentStore
from avpenet_cli.errors import Interrupted, OutputError, SettingsError
from avpenet_cli.evaluation.conditions import (
    AUDIO_ALONE,
    CLEAN,
    CONDITIONS,
    COVERS,
    FACE_ALONE,
    cover_faces,
    parse_conditions,
    reason_not_computable,
)
from avpenet_cli.evaluation.evaluate import RATED, Evaluation, evaluate
from avpenet_cli.evaluation.figures import draw_conditions
from avpenet_cli.evaluation.outputs import FILES, prepare_evaluation_directory, scoring_settings, write_evaluation
from avpenet_cli.evaluation.record import SegmentCounts
from avpenet_cli.evaluation.results import condition_results, paired_difference
from avpenet_cli.evaluation.split import check_preprocessing, identify_split
from avpenet_cli.model.architecture import MODALITIES, Architecture
from avpenet_cli.runs.callbacks import RunCallbacks
from avpenet_cli.scoring.network import Network
from avpenet_cli.stats.bootstrap import Resampling
from avpenet_cli.stats.pairs import Pairs
from avpenet_cli.training.augmentation import add_noise
from avpenet_cli.training.training_record import splits_digest
from avpenet_cli.weights import WeightsDescription, WeightsEntry, find, load_network, save
from tests.support.training_stores import CROP_PX, SETTINGS, make_store, tone
from tests.support.weight_descriptions import make_description


def _description(name: str, architecture: Architecture) -> WeightsDescription:
    return make_description(name, architecture=architecture, preprocessing=SETTINGS.preprocessing)


@pytest.fixture(scope="module")
def entry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WeightsEntry]:
    """Untrained weights that fit the small stores and can do without audio; 200 MB, removed afterwards."""
    folder = tmp_path_factory.mktemp("weights")
    state = dict(load_network(find("untrained")).state_dict())
    lenient = _description("small", Architecture(may_be_missing=("audio",)))
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
def test_noise_has_the_stated_snr(snr_db: int) -> None:
    audio = 0.3 * tone(5.0)
    noise = add_noise(audio, snr_db, np.random.default_rng(1).standard_normal(len(audio), np.float32)) - audio
    measured_db = 10 * np.log10(np.mean(audio**2, dtype=np.float64) / np.mean(noise**2, dtype=np.float64))
    assert measured_db == pytest.approx(snr_db, abs=0.1)
    assert abs(np.corrcoef(noise[:-1], noise[1:])[0, 1]) < 0.02  # white


def test_silence_stays_silent() -> None:
    silent = np.zeros(48_000, np.float32)
    assert not add_noise(silent, 5, np.random.default_rng(1).standard_normal(len(silent), np.float32)).any()


def test_covers_hide_the_stated_part_of_the_face() -> None:
    side = 224
    faces = np.full((2, side, side, 3), 200, np.uint8)
    covered = {cover: cover_faces(faces, cover, 0.2, np.random.default_rng(3)) for cover in COVERS}
    assert (faces == 200).all()  # it was a copy
    for pair in covered.values():
        assert (pair[0] == pair[1]).all()
    hidden = {name: (pair[0] != 200).any(axis=2) for name, pair in covered.items()}
    assert hidden["upper"][:112].all() and not hidden["upper"][112:].any()
    assert hidden["lower"][112:].all() and not hidden["lower"][:112].any()
    assert hidden["random"].mean() == 0.5
    cells = hidden["random"].reshape(16, 14, 16, 14)
    assert (cells.all(axis=(1, 3)) | ~cells.any(axis=(1, 3))).all()
    for name in ("upper", "lower", "random"):
        assert not covered[name][0][hidden[name]].any()
    # Positions of eyes, nose and mouth in MTCNN's box, mapped to the crop with its margin.
    x, y = (round(side * (0.5 + (at - 0.5) / 1.2)) for at in (0.26, 0.38))
    assert not hidden["mask"][y, x] and not hidden["mask"][y, side - x]
    for at in (0.58, 0.77, 0.98):
        assert hidden["mask"][round(side * (0.5 + (at - 0.5) / 1.2)), side // 2]
    red, green, blue = covered["mask"][0][150, 112]
    assert red < green < blue


def test_the_mask_scales_with_the_box_margin() -> None:
    faces = np.zeros((1, 224, 224, 3), np.uint8)
    areas = [(cover_faces(faces, "mask", margin, np.random.default_rng(0)) > 0).mean() for margin in (0.2, 0.5)]
    assert areas[1] == pytest.approx(areas[0] * (1.2 / 1.5) ** 2, rel=0.03)


def test_conditions_are_parsed_in_a_fixed_order() -> None:
    assert parse_conditions("none") == (CLEAN,)
    assert len(parse_conditions("all")) == 1 + 4 + 4 + 2
    assert parse_conditions("modality, noise") == (CLEAN, *CONDITIONS["noise"], *CONDITIONS["modality"])
    for wrong in ("dark", "noise,", "all,noise"):
        with pytest.raises(SettingsError, match="there is no"):
            parse_conditions(wrong)


def test_conditions_that_the_weights_cannot_meet_have_a_reason() -> None:
    assert "without audio" in reason_not_computable(FACE_ALONE, MODALITIES, ())
    assert reason_not_computable(FACE_ALONE, MODALITIES, ("audio",)) == ""
    assert "without the face" in reason_not_computable(AUDIO_ALONE, MODALITIES, ("audio",))
    for family in ("noise", "occlusion"):
        (condition, *_) = CONDITIONS[family]
        assert reason_not_computable(condition, MODALITIES, ()) == ""
    assert "do not read audio" in reason_not_computable(CONDITIONS["noise"][0], ("face",), ())
    assert "do not read the face" in reason_not_computable(FACE_ALONE, ("audio",), ())
    assert "clean condition" in reason_not_computable(AUDIO_ALONE, ("audio",), ())


# --- split -----------------------------------------------------------------------------------------------------------


def test_subjects_seen_in_training_are_recognised(store: SegmentStore) -> None:
    trained = f"Phantoms: store sha256 {store.digest}, splits sha256 {splits_digest(store, None)}. validation: ..."
    assert identify_split(store, "test", trained).familiarity == "unseen"
    assert (
        "not checked"
        not in identify_split(store, "test", trained, "train; started from seeded initialisation").description
    )
    assert "not checked" in identify_split(store, "test", trained, f"train; started from {'a' * 64}").description
    for split in ("train", "validation"):
        identified = identify_split(store, split, trained)
        assert identified.familiarity == "seen" and "SEEN" in identified.warning
    elsewhere = trained.replace(store.digest, "0" * 64)
    assert identify_split(store, "train", elsewhere).familiarity == "unknown"
    otherwise = trained.replace(splits_digest(store, None), "0" * 64)
    assert "split differently" in identify_split(store, "test", otherwise).description


def test_weights_trained_without_a_site_are_tested_on_that_site(store: SegmentStore) -> None:
    subjects = store.record.splits.by_subject
    by_site: dict[str, Split] = {name: ("test" if name in ("s0", "s1", "s2") else "train") for name in subjects}
    splits = dataclasses.replace(store.record.splits, leave_one_site_out={"north": by_site})
    other = SegmentStore(store.path, dataclasses.replace(store.record, splits=splits), store.index)
    trained = f"store sha256 {other.digest}, splits sha256 {splits_digest(other, 'north')}"
    split = identify_split(other, "test", trained)
    assert (split.left_out_site, split.familiarity) == ("north", "unseen")
    assert set(other.index.loc[other.rated("test", "north"), "subject"]) == {"s0", "s1", "s2"}


def test_weights_with_other_preprocessing_are_refused(store: SegmentStore, entry: WeightsEntry) -> None:
    check_preprocessing(store, entry.description)
    face = dataclasses.replace(entry.description.preprocessing.face, crop_px=CROP_PX + 1, align=False)
    other = dataclasses.replace(entry.description.preprocessing, face=face)
    with pytest.raises(SettingsError, match=r"face.align is True, the weights need False; face.crop_px is 64"):
        check_preprocessing(store, dataclasses.replace(entry.description, preprocessing=other))


# --- scores ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def evaluation(store: SegmentStore, network: Network) -> Evaluation:
    return evaluate(store, identify_split(store, "test", ""), network, parse_conditions("all"), 42)


def test_each_condition_changes_only_its_part_of_the_input(
    store: SegmentStore, network: Network, evaluation: Evaluation
) -> None:
    assert set(evaluation.not_computable) == {"audio_alone"}
    assert len(evaluation.segments) == 4
    assert evaluation.scores.notna().all(axis=None)
    row = int(store.rated("test")[1])
    segment = store.segment(row)
    audio, faces = network.encode_audio([segment.spectrogram])[0], network.encode_faces(list(segment.faces))
    scores = evaluation.scores.iloc[1]
    assert scores["clean"] == pytest.approx(network.score(audio, faces, 0)[0], abs=6e-4)
    assert scores["face_alone"] == pytest.approx(network.score(None, faces, 0)[0], abs=6e-4)
    upper = segment.faces.copy()
    upper[:, : CROP_PX // 2] = 0
    dark = network.encode_faces(list(upper))
    assert scores["occlusion_upper"] == pytest.approx(network.score(audio, dark, 0)[0], abs=6e-4)


def test_noise_depends_on_seed_and_segment_alone(store: SegmentStore, network: Network, evaluation: Evaluation) -> None:
    split = identify_split(store, "test", "")
    alone = evaluate(store, split, network, (CLEAN, CONDITIONS["noise"][3]), 42)
    assert alone.scores["noise_5_db"].equals(evaluation.scores["noise_5_db"])
    other = evaluate(store, split, network, (CLEAN, CONDITIONS["noise"][3]), 43)
    assert not other.scores["noise_5_db"].equals(evaluation.scores["noise_5_db"])
    assert other.scores["clean"].equals(evaluation.scores["clean"])


def test_inaudible_noise_gives_the_clean_spectrogram(store: SegmentStore) -> None:
    """The noise curve starts at the clean point: both use the same front end."""
    segment = store.segment(0)
    white = np.random.default_rng(0).standard_normal(len(segment.waveform), np.float32)
    again = log_mel(add_noise(segment.waveform, 120, white), store.preprocessing.audio)
    assert np.abs(again - segment.spectrogram).max() < 0.01


def test_segments_without_faces_have_no_score_by_weights_that_need_them(
    tmp_path: Path, network: Network, store: SegmentStore
) -> None:
    faceless = SegmentStore.open(make_store(tmp_path, subjects=4, segments=1, faces=0))
    with pytest.raises(SettingsError, match="can score none of the rated segments in test; they need face"):
        evaluate(faceless, identify_split(faceless, "test", ""), network, (CLEAN,), 42)


def test_evaluation_stops_when_asked(store: SegmentStore, network: Network) -> None:
    class Stopping(RunCallbacks):
        def should_stop(self) -> bool:
            return True

    with pytest.raises(Interrupted, match="interrupted after 0 recordings; nothing is kept"):
        evaluate(store, identify_split(store, "test", ""), network, (CLEAN,), 42, Stopping())


def test_a_split_without_rated_segments_is_refused(store: SegmentStore, network: Network) -> None:
    empty = SegmentStore(store.path, store.record, store.index.assign(split="train"))
    with pytest.raises(SettingsError, match="no rated segment in test"):
        evaluate(empty, identify_split(empty, "test", ""), network, (CLEAN,), 42)


# --- statistics ------------------------------------------------------------------------------------------------------


def simulated(subjects: int, segments: int = 6) -> Evaluation:
    """Scores with errors of about one point, and about two in noise of 5 dB."""
    rng = np.random.default_rng(5)
    n = subjects * segments
    truth = rng.uniform(1, 9, n)
    rows = pd.DataFrame({"subject": np.repeat([f"s{k}" for k in range(subjects)], segments), "reference": truth})
    clean = np.clip(truth + rng.normal(0, 1, n), 0, 10)
    noisy = np.clip(truth + rng.normal(0, 2, n), 0, 10)
    noisy[0] = np.nan
    scores = pd.DataFrame({"clean": clean, "noise_5_db": noisy})
    return Evaluation(rows.assign(**{RATED: True}), scores, {"audio_alone": "these weights need the face"})


def test_the_paired_difference_is_over_the_same_segments() -> None:
    evaluation = simulated(12)
    conditions = (CLEAN, CONDITIONS["noise"][3], AUDIO_ALONE)
    clean, noisy, alone = (result.to_json() for result in condition_results(evaluation, conditions, Resampling()))
    use = np.isfinite(evaluation.scores["noise_5_db"])
    errors = evaluation.scores[use].sub(evaluation.segments.loc[use, "reference"], axis=0).abs()
    assert noisy["n"] == 71 and clean["n"] == 72
    assert noisy["mae"] == pytest.approx(errors["noise_5_db"].mean())
    assert noisy["mae_minus_clean"] == pytest.approx((errors["noise_5_db"] - errors["clean"]).mean())
    low, high = noisy["mae_minus_clean_ci"]
    assert 0 < low < noisy["mae_minus_clean"] < high
    assert clean["mae_minus_clean"] is None
    assert (alone["n"], alone["mae"], alone["not_computable"]) == (0, None, "these weights need the face")
    json.dumps([clean, noisy, alone], allow_nan=False)


def test_the_interval_uses_the_pairing_of_segments() -> None:
    """Both have nearly the same large errors: their difference is known far better than either error."""
    rng = np.random.default_rng(2)
    truth = rng.uniform(0, 5, 60)
    subject = np.repeat(np.arange(12), 5)
    first = truth + np.repeat(rng.uniform(0, 5, 12), 5)
    second = first + 0.1 + rng.normal(0, 0.01, 60)
    difference = paired_difference(
        Pairs.of(second, truth, subject), Pairs.of(first, truth, subject), Resampling().of(12)
    )
    assert difference.ci[1] - difference.ci[0] < 0.02
    assert difference.ci[0] < 0.1 < difference.ci[1]


def test_one_subject_has_no_interval() -> None:
    (result,) = condition_results(simulated(1), (CLEAN,), Resampling())
    clean = result.to_json()
    assert clean["mae"] is not None
    assert clean["mae_ci"] == [None, None]
    assert "one subject" in clean["reasons"]["mae"]


def test_the_figure_is_drawn_without_intervals_or_conditions() -> None:
    conditions = (CLEAN, CONDITIONS["noise"][3], AUDIO_ALONE)
    for evaluation, chosen in ((simulated(1), conditions), (simulated(12), conditions), (simulated(12), (CLEAN,))):
        results = condition_results(evaluation, chosen, Resampling())
        png = draw_conditions(results, "a headline", ["a warning " * 20])
        image = cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_COLOR)
        assert image is not None and image.shape[1] == 1440


# --- files -----------------------------------------------------------------------------------------------------------


def test_a_folder_with_other_files_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "out"
    prepare_evaluation_directory(folder, False)
    prepare_evaluation_directory(folder, False)
    assert folder.stat().st_mode & 0o777 == 0o700
    (folder / "scores.csv").write_text("x")
    with pytest.raises(OutputError, match=r"scores\.csv already exists; give --overwrite"):
        prepare_evaluation_directory(folder, False)
    prepare_evaluation_directory(folder, True)
    (folder / "thesis.docx").write_text("x")
    with pytest.raises(OutputError, match=r"holds other files, such as thesis\.docx"):
        prepare_evaluation_directory(folder, True)
    with pytest.raises(OutputError, match="is a file, not a folder"):
        prepare_evaluation_directory(folder / "thesis.docx", False)
    with pytest.raises(OutputError, match="create the folder first"):
        prepare_evaluation_directory(tmp_path / "none" / "out", False)


def test_every_second_is_accounted_for_and_seen_subjects_are_stated_everywhere(
    store: SegmentStore, network: Network, tmp_path: Path
) -> None:
    """Unrated and unscorable segments keep their rows; every output states that the subjects were seen in training."""
    index = store.index.copy()
    first, _, third, _ = store.rated("test")
    index.loc[first, "reference"] = np.nan
    index.loc[third, ["status", "reason"]] = ["unscorable", "no_face"]
    altered = SegmentStore(store.path, store.record, index)
    conditions = (CLEAN, *CONDITIONS["modality"])
    trained = f"store sha256 {altered.digest}, splits sha256 {splits_digest(altered, None)}"
    split = dataclasses.replace(identify_split(altered, "train", trained), split="test")
    evaluation = evaluate(altered, split, network, conditions, 42)
    folder = tmp_path / "out"
    prepare_evaluation_directory(folder, False)
    run = scoring_settings(altered, "cpu")
    record = write_evaluation(folder, altered, split, network, run, evaluation, conditions, 42)
    assert {path.name for path in folder.iterdir()} == set(FILES)
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o600}
    scores = pd.read_csv(folder / "scores.csv")
    assert list(scores["status"]) == ["scored", "scored", "unscorable", "scored"]
    assert len(pd.read_csv(folder / "ratings.csv")) == len(pd.read_csv(folder / "predictions.csv")) == 3
    assert record.segments == SegmentCounts(total=4, rated=3, rated_without_score=1)
    content = json.loads((folder / "evaluation.json").read_text())
    assert content == record.to_json() | {"conditions": content["conditions"], "headline": content["headline"]}
    assert set(content["headline"]) == {"clean", "audio_alone", "face_alone"}
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
    assert report["error"]["accuracy"]["mae"]["value"] == pytest.approx(record.clean.metrics.mae.value, abs=1e-5)
    assert report["agreement"]["limits"]["bias"]["value"] == pytest.approx(record.clean.metrics.bias.value, abs=1e-5)
    assert report["pairing"]["unmatched_ratings"]["count"] == 0
    assert record.conditions[1].not_computable
    assert SCORABLE in index["status"].unique()
    assert (store.path / STORE_FILE).exists()
