"""A variant has the store's rows, and what is different was different before the program saw it."""

from __future__ import annotations

import dataclasses
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from avpenet_cli.dataset.segment_files import SCORABLE, SEGMENT_FILES_FOLDER
from avpenet_cli.dataset.store import SegmentStore
from avpenet_cli.errors import OutputError, SettingsError
from avpenet_cli.experiment.alteration import VariantSettings
from avpenet_cli.experiment.variants import MISSING, NOT_INCLUDED, find_recordings, make_variant
from avpenet_cli.experiment.views import StoreView, ViewSettings
from avpenet_cli.runs.callbacks import RunCallbacks
from avpenet_cli.settings import digest_of, from_dict
from tests.conftest import REPOSITORY, Answer, ClipMaker

pytestmark = pytest.mark.slow


class Messages(RunCallbacks):
    """Keeps what a run reports."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def info(self, message: str, **fields: object) -> None:
        self.lines.append(message)

    def warning(self, message: str, **fields: object) -> None:
        self.lines.append(message)


@pytest.fixture(scope="module")
def archive(clips: ClipMaker, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three recordings: one without a face in the middle, one of two people, one of 1.6 s."""
    folder = tmp_path_factory.mktemp("variants") / "archive"
    (folder / "B").mkdir(parents=True)
    shutil.copy(clips.face(9.0, "240x180", 10.0, away_s=(3.0, 6.0)), folder / "away.mp4")
    patient, visitor = clips.face(6.0, "160x120", 10.0), clips.face(6.0, "320x240", 10.0, "moan")
    # The visitor's face is twice as large and there for a second.
    beside = "[0:v]pad=480:240[p];[p][1:v]overlay=160:0:enable='between(t,4,4.95)'"
    both = clips.ffmpeg("-i", str(patient), "-i", str(visitor), "-filter_complex", beside, "-map", "0:a")
    shutil.copy(both, folder / "B" / "two.mp4")
    shutil.copy(clips.brief(), folder / "brief.mp4")
    return folder


@pytest.fixture(scope="module")
def store(archive: Path, avpenet_here: Callable[..., Answer]) -> SegmentStore:
    folder = archive.parent
    names = ["away.mp4", "B/two.mp4", "brief.mp4"]
    (folder / "ratings.csv").write_text(
        "recording,start_s,end_s,value,scale,rater\naway.mp4,0,3,7,NRS,n1\nB/two.mp4,3,6,2,NRS,n1\n"
    )
    (folder / "subjects.csv").write_text("recording,subject\n" + "".join(f"{name},s-{name[0]}\n" for name in names))
    tables = ["--ratings", folder / "ratings.csv", "--subjects", folder / "subjects.csv"]
    answer = avpenet_here("prepare", archive, "--recursive", *tables, "--out", folder / "store", "--device", "cpu")
    assert answer.code == 0, answer.err
    return SegmentStore.open(folder / "store")


@pytest.fixture(scope="module")
def variant(
    store: SegmentStore, archive: Path, tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., SegmentStore]:
    """Makes a variant of the store, by its settings."""
    folder = tmp_path_factory.mktemp("made")
    recordings = find_recordings(store, [str(archive)])

    def make(only: str | None = None, **settings: object) -> SegmentStore:
        rows = None if only is None else np.flatnonzero(store.index["recording"] == only)
        out = folder / digest_of([only, settings])[:8]
        asked = VariantSettings(**settings)  # type: ignore[arg-type]
        return make_variant(store, recordings, asked, out, rows=rows, device="cpu")

    return make


def _scorable(store: SegmentStore) -> list[int]:
    rows: list[int] = np.flatnonzero(store.index["status"] == SCORABLE).tolist()
    return rows


def test_a_variant_without_changes_is_the_store(store: SegmentStore, variant: Callable[..., SegmentStore]) -> None:
    again = variant()
    assert again.index.drop(columns="shard").equals(store.index.drop(columns="shard"))
    assert len(_scorable(store)) >= 4
    assert "no_face" in store.index["reason"].tolist()
    for row in _scorable(store):
        stored, prepared = store.segment(row), again.segment(row)
        for name in ("spectrogram", "waveform", "faces", "frame_indices"):
            np.testing.assert_array_equal(getattr(stored, name), getattr(prepared, name))
        assert (stored.recording, stored.segment, stored.subject) == (
            prepared.recording,
            prepared.segment,
            prepared.subject,
        )
    assert again.digest != store.digest
    assert again.preprocessing == store.preprocessing
    assert again.record.splits == store.record.splits
    assert again.path.stat().st_mode & 0o077 == 0


