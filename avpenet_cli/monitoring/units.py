"""From segments to the units of the charts: patients in periods."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from avpenet_cli.keys import normalise_key
from avpenet_cli.monitoring.archive import Archive, Part
from avpenet_cli.monitoring.embeddings import Embeddings, distances
from avpenet_cli.monitoring.measures import INDEX, MEASURES
from avpenet_cli.stats.patient_ranks import Patients
from avpenet_cli.study.score_tables import weights_identity


@dataclass(frozen=True, eq=False)
class Units:
    """Patients in periods, grouped by one column.

    Attributes:
        levels: names of the level codes.
        baseline, new: the patients.
    """

    levels: tuple[str, ...]
    baseline: Patients
    new: Patients


def patients_by(archive: Archive, column: str | None) -> Units:
    """Means of each patient in each period at each level of a column; None: all are at one level.

    What comes from other weights than the baseline's has no value in measures that depend on weights.
    """
    baseline, new = (_grouped(part, column) for part in (archive.baseline, archive.new))
    level_names = sorted(set(baseline["_level"]) | set(new["_level"]))
    subjects = {name: code for code, name in enumerate(sorted(set(baseline["subject"]) | set(new["subject"])))}
    of_weights = [measure.name for measure in MEASURES if measure.of_weights]
    new.loc[new["weights"] != weights_identity(archive.weights), of_weights] = np.nan
    codes = [{name: code for code, name in enumerate(sorted(set(table["period"])))} for table in (baseline, new)]
    codes[1] = {name: code for code, name in enumerate(archive.periods)}
    made = []
    for table, period_code in zip((baseline, new), codes, strict=True):
        made.append(
            Patients(
                values=table[[measure.name for measure in MEASURES]].to_numpy(dtype=np.float64, copy=True),
                patient=table["subject"].map(subjects).to_numpy(dtype=np.int64),
                level=table["_level"].map({name: code for code, name in enumerate(level_names)}).to_numpy(np.int64),
                period=np.array([period_code[name] for name in table["period"]], dtype=np.int64),
            )
        )
    _add_novelty(archive, (baseline, new), made)
    return Units(tuple(level_names), made[0], made[1])


def _grouped(part: Part, column: str | None) -> pd.DataFrame:
    """One row for each patient, period, level and weights: means of the segments, and the recordings."""
    segments = part.segments
    level = segments[column] if column is not None else pd.Series("", index=segments.index)
    keys = ["subject", "period", "_level", "weights"]
    groups = segments.assign(_level=level).groupby(keys, sort=True)
    # Equal values stay equal, whatever the order or number of the segments they are means of.
    table: pd.DataFrame = groups[[measure.name for measure in MEASURES]].mean().round(9)
    table["_recordings"] = groups["recording"].unique()
    return table.reset_index()


def _add_novelty(archive: Archive, tables: Sequence[pd.DataFrame], made: Sequence[Patients]) -> None:
    """Write the distances of the embeddings into the values of both parts."""
    parts = (archive.baseline, archive.new)
    if any(part.embeddings is None for part in parts):
        return
    means = [_mean_embeddings(table, part.embeddings) for table, part in zip(tables, parts, strict=True)]
    means[1][(tables[1]["weights"] != weights_identity(archive.weights)).to_numpy()] = np.nan
    for patients, mean in zip(made, means, strict=True):
        patients.values[:, INDEX["novelty"]] = distances(mean, patients.patient, means[0], made[0].patient)


def _mean_embeddings(table: pd.DataFrame, embeddings: Embeddings | None) -> npt.NDArray[np.float64]:
    assert embeddings is not None
    means = np.full((len(table), embeddings.dimensions), np.nan)
    for place, recordings in enumerate(table["_recordings"]):
        found = [embeddings.of_recording.get(normalise_key(str(name))) for name in recordings]
        arrays = [array for array in found if array is not None]
        if arrays:
            means[place] = np.concatenate(arrays).mean(axis=0, dtype=np.float64)
    return means
