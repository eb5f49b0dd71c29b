"""Measure weights on data that they have not learnt from, against the goals for the bundled weights.

    python -m weights.recipe.measure DATA --out measured
    python -m weights.recipe.measure DATA --out measured --weights other.safetensors --only voices,faces

DATA is a folder of your own, see the README beside this file; `splits.py` says which people and devices are measured.
Each part is measured on its own: where one fails, the others are still measured, and the same command resumes. The
figures are in `OUT/scores-DIGEST/measures.json`, the scores of each recording in the tables beside it.
"""

from __future__ import annotations

import json
import os
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from avpenet_cli.errors import AvpenetError
from avpenet_cli.settings import RunSettings, from_dict
from avpenet_cli.storage import write_json
from weights.recipe.measures.audio import cries, surroundings, voices
from weights.recipe.measures.faces import altered, faces, videos
from weights.recipe.measures.inputs import SEED, Inputs
from weights.recipe.measures.phantoms import other_heads, phantoms, photographic
from weights.recipe.measures.rows import COLUMNS, Row, cells
from weights.recipe.measures.scoring import RecordingScorer

PARTS: dict[str, Callable[[Inputs], list[Row]]] = {
    "voices": voices,
    "cries": cries,
    "surroundings": surroundings,
    "faces": faces,
    "videos": videos,
    "altered": altered,
    "other-heads": other_heads,
    "phantoms": phantoms,
    "photographic": photographic,
}

app = typer.Typer(help=__doc__, add_completion=False)


@app.command()
def main(
    data: Annotated[Path, typer.Argument(help="Folder with emogator, cries_more, noise, faces_london, mesh, videos.")],
    out: Annotated[Path, typer.Option(help="Folder for made recordings, scores and figures.")] = Path("measured"),
    weights: Annotated[str | None, typer.Option(help="Name or file; by default those of the program.")] = None,
    only: Annotated[str, typer.Option(help=f"Some of {','.join(PARTS)}.")] = ",".join(PARTS),
    surroundings: Annotated[
        Path | None, typer.Option(help="Folder of sounds with index.csv; by default that of DATA.")
    ] = None,
    subjects: Annotated[int, typer.Option(help="Phantoms of each kind.")] = 80,
    seed: Annotated[int, typer.Option(help="Of the phantoms.")] = SEED,
    minutes: Annotated[float, typer.Option(help="Length of each phantom's recording.")] = 0.5,
    fps: Annotated[float | None, typer.Option(help="Of the phantoms; by default their cameras' own.")] = None,
    precision: Annotated[str, typer.Option(help="Of the encoders: float32 or bfloat16.")] = "float32",
    quick: Annotated[bool, typer.Option("--quick", help="Fewer recordings, for a first look.")] = False,
    jobs: Annotated[int | None, typer.Option(help="Processes; by default one per core.")] = None,
) -> None:
    """Measure weights and print the table."""
    parts = [name.strip() for name in only.split(",")]
    if unknown := [name for name in parts if name not in PARTS]:
        raise typer.BadParameter(f"no such part: {', '.join(unknown)}")
    console, jobs = Console(stderr=True), jobs or os.cpu_count() or 1
    if surroundings is None and (data / "surroundings" / "index.csv").exists():
        surroundings = data / "surroundings"
    run = from_dict(RunSettings, {"precision": precision}, "--precision")
    scorer = RecordingScorer(weights, out, jobs, lambda part, done, total: _progress(console, part, done, total), run)
    inputs = Inputs(data, surroundings, out, scorer, subjects, seed, minutes, fps, quick, jobs)
    path = scorer.folder / ("measures-quick.json" if quick else "measures.json")
    measured: dict[str, Any] = {}
    try:
        for name in parts:
            measured[name] = _measure(name, inputs, console)
            # Other parts may have been measured meanwhile by another run.
            others = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
            write_json(path, others | {"weights": scorer.mark, name: measured[name]})
    finally:
        scorer.close()
    _print(scorer.mark, measured)
    if failed := [name for name in parts if "error" in measured[name]]:
        console.print(f"not measured: {', '.join(failed)}")
        raise typer.Exit(1)


def _measure(name: str, inputs: Inputs, console: Console) -> dict[str, Any]:
    """Rows of a part, or why it could not be measured."""
    started = time.monotonic()
    try:
        rows = [row.to_dict() for row in PARTS[name](inputs)]
    except AvpenetError as error:
        console.print(f"{name}: {error}", markup=False)
        return {"error": str(error)}
    except Exception as error:
        # Whatever goes wrong in one part, the others are still worth measuring.
        console.print(f"{name}: {traceback.format_exc()}", markup=False)
        return {"error": f"{type(error).__name__}: {error}"}
    return {"rows": rows, "seconds": round(time.monotonic() - started, 1)}


def _progress(console: Console, part: str, done: int, total: int) -> None:
    if done == total or done % 50 == 0:
        console.print(f"{part}: {done} of {total} recordings", highlight=False)


def _print(mark: str, measured: dict[str, dict[str, Any]]) -> None:
    table = Table(*COLUMNS, title=mark)
    for name, result in measured.items():
        for row in cells(result.get("rows", [])):
            table.add_row(*row)
        if "error" in result:
            table.add_row(name, "not measured", *[""] * (len(COLUMNS) - 3), result["error"])
        table.add_section()
    # Wide enough for a file or a log, where rich would assume 80 columns.
    wide = Console() if Console().is_terminal else Console(width=200)
    wide.print(table, markup=False)


if __name__ == "__main__":
    app()