def test_windows_do_not_depend_on_the_stride(
    store: SegmentStore, archive: Path, tmp_path: Path, avpenet_here: Callable[..., Answer]
) -> None:
    (tmp_path / "ratings.csv").write_text("recording,start_s,end_s,value,scale,rater\ntwo.mp4,3,6,2,NRS,n1\n")
    (tmp_path / "subjects.csv").write_text("recording,subject\ntwo.mp4,s-B\n")
    tables = ["--ratings", tmp_path / "ratings.csv", "--subjects", tmp_path / "subjects.csv"]
    out = ["--out", tmp_path / "store", "--stride", "1", "--device", "cpu"]
    answer = avpenet_here("prepare", archive / "B" / "two.mp4", *tables, *out)
    assert answer.code == 0, answer.err
    often = SegmentStore.open(tmp_path / "store")
    assert often.index["start_s"].tolist() == [0.0, 1.0, 2.0, 3.0, 4.0]
    first = int(np.flatnonzero(store.index["recording"] == "B/two.mp4")[0])
    for window_s in (2, 4):
        views = [StoreView(source, from_dict(ViewSettings, {"window_s": window_s}, "")) for source in (store, often)]
        for row, same in ((first, 0), (first + 1, 3)):
            once, other = views[0].segment(row), views[1].segment(same)
            np.testing.assert_allclose(once.waveform * once.peak, other.waveform * other.peak, atol=1e-4)
            np.testing.assert_array_equal(once.faces, other.faces)
            np.testing.assert_array_equal(once.frame_indices, other.frame_indices)


def test_preprocessing_is_that_of_the_variant(store: SegmentStore, variant: Callable[..., SegmentStore]) -> None:
    plain = variant("B/two.mp4", denoise="none", align=False)
    assert plain.preprocessing.audio.denoise == "none"
    assert not plain.preprocessing.face.align
    assert plain.index["reference"].equals(store.index["reference"])
    row = int(np.flatnonzero(store.index["recording"] == "B/two.mp4")[0])
    stored, prepared = store.segment(row), plain.segment(row)
    assert np.abs(stored.spectrogram - prepared.spectrogram).max() > 0.05
    assert (stored.faces != prepared.faces).any()
    others = plain.index[plain.index["recording"] != "B/two.mp4"]
    assert set(others["reason"]) == {NOT_INCLUDED}
    assert others[["face_rate", "voiced"]].isna().all(axis=None)


def test_noise_is_reduced_with_the_recording(store: SegmentStore, variant: Callable[..., SegmentStore]) -> None:
    """Noise that the noise reduction never saw would remain whole."""
    name, snr_db = "B/two.mp4", 5.0
    noisy = variant(name, noise_snr_db=snr_db)
    kinder = StoreView(store, ViewSettings(noise_snr_db=snr_db))
    left, added = [], []
    for row in np.flatnonzero(store.index["recording"] == name).tolist():
        clean, hard, soft = (source.segment(row) for source in (store, noisy, kinder))
        signal = clean.waveform.astype(np.float64) * clean.peak
        left.append(np.mean((hard.waveform * hard.peak - signal) ** 2))
        added.append(np.mean((soft.waveform * soft.peak - signal) ** 2))
        np.testing.assert_array_equal(hard.faces, clean.faces)
    # A third of the white noise at 48 kHz lies below 8 kHz, before it is reduced.
    assert 0.02 * np.mean(added) < np.mean(left) < 0.3 * np.mean(added)
    rows = noisy.index["recording"] == name
    assert (noisy.index.loc[rows, "snr_db"] < 8).all()
    assert (store.index.loc[rows, "snr_db"] > 20).all()
    assert noisy.preprocessing == store.preprocessing


def test_covers_are_there_when_faces_are_searched(store: SegmentStore, variant: Callable[..., SegmentStore]) -> None:
    """A cover of the aligned crops would leave rate and confidence of the faces as they are."""
    name = "away.mp4"
    rows = np.flatnonzero((store.index["recording"] == name) & (store.index["status"] == SCORABLE))
    eyeless, masked = variant(name, cover="upper").index, variant(name, cover="mask")
    # Half of a face is hardly found, and what is lost is counted.
    assert (eyeless["crops"].iloc[rows] < 0.5 * store.index["crops"].iloc[rows]).all()
    assert "no_face" in eyeless["reason"].iloc[rows].tolist()
    assert masked.index["face_confidence"].iloc[rows].tolist() != store.index["face_confidence"].iloc[rows].tolist()
    for row in rows.tolist():
        faces = masked.segment(row).faces.astype(int)
        mouth, eyes = faces[:, 150:170, 100:124].mean(axis=(1, 2)), faces[:, 80:95, 60:164]
        assert np.abs(mouth - [140, 184, 203]).max() < 20
        assert eyes[..., 2].mean(axis=(1, 2)).max() < 203 - 20


