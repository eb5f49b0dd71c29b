"""A store holds what scoring sees; any segment can be read, in any order and by several processes."""

from __future__ import annotations

import hashlib
import json
import pickle
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from avpenet_cli.audio.mel import log_mel
from avpenet_cli.dataset.record import STORE_FILE
from avpenet_cli.dataset.segment_files import SEGMENT_FILES_FOLDER, quantise_waveform
from avpenet_cli.dataset.store import SegmentStore
from avpenet_cli.errors import OutputError, SettingsError
from avpenet_cli.scoring.network import Network
from avpenet_cli.scoring.scorer import Scorer
from avpenet_cli.settings import AudioSettings, Preprocessing, RunSettings, digest_of
from avpenet_cli.weights import UNTRAINED, find
from tests.conftest import REPOSITORY, Answer, ClipMaker


class RecordingNetwork(Network):
    """The real network, which records its inputs."""

    def __init__(self) -> None:
        run = RunSettings(device="cpu")
        super().__init__(find(UNTRAINED), run)
        self.crops: list[np.ndarray] = []
        self.mels: list[np.ndarray] = []

    def encode_faces(self, crops: Sequence[np.ndarray]) -> np.ndarray:
        self.crops += crops
        return super().encode_faces(crops)

    def encode_audio(self, mels: Sequence[np.ndarray]) -> np.ndarray:
        self.mels += mels
        return super().encode_audio(mels)


