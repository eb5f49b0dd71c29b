"""What the fuzzers try: files that the program wrote or people would bring, and what reads them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.fuzz import mutations, tables
from tests.fuzz.mutations import Rng


@dataclass(frozen=True)
class Case:
    """Files and what reads them.

    Attributes:
        name: for reports.
        corpus: folder of the intact files, all of which a trial copies.
        damaged: of these, the ones of which each trial damages one; a name may be a pattern.
        read: reads the copies, given their folder. Anything that it raises besides an `AvpenetError` is a finding.
        reseal: gives a JSON document its digests again.
        weight: how often it is tried, beside the other cases of a target.
        refused: that the intact files are refused, too, at the end.
    """

    name: str
    corpus: str
    damaged: tuple[str, ...]
    read: Callable[[Path], object]
    reseal: Callable[[Any], Any] | None = None
    weight: float = 1.0
    refused: bool = False


def damage_file(rng: Rng, path: Path, reseal: Callable[[Any], Any] | None = None) -> None:
    """Damage a file in place, as its suffix suggests; now and then it becomes empty."""
    if rng.random() < 0.01:
        path.write_bytes(b"")
        return
    with path.open("rb") as file:
        start = file.read(16)
    data = path.read_bytes()
    if start.startswith(b"SQLite format 3"):
        mutations.damage_database(rng, path)
        return
    match path.suffix:
        case ".csv":
            changed = mutations.damage_csv(rng, data)
        case ".json" | ".boris":
            changed = mutations.damage_json(rng, data, reseal)
        case ".jsonl":
            changed = mutations.damage_json_lines(rng, data)
        case ".parquet" | ".arrow":
            changed = tables.damage_arrow(rng, data)
        case ".safetensors":
            changed = mutations.damage_safetensors(rng, data)
        case ".toml" | ".eaf" | ".txt":
            changed = (mutations.damage_bytes if rng.random() < 0.2 else mutations.damage_text)(rng, data)
        case _:
            changed = mutations.damage_bytes(rng, data)
    path.write_bytes(changed)
