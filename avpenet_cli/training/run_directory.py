"""Before a run begins: may these rows be learned from, and does the run's folder belong to it?"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from avpenet_cli.dataset.splits import Split, check_no_leak
from avpenet_cli.dataset.store import SegmentStore
from avpenet_cli.errors import OutputError, SettingsError
from avpenet_cli.storage import storage_fault, write_json
from avpenet_cli.training.initial import digest_of_files
from avpenet_cli.training.settings import TrainSettings

RUN_FILE, CHECKPOINT_FILE = "run.json", "last.ckpt"
RUN_VERSION = 1
_NAMED = 5


def check_store(store: SegmentStore, left_out_site: str | None) -> dict[Split, np.ndarray]:
    """Rows to learn from, to stop by and to test on.

    Raises:
        SettingsError: a subject or recording in two splits; nobody to train on or to stop by.
    """
    rows: dict[Split, np.ndarray] = {
        "train": store.rated("train", left_out_site),
        "validation": store.rated("validation", left_out_site),
        "test": store.rated("test", left_out_site),
    }
    index = store.index
    used = [index.loc[numbers, ["subject", "recording"]].assign(split=name) for name, numbers in rows.items()]
    check_no_leak(pd.concat(used))
    if left_out_site is None:
        check_no_leak(index)
    for name in ("train", "validation"):
        if not len(rows[name]):
            raise SettingsError(
                f"the store {store.path} has no rated segment to {'train on' if name == 'train' else 'stop by'}",
                "prepare it with more subjects, or with other shares (--split)",
            )
    return rows


def claim(folder: Path, store: SegmentStore, settings: TrainSettings, init: Sequence[Path], resume: bool) -> bool:
    """Make the run's folder, or see that what is in it belongs to this run.

    Returns:
        Whether there is a checkpoint to go on from.

    Raises:
        OutputError: a run is there and `resume` was not given, or it is another run; it cannot be written.
    """
    wanted = {
        "run_version": RUN_VERSION,
        "store": store.digest,
        "settings": settings.result_fingerprint_fields,
        "init": digest_of_files(init),
    }
    wanted = json.loads(json.dumps(wanted))
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        there = json.loads((folder / RUN_FILE).read_text(encoding="utf-8"))
    except FileNotFoundError:
        if not folder.parent.is_dir():
            raise OutputError(f"{folder.parent} is not there", "create the folder first") from None
        if any(not path.name.startswith(".") for path in folder.iterdir()):
            raise OutputError(f"{folder} holds something else", "choose another --out") from None
        write_json(folder / RUN_FILE, wanted)
        return False
    except FileExistsError:
        raise OutputError(f"{folder} is a file", "choose another --out") from None
    except ValueError:
        raise OutputError(f"{folder / RUN_FILE} is damaged", "remove the folder, or choose another --out") from None
    except OSError as error:
        raise storage_fault(folder, error) from None
    if not resume:
        raise OutputError(
            f"{folder} holds a run already", "give --resume to go on with it, remove it, or choose another --out"
        )
    if there != wanted:
        raise OutputError(
            f"{folder} holds another run: {_difference(there, wanted)}", "give what it began with, or another --out"
        )
    return (folder / CHECKPOINT_FILE).exists()


def _difference(there: dict[str, Any], wanted: dict[str, Any]) -> str:
    for name, words in (("store", "another store, or prepared again since"), ("init", "other files to start from")):
        if there.get(name) != wanted[name]:
            return words
    before, now = there.get("settings", {}), wanted["settings"]
    names = [name for name in before | now if before.get(name) != now.get(name)]
    return (
        "; ".join(f"{name} was {before.get(name)}, now {now.get(name)}" for name in names[:_NAMED]) or "another version"
    )
