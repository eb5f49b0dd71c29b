"""Count the saliency maps of recordings that pass each check: `python -m tests.bench.map_checks RECORDING...`."""

from __future__ import annotations

import argparse
import dataclasses
import time
from pathlib import Path

import numpy as np
import torch

from avpenet_cli.explanation.attention import attention
from avpenet_cli.explanation.explained import Float32, Saliency, SanityCheck, SegmentInputs
from avpenet_cli.explanation.map_settings import MapSettings
from avpenet_cli.explanation.saliency import Tokens, Varied, faces_to_show, occlusion, varied_audio, varied_face
from avpenet_cli.explanation.sanity import check
from avpenet_cli.explanation.scorer import SegmentNetwork
from tests.support.explanations import read_recording

_SEED = 1


_STEPS = {"audio": 24, "face": 8}


def gradients(
    network: SegmentNetwork, inputs: SegmentInputs, tokens: Tokens, shown: tuple[int, ...], settings: MapSettings
) -> Saliency:
    """Integrated gradients (Sundararajan et al. 2017, arXiv 1703.01365), summed over the same cells."""
    varied = varied_audio(network, inputs, tokens, settings)
    faces = [varied_face(network, inputs, tokens, index, settings) for index in shown]
    return Saliency(
        _integrated(varied, _STEPS["audio"]) if isinstance(varied, Varied) else None,
        np.stack([_integrated(face, _STEPS["face"]) for face in faces if isinstance(face, Varied)]) if faces else None,
        shown,
    )


def _integrated(varied: Varied, steps: int) -> Float32:
    from captum.attr import IntegratedGradients

    values = IntegratedGradients(varied.score).attribute(
        varied.input, varied.baseline, n_steps=steps, method="riemann_middle", internal_batch_size=4
    )
    summed = values.detach().float().sum(dim=1, keepdim=True)
    rows, columns = varied.cell
    cells: Float32 = torch.nn.functional.avg_pool2d(summed, varied.cell, ceil_mode=True)[0, 0].numpy() * rows * columns
    return cells


def main() -> None:
    """Map and check every so-many-th scored segment, and print each, the shares that passed, and CPU seconds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("recordings", nargs="+", type=Path)
    parser.add_argument("--every", type=int, default=3, help="take each so-many-th segment")
    parser.add_argument("--gradients", action="store_true", help="integrated gradients in place of occlusion")
    arguments = parser.parse_args()
    method = gradients if arguments.gradients else occlusion
    # Repetition is bit for bit, so one segment of each recording is enough.
    settings, checks, seconds = MapSettings(), list[SanityCheck](), list[float]()
    for path in arguments.recordings:
        read = read_recording(path)
        for number, inputs in enumerate(read.inputs[:: arguments.every]):
            current = dataclasses.replace(settings, repeated=number == 0)
            began = time.process_time()
            with torch.no_grad():
                tokens = read.network.tokens(inputs)
            shown = faces_to_show(inputs, attention(read.network, inputs), current)
            maps = method(read.network, inputs, tokens, shown, current)
            results, _ = check(read.network, inputs, tokens, maps, current, _SEED, method)
            seconds.append(time.process_time() - began)
            checks += results
            print(f"{path.name} segment {inputs.record.segment}, score {inputs.record.score}, {seconds[-1]:.0f} CPU s")
            for result in results:
                print(f"  {result.name} {result.modality}: {result.passed} {result.value:.3f} ({result.limit:.3f})")
    for name, modality in sorted({(result.name, result.modality) for result in checks}):
        made = [result for result in checks if (result.name, result.modality) == (name, modality)]
        passed, failed = (sum(result.passed is value for result in made) for value in (True, False))
        values = np.array([result.value for result in made if result.passed is not None])
        spread = f", values {values.min():.3f} to {values.max():.3f}" if len(values) else ""
        print(f"{name} {modality}: {passed} passed, {failed} failed, {len(made) - passed - failed} not made{spread}")
    print(f"median {np.median(seconds):.0f} CPU s a segment")


if __name__ == "__main__":
    main()
