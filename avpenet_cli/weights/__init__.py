"""Find, describe, verify, install and load sets of weights.

A set of weights is two files side by side: `NAME.safetensors` with the tensors, and `NAME.json` with a readable
description. The description contains the digest of the tensors, and its own digest covers both, so no change of either
file goes unnoticed. This guards against accidents and mix-ups. It is no signature: whoever alters a file on purpose
can compute a new digest, so outputs name the digest and sites should record it when they install weights. Against that,
a third file, `NAME.json.sig`, may hold a detached signature (`signatures`), which is checked on request.

`load` and `load_network` read the file of tensors once and verify what they read before they set any parameter;
`verify` checks a set of weights without loading it.

The built-in `untrained` weights have no file, are for trying out the program, and must be requested by name. Importing
this package imports no torch.
"""

from __future__ import annotations

from avpenet_cli.weights.description import (
    UNTRAINED,
    UNTRAINED_SEED,
    WeightsDescription,
    WeightsEntry,
    describe,
    is_valid_name,
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
from avpenet_cli.weights.signatures import read_public_keys, verify_signature
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
    "is_valid_name",
    "list_entries",
    "load",
    "load_network",
    "pack_weights",
    "read_public_keys",
    "require_file",
    "save",
    "search_folders",
    "store_folder",
    "untrained_entry",
    "user_folder",
    "verify",
    "verify_signature",
]
