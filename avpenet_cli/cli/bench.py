"""`avpenet bench`: how fast this machine scores, by stage."""

from __future__ import annotations

import json
import resource
import time
from pathlib import Path
from typing import Annotated

import typer

from avpenet_cli.cli.options import Debug


def bench(
    recording: Annotated[Path, typer.Argument(help="A recording of a minute or longer.")],
    weights: Annotated[str, typer.Option(help="Name or file of the weights.")] = "untrained",
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
    precision: Annotated[str, typer.Option(help="auto, float32 or bfloat16.")] = "float32",
    batch_size: Annotated[int, typer.Option(help="Number of faces encoded together.")] = 32,
    stride: Annotated[float, typer.Option(help="Seconds between segment starts.")] = 3.0,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    debug: Debug = False,
) -> int:
    """Score one recording and print seconds per stage, ms per segment and speed as a multiple of real time.

    Loading the program and the weights is not counted.
    """
    from avpenet_cli.runs.device import device_name
    from avpenet_cli.scoring.network import Network
    from avpenet_cli.scoring.scorer import Scorer
    from avpenet_cli.settings import RunSettings, from_dict
    from avpenet_cli.weights import find

    options = {"device": device, "precision": precision, "batch_size": batch_size, "stride_s": stride}
    run = from_dict(RunSettings, options, "command line")
    network = Network(find(weights), run)
    scorer = Scorer(network, run)
    started = time.perf_counter()
    outcome = scorer.score(recording)
    wall_s = time.perf_counter() - started
    seconds = outcome.balance.nominal_s if outcome.balance else 0.0
    peak_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    figures = {
        "device": device_name(network.device),
        "recorded_s": round(seconds, 2),
        "wall_s": round(wall_s, 2),
        "x_realtime": round(seconds / wall_s, 3),
        "segments": len(outcome.segments),
        "ms_per_segment": round(1000 * wall_s / max(1, len(outcome.segments)), 1),
        "peak_rss_mib": round(peak_kib / 1024),
    }
    if as_json:
        print(json.dumps(figures | {"stage_s": outcome.stage_s}))
        return 0
    for name, value in figures.items():
        print(f"{name:24} {value}")
    for stage, spent in sorted(outcome.stage_s.items(), key=lambda item: -item[1]):
        print(f"  {stage:22} {spent:8.2f} s  {100 * spent / wall_s:5.1f} %")
    return 0
