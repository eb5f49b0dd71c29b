"""Make a set of weights of a trained network: quantise it where it was trained, describe it where it is kept.

    .venv/bin/python -m weights.recipe.finish quantise network.pt --out parts
    .venv/bin/python -m weights.recipe.finish describe parts --remark FILE --created FILE --licence TEXT \\
        --out weights/avpenet-phantom.safetensors

`quantise` writes 8-bit parameters in parts of at most 15 MiB, for machines that hand back only small files.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import torch
import typer
from safetensors.torch import load_file, save_file
from torch import Tensor

from avpenet_cli.model.architecture import Architecture
from avpenet_cli.settings import Preprocessing
from avpenet_cli.weights import WeightsDescription, save
from avpenet_cli.weights.packing import pack, unpack

_PART_BYTES = 15 << 20

app = typer.Typer(help=__doc__, add_completion=False)


@app.command()
def quantise(
    network: Annotated[Path, typer.Argument(help="State dict of weights.recipe.learn_fusion.")],
    out: Annotated[Path, typer.Option(help="Folder for the parts.")],
) -> None:
    """Write 8-bit parameters in small parts."""
    out.mkdir(parents=True, exist_ok=True)
    state = torch.load(network, weights_only=True, map_location="cpu")
    packed = pack({name: tensor.contiguous() for name, tensor in state.items()})
    part: dict[str, Tensor] = {}
    size, count = 0, 0
    for name, tensor in packed.items():
        own = tensor.numel() * tensor.element_size()
        if part and size + own > _PART_BYTES:
            save_file(part, out / f"part-{count}.safetensors")
            part, size, count = {}, 0, count + 1
        part[name] = tensor.contiguous()
        size += own
    save_file(part, out / f"part-{count}.safetensors")


@app.command()
def describe(
    parts: Annotated[Path, typer.Argument(help="Folder of `quantise`.")],
    remark: Annotated[Path, typer.Option(help="Text: what the weights learnt from, and with what result.")],
    created: Annotated[Path, typer.Option(help="Text: programs, settings and numbers of updates.")],
    out: Annotated[Path, typer.Option(help="NAME.safetensors.")],
    licence: Annotated[str, typer.Option(help="Licence of the weights.")],
    spread: Annotated[
        float, typer.Option(help="Factor on the logit of the score, from phantoms that are not tested on.")
    ] = 1.0,
) -> None:
    """Join the parts into weights with a description.

    A network that was trained to the median of what it cannot know stays away from both ends of the scale. A factor on
    the logit, which is the last layer's output, undoes part of that and keeps the order of all scores.
    """
    packed: dict[str, Tensor] = {}
    for path in sorted(parts.glob("part-*.safetensors")):
        packed |= load_file(path)
    state = unpack(packed)
    for name in ("head.fc3.weight", "head.fc3.bias"):
        state[name] = spread * state[name]
    description = WeightsDescription(
        name=out.stem,
        status="demonstration",
        intended_use="Trying out and commissioning the program; measuring phantoms; starting a site's own training.",
        not_intended_use="Patients, and decisions about them.",
        training_data=" ".join(remark.read_text(encoding="utf-8").split()),
        licence=licence,
        created_with=" ".join(created.read_text(encoding="utf-8").split()),
        architecture=Architecture(may_be_missing=("audio", "face")),
        preprocessing=Preprocessing(),
        notice="DEMONSTRATION weights, trained on simulated recordings and acted sounds, not for patients",
    )
    entry = save(state, description, out, overwrite=True, packed=True)
    print(f"{out}: digest {entry.digest[:12]}")


if __name__ == "__main__":
    app()
