"""The unit of work of a run: consecutive pictures that one process works on and keeps in one file.

A stage that maps pictures to something is a `ShardTask`. It can be sent to another process, loads there what it needs
once, and then works on one shard after the other. How shards come to processes is the business of an engine: the one
here works in this process, the one of `advcam.scale` on a cluster. Both call the same function with the same shards,
so the results are the same.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from advcam.errors import RunError, counted
from advcam.store.index import ShardIndex
from advcam.store.shards import ShardName
from advcam.types import Sample

#: Pictures of a shard, where nothing else is said.
SHARD_PICTURES = 64
#: Shards that cannot be kept before a run gives up: the disk is full, or the store is gone.
_FAILURES = 3


@dataclass(frozen=True)
class Shard:
    """Consecutive pictures of a run.

    Args:
        first: Place of the first one in the list of the run.
        last: Place of the last one.
        samples: Those of them that are to be worked on.
        given: What the stage was told about each of `samples`, such as its classes.
        order: Ids of all pictures of the shard that is written, in the order of the list: of `samples`, and of those
            whose rows are taken over from `sources`.
        sources: Files of a store that hold rows of these pictures.
        generation: Of the shard that is written; see `advcam.store.shards`.
        careful: A process died at these pictures: each is decoded in a process of its own.
    """

    first: int
    last: int
    samples: tuple[Sample, ...]
    given: tuple[object, ...] = ()
    order: tuple[str, ...] = ()
    sources: tuple[ShardName, ...] = ()
    generation: int = 0
    careful: bool = False


@dataclass(frozen=True)
class ShardResult:
    """What became of a shard.

    Args:
        first: As in `Shard`.
        last: As in `Shard`.
        done: Ids of the pictures that were worked on.
        skipped: Id and reason of those that cannot be used.
        failed: Why the shard could not be kept; empty where it was.
        seconds: That it took.
        answer: What the stage hands back.
        worker: The process that worked on it, HOST:PID; empty: this one.
        attempts: More than 1 where processes died at it.
    """

    first: int
    last: int
    done: tuple[str, ...] = ()
    skipped: tuple[tuple[str, str], ...] = ()
    failed: str = ""
    seconds: float = 0.0
    answer: Any = None
    worker: str = ""
    attempts: int = 1


class Told(Protocol):
    """Who hears of the pictures of a shard while it is worked on."""

    def begins(self, id_: str) -> None:
        """Work on a picture begins."""

    def picture_done(self, name: str) -> None:
        """One more picture is finished."""

    def picture_skipped(self, name: str, reason: str) -> None:
        """A picture cannot be used."""


class Unheard:
    """Hears of pictures and says nothing."""

    def begins(self, id_: str) -> None:
        """Nothing."""

    def picture_done(self, name: str) -> None:
        """Nothing."""

    def picture_skipped(self, name: str, reason: str) -> None:
        """Nothing."""


ShardWorker: TypeAlias = Callable[[Shard, Told], ShardResult]


class ShardTask(Protocol):
    """A stage that maps pictures to something; can be pickled."""

    def load(self) -> ShardWorker:
        """What works on shards in this process.

        Raises:
            AdvcamError: What it needs cannot be loaded.
        """


class Engine(Protocol):
    """Brings shards to processes that work on them."""

    #: Whether results come from other processes than this one.
    remote: bool

    def map(self, task: ShardTask, shards: Iterable[Shard], told: Told) -> Iterator[ShardResult]:
        """The result of each shard, in whatever order they are finished.

        Raises:
            AdvcamError: The task cannot be loaded, or no process is left to work.
        """


class LocalEngine:
    """Works on shards in this process, one after the other.

    Args:
        careful: The last session died: pictures are decoded in processes of their own.
    """

    remote = False

    def __init__(self, careful: bool = False) -> None:
        self.careful = careful

    def map(self, task: ShardTask, shards: Iterable[Shard], told: Told) -> Iterator[ShardResult]:
        """See `Engine.map`."""
        work = task.load()
        for shard in shards:
            yield work(replace(shard, careful=self.careful), told)


def shards_left(
    samples: Sequence[Sample],
    pictures: int,
    done: Sequence[bool] | NDArray[np.bool_],
    index: ShardIndex,
    given: Callable[[Sample], object] | None = None,
) -> Iterator[Shard]:
    """The shards of which something is missing: a picture, or the shard itself where an attempt left a piece.

    Args:
        samples: The list of the run.
        pictures: Of a shard.
        done: Of which of the samples the store has a row that is valid.
        index: Of the store.
        given: What the stage is told about a picture.
    """
    for first, part, is_done in in_shards(samples, pictures, done):
        todo = [sample for sample, finished in zip(part, is_done, strict=True) if not finished]
        where = {s.id: index.shard_of(s.id) for s, finished in zip(part, is_done, strict=True) if finished}
        pieces = {id_: name for id_, name in where.items() if name is not None and not name.finished}
        if todo or pieces:
            written = pieces.keys() | {sample.id for sample in todo}
            stale = [name.generation + 1 for sample in todo if (name := index.shard_of(sample.id)) is not None]
            taken = [name.generation for name in pieces.values()]  # never below what they replace themselves
            yield Shard(
                first,
                first + len(part) - 1,
                samples=tuple(todo),
                given=() if given is None else tuple(map(given, todo)),
                order=tuple(sample.id for sample in part if sample.id in written),
                sources=tuple(sorted(set(pieces.values()))),
                generation=max([*stale, *taken], default=0),
            )


def shards_done(
    samples: Sequence[Sample],
    pictures: int,
    done: Sequence[bool] | NDArray[np.bool_],
    index: ShardIndex,
    given: Callable[[Sample], object],
) -> Iterator[Shard]:
    """The finished pictures in shards, with the files that hold their rows; see `shards_left`."""
    for first, part, is_done in in_shards(samples, pictures, done):
        there = tuple(sample for sample, finished in zip(part, is_done, strict=True) if finished)
        sources = {name for sample in there if (name := index.shard_of(sample.id)) is not None}
        if there:
            last = first + len(part) - 1
            yield Shard(first, last, there, tuple(map(given, there)), sources=tuple(sorted(sources)))


def in_shards(
    samples: Sequence[Sample], pictures: int, done: Sequence[bool] | NDArray[np.bool_]
) -> Iterator[tuple[int, Sequence[Sample], list[bool]]]:
    """Consecutive parts of a list: the place of the first sample, the samples, and which of them are done."""
    for first in range(0, len(samples), pictures):
        part = samples[first : first + pictures]
        yield first, part, [bool(one) for one in done[first : first + len(part)]]


def in_order(results: Iterable[ShardResult], shards: Iterable[Shard]) -> Iterator[ShardResult]:
    """Results in the order of their shards; those that come before their turn wait."""
    waiting: dict[int, ShardResult] = {}
    coming = (shard.first for shard in shards)
    turn = next(coming, None)
    for result in results:
        waiting[result.first] = result
        while turn in waiting:
            yield waiting.pop(turn)
            turn = next(coming, None)


def kept(results: Iterable[ShardResult]) -> Iterator[ShardResult]:
    """The results of shards that were kept; at the end, or after a few failures, an error if some could not be.

    Raises:
        RunError: Some could not; everything else is kept.
    """
    failed: list[ShardResult] = []
    for result in results:
        if result.failed:
            failed.append(result)
            if len(failed) == _FAILURES:
                break
        else:
            yield result
    if failed:
        first = failed[0]
        where = f"the first (pictures {first.first + 1} to {first.last + 1} of the list): {first.failed}"
        raise RunError(
            f"{counted(len(failed), 'shard')} could not be kept, {where}; all else is, and the same command goes on"
        )
