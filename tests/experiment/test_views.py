"""A view shows the same segments and ratings with other content, and nothing else changes."""

from __future__ import annotations

import pickle
import subprocess
from pathlib import Path

import numpy as np
import pytest
import soundfile

from avpenet_cli.audio.mel import log_mel
from avpenet_cli.dataset.store import Segment, SegmentStore
from avpenet_cli.errors import SettingsError
from avpenet_cli.evaluation.conditions import COVERS, Cover
from avpenet_cli.experiment.noise import NoiseFolder
from avpenet_cli.experiment.views import NO_FACE, SHORT_WINDOW, StoreView, ViewSettings, silence_unvoiced
from avpenet_cli.settings import from_dict
from avpenet_cli.training.data import SampleKey, SegmentDataset
from avpenet_cli.training.settings import TrainSettings
from tests.support.training_stores import RATE_HZ, make_store, tone

_SEGMENTS = 4


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> SegmentStore:
    """Two recordings of four segments with a face in every frame."""
    return SegmentStore.open(make_store(tmp_path_factory.mktemp("views"), 4, _SEGMENTS, faces=30))


@pytest.fixture(scope="module")
def noises(tmp_path_factory: pytest.TempPathFactory) -> NoiseFolder:
    """A short stereo file at 44.1 kHz, one in a format that libsndfile cannot read, and silence."""
    folder = tmp_path_factory.mktemp("noises") / "ward"
    (folder / "more").mkdir(parents=True)
    rng = np.random.default_rng(3)
    soundfile.write(folder / "short.wav", rng.normal(0.1, 0.05, (22_050, 2)).cumsum(axis=0) % 0.5, 44_100)
    soundfile.write(folder / "more" / "silence.flac", np.zeros(16_000), 16_000)
    source = ["-f", "lavfi", "-i", "anoisesrc=d=8:sample_rate=48000:seed=3:amplitude=0.2"]
    subprocess.run(["ffmpeg", "-v", "error", *source, folder / "long.m4a"], check=True)
    (folder / "notes.txt").write_text("not audio")
    return NoiseFolder.open(folder)


def _audio(segment: Segment) -> np.ndarray:
    return segment.waveform.astype(np.float64) * segment.peak


def _equal(first: Segment, second: Segment) -> bool:
    arrays = ("spectrogram", "waveform", "faces", "frame_indices")
    return all(np.array_equal(getattr(first, name), getattr(second, name)) for name in arrays)


def test_a_view_without_changes_shows_the_store(store: SegmentStore) -> None:
    view = StoreView(store, ViewSettings())
    assert view.index.equals(store.index)
    assert view.digest != store.digest
    for row in (0, 5):
        shown, stored = view.segment(row, [0, 7, 29]), store.segment(row, [0, 7, 29])
        assert _equal(shown, stored)
        assert (shown.recording, shown.segment, shown.reference) == (stored.recording, stored.segment, stored.reference)
    assert view.rated("train").tolist() == store.rated("train").tolist()


@pytest.mark.parametrize("window_s", [1, 2, 4, 5])
def test_windows_are_cut_from_the_recording_around_the_middle_of_the_segment(
    store: SegmentStore, window_s: int
) -> None:
    view = StoreView(store, from_dict(ViewSettings, {"window_s": window_s}, "view"))
    stored = [store.segment(row) for row in range(_SEGMENTS)]
    signal = np.concatenate([_audio(segment) for segment in stored])
    faces = np.concatenate([segment.faces for segment in stored])
    for row, reference in enumerate(store.index["reference"].iloc[:_SEGMENTS]):
        middle_s = 3 * row + 1.5
        start_s, end_s = max(0.0, middle_s - window_s / 2), min(3.0 * _SEGMENTS, middle_s + window_s / 2)
        shown = view.segment(row)
        expected = signal[round(start_s * RATE_HZ) : round(end_s * RATE_HZ)]
        np.testing.assert_allclose(_audio(shown), expected, atol=1e-6)
        assert np.abs(shown.waveform).max() == pytest.approx(1.0)
        assert shown.spectrogram.shape == (128, 100 * window_s)
        np.testing.assert_array_equal(shown.faces, faces[round(start_s * 10) : round(end_s * 10)])
        assert shown.frame_indices.tolist() == list(range(round((end_s - start_s) * 10)))
        assert (shown.recording, shown.segment, shown.reference) == ("r0.mp4", row, reference)
        np.testing.assert_array_equal(view.stored_frames(row), shown.frame_indices)
        some = view.segment(row, [3, 8])
        assert some.frame_indices.tolist() == [3, 8]
        np.testing.assert_array_equal(some.faces, shown.faces[[3, 8]])
    assert view.rated("train").tolist() == store.rated("train").tolist()
    assert view.frames_per_window == 10 * window_s


