"""The recipe of the bundled weights: subjects are what their targets say, training learns from them and resumes."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from avpenet_cli.face.detect import FaceDetector
from avpenet_cli.media.frame_image import RgbImage
from avpenet_cli.model.encoders import AudioEncoder
from avpenet_cli.phantom.face.people import built_in_faces
from avpenet_cli.phantom.face.renderer import View
from avpenet_cli.phantom.head.model import Expression, Look
from avpenet_cli.phantom.scene import background
from avpenet_cli.settings import FaceSettings
from avpenet_cli.weights import find, load_network
from weights.recipe import finish, learn_fusion
from weights.recipe.augment_faces import FaceAugmenter
from weights.recipe.crops import crop_at, face_at
from weights.recipe.learn_faces import FaceStep, learn_faces, unit_loss
from weights.recipe.learn_fusion import NONE, FusionTraining, ItemSampler, Material, gather, initial_network
from weights.recipe.learning import Budget, Run, WeightAverage, adamw
from weights.recipe.load_subjects import load_audio, load_faces
from weights.recipe.subjects import (
    FRAMES,
    POSED,
    SEGMENTS,
    FaceFolders,
    kept_starts_s,
    make_audio,
    make_faces,
    scene_of,
)

SEED = 77
BUILT_IN = FaceFolders(None, None)
CPU = torch.device("cpu")
QUARTERS = {0: None, 1: cv2.ROTATE_90_CLOCKWISE, 2: cv2.ROTATE_180, 3: cv2.ROTATE_90_COUNTERCLOCKWISE}


def rendered(roll_deg: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """A rendered frame and its landmarks."""
    look = Look("adult", 3, 3, "short", 0.3)
    view = View(width_px=320, height_px=320, face_width_px=130.0, roll_deg=roll_deg)
    renderer = built_in_faces().renderer(look)
    frame = renderer.frame(Expression(), view, background(view, np.random.default_rng(0)))
    return frame, renderer.landmarks_px(Expression(), view)


def overlap(a: np.ndarray, b: np.ndarray) -> float:
    """Intersection over union of two boxes."""
    sides = np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2])
    shared = float(np.prod(sides.clip(0)))
    return shared / (float(np.prod(a[2:] - a[:2])) + float(np.prod(b[2:] - b[:2])) - shared)


def test_box_from_landmarks_is_about_that_of_the_detector() -> None:
    frame, points = rendered()
    detected = FaceDetector(FaceSettings(), CPU).detect([RgbImage(frame)])[0][0]
    boxes = [face_at(points, np.random.default_rng(seed)).box for seed in range(5)]
    assert min(overlap(box, detected.box) for box in boxes) > 0.65
    assert np.abs(detected.eyes - points[:2]).max() < 0.06 * detected.width_px


@pytest.mark.parametrize("quarters", [1, 2, 3])
def test_face_on_its_side_is_cropped_upright(quarters: int) -> None:
    frame, points = rendered()
    upright = crop_at(frame, points, FaceSettings(), np.random.default_rng(1))
    turned = np.ascontiguousarray(np.rot90(frame, -quarters))
    for _ in range(quarters):
        points = np.stack([frame.shape[0] - 1 - points[:, 1], points[:, 0]], 1)
    crop = crop_at(turned, points, FaceSettings(), np.random.default_rng(1))
    # Half a pixel of the frame is the difference between counting from corners and from centres.
    assert np.abs(crop.astype(int) - upright).mean() < 4.0


@pytest.fixture(scope="module")
def subjects(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Faces and audio of two subjects, one of whom validates."""
    folder = tmp_path_factory.mktemp("subjects")
    for kind in ("faces", "audio"):
        (folder / kind).mkdir()
    for number in (18, 19):
        make_faces(number, SEED, folder / "faces", BUILT_IN)
        make_audio(number, SEED, folder / "audio", (), 0.0)
    return folder


@pytest.mark.slow
def test_faces_and_audio_of_a_subject_are_of_the_same_segments(subjects: Path) -> None:
    faces, audio = load_faces(subjects, 64, 1), load_audio(subjects, 1)
    assert faces.crops.shape == (2 * (SEGMENTS * FRAMES + POSED), 3, 64, 64)
    assert audio.mels.shape == (2 * SEGMENTS, 1, 128, 300)
    torch.testing.assert_close(faces.pain, audio.pain)
    assert faces.validates.sum() == len(faces.validates) / 2
    scene, starts_s = scene_of(18, SEED), kept_starts_s(18, SEED)
    first = scene.motion.units[int(starts_s[0] * scene.fps) : int((starts_s[0] + 3) * scene.fps)]
    own = faces.units[(faces.subject == 18) & (faces.segment == 0)].numpy()
    assert len(own) == FRAMES
    assert all(np.abs(first - units).max(1).min() < 1e-6 for units in own)


@pytest.mark.slow
def test_the_same_subject_is_made_again_to_the_byte(subjects: Path, tmp_path: Path) -> None:
    assert make_faces(18, SEED, tmp_path, BUILT_IN) == SEGMENTS * FRAMES + POSED
    assert (tmp_path / "P0019.jpg").read_bytes() == (subjects / "faces" / "P0019.jpg").read_bytes()


