"""The map store: what is written comes back, by whatever names, whoever dies and whatever is damaged."""

import hashlib
import multiprocessing
import subprocess
import sys
import tempfile
import tracemalloc
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.dataset
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from advcam.errors import RunError
from advcam.store import files
from advcam.store.maps import MapStore, StoredMaps
from advcam.store.shards import ShardName
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
        (draw(st.integers(1, 13_000)), draw(st.integers(1, 13_000))),
        floats(count, low=-(2.0**100), high=2.0**100),
        None if steps is None else floats(count, steps, height, width),
    )
    step_scores = None if steps is None else floats(count, steps, low=-(2.0**100), high=2.0**100)
    sample_id = draw(st.text(st.characters(codec="utf-8"), min_size=1))
    return StoredMaps(sample_id, draw(st.integers(0, 2**62)), attribution, step_scores)


def written(store, *given_rows, first=0, **more):
    """One shard of some rows; its file."""
    name = store.write(given_rows, first, first + len(given_rows) - 1, **more)
    return store.folder / name.file


def singles(store, *given_rows):
    """A shard for each row; their files."""
    return [written(store, one, first=place) for place, one in enumerate(given_rows)]


@settings(max_examples=25, deadline=None, derandomize=True)
@given(st.lists(rows(), max_size=6, unique_by=lambda r: r.sample_id), st.integers(1, 4))
def test_round_trip(given_rows, shard_rows):
    with tempfile.TemporaryDirectory() as folder:
        store = MapStore(Path(folder))
        for first in range(0, len(given_rows), shard_rows):
            written(store, *given_rows[first : first + shard_rows], first=first)
        for again in (store, MapStore(Path(folder))):
            assert list(again.ids()) == [given_.sample_id for given_ in given_rows]
            for stored, given_ in zip(again, given_rows, strict=True):
                assert_equal(stored, given_)
                assert_equal(again.get(given_.sample_id), given_)
            index = again.index()
            assert len(index) == len(given_rows)
            assert all(g.sample_id in index for g in given_rows)
            assert all(index.holds(g.sample_id, g.file_bytes, g.attribution.class_ids) for g in given_rows)
            assert again.class_ids() == {c for g in given_rows for c in g.attribution.class_ids}
            assert all(map(again.fits_its_name, again.names()))


def test_a_shard_is_named_by_what_it_holds(tmp_path):
    path = written(MapStore(tmp_path), row("a"), row("b"), first=128, generation=2)
    checksum = hashlib.sha256(path.read_bytes()).hexdigest()[:16]
    assert path.name == f"part-00000128-00000129-g2-{checksum}.parquet"
    assert ShardName.parse(path.name) == ShardName(2, True, 128, 129, checksum)
    piece = written(MapStore(tmp_path), row("a"), first=128, finished=False)
    assert piece.name.startswith("piece-00000128-00000128-g0-")
    assert [name.finished for name in MapStore(tmp_path).names()] == [False, True]


@given(st.integers(0, 10**12), st.booleans(), st.integers(0, 10**12), st.integers(0, 10**12))
@settings(derandomize=True, deadline=None)
def test_names_are_read_as_they_are_written(generation, finished, first, last):
    name = ShardName(generation, finished, first, last, "0123456789abcdef")
    assert ShardName.parse(name.file) == name
    assert ShardName.parse(name.file + ".partial") is None
    assert ShardName.parse(f"x{name.file}") is None


def test_equal_rows_make_equal_files(tmp_path):
    one, two = (written(MapStore(tmp_path / name), row("a", 0.5), row("b")) for name in "xy")
    assert one.name == two.name
    assert one.read_bytes() == two.read_bytes()
    other = written(MapStore(tmp_path / "x"), row("a", 0.25), row("b"))
    assert other.name != one.name


def _write_often(folder, barrier):
    store = MapStore(folder)
    barrier.wait(60)
    for _ in range(20):
        written(store, *(row(str(n), n / 8, size=40) for n in range(8)))


