"""The shards of a run, what is left of them and in which order they come: against slow literal references."""

import hashlib
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from advcam.errors import RunError
from advcam.pipeline.shards import (
    LocalEngine,
    Shard,
    ShardResult,
    Unheard,
    in_order,
    kept,
    shards_done,
    shards_left,
)
from advcam.store.index import ShardIndex, keys_of
from advcam.store.shards import ShardName
from advcam.types import Sample

#: A store as a dictionary: of each shard its rows, id and size of the file.
Store = dict[ShardName, dict[str, int]]


def samples(count):
    return [Sample(f"{n}", Path(f"{n}.png"), ()) for n in range(count)]


def index_of(store: Store):
    names = sorted(store)
    return ShardIndex(names, lambda name: keys_of((id_, size, None) for id_, size in store[name].items()))


def counting(store: Store) -> dict[str, ShardName]:
    """The shard whose row of each picture counts, by looking at all of them."""
    return {id_: name for name in sorted(store) for id_ in store[name]}


class Run:
    """A run as simple as can be: pictures are the sizes of their files, a store is a dictionary."""

    def __init__(self, count: int, pictures: int) -> None:
        self.samples, self.pictures, self.store = samples(count), pictures, Store()
        self.sizes = dict.fromkeys((sample.id for sample in self.samples), 1)  # 0: it cannot be read

    def left(self) -> list[Shard]:
        index = index_of(self.store)
        done = [index.holds(sample.id, self.sizes[sample.id]) for sample in self.samples]
        shards = list(shards_left(self.samples, self.pictures, done, index))
        undone = [sample for sample, is_done in zip(self.samples, done, strict=True) if not is_done]
        assert [sample for shard in shards for sample in shard.samples] == undone
        return shards

    def work(self, shard: Shard, stop: int | None = None) -> None:
        """One shard, or a piece of it."""
        before = counting(self.store)
        rows = {id_: self.store[before[id_]][id_] for id_ in shard.order if before.get(id_) in shard.sources}
        rows |= {sample.id: self.sizes[sample.id] for sample in shard.samples if self.sizes[sample.id]}
        rows = dict([(id_, rows[id_]) for id_ in shard.order if id_ in rows][:stop])
        if rows:
            digest = hashlib.sha256(repr(rows).encode()).hexdigest()[:16]
            self.store[ShardName(shard.generation, stop is None, shard.first, shard.last, digest)] = rows

    def clean(self) -> None:
        needed = set(counting(self.store).values())
        self.store = {name: rows for name, rows in self.store.items() if name.finished or name in needed}


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.data())
def test_whatever_happens_the_pictures_as_they_are_count_in_the_end(data):
    """Sessions that are interrupted anywhere, pictures that change, break and are mended, shards that are lost."""
    run = Run(data.draw(st.integers(1, 7)), data.draw(st.integers(1, 4)))
    for _ in range(data.draw(st.integers(1, 4))):
        shards = run.left()
        whole = data.draw(st.integers(0, len(shards)))
        for shard in shards[:whole]:
            run.work(shard)
        for shard in shards[whole : whole + 1]:
            run.work(shard, data.draw(st.integers(0, len(shard.order))))
        run.clean()
        run.sizes[data.draw(st.sampled_from(run.samples)).id] = data.draw(st.integers(0, 3))
        if run.store and data.draw(st.booleans()):
            del run.store[data.draw(st.sampled_from(sorted(run.store)))]
    for shard in run.left():
        run.work(shard)
    run.clean()
    last = counting(run.store)
    readable = {id_: size for id_, size in run.sizes.items() if size}
    assert all(last[id_].finished and run.store[last[id_]][id_] == size for id_, size in readable.items())
    assert {sample.id for shard in run.left() for sample in shard.samples} == run.sizes.keys() - readable.keys()


def test_a_shard_says_what_is_left_of_it():
    run = samples(7)
    piece = ShardName(0, False, 0, 2, "a" * 16)
    part = ShardName(0, True, 3, 5, "b" * 16)
    index = index_of({piece: {"2": 1, "0": 1}, part: {"3": 1, "4": 2, "5": 1}})
    left = list(
        shards_left(run, 3, [True, False, True, True, False, True, False], index, lambda sample: f"told of {sample.id}")
    )
    assert left == [
        Shard(0, 2, (run[1],), ("told of 1",), order=("0", "1", "2"), sources=(piece,)),
        Shard(3, 5, (run[4],), ("told of 4",), order=("4",), generation=1),
        Shard(6, 6, (run[6],), ("told of 6",), order=("6",)),
    ]