def test_the_largest_face_takes_the_place_of_the_patient(
    store: SegmentStore, variant: Callable[..., SegmentStore]
) -> None:
    name = "B/two.mp4"
    largest = variant(name, patient="largest")
    row = int(np.flatnonzero(store.index["recording"] == name)[1])
    patient, faces = store.segment(row), largest.segment(row)
    same = {int(frame): index for index, frame in enumerate(patient.frame_indices)}
    changed = [
        int(frame)
        for index, frame in enumerate(faces.frame_indices)
        if int(frame) not in same or np.abs(faces.faces[index].astype(int) - patient.faces[same[int(frame)]]).mean() > 1
    ]
    assert changed == list(range(10, 20))
    assert faces.frame_indices.tolist() == list(range(30))
    assert largest.preprocessing == store.preprocessing


_KILLED = """
import os, signal, sys
from pathlib import Path
from avpenet_cli.dataset.store import SegmentStore
from avpenet_cli.experiment.alteration import VariantSettings
from avpenet_cli.experiment.variants import find_recordings, make_variant
from avpenet_cli.runs.callbacks import RunCallbacks

class Killer(RunCallbacks):
    def item_done(self, lane=0):
        os.kill(os.getpid(), signal.SIGKILL)

store = SegmentStore.open(Path(sys.argv[1]))
recordings = find_recordings(store, [sys.argv[2]])
make_variant(store, recordings, VariantSettings(denoise="none"), Path(sys.argv[3]), Killer(), device="cpu")
"""


def test_a_killed_run_resumes_with_what_it_has(store: SegmentStore, archive: Path, tmp_path: Path) -> None:
    out = tmp_path / "variant"
    killed = subprocess.run([sys.executable, "-c", _KILLED, store.path, archive, out], cwd=REPOSITORY)
    assert killed.returncode == -signal.SIGKILL
    with pytest.raises(SettingsError, match="is not finished"):
        SegmentStore.open(out)
    kept = {path: path.stat().st_mtime_ns for path in (out / SEGMENT_FILES_FOLDER).glob("*.arrow")}
    assert len(kept) == 1
    recordings, messages = find_recordings(store, [str(archive)]), Messages()
    variant = make_variant(store, recordings, VariantSettings(denoise="none"), out, messages, device="cpu")
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
    assert sum("from an earlier run" in line for line in messages.lines) == 1
    assert variant.index["status"].tolist() == store.index["status"].tolist()
    for row in _scorable(store):
        np.testing.assert_array_equal(variant.segment(row).faces, store.segment(row).faces)
    again = make_variant(store, recordings, VariantSettings(denoise="none"), out, messages, device="cpu")
    assert again.digest == variant.digest
    assert sum("from an earlier run" in line for line in messages.lines) == 4
    with pytest.raises(OutputError, match=r"other settings: variant\.seed was 42, now 1"):
        make_variant(store, recordings, VariantSettings(denoise="none", seed=1), out, device="cpu")


def test_missing_recordings_are_named_and_changed_ones_refused(
    store: SegmentStore, archive: Path, tmp_path: Path
) -> None:
    other = tmp_path / "elsewhere" / "deeper"
    shutil.copytree(archive, other)
    (other / "away.mp4").unlink()
    messages = Messages()
    recordings = find_recordings(store, [str(tmp_path / "elsewhere")], messages)
    assert recordings.missing == ("away.mp4",)
    assert messages.lines == ["1 recording of the store not found, left out of its variants: away.mp4"]
    rows = np.flatnonzero(store.index["recording"].isin(["away.mp4", "brief.mp4"]))
    variant = make_variant(store, recordings, VariantSettings(), tmp_path / "out", rows=rows, device="cpu")
    reasons = dict(zip(variant.index["recording"], variant.index["reason"], strict=True))
    assert reasons == {"away.mp4": MISSING, "B/two.mp4": NOT_INCLUDED, "brief.mp4": ""}
    brief = int(np.flatnonzero(store.index["recording"] == "brief.mp4")[0])
    np.testing.assert_array_equal(variant.segment(brief).faces, store.segment(brief).faces)
    with (other / "brief.mp4").open("ab") as file:
        file.write(b"\0")
    with pytest.raises(SettingsError, match=r"brief\.mp4 has changed since the store .* was prepared; restore it"):
        find_recordings(store, [str(other)])
    with pytest.raises(SettingsError, match="none of the recordings of the store"):
        find_recordings(store, [str(tmp_path / "out")])


def test_a_store_of_another_version_is_refused(store: SegmentStore, archive: Path, tmp_path: Path) -> None:
    settings = store.record.settings | {"results_version": 1}
    record = dataclasses.replace(store.record, settings=settings, fingerprint="0" * 64)
    old = SegmentStore(store.path, record, store.index)
    recordings = find_recordings(store, [str(archive)])
    with pytest.raises(SettingsError, match="by a version of avpenet that prepares otherwise"):
        make_variant(old, recordings, VariantSettings(), tmp_path / "out", device="cpu")