@pytest.mark.slow
def test_recipe_gives_weights_that_load(subjects: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    steps = (FaceStep(32, 1.0, 4, 1e-3),)
    learn_faces(lambda: load_faces(subjects, 32, 1), tmp_path / "face.safetensors", CPU, Budget(1), steps)
    save_file(AudioEncoder().state_dict(), tmp_path / "audio.safetensors")
    network = initial_network(tmp_path / "face.safetensors", tmp_path / "audio.safetensors", CPU)
    bursts = torch.zeros((2, 1, 128, 300), dtype=torch.uint8), torch.tensor([0.0, 7.0])
    material = gather(load_faces(subjects, 64, 1), load_audio(subjects, 1), bursts, CPU)
    training = FusionTraining(network, material, tmp_path, views=1, side_px=64)
    training.first_stage(Budget(2), batch=8)
    training.second_stage(Budget(1), batch=2)
    assert set(training.metrics()) == {"both", "audio", "face"}
    # As on a GPU, of one item: most CPUs emulate bfloat16.
    monkeypatch.setattr(learn_fusion, "half_precision", lambda device: torch.autocast(device.type, torch.bfloat16))
    (tmp_path / "gpu").mkdir()
    FusionTraining(network, material, tmp_path / "gpu", views=1, side_px=32).second_stage(Budget(1), batch=2)
    torch.save(network.state_dict(), tmp_path / "network.pt")
    finish.quantise(tmp_path / "network.pt", tmp_path / "parts")
    text = tmp_path / "text"
    text.write_text("a test\n")
    finish.describe(tmp_path / "parts", text, text, tmp_path / "small.safetensors", "MIT")
    loaded = load_network(find(tmp_path / "small.safetensors")).state_dict()
    for name, tensor in network.state_dict().items():
        torch.testing.assert_close(loaded[name].float(), tensor.float(), atol=0.02, rtol=0.02)


def test_pain_of_posed_faces_is_not_learnt() -> None:
    output = torch.rand((4, 10))
    units, pain = torch.rand((4, 9)), torch.tensor([torch.nan] * 4)
    expected = float((output[:, :9] - units).square().mean())
    assert float(unit_loss(output, units, pain)) == pytest.approx(expected)
    assert float(unit_loss(output, units, torch.tensor([torch.nan, 3.0, 9.0, torch.nan]))) > expected


def test_augmentation_treats_frames_of_a_clip_alike_and_clips_differently() -> None:
    crops = torch.randint(0, 255, (1, 3, 48, 48), dtype=torch.uint8).repeat(4, 1, 1, 1)
    augmented = FaceAugmenter(32, CPU, 5)(crops, same=2)
    assert augmented.shape == (4, 3, 32, 32)
    assert augmented.isfinite().all()
    within = (augmented[0] - augmented[1]).abs().mean()
    between = (augmented[0] - augmented[2]).abs().mean()
    assert within < 0.6 * between
    torch.testing.assert_close(FaceAugmenter(32, CPU, 5)(crops, same=2), augmented)


def test_every_training_item_keeps_a_modality_and_its_pain() -> None:
    pain = torch.tensor([0.0, 8.0, 6.0, 7.0, 0.0, 0.0, 0.2, 5.0])
    material = Material(
        mels=torch.zeros((6, 1, 128, 300), dtype=torch.uint8),
        crops=torch.zeros((1, 3, 224, 224), dtype=torch.uint8),
        clips=torch.zeros((6, 8), dtype=torch.int64),
        audio=torch.tensor([0, 1, 2, 3, 4, NONE, NONE, 5]),
        face=torch.tensor([0, 1, 2, NONE, NONE, 3, 4, 5]),
        pain=pain,
        group=torch.tensor([0, 0, 0, 1, 1, 2, 2, 0]),
        validates=torch.tensor([False] * 7 + [True]),
    )
    items = ItemSampler(material, 1).draw(400)
    assert bool(((items.audio != NONE) | (items.face != NONE)).all())
    assert bool(((items.audio == NONE) & (items.pain > 7.5)).any())
    assert bool(((items.face == NONE) & (items.pain > 7.5)).any())
    assert 5 not in items.audio
    assert 5 not in items.face
    # Only items without pain exchange their voice or face.
    assert set(items.audio[items.pain > 7.5].tolist()) <= {1, NONE}
    assert {0, 4} <= set(items.audio[items.pain < 0.1].tolist())


def test_training_resumes_to_the_same_result(tmp_path: Path) -> None:
    def trained(name: str, updates: list[int]) -> torch.Tensor:
        torch.manual_seed(0)
        module = nn.Linear(3, 1)
        for count in updates:
            run = Run("test", module, adamw([(module, 1e-2)], 0.0), Budget(6), WeightAverage(module), tmp_path / name)
            stop = count

            def loss_of(progress: float, run: Run = run, stop: int = stop, module: nn.Linear = module) -> torch.Tensor:
                if run.done == stop:
                    run.save()
                    raise KeyboardInterrupt
                loss: torch.Tensor = module(torch.full((1, 3), 1.0 + run.done)).square().sum()
                return loss

            try:
                run.train(loss_of)
            except KeyboardInterrupt:
                module = nn.Linear(3, 1)
        average = run.average.module
        assert isinstance(average, nn.Linear)
        return average.weight.detach()

    torch.testing.assert_close(trained("once", [99]), trained("twice", [3, 99]))