def test_a_shrunken_window_is_padded_at_the_end_of_its_spectrogram(store: SegmentStore) -> None:
    shown = StoreView(store, ViewSettings(window_s=5)).segment(0)
    assert len(shown.waveform) == 4 * RATE_HZ
    assert shown.spectrogram[:, :400].any(axis=0).all()
    assert not shown.spectrogram[:, 401:].any()


def test_windows_longer_than_the_recording_are_counted_and_left_out(tmp_path: Path) -> None:
    store = SegmentStore.open(make_store(tmp_path, 4, segments=1, faces=30))
    rows = np.arange(len(store))
    for window_s, usable in ((2, 4), (4, 0), (5, 0)):
        view = StoreView(store, from_dict(ViewSettings, {"window_s": window_s}, "view"))
        assert view.usable(rows).sum() == usable
        assert view.unusable_counts(rows) == ({} if usable else {SHORT_WINDOW: 4})
        assert len(view.rated("train")) == (len(store.rated("train")) if usable else 0)
        assert view.index["reference"].equals(store.index["reference"])
    with pytest.raises(SettingsError, match=rf"segment 0 of r0\.mp4 is unscorable \({SHORT_WINDOW}\)"):
        view.segment(0)


def test_a_window_shrinks_beside_an_unscorable_segment(store: SegmentStore) -> None:
    index = store.index.copy()
    index.loc[2, ["status", "reason"]] = ["unscorable", "no_face"]
    gap = SegmentStore(store.path, store.record, index)
    view = StoreView(gap, ViewSettings(window_s=5))
    # Segment 1 lacks the second after it; segment 3 lacks the one before it, and that after the recording's end.
    assert view.usable(np.arange(4)).tolist() == [True, True, False, False]
    assert view.unusable_counts(np.arange(4)) == {"no_face": 1, SHORT_WINDOW: 1}
    np.testing.assert_allclose(_audio(view.segment(1))[:RATE_HZ], _audio(store.segment(0))[-RATE_HZ:], atol=1e-6)
    assert len(view.segment(1).waveform) == 4 * RATE_HZ


def test_a_window_without_a_face_is_not_used(tmp_path: Path) -> None:
    """Frames 0, 14 and 29 have a face: one of ten in the middle, too few for scoring."""
    store = SegmentStore.open(make_store(tmp_path, 4, segments=2, faces=3))
    view = StoreView(store, ViewSettings(window_s=1))
    assert view.unusable_counts(np.arange(8)) == {NO_FACE: 8}
    assert view.index["crops"].tolist() == [1] * 8
    hidden = StoreView(store, ViewSettings(window_s=1, faces="none"))
    assert hidden.usable(np.arange(8)).all()
    assert hidden.segment(0).faces.shape == (0, 64, 64, 3)


@pytest.mark.parametrize("noise", ["white", "ward"])
@pytest.mark.parametrize("snr_db", [20.0, 5.0])
def test_noise_has_the_ratio_asked_for(store: SegmentStore, noises: NoiseFolder, noise: str, snr_db: float) -> None:
    view = StoreView(store, ViewSettings(noise_snr_db=snr_db, noise=noise), noises)
    for row in (0, 6):
        clean, noisy = store.segment(row), view.segment(row)
        added = _audio(noisy) - _audio(clean)
        ratio_db = 10 * np.log10(np.mean(_audio(clean) ** 2) / np.mean(added**2))
        assert ratio_db == pytest.approx(snr_db, abs=0.2)
        np.testing.assert_allclose(noisy.spectrogram, log_mel(noisy.waveform, store.preprocessing.audio), atol=1e-5)
        assert np.array_equal(noisy.faces, clean.faces)


