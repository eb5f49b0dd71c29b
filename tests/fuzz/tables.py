"""Parquet and Arrow files whose columns have other types, values or names, or whose bytes are damaged."""

from __future__ import annotations

import datetime
import decimal
import io
from collections.abc import Callable
from typing import Any

from tests.fuzz.mutations import NUMBERS, TEXTS, Rng, damage_bytes, damage_json


def damage_arrow(rng: Rng, data: bytes) -> bytes:
    """A Parquet or Arrow file, damaged as bytes or as a table."""
    if rng.random() < 0.4:
        return damage_bytes(rng, data)
    import pyarrow as pa
    import pyarrow.parquet as pq

    is_parquet = data.startswith(b"PAR1")
    source = pa.BufferReader(data)
    table = pq.read_table(source) if is_parquet else pa.ipc.open_file(source).read_all()
    for _ in range(rng.choice((1, 1, 2))):
        table = _damage_table(rng, table)
    file = io.BytesIO()
    if is_parquet:
        pq.write_table(table, file)
    else:
        with pa.ipc.new_file(file, table.schema) as writer:
            for batch in table.to_batches(max_chunksize=1):
                writer.write_batch(batch)
    return file.getvalue()


def _damage_table(rng: Rng, table: Any) -> Any:
    """A table with one column lost, doubled, renamed or filled otherwise, with other rows, or with other metadata."""
    if not table.num_columns:
        return table
    place = rng.randrange(table.num_columns)
    name = table.column_names[place]
    metadata = table.schema.metadata
    match rng.randrange(8):
        case 0:
            return table.remove_column(place)
        case 1:
            return table.append_column(name, table.column(place))
        case 2:
            names = [*table.column_names]
            names[place] = rng.choice(
                (name.upper(), f" {name}", rng.choice([text for text in TEXTS if text.isascii()]))
            )
            return table.rename_columns(names).replace_schema_metadata(metadata)
        case 3:
            return table.slice(rng.randrange(table.num_rows + 1), rng.randrange(table.num_rows + 1))
        case 4 if metadata:
            key = rng.choice(list(metadata))
            return table.replace_schema_metadata({**metadata, key: _other_metadata(rng, metadata[key])})
        case _:
            return table.set_column(place, name, _column(rng, table.num_rows)).replace_schema_metadata(metadata)


def _other_metadata(rng: Rng, value: bytes) -> bytes:
    try:
        return damage_json(rng, value)
    except ValueError:
        return damage_bytes(rng, value)


def _column(rng: Rng, rows: int) -> Any:
    """A column of some type, with missing and odd values."""
    import pyarrow as pa

    moment = datetime.datetime(2026, 3, 4, 10, 15, tzinfo=datetime.UTC)
    kinds: list[tuple[Any, Callable[[], Any]]] = [
        (pa.string(), lambda: rng.choice([text for text in (*TEXTS, *NUMBERS) if "\ud800" not in text])),
        (pa.large_string(), lambda: "x"),
        (pa.binary(), lambda: rng.randbytes(4)),
        (pa.int64(), lambda: rng.choice((-1, 0, 3, (1 << 63) - 1))),
        (pa.uint64(), lambda: rng.choice((0, (1 << 64) - 1))),
        (pa.uint8(), lambda: rng.randrange(256)),
        (pa.float64(), lambda: rng.choice((float("nan"), float("inf"), -1.0, 1e308, 3.0))),
        (pa.float32(), lambda: 1.5),
        (pa.bool_(), lambda: rng.random() < 0.5),
        (pa.timestamp("ns"), lambda: moment.replace(tzinfo=None)),
        (pa.timestamp("us", tz="UTC"), lambda: moment),
        (pa.date32(), moment.date),
        (pa.time64("us"), moment.time),
        (pa.duration("s"), lambda: datetime.timedelta(seconds=rng.randrange(99))),
        (pa.decimal128(20, 3), lambda: decimal.Decimal("1.250")),
        (pa.list_(pa.float32()), lambda: [1.0] * rng.randrange(4)),
        (pa.list_(pa.uint8()), lambda: [rng.randrange(256)] * rng.randrange(40)),
        (pa.list_(pa.binary()), lambda: [rng.randbytes(9)] * rng.randrange(3)),
        (pa.struct([("a", pa.int64())]), lambda: {"a": 1}),
        (pa.null(), lambda: None),
    ]
    kind, make = rng.choice(kinds)
    missing = rng.choice((0.0, 0.0, 0.3))
    array = pa.array([None if rng.random() < missing else make() for _ in range(rows)], kind)
    return array.dictionary_encode() if kind == pa.string() and rng.random() < 0.3 else array
