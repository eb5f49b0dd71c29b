"""The precision that `auto` means depends on the processor alone."""

from __future__ import annotations

import pytest
import torch

from avpenet_cli.errors import EnvironmentUnavailableError
from avpenet_cli.runs.device import choose_precision, precision_warning, resolve_settings
from avpenet_cli.settings import RunSettings

CPU = torch.device("cpu")
CHECKS = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")


@pytest.mark.parametrize(("supported", "meant"), [((), "float32"), *[((check,), "bfloat16") for check in CHECKS]])
def test_auto_is_bfloat16_where_the_cpu_multiplies_in_it(
    supported: tuple[str, ...], meant: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for check in CHECKS:
        monkeypatch.setattr(torch.cpu, check, lambda check=check: check in supported)
    assert choose_precision("auto", CPU) == meant
    assert resolve_settings(RunSettings(device="cpu", precision="auto")).precision == meant
    for wanted in ("float32", "bfloat16"):
        assert choose_precision(wanted, CPU) == wanted
    emulated = precision_warning(RunSettings(precision="bfloat16"), CPU)
    assert bool(emulated) == (not supported)
    assert not precision_warning(RunSettings(), CPU)


@pytest.mark.parametrize(("capability", "meant"), [((7, 5), "float32"), ((8, 0), "bfloat16"), ((9, 0), "bfloat16")])
def test_auto_is_bfloat16_from_compute_capability_8(
    capability: tuple[int, int], meant: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    assert choose_precision("auto", torch.device("cuda", 0)) == meant


def test_int8_is_for_cpus() -> None:
    assert choose_precision("int8", CPU) == "int8"
    with pytest.raises(EnvironmentUnavailableError, match="int8: not on cuda:0"):
        choose_precision("int8", torch.device("cuda", 0))