def test_noise_is_of_the_files(store: SegmentStore, noises: NoiseFolder) -> None:
    assert [file.name for file in noises.files] == ["long.m4a", "more/silence.flac", "short.wav"]
    excerpts = [noises.excerpt(3 * RATE_HZ, RATE_HZ, np.random.default_rng(seed)) for seed in range(8)]
    for excerpt in excerpts:
        assert (len(excerpt), str(excerpt.dtype)) == (3 * RATE_HZ, "float32")
        assert np.mean(excerpt.astype(np.float64) ** 2) == pytest.approx(1.0, abs=1e-3)
    # The short file of half a second is repeated; the other is cut at different places.
    repeated = [np.allclose(excerpt[:8000], excerpt[8000:16_000], atol=1e-4) for excerpt in excerpts]
    assert 0 < sum(repeated) < 8
    longs = [excerpt for excerpt, short in zip(excerpts, repeated, strict=True) if not short]
    assert len({excerpt[0] for excerpt in longs}) == len(longs)
    settings = ViewSettings(noise_snr_db=10.0, noise="ward")
    assert StoreView(store, settings, noises).digest != StoreView(store, ViewSettings(noise_snr_db=10.0)).digest


def test_random_numbers_belong_to_the_view_and_the_segment(store: SegmentStore) -> None:
    def added(row: int, **settings: object) -> np.ndarray:
        view = StoreView(store, from_dict(ViewSettings, settings, "view"))
        noise: np.ndarray = _audio(view.segment(row)) - _audio(store.segment(row))
        return np.asarray(noise / noise.std())

    noises = [
        added(0, noise_snr_db=10),
        added(1, noise_snr_db=10),
        added(0, noise_snr_db=5),
        added(0, noise_snr_db=10, seed=1),
    ]
    correlations = np.corrcoef(noises) - np.eye(len(noises))
    assert np.abs(correlations).max() < 0.05
    # What is drawn for the audio does not depend on the faces, so that outputs of the audio encoder are shared.
    np.testing.assert_array_equal(added(0, noise_snr_db=10, cover="upper"), noises[0])
    plain, covered = (
        StoreView(store, from_dict(ViewSettings, {"noise_snr_db": 10} | more, "view"))
        for more in ({}, {"cover": "upper"})
    )
    assert plain.content_digest("audio") == covered.content_digest("audio") != store.content_digest("audio")
    assert store.content_digest("face") == plain.content_digest("face") != covered.content_digest("face")


def test_content_does_not_depend_on_order_or_process(store: SegmentStore, noises: NoiseFolder) -> None:
    view = StoreView(store, ViewSettings(window_s=4, noise_snr_db=10, noise="ward", cover="random"), noises)
    first = [view.segment(row) for row in (0, 1, 5)]
    again = pickle.loads(pickle.dumps(view))
    assert again.digest == view.digest
    for row, segment in zip((5, 1, 0), reversed(first), strict=True):
        assert _equal(again.segment(row), segment)
    with pytest.raises(ValueError, match="not of a view"):
        StoreView(view, ViewSettings())


@pytest.mark.parametrize("cover", COVERS)
def test_covers_hide_the_aligned_faces(store: SegmentStore, cover: Cover) -> None:
    shown, stored = StoreView(store, ViewSettings(cover=cover)).segment(4), store.segment(4)
    changed = (shown.faces != stored.faces).any(axis=3)
    half = {"upper": (1.0, 0.0), "lower": (0.0, 1.0), "mask": (0.0, 0.5), "random": (0.5, 0.5)}[cover]
    assert changed[:, :32].mean() == pytest.approx(half[0], abs=0.15)
    assert changed[:, 32:].mean() == pytest.approx(half[1], abs=0.3)
    assert (changed == changed[0]).mean() > 0.99  # the same for the whole segment
    np.testing.assert_array_equal(shown.spectrogram, stored.spectrogram)