def test_two_processes_that_write_the_same_shard_write_one_file(tmp_path):
    spawn = multiprocessing.get_context("spawn")
    barrier = spawn.Barrier(2)
    writers = [spawn.Process(target=_write_often, args=(tmp_path, barrier)) for _ in range(2)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(60)
        assert writer.exitcode == 0
    assert len(list(tmp_path.iterdir())) == 1
    store = MapStore(tmp_path)
    assert store.fits_its_name(store.names()[0])
    assert values(store) == {str(n): n / 8 for n in range(8)}


def test_empty_store(tmp_path):
    store = MapStore(tmp_path / "maps")
    assert list(store) == list(store.ids()) == store.names() == []
    assert store.class_ids() == set()
    assert len(store.index()) == 0
    store.clean()
    store.write_index()
    assert not (tmp_path / "maps").exists()


@pytest.mark.parametrize("order", [(0, 1, 2, 3), (3, 2, 1, 0), (2, 0, 3, 1)])
def test_of_rows_of_a_picture_the_generation_counts_then_the_finished_shard(tmp_path, order):
    store = MapStore(tmp_path)
    shards = [
        ([row("a", 0.125), row("b", 0.125), row("c", 0.125), row("d", 0.125)], {"finished": False}),
        ([row("b", 0.25), row("c", 0.25), row("d", 0.25)], {}),
        ([row("c", 0.5), row("d", 0.5)], {"finished": False, "generation": 1}),
        ([row("d", 1.0)], {"generation": 1}),
    ]
    for number in order:  # when a shard was written means nothing
        given_rows, more = shards[number]
        written(store, *given_rows, **more)
    expected = {"a": 0.125, "b": 0.25, "c": 0.5, "d": 1.0}
    for again in (store, MapStore(tmp_path)):
        assert values(again) == expected
        assert len(list(again)) == len(list(again.ids())) == 4
        assert {id_: float(again.get(id_).attribution.maps.max()) for id_ in expected} == expected


def test_generations_count_by_number_not_by_name(tmp_path):
    for generation, value in ((9, 0.25), (10, 0.75)):
        written(MapStore(tmp_path), row("a", value), generation=generation)
    assert values(MapStore(tmp_path)) == {"a": 0.75}


def test_rows_come_in_the_order_of_the_list(tmp_path):
    store = MapStore(tmp_path)
    for first in (100_000_000, 128, 0, 64):  # as processes finish them; eight digits are not the limit
        written(store, *(row(f"{first + n}") for n in (2, 0, 1)), first=first)
    expected = [f"{first + n}" for first in (0, 64, 128, 100_000_000) for n in (2, 0, 1)]
    assert [stored.sample_id for stored in MapStore(tmp_path)] == expected


def test_pieces_go_when_all_of_their_rows_lie_elsewhere(tmp_path):
    store = MapStore(tmp_path)
    superseded = written(store, row("a", 0.25), finished=False)
    needed = written(store, row("a", 0.25), row("x", 0.5), finished=False)
    finished = written(store, row("a"), row("b"))
    old = written(store, row("c"), first=64)
    newer = written(store, row("c", 0.5), first=64, generation=1)
    store.clean()
    assert not superseded.exists()
    assert {path.name for path in tmp_path.iterdir()} == {path.name for path in (needed, finished, old, newer)}
    assert values(store) == {"a": 1.0, "b": 1.0, "x": 0.5, "c": 0.5}


def test_get_finds_rows_in_any_row_group_and_after_another_shard(tmp_path):
    store = MapStore(tmp_path)
    written(store, *(row(f"{number}", number / 32) for number in range(20)))
    assert [float(store.get(f"{n}").attribution.maps.max()) for n in (0, 7, 8, 19)] == [0, 7 / 32, 0.25, 19 / 32]
    written(store, row("8", 1.0), generation=1)
    assert store.get("8").attribution.maps.max() == 1


def test_get_of_an_unknown_picture(tmp_path):
    with pytest.raises(RunError) as caught:
        MapStore(tmp_path).get("x.jpg")
    assert str(caught.value) == f"{tmp_path} holds nothing of x.jpg; run the command that makes it first"


def test_kill_while_a_shard_is_written(tmp_path):
    code = (
        "import os, sys; from pathlib import Path\n"
        "sys.path.insert(0, sys.argv[2]); from test_maps import row\n"
        "from advcam.store import files; from advcam.store.maps import MapStore\n"
        "store = MapStore(Path(sys.argv[1]))\n"
        "store.write([row('0'), row('1')], 0, 1)\n"
        "files.os.fsync = lambda _: os._exit(9)\n"
        "store.write([row('2'), row('3')], 2, 3)"
    )
    command = [sys.executable, "-c", code, tmp_path, Path(__file__).parent]
    assert subprocess.run(command, check=False).returncode == 9
    (left,) = tmp_path.glob("*.partial")
    store = MapStore(tmp_path)
    assert values(store) == {"0": 1.0, "1": 1.0}
    store.clean()
    assert not left.exists()
    written(store, row("2"), row("3"), first=2)
    assert len(list(MapStore(tmp_path))) == 4


def test_cleaning_leaves_the_file_of_a_living_writer(tmp_path, monkeypatch):
    monkeypatch.setattr(files.os, "fsync", lambda _: MapStore(tmp_path).clean())
    store = MapStore(tmp_path)
    written(store, row("a"))
    assert values(store) == {"a": 1.0}


@pytest.mark.parametrize("keep", [0, 3, 200, -1, -300])
def test_damaged_shard(tmp_path, keep):
    _, shard = singles(MapStore(tmp_path), row("a"), row("b"))
    shard.write_bytes(shard.read_bytes()[:keep])
    for use in (list, MapStore.index, MapStore.class_ids, MapStore.clean, lambda broken: broken.get("b")):
        with pytest.raises(RunError) as caught:
            use(MapStore(tmp_path))
        message = str(caught.value)
        assert message.startswith(f"{shard} is damaged (")
        assert message.endswith("); advcam verify mends its run")
        assert "\n" not in message
    store = MapStore(tmp_path)
    assert [store.fits_its_name(name) for name in store.names()] == [True, False]
    store.remove(store.names()[1])
    store.remove(ShardName.parse(shard.name))  # by another process meanwhile
    assert values(store) == {"a": 1.0}


def test_any_flipped_bit_is_noticed(tmp_path):
    store = MapStore(tmp_path)
    shard = written(store, row("a"), row("b", 0.5))
    (name,), content = store.names(), shard.read_bytes()
    for place in range(0, len(content), 97):
        shard.write_bytes(content[:place] + bytes([content[place] ^ 4]) + content[place + 1 :])
        assert not store.fits_its_name(name)
    shard.write_bytes(content)
    assert store.fits_its_name(name)


def test_flipped_bits_in_the_maps_are_noticed_while_reading(tmp_path):
    noise = row("a", size=64)
    noise.attribution.maps[:] = np.random.default_rng(0).random(noise.attribution.maps.shape)
    shard = written(MapStore(tmp_path), noise)
    content = bytearray(shard.read_bytes())
    content[len(content) // 2] ^= 1
    shard.write_bytes(content)
    with pytest.raises(RunError, match="is damaged"):
        list(MapStore(tmp_path))


def test_disk_that_cannot_be_read_is_not_called_damage(tmp_path, monkeypatch):
    shard = written(MapStore(tmp_path), row("a"))

    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied")

    with monkeypatch.context() as patch:
        patch.setattr(pq, "ParquetFile", refuse)
        with pytest.raises(RunError) as caught:
            MapStore(tmp_path).index()
    assert str(caught.value) == (
        f"{shard} cannot be read (Permission denied); change its permissions or mend the disk, then run the same "
        "command again"
    )
    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", refuse)
        with pytest.raises(RunError) as caught:
            MapStore(tmp_path).fits_its_name(ShardName.parse(shard.name))
    assert str(caught.value) == f"{shard} cannot be read (Permission denied)"
    assert values(MapStore(tmp_path)) == {"a": 1.0}


@pytest.mark.parametrize("version", [b"3", None])
def test_unknown_version(tmp_path, version):
    shard = written(MapStore(tmp_path), row("a"))
    metadata = {b"advcam_maps": version} if version else None
    pq.write_table(pq.read_table(shard).replace_schema_metadata(metadata), shard)
    with pytest.raises(RunError) as caught:
        MapStore(tmp_path).index()
    assert str(caught.value) == (
        f"{shard} has format {version.decode() if version else 'unknown'}, but this version of advcam "
        "reads format 2; use the version that wrote it or choose another --out"
    )


def test_store_of_an_older_version(tmp_path):
    (tmp_path / "part-000000.parquet").touch()
    for use in (list, MapStore.index, MapStore.names, MapStore.clean):
        with pytest.raises(RunError) as caught:
            use(MapStore(tmp_path))
        assert str(caught.value) == f"{tmp_path} was written by an older version of advcam; choose another --out"


def test_full_disk(tmp_path, monkeypatch):
    store = MapStore(tmp_path)

    def full(_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(files.os, "fsync", full)
        with pytest.raises(RunError) as caught:
            written(store, row("a"))
    message = str(caught.value)
    assert message.startswith(f"cannot write {tmp_path}/part-00000000-00000000-g0-")
    assert message.endswith(
        ".parquet (No space left on device); make room, change the permissions or choose another --out"
    )
    assert not list(tmp_path.iterdir())
    written(store, row("a"))
    assert values(store) == {"a": 1.0}


def test_disk_that_cannot_be_written():
    with pytest.raises(RunError, match=r"^cannot write /proc/maps-of-advcam/part-00000000-00000000-g0-.*\.parquet \("):
        written(MapStore(Path("/proc/maps-of-advcam")), row("a"))


def test_folder_is_a_file(tmp_path):
    (tmp_path / "maps").touch()
    with pytest.raises(RunError) as caught:
        MapStore(tmp_path / "maps")
    assert str(caught.value) == f"results need a folder, but {tmp_path / 'maps'} is a file; choose another --out"


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
    shard = written(MapStore(tmp_path), row("a"))
    table = pq.read_table(shard)
    records = [{**table.to_pylist()[0], column: value}]
    pq.write_table(pa.Table.from_pylist(records, schema=table.schema), shard)
    with pytest.raises(RunError, match=r"\.parquet is damaged \(.*advcam verify mends its run"):
        list(MapStore(tmp_path))


def forgotten(folder):
    """The answers of a store without its `_index.parquet`."""
    with tempfile.TemporaryDirectory() as elsewhere:
        for path in folder.glob("p*.parquet"):
            (Path(elsewhere) / path.name).write_bytes(path.read_bytes())
        store = MapStore(Path(elsewhere))
        return store.index(), list(store.ids()), list(store.index().superseded())


def assert_the_cache_says_the_same(folder):
    store = MapStore(folder)
    index, ids, superseded = forgotten(folder)
    assert store.index() == index
    assert store.index().digest() == index.digest()
    assert list(store.ids()) == ids
    assert list(store.index().superseded()) == superseded


@settings(max_examples=25, deadline=None, derandomize=True)
@given(st.data())
def test_the_cache_of_the_index_never_changes_an_answer(data):
    """Shards come, go and supersede each other, and the cache is written at some time in between."""
    shards = st.tuples(
        st.lists(st.sampled_from("abcd"), min_size=1, max_size=3, unique=True),
        st.integers(0, 2),
        st.booleans(),
        st.integers(1, 3),
    )
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for _ in range(data.draw(st.integers(1, 6))):
            ids, generation, finished, size = data.draw(shards)
            given_rows = [row(id_, file_bytes=size) for id_ in ids]
            written(MapStore(folder), *given_rows, generation=generation, finished=finished)
            if data.draw(st.booleans()):
                MapStore(folder).write_index()
            names = MapStore(folder).names()
            if data.draw(st.booleans()):
                MapStore(folder).remove(data.draw(st.sampled_from(names)))
            assert_the_cache_says_the_same(folder)


def test_the_cache_spares_opening_the_shards(tmp_path, monkeypatch):
    store = MapStore(tmp_path)
    singles(store, *(row(f"{n}", classes=(n,)) for n in range(4)))
    store.write_index()
    before = store.index()

    def opened(*_):
        raise AssertionError("a shard was opened")

    monkeypatch.setattr(MapStore, "_keys", opened)
    assert MapStore(tmp_path).index() == before


@pytest.mark.parametrize("damage", ["absent", "empty", "cut", "text", "another table", "flipped"])
def test_a_damaged_cache_means_nothing(tmp_path, damage):
    store, cache = MapStore(tmp_path), tmp_path / "_index.parquet"
    singles(store, row("a"), row("b", file_bytes=7), row("c"))
    store.write_index()
    content = cache.read_bytes()
    if damage == "absent":
        cache.unlink()
    elif damage == "another table":
        pq.write_table(pa.table({"shard": [1, 2], "id": [3, 4], "size": [1, 1], "classes": [0, 0]}), cache)
    elif damage != "flipped":
        cache.write_bytes({"empty": b"", "cut": content[:-9], "text": b"PAR1 is what it begins with"}[damage])
    else:
        for place in range(0, len(content), 31):
            cache.write_bytes(content[:place] + bytes([content[place] ^ 16]) + content[place + 1 :])
            assert MapStore(tmp_path).index() == store.index()
    assert_the_cache_says_the_same(tmp_path)


def test_readers_of_parquet_see_the_shards_alone(tmp_path):
    store = MapStore(tmp_path)
    singles(store, row("a"), row("b"))
    store.write_index()
    (tmp_path / "_index.parquet.machine-1-2.partial").touch()
    assert pq.read_table(tmp_path)["sample_id"].to_pylist() == ["a", "b"]
    whole = pyarrow.dataset.dataset(tmp_path, format="parquet")
    assert sorted(whole.to_table(columns=["sample_id"])["sample_id"].to_pylist()) == ["a", "b"]
    assert all(Path(file).name.startswith("part-") for file in whole.files)


def test_columns_can_be_read_as_the_docstring_says(tmp_path):
    record = pq.read_table(written(MapStore(tmp_path), row("a", 0.5, steps=3))).to_pylist()[0]
    assert list(record)[:3] == ["sample_id", "file_bytes", "class_ids"]
    maps = np.frombuffer(record["maps"], "<f2").reshape(record["maps_shape"])
    assert (maps == 0.5).all()
    assert record["steps_shape"] == [2, 3, 4, 5]
    assert record["step_scores_shape"] == [2, 3]
    assert len(record["step_scores"]) == 2 * 3 * 4


def test_codec_is_zstd(tmp_path):
    group = pq.ParquetFile(written(MapStore(tmp_path), row("a"))).metadata.row_group(0)
    assert {group.column(number).compression for number in range(group.num_columns)} == {"ZSTD"}


def test_memory_of_iteration_is_flat(tmp_path):
    store = MapStore(tmp_path)
    for first in range(0, 96, 16):
        noise = [row(f"{first + n}", size=128, classes=(0,)) for n in range(16)]
        for number, one in enumerate(noise, first):
            one.attribution.maps[:] = np.random.default_rng(number).random(one.attribution.maps.shape)
        written(store, *noise, first=first)
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
