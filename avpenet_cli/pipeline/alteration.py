"""Change a recording while it is read, before anything is made of it: what experiments on robustness hand in."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from avpenet_cli.face.detect import Face
from avpenet_cli.media.video import TimedFrame


class Alteration(Protocol):
    """Changes audio before its noise is estimated, and frames before faces are searched in them."""

    @property
    def fingerprint_fields(self) -> dict[str, Any]:
        """Flat settings that identify the change."""

    @property
    def takes_largest_face(self) -> bool:
        """Whether the largest face of each frame counts as the patient's, instead of the largest persistent one."""

    @property
    def alters_frames(self) -> bool:
        """Whether `alter_frames` is to be called; the video is then decoded and searched twice."""

    def alter_audio(self, path: Path, read: Callable[[], Iterable[np.ndarray]], rate_hz: int) -> Iterable[np.ndarray]:
        """Change a recording's audio; called for each read of it, with the same result.

        Args:
            path: of the recording.
            read: decodes the audio from its start: contiguous (samples,) float32 blocks, full scale 1.
            rate_hz: the native sampling rate.

        Returns:
            Blocks of the same lengths.
        """

    def alter_frames(self, path: Path, frames: Sequence[TimedFrame], faces: Mapping[int, Face]) -> list[TimedFrame]:
        """Change some consecutive frames.

        Args:
            path: of the recording.
            frames: with increasing slots.
            faces: the patient's face by slot, as found in the whole recording without a change.

        Returns:
            Frames of the same slots and sizes.
        """
