"""The weights store: find, describe, verify, install and load sets of weights.

A set of weights is two files side by side: `NAME.safetensors`, tensors and nothing else, and `NAME.json`, a
description a person can read. The description holds the digest of the tensors, and its own digest holds both, so
nothing in either file changes unnoticed. (It guards against accidents and mix-ups. It is no signature: who alters a
file on purpose can compute a new digest, so outputs name the digest and sites should note it when they install.)

The built-in `untrained` weights have no file; they try the program out and must be asked for by name. Importing this
module imports no torch.
"""

from __future__ import annotations

from avpenet_cli.weights.description import (
    UNTRAINED,
    UNTRAINED_SEED,
    WeightsDescription,
    WeightsEntry,
    describe,
    may_be_called,
    untrained_entry,
)
from avpenet_cli.weights.finding import (
    DEFAULT_NAME,
    FOLDER_VARIABLE,
    UnusableWeights,
    default_entry,
    find,
    list_entries,
    require_file,
    search_folders,
    user_folder,
)
from avpenet_cli.weights.loading import load, load_network, verify
from avpenet_cli.weights.writing import install, pack_weights, save, store_folder

__all__ = [
    "DEFAULT_NAME",
    "FOLDER_VARIABLE",
    "UNTRAINED",
    "UNTRAINED_SEED",
    "UnusableWeights",
    "WeightsDescription",
    "WeightsEntry",
    "default_entry",
    "describe",
    "find",
    "install",
    "list_entries",
    "load",
    "load_network",
    "may_be_called",
    "pack_weights",
    "require_file",
    "save",
    "search_folders",
    "store_folder",
    "untrained_entry",
    "user_folder",
    "verify",
]
