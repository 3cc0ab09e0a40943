"""The rows of a shard while it is worked on: what an interrupt or a kill leaves of them, and the finished shard."""

import time
from contextlib import suppress
from types import TracebackType
from typing import Generic, Protocol, Self, TypeVar

from advcam.errors import RunError
from advcam.pipeline.shards import Shard
from advcam.store.shards import ShardName, ShardStore

#: Seconds of work that a kill can cost at most, besides the pictures at hand.
FLUSH_SECONDS = 60.0


class OfSample(Protocol):
    """A row of a store."""

    @property
    def sample_id(self) -> str:
        """Id of the picture."""


Row = TypeVar("Row", bound=OfSample)


class ShardRows(Generic[Row]):
    """Collects the rows of a shard and writes it when the block ends; on an error or interrupt a piece is left.

    Args:
        store: Where to.
        shard: What is worked on.

    Raises:
        RunError: The shard or a piece cannot be written.
    """

    def __init__(self, store: ShardStore[Row], shard: Shard) -> None:
        self.store, self.shard = store, shard
        self._rows: dict[str, Row] = {}
        self._piece: ShardName | None = None
        self._new, self._saved = False, time.monotonic()

    def __enter__(self) -> Self:
        self._take_over()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            with suppress(RunError):  # what ended the block says more, and an interrupt stays one
                self.save_piece()
            return
        if self._rows:
            self._write(finished=True)
        if self._piece is not None:
            self.store.remove(self._piece)

    def add(self, row: Row) -> None:
        """The row of a picture; writes a piece if the last one is a minute old."""
        self._rows[row.sample_id] = row
        self._new = True
        if time.monotonic() - self._saved > FLUSH_SECONDS:
            self.save_piece()

    def save_piece(self) -> None:
        """Write what there is so far, in the place of the piece before."""
        self._saved = time.monotonic()
        if self._new:
            before, self._piece = self._piece, self._write(finished=False)
            if before is not None and before != self._piece:
                self.store.remove(before)
            self._new = False

    def _take_over(self) -> None:
        """The rows that an earlier attempt left in pieces."""
        taken = set(self.shard.order) - {sample.id for sample in self.shard.samples}
        for name in self.shard.sources:
            self._rows |= {row.sample_id: row for row in self.store.read(name) if row.sample_id in taken}

    def _write(self, finished: bool) -> ShardName:
        shard = self.shard
        rows = [self._rows[id_] for id_ in shard.order if id_ in self._rows]
        return self.store.write(rows, shard.first, shard.last, finished=finished, generation=shard.generation)


def stored_rows(store: ShardStore[Row], shard: Shard) -> dict[str, Row]:
    """The rows of a shard that count, by id, from the files that hold them.

    Raises:
        RunError: A file is missing or damaged.
    """
    wanted = {sample.id for sample in shard.samples}
    return {row.sample_id: row for name in shard.sources for row in store.read(name) if row.sample_id in wanted}
