"""Saliency as it is drawn: cells in colours that also differ in shape, on a mel axis in Hz."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.colorbar import Colorbar
from matplotlib.colors import Colormap, LinearSegmentedColormap

from avpenet_cli.report.figures.style import INK, SMALL_PT
from avpenet_cli.report.figures.wording import signed
from avpenet_cli.settings import WINDOW_S, AudioSettings

LOWERS, RAISES = "#0b5394", "#c8620a"
"""Colours of what lowers and what raises the score; blue and orange differ for all common kinds of colour blindness."""

_WITHIN_SCALE = 0.98
"""Share of the cells within the colour scale; without it a single cell would leave the others pale."""

_MEL_FRAMES = 300
"""Of a segment; 10 ms each."""

HZ_TICKS = (100, 500, 1000, 2000, 4000, 8000)

# Slaney's mel scale (Auditory Toolbox, 1998): linear below 1 kHz, 15 mels; logarithmic above, 27 mels for a factor 6.4.
_BREAK_HZ, _BREAK_MEL = 1000.0, 15.0
_MEL_PER_LOG = 27.0 / math.log(6.4)


def diverging() -> Colormap:
    """From blue, which lowers the score, by white to orange, which raises it."""
    return LinearSegmentedColormap.from_list("saliency", [LOWERS, "#ffffff", RAISES])


def limit_of(*maps: npt.NDArray[np.float32]) -> float:
    """End of a colour scale that is symmetric about zero: the magnitude that 2 % of the cells exceed.

    The largest magnitude where fewer cells differ from zero; 0 where none does.
    """
    if not maps:
        return 0.0
    magnitudes = np.concatenate([np.abs(cells).ravel() for cells in maps])
    return float(np.quantile(magnitudes, _WITHIN_SCALE)) or float(magnitudes.max())


def token_times_s(count: int) -> npt.NDArray[np.float64]:
    """Middles of the surroundings that audio tokens summarise, s in the segment.

    An encoder with strides of 2 has its first token at the beginning and the others a stride apart; where `count` fits
    no such stride, the tokens are taken for equal parts of the segment.
    """
    for stride in (2**power for power in range(1, 9)):
        if -(-_MEL_FRAMES // stride) == count:
            return np.asarray(np.arange(count) * (stride * WINDOW_S / _MEL_FRAMES), np.float64)
    return (np.arange(count) + 0.5) * WINDOW_S / count


def mel_of(frequency_hz: float) -> float:
    """Frequency on Slaney's mel scale."""
    if frequency_hz < _BREAK_HZ:
        return frequency_hz * _BREAK_MEL / _BREAK_HZ
    return _BREAK_MEL + math.log(frequency_hz / _BREAK_HZ) * _MEL_PER_LOG


def band_of(frequency_hz: float, settings: AudioSettings) -> float:
    """Position of a frequency among the mel bands: 0 is the centre of the lowest, `mel_bands` - 1 that of the last."""
    low, high = mel_of(settings.mel_low_hz), mel_of(settings.mel_high_hz)
    return (mel_of(frequency_hz) - low) / (high - low) * (settings.mel_bands + 1) - 1


def hz_ticks(settings: AudioSettings) -> tuple[list[float], list[str]]:
    """Places among the mel bands, and labels, of the frequencies that fit on the axis; Hz."""
    places, labels = [], []
    for frequency_hz in HZ_TICKS:
        place = band_of(frequency_hz, settings)
        if -0.5 <= place <= settings.mel_bands + 0.5:
            places.append(min(place, settings.mel_bands - 0.5))
            labels.append(f"{frequency_hz}")
    return places, labels


def draw_contours(
    axes: Axes, cells: npt.NDArray[np.float32], level: float, extent: tuple[float, float, float, float]
) -> None:
    """Outline what raises the score (solid) and what lowers it (dashed), so that they differ in black and white.

    Args:
        axes: with the map.
        cells: (rows, columns) points.
        level: magnitude at which contours run, of cells smoothed over their neighbours.
        extent: left, right, and what the first and the last row border on, in the axes' units.
    """
    from scipy.ndimage import gaussian_filter

    rows, columns = cells.shape
    left, right, first, last = extent
    x = left + (np.arange(columns) + 0.5) * (right - left) / columns
    y = first + (np.arange(rows) + 0.5) * (last - first) / rows
    smooth = gaussian_filter(cells, 0.55, mode="nearest")
    for values, style in ((smooth, "solid"), (-smooth, (0, (3, 1.6)))):
        if level and float(values.min()) < level < float(values.max()):
            axes.contour(x, y, values, levels=[level], colors=[INK], linewidths=0.8, linestyles=[style])


def scale_ticks(scale: Colorbar, limit: float) -> None:
    """Label the ends and the middle of a colour scale, points."""
    ticks = (-limit, 0.0, limit) if limit else (0.0,)
    scale.set_ticks(list(ticks))
    scale.set_ticklabels([points(value) for value in ticks])
    scale.ax.tick_params(labelsize=SMALL_PT, length=2, pad=2)


def points(value: float) -> str:
    """Points of the score with two significant digits and a sign: "+0.034"."""
    if value == 0:
        return "0"
    return signed(value, max(0, min(5, 1 - math.floor(math.log10(abs(value))))))
