"""Who is kept out of training: contributors, devices and people whose recordings measure the bundled weights.

Voices and faces of one person never stand on both sides. The rules go by the number that a data set gives a person, so
that every program of the recipe, and every later version of it, agrees without a list.
"""

from __future__ import annotations

from typing import Literal

Part = Literal["train", "validation", "test"]


def part_of_contributor(number: int) -> Part:
    """Part of a contributor of vocal bursts: a fifth for testing, a tenth for validation."""
    if number % 5 == 1:
        return "test"
    return "validation" if number % 10 == 2 else "train"


def part_of_device(number: int) -> Part:
    """Part of a device that recorded infant cries: a quarter for testing."""
    return "test" if number % 4 == 1 else "train"


def part_of_person(number: int) -> Part:
    """Part of a photographed person: a quarter for testing."""
    return "test" if number % 4 == 1 else "train"