@pytest.fixture(scope="module")
def folder(clips: ClipMaker, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("store")
    archive = folder / "archive"
    archive.mkdir()
    shutil.copy(clips.face(6.0, "240x180", 10.0, away_s=(3.0, 6.0)), archive / "away.mp4")
    shutil.copy(clips.brief(), archive / "brief.mp4")
    shutil.copy(clips.face(3.0, "240x180", 10.0, audio="silence"), archive / "quiet.mp4")
    (folder / "ratings.csv").write_text(
        "recording,start_s,end_s,value,scale,rater\n"
        "away.mp4,0,3,7,NIPS,n1\naway.mp4,0,3,3.5,NIPS,n2\naway.mp4,0,3,4.2,NIPS,n3\nquiet.mp4,0,10,3,NRS,self\n"
    )
    (folder / "subjects.csv").write_text(
        "recording,subject,age_group,site,sex\naway.mp4,s1,neonate,A,f\nbrief.mp4,s2,adult,B,m\nquiet.mp4,s3,adult,B,\n"
    )
    return folder


@pytest.fixture(scope="module")
def store_path(folder: Path, avpenet_here: Callable[..., Answer]) -> Path:
    tables = ["--ratings", folder / "ratings.csv", "--subjects", folder / "subjects.csv"]
    answer = avpenet_here("prepare", folder / "archive", *tables, "--out", folder / "store", "--device", "cpu")
    assert answer.code == 0, answer.err
    return folder / "store"


@pytest.fixture(scope="module")
def store(store_path: Path) -> SegmentStore:
    return SegmentStore.open(store_path)


@pytest.fixture
def copied(store_path: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(store_path, tmp_path / "copy"))


def _row(store: SegmentStore, recording: str, segment: int = 0) -> int:
    matches = (store.index["recording"] == recording) & (store.index["segment"] == segment)
    return int(np.flatnonzero(matches.to_numpy())[0])


def _cell(store: SegmentStore, row: int, column: str) -> object:
    return store.index[column].tolist()[row]


@pytest.mark.slow
def test_training_sees_what_scoring_sees(folder: Path, store: SegmentStore) -> None:
    network = RecordingNetwork()
    outcome = Scorer(network, RunSettings(device="cpu")).score(folder / "archive" / "away.mp4")
    segment = store.segment(_row(store, "away.mp4"))
    assert segment.spectrogram.dtype == np.float32
    np.testing.assert_allclose(segment.spectrogram, network.mels[0], atol=2**-12)
    assert segment.faces.dtype == np.uint8
    assert segment.faces.shape == (28, 224, 224, 3)
    assert segment.frame_indices.tolist() == list(range(28))  # then it moves out
    scored = np.stack(network.crops[:28]).astype(float)
    error = np.mean((segment.faces - scored) ** 2, axis=(1, 2, 3))
    psnr_db = 10 * np.log10(255**2 / error)
    assert psnr_db.min() > 38
    assert np.mean((segment.faces[..., ::-1] - scored) ** 2) > 10 * error.mean()  # red is red
    index = store.index[store.index["recording"] == "away.mp4"]
    for row, scored_segment in zip(index.itertuples(), outcome.segments, strict=True):
        quality = scored_segment.quality
        assert (row.start_s, row.end_s) == (scored_segment.start_s, scored_segment.end_s)
        assert (row.reason, row.flags) == (scored_segment.reason, " ".join(scored_segment.flags))
        assert row.face_rate == pytest.approx(quality.face_rate, abs=5e-4)
        assert row.voiced == pytest.approx(quality.voiced, abs=5e-4)


def test_the_waveform_gives_the_stored_spectrogram(store: SegmentStore) -> None:
    for recording in ("away.mp4", "brief.mp4"):
        segment = store.segment(_row(store, recording))
        assert segment.waveform.shape == (48_000,)
        assert np.abs(segment.waveform).max() == 1.0
        assert 0.05 < segment.peak <= 1.5
        np.testing.assert_allclose(log_mel(segment.waveform, AudioSettings()), segment.spectrogram, atol=0.01)
    quiet = store.segment(_row(store, "quiet.mp4"))
    assert quiet.peak == 0.0
    assert not quiet.waveform.any()
    assert not quiet.spectrogram.any()


def test_a_quiet_waveform_keeps_its_resolution() -> None:
    audio = np.sin(np.arange(48_000) / 7).astype(np.float32)
    for peak in (1.7, 1.0, 1e-4):
        stored, samples = quantise_waveform(peak * audio)
        assert stored == pytest.approx(peak, rel=1e-3)
        np.testing.assert_allclose(samples / 32767 * stored, peak * audio, atol=peak * 2e-5)
    assert quantise_waveform(1e-7 * audio)[0] == 0.0
    assert not quantise_waveform(1e-7 * audio)[1].any()


def test_frames_without_a_face_are_left_out(store: SegmentStore) -> None:
    segment = store.segment(_row(store, "brief.mp4"))
    assert segment.frame_indices.tolist() == [0, 1, 2, 3, 4]
    assert len(segment.faces) == 5
    assert store.index["crops"].tolist() == [28, 0, 5, 30]
    assert segment.faces.reshape(5, -1).mean(1).min() > 20
    some = store.segment(_row(store, "brief.mp4"), frame_indices=[1, 4, 20])
    assert some.frame_indices.tolist() == [1, 4]
    np.testing.assert_array_equal(some.faces, segment.faces[[1, 4]])
    assert store.segment(_row(store, "brief.mp4"), frame_indices=[20]).faces.shape == (0, 224, 224, 3)


def test_an_unscorable_segment_cannot_be_read(store: SegmentStore) -> None:
    row = _row(store, "away.mp4", 1)
    assert (_cell(store, row, "status"), _cell(store, row, "reason")) == ("unscorable", "no_face")
    with pytest.raises(SettingsError, match=r"segment 1 of away\.mp4 is unscorable \(no_face\)"):
        store.segment(row)


def test_references_are_rescaled_medians_of_the_raters(store: SegmentStore) -> None:
    # NIPS x 10/7: 10, 5 and 6; the median of the three nurses.
    away, brief = _row(store, "away.mp4"), _row(store, "brief.mp4")
    assert (_cell(store, away, "reference"), _cell(store, away, "n_raters")) == (6.0, 3)
    assert store.segment(_row(store, "quiet.mp4")).reference == 3.0
    assert np.isnan(store.index["reference"].to_numpy()[brief])
    assert _cell(store, brief, "n_raters") == 0
    assert store.index["sex"].tolist() == ["f", "f", "m", "(not stated)"]


def test_rated_rows_follow_the_stored_splits(store: SegmentStore) -> None:
    by_subject = store.record.splits.by_subject
    assert store.index["split"].tolist() == [by_subject[subject] for subject in store.index["subject"]]
    rated = np.concatenate([store.rated("train"), store.rated("validation"), store.rated("test")])
    assert sorted(rated.tolist()) == [_row(store, "away.mp4"), _row(store, "quiet.mp4")]
    assert store.rated("test", left_out_site="A").tolist() == [_row(store, "away.mp4")]
    assert _row(store, "quiet.mp4") not in store.rated("test", left_out_site="A")
    with pytest.raises(SettingsError, match="no splits without site Z"):
        store.rated("test", left_out_site="Z")


def test_preprocessing_and_digest_are_kept(store: SegmentStore) -> None:
    assert store.preprocessing == Preprocessing()
    assert len(store) == 4
    assert len(store.digest) == 64


_READERS = """
import multiprocessing, pickle, sys, warnings
from pathlib import Path
import numpy as np
warnings.simplefilter("ignore", DeprecationWarning)  # of Python 3.12, of forking beside threads: that is the test
from avpenet_cli.dataset.store import SegmentStore

def summary(number):
    segment = store.segment(number)
    faces, waveform = int(segment.faces.astype(int).sum()), float(np.abs(segment.waveform).sum())
    return [number, float(segment.spectrogram.sum()), faces, waveform]

store = SegmentStore.open(Path(sys.argv[1]))
numbers = np.flatnonzero(store.index["status"] == "scorable").tolist()
here = [summary(number) for number in numbers]  # the parent has them all open when it forks
with multiprocessing.get_context("fork").Pool(2) as pool:
    order = [*reversed(numbers), *numbers] * 5
    there = pool.map(summary, order, chunksize=1)
assert all(item in here for item in there), (here, there)
store = pickle.loads(pickle.dumps(store))
assert [summary(number) for number in numbers] == here
assert "torch" not in sys.modules
print(len(there))
"""


def test_forked_and_pickled_readers_read_the_same(store_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _READERS, store_path], cwd=REPOSITORY, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "30\n"


def test_a_store_with_open_files_can_be_pickled(store: SegmentStore) -> None:
    store.segment(0)
    again = pickle.loads(pickle.dumps(store))
    np.testing.assert_array_equal(again.segment(0).faces, store.segment(0).faces)


def test_an_incomplete_or_altered_store_is_refused(copied: Path, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="is not a segment store"):
        SegmentStore.open(tmp_path / "nothing")
    content = json.loads((copied / STORE_FILE).read_text())
    for change, words in (
        ({"store_version": 99}, "has format version 99"),
        ({"complete": False}, "is not finished"),
        ({"index": content["index"] | {"sha256": "0" * 64}}, "does not match store.json"),
    ):
        (copied / STORE_FILE).write_text(json.dumps(content | change))
        with pytest.raises(SettingsError, match=words):
            SegmentStore.open(copied)
    (copied / STORE_FILE).write_text("{")
    with pytest.raises(OutputError, match="cannot be read"):
        SegmentStore.open(copied)
    (copied / STORE_FILE).write_text(json.dumps(content))
    file = copied / SEGMENT_FILES_FOLDER / content["recordings"][0]["shard"]
    whole = file.read_bytes()
    file.write_bytes(whole[:-100])
    with pytest.raises(SettingsError, match="is incomplete"):
        SegmentStore.open(copied)
    file.unlink()
    with pytest.raises(SettingsError, match="lacks a file"):
        SegmentStore.open(copied)
    file.write_bytes(whole)
    SegmentStore.open(copied).segment(0)
    file.write_bytes(b"\0" * len(whole))
    with pytest.raises(SettingsError, match="cannot be read"):
        SegmentStore.open(copied).segment(0)


def test_a_store_that_has_a_patient_in_two_spellings_is_refused(copied: Path) -> None:
    """Training and evaluation would count the patient twice, or test on what was trained on."""
    content = json.loads((copied / STORE_FILE).read_text())
    path = copied / content["index"]["file"]
    index = pq.read_table(path).to_pandas()
    subject = str(index["subject"].iloc[0])
    index.loc[index["recording"] == index["recording"].iloc[-1], "subject"] = f"{subject.lower()}\u00a0"
    index.to_parquet(path)
    content["index"]["sha256"] = hashlib.sha256(path.read_bytes()).hexdigest()
    (copied / STORE_FILE).write_text(json.dumps(content))
    with pytest.raises(
        SettingsError, match=r"\\xa0' as 2 subjects, but they differ only in spelling; prepare it again"
    ):
        SegmentStore.open(copied)


def test_a_store_of_an_earlier_release_opens_with_the_same_digest(copied: Path) -> None:
    """Weights name the digest of the store that they were trained on."""
    content = json.loads((copied / STORE_FILE).read_text())
    # Before there were records: no notice, a failed recording with few fields, and another order of fields.
    del content["notice"]
    failed = {"recording": "0.mp4", "shard": "", "shard_bytes": 0, "status": "failed", "reason": "x", "message": "y"}
    content["recordings"] = [failed, *content["recordings"]]
    content = dict(reversed(content.items()))
    (copied / STORE_FILE).write_text(json.dumps(content))
    store = SegmentStore.open(copied)
    assert store.digest == digest_of(content)
    assert store.record.notice == ""
    assert [recording.status for recording in store.record.recordings] == ["failed"] + 3 * ["prepared"]
    assert store.rated("train").size + store.rated("validation").size + store.rated("test").size == 2


def test_the_digest_is_of_the_content_of_store_json(store_path: Path, store: SegmentStore) -> None:
    assert store.digest == digest_of(json.loads((store_path / STORE_FILE).read_text()))
    assert SegmentStore(store.path, store.record, store.index).digest == store.digest
