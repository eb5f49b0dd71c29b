"""Measure what can be measured of a segment without the network: pitch, voicing, level, and openings of the face."""

from __future__ import annotations

import warnings
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from avpenet_cli.audio.mel import NO_SIGNAL_PEAK
from avpenet_cli.errors import EnvironmentUnavailableError
from avpenet_cli.explanation.explained import Facts, Float32, SegmentInputs
from avpenet_cli.explanation.faces import measure_landmarks

F0_RANGE_HZ = (75.0, 2000.0)
"""From a deep voice to the squeal of an infant's cry, whose fundamental may exceed 1 kHz."""

_RATE_HZ = 16_000
_FRAME_SAMPLES = 1024
"""64 ms: at least four periods of the lowest fundamental."""
_HOP_SAMPLES = 256
_SEMITONES = 0.2
"""Resolution of the pitch; a step is 1.2 % of the frequency."""
_LEAST_CONFIDENCE = 0.5
"""Crops in which the landmark model is less confident of a face are not measured."""


def facts(inputs: SegmentInputs) -> Facts:
    """Measure a segment.

    The fundamental frequency is that of the probabilistic YIN algorithm (Mauch and Dixon 2014), on the denoised audio.
    The face's openings are measured on aligned crops with the face mesh; these are stretched to a square, so that they
    compare segments of one patient, not patients.

    Args:
        inputs: of the segment.

    Returns:
        What could be measured, and the reason for what could not.
    """
    measured = Facts(level_dbfs=inputs.record.quality.level_dbfs)
    record, waveform = inputs.record, inputs.waveform
    if waveform is not None:
        # The last segment is filled up with zeros, which are no unvoiced part of the recording.
        waveform = waveform[: round((record.end_s - record.start_s) * _RATE_HZ)]
    return _of_face(_of_audio(measured, waveform), inputs.crops)


def _of_audio(measured: Facts, waveform: npt.NDArray[np.float32] | None) -> Facts:
    if waveform is None:
        return replace(measured, audio_reason="no audio made the score")
    if float(np.abs(waveform).max(initial=0.0)) < NO_SIGNAL_PEAK:
        return replace(measured, audio_reason="the audio has no signal")
    f0_hz = fundamental(waveform)
    voiced = f0_hz[np.isfinite(f0_hz)]
    share = len(voiced) / len(f0_hz)
    if not len(voiced):
        reason = f"no frame has a fundamental frequency of {F0_RANGE_HZ[0]:g} to {F0_RANGE_HZ[1]:g} Hz"
        return replace(measured, voiced_share=share, audio_reason=reason)
    low, high = np.percentile(voiced, [10, 90])
    return replace(measured, f0_hz=float(np.median(voiced)), f0_range_hz=(float(low), float(high)), voiced_share=share)


def fundamental(waveform: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    """Fundamental frequency over time.

    Args:
        waveform: (samples,) float32, 16 kHz.

    Returns:
        (frames,) float64, Hz, a frame each 16 ms; NaN where unvoiced.
    """
    with warnings.catch_warnings():
        # librosa's import loads packages that warn of their own future.
        warnings.simplefilter("ignore", DeprecationWarning)
        import librosa

    f0_hz, voiced, _ = librosa.pyin(
        waveform.astype(np.float32),
        fmin=F0_RANGE_HZ[0],
        fmax=F0_RANGE_HZ[1],
        sr=_RATE_HZ,
        frame_length=_FRAME_SAMPLES,
        hop_length=_HOP_SAMPLES,
        resolution=_SEMITONES,
    )
    return np.where(voiced, f0_hz, np.nan)


def _of_face(measured: Facts, crops: npt.NDArray[np.uint8] | Float32) -> Facts:
    if not len(crops):
        return replace(measured, face_reason="no face made the score")
    try:
        rows = measure_landmarks(crops, "mesh")
    except EnvironmentUnavailableError as error:
        return replace(measured, face_reason=str(error))
    rows = rows[rows[:, -1] >= _LEAST_CONFIDENCE]
    if not len(rows):
        return replace(measured, face_reason="the face mesh is sure of no face in the crops")
    brow, eyes, mouth = np.median(openings(rows[:, :-1].reshape(len(rows), -1, 2)), axis=0)
    return replace(measured, brow=float(brow), eyes=float(eyes), mouth=float(mouth))


def openings(points: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    """Openings of faces from landmarks of the mesh.

    Args:
        points: (n, 65, 2) x and y of `MESH_SUBSET`.

    Returns:
        (n, 3): height of the brows over the eyes' corners, relative to the distance of the eyes; opening of the lids,
        relative to the width of the eyes; opening of the lips, relative to the width of the mouth.
    """
    from avpenet_cli.model.landmarks import LAYOUTS, MESH_SUBSET

    layout = LAYOUTS["mesh"]
    pairs = {distance.name: distance for distance in layout.distances}

    def length(name: str) -> npt.NDArray[np.float64]:
        first, second = (list(side) for side in zip(*pairs[name].pairs, strict=True))
        between = points[:, second] - points[:, first]
        each = between[..., 1] if pairs[name].vertical else np.linalg.norm(between, axis=-1)
        return np.asarray(each.mean(axis=1), np.float64)

    def apart(first: int, second: int) -> npt.NDArray[np.float64]:
        at = MESH_SUBSET.index
        return np.asarray(np.linalg.norm(points[:, at(second)] - points[:, at(first)], axis=-1), np.float64)

    centres = [points[:, list(eye)].mean(axis=1) for eye in (layout.left_eye, layout.right_eye)]
    between_eyes = np.linalg.norm(centres[1] - centres[0], axis=-1)
    eye_width = (apart(33, 133) + apart(362, 263)) / 2
    brow = (length("inner brow height") + length("outer brow height")) / 2
    return np.stack(
        [brow / between_eyes, length("eye opening") / eye_width, length("mouth opening") / length("mouth width")], 1
    )
