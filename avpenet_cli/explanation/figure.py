"""The figure of one explained segment, after figure 6 of the paper, as PNG, as SVG and for the page."""

from __future__ import annotations

import io
import textwrap
from dataclasses import dataclass, field
from pathlib import Path

import matplotlib
from matplotlib.backends.backend_agg import FigureCanvasAgg

from avpenet_cli.explanation.explained import ExplainedSegment
from avpenet_cli.explanation.faces import FaceStyle
from avpenet_cli.explanation.figure_audio import time_blocks
from avpenet_cli.explanation.figure_faces import Frame, checked_frame, frame_blocks, frames_of
from avpenet_cli.explanation.figure_layout import LINE_IN, height_of, place, text_block, wrapped, write
from avpenet_cli.explanation.figure_score import checks_block, curve_block, facts_block, shares_block
from avpenet_cli.explanation.maps import token_times_s
from avpenet_cli.explanation.wording import STATUS_WORDS, failure, heading, no_face, shares_sentence
from avpenet_cli.report.figures.style import PX_PER_IN, SMALL_PT, Figure, Sheet, drawn, finish, sheet
from avpenet_cli.report.figures.wording import in_sentence, shorten
from avpenet_cli.settings import AudioSettings
from avpenet_cli.storage import atomic_write

WIDTH_IN = 9.2

_MARGIN_IN = 0.15
_FRAMES_IN = 2.55
_BETWEEN_IN = 0.3
_PNG_SCALE = 2
_NOT_PAIN = "Maps show what the network used, not what hurts."
_COLOURS = (
    "Saliency: what the score loses without that part; orange, solid: the part raises it; blue, dashed: lowers it."
)
FACE_WORDS: dict[FaceStyle, str] = {
    "shown": "Faces are shown.",
    "blurred": "The eye region of faces is blurred.",
    "landmarks": "Faces are drawn as landmarks; no pixel of a face is in the figure.",
    "none": "Faces were left out.",
}


@dataclass(frozen=True)
class Heading:
    """What all figures of an explanation state.

    Attributes:
        recording: its name.
        weights: name, digest and status, as in the score table.
        status: of the weights.
        audio: settings of the spectrogram, from the weights' description.
    """

    recording: str
    weights: str
    status: str
    audio: AudioSettings = field(default_factory=AudioSettings)


@dataclass(frozen=True)
class DrawnSegment:
    """The figure of a segment.

    Attributes:
        segment: its number.
        png: at twice the size on the page, on white.
        svg: a file of its own, on white.
        figure: for the page.
    """

    segment: int
    png: bytes
    svg: bytes
    figure: Figure


@drawn
def draw_segment(segment: ExplainedSegment, heading_of: Heading, faces: FaceStyle = "shown") -> DrawnSegment:
    """Draw a segment.

    Args:
        segment: explained.
        heading_of: what all figures state.
        faces: how faces are drawn; in the styles `landmarks` and `none` no pixel of them is in the result.

    Returns:
        The same for the same arguments, byte by byte.
    """
    record = segment.inputs.record
    frames = frames_of(segment, faces)
    canvas = _draw(segment, heading_of, frames)
    # Also of the images within an SVG; `drawn` restores the parameter.
    matplotlib.rcParams["savefig.dpi"] = _PNG_SCALE * PX_PER_IN
    png, svg = io.BytesIO(), io.BytesIO()
    FigureCanvasAgg(canvas).print_figure(png, format="png", facecolor="white", metadata={"Software": None})
    canvas.savefig(svg, format="svg", facecolor="white", metadata={"Date": None, "Creator": None})
    name = in_sentence(heading_of.recording)
    figure = finish(
        canvas,
        f"segment-{record.segment:04d}",
        title=f"Segment {record.segment} of {name}",
        caption=_caption(segment, faces),
        alternative=_alternative(segment, frames, name, faces),
    )
    return DrawnSegment(record.segment, png.getvalue(), svg.getvalue(), figure)


def write_segment(folder: Path, drawn_segment: DrawnSegment) -> tuple[Path, Path]:
    """Write `segment-NNNN.png` and `.svg`, readable by their owner only.

    Raises:
        EnvironmentUnavailableError, OutputError: a file cannot be written.
    """
    paths = tuple(folder / f"segment-{drawn_segment.segment:04d}.{suffix}" for suffix in ("png", "svg"))
    for path, content in zip(paths, (drawn_segment.png, drawn_segment.svg), strict=True):
        with atomic_write(path) as file:
            file.write(content)
    return paths[0], paths[1]


