"""Pretraining on phantoms: inputs match their targets, and the result starts a training."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from avpenet_cli.dataset.store import SegmentStore
from avpenet_cli.phantom.make import PhantomRequest, make_phantoms, scenes
from avpenet_cli.phantom.scene import draw_scene
from avpenet_cli.phantom.subjects import draw_subject
from avpenet_cli.weights import find, load_network
from tests.conftest import REPOSITORY, RunAvpenet
from weights.recipe.extra_subjects import (
    FRAMES,
    load_extra_audio,
    load_extra_faces,
    make_audio,
    make_faces,
    sample_moments,
    utterance_kinds,
)
from weights.recipe.pretrain_encoders import UNITS, face_loss
from weights.recipe.pretraining_data import augment_faces, augment_spectrograms, load_audio, load_faces


def run_recipe(module: str, *args: str | Path) -> subprocess.CompletedProcess[str]:
    """Run a module of `weights/recipe` to its end."""
    command = [sys.executable, "-m", f"weights.recipe.{module}", *map(str, args)]
    return subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True)


def test_augmentation_keeps_the_range_and_treats_every_item_differently() -> None:
    rng = torch.Generator().manual_seed(1)
    faces = torch.rand((1, 3, 16, 16), generator=rng).repeat(8, 1, 1, 1)
    augmented = augment_faces(faces, rng)
    assert augmented.shape == faces.shape
    assert 0.0 <= float(augmented.min()) < float(augmented.max()) <= 1.0
    assert not any(torch.equal(item, augmented[0]) for item in augmented[1:])
    mels = torch.rand((1, 1, 128, 300), generator=rng).repeat(4, 1, 1, 1)
    augmented = augment_spectrograms(mels, rng)
    assert 0.0 <= float(augmented.min()) < float(augmented.max()) <= 1.0
    assert not any(torch.equal(item, augmented[0]) for item in augmented[1:])


def test_faces_of_unknown_pain_are_trained_on_action_units_only() -> None:
    output = torch.rand((4, UNITS + 1))
    target = torch.rand((4, UNITS + 1))
    target[:2, UNITS] = float("nan")
    units = float((output - target)[:, :UNITS].square().mean())
    pain = float((output - target)[2:, UNITS].square().mean())
    assert float(face_loss(output, target)) == pytest.approx(units + 0.005 * pain)
    assert float(face_loss(output[:2], target[:2])) == pytest.approx(
        float((output - target)[:2, :UNITS].square().mean())
    )


def test_extra_faces_have_the_action_units_of_their_frames(tmp_path: Path) -> None:
    """Frames without a detected face are left out with their units, and the same command reuses what is there."""
    assert 0 < make_faces(3, 1001, tmp_path / "faces") <= FRAMES
    crops, units = load_extra_faces(tmp_path, 64)
    assert len(crops) == len(units)
    assert {crop.shape for crop in crops} == {(64, 64, 3)}
    scene = sample_moments(
        draw_scene(draw_subject(3, 1001, "both"), 60.0, 1001 * 1_000_003 + 3 * 1009),
        FRAMES,
        np.random.default_rng([1001, 3, 1]),
    )
    assert {tuple(row) for row in np.stack(units)} <= {tuple(row) for row in scene.motion.units.astype(np.float32)}
    strip = next(tmp_path.glob("faces/*.jpg"))
    before = strip.stat().st_mtime_ns
    assert make_faces(3, 1001, tmp_path / "faces") == len(units)
    assert strip.stat().st_mtime_ns == before


def test_extra_audio_has_spectrograms_utterances_and_pain(tmp_path: Path) -> None:
    assert make_audio(3, 1001, tmp_path / "audio") == 6
    mels, shares, pain = load_extra_audio(tmp_path, ["cough", "no such kind"])
    assert mels.shape == (6, 1, 128, 300)
    assert 0.0 <= mels.min() < mels.max() <= 1.0
    assert shares.shape == (6, 10, 2)
    assert not shares[:, :, 1].any()
    assert ((pain >= 0.0) & (pain <= 10.0)).all()


def test_a_folder_of_extra_subjects_of_another_seed_is_refused(tmp_path: Path) -> None:
    """Its subjects have the same names."""
    command = ("extra_subjects", "audio", "--subjects", "1", "--jobs", "1", "--out", tmp_path, "--seed")
    runs = [run_recipe(*command, seed) for seed in ("7", "8")]
    assert runs[0].returncode == 0, runs[0].stderr
    assert runs[1].returncode == 2
    assert "seed 7" in runs[1].stderr


@pytest.fixture(scope="module")
def phantoms(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pretraining") / "phantoms"
    make_phantoms(PhantomRequest(subjects=4, seed=3, minutes=0.1, size_px=(320, 240), fps=10.0), folder, jobs=2)
    return folder


@pytest.fixture(scope="module")
def store_path(phantoms: Path, run_avpenet: RunAvpenet) -> Path:
    path = phantoms.parent / "store"
    tables: list[str | Path] = ["--ratings", phantoms / "truth.csv", "--subjects", phantoms / "subjects.csv"]
    done = run_avpenet(["prepare", phantoms, *tables, "--out", path, "--split", "0.5,0.25,0.25"])
    assert done.returncode == 0, done.stderr
    return path


@pytest.fixture(scope="module")
def extra(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Faces and audio of two extra subjects."""
    folder = tmp_path_factory.mktemp("extra")
    for kind in ("faces", "audio"):
        done = run_recipe("extra_subjects", kind, "--subjects", "2", "--out", folder, "--jobs", "1")
        assert done.returncode == 0, done.stderr
    return folder


