"""Recordings that several tests explain, each read once."""

from __future__ import annotations

import pytest

from tests.support.explanations import ReadRecording, cut_phantom, read_recording


@pytest.fixture(scope="session")
def phantom(tmp_path_factory: pytest.TempPathFactory) -> ReadRecording:
    """Six seconds of a phantom, two segments with audio and face, under the bundled weights; three frames a second."""
    return read_recording(cut_phantom(tmp_path_factory.mktemp("phantom"), start_s=12.0, fps=3))
