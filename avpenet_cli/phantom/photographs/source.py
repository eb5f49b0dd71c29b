"""Read a folder of photographs with points, as a source of faces."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import numpy as np

from avpenet_cli.errors import SettingsError, reason
from avpenet_cli.phantom.face.image_file import read_image
from avpenet_cli.phantom.face.renderer import Frame
from avpenet_cli.phantom.head.model import AgeGroup, Look
from avpenet_cli.phantom.photographs.person import Person, prepare, prepare_smiling
from avpenet_cli.phantom.photographs.renderer import PhotographRenderer
from avpenet_cli.phantom.photographs.template import FACE, POINTS, Array

_REMEDY = "expected: faces.csv (file, person, expression), points.csv (file, point, x, y) and the photographs they name"

_MARGIN_PX = 3
_MIN_PUPIL_DISTANCE_PX = 30


class Photographs:
    """Photographed adults, altered to action units.

    Args:
        folder: with `faces.csv` (columns file, person, expression `neutral` or `smiling`), `points.csv` (columns file,
            point from 0 to 188, x, y in pixels; WebMorph's template, for neutral photographs) and the photographs.
        keep: which people are used, by their number; all if None.

    Raises:
        SettingsError: a file is absent or malformed, or nobody is kept.
    """

    def __init__(self, folder: Path, keep: Callable[[int], bool] | None = None) -> None:
        self._folder = folder
        faces = _rows(folder / "faces.csv", ("file", "person", "expression"))
        points = _points(folder / "points.csv")
        self._neutral: dict[int, tuple[str, Array]] = {}
        self._smiling: dict[int, str] = {}
        for row in faces:
            if not row["person"].isdecimal():
                raise SettingsError(f"{folder / 'faces.csv'}: person {row['person']!r} is no number", _REMEDY)
            number = int(row["person"])
            if keep is not None and not keep(number):
                continue
            if row["expression"] == "smiling":
                self._smiling[number] = row["file"]
            elif row["expression"] == "neutral" and row["file"] in points:
                self._neutral[number] = (row["file"], points[row["file"]])
        if not self._neutral:
            raise SettingsError(f"{folder} has no neutral photograph with points of anybody to be used", _REMEDY)

    @property
    def people(self) -> tuple[int, ...]:
        """Numbers of the people, in ascending order: `look.identity` picks by its remainder."""
        return tuple(sorted(self._neutral))

    @property
    def age_groups(self) -> tuple[AgeGroup, ...]:
        """Adults only."""
        return ("adult",)

    def renderer(self, look: Look) -> PhotographRenderer:
        """Prepare a person from the neutral photograph.

        `look.identity` modulo the number of people picks the person. An identity below the number of people renders the
        person as photographed; a larger one changes proportions, skin tone (towards `look.skin_tone`) and may mirror.
        The hair is the photograph's.

        Raises:
            SettingsError: not an adult, or the photograph cannot be read.
        """
        return PhotographRenderer(self._prepared(look)[0])

    def smiling_renderer(self, look: Look) -> PhotographRenderer:
        """Prepare the same person from the smiling photograph: a genuine smile, of which only eyes and brows move.

        Raises:
            SettingsError: not an adult, or there is no smiling photograph of the person.
        """
        person, number, neutral = self._prepared(look)
        if number not in self._smiling:
            raise SettingsError(f"{self._folder} has no smiling photograph of person {number}")
        return PhotographRenderer(prepare_smiling(neutral, self._read(self._smiling[number]), person))

    def _prepared(self, look: Look) -> tuple[Person, int, Frame]:
        if look.age_group != "adult":
            raise SettingsError(f"photographs are of adults, not of a {look.age_group}")
        variant, index = divmod(look.identity, len(self._neutral))
        number = self.people[index]
        name, points = self._neutral[number]
        photograph = self._read(name)
        self._check_points(name, points, photograph)
        return prepare(photograph, points, variant, number, look.skin_tone), number, photograph

    def _check_points(self, name: str, points: Array, photograph: Frame) -> None:
        """Refuse points of another photograph, or of the same in another resolution."""
        height, width = photograph.shape[:2]
        face = points[list(FACE)]
        if (face < _MARGIN_PX).any() or (face >= np.array([width, height]) - _MARGIN_PX).any():
            raise SettingsError(
                f"{self._folder}: points of the face in {name} lie outside the photograph of {width}x{height} px",
                _REMEDY,
            )
        if float(np.hypot(*(points[1] - points[0]))) < _MIN_PUPIL_DISTANCE_PX:
            raise SettingsError(
                f"{self._folder}: the pupils in {name} are less than {_MIN_PUPIL_DISTANCE_PX} px apart", _REMEDY
            )

    def _read(self, name: str) -> Frame:
        return read_image(self._folder / name, False, _REMEDY)


def is_photographs(folder: Path) -> bool:
    """Whether a folder has photographs with points."""
    return (folder / "points.csv").is_file()


def _rows(path: Path, columns: tuple[str, ...]) -> list[dict[str, str]]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise SettingsError(f"{path} cannot be read ({reason(error)})", _REMEDY) from error
    if not rows or any(row.get(column) is None for row in rows for column in columns):
        raise SettingsError(f"{path} has no rows with the columns {', '.join(columns)}", _REMEDY)
    return rows


def _points(path: Path) -> dict[str, Array]:
    out: dict[str, Array] = {}
    for row in _rows(path, ("file", "point", "x", "y")):
        try:
            point, x, y = int(row["point"]), float(row["x"]), float(row["y"])
        except ValueError as error:
            raise SettingsError(f"{path}: {row['file']}: {error}", _REMEDY) from error
        if not 0 <= point < POINTS:
            raise SettingsError(f"{path}: {row['file']}: point {point} is not between 0 and {POINTS - 1}", _REMEDY)
        out.setdefault(row["file"], np.full((POINTS, 2), np.nan))[point] = (x, y)
    for name, points in out.items():
        if not np.isfinite(points).all():
            raise SettingsError(f"{path}: {name} does not have all {POINTS} points", _REMEDY)
    return out
