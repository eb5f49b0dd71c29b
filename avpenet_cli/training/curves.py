"""Training curves: one row per epoch, as a table and as a figure."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from avpenet_cli.storage import atomic_write

CURVES_FILE, FIGURE_FILE = "curves.csv", "curves.png"


class EpochRow(NamedTuple):
    """One epoch, counted from 1.

    Attributes:
        encoder_rate, fusion_rate: learning rates.
        loss, mse, ordinal, boundary: means over the epoch's training segments; the three terms are unweighted.
        validation_mae, validation_rmse, validation_bias: points of the scale.
    """

    epoch: int
    stage: int
    encoder_rate: float
    fusion_rate: float
    loss: float
    mse: float
    ordinal: float
    boundary: float
    validation_mae: float
    validation_rmse: float
    validation_bias: float


def write_curves(folder: Path, rows: Sequence[EpochRow]) -> None:
    """Write `curves.csv` and `curves.png`; raises as `atomic_write`."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(EpochRow._fields)
    writer.writerows([f"{value:.8g}" if isinstance(value, float) else value for value in row] for row in rows)
    with atomic_write(folder / CURVES_FILE) as file:
        file.write(text.getvalue().encode())
    with atomic_write(folder / FIGURE_FILE) as file:
        file.write(_draw(rows))


def _draw(rows: Sequence[EpochRow]) -> bytes:
    """PNG: loss above, validation errors below, a line where stage 2 starts."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    from avpenet_cli.report.figures.style import BLUE, DASHED, GREY, ORANGE

    figure = Figure(figsize=(7.2, 5.4), layout="constrained")
    canvas = FigureCanvasAgg(figure)
    above, below = figure.subplots(2, 1, sharex=True)
    epochs = [row.epoch for row in rows]
    above.plot(epochs, [row.loss for row in rows], color=BLUE, marker=".", label="training loss")
    above.set_ylabel("loss, points squared")
    below.plot(epochs, [row.validation_mae for row in rows], color=BLUE, marker=".", label="MAE")
    below.plot(epochs, [row.validation_rmse for row in rows], color=ORANGE, marker=".", linestyle=DASHED, label="RMSE")
    below.set_ylabel("validation error, points")
    below.set_xlabel("epoch")
    best = min(rows, key=lambda row: row.validation_mae)
    below.plot([best.epoch], [best.validation_mae], "o", color=BLUE, label=f"best MAE {best.validation_mae:.2f}")
    second = [row.epoch for row in rows if row.stage == 2]
    for axes in (above, below):
        axes.grid(alpha=0.3)
        axes.set_ylim(bottom=0)
        if second and second[0] > 1:
            axes.axvline(second[0] - 0.5, color=GREY, linewidth=1)
        axes.legend(frameon=False)
    above.set_title("Training; the line marks the start of stage 2" if second else "Training")
    png = io.BytesIO()
    canvas.print_png(png)  # type: ignore[no-untyped-call]
    return png.getvalue()
