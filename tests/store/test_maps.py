"""The map store: what is appended comes back, whatever dies in between."""

import subprocess
import sys
import tempfile
import tracemalloc
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from advcam.errors import RunError
from advcam.store import files
from advcam.store.maps import MapStore, RowKey, StoredMaps
from advcam.types import Attribution


def row(sample_id="a.jpg", value=1.0, *, classes=(3, 7), steps=0, size=4, file_bytes=100):
    count = len(classes)
    maps = np.full((count, size, size + 1), value, dtype=np.float32)
    scores = np.arange(count, dtype=np.float32)
    recorded = np.full((count, steps, size, size + 1), value, dtype=np.float32) if steps else None
    names = tuple(f"class {number}" for number in classes)
    attribution = Attribution(tuple(classes), names, maps, (40, 50), scores, recorded)
    step_scores = np.full((count, steps), value, dtype=np.float32) if steps else None
    return StoredMaps(sample_id, file_bytes, attribution, step_scores)


def values(store):
    return {stored.sample_id: float(stored.attribution.maps[0, 0, 0]) for stored in store}


def half(array):
    return None if array is None else array.astype(np.float16).astype(np.float32)


def assert_equal(stored, given_):
    ours, theirs = stored.attribution, given_.attribution
    assert (stored.sample_id, stored.file_bytes) == (given_.sample_id, given_.file_bytes)
    assert (ours.class_ids, ours.class_names) == (theirs.class_ids, theirs.class_names)
    assert ours.image_size == theirs.image_size
    assert ours.trajectories == ()
    for read, written in [
        (ours.maps, half(theirs.maps)),
        (ours.steps, half(theirs.steps)),
        (ours.scores, theirs.scores),
        (stored.step_scores, given_.step_scores),
    ]:
        if written is None:
            assert read is None
        else:
            assert read.dtype == np.float32
            np.testing.assert_array_equal(read, written)


@st.composite
def rows(draw):
    classes = draw(st.lists(st.integers(0, 2**31 - 1), max_size=3, unique=True))
    height, width = draw(st.integers(1, 5)), draw(st.integers(1, 5))
    steps = draw(st.none() | st.integers(0, 3))

    def floats(*shape, low=0.0, high=1.0):
        return draw(arrays.arrays(np.float32, shape, elements=st.floats(low, high, width=32)))

    count = len(classes)
    attribution = Attribution(
        tuple(classes),
        tuple(draw(st.lists(st.text(st.characters(codec="utf-8")), min_size=count, max_size=count))),
        floats(count, height, width),
        (draw(st.integers(1, 99999)), draw(st.integers(1, 99999))),
        floats(count, low=-(2.0**100), high=2.0**100),
        None if steps is None else floats(count, steps, height, width),
    )
    step_scores = None if steps is None else floats(count, steps, low=-(2.0**100), high=2.0**100)
    sample_id = draw(st.text(st.characters(codec="utf-8"), min_size=1))
    return StoredMaps(sample_id, draw(st.integers(0, 2**62)), attribution, step_scores)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(st.lists(rows(), max_size=6, unique_by=lambda r: r.sample_id), st.integers(1, 4))
def test_round_trip(given_rows, shard_rows):
    with tempfile.TemporaryDirectory() as folder:
        with MapStore(Path(folder), shard_rows) as store:
            for given_ in given_rows:
                store.append(given_)
        again = MapStore(Path(folder))
        stored = {found.sample_id: found for found in again}
        assert set(stored) == {given_.sample_id for given_ in given_rows}
        for given_ in given_rows:
            assert_equal(stored[given_.sample_id], given_)
            assert_equal(again.get(given_.sample_id), given_)
        assert again.index() == {g.sample_id: RowKey(g.file_bytes, g.attribution.class_ids) for g in given_rows}


