"""`avpenet weights`: list, show, verify, import, install and pack weights."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from avpenet_cli.weights import WeightsEntry

app = typer.Typer(help="List, check, import and install weights.", no_args_is_help=True)

NameOrPath = Annotated[str, typer.Argument(help="A name from `avpenet weights list`, or a .safetensors file.")]
Key = Annotated[
    Path | None,
    typer.Option("--key", metavar="KEY.pub", help="OpenSSH public key that must have signed the weights."),
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace other weights of that name.")]


@app.command("list")
def list_weights() -> None:
    """List all weights on the search path."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from avpenet_cli import weights
    from avpenet_cli.settings import to_dict

    table = Table("name", "status", "network", "variant", "digest", "location", box=None, pad_edge=False)
    for entry in weights.list_entries():
        if isinstance(entry, weights.UnusableWeights):
            cells = [entry.path.stem, "unusable", "", entry.problem, "", str(entry.path)]
        else:
            description = entry.description
            variant = ", ".join(v for v in to_dict(description.architecture).values() if isinstance(v, str))
            location = "built in" if entry.path is None else str(entry.path)
            cells = [entry.name, description.status, description.network, variant, entry.digest[:12], location]
        table.add_row(*(Text(cell, overflow="fold") for cell in cells))
    console = Console()
    console.print(table)
    console.print("Search path: " + ", ".join(map(str, weights.search_folders())), markup=False, highlight=False)


@app.command("show")
def show(
    weights_name: NameOrPath, as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False
) -> None:
    """Show the description of weights: status, training data, intended use, preprocessing."""
    import json

    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from avpenet_cli import weights
    from avpenet_cli.settings import flatten

    fields = weights.describe(weights.find(weights_name))
    if as_json:
        typer.echo(json.dumps(fields, indent=2, ensure_ascii=False))
        return
    table = Table(box=None, show_header=False, pad_edge=False)
    for field, value in flatten(fields).items():
        text = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
        table.add_row(field, Text(text, overflow="fold"))
    Console().print(table)


@app.command("verify")
def verify(
    names: Annotated[list[str] | None, typer.Argument(help="Names or .safetensors files; all weights if none.")] = None,
    key: Key = None,
) -> None:
    """Verify digests, the name, shape and type of every tensor, and with --key the signature beside the weights."""
    from avpenet_cli import weights
    from avpenet_cli.errors import SettingsError, WeightsError

    if key is not None and not names:
        raise SettingsError("--key needs the names of the weights that it signed", "name them")
    keys = () if key is None else weights.read_public_keys(key)
    problems: list[str] = []
    installed = (e.name if isinstance(e, weights.WeightsEntry) else str(e.path) for e in weights.list_entries())
    for name in names or installed:
        try:
            entry = weights.find(name)
            signer = f", signed with {weights.verify_signature(entry, keys)}" if keys else ""
            weights.verify(entry)
            typer.echo(f"{entry.name}: intact, digest {entry.digest}{signer}")
        except WeightsError as error:
            typer.echo(f"{name}: NOT usable: {error}")
            problems.append(name)
    if problems:
        raise WeightsError(f"not usable: {', '.join(problems)}", "install them again from their source")


@app.command("import")
def import_checkpoint(
    checkpoint: Annotated[Path, typer.Argument(help="A .pth file of the authors' training code.")],
    name: Annotated[
        str | None, typer.Option(help="Name of the new weights; by default the file name without suffix.")
    ] = None,
    folder: Annotated[
        Path | None, typer.Option(help="Folder for the new weights; your weights folder by default.")
    ] = None,
    training_data: Annotated[
        str, typer.Option(help="Training data of the checkpoint.")
    ] = "not stated by the checkpoint",
    licence: Annotated[str, typer.Option(help="Licence of the weights.")] = "not stated by the checkpoint",
    overwrite: Overwrite = False,
) -> None:
    """Convert a checkpoint of the authors' code. No code in the file is executed."""
    from avpenet_cli import checkpoints

    entry = checkpoints.import_checkpoint(
        checkpoint, folder, name, training_data=training_data, licence=licence, overwrite=overwrite
    )
    _print_usage("imported", entry)


@app.command("install")
def install(
    file: Annotated[Path, typer.Argument(help="A .safetensors file with its .json beside it.")],
    key: Key = None,
    overwrite: Overwrite = False,
) -> None:
    """Verify a pair of files and copy it, with its signature if it has one, into your weights folder."""
    from avpenet_cli import weights

    keys = () if key is None else weights.read_public_keys(key)
    _print_usage("installed", weights.install(file, overwrite, keys))


@app.command("pack")
def pack(
    weights_name: NameOrPath,
    out: Annotated[Path, typer.Option(metavar="NEWNAME.safetensors", help="New file, under another name.")],
    overwrite: Overwrite = False,
) -> None:
    """Write an 8-bit quantised copy of weights, a quarter of the size. Its scores differ slightly."""
    from avpenet_cli import weights

    _print_usage("packed", weights.pack_weights(weights_name, out, overwrite))


def _print_usage(action: str, entry: WeightsEntry) -> None:
    from avpenet_cli.weights import search_folders

    assert entry.path is not None
    on_path = entry.path.parent.resolve() in [folder.resolve() for folder in search_folders()]
    typer.echo(f"{action} {entry.name} as {entry.path}, digest {entry.digest}")
    typer.echo(f"use it with: avpenet score ... --weights {entry.name if on_path else entry.path}")
    if entry.description.notice:
        typer.echo(entry.description.notice)
