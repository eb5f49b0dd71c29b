"""Pretraining of the audio encoder: its front end is the program's, packs keep their clips, batches their targets."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file

from avpenet_cli.audio.mel import log_mel
from avpenet_cli.audio.noise import survey
from avpenet_cli.audio.segments import segments
from avpenet_cli.model.encoders import AudioEncoder
from avpenet_cli.settings import AudioSettings
from weights.recipe.audio_batches import GROUPS, PAIN, SILENCE, Batch, draw_batch, load_clips
from weights.recipe.audio_front_end import FrontEnd
from weights.recipe.audio_metrics import auc, measure, windows_of
from weights.recipe.audio_pack import (
    CATEGORIES,
    GAP_SAMPLES,
    AudioSet,
    Source,
    Teacher,
    burst_sources,
    cry_sources,
    gather,
    read_pack,
    write_pack,
)
from weights.recipe.audio_train import AudioLearner, AudioTraining, loss_of, ranking_loss, train_audio

RATE_HZ = 16_000


def voice(samples: int, seed: int) -> np.ndarray:
    """A hum that swells twice, in faint noise, (samples,) float32."""
    rng = np.random.default_rng(seed)
    time_s = np.arange(samples) / RATE_HZ
    tone = sum(np.sin(2 * np.pi * number * (180 + 20 * seed) * time_s) / number for number in range(1, 12))
    hum = 0.2 * tone * np.sin(np.pi * np.minimum(time_s / 0.8, 2.0)) ** 2
    return (hum + 0.003 * rng.standard_normal(samples)).astype(np.float32)


def clips() -> AudioSet:
    """Two bursts of each of three people in three categories, cries and surroundings, half a second each."""
    rows = [
        (Source(Path(), "burst", kind, f"burst-{person}", part), voice(8000, person))
        for person, part in ((1, "test"), (2, "validation"), (3, "train"))
        for kind in ("Pain", "Neutral", "Distress")
        for _ in range(2)
    ]
    for group in ("cry", "surroundings", "speech"):
        rows += [(Source(Path(), group, group, f"{group}-{part}", part), voice(9000, 5)) for part in ("train", "test")]
    return gather((source, (audio * 32767).astype(np.int16)) for source, audio in rows)


@pytest.mark.parametrize("kind", ["voice", "noise", "muted"])
def test_front_end_equals_that_of_the_program(kind: str) -> None:
    settings, samples = AudioSettings(), 48_000
    audio = voice(samples, 1)
    if kind == "noise":
        audio = (0.1 * np.random.default_rng(1).standard_normal(samples)).astype(np.float32)
    if kind == "muted":
        audio[9000:30_000] = 0.0
    front_end, batch = FrontEnd(settings), torch.from_numpy(audio)[None]
    assert np.abs(front_end.log_mel(batch)[0, 0].numpy() - log_mel(audio, settings)).max() < 1e-4
    profile = survey([audio], RATE_HZ, settings)
    noise = front_end.noise_magnitude(batch, torch.tensor([samples]))[0].numpy()
    np.testing.assert_allclose(noise, profile.magnitude, rtol=1e-4, atol=1e-6)
    expected = next(iter(segments([audio], RATE_HZ, [(0.0, 3.0)], profile, settings, 1.0))).mel
    assert np.abs(front_end(batch, torch.tensor([samples]))[0, 0].numpy() - expected).max() < 1e-3


def test_a_window_after_the_end_of_a_short_recording_is_padded_as_by_the_program() -> None:
    settings, samples = AudioSettings(), 20_011
    audio = voice(samples, 2)
    profile = survey([audio], RATE_HZ, settings)
    expected = next(iter(segments([audio], RATE_HZ, [(0.0, 3.0)], profile, settings, 1.0))).mel
    padded = torch.from_numpy(np.pad(audio, (0, 48_000 - samples)))[None]
    difference = np.abs(FrontEnd(settings)(padded, torch.tensor([samples]))[0, 0].numpy() - expected)
    assert difference.mean() < 1e-4 and np.quantile(difference, 0.999) < 0.01


def test_silence_has_an_empty_spectrogram() -> None:
    front_end = FrontEnd(AudioSettings())
    assert not front_end(torch.zeros((2, 48_000)), torch.tensor([48_000, 1])).any()


def test_a_pack_keeps_its_clips_and_their_labels(tmp_path: Path) -> None:
    written = clips()
    write_pack(written, tmp_path)
    read = read_pack(tmp_path, 2)
    labels = ["group", "kind", "person", "part", "samples"]
    expected = written.index.sort_values("person", kind="stable")[labels].reset_index(drop=True)
    pd.testing.assert_frame_equal(read.index[labels].reset_index(drop=True), expected)
    assert len(list(tmp_path.glob("*.ogg"))) == written.index["person"].nunique()
    row = read.index.iloc[0]
    original = written.samples[: row["samples"]].astype(np.float64)
    decoded = read.samples[row["start"] : row["start"] + row["samples"]].astype(np.float64)
    assert np.corrcoef(original, decoded)[0, 1] > 0.95
    assert row["start"] == 0 and read.index["start"].iloc[1] == row["samples"] + GAP_SAMPLES


def test_a_truncated_pack_is_refused(tmp_path: Path) -> None:
    write_pack(clips(), tmp_path)
    index = pd.read_parquet(tmp_path / "index.parquet")
    index.loc[0, "samples"] = 10**6
    index.to_parquet(tmp_path / "index.parquet")
    with pytest.raises(ValueError, match="needed"):
        read_pack(tmp_path, 1)


def test_sources_keep_people_and_devices_apart(tmp_path: Path) -> None:
    for name in ("000001/19-1", "000001/01-1", "000002/19-1", "000004/18-2"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / f"{name}.ogg").touch()
    found = {(source.person, source.kind, source.part) for source in burst_sources(tmp_path)}
    # The clip of a test contributor in a category that is not measured stays out.
    expected = {("000001", "Pain", "test"), ("000002", "Pain", "validation"), ("000004", "Neutral", "train")}
    assert found == {(f"burst-{person}", kind, part) for person, kind, part in expected}
    for name in ("d001_1_m_04_hu.ogg", "d002_1_m_04_hu.ogg"):
        (tmp_path / name).touch()
    assert [source.part for source in cry_sources(tmp_path)] == ["test", "train"]


def test_batches_depend_on_their_seed_and_keep_their_targets_in_range() -> None:
    audio = clips()
    teacher = Teacher(np.ones((len(audio.index), 3), np.float32), np.full(len(audio.index), 0.1, np.float32))
    drawn = load_clips(audio, "train", torch.device("cpu"), teacher)
    assert drawn.kinds == (*GROUPS, "surroundings") and float(drawn.weight.sum()) == pytest.approx(1.0)
    front_end = FrontEnd(AudioSettings())
    first, again, other = (draw_batch(drawn, front_end, 12, torch.Generator().manual_seed(s)) for s in (1, 1, 2))
    assert first.mels.shape == (12, 1, 128, 300) and torch.equal(first.mels, again.mels)
    assert not torch.equal(first.mels, other.mels)
    assert 0.0 <= float(first.mels.min()) < float(first.mels.max()) <= 1.0
    for batch in (first, other):
        pain = torch.tensor([PAIN.get(CATEGORIES[index], 0.0) for index in batch.category.clamp(min=0).tolist()])
        torch.testing.assert_close(batch.pain[batch.category >= 0], pain[batch.category >= 0])
        # The teacher half doubts that it is crying.
        assert float(batch.pain[batch.group == 1].max() if (batch.group == 1).any() else 0.0) <= 3.25
        assert not batch.active[batch.group == SILENCE].any()
        assert torch.equal(batch.teacher.isnan().any(dim=1), batch.group == SILENCE)


def test_ranking_loss_falls_as_pain_scores_above_other_bursts() -> None:
    category = torch.tensor([18, 17, 17, -1, -1])
    group = torch.tensor([0, 0, 0, 1, 4])
    batch = Batch(torch.zeros(5), group, category, torch.tensor([7.0, 0, 0, 6.5, 0]), torch.zeros(5), torch.zeros(5, 0))
    right, wrong = torch.tensor([7.0, 0, 0, 6.5, 0]), torch.tensor([0.0, 7, 7, 0, 6.5])
    assert float(ranking_loss(right, batch, 18)) < 0.01 < 1.0 < float(ranking_loss(wrong, batch, 18))
    assert (
        float(ranking_loss(right[1:3], Batch(*(getattr(batch, n)[1:3] for n in Batch.__dataclass_fields__)), 18)) == 0
    )


def test_every_parameter_learns_and_batches_without_bursts_have_a_loss() -> None:
    torch.manual_seed(1)
    module = AudioLearner(5, 3, 0.0)
    mels = torch.rand((4, 1, 128, 300), generator=torch.Generator().manual_seed(1))
    active, teacher = torch.ones((4, 10, 2)), torch.ones((4, 3))
    teacher[0] = torch.nan
    pain = torch.tensor([7.0, 0.0, 6.5, 0.0])
    batch = Batch(mels, torch.tensor([0, 0, 1, 4]), torch.tensor([18, 17, -1, -1]), pain, active, teacher)
    loss = loss_of(module(mels), batch, 18)
    loss.backward()
    assert all(p.grad is not None and bool(p.grad.isfinite().all()) for p in module.parameters())
    silent = Batch(mels, torch.full((4,), 3), torch.full((4,), -1), 0 * pain, active, torch.full((4, 3), torch.nan))
    assert bool(loss_of(module(mels), silent, 18).isfinite())
    with torch.autocast("cpu", torch.bfloat16):
        outputs = module.eval()(mels[:1])
    assert {output.dtype for output in outputs.values()} == {torch.float32}


def test_auc_and_windows() -> None:
    assert auc(np.array([1.0, 2.0]), np.array([0.0, 1.0])) == 0.875
    assert auc(np.array([]), np.array([1.0])) is None
    owner, start = windows_of([np.zeros(100), np.zeros(48_000 + 15_999), np.zeros(48_000 + 16_000)])
    assert owner.tolist() == [0, 1, 2, 2] and start.tolist() == [0, 0, 0, 48_000]


@pytest.mark.slow
def test_training_resumes_and_leaves_an_encoder_and_metrics(tmp_path: Path) -> None:
    audio = clips()
    write_pack(audio, tmp_path / "pack")
    settings = AudioTraining(seconds=1e-3, batch=6)
    assert not train_audio(
        tmp_path / "pack", "cpu", AudioTraining(seconds=1e6, batch=6), tmp_path / "out", piece_s=1e-3
    )
    assert train_audio(tmp_path / "pack", "cpu", settings, tmp_path / "out", windows=7)
    record = json.loads((tmp_path / "out/audio_metrics.json").read_text())
    assert record["updates"] == 1
    assert set(record["metrics"]["test"]["auc, clips, pain"]) >= {"Pain over Neutral", "cries over surroundings"}
    AudioEncoder().load_state_dict(load_file(tmp_path / "out/audio_encoder.safetensors"))
    AudioEncoder().load_state_dict(load_file(tmp_path / "out/audio_encoder.safetensors"))
    with np.load(tmp_path / "out/bursts.npz") as kept:
        assert kept["mels"].shape == (7, 1, 128, 300) and kept["mels"].max() > 100 and kept["pain"].shape == (7,)
    module = AudioLearner(5, 0, 0.0).eval()
    assert measure(module, audio, "test", torch.device("cpu"))["recordings"]["burst"] == 6
