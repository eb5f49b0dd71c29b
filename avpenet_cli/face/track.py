"""Faces over time -> tracks -> the patient.

The patient is the largest persistent face: tracks that follow each other at the same place and size are one person,
and the person with the most face width summed over frames is the patient. A nurse who leans in is wide but does not
last; a face in a poster lasts but is small.

Linking needs no more than an optimal assignment of boxes between consecutive frames of a 10-Hz grid. Of the trackers in
use elsewhere, norfair cannot be installed beside numpy 2, and roboflow's trackers requires the OpenCV build that needs
display libraries (docs/explanation/decisions).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from scipy.optimize import linear_sum_assignment

from avpenet_cli.face.detect import Face

_MAX_AGE_SLOTS = 20
"""A track unseen for two seconds is over; a later one may still be joined to it as the same person."""
_MAX_MOVE = 0.8
"""Between sightings a face moves by less than this share of its width, ..."""
_MAX_GROWTH = 1.6
"""... and its width changes by less than this factor."""
_SAME_PLACE = 1.5
"""Tracks of one person lie within this many face widths of each other, ..."""
_SAME_SIZE = 1.7
"""... and differ in width by less than this factor."""
MIN_TRACK_FRAMES = 3
"""Shorter tracks are the detector's false alarms."""
_UNLINKED = _MAX_MOVE + 0.5 * (_MAX_GROWTH - 1) + 0.1
"""Cost of leaving a face and a track unlinked: over that of any allowed link, and not far over it. Were it enormous,
two people would be exchanged whenever that saves one of them from a link that is not allowed."""


@dataclass
class Track:
    """One face followed over time.

    Attributes:
        number: counts from 0 in the order of first sightings.
        slots: where on the grid it was seen, increasing.
        faces: the sightings.
        weight: face width summed over them: size times persistence.
    """

    number: int
    slots: list[int] = field(default_factory=list)
    faces: list[Face] = field(default_factory=list)
    weight: float = 0.0

    def add(self, slot: int, face: Face) -> None:
        """One more sighting."""
        self.slots.append(slot)
        self.faces.append(face)
        self.weight += face.width_px


class Tracker:
    """Links faces frame by frame; holds boxes only, never pixels."""

    def __init__(self) -> None:
        self.tracks: list[Track] = []
        self._live: list[Track] = []

    def update(self, slot: int, faces: Sequence[Face]) -> list[Track]:
        """Add one frame's faces; returns the track of each, in the same order. Slots must increase."""
        self._live = [track for track in self._live if slot - track.slots[-1] <= _MAX_AGE_SLOTS]
        result: list[Track | None] = [None] * len(faces)
        if self._live and faces:
            cost = np.array([[_cost(track.faces[-1], face) for face in faces] for track in self._live])
            for row, column in zip(*linear_sum_assignment(cost), strict=True):
                if cost[row, column] < _UNLINKED:
                    result[column] = self._live[row]
        linked = []
        for face, known in zip(faces, result, strict=True):
            track = known or self._begin()
            track.add(slot, face)
            linked.append(track)
        return linked

    def _begin(self) -> Track:
        track = Track(len(self.tracks))
        self.tracks.append(track)
        self._live.append(track)
        return track

    def lasting(self) -> list[Track]:
        """Tracks long enough to be somebody."""
        return [track for track in self.tracks if len(track.slots) >= MIN_TRACK_FRAMES]


def patient_tracks(tracks: Sequence[Track]) -> list[Track]:
    """The tracks that are the patient, heaviest first; empty when nobody lasted.

    Args:
        tracks: all lasting tracks of a recording.
    """
    rest = sorted(tracks, key=lambda track: (-track.weight, track.number))
    patient: list[Track] = []
    while _weight(rest) > _weight(patient):
        person = [rest.pop(0)]
        joined = True
        while joined:
            # A track may bridge the way to one that was refused before it: go round until nothing joins.
            joined = False
            for track in list(rest):
                if _same_person(track, person):
                    person.append(track)
                    rest.remove(track)
                    joined = True
        if _weight(person) > _weight(patient):
            patient = person
    return patient


def _weight(tracks: Sequence[Track]) -> float:
    return sum(track.weight for track in tracks)


def _same_person(track: Track, chosen: Sequence[Track]) -> bool:
    """Never seen together, and next to the nearest sighting in time it has the same place and size."""
    nearest = min(chosen, key=lambda other: _gap(track, other))
    before = nearest.slots[0] < track.slots[0]
    there = _sighting_before(nearest, track.slots[0]) if before else nearest.faces[0]
    here = track.faces[0] if before else track.faces[-1]
    if _distance(there, here) > _SAME_PLACE or _size_ratio(there, here) > _SAME_SIZE:
        return False
    own = set(track.slots)
    return all(own.isdisjoint(other.slots) for other in chosen)


def _gap(a: Track, b: Track) -> int:
    return max(b.slots[0] - a.slots[-1], a.slots[0] - b.slots[-1], 0)


def _sighting_before(track: Track, slot: int) -> Face:
    return track.faces[max(0, int(np.searchsorted(track.slots, slot)) - 1)]


def _distance(a: Face, b: Face) -> float:
    """Between centres, in widths of the wider face."""
    centre_a, centre_b = (a.box[:2] + a.box[2:]) / 2, (b.box[:2] + b.box[2:]) / 2
    return float(np.linalg.norm(centre_a - centre_b)) / max(a.width_px, b.width_px, 1.0)


def _size_ratio(a: Face, b: Face) -> float:
    small, large = sorted((max(a.width_px, 1.0), max(b.width_px, 1.0)))
    return large / small


def _cost(last: Face, face: Face) -> float:
    move, growth = _distance(last, face), _size_ratio(last, face)
    return move + 0.5 * (growth - 1) if move <= _MAX_MOVE and growth <= _MAX_GROWTH else _UNLINKED
