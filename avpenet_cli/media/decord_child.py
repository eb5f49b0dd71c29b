"""Run decord as a child process.

`python -m avpenet_cli.media.decord_child FILE START_S SIDE_FD THREADS ORDERS`

Writes the frames of the grid as raw RGB to stdout, and framecrc-like lines of the two clocks of
`video.ffmpeg_command` to SIDE_FD. ORDERS are those of `restrict`, or empty.
"""

from __future__ import annotations

import os
import sys

from avpenet_cli.media.restrict import restrict
from avpenet_cli.settings import FRAME_STEP_S

_TICKS_PER_S = 1_000_000
_TICK_S = 5e-4
"""decord stores times as float32, exact to half a millisecond at two hours."""


def main(path: str, start_s: float, side: int, threads: int, orders: str) -> None:
    """Decode one file. decord drops the stream's start offset, so `start_s` is added to its times."""
    os.environ["OPENBLAS_NUM_THREADS"] = "1"  # no thread may exist yet that the restrictions would not reach
    import decord
    import numpy as np

    if orders:
        # All libraries are loaded by now, so that none has to be allowed.
        restrict(orders)
    video = decord.VideoReader(path, ctx=decord.cpu(0), num_threads=threads)
    times = video.get_frame_timestamp(range(len(video))).astype(np.float64)
    starts_s = times[:, 0] - times[0, 0] + start_s
    end_s = times[-1, 1] - times[0, 0] + start_s
    with os.fdopen(side, "w") as lines:
        for slot in range(int(end_s / FRAME_STEP_S) + 1):
            at_s = (slot + 0.5) * FRAME_STEP_S
            index = int(np.searchsorted(starts_s, at_s + _TICK_S, side="right")) - 1
            if index < 0 or at_s >= end_s:
                continue
            frame = video[index].asnumpy()
            source_ticks = round((starts_s[index] - FRAME_STEP_S / 2) * _TICKS_PER_S)
            lines.write(f"1, {source_ticks}, {source_ticks}, 1, 0, 0\n0, {slot}, {slot}, 1, {frame.nbytes}, 0\n")
            lines.flush()
            sys.stdout.buffer.write(frame.data)
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    main(sys.argv[1], float(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]), sys.argv[5])
