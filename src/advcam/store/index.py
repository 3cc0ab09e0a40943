"""Which shard holds the row of a picture, and what it was made for: 28 bytes a picture, however long its id is."""

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

if TYPE_CHECKING:
    from advcam.store.shards import ShardName

#: Of each row of a shard: digests of the id and of the classes, and the size of the picture file.
Keys = NDArray[np.void]
_DIGEST = b"advcam_index"  # in the metadata of the table
_KEY = np.dtype([("id", "<u8"), ("size", "<i8"), ("classes", "<u8")])


def id_digest(sample_id: str) -> int:
    """64 bits of an id: ten million ids collide with a probability of 3 in a million."""
    return int.from_bytes(hashlib.blake2b(sample_id.encode(), digest_size=8).digest(), "little")


def key_digest(class_ids: Sequence[int] | None) -> int:
    """64 bits of the classes of a row; None where they are not restricted."""
    return id_digest(json.dumps(None if class_ids is None else list(class_ids)))


def keys_of(rows: Iterable[tuple[str, int, Sequence[int] | None]]) -> Keys:
    """The keys of rows, from id, file size and classes of each."""
    return np.array([(id_digest(id_), size, key_digest(classes)) for id_, size, classes in rows], dtype=_KEY)


def read_table(table: pa.Table) -> dict[str, Keys]:
    """The keys of shards, by the name of their file, from `ShardIndex.table`.

    Raises:
        KeyError, ValueError: It is another table, or damaged.
    """
    found = _by_shard(table)
    if (table.schema.metadata or {}).get(_DIGEST) != _digest(found):
        raise ValueError("the rows do not fit their checksum")
    return found


def _by_shard(table: pa.Table) -> dict[str, Keys]:
    shard = table["shard"].combine_chunks()
    rows = np.zeros(len(table), dtype=_KEY)
    for field in _KEY.names or ():
        rows[field] = table[field].to_numpy()
    numbers = shard.indices.to_numpy()
    order = np.argsort(numbers, kind="stable")
    ends = np.searchsorted(numbers[order], np.arange(len(shard.dictionary)), side="right")
    parts = np.split(rows[order], ends)[:-1]
    return {name: part for name, part in zip(shard.dictionary.to_pylist(), parts, strict=True) if len(part)}


def _digest(keys: Mapping[str, Keys]) -> bytes:
    found = hashlib.sha256()
    for name in sorted(keys):
        found.update(name.encode() + keys[name].tobytes())
    return found.hexdigest().encode()


class ShardIndex:
    """The rows of a store by picture.

    Args:
        names: Of the shards, ascending: of two rows of a picture the one in the later shard counts.
        keys: Of a shard.

    Attributes:
        names: As given.
    """

    def __init__(self, names: Sequence["ShardName"], keys: Callable[["ShardName"], Keys]) -> None:
        self.names = tuple(names)
        parts = [keys(name) for name in self.names]
        rows: NDArray[Any] = np.concatenate([np.zeros(0, _KEY), *parts])
        self._ids, order = _last_of_each(rows["id"])
        self._sizes, self._classes = rows["size"][order], rows["classes"][order]
        self._counts = np.array([len(part) for part in parts], dtype=np.int64)
        self._shards = np.repeat(np.arange(len(parts), dtype=np.int32), self._counts)[order]

    def table(self) -> pa.Table:
        """The rows of the shards of which every row counts, as `read_table` takes them.

        Of the others it would tell only a part, which is not enough once the shards that supersede them are gone.
        """
        counting = np.bincount(self._shards, minlength=len(self.names))
        kept = (counting == self._counts)[self._shards]
        shards = pa.DictionaryArray.from_arrays(
            self._shards[kept], pa.array([name.file for name in self.names], pa.string())
        )
        columns = {"id": self._ids, "size": self._sizes, "classes": self._classes}
        table = pa.table({"shard": shards} | {name: column[kept] for name, column in columns.items()})
        return table.replace_schema_metadata({_DIGEST: _digest(_by_shard(table))})

    def __len__(self) -> int:
        return len(self._ids)

    def __contains__(self, sample_id: object) -> bool:
        return isinstance(sample_id, str) and self._place(sample_id) is not None

    def holds(
        self, sample_id: str, file_bytes: int, class_ids: Sequence[int] | None = None, *, any_classes: bool = False
    ) -> bool:
        """Whether the row of a picture was made of a file of that size for those classes.

        Args:
            sample_id: The picture.
            file_bytes: Size of its file.
            class_ids: The classes; None: not restricted.
            any_classes: The classes do not matter.
        """
        place = self._place(sample_id)
        if place is None or self._sizes[place] != file_bytes:
            return False
        return any_classes or int(self._classes[place]) == key_digest(class_ids)

    def shard_number(self, sample_id: str) -> int | None:
        """Number, in `names`, of the shard whose row of a picture counts; None where there is none."""
        place = self._place(sample_id)
        return None if place is None else int(self._shards[place])

    def shard_of(self, sample_id: str) -> "ShardName | None":
        """The shard whose row of a picture counts; None where there is none."""
        number = self.shard_number(sample_id)
        return None if number is None else self.names[number]

    def superseded(self) -> Iterator["ShardName"]:
        """The shards of which no row counts."""
        counting = set(np.unique(self._shards).tolist())
        return (name for number, name in enumerate(self.names) if number not in counting)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, ShardIndex):
            return NotImplemented
        pairs = [(self._ids, other._ids), (self._sizes, other._sizes), (self._classes, other._classes)]
        return all(np.array_equal(ours, theirs) for ours, theirs in pairs)

    __hash__ = None  # type: ignore[assignment]

    def digest(self) -> str:
        """Equal where two stores hold the same pictures, made of files of the same size for the same classes."""
        found = hashlib.sha256()
        for column in (self._ids, self._sizes, self._classes):
            found.update(column.tobytes())
        return found.hexdigest()

    def _place(self, sample_id: str) -> int | None:
        wanted = np.uint64(id_digest(sample_id))
        place = int(np.searchsorted(self._ids, wanted))
        return place if place < len(self._ids) and self._ids[place] == wanted else None


def _last_of_each(digests: NDArray[Any]) -> tuple[NDArray[Any], NDArray[np.intp]]:
    """The different digests, ascending, and the place of the last one of each."""
    unique, places = np.unique(digests[::-1], return_index=True)
    return unique, len(digests) - 1 - places
