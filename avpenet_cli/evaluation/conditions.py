"""Conditions under which weights are evaluated: noise, covered faces, one modality alone.

Everything here is a pure function of its arguments and the generator, without torch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import cv2
import numpy as np

from avpenet_cli.errors import SettingsError
from avpenet_cli.model.architecture import Modality

Family = Literal["clean", "noise", "occlusion", "modality"]
Cover = Literal["upper", "lower", "mask", "random"]

NOISE_SNR_DB = (30, 20, 10, 5)
"""Noise levels of the paper's robustness test."""

COVERS: tuple[Cover, ...] = get_args(Cover)
"""The paper's five occlusions except none, which is the clean condition."""

RANDOM_SHARE = 0.5
RANDOM_CELLS = 16
"""The crop is a grid of 16 x 16 cells, of which this share is black. The number of cells is chosen: the paper states
none."""

_MASK_RGB = (140, 184, 203)
"""Light blue of a surgical mask, sRGB; the phantoms' mask_blue."""
_BLACK_RGB = (0, 0, 0)

_MASK_OUTLINE = (
    *((0.50, 0.45), (0.62, 0.48), (0.80, 0.55), (0.96, 0.60)),
    *((0.93, 0.82), (0.80, 0.98), (0.62, 1.06), (0.38, 1.06)),
    *((0.20, 0.98), (0.07, 0.82), (0.04, 0.60), (0.20, 0.55), (0.38, 0.48)),
)
"""x, y as shares of the detector's face box. MTCNN puts eyes at y = 0.38 (0.35 to 0.41), the tip of the nose at 0.58
(0.54 to 0.62), the mouth at 0.77 and the chin near 1, measured on frontal faces of 6 people: the upper edge lies on the
bridge of the nose and falls towards the cheeks, the lower one goes round the chin."""


@dataclass(frozen=True)
class Condition:
    """One change to the network's input.

    Attributes:
        name: its name in tables.
        level: its level within the family, for display.
        snr_db: signal-to-noise ratio; None in other families.
        cover: how the face is covered; None in other families.
        kept: the only modality that the network gets; None in other families.
    """

    name: str
    family: Family
    level: str
    snr_db: int | None = None
    cover: Cover | None = None
    kept: Modality | None = None


CLEAN = Condition("clean", "clean", "as recorded")
AUDIO_ALONE = Condition("audio_alone", "modality", "audio alone", kept="audio")
FACE_ALONE = Condition("face_alone", "modality", "face alone", kept="face")

_COVER_LABELS: dict[Cover, str] = {
    "upper": "upper half",
    "lower": "lower half",
    "mask": "mask",
    "random": f"random {100 * RANDOM_SHARE:.0f} %",
}
CONDITIONS: dict[str, tuple[Condition, ...]] = {
    "noise": tuple(Condition(f"noise_{snr}_db", "noise", f"{snr} dB", snr_db=snr) for snr in NOISE_SNR_DB),
    "occlusion": tuple(
        Condition(f"occlusion_{cover}", "occlusion", _COVER_LABELS[cover], cover=cover) for cover in COVERS
    ),
    "modality": (AUDIO_ALONE, FACE_ALONE),
}

METHODS = {
    "clean": "spectrogram and faces as they are stored; scores equal those of avpenet score, except for JPEG and "
    "half precision in the store. Segments without a face or without audio are not stored and have no score here, even "
    "where avpenet score gives them one, with weights that accept a missing modality",
    "noise": "white Gaussian noise added to the stored waveform, which is denoised and peak-normalised; SNR over the "
    "segment's own power; normalised and turned into a spectrogram as in avpenet score; silent segments are unchanged",
    "occlusion": f"on the aligned faces, the same for a segment: half of the crop black, a light blue mask from nose "
    f"to chin, or {100 * RANDOM_SHARE:.0f} % of {RANDOM_CELLS} x {RANDOM_CELLS} cells black; the face had been found "
    "before it was covered",
    "modality": "the other modality is missing, as in training with modality dropout",
}
"""How the conditions of each family are made, for the outputs."""


def parse_conditions(text: str) -> tuple[Condition, ...]:
    """The clean condition and those of the named families, in a fixed order.

    Args:
        text: `all`, `none`, or families separated by commas.

    Raises:
        SettingsError: no such family.
    """
    names = {part.strip() for part in text.split(",")}
    if names == {"all"}:
        names = set(CONDITIONS)
    elif names == {"none"}:
        names = set()
    unknown = sorted(names - set(CONDITIONS))
    if unknown:
        raise SettingsError(
            f"--conditions {text}: there is no {unknown[0] or 'empty name'}", f"use all, none or {','.join(CONDITIONS)}"
        )
    return (CLEAN, *(item for family, members in CONDITIONS.items() if family in names for item in members))


def reason_not_computable(
    condition: Condition, modalities: tuple[Modality, ...], may_be_missing: tuple[Modality, ...]
) -> str:
    """Why weights cannot be evaluated under this condition; empty where they can.

    Args:
        modalities: inputs of the weights.
        may_be_missing: those that the weights were trained to do without.
    """
    audio, face = "audio" in modalities, "face" in modalities
    labels = {"audio": "audio", "face": "the face"}
    if condition.kept is not None:
        if condition.kept not in modalities:
            return f"these weights do not read {labels[condition.kept]}"
        missing: Modality = "face" if condition.kept == "audio" else "audio"
        if missing not in modalities:
            return f"these weights read {labels[condition.kept]} only, which is the clean condition"
        return "" if missing in may_be_missing else f"these weights were not trained to do without {labels[missing]}"
    if condition.family == "noise" and not audio:
        return "these weights do not read audio"
    if condition.family == "occlusion" and not face:
        return "these weights do not read the face"
    return ""


def cover_faces(faces: np.ndarray, cover: Cover, box_margin: float, rng: np.random.Generator) -> np.ndarray:
    """Cover every face in the same way.

    Args:
        faces: (k, side, side, 3) uint8 RGB, aligned.
        box_margin: by which the crop is larger than the detector's box, `FaceSettings.box_margin`.
        rng: draws the cells of `random`.

    Returns:
        A copy, same shape and type.
    """
    covered: np.ndarray = faces.copy()
    area, color = cover_area(cover, faces.shape[1], box_margin, rng)
    covered[:, area] = color
    return covered


def cover_area(
    cover: Cover, side: int, box_margin: float, rng: np.random.Generator
) -> tuple[np.ndarray, tuple[int, int, int]]:
    """What a cover hides of an aligned crop.

    Args:
        side: of the crop, pixels.
        box_margin, rng: as in `cover_faces`.

    Returns:
        (side, side) bool, True where the crop is covered; the cover's colour, RGB.
    """
    area = np.zeros((side, side), np.uint8)
    if cover == "upper":
        area[: side // 2] = 1
    elif cover == "lower":
        area[side // 2 :] = 1
    elif cover == "mask":
        # The crop has the box in its middle.
        outline = 0.5 + (np.array(_MASK_OUTLINE) - 0.5) / (1 + box_margin)
        cv2.fillPoly(area, [np.rint(outline * (side - 1)).astype(np.int32)], (1,))
    else:
        black = np.zeros(RANDOM_CELLS**2, np.uint8)
        black[rng.choice(black.size, round(RANDOM_SHARE * black.size), replace=False)] = 1
        cells = black.reshape(RANDOM_CELLS, RANDOM_CELLS)
        area = np.asarray(cv2.resize(cells, (side, side), interpolation=cv2.INTER_NEAREST), np.uint8)
    return area.astype(bool), _MASK_RGB if cover == "mask" else _BLACK_RGB