@pytest.mark.slow
def test_faces_and_audio_of_phantoms_match_their_targets(phantoms: Path, store_path: Path, extra: Path) -> None:
    store, scene_of = SegmentStore.open(store_path), scenes(phantoms)
    crops, units = load_faces(store, scene_of, "train", 32, 2)
    assert crops.shape[1:] == (3, 32, 32)
    assert len(crops) == len(units)
    # At 10 frames per second the units at index i are those of the segment's i-th frame.
    row = int(store.rated("train")[0])
    segment = store.segment(row)
    first = scene_of[segment.recording].motion.units[
        round(float(store.index["start_s"].iloc[row]) * 10) + segment.frame_indices
    ]
    np.testing.assert_allclose(units[0, :UNITS], first[int(np.argmax(segment.frame_indices % 2 == row % 2))], atol=1e-6)
    assert float(units[0, UNITS]) == pytest.approx(segment.reference)
    kinds = utterance_kinds(scene_of.values())
    mels, shares, pains = load_audio(store, scene_of, "train", kinds)
    assert shares.shape == (len(mels), 10, len(kinds))
    assert float(pains[0]) == pytest.approx(segment.reference)

    both = load_faces(store, scene_of, "train", 32, 2, extra)
    assert len(both[0]) == len(crops) + len(load_extra_faces(extra, 32)[0])
    assert both[1][: len(crops), UNITS].isfinite().all()
    assert both[1][len(crops) :, UNITS].isnan().all()
    mels_of_both = load_audio(store, scene_of, "train", kinds, extra)[0]
    assert len(mels_of_both) == len(mels) + len(load_extra_audio(extra, kinds)[0])


@pytest.mark.slow
def test_pretrained_encoders_learn_and_start_a_training(
    phantoms: Path, store_path: Path, extra: Path, tmp_path: Path, run_avpenet: RunAvpenet
) -> None:
    out = tmp_path / "encoders.safetensors"
    length = ("--face-steps", "32:2", "--audio-updates", "2", "--batch", "4")
    data = (store_path, "--phantoms", phantoms, "--extra", extra)
    pretrained = run_recipe("pretrain_encoders", *data, *length, "--init", "untrained", "--out", out)
    assert pretrained.returncode == 0, pretrained.stderr
    assert "R2 on validation by unit" in pretrained.stdout
    initial, final = (load_network(find(name)).visual_encoder for name in ("untrained", out))
    for part, learns in (("conv1", False), ("bn1", False), ("layer1", False), ("layer2", True), ("projector", True)):
        before, after = (network.get_submodule(part).state_dict() for network in (initial, final))
        assert any(not torch.equal(before[name], after[name]) for name in before) is learns, part
    (tmp_path / "train.toml").write_text(
        "cache_embeddings = true\nvalidation_frames = 2\nbatch_size = 2\naccumulate = 1\n"
        "stage_1 = {epochs = 1, encoder_rate = 0.0, fusion_rate = 1e-3}\n"
        "stage_2 = {epochs = 0, encoder_rate = 1e-4, fusion_rate = 1e-3}\n"
    )
    done = run_avpenet(
        ["train", store_path, "--out", tmp_path / "w.safetensors", "--init", out, "--config", tmp_path / "train.toml"]
    )
    assert done.returncode == 0, done.stderr
    assert "Simulated patients" in (tmp_path / "w.json").read_text()
