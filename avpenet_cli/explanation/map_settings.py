"""How saliency maps and their checks are computed. Imports no torch."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class MapSettings:
    """What the maps and the checks cost and mean; the values were chosen by measurement, see `docs/explanation`.

    Attributes:
        audio_steps, face_steps: points on the path from the baseline to the input, of a map of the audio and of a face.
        faces_shown: largest number of faces with a map.
        face_blur: standard deviation of the blur that makes the baseline of a face, share of the crop's width.
        batch: inputs of one gradient; affects memory and speed, not the maps.
        audio_cells: mel bands and mel frames of a cell that deletion blanks.
        face_cells: rows and columns of the patches that deletion blanks.
        deletion_shares: shares of the cells that are blanked, between 0 and 1.
        random_orders: number of random orders that deletion compares with.
        largest_correlation: absolute rank correlation from which the map of the randomised network counts as the same.
        least_effect: difference between the score and that of the baseline below which deletion says nothing, points.
    """

    audio_steps: int = 24
    face_steps: int = 12
    faces_shown: int = 2
    face_blur: float = 0.11
    batch: int = 4
    audio_cells: tuple[int, int] = (16, 15)
    face_cells: tuple[int, int] = (8, 8)
    deletion_shares: tuple[float, ...] = (0.1, 0.25, 0.5)
    random_orders: int = 9
    largest_correlation: float = 0.5
    least_effect: float = 0.005
