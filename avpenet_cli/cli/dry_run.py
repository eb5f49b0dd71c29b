"""`avpenet score --dry-run`: list what would be scored, without loading the networks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table
from rich.text import Text

from avpenet_cli.cli.run_log import printable
from avpenet_cli.errors import ExitCode, RecordingError
from avpenet_cli.phrasing import plural

if TYPE_CHECKING:
    from avpenet_cli.inputs import Inputs, Recording
    from avpenet_cli.media.probe import Probe
    from avpenet_cli.settings import RunSettings


@dataclass(frozen=True)
class Listed:
    """What was listed.

    Attributes:
        readable: recordings whose headers can be read, with what these say.
        segments: of those, by their headers.
        code: 1 when some cannot be read.
    """

    readable: list[tuple[Recording, Probe]]
    segments: int
    code: ExitCode


def print_inputs(inputs: Inputs, run: RunSettings, *, pseudonymised: bool) -> Listed:
    """Print one line per recording on stdout.

    Under pseudonyms each recording's path stands beside its pseudonym: a site resolves pseudonyms with this list.
    """
    from avpenet_cli.inputs import display_name
    from avpenet_cli.media.probe import probe
    from avpenet_cli.pipeline.windows import windows

    table = Table(box=None, pad_edge=False)
    for heading in [
        "recording",
        *(["path"] if pseudonymised else []),
        "seconds",
        "segments",
        "video",
        "audio",
        "problem",
    ]:
        table.add_column(heading, overflow="fold", justify="right" if heading in {"seconds", "segments"} else "left")
    problems, seconds, segments, unknown = 0, 0.0, 0, 0
    readable = []
    for recording in inputs.recordings:
        names = [recording.name, *([display_name(str(recording.path))] if pseudonymised else [])]
        try:
            if recording.problem:
                raise RecordingError("no_recordings", recording.problem)
            facts = probe(recording.path, run.decoding)
        except RecordingError as error:
            problems += 1
            table.add_row(*map(_cell, [*names, "", "", "", "", str(error)]))
            continue
        readable.append((recording, facts))
        count = len(windows(facts.nominal_s, run.stride_s, run.quality.short_tail_share))
        seconds, segments = seconds + facts.nominal_s, segments + count
        streams = [_video(facts), _audio(facts), "; ".join(facts.problems)]
        length = [f"{facts.nominal_s:.1f}", str(count)]
        if not facts.nominal_s:
            unknown, length = unknown + 1, ["unknown", "unknown"]
        table.add_row(*map(_cell, [*names, *length, *streams]))
    # In a pipe, lines are not folded.
    console = Console() if Console().is_terminal else Console(width=10_000)
    console.print(table)
    for note in inputs.notes:
        console.print(printable(note), highlight=False, markup=False)
    if left_aside := inputs.left_aside.describe():
        console.print(f"left aside: {left_aside}", highlight=False, markup=False)
    total = len(inputs.recordings)
    console.print(
        f"{plural(total, 'recording')}, {problems} unreadable, {seconds / 60:.1f} min by their headers"
        f"{f' and {unknown} of unknown length' if unknown else ''}, "
        f"{plural(segments, 'segment')}",
        highlight=False,
    )
    return Listed(readable, segments, ExitCode.SOME_FAILED if problems else ExitCode.OK)


def _cell(text: str) -> Text:
    return Text(printable(text))


def _video(facts: Probe) -> str:
    video = facts.video
    if video is None:
        return "none"
    rotated = f" rotated {video.rotation_deg}" if video.rotation_deg else ""
    size = f"{video.width_px}x{video.height_px}"
    return f"{video.codec} {size}{rotated} {video.fps:.4g} fps{_among(video.track, facts.video_tracks)}"


def _audio(facts: Probe) -> str:
    audio = facts.audio
    if audio is None:
        return "none"
    return f"{audio.codec} {audio.sample_rate_hz} Hz, {audio.channels} ch{_among(audio.track, facts.audio_tracks)}"


def _among(track: int, tracks: int) -> str:
    """Which of several tracks is scored, counted from 0 as in the settings."""
    return f", track {track} of {tracks} (from 0)" if tracks > 1 else ""
