"""How saliency maps and their checks are computed. Imports no torch."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class MapSettings:
    """What the maps and the checks cost and mean; the values were chosen by measurement, see decision record 0050.

    Attributes:
        audio_steps, face_steps: points on each of the two paths from the baseline to the input.
        audio_fade, face_fade: time that a part takes to fade in, share of the time in which all parts begin.
        path_seed: of the order in which they begin.
        audio_cell: mel bands and mel frames of a cell: the size of these parts, and what deletion blanks as a whole.
        face_cells: rows, and columns, of such cells on a face.
        faces_shown: largest number of faces with a map.
        face_blur: standard deviation of the blur that makes the baseline of a face, share of the crop's width.
        batch: inputs of one gradient; affects memory and speed, not the maps.
        randomised_steps: audio_steps and face_steps of the randomised network's maps, whose details do not matter.
        repeated: compute the maps again to compare; takes as long as the maps.
        deletion_shares: shares of the cells that are blanked, between 0 and 1.
        random_orders: number of random orders that deletion compares with.
        largest_correlation: absolute rank correlation from which the map of the randomised network counts as the same.
        least_effect: difference between the score and that of the baseline below which deletion says nothing, points.
    """

    audio_steps: int = 24
    face_steps: int = 8
    audio_fade: float = 0.2
    face_fade: float = 1.0
    path_seed: int = 0
    audio_cell: tuple[int, int] = (16, 15)
    face_cells: int = 8
    faces_shown: int = 2
    face_blur: float = 0.11
    batch: int = 4
    randomised_steps: tuple[int, int] = (6, 4)
    repeated: bool = True
    deletion_shares: tuple[float, ...] = (0.1, 0.25, 0.5)
    random_orders: int = 9
    largest_correlation: float = 0.5
    least_effect: float = 0.005
