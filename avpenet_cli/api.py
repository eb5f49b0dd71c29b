"""Score one recording from a notebook or script, without files."""

from __future__ import annotations

from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

from avpenet_cli.settings import RunSettings

if TYPE_CHECKING:
    import pandas as pd


def score_file(
    path: str | PathLike[str], *, weights: str | None = None, settings: RunSettings | None = None
) -> pd.DataFrame:
    """Score one recording and keep nothing on disk.

    Args:
        path: a video file with the patient's face, voice, or both.
        weights: name or file of the weights; by default the demonstration weights that come with the program, whose
            scores are not for patients.
        settings: device, stride, Monte Carlo samples and thresholds.

    Returns:
        One row per segment with the columns of the score table: times in seconds, `score` from 0 to 10, missing where
        `status` is `unscorable` (`reason` says why), and the evidence behind it. `attrs["notice"]` says what the
        weights must not be used for.

    Raises:
        RecordingError: the recording cannot be read.
        WeightsError: there are no such weights, or they were altered.
        SettingsError: a setting is out of range.
        EnvironmentUnavailableError: ffmpeg or the device is missing.
    """
    import pandas as pd

    from avpenet_cli.media.probe import check_file
    from avpenet_cli.runs.manifest import weights_mark
    from avpenet_cli.scoring.recorded_at import container_start, iso
    from avpenet_cli.scoring.scorer import Scorer
    from avpenet_cli.scoring.shared_network import load_network_for
    from avpenet_cli.tables import COLUMNS, row
    from avpenet_cli.weights import default_entry, find

    recording = Path(path)
    check_file(recording)
    run = settings or RunSettings()
    entry = find(weights) if weights else default_entry()
    outcome = Scorer(load_network_for(entry, run), run).score(recording)
    mark = weights_mark(entry.description)
    start = container_start(outcome)
    rows = [row(recording.name, segment, mark, iso(start, segment.start_s)) for segment in outcome.segments]
    table = pd.DataFrame(rows, columns=[column.name for column in COLUMNS])
    table.attrs["notice"] = entry.description.notice
    return table
