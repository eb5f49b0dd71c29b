"""The device that computes, and the precision it computes in."""

from __future__ import annotations

import dataclasses
from typing import Literal

import torch

from avpenet_cli.errors import EnvironmentUnavailableError, SettingsError
from avpenet_cli.model import onednn
from avpenet_cli.settings import Precision, RunSettings


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
    """The device for people to read and, for a GPU of this machine, its model: `cuda:0 (NVIDIA H200)`."""
    here = device.type == "cuda" and torch.cuda.is_available()
    return f"{device} ({torch.cuda.get_device_name(device)})" if here else str(device)


def choose_precision(wanted: Literal["auto"] | Precision, device: torch.device) -> Precision:
    """The precision that a setting means on a device; `auto` is bfloat16 where the device computes in it.

    It depends on the kind of processor alone, never on a measurement, so that it is the same in every run.

    Raises:
        EnvironmentUnavailableError: int8, on a device that has no 8-bit convolutions.
    """
    if wanted == "int8" and not onednn.is_available(device, "int8"):
        raise EnvironmentUnavailableError(
            f"--precision int8: not on {device}, only on x86 CPUs with AVX2", "use --precision auto"
        )
    if wanted != "auto":
        return wanted
    return "bfloat16" if has_bfloat16(device) else "float32"


def has_bfloat16(device: torch.device) -> bool:
    """Whether the device multiplies in bfloat16: a CPU with AVX512-BF16 or AMX, a GPU of compute capability 8.0."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    # Internals of torch, which is pinned; without them `auto` is float32.
    checks = (getattr(torch.cpu, name, None) for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"))
    return any(check is not None and bool(check()) for check in checks)


def resolve_settings(run: RunSettings) -> RunSettings:
    """Settings whose precision is that of their device, as they belong into a manifest and a fingerprint.

    Raises:
        EnvironmentUnavailableError, SettingsError: as `choose_device`.
    """
    return dataclasses.replace(run, precision=choose_precision(run.precision, choose_device(run.device)))


def precision_warning(run: RunSettings, device: torch.device) -> str:
    """What a user must know about the precision on this device, in one line; empty if nothing."""
    elsewhere = device.type == "cuda" and not torch.cuda.is_available()
    if run.precision != "bfloat16" or elsewhere or has_bfloat16(device):
        return ""
    return "this processor has no bfloat16 and emulates it, which is slow; --precision auto takes float32 here"
