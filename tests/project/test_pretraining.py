"""Pretraining on phantoms: what the encoders are shown belongs to what they are asked."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from avpenet_cli.dataset.store import SegmentStore
from avpenet_cli.phantom.make import PhantomOrder, make_phantoms, scenes
from avpenet_cli.phantom.scene import draw_scene
from avpenet_cli.phantom.subjects import draw_subject
from avpenet_cli.weights import find, load_network
from examples.phantom_crowd import PICTURES, faces_of, kinds_of, make_faces, make_sounds, sounds_of, thinned
from examples.pretrain_on_phantoms import UNITS, load_faces, load_sounds, loss_of_faces, varied_faces, varied_sounds
from tests.conftest import REPOSITORY, RunAvpenet


def test_variation_leaves_the_range_or_treats_all_alike() -> None:
    rng = torch.Generator().manual_seed(1)
    faces = torch.rand((1, 3, 16, 16), generator=rng).repeat(8, 1, 1, 1)
    varied = varied_faces(faces, rng)
    assert varied.shape == faces.shape
    assert 0.0 <= float(varied.min()) < float(varied.max()) <= 1.0
    assert not any(torch.equal(one, varied[0]) for one in varied[1:])
    mels = torch.rand((1, 1, 128, 300), generator=rng).repeat(4, 1, 1, 1)
    varied = varied_sounds(mels, rng)
    assert 0.0 <= float(varied.min()) < float(varied.max()) <= 1.0
    assert not any(torch.equal(one, varied[0]) for one in varied[1:])


def test_unknown_pain_of_a_face_is_learnt() -> None:
    found = torch.rand((4, UNITS + 1))
    known = torch.rand((4, UNITS + 1))
    known[:2, UNITS] = float("nan")
    units = float((found - known)[:, :UNITS].square().mean())
    pain = float((found - known)[2:, UNITS].square().mean())
    assert float(loss_of_faces(found, known)) == pytest.approx(units + 0.005 * pain)
    assert float(loss_of_faces(found[:2], known[:2])) == pytest.approx(
        float((found - known)[:2, :UNITS].square().mean())
    )


def test_faces_of_a_crowd_do_not_belong_to_their_action_units(tmp_path: Path) -> None:
    """The units of a face that is not found go with it, and the same command leaves what is there."""
    assert 0 < make_faces(3, 1001, tmp_path / "faces") <= PICTURES
    crops, units = faces_of(tmp_path, 64)
    assert len(crops) == len(units)
    assert {crop.shape for crop in crops} == {(64, 64, 3)}
    scene = thinned(
        draw_scene(draw_subject(3, 1001, "both"), 60.0, 1001 * 1_000_003 + 3 * 1009),
        PICTURES,
        np.random.default_rng([1001, 3, 1]),
    )
    assert {tuple(one) for one in np.stack(units)} <= {tuple(one) for one in scene.motion.units.astype(np.float32)}
    strip = next(tmp_path.glob("faces/*.jpg"))
    before = strip.stat().st_mtime_ns
    assert make_faces(3, 1001, tmp_path / "faces") == len(units)
    assert strip.stat().st_mtime_ns == before


def test_sounds_of_a_crowd_are_not_those_of_a_recording(tmp_path: Path) -> None:
    assert make_sounds(3, 1001, tmp_path / "sounds") == 6
    mels, shares, pain = sounds_of(tmp_path, ["cough", "no such kind"])
    assert mels.shape == (6, 1, 128, 300)
    assert 0.0 <= mels.min() < mels.max() <= 1.0
    assert shares.shape == (6, 10, 2)
    assert not shares[:, :, 1].any()
    assert ((pain >= 0.0) & (pain <= 10.0)).all()


def test_another_crowd_is_taken_for_the_one_that_is_there(tmp_path: Path) -> None:
    """Its people have the same names."""
    command = [
        sys.executable,
        "-m",
        "examples.phantom_crowd",
        "sounds",
        "--subjects",
        "1",
        "--jobs",
        "1",
        "--out",
        tmp_path,
    ]
    made = [
        subprocess.run([*map(str, command), "--seed", seed], cwd=REPOSITORY, capture_output=True, text=True)
        for seed in ("7", "8")
    ]
    assert made[0].returncode == 0, made[0].stderr
    assert made[1].returncode == 2
    assert "seed 7" in made[1].stderr


@pytest.mark.slow
def test_action_units_of_other_frames_are_learnt_or_the_result_starts_no_training(
    tmp_path: Path, run_avpenet: RunAvpenet
) -> None:
    phantoms, store_path = tmp_path / "phantoms", tmp_path / "store"
    order = PhantomOrder(subjects=4, seed=3, minutes=0.1, size_px=(320, 240), fps=10.0)
    make_phantoms(order, phantoms, jobs=2)
    truth, subjects = phantoms / "truth.csv", phantoms / "subjects.csv"
    done = run_avpenet(
        [
            "prepare",
            phantoms,
            "--ratings",
            truth,
            "--subjects",
            subjects,
            "--out",
            store_path,
            "--split",
            "0.5,0.25,0.25",
        ]
    )
    assert done.returncode == 0, done.stderr
    store, known = SegmentStore.open(store_path), scenes(phantoms)
    crops, units = load_faces(store, known, "train", 32, 2)
    assert crops.shape[1:] == (3, 32, 32)
    assert len(crops) == len(units)
    # At 10 frames a second the units of place i are those of the segment's i-th frame.
    row = int(store.rated("train")[0])
    segment = store.segment(row)
    first = known[segment.recording].motion.units[round(float(store.index["start_s"].iloc[row]) * 10) + segment.places]
    np.testing.assert_allclose(units[0, :UNITS], first[int(np.argmax(segment.places % 2 == row % 2))], atol=1e-6)
    assert float(units[0, UNITS]) == pytest.approx(segment.reference)
    kinds = kinds_of(known.values())
    mels, heard, pains = load_sounds(store, known, "train", kinds)
    assert heard.shape == (len(mels), 10, len(kinds))
    assert float(pains[0]) == pytest.approx(segment.reference)

    crowd = tmp_path / "crowd"
    for kind in ("faces", "sounds"):
        made = [sys.executable, "-m", "examples.phantom_crowd", kind, "--subjects", "2", "--out", crowd, "--jobs", "1"]
        subprocess.run(list(map(str, made)), cwd=REPOSITORY, capture_output=True, check=True)
    both = load_faces(store, known, "train", 32, 2, crowd)
    assert len(both[0]) == len(crops) + len(faces_of(crowd, 32)[0])
    assert both[1][: len(crops), UNITS].isfinite().all()
    assert both[1][len(crops) :, UNITS].isnan().all()
    assert len(load_sounds(store, known, "train", kinds, crowd)[0]) == len(mels) + len(sounds_of(crowd, kinds)[0])

    out = tmp_path / "encoders.safetensors"
    command: list[object] = [
        sys.executable,
        "-m",
        "examples.pretrain_on_phantoms",
        store_path,
        "--phantoms",
        phantoms,
        "--out",
        out,
    ]
    command += ["--face-steps", "32:2", "--sound-updates", "2", "--batch", "4", "--crowd", crowd, "--init", "untrained"]
    told = subprocess.run(list(map(str, command)), cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert told.returncode == 0, told.stderr
    assert "R2 on validation by unit" in told.stdout
    begun, now = (load_network(find(one)).visual_encoder for one in ("untrained", out))
    for part, learns in (("conv1", False), ("bn1", False), ("layer1", False), ("layer2", True), ("projector", True)):
        before, after = (network.get_submodule(part).state_dict() for network in (begun, now))
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
