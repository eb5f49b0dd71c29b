"""Which windows a recording has, and where its seconds went."""

from __future__ import annotations

import random
from itertools import pairwise

import pytest

from avpenet_cli.pipeline.windows import Window, balance, windows
from avpenet_cli.records import Balance, Quality, Reason, SegmentScore, Status
from avpenet_cli.settings import FRAME_STEP_S, FRAMES_PER_WINDOW, WINDOW_S

HALF = 0.5
"""The default `short_tail_share`."""
STRIDES_S = [0.1, 0.3, 0.5, 0.7, 1.0, 1.5, 2.9, 3.0]


def spans(length_s: float, stride_s: float = WINDOW_S, share: float = HALF) -> list[tuple[float, float, bool]]:
    return [(window.start_s, window.end_s, window.short) for window in windows(length_s, stride_s, share)]


def segments_of(plan: list[Window], reasons: list[str]) -> list[SegmentScore]:
    """One segment per window; an empty reason is a score."""
    return [
        SegmentScore(
            segment=window.index,
            start_s=window.start_s,
            end_s=window.end_s,
            status=Status.UNSCORABLE if reason else Status.SCORED,
            quality=Quality(),
            score=None if reason else 5.0,
            reason=reason,
        )
        for window, reason in zip(plan, reasons, strict=True)
    ]


def account(length_s: float, stride_s: float, reasons: list[str], nominal_s: float | None = None) -> Balance:
    plan = windows(length_s, stride_s, HALF)
    return balance(length_s if nominal_s is None else nominal_s, length_s, segments_of(plan, reasons))


@pytest.mark.parametrize("length_s", [0.0, 0.04, 1.0, 1.4, 1.499])
@pytest.mark.parametrize("stride_s", [0.5, 1.0, 3.0])
def test_recording_shorter_than_half_a_window_has_no_window(length_s: float, stride_s: float) -> None:
    assert windows(length_s, stride_s, HALF) == []
    assert account(length_s, stride_s, []).unscorable_s == ({Reason.TAIL.value: length_s} if length_s else {})


@pytest.mark.parametrize(
    ("length_s", "wanted"),
    [
        (1.5, [(0.0, 1.5, True)]),
        (2.8, [(0.0, 2.8, True)]),
        (2.9, [(0.0, 2.9, True)]),
        (2.92, [(0.0, 2.92, False)]),
        (3.0, [(0.0, 3.0, False)]),
        (3.05, [(0.0, 3.0, False)]),
        (4.4, [(0.0, 3.0, False)]),
        (4.5, [(0.0, 3.0, False), (3.0, 4.5, True)]),
        (5.88, [(0.0, 3.0, False), (3.0, 5.88, True)]),
        (5.96, [(0.0, 3.0, False), (3.0, 5.96, False)]),
        (6.0, [(0.0, 3.0, False), (3.0, 6.0, False)]),
        (6.08, [(0.0, 3.0, False), (3.0, 6.0, False)]),
    ],
)
def test_tail_is_padded_and_marked_short(length_s: float, wanted: list[tuple[float, float, bool]]) -> None:
    assert spans(length_s) == wanted


def test_stride_of_a_second_keeps_the_last_windows() -> None:
    assert [start_s for start_s, _, _ in spans(10.0, 1.0)] == [float(start) for start in range(9)]
    assert spans(10.0, 1.0)[-2:] == [(7.0, 10.0, False), (8.0, 10.0, True)]


def test_stride_of_half_a_second_pads_at_most_half() -> None:
    plan = spans(5.0, 0.5)
    assert [start_s for start_s, _, _ in plan] == [0.0, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 3.5]
    assert [short for _, _, short in plan] == [False] * 5 + [True] * 3
    assert plan[-1] == (3.5, 5.0, True)


@pytest.mark.parametrize(("share", "count"), [(0.0, 2), (0.3, 2), (0.34, 1), (1.0, 1)])
def test_share_of_a_short_tail_is_applied(share: float, count: int) -> None:
    assert len(windows(4.0, WINDOW_S, share)) == count


def test_share_of_zero_ends() -> None:
    assert spans(0.0, 3.0, 0.0) in ([], [(0.0, 0.0, True)])
    assert len(windows(6.0, 3.0, 0.0)) <= 3


@pytest.mark.parametrize("stride_s", STRIDES_S)
def test_decimal_lengths_keep_the_last_window(stride_s: float) -> None:
    """A length that is a window's start plus half a window has that window, however the sum is rounded."""
    for number in range(200):
        start_s = number * stride_s
        for length_s in (start_s + 1.5, round(start_s + 1.5, 6), float(f"{start_s + 1.5:.2f}")):
            assert len(windows(length_s, stride_s, HALF)) == number + 1, length_s