def _draw(segment: ExplainedSegment, heading_of: Heading, frames: tuple[Frame, ...]) -> Sheet:
    inputs = segment.inputs
    width = WIDTH_IN - 2 * _MARGIN_IN
    marks = [(frame.letter, frame.time_s, frame.weight) for frame in frames if frame.weight is not None]
    beside = inputs.mel is not None and bool(frames)
    time_in = width - _FRAMES_IN - _BETWEEN_IN if beside else width
    right = frame_blocks(segment, frames, _FRAMES_IN, wide=False) if beside else []
    left = time_blocks(segment, heading_of.audio, time_in, marks, height_of(right))
    if len(inputs.crops) and not beside:
        left += frame_blocks(segment, frames, width, wide=True)
    elif not beside:
        left.append(text_block("Frames", [no_face(inputs.record)], width))
    checked = checked_frame(segment, frames)
    third = (width - 2 * _BETWEEN_IN) / 3
    strip = [[shares_block(segment, third)], *([curve_block(curve, checked)] for curve in segment.curves[:2])]
    text_in = (width - _BETWEEN_IN) / 2
    texts = [[facts_block(segment, text_in)], [checks_block(segment, text_in, checked)]]
    header = _header(segment, heading_of, width)
    top = 0.1 + LINE_IN * len(header) + 0.12
    heights = [max(map(height_of, rows)) for rows in ([left, right], strip, texts)]
    canvas = sheet(WIDTH_IN, top + sum(heights) + 0.05)
    for number, (line, bold) in enumerate(header):
        write(canvas, line, _MARGIN_IN, 0.1 + LINE_IN * number, bold=bold)
    place(canvas, left, _MARGIN_IN, top, time_in)
    place(canvas, right, WIDTH_IN - _MARGIN_IN - _FRAMES_IN, top, _FRAMES_IN)
    for number, blocks in enumerate(strip):
        place(canvas, blocks, _MARGIN_IN + number * (third + _BETWEEN_IN), top + heights[0], third)
    for number, blocks in enumerate(texts):
        place(canvas, blocks, _MARGIN_IN + number * (text_in + _BETWEEN_IN), top + heights[0] + heights[1], text_in)
    return canvas


def _header(segment: ExplainedSegment, heading_of: Heading, width_in: float) -> list[tuple[str, bool]]:
    """Lines above the panels, and whether they are bold."""
    name = shorten(heading_of.recording, 0.4 * width_in, SMALL_PT)
    paragraphs = [
        (f"{name}, {heading(segment.inputs.record)}", True),
        (shorten(f"Weights {heading_of.weights}", width_in, SMALL_PT), False),
        (STATUS_WORDS.get(heading_of.status, ""), True),
        (failure(segment.checks), True),
        (f"{_NOT_PAIN} {_COLOURS}", False),
    ]
    # Bold letters are wider than those that are measured.
    return [
        (line, bold) for text, bold in paragraphs if text for line in wrapped(text, (0.86 if bold else 1.0) * width_in)
    ]


def _caption(segment: ExplainedSegment, faces: FaceStyle) -> str:
    parts = [_COLOURS]
    if len(segment.inputs.crops):
        parts.append(
            "Faces fade to white where spatial attention is low; its contour is at half of its largest weight."
        )
        parts.append(FACE_WORDS[faces])
    return " ".join(parts)


def _alternative(segment: ExplainedSegment, frames: tuple[Frame, ...], name: str, faces: FaceStyle) -> str:
    parts = [f"Panels that explain {heading(segment.inputs.record)} of {name}."]
    if segment.attention.audio is not None:
        weights = segment.attention.audio
        peak = int(weights.argmax())
        parts.append(
            f"Attention to the audio is largest around {token_times_s(len(weights))[peak]:.1f} s"
            f" ({100 * float(weights[peak]):.0f} % of it)."
        )
    if frames:
        parts.append(f"Frames drawn: {'; '.join(frame.caption for frame in frames)}. {FACE_WORDS[faces]}")
    parts.append(shares_sentence(segment))
    return textwrap.shorten(" ".join(parts), 900, placeholder=" ...")
