"""Parquet: shards of maps, and tables of labels."""

import hashlib
import io
import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from advcam.datasets.catalogue import LAYOUTS
from advcam.datasets.check import check_dataset
from advcam.datasets.synthetic.folder import write_label_table
from advcam.store.maps import MapStore, StoredMaps
from advcam.types import Attribution
from fuzz.mutation import VALUES, of_bytes
from fuzz.target import Target


def _map_reader(folder: Path) -> Callable[[bytes], object]:
    """A shard that fits its name, read by every public method."""

    def of(content: bytes) -> None:
        for path in folder.iterdir():
            path.unlink()
        checksum = hashlib.sha256(content).hexdigest()[:16]
        (folder / f"part-00000000-00000001-g0-{checksum}.parquet").write_bytes(content)
        store = MapStore(folder)
        store.index()
        store.class_ids()
        for id_ in list(store.ids())[:2]:
            store.get(id_)
        for row in store:
            row.attribution.label_mask(0.3)

    return of


def _map_shards(folder: Path) -> list[bytes]:
    maps, scores = np.full((1, 2, 3), 0.5, dtype=np.float32), np.ones(1, dtype=np.float32)
    steps = np.zeros((1, 2, 2, 3), dtype=np.float32)
    plain = Attribution((4,), ("cat",), maps, (20, 30), scores)
    rows = [
        StoredMaps("a.jpg", 9, plain),
        StoredMaps("b.jpg", 8, Attribution((4,), ("cat",), maps, (20, 30), scores, steps)),
    ]
    name = MapStore(folder).write(rows, 0, 1)
    return [(folder / name.file).read_bytes()]


def _table_reader(folder: Path) -> Callable[[bytes], object]:
    write_label_table(folder, pictures=2, kind="parquet")

    def of(content: bytes) -> None:
        (folder / "labels.parquet").write_bytes(content)
        check_dataset(LAYOUTS["table"](folder))

    return of


def _tables(folder: Path) -> list[bytes]:
    write_label_table(folder, pictures=3, kind="parquet")
    return [(folder / "labels.parquet").read_bytes()]


def of_parquet(content: bytes, draw: random.Random) -> bytes:
    """Change one cell, or what its column holds; the rest of the file fits."""
    try:
        table = pq.read_table(io.BytesIO(content))
        columns = {name: table[name].to_pylist() for name in table.column_names}
    except Exception:  # noqa: BLE001, whatever pyarrow raises
        return of_bytes(content, draw)
    if not columns or not table.num_rows or draw.random() < 0.3:
        return of_bytes(content, draw)
    name = draw.choice(list(columns))
    column = columns[name]
    old = column[draw.randrange(len(column))]
    new = draw.choice((None, b"\0", [-1, 2, 3], [2**30, 2**30], [], [None], -1, 2**31 - 1, float("nan"), *VALUES))
    if isinstance(old, bytes) and draw.random() < 0.5:
        new = of_bytes(old, draw)
    column[draw.randrange(len(column))] = new
    buffer, place = io.BytesIO(), table.schema.get_field_index(name)
    try:
        changed = table.set_column(place, name, _array(column, new, table.schema.field(name).type))
        if draw.random() < 0.1:
            changed = changed.drop([draw.choice(list(columns))])
        pq.write_table(changed.replace_schema_metadata(table.schema.metadata), buffer, write_page_checksum=True)
    except Exception:  # noqa: BLE001, a value of no type that Parquet has
        return of_bytes(content, draw)
    return buffer.getvalue()


def _array(column: list[object], new: object, kind: pa.DataType) -> pa.Array:
    """The column in its type, or in that of the new value where that does not fit."""
    try:
        return pa.array(column, kind)
    except (pa.ArrowException, TypeError, ValueError, OverflowError):
        return pa.array([new] * len(column))


TARGETS = (
    Target("map-shard", _map_reader, _map_shards, of_parquet),
    Target("label-parquet", _table_reader, _tables, of_parquet),
)