@pytest.mark.parametrize("stride_s", STRIDES_S)
def test_windows_stay_on_the_frame_grid(stride_s: float) -> None:
    for window in windows(7_200.0, stride_s, HALF):
        assert window.start_s == pytest.approx(window.first_slot * FRAME_STEP_S, abs=1e-6)
        assert window.first_slot == window.index * round(stride_s / FRAME_STEP_S)


def test_short_window_ends_with_the_recording() -> None:
    (window,) = windows(1.74, WINDOW_S, HALF)
    assert window.slots == range(0, 17)
    assert Window(4, 12.0, 13.5, True).slots == range(120, 135)
    assert Window(4, 12.0, 15.0, False).slots == range(120, 150)
    assert len(Window(0, 0.0, 0.01, True).slots) == 1


def test_overlapping_windows_count_each_second_once() -> None:
    done = account(10.0, 1.0, [""] * 9)
    assert (done.scored_s, done.unscorable_s, done.undecodable_s) == (10.0, {}, 0.0)


def test_second_with_one_scored_window_counts_as_scored() -> None:
    done = account(6.0, 1.0, ["no_face", "no_face", "", "no_face", "no_audio"])
    assert done.scored_s == 3.0  # 2-5 s
    assert done.unscorable_s == {"no_face": 3.0}


def test_unscorable_seconds_have_the_reason_of_their_first_window() -> None:
    done = account(10.0, 3.0, ["no_face", "", "no_audio"], nominal_s=12.5)
    assert done == Balance(12.5, 3.0, {"no_face": 3.0, "no_audio": 3.0, "tail_too_short": 1.0}, 2.5)
    assert done.unaccounted_s == pytest.approx(0.0)


def test_padding_is_not_counted() -> None:
    done = account(4.6, 3.0, ["", ""])
    assert done.scored_s == 4.6


def test_recording_without_windows_is_in_the_balance() -> None:
    assert account(1.0, 3.0, [], nominal_s=60.0) == Balance(60.0, 0.0, {"tail_too_short": 1.0}, 59.0)
    assert account(0.0, 3.0, [], nominal_s=0.0) == Balance(0.0, 0.0, {}, 0.0)


def test_reason_without_seconds_is_left_out() -> None:
    """Times are kept to a millionth of a second; what that rounds off is nobody's loss."""
    for length_s in (6.000000499, 5.9999996, 4.123456789, 3.0000004):
        plan = windows(length_s, WINDOW_S, HALF)
        assert all(s > 0 for s in account(length_s, WINDOW_S, [""] * len(plan)).unscorable_s.values())


def test_balance_adds_up_for_random_recordings() -> None:
    rng = random.Random(1)
    reasons = ["", "", Reason.NO_FACE.value, Reason.NO_AUDIO.value, Reason.NO_VIDEO.value]
    for _ in range(1_500):
        length_s = rng.choice([rng.uniform(0, 40), round(rng.uniform(0, 40), 2), rng.randrange(400) / 10])
        nominal_s = length_s + rng.choice([0.0, 0.0, rng.uniform(0, 100)])
        stride_s = rng.randint(1, 30) * FRAME_STEP_S
        plan = windows(length_s, stride_s, rng.choice([HALF, HALF, 0.2, 0.9]))
        segments = segments_of(plan, [rng.choice(reasons) for _ in plan])
        done = balance(nominal_s, length_s, segments)
        case = (length_s, nominal_s, stride_s)
        assert abs(done.unaccounted_s) <= 0.002, case
        assert done.scored_s >= 0, case
        assert done.undecodable_s == pytest.approx(nominal_s - length_s, abs=0.001), case
        assert all(seconds > 0 for seconds in done.unscorable_s.values()), case
        if plan and all(segment.status is Status.SCORED for segment in segments):
            assert done.scored_s == pytest.approx(plan[-1].end_s, abs=0.001), case
        for window, following in pairwise(plan):
            assert following.start_s - window.start_s == pytest.approx(stride_s, abs=1e-6), case
        for window in plan:
            assert 0 <= window.start_s < window.end_s <= length_s + 1e-6, case
            assert window.end_s - window.start_s <= WINDOW_S + 1e-6, case
            assert window.short == (round(WINDOW_S - window.end_s + window.start_s, 6) >= FRAME_STEP_S), case
            assert len(window.slots) <= FRAMES_PER_WINDOW, case
            assert abs((window.slots.start + 0.5) * FRAME_STEP_S - window.start_s - 0.05) < 1e-6, case
            assert (window.slots.stop - 0.5) * FRAME_STEP_S < length_s + FRAME_STEP_S, case
