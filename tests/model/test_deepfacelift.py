"""Landmarks of aligned crops, features of segments, and the regression on them."""

from __future__ import annotations

import csv
import importlib.util
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from skimage import data
from sklearn.svm import SVR

from avpenet_cli.errors import EnvironmentUnavailableError, SettingsError, WeightsError
from avpenet_cli.face.align import align, crop_map
from avpenet_cli.face.detect import FaceDetector
from avpenet_cli.media.frame_image import RgbImage
from avpenet_cli.model.deepfacelift import DeepFaceLift
from avpenet_cli.model.deepfacelift_settings import DeepFaceLiftSettings
from avpenet_cli.model.landmark_features import face_measures, n_measures, segment_features
from avpenet_cli.model.landmarks import LAYOUTS, MESH_SUBSET, MESH_VARIABLE, landmark_model
from avpenet_cli.model.network import FeatureTable
from avpenet_cli.model.support_vectors import SvrParams, fit_svr
from avpenet_cli.settings import FaceSettings
from avpenet_cli.weights import find, load_network, save, verify
from tests.support.weight_descriptions import make_description

CPU = torch.device("cpu")
FACE = FaceSettings()
FIVE, MESH = LAYOUTS["mtcnn"], LAYOUTS["mesh"]
F = n_measures(FIVE)
E = 5 * F
MEASURE = {
    layout: {distance.name: 2 * len(layout.free) + row for row, distance in enumerate(layout.distances)}
    for layout in (FIVE, MESH)
}
"""Column of each distance among the measures of a face."""

LONDON = ("001", "002", "004", "005", "007", "008", "010", "011", "013", "014", "016", "017")
London = tuple[NDArray[np.uint8], NDArray[np.float64]]
LONDON_POINTS = {"left eye": 0, "right eye": 1, "left corner": 87, "right corner": 93}
"""Points of WebMorph's template that MTCNN's network gives, too; the tip of the nose has none."""


def normalised(crops: NDArray[np.uint8]) -> torch.Tensor:
    """Crops (N, S, S, 3) as networks take them."""
    mean, sd = (torch.tensor(values)[:, None, None] for values in (FACE.pixel_mean, FACE.pixel_std))
    return (torch.from_numpy(crops).permute(0, 3, 1, 2).float() / 255 - mean) / sd


def read(path: Path) -> NDArray[np.uint8]:
    """A photograph, RGB."""
    image = cv2.imread(str(path))
    assert image is not None
    return np.ascontiguousarray(image[:, :, ::-1]).astype(np.uint8)


def crop_of(image: NDArray[np.uint8], detector: FaceDetector) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
    """The aligned crop of the largest face, and the map from crop to image."""
    face = detector.detect([RgbImage(image)])[0][0]
    return align(RgbImage(image), face, FACE).astype(np.uint8), crop_map(face, FACE)


@pytest.fixture(scope="module")
def detector() -> FaceDetector:
    return FaceDetector(FACE, CPU)


@pytest.fixture(scope="module")
def portrait(detector: FaceDetector) -> NDArray[np.uint8]:
    """The crop of the astronaut's face."""
    return crop_of(data.astronaut(), detector)[0]


@pytest.fixture(scope="module")
def london(shared: Path, detector: FaceDetector) -> London:
    """Crops of neutral faces, and their 189 marked points as shares of the crop."""
    folder = shared / "data" / "faces_london"
    if not folder.is_dir():
        pytest.skip(f"needs the photographs in {folder}")
    marked: dict[str, list[tuple[float, float]]] = {}
    with (folder / "points.csv").open() as file:
        for row in csv.DictReader(file):
            marked.setdefault(row["file"], []).append((float(row["x"]), float(row["y"])))
    crops, points = [], []
    for name in (f"{person}_neutral.jpg" for person in LONDON):
        crop, to_image = crop_of(read(folder / name), detector)
        crops.append(crop)
        points.append((np.array(marked[name]) - to_image[:, 2]) @ np.linalg.inv(to_image[:, :2]).T / len(crop))
    return np.stack(crops), np.stack(points)


