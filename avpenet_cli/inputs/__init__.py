"""Which recordings a command was given: files, folders, patterns and lists become recordings with distinct names."""

from __future__ import annotations

from avpenet_cli.inputs.collecting import Inputs, Recording, collect, display_name
from avpenet_cli.inputs.left_aside import Aside, LeftAside
from avpenet_cli.inputs.suffixes import RECORDING_SUFFIXES

__all__ = ["RECORDING_SUFFIXES", "Aside", "Inputs", "LeftAside", "Recording", "collect", "display_name"]
