"""Face tracking and the choice of the patient."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pytest
import torch

from avpenet_cli.face.detect import Face, FaceDetector
from avpenet_cli.face.track import MIN_TRACK_FRAMES, Track, Tracker, patient_tracks
from avpenet_cli.media.frame_image import RgbImage
from avpenet_cli.settings import FaceSettings
from tests.support.portraits import portrait_frames

Detections = dict[int, list[Face]]


def make_face(x: float, y: float, width: float, turn_deg: int = 0) -> Face:
    """Centred at (x, y), a little higher than wide."""
    across, down = (1.25 * width, width) if turn_deg in (90, 270) else (width, 1.25 * width)
    box = np.array([x - across / 2, y - down / 2, x + across / 2, y + down / 2], np.float32)
    return Face(box, np.array([[x - width / 5, y], [x + width / 5, y]], np.float32), 0.99, turn_deg)


def staying(x: float, y: float, width: float, slots: Iterable[int]) -> Detections:
    """One person in place, with the jitter of a real detector."""
    shake = np.random.default_rng(round(x + y + width)).normal(0, 0.02 * width, (10_000, 3))
    return {slot: [make_face(x + shake[slot, 0], y + shake[slot, 1], width + shake[slot, 2])] for slot in slots}


def together(*people: Detections) -> Detections:
    slots = sorted({slot for person in people for slot in person})
    return {slot: [face for person in people for face in person.get(slot, [])] for slot in slots}


def track_all(detections: Detections) -> tuple[list[Track], list[Track]]:
    """(all lasting tracks, the patient's)."""
    tracker = Tracker()
    for slot, faces in detections.items():
        linked = tracker.update(slot, faces)
        assert [track.faces[-1] for track in linked] == faces
    return tracker.lasting(), patient_tracks(tracker.lasting())


def slots_of(tracks: list[Track]) -> list[int]:
    return sorted(slot for track in tracks for slot in track.slots)


def centre_x(tracks: list[Track]) -> float:
    return float(np.mean([(face.box[0] + face.box[2]) / 2 for track in tracks for face in track.faces]))


def test_larger_nurse_who_leans_in_is_not_the_patient() -> None:
    patient, nurse = staying(300, 200, 100, range(120)), staying(700, 250, 260, range(40, 70))
    tracks, chosen = track_all(together(nurse, patient))
    assert len(tracks) == 2
    assert slots_of(chosen) == list(range(120))
    assert centre_x(chosen) == pytest.approx(300, abs=5)


def test_nurse_who_covers_the_patient_is_not_the_patient() -> None:
    patient = staying(300, 200, 100, [*range(60), *range(100, 160)])
    nurse = staying(310, 180, 230, range(65, 95))
    _, chosen = track_all(together(patient, nurse))
    assert slots_of(chosen) == [*range(60), *range(100, 160)]


def test_small_poster_that_lasts_is_not_the_patient() -> None:
    patient, poster = staying(300, 200, 110, range(20, 160)), staying(600, 60, 40, range(300))
    _, chosen = track_all(together(poster, patient))
    assert slots_of(chosen) == list(range(20, 160))


def test_patient_is_told_from_nurse_and_poster() -> None:
    patient, poster = staying(300, 200, 110, range(20, 160)), staying(600, 60, 40, range(300))
    nurse = staying(340, 400, 280, range(90, 120))
    tracks, chosen = track_all(together(nurse, poster, patient))
    assert len(tracks) == 3
    assert slots_of(chosen) == list(range(20, 160))


def test_patient_who_returns_to_the_same_place_is_rejoined() -> None:
    patient = staying(300, 200, 100, [*range(50), *range(90, 140)])
    tracks, chosen = track_all(patient)
    assert len(tracks) == 2
    assert slots_of(chosen) == [*range(50), *range(90, 140)]


def test_patient_who_returns_twice_is_rejoined() -> None:
    patient = staying(300, 200, 100, [*range(30), *range(60, 140), *range(200, 220)])
    nurse = staying(800, 200, 150, range(35, 55))
    _, chosen = track_all(together(patient, nurse))
    assert slots_of(chosen) == slots_of(track_all(patient)[1])
    assert len(slots_of(chosen)) == 130


@pytest.mark.parametrize("later", [staying(800, 200, 100, range(90, 130)), staying(300, 200, 220, range(90, 110))])
def test_another_person_who_comes_later_is_not_joined(later: Detections) -> None:
    patient = staying(300, 200, 100, range(60))
    tracks, chosen = track_all(together(patient, later))
    assert len(tracks) == 2
    assert slots_of(chosen) == list(range(60))


@pytest.mark.parametrize("gap", [1, 5, 19])
def test_short_absence_keeps_the_track(gap: int) -> None:
    tracks, chosen = track_all(staying(300, 200, 100, [*range(30), *range(30 + gap, 60)]))
    assert len(tracks) == 1
    assert len(chosen[0].slots) == 60 - gap


def test_people_who_cross_keep_their_tracks() -> None:
    right = {slot: [make_face(100 + 6 * slot, 200, 100)] for slot in range(100)}
    left = {slot: [make_face(700 - 6 * slot, 265, 104)] for slot in range(100)}
    tracks, _ = track_all(together(right, left))
    assert len(tracks) == 2
    for track, person in zip(tracks, (right, left), strict=True):
        assert [face.box.tolist() for face in track.faces] == [person[slot][0].box.tolist() for slot in range(100)]


def test_person_who_passes_behind_another_is_not_swapped() -> None:
    front = staying(400, 200, 120, range(100))
    behind = {slot: [make_face(100 + 8 * slot, 190, 80)] for slot in range(90) if not 330 < 100 + 8 * slot < 470}
    tracks, chosen = track_all(together(front, behind))
    assert slots_of(chosen) == list(range(100))
    assert {round(face.width_px / 40) for face in chosen[0].faces} == {3}
    assert len(tracks) == 3


def test_order_of_faces_in_a_frame_does_not_matter() -> None:
    people = [staying(300, 200, 100, range(100)), staying(420, 210, 95, range(100)), staying(700, 90, 60, range(80))]
    results = []
    for order in ([0, 1, 2], [2, 1, 0], [1, 2, 0]):
        _, chosen = track_all(together(*(people[i] for i in order)))
        results.append([[face.box.tolist() for face in track.faces] for track in chosen])
    assert results[0] == results[1] == results[2]


def test_same_detections_give_the_same_patient() -> None:
    people = together(staying(300, 200, 100, range(50)), staying(600, 200, 100, range(50)))
    first, second = track_all(people)[1], track_all(people)[1]
    assert [track.number for track in first] == [track.number for track in second]
    assert slots_of(first) == slots_of(second)


def test_equal_weights_choose_the_first_track() -> None:
    twins = {slot: [make_face(300, 200, 100), make_face(700, 200, 100)] for slot in range(20)}
    _, chosen = track_all(twins)
    assert [track.number for track in chosen] == [0]


@pytest.mark.parametrize("length", range(1, MIN_TRACK_FRAMES))
def test_short_false_alarm_is_no_track(length: int) -> None:
    tracks, chosen = track_all(staying(300, 200, 400, range(length)))
    assert (tracks, chosen) == ([], [])


def test_three_frame_false_alarm_is_not_the_patient() -> None:
    patient = staying(300, 200, 60, range(40))
    alarm = staying(700, 200, 300, range(10, 13))
    tracks, chosen = track_all(together(alarm, patient))
    assert len(tracks) == 2
    assert slots_of(chosen) == list(range(40))


def test_pieces_of_the_patients_track_count_together() -> None:
    """No single piece outweighs the visitor who stays for a while; all pieces together do."""
    patient = staying(300, 200, 100, [slot for slot in range(400) if slot % 80 < 45])
    visitor = staying(800, 200, 120, range(100, 190))
    tracks, chosen = track_all(together(patient, visitor))
    assert len(tracks) == 6
    assert slots_of(chosen) == sorted(patient)


def test_light_middle_piece_joins_the_heavy_ends() -> None:
    """A patient slides down the bed; only the middle piece is near both ends."""
    pieces = [staying(300, 200, 100, range(60)), staying(420, 200, 100, range(90, 96))]
    pieces.append(staying(540, 200, 100, range(130, 180)))
    tracks, chosen = track_all(together(*pieces))
    assert len(tracks) == 3
    assert slots_of(chosen) == sorted(slot for piece in pieces for slot in piece)


def test_frames_without_faces_give_no_track() -> None:
    tracker = Tracker()
    for slot in range(50):
        assert tracker.update(slot, []) == []
    assert tracker.lasting() == []
    assert patient_tracks([]) == []


def test_two_faces_in_one_frame_are_two_people() -> None:
    twice = together(staying(300, 200, 100, range(40)), staying(330, 205, 96, range(40)))
    tracks, chosen = track_all(twice)
    assert len(tracks) == 2
    assert len(chosen) == 1


def test_sideways_face_is_weighed_by_its_box_height() -> None:
    tracker = Tracker()
    for slot in range(5):
        tracker.update(slot, [make_face(300, 200, 100, turn_deg=90)])
    assert tracker.tracks[0].weight == pytest.approx(500)


def test_patient_who_walks_back_and_forth_keeps_one_track() -> None:
    walk = {slot: [make_face(300 + 200 * np.sin(slot / 15), 200, 100)] for slot in range(200)}
    tracks, chosen = track_all(walk)
    assert len(tracks) == 1
    assert slots_of(chosen) == list(range(200))


def test_real_face_that_leaves_and_returns_is_one_person() -> None:
    frames = list(portrait_frames(8.0, 240, 180, 10.0, away_s=(2.0, 6.0)))
    detector = FaceDetector(FaceSettings(), torch.device("cpu"))
    detections = {slot: detector.detect([RgbImage(frame)])[0] for slot, frame in enumerate(frames)}
    _, chosen = track_all(detections)
    patient_slots = slots_of(chosen)
    assert set(range(16)) | set(range(65, 80)) <= set(patient_slots)
    assert not set(range(21, 60)) & set(patient_slots)
