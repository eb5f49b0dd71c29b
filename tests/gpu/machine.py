"""Facts about this machine as JSON: `python -m tests.gpu.machine DEVICE`."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import sys
from datetime import UTC, datetime

import torch

from avpenet_cli.errors import AvpenetError
from avpenet_cli.runs.device import choose_device, device_name


def facts_of(device: torch.device) -> dict[str, str]:
    """What the timings depend on."""
    libraries = ("torchvision", "facenet-pytorch", "lightning", "numpy", "opencv-python-headless")
    return {
        "device": device_name(device),
        "cores": str(os.cpu_count()),
        "Python": platform.python_version(),
        "torch": torch.__version__,
        "cuDNN": str(torch.backends.cudnn.version()),
        **{name: importlib.metadata.version(name) for name in libraries if _installed(name)},
        "date": f"{datetime.now(UTC):%Y-%m-%d}",
    }


def _installed(name: str) -> bool:
    try:
        importlib.metadata.distribution(name)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


if __name__ == "__main__":
    try:
        print(json.dumps(facts_of(choose_device(sys.argv[1]))))
    except AvpenetError as error:
        sys.exit(str(error))
