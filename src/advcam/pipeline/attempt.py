"""An attempt at a shard: what becomes of its pictures, told while it happens, and of the shard itself."""

import time
from types import TracebackType
from typing import Any, Self

from advcam.errors import AdvcamError, RunError, one_line
from advcam.pipeline.shards import Shard, ShardResult, Told


class Attempt:
    """A context manager around the work on a shard. An error of the run ends the block: the shard could not be kept.

    Args:
        shard: What is worked on.
        told: Hears of each picture.
    """

    def __init__(self, shard: Shard, told: Told) -> None:
        self.shard, self.told = shard, told
        self._done: list[str] = []
        self._skipped: list[tuple[str, str]] = []
        self._failed, self._started = "", time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        if isinstance(error, RunError):
            self._failed = one_line(error)
            return True
        return False

    def begins(self, id_: str) -> None:
        """Work on a picture begins."""
        self.told.begins(id_)

    def done(self, id_: str) -> None:
        """A picture is finished."""
        self._done.append(id_)
        self.told.picture_done(id_)

    def skip(self, id_: str, why: AdvcamError | str) -> None:
        """A picture cannot be used."""
        reason = why if isinstance(why, str) else one_line(why)
        self._skipped.append((id_, reason))
        self.told.picture_skipped(id_, reason)

    def result(self, answer: Any = None) -> ShardResult:  # noqa: ANN401, the stage's own
        """What became of the shard.

        Args:
            answer: What the stage hands back.
        """
        seconds = time.monotonic() - self._started
        shard, done, skipped = self.shard, tuple(self._done), tuple(self._skipped)
        return ShardResult(shard.first, shard.last, done, skipped, self._failed, seconds, answer)
