"""Which shard holds a picture's row: against a dictionary."""

import hashlib

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from advcam.store.index import ShardIndex, id_digest, key_digest, keys_of, read_table
from advcam.store.shards import ShardName

IDS = st.text(st.characters(codec="utf-8"), max_size=12)
CLASSES = st.none() | st.lists(st.integers(0, 1000), max_size=4)
ROWS = st.dictionaries(IDS, st.tuples(st.integers(-1, 2**62), CLASSES), max_size=6)
SHARDS = st.lists(st.tuples(st.integers(0, 2), st.booleans(), st.integers(0, 99), ROWS), max_size=5)


def named(shards):
    """Rows by the name of their shard, the names ascending."""
    found = {
        ShardName(generation, finished, first, first, f"{number:016x}"): rows
        for number, (generation, finished, first, rows) in enumerate(shards)
    }
    return dict(sorted(found.items()))


def made(shards):
    return ShardIndex(list(shards), lambda name: keys_of((id_, *value) for id_, value in shards[name].items()))


@settings(max_examples=60, deadline=None, derandomize=True)
@given(SHARDS, ROWS)
def test_as_a_dictionary_that_later_shards_overwrite(shards, others):
    shards = named(shards)
    reference = {id_: (name, *value) for name, rows in shards.items() for id_, value in rows.items()}
    index = made(shards)
    assert len(index) == len(reference)
    for id_, (size, classes) in (others | {id_: value[1:] for id_, value in reference.items()}).items():
        name, stored_size, stored = reference.get(id_, (None, None, None))
        assert (id_ in index) == (id_ in reference)
        assert index.shard_of(id_) == name
        assert index.shard_number(id_) == (None if name is None else list(shards).index(name))
        there = name is not None and size == stored_size
        assert index.holds(id_, size, classes) == (there and classes == stored)
        assert index.holds(id_, size, [5000], any_classes=True) == there
        assert not index.holds(id_, size + 1, classes) or (name is not None and stored_size == size + 1)
    counting = {name for name, *_ in reference.values()}
    assert list(index.superseded()) == [name for name in shards if name not in counting]


@settings(max_examples=40, deadline=None, derandomize=True)
@given(SHARDS, st.integers(1, 5))
def test_the_table_holds_the_shards_that_count_whole(shards, row_group):
    shards = named(shards)
    reference = {id_: name for name, rows in shards.items() for id_ in rows}
    whole = {n.file: rows for n, rows in shards.items() if rows and all(reference[id_] == n for id_ in rows)}
    buffer = pa.BufferOutputStream()
    pq.write_table(made(shards).table(), buffer, row_group_size=row_group)
    found = read_table(pq.read_table(buffer.getvalue()))
    assert found.keys() == whole.keys()
    for name, rows in whole.items():
        expected = keys_of((id_, *value) for id_, value in rows.items())
        assert np.array_equal(np.sort(found[name], order="id"), np.sort(expected, order="id"))


def test_a_table_that_was_changed_is_refused():
    name = ShardName(0, True, 0, 1, "0" * 16)
    table = made({name: {"a": (1, None), "b": (2, [3])}}).table()
    assert read_table(table).keys() == {name.file}
    changed = table.set_column(2, "size", pa.array([1, 9]))
    for other in (changed, table.slice(1), table.replace_schema_metadata(None)):
        with pytest.raises(ValueError, match="do not fit their checksum"):
            read_table(other)
    with pytest.raises(KeyError):
        read_table(table.drop(["id"]))


def test_equal_where_the_pictures_are_whatever_the_shards():
    one, two = (ShardName(0, True, 0, 1, digit * 16) for digit in "ab")
    rows = {"a": (1, None), "b": (2, [3])}
    index = made({one: rows})
    same = made({one: {"a": (1, None)}, two: {"b": (2, [3])}})
    assert index == same
    assert index.digest() == same.digest()
    for other in ({"a": (1, None)}, rows | {"b": (3, [3])}, rows | {"b": (2, [4])}, rows | {"c": (2, [3])}):
        assert made({one: other}) != index
        assert made({one: other}).digest() != index.digest()
    assert index != rows


def test_digests_are_the_same_on_every_machine():
    assert id_digest("a/cat.jpg") == int.from_bytes(hashlib.blake2b(b"a/cat.jpg", digest_size=8).digest(), "little")
    assert key_digest(None) == id_digest("null")
    assert key_digest((3, 7)) == key_digest([3, 7]) == id_digest("[3, 7]")
    assert len({key_digest(classes) for classes in (None, [], [0], [0, 1], [1, 0])}) == 5
