"""`avpenet bench`: how fast this machine scores, beside decoding alone, by stage."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_args

import typer

from avpenet_cli.cli.options import Debug
from avpenet_cli.errors import SettingsError
from avpenet_cli.phrasing import plural

if TYPE_CHECKING:
    from avpenet_cli.scoring.benchmark import Benchmark, PrecisionDifference


def bench(
    recording: Annotated[Path, typer.Argument(help="A recording of a minute or longer.")],
    weights: Annotated[str, typer.Option(help="Name or file of the weights.")] = "untrained",
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
    precision: Annotated[str, typer.Option(help="auto, float32, bfloat16 or int8.")] = "float32",
    batch_size: Annotated[int, typer.Option(help="Number of faces encoded together.")] = 32,
    stride: Annotated[float, typer.Option(help="Seconds between segment starts.")] = 3.0,
    repeat: Annotated[int, typer.Option(help="Repetitions; medians are printed.")] = 1,
    compare_precision: Annotated[
        bool, typer.Option("--compare-precision", help="Also score in every precision, and compare the scores.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    debug: Debug = False,
) -> int:
    """Score one recording and compare what it takes with decoding its video alone, which limits every program.

    Loading the program and the weights is not counted. Wall-clock times mean something only on an idle machine; CPU
    seconds count all cores.
    """
    if repeat < 1:
        raise SettingsError(f"--repeat {repeat}: must be at least 1", "leave it out for one repetition")

    from avpenet_cli.runs.device import resolve_settings
    from avpenet_cli.scoring.benchmark import compare_precisions, machine, measure
    from avpenet_cli.settings import Precision, RunSettings, from_dict
    from avpenet_cli.weights import find

    options = {"device": device, "precision": precision, "batch_size": batch_size, "stride_s": stride}
    run = resolve_settings(from_dict(RunSettings, options, "command line"))
    entry = find(weights)
    result = measure(recording, entry, run, repeat)
    differences = None
    if compare_precision:
        reference = result
        if result.precision != "float32":
            reference = measure(recording, entry, dataclasses.replace(run, precision="float32"))
        others = [name for name in get_args(Precision) if name != "float32"]
        differences = compare_precisions(recording, entry, run, others, reference.outcome)
    if as_json:
        plain: dict[str, Any] = machine() | {"repeat": repeat} | result.to_dict()
        if differences is not None:
            plain["precisions"] = [dataclasses.asdict(difference) for difference in differences]
        print(json.dumps(plain))
        return 0
    print("\n".join(_lines(result, machine(), repeat)))
    if differences is not None:
        print("\n".join(["", *_difference_lines(differences)]))
    return 0


def _lines(result: Benchmark, machine: dict[str, Any], repeat: int) -> list[str]:
    """What a person reads, in lines: the machine, what was done, a table, sums."""
    plain = result.to_dict()
    flags = f" ({' '.join(machine['cpu_flags'])})" if machine["cpu_flags"] else ""
    of_how_many = f"; medians of {repeat}" if repeat > 1 else ""
    lines = [
        f"{machine['cpu']}, {machine['cores']} cores{flags}",
        f"{plain['device']}, {plain['precision']}, threads: {plain['threads']}",
        f"{plain['recorded_s']} s recorded, {plural(plain['segments'], 'segment')}{of_how_many}",
        "",
        f"{'':26}{'wall s':>9}{'CPU s':>9}{'x decoding':>12}",
        _row("decoding alone (ffmpeg)", result.decoding.wall_s, result.decoding.cpu_s, result),
        _row("scoring", result.scoring.wall_s, result.scoring.cpu_s, result),
    ]
    rest_s = result.scoring.cpu_s - result.decoder_cpu_s - sum(result.stage_cpu_s.values())
    lines.append(_row("  its decoders", None, result.decoder_cpu_s, result))
    for name, cpu_s in sorted(result.stage_cpu_s.items(), key=lambda item: -item[1]):
        lines.append(_row(f"  {name}", result.stage_s.get(name), cpu_s, result))
    lines.append(_row("  other threads", None, max(0.0, rest_s), result))
    by_cpu, by_wall = result.share_of_decoding_speed
    return [
        *lines,
        "",
        f"speed: {plain['x_realtime']:g} x real time, {plain['ms_per_segment']:g} ms per segment",
        f"speed of decoding alone: {by_cpu:.3f} of it in CPU time, {by_wall:.3f} in wall-clock time",
        f"peak memory: {plain['peak_rss_mib']} MiB, its decoders {plain['decoder_peak_rss_mib']} MiB",
    ]


def _row(name: str, wall_s: float | None, cpu_s: float, result: Benchmark) -> str:
    wall = "" if wall_s is None else f"{wall_s:.2f}"
    return f"{name:26}{wall:>9}{cpu_s:>9.2f}{cpu_s / result.decoding.cpu_s:>12.2f}"


def _difference_lines(differences: list[PrecisionDifference]) -> list[str]:
    lines = [f"{'beside float32':26}{'largest':>9}{'mean':>9}{'CPU s':>12}{'x real time':>13}"]
    for row in differences:
        if row.unavailable:
            lines.append(f"{row.precision:26}not measured: {row.unavailable}")
        elif row.largest is None:
            lines.append(f"{row.precision:26}no segment was scored in both")
        else:
            lines.append(
                f"{row.precision:26}{row.largest:>9.3f}{row.mean:>9.4f}{row.cpu_s:>12.2f}{row.x_realtime:>13.2f}"
            )
    return lines