def test_a_piece_alone_is_made_a_finished_shard():
    run, piece = samples(2), ShardName(3, False, 0, 1, "a" * 16)
    (left,) = shards_left(run, 2, [True, True], index_of({piece: {"0": 1, "1": 1}}))
    assert left == Shard(0, 1, (), order=("0", "1"), sources=(piece,), generation=3)


def test_a_shard_is_never_of_a_lower_generation_than_the_pieces_that_it_takes_over():
    """Picture 0 changed, its new row lies in a piece, then picture 1 that could not be read is mended."""
    run = samples(2)
    part, piece = ShardName(0, True, 0, 1, "a" * 16), ShardName(1, False, 0, 1, "b" * 16)
    (left,) = shards_left(run, 2, [True, False], index_of({part: {"0": 1}, piece: {"0": 2}}))
    assert (left.generation, left.order, left.sources) == (1, ("0", "1"), (piece,))


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.integers(0, 9), st.integers(1, 4), st.data())
def test_finished_pictures_come_with_the_files_of_their_rows(count, pictures, data):
    run, store = samples(count), Store()
    for number in range(data.draw(st.integers(0, 4))):
        ids = data.draw(st.lists(st.sampled_from([s.id for s in run]), unique=True)) if run else []
        store[ShardName(number % 2, number < 2, 0, 9, f"{number:016x}")] = dict.fromkeys(ids, 1)
    rows = counting(store)
    done = [sample.id in rows and data.draw(st.booleans()) for sample in run]
    expected = []
    for first in range(0, count, pictures):
        there = [s for s, d in list(zip(run, done, strict=True))[first : first + pictures] if d]
        if there:
            last = min(first + pictures, count) - 1
            sources = tuple(sorted({rows[s.id] for s in there}))
            expected.append(Shard(first, last, tuple(there), tuple(s.id * 2 for s in there), sources=sources))
    assert list(shards_done(run, pictures, done, index_of(store), lambda sample: sample.id * 2)) == expected


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.permutations(range(6)))
def test_results_come_in_the_order_of_their_shards_as_soon_as_they_can(order):
    shards = [Shard(64 * number, 64 * number + 63, ()) for number in range(6)]
    heard = []

    def results():
        for number in order:
            heard.append(number)
            yield ShardResult(64 * number, 64 * number + 63)

    for turn, result in enumerate(in_order(results(), shards)):
        assert result.first == 64 * turn
        assert Counter(heard) >= Counter(range(turn + 1))
        assert len(heard) == 1 + max(order.index(number) for number in range(turn + 1))  # none waits for later ones
    assert sorted(heard) == list(range(6))


def test_what_was_kept_is_told_and_the_rest_is_an_error_at_the_end():
    results = [ShardResult(0, 63), ShardResult(64, 127, failed="the disk is full"), ShardResult(128, 191)]
    told = kept(results)
    assert [next(told).first, next(told).first] == [0, 128]
    with pytest.raises(RunError) as caught:
        next(told)
    assert str(caught.value) == (
        "1 shard could not be kept, the first (pictures 65 to 128 of the list): the disk is full; all else is, and the "
        "same command goes on"
    )


def test_a_run_whose_shards_cannot_be_kept_gives_up():
    asked = []

    def results():
        for number in range(100):
            asked.append(number)
            yield ShardResult(number, number, failed=f"no {number}")

    with pytest.raises(
        RunError, match=r"^3 shards could not be kept, the first \(pictures 1 to 1 of the list\): no 0;"
    ):
        list(kept(results()))
    assert asked == [0, 1, 2]


def test_the_engine_of_this_process_works_on_one_shard_after_the_other():
    class Task:
        def load(self):
            return lambda shard, told: ShardResult(shard.first, shard.last, answer=shard.careful)

    shards = (Shard(n, n, ()) for n in range(3))
    coming = LocalEngine(careful=True).map(Task(), shards, Unheard())
    assert next(coming) == ShardResult(0, 0, answer=True)
    assert next(shards).first == 1  # the next one was not asked for
    assert [result.first for result in coming] == [2]
    assert [result.answer for result in LocalEngine().map(Task(), [Shard(0, 0, ())], Unheard())] == [False]
