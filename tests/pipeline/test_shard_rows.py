"""The rows of a shard: what an interrupt leaves, who takes it over, and how often a piece is written."""

from pathlib import Path

import numpy as np
import pytest

from advcam.errors import RunError
from advcam.pipeline import shard_rows
from advcam.pipeline.shard_rows import FLUSH_SECONDS, ShardRows
from advcam.pipeline.shards import shards_left
from advcam.store import files
from advcam.store.maps import MapStore, StoredMaps
from advcam.types import Attribution, Sample

COUNT = 6
RUN = [Sample(f"{n}.png", Path(f"{n}.png"), ()) for n in range(COUNT)]


def row(id_, value=None, file_bytes=100):
    number = int(id_.partition(".")[0]) / 8 if value is None else value
    maps = np.full((1, 3, 4), number, dtype=np.float32)
    return StoredMaps(id_, file_bytes, Attribution((0,), ("a",), maps, (30, 40), np.ones(1, np.float32)))


def left(store, file_bytes=100):
    index = store.index()
    return list(shards_left(RUN, COUNT, [index.holds(s.id, file_bytes, (0,)) for s in RUN], index))


def work(store, stop=COUNT, file_bytes=100, error=KeyboardInterrupt):
    """A session that is stopped before it has done so many pictures."""
    for shard in left(store, file_bytes):
        with ShardRows(store, shard) as rows:
            for count, sample in enumerate(shard.samples):
                if count == stop:
                    raise error
                rows.add(row(sample.id, file_bytes=file_bytes))


def fill_and_stop(store, count=COUNT):
    (shard,) = left(store)
    with ShardRows(store, shard) as rows:
        for sample in RUN[:count]:
            rows.add(row(sample.id))
        raise KeyboardInterrupt


def files_of(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("stops", [(1,), (0,), (COUNT - 1,), (2, 0, 1, 2), (1, 1, 1, 1, 1)])
@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_interrupts_leave_the_shard_of_an_uninterrupted_session(tmp_path, stops, error):
    work(MapStore(tmp_path / "whole"))
    store, done = MapStore(tmp_path / "stopped"), 0
    for stop in stops:
        with pytest.raises(error):
            work(store, stop, error=error)
        store.clean()
        done += stop
        assert len(store.index()) == done
        assert not any(name.finished for name in store.names())
    work(store)
    store.clean()
    assert files_of(store.folder) == files_of(tmp_path / "whole")
    assert left(store) == []
    assert len(list(store)) == COUNT


def test_a_last_interrupt_at_the_end_of_a_shard(tmp_path):
    """Every picture is done, but the shard is not: the piece is made one without work."""
    work(MapStore(tmp_path / "whole"))
    store = MapStore(tmp_path / "stopped")
    with pytest.raises(KeyboardInterrupt):
        fill_and_stop(store)
    (shard,) = left(store)
    assert shard.samples == ()
    work(store)
    store.clean()
    assert files_of(store.folder) == files_of(tmp_path / "whole")


def test_changed_pictures_get_a_generation_of_their_own_also_after_an_interrupt(tmp_path):
    store = MapStore(tmp_path)
    work(store)
    with pytest.raises(KeyboardInterrupt):
        work(store, 2, file_bytes=7)
    assert [(name.generation, name.finished) for name in store.names()] == [(0, True), (1, False)]
    work(store, file_bytes=7)
    store.clean()
    assert [(name.generation, name.finished) for name in store.names()] == [(0, True), (1, True)]
    assert {stored.file_bytes for stored in store} == {7}
    assert len(list(store)) == COUNT


def test_a_piece_is_written_when_the_last_one_is_old_and_takes_its_place(tmp_path, monkeypatch):
    now = [1000.0]
    monkeypatch.setattr(shard_rows.time, "monotonic", lambda: now[0])
    store, pieces = MapStore(tmp_path), []
    (shard,) = left(store)
    with ShardRows(store, shard) as rows:
        for sample, seconds in zip(RUN, (1.0, FLUSH_SECONDS, 1.0, FLUSH_SECONDS - 1.0, 0.5, 0.0), strict=True):
            now[0] += seconds
            rows.add(row(sample.id))
            pieces.append([sum(1 for _ in store.read(name)) for name in store.names()])
        assert pieces == [
            [],
            [2],
            [2],
            [2],
            [5],
            [5],
        ]  # the last piece is a minute old at the second and the fifth
        rows.save_piece()
        assert [len(list(store.read(name))) for name in store.names()] == [6]
        before = files_of(tmp_path)
        rows.save_piece()  # nothing is new
        assert files_of(tmp_path) == before
    assert [name.finished for name in store.names()] == [True]


def test_no_rows_write_no_shard(tmp_path):
    store = MapStore(tmp_path / "maps")
    (shard,) = left(store)
    with ShardRows(store, shard):
        pass
    with pytest.raises(KeyboardInterrupt), ShardRows(store, shard):
        raise KeyboardInterrupt
    assert not (tmp_path / "maps").exists()


def test_a_full_disk(tmp_path, monkeypatch):
    store = MapStore(tmp_path)
    (shard,) = left(store)

    def full(_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(files.os, "fsync", full)
        with pytest.raises(RunError, match="No space left on device"), ShardRows(store, shard) as rows:
            rows.add(row("0.png"))
        with pytest.raises(KeyboardInterrupt):  # which the disk does not hide
            fill_and_stop(store, 1)
    assert not list(tmp_path.iterdir())