@pytest.fixture
def face_mesh(shared: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """MediaPipe's model file, set in the environment."""
    path = shared / "data" / "teachers" / "face_landmarker.task"
    if importlib.util.find_spec("ai_edge_litert") is None or not path.is_file():
        pytest.skip(f"needs the extra `mesh` and {path}")
    monkeypatch.setenv(MESH_VARIABLE, str(path))
    return path


def stretched(crop: NDArray[np.uint8], centre: NDArray[np.float64], radius: float, x: float, y: float) -> Any:
    """The crop with what lies around `centre` (shares) stretched by `x` across and by `y` downwards."""
    size = len(crop)
    rows, columns = np.mgrid[:size, :size].astype(np.float64)
    dx, dy = columns - centre[0] * size, rows - centre[1] * size
    weight = np.exp(-(((dx**2 + dy**2) / (radius * size) ** 2) ** 2))
    to_x, to_y = columns - dx * (1 - 1 / x) * weight, rows - dy * (1 - 1 / y) * weight
    return cv2.remap(crop, to_x.astype(np.float32), to_y.astype(np.float32), cv2.INTER_LINEAR)


def measures_of(network: DeepFaceLift, crops: NDArray[np.uint8]) -> torch.Tensor:
    layout = LAYOUTS[network.architecture.landmarks]
    return face_measures(network.encode_faces(normalised(crops))[:, :-1].unflatten(1, (layout.count, 2)), layout)


def test_five_points_lie_on_the_marked_points_of_photographs(
    london: London,
) -> None:
    crops, marked = london
    tokens = DeepFaceLift(DeepFaceLiftSettings()).encode_faces(normalised(crops)).numpy()
    points = tokens[:, :-1].reshape(-1, 5, 2)
    between_eyes = np.linalg.norm(marked[:, 1] - marked[:, 0], axis=1)[:, None]
    errors = np.linalg.norm(points[:, [0, 1, 3, 4]] - marked[:, list(LONDON_POINTS.values())], axis=2) / between_eyes
    assert dict(zip(LONDON_POINTS, errors.mean(0), strict=True)) == pytest.approx(
        dict.fromkeys(LONDON_POINTS, 0), abs=0.04
    )
    assert errors.max() < 0.1
    assert tokens[:, -1].min() > 0.9
    # The tip lies above the base of the nose, and below its bridge.
    assert ((points[:, 2, 1] < marked[:, 55, 1]) & (points[:, 2, 1] > marked[:, 50, 1])).all()


def test_face_mesh_lies_on_the_marked_points_of_photographs(london: London, face_mesh: Path) -> None:
    crops, marked = london
    network = DeepFaceLift(DeepFaceLiftSettings(landmarks="mesh"))
    tokens = network.encode_faces(normalised(crops)).numpy()
    points = tokens[:, :-1].reshape(len(crops), -1, 2)
    between_eyes = np.linalg.norm(marked[:, 1] - marked[:, 0], axis=1)[:, None]
    pairs = {61: 87, 291: 93, 13: 96, 14: 101, 159: 20, 145: 29, 386: 25, 374: 32, 0: 90, 17: 106, 2: 55, 152: 129}
    rows = [MESH_SUBSET.index(point) for point in pairs]
    errors = np.linalg.norm(points[:, rows] - marked[:, list(pairs.values())], axis=2) / between_eyes
    assert errors.mean(0).max() < 0.05
    assert tokens[:, -1].min() > 0.9


def test_landmarks_follow_a_mirrored_face_and_do_not_depend_on_other_faces(portrait: NDArray[np.uint8]) -> None:
    network = DeepFaceLift(DeepFaceLiftSettings())
    faces = normalised(np.stack([portrait, portrait[:, ::-1], np.zeros_like(portrait)]))
    tokens = network.encode_faces(faces)
    points = tokens[:, :-1].unflatten(1, (5, 2))
    mirrored = points[1, [1, 0, 2, 4, 3]] * torch.tensor([-1.0, 1.0]) + torch.tensor([1.0, 0.0])
    assert float((points[0] - mirrored).abs().max()) < 0.03
    assert float(tokens[0, -1]) > 0.9 > 0.1 > float(tokens[2, -1])
    assert torch.equal(network.encode_faces(faces[1:2]), tokens[1:2])
    assert network.encode_faces(faces[:0]).shape == (0, 11)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(network.encode_faces(faces), tokens)


def test_mouth_that_is_widened_or_narrowed_measures_so(portrait: NDArray[np.uint8]) -> None:
    network = DeepFaceLift(DeepFaceLiftSettings())
    mouth = network.encode_faces(normalised(portrait[None]))[0, 6:10].reshape(2, 2).mean(0).double().numpy()
    crops = [stretched(portrait, mouth, 0.3, x, 1.0) for x in (0.8, 1.0, 1.25)]
    narrow, plain, wide = measures_of(network, np.stack(crops))
    width = MEASURE[FIVE]["mouth width"]
    assert float(narrow[width]) < 0.94 * float(plain[width])
    assert float(wide[width]) > 1.05 * float(plain[width])
    eyes_to_mouth, eyes = MEASURE[FIVE]["eyes to mouth"], [-3, -2, -1]
    assert float((wide - narrow)[[eyes_to_mouth, *eyes]].abs().max()) < 0.08


def test_smile_widens_the_mouth(london: London, shared: Path, detector: FaceDetector) -> None:
    network = DeepFaceLift(DeepFaceLiftSettings())
    images = [read(shared / "data" / "faces_london" / f"{person}_smiling.jpg") for person in LONDON]
    smiling = measures_of(network, np.stack([crop_of(image, detector)[0] for image in images]))
    change = (smiling - measures_of(network, london[0]))[:, MEASURE[FIVE]["mouth width"]]
    assert float(change.mean()) > 0.1
    assert float((change > 0).double().mean()) > 0.9


def test_mouth_that_is_opened_measures_more_open_in_the_mesh(london: London, face_mesh: Path) -> None:
    crops, marked = london
    network = DeepFaceLift(DeepFaceLiftSettings(landmarks="mesh"))
    opened = np.stack([stretched(crop, points[96], 0.2, 1.0, 1.5) for crop, points in zip(crops, marked, strict=True)])
    # A closed mouth has no opening that stretching could widen: dark between the lips.
    for image, points in zip(opened, marked, strict=True):
        centre = tuple(int(value) for value in points[[96, 101]].mean(0) * len(image))
        cv2.ellipse(image, centre, (24, 10), 0, 0, 360, (40, 10, 10), -1)
    change = (measures_of(network, opened) - measures_of(network, crops)).mean(0)
    assert float(change[MEASURE[MESH]["mouth opening"]]) > 0.1
    assert abs(float(change[MEASURE[MESH]["eye opening"]])) < 0.02


@pytest.mark.parametrize("layout", [FIVE, MESH], ids=["mtcnn", "mesh"])
def test_measures_do_not_depend_on_position_size_and_roll(layout: Any) -> None:
    rng = np.random.default_rng(1)
    points = torch.from_numpy(rng.uniform(0.3, 0.7, (layout.count, 2)))
    points[list(layout.left_eye)] += torch.tensor([-0.2, -0.1])
    points[list(layout.right_eye)] += torch.tensor([0.2, -0.1])
    angle = torch.tensor(0.3, dtype=torch.float64)
    turn = torch.stack([torch.stack([angle.cos(), -angle.sin()]), torch.stack([angle.sin(), angle.cos()])])
    moved = points @ turn.T * 0.8 + torch.tensor([0.1, -0.05])
    plain, again = face_measures(points, layout), face_measures(moved, layout)
    assert plain.shape == (n_measures(layout),)
    torch.testing.assert_close(again[:-3], plain[:-3])
    assert float(again[-3] / plain[-3]) == pytest.approx(0.8)


@pytest.mark.parametrize(
    ("name", "moved"),
    [
        ("mouth opening", (14, 87, 317)),
        ("eye opening", (144, 145, 153, 380, 374, 373)),
        ("nose to lip", (0,)),
        ("lip to chin", (152,)),
        ("inner brow height", (133, 362)),
        ("eyes to nostrils", (129, 358)),
    ],
)
def test_distance_grows_by_what_its_landmarks_move(name: str, moved: tuple[int, ...]) -> None:
    points = torch.full((MESH.count, 2), 0.5, dtype=torch.float64)
    points[list(MESH.left_eye), 0], points[list(MESH.right_eye), 0] = 0.3, 0.7
    after = points.clone()
    after[[MESH_SUBSET.index(point) for point in moved], 1] += 0.04
    column = MEASURE[MESH][name]
    change = float((face_measures(after, MESH) - face_measures(points, MESH))[column])
    assert change == pytest.approx(0.1, abs=0.005)


def test_features_are_the_statistics_of_the_faces_present_in_time_order() -> None:
    rng = np.random.default_rng(2)
    measures = rng.normal(size=(1, 5, 3))
    present = torch.tensor([[True, False, True, True, True]])
    places = torch.tensor([[9, 1, 4, 5, 29]])
    features = segment_features(torch.from_numpy(measures), present, places)[0].numpy()
    rows = measures[0][[2, 3, 0, 4]]
    change = np.abs(np.diff(rows, axis=0)) / np.array([1, 4, 20])[:, None]
    expected = [rows.mean(0), rows.std(0), rows.min(0), rows.max(0), change.mean(0)]
    np.testing.assert_allclose(features, np.concatenate(expected), atol=1e-12)
    single = segment_features(torch.from_numpy(measures), torch.arange(5)[None] == 2, places)[0].numpy()
    np.testing.assert_allclose(single, np.concatenate([measures[0, 2], [0] * 3, *[measures[0, 2]] * 2, [0] * 3]))


def test_uncertain_landmarks_are_left_out_unless_there_are_no_others() -> None:
    network = DeepFaceLift(DeepFaceLiftSettings())
    tokens = torch.rand((2, 4, 11), generator=torch.Generator().manual_seed(3))
    tokens[..., -1] = torch.tensor([[0.9, 0.1, 0.8, 0.2], [0.1, 0.2, 0.3, 0.4]])
    features = network.embed(None, tokens)
    certain = network.embed(None, tokens[:1, [0, 2]], None, torch.tensor([[0, 2]]))
    torch.testing.assert_close(features[:1], certain)
    tokens[1, :, -1] = 0.9
    torch.testing.assert_close(network.embed(None, tokens[1:]), features[1:])


def test_segment_without_a_face_is_refused() -> None:
    network = DeepFaceLift(DeepFaceLiftSettings())
    with pytest.raises(ValueError, match="without face"):
        network.embed(None, None)
    with pytest.raises(ValueError, match="without face"):
        network.embed(None, torch.rand(2, 3, 11), torch.tensor([[True, False, True], [False] * 3]))


def test_regression_equals_that_of_scikit_learn() -> None:
    rng = np.random.default_rng(4)
    rows = rng.normal(size=(400, 144)).astype(np.float32)
    truth = np.clip(5 + 3 * rows[:, 0] - 2 * rows[:, 1] ** 2 + rng.normal(size=400), 0, 10)
    others = rng.normal(size=(300, 144)).astype(np.float32)
    fitted = fit_svr(rows, truth, None, [SvrParams(100.0, 0.1, 0.005)])
    expected = SVR(C=100.0, epsilon=0.1, gamma=0.005).fit(rows.astype(np.float64), truth)
    assert len(fitted.dual_coefficients) == len(expected.support_)
    module = fitted.module()
    assert all(buffer.dtype == torch.float32 for buffer in module.buffers())
    np.testing.assert_allclose(
        module(torch.from_numpy(others)).numpy(), expected.predict(others.astype(np.float64)), atol=1e-5
    )


def test_hyperparameters_are_those_with_the_least_error_in_validation() -> None:
    rng = np.random.default_rng(5)
    rows = rng.normal(size=(200, 4)).astype(np.float32)
    truth = 5 + 2 * np.sin(2 * rows[:, 0])
    grid = [SvrParams(penalty, 0.1, gamma) for gamma in (0.3, 1e-4) for penalty in (0.01, 10.0)]
    fitted = fit_svr(rows[:150], truth[:150], (rows[150:], truth[150:]), grid)
    errors = [
        np.abs(
            SVR(C=p.penalty, epsilon=0.1, gamma=p.gamma).fit(rows[:150], truth[:150]).predict(rows[150:]) - truth[150:]
        )
        for p in grid
    ]
    assert fitted.params == grid[int(np.argmin([error.mean() for error in errors]))] == grid[1]


def make_table(recordings: int, seed: int = 6, **others: Any) -> FeatureTable:
    """Recordings of 12 segments; pain is how far a feature lies over the patient's own, and every face is its own."""
    rng = np.random.default_rng(seed)
    pain = rng.uniform(0, 10, (recordings, 12))
    features = rng.normal(size=(recordings, 1, E)) + 0.05 * rng.normal(size=(recordings, 12, E))
    features[..., :10] += 0.1 * pain[..., None]
    recording = np.repeat(np.arange(recordings), 12)
    values: dict[str, Any] = {
        "features": features.reshape(-1, E).astype(np.float32),
        "starts_s": np.tile(3.0 * np.arange(12), recordings),
        "recording": recording,
        "subject": recording,
        "truth": pain.ravel(),
        "train": recording < recordings // 2,
        "validation": (recording >= recordings // 2) & (recording < 3 * recordings // 4),
    }
    return FeatureTable(**(values | others))


def scores_of(network: DeepFaceLift, table: FeatureTable, rows: NDArray[np.bool_]) -> NDArray[np.float32]:
    scores = [
        network.score_recording(
            torch.from_numpy(table.features[table.recording == recording]),
            torch.from_numpy(table.starts_s[table.recording == recording]),
        ).numpy()
        for recording in np.unique(table.recording[rows])
    ]
    return np.concatenate(scores)


def test_learning_fits_what_it_saw_and_scores_patients_against_themselves() -> None:
    table = make_table(40)
    network = DeepFaceLift(DeepFaceLiftSettings()).learn(table, seed=0)
    seen, unseen = scores_of(network, table, table.train), scores_of(network, table, table.recording >= 30)
    assert np.abs(seen - table.truth[table.train]).mean() < 0.5
    assert np.corrcoef(unseen, table.truth[table.recording >= 30])[0, 1] > 0.9
    assert unseen.min() >= 0
    assert unseen.max() <= 10
    assert network.architecture.n_support == len(network.regression.dual_coefficients)
    assert not network.training


def test_tiny_table_without_validation_is_learnt_by_heart() -> None:
    table = make_table(1, train=np.ones(12, np.bool_), validation=np.zeros(12, np.bool_))
    network = DeepFaceLift(DeepFaceLiftSettings()).learn(table, seed=0)
    assert np.abs(scores_of(network, table, table.train) - table.truth).max() < 0.2


def test_learning_again_gives_the_same_tensors_also_of_a_drawn_part() -> None:
    table, settings = make_table(8), DeepFaceLiftSettings(max_segments=30)
    first, again = (DeepFaceLift(settings).learn(table, seed=1).state_dict() for _ in range(2))
    assert first.keys() == again.keys()
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert first["regression.support_vectors"].shape[0] <= 30
    other = DeepFaceLift(settings).learn(table, seed=2).state_dict()["regression.support_vectors"]
    assert not torch.equal(first["regression.support_vectors"][0], other[0])


def test_ratings_of_others_than_the_training_and_validation_subjects_change_nothing() -> None:
    table = make_table(16)
    unused = ~(table.train | table.validation)
    hidden = make_table(16, truth=np.where(unused, np.nan, table.truth))
    first, second = (DeepFaceLift(DeepFaceLiftSettings()).learn(each, seed=0).state_dict() for each in (table, hidden))
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_statistics_of_the_first_seconds_leave_earlier_scores_alone() -> None:
    table = make_table(16)
    limited = DeepFaceLift(DeepFaceLiftSettings(statistics_s=9.0)).learn(table, seed=0)
    features, starts_s = torch.from_numpy(table.features[:12]), torch.from_numpy(table.starts_s[:12])
    whole, part = limited.score_recording(features, starts_s), limited.score_recording(features[:4], starts_s[:4])
    torch.testing.assert_close(part, whole[:4], atol=1e-5, rtol=0)
    everything = DeepFaceLift(DeepFaceLiftSettings()).learn(table, seed=0)
    assert not torch.allclose(
        everything.score_recording(features[:4], starts_s[:4]),
        everything.score_recording(features, starts_s)[:4],
        atol=0.01,
    )


def test_saved_weights_give_the_same_scores(tmp_path: Path, portrait: NDArray[np.uint8]) -> None:
    table = make_table(8)
    network = DeepFaceLift(DeepFaceLiftSettings()).learn(table, seed=0)
    description = make_description(
        "landmarks", network="deepfacelift", architecture=network.architecture, modalities=("face",)
    )
    path = tmp_path / "landmarks.safetensors"
    save(network.state_dict(), description, path)
    entry = find(path)
    verify(entry)
    loaded = load_network(entry)
    faces = normalised(np.stack([portrait, portrait[:, ::-1]]))
    with torch.inference_mode():
        scores = [each.score(None, each.encode_faces(faces)[None]) for each in (network, loaded)]
    assert torch.equal(*scores)
    assert scores[0].shape == (1,)


def test_network_that_has_not_learnt_says_so() -> None:
    with pytest.raises(WeightsError, match="has not learnt"):
        DeepFaceLift(DeepFaceLiftSettings()).score(None, torch.rand(1, 3, 11))


@pytest.mark.parametrize(
    ("others", "message"),
    [
        ({"truth": np.full(96, 4.0)}, "all 48 segments are rated 4"),
        ({"train": np.arange(96) < 4}, "at least 5 rated segments"),
        ({"truth": np.full(96, np.nan)}, "got 0"),
        ({"features": np.full((96, E), np.nan, np.float32)}, "not finite"),
        ({"features": np.zeros((96, E + 1), np.float32)}, f"takes {E} features"),
    ],
)
def test_table_that_cannot_be_learnt_from_is_refused(others: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        DeepFaceLift(DeepFaceLiftSettings()).learn(make_table(8, **others), seed=0)


def test_settings_of_the_other_landmarks_or_without_faces_are_refused() -> None:
    with pytest.raises(ValueError, match="only input"):
        DeepFaceLiftSettings(may_be_missing=("face",))
    with pytest.raises(ValueError, match="mesh_sha256"):
        DeepFaceLiftSettings(mesh_sha256="0" * 64)


def test_missing_face_mesh_says_what_to_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(MESH_VARIABLE, raising=False)
    with pytest.raises(EnvironmentUnavailableError, match=f"set {MESH_VARIABLE}"):
        landmark_model("mesh", CPU)
    (tmp_path / "other.task").write_bytes(b"no archive")
    monkeypatch.setenv(MESH_VARIABLE, str(tmp_path / "other.task"))
    with pytest.raises(EnvironmentUnavailableError, match=r"extra mesh|not MediaPipe's face mesh"):
        landmark_model("mesh", CPU)


def test_weights_refuse_another_face_mesh(face_mesh: Path, portrait: NDArray[np.uint8]) -> None:
    network = DeepFaceLift(DeepFaceLiftSettings(landmarks="mesh", mesh_sha256="0" * 64))
    with pytest.raises(EnvironmentUnavailableError, match="made with 000000000000"):
        network.encode_faces(normalised(portrait[None]))
