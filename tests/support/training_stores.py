"""Small stores to train on, made with the store's own writer: bright faces and high tones stand for pain."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np

from avpenet_cli.audio.mel import log_mel
from avpenet_cli.dataset.annotations import read_annotations
from avpenet_cli.dataset.index import finish_store
from avpenet_cli.dataset.prepare import PreparedRecording, PrepareSettings
from avpenet_cli.dataset.segment_files import (
    SCORABLE,
    SEGMENT_FILES_FOLDER,
    STORE_VERSION,
    Payload,
    SegmentFileHeader,
    SegmentFileWriter,
)
from avpenet_cli.inputs import Recording
from avpenet_cli.settings import FaceSettings, digest_of
from avpenet_cli.storage import atomic_write

CROP_PX = 64
SETTINGS = PrepareSettings(split=(0.5, 0.25, 0.25), face=FaceSettings(crop_px=CROP_PX))
RATE_HZ = 16_000
PAINS = tuple(number * 5 % 24 / 24 * 10 for number in range(24))


def tone(pain: float, seconds: float = 3.0) -> np.ndarray:
    """(samples,) float32, its pitch rising with pain."""
    times_s = np.arange(round(seconds * RATE_HZ)) / RATE_HZ
    return (0.5 * np.sin(2 * np.pi * (300 + 250 * pain) * times_s)).astype(np.float32)


def face(pain: float, rng: np.random.Generator) -> np.ndarray:
    """(64, 64, 3) uint8, brighter with pain."""
    image = 20 + 20 * pain + rng.normal(0, 5, (CROP_PX, CROP_PX, 3))
    return np.clip(image, 0, 255).astype(np.uint8)


def make_store(
    folder: Path,
    subjects: int = 8,
    segments: int = 3,
    faces: int = 3,
    pains: tuple[float, ...] = PAINS,
    audio: Callable[[float], np.ndarray] = tone,
) -> Path:
    """A complete store with one recording per subject, whose segments have the values of `pains` in turn.

    `audio` gives the (48000,) float32 samples of a segment by its pain.
    """
    rng = np.random.default_rng(7)
    recordings, prepared, ratings = [], [], ["recording,start_s,end_s,value,scale,rater"]
    store = folder / "store"
    (store / SEGMENT_FILES_FOLDER).mkdir(parents=True)
    for subject in range(subjects):
        name = f"r{subject}.mp4"
        recording = Recording(folder / name, name, name)
        header = SegmentFileHeader(
            STORE_VERSION,
            digest_of(SETTINGS.segment_fingerprint_fields),
            1,
            1,
            f"{subject:064x}",
            3.0 * segments,
            3.0 * segments,
            0,
            "",
        )
        target = store / SEGMENT_FILES_FOLDER / f"{subject}.arrow"
        with atomic_write(target) as file:
            writer = SegmentFileWriter(file, header)
            for segment in range(segments):
                pain = pains[(subject * segments + segment) % len(pains)]
                ratings.append(f"{name},{3 * segment},{3 * segment + 3},{pain:.3f},NRS,self")
                writer.write(_segment_fields(segment, faces), _payload(pain, faces, rng, audio))
            writer.close()
        recordings.append(recording)
        prepared.append(PreparedRecording(recording, target, header, segments))
    (folder / "ratings.csv").write_text("\n".join(ratings) + "\n")
    names = "".join(f"r{subject}.mp4,s{subject}\n" for subject in range(subjects))
    (folder / "subjects.csv").write_text("recording,subject\n" + names)
    tables = (folder / "ratings.csv", folder / "subjects.csv")
    annotations = read_annotations(*tables, recordings, SETTINGS.split, SETTINGS.seed)
    finish_store(store, prepared, annotations, SETTINGS)
    return store


def _segment_fields(segment: int, faces: int) -> dict[str, object]:
    return {
        "segment": segment,
        "start_s": 3.0 * segment,
        "end_s": 3.0 * segment + 3.0,
        "status": SCORABLE,
        "reason": "",
        "flags": "",
        "face_rate": faces / 30,
        "face_confidence": 0.99,
        "face_px": 100.0,
        "faces": 1,
        "voiced": 1.0,
        "snr_db": 30.0,
        "level_dbfs": -10.0,
    }


def _payload(pain: float, faces: int, rng: np.random.Generator, make_audio: Callable[[float], np.ndarray]) -> Payload:
    audio = make_audio(pain) + rng.normal(0, 0.01, 3 * RATE_HZ).astype(np.float32)
    jpegs = tuple(cv2.imencode(".jpg", face(pain, rng)[..., ::-1])[1].tobytes() for _ in range(faces))
    frame_indices = tuple(np.linspace(0, 29, faces).astype(int).tolist())
    return Payload(log_mel(audio, SETTINGS.audio), audio, jpegs, frame_indices)
