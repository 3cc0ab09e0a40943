"""Rows that are gone: named by the index, else by the lists of a finished run; what lies elsewhere is not gone."""

import json
from pathlib import Path

import pytest

from advcam.pipeline.chain.ranking import RANKINGS, Ranked
from advcam.pipeline.lost_rows import counted_pictures, listed_pictures, lost_rows
from advcam.store.shards import ShardName, ShardStore


def ranked(*ids: str) -> list[Ranked]:
    return [Ranked(id_, 1, (0,)) for id_ in ids]


@pytest.fixture
def store(tmp_path: Path) -> ShardStore:
    """Two shards of two pictures, and an index of both."""
    store = ShardStore(tmp_path, RANKINGS)
    store.write(ranked("a", "b"), 0, 1)
    store.write(ranked("c", "d"), 2, 3)
    store.write_index()
    return store


def gone(store: ShardStore, damaged: tuple[ShardName, ...] = (), listed: str = "", count: int = 0) -> list:
    rows = {row.sample_id for name in store.names() if name not in damaged for row in store.read(name)}
    return [(path.name, words) for path, words in lost_rows(store, rows, damaged, list(listed), count)]


def test_nothing_is_gone(store: ShardStore) -> None:
    assert gone(store, (), "abcd", 4) == []
    assert gone(store, tuple(store.names()), "abcd", 4) == []


def test_a_shard_that_the_index_names(store: ShardStore) -> None:
    first, second = store.names()
    store.remove(second)
    assert gone(store, (), "abcd", 4) == [(second.file, "is missing")]
    assert gone(store, (first,), "abcd", 4) == [(second.file, "is missing")]
    # A session that was killed may have written one row of it anew, and then both.
    store.write(ranked("c"), 2, 3, generation=1)
    assert gone(store, (), "abcd", 4) == [(second.file, "is missing")]
    store.write(ranked("c", "d"), 2, 3, generation=2)
    assert gone(store, (), "abcd", 4) == []


def test_without_an_index_the_lists_tell(store: ShardStore) -> None:
    first, second = store.names()
    (store.folder / "_index.parquet").unlink()
    store.remove(second)
    where = store.folder.name
    assert gone(store, (), "abcd") == [(where, "the rows of 2 pictures are missing, the first: c")]
    assert gone(store, (), "", 3) == [(where, "the rows of 1 picture are missing")]
    assert gone(store) == []
    # The damaged shard may hold two pictures of the four that have no row.
    assert gone(store, (first,), "ab", 2) == []
    assert gone(store, (first,), "abcd", 4) == [(where, "the rows of 4 pictures are missing, the first: a")]


def test_what_a_run_knows(tmp_path: Path) -> None:
    assert (listed_pictures(tmp_path), counted_pictures(tmp_path)) == ([], 0)
    (tmp_path / "boxes.json").write_text('{"pictures": {"a": 1, "b": 2}}')
    (tmp_path / "predictions.json").write_text('{"pictures": {"b": 1, "c": 2}}')
    summary = {"pictures": 7, "skipped": [["x", "why"]], "interrupted": False}
    (tmp_path / "summary.json").write_text(json.dumps(summary))
    assert (listed_pictures(tmp_path), counted_pictures(tmp_path)) == (["a", "b", "c"], 6)
    (tmp_path / "summary.json").write_text(json.dumps(summary | {"interrupted": True}))
    (tmp_path / "predictions.json").write_text("[1")
    assert (listed_pictures(tmp_path), counted_pictures(tmp_path)) == (["a", "b"], 0)