def test_shards_are_written_when_full_and_on_exit(tmp_path):
    with MapStore(tmp_path / "maps", shard_rows=2) as store:
        for number in range(5):
            store.append(row(f"{number}.jpg"))
        assert len(list((tmp_path / "maps").iterdir())) == 2
    names = sorted(path.name for path in (tmp_path / "maps").iterdir())
    assert names == ["part-000000.parquet", "part-000001.parquet", "part-000002.parquet"]


def test_flush_without_rows_writes_nothing(tmp_path):
    MapStore(tmp_path / "maps").flush()
    assert not (tmp_path / "maps").exists()


def test_empty_store(tmp_path):
    store = MapStore(tmp_path / "maps")
    assert list(store) == []
    assert store.index() == {}


@pytest.mark.parametrize("shard_rows", [1, 2, 64])
def test_newest_row_wins(tmp_path, shard_rows):
    store = MapStore(tmp_path, shard_rows)
    for sample_id, value in [("a", 0.25), ("b", 0.5), ("a", 0.75), ("c", 0.125), ("a", 1.0)]:
        store.append(row(sample_id, value, file_bytes=int(value * 1000)))
    assert values(store) == {"a": 1.0, "b": 0.5, "c": 0.125}
    assert len(list(store)) == 3
    assert store.index()["a"].file_bytes == 1000
    assert store.get("a").file_bytes == 1000


def test_shards_count_by_number_not_by_name(tmp_path):
    with MapStore(tmp_path) as store:
        store.append(row("a", 0.25))
    (tmp_path / "part-000000.parquet").rename(tmp_path / "part-999999.parquet")
    with MapStore(tmp_path) as store:
        store.append(row("a", 0.75))
    assert (tmp_path / "part-1000000.parquet").exists()
    assert values(MapStore(tmp_path)) == {"a": 0.75}


def test_get_finds_rows_in_any_row_group_and_after_an_append(tmp_path):
    store = MapStore(tmp_path)
    for number in range(20):
        store.append(row(f"{number}", number / 32))
    assert [float(store.get(f"{n}").attribution.maps.max()) for n in (0, 7, 8, 19)] == [
        0,
        7 / 32,
        0.25,
        19 / 32,
    ]
    store.append(row("8", 1.0))
    assert store.get("8").attribution.maps.max() == 1


def test_get_of_an_unknown_picture(tmp_path):
    with pytest.raises(RunError) as caught:
        MapStore(tmp_path).get("x.jpg")
    assert str(caught.value) == f"{tmp_path} holds no maps of x.jpg; run the command that makes them first"


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_interrupt_keeps_what_was_appended(tmp_path, error):
    def explain():
        with MapStore(tmp_path) as store:
            store.append(row("a"))
            raise error

    with pytest.raises(error):
        explain()
    assert list(MapStore(tmp_path).index()) == ["a"]


def test_kill_between_and_within_shards(tmp_path):
    code = (
        "import os, sys; from pathlib import Path\n"
        "sys.path.insert(0, sys.argv[2]); from test_maps import row\n"
        "from advcam.store import files; from advcam.store.maps import MapStore\n"
        "store = MapStore(Path(sys.argv[1]), shard_rows=2)\n"
        "for n in range(5): store.append(row(str(n)))\n"
        "files.os.fsync = lambda _: os._exit(9)\n"
        "store.append(row('5'))"
    )
    command = [sys.executable, "-c", code, tmp_path, Path(__file__).parent]
    assert subprocess.run(command, check=False).returncode == 9
    assert [path.name for path in tmp_path.glob("*.partial")] == ["part-000002.parquet.partial"]
    with MapStore(tmp_path, shard_rows=2) as store:
        assert not list(tmp_path.glob("*.partial"))
        assert sorted(store.index()) == ["0", "1", "2", "3"]
        store.append(row("4"))
    assert len(list(MapStore(tmp_path))) == 5


