"""Placing packets: stamps that jitter, real gaps, overlaps, repeated packets and drifting clocks."""

from __future__ import annotations

import numpy as np
import pytest

from avpenet_cli.media.timeline import TOLERANCE_S, Packet, PacketPlacer

RATE_HZ = 1_000
SIZE = 20
"""Samples of a packet, 20 ms."""
TOLERANCE = round(TOLERANCE_S * RATE_HZ)


def stream(times: list[int]) -> list[Packet]:
    """Packets of a recording in which every sample is its own true position, stamped with `times`."""
    return [Packet(time, np.arange(SIZE * n, SIZE * (n + 1), dtype=np.float32)) for n, time in enumerate(times)]


def place(packets: list[Packet]) -> tuple[np.ndarray, list[int], PacketPlacer]:
    """Placed samples, with NaN where there are none, and the positions at which they go on after a gap."""
    placer = PacketPlacer(iter(packets), RATE_HZ)
    placed: list[float] = []
    jumps = []
    for position, samples in placer:
        assert position >= len(placed)
        if position > len(placed):
            jumps.append(position)
        placed += [np.nan] * (position - len(placed)) + samples.tolist()
    return np.array(placed), jumps, placer


def regular(count: int) -> list[int]:
    return [SIZE * n for n in range(count)]


def in_bursts(count: int, burst: int) -> list[int]:
    """Stamps of a recorder that writes `burst` packets at once, a millisecond apart."""
    return [SIZE * burst * (n // burst) + n % burst for n in range(count)]


@pytest.mark.parametrize("burst", [4, 7, 100])
def test_stamps_in_bursts_do_not_break_continuous_samples(burst: int) -> None:
    placed, jumps, placer = place(stream(in_bursts(701, burst)))
    np.testing.assert_array_equal(placed, np.arange(701 * SIZE))
    assert jumps == []
    assert placer.jitter_s == pytest.approx((burst - 1) * (SIZE - 1) / RATE_HZ)


def test_network_stall_that_is_caught_up_is_no_gap() -> None:
    times = regular(600)
    for n in range(100, 150):
        times[n] = 150 * SIZE + n - 150
    placed, jumps, _ = place(stream(times))
    np.testing.assert_array_equal(placed, np.arange(600 * SIZE))
    assert jumps == []


@pytest.mark.parametrize("gap", [TOLERANCE + 1, 500, 30_000])
@pytest.mark.parametrize("after", [1, 30, 600])
def test_lasting_lack_of_samples_is_a_gap(gap: int, after: int) -> None:
    times = [time + gap * (n >= 100) for n, time in enumerate(regular(100 + after))]
    placed, jumps, placer = place(stream(times))
    assert jumps == [100 * SIZE + gap]
    assert placed[jumps[0]] == 100 * SIZE
    assert placed.size == (100 + after) * SIZE + gap
    assert placer.jitter_s == 0


def test_gap_is_found_among_jittering_stamps() -> None:
    times = [time + 2_000 * (n >= 350) for n, time in enumerate(in_bursts(900, 5))]
    placed, jumps, placer = place(stream(times))
    assert len(jumps) == 1
    assert placed.size == pytest.approx(900 * SIZE + 2_000, abs=placer.jitter_s * RATE_HZ + TOLERANCE)
    assert placer.jitter_s == pytest.approx(0.076)


def test_gaps_after_every_packet_stay() -> None:
    _, jumps, placer = place(stream([220 * n for n in range(40)]))
    assert jumps == [220 * n for n in range(1, 40)]
    assert placer.jitter_s == 0


def test_late_start_keeps_its_time_and_audio_before_zero_is_dropped() -> None:
    placed, jumps, _ = place(stream([time + 1_280 for time in regular(50)]))
    assert jumps == [1_280]
    early, jumps, _ = place(stream([time - 30 for time in regular(50)]))
    np.testing.assert_array_equal(early, np.arange(30, 50 * SIZE))
    assert placed.size == 1_280 + 50 * SIZE
    assert jumps == []


def test_overlap_that_lasts_is_dropped_once() -> None:
    times = [time - 300 * (n >= 100) for n, time in enumerate(regular(200))]
    placed, jumps, _ = place(stream(times))
    assert jumps == []
    np.testing.assert_array_equal(placed, np.r_[0 : 100 * SIZE, 100 * SIZE + 300 : 200 * SIZE])


@pytest.mark.parametrize("later", [0, 1])
@pytest.mark.parametrize("repeated", [[100], [100, 101, 300], list(range(1, 400))])
def test_repeated_packets_are_dropped(repeated: list[int], later: int) -> None:
    packets = []
    for n, packet in enumerate(stream(regular(400))):
        packets.append(packet)
        if n in repeated:
            packets.append(Packet(packet.time + later, packet.samples))
    placed, jumps, _ = place(packets)
    np.testing.assert_array_equal(placed, np.arange(400 * SIZE))
    assert jumps == []


def test_single_wrong_stamp_moves_nothing() -> None:
    times = regular(300)
    times[100] += 5_000
    times[200] -= 1_000
    placed, jumps, _ = place(stream(times))
    np.testing.assert_array_equal(placed, np.arange(300 * SIZE))
    assert jumps == []


@pytest.mark.parametrize("ppm", [-1_000, -100, 100, 1_000])
def test_drifting_clock_stays_in_sync(ppm: int) -> None:
    """An hour of packets of 1 s; the true time of a sample is its number, corrected by the drift."""
    size = RATE_HZ
    packets = [Packet(round(n * size * (1 + ppm / 1e6)), np.full(size, n, np.float32)) for n in range(3_600)]
    placer = PacketPlacer(iter(packets), RATE_HZ)
    errors = [position - packets[int(samples[-1])].time for position, samples in placer]
    assert np.abs(errors).max() <= 2 * TOLERANCE
    assert placer.jitter_s == 0


def test_ordinary_packets_are_placed_without_look_ahead() -> None:
    packets = iter(stream(regular(50)))
    next(iter(PacketPlacer(packets, RATE_HZ)))
    assert len(list(packets)) == 49
