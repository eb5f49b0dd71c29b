"""Options that several commands share."""

from __future__ import annotations

from typing import Annotated

import typer

CsvBom = Annotated[
    bool, typer.Option("--csv-bom", help="Begin CSV files with a byte order mark, so that Excel reads UTF-8.")
]
Debug = Annotated[bool, typer.Option("--debug", help="Show tracebacks.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing unless something fails.")]
Recursive = Annotated[bool, typer.Option("--recursive", help="Include subfolders.")]
WeightsName = Annotated[str | None, typer.Option(help="Name or file of the weights; see avpenet weights list.")]
