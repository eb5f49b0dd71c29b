"""What a network is shown in training is what METHOD.md says, the same for the same seed, and never another label."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from avpenet_cli.audio.mel import log_mel
from avpenet_cli.dataset.store import SegmentStore
from avpenet_cli.errors import SettingsError
from avpenet_cli.settings import AudioSettings, from_dict
from avpenet_cli.training.augmentation import augmented_audio, augmented_faces, draw_mixing, partner_faces
from avpenet_cli.training.settings import AudioAugmentation, FaceAugmentation, TrainSettings
from tests.support.training_stores import RATE_HZ, face, make_store, tone

ALWAYS = AudioAugmentation(probability=1.0, stretch=(1.0, 1.0), pitch_semitones=0.0, noise_snr_db=(90.0, 90.0))


def _chance(seed: int = 3) -> np.random.Generator:
    return np.random.default_rng(seed)


def _pitch_hz(sound: np.ndarray) -> float:
    spectrum = np.abs(np.fft.rfft(sound * np.hanning(len(sound))))
    return float(np.argmax(spectrum) * RATE_HZ / len(sound))


@pytest.mark.parametrize("stretch", [0.9, 1.1])
def test_stretching_changes_the_pitch_or_not_the_length(stretch: float) -> None:
    settings = dataclasses.replace(ALWAYS, stretch=(stretch, stretch))
    sound = augmented_audio(tone(2.0), RATE_HZ, settings, _chance())
    assert len(sound) == pytest.approx(min(48_000, 48_000 / stretch), abs=2)
    assert _pitch_hz(sound) == pytest.approx(800, rel=0.01)


def test_the_pitch_stays_where_it_was() -> None:
    settings = dataclasses.replace(ALWAYS, pitch_semitones=2.0)
    found = [_pitch_hz(augmented_audio(tone(2.0), RATE_HZ, settings, _chance(seed))) / 800 for seed in range(6)]
    assert all(2 ** (-2.1 / 12) < ratio < 2 ** (2.1 / 12) for ratio in found)
    assert max(found) - min(found) > 0.05


def test_the_noise_is_louder_or_softer_than_20_to_30_db() -> None:
    settings = AudioAugmentation(probability=1.0, stretch=(1.0, 1.0), pitch_semitones=0.0)
    quiet = dataclasses.replace(settings, noise_snr_db=(200.0, 200.0))
    for seed in range(4):
        noisy = augmented_audio(tone(2.0), RATE_HZ, settings, _chance(seed))
        clean = augmented_audio(tone(2.0), RATE_HZ, quiet, _chance(seed))
        snr_db = 10 * np.log10(np.mean(clean**2) / np.mean((noisy - clean) ** 2))
        assert 19.5 < snr_db < 30.5


def test_sound_is_augmented_where_it_should_not_be() -> None:
    never = AudioAugmentation(probability=0.0)
    assert augmented_audio(tone(1.0), RATE_HZ, never, _chance()).tolist() == tone(1.0).tolist()
    silent = np.zeros(48_000, np.float32)
    assert augmented_audio(silent, RATE_HZ, ALWAYS, _chance()) is silent


def test_an_augmented_spectrogram_leaves_its_range() -> None:
    for seed in range(4):
        sound = augmented_audio(tone(5.0), RATE_HZ, AudioAugmentation(probability=1.0), _chance(seed))
        again = augmented_audio(tone(5.0), RATE_HZ, AudioAugmentation(probability=1.0), _chance(seed))
        assert sound.tobytes() == again.tobytes()
        mel = log_mel(sound, AudioSettings())
        assert mel.shape == (128, 300)
        assert mel.dtype == np.float32
        assert 0.0 <= mel.min() < mel.max() <= 1.0


def _dot(side: int = 224) -> np.ndarray:
    picture = np.zeros((1, side, side, 3), np.uint8)
    picture[0, side // 2 - 4 : side // 2 + 4, side // 2 - 64 : side // 2 - 56] = 200
    return picture


def test_faces_move_further_than_the_method_allows() -> None:
    still = FaceAugmentation(rotation_deg=0.0, translation_px=0.0, scale=(1.0, 1.0), brightness=0.0, contrast=0.0)
    assert augmented_faces(_dot(), still, _chance()).tolist() == _dot().tolist()
    shifted = dataclasses.replace(still, translation_px=10.0)
    turned = dataclasses.replace(still, rotation_deg=15.0)
    for settings, reach_px in ((shifted, 10.5), (turned, 60 * np.deg2rad(15.5))):
        moves = []
        for seed in range(8):
            out = augmented_faces(_dot(), settings, _chance(seed))
            rows, columns = np.nonzero(out[0, ..., 0] > 100)
            moves.append((rows.mean() - 111.5, columns.mean() - 51.5))
        assert np.abs(moves).max() < reach_px
        assert np.ptp(np.array(moves)[:, 0]) > reach_px / 3


def test_a_mirrored_face_is_turned_over_or_the_mirror_is_never_used() -> None:
    still = FaceAugmentation(rotation_deg=0.0, translation_px=0.0, scale=(1.0, 1.0), brightness=0.0, contrast=0.0)
    always = dataclasses.replace(still, mirror=1.0)
    assert augmented_faces(_dot(), always, _chance()).tolist() == _dot()[:, :, ::-1].tolist()


def test_light_changes_by_more_than_a_fifth() -> None:
    faces = np.stack([face(5.0, _chance(seed)) for seed in range(2)])
    bright = FaceAugmentation(rotation_deg=0.0, translation_px=0.0, scale=(1.0, 1.0), contrast=0.0)
    ratios = [augmented_faces(faces, bright, _chance(seed)).mean() / faces.mean() for seed in range(24)]
    assert 0.79 < min(ratios) < 0.95
    assert 1.05 < max(ratios) < 1.21
    contrast = dataclasses.replace(bright, brightness=0.0, contrast=0.2)
    spreads = [augmented_faces(faces[:1], contrast, _chance(seed)).std() / faces[:1].std() for seed in range(24)]
    assert 0.77 < min(spreads) < 0.95
    assert 1.05 < max(spreads) < 1.23


def test_the_faces_of_a_segment_are_changed_each_in_its_own_way() -> None:
    faces = np.repeat(face(5.0, _chance())[None], 3, axis=0)
    out = augmented_faces(faces, FaceAugmentation(), _chance())
    assert out.shape == faces.shape
    assert out.dtype == np.uint8
    assert (out == out[0]).all()
    assert (out != faces).any()
    assert out.tobytes() == augmented_faces(faces, FaceAugmentation(), _chance()).tobytes()
    assert augmented_faces(faces[:0], FaceAugmentation(), _chance()).shape == (0, 64, 64, 3)


def test_mixup_mixes_faces_in_another_proportion_than_the_target() -> None:
    assert draw_mixing(8, 0.0, _chance()) is None
    assert draw_mixing(1, 0.2, _chance()) is None
    mixing = draw_mixing(8, 0.2, _chance())
    assert mixing is not None
    assert 0.0 <= mixing.share <= 1.0
    assert sorted(mixing.partner.tolist()) == list(range(8))
    # Segments of 3, 1, 0 and 2 faces: 0 1 2 | 3 | | 4 5.
    counts = np.array([3, 1, 0, 2])
    assert partner_faces(counts, np.array([3, 0, 1, 2])).tolist() == [4, 5, 4, 0, 4, 5]


def test_a_segment_comes_otherwise_than_it_did_in_the_same_epoch(tmp_path: Path) -> None:
    from avpenet_cli.training.data import EpochSampler, SampleKey, SegmentDataset, collate

    store = SegmentStore.open(make_store(tmp_path, subjects=4, segments=1, faces=30))
    settings = TrainSettings(sound=AudioAugmentation(probability=1.0))
    dataset = SegmentDataset(store, settings, True, 4)
    one, again, later = (dataset[SampleKey(epoch, 2)] for epoch in (5, 5, 6))
    assert one.mel.tobytes() == again.mel.tobytes()
    assert one.faces.tobytes() == again.faces.tobytes()
    assert one.mel.tobytes() != later.mel.tobytes()
    assert one.faces.tobytes() != later.faces.tobytes()

    assert one.truth == later.truth == store.segment(2).reference
    assert (one.mel.shape, one.faces.shape) == ((1, 128, 300), (4, 3, 64, 64))
    plain = SegmentDataset(store, settings, False, 30)[SampleKey(5, 2)]
    np.testing.assert_array_equal(plain.mel[0], store.segment(2).spectrogram)
    np.testing.assert_array_equal(plain.faces.transpose(0, 2, 3, 1), store.segment(2).faces)
    batch = collate([one, plain])
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


def test_settings_that_contradict_each_other_are_taken() -> None:
    for plain, words in (
        ({"modality_dropout": 0.3}, "go together"),
        ({"architecture": {"may_be_missing": ["audio"]}}, "go together"),
        ({"sound": {"stretch": [1.1, 0.9]}}, "must rise"),
        ({"batchsize": 3}, "no setting is called batchsize"),
        ({"stage_1": {"epochs": 0, "encoder_rate": 0, "fusion_rate": 1e-3},
          "stage_2": {"epochs": 0, "encoder_rate": 0, "fusion_rate": 1e-3}}, "nothing would be trained"),
    ):  # fmt: skip
        with pytest.raises(SettingsError, match=words):
            from_dict(TrainSettings, plain, "train.toml")


def test_training_at_reduced_size_leaves_weights_that_say_full_size(tmp_path: Path) -> None:
    from avpenet_cli.training.data import SampleKey, SegmentDataset
    from avpenet_cli.training.training_record import seen_by_network

    store = SegmentStore.open(make_store(tmp_path, subjects=4, segments=1, faces=3))
    settings = TrainSettings(face_px=32, face=FaceAugmentation(probability=0.0))
    small, whole = (SegmentDataset(store, one, True, 3)[SampleKey(0, 1)].faces for one in (settings, TrainSettings()))
    assert small.shape == (3, 3, 32, 32)
    assert small.mean() == pytest.approx(whole.mean(), rel=0.1)
    assert seen_by_network(store, settings).face.crop_px == 32
    assert seen_by_network(store, TrainSettings()) == store.preprocessing
