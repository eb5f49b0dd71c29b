"""How saliency maps and their checks are computed. Imports no torch."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class MapSettings:
    """What the maps and the checks cost and mean; the values were chosen by measurement, see decision record 0050.

    Attributes:
        audio_cell: mel bands and mel frames of a cell of the spectrogram.
        face_cells: rows, and columns, of cells on a face.
        faces_shown: largest number of faces with a map.
        face_blur: standard deviation of the blur that stands for "no face there", share of the crop's width.
        batch: variants of an input that are scored together; affects memory and speed.
        repeated: compute the maps again to compare; takes as long as the maps.
        deletion_shares: shares of the cells that are blanked, over 0 and at most 1, ascending.
        random_orders: number of random orders that deletion compares with.
        largest_correlation: absolute rank correlation from which the map of the randomised network counts as the same.
        least_effect: difference between the score and that without the input below which deletion says nothing, points.
    """

    audio_cell: tuple[int, int] = (16, 15)
    face_cells: int = 8
    faces_shown: int = 2
    face_blur: float = 0.11
    batch: int = 8
    repeated: bool = True
    deletion_shares: tuple[float, ...] = (0.05, 0.15, 0.4)
    random_orders: int = 19
    largest_correlation: float = 0.5
    least_effect: float = 0.02
