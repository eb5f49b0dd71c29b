"""Who of several faces is the patient."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pytest
import torch

from avpenet_cli.face.detect import Face, FaceDetector
from avpenet_cli.face.track import MIN_TRACK_FRAMES, Track, Tracker, patient_tracks
from avpenet_cli.settings import FaceSettings
from tests.support.portraits import portrait_frames

Sightings = dict[int, list[Face]]


def a_face(x: float, y: float, width: float, turn_deg: int = 0) -> Face:
    """Centred at (x, y), a little higher than wide."""
    across, down = (1.25 * width, width) if turn_deg in (90, 270) else (width, 1.25 * width)
    box = np.array([x - across / 2, y - down / 2, x + across / 2, y + down / 2], np.float32)
    return Face(box, np.array([[x - width / 5, y], [x + width / 5, y]], np.float32), 0.99, turn_deg)


def staying(x: float, y: float, width: float, slots: Iterable[int]) -> Sightings:
    """One person, with the jitter of a real detector."""
    shake = np.random.default_rng(round(x + y + width)).normal(0, 0.02 * width, (10_000, 3))
    return {slot: [a_face(x + shake[slot, 0], y + shake[slot, 1], width + shake[slot, 2])] for slot in slots}


def together(*people: Sightings) -> Sightings:
    slots = sorted({slot for person in people for slot in person})
    return {slot: [face for person in people for face in person.get(slot, [])] for slot in slots}


def followed(sightings: Sightings) -> tuple[list[Track], list[Track]]:
    """(all lasting tracks, the patient's)."""
    tracker = Tracker()
    for slot, faces in sightings.items():
        linked = tracker.update(slot, faces)
        assert [track.faces[-1] for track in linked] == faces
    return tracker.lasting(), patient_tracks(tracker.lasting())


def slots_of(tracks: list[Track]) -> list[int]:
    return sorted(slot for track in tracks for slot in track.slots)


def centre_x(tracks: list[Track]) -> float:
    return float(np.mean([(face.box[0] + face.box[2]) / 2 for track in tracks for face in track.faces]))


def test_larger_nurse_who_leans_in_becomes_the_patient() -> None:
    patient, nurse = staying(300, 200, 100, range(120)), staying(700, 250, 260, range(40, 70))
    tracks, chosen = followed(together(nurse, patient))
    assert len(tracks) == 2
    assert slots_of(chosen) == list(range(120))
    assert centre_x(chosen) == pytest.approx(300, abs=5)


def test_nurse_who_covers_the_patient_becomes_the_patient() -> None:
    patient = staying(300, 200, 100, [*range(60), *range(100, 160)])
    nurse = staying(310, 180, 230, range(65, 95))
    _, chosen = followed(together(patient, nurse))
    assert slots_of(chosen) == [*range(60), *range(100, 160)]


def test_small_poster_that_lasts_becomes_the_patient() -> None:
    patient, poster = staying(300, 200, 110, range(20, 160)), staying(600, 60, 40, range(300))
    _, chosen = followed(together(poster, patient))
    assert slots_of(chosen) == list(range(20, 160))


def test_nurse_poster_and_patient_are_mixed_up() -> None:
    patient, poster = staying(300, 200, 110, range(20, 160)), staying(600, 60, 40, range(300))
    nurse = staying(340, 400, 280, range(90, 120))
    tracks, chosen = followed(together(nurse, poster, patient))
    assert len(tracks) == 3
    assert slots_of(chosen) == list(range(20, 160))


def test_patient_who_comes_back_to_the_same_place_is_lost() -> None:
    patient = staying(300, 200, 100, [*range(50), *range(90, 140)])
    tracks, chosen = followed(patient)
    assert len(tracks) == 2
    assert slots_of(chosen) == [*range(50), *range(90, 140)]


def test_patient_who_comes_back_twice_is_lost() -> None:
    patient = staying(300, 200, 100, [*range(30), *range(60, 140), *range(200, 220)])
    nurse = staying(800, 200, 150, range(35, 55))
    _, chosen = followed(together(patient, nurse))
    assert slots_of(chosen) == slots_of(followed(patient)[1])
    assert len(slots_of(chosen)) == 130


@pytest.mark.parametrize("later", [staying(800, 200, 100, range(90, 130)), staying(300, 200, 220, range(90, 110))])
def test_somebody_else_who_comes_later_is_joined(later: Sightings) -> None:
    patient = staying(300, 200, 100, range(60))
    tracks, chosen = followed(together(patient, later))
    assert len(tracks) == 2
    assert slots_of(chosen) == list(range(60))


@pytest.mark.parametrize("gap", [1, 5, 19])
def test_short_absence_begins_a_new_track(gap: int) -> None:
    tracks, chosen = followed(staying(300, 200, 100, [*range(30), *range(30 + gap, 60)]))
    assert len(tracks) == 1
    assert len(chosen[0].slots) == 60 - gap


def test_people_who_cross_are_exchanged() -> None:
    right = {slot: [a_face(100 + 6 * slot, 200, 100)] for slot in range(100)}
    left = {slot: [a_face(700 - 6 * slot, 265, 104)] for slot in range(100)}
    tracks, _ = followed(together(right, left))
    assert len(tracks) == 2
    for track, person in zip(tracks, (right, left), strict=True):
        assert [face.box.tolist() for face in track.faces] == [person[slot][0].box.tolist() for slot in range(100)]


def test_person_who_passes_behind_another_is_exchanged() -> None:
    front = staying(400, 200, 120, range(100))
    behind = {slot: [a_face(100 + 8 * slot, 190, 80)] for slot in range(90) if not 330 < 100 + 8 * slot < 470}
    tracks, chosen = followed(together(front, behind))
    assert slots_of(chosen) == list(range(100))
    assert {round(face.width_px / 40) for face in chosen[0].faces} == {3}
    assert len(tracks) == 3


def test_order_of_the_faces_in_a_frame_matters() -> None:
    people = [staying(300, 200, 100, range(100)), staying(420, 210, 95, range(100)), staying(700, 90, 60, range(80))]
    answers = []
    for order in ([0, 1, 2], [2, 1, 0], [1, 2, 0]):
        _, chosen = followed(together(*(people[i] for i in order)))
        answers.append([[face.box.tolist() for face in track.faces] for track in chosen])
    assert answers[0] == answers[1] == answers[2]


def test_same_sightings_give_another_patient() -> None:
    people = together(staying(300, 200, 100, range(50)), staying(600, 200, 100, range(50)))
    first, second = followed(people)[1], followed(people)[1]
    assert [track.number for track in first] == [track.number for track in second]
    assert slots_of(first) == slots_of(second)


def test_equally_heavy_tracks_are_chosen_by_chance() -> None:
    twins = {slot: [a_face(300, 200, 100), a_face(700, 200, 100)] for slot in range(20)}
    _, chosen = followed(twins)
    assert [track.number for track in chosen] == [0]


@pytest.mark.parametrize("length", range(1, MIN_TRACK_FRAMES))
def test_false_alarm_becomes_the_patient(length: int) -> None:
    tracks, chosen = followed(staying(300, 200, 400, range(length)))
    assert (tracks, chosen) == ([], [])


def test_three_frame_alarm_takes_the_patients_place() -> None:
    patient = staying(300, 200, 60, range(40))
    alarm = staying(700, 200, 300, range(10, 13))
    tracks, chosen = followed(together(alarm, patient))
    assert len(tracks) == 2
    assert slots_of(chosen) == list(range(40))


def test_patient_broken_into_pieces_loses_to_one_long_track() -> None:
    """No single piece outweighs the visitor who sits there for a while; all of them together do."""
    patient = staying(300, 200, 100, [slot for slot in range(400) if slot % 80 < 45])
    visitor = staying(800, 200, 120, range(100, 190))
    tracks, chosen = followed(together(patient, visitor))
    assert len(tracks) == 6
    assert slots_of(chosen) == sorted(patient)


def test_link_in_the_middle_is_needed_but_refused() -> None:
    """A patient who slides down the bed: the light middle piece joins the heavy ends."""
    pieces = [staying(300, 200, 100, range(60)), staying(420, 200, 100, range(90, 96))]
    pieces.append(staying(540, 200, 100, range(130, 180)))
    tracks, chosen = followed(together(*pieces))
    assert len(tracks) == 3
    assert slots_of(chosen) == sorted(slot for piece in pieces for slot in piece)


def test_nobody_is_somebody() -> None:
    tracker = Tracker()
    for slot in range(50):
        assert tracker.update(slot, []) == []
    assert tracker.lasting() == []
    assert patient_tracks([]) == []


def test_two_faces_in_one_frame_are_the_same_person() -> None:
    twice = together(staying(300, 200, 100, range(40)), staying(330, 205, 96, range(40)))
    tracks, chosen = followed(twice)
    assert len(tracks) == 2
    assert len(chosen) == 1


def test_lying_face_is_measured_by_its_height() -> None:
    tracker = Tracker()
    for slot in range(5):
        tracker.update(slot, [a_face(300, 200, 100, turn_deg=90)])
    assert tracker.tracks[0].weight == pytest.approx(500)


def test_walking_patient_is_lost_when_turning_back() -> None:
    walk = {slot: [a_face(300 + 200 * np.sin(slot / 15), 200, 100)] for slot in range(200)}
    tracks, chosen = followed(walk)
    assert len(tracks) == 1
    assert slots_of(chosen) == list(range(200))


def test_real_face_that_leaves_and_returns_is_two_people() -> None:
    frames = list(portrait_frames(8.0, 240, 180, 10.0, away_s=(2.0, 6.0)))
    detector = FaceDetector(FaceSettings(), torch.device("cpu"))
    sightings = {slot: detector.detect([frame])[0] for slot, frame in enumerate(frames)}
    _, chosen = followed(sightings)
    seen = slots_of(chosen)
    assert set(range(16)) | set(range(65, 80)) <= set(seen)
    assert not set(range(21, 60)) & set(seen)
