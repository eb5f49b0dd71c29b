"""The 189 points of WebMorph's face template, in face units, and how action units and identity move them.

Face units: the origin is midway between the pupils, x runs to the image's right along the line of the pupils, y down,
and the distance between the pupils is 1, about 63 mm of an adult.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from avpenet_cli.phantom.head.model import Expression

Array = npt.NDArray[np.float64]

POINTS = 189

EYE_LEFT, EYE_RIGHT = (18, 19, 20, 21, 22), (23, 24, 25, 26, 27)
"""Upper lid margins from the image's left to its right."""
UNDER_LEFT, UNDER_RIGHT = (18, 28, 29, 30, 22), (23, 31, 32, 33, 27)
"""Lower lid margins between the same corners."""
BROW_BOTTOM = (84, 85)
UPPER_LIP_INSIDE, LOWER_LIP_INSIDE = (87, 94, 95, 96, 97, 98, 93), (87, 99, 100, 101, 102, 103, 93)
MOUTH_CORNERS = (87, 93)
CHEEKBONES = (109, 112)
OUTLINE = (*range(134, 145), 112, 113, 114, 133, 132, 131, 130, 129, 128, 127, 126, 125, 111, 110, 109)
"""The face from the image's left temple over the hairline and round the jaw."""
SKULL = (149, 150, 151, 152, 153, 142, 136)
"""The hair from temple to temple over the top of the head."""
FACE = (*range(109), *range(158, 176))
"""Eyes, brows, nose, mouth and cheeks, which no photograph lacks."""
IRIS, LID_CREASES = tuple(range(2, 18)), tuple(range(34, 44))

_PAIRS = (
    "0-1 18-27 19-26 20-25 21-24 22-23 28-33 29-32 30-31 34-43 35-42 36-41 37-40 38-39 44-49 45-48 46-47 50-56 51-57 "
    "52-58 53-59 54-60 61-66 62-67 63-68 64-69 65-70 71-82 72-81 73-80 74-79 75-78 76-77 83-86 84-85 87-93 88-92 89-91 "
    "94-98 95-97 99-103 100-102 104-108 105-107 126-132 127-131 128-130 125-133 158-161 159-162 160-163 "
    "164-167 165-168 166-169 170-172 171-173 176-178 179-182 180-181 183-184 145-157 111-114 110-113 109-112"
)
OPPOSITE: dict[int, int] = {int(a): int(b) for a, b in (pair.split("-") for pair in _PAIRS.split())}
"""The point of the image's right half that is the mirror image of one of the left half."""

_Moves = dict[str, tuple[float, float]]

