"""Augmentation stays within the paper's ranges, is the same for the same seed, and never changes the label."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from avpenet_cli.audio.mel import log_mel
from avpenet_cli.dataset.store import SegmentStore
from avpenet_cli.errors import SettingsError
from avpenet_cli.settings import AudioSettings, from_dict, read_settings
from avpenet_cli.training.augmentation import (
    augment_audio,
    augment_faces,
    draw_mixing,
    partner_faces,
    shift_pitch,
    stretch_time,
)
from avpenet_cli.training.settings import AudioAugmentation, FaceAugmentation, TrainSettings
from tests.support.training_stores import RATE_HZ, face, make_store, tone

ALWAYS = AudioAugmentation(probability=1.0, stretch=(1.0, 1.0), pitch_semitones=0.0, noise_snr_db=(90.0, 90.0))


def _rng(seed: int = 3) -> np.random.Generator:
    return np.random.default_rng(seed)


def _pitch_hz(audio: np.ndarray) -> float:
    spectrum = np.abs(np.fft.rfft(audio * np.hanning(len(audio))))
    return float(np.argmax(spectrum) * RATE_HZ / len(audio))


@pytest.mark.parametrize("stretch", [0.9, 1.1])
def test_time_stretch_changes_the_length_and_keeps_the_pitch(stretch: float) -> None:
    settings = dataclasses.replace(ALWAYS, stretch=(stretch, stretch))
    audio = augment_audio(tone(2.0), settings, _rng())
    assert len(audio) == pytest.approx(min(48_000, 48_000 / stretch), abs=2)
    assert _pitch_hz(audio) == pytest.approx(800, rel=0.01)


def test_pitch_shift_stays_within_its_range() -> None:
    settings = dataclasses.replace(ALWAYS, pitch_semitones=2.0)
    ratios = [_pitch_hz(augment_audio(tone(2.0), settings, _rng(seed))) / 800 for seed in range(6)]
    assert all(2 ** (-2.1 / 12) < ratio < 2 ** (2.1 / 12) for ratio in ratios)
    assert max(ratios) - min(ratios) > 0.05


@pytest.mark.parametrize("amount", [0.9, 1.07])
def test_stretch_and_pitch_equal_librosa_in_double_precision(amount: float) -> None:
    from librosa.effects import pitch_shift, time_stretch

    audio = tone(2.0).astype(np.float64) + 0.05 * _rng().standard_normal(48_000)
    stretched = time_stretch(audio, rate=amount)
    semitones = 12 * np.log2(amount)
    shifted = pitch_shift(audio, sr=RATE_HZ, n_steps=semitones)
    for ours, expected in ((stretch_time(audio, amount), stretched), (shift_pitch(audio, semitones), shifted)):
        assert ours.shape == expected.shape
        spectra = [log_mel(wave[:48_000].astype(np.float32), AudioSettings()) for wave in (ours, expected)]
        np.testing.assert_allclose(spectra[0], spectra[1], rtol=0, atol=1e-4)


def test_noise_has_20_to_30_db_of_snr() -> None:
    settings = AudioAugmentation(probability=1.0, stretch=(1.0, 1.0), pitch_semitones=0.0)
    quiet = dataclasses.replace(settings, noise_snr_db=(200.0, 200.0))
    for seed in range(4):
        noisy = augment_audio(tone(2.0), settings, _rng(seed))
        clean = augment_audio(tone(2.0), quiet, _rng(seed))
        snr_db = 10 * np.log10(np.mean(clean**2) / np.mean((noisy - clean) ** 2))
        assert 19.5 < snr_db < 30.5


def test_audio_is_unchanged_with_probability_0_and_when_silent() -> None:
    never = AudioAugmentation(probability=0.0)
    assert augment_audio(tone(1.0), never, _rng()).tolist() == tone(1.0).tolist()
    silent = np.zeros(48_000, np.float32)
    assert augment_audio(silent, ALWAYS, _rng()) is silent


def test_an_augmented_spectrogram_keeps_its_range_and_is_reproducible() -> None:
    for seed in range(4):
        audio = augment_audio(tone(5.0), AudioAugmentation(probability=1.0), _rng(seed))
        again = augment_audio(tone(5.0), AudioAugmentation(probability=1.0), _rng(seed))
        assert audio.tobytes() == again.tobytes()
        mel = log_mel(audio, AudioSettings())
        assert mel.shape == (128, 300)
        assert mel.dtype == np.float32
        assert 0.0 <= mel.min() < mel.max() <= 1.0


def _dot(side: int = 224) -> np.ndarray:
    image = np.zeros((1, side, side, 3), np.uint8)
    image[0, side // 2 - 4 : side // 2 + 4, side // 2 - 64 : side // 2 - 56] = 200
    return image


def test_faces_move_no_further_than_the_settings_allow() -> None:
    still = FaceAugmentation(rotation_deg=0.0, translation_px=0.0, scale=(1.0, 1.0), brightness=0.0, contrast=0.0)
    assert augment_faces(_dot(), still, _rng()).tolist() == _dot().tolist()
    shifted = dataclasses.replace(still, translation_px=10.0)
    turned = dataclasses.replace(still, rotation_deg=15.0)
    for settings, reach_px in ((shifted, 10.5), (turned, 60 * np.deg2rad(15.5))):
        moves = []
        for seed in range(8):
            out = augment_faces(_dot(), settings, _rng(seed))
            rows, columns = np.nonzero(out[0, ..., 0] > 100)
            moves.append((rows.mean() - 111.5, columns.mean() - 51.5))
        assert np.abs(moves).max() < reach_px
        assert np.ptp(np.array(moves)[:, 0]) > reach_px / 3


def test_mirror_flips_faces_horizontally() -> None:
    still = FaceAugmentation(rotation_deg=0.0, translation_px=0.0, scale=(1.0, 1.0), brightness=0.0, contrast=0.0)
    always = dataclasses.replace(still, mirror=1.0)
    assert augment_faces(_dot(), always, _rng()).tolist() == _dot()[:, :, ::-1].tolist()


def test_brightness_and_contrast_change_by_at_most_a_fifth() -> None:
    faces = np.stack([face(5.0, _rng(seed)) for seed in range(2)])
    bright = FaceAugmentation(rotation_deg=0.0, translation_px=0.0, scale=(1.0, 1.0), contrast=0.0)
    ratios = [augment_faces(faces, bright, _rng(seed)).mean() / faces.mean() for seed in range(24)]
    assert 0.79 < min(ratios) < 0.95
    assert 1.05 < max(ratios) < 1.21
    contrast = dataclasses.replace(bright, brightness=0.0, contrast=0.2)
    spreads = [augment_faces(faces[:1], contrast, _rng(seed)).std() / faces[:1].std() for seed in range(24)]
    assert 0.77 < min(spreads) < 0.95
    assert 1.05 < max(spreads) < 1.23


def test_all_faces_of_a_segment_are_augmented_alike() -> None:
    faces = np.repeat(face(5.0, _rng())[None], 3, axis=0)
    out = augment_faces(faces, FaceAugmentation(), _rng())
    assert out.shape == faces.shape
    assert out.dtype == np.uint8
    assert (out == out[0]).all()
    assert (out != faces).any()
    assert out.tobytes() == augment_faces(faces, FaceAugmentation(), _rng()).tobytes()
    assert augment_faces(faces[:0], FaceAugmentation(), _rng()).shape == (0, 64, 64, 3)


def test_mixup_pairs_every_face_with_one_of_the_partner() -> None:
    assert draw_mixing(8, 0.0, _rng()) is None
    assert draw_mixing(1, 0.2, _rng()) is None
    mixing = draw_mixing(8, 0.2, _rng())
    assert mixing is not None
    assert 0.0 <= mixing.share <= 1.0
    assert sorted(mixing.partner.tolist()) == list(range(8))
    # Segments of 3, 1, 0 and 2 faces: 0 1 2 | 3 | | 4 5.
    counts = np.array([3, 1, 0, 2])
    assert partner_faces(counts, np.array([3, 0, 1, 2])).tolist() == [4, 5, 4, 0, 4, 5]


def test_a_segment_depends_on_seed_and_epoch_alone(tmp_path: Path) -> None:
    from avpenet_cli.training.data import EpochSampler, SampleKey, SegmentDataset, collate

    store = SegmentStore.open(make_store(tmp_path, subjects=4, segments=1, faces=30))
    settings = TrainSettings(audio=AudioAugmentation(probability=1.0))
    dataset = SegmentDataset(store, settings, True, 4)
    first_item, again, later = (dataset[SampleKey(epoch, 2)] for epoch in (5, 5, 6))
    assert first_item.mel.tobytes() == again.mel.tobytes()
    assert first_item.faces.tobytes() == again.faces.tobytes()
    assert first_item.mel.tobytes() != later.mel.tobytes()
    assert first_item.faces.tobytes() != later.faces.tobytes()

    assert first_item.truth == later.truth == store.segment(2).reference
    assert (first_item.mel.shape, first_item.faces.shape) == ((1, 128, 300), (4, 3, 64, 64))
    plain = SegmentDataset(store, settings, False, 30)[SampleKey(5, 2)]
    np.testing.assert_array_equal(plain.mel[0], store.segment(2).spectrogram)
    np.testing.assert_array_equal(plain.faces.transpose(0, 2, 3, 1), store.segment(2).faces)
    batch = collate([first_item, plain])
    assert batch.faces.shape == (34, 3, 64, 64)
    assert batch.counts.tolist() == [4, 30]
    sampler = EpochSampler(np.arange(100), 42)
    first = list(sampler)
    sampler.set_epoch(1)
    second = list(sampler)
    assert sorted(key.row for key in first) == sorted(key.row for key in second) == list(range(100))
    assert [key.row for key in first] != [key.row for key in second]
    halves = [EpochSampler(np.arange(101), 42, rank, 2) for rank in (0, 1)]
    assert [len(half) for half in halves] == [50, 50]
    assert {key.row for key in halves[0]}.isdisjoint(key.row for key in halves[1])


def test_contradicting_settings_are_refused() -> None:
    for plain, words in (
        ({"modality_dropout": 0.3}, "go together"),
        ({"architecture": {"may_be_missing": ["audio"]}}, "go together"),
        ({"audio": {"stretch": [1.1, 0.9]}}, "must be ascending"),
        ({"sound": {"stretch": [1.1, 0.9]}}, "must be ascending"),
        ({"batchsize": 3}, "no setting is called batchsize"),
        ({"stage_1": {"epochs": 0, "encoder_rate": 0, "fusion_rate": 1e-3},
          "stage_2": {"epochs": 0, "encoder_rate": 0, "fusion_rate": 1e-3}}, "nothing would be trained"),
    ):  # fmt: skip
        with pytest.raises(SettingsError, match=words):
            from_dict(TrainSettings, plain, "train.toml")


def test_training_at_reduced_size_is_stated_in_the_preprocessing(tmp_path: Path) -> None:
    from avpenet_cli.training.data import SampleKey, SegmentDataset
    from avpenet_cli.training.training_record import network_preprocessing

    store = SegmentStore.open(make_store(tmp_path, subjects=4, segments=1, faces=3))
    settings = TrainSettings(face_px=32, face=FaceAugmentation(probability=0.0))
    small, whole = (
        SegmentDataset(store, chosen, True, 3)[SampleKey(0, 1)].faces for chosen in (settings, TrainSettings())
    )
    assert small.shape == (3, 3, 32, 32)
    assert small.mean() == pytest.approx(whole.mean(), rel=0.1)
    assert network_preprocessing(store, settings).face.crop_px == 32
    assert network_preprocessing(store, TrainSettings()) == store.preprocessing


def test_settings_files_may_call_the_audio_augmentation_sound(tmp_path: Path) -> None:
    (tmp_path / "old.toml").write_text("[sound]\npitch_semitones = 1.0\n")
    (tmp_path / "new.toml").write_text("[audio]\npitch_semitones = 1.0\n")
    old, new = (read_settings(TrainSettings, tmp_path / name, {}) for name in ("old.toml", "new.toml"))
    assert old == new
    assert old.audio.pitch_semitones == 1.0
    assert "audio.pitch_semitones" in old.result_fingerprint_fields
    assert not [name for name in old.result_fingerprint_fields if name.startswith("sound")]
