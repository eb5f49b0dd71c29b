"""Predictions are kept as they were made; those that cannot be right, or of a changed store, are refused."""

from __future__ import annotations

import stat
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from avpenet_cli.errors import AvpenetError, OutputError
from avpenet_cli.experiment.predictions import _METADATA, COLUMNS, PredictionKey, Predictions, write_predictions
from tests.experiment.experiments import Experiment, make_index, read_predictions, system


def test_predictions_survive_a_round_trip(folder: Path) -> None:
    made = Experiment(folder)
    site = "Ward 3/../é"
    table = made.rows("test", "clean", 1.0, (1,))
    table["score"] = [np.nan, *table["score"].tolist()[1:]]
    for key in (PredictionKey("avpenet", 3), PredictionKey("avpenet", 3, site), PredictionKey("avpenet", 12)):
        path = write_predictions(folder, key, table)
        assert path.parent == folder and stat.S_IMODE(path.stat().st_mode) == 0o600
    (folder / ".avpenet-seed-3.parquet.x.tmp").write_bytes(b"left by a killed run")
    predictions = Predictions(folder)
    assert predictions.keys == (
        PredictionKey("avpenet", 3),
        PredictionKey("avpenet", 3, site),
        PredictionKey("avpenet", 12),
    )
    back = predictions.read(PredictionKey("avpenet", 3, site))
    assert tuple(back.columns) == COLUMNS and set(back["left_out_site"]) == {site}
    assert np.isnan(back["score"].iloc[0])
    assert back["score"].to_numpy()[1:] == pytest.approx(table["score"].to_numpy()[1:].round(3), abs=1e-12)
    assert len(read_predictions(folder)) == 3 * len(table)
    assert not len(read_predictions(folder.parent))


def test_predictions_that_cannot_be_right_are_refused(folder: Path) -> None:
    made = Experiment(folder)
    table = made.rows("test", "clean", 1.0, (1,))
    key = PredictionKey("avpenet", 1)
    with pytest.raises(AvpenetError, match=r"avpenet, seed 1, clean: segment \d of r\d+\.mp4 has a score outside"):
        write_predictions(folder, key, table.assign(score=np.inf))
    with pytest.raises(AvpenetError, match="occurs twice"):
        write_predictions(folder, key, pd.concat([table, table]))
    with pytest.raises(AvpenetError, match="no name for a system"):
        write_predictions(folder, PredictionKey("../up", 1), table)
    assert not list(folder.iterdir())
    (folder / "avpenet-seed-1.parquet").write_bytes(b"PAR1 cut off")
    with pytest.raises(OutputError, match=r"avpenet-seed-1\.parquet cannot be read.*remove it"):
        Predictions(folder)
    table.to_parquet(folder / "avpenet-seed-1.parquet")
    with pytest.raises(OutputError, match="no predictions of this version"):
        Predictions(folder)


@pytest.mark.parametrize(
    "key", [b"[]", b"[" * 9000, b"3", b'{"version": 1, "system": [], "seed": {}, "left_out_site": 0}']
)
def test_predictions_whose_key_is_damaged_are_refused(folder: Path, key: bytes) -> None:
    table = pa.Table.from_pandas(Experiment(folder).rows("test", "clean", 1.0, (1,)))
    pq.write_table(table.replace_schema_metadata({_METADATA: key}), folder / "avpenet-seed-1.parquet")
    with pytest.raises(OutputError, match=r"no predictions of this version|cannot be read: nested too deeply"):
        Predictions(folder)


def test_predictions_of_a_changed_store_are_refused(folder: Path) -> None:
    made = Experiment(folder)
    made.add(system("avpenet"))
    made.index = made.index.assign(reference=made.index["reference"] + 0.5)
    with pytest.raises(OutputError, match="has another reference in the store; the store has changed"):
        made.analyse()
    made.index = make_index().query("subject != 's0'").reset_index(drop=True)
    with pytest.raises(OutputError, match=r"segment 0 of r0\.mp4, predicted by avpenet, is not rated in the store"):
        made.analyse()
