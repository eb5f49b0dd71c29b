"""Frames of a segment with the network's spatial attention, and beside it the saliency of the aligned face."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.patches import Ellipse

from avpenet_cli.explanation.explained import ExplainedSegment
from avpenet_cli.explanation.faces import DrawableFace, FaceStyle, drawable
from avpenet_cli.explanation.figure_layout import AXIS_IN, Block, text_block
from avpenet_cli.explanation.maps import diverging, draw_contours, limit_of, scale_ticks
from avpenet_cli.report.figures.style import GREY, INK, SMALL_PT
from avpenet_cli.settings import FRAME_STEP_S

MOST_FRAMES = 4

_DRAWN_PX = 224
"""Side of a face in the files; it is shown on 120 to 240 px."""
_GAP_IN = 0.1
_CAPTION_IN = 0.2
_LARGEST_IN = 2.4
_VEILED = 0.25
"""Share of a face that stays where it has no spatial attention; the rest fades to white."""
_FLAT = (150, 176, 204)
"""Colour that stands for a face without its pixels."""
_LIGHT = 0.5
"""Share of white in the grey face under a saliency map."""
_STRONGEST = 0.85
"""Opacity of the strongest saliency."""
_CONTOUR = 0.25
_OUTLINE = ((0.5, 0.52), 0.72, 0.94)
"""Centre, width and height of the outline of a face, the same for everybody."""


@dataclass(frozen=True, eq=False)
class Frame:
    """One frame that is drawn.

    Attributes:
        letter: in the figure.
        time_s: in the segment, s.
        weight: of the audio's attention; None without.
        n_frames: behind a mean crop; None for a crop of one frame.
        face: what may be drawn of it.
        spatial: (h, w) weights in [0, 1]; None without.
        saliency: (rows, columns) points of each cell; None without.
    """

    letter: str
    time_s: float
    weight: float | None
    n_frames: int | None
    face: DrawableFace
    spatial: npt.NDArray[np.float32] | None
    saliency: npt.NDArray[np.float32] | None

    @property
    def caption(self) -> str:
        """Letter, time and weight."""
        when = f"{self.time_s:.2f} s" if self.n_frames is None else f"mean of {self.n_frames} frames"
        share = "" if self.weight is None else f", {100 * self.weight:.1f} %"
        return f"{self.letter}  {when}{share}"


def chosen_crops(segment: ExplainedSegment) -> tuple[int, ...]:
    """Indices of the crops to draw: those with a saliency, then those with the most attention, each in time order.

    Without attention and saliency, they are spread over the segment.
    """
    n_crops = len(segment.inputs.crops)
    mapped = segment.saliency.shown[:MOST_FRAMES] if segment.saliency.faces is not None else ()
    if segment.attention.faces is not None:
        favoured = [int(index) for index in np.argsort(-segment.attention.faces, kind="stable")]
        more = [index for index in favoured if index not in mapped][: MOST_FRAMES - len(mapped)]
    else:
        spread = np.linspace(0, n_crops - 1, min(n_crops, MOST_FRAMES)).round()
        more = [] if mapped else [int(index) for index in spread]
    return (*sorted(mapped), *sorted(more))


def frames_of(segment: ExplainedSegment, style: FaceStyle) -> tuple[Frame, ...]:
    """The frames to draw, in the order of `chosen_crops`; none with the style `none`."""
    inputs, attention, saliency = segment.inputs, segment.attention, segment.saliency
    chosen = chosen_crops(segment)
    if style == "none" or not chosen:
        return ()
    crops = np.clip(np.rint(inputs.crops[list(chosen)]), 0, 255).astype(np.uint8)
    maps = {} if saliency.faces is None else dict(zip(saliency.shown, saliency.faces, strict=True))
    return tuple(
        Frame(
            letter="abcd"[number],
            time_s=(float(inputs.places[index]) + 0.5) * FRAME_STEP_S,
            weight=None if attention.faces is None else float(attention.faces[index]),
            n_frames=None if inputs.counts is None else int(inputs.counts[index]),
            face=face,
            spatial=None if attention.spatial is None else attention.spatial[index],
            saliency=maps.get(index),
        )
        for number, (index, face) in enumerate(zip(chosen, drawable(crops, style), strict=True))
    )


def checked_frame(segment: ExplainedSegment, frames: Sequence[Frame]) -> str:
    """What the figure calls the frame whose map is checked, the one with the most attention; "one frame" undrawn."""
    shown = segment.saliency.shown
    return f"frame {frames[chosen_crops(segment).index(shown[0])].letter}" if frames and shown else "one frame"


def frame_blocks(segment: ExplainedSegment, frames: Sequence[Frame], width_in: float, *, wide: bool) -> list[Block]:
    """The column of frames; a reason in the place of what is missing.

    Args:
        segment: explained, with at least one face.
        frames: to draw, from `frames_of`; none where faces are left out.
        width_in: of the column.
        wide: the column has the whole width of the figure: two frames stand in a row.
    """
    title = "Frames that the attention favours" if segment.attention.faces is not None else "Frames"
    if not frames:
        return [text_block(title, ["Faces were left out of this figure."], width_in)]
    limit = limit_of(*(frame.saliency for frame in frames if frame.saliency is not None))
    blocks: list[Block] = []
    for images, group in ((2, [frame for frame in frames if frame.saliency is not None]), (1, _without_map(frames))):
        stacked = not wide and images == 2 and len(frames) == 1
        per_row = 1 if stacked else (4 if wide else 2) // images
        for first in range(0, len(group), per_row):
            row = group[first : first + per_row]
            blocks.append(_row_block(row, "" if blocks else title, width_in, limit, images, per_row, stacked=stacked))
    if segment.saliency.faces is None:
        reason = segment.saliency.reason or "it was not computed"
        blocks.append(text_block("", [f"No saliency of faces: {reason}."], width_in))
    elif limit:
        blocks.append(
            Block(
                "", 0.1, lambda axes: _draw_scale(axes, limit), below_in=AXIS_IN, inset=(0.3, max(0.3, width_in - 2.3))
            )
        )
    if segment.attention.spatial is None:
        reason = segment.attention.spatial_reason or "there is none"
        blocks.append(text_block("", [f"No spatial attention: {reason}."], width_in))
    return blocks


def _without_map(frames: Sequence[Frame]) -> list[Frame]:
    return [frame for frame in frames if frame.saliency is None]


def _row_block(
    row: Sequence[Frame], title: str, width_in: float, limit: float, images: int, per_row: int, *, stacked: bool
) -> Block:
    """Frames beside one another, each with its images: spatial attention, and saliency where there are two."""
    across = 1 if stacked else per_row * images
    image_in = min((width_in - _GAP_IN * (across - 1 + per_row - 1)) / across, _LARGEST_IN)
    # What the images are stands above the first row only, unless one frame's stand below one another.
    named = _CAPTION_IN * (bool(title) or stacked or images == 1)
    height = _CAPTION_IN + named + image_in + (named + image_in + _GAP_IN) * stacked

    def draw(axes: Axes) -> None:
        axes.set_axis_off()
        axes.set(xlim=(0.0, width_in), ylim=(height, 0.0))
        for number, frame in enumerate(row):
            left = number * (images * image_in + (images + 1) * _GAP_IN)
            axes.text(left, 0.0, frame.caption, fontweight="bold", va="top", fontsize=SMALL_PT)
            names = ("face" if frame.spatial is None else "spatial attention", "saliency")
            for place, (name, paint) in enumerate(zip(names, (_draw_spatial, _draw_saliency), strict=True)):
                if place and frame.saliency is None:
                    continue
                x = left + (0.0 if stacked else place * (image_in + _GAP_IN))
                y = _CAPTION_IN + place * (named + image_in + _GAP_IN) * stacked
                if named:
                    axes.text(x, y, name, color=GREY, va="top", fontsize=SMALL_PT)
                bottom = height - y - named - image_in
                inner = axes.inset_axes((x / width_in, bottom / height, image_in / width_in, image_in / height))
                paint(inner, frame, limit)

    return Block(title, height, draw)


def _bare(axes: Axes) -> None:
    axes.set(xlim=(0.0, 1.0), ylim=(1.0, 0.0), xticks=[], yticks=[])
    axes.grid(visible=False)
    for side in axes.spines.values():
        side.set(visible=True, color=GREY, linewidth=0.6)


def _draw_spatial(axes: Axes, frame: Frame, limit: float) -> None:
    """The face, faded to white where the spatial attention is low; a contour at half of its largest weight."""
    import cv2

    base = np.full((_DRAWN_PX, _DRAWN_PX, 3), _FLAT, np.float64)
    if frame.face.pixels is not None:
        base = cv2.resize(frame.face.pixels, (_DRAWN_PX, _DRAWN_PX), interpolation=cv2.INTER_AREA).astype(np.float64)
    if frame.spatial is not None:
        largest = float(frame.spatial.max())
        weights = frame.spatial / largest if largest > 0 else np.zeros_like(frame.spatial)
        smooth = _over_face(weights)
        kept = (_VEILED + (1 - _VEILED) * smooth.astype(np.float64))[..., None]
        base = base * kept + 255 * (1 - kept)
    axes.imshow(base.round().astype(np.uint8), extent=(0, 1, 1, 0), aspect="auto", interpolation="bilinear")
    if frame.spatial is not None and largest > 0:
        centres = (np.arange(_DRAWN_PX) + 0.5) / _DRAWN_PX
        axes.contour(centres, centres, smooth, levels=[0.5], colors=[INK], linewidths=0.9)
    _draw_outlines(axes, frame.face)
    _bare(axes)


def _over_face(weights: npt.NDArray[np.floating]) -> npt.NDArray[np.float32]:
    """(h, w) weights over the drawn face; weight k is of the surroundings of pixel k * stride, not of a tile."""
    import cv2

    rows, columns = ((np.arange(_DRAWN_PX) * size / _DRAWN_PX).clip(0, size - 1) for size in weights.shape)
    x, y = np.meshgrid(columns.astype(np.float32), rows.astype(np.float32))
    return np.asarray(cv2.remap(weights.astype(np.float32), x, y, cv2.INTER_LINEAR), np.float32)


def _draw_saliency(axes: Axes, frame: Frame, limit: float) -> None:
    """Points of each cell over a grey face, or over an outline in styles without pixels."""
    import cv2

    assert frame.saliency is not None
    base = np.full((_DRAWN_PX, _DRAWN_PX, 3), 255.0)
    if frame.face.pixels is not None:
        small = cv2.resize(frame.face.pixels, (_DRAWN_PX, _DRAWN_PX), interpolation=cv2.INTER_AREA)
        grey = small.astype(np.float64) @ np.array([0.299, 0.587, 0.114])
        base = np.repeat((255 * _LIGHT + (1 - _LIGHT) * grey)[..., None], 3, axis=2)
    if limit:
        relative = cv2.resize(frame.saliency / limit, (_DRAWN_PX, _DRAWN_PX), interpolation=cv2.INTER_LINEAR)
        colours = 255 * diverging()(0.5 + 0.5 * np.sign(relative))[..., :3]
        opacity = (_STRONGEST * np.abs(relative).clip(0, 1))[..., None]
        base = base * (1 - opacity) + colours * opacity
    axes.imshow(base.round().astype(np.uint8), extent=(0, 1, 1, 0), aspect="auto", interpolation="bilinear")
    _draw_outlines(axes, frame.face)
    draw_contours(axes, frame.saliency, _CONTOUR * limit, (0.0, 1.0, 0.0, 1.0))
    _bare(axes)


def _draw_outlines(axes: Axes, face: DrawableFace) -> None:
    """Landmarks and the outline of a face that is nobody's; nothing where pixels are drawn."""
    if face.pixels is not None:
        return
    axes.add_patch(Ellipse(*_OUTLINE, fill=False, edgecolor=GREY, linewidth=1.0, linestyle=(0, (1, 1.5))))
    for line in face.lines:
        axes.plot(line[:, 0], line[:, 1], color=INK, linewidth=1.0)
    if len(face.points):
        axes.plot(
            face.points[:, 0], face.points[:, 1], ".", color=INK, markersize=3.5 if len(face.points) < 10 else 1.6
        )


def _draw_scale(axes: Axes, limit: float) -> None:
    figure = axes.get_figure(root=True)
    assert figure is not None
    colours = ScalarMappable(Normalize(-limit, limit), diverging())
    scale = figure.colorbar(colours, cax=axes, orientation="horizontal", extend="both", extendfrac=0.04)
    scale_ticks(scale, limit)
    scale.set_label("points of the score a cell", fontsize=SMALL_PT)
