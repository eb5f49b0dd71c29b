"""Segments of recordings as the bundled network was given them, read by the program's own front end."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from avpenet_cli.bundled import phantoms_directory
from avpenet_cli.explanation.explained import SegmentInputs
from avpenet_cli.explanation.recording import read_inputs
from avpenet_cli.explanation.scorer import SegmentNetwork
from avpenet_cli.records import RecordingOutcome, Status
from avpenet_cli.scoring.network import Network, SegmentTokens
from avpenet_cli.scoring.scorer import Scorer
from avpenet_cli.settings import RunSettings
from avpenet_cli.weights import WeightsEntry, default_entry, load_network


@dataclass(frozen=True, eq=False)
class ReadRecording:
    """A recording, scored, with what the network was given of its scored segments.

    Attributes:
        network: of the weights; bundled ones score each segment independently.
        inputs: of all segments that have a score, in time order.
        tokens: encoder outputs of a segment by its number, as scoring made them.
    """

    path: Path
    network: SegmentNetwork
    outcome: RecordingOutcome
    inputs: list[SegmentInputs]
    tokens: Callable[[int], SegmentTokens]


def cut_phantom(
    folder: Path, name: str = "P0001-01", start_s: float = 0.0, seconds: float = 6.0, fps: float | None = None
) -> Path:
    """Some seconds of a bundled phantom, encoded again, in `folder`; with few frames a second it is scored faster."""
    source, path = phantoms_directory() / f"{name}.mp4", folder / f"{name}-{start_s:g}-{seconds:g}.mp4"
    command = ["ffmpeg", "-v", "error", "-nostdin", "-y", "-ss", str(start_s), "-i", str(source), "-t", str(seconds)]
    command += [] if fps is None else ["-r", str(fps)]
    subprocess.run([*command, str(path)], check=True)
    return path


def read_recording(path: Path, entry: WeightsEntry | None = None) -> ReadRecording:
    """Score a recording, then read the inputs of its scored segments; by default with the bundled weights."""
    entry, run = entry or default_entry(), RunSettings(device="cpu")
    scoring = Network(entry, run)
    outcome, tokens = Scorer(scoring, run).score_with_tokens(path)
    records = [segment for segment in outcome.segments if segment.status is Status.SCORED]
    inputs = read_inputs(path, scoring, run, records)
    network = SegmentNetwork(load_network(entry), entry.description.preprocessing.face)
    return ReadRecording(path, network, outcome, inputs, tokens)
