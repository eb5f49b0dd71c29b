"""Whether weights rank inputs that are unlike their training data: area under the ROC curve (AUC), no validation.

    .venv/bin/python -m weights.recipe.sanity_check audio DATA
    .venv/bin/python -m weights.recipe.sanity_check heads DATA

DATA is a folder of your own with `cries/`, `noise/` (.ogg), `videos/`, `mesh/` and `SOURCES.md`, a table whose first
column names each cry and whose sixth describes it. `audio` compares real cries with room noise and with speech, by the
recordings' mean scores from audio alone. `heads` makes phantoms with head models that were kept out of training, and
compares segments in pain (4 and more) with those without (under 1). An AUC of 0.5 is chance.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Annotated

import numpy as np
import pandas as pd
import typer
from scipy.stats import mannwhitneyu

CRY = "infant cry (clear"
SPEECH = (
    "grid_bbaf2n.mpg",
    "grid_brbk7n.mpg",
    "grid_lwbsza.mpg",
    "grid_swiz3n.mpg",
    "autoeditor_example_voice_noface.mp4",
)
_PAIN, _NO_PAIN = 4.0, 1.0

app = typer.Typer(help=__doc__, add_completion=False)
Data = Annotated[Path, typer.Argument(help="Folder with SOURCES.md, cries, noise, videos and mesh.")]
Weights = Annotated[str | None, typer.Option(help="Name or file of the weights; by default those of the program.")]


def auc(higher: np.ndarray, lower: np.ndarray) -> float:
    """Probability that a value of `higher` exceeds one of `lower`, ties counted half (Hanley and McNeil 1982), [0, 1].

    NaN where either is empty.
    """
    if not len(higher) or not len(lower):
        return float("nan")
    return float(mannwhitneyu(higher, lower).statistic) / (len(higher) * len(lower))


def _avpenet(*arguments: object) -> None:
    done = subprocess.run([sys.executable, "-m", "avpenet_cli", *map(str, arguments)], check=False)
    # 1: some recording failed; the table has the others.
    if done.returncode not in (0, 1):
        raise typer.Exit(done.returncode)


def _score(inputs: list[Path], weights: str | None, out: Path) -> pd.DataFrame:
    listed = out.with_suffix(".txt")
    listed.write_text("\n".join(map(str, inputs)))
    _avpenet("score", "--files-from", listed, *(["--weights", weights] if weights else []), "--out", out, "-q")
    table = pd.read_csv(out).dropna(subset="score")
    # Silent segments between utterances say nothing about a voice.
    return table[~table["flags"].fillna("").str.split().map(lambda flags: "silent" in flags).astype(bool)]


def _cries(data: Path) -> list[Path]:
    """Those that SOURCES.md calls clear: other files hold noise, or nothing."""
    rows = [line.split("|") for line in (data / "SOURCES.md").read_text(encoding="utf-8").splitlines()]
    names = [row[1].strip() for row in rows if len(row) > 6 and row[6].strip().startswith(CRY)]
    # A cleaned copy is the same cry.
    return [data / "cries" / name for name in names if "_cleaned" not in name]


@app.command()
def audio(data: Data, weights: Weights = None) -> None:
    """Compare real cries with noise and with speech, by audio alone."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        groups: dict[str, list[Path]] = {
            "cries": _cries(data),
            "noise": sorted((data / "noise").glob("*.ogg")),
            "speech": [],
        }
        # With video these speakers would be scored by face as well.
        for name in SPEECH:
            wav = folder / f"{name}.wav"
            extract = ["ffmpeg", "-v", "error", "-i", str(data / "videos" / name), "-vn", str(wav)]
            subprocess.run(extract, check=True)
            groups["speech"].append(wav)
        means = {}
        for group, paths in groups.items():
            table = _score([path.absolute() for path in paths], weights, folder / f"{group}.csv")
            means[group] = table.groupby("recording")["score"].mean().to_numpy()
            # Recordings shorter than half a segment have no score.
            print(f"{group}: {len(means[group])} of {len(paths)} recordings, mean score {means[group].mean():.2f}")
    for group in ("noise", "speech"):
        print(f"cries over {group}: AUC {auc(means['cries'], means[group]):.2f}")


@app.command()
def heads(data: Data, weights: Weights = None, subjects: int = 8, seed: int = 4242, minutes: float = 0.5) -> None:
    """Compare phantoms in pain with others, on heads that were kept out of training."""
    models = {"ICT-FaceKit": "ict_facekit/ict_facekit_light.npz", "MakeHuman": "makehuman_mpfb2"}
    with tempfile.TemporaryDirectory() as temporary:
        for name, model in models.items():
            folder = Path(temporary) / name
            order = [
                "--subjects",
                subjects,
                "--seed",
                seed,
                "--minutes",
                minutes,
                "--head-model",
                data / "mesh" / model,
            ]
            ages = ["--age-group", "adult"] if name == "ICT-FaceKit" else []
            _avpenet("phantom", "make", "--out", folder, *order, *ages, "-q")
            table = _score(sorted(folder.glob("*.mp4")), weights, folder.with_suffix(".csv"))
            truth = pd.read_csv(folder / "truth.csv")
            truth["segment"] = (truth["start_s"] // 3).astype(int)
            pain = truth.groupby(["recording", "segment"])["value"].median().rename("pain").reset_index()
            both = table.merge(pain, on=["recording", "segment"])
            high = both.loc[both["pain"] >= _PAIN, "score"].to_numpy()
            low = both.loc[both["pain"] < _NO_PAIN, "score"].to_numpy()
            print(
                f"{name}: {len(high)} segments in pain, {len(low)} without, AUC {auc(high, low):.2f}; "
                f"MAE of all {len(both)}: {(both['score'] - both['pain']).abs().mean():.2f}"
            )


if __name__ == "__main__":
    app()