# Displacement at full intensity of the points of the image's left half and of the midline, in hundredths of a face
# unit, x towards the midline for the half. Sizes: about 6 mm for the brows and upper lip, 25 mm for the jaw.
_MOVES: dict[str, _Moves] = {
    "brow_lower": {
        "76": (5.5, 12), "75": (6, 12), "84": (4, 9), "74": (4.5, 10), "83": (2, 6), "73": (2.5, 7), "72": (1, 5),
        "71": (0, 1), "50": (2, 6), "51": (1, 2),
    },
    "brow_raise": {
        "71": (0, -6), "72": (0, -10), "73": (0, -12), "74": (0, -13), "75": (0, -13), "76": (0, -12), "83": (0, -10),
        "84": (0, -11), "50": (0, -4),
    },
    "orbit_tighten": {
        "44": (1, -9), "45": (0.5, -7), "46": (0, -2.5), "164": (1, -5), "165": (1, -9), "166": (0, -7.5),
        "71": (1, 3.5), "72": (1, 3.5), "73": (0, 2.5), "83": (0, 2), "158": (0, -2),
        "159": (0, -1.5), "18": (1, 0), "28": (0.5, -0.5),
    },
    "nose_wrinkle": {
        "61": (-1, -7), "62": (-2, -7), "63": (-2.5, -6), "64": (-0.5, -5), "65": (-0.5, -5), "54": (0, -3.5),
        "55": (0, -3), "53": (0, -4.5), "52": (0, -4.5), "51": (0, -2), "50": (1, 3), "76": (1.5, 2.5), "75": (2, 2.5),
        "84": (1, 1.5), "46": (1, -1.5), "45": (1.5, -3), "158": (-2, -6), "166": (0, -3), "170": (0, -4),
        "171": (0, -4.5), "88": (0, -4), "89": (0, -4.5), "90": (0, -4), "94": (0, -3), "95": (0, -3.5),
        "96": (0, -3.5), "179": (0, -4), "180": (0, -3.5), "159": (-1.5, -3.5),
    },
    "lip_raise": {
        "88": (-0.5, -9), "89": (-0.5, -10), "90": (0, -8.5), "94": (-0.5, -8), "95": (0, -9.5), "96": (0, -8.5),
        "87": (-1.5, -2), "170": (0, -4), "171": (0, -7), "158": (-3, -6.5), "159": (-4, -6.5), "160": (-2.5, -3),
        "64": (-1, -3), "63": (-1.5, -3), "62": (-1, -2), "166": (-1, -4), "165": (0, -2), "55": (0, -1),
    },
    "mouth_open": {
        "101": (0, 37), "100": (0, 35.5), "99": (3, 27), "106": (0, 36), "105": (1, 34), "104": (3, 27),
        "87": (5, 11), "88": (2.5, 0), "94": (3, 3), "95": (0.5, -1), "96": (0, -1.5), "89": (0.5, -1), "90": (0, -1.5),
        "177": (0, 35), "176": (0.5, 33.5), "174": (0, 32), "175": (0, 30.5), "129": (0, 29), "128": (2, 27.5),
        "127": (5, 21), "126": (4, 11), "125": (2, 4), "160": (5, 5), "159": (3, 2), "183": (0, 13), "145": (0, 4),
        "111": (1, 1),
    },
    "lip_corner_pull": {
        "87": (-11, -10), "94": (-6, -5), "99": (-6, -4.5), "88": (-7, -5), "104": (-7, -3), "95": (-2, -0.5),
        "100": (-2, 0), "89": (-2, 0.5), "90": (0, 1.5), "96": (0, 1), "101": (0, 1), "105": (-2, 1), "106": (0, 1),
        "160": (-9, -8), "159": (-6, -6), "158": (-3, -2), "166": (-2, -6), "165": (-2, -6), "44": (0, -4),
        "45": (0, -3), "126": (-2, -1), "125": (-1.5, -1), "63": (-2, -1), "62": (-2, 0), "64": (-1, -1),
    },
    "lip_stretch": {
        "87": (-12, 3), "94": (-7, 1), "99": (-7, 2), "88": (-7, 1), "104": (-7, 2), "95": (-3, 0), "100": (-3, 0),
        "89": (-3, 1), "90": (0, 1), "105": (-3, -1), "106": (0, -1), "160": (-8, 2), "159": (-4, 1), "126": (-3, 0),
        "127": (-2, 0), "176": (-1, 0),
    },
}  # fmt: skip


def _displacement(moves: _Moves) -> Array:
    out = np.zeros((POINTS, 2))
    for name, (x, y) in moves.items():
        point = int(name)
        out[point] = np.array([x, y]) / 100.0
        if point in OPPOSITE:
            out[OPPOSITE[point]] = np.array([-x, y]) / 100.0
    return out


_FIELDS = {unit: _displacement(moves) for unit, moves in _MOVES.items()}


_BROWS = slice(71, 87)
_FULL_LOWERING = float(sum(field[84, 1] for field in _FIELDS.values() if field[84, 1] > 0))


def displacement(expression: Expression, brow_share: float = 1.0) -> Array:
    """Displacement of the points by an expression, in face units: (189, 2). Lids and mouth are drawn separately.

    Args:
        expression: action units.
        brow_share: of `brow_share`.
    """
    total = np.zeros((POINTS, 2))
    for unit, field in _FIELDS.items():
        total += getattr(expression, unit) * field
    down = total[_BROWS, 1]
    total[_BROWS, 1] = np.where(down > 0, down * brow_share, down)
    return total


def brow_share(points: Array) -> float:
    """Share of a typical lowering for which there is room between a face's brows and lids, in (0, 1].

    Args:
        points: (189, 2) of the neutral face, in face units.
    """
    room = min(points[20, 1] - points[84, 1], points[25, 1] - points[85, 1])
    return float(np.clip(0.52 * room / _FULL_LOWERING, 0.1, 1.0))


