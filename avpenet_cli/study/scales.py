"""Pain scales that ratings are given on: their ranges, and how a table names them."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

HIGHEST_POINTS = 10.0
"""Highest value of the common scale, points; the lowest is 0."""
DEFAULT_SCALE = "NRS"


@dataclass(frozen=True)
class KnownScale:
    """A published scale.

    Attributes:
        lowest, highest: range of its total.
        meaning: name in full.
        source: publication that gives the range.
        versions: versions with another range, to be named as `name:min:max`; empty where there are none.
    """

    lowest: float
    highest: float
    meaning: str
    source: str
    versions: str = ""


@dataclass(frozen=True)
class Scale:
    """The scale of a rating.

    Attributes:
        label: name of a known scale, otherwise `NAME:MAX` or, where it does not start at 0, `NAME:MIN:MAX`.
        lowest, highest: its range.
    """

    label: str
    lowest: float
    highest: float


SCALES: dict[str, KnownScale] = {
    "NRS": KnownScale(0, 10, "numeric rating scale", "Downie et al., Ann Rheum Dis 1978;37:378"),
    "VAS": KnownScale(
        0, 100, "visual analogue scale, mm", "Huskisson, Lancet 1974;304:1127", "in centimetres: `VAS:0:10`"
    ),
    "NIPS": KnownScale(0, 7, "Neonatal Infant Pain Scale", "Lawrence et al., Neonatal Netw 1993;12(6):59"),
    "PIPP-R": KnownScale(
        0,
        21,
        "Premature Infant Pain Profile, revised",
        "Stevens et al., Clin J Pain 2014;30:238",
        "18 is the highest that an infant born at term can reach; the range stays 0 to 21",
    ),
    "N-PASS": KnownScale(
        0,
        10,
        "Neonatal Pain, Agitation and Sedation Scale, pain part",
        "Hummel et al., J Perinatol 2008;28:55",
        "versions that add points for prematurity reach 11 or 13: `N-PASS:0:13`; the sedation part is no pain scale",
    ),
    "CPOT": KnownScale(0, 8, "Critical-Care Pain Observation Tool", "Gélinas et al., Am J Crit Care 2006;15:420"),
    "BPS": KnownScale(3, 12, "Behavioral Pain Scale", "Payen et al., Crit Care Med 2001;29:2258"),
    "FLACC": KnownScale(0, 10, "Face, Legs, Activity, Cry, Consolability", "Merkel et al., Pediatr Nurs 1997;23:293"),
    "COMFORT-B": KnownScale(
        6,
        30,
        "COMFORT behaviour scale",
        "van Dijk et al., Pain 2000;84:367",
        "the COMFORT scale with heart rate and blood pressure: `COMFORT:8:40`",
    ),
    "PAINAD": KnownScale(0, 10, "Pain Assessment in Advanced Dementia", "Warden et al., J Am Med Dir Assoc 2003;4:9"),
    "NFCS": KnownScale(
        0,
        10,
        "Neonatal Facial Coding System",
        "Grunau and Craig, Pain 1987;28:395",
        "with fewer facial actions, such as five: `NFCS:0:5`; coded over several intervals: the highest possible sum",
    ),
}
"""Scales known by name."""

_NUMBER = r"([-+]?[0-9]+(?:\.[0-9]+)?)"
_WITH_RANGE = re.compile(rf"([^:]*[^:\s])\s*:\s*(?:{_NUMBER}\s*:\s*)?{_NUMBER}")
_ALIASES = {
    "COMFORTBEHAVIOR": "COMFORT-B",
    "COMFORTBEHAVIOUR": "COMFORT-B",
    "COMFORTBEHAVIORSCALE": "COMFORT-B",
    "COMFORTBEHAVIOURSCALE": "COMFORT-B",
}
UNKNOWN_SCALE = f"use {', '.join(SCALES)}, or `name:min:max` such as COMFORT:8:40"


class ScaleError(ValueError):
    """A scale that cannot be used: what is wrong, and what to do."""

    def __init__(self, problem: str, remedy: str) -> None:
        super().__init__(problem)
        self.problem, self.remedy = problem, remedy


def _letters(name: str) -> str:
    return re.sub(r"[\W_]+", "", name).upper()


_BY_LETTERS = {_letters(name): name for name in SCALES} | _ALIASES


def parse_scale(text: str) -> Scale:
    """The scale that a cell names: `BPS`, `pipp_r`, `name:max` for a scale from 0, or `name:min:max`.

    Args:
        text: without white space around it; empty for NRS.

    Raises:
        ScaleError: an unknown name without a range; a range that is none; `name:max` for a known scale that has another
            range, since its lowest value would be a guess.
    """
    match = _WITH_RANGE.fullmatch(text)
    name = match[1].strip() if match else text or DEFAULT_SCALE
    known = _BY_LETTERS.get(_letters(name))
    if match is None:
        if known is None:
            raise ScaleError(f"unknown scale {text!r}", UNKNOWN_SCALE)
        return Scale(known, SCALES[known].lowest, SCALES[known].highest)
    lowest, highest = float(match[2] or 0), float(match[3])
    if not lowest < highest or not math.isfinite(highest - lowest):
        raise ScaleError(f"scale {text!r} has no range", "write name:min:max, with min below max")
    if known is not None:
        usual = SCALES[known]
        if (lowest, highest) == (usual.lowest, usual.highest):
            return Scale(known, lowest, highest)
        if match[2] is None:
            versions = usual.versions or f"a version with another range is `{known}:min:max`"
            raise ScaleError(
                f"scale {text!r} is not the {known}, which goes from {usual.lowest:g} to {usual.highest:g}",
                f"write {known}; {versions}",
            )
    label = (known or name.upper()) + (f":{lowest:g}" if lowest else "") + f":{highest:g}"
    return Scale(label, lowest, highest)


def scale_cell(scale: Scale) -> str:
    """What a table names a scale by, so that `parse_scale` reads the same one: `NRS`, `VAS:0:10`, `PAIN:-1000:1000`.

    A label is shorter, and that of another version of a known scale (`VAS:10`) is refused as a cell.
    """
    name = scale.label.split(":")[0]
    known = SCALES.get(name)
    if known is not None and (known.lowest, known.highest) == (scale.lowest, scale.highest):
        return name
    # Without an exponent, which a cell's range cannot have.
    lowest, highest = (f"{limit:.6f}".rstrip("0").rstrip(".") for limit in (scale.lowest, scale.highest))
    return f"{name}:{lowest}:{highest}"
