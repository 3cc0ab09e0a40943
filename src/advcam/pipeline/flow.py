"""Reading ahead and writing behind: what the device need not wait for happens in other threads, in order.

Memory stays flat: so many pictures are read ahead, so many results wait to be written, whatever the length of the run.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from types import TracebackType
from typing import Any, Self, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

#: Pictures that are read ahead and results that wait to be written in this process, for those who watch it.
_depths = {"pictures_read_ahead": 0, "results_waiting": 0}
_READERS = 4
_WAITING = 128  # results that may wait to be written, where nothing else is said


def queue_depths() -> dict[str, int]:
    """How many pictures are read ahead in this process, and how many results wait to be written."""
    return dict(_depths)


def read_ahead(
    items: Iterable[Item], read: Callable[[Item], Result], count: int
) -> Iterator[tuple[Item, Future[Result]]]:
    """Items in their order, each with what `read` makes of it; `count` of them are being read meanwhile.

    The future holds the error where reading fails, so that the caller decides what it means for the one item.
    """
    coming, reading = iter(items), deque[tuple[Item, Future[Result]]]()
    with ThreadPoolExecutor(min(_READERS, count)) as pool:
        try:
            for item in islice(coming, count):
                reading.append((item, pool.submit(read, item)))
            while reading:
                item, future = reading.popleft()
                reading.extend((after, pool.submit(read, after)) for after in islice(coming, 1))
                _depths["pictures_read_ahead"] = len(reading)
                yield item, future
        except BaseException:  # the caller stopped listening; what it has heard of is still read to the end
            for _, unheard in reading:
                unheard.cancel()
            raise


class WriteBehind:
    """One thread that does what it is given, in order; as a context manager it has done everything at the end.

    The first error ends the work: nothing that was given later is done, and the error is raised to the giver.

    Args:
        room: Results that may wait, the one that is being written among them.
    """

    def __init__(self, room: int = _WAITING) -> None:
        self.room = room
        self._pool = ThreadPoolExecutor(1)
        self._waiting: deque[Future[None]] = deque()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.finish()
        finally:
            self._pool.shutdown(wait=True, cancel_futures=True)

    def submit(self, function: Callable[..., None], *arguments: Any) -> None:  # noqa: ANN401, the function's own
        """Do this after everything that was given before; waits while too much is waiting.

        Raises:
            BaseException: What was given before failed.
        """
        while self._waiting and (len(self._waiting) >= self.room or self._waiting[0].done()):
            self._done(self._waiting.popleft())
        self._waiting.append(self._pool.submit(function, *arguments))
        _depths["results_waiting"] = len(self._waiting)

    def finish(self) -> None:
        """Wait until everything is done.

        Raises:
            BaseException: What was given before failed.
        """
        while self._waiting:
            self._done(self._waiting.popleft())
        _depths["results_waiting"] = 0

    def _done(self, future: Future[None]) -> None:
        try:
            future.result()
        except BaseException:
            for later in self._waiting:
                later.cancel()
            self._waiting.clear()
            raise