def face_units(points_px: Array) -> tuple[Array, Array]:
    """Points in face units, and the (2, 3) affine map from face units to pixels of the photograph.

    Args:
        points_px: (189, 2) in pixels of the photograph.
    """
    middle, across = 0.5 * (points_px[0] + points_px[1]), points_px[1] - points_px[0]
    turn = np.array([[across[0], -across[1]], [across[1], across[0]]])
    return np.linalg.solve(turn, (points_px - middle).T).T, np.concatenate([turn, middle[:, None]], 1)


def depth(points: Array) -> Array:
    """Depth of a typical face towards the camera at positions in face units: (..., 2) -> (...) in face units."""
    x, y = points[..., 0], points[..., 1]
    # Smoothly level beyond the outline, so that hair and neck move as one with the edge of the face.
    inside = 1.0 - (x / 1.28) ** 2 - ((y - 0.25) / 1.95) ** 2
    oval = 0.9 * np.sqrt(0.5 * (inside + np.sqrt(inside**2 + 0.02)))
    rise = np.clip((y + 0.25) / 0.85, 0.0, 1.0) ** 1.3 / (1.0 + np.exp((y - 0.70) / 0.03))
    nose = 0.40 * rise * np.exp(-((x / (0.13 + 0.07 * np.clip(y, 0, 1))) ** 2))
    sockets = -0.10 * np.exp(-(((np.abs(x) - 0.48) / 0.26) ** 2) - ((y + 0.02) / 0.17) ** 2)
    lips = 0.09 * np.exp(-((x / 0.32) ** 2) - ((y - 1.08) / 0.16) ** 2)
    chin = 0.10 * np.exp(-((x / 0.35) ** 2) - ((y - 1.58) / 0.20) ** 2)
    brow = 0.06 * np.exp(-(((np.abs(x) - 0.45) / 0.40) ** 2) - ((y + 0.32) / 0.14) ** 2)
    return np.asarray(oval + nose + sockets + lips + chin + brow)


def vary_identity(points: Array, rng: np.random.Generator) -> Array:
    """Another face's shape: the points after a smooth random change of proportions within a few per cent.

    Args:
        points: (n, 2) in face units.
        rng: source of randomness; the number of draws is constant.
    """
    z = np.clip(rng.standard_normal(12), -2.0, 2.0)
    x, y = points.T
    side = np.tanh(x / 0.1)

    def near(at_x: float, at_y: float, reach_x: float, reach_y: float) -> Array:
        distance = ((np.abs(x) - at_x) / reach_x) ** 2 + ((y - at_y) / reach_y) ** 2
        return np.asarray(np.exp(-distance))

    lower, middle = np.clip(y - 0.75, 0.0, 1.1), np.clip(y, -0.3, 0.75)
    reach = 1.0 / (1.0 + np.exp((y - 2.1) / 0.1))  # not the shoulders
    eyes, mouth = near(0.5, 0.0, 0.32, 0.22), near(0.0, 1.08, 0.6, 0.25)
    dx = x * (0.035 * z[0] + 0.05 * z[1] * np.clip((y - 0.5) / 1.0, 0.0, 1.0)) * reach
    dy = (0.06 * z[2] * lower + 0.045 * z[3] * middle) * reach
    dx += 0.09 * z[4] * x * near(0.0, 0.6, 0.4, 0.25)
    dx += 0.05 * z[5] * (x - 0.5 * side) * eyes + 0.016 * z[6] * side * near(0.5, -0.1, 0.4, 0.4)
    dy += 0.05 * z[5] * y * eyes + 0.026 * z[7] * near(0.5, -0.30, 0.6, 0.14)
    dx += 0.08 * z[8] * x * mouth
    dy += 0.13 * z[9] * (y - 1.08) * mouth
    dy += 0.012 * z[10] * x * np.exp(-(((y - 0.4) / 1.2) ** 2)) + 0.02 * z[11] * near(0.0, 0.62, 0.4, 0.2)
    return np.asarray(points + np.stack([dx, dy], 1))