def test_kill_between_shards_loses_only_the_pending_rows(tmp_path):
    code = (
        "import os, sys; from pathlib import Path\n"
        "sys.path.insert(0, sys.argv[2]); from test_maps import row\n"
        "from advcam.store.maps import MapStore\n"
        "store = MapStore(Path(sys.argv[1]), shard_rows=2)\n"
        "for n in range(5): store.append(row(str(n), n / 8))\n"
        "os._exit(9)"
    )
    command = [sys.executable, "-c", code, tmp_path, Path(__file__).parent]
    assert subprocess.run(command, check=False).returncode == 9
    assert not list(tmp_path.glob("*.partial"))
    with MapStore(tmp_path, shard_rows=2) as store:
        assert values(store) == {"0": 0.0, "1": 0.125, "2": 0.25, "3": 0.375}
        store.append(row("4", 0.5))
    assert values(MapStore(tmp_path))["4"] == 0.5
    assert len(list(tmp_path.iterdir())) == 3


def test_reader_leaves_the_file_of_a_living_writer(tmp_path, monkeypatch):
    store = MapStore(tmp_path)
    store.append(row("a"))
    monkeypatch.setattr(files.os, "fsync", lambda _: MapStore(tmp_path))
    store.flush()
    assert values(store) == {"a": 1.0}


@pytest.mark.parametrize("keep", [0, 3, 200, -1, -300])
def test_damaged_shard(tmp_path, keep):
    with MapStore(tmp_path, shard_rows=1) as store:
        store.append(row("a"))
        store.append(row("b"))
    shard = tmp_path / "part-000001.parquet"
    shard.write_bytes(shard.read_bytes()[:keep])
    for use in (list, MapStore.index, lambda broken: broken.get("b")):
        with pytest.raises(RunError) as caught:
            use(MapStore(tmp_path))
        message = str(caught.value)
        assert message.startswith(f"{shard} is damaged (")
        assert message.endswith("); delete it and run the same command again")
        assert "\n" not in message
    shard.unlink()
    assert values(MapStore(tmp_path)) == {"a": 1.0}


def test_disk_that_cannot_be_read_is_not_called_damage(tmp_path, monkeypatch):
    with MapStore(tmp_path) as store:
        store.append(row("a"))

    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied")

    with monkeypatch.context() as patch:
        patch.setattr(pq, "ParquetFile", refuse)
        with pytest.raises(RunError) as caught:
            MapStore(tmp_path).index()
    assert str(caught.value) == (
        f"{tmp_path}/part-000000.parquet cannot be read (Permission denied); change its permissions or mend "
        "the disk, then run the same command again"
    )
    assert values(MapStore(tmp_path)) == {"a": 1.0}


