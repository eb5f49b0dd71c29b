"""The folder of a training run, `NAME.train/`, and the rows of the store that the run uses."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from avpenet_cli.dataset.splits import Split, check_no_leak
from avpenet_cli.dataset.store import SegmentStore
from avpenet_cli.errors import OutputError, SettingsError
from avpenet_cli.runs.outputs import prepare_output_directory, read_run_file, refuse_existing
from avpenet_cli.settings import describe_differences, from_dict, to_dict
from avpenet_cli.storage import write_json
from avpenet_cli.training.settings import TrainSettings
from avpenet_cli.version import refuse_later

RUN_FILE, CHECKPOINT_FILE = "run.json", "last.ckpt"
RUN_VERSION = 2


@dataclass(frozen=True)
class RunIdentity:
    """`run.json`: a run can resume another only if these agree.

    Attributes:
        run_version: of the file. 1 called the settings under `audio` by the name `sound`.
        store: digest of the store.
        settings: flat; those that change the result.
        init: SHA-256 of the files given as initial parameters.
    """

    run_version: int
    store: str
    settings: dict[str, Any]
    init: list[str]

    @classmethod
    def of(cls, store: SegmentStore, settings: TrainSettings, init_digests: Sequence[str]) -> RunIdentity:
        """The identity of a run that is about to start."""
        return cls(RUN_VERSION, store.digest, settings.result_fingerprint_fields, list(init_digests))

    def differences(self, earlier: RunIdentity) -> str:
        """How this run differs from an earlier one; empty if it does not."""
        if self.store != earlier.store:
            return "another store, or one prepared again since"
        if self.init != earlier.init:
            return "other files to start from"
        return describe_differences(_current_names(earlier.settings), self.settings)


def _current_names(settings: dict[str, Any]) -> dict[str, Any]:
    """The settings of an earlier version: some had other names, and there was one network only."""
    return {"network": "avpenet", "init_parts": "all"} | {
        re.sub(r"^sound\.", "audio.", name): value for name, value in settings.items()
    }


def usable_rows(store: SegmentStore, left_out_site: str | None) -> dict[Split, np.ndarray]:
    """Rows of the store's index to train on, for early stopping, and to test on: (n,) int64 by split.

    Raises:
        SettingsError: a subject or recording in two splits; no subjects for training or early stopping.
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
    purposes: dict[Split, str] = {"train": "to train on", "validation": "for early stopping"}
    for name, purpose in purposes.items():
        if not len(rows[name]):
            raise SettingsError(
                f"the store {store.path} has no rated segment {purpose}",
                "prepare it with more subjects, or with other shares (--split)",
            )
    return rows


def prepare_run_directory(folder: Path, identity: RunIdentity, resume: bool) -> bool:
    """Create the run's folder, or check that its content belongs to this run.

    Returns:
        Whether there is a checkpoint to resume from.

    Raises:
        OutputError: it contains a run and `resume` was not given, another run, or something else; it cannot be
            written.
    """
    path = folder / RUN_FILE
    # Without `run.json`, nothing in the folder is known to belong to a run; with it, notes beside the run do no harm.
    started = path.exists()
    prepare_output_directory(folder, lambda name: started)
    if not resume:
        refuse_existing(path, "give --resume to continue it, remove its folder, or choose another --out")
    content = read_run_file(path, "remove the folder, or choose another --out")
    if content is None:
        write_json(path, to_dict(identity))
        return False
    refuse_later(str(path), content.get("run_version"), RUN_VERSION)
    differences = identity.differences(from_dict(RunIdentity, content, str(path)))
    if differences:
        raise OutputError(
            f"{folder} holds another run: {differences}", "give the settings it began with, or choose another --out"
        )
    return (folder / CHECKPOINT_FILE).exists()
