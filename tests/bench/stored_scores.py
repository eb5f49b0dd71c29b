"""Score a store's segments from encoder outputs that are kept.

`python -m tests.bench.stored_scores STORE EMBEDDINGS OUT.csv`. EMBEDDINGS is the folder that `avpenet train` or
`avpenet experiment` leaves with `cache_embeddings`; what is missing there is computed. OUT.csv has the columns that
`avpenet trajectory` and `avpenet report` read, with a spread from Monte Carlo dropout. Scores differ slightly from
those of `avpenet score`: five faces a segment, kept in half precision.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from avpenet_cli.dataset.store import SegmentStore
from avpenet_cli.model.inference import mc_scores
from avpenet_cli.training.embeddings import load_or_compute_embeddings
from avpenet_cli.training.settings import TrainSettings
from avpenet_cli.weights.finding import find
from avpenet_cli.weights.loading import load_network

_COLUMNS = ["recording", "segment", "start_s", "end_s", "reason", "face_rate", "face_confidence", "flags"]


def main() -> None:
    """Write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("store", type=Path)
    parser.add_argument("embeddings", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--weights", default="avpenet-phantom")
    parser.add_argument("--mc-samples", type=int, default=50)
    options = parser.parse_args()
    torch.set_num_threads(1)
    store = SegmentStore.open(options.store)
    network = load_network(find(options.weights))
    settings = TrainSettings(validation_frames=5, cache_embeddings=True, device="cpu")
    kept = load_or_compute_embeddings(options.embeddings, store, network, settings)
    table = store.index[_COLUMNS].copy()
    scores = np.full((len(table), 4), np.nan)
    for row in kept.rows.tolist():
        item = kept.item(row, np.nan)
        audio, faces, places = (torch.from_numpy(np.ascontiguousarray(values))[None] for values in item[:3])
        with torch.inference_mode():
            scores[row, 0] = float(network.score(audio, faces, None, places)[0])
        samples = mc_scores(network, audio, faces, None, options.mc_samples, 42 + row, places).numpy()
        scores[row, 1:] = samples.std(ddof=1), *np.percentile(samples, [2.5, 97.5])
    table[["score", "score_sd", "score_lo", "score_hi"]] = scores.round(3)
    table["status"] = np.where(np.isfinite(scores[:, 0]), "scored", "unscorable")
    pd.DataFrame(table).to_csv(options.out, index=False)


if __name__ == "__main__":
    main()
