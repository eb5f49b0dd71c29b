"""The device that computes."""

from __future__ import annotations

import torch

from avpenet_cli.errors import EnvironmentUnavailableError, SettingsError


def choose_device(wanted: str) -> torch.device:
    """The device that a setting names; `auto` is the first GPU where there is one, else the CPU.

    Raises:
        EnvironmentUnavailableError: a GPU was asked for and there is none.
        SettingsError: not the name of a device.
    """
    if wanted == "auto":
        return torch.device("cuda:0" if torch.cuda.is_available() else "cpu")
    if wanted == "cpu":
        return torch.device("cpu")
    name, _, number = wanted.partition(":")
    if name != "cuda" or (number and not number.isdecimal()):
        raise SettingsError(f"--device {wanted}: no such kind of device", "use auto, cpu, cuda or cuda:N")
    index = int(number or 0)
    if not torch.cuda.is_available():
        raise EnvironmentUnavailableError(
            f"--device {wanted}: no usable GPU here", "see avpenet doctor, or use --device cpu"
        )
    if index >= torch.cuda.device_count():
        raise EnvironmentUnavailableError(
            f"--device {wanted}: there are {torch.cuda.device_count()} GPUs, counted from 0", ""
        )
    return torch.device("cuda", index)


def device_name(device: torch.device) -> str:
    """The device for people to read and, for a GPU, its model: `cuda:0 (NVIDIA H200)`."""
    return f"{device} ({torch.cuda.get_device_name(device)})" if device.type == "cuda" else str(device)