def _half_voiced(pain: float) -> np.ndarray:
    audio = tone(pain)
    audio[len(audio) // 2 :] = 0
    return audio


def test_only_voice_is_left_by_voice_activity(tmp_path: Path) -> None:
    store = SegmentStore.open(make_store(tmp_path, 4, 1, audio=_half_voiced))
    shown, stored = (source.segment(0) for source in (StoreView(store, ViewSettings(vad_mask=True)), store))
    half, edge = len(stored.waveform) // 2, 512
    np.testing.assert_allclose(_audio(shown)[: half - edge], _audio(stored)[: half - edge], atol=1e-6)
    # White noise is flat, apart from a few frames by accident.
    assert (_audio(shown)[half + edge :] == 0).mean() > 0.9
    assert shown.spectrogram.shape == stored.spectrogram.shape
    assert shown.spectrogram[:, 160:].mean() < 0.5 * stored.spectrogram[:, 160:].mean()


def test_voice_activity_is_judged_at_the_level_of_the_recording(tmp_path: Path) -> None:
    """Normalised to full scale, a tone below the threshold would be voiced, and loud."""
    store = SegmentStore.open(make_store(tmp_path, 4, 1, audio=lambda pain: 1e-3 * tone(pain)))
    shown = StoreView(store, ViewSettings(vad_mask=True)).segment(0)
    # The store's builder adds white noise of -40 dBFS, which has the energy but not the shape of voice.
    assert (shown.waveform == 0).mean() > 0.9
    assert (silence_unvoiced(tone(5.0), store.preprocessing.audio) != 0).mean() > 0.9
    assert not silence_unvoiced(1e-3 * tone(5.0), store.preprocessing.audio).any()


def test_without_audio_there_is_silence(store: SegmentStore) -> None:
    shown = StoreView(store, ViewSettings(audio="none", noise_snr_db=10, vad_mask=True)).segment(0)
    assert shown.peak == 0.0
    assert not shown.waveform.any()
    assert not shown.spectrogram.any()


def test_training_takes_faces_of_the_whole_window(store: SegmentStore) -> None:
    view = StoreView(store, ViewSettings(window_s=5))
    row = 1
    item = SegmentDataset(view, TrainSettings(face_px=None), augmented=False, frames=5)[SampleKey(0, row)]
    assert item.mel.shape == (1, 128, 500)
    np.testing.assert_array_equal(item.faces.transpose(0, 2, 3, 1), view.segment(row, [5, 15, 25, 35, 45]).faces)


def test_noise_that_cannot_be_used_is_refused_by_name(store: SegmentStore, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="no folder for the noise ward"):
        StoreView(store, ViewSettings(noise_snr_db=10.0, noise="ward"))
    with pytest.raises(SettingsError, match="absent is not a folder"):
        NoiseFolder.open(tmp_path / "absent")
    folder = tmp_path / "hall"
    folder.mkdir()
    (folder / "notes.txt").write_text("not audio")
    with pytest.raises(SettingsError, match="hall has no recording"):
        NoiseFolder.open(folder)
    (folder / "broken.wav").write_bytes(b"RIFF, but not really")
    with pytest.raises(SettingsError, match=r"broken\.wav cannot be decoded: "):
        NoiseFolder.open(folder)
    soundfile.write(folder / "broken.wav", np.zeros(800), 8000)
    silence = NoiseFolder.open(folder)
    with pytest.raises(SettingsError, match="silence in all of its files"):
        silence.excerpt(100, 8000, np.random.default_rng(0))
    soundfile.write(folder / "broken.wav", np.full(800, np.nan), 8000, subtype="FLOAT")
    with pytest.raises(SettingsError, match=r"broken\.wav has samples that are not finite"):
        NoiseFolder.open(folder).excerpt(100, 8000, np.random.default_rng(0))


def test_settings_out_of_range_are_refused() -> None:
    for settings in ({"window_s": 6}, {"cover": "hat"}, {"noise_snr_db": 100}, {"windows": 3}):
        with pytest.raises(SettingsError, match=next(iter(settings))):
            from_dict(ViewSettings, settings, "view")
