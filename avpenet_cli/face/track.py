"""Link detected faces into tracks and choose the patient's tracks.

The patient is the largest persistent face: tracks that follow each other at the same place and size are one person,
and the person with the most face width summed over frames is the patient. A nurse who leans in is wide but does not
last; a face in a poster lasts but is small.

On a 10-Hz grid an optimal assignment of boxes between consecutive frames suffices. Tracking libraries do not fit:
norfair excludes numpy 2, and roboflow's trackers depends on the OpenCV build that needs display libraries
(docs/explanation/decisions).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from scipy.optimize import linear_sum_assignment

from avpenet_cli.face.detect import Face

_MAX_AGE_SLOTS = 20
"""A track without a detection for two seconds has ended; a later track may still be joined to it as the same person."""
_MAX_MOVE = 0.8
"""Between detections a face moves by less than this share of its width, ..."""
_MAX_GROWTH = 1.6
"""... and its width changes by less than this factor."""
_SAME_PLACE = 1.5
"""Tracks of one person lie within this many face widths of each other, ..."""
_SAME_SIZE = 1.7
"""... and differ in width by less than this factor."""
MIN_TRACK_FRAMES = 3
"""Shorter tracks are false alarms of the detector."""
_UNLINKED = _MAX_MOVE + 0.5 * (_MAX_GROWTH - 1) + 0.1
"""Cost of leaving a face and a track unlinked, slightly above that of any allowed link. A much larger cost would swap
two people whenever that avoids a link that is not allowed."""


@dataclass
class Track:
    """One face followed over time.

    Attributes:
        number: index in the order of first detection, from 0.
        slots: grid slots in which it was detected, increasing.
        faces: the detection of each slot.
        weight: sum of the face widths in px: size times persistence.
    """

    number: int
    slots: list[int] = field(default_factory=list)
    faces: list[Face] = field(default_factory=list)
    weight: float = 0.0

    def add(self, slot: int, face: Face) -> None:
        """Add one detection."""
        self.slots.append(slot)
        self.faces.append(face)
        self.weight += face.width_px


class Tracker:
    """Links faces frame by frame. Holds boxes only, no pixels."""

    def __init__(self) -> None:
        self.tracks: list[Track] = []
        self._live: list[Track] = []

    def update(self, slot: int, faces: Sequence[Face]) -> list[Track]:
        """Add the faces of one frame.

        Args:
            slot: grid slot of the frame, greater than that of the call before.
            faces: its detected faces.

        Returns:
            The track of each face, in the same order.
        """
        self._live = [track for track in self._live if slot - track.slots[-1] <= _MAX_AGE_SLOTS]
        result: list[Track | None] = [None] * len(faces)
        if self._live and faces:
            cost = np.array([[_cost(track.faces[-1], face) for face in faces] for track in self._live])
            for row, column in zip(*linear_sum_assignment(cost), strict=True):
                if cost[row, column] < _UNLINKED:
                    result[column] = self._live[row]
        linked = []
        for face, matched in zip(faces, result, strict=True):
            track = matched or self._begin()
            track.add(slot, face)
            linked.append(track)
        return linked

    def _begin(self) -> Track:
        track = Track(len(self.tracks))
        self.tracks.append(track)
        self._live.append(track)
        return track

    def lasting(self) -> list[Track]:
        """Tracks of at least `MIN_TRACK_FRAMES` detections."""
        return [track for track in self.tracks if len(track.slots) >= MIN_TRACK_FRAMES]


def patient_tracks(tracks: Sequence[Track]) -> list[Track]:
    """Choose the patient's tracks, in order of joining; empty without tracks.

    Args:
        tracks: `Tracker.lasting()` of a whole recording.
    """
    rest = sorted(tracks, key=lambda track: (-track.weight, track.number))
    patient: list[Track] = []
    while _weight(rest) > _weight(patient):
        person = [rest.pop(0)]
        joined = True
        while joined:
            # A joined track can bridge the gap to one that was refused before: repeat until nothing joins.
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
    """Never detected together, and at the same place and size as the nearest detection in time."""
    nearest = min(chosen, key=lambda other: _gap(track, other))
    before = nearest.slots[0] < track.slots[0]
    previous = _detection_before(nearest, track.slots[0]) if before else nearest.faces[0]
    current = track.faces[0] if before else track.faces[-1]
    if _distance(previous, current) > _SAME_PLACE or _size_ratio(previous, current) > _SAME_SIZE:
        return False
    slots = set(track.slots)
    return all(slots.isdisjoint(other.slots) for other in chosen)


def _gap(a: Track, b: Track) -> int:
    return max(b.slots[0] - a.slots[-1], a.slots[0] - b.slots[-1], 0)


def _detection_before(track: Track, slot: int) -> Face:
    return track.faces[max(0, int(np.searchsorted(track.slots, slot)) - 1)]


def _distance(a: Face, b: Face) -> float:
    """Distance between centres, in widths of the wider face."""
    centre_a, centre_b = (a.box[:2] + a.box[2:]) / 2, (b.box[:2] + b.box[2:]) / 2
    return float(np.linalg.norm(centre_a - centre_b)) / max(a.width_px, b.width_px, 1.0)


def _size_ratio(a: Face, b: Face) -> float:
    small, large = sorted((max(a.width_px, 1.0), max(b.width_px, 1.0)))
    return large / small


def _cost(last: Face, face: Face) -> float:
    move, growth = _distance(last, face), _size_ratio(last, face)
    return move + 0.5 * (growth - 1) if move <= _MAX_MOVE and growth <= _MAX_GROWTH else _UNLINKED
