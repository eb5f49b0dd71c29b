"""Panels over the time of a segment: attention to audio and to faces, spectrogram, saliency of the audio."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from avpenet_cli.explanation.explained import ExplainedSegment
from avpenet_cli.explanation.figure_layout import AXIS_IN, Block, height_of, text_block
from avpenet_cli.explanation.maps import (
    diverging,
    draw_contours,
    hz_ticks,
    limit_of,
    scale_ticks,
    token_times_s,
)
from avpenet_cli.explanation.wording import no_audio
from avpenet_cli.report.figures.style import BLUE, DASHED, GREY, INK, ORANGE, SMALL_PT, panel_size_in
from avpenet_cli.settings import FRAME_STEP_S, WINDOW_S, AudioSettings

Draw = Callable[[Axes], None]

LEFT_IN, RIGHT_IN = 0.62, 0.66
"""Room for the labels left of a panel, and for the colour scale right of it."""

_ATTENTION_IN = 0.6
_MAP_IN = 1.3
_TALLEST_MAP_IN = 2.2
_CONTOUR = 0.3
"""Contours run at this share of the largest magnitude."""

ATTENTION_TO_AUDIO = "What faces attend to in the audio: weight, %; a bar summarises about 1 s"
SPECTROGRAM = "Spectrogram the network was given: frequency (Hz), louder is darker"
AUDIO_SALIENCY = "Saliency of the audio: frequency (Hz)"
ATTENTION_TO_FACES = "What the audio attends to in the faces: weight of each frame, %"


def time_blocks(
    segment: ExplainedSegment,
    settings: AudioSettings,
    width_in: float,
    marks: Sequence[tuple[str, float, float]],
    beside_in: float,
) -> list[Block]:
    """The column of panels that share the time axis; a reason in the place of what is missing.

    Args:
        segment: explained.
        settings: of the spectrogram's bands.
        width_in: of the column.
        marks: letter, time in the segment (s) and weight of the frames that are drawn.
        beside_in: height of the column beside it; the maps grow to make this one as high.
    """
    inset = (LEFT_IN, RIGHT_IN)
    attention, inputs, saliency = segment.attention, segment.inputs, segment.saliency
    blocks: list[Block] = []

    def add(title: str, height_in: float, draw: Draw | None, reason: str = "") -> None:
        if draw is None:
            blocks.append(text_block(title.split(":", maxsplit=1)[0], [f"Not drawn: {reason}."], width_in))
        else:
            blocks.append(Block(title, height_in, draw, inset=inset))

    if inputs.mel is None:
        blocks.append(text_block("Audio", [no_audio(inputs.record)], width_in))
    else:
        mel = inputs.mel
        weights = attention.audio
        add(
            ATTENTION_TO_AUDIO,
            _ATTENTION_IN,
            None if weights is None else lambda axes: draw_attention(axes, weights),
            attention.reason or "there is none",
        )
        add(SPECTROGRAM, _MAP_IN, lambda axes: draw_spectrogram(axes, mel, settings))
        values = saliency.audio
        add(
            AUDIO_SALIENCY,
            _MAP_IN,
            None if values is None else lambda axes: draw_saliency(axes, values, settings),
            saliency.reason or "it was not computed",
        )
    if len(inputs.crops):
        faces = attention.faces
        repeated = inputs.mel is not None and attention.audio is None and faces is None
        if not repeated:
            add(
                ATTENTION_TO_FACES,
                _ATTENTION_IN,
                None if faces is None else lambda axes: draw_frames(axes, faces, inputs.places, marks),
                attention.reason or "there is none",
            )
    blocks = _with_time_axis(blocks, inputs.record.end_s - inputs.record.start_s)
    maps = [number for number, block in enumerate(blocks) if block.height_in == _MAP_IN]
    for number in maps:
        grown = _MAP_IN + (beside_in - height_of(blocks)) / (len(maps) - maps.index(number))
        blocks[number] = replace(blocks[number], height_in=min(max(grown, _MAP_IN), _TALLEST_MAP_IN))
    return blocks


def _with_time_axis(blocks: list[Block], length_s: float) -> list[Block]:
    """The last panel names the axis, those above have ticks without labels; past the recording's end is hatched."""
    drawn_at = [number for number, block in enumerate(blocks) if block.draw is not None]
    for number in drawn_at:
        block, last = blocks[number], number == drawn_at[-1]
        inner = block.draw
        assert inner is not None

        def draw(axes: Axes, inner: Draw = inner, last: bool = last) -> None:
            inner(axes)
            axes.set_xlim(0.0, WINDOW_S)
            axes.set_xticks(np.arange(0.0, WINDOW_S + 0.01, 0.5))
            axes.tick_params(axis="x", labelbottom=last)
            if length_s < WINDOW_S - 1e-3:
                axes.axvspan(
                    length_s, WINDOW_S, facecolor="none", edgecolor=GREY, hatch="////", linewidth=0.0, zorder=4
                )
            if last:
                axes.set_xlabel("time in the segment (s)", fontsize=SMALL_PT)

        blocks[number] = replace(block, draw=draw, below_in=AXIS_IN if last else 0.0)
    return blocks