def test_flipped_bits_in_the_maps_are_noticed(tmp_path):
    noise = row("a", size=64)
    noise.attribution.maps[:] = np.random.default_rng(0).random(noise.attribution.maps.shape)
    with MapStore(tmp_path) as store:
        store.append(noise)
    shard = tmp_path / "part-000000.parquet"
    content = bytearray(shard.read_bytes())
    content[len(content) // 2] ^= 1
    shard.write_bytes(content)
    with pytest.raises(RunError, match="is damaged"):
        list(MapStore(tmp_path))


@pytest.mark.parametrize("version", [b"2", None])
def test_unknown_version(tmp_path, version):
    with MapStore(tmp_path) as store:
        store.append(row("a"))
    shard = tmp_path / "part-000000.parquet"
    metadata = {b"advcam_maps": version} if version else None
    pq.write_table(pq.read_table(shard).replace_schema_metadata(metadata), shard)
    with pytest.raises(RunError) as caught:
        MapStore(tmp_path).index()
    assert str(caught.value) == (
        f"{shard} has map format {version.decode() if version else 'unknown'}, but this version of advcam "
        "reads format 1; use the version that wrote it or choose another --out"
    )


def test_full_disk(tmp_path, monkeypatch):
    store = MapStore(tmp_path)
    store.append(row("a"))

    def full(_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(files.os, "fsync", full)
        with pytest.raises(RunError) as caught:
            store.flush()
    assert str(caught.value) == (
        f"cannot write {tmp_path}/part-000000.parquet (No space left on device); make room, change the "
        "permissions or choose another --out"
    )
    assert not list(tmp_path.iterdir())
    store.flush()
    assert values(store) == {"a": 1.0}


def test_full_disk_while_parquet_is_written(tmp_path, monkeypatch):
    store = MapStore(tmp_path)
    store.append(row("a"))

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pq, "write_table", full)
    with pytest.raises(RunError, match="No space left on device"):
        store.flush()
    assert not list(tmp_path.iterdir())


def test_disk_that_cannot_be_written(tmp_path):
    store = MapStore(Path("/proc/maps-of-advcam"))
    store.append(row("a"))
    with pytest.raises(RunError, match=r"^cannot write /proc/maps-of-advcam/part-000000\.parquet \("):
        store.flush()


def test_folder_is_a_file(tmp_path):
    (tmp_path / "maps").touch()
    with pytest.raises(RunError) as caught:
        MapStore(tmp_path / "maps")
    assert str(caught.value) == f"maps need a folder, but {tmp_path / 'maps'} is a file; choose another --out"


def test_folder_that_cannot_be_listed(tmp_path, monkeypatch):
    def refuse(_):
        raise PermissionError(13, "Permission denied")

    store = MapStore(tmp_path)
    monkeypatch.setattr(Path, "iterdir", refuse)
    with pytest.raises(RunError) as caught:
        store.index()
    assert str(caught.value) == (
        f"{tmp_path} cannot be listed (Permission denied); change its permissions or choose another --out"
    )


@pytest.mark.parametrize(("column", "value"), [("maps", None), ("maps", b"odd"), ("maps_shape", [2, 4, 9])])
def test_row_that_does_not_fit_itself(tmp_path, column, value):
    with MapStore(tmp_path) as store:
        store.append(row("a"))
    shard = tmp_path / "part-000000.parquet"
    table = pq.read_table(shard)
    records = [{**table.to_pylist()[0], column: value}]
    pq.write_table(pa.Table.from_pylist(records, schema=table.schema), shard)
    with pytest.raises(RunError, match=r"part-000000\.parquet is damaged \(.*delete it and run the same"):
        list(MapStore(tmp_path))


def test_columns_can_be_read_as_the_docstring_says(tmp_path):
    with MapStore(tmp_path) as store:
        store.append(row("a", 0.5, steps=3))
    record = pq.read_table(tmp_path / "part-000000.parquet").to_pylist()[0]
    maps = np.frombuffer(record["maps"], "<f2").reshape(record["maps_shape"])
    assert (maps == 0.5).all()
    assert record["steps_shape"] == [2, 3, 4, 5]
    assert record["step_scores_shape"] == [2, 3]
    assert len(record["step_scores"]) == 2 * 3 * 4


def test_codec_is_zstd(tmp_path):
    with MapStore(tmp_path) as store:
        store.append(row("a"))
    group = pq.ParquetFile(tmp_path / "part-000000.parquet").metadata.row_group(0)
    assert {group.column(number).compression for number in range(group.num_columns)} == {"ZSTD"}


def test_memory_of_iteration_is_flat(tmp_path):
    with MapStore(tmp_path, shard_rows=16) as store:
        for number in range(96):
            noise = row(f"{number}", size=128, classes=(0,))
            noise.attribution.maps[:] = np.random.default_rng(number).random(noise.attribution.maps.shape)
            store.append(noise)
    stored_bytes = 96 * 128 * 129 * 2
    store = MapStore(tmp_path)
    arrow_before = pa.default_memory_pool().bytes_allocated()
    tracemalloc.start()
    arrow_peak = 0
    for _ in store:
        arrow_peak = max(arrow_peak, pa.default_memory_pool().bytes_allocated() - arrow_before)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak + arrow_peak < stored_bytes / 2