def draw_attention(axes: Axes, weights: npt.NDArray[np.float32]) -> None:
    """Weights of the audio tokens around the middle of what each summarises, and what equal weights would be."""
    times = token_times_s(len(weights))
    step_s = float(times[1] - times[0]) if len(times) > 1 else WINDOW_S
    _bars(axes, times, 100 * weights, step_s * 0.92)


def draw_frames(
    axes: Axes,
    weights: npt.NDArray[np.float32],
    places: npt.NDArray[np.int64],
    marks: Sequence[tuple[str, float, float]],
) -> None:
    """Weights of the frames; the letters of those that are drawn stand above them."""
    _bars(axes, (places + 0.5) * FRAME_STEP_S, 100 * weights, FRAME_STEP_S * 0.8)
    low, high = axes.get_ylim()
    room = 0.2 / panel_size_in(axes)[1] * (high - low)
    axes.set_ylim(low, high + room)
    for letter, time_s, weight in marks:
        axes.text(
            time_s,
            max(100 * weight, 100 / len(weights)),
            letter,
            ha="center",
            va="bottom",
            fontsize=SMALL_PT,
            fontweight="bold",
            color=INK,
        )


def _bars(axes: Axes, times_s: npt.NDArray[np.floating], percent: npt.NDArray[np.floating], width_s: float) -> None:
    axes.bar(times_s, percent, width=width_s, color=BLUE, linewidth=0, zorder=2)
    equal = 100 / len(percent)
    axes.axhline(equal, color=ORANGE, linestyle=DASHED, linewidth=1.2, zorder=3)
    axes.set_ylim(0.0, 1.08 * max(float(percent.max()), equal))
    axes.yaxis.set_major_locator(MaxNLocator(nbins=3, steps=[1, 2, 5, 10]))
    axes.grid(axis="x", visible=False)
    axes.annotate(
        "equal",
        (WINDOW_S, equal),
        xytext=(4, 0),
        textcoords="offset points",
        va="center",
        fontsize=SMALL_PT,
        color=INK,
        annotation_clip=False,
    )


def draw_spectrogram(axes: Axes, mel: npt.NDArray[np.float32], settings: AudioSettings) -> None:
    """Log-mel spectrogram in grey, loud is dark."""
    extent = (0.0, WINDOW_S, -0.5, mel.shape[0] - 0.5)
    axes.imshow(mel, origin="lower", aspect="auto", extent=extent, cmap="Greys", vmin=0.0, vmax=1.0)
    _frequency_axis(axes, settings)


def draw_saliency(axes: Axes, cells: npt.NDArray[np.float32], settings: AudioSettings) -> None:
    """Points of the score for each cell of time and frequency, with contours: solid raises it, dashed lowers it."""
    limit = limit_of(cells)
    extent = (0.0, WINDOW_S, -0.5, settings.mel_bands - 0.5)
    image = axes.imshow(
        cells,
        origin="lower",
        aspect="auto",
        extent=extent,
        cmap=diverging(),
        vmin=-(limit or 1.0),
        vmax=limit or 1.0,
        interpolation="nearest",
    )
    draw_contours(axes, cells, _CONTOUR * limit, extent)
    _frequency_axis(axes, settings)
    width = panel_size_in(axes)[0]
    bar = axes.inset_axes((1 + 0.08 / width, 0.0, 0.1 / width, 1.0))
    scale = axes.get_figure(root=True).colorbar(image, cax=bar, extend="both", extendfrac=0.04)  # type: ignore[union-attr]
    scale_ticks(scale, limit)


def _frequency_axis(axes: Axes, settings: AudioSettings) -> None:
    places, labels = hz_ticks(settings)
    axes.set_yticks(places, labels)
    axes.grid(visible=False)
    for side in axes.spines.values():
        side.set_color(GREY)
